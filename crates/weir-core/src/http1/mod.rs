//! HTTP/1.1 (RFC 9112), both sides. The seam of the design: the rest of the crate sees requests, responses and
//! bodies, never bytes.

pub mod client;

use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Frame, SizeHint};

use crate::error::Error;

/// A body that is being received on an HTTP/1 connection.
pub struct Incoming {}

impl Incoming {
    /// As [`http_body::Body::poll_frame`].
    pub fn poll_frame(&mut self, _cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        unimplemented!()
    }

    /// As [`http_body::Body::is_end_stream`].
    pub fn is_end(&self) -> bool {
        unimplemented!()
    }

    /// As [`http_body::Body::size_hint`].
    pub fn size_hint(&self) -> SizeHint {
        unimplemented!()
    }
}
