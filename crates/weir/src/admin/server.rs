//! The socket, and what it answers.

use std::convert::Infallible;
use std::fs;
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, Uri, header};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::sync::mpsc::Sender;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use weir_core::relay::TapError;

use super::patient::Patient;
use super::relays::{self, Query};
use super::status::{Board, Outcome};
use crate::reload::{Ask, Order};

/// Who ask at the same time. How many orders wait is bounded by their queue.
const CONNECTIONS: usize = 256;
/// How long one may take to ask.
const PATIENCE: Duration = Duration::from_secs(10);
/// The same over TCP, where anybody may come.
const PATIENCE_TCP: Duration = Duration::from_secs(2);
/// How long an answer may take. A reload compiles and proves everything that is new.
const LONG_PATIENCE: Duration = Duration::from_secs(300);

/// How long one who does not take what is written is waited for: who looks at messages keeps others from it.
const PATIENCE_UNREAD: Duration = Duration::from_secs(60);

/// Who look at messages at the same time, on one socket.
const LOOKING: usize = 16;

/// An answer. One that shows messages ends when there are no more.
type Answer = Response<UnsyncBoxBody<Bytes, Infallible>>;

/// The socket; dropping it removes its file.
#[derive(Debug)]
pub struct Admin {
    /// None over TCP, and once it is closed: another process may have one there.
    path: Option<PathBuf>,
    /// None once it is closed.
    task: Option<tokio::task::JoinHandle<()>>,
    /// Who do not ask now.
    places: Arc<Semaphore>,
}

impl Admin {
    /// Binds the socket and answers there; what is to be done goes to `orders`. Makes its folder if there is none, for this user only.
    ///
    /// # Errors
    /// When it cannot be bound, or another process answers there.
    pub fn start(path: &Path, mode: u32, board: Board, orders: Sender<Order>) -> io::Result<Admin> {
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
        let places = Arc::new(Semaphore::new(CONNECTIONS));
        let desk = Desk::new(board, orders);
        let door = Door { listener: Listener::Unix(listener), places: places.clone(), desk };
        Ok(Admin { path: Some(path.to_path_buf()), task: Some(tokio::spawn(door.accept())), places })
    }

    /// Binds an address and answers there who knows the token that is on the board.
    ///
    /// # Errors
    /// When it cannot be bound.
    pub fn start_tcp(address: SocketAddr, board: Board, orders: Sender<Order>) -> io::Result<Admin> {
        let listener = std::net::TcpListener::bind(address)?;
        listener.set_nonblocking(true)?;
        let listener = TcpListener::from_std(listener)?;
        tracing::info!(address = %listener.local_addr()?, "who knows the admin token is answered here");
        let places = Arc::new(Semaphore::new(CONNECTIONS));
        let desk = Desk::new(board, orders);
        let door = Door { listener: Listener::Tcp(listener), places: places.clone(), desk };
        Ok(Admin { path: None, task: Some(tokio::spawn(door.accept())), places })
    }

    /// Nobody more is answered, and the socket's file is gone. Who asks already gets an answer.
    pub async fn close(&mut self) {
        if let Some(task) = self.task.take() {
            task.abort();
            // The socket is closed when the task has ended.
            let _ = task.await;
        }
        if let Some(path) = self.path.take() {
            // It may be gone already.
            let _ = fs::remove_file(path);
        }
    }

    /// Waits until all who asked have their answers. Cancel safe.
    pub async fn answered(&self) {
        drop(self.places.acquire_many(CONNECTIONS as u32).await);
    }
}

impl Drop for Admin {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.abort();
        }
        if let Some(path) = self.path.take() {
            let _ = fs::remove_file(path);
        }
    }
}

enum Listener {
    Unix(UnixListener),
    /// Only who knows the token is answered.
    Tcp(TcpListener),
}

/// One who asks.
enum Stream {
    Unix(UnixStream),
    Tcp(TcpStream),
}

/// Where is asked, and who answers.
struct Door {
    listener: Listener,
    places: Arc<Semaphore>,
    desk: Desk,
}

/// What answering takes.
#[derive(Clone)]
struct Desk {
    board: Board,
    orders: Sender<Order>,
    /// Who do not look at messages now.
    looking: Arc<Semaphore>,
}

/// The place of one who asks. Who looks at messages gives it up: the end does not wait for that.
type Seat = Arc<Mutex<Option<OwnedSemaphorePermit>>>;

impl Desk {
    fn new(board: Board, orders: Sender<Order>) -> Self {
        Desk { board, orders, looking: Arc::new(Semaphore::new(LOOKING)) }
    }
}

impl Door {
    async fn accept(self) {
        loop {
            let accepted = match &self.listener {
                Listener::Unix(listener) => listener.accept().await.map(|(stream, _)| Stream::Unix(stream)),
                Listener::Tcp(listener) => listener.accept().await.map(|(stream, _)| Stream::Tcp(stream)),
            };
            let stream = match accepted {
                Ok(stream) => stream,
                Err(error) => {
                    tracing::warn!(%error, "the admin socket cannot accept");
                    tokio::time::sleep(Duration::from_secs(1)).await;
                    continue;
                }
            };
            // Only who asks has a place: all of them free is what the end waits for.
            let Ok(place) = self.places.clone().acquire_owned().await else { return };
            let desk = self.desk.clone();
            match stream {
                Stream::Unix(stream) => tokio::spawn(serve(stream, false, desk, place)),
                Stream::Tcp(stream) => tokio::spawn(serve(stream, true, desk, place)),
            };
        }
    }
}

/// Serves one who asks, who may have to know the token.
async fn serve(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    by_token: bool,
    desk: Desk,
    place: OwnedSemaphorePermit,
) {
    let seat: Seat = Arc::new(Mutex::new(Some(place)));
    let its = seat.clone();
    let service = service_fn(move |request: Request<Incoming>| {
        let (desk, seat) = (desk.clone(), its.clone());
        async move {
            Ok::<_, Infallible>(match by_token && !desk.board.admits(request.headers()) {
                true => unknown(),
                false => answer(&request, &desk, &seat).await,
            })
        }
    });
    let served = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(if by_token { PATIENCE_TCP } else { PATIENCE })
        // Who has asked makes room for another.
        .keep_alive(false)
        .serve_connection(TokioIo::new(Patient::new(stream, PATIENCE_UNREAD)), service);
    let mut served = std::pin::pin!(served);
    // Who left does not want to hear it.
    let late = tokio::time::timeout(LONG_PATIENCE, &mut served).await.is_err();
    if late && seat.lock().unwrap_or_else(PoisonError::into_inner).is_none() {
        let _ = served.await;
    }
}

/// To one who does not know the token.
fn unknown() -> Answer {
    let mut response = json(StatusCode::UNAUTHORIZED, error("the admin token is missing or wrong"));
    let challenge = header::HeaderValue::from_static("Bearer realm=\"weir\"");
    response.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
    response
}

async fn answer(request: &Request<Incoming>, desk: &Desk, seat: &Seat) -> Answer {
    let (path, orders) = (request.uri().path(), &desk.orders);
    if let Some(id) = relays::tapped(path) {
        return match *request.method() {
            Method::GET => tap(id, desk, seat),
            _ => wrong_method("GET /websockets/ID/tap"),
        };
    }
    let (status, body) = match (path, request.method()) {
        ("/status", &Method::GET | &Method::HEAD) => {
            (StatusCode::OK, serde_json::to_vec(&desk.board.status()))
        }
        ("/websockets", &Method::GET | &Method::HEAD) | ("/websockets/close", &Method::POST) => {
            of_relays(request.uri(), desk)
        }
        ("/reload" | "/rollback", &Method::POST) => match asked(request.uri()) {
            Ok(ask) => carry_out(ask, orders).await,
            Err(problem) => (StatusCode::BAD_REQUEST, error(&problem)),
        },
        ("/upgrade", &Method::POST) => upgrade(orders).await,
        ("/status", _) => return wrong_method("GET /status"),
        ("/websockets", _) => return wrong_method("GET /websockets"),
        ("/websockets/close", _) => return wrong_method("POST /websockets/close"),
        ("/upgrade", _) => return wrong_method("POST /upgrade"),
        ("/reload", _) => return wrong_method("POST /reload"),
        ("/rollback", _) => return wrong_method("POST /rollback"),
        _ => (
            StatusCode::NOT_FOUND,
            error(
                "there are GET /status, GET /websockets, GET /websockets/ID/tap, POST /websockets/close, POST /reload, \
                 POST /rollback and POST /upgrade",
            ),
        ),
    };
    json(status, body)
}

fn wrong_method(right: &str) -> Answer {
    json(StatusCode::METHOD_NOT_ALLOWED, error(&format!("{right} is what there is")))
}

/// Lists relays, or closes them.
fn of_relays(uri: &Uri, desk: &Desk) -> (StatusCode, serde_json::Result<Vec<u8>>) {
    let Some(server) = desk.board.server() else { return stopping() };
    let answered = match uri.path() {
        "/websockets" => Query::of_list(uri.query()).map(|query| serde_json::to_vec(&query.list(server))),
        _ => Query::of_close(uri.query())
            .and_then(|query| query.close(server))
            .map(|closed| serde_json::to_vec(&closed)),
    };
    match answered {
        Ok(body) => (StatusCode::OK, body),
        Err(problem) => (StatusCode::BAD_REQUEST, error(&problem)),
    }
}

/// Shows the messages of a relay.
fn tap(id: u64, desk: &Desk, seat: &Seat) -> Answer {
    let Some(server) = desk.board.server() else {
        let (status, body) = stopping();
        return json(status, body);
    };
    let Ok(looks) = desk.looking.clone().try_acquire_owned() else {
        let problem = format!("{LOOKING} look at messages already");
        return json(StatusCode::SERVICE_UNAVAILABLE, error(&problem));
    };
    match server.tap(id) {
        Ok(messages) => {
            drop(seat.lock().unwrap_or_else(PoisonError::into_inner).take());
            let lines = relays::lines(messages, looks);
            let mut response = Response::new(StreamBody::new(lines).boxed_unsync());
            let kind = header::HeaderValue::from_static("application/x-ndjson");
            response.headers_mut().insert(header::CONTENT_TYPE, kind);
            response
        }
        Err(problem) => {
            let status = match problem {
                TapError::NoSuchRelay => StatusCode::NOT_FOUND,
                TapError::Unread | TapError::NotConfigured | TapError::Taken => StatusCode::CONFLICT,
            };
            let what = match problem {
                TapError::NotConfigured => {
                    "its route does not say that messages may be shown: `[routes.websocket] tap = true` would, or a table \
                     with `sample` and `redact`"
                        .to_owned()
                }
                problem => problem.to_string(),
            };
            json(status, error(&what))
        }
    }
}

fn json(status: StatusCode, body: serde_json::Result<Vec<u8>>) -> Answer {
    let mut response = Response::new(Full::from(body.unwrap_or_default()).boxed_unsync());
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, header::HeaderValue::from_static("application/json"));
    response
}

/// What is to be done.
fn asked(uri: &Uri) -> Result<Ask, String> {
    let is_reload = uri.path() == "/reload";
    let mut ask = if is_reload { Ask::Reload } else { Ask::Rollback { to: None } };
    for part in uri.query().unwrap_or_default().split('&').filter(|part| !part.is_empty()) {
        ask = match part.split_once('=') {
            Some(("dry_run", "true")) if is_reload => Ask::DryRun,
            Some(("dry_run", "false")) if is_reload => Ask::Reload,
            Some(("to", generation)) if !is_reload => {
                let to = generation.parse().map_err(|_| format!("`{generation}` is no generation"))?;
                Ask::Rollback { to: Some(to) }
            }
            _ if is_reload => return Err(format!("`{part}` is not dry_run=true or dry_run=false")),
            _ => return Err(format!("`{part}` is not to=GENERATION")),
        };
    }
    Ok(ask)
}

/// Has it done by the one who publishes.
async fn carry_out(ask: Ask, orders: &Sender<Order>) -> (StatusCode, serde_json::Result<Vec<u8>>) {
    let (answer, told) = oneshot::channel();
    if orders.send(Order::Change { ask, answer }).await.is_err() {
        return stopping();
    }
    match told.await {
        Ok(change) if change.outcome == Outcome::Refused => {
            (StatusCode::UNPROCESSABLE_ENTITY, serde_json::to_vec(&change))
        }
        Ok(change) => (StatusCode::OK, serde_json::to_vec(&change)),
        Err(_) => stopping(),
    }
}

/// Has another binary take over.
async fn upgrade(orders: &Sender<Order>) -> (StatusCode, serde_json::Result<Vec<u8>>) {
    let (answer, told) = oneshot::channel();
    if orders.send(Order::Upgrade { answer }).await.is_err() {
        return stopping();
    }
    match told.await {
        Ok(upgrade) => {
            let refused = upgrade.pid.is_none();
            let status = if refused { StatusCode::UNPROCESSABLE_ENTITY } else { StatusCode::OK };
            (status, serde_json::to_vec(&upgrade))
        }
        Err(_) => stopping(),
    }
}

fn stopping() -> (StatusCode, serde_json::Result<Vec<u8>>) {
    (StatusCode::SERVICE_UNAVAILABLE, error("weir stops"))
}

fn error(text: &str) -> serde_json::Result<Vec<u8>> {
    serde_json::to_vec(&serde_json::json!({ "error": text }))
}
