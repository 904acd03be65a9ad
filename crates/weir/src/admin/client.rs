//! Asking a weir that runs.

use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, StatusCode, header};
use http_body_util::{BodyExt, Empty, Limited};
use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// The most bytes of an answer.
const LONGEST: usize = 16 << 20;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum Unanswered {
    /// Nobody is at the socket.
    #[error("{0}")]
    Connect(std::io::Error),
    /// What is there does not speak as weir does.
    #[error("{0}")]
    Broken(String),
    /// It took too long.
    #[error("no answer within {PATIENCE:?}")]
    Timeout,
}

/// Asks for `path` at a socket: the JSON that comes back.
///
/// # Errors
/// When there is no good answer.
pub async fn ask(socket: &Path, path: &str) -> Result<Bytes, Unanswered> {
    tokio::time::timeout(PATIENCE, get(socket, path)).await.unwrap_or(Err(Unanswered::Timeout))
}

async fn get(socket: &Path, path: &str) -> Result<Bytes, Unanswered> {
    let broken = |error: &dyn std::fmt::Display| Unanswered::Broken(error.to_string());
    let stream = UnixStream::connect(socket).await.map_err(Unanswered::Connect)?;
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(|e| broken(&e))?;
    let request = Request::get(path).header(header::HOST, "weir").body(Empty::<Bytes>::new());
    let request = request.map_err(|e| broken(&e))?;
    // It ends when the sender is dropped.
    tokio::spawn(connection);
    let response = sender.send_request(request).await.map_err(|e| broken(&e))?;
    let status = response.status();
    let body = Limited::new(response.into_body(), LONGEST).collect().await.map_err(|e| broken(&e))?;
    match status {
        StatusCode::OK => Ok(body.to_bytes()),
        status => Err(Unanswered::Broken(format!("it answered {status}"))),
    }
}
