//! What hooks say. A failure is said with `Err`.

use serde::Serialize;

use crate::bindings::weir::plugin::types::{self, Header};
use crate::filter::Result;

/// A whole answer that the plugin gives instead of an upstream.
#[derive(Debug, Clone, PartialEq)]
pub struct Reply {
    /// 200 to 599.
    pub status: u16,
    /// Fields of the connection, and those that frame the message, are set by the host and ignored here.
    pub headers: Vec<Header>,
    /// The whole body.
    pub body: Vec<u8>,
}

impl Reply {
    /// With this status, no fields and no body.
    #[must_use]
    pub fn new(status: u16) -> Reply {
        Reply { status, headers: Vec::new(), body: Vec::new() }
    }

    /// With a body of plain text.
    pub fn text(status: u16, body: impl Into<String>) -> Reply {
        Reply::new(status).header("content-type", "text/plain; charset=utf-8").body(body.into())
    }

    /// With a body of JSON. Fails where the value is none, for example a map whose keys are no text.
    pub fn json(status: u16, body: &impl Serialize) -> Result<Reply> {
        Ok(Reply::new(status).header("content-type", "application/json").body(serde_json::to_vec(body)?))
    }

    /// One field more.
    #[must_use]
    pub fn header(mut self, name: &str, value: impl AsRef<[u8]>) -> Reply {
        self.headers.push(Header { name: name.to_ascii_lowercase(), value: value.as_ref().to_vec() });
        self
    }

    /// With this body.
    #[must_use]
    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Reply {
        self.body = body.into();
        self
    }
}

impl From<Reply> for types::Reply {
    fn from(reply: Reply) -> types::Reply {
        types::Reply { status: reply.status, headers: reply.headers, body: reply.body }
    }
}

/// What `on_connect` says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConnectVerdict {
    /// Go on with the next plugin, then with the connection.
    Accept,
    /// Close the connection without an answer. Later plugins are not asked.
    Refuse,
}

impl From<Result<ConnectVerdict>> for types::ConnectVerdict {
    fn from(result: Result<ConnectVerdict>) -> types::ConnectVerdict {
        match result {
            Ok(ConnectVerdict::Accept) => types::ConnectVerdict::Accept,
            Ok(ConnectVerdict::Refuse) => types::ConnectVerdict::Refuse,
            Err(failure) => types::ConnectVerdict::Fail(failure.into_text()),
        }
    }
}

/// What `on_request` and `on_response` say.
#[derive(Debug, Clone, PartialEq)]
pub enum Verdict {
    /// Go on with the next plugin.
    Proceed,
    /// Answer with this. Later plugins' `on_request` does not run, and no upstream is asked.
    Respond(Reply),
}

impl From<Reply> for Verdict {
    fn from(reply: Reply) -> Verdict {
        Verdict::Respond(reply)
    }
}

impl From<Result<Verdict>> for types::Verdict {
    fn from(result: Result<Verdict>) -> types::Verdict {
        match result {
            Ok(Verdict::Proceed) => types::Verdict::Proceed,
            Ok(Verdict::Respond(reply)) => types::Verdict::Respond(reply.into()),
            Err(failure) => types::Verdict::Fail(failure.into_text()),
        }
    }
}

/// What a body hook makes of a piece.
#[derive(Debug, Clone, PartialEq)]
pub enum Piece {
    /// It goes on as it is.
    Pass,
    /// These bytes go on instead; none hold it back.
    Replace(Vec<u8>),
    /// Of a request whose response has not begun: answer with this instead.
    Respond(Reply),
}

impl Piece {
    /// Nothing goes on for now.
    #[must_use]
    pub fn hold() -> Piece {
        Piece::Replace(Vec::new())
    }
}

impl From<Reply> for Piece {
    fn from(reply: Reply) -> Piece {
        Piece::Respond(reply)
    }
}

impl From<Result<Piece>> for types::Piece {
    fn from(result: Result<Piece>) -> types::Piece {
        match result {
            Ok(Piece::Pass) => types::Piece::Pass,
            Ok(Piece::Replace(data)) => types::Piece::Replace(data),
            Ok(Piece::Respond(reply)) => types::Piece::Respond(reply.into()),
            Err(failure) => types::Piece::Fail(failure.into_text()),
        }
    }
}

/// What a hook makes of a frame or a message. What the hook has sent itself in the same direction goes first.
#[derive(Debug, Clone, PartialEq)]
pub enum FrameVerdict {
    /// It goes on as it is.
    Forward,
    /// These bytes go on instead, as the same opcode.
    Replace(Vec<u8>),
    /// It goes no further.
    Drop,
    /// The relay ends with this, on both sides.
    Close {
        /// RFC 6455, section 7.4.
        code: u16,
        /// At most 123 bytes.
        reason: String,
    },
}

impl From<Result<FrameVerdict>> for types::FrameVerdict {
    fn from(result: Result<FrameVerdict>) -> types::FrameVerdict {
        match result {
            Ok(FrameVerdict::Forward) => types::FrameVerdict::Forward,
            Ok(FrameVerdict::Replace(data)) => types::FrameVerdict::Replace(data),
            Ok(FrameVerdict::Drop) => types::FrameVerdict::Drop,
            Ok(FrameVerdict::Close { code, reason }) => {
                types::FrameVerdict::Close(types::CloseReason { code, reason })
            }
            Err(failure) => types::FrameVerdict::Fail(failure.into_text()),
        }
    }
}
