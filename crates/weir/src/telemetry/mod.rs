//! What weir tells about itself: the access log and the program log. Both are formatted where they happen and
//! written by a thread of their own behind a bounded buffer, so that a full disk or a stalled pipe never holds up
//! a request.

pub mod access_log;
mod escape;
mod field;
pub mod format;
pub mod output;
pub mod program_log;
pub mod sink;

use std::path::PathBuf;

pub use access_log::AccessLogger;
pub(crate) use escape::misleading;
pub use format::{Format, FormatError};
pub use program_log::{ProgramLog, ProgramLogError};

/// What the configuration asks of the logs.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// The access log; `None`: no record is made.
    pub access_log: Option<AccessLogSettings>,
    /// The program log.
    pub log: ProgramLogSettings,
}

/// What the configuration asks of the access log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccessLogSettings {
    /// How a record is written. Default JSON lines.
    pub format: Format,
    /// Where to. Default stdout.
    pub output: Output,
    /// Bytes that may wait for the writer; what does not fit is dropped and counted. Default 4 MiB.
    pub buffer: usize,
}

impl Default for AccessLogSettings {
    fn default() -> Self {
        AccessLogSettings { format: Format::Json, output: Output::Stdout, buffer: 4 << 20 }
    }
}

/// What the configuration asks of the program log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProgramLogSettings {
    /// Which events, as `RUST_LOG` writes it: `info`, or `info,weir_core=debug`. `RUST_LOG` in the environment
    /// wins. Default `info`.
    pub filter: String,
    /// How an event is written. Default text.
    pub format: ProgramLogFormat,
    /// Where to. Default stderr.
    pub output: Output,
    /// Bytes that may wait for the writer; what does not fit is dropped and counted. Default 1 MiB.
    pub buffer: usize,
}

impl Default for ProgramLogSettings {
    fn default() -> Self {
        ProgramLogSettings {
            filter: "info".to_owned(),
            format: ProgramLogFormat::Text,
            output: Output::Stderr,
            buffer: 1 << 20,
        }
    }
}

/// How events of the program log are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProgramLogFormat {
    /// One line of text an event; coloured on a terminal unless `NO_COLOR` is set.
    Text,
    /// One JSON object a line.
    Json,
}

/// Where a log goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
    /// A file, made if need be, appended to, and opened anew when it was renamed or removed.
    File(PathBuf),
}
