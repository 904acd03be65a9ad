//! Futures that have their work in turns.

use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

/// Runs a future that ends its turns by waking itself, so that between two of them the event loop looks at its
/// sockets and timers: woken at once, a task would have dozens of turns before that.
pub(crate) struct InTurns<F> {
    inner: F,
    watch: Arc<Watch>,
}

struct Watch {
    /// Whether the future runs now.
    inside: AtomicBool,
    /// Whether it has woken itself meanwhile.
    again: AtomicBool,
    task: Mutex<Option<Waker>>,
}

impl<F> InTurns<F> {
    pub(crate) fn new(inner: F) -> Self {
        let watch =
            Watch { inside: AtomicBool::new(false), again: AtomicBool::new(false), task: Mutex::default() };
        InTurns { inner, watch: Arc::new(watch) }
    }
}

impl Wake for Watch {
    fn wake(self: Arc<Self>) {
        // Told before it is looked whether the future runs: one of the two sides sees the other.
        self.again.store(true, Ordering::SeqCst);
        if !self.inside.load(Ordering::SeqCst)
            && let Some(task) = &*self.task.lock().unwrap_or_else(PoisonError::into_inner)
        {
            task.wake_by_ref();
        }
    }
}

impl<F: Future + Unpin> Future for InTurns<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let watch = self.watch.clone();
        *watch.task.lock().unwrap_or_else(PoisonError::into_inner) = Some(cx.waker().clone());
        watch.again.store(false, Ordering::SeqCst);
        watch.inside.store(true, Ordering::SeqCst);
        let polled = Pin::new(&mut self.inner).poll(&mut Context::from_waker(&Waker::from(watch.clone())));
        watch.inside.store(false, Ordering::SeqCst);
        if polled.is_pending() && watch.again.swap(false, Ordering::SeqCst) {
            // Its first poll has the task woken after the event loop's next look.
            let _ = pin!(tokio::task::yield_now()).poll(cx);
        }
        polled
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;
    use std::future::poll_fn;
    use std::rc::Rc;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    #[test]
    fn sockets_have_their_turn_between_two_turns() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        tokio::task::LocalSet::new().block_on(&runtime, async {
            let (mut one, mut other) = tokio::net::UnixStream::pair().expect("sockets");
            let turns = Rc::new(Cell::new(0));
            let count = turns.clone();
            let working = tokio::task::spawn_local(InTurns::new(poll_fn(move |cx: &mut Context<'_>| {
                count.set(count.get() + 1);
                cx.waker().wake_by_ref();
                if count.get() < 1000 { Poll::Pending } else { Poll::Ready(()) }
            })));
            tokio::task::spawn_local(async move {
                while let Ok(byte) = other.read_u8().await {
                    other.write_u8(byte).await.expect("it is open");
                }
            });
            for _ in 0..10 {
                let before = turns.get();
                one.write_u8(1).await.expect("it is open");
                one.read_u8().await.expect("it comes back");
                let waited = turns.get() - before;
                assert!(waited < 20, "there and back took {waited} turns of another");
            }
            working.await.expect("it ends");
        });
    }
}
