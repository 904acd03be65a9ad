//! Static files from a folder.
//!
//! Ranges, conditional requests and validators are `http-serve`'s (it knows `If-Range` and several ranges, and takes
//! a file that is already open); what is ours is which file a path means.
//!
//! * Nothing outside the folder is served. A file is opened beneath it by the kernel (`openat2` with
//!   `RESOLVE_BENEATH`): `..`, absolute links and links that lead out are not followed, links within are. Where the
//!   kernel has no such call, the resolved path is compared with the folder's.
//! * A segment that begins with a dot is not found, so that `.git` or `.env` are never served; `.well-known` (RFC
//!   8615) as the first segment is. Empty segments (`//`) and encoded slashes are not found.
//! * A folder is answered with its index where the path ends in `/`, else with a redirect to that path with `/`.
//!   There are no listings.
//! * What is neither GET nor HEAD is `MethodNotAllowed`: answer it with [`ALLOW`].

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use futures_util::Stream;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Method, Request, Response, StatusCode};
use http_body::{Body as HttpBody, Frame, SizeHint};
use rustix::fs::{Mode, OFlags, ResolveFlags};
use rustix::io::Errno;
use tokio::task::{JoinHandle, spawn_blocking};

use crate::body::Body;
use crate::error::{Error, Kind, Result};
use crate::spec::Files;

/// `Allow` of the 405 that other methods get (RFC 9110, section 15.5.6).
pub const ALLOW: HeaderValue = HeaderValue::from_static("GET, HEAD");

/// How much is read at once: a hop to another thread each, and the memory of a download.
const CHUNK: u64 = 128 << 10;

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Answers a request with a file. `path` is the normalised path after the route's rewrite. Cancel-safe.
///
/// # Errors
/// `NoRoute` where there is no such file, `MethodNotAllowed`, `Internal` where the file cannot be read.
pub async fn serve(
    files: &Files,
    method: &Method,
    headers: &HeaderMap,
    path: &str,
    query: &str,
) -> Result<Response<Body>> {
    if *method != Method::GET && *method != Method::HEAD {
        return Err(Error::new(Kind::MethodNotAllowed, "files are only read"));
    }
    let root = files.root.clone();
    let index = files.index.clone();
    let fallback = files.fallback.clone();
    let wanted = relative(path);
    let is_folder_path = path.ends_with('/');
    let found = spawn_blocking(move || {
        let found = match wanted {
            Some(wanted) => find(&root, &wanted, is_folder_path, &index)?,
            None => Found::Nothing,
        };
        match (found, fallback) {
            (Found::Nothing, Some(fallback)) => match find(&root, &fallback, false, &index)? {
                Found::Folder => Ok(Found::Nothing),
                found => Ok(found),
            },
            (found, _) => Ok(found),
        }
    });
    let found = found
        .await
        .map_err(|error| Error::because(Kind::Internal, "opening a file failed", error))?
        .map_err(|error: io::Error| Error::because(Kind::Internal, "opening a file failed", error))?;
    match found {
        Found::Nothing => Err(Error::new(Kind::NoRoute, "there is no such file")),
        Found::Folder => to_folder(path, query),
        Found::File(entity) => Ok(answer(entity, method, headers, files.cache_control.as_ref())),
    }
}

/// The file that a path means, relative to the folder; `None`: none can be.
fn relative(path: &str) -> Option<PathBuf> {
    let mut relative = PathBuf::new();
    let path = path.strip_prefix('/')?;
    let path = path.strip_suffix('/').unwrap_or(path);
    if path.is_empty() {
        return Some(PathBuf::from("."));
    }
    for (index, segment) in path.split('/').enumerate() {
        let name = super::decode(segment);
        let is_hidden = name.starts_with(b".") && !(index == 0 && *name == *b".well-known");
        if name.is_empty() || is_hidden || name.iter().any(|b| matches!(b, b'/' | 0)) {
            return None;
        }
        relative.push(OsStr::from_bytes(&name));
    }
    Some(relative)
}

enum Found {
    File(OpenFile),
    /// A folder whose path lacks the slash.
    Folder,
    Nothing,
}

/// Opens a file beneath `root`. Blocks.
fn find(root: &Path, wanted: &Path, is_folder_path: bool, index: &str) -> io::Result<Found> {
    let Some((file, facts)) = open(root, wanted)? else { return Ok(Found::Nothing) };
    if facts.is_file() && !is_folder_path {
        return Ok(OpenFile::new(file, &facts, wanted).map_or(Found::Nothing, Found::File));
    }
    if !facts.is_dir() {
        return Ok(Found::Nothing);
    }
    if !is_folder_path {
        return Ok(Found::Folder);
    }
    let wanted = wanted.join(index);
    match open(root, &wanted)? {
        Some((file, facts)) if facts.is_file() => {
            Ok(OpenFile::new(file, &facts, &wanted).map_or(Found::Nothing, Found::File))
        }
        _ => Ok(Found::Nothing),
    }
}

/// `None`: there is nothing that may be served.
fn open(root: &Path, wanted: &Path) -> io::Result<Option<(File, std::fs::Metadata)>> {
    let file = match open_beneath(root, wanted) {
        Ok(file) => File::from(file),
        // Too many descriptors or too little memory is no "not found".
        Err(error @ (Errno::MFILE | Errno::NFILE | Errno::NOMEM | Errno::IO)) => return Err(error.into()),
        Err(_) => return Ok(None),
    };
    let facts = file.metadata()?;
    Ok(Some((file, facts)))
}

fn open_beneath(root: &Path, wanted: &Path) -> rustix::io::Result<OwnedFd> {
    // NONBLOCK: opening a pipe must not wait for its writer.
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOCTTY | OFlags::NONBLOCK;
    let folder = rustix::fs::open(root, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
    match rustix::fs::openat2(folder.as_fd(), wanted, flags, Mode::empty(), resolve) {
        // Before Linux 5.6, or kept from us by a sandbox.
        Err(Errno::NOSYS | Errno::PERM) => open_compared(root, wanted, flags),
        // A file was renamed meanwhile; once more is enough.
        Err(Errno::AGAIN) => rustix::fs::openat2(folder.as_fd(), wanted, flags, Mode::empty(), resolve),
        result => result,
    }
}

/// As [`open_beneath`], for systems without `openat2`: safe as long as nobody who can write in the folder means harm.
fn open_compared(root: &Path, wanted: &Path, flags: OFlags) -> rustix::io::Result<OwnedFd> {
    let missing = |_| Errno::NOENT;
    let root = root.canonicalize().map_err(missing)?;
    let path = root.join(wanted).canonicalize().map_err(missing)?;
    if !path.starts_with(&root) {
        return Err(Errno::XDEV);
    }
    rustix::fs::open(path, flags | OFlags::NOFOLLOW, Mode::empty())
}

/// To the same path with a slash. Relative, since the client may know the folder under another path.
fn to_folder(path: &str, query: &str) -> Result<Response<Body>> {
    let name = path.rsplit('/').next().unwrap_or(path);
    let question = if query.is_empty() { "" } else { "?" };
    let location = HeaderValue::try_from(format!("./{name}/{question}{query}"))
        .map_err(|error| Error::because(Kind::Internal, "the path cannot be a location", error))?;
    let mut response = super::respond(StatusCode::MOVED_PERMANENTLY, &HeaderMap::new(), &Bytes::new());
    response.headers_mut().insert(header::LOCATION, location);
    Ok(response)
}

fn answer(
    entity: OpenFile,
    method: &Method,
    headers: &HeaderMap,
    cache_control: Option<&HeaderValue>,
) -> Response<Body> {
    let mut request = Request::new(());
    *request.method_mut() = method.clone();
    *request.headers_mut() = conditions(method, headers);
    let mut response = http_serve::serve(entity, &request).map(Body::from_file);
    let status = response.status();
    if let Some(value) = cache_control
        && (status.is_success() || status == StatusCode::NOT_MODIFIED)
    {
        response.headers_mut().insert(header::CACHE_CONTROL, value.clone());
    }
    response
}

/// The fields that decide what of a file is sent. A range is for GET only (RFC 9110, section 14.2), and a date that
/// is none is ignored (sections 13.1.3 and 13.1.4), as is one beside the entity tags that come first.
fn conditions(method: &Method, headers: &HeaderMap) -> HeaderMap {
    let mut kept = HeaderMap::new();
    let mut keep = |name: HeaderName| {
        for value in headers.get_all(&name) {
            kept.append(name.clone(), value.clone());
        }
    };
    keep(header::IF_MATCH);
    keep(header::IF_NONE_MATCH);
    if *method == Method::GET {
        keep(header::RANGE);
        keep(header::IF_RANGE);
    }
    let is_date = |name: &HeaderName| {
        headers.get(name).and_then(|v| v.to_str().ok()).is_some_and(|v| httpdate::parse_http_date(v).is_ok())
    };
    for (name, unless) in
        [(header::IF_MODIFIED_SINCE, header::IF_NONE_MATCH), (header::IF_UNMODIFIED_SINCE, header::IF_MATCH)]
    {
        if is_date(&name) && !headers.contains_key(unless) {
            keep(name);
        }
    }
    kept
}

/// A regular file that is open.
struct OpenFile {
    file: Arc<File>,
    length: u64,
    /// In whole seconds, as HTTP dates are; `None` where it is no HTTP date.
    modified: Option<SystemTime>,
    tag: HeaderValue,
    media_type: HeaderValue,
}

impl OpenFile {
    /// `None` where its facts make no header.
    fn new(file: File, facts: &std::fs::Metadata, name: &Path) -> Option<Self> {
        let since = facts.modified().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
        let since = since.filter(|since| since.as_secs() < 253_402_300_800);
        let nanos = since.map_or(0, |since| since.as_nanos());
        let tag = HeaderValue::try_from(format!("\"{:x}-{nanos:x}\"", facts.len())).ok()?;
        Some(OpenFile {
            file: Arc::new(file),
            length: facts.len(),
            modified: since.map(|since| UNIX_EPOCH + Duration::from_secs(since.as_secs())),
            tag,
            media_type: media_type(name),
        })
    }
}

/// By the name's extension; text is taken to be UTF-8.
fn media_type(name: &Path) -> HeaderValue {
    let guess = mime_guess::from_path(name).first_raw().unwrap_or("application/octet-stream");
    if guess.starts_with("text/") {
        HeaderValue::try_from(format!("{guess}; charset=utf-8"))
            .unwrap_or_else(|_| HeaderValue::from_static("text/plain; charset=utf-8"))
    } else {
        HeaderValue::from_static(guess)
    }
}

impl http_serve::Entity for OpenFile {
    type Error = BoxError;
    type Data = Bytes;

    fn len(&self) -> u64 {
        self.length
    }

    fn get_range(
        &self,
        range: Range<u64>,
    ) -> Pin<Box<dyn Stream<Item = std::result::Result<Bytes, BoxError>> + Send + Sync>> {
        Box::pin(Chunks { file: self.file.clone(), left: range, reading: None })
    }

    fn add_headers(&self, headers: &mut HeaderMap) {
        headers.insert(header::CONTENT_TYPE, self.media_type.clone());
    }

    fn etag(&self) -> Option<HeaderValue> {
        Some(self.tag.clone())
    }

    fn last_modified(&self) -> Option<SystemTime> {
        self.modified
    }
}

/// A part of a file, read off the worker, one chunk at a time.
struct Chunks {
    file: Arc<File>,
    left: Range<u64>,
    reading: Option<JoinHandle<io::Result<Vec<u8>>>>,
}

impl Stream for Chunks {
    type Item = std::result::Result<Bytes, BoxError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        if this.left.is_empty() {
            return Poll::Ready(None);
        }
        let reading = this.reading.get_or_insert_with(|| {
            let (file, at) = (this.file.clone(), this.left.start);
            let length = (this.left.end - at).min(CHUNK);
            spawn_blocking(move || read_at(&file, at, length))
        });
        let result = ready!(Pin::new(reading).poll(cx));
        this.reading = None;
        let chunk = match result.map_err(BoxError::from).and_then(|read| read.map_err(BoxError::from)) {
            Ok(chunk) => chunk,
            Err(error) => {
                this.left.start = this.left.end;
                return Poll::Ready(Some(Err(error)));
            }
        };
        this.left.start += chunk.len() as u64;
        Poll::Ready(Some(Ok(chunk.into())))
    }
}

fn read_at(file: &File, at: u64, length: u64) -> io::Result<Vec<u8>> {
    let mut chunk = vec![0; usize::try_from(length).unwrap_or(0)];
    let read = std::os::unix::fs::FileExt::read_at(file, &mut chunk, at)?;
    if read == 0 {
        return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the file became shorter"));
    }
    chunk.truncate(read);
    Ok(chunk)
}

/// `http-serve`'s body with our errors.
struct FileBody(http_serve::Body<Bytes, BoxError>);

impl Body {
    fn from_file(body: http_serve::Body<Bytes, BoxError>) -> Body {
        if body.is_end_stream() { Body::Empty } else { Body::stream(FileBody(body)) }
    }
}

impl HttpBody for FileBody {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<std::result::Result<Frame<Bytes>, Error>>> {
        Pin::new(&mut self.0)
            .poll_frame(cx)
            .map_err(|error| Error::because(Kind::Internal, "reading a file failed", error))
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.0.size_hint()
    }
}

#[cfg(test)]
mod tests;
