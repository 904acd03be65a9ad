//! Which frame may follow which (RFC 6455, sections 5.1, 5.4 and 5.5), in one direction of a connection, and how much of
//! it there may be.

use std::time::{Duration, Instant};

use super::frame::{Head, Opcode};
use super::{Role, Violation};

/// How much one side may send. 0 is no bound.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Limits {
    /// Bytes of payload of one data frame, as they are on the wire.
    pub(crate) frame: u64,
    /// Bytes of payload of one message, as they are on the wire. What comes out of a compressed one is bounded where it
    /// is decompressed.
    pub(crate) message: u64,
    /// Frames of one message.
    pub(crate) fragments: u32,
    /// Pings and pongs in one second.
    pub(crate) controls_per_second: u32,
}

/// What a frame is in its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// A message or a piece of one.
    Data {
        /// Whether the message is text.
        text: bool,
        /// Whether the message is compressed.
        compressed: bool,
        /// Whether the message begins here.
        first: bool,
        /// Whether the message ends here.
        last: bool,
    },
    /// A ping, which may stand inside a message.
    Ping,
    /// A pong, likewise.
    Pong,
    /// The last frame of this direction.
    Close,
}

/// Where one direction stands.
#[derive(Clone, Debug)]
pub(crate) struct Sequence {
    sender: Role,
    deflate: bool,
    limits: Limits,
    closed: bool,
    message: Option<Message>,
    controls: Controls,
}

/// The message that is under way.
#[derive(Clone, Copy, Debug)]
struct Message {
    text: bool,
    compressed: bool,
    fragments: u32,
    size: u64,
}

/// Pings and pongs of the current second.
#[derive(Clone, Copy, Debug, Default)]
struct Controls {
    since: Option<Instant>,
    count: u32,
}

impl Sequence {
    /// A direction in which nothing was sent. `deflate`: both sides agreed on permessage-deflate.
    pub(crate) fn new(sender: Role, deflate: bool, limits: Limits) -> Self {
        let controls = Controls::default();
        Sequence { sender, deflate, limits, closed: false, message: None, controls }
    }

    /// Takes the next frame, once its header is there and before its payload, so that what is too big is refused before
    /// it is read.
    ///
    /// # Errors
    ///
    /// Code 1002 for a frame that may not stand here, 1009 for one that is too big, 1008 for too many. Nothing more is
    /// to be taken after it.
    pub(crate) fn head(&mut self, head: &Head, now: Instant) -> Result<Part, Violation> {
        if self.closed {
            return Err(Violation::protocol("frame behind a close frame"));
        }
        match (self.sender, head.mask) {
            (Role::Client, None) => return Err(Violation::protocol("frame of a client without a mask")),
            (Role::Server, Some(_)) => return Err(Violation::protocol("frame of a server with a mask")),
            _ => {}
        }
        let part = match head.opcode {
            Opcode::Text | Opcode::Binary | Opcode::Continuation => return self.data(head),
            Opcode::Ping => Part::Ping,
            Opcode::Pong => Part::Pong,
            Opcode::Close => {
                self.closed = true;
                return Ok(Part::Close);
            }
        };
        self.controls.count(self.limits.controls_per_second, now)?;
        Ok(part)
    }

    /// From the next message on, it may be compressed.
    pub(crate) fn set_deflate(&mut self) {
        self.deflate = true;
    }

    /// Takes other limits, from the next frame on.
    pub(crate) fn set_limits(&mut self, limits: Limits) {
        self.limits = limits;
    }

    fn data(&mut self, head: &Head) -> Result<Part, Violation> {
        let first = head.opcode != Opcode::Continuation;
        if head.compressed && !self.deflate {
            return Err(Violation::protocol("reserved bit without an extension"));
        }
        let mut message = match (first, self.message) {
            (true, None) => {
                let text = head.opcode == Opcode::Text;
                Message { text, compressed: head.compressed, fragments: 0, size: 0 }
            }
            (true, Some(_)) => return Err(Violation::protocol("message inside a message")),
            (false, None) => return Err(Violation::protocol("continuation of no message")),
            (false, Some(_)) if head.compressed => {
                return Err(Violation::protocol("continuation marked as compressed"));
            }
            (false, Some(message)) => message,
        };
        message.fragments = message.fragments.saturating_add(1);
        message.size = message.size.saturating_add(head.length);
        if over(head.length, self.limits.frame) {
            return Err(Violation::too_big("frame too big"));
        }
        if over(message.size, self.limits.message) {
            return Err(Violation::too_big("message too big"));
        }
        if over(message.fragments.into(), self.limits.fragments.into()) {
            return Err(Violation::policy("too many fragments"));
        }
        self.message = (!head.fin).then_some(message);
        let Message { text, compressed, .. } = message;
        Ok(Part::Data { text, compressed, first, last: head.fin })
    }
}

impl Controls {
    fn count(&mut self, limit: u32, now: Instant) -> Result<(), Violation> {
        if limit == 0 {
            return Ok(());
        }
        let current = self.since.is_some_and(|since| now.duration_since(since) < Duration::from_secs(1));
        if !current {
            *self = Controls { since: Some(now), count: 0 };
        }
        self.count = self.count.saturating_add(1);
        if self.count > limit { Err(Violation::policy("too many pings or pongs")) } else { Ok(()) }
    }
}

fn over(value: u64, limit: u64) -> bool {
    limit > 0 && value > limit
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: Option<[u8; 4]> = Some([1, 2, 3, 4]);

    /// A frame in short: opcode `t`ext, `b`inary, `-` continuation, `p`ing, `o` (pong) or `c`lose, then `z` (compressed)
    /// and `.` (fin), then the length.
    fn head(frame: &str, mask: Option<[u8; 4]>) -> Head {
        let opcode = match frame.as_bytes()[0] {
            b't' => Opcode::Text,
            b'b' => Opcode::Binary,
            b'-' => Opcode::Continuation,
            b'p' => Opcode::Ping,
            b'o' => Opcode::Pong,
            b'c' => Opcode::Close,
            other => panic!("{other}"),
        };
        let length = frame[1..].trim_start_matches(['z', '.']).parse().unwrap_or(0);
        Head::new(frame.contains('.'), frame.contains('z'), opcode, mask, length)
    }

    /// What comes of these frames: each part in short, and the code that the last is refused with.
    fn run(mut sequence: Sequence, mask: Option<[u8; 4]>, frames: &str) -> String {
        let now = Instant::now();
        let mut told = Vec::new();
        for frame in frames.split_whitespace() {
            told.push(match sequence.head(&head(frame, mask), now) {
                Ok(Part::Data { text, compressed, first, last }) => {
                    let mark = |set, mark| if set { mark } else { "" };
                    let kind = if text { "text" } else { "binary" };
                    [kind, mark(compressed, "z"), mark(first, "<"), mark(last, ">")].concat()
                }
                Ok(part) => format!("{part:?}").to_lowercase(),
                Err(violation) => {
                    told.push(violation.code.to_string());
                    break;
                }
            });
        }
        told.join(" ")
    }

    #[test]
    fn what_may_follow_what() {
        for (frames, wanted) in [
            ("t. b.", "text<> binary<>"),
            ("t - p. - o. -. b.", "text< text ping text pong text> binary<>"),
            ("tz - -. t. bz.", "textz< textz textz> text<> binaryz<>"),
            ("t t.", "text< 1002"),
            ("b b.", "binary< 1002"),
            ("-.", "1002"),
            ("t. -", "text<> 1002"),
            ("tz -z.", "textz< 1002"),
            ("t -z.", "text< 1002"),
            ("t c. p.", "text< close 1002"),
            ("c. c.", "close 1002"),
            ("c. t.", "close 1002"),
        ] {
            for (sender, mask) in [(Role::Client, KEY), (Role::Server, None)] {
                let sequence = Sequence::new(sender, true, Limits::default());
                assert_eq!(run(sequence, mask, frames), wanted, "{frames}");
            }
        }
    }

    #[test]
    fn clients_mask_and_servers_do_not() {
        for frame in ["t.", "p.", "c."] {
            for (sender, mask) in [(Role::Client, None), (Role::Server, KEY)] {
                let sequence = Sequence::new(sender, true, Limits::default());
                assert_eq!(run(sequence, mask, frame), "1002", "{frame}");
            }
        }
    }

    #[test]
    fn compressed_only_where_that_was_agreed() {
        for frame in ["tz.", "bz", "-z."] {
            assert_eq!(run(Sequence::new(Role::Client, false, Limits::default()), KEY, frame), "1002");
        }
    }

    #[test]
    fn limits() {
        let none = Limits::default();
        let most = u64::MAX >> 1;
        for (limits, frames, wanted) in [
            (Limits { frame: 10, ..none }, "t.10 t10 -.10 t.11", "text<> text< text> 1009"),
            (
                Limits { message: 10, ..none },
                "t.10 t5 p.100 -.5 t5 -.6",
                "text<> text< ping text> text< 1009",
            ),
            (Limits { fragments: 3, ..none }, "t - -. t - - -.", "text< text text> text< text text 1008"),
            (Limits { controls_per_second: 2, ..none }, "p. o. t. p.", "ping pong text<> 1008"),
            (Limits { controls_per_second: 1, ..none }, "p. c.", "ping close"),
            (none, &format!("t{most} -{most} -.{most}"), "text< text text>"),
            (Limits { message: most, ..none }, &format!("t{most} -{most}"), "text< 1009"),
        ] {
            assert_eq!(run(Sequence::new(Role::Client, true, limits), KEY, frames), wanted, "{frames}");
        }
    }

    #[test]
    fn a_second_later_there_may_be_controls_again() {
        let limits = Limits { controls_per_second: 2, ..Limits::default() };
        let mut sequence = Sequence::new(Role::Server, false, limits);
        let start = Instant::now();
        let mut ping =
            |millis| sequence.head(&head("p.", None), start + Duration::from_millis(millis)).is_ok();
        assert_eq!([0, 900, 1000, 1999, 1999].map(&mut ping), [true, true, true, true, false]);
    }

    /// Two of them are part of every relay that looks at frames.
    #[test]
    fn it_is_small() {
        assert!(size_of::<Sequence>() <= 104, "{}", size_of::<Sequence>());
    }
}
