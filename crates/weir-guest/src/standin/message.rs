//! A request, its response and their connection, in memory. Clones are the same message.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use crate::Error;
use crate::bindings::weir::plugin::types::Header;
use crate::standin::codec::{form_decode, url_encode};

type Shared<T> = Rc<RefCell<T>>;

/// Fields of a request or a response.
#[derive(Debug, Clone, Default)]
pub struct Headers(Shared<Vec<Header>>);

/// Fields that frame the message: the host refuses to change them.
const FRAMING: [&str; 5] = ["content-length", "transfer-encoding", "connection", "upgrade", "te"];

/// Whether a field may be changed: its name, in lower case.
fn changeable(name: &str, value: &[u8]) -> Result<String, Error> {
    let name = name.to_ascii_lowercase();
    if name.is_empty() || !name.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b))
    {
        return Err(Error::Invalid(format!("`{name}` is no name of a field")));
    }
    if value.iter().any(|b| (*b < 0x20 && *b != b'\t') || *b == 0x7f) {
        return Err(Error::Invalid(format!("the value of `{name}` has control characters")));
    }
    if FRAMING.contains(&name.as_str()) {
        return Err(Error::Denied(format!("`{name}` frames the message")));
    }
    Ok(name)
}

impl Headers {
    /// The first value of this name; none is not the same as an empty value.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<Vec<u8>> {
        self.get_all(name).into_iter().next()
    }

    /// All values of this name, in order.
    #[must_use]
    pub fn get_all(&self, name: &str) -> Vec<Vec<u8>> {
        let fields = self.0.borrow();
        fields.iter().filter(|f| f.name.eq_ignore_ascii_case(name)).map(|f| f.value.clone()).collect()
    }

    /// Replaces all values of this name by one. Errors: `Invalid`, `Denied`.
    pub fn set(&self, name: &str, value: &[u8]) -> Result<(), Error> {
        let name = changeable(name, value)?;
        self.put(&name, value);
        Ok(())
    }

    /// Adds a value after those there are. Errors: `Invalid`, `Denied`.
    pub fn add(&self, name: &str, value: &[u8]) -> Result<(), Error> {
        let name = changeable(name, value)?;
        let mut fields = self.0.borrow_mut();
        let at = fields.iter().rposition(|f| f.name == name).map_or(fields.len(), |last| last + 1);
        fields.insert(at, Header { name, value: value.to_vec() });
        Ok(())
    }

    /// Removes all values of this name, if there are any. Errors: `Denied`.
    pub fn remove(&self, name: &str) -> Result<(), Error> {
        let name = changeable(name, b"")?;
        self.0.borrow_mut().retain(|f| f.name != name);
        Ok(())
    }

    /// All fields; those of one name stand together.
    #[must_use]
    pub fn entries(&self) -> Vec<Header> {
        self.0.borrow().clone()
    }

    /// As the host sets it.
    pub(crate) fn put(&self, name: &str, value: &[u8]) {
        let mut fields = self.0.borrow_mut();
        let at = fields.iter().position(|f| f.name == name).unwrap_or(fields.len());
        fields.retain(|f| f.name != name);
        let at = at.min(fields.len());
        fields.insert(at, Header { name: name.to_owned(), value: value.to_vec() });
    }
}

/// Parameters of a request's query.
#[derive(Debug, Clone)]
pub struct Query(Shared<String>);

impl Query {
    /// The first value of this name; a name without `=` has an empty value.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<Vec<u8>> {
        self.get_all(name).into_iter().next()
    }

    /// All values of this name, in order.
    #[must_use]
    pub fn get_all(&self, name: &str) -> Vec<Vec<u8>> {
        self.entries().into_iter().filter(|f| f.name == name).map(|f| f.value).collect()
    }

    /// Replaces all values of this name by one, or adds it at the end.
    pub fn set(&self, name: &str, value: &[u8]) -> Result<(), Error> {
        let mut entries = self.entries();
        let at = entries.iter().position(|f| f.name == name).unwrap_or(entries.len());
        entries.retain(|f| f.name != name);
        entries.insert(at.min(entries.len()), Header { name: name.to_owned(), value: value.to_vec() });
        self.write(&entries);
        Ok(())
    }

    /// Removes all values of this name.
    pub fn remove(&self, name: &str) -> Result<(), Error> {
        let mut entries = self.entries();
        entries.retain(|f| f.name != name);
        self.write(&entries);
        Ok(())
    }

    /// All parameters in order.
    #[must_use]
    pub fn entries(&self) -> Vec<Header> {
        let query = self.0.borrow();
        let pairs = query.split('&').filter(|pair| !pair.is_empty());
        pairs
            .map(|pair| {
                let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
                let name = String::from_utf8_lossy(&form_decode(name)).into_owned();
                Header { name, value: form_decode(value) }
            })
            .collect()
    }

    fn write(&self, entries: &[Header]) {
        let pairs: Vec<String> = entries
            .iter()
            .map(|entry| format!("{}={}", url_encode(entry.name.as_bytes()), url_encode(&entry.value)))
            .collect();
        *self.0.borrow_mut() = pairs.join("&");
    }
}

/// Cookies of a request.
#[derive(Debug, Clone)]
pub struct Cookies(Headers);

impl Cookies {
    /// The first value of this name. Names are case sensitive.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<Vec<u8>> {
        self.entries().into_iter().find(|cookie| cookie.name == name).map(|cookie| cookie.value)
    }

    /// All cookies in order.
    #[must_use]
    pub fn entries(&self) -> Vec<Header> {
        let fields = self.0.get_all("cookie");
        let pairs = fields.iter().flat_map(|field| field.split(|b| *b == b';'));
        pairs
            .filter_map(|pair| {
                let pair = pair.trim_ascii();
                let at = pair.iter().position(|b| *b == b'=')?;
                let value = &pair[at + 1..];
                let value = value.strip_prefix(b"\"").and_then(|v| v.strip_suffix(b"\"")).unwrap_or(value);
                Some(Header { name: String::from_utf8(pair[..at].to_vec()).ok()?, value: value.to_vec() })
            })
            .collect()
    }
}

/// The body of a request or a response.
#[derive(Debug, Clone)]
pub struct Body {
    state: Shared<BodyState>,
    headers: Headers,
}

#[derive(Debug, Default)]
struct BodyState {
    data: Vec<u8>,
    passed: bool,
}

impl Body {
    fn new(headers: &Headers) -> Body {
        Body { state: Shared::default(), headers: headers.clone() }
    }

    /// All of it. Errors: `TooLarge`.
    pub fn read(&self, limit: Option<u64>) -> Result<Vec<u8>, Error> {
        let data = &self.state.borrow().data;
        match limit {
            Some(most) if data.len() as u64 > most => Err(Error::TooLarge(most)),
            _ => Ok(data.clone()),
        }
    }

    /// Puts other bytes in its place.
    pub fn replace(&self, data: &[u8]) -> Result<(), Error> {
        self.state.borrow_mut().data = data.to_vec();
        self.headers.put("content-length", data.len().to_string().as_bytes());
        Ok(())
    }

    /// The plugin's hook for the body is not called for this one.
    pub fn pass(&self) {
        self.state.borrow_mut().passed = true;
    }

    /// Whether [`Body::pass`] was called. Only off WebAssembly.
    #[must_use]
    pub fn is_passed(&self) -> bool {
        self.state.borrow().passed
    }
}

/// The client's connection. Fields can be set; only off WebAssembly.
#[derive(Debug, Clone, Default)]
#[allow(missing_docs, reason = "each is what the method of its name returns")]
pub struct Connection {
    pub id: String,
    pub listener: String,
    pub peer: String,
    pub local_address: String,
    pub tls_version: Option<String>,
    pub tls_cipher: Option<String>,
    pub sni: Option<String>,
    pub alpn: Option<String>,
    pub client_subject: Option<String>,
    pub client_fingerprint: Option<String>,
}

macro_rules! fields {
    ($($name:ident: $type:ty = $doc:literal;)*) => {
        impl Connection {
            $(
                #[doc = $doc]
                #[must_use]
                pub fn $name(&self) -> $type {
                    self.$name.clone()
                }
            )*

            /// The address of `peer` without its port; none on Unix sockets.
            #[must_use]
            pub fn peer_ip(&self) -> Option<String> {
                self.peer.parse::<std::net::SocketAddr>().ok().map(|peer| peer.ip().to_string())
            }
        }
    };
}

fields! {
    id: String = "Unique in this process: digits.";
    listener: String = "The listener's name in the configuration.";
    peer: String = "Address and port of the other end, or `unix:`.";
    local_address: String = "Address and port that the client connected to, or `unix:`.";
    tls_version: Option<String> = "`TLSv1.2` or `TLSv1.3`; none on a plain connection.";
    tls_cipher: Option<String> = "The cipher suite by its IANA name.";
    sni: Option<String> = "The server name that the client asked for, lower case.";
    alpn: Option<String> = "The protocol that ALPN settled, for example `h2`.";
    client_subject: Option<String> = "The subject of the client's verified certificate.";
    client_fingerprint: Option<String> = "SHA-256 of the client's verified certificate, in lower-case hexadecimal.";
}

/// What the client asked.
#[derive(Debug, Clone)]
pub struct Request {
    state: Shared<RequestState>,
    query: Shared<String>,
    headers: Headers,
    body: Body,
}

#[derive(Debug, Default)]
struct RequestState {
    method: String,
    path: String,
    route: String,
    client_ip: Option<String>,
    captures: BTreeMap<String, String>,
    upstream: Option<String>,
    connection: Connection,
}

impl Request {
    /// A request with this method, and this path and query, for `example.com`. Only off WebAssembly, as all that begins with
    /// `with_`.
    #[must_use]
    pub fn new(method: &str, target: &str) -> Request {
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let headers = Headers::default();
        headers.put("host", b"example.com");
        let state = RequestState {
            method: method.to_owned(),
            path: path.to_owned(),
            route: "test".to_owned(),
            client_ip: Some("192.0.2.1".to_owned()),
            connection: Connection { peer: "192.0.2.1:50000".to_owned(), ..Connection::default() },
            ..RequestState::default()
        };
        Request {
            state: Rc::new(RefCell::new(state)),
            query: Rc::new(RefCell::new(query.to_owned())),
            body: Body::new(&headers),
            headers,
        }
    }

    /// One field more.
    #[must_use]
    pub fn with_header(self, name: &str, value: impl AsRef<[u8]>) -> Request {
        let field = Header { name: name.to_ascii_lowercase(), value: value.as_ref().to_vec() };
        self.headers.0.borrow_mut().push(field);
        self
    }

    /// With this body, and its length in the fields.
    #[must_use]
    pub fn with_body(self, data: impl Into<Vec<u8>>) -> Request {
        let data = data.into();
        self.headers.put("content-length", data.len().to_string().as_bytes());
        self.body.state.borrow_mut().data = data;
        self
    }

    /// What a placeholder of the route's path stands for.
    #[must_use]
    pub fn with_capture(self, name: &str, value: &str) -> Request {
        self.state.borrow_mut().captures.insert(name.to_owned(), value.to_owned());
        self
    }

    /// From this address.
    #[must_use]
    pub fn with_client_ip(self, address: &str) -> Request {
        self.state.borrow_mut().client_ip = Some(address.to_owned());
        self
    }

    /// Over this connection.
    #[must_use]
    pub fn with_connection(self, connection: Connection) -> Request {
        self.state.borrow_mut().connection = connection;
        self
    }

    /// As in the access log.
    #[must_use]
    pub fn request_id(&self) -> String {
        "00000000000000000000000000000001".to_owned()
    }

    /// The name of the route: `test`.
    #[must_use]
    pub fn route(&self) -> String {
        self.state.borrow().route.clone()
    }

    /// For example `GET`.
    #[must_use]
    pub fn method(&self) -> String {
        self.state.borrow().method.clone()
    }

    /// Errors: `Invalid`.
    pub fn set_method(&self, value: &str) -> Result<(), Error> {
        if value.is_empty() || !value.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-') {
            return Err(Error::Invalid(format!("`{value}` is no method")));
        }
        self.state.borrow_mut().method = value.to_owned();
        Ok(())
    }

    /// `https` over a connection with TLS, else `http`.
    #[must_use]
    pub fn scheme(&self) -> String {
        if self.state.borrow().connection.tls_version.is_some() { "https" } else { "http" }.to_owned()
    }

    /// The `Host`, with its port if it has one.
    #[must_use]
    pub fn host(&self) -> String {
        self.headers.text("host").unwrap_or_default()
    }

    /// The normalised path, percent-encoded, without the query.
    #[must_use]
    pub fn path(&self) -> String {
        self.state.borrow().path.clone()
    }

    /// Errors: `Invalid`.
    pub fn set_path(&self, value: &str) -> Result<(), Error> {
        if !value.starts_with('/') || !value.bytes().all(|b| b.is_ascii_graphic() && b != b'?' && b != b'#') {
            return Err(Error::Invalid(format!("`{value}` is no path")));
        }
        self.state.borrow_mut().path = value.to_owned();
        Ok(())
    }

    /// The query as it was sent, without `?`; empty where there is none.
    #[must_use]
    pub fn query_string(&self) -> String {
        self.query.borrow().clone()
    }

    /// Errors: `Invalid`.
    pub fn set_query_string(&self, value: &str) -> Result<(), Error> {
        if !value.bytes().all(|b| b.is_ascii_graphic() && b != b'#') {
            return Err(Error::Invalid(format!("`{value}` is no query")));
        }
        *self.query.borrow_mut() = value.to_owned();
        Ok(())
    }

    /// `HTTP/1.1`.
    #[must_use]
    pub fn version(&self) -> String {
        "HTTP/1.1".to_owned()
    }

    /// Whether the field `Upgrade` asks for a WebSocket.
    #[must_use]
    pub fn is_websocket(&self) -> bool {
        self.headers().get("upgrade").is_some_and(|value| value.eq_ignore_ascii_case(b"websocket"))
    }

    /// The client's address.
    #[must_use]
    pub fn client_ip(&self) -> Option<String> {
        self.state.borrow().client_ip.clone()
    }

    /// What the placeholder of this name in the route's path stands for.
    #[must_use]
    pub fn capture(&self, name: &str) -> Option<String> {
        self.state.borrow().captures.get(name).cloned()
    }

    /// The upstream group that was set.
    #[must_use]
    pub fn upstream(&self) -> Option<String> {
        self.state.borrow().upstream.clone()
    }

    /// Sends the request to another upstream group.
    pub fn set_upstream(&self, value: &str) -> Result<(), Error> {
        self.state.borrow_mut().upstream = Some(value.to_owned());
        Ok(())
    }

    /// The request's fields.
    #[must_use]
    pub fn headers(&self) -> Headers {
        self.headers.clone()
    }

    /// The parameters of the query.
    #[must_use]
    pub fn query(&self) -> Query {
        Query(self.query.clone())
    }

    /// The request's cookies.
    #[must_use]
    pub fn cookies(&self) -> Cookies {
        Cookies(self.headers.clone())
    }

    /// The request's body.
    #[must_use]
    pub fn body(&self) -> Body {
        self.body.clone()
    }

    /// The client's connection.
    #[must_use]
    pub fn connection(&self) -> Connection {
        self.state.borrow().connection.clone()
    }
}

/// What goes back to the client.
#[derive(Debug, Clone)]
pub struct Response {
    status: Shared<u16>,
    headers: Headers,
    body: Body,
}

impl Response {
    /// A response with this status. Only off WebAssembly, as all that begins with `with_`.
    #[must_use]
    pub fn new(status: u16) -> Response {
        let headers = Headers::default();
        Response { status: Rc::new(RefCell::new(status)), body: Body::new(&headers), headers }
    }

    /// One field more.
    #[must_use]
    pub fn with_header(self, name: &str, value: impl AsRef<[u8]>) -> Response {
        let field = Header { name: name.to_ascii_lowercase(), value: value.as_ref().to_vec() };
        self.headers.0.borrow_mut().push(field);
        self
    }

    /// With this body, and its length in the fields.
    #[must_use]
    pub fn with_body(self, data: impl Into<Vec<u8>>) -> Response {
        let data = data.into();
        self.headers.put("content-length", data.len().to_string().as_bytes());
        self.body.state.borrow_mut().data = data;
        self
    }

    /// 200 to 599.
    #[must_use]
    pub fn status(&self) -> u16 {
        *self.status.borrow()
    }

    /// Errors: `Invalid`.
    pub fn set_status(&self, value: u16) -> Result<(), Error> {
        if !(200..600).contains(&value) {
            return Err(Error::Invalid(format!("{value} is no status: 200 to 599")));
        }
        *self.status.borrow_mut() = value;
        Ok(())
    }

    /// The response's fields.
    #[must_use]
    pub fn headers(&self) -> Headers {
        self.headers.clone()
    }

    /// The response's body.
    #[must_use]
    pub fn body(&self) -> Body {
        self.body.clone()
    }

    /// The endpoint that answered: one for all.
    #[must_use]
    pub fn endpoint(&self) -> Option<String> {
        Some("192.0.2.2:8080".to_owned())
    }
}
