//! Between what the WIT package and what `weir-plugin` names the same.

use bytes::Bytes;
use weir_plugin::websocket::{self, CloseReason, Closed, ClosedBy, Frame, FrameVerdict, Watch};
use weir_plugin::{ConnectVerdict, Error, Piece, Selection, Target, Verdict, message};

use crate::bindings::imported::types as wit;

/// Why a call of the host did not succeed.
pub(crate) fn error(error: Error) -> wit::Error {
    match error {
        Error::Denied(text) => wit::Error::Denied(text),
        Error::TooLarge(most) => wit::Error::TooLarge(most),
        Error::Timeout => wit::Error::Timeout,
        Error::Expired(_) => wit::Error::Cancelled,
        Error::Invalid(text) => wit::Error::Invalid(text),
        Error::Failed(text) => wit::Error::Failed(text),
        other => wit::Error::Failed(other.to_string()),
    }
}

/// What a call that cannot say so comes to where it did not succeed: the guest ends.
pub(crate) fn trap(error: Error) -> wasmtime::Error {
    wasmtime::Error::msg(error.to_string())
}

/// Name and value.
pub(crate) fn header(name: &[u8], value: &[u8]) -> wit::Header {
    wit::Header { name: text(name), value: value.to_vec() }
}

/// Text of what is nearly always UTF-8.
pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Fields as the rules of messages take them.
pub(crate) fn fields(headers: &[wit::Header]) -> impl Iterator<Item = (&[u8], &[u8])> {
    headers.iter().map(|header| (header.name.as_bytes(), header.value.as_slice()))
}

fn reply(reply: wit::Reply) -> Result<weir_plugin::Reply, String> {
    let body = Bytes::from(reply.body);
    message::reply(reply.status.into(), fields(&reply.headers), body).map_err(|error| error.to_string())
}

pub(crate) fn connect_verdict(verdict: wit::ConnectVerdict) -> ConnectVerdict {
    match verdict {
        wit::ConnectVerdict::Accept => ConnectVerdict::Accept,
        wit::ConnectVerdict::Refuse => ConnectVerdict::Refuse,
        wit::ConnectVerdict::Fail(text) => ConnectVerdict::Fail(text),
    }
}

pub(crate) fn verdict(verdict: wit::Verdict) -> Verdict {
    match verdict {
        wit::Verdict::Proceed => Verdict::Proceed,
        wit::Verdict::Respond(given) => reply(given).map_or_else(Verdict::Fail, Verdict::Respond),
        wit::Verdict::Fail(text) => Verdict::Fail(text),
    }
}

pub(crate) fn piece(piece: wit::Piece) -> Piece {
    match piece {
        wit::Piece::Pass => Piece::Pass,
        wit::Piece::Replace(bytes) => Piece::Replace(bytes.into()),
        wit::Piece::Respond(given) => reply(given).map_or_else(Piece::Fail, Piece::Respond),
        wit::Piece::Fail(text) => Piece::Fail(text),
    }
}

pub(crate) fn selection(selection: &Selection) -> wit::Selection {
    let candidate = |candidate: &weir_plugin::Candidate| wit::Candidate {
        address: candidate.address.to_string(),
        weight: candidate.weight,
        load: candidate.load,
        available: candidate.available,
    };
    wit::Selection {
        group: selection.group.to_string(),
        candidates: selection.candidates.iter().map(candidate).collect(),
        attempt: selection.attempt,
        failure: selection.failure.map(str::to_owned),
    }
}

pub(crate) fn target(target: wit::Target) -> Result<Target, String> {
    match target {
        wit::Target::Default => Ok(Target::Default),
        wit::Target::Group(name) => Ok(Target::Group(name.into())),
        wit::Target::Endpoint(address) => Ok(Target::Endpoint(address.into())),
        wit::Target::HashKey(key) => Ok(Target::HashKey(key.into())),
        wit::Target::Fail(message) => Err(message),
    }
}

pub(crate) fn direction(direction: wit::Direction) -> websocket::Direction {
    match direction {
        wit::Direction::ToUpstream => websocket::Direction::ToUpstream,
        wit::Direction::ToClient => websocket::Direction::ToClient,
    }
}

pub(crate) fn opcode(opcode: wit::Opcode) -> websocket::Opcode {
    match opcode {
        wit::Opcode::Text => websocket::Opcode::Text,
        wit::Opcode::Binary => websocket::Opcode::Binary,
        wit::Opcode::Ping => websocket::Opcode::Ping,
        wit::Opcode::Pong => websocket::Opcode::Pong,
    }
}

pub(crate) fn frame(frame: Frame) -> wit::Frame {
    wit::Frame {
        direction: match frame.direction {
            websocket::Direction::ToUpstream => wit::Direction::ToUpstream,
            websocket::Direction::ToClient => wit::Direction::ToClient,
        },
        opcode: match frame.opcode {
            websocket::Opcode::Text => wit::Opcode::Text,
            websocket::Opcode::Binary => wit::Opcode::Binary,
            websocket::Opcode::Ping => wit::Opcode::Ping,
            websocket::Opcode::Pong => wit::Opcode::Pong,
        },
        data: frame.data.into(),
        first: frame.first,
        last: frame.last,
        sequence: frame.sequence,
        compressed: frame.compressed,
        size: frame.size,
    }
}

pub(crate) fn frame_verdict(verdict: wit::FrameVerdict) -> FrameVerdict {
    match verdict {
        wit::FrameVerdict::Forward => FrameVerdict::Forward,
        wit::FrameVerdict::Replace(bytes) => FrameVerdict::Replace(bytes.into()),
        wit::FrameVerdict::Drop => FrameVerdict::Drop,
        wit::FrameVerdict::Close(why) => match CloseReason::new(why.code.into(), &why.reason) {
            Ok(reason) => FrameVerdict::Close(reason),
            Err(error) => FrameVerdict::Fail(error.to_string()),
        },
        wit::FrameVerdict::Fail(text) => FrameVerdict::Fail(text),
    }
}

pub(crate) fn closed(closed: &Closed) -> wit::Closed {
    wit::Closed {
        code: closed.code,
        reason: closed.reason.to_string(),
        by: match closed.by {
            ClosedBy::Client => wit::ClosedBy::Client,
            ClosedBy::Upstream => wit::ClosedBy::Upstream,
            ClosedBy::Plugin => wit::ClosedBy::Plugin,
            ClosedBy::Weir => wit::ClosedBy::Weir,
            ClosedBy::Nobody => wit::ClosedBy::Nobody,
        },
    }
}

pub(crate) fn watch(watch: wit::Watch) -> Watch {
    Watch {
        frames: watch.contains(wit::Watch::FRAMES),
        messages: watch.contains(wit::Watch::MESSAGES),
        send: watch.contains(wit::Watch::SEND),
    }
}
