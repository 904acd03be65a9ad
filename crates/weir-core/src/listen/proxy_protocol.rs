//! The PROXY protocol, versions 1 and 2: what a trusted sender says about the connection that it forwards
//! (`proxy-protocol.txt`, 2020/03/05).

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt};
use weir_plugin::Peer;

use crate::spec::ProxyProtocol;

/// The longest line of version 1 with its CRLF, by the specification.
const MAX_V1: usize = 107;
/// The longest payload of version 2 that is taken: addresses, and what TLVs a sender adds. They are skipped.
const MAX_V2: usize = 4096;
const V2_HEADER: usize = 16;
const V2_SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";

/// What a header says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// Nothing: the sender speaks for itself, or does not know. The addresses of the socket hold.
    Socket,
    /// The client and the address that it connected to.
    Forwarded {
        /// The client.
        source: Peer,
        /// What it connected to.
        destination: Peer,
    },
}

/// Bytes that are no header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Malformed(&'static str);

/// Why no header was read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// The client did not send one.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// It sent less than a whole one.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Whether a sender must send a header and is believed. Who may connect to a Unix socket is trusted: its permissions
/// say who that is.
pub(crate) fn is_trusted(spec: &ProxyProtocol, sender: &Peer) -> bool {
    sender.ip().is_none_or(|ip| spec.trusted.iter().any(|net| net.contains(&ip)))
}

/// Reads a header, and what bytes came with it. Not bounded in time: the caller does that.
///
/// # Errors
/// See [`Failure`].
pub(crate) async fn read<S>(stream: &mut S) -> Result<(Origin, Bytes), Failure>
where
    S: AsyncRead + Unpin,
{
    let mut buffer = BytesMut::with_capacity(512);
    loop {
        if stream.read_buf(&mut buffer).await? == 0 {
            return Err(Failure::Io(io::ErrorKind::UnexpectedEof.into()));
        }
        if let Some((origin, length)) = parse(&buffer)? {
            return Ok((origin, buffer.split_off(length).freeze()));
        }
    }
}

/// Parses a header at the beginning of `bytes`: what it says and how long it is. `None`: more bytes are needed.
/// Decides once there are 16 bytes and its own length.
pub(crate) fn parse(bytes: &[u8]) -> Result<Option<(Origin, usize)>, Malformed> {
    if begins(bytes, V2_SIGNATURE) {
        return parse_v2(bytes);
    }
    if begins(bytes, b"PROXY ") {
        return parse_v1(bytes);
    }
    Err(Malformed("no PROXY header"))
}

/// Whether `bytes` begin with `signature`, or could when more of them are there.
fn begins(bytes: &[u8], signature: &[u8]) -> bool {
    bytes.iter().zip(signature).all(|(a, b)| a == b)
}

fn parse_v1(bytes: &[u8]) -> Result<Option<(Origin, usize)>, Malformed> {
    let window = bytes.get(..MAX_V1).unwrap_or(bytes);
    let Some(length) = window.windows(2).position(|pair| pair == b"\r\n") else {
        return if bytes.len() < MAX_V1 { Ok(None) } else { Err(Malformed("the PROXY line is too long")) };
    };
    let line =
        std::str::from_utf8(&window[..length]).map_err(|_| Malformed("the PROXY line is not ASCII"))?;
    let mut words = line.split(' ');
    let (_, family) = (words.next(), words.next());
    let origin = match family {
        // Whatever follows is to be ignored.
        Some("UNKNOWN") => return Ok(Some((Origin::Socket, length + 2))),
        Some("TCP4") => v1_addresses::<Ipv4Addr>(words),
        Some("TCP6") => v1_addresses::<Ipv6Addr>(words),
        _ => None,
    };
    let origin = origin.ok_or(Malformed("the PROXY line breaks the rules"))?;
    Ok(Some((origin, length + 2)))
}

fn v1_addresses<'a, A>(mut words: impl Iterator<Item = &'a str>) -> Option<Origin>
where
    A: FromStr + Into<IpAddr>,
{
    let source: A = words.next()?.parse().ok()?;
    let destination: A = words.next()?.parse().ok()?;
    let source_port = v1_port(words.next()?)?;
    let destination_port = v1_port(words.next()?)?;
    if words.next().is_some() {
        return None;
    }
    Some(Origin::Forwarded {
        source: Peer::Ip(SocketAddr::new(source.into(), source_port)),
        destination: Peer::Ip(SocketAddr::new(destination.into(), destination_port)),
    })
}

/// Decimal without sign or leading zeros.
fn v1_port(text: &str) -> Option<u16> {
    let plain = text.bytes().all(|b| b.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    if plain { text.parse().ok() } else { None }
}

fn parse_v2(bytes: &[u8]) -> Result<Option<(Origin, usize)>, Malformed> {
    let Some((header, rest)) = bytes.split_at_checked(V2_HEADER) else { return Ok(None) };
    let (version, command) = (header[12] >> 4, header[12] & 0xf);
    let (family, protocol) = (header[13] >> 4, header[13] & 0xf);
    let length = usize::from(u16::from_be_bytes([header[14], header[15]]));
    if version != 2 || command > 1 {
        return Err(Malformed("the PROXY header has a version or command that is not known"));
    }
    if family > 3 || protocol > 2 {
        return Err(Malformed("the PROXY header has an address family or protocol that is not known"));
    }
    if length > MAX_V2 {
        return Err(Malformed("the PROXY header is too long"));
    }
    let Some(payload) = rest.get(..length) else { return Ok(None) };
    let origin = match (command, family, protocol) {
        (0, _, _) => Origin::Socket,
        (_, 1, 1) => v2_addresses::<4>(payload)?,
        (_, 2, 1) => v2_addresses::<16>(payload)?,
        (_, 3, 1) if payload.len() < 216 => return Err(TOO_SHORT),
        (_, 3, 1) => Origin::Forwarded { source: Peer::Unix, destination: Peer::Unix },
        // Valid, but nothing that a stream socket could have: to be taken as not specified.
        _ => Origin::Socket,
    };
    Ok(Some((origin, V2_HEADER + length)))
}

const TOO_SHORT: Malformed = Malformed("the PROXY header is too short for its addresses");

/// Source and destination of `N` bytes each, then their ports.
fn v2_addresses<const N: usize>(payload: &[u8]) -> Result<Origin, Malformed>
where
    IpAddr: From<[u8; N]>,
{
    let (source, rest) = payload.split_first_chunk::<N>().ok_or(TOO_SHORT)?;
    let (destination, rest) = rest.split_first_chunk::<N>().ok_or(TOO_SHORT)?;
    let (&[a, b, c, d], _) = rest.split_first_chunk::<4>().ok_or(TOO_SHORT)?;
    Ok(Origin::Forwarded {
        source: Peer::Ip(SocketAddr::new((*source).into(), u16::from_be_bytes([a, b]))),
        destination: Peer::Ip(SocketAddr::new((*destination).into(), u16::from_be_bytes([c, d]))),
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn forwarded(source: &str, destination: &str) -> Origin {
        let peer = |text: &str| Peer::Ip(text.parse().unwrap());
        Origin::Forwarded { source: peer(source), destination: peer(destination) }
    }

    fn v2(command: u8, family: u8, payload: &[u8]) -> Vec<u8> {
        let mut header = V2_SIGNATURE.to_vec();
        header.extend([0x20 | command, family]);
        header.extend(u16::try_from(payload.len()).unwrap().to_be_bytes());
        header.extend(payload);
        header
    }

    #[test]
    fn v1_table() {
        let good: &[(&str, Origin)] = &[
            ("PROXY TCP4 1.2.3.4 5.6.7.8 65535 0\r\n", forwarded("1.2.3.4:65535", "5.6.7.8:0")),
            ("PROXY TCP6 2001:db8::1 ::1 1 443\r\n", forwarded("[2001:db8::1]:1", "[::1]:443")),
            ("PROXY UNKNOWN\r\n", Origin::Socket),
            ("PROXY UNKNOWN ffff::1 what ever\r\n", Origin::Socket),
        ];
        for (line, origin) in good {
            let mut bytes = line.as_bytes().to_vec();
            let length = bytes.len();
            bytes.extend(b"GET / HTTP/1.1\r\n\r\n");
            assert_eq!(parse(&bytes), Ok(Some((origin.clone(), length))), "{line:?}");
            for short in 0..length {
                assert_eq!(parse(&bytes[..short]), Ok(None), "{line:?} cut at {short}");
            }
        }
        let long = format!("PROXY UNKNOWN {}\r\n", "x".repeat(MAX_V1));
        for line in [
            "GET / HTTP/1.1\r\n\r\n",
            "proxy TCP4 1.2.3.4 5.6.7.8 1 2\r\n",
            "PROXY\r\n",
            "PROXY \r\n",
            "PROXY  TCP4 1.2.3.4 5.6.7.8 1 2\r\n",
            "PROXY TCP4  1.2.3.4 5.6.7.8 1 2\r\n",
            "PROXY TCP4 1.2.3.4 5.6.7.8 1\r\n",
            "PROXY TCP4 1.2.3.4 5.6.7.8 1 2 3\r\n",
            "PROXY TCP4 1.2.3.4 5.6.7.8 1 2 \r\n",
            "PROXY TCP4 1.2.3.4 5.6.7.8 01 2\r\n",
            "PROXY TCP4 1.2.3.4 5.6.7.8 +1 2\r\n",
            "PROXY TCP4 1.2.3.4 5.6.7.8 65536 2\r\n",
            "PROXY TCP4 01.2.3.4 5.6.7.8 1 2\r\n",
            "PROXY TCP4 ::1 ::2 1 2\r\n",
            "PROXY TCP6 1.2.3.4 5.6.7.8 1 2\r\n",
            "PROXY TCP6 fe80::1%lo ::2 1 2\r\n",
            "PROXY UDP4 1.2.3.4 5.6.7.8 1 2\r\n",
            "PROXY TCP4 1.2.3.4 5.6.7.8 1 2\n\r\n",
            &long,
        ] {
            assert!(parse(line.as_bytes()).is_err(), "{line:?}");
        }
    }

    #[test]
    fn v2_table() {
        let v4 = [1, 2, 3, 4, 5, 6, 7, 8, 0xff, 0xff, 0x01, 0xbb];
        let v4_tlv = [&v4[..], &[0x04, 0, 1, 0]].concat();
        let mut v6 = [0; 36];
        (v6[15], v6[31], v6[33], v6[35]) = (1, 2, 80, 81);
        for (header, origin) in [
            (v2(1, 0x11, &v4), forwarded("1.2.3.4:65535", "5.6.7.8:443")),
            (v2(1, 0x11, &v4_tlv), forwarded("1.2.3.4:65535", "5.6.7.8:443")),
            (v2(1, 0x21, &v6), forwarded("[::1]:80", "[::2]:81")),
            (v2(1, 0x31, &[0; 216]), Origin::Forwarded { source: Peer::Unix, destination: Peer::Unix }),
            (v2(0, 0x00, &[]), Origin::Socket),
            (v2(0, 0x11, &v4), Origin::Socket),
            (v2(1, 0x00, &[9; 40]), Origin::Socket),
            (v2(1, 0x12, &v4), Origin::Socket),
        ] {
            let length = header.len();
            let bytes = [&header[..], b"rest"].concat();
            assert_eq!(parse(&bytes), Ok(Some((origin, length))), "{header:?}");
            for short in 0..length {
                assert_eq!(parse(&bytes[..short]), Ok(None), "{header:?} cut at {short}");
            }
        }
        let mut old = v2(1, 0x11, &v4);
        old[12] = 0x11;
        let mut long = v2(1, 0x11, &v4);
        long[14..16].copy_from_slice(&u16::MAX.to_be_bytes());
        for header in [
            old,
            long,
            v2(2, 0x11, &v4),
            v2(1, 0x41, &v4),
            v2(1, 0x13, &v4),
            v2(1, 0x11, &v4[..11]),
            v2(1, 0x21, &v4),
            v2(1, 0x31, &[0; 215]),
        ] {
            assert!(parse(&header).is_err(), "{header:?}");
        }
    }

    #[test]
    fn only_named_senders_are_trusted() {
        let spec = ProxyProtocol { trusted: vec!["10.0.0.0/8".parse().unwrap()] };
        let from = |text: &str| is_trusted(&spec, &Peer::Ip(text.parse().unwrap()));
        assert!(from("10.1.2.3:1"));
        assert!(from("[::ffff:10.1.2.3]:1"));
        assert!(!from("11.1.2.3:1"));
        assert!(!from("[::1]:1"));
        assert!(is_trusted(&spec, &Peer::Unix));
    }

    proptest! {
        #[test]
        fn never_panics_and_never_asks_for_ever(bytes in prop::collection::vec(any::<u8>(), 0..600), kind in 0..3) {
            let bytes = match kind {
                0 => bytes,
                1 => [&b"PROXY "[..], &bytes].concat(),
                _ => [&V2_SIGNATURE[..], &bytes].concat(),
            };
            match parse(&bytes) {
                Ok(Some((_, length))) => prop_assert!(length <= bytes.len()),
                Ok(None) => prop_assert!(bytes.len() < V2_HEADER + MAX_V2),
                Err(_) => {}
            }
        }

        #[test]
        fn v1_says_what_was_written(source: Ipv6Addr, destination: Ipv6Addr, ports: (u16, u16)) {
            let line = format!("PROXY TCP6 {source} {destination} {} {}\r\n", ports.0, ports.1);
            let origin = Origin::Forwarded {
                source: Peer::Ip((source, ports.0).into()),
                destination: Peer::Ip((destination, ports.1).into()),
            };
            prop_assert_eq!(parse(line.as_bytes()), Ok(Some((origin, line.len()))));
        }
    }
}
