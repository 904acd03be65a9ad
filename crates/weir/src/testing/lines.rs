//! Lines that a plugin logs, kept for its test.

use std::fmt::{Debug, Write};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};
use weir_plugin::scenario::LogLine;

/// Lines of plugins since they were last taken.
#[derive(Clone, Debug, Default)]
pub(super) struct Lines(Arc<Mutex<Vec<LogLine>>>);

impl Lines {
    /// Keeps what is logged on this thread while the guard lives.
    pub(super) fn keep(&self) -> tracing::subscriber::DefaultGuard {
        tracing::subscriber::set_default(tracing_subscriber::registry().with(self.clone()))
    }

    pub(super) fn take(&self) -> Vec<LogLine> {
        std::mem::take(&mut self.all())
    }

    /// Adds a line.
    pub(super) fn push(&self, line: LogLine) {
        self.all().push(line);
    }

    fn all(&self) -> MutexGuard<'_, Vec<LogLine>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<S: Subscriber> Layer<S> for Lines {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut told = Told::default();
        event.record(&mut told);
        if told.of_plugin {
            let level = match *event.metadata().level() {
                Level::ERROR => "error",
                Level::WARN => "warn",
                Level::INFO => "info",
                _ => "debug",
            };
            self.push(LogLine { level, text: told.text });
        }
    }
}

/// What an event says.
#[derive(Default)]
struct Told {
    of_plugin: bool,
    text: String,
}

impl Visit for Told {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        match field.name() {
            "plugin" => self.of_plugin = true,
            // Writing to a String does not fail.
            "message" => drop(write!(self.text, "{value:?}")),
            _ => {}
        }
    }
}
