//! What calls come to, as the hooks of `weir-plugin` return it.

use bytes::Bytes;
use weir_plugin::websocket::{FrameVerdict, Watch};
use weir_plugin::{ConnectVerdict, Piece, Target, Verdict};

use crate::calls::Outcome;
use crate::guest::Returned;
use crate::host::convert;

/// Each call comes to what is its own; anything else would be an error of weir.
const OTHER: &str = "a hook came to what is another's";

pub(crate) fn done(returned: Returned) -> Result<(), String> {
    match returned? {
        Outcome::Failed(message) => Err(message),
        _ => Ok(()),
    }
}

pub(crate) fn connect(returned: Returned) -> ConnectVerdict {
    match returned {
        Ok(Outcome::Connect(verdict)) => convert::connect_verdict(verdict),
        Ok(_) => ConnectVerdict::Fail(OTHER.to_owned()),
        Err(message) => ConnectVerdict::Fail(message),
    }
}

pub(crate) fn verdict(returned: Returned) -> Verdict {
    match returned {
        Ok(Outcome::Verdict(verdict)) => convert::verdict(verdict),
        Ok(_) => Verdict::Fail(OTHER.to_owned()),
        Err(message) => Verdict::Fail(message),
    }
}

pub(crate) fn target(returned: Returned) -> Result<Target, String> {
    match returned? {
        Outcome::Target(target) => convert::target(target),
        _ => Err(OTHER.to_owned()),
    }
}

pub(crate) fn piece(returned: Returned) -> Piece {
    match returned {
        Ok(Outcome::Piece(piece)) => convert::piece(piece),
        Ok(_) => Piece::Fail(OTHER.to_owned()),
        Err(message) => Piece::Fail(message),
    }
}

pub(crate) fn watch(returned: Returned) -> Result<Watch, String> {
    match returned? {
        Outcome::Watch(watch) => watch.map(convert::watch),
        _ => Err(OTHER.to_owned()),
    }
}

pub(crate) fn frame(returned: Returned) -> FrameVerdict {
    match returned {
        Ok(Outcome::Frame(verdict)) => convert::frame_verdict(verdict),
        Ok(_) => FrameVerdict::Fail(OTHER.to_owned()),
        Err(message) => FrameVerdict::Fail(message),
    }
}

pub(crate) fn saved(returned: Returned) -> Result<Bytes, String> {
    match returned? {
        Outcome::Saved(saved) => saved.map(Bytes::from),
        _ => Err(OTHER.to_owned()),
    }
}
