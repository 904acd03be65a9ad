//! Bodies of messages, as plugins read and replace them.

use std::any::Any;
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};

use crate::error::{Error, Result};

/// Where a body comes from.
pub trait Source {
    /// The next piece, without its content coding where that is one that is known (RFC 9110, section 8.4). `None` at
    /// the end; not asked again after that or an error.
    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes>>>;
    /// Itself, for whoever made it.
    fn into_any(self: Box<Self>) -> Box<dyn Any>;
}

/// A body that is all there.
impl Source for Bytes {
    fn poll_piece(&mut self, _: &mut Context<'_>) -> Poll<Option<Result<Bytes>>> {
        let all = std::mem::take(self);
        Poll::Ready((!all.is_empty()).then_some(Ok(all)))
    }

    fn into_any(self: Box<Self>) -> Box<dyn Any> {
        self
    }
}

/// A body: what of it is still to come, and what a plugin made of it.
#[derive(Default)]
pub struct Content {
    source: Option<Box<dyn Source>>,
    read: BytesMut,
    /// Whether `read` is all of it.
    whole: bool,
    replaced: Option<Bytes>,
}

impl Content {
    /// A body that has not been looked at.
    pub fn new(source: Box<dyn Source>) -> Self {
        Content { source: Some(source), ..Content::default() }
    }

    /// All of the body, once it has come; the same again when it is asked for again.
    ///
    /// # Errors
    /// [`Error::TooLarge`] where it has more bytes than `limit`: what was read is still handed on, and a higher limit
    /// may be tried. What the source says.
    pub fn poll_read(&mut self, cx: &mut Context<'_>, limit: usize) -> Poll<Result<Bytes>> {
        if let Some(replaced) = &self.replaced {
            return Poll::Ready(within(replaced.len(), limit).map(|()| replaced.clone()));
        }
        while !self.whole {
            within(self.read.len(), limit)?;
            let Some(source) = &mut self.source else { break };
            match ready!(source.poll_piece(cx)) {
                Some(piece) => self.read.extend_from_slice(&piece?),
                None => self.whole = true,
            }
        }
        within(self.read.len(), limit)?;
        Poll::Ready(Ok(self.read.clone().freeze()))
    }

    /// The next piece of a body that nobody reads as a whole; `None` at the end.
    ///
    /// # Errors
    /// What the source says.
    pub fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes>>> {
        if !self.read.is_empty() {
            return Poll::Ready(Some(Ok(self.read.split().freeze())));
        }
        match &mut self.source {
            Some(source) if !self.whole => {
                let piece = ready!(source.poll_piece(cx));
                self.whole = piece.is_none();
                Poll::Ready(piece)
            }
            _ => Poll::Ready(None),
        }
    }

    /// Puts something else in the place of the body, whether it was read or not.
    pub fn replace(&mut self, body: Bytes) {
        self.replaced = Some(body);
    }

    /// What the body came from, and what a plugin put in its place.
    pub fn into_parts(self) -> (Option<Box<dyn Source>>, Option<Bytes>) {
        (self.source, self.replaced)
    }
}

fn within(length: usize, limit: usize) -> Result<()> {
    if length > limit { Err(Error::TooLarge(limit as u64)) } else { Ok(()) }
}

impl std::fmt::Debug for Content {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let read = self.read.len();
        f.debug_struct("Content").field("read", &read).field("whole", &self.whole).finish_non_exhaustive()
    }
}
