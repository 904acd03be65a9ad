//! Asking a weir that runs.

use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, StatusCode, header};
use http_body_util::{BodyExt, Empty, Limited};
use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// The same where something is to be done: a reload compiles and proves everything that is new.
const LONG_PATIENCE: Duration = Duration::from_secs(300);
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
    #[error("no answer within {0:?}")]
    Timeout(Duration),
}

/// Asks for `path` at a socket: the JSON that comes back, with 200 or 422.
///
/// # Errors
/// When there is no good answer.
pub async fn ask(socket: &Path, method: Method, path: &str) -> Result<Bytes, Unanswered> {
    let patience = if method == Method::GET { PATIENCE } else { LONG_PATIENCE };
    let late = |_| Err(Unanswered::Timeout(patience));
    tokio::time::timeout(patience, answer(socket, method, path)).await.unwrap_or_else(late)
}

async fn answer(socket: &Path, method: Method, path: &str) -> Result<Bytes, Unanswered> {
    let broken = |error: &dyn std::fmt::Display| Unanswered::Broken(error.to_string());
    let stream = UnixStream::connect(socket).await.map_err(Unanswered::Connect)?;
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(|e| broken(&e))?;
    let request =
        Request::builder().method(method).uri(path).header(header::HOST, "weir").body(Empty::<Bytes>::new());
    let request = request.map_err(|e| broken(&e))?;
    // It ends when the sender is dropped.
    tokio::spawn(connection);
    let response = sender.send_request(request).await.map_err(|e| broken(&e))?;
    let status = response.status();
    let body = Limited::new(response.into_body(), LONGEST).collect().await.map_err(|e| broken(&e))?;
    match status {
        StatusCode::OK | StatusCode::UNPROCESSABLE_ENTITY => Ok(body.to_bytes()),
        status => {
            let told: Option<serde_json::Value> = serde_json::from_slice(&body.to_bytes()).ok();
            let why = told.as_ref().and_then(|told| told.get("error")).and_then(|error| error.as_str());
            Err(Unanswered::Broken(format!("it answered {status}: {}", why.unwrap_or("without a reason"))))
        }
    }
}
