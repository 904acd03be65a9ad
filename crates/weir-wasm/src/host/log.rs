//! Lines in weir's log.

use tracing::Level;

use super::Data;
use crate::bindings::imported::log::Host;
use crate::now::current;

impl Host for Data {
    fn debug(&mut self, message: String) -> wasmtime::Result<()> {
        write(Level::DEBUG, &self.plugin, &message);
        Ok(())
    }

    fn info(&mut self, message: String) -> wasmtime::Result<()> {
        write(Level::INFO, &self.plugin, &message);
        Ok(())
    }

    fn warn(&mut self, message: String) -> wasmtime::Result<()> {
        write(Level::WARN, &self.plugin, &message);
        Ok(())
    }

    fn error(&mut self, message: String) -> wasmtime::Result<()> {
        write(Level::ERROR, &self.plugin, &message);
        Ok(())
    }
}

/// Writes a line of a plugin's call that runs.
pub(crate) fn write(level: Level, plugin: &str, text: &str) {
    let (id, connection) = current(|now| Ok(now.whose())).unwrap_or_default();
    let request_id = id.as_deref();
    match level {
        Level::DEBUG => tracing::debug!(plugin, request_id, connection, "{text}"),
        Level::INFO => tracing::info!(plugin, request_id, connection, "{text}"),
        Level::WARN => tracing::warn!(plugin, request_id, connection, "{text}"),
        _ => tracing::error!(plugin, request_id, connection, "{text}"),
    }
}
