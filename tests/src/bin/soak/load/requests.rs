//! Requests: on connections that stay, in streams of HTTP/2, downloads, and one at a time on fresh connections.

use std::error::Error as _;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};

use crate::certificates::{Fingerprint, NAME, fingerprint};
use crate::client::{CONFIG, Door, PATIENCE, SCRIPT, Soak, Stream};
use crate::count::Kind;
use crate::upstream::{BLOCK, LARGE, SMALL};

/// Between two requests on a connection, or in a stream: at most so long.
const PAUSE_MS: u64 = 40;
/// Requests on a connection before it is closed: at most.
const REQUESTS: u32 = 400;
/// The body of a request that has one.
const UPLOAD: usize = 16 << 10;
/// A download stops for a moment after so many bytes, so that it takes seconds and many changes.
const GULP: usize = 256 << 10;
const BREATH: Duration = Duration::from_millis(60);

/// Why a request failed.
#[derive(Debug)]
enum Trouble {
    /// It was never sent, as the connection had ended properly before: not a failure.
    Unsent,
    /// It was not answered, or wrongly.
    Failed {
        /// Whether a client may send it again without asking.
        retriable: bool,
        reason: String,
    },
}

/// A connection of either version.
enum Sender {
    One(http1::SendRequest<Full<Bytes>>),
    Two(http2::SendRequest<Full<Bytes>>),
}

impl Sender {
    async fn open(soak: &Soak, door: Door) -> io::Result<Self> {
        let stream = soak.connect(door).await?;
        Self::over(stream, door == Door::Tls2).await
    }

    async fn over(stream: impl Stream + 'static, two: bool) -> io::Result<Self> {
        let io = TokioIo::new(stream);
        if two {
            let (sender, connection) =
                http2::handshake(TokioExecutor::new(), io).await.map_err(io::Error::other)?;
            tokio::spawn(connection);
            return Ok(Sender::Two(sender));
        }
        let (sender, connection) = http1::handshake(io).await.map_err(io::Error::other)?;
        tokio::spawn(connection);
        Ok(Sender::One(sender))
    }

    /// Sends a request and waits for the head of the answer.
    async fn send(&mut self, request: Request<Full<Bytes>>) -> Result<Response<Incoming>, Trouble> {
        let idempotent = request.method().is_idempotent();
        let sent = async {
            match self {
                Sender::One(sender) => {
                    sender.ready().await.map_err(|_| Trouble::Unsent)?;
                    sender.send_request(request).await.map_err(|error| trouble(&error, idempotent))
                }
                Sender::Two(sender) => {
                    sender.ready().await.map_err(|_| Trouble::Unsent)?;
                    sender.send_request(request).await.map_err(|error| trouble(&error, idempotent))
                }
            }
        };
        tokio::time::timeout(PATIENCE, sent).await.unwrap_or_else(|_| {
            Err(Trouble::Failed { retriable: false, reason: format!("no answer within {PATIENCE:?}") })
        })
    }
}

fn trouble(error: &hyper::Error, idempotent: bool) -> Trouble {
    if error.is_canceled() {
        return Trouble::Unsent;
    }
    Trouble::Failed { retriable: idempotent || unprocessed(error), reason: chain(error) }
}

/// Whether the server has told that it did nothing of a request: a stream that it refused, or one after the last that
/// it takes before it goes away (RFC 9113 section 8.7).
fn unprocessed(error: &hyper::Error) -> bool {
    error.source().and_then(|cause| cause.downcast_ref::<h2::Error>()).is_some_and(|error| {
        let gone = error.is_go_away() && error.is_remote() && error.reason() == Some(h2::Reason::NO_ERROR);
        gone || error.reason() == Some(h2::Reason::REFUSED_STREAM)
    })
}

/// An error with its causes.
fn chain(error: &hyper::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

/// A wrong answer: sending it again would not be the client's decision.
fn wrong(reason: impl Into<String>) -> Trouble {
    Trouble::Failed { retriable: false, reason: reason.into() }
}

/// One request on a connection and its whole answer; counted. False if the connection is of no more use.
async fn one(soak: &Soak, kind: Kind, sender: &mut Sender) -> bool {
    let upload = fastrand::u8(..4) == 0;
    let done = if upload { echo(soak, sender).await } else { small(soak, sender).await };
    match done {
        Ok(stale) => soak.tally(kind).made(stale),
        Err(Trouble::Unsent) => return false,
        Err(Trouble::Failed { retriable, reason }) => {
            soak.tally(kind).failed(retriable, reason);
            return false;
        }
    }
    true
}

async fn small(soak: &Soak, sender: &mut Sender) -> Result<bool, Trouble> {
    whole(soak, sender, request(sender, Method::GET, "/small", Bytes::new()), &SMALL).await
}

async fn echo(soak: &Soak, sender: &mut Sender) -> Result<bool, Trouble> {
    let from = fastrand::usize(..BLOCK.len() - UPLOAD);
    let body = BLOCK.slice(from..from + UPLOAD);
    whole(soak, sender, request(sender, Method::POST, "/echo", body.clone()), &body).await
}

/// Sends a request whose answer must have this body. Whether the answer is by what served before.
async fn whole(
    soak: &Soak,
    sender: &mut Sender,
    request: Request<Full<Bytes>>,
    wanted: &Bytes,
) -> Result<bool, Trouble> {
    let idempotent = request.method().is_idempotent();
    let since = soak.since();
    let answer = head(sender.send(request).await?)?;
    let stale = soak.check(answer.headers(), since).map_err(wrong)?;
    let body = async { answer.into_body().collect().await.map(|body| body.to_bytes()) };
    match tokio::time::timeout(PATIENCE, body).await {
        Ok(Ok(body)) if body == wanted => Ok(stale),
        Ok(Ok(_)) => Err(wrong("the body is not what it must be")),
        Ok(Err(error)) => {
            let reason = format!("the body was cut: {}", chain(&error));
            Err(Trouble::Failed { retriable: idempotent, reason })
        }
        Err(_) => Err(wrong(format!("the body took over {PATIENCE:?}"))),
    }
}

fn head(answer: Response<Incoming>) -> Result<Response<Incoming>, Trouble> {
    if answer.status() == StatusCode::OK { Ok(answer) } else { Err(wrong(format!("{}", answer.status()))) }
}

fn request(sender: &Sender, method: Method, path: &str, body: Bytes) -> Request<Full<Bytes>> {
    let request = Request::builder().method(method);
    let request = match sender {
        Sender::One(_) => request.uri(path).header(header::HOST, NAME),
        Sender::Two(_) => request.uri(format!("https://{NAME}{path}")),
    };
    request.body(Full::new(body)).expect("a request of fixed parts is well formed")
}

/// Opens a connection; counted if that fails, and then after a moment.
async fn open(soak: &Soak, kind: Kind, door: Door) -> Option<Sender> {
    match Sender::open(soak, door).await {
        Ok(sender) => Some(sender),
        Err(error) => {
            soak.tally(kind).failed(true, format!("connecting: {error}"));
            soak.pause(Duration::from_millis(100)).await;
            None
        }
    }
}

/// Requests on one connection after the other.
pub(crate) async fn keep_alive(soak: Arc<Soak>, kind: Kind, door: Door) {
    while !soak.is_stopped() {
        let Some(mut sender) = open(&soak, kind, door).await else { continue };
        for _ in 0..fastrand::u32(1..=REQUESTS) {
            if !one(&soak, kind, &mut sender).await || soak.is_stopped() {
                break;
            }
            soak.pause(Duration::from_millis(fastrand::u64(..PAUSE_MS))).await;
        }
    }
}

/// Requests in so many streams at once, on one HTTP/2 connection after the other.
pub(crate) async fn streams(soak: Arc<Soak>, streams: usize) {
    while !soak.is_stopped() {
        let Some(Sender::Two(sender)) = open(&soak, Kind::Http2, Door::Tls2).await else { continue };
        let mut tasks = tokio::task::JoinSet::new();
        for _ in 0..streams {
            let (soak, mut sender) = (soak.clone(), Sender::Two(sender.clone()));
            tasks.spawn(async move {
                for _ in 0..fastrand::u32(1..=REQUESTS) {
                    if !one(&soak, Kind::Http2, &mut sender).await || soak.is_stopped() {
                        break;
                    }
                    soak.pause(Duration::from_millis(fastrand::u64(..PAUSE_MS))).await;
                }
            });
        }
        while tasks.join_next().await.is_some() {}
    }
}

/// Downloads on one connection after the other, slowly.
pub(crate) async fn downloads(soak: Arc<Soak>, door: Door) {
    while !soak.is_stopped() {
        let Some(mut sender) = open(&soak, Kind::Download, door).await else { continue };
        for _ in 0..fastrand::u32(1..=5) {
            match download(&soak, &mut sender).await {
                Ok(stale) => soak.tally(Kind::Download).made(stale),
                Err(Trouble::Unsent) => break,
                Err(Trouble::Failed { retriable, reason }) => {
                    soak.tally(Kind::Download).failed(retriable, reason);
                    break;
                }
            }
            if soak.is_stopped() {
                break;
            }
        }
    }
}

async fn download(soak: &Soak, sender: &mut Sender) -> Result<bool, Trouble> {
    let since = soak.since();
    let answer = sender.send(request(sender, Method::GET, "/large", Bytes::new())).await?;
    let answer = head(answer)?;
    let stale = soak.check(answer.headers(), since).map_err(wrong)?;
    let mut body = answer.into_body();
    let (mut got, mut breath) = (0, GULP);
    loop {
        let piece = match tokio::time::timeout(PATIENCE, body.frame()).await {
            Ok(None) => break,
            Ok(Some(Ok(frame))) => frame.into_data().unwrap_or_default(),
            Ok(Some(Err(error))) => {
                let reason = format!("cut before its end: {}", chain(&error));
                return Err(Trouble::Failed { retriable: true, reason });
            }
            Err(_) => return Err(wrong(format!("nothing came for {PATIENCE:?}"))),
        };
        if !is_at(got, &piece) {
            return Err(wrong("bytes are not what they must be"));
        }
        got += piece.len();
        // All bytes have to come, but not slowly at the end of the soak.
        if got >= breath && !soak.is_stopped() {
            breath = got + GULP;
            soak.pause(BREATH).await;
        }
    }
    if got == LARGE { Ok(stale) } else { Err(wrong("the length is not what it must be")) }
}

/// Whether these bytes are those of a download from this place on.
fn is_at(mut from: usize, mut piece: &[u8]) -> bool {
    while !piece.is_empty() {
        let wanted = &BLOCK[from % BLOCK.len()..];
        let both = wanted.len().min(piece.len());
        if wanted[..both] != piece[..both] {
            return false;
        }
        piece = &piece[both..];
        from += both;
    }
    true
}

/// What is served to somebody who comes new.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Seen {
    /// The value that the configuration sets.
    pub(crate) config: String,
    /// The value that the script sets.
    pub(crate) script: String,
    /// The certificate.
    pub(crate) fingerprint: Fingerprint,
}

/// One request on a fresh TLS connection; counted, and as stale if it is not served what `must` be.
pub(crate) async fn fresh(soak: &Soak, must: Option<&Seen>) -> Option<Seen> {
    let seen = see(soak).await;
    match seen {
        Ok(seen) => {
            soak.tally(Kind::Fresh).made(must.is_some_and(|must| *must != seen));
            Some(seen)
        }
        Err(reason) => {
            soak.tally(Kind::Fresh).failed(true, reason);
            None
        }
    }
}

/// The same without being counted.
pub(crate) async fn see(soak: &Soak) -> Result<Seen, String> {
    let stream = soak.connect_fresh().await.map_err(|error| format!("connecting: {error}"))?;
    let served = stream.get_ref().1.peer_certificates().and_then(|chain| chain.first());
    let fingerprint = fingerprint(served.ok_or("no certificate was shown")?);
    let mut sender = Sender::over(stream, false).await.map_err(|error| error.to_string())?;
    let answer = sender.send(request(&sender, Method::GET, "/small", Bytes::new())).await;
    let answer = answer.and_then(head).map_err(|trouble| match trouble {
        Trouble::Unsent => "the connection was closed before the request was sent".to_owned(),
        Trouble::Failed { reason, .. } => reason,
    })?;
    let _ = soak.check(answer.headers(), [0, 0])?;
    let value = |name: &str| {
        let value = answer.headers().get(name).and_then(|value| value.to_str().ok());
        value.unwrap_or_default().to_owned()
    };
    Ok(Seen { config: value(CONFIG), script: value(SCRIPT), fingerprint })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::upstream;

    #[test]
    fn a_byte_of_a_download_that_is_wrong_or_missing_is_seen() {
        let whole: Vec<u8> = BLOCK.iter().copied().cycle().take(3 * BLOCK.len()).collect();
        let cut = BLOCK.len() - 7;
        assert!(is_at(0, &whole) && is_at(cut, &whole[cut..]) && is_at(cut, &whole[cut..cut + 20]));
        assert!(!is_at(cut + 1, &whole[cut..]), "a byte is missing");
        let mut wrong = whole.clone();
        wrong[BLOCK.len() + 5] ^= 1;
        assert!(!is_at(0, &wrong));
    }

    /// Without a proxy nobody sets the headers: every answer is a wrong one.
    #[tokio::test]
    async fn answers_that_are_wrong_count_as_failed() {
        let upstream = upstream::start().await.unwrap();
        let soak = Soak::new(upstream, upstream, upstream).unwrap();
        let mut sender = Sender::open(&soak, Door::Web).await.unwrap();
        assert!(!one(&soak, Kind::Http1, &mut sender).await);
        let figures = soak.tally(Kind::Http1).figures();
        assert_eq!((figures.made, figures.failed), (0, 1), "{figures:?}");
        assert_eq!(figures.reasons, ["x-config: `` is not a number"]);
        download(&soak, &mut Sender::open(&soak, Door::Web).await.unwrap()).await.expect_err("no header");
        assert!(open(&soak, Kind::Https1, Door::Tls).await.is_none(), "nobody speaks TLS there");
        assert_eq!(soak.tally(Kind::Https1).figures().failed, 1);
    }
}
