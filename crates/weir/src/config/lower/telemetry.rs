//! The access log and the program log.

use super::Lower;
use crate::config::document::At;
use crate::config::raw;
use crate::telemetry::{AccessLogSettings, Format, Output, ProgramLogFormat, ProgramLogSettings, Settings};

impl Lower<'_> {
    /// `[access_log]` and `[log]`.
    pub fn telemetry(&mut self, raw: &raw::Config) -> Settings {
        let at = At::default().key("access_log");
        let format = raw.access_log.format.parse::<Format>();
        let access_log = match format {
            _ if raw.access_log.path == "off" => None,
            Ok(format) => Some(AccessLogSettings {
                format,
                output: self.output(&raw.access_log.path, &at.key("path")),
                buffer: self.size(raw.access_log.buffer, 4 << 10, 1 << 30, &at.key("buffer")) as usize,
            }),
            Err(error) => {
                self.error(&at.key("format"), error.message, "");
                None
            }
        };
        let at = At::default().key("log");
        if let Err(error) = tracing_subscriber::EnvFilter::try_new(&raw.log.level) {
            self.error(&at.key("level"), format!("`{}` is not a level: {error}", raw.log.level), "")
                .help("expected error, warn, info, debug, trace, or by module: info,weir_core::tls=debug");
        }
        Settings {
            access_log,
            log: ProgramLogSettings {
                filter: raw.log.level.clone(),
                format: match raw.log.format {
                    raw::LogFormat::Text => ProgramLogFormat::Text,
                    raw::LogFormat::Json => ProgramLogFormat::Json,
                },
                output: self.output(&raw.log.path, &at.key("path")),
                buffer: self.size(raw.log.buffer, 4 << 10, 1 << 30, &at.key("buffer")) as usize,
            },
        }
    }

    fn output(&self, text: &str, at: &At) -> Output {
        match text {
            "-" => Output::Stdout,
            "stderr" => Output::Stderr,
            path => Output::File(self.path(path, at)),
        }
    }
}
