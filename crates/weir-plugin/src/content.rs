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
pub struct Content(Option<Box<Inner>>);

#[derive(Default)]
struct Inner {
    source: Option<Box<dyn Source>>,
    read: BytesMut,
    /// Whether nothing more comes from the source.
    whole: bool,
    /// Whether the source broke off.
    broken: bool,
    replaced: Option<Bytes>,
}

impl Content {
    /// A body that has not been looked at.
    pub fn new(source: Box<dyn Source>) -> Self {
        Content(Some(Box::new(Inner { source: Some(source), ..Inner::default() })))
    }

    /// All of the body, once it has come; the same again when it is asked for again.
    ///
    /// # Errors
    /// [`Error::TooLarge`] where it has more bytes than `limit`: what was read is still handed on, and a higher limit
    /// may be tried. What the source says.
    pub fn poll_read(&mut self, cx: &mut Context<'_>, limit: usize) -> Poll<Result<Bytes>> {
        let Some(inner) = &mut self.0 else { return Poll::Ready(Ok(Bytes::new())) };
        if let Some(replaced) = &inner.replaced {
            return Poll::Ready(within(replaced.len(), limit).map(|()| replaced.clone()));
        }
        while !inner.whole {
            within(inner.read.len(), limit)?;
            let Some(source) = &mut inner.source else { break };
            match ready!(source.poll_piece(cx)) {
                Some(Ok(piece)) => inner.read.extend_from_slice(&piece),
                Some(Err(error)) => {
                    inner.broken = !matches!(error, Error::TooLarge(_));
                    return Poll::Ready(Err(error));
                }
                None => inner.whole = true,
            }
        }
        within(inner.read.len(), limit)?;
        Poll::Ready(Ok(inner.read.clone().freeze()))
    }

    /// The next piece of a body that nobody reads as a whole; `None` at the end.
    ///
    /// # Errors
    /// What the source says.
    pub fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes>>> {
        let Some(inner) = &mut self.0 else { return Poll::Ready(None) };
        if !inner.read.is_empty() {
            return Poll::Ready(Some(Ok(inner.read.split().freeze())));
        }
        match &mut inner.source {
            Some(source) if !inner.whole => {
                let piece = ready!(source.poll_piece(cx));
                inner.whole = piece.is_none();
                Poll::Ready(piece)
            }
            _ => Poll::Ready(None),
        }
    }

    /// Whether it broke off while it was read.
    pub fn is_broken(&self) -> bool {
        self.0.as_ref().is_some_and(|inner| inner.broken)
    }

    /// Puts something else in the place of the body, whether it was read or not.
    pub fn replace(&mut self, body: Bytes) {
        self.0.get_or_insert_default().replaced = Some(body);
    }

    /// What the body came from, and what a plugin put in its place.
    pub fn into_parts(self) -> (Option<Box<dyn Source>>, Option<Bytes>) {
        self.0.map_or((None, None), |inner| (inner.source, inner.replaced))
    }
}

fn within(length: usize, limit: usize) -> Result<()> {
    if length > limit { Err(Error::TooLarge(limit as u64)) } else { Ok(()) }
}

impl std::fmt::Debug for Content {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let read = self.0.as_ref().map_or(0, |inner| inner.read.len());
        f.debug_struct("Content").field("read", &read).finish_non_exhaustive()
    }
}
