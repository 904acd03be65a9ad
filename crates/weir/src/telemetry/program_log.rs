//! The program log: what weir has to say about itself, by way of `tracing`.

use std::io::{self, IsTerminal, Write};
use std::sync::Arc;
use std::time::Duration;

use tracing::Subscriber;
use tracing_subscriber::filter::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

use super::sink::{Losses, Sink};
use super::{Output, ProgramLogFormat, ProgramLogSettings};

/// The program log. What still waits is written when it is dropped.
#[derive(Debug)]
pub struct ProgramLog {
    sink: Sink,
}

/// Why the program log cannot be.
#[derive(Debug, thiserror::Error)]
pub enum ProgramLogError {
    /// Its file cannot be opened, or its thread not be started.
    #[error("program log: {0}")]
    Io(#[from] io::Error),
    /// The filter is not one.
    #[error("{origin} `{filter}` is not a log filter: {source}")]
    Filter {
        /// `RUST_LOG`, or where in the configuration it is from.
        origin: &'static str,
        /// What was written there.
        filter: String,
        /// What is wrong with it.
        source: tracing_subscriber::filter::ParseError,
    },
}

impl ProgramLog {
    /// Makes this log that of the whole process; a second one only writes what it is handed itself. `RUST_LOG`
    /// in the environment wins over the filter of the settings.
    ///
    /// # Errors
    /// See [`ProgramLogError`].
    pub fn start(settings: &ProgramLogSettings) -> Result<Self, ProgramLogError> {
        let environment = std::env::var("RUST_LOG").ok();
        let filter = filter(environment.as_deref(), settings)?;
        let sink = Sink::start("program-log", settings.output.open()?, settings.buffer, Box::new(report))?;
        let subscriber = subscriber(sink.clone(), filter, settings.format, colours(&settings.output));
        let _ = tracing::subscriber::set_global_default(subscriber);
        Ok(ProgramLog { sink })
    }

    /// Has the file opened anew.
    pub fn reopen(&self) {
        self.sink.reopen();
    }
}

impl Drop for ProgramLog {
    fn drop(&mut self) {
        self.sink.close(Duration::from_secs(2));
    }
}

/// Checks a filter of the configuration.
///
/// # Errors
/// What is wrong with it.
pub fn check_filter(filter: &str) -> Result<(), String> {
    EnvFilter::builder().parse(filter).map(drop).map_err(|e| e.to_string())
}

/// The filter of the environment if there is one, or else that of the settings.
fn filter(environment: Option<&str>, settings: &ProgramLogSettings) -> Result<EnvFilter, ProgramLogError> {
    let (origin, filter) = match environment {
        Some(filter) if !filter.trim().is_empty() => ("RUST_LOG", filter),
        _ => ("log filter", settings.filter.as_str()),
    };
    EnvFilter::builder().parse(filter).map_err(|source| ProgramLogError::Filter {
        origin,
        filter: filter.to_owned(),
        source,
    })
}

/// Whether an output is a terminal that may be written to in colour.
pub fn colours(output: &Output) -> bool {
    let terminal = match output {
        Output::Stdout => io::stdout().is_terminal(),
        Output::Stderr => io::stderr().is_terminal(),
        Output::File(_) => false,
    };
    let set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    terminal && !set("NO_COLOR") && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
}

fn subscriber(
    sink: Sink,
    filter: EnvFilter,
    format: ProgramLogFormat,
    colours: bool,
) -> Arc<dyn Subscriber + Send + Sync> {
    let builder =
        tracing_subscriber::fmt().with_env_filter(filter).with_ansi(colours).with_writer(Lines(sink));
    match format {
        ProgramLogFormat::Text => Arc::new(builder.finish()),
        ProgramLogFormat::Json => Arc::new(builder.json().flatten_event(true).finish()),
    }
}

/// The log cannot tell of its own losses: that goes to standard error.
fn report(losses: &Losses) {
    let mut text = String::new();
    if losses.dropped > 0 {
        text.push_str(&format!("weir: program log: {} lines dropped\n", losses.dropped));
    }
    if let Some(error) = &losses.error {
        text.push_str(&format!("weir: program log: {} lines lost: {error}\n", losses.unwritten));
    }
    let _ = io::stderr().write_all(text.as_bytes());
}

/// Hands events to the sink; each comes in one write.
struct Lines(Sink);

impl<'a> MakeWriter<'a> for Lines {
    type Writer = Line<'a>;

    fn make_writer(&'a self) -> Line<'a> {
        Line(&self.0)
    }
}

struct Line<'a>(&'a Sink);

impl Write for Line<'_> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        // One event is one line, whatever a cause or a peer's text in it holds.
        let inner = line.strip_suffix(b"\n").unwrap_or(line);
        if inner.iter().any(|byte| matches!(byte, b'\n' | b'\r')) {
            let text = String::from_utf8_lossy(inner).replace('\n', "\\n").replace('\r', "\\r");
            self.0.push(format!("{text}\n").as_bytes());
        } else {
            self.0.push(line);
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(filter: &str, output: Output) -> ProgramLogSettings {
        ProgramLogSettings { filter: filter.to_owned(), output, ..Default::default() }
    }

    /// What a log of this kind writes of a few events.
    fn logged(
        environment: Option<&str>,
        of_settings: &str,
        format: ProgramLogFormat,
        colours: bool,
    ) -> String {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("weir.log");
        let settings = settings(of_settings, Output::File(path.clone()));
        let sink =
            Sink::start("program-log", settings.output.open().expect("it opens"), 1 << 20, Box::new(report))
                .expect("a thread");
        let filter = filter(environment, &settings).expect("a filter");
        tracing::subscriber::with_default(subscriber(sink.clone(), filter, format, colours), || {
            tracing::info!(target: "weir::listen", address = "127.0.0.1:1", "listening\nforged\u{1b}[31m");
            tracing::debug!(target: "weir::listen", "a detail");
            tracing::warn!(target: "weir::tls", "a warning");
        });
        assert!(sink.close(Duration::from_secs(30)));
        std::fs::read_to_string(&path).expect("a log")
    }

    #[test]
    fn the_environment_wins_over_the_configuration() {
        let text = ProgramLogFormat::Text;
        assert!(!logged(None, "info", text, false).contains("a detail"));
        assert!(logged(Some("debug"), "info", text, false).contains("a detail"));
        assert!(logged(Some(""), "debug", text, false).contains("a detail"));
        let one = logged(Some("warn,weir::listen=debug"), "off", text, false);
        assert!(one.contains("a detail") && one.contains("a warning"), "{one}");
        assert_eq!(logged(Some("off"), "trace", text, false), "");
    }

    #[test]
    fn text_has_colours_only_where_asked_for() {
        assert!(logged(None, "info", ProgramLogFormat::Text, true).contains("\u{1b}[32m INFO"));
        let plain = logged(None, "info", ProgramLogFormat::Text, false);
        assert!(plain.contains("INFO weir::listen") && plain.contains("address=\"127.0.0.1:1\""), "{plain}");
        assert!(!plain.contains('\u{1b}'), "{plain:?}");
        assert!(plain.contains("listening\\nforged"), "{plain:?}");
        assert_eq!(plain.lines().count(), 2, "{plain:?}");
    }

    #[test]
    fn json_is_one_object_a_line() {
        let log = logged(None, "info", ProgramLogFormat::Json, false);
        let events: Vec<serde_json::Value> =
            log.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
        assert_eq!(events.len(), 2, "{log}");
        assert_eq!(events[0]["level"], "INFO");
        assert_eq!(events[0]["address"], "127.0.0.1:1");
        assert_eq!(events[1]["message"], "a warning");
    }

    #[test]
    fn a_wrong_filter_is_named_with_where_it_is_from() {
        for (environment, of_settings, expected) in [
            (Some("weir=lout"), "info", "RUST_LOG `weir=lout`"),
            (None, "weir=lout", "log filter `weir=lout`"),
        ] {
            let error = filter(environment, &settings(of_settings, Output::Stderr)).expect_err("no filter");
            assert!(error.to_string().contains(expected), "{error}");
        }
        assert!(check_filter("info,weir=debug").is_ok() && check_filter("weir=lout").is_err());
    }
}
