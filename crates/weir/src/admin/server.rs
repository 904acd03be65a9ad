//! The socket, and what it answers.

use std::convert::Infallible;
use std::fs;
use std::io::{self, ErrorKind};
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;

use super::status::Board;

/// Who ask at the same time.
const CONNECTIONS: usize = 16;
/// How long one may take to ask.
const PATIENCE: Duration = Duration::from_secs(10);

/// The socket; dropping it removes its file.
#[derive(Debug)]
pub struct Admin {
    path: PathBuf,
    task: tokio::task::JoinHandle<()>,
}

impl Admin {
    /// Binds the socket and answers there. Makes its folder if there is none, for this user only.
    ///
    /// # Errors
    /// When it cannot be bound, or another process answers there.
    pub fn start(path: &Path, mode: u32, board: Board) -> io::Result<Admin> {
        if let Some(folder) = path.parent()
            && !folder.as_os_str().is_empty()
        {
            fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        }
        let listener = match UnixListener::bind(path) {
            Err(error) if error.kind() == ErrorKind::AddrInUse => {
                // Left by one that was killed, unless somebody answers. Files refuse, too.
                let is_socket = fs::symlink_metadata(path)?.file_type().is_socket();
                match std::os::unix::net::UnixStream::connect(path) {
                    Err(refused) if is_socket && refused.kind() == ErrorKind::ConnectionRefused => {
                        fs::remove_file(path)?;
                        UnixListener::bind(path)?
                    }
                    _ => return Err(error),
                }
            }
            bound => bound?,
        };
        fs::set_permissions(path, fs::Permissions::from_mode(mode))?;
        Ok(Admin { path: path.to_path_buf(), task: tokio::spawn(accept(listener, board)) })
    }
}

impl Drop for Admin {
    fn drop(&mut self) {
        self.task.abort();
        // It may be gone already.
        let _ = fs::remove_file(&self.path);
    }
}

async fn accept(listener: UnixListener, board: Board) {
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let Ok(place) = places.clone().acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, _)) => {
                let board = board.clone();
                tokio::spawn(async move {
                    // Who left does not want to hear it.
                    let _ = tokio::time::timeout(PATIENCE, serve(stream, board)).await;
                    drop(place);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "the admin socket cannot accept");
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        }
    }
}

async fn serve(stream: UnixStream, board: Board) -> hyper::Result<()> {
    let service = service_fn(move |request: Request<Incoming>| {
        let answer = answer(&request, &board);
        async move { Ok::<_, Infallible>(answer) }
    });
    hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(PATIENCE)
        .serve_connection(TokioIo::new(stream), service)
        .await
}

fn answer(request: &Request<Incoming>, board: &Board) -> Response<Full<Bytes>> {
    let (status, json) = match (request.uri().path(), request.method()) {
        ("/status", &Method::GET | &Method::HEAD) => (StatusCode::OK, serde_json::to_vec(&board.status())),
        ("/status", _) => (StatusCode::METHOD_NOT_ALLOWED, error("GET /status is what there is")),
        _ => (StatusCode::NOT_FOUND, error("there is GET /status")),
    };
    let mut response = Response::new(Full::from(json.unwrap_or_default()));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, header::HeaderValue::from_static("application/json"));
    response
}

fn error(text: &str) -> serde_json::Result<Vec<u8>> {
    serde_json::to_vec(&serde_json::json!({ "error": text }))
}
