//! What a TLS client asks for, read from its first bytes without taking part: for layer 4 passthrough.

use std::borrow::Cow;
use std::net::IpAddr;

/// The most bytes of a connection that are looked at: a hello of 16 KiB and the header of its record.
pub const MAX_BYTES: usize = MAX_HELLO + RECORD_HEADER;

const MAX_HELLO: usize = 16 << 10;
const RECORD_HEADER: usize = 5;

/// What the first bytes of a connection are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sniff {
    /// The beginning of a hello; more bytes are needed.
    NeedMore,
    /// Not TLS, a hello longer than [`MAX_BYTES`], or one that breaks the rules.
    NotTls,
    /// A whole `ClientHello` (RFC 8446, section 4.1.2; earlier versions have the same form).
    Hello {
        /// Server name indication (RFC 6066, section 3), lower case, without a dot at its end. `None` also for
        /// an IP address, which is not a server name.
        sni: Option<Box<str>>,
        /// The protocols offered by ALPN (RFC 7301), most wanted first.
        alpn: Vec<Box<[u8]>>,
    },
}

/// Reads the first bytes of a connection. Never answers [`Sniff::NeedMore`] to [`MAX_BYTES`] or more.
pub fn client_hello(bytes: &[u8]) -> Sniff {
    match message(bytes) {
        Ok(Some(hello)) => parse(&hello).unwrap_or(Sniff::NotTls),
        Ok(None) if bytes.len() < MAX_BYTES => Sniff::NeedMore,
        Ok(None) | Err(NotTls) => Sniff::NotTls,
    }
}

struct NotTls;

/// The body of the first handshake message, put together from its records. `None`: it is not whole yet.
fn message(bytes: &[u8]) -> Result<Option<Cow<'_, [u8]>>, NotTls> {
    let mut rest = bytes;
    let mut message = Cow::Borrowed(&[][..]);
    loop {
        // Content type handshake, and a version 3.x.
        if rest.first().is_some_and(|&kind| kind != 22) || rest.get(1).is_some_and(|&major| major != 3) {
            return Err(NotTls);
        }
        let Some((header, after)) = rest.split_at_checked(RECORD_HEADER) else { return Ok(None) };
        let length = usize::from(u16::from_be_bytes([header[3], header[4]]));
        if length == 0 || length > 16 << 10 {
            return Err(NotTls);
        }
        let (fragment, more) = after.split_at(length.min(after.len()));
        if message.is_empty() {
            message = Cow::Borrowed(fragment);
        } else {
            message.to_mut().extend_from_slice(fragment);
        }
        if message.first().is_some_and(|&kind| kind != 1) {
            return Err(NotTls);
        }
        if let Some((&[_, a, b, c], body)) = message.split_first_chunk::<4>() {
            let length = u32::from_be_bytes([0, a, b, c]) as usize;
            if length > MAX_HELLO - 4 {
                return Err(NotTls);
            }
            if body.len() >= length {
                return Ok(Some(match message {
                    Cow::Borrowed(m) => Cow::Borrowed(m.get(4..4 + length).ok_or(NotTls)?),
                    Cow::Owned(m) => Cow::Owned(m.get(4..4 + length).ok_or(NotTls)?.to_vec()),
                }));
            }
        }
        if fragment.len() < length {
            return Ok(None);
        }
        rest = more;
    }
}

fn parse(hello: &[u8]) -> Option<Sniff> {
    let (mut sni, mut alpn) = (None, None);
    let mut r = Reader(hello);
    let _version_and_random = r.take(2 + 32)?;
    let _session = r.vec8()?;
    let _suites = r.vec16()?;
    let _compression = r.vec8()?;
    // TLS 1.2 allows a hello without extensions.
    let mut extensions = Reader(if r.0.is_empty() { &[] } else { r.vec16()? });
    if !r.0.is_empty() {
        return None;
    }
    while !extensions.0.is_empty() {
        let kind = extensions.u16()?;
        let data = extensions.vec16()?;
        match kind {
            0 if sni.is_none() => sni = Some(server_name(data)?),
            16 if alpn.is_none() => alpn = Some(protocols(data)?),
            0 | 16 => return None,
            _ => {}
        }
    }
    Some(Sniff::Hello { sni: sni.flatten(), alpn: alpn.unwrap_or_default() })
}

/// `None`: it breaks the rules.
fn server_name(data: &[u8]) -> Option<Option<Box<str>>> {
    let mut r = Reader(data);
    let mut list = Reader(r.vec16()?);
    let (kind, name) = (list.u8()?, list.vec16()?);
    if kind != 0 || !list.0.is_empty() || !r.0.is_empty() {
        return None;
    }
    let name = std::str::from_utf8(name).ok()?;
    if name.parse::<IpAddr>().is_ok() {
        return Some(None);
    }
    let name = name.strip_suffix('.').unwrap_or(name);
    let well_formed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    if name.is_empty() || name.len() > 253 || !name.bytes().all(well_formed) {
        return None;
    }
    Some(Some(name.to_ascii_lowercase().into()))
}

fn protocols(data: &[u8]) -> Option<Vec<Box<[u8]>>> {
    let mut r = Reader(data);
    let mut list = Reader(r.vec16()?);
    let mut protocols = Vec::new();
    while !list.0.is_empty() {
        let name = list.vec8()?;
        if name.is_empty() {
            return None;
        }
        protocols.push(name.into());
    }
    r.0.is_empty().then_some(protocols)
}

/// Takes bytes from the front; `None` where there are too few.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, n: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(n)?;
        self.0 = rest;
        Some(taken)
    }

    fn u8(&mut self) -> Option<u8> {
        let (&first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(first)
    }

    fn u16(&mut self) -> Option<u16> {
        let (&bytes, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(u16::from_be_bytes(bytes))
    }

    fn vec8(&mut self) -> Option<&'a [u8]> {
        let n = self.u8()?;
        self.take(n.into())
    }

    fn vec16(&mut self) -> Option<&'a [u8]> {
        let n = self.u16()?;
        self.take(n.into())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;
    use rustls::pki_types::ServerName;
    use rustls::{ClientConfig, ClientConnection, RootCertStore};

    use super::*;

    /// The first bytes of a real client.
    fn hello(name: &str, alpn: &[&str], fragment: Option<usize>) -> Vec<u8> {
        let mut config = ClientConfig::builder_with_provider(crate::tls::provider())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(RootCertStore::empty())
            .with_no_client_auth();
        config.alpn_protocols = alpn.iter().map(|p| p.as_bytes().to_vec()).collect();
        config.max_fragment_size = fragment;
        let name = ServerName::try_from(name.to_owned()).unwrap();
        let mut client = ClientConnection::new(Arc::new(config), name).unwrap();
        let mut bytes = Vec::new();
        while client.wants_write() {
            client.write_tls(&mut bytes).unwrap();
        }
        bytes
    }

    fn expected(sni: Option<&str>, alpn: &[&str]) -> Sniff {
        Sniff::Hello { sni: sni.map(Into::into), alpn: alpn.iter().map(|p| p.as_bytes().into()).collect() }
    }

    #[test]
    fn a_hello_is_read_and_every_beginning_of_it_asks_for_more() {
        for (bytes, sniff) in [
            (
                hello("A.Example.com", &["h2", "http/1.1"], None),
                expected(Some("a.example.com"), &["h2", "http/1.1"]),
            ),
            (hello("a.example.com", &[], Some(37)), expected(Some("a.example.com"), &[])),
            (hello("127.0.0.1", &["x"], None), expected(None, &["x"])),
        ] {
            assert_eq!(client_hello(&bytes), sniff);
            for n in 0..bytes.len() {
                assert_eq!(client_hello(&bytes[..n]), Sniff::NeedMore, "{n} of {}", bytes.len());
            }
            let more = [&bytes[..], b"more"].concat();
            assert_eq!(client_hello(&more), sniff, "what follows is not looked at");
        }
    }

    /// A hello with these extensions.
    fn made(extensions: &[(u16, &[u8])]) -> Vec<u8> {
        let mut body = vec![3, 3];
        body.extend([7; 32]);
        body.extend([0, 0, 2, 0x13, 1, 1, 0]);
        let all: Vec<u8> = extensions
            .iter()
            .flat_map(|(kind, data)| {
                [&kind.to_be_bytes()[..], &u16::try_from(data.len()).unwrap().to_be_bytes(), data].concat()
            })
            .collect();
        body.extend(u16::try_from(all.len()).unwrap().to_be_bytes());
        body.extend(all);
        let length = u16::try_from(body.len()).unwrap();
        let mut out = vec![22, 3, 1];
        out.extend((length + 4).to_be_bytes());
        out.extend([1, 0]);
        out.extend(length.to_be_bytes());
        out.extend(body);
        out
    }

    #[test]
    fn what_breaks_the_rules_is_not_tls() {
        let name: &[u8] = &[0, 6, 0, 0, 3, b'a', b'.', b'b'];
        assert_eq!(client_hello(&made(&[(0, name)])), expected(Some("a.b"), &[]));
        let long: Vec<u8> = [&[0x40, 0, 0, 0x3f, 0xfd][..], &[b'a'; 0x3ffd]].concat();
        for (why, bytes) in [
            ("HTTP", b"GET / HTTP/1.1\r\n\r\n".to_vec()),
            ("SSLv2", vec![0x80, 0x2e, 1, 3, 1]),
            ("alert", vec![21, 3, 3, 0, 2, 2, 70]),
            ("an empty record", vec![22, 3, 1, 0, 0]),
            ("a record too long", vec![22, 3, 1, 0x40, 1]),
            ("another message", vec![22, 3, 1, 0, 4, 2]),
            ("a message too long", vec![22, 3, 1, 0x40, 0, 1, 1, 0, 0]),
            ("server name twice", made(&[(0, name), (0, name)])),
            ("two names", made(&[(0, &[0, 8, 0, 0, 1, b'a', 0, 0, 1, b'b'])])),
            ("an unknown kind of name", made(&[(0, &[0, 4, 1, 0, 1, b'a'])])),
            ("an empty name", made(&[(0, &[0, 3, 0, 0, 0])])),
            ("no name", made(&[(0, &[])])),
            ("a name with a space", made(&[(0, &[0, 6, 0, 0, 3, b'a', b' ', b'b'])])),
            ("bytes after the name", made(&[(0, &[0, 4, 0, 0, 1, b'a', 0])])),
            ("an empty protocol", made(&[(16, &[0, 1, 0])])),
            ("a name too long", made(&[(0, &long[..0x2000])])),
        ] {
            assert_eq!(client_hello(&bytes), Sniff::NotTls, "{why}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_answered(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            client_hello(&bytes);
            let record = [&[22, 3, 1, 0x10, 0, 1, 0, 1, 0][..], &bytes].concat();
            client_hello(&record);
        }

        #[test]
        fn a_damaged_hello_is_answered(at in any::<prop::sample::Index>(), with in any::<u8>()) {
            let mut bytes = made(&[(0, &[0, 6, 0, 0, 3, b'a', b'.', b'b']), (16, &[0, 3, 2, b'h', b'2'])]);
            let at = at.index(bytes.len());
            bytes[at] = with;
            client_hello(&bytes);
        }

        /// Whoever terminates the connection must not see another name than the one it was routed by.
        #[test]
        fn a_damaged_hello_names_the_same_server_to_rustls(
            at in any::<prop::sample::Index>(),
            with in proptest::collection::vec(any::<u8>(), 1..4),
        ) {
            static HELLO: std::sync::LazyLock<Vec<u8>> =
                std::sync::LazyLock::new(|| hello("a.example.com", &["h2"], None));
            let mut bytes = HELLO.clone();
            let at = at.index(bytes.len());
            for (byte, with) in bytes[at..].iter_mut().zip(with) {
                *byte = with;
            }
            let mut acceptor = rustls::server::Acceptor::default();
            let mut rest = &bytes[..];
            while !rest.is_empty() {
                acceptor.read_tls(&mut rest).unwrap();
            }
            let sniffed = client_hello(&bytes);
            if let (Ok(Some(accepted)), Sniff::Hello { sni, alpn }) = (acceptor.accept(), &sniffed) {
                let hello = accepted.client_hello();
                let theirs = hello.server_name().map(|name| name.strip_suffix('.').unwrap_or(name));
                prop_assert_eq!(sni.as_deref(), theirs);
                let theirs: Vec<&[u8]> = hello.alpn().map(Iterator::collect).unwrap_or_default();
                prop_assert_eq!(alpn.iter().map(|p| &**p).collect::<Vec<_>>(), theirs);
            }
        }

        #[test]
        fn it_ends(size in 0usize..64) {
            // Records of one byte for ever: a bound is reached.
            let mut bytes = vec![22, 3, 1, 0, 4, 1, 0, 0x3f, 0];
            while bytes.len() < MAX_BYTES {
                bytes.extend([22, 3, 1, 0, 1, 0]);
            }
            prop_assert_eq!(client_hello(&bytes[..MAX_BYTES + size.min(bytes.len() - MAX_BYTES)]), Sniff::NotTls);
        }
    }
}
