//! Asking a weir that runs.

use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};

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

/// Where a weir is asked.
#[derive(Clone, Copy, Debug)]
pub enum At<'a> {
    /// At its Unix socket.
    Socket(&'a Path),
    /// At `HOST:PORT`.
    Address {
        /// That.
        address: &'a str,
        /// What one must know there.
        token: &'a str,
    },
}

impl<'a> From<&'a PathBuf> for At<'a> {
    fn from(socket: &'a PathBuf) -> Self {
        At::Socket(socket)
    }
}

/// Asks for `path`, says when the answer begins, and hands it on, piece by piece, until it ends or `take` is false.
///
/// # Errors
/// When there is no good answer, or it breaks off.
pub async fn follow(
    at: impl Into<At<'_>>,
    path: &str,
    begun: impl FnOnce(),
    mut take: impl FnMut(&Bytes) -> bool,
) -> Result<(), Unanswered> {
    let late = |_| Err(Unanswered::Timeout(PATIENCE));
    let answered = tokio::time::timeout(PATIENCE, send(at.into(), Method::GET, path)).await;
    let response = answered.unwrap_or_else(late)?;
    if response.status() != StatusCode::OK {
        return read(response).await.map(drop);
    }
    begun();
    let mut body = response.into_body();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| Unanswered::Broken(error.to_string()))?;
        if frame.data_ref().is_some_and(|piece| !take(piece)) {
            break;
        }
    }
    Ok(())
}

/// Asks for `path`: the JSON that comes back, with 200 or 422.
///
/// # Errors
/// When there is no good answer.
pub async fn ask(at: impl Into<At<'_>>, method: Method, path: &str) -> Result<Bytes, Unanswered> {
    let patience = if method == Method::GET { PATIENCE } else { LONG_PATIENCE };
    let late = |_| Err(Unanswered::Timeout(patience));
    let at = at.into();
    let asked = async { read(send(at, method, path).await?).await };
    tokio::time::timeout(patience, asked).await.unwrap_or_else(late)
}

/// The head of the answer to a request.
async fn send(at: At<'_>, method: Method, path: &str) -> Result<Response<Incoming>, Unanswered> {
    match at {
        At::Socket(socket) => {
            let stream = UnixStream::connect(socket).await.map_err(Unanswered::Connect)?;
            send_on(stream, method, path, ("weir", None)).await
        }
        At::Address { address, token } => {
            let stream = TcpStream::connect(address).await.map_err(Unanswered::Connect)?;
            send_on(stream, method, path, (address, Some(token))).await
        }
    }
}

async fn send_on(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    method: Method,
    path: &str,
    (host, token): (&str, Option<&str>),
) -> Result<Response<Incoming>, Unanswered> {
    let broken = |error: &dyn std::fmt::Display| Unanswered::Broken(error.to_string());
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(|e| broken(&e))?;
    let mut request = Request::builder().method(method).uri(path).header(header::HOST, host);
    if let Some(token) = token {
        request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
    }
    let request = request.body(Empty::<Bytes>::new()).map_err(|e| broken(&e))?;
    // It ends when the answer has been read.
    tokio::spawn(connection);
    sender.send_request(request).await.map_err(|e| broken(&e))
}

async fn read(response: Response<Incoming>) -> Result<Bytes, Unanswered> {
    let broken = |error: &dyn std::fmt::Display| Unanswered::Broken(error.to_string());
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
