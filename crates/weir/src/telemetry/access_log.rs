//! The access log: one line for each exchange that has ended.
//!
//! A record is formatted on the worker into a buffer that its thread keeps, and handed to a [`Sink`]. A line that
//! finds no room there is dropped and counted; the program log tells how many.

use std::cell::RefCell;
use std::io;
use std::time::Duration;

use weir_core::log::{AccessLog, Record};

use super::AccessLogSettings;
use super::escape;
use super::field::{JSON, Value};
use super::format::{Format, Part, Template};
use super::sink::{Losses, Sink};

/// The access log. Clones write to the same place.
#[derive(Clone, Debug)]
pub struct AccessLogger {
    format: Format,
    sink: Sink,
}

impl AccessLogger {
    /// Opens the log and starts its writer.
    ///
    /// # Errors
    /// When the file cannot be opened; the path is named.
    pub fn start(settings: &AccessLogSettings) -> io::Result<Self> {
        let destination = settings.output.open()?;
        let sink = Sink::start("access-log", destination, settings.buffer, Box::new(report))?;
        Ok(AccessLogger { format: settings.format.clone(), sink })
    }

    /// Has the file opened anew.
    pub fn reopen(&self) {
        self.sink.reopen();
    }

    /// Writes what has been recorded so far and ends the writer. False: not everything was written in time.
    pub fn close(&self, within: Duration) -> bool {
        self.sink.close(within)
    }
}

fn report(losses: &Losses) {
    if losses.dropped > 0 {
        tracing::warn!(
            target: "weir::access_log",
            records = losses.dropped,
            "access log: records dropped, the writer does not keep up"
        );
    }
    if let Some(error) = &losses.error {
        tracing::error!(
            target: "weir::access_log",
            records = losses.unwritten,
            error,
            "access log: cannot be written"
        );
    }
}

impl AccessLog for AccessLogger {
    fn record(&self, record: &Record<'_>) {
        thread_local!(static LINE: RefCell<Vec<u8>> = RefCell::new(Vec::with_capacity(1 << 10)));
        LINE.with_borrow_mut(|line| {
            line.clear();
            write_record(&self.format, record, line);
            self.sink.push(line);
            if line.capacity() > 64 << 10 {
                *line = Vec::with_capacity(1 << 10);
            }
        });
    }
}

/// Writes a record as one line, with its line feed.
pub(crate) fn write_record(format: &Format, record: &Record<'_>, out: &mut Vec<u8>) {
    match format {
        Format::Json => write_json(record, out),
        Format::Text(template) => write_text(template, record, out),
    }
    out.push(b'\n');
}

fn write_json(record: &Record<'_>, out: &mut Vec<u8>) {
    let mut separator = b'{';
    for (key, field) in JSON {
        let value = field.value(record);
        if matches!(value, Value::Absent) {
            continue;
        }
        out.push(separator);
        separator = b',';
        out.extend_from_slice(key.as_bytes());
        let quote = matches!(
            value,
            Value::Plain(_) | Value::Ip(_) | Value::Peer(_) | Value::Time(_) | Value::TimeClf(_)
        );
        if quote {
            out.push(b'"');
        }
        match value {
            Value::Text(text) => escape::json_string(out, text),
            value => write_own(&value, out),
        }
        if quote {
            out.push(b'"');
        }
    }
    out.push(b'}');
}

fn write_text(template: &Template, record: &Record<'_>, out: &mut Vec<u8>) {
    for part in &template.0 {
        match part {
            Part::Literal(text) => out.extend_from_slice(text.as_bytes()),
            Part::Value { field, quoted } => match field.value(record) {
                Value::Absent => out.push(b'-'),
                Value::Text(text) => escape::text(out, text, *quoted),
                value => write_own(&value, out),
            },
        }
    }
}

/// Writes a value of weir's own, which needs no escaping.
fn write_own(value: &Value<'_>, out: &mut Vec<u8>) {
    match *value {
        Value::Absent | Value::Text(_) => {}
        Value::Plain(text) => out.extend_from_slice(text.as_bytes()),
        Value::Number(number) => escape::number(out, number),
        Value::Flag(flag) => out.extend_from_slice(if flag { b"true" } else { b"false" }),
        Value::Duration(duration) => escape::milliseconds(out, duration),
        Value::Ip(ip) => escape::ip(out, ip),
        Value::Peer(peer) => escape::peer(out, peer),
        Value::Time(time) => escape::time(out, time),
        Value::TimeClf(time) => escape::time_clf(out, time),
        Value::TimeUnix(time) => escape::time_unix(out, time),
    }
}

#[cfg(test)]
#[path = "access_log/tests.rs"]
mod tests;
