//! The header of a frame (RFC 6455, section 5.2): all rules that one header can break by itself. What it may follow is
//! for [`super::sequence`] to say.

use super::Violation;

/// The longest header: two bytes, eight of length, four of mask.
pub(crate) const MAX_HEAD: usize = 14;
/// The largest payload of a control frame (RFC 6455, section 5.5).
pub(crate) const MAX_CONTROL: u64 = 125;

const FIN: u8 = 0x80;
const RSV1: u8 = 0x40;
const RSV2_AND_3: u8 = 0x30;
const MASKED: u8 = 0x80;

/// What a frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Opcode {
    /// Another piece of a message.
    Continuation,
    /// A message of text, or its first piece.
    Text,
    /// A message of bytes, or its first piece.
    Binary,
    /// The last frame of its sender.
    Close,
    /// A question whether the other side is there.
    Ping,
    /// The answer to it.
    Pong,
}

impl Opcode {
    /// Whether it is close, ping or pong, which may stand between the fragments of a message.
    pub(crate) fn is_control(self) -> bool {
        matches!(self, Opcode::Close | Opcode::Ping | Opcode::Pong)
    }

    fn parse(bits: u8) -> Result<Opcode, Violation> {
        Ok(match bits {
            0x0 => Opcode::Continuation,
            0x1 => Opcode::Text,
            0x2 => Opcode::Binary,
            0x8 => Opcode::Close,
            0x9 => Opcode::Ping,
            0xA => Opcode::Pong,
            _ => return Err(Violation::protocol("unknown opcode")),
        })
    }

    fn bits(self) -> u8 {
        match self {
            Opcode::Continuation => 0x0,
            Opcode::Text => 0x1,
            Opcode::Binary => 0x2,
            Opcode::Close => 0x8,
            Opcode::Ping => 0x9,
            Opcode::Pong => 0xA,
        }
    }
}

/// The header of one frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Head {
    /// Whether it ends its message.
    pub(crate) fin: bool,
    /// RSV1: in the first frame of a message, that the message is compressed (RFC 7692, section 6).
    pub(crate) compressed: bool,
    /// What the frame is.
    pub(crate) opcode: Opcode,
    /// The key that the payload is masked with.
    pub(crate) mask: Option<[u8; 4]>,
    /// Bytes of payload.
    pub(crate) length: u64,
    /// Bytes of this header on the wire.
    pub(crate) size: usize,
}

impl Head {
    /// A header to send. Control frames must be whole, not compressed and within [`MAX_CONTROL`].
    pub(crate) fn new(
        fin: bool,
        compressed: bool,
        opcode: Opcode,
        mask: Option<[u8; 4]>,
        length: u64,
    ) -> Head {
        debug_assert!(!opcode.is_control() || (fin && !compressed && length <= MAX_CONTROL));
        let extended = match length {
            ..=125 => 0,
            126..=0xFFFF => 2,
            _ => 8,
        };
        let size = 2 + extended + if mask.is_some() { 4 } else { 0 };
        Head { fin, compressed, opcode, mask, length, size }
    }

    /// The header at the front of `bytes`; `None` while its end is not there. What is wrong is told as soon as the byte
    /// that shows it is there.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Option<Head>, Violation> {
        let Some(&first) = bytes.first() else { return Ok(None) };
        if first & RSV2_AND_3 != 0 {
            return Err(Violation::protocol("reserved bits without an extension"));
        }
        let opcode = Opcode::parse(first & 0x0F)?;
        let (fin, compressed) = (first & FIN != 0, first & RSV1 != 0);
        if opcode.is_control() && !fin {
            return Err(Violation::protocol("fragmented control frame"));
        }
        if opcode.is_control() && compressed {
            return Err(Violation::protocol("compressed control frame"));
        }
        let Some(&second) = bytes.get(1) else { return Ok(None) };
        let short = second & !MASKED;
        if opcode.is_control() && u64::from(short) > MAX_CONTROL {
            return Err(Violation::protocol("control frame over 125 bytes"));
        }
        let Some((length, at)) = length(short, bytes)? else { return Ok(None) };
        let mask = match (second & MASKED, bytes.get(at..).and_then(<[u8]>::first_chunk)) {
            (0, _) => None,
            (_, Some(key)) => Some(*key),
            (_, None) => return Ok(None),
        };
        let size = at + if mask.is_some() { 4 } else { 0 };
        Ok(Some(Head { fin, compressed, opcode, mask, length, size }))
    }

    /// The header as it is sent.
    pub(crate) fn encode(&self) -> EncodedHead {
        let mut head = EncodedHead { bytes: [0; MAX_HEAD], size: 0 };
        let fin = if self.fin { FIN } else { 0 };
        let compressed = if self.compressed { RSV1 } else { 0 };
        let masked = if self.mask.is_some() { MASKED } else { 0 };
        head.push([fin | compressed | self.opcode.bits()]);
        match (u8::try_from(self.length), u16::try_from(self.length)) {
            (Ok(length @ ..=125), _) => head.push([masked | length]),
            (_, Ok(length)) => {
                head.push([masked | 126]);
                head.push(length.to_be_bytes());
            }
            _ => {
                head.push([masked | 127]);
                head.push(self.length.to_be_bytes());
            }
        }
        if let Some(key) = self.mask {
            head.push(key);
        }
        head
    }
}

/// The length that the second byte begins, in its shortest form only, and where it ends.
fn length(short: u8, bytes: &[u8]) -> Result<Option<(u64, usize)>, Violation> {
    let rest = bytes.get(2..).unwrap_or_default();
    let (length, least, at) = match short {
        126 => {
            let Some(length) = rest.first_chunk() else { return Ok(None) };
            (u64::from(u16::from_be_bytes(*length)), 126, 4)
        }
        127 => {
            if rest.first().is_some_and(|byte| byte & 0x80 != 0) {
                return Err(Violation::protocol("frame length over 63 bits"));
            }
            let Some(length) = rest.first_chunk() else { return Ok(None) };
            (u64::from_be_bytes(*length), 1 << 16, 10)
        }
        _ => (u64::from(short), 0, 2),
    };
    if length < least {
        return Err(Violation::protocol("frame length not in its shortest form"));
    }
    Ok(Some((length, at)))
}

/// A header as it is sent.
#[derive(Clone, Copy, Debug)]
pub(crate) struct EncodedHead {
    bytes: [u8; MAX_HEAD],
    size: u8,
}

impl EncodedHead {
    /// The bytes of the header: two at least, [`MAX_HEAD`] at most.
    pub(crate) fn bytes(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.size)).unwrap_or_default()
    }

    fn push<const N: usize>(&mut self, bytes: [u8; N]) {
        let at = usize::from(self.size);
        if let Some(room) = self.bytes.get_mut(at..at + N) {
            room.copy_from_slice(&bytes);
            self.size += N as u8;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const KEY: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

    /// The examples of RFC 6455, section 5.7: the header of each, and the same again when it is written.
    #[test]
    fn examples_of_the_rfc() {
        for (bytes, head) in [
            (&b"\x81\x05Hello"[..], Head::new(true, false, Opcode::Text, None, 5)),
            (
                b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58",
                Head::new(true, false, Opcode::Text, Some(KEY), 5),
            ),
            (b"\x01\x03Hel", Head::new(false, false, Opcode::Text, None, 3)),
            (b"\x80\x02lo", Head::new(true, false, Opcode::Continuation, None, 2)),
            (b"\x89\x05Hello", Head::new(true, false, Opcode::Ping, None, 5)),
            (
                b"\x8a\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58",
                Head::new(true, false, Opcode::Pong, Some(KEY), 5),
            ),
            (b"\x82\x7e\x01\x00", Head::new(true, false, Opcode::Binary, None, 256)),
            (b"\x82\x7f\0\0\0\0\0\x01\0\0", Head::new(true, false, Opcode::Binary, None, 1 << 16)),
            (b"\xc1\x07", Head::new(true, true, Opcode::Text, None, 7)),
        ] {
            assert_eq!(Head::parse(bytes), Ok(Some(head)), "{}", bytes.escape_ascii());
            assert_eq!(head.encode().bytes(), &bytes[..head.size]);
            for end in 0..head.size {
                assert_eq!(Head::parse(&bytes[..end]), Ok(None), "{end} of {}", bytes.escape_ascii());
            }
        }
    }

    /// Each is refused as soon as these bytes are there, and not before.
    #[test]
    fn what_no_frame_is() {
        for bytes in [
            &b"\x91"[..],
            b"\xa1",
            b"\xb1",
            b"\x83",
            b"\x87",
            b"\x8b",
            b"\x8f",
            b"\x08",
            b"\x09",
            b"\x0a",
            b"\xc8",
            b"\xc9",
            b"\x88\x7e",
            b"\x89\xfe",
            b"\x8a\x7f",
            b"\x82\x7e\0\x7d",
            b"\x82\xfe\0\0",
            b"\x82\x7f\0\0\0\0\0\0\xff\xff",
            b"\x82\x7f\x80",
        ] {
            let refused = Head::parse(bytes);
            assert!(refused.is_err_and(|v| v.code == 1002), "{}: {refused:?}", bytes.escape_ascii());
            assert_eq!(Head::parse(&bytes[..bytes.len() - 1]), Ok(None), "{}", bytes.escape_ascii());
        }
    }

    fn heads() -> impl Strategy<Value = Head> {
        const OPCODES: [Opcode; 6] =
            [Opcode::Continuation, Opcode::Text, Opcode::Binary, Opcode::Close, Opcode::Ping, Opcode::Pong];
        let lengths = prop_oneof![0u64..200, 65_000u64..66_000, 0..=(u64::MAX >> 1)];
        let mask = prop::option::of(any::<[u8; 4]>());
        (any::<bool>(), any::<bool>(), prop::sample::select(&OPCODES[..]), mask, lengths).prop_map(
            |(fin, compressed, opcode, mask, length)| match opcode.is_control() {
                true => Head::new(true, false, opcode, mask, length.min(MAX_CONTROL)),
                false => Head::new(fin, compressed, opcode, mask, length),
            },
        )
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(head in heads(), more in prop::collection::vec(any::<u8>(), 0..20)) {
            let mut bytes = head.encode().bytes().to_vec();
            prop_assert_eq!(bytes.len(), head.size);
            bytes.extend(more);
            prop_assert_eq!(Head::parse(&bytes), Ok(Some(head)));
        }

        #[test]
        fn what_is_read_is_written_the_same(bytes in prop::collection::vec(any::<u8>(), 0..20)) {
            if let Ok(Some(head)) = Head::parse(&bytes) {
                let encoded = head.encode();
                prop_assert_eq!(encoded.bytes(), &bytes[..head.size]);
            }
        }

        #[test]
        fn a_beginning_says_the_same_or_nothing(bytes in prop::collection::vec(any::<u8>(), 0..20)) {
            let whole = Head::parse(&bytes);
            for end in 0..bytes.len() {
                let early = Head::parse(&bytes[..end]);
                prop_assert!(early == Ok(None) || early == whole, "{:?} at {}, later {:?}", early, end, whole);
            }
        }
    }
}
