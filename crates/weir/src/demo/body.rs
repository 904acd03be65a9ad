//! Response bodies of the demo upstream.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio::time::{Interval, MissedTickBehavior};

/// What a download is made of: lines of a fixed text, so that a person and a checksum can tell if one is missing.
const CHUNK: usize = 64 << 10;

/// A response body.
pub(super) enum DemoBody {
    /// All there.
    Full(Bytes),
    /// So many bytes of a download.
    Download { left: u64, chunk: Bytes },
    /// Server-sent events.
    Events { interval: Interval, sent: u64, left: u64 },
}

impl DemoBody {
    pub(super) fn download(size: u64) -> Self {
        let chunk: Bytes = b"0123456789abcdef".iter().copied().cycle().take(CHUNK).collect();
        DemoBody::Download { left: size, chunk }
    }

    /// `count` events, one each `every`.
    pub(super) fn events(every: Duration, count: u64) -> Self {
        let mut interval = tokio::time::interval(every);
        interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
        DemoBody::Events { interval, sent: 0, left: count }
    }
}

impl From<Bytes> for DemoBody {
    fn from(bytes: Bytes) -> Self {
        DemoBody::Full(bytes)
    }
}

impl Body for DemoBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let data = match &mut *self {
            DemoBody::Full(bytes) => std::mem::take(bytes),
            DemoBody::Download { left, chunk } => {
                let length = usize::try_from(*left).map_or(CHUNK, |left| left.min(CHUNK));
                *left -= length as u64;
                chunk.slice(..length)
            }
            DemoBody::Events { left: 0, .. } => Bytes::new(),
            DemoBody::Events { interval, sent, left } => {
                ready!(interval.poll_tick(cx));
                *left -= 1;
                *sent += 1;
                format!("id: {sent}\ndata: event {sent} of the demo upstream\n\n").into()
            }
        };
        Poll::Ready((!data.is_empty()).then(|| Ok(Frame::data(data))))
    }

    fn is_end_stream(&self) -> bool {
        match self {
            DemoBody::Full(bytes) => bytes.is_empty(),
            DemoBody::Download { left, .. } | DemoBody::Events { left, .. } => *left == 0,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            DemoBody::Full(bytes) => SizeHint::with_exact(bytes.len() as u64),
            DemoBody::Download { left, .. } => SizeHint::with_exact(*left),
            DemoBody::Events { .. } => SizeHint::default(),
        }
    }
}
