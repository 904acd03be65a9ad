//! What comes before HTTP on a connection: the PROXY protocol, and TLS that is only looked at.

use std::future::Future;
use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};

use rustls::server::Acceptor;
use tokio::io::{AsyncRead, ReadBuf};
use weir_plugin::Peer;

use super::{cuts, pieces};
use crate::listen::proxy_protocol::{self, Origin};
use crate::tls::sniff::{self, Sniff};

/// A connection's first bytes from a sender that must send a PROXY header.
pub fn proxy_protocol(data: &[u8]) {
    let whole = proxy_protocol::parse(data);
    match &whole {
        Ok(Some((origin, length))) => {
            assert!((15..=data.len()).contains(length), "{length} of {}", data.len());
            if let Origin::Forwarded { source: Peer::Ip(source), destination: Peer::Ip(destination) } = origin
            {
                assert_eq!(source.is_ipv4(), destination.is_ipv4(), "both of one family");
            }
            let alone = proxy_protocol::parse(&data[..*length]);
            assert_eq!(alone, whole, "what follows a header is not looked at");
        }
        Ok(None) => assert!(data.len() < 16 + 4096, "more is asked for without end"),
        Err(_) => {}
    }
    // A beginning says the same as the whole, or that it is one.
    for end in 1..data.len() {
        let early = proxy_protocol::parse(&data[..end]);
        assert!(early == Ok(None) || early == whole, "{early:?} at {end}, later {whole:?}");
    }
    for cuts in cuts(data) {
        let mut stream = Pieces(pieces(data, &cuts));
        let read = pin!(proxy_protocol::read(&mut stream)).poll(&mut Context::from_waker(Waker::noop()));
        let Poll::Ready(read) = read else { panic!("the bytes are all there") };
        match (read, &whole) {
            (Ok((origin, more)), Ok(Some((wanted, length)))) => {
                assert_eq!(&origin, wanted);
                let rest: Vec<u8> = more.iter().chain(stream.0.iter().copied().flatten()).copied().collect();
                assert_eq!(rest, &data[*length..], "not a byte behind a header is lost");
            }
            (Err(_), Ok(None) | Err(_)) => {}
            (read, whole) => panic!("{read:?}, in one piece {whole:?}"),
        }
    }
}

/// Bytes that come in these pieces.
struct Pieces<'a>(Vec<&'a [u8]>);

impl AsyncRead for Pieces<'_> {
    fn poll_read(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let pieces = &mut self.get_mut().0;
        pieces.retain(|piece| !piece.is_empty());
        if let Some(piece) = pieces.first_mut() {
            let n = piece.len().min(buffer.remaining());
            buffer.put_slice(&piece[..n]);
            *piece = &piece[n..];
        }
        Poll::Ready(Ok(()))
    }
}

/// A connection's first bytes on a listener that passes TLS on.
pub fn client_hello(data: &[u8]) {
    let whole = sniff::client_hello(data);
    assert!(whole != Sniff::NeedMore || data.len() < sniff::MAX_BYTES, "more is asked for without end");
    // A beginning says the same as the whole, or that it is one.
    let every = data.len() / 512 + 1;
    for end in (0..data.len()).step_by(every) {
        let early = sniff::client_hello(&data[..end]);
        assert!(early == Sniff::NeedMore || early == whole, "{early:?} at {end}, later {whole:?}");
    }
    let Sniff::Hello { sni, alpn } = &whole else { return };
    if let Some(name) = sni {
        let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'_' | b'.');
        assert!(!name.is_empty() && name.bytes().all(plain), "{name}");
    }
    // Whoever terminates the connection must not see another name than the one it is routed by.
    let mut acceptor = Acceptor::default();
    let mut rest = data;
    while !rest.is_empty() && acceptor.read_tls(&mut rest).is_ok_and(|n| n > 0) {
        let Ok(accepted) = acceptor.accept() else { return };
        let Some(accepted) = accepted else { continue };
        let hello = accepted.client_hello();
        let name = hello.server_name().map(|name| name.strip_suffix('.').unwrap_or(name));
        assert_eq!(sni.as_deref(), name, "the server name that rustls reads");
        let protocols: Vec<&[u8]> = hello.alpn().map(Iterator::collect).unwrap_or_default();
        assert_eq!(
            alpn.iter().map(|p| &**p).collect::<Vec<_>>(),
            protocols,
            "the protocols that rustls reads"
        );
        return;
    }
}
