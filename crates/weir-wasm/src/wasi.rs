//! What guests have of WASI 0.2, because the standard libraries of their languages import it: clocks, random numbers, and
//! output, which goes to weir's log. The environment is empty; there are no files, no sockets and no input.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use tokio::io::AsyncWrite;
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};
use wasmtime_wasi::p2::{OutputStream, Pollable, StreamResult};
use wasmtime_wasi::{WasiCtx, WasiCtxBuilder};

use crate::host::log;

/// The longest line; one that is longer is cut into several.
const LONGEST: usize = 4096;
/// Random bytes at once: they are made within one call of the host.
const MOST_RANDOM: u64 = 64 << 10;
/// What is left over of a plugin's line that has not ended.
type Rest = Arc<Mutex<Vec<u8>>>;

/// What a guest of this plugin has.
pub(crate) fn context(plugin: &Arc<str>) -> WasiCtx {
    let output = |level| Output { plugin: plugin.clone(), level, rest: Rest::default() };
    WasiCtxBuilder::new()
        .stdout(output(tracing::Level::INFO))
        .stderr(output(tracing::Level::WARN))
        .allow_tcp(false)
        .allow_udp(false)
        .max_random_size(MOST_RANDOM)
        .build()
}

/// Lines for the log.
#[derive(Clone)]
struct Output {
    plugin: Arc<str>,
    level: tracing::Level,
    rest: Rest,
}

impl Output {
    fn take(&self, bytes: &[u8]) {
        let mut rest = self.rest.lock().unwrap_or_else(PoisonError::into_inner);
        rest.extend_from_slice(bytes);
        let mut done = 0;
        while let Some(left) = rest.get(done..) {
            let newline = left.iter().take(LONGEST).position(|byte| *byte == b'\n');
            let (end, next) = match newline {
                Some(at) => (at, at + 1),
                None if left.len() >= LONGEST => (LONGEST, LONGEST),
                None => break,
            };
            if let Some(line) = left.get(..end) {
                log::write(self.level, &self.plugin, &String::from_utf8_lossy(line));
            }
            done += next;
        }
        rest.drain(..done);
    }
}

impl IsTerminal for Output {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for Output {
    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        // For WASI 0.3 only, which is not linked.
        Box::new(tokio::io::sink())
    }

    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(self.clone())
    }
}

#[wasmtime_wasi::async_trait]
impl Pollable for Output {
    async fn ready(&mut self) {}
}

impl OutputStream for Output {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        self.take(&bytes);
        Ok(())
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(64 << 10)
    }
}
