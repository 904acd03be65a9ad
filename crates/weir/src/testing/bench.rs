//! What a test gets: plugins, a clock that it moves, a key-value store of its own, and other servers that it answers
//! for.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::Poll;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use weir_lua::testing::{Script, Waiting};
use weir_plugin::scenario::websocket::{Conversation, Conversed, Event};
use weir_plugin::scenario::{Admission, Arrival, LogLine, Outcome, Scenario};
use weir_plugin::services::{Clock, HttpAnswer, HttpCall, HttpClient, Services};
use weir_plugin::settings::Settings;
use weir_plugin::websocket::Direction;
use weir_plugin::{Content, Error, Instance, Plugin, Policy, Step};
use weir_services::{NotedRelays, Scripted};

use super::exchange::{self, Patience};
use super::lines::Lines;
use super::websocket;

/// Memory of the key-value store, in bytes.
const KV_MEMORY: u64 = 16 << 20;

/// The most timers and ticks that are run when a test moves the clock once.
const MOST: usize = 10_000;

/// Loads the plugin that is tested.
pub(super) type Loader = Box<dyn Fn(Settings, Policy, Services) -> Waiting<Result<Arc<dyn Plugin>, String>>>;

/// What one test has.
pub(super) struct Bench {
    loader: Loader,
    pub(super) services: Services,
    patience: Patience,
    lines: Lines,
    relays: NotedRelays,
    calls: RefCell<mpsc::UnboundedReceiver<Asked>>,
    plugins: RefCell<Vec<Running>>,
}

/// A plugin that a test has loaded.
#[derive(Clone)]
struct Running {
    plugin: Arc<dyn Plugin>,
    instance: Rc<dyn Instance>,
    /// When it ticks next, if it does.
    next_tick: Rc<Cell<Option<Duration>>>,
}

impl Running {
    /// When something is to run next that it has set.
    fn next_due(&self) -> Option<Duration> {
        let timer = self.instance.timers().and_then(|timers| timers.next_due());
        timer.into_iter().chain(self.next_tick.get()).min()
    }
}

/// A call that the test is to answer.
struct Asked {
    call: HttpCall,
    answer: oneshot::Sender<Result<Scripted, Error>>,
    /// Until it is answered, sleeps do not end.
    open: Open,
}

/// Counts as a call while it lives.
struct Open(Patience);

impl Open {
    fn new(patience: &Patience) -> Self {
        patience.calls.fetch_add(1, Ordering::Relaxed);
        Open(patience.clone())
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.calls.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Hands calls to the test.
struct Client {
    tell: mpsc::UnboundedSender<Asked>,
    patience: Patience,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").finish_non_exhaustive()
    }
}

impl HttpClient for Client {
    fn send(&self, call: HttpCall) -> Pin<Box<dyn Future<Output = Result<HttpAnswer, Error>>>> {
        let (answer, answered) = oneshot::channel();
        let sent = self.tell.send(Asked { call, answer, open: Open::new(&self.patience) });
        Box::pin(async move {
            let gone = || Error::Failed("the test has ended".to_owned());
            sent.map_err(|_| gone())?;
            let (status, headers, body) = answered.await.map_err(|_| gone())??;
            Ok(HttpAnswer { status, headers, body: Content::new(Box::new(body)) })
        })
    }
}

impl Bench {
    /// A fresh one, with the clock at its begin and nothing in the store.
    pub(super) fn new(loader: Loader, lines: Lines) -> Rc<Self> {
        weir_services::seed();
        let (tell, calls) = mpsc::unbounded_channel();
        let patience = Patience::default();
        let client = Client { tell, patience: patience.clone() };
        let services =
            weir_services::with_clock(KV_MEMORY, Arc::new(client), Arc::new(patience.clock.clone()));
        let relays = NotedRelays::default();
        let services = Services { websockets: Arc::new(relays.clone()), ..services };
        let plugins = RefCell::default();
        Rc::new(Bench { loader, services, patience, lines, relays, calls: RefCell::new(calls), plugins })
    }

    /// Waits for something, and lets the test answer calls meanwhile.
    async fn answering<T>(&self, script: &Script, work: impl Future<Output = T>) -> T {
        let mut work = pin!(work);
        loop {
            let next = poll_fn(|cx| {
                if let Poll::Ready(done) = work.as_mut().poll(cx) {
                    return Poll::Ready(Ok(done));
                }
                // The sender lives as long as this.
                self.calls.borrow_mut().poll_recv(cx).map(Err)
            });
            match next.await {
                Ok(done) => return done,
                Err(Some(Asked { call, answer, open })) => {
                    // Whoever asked may have given up.
                    let _ = answer.send(script(call).await);
                    drop(open);
                }
                Err(None) => return work.await,
            }
        }
    }

    async fn start(&self, plugin: &Arc<dyn Plugin>) -> Result<Rc<dyn Instance>, String> {
        let deadline = plugin.policy().limits.deadline;
        let started = self.patience.bounded(deadline, plugin.instantiate()).await;
        started.map_err(|late| format!("on_load: {late}"))?.map_err(|error| error.message)
    }

    async fn load_and_start(&self, settings: Settings, policy: Policy) -> Result<Running, String> {
        let deadline = policy.limits.deadline;
        let loading = (self.loader)(settings, policy, self.services.clone());
        let loaded = self.patience.bounded(deadline, Step::Wait(loading)).await;
        let plugin = loaded.map_err(|late| format!("on_load: {late}"))??;
        // Once more, as each worker does. What it logs is told once.
        self.lines.take();
        let instance = self.start(&plugin).await?;
        let running = Running { plugin, instance, next_tick: Rc::default() };
        // It ticks as soon as it is there.
        self.tick(&running).await;
        Ok(running)
    }

    async fn tick(&self, running: &Running) {
        if let Some(every) = running.plugin.hooks().tick {
            running.next_tick.set(Some(self.patience.clock.monotonic().saturating_add(every)));
            self.beside(running, "on_tick", running.instance.on_tick()).await;
        }
    }

    /// Runs a hook that belongs to no exchange. How it failed is in the log.
    async fn beside(&self, running: &Running, hook: &str, step: Step<'static, Result<(), String>>) {
        let deadline = running.plugin.policy().limits.deadline;
        if let Err(message) = self.patience.bounded(deadline, step).await.flatten() {
            self.lines.push(LogLine { level: "error", text: format!("{hook}: {message}") });
        }
    }

    /// Moves the clock, and runs what is due meanwhile, the earliest first. A hook that sleeps moves the clock, too.
    /// What plugins logged, by their number.
    async fn go_on(&self, time: Duration) -> Result<Vec<(usize, LogLine)>, String> {
        let clock = &self.patience.clock;
        let until = clock.monotonic().saturating_add(time);
        let mut told = Vec::new();
        for _ in 0..MOST {
            let Some((at, number)) = self.next_due().filter(|(at, _)| *at <= until) else {
                clock.advance(until.saturating_sub(clock.monotonic()));
                return Ok(told);
            };
            clock.advance(at.saturating_sub(clock.monotonic()));
            self.lines.take();
            let running = self.running(number).await?;
            if let Some(name) = running.instance.timers().and_then(|timers| timers.take_due()) {
                self.beside(&running, "on_timer", running.instance.on_timer(name)).await;
            } else if running.next_tick.get().is_some_and(|at| at <= clock.monotonic()) {
                self.tick(&running).await;
            }
            told.extend(self.lines.take().into_iter().map(|line| (number, line)));
        }
        Err(format!("more than {MOST} timers and ticks run until then: move the clock in smaller steps"))
    }

    /// When the next timer or tick is due, and the number of its plugin.
    fn next_due(&self) -> Option<(Duration, usize)> {
        let plugins = self.plugins.borrow();
        let due = plugins.iter().map(Running::next_due).zip(0..);
        due.filter_map(|(at, number)| Some((at?, number))).min()
    }

    /// A plugin by its number, with an instance that takes exchanges.
    async fn running(&self, number: usize) -> Result<Running, String> {
        let running = self.plugins.borrow().get(number).cloned();
        let running = running.ok_or_else(|| "there is no such plugin".to_owned())?;
        if !running.instance.is_spent() {
            return Ok(running);
        }
        self.afresh(number, running).await
    }

    /// A plugin with a fresh instance.
    async fn afresh(&self, number: usize, running: Running) -> Result<Running, String> {
        let fresh = Running { instance: self.start(&running.plugin).await?, ..running };
        if let Some(place) = self.plugins.borrow_mut().get_mut(number) {
            *place = fresh.clone();
        }
        Ok(fresh)
    }

    /// Runs a WebSocket. What timers log meanwhile is of it, too.
    async fn converse(&self, number: usize, conversation: Conversation) -> Result<Conversed, String> {
        let Running { plugin, instance, .. } = self.running(number).await?;
        self.lines.take();
        let mut log = Vec::new();
        let Conversation { events, .. } = &conversation;
        let mut relay =
            websocket::Run::open(&*plugin, instance, &conversation, &self.patience, &self.relays).await?;
        for event in events {
            if !relay.is_open() {
                break;
            }
            match event {
                Event::Message { direction: Direction::ToClient, .. } if relay.is_late() => {
                    return Err("the upstream says nothing before there is something for it".to_owned());
                }
                Event::Message { direction, opcode, fragments, compressed } => {
                    relay.message(*direction, *opcode, fragments, *compressed).await;
                }
                Event::Close(closed) => relay.close(closed.clone()),
                Event::Wait(time) => {
                    log.append(&mut self.lines.take());
                    let told = self.go_on(*time).await?;
                    log.extend(told.into_iter().filter(|(of, _)| *of == number).map(|(_, line)| line));
                    relay.settle();
                }
                Event::Migrate => {
                    let running = self.running(number).await?;
                    relay.migrate(self.afresh(number, running).await?.instance).await;
                }
            }
            relay.connect().await?;
        }
        let mut conversed = relay.finish().await;
        log.append(&mut self.lines.take());
        conversed.exchange.log = log;
        Ok(conversed)
    }
}

impl weir_lua::testing::Bench for Bench {
    fn load(
        self: Rc<Self>,
        settings: Settings,
        policy: Policy,
        script: Script,
    ) -> Waiting<Result<(usize, Vec<LogLine>), String>> {
        Box::pin(async move {
            self.lines.take();
            let running = self.answering(&script, self.load_and_start(settings, policy)).await?;
            let mut plugins = self.plugins.borrow_mut();
            plugins.push(running);
            Ok((plugins.len() - 1, self.lines.take()))
        })
    }

    fn exchange(
        self: Rc<Self>,
        plugin: usize,
        scenario: Scenario,
        script: Script,
    ) -> Waiting<Result<Outcome, String>> {
        Box::pin(async move {
            let Running { plugin, instance, .. } = self.answering(&script, self.running(plugin)).await?;
            self.lines.take();
            let run = exchange::run(&*plugin, instance, scenario, &self.patience);
            let mut outcome = self.answering(&script, run).await?;
            outcome.log = self.lines.take();
            Ok(outcome)
        })
    }

    fn websocket(
        self: Rc<Self>,
        plugin: usize,
        conversation: Conversation,
        script: Script,
    ) -> Waiting<Result<Conversed, String>> {
        Box::pin(async move { self.answering(&script, self.converse(plugin, conversation)).await })
    }

    fn advance(
        self: Rc<Self>,
        time: Duration,
        script: Script,
    ) -> Waiting<Result<Vec<(usize, LogLine)>, String>> {
        Box::pin(async move { self.answering(&script, self.go_on(time)).await })
    }

    fn connect(
        self: Rc<Self>,
        plugin: usize,
        arrival: Arrival,
        script: Script,
    ) -> Waiting<Result<Admission, String>> {
        Box::pin(async move {
            let Running { plugin, instance, .. } = self.answering(&script, self.running(plugin)).await?;
            self.lines.take();
            let asking = exchange::connect(&*plugin, &*instance, &arrival, &self.patience);
            let mut admission = self.answering(&script, asking).await;
            admission.log = self.lines.take();
            Ok(admission)
        })
    }
}

#[cfg(test)]
mod tests {
    use weir_lua::Source;
    use weir_lua::testing::TestFile;
    use weir_plugin::{Held, Hooks, PluginError, Verdict, Visit};

    use super::*;

    /// A plugin that answers with what another server says.
    #[derive(Clone, Debug)]
    struct Asking {
        services: Services,
        policy: Policy,
    }

    impl Plugin for Asking {
        fn name(&self) -> &str {
            "asking"
        }

        fn hooks(&self) -> Hooks {
            Hooks { request: true, ..Hooks::default() }
        }

        fn policy(&self) -> &Policy {
            &self.policy
        }

        fn instantiate(&self) -> Step<'_, Result<Rc<dyn Instance>, weir_plugin::PluginError>> {
            let started: Result<Rc<dyn Instance>, PluginError> = Ok(Rc::new(self.clone()));
            Step::Done(started)
        }
    }

    impl Instance for Asking {
        fn visit(self: Rc<Self>) -> Box<dyn Visit> {
            Box::new((*self).clone())
        }
    }

    impl Visit for Asking {
        fn on_request<'a>(&'a mut self, x: &'a mut Held) -> Step<'a, Verdict> {
            Step::Wait(Box::pin(async move {
                let call = HttpCall {
                    group: "login".into(),
                    method: http::Method::POST,
                    target: x.uri.path_and_query().cloned().expect("it has one"),
                    headers: http::HeaderMap::new(),
                    body: "who".into(),
                    timeout: Duration::from_secs(1),
                };
                // A bound of the plugin's own, which must not be over before the test has answered.
                let late = self.services.clock.sleep(call.timeout);
                let answer = tokio::select! {
                    answer = self.services.http.send(call) => answer,
                    () = late => Err(Error::Timeout),
                };
                match answer {
                    Ok(mut answer) => {
                        let body = poll_fn(|cx| answer.body.poll_read(cx, 1000)).await.expect("it is short");
                        let (status, headers) = (answer.status, answer.headers);
                        Verdict::Respond(weir_plugin::Reply { status, headers, body })
                    }
                    Err(error) => Verdict::Fail(error.to_string()),
                }
            }))
        }
    }

    /// Runs a test of a plugin that asks.
    fn check(test: &str) -> Result<(), String> {
        let loader: Loader = Box::new(|_, policy, services| {
            let plugin: Arc<dyn Plugin> = Arc::new(Asking { services, policy });
            Box::pin(std::future::ready(Ok(plugin)))
        });
        let text = format!("return {{ it = function(t) {test} end }}");
        let file = TestFile::new("asking", Source::text("plugin.lua", "return {}"), "plugin_test.lua", text);
        let bench = Bench::new(loader, Lines::default());
        let services = bench.services.clone();
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().build().expect("an event loop");
        let run = runtime.block_on(file.expect("it compiles").run("it", &services, bench));
        run.map_err(|failure| failure.fault.to_string())
    }

    #[test]
    fn a_test_answers_calls_of_the_plugin() {
        let answered = check(
            r#"
            t:http(function(call)
              weir.time.now()
              return { status = 202, headers = { ["x-a"] = "1" }, body = "you" }
            end)
            local x = t:plugin():exchange { path = "/a?b" }
            t:equal(x.response, { status = 202, headers = { ["x-a"] = "1" }, body = "you" })
            t:equal(t.calls, {
              { upstream = "login", method = "POST", path = "/a?b", headers = {}, body = "who" },
            })
            "#,
        );
        assert_eq!(answered, Ok(()));
    }

    #[test]
    fn calls_that_nobody_answers_fail_and_say_how() {
        let told = check(
            "t:match(t:plugin():exchange().failure, 'the test answers no calls %(POST / of login%); it does with t:http')",
        );
        assert_eq!(told, Ok(()));
    }

    #[test]
    fn an_error_in_the_answers_is_one_of_the_test() {
        let failed =
            check("t:http(function() error('mine') end) t:plugin():exchange()").expect_err("it fails");
        assert!(failed.contains("plugin_test.lua:1: mine"), "{failed}");
        let failed =
            check("t:http(function() return { status = 1 } end) t:equal(t:plugin():exchange().failure, nil)");
        assert!(failed.expect_err("it fails").contains("1 is no status"));
    }
}
