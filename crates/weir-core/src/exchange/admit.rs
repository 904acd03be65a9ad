//! Whether a request may be served, whose it is, and which route takes it.

use std::borrow::Cow;
use std::sync::Arc;

use bytes::Bytes;
use http::header::{ALLOW, CONTENT_TYPE, COOKIE, EXPECT};
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderValue, Method, Response, Uri, Version};
use http_body::Body as _;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use weir_plugin::{ClientCertificate, Exchange, Tls};

use super::tally::Metered;
use super::websocket::Upgrade;
use super::{Session, Tally, websocket};
use crate::body::Body;
use crate::error::{Error, Kind, Result};
use crate::http1::head::RequestHead;
use crate::route::{CompiledRoute, Question};
use crate::snapshot::Snapshot;
use crate::spec::ClientAuthHeaders;
use crate::tls::Acceptor;
use crate::{headers, path};

/// What stands in the log for a request that is none.
pub(super) fn no_head() -> RequestHead {
    RequestHead {
        method: Method::from_bytes(b"-").unwrap_or_default(),
        uri: Uri::default(),
        version: Version::HTTP_11,
        headers: HeaderMap::new(),
    }
}

/// Checks a request and makes its headers those that plugins and upstreams see. Tells the WebSocket handshake that it
/// may be.
pub(super) fn admit(
    session: &Session,
    snapshot: &Snapshot,
    x: &mut Exchange,
    body: &Body,
) -> Result<Option<Upgrade>> {
    if x.method == Method::CONNECT || x.method == Method::TRACE {
        return Err(Error::new(Kind::MethodNotAllowed, "CONNECT and TRACE are not served"));
    }
    check_form(x)?;
    headers::check_host(&mut x.headers, &x.uri, x.version)?;
    normalise(x, snapshot)?;
    for name in &snapshot.identity_headers {
        x.headers.remove(name);
    }
    let verified = verified(session, snapshot);
    if let Some(verified) = &verified {
        verified.check(x)?;
    }
    let upgrade = websocket::handshake(x, body)?;
    x.is_websocket = upgrade.is_some();
    headers::remove_hop_by_hop(&mut x.headers);
    // Only now: `Connection` must not take away what weir tells.
    if let Some(verified) = &verified {
        verified.tell_identity(&mut x.headers);
    }
    x.headers.remove(EXPECT);
    join_cookies(&mut x.headers);
    let proxy = &snapshot.proxy;
    let trusted = headers::is_trusted(session.sender.address, &proxy.trusted);
    x.client = headers::client_address(session.sender.address, &x.headers, &proxy.trusted);
    if let Some(name) = &proxy.request_id {
        x.request_id = headers::request_id(&mut x.headers, name, trusted);
    }
    headers::set_forwarded(&mut x.headers, &session.sender, trusted, x.client, &proxy.forwarded);
    if let Some(pseudonym) = &proxy.via {
        headers::via(&mut x.headers, x.version, pseudonym);
    }
    Ok(upgrade)
}

/// One `Cookie` field: HTTP/2 allows to split it for compression, HTTP/1.1 and most applications know only one (RFC
/// 9113, section 8.2.3).
fn join_cookies(headers: &mut HeaderMap) {
    let mut all = headers.get_all(COOKIE).iter();
    if let (Some(first), Some(second)) = (all.next(), all.next()) {
        let mut joined = first.as_bytes().to_vec();
        for crumb in std::iter::once(second).chain(all) {
            joined.extend_from_slice(b"; ");
            joined.extend_from_slice(crumb.as_bytes());
        }
        // The parts are values of fields, and so is what joins them.
        if let Ok(value) = HeaderValue::from_bytes(&joined) {
            headers.insert(COOKIE, value);
        }
    }
}

/// Refuses targets in a form that the method or a gateway of HTTP does not know (RFC 9112, section 3.2): the
/// authority-form is for CONNECT, the asterisk for OPTIONS, the absolute-form for `http` and `https`.
fn check_form(x: &Exchange) -> Result<()> {
    let wrong = match x.uri.scheme_str() {
        None if x.uri.authority().is_some() => "the request target is an authority",
        Some(scheme) if scheme != "http" && scheme != "https" => "the request target has an unknown scheme",
        _ if x.uri.path() == "*" && x.method != Method::OPTIONS => "the request target * is for OPTIONS",
        _ => return Ok(()),
    };
    Err(Error::new(Kind::BadRequest, wrong))
}

/// Makes the target an origin-form (or `*`) with a normalised path.
pub(super) fn normalise(x: &mut Exchange, snapshot: &Snapshot) -> Result<()> {
    let path = path::normalise(x.uri.path(), &snapshot.proxy.path)
        .map_err(|reject| Error::new(Kind::BadRequest, reject.detail()))?;
    let changed = match path {
        // `http://host?query` has no path of its own.
        Cow::Borrowed(path) if path.len() == x.uri.path().len() && has_path(&x.uri) => None,
        path => {
            let target = match x.uri.query() {
                Some(query) => format!("{path}?{query}"),
                None => path.into_owned(),
            };
            let bad = |e| Error::because(Kind::BadRequest, "the normalised path", e);
            Some(PathAndQuery::try_from(target).map_err(bad)?)
        }
    };
    if changed.is_none() && x.uri.authority().is_none() {
        return Ok(());
    }
    let mut parts = std::mem::take(&mut x.uri).into_parts();
    (parts.scheme, parts.authority) = (None, None);
    parts.path_and_query = changed.or(parts.path_and_query);
    x.uri = Uri::from_parts(parts).map_err(|e| Error::because(Kind::BadRequest, "the request target", e))?;
    Ok(())
}

fn has_path(uri: &Uri) -> bool {
    uri.path_and_query().is_some_and(|target| target.as_str().starts_with(['/', '*']))
}

/// What a TLS connection was verified for, by what is asked for in the snapshot of the request: the handshake may
/// have been under an earlier one.
struct Verified<'a> {
    tls: &'a Tls,
    acceptor: &'a Acceptor,
    /// None: nobody is asked any more for what this client was asked for.
    policy: Option<u32>,
}

fn verified<'a>(session: &'a Session, snapshot: &'a Snapshot) -> Option<Verified<'a>> {
    let tls = session.connection.tls.as_ref()?;
    let then = session.listener.tls.as_deref()?;
    if session.listener.generation == snapshot.generation {
        return Some(Verified { tls, acceptor: then, policy: Some(tls.policy) });
    }
    let now = snapshot.listeners.get(&session.listener.spec.name).and_then(|l| l.tls.as_deref());
    let acceptor = now.unwrap_or(then);
    Some(Verified { tls, acceptor, policy: acceptor.policy_now(then, tls.policy) })
}

impl Verified<'_> {
    /// A request for a host with a client-authentication policy must come on a connection that was verified for it
    /// (RFC 9110, section 15.5.20). It does not where SNI and Host differ, where HTTP/2 coalesced two hosts, or where
    /// the policy has changed since.
    fn check(&self, x: &Exchange) -> Result<()> {
        let wanted = self.acceptor.policy_for(headers::host_name(&x.headers));
        if wanted != 0 && Some(wanted) != self.policy {
            return Err(Error::new(
                Kind::Misdirected,
                "the connection was not verified for this host's clients",
            ));
        }
        Ok(())
    }

    /// Tells upstreams who the client is.
    fn tell_identity(&self, headers: &mut HeaderMap) {
        let names = self.policy.and_then(|policy| self.acceptor.identity_headers(policy));
        if let (Some(client), Some(names)) = (&self.tls.client, names) {
            set_identity(headers, client, names);
        }
    }
}

/// Characters of a PEM text that must not stand in a field, and `%` itself.
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Sets the fields by which a policy tells who the client is.
fn set_identity(headers: &mut HeaderMap, client: &ClientCertificate, names: &ClientAuthHeaders) {
    let pem = || {
        use base64::Engine;
        let text = base64::engine::general_purpose::STANDARD.encode(&client.der);
        let lines: Vec<_> = text.as_bytes().chunks(64).map(String::from_utf8_lossy).collect();
        let pem = format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", lines.join("\n"));
        utf8_percent_encode(&pem, ESCAPED).to_string()
    };
    let fields = [
        names.subject.as_ref().map(|name| (name, client.subject.clone())),
        names.fingerprint.as_ref().map(|name| (name, client.fingerprint.clone())),
        names.certificate.as_ref().map(|name| (name, pem())),
    ];
    for (name, value) in fields.into_iter().flatten() {
        // A subject may hold any text: what cannot be in a field is escaped.
        let value = HeaderValue::from_str(&value)
            .or_else(|_| HeaderValue::from_str(&utf8_percent_encode(&value, ESCAPED).to_string()));
        if let Ok(value) = value {
            headers.insert(name, value);
        }
    }
}

/// The answer to a challenge of ACME, which comes without TLS (RFC 8555, section 8.3). One that is not weir's goes the
/// way of all requests.
pub(super) fn challenge(session: &Session, snapshot: &Snapshot, x: &mut Exchange) -> Option<Response<Body>> {
    let challenges = snapshot.challenges.as_ref().filter(|_| session.connection.tls.is_none())?;
    let answer = challenges.http(x.uri.path()).filter(|_| matches!(x.method, Method::GET | Method::HEAD))?;
    let mut response = Response::new(Body::from(Bytes::copy_from_slice(answer.as_bytes())));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    x.status = response.status();
    Some(response)
}

/// What routing looks at in a request.
pub(super) fn question<'a>(session: &'a Session, x: &'a Exchange) -> Question<'a> {
    Question {
        listener: &session.listener.spec.name,
        host: headers::host_name(&x.headers),
        path: x.uri.path(),
        query: x.uri.query().unwrap_or_default(),
        method: &x.method,
        headers: &x.headers,
        client: x.client,
    }
}

/// The route that takes a request.
pub(super) fn route<'a>(
    session: &Session,
    snapshot: &'a Snapshot,
    x: &mut Exchange,
) -> Result<&'a Arc<CompiledRoute>> {
    let question = question(session, x);
    let Some(found) = snapshot.router.find(&question) else {
        let allowed = snapshot.router.allowed(&question);
        if allowed.is_empty() {
            return Err(Error::new(Kind::NoRoute, "no route takes the request"));
        }
        let allowed: Vec<&str> = allowed.iter().map(Method::as_str).collect();
        if let Ok(allowed) = HeaderValue::try_from(allowed.join(", ")) {
            x.response_headers.insert(ALLOW, allowed);
        }
        return Err(Error::new(Kind::MethodNotAllowed, "no route takes the request with this method"));
    };
    x.captures = found.captures;
    x.route = found.route.spec.name.clone();
    Ok(found.route)
}

/// Bounds and counts a request body.
pub(super) fn limit_body(route: &CompiledRoute, tally: &Tally, mut body: Body) -> Result<Body> {
    let limit = if route.spec.max_body == 0 { u64::MAX } else { route.spec.max_body };
    if body.size_hint().lower() > limit {
        return Err(Error::new(Kind::BodyTooLarge, "the announced request body is over the limit"));
    }
    Ok(match &mut body {
        Body::Empty | Body::Full(_) => body,
        Body::Http1(incoming) => {
            incoming.limit(limit, tally.meter());
            body
        }
        _ if limit == u64::MAX && !tally.is_logged() => body,
        _ => Body::stream(Metered::new(body, limit, tally.meter())),
    })
}
