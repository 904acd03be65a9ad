//! Values of a worker that a store's data holds by number: that can be sent, they cannot.
//!
//! A store never leaves the thread that made it, but wasmtime asks for data that could. On another thread such a number
//! would find nothing.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::future::poll_fn;
use std::marker::PhantomData;
use std::pin::Pin;
use std::task::{Context, Poll};

use weir_plugin::error::{Error, Result};

use crate::now::current;

thread_local! {
    static VALUES: RefCell<HashMap<u64, Box<dyn Any>>> = RefCell::default();
    static LAST: Cell<u64> = const { Cell::new(0) };
}

/// A value of this worker, which is dropped with this.
#[derive(Debug)]
pub(crate) struct Local<T> {
    number: u64,
    of: PhantomData<fn(T) -> T>,
}

impl<T: 'static> Local<T> {
    /// Keeps a value.
    pub(crate) fn new(value: T) -> Self {
        let number = LAST.get() + 1;
        LAST.set(number);
        VALUES.with_borrow_mut(|values| values.insert(number, Box::new(value)));
        Local { number, of: PhantomData }
    }

    /// Runs `f` on the value, which nobody else gets at meanwhile.
    ///
    /// # Errors
    /// [`Error::Failed`] on another thread, and within itself.
    pub(crate) fn with<R>(&self, f: impl FnOnce(&mut T) -> R) -> Result<R> {
        let lost = || Error::Failed("this value is of another worker".to_owned());
        // Taken out, so that `f` may make and drop others.
        let mut value = VALUES.with_borrow_mut(|values| values.remove(&self.number)).ok_or_else(lost)?;
        let done = value.downcast_mut::<T>().map(f).ok_or_else(lost);
        VALUES.with_borrow_mut(|values| values.insert(self.number, value));
        done
    }
}

impl<T> Drop for Local<T> {
    fn drop(&mut self) {
        // Dropped after the borrow has ended: it may hold others. At the end of the thread there are none any more.
        drop(VALUES.try_with(|values| values.try_borrow_mut().ok().and_then(|mut v| v.remove(&self.number))));
    }
}

/// A future that can be sent, of one that cannot.
pub(crate) fn sendable<T: 'static>(
    future: Pin<Box<dyn Future<Output = T>>>,
) -> impl Future<Output = Result<T>> + Send {
    let local = Local::new(future);
    poll_fn(move |cx| match local.with(|future| future.as_mut().poll(cx)) {
        Ok(polled) => polled.map(Ok),
        Err(error) => Poll::Ready(Err(error)),
    })
}

/// Waits for something on behalf of the call that runs: it ends with [`Error::Expired`] as soon as nobody waits for the call
/// any more.
pub(crate) fn wait<T>(
    mut poll: impl FnMut(&mut Context<'_>) -> Poll<Result<T>> + Send,
) -> impl Future<Output = Result<T>> + Send
where
    T: Send,
{
    poll_fn(move |cx| {
        if current(|now| Ok(now.is_cancelled())).unwrap_or(true) {
            return Poll::Ready(Err(Error::Expired("call")));
        }
        poll(cx)
    })
}

/// Waits for a future of the worker as [`wait`] does.
pub(crate) fn wait_for<T: Send + 'static>(
    future: Pin<Box<dyn Future<Output = T>>>,
) -> impl Future<Output = Result<T>> + Send {
    let mut future = Box::pin(sendable(future));
    wait(move |cx| future.as_mut().poll(cx))
}
