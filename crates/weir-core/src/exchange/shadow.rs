//! A request that is tried on a snapshot that does not serve yet: a copy of its head goes through the hooks, in a task of
//! its own, after the request itself went through those that serve.

use std::any::Any;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::sync::{Arc, LazyLock};
use std::task::{Context, Poll};
use std::time::Instant;

use bytes::Bytes;
use http_body::Body as _;
use tokio::task::spawn_local;
use tracing::Dispatch;
use tracing::subscriber::NoSubscriber;
use weir_plugin::{Content, Exchange, Held, Source};

use super::{Chain, Session, Tally, admit};
use crate::body::Body;
use crate::route::CompiledRoute;
use crate::shadow::{self, Ended, Shadow};
use crate::worker::Worker;

/// A request that is to be tried.
pub(super) struct Sample(Box<Inner>);

struct Inner {
    shadow: Arc<Shadow>,
    x: Exchange,
    route: Arc<CompiledRoute>,
    /// When the hooks that serve began.
    since: Instant,
}

/// A copy of a request that this route takes, if it is one to be tried. To be called right before the hooks that serve;
/// one relaxed load while nothing is tried.
pub(super) fn sample(session: &Session, tally: &Tally, route: &CompiledRoute, body: &Body) -> Option<Sample> {
    let shadow = tally.snapshot.trials.current()?;
    Sample::take(shadow, session, &tally.x, route, body)
}

impl Sample {
    #[cold]
    fn take(
        shadow: Arc<Shadow>,
        session: &Session,
        x: &Exchange,
        route: &CompiledRoute,
        body: &Body,
    ) -> Option<Self> {
        if !shadow.takes_next() {
            return None;
        }
        // Where no route takes it any more, there are no hooks.
        let found = shadow.snapshot().router.find(&admit::question(session, x))?;
        let next = found.route.clone();
        if shadow.is_same(&next, route) {
            return None;
        }
        if !shadow.can_try(&next) {
            shadow.unjudged();
            return None;
        }
        let x = Exchange {
            request_id: x.request_id.clone(),
            client: x.client,
            captures: found.captures,
            method: x.method.clone(),
            uri: x.uri.clone(),
            version: x.version,
            is_websocket: x.is_websocket,
            headers: x.headers.clone(),
            request_body: if body.is_end_stream() {
                Content::default()
            } else {
                Content::new(Box::new(Absent))
            },
            ..Exchange::new(x.id, x.connection.clone(), next.spec.name.clone())
        };
        Some(Sample(Box::new(Inner { shadow, x, route: next, since: Instant::now() })))
    }

    /// Tries it, if not too many others are being tried on the worker: the request itself has been through the hooks that
    /// serve, and these have failed or not. It goes on by itself.
    pub(super) fn run(self, worker: &Rc<Worker>, failed: bool) {
        let Inner { shadow, x, route, since } = *self.0;
        let before = since.elapsed();
        let Some(place) = worker.trial() else { return shadow.left_out() };
        worker.tidy_after(&shadow);
        let worker = worker.clone();
        spawn_local(async move {
            let _place = place;
            let mut trying = shadow.begin(before);
            let ended = apart(async {
                let mut chain = Chain::tried(&worker, &route).await?;
                // A plugin starts once, and not for each request.
                trying.restart();
                chain.try_request(&mut Held::new(x), shadow.snapshot()).await
            });
            let ended = match ended.await {
                Some(Ok(())) => Ended::Passed,
                Some(Err(_)) if failed => Ended::Unjudged,
                Some(Err((plugin, message))) => Ended::Failed(plugin, message),
                None => Ended::Unjudged,
            };
            trying.end(ended);
        });
    }
}

/// Takes lines for no log. Not `Dispatch::none()`: of a place whose first line goes there it would be kept that nobody
/// ever wants its lines.
static NOBODY: LazyLock<Dispatch> = LazyLock::new(|| Dispatch::new(NoSubscriber::new()));

/// Runs something whose lines go to no log. `None` when it asks for what it cannot have.
async fn apart<T>(work: impl Future<Output = T>) -> Option<T> {
    let mut work = pin!(work);
    poll_fn(|cx| {
        // What others left behind.
        shadow::is_lost();
        let polled = tracing::dispatcher::with_default(&NOBODY, || work.as_mut().poll(cx));
        match shadow::is_lost() {
            true => Poll::Ready(None),
            false => polled.map(Some),
        }
    })
    .await
}

/// The body of a request that is tried: it goes where the request goes, and is not there twice.
struct Absent;

impl Source for Absent {
    fn poll_piece(&mut self, _: &mut Context<'_>) -> Poll<Option<weir_plugin::error::Result<Bytes>>> {
        shadow::lose();
        Poll::Pending
    }

    fn into_any(self: Box<Self>) -> Box<dyn Any> {
        self
    }
}
