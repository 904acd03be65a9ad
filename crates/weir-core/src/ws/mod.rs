//! WebSocket frames and messages (RFC 6455) and permessage-deflate (RFC 7692), without I/O and without time of their
//! own: bytes in, what they mean or why they are wrong out.
//!
//! Everything works on slices, so that a frame which nobody changes can be forwarded as the bytes it came in.
//!
//! In reading order: [`frame`] (the header of one frame), [`sequence`] (which frame may follow which, and limits),
//! [`mask`], [`utf8`] (text in pieces), [`close`] (why a connection ends), [`extension`] (what both sides agree on about
//! compression), [`deflate`] (compression itself), [`states`] (the memory that it needs).

pub(crate) mod close;
pub(crate) mod deflate;
pub(crate) mod extension;
pub(crate) mod frame;
pub(crate) mod mask;
pub(crate) mod sequence;
pub(crate) mod states;
pub(crate) mod utf8;

/// A peer broke a rule or went over a limit: its connection is to be closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{detail} (close code {code})")]
pub(crate) struct Violation {
    /// The close code that tells the peer of it (RFC 6455, section 7.4.1).
    pub(crate) code: u16,
    /// What it was, for the log and as the reason of the close frame.
    pub(crate) detail: &'static str,
}

impl Violation {
    /// The protocol was broken: close code 1002.
    pub(crate) const fn protocol(detail: &'static str) -> Self {
        Violation { code: 1002, detail }
    }

    /// Data are not what they are said to be: close code 1007.
    pub(crate) const fn data(detail: &'static str) -> Self {
        Violation { code: 1007, detail }
    }

    /// More than is allowed, of what is otherwise right: close code 1008.
    pub(crate) const fn policy(detail: &'static str) -> Self {
        Violation { code: 1008, detail }
    }

    /// A frame or message is too big: close code 1009.
    pub(crate) const fn too_big(detail: &'static str) -> Self {
        Violation { code: 1009, detail }
    }
}

/// The part that the sender of frames plays in its connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// It opened the connection: what it sends is masked.
    Client,
    /// It accepted the connection: what it sends is not masked.
    Server,
}
