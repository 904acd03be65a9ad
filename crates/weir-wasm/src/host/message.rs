//! The client's connection, a request and its response.
//!
//! A handle is a number: which exchange of its guest, and which side. It means nothing but while a call for that exchange
//! runs, which it is found by.

use std::task::ready;

use bytes::Bytes;
use wasmtime::component::Resource;
use weir_plugin::error::{Error, Result};
use weir_plugin::message::headers::{self, Side};
use weir_plugin::message::{self, body, cookies, query};
use weir_plugin::{ClientCertificate, Exchange, Tls};

use super::Data;
use super::convert::{error, header, text, trap};
use crate::bindings::imported::message as wit;
use crate::bindings::imported::types::{Error as WitError, Header};
use crate::local;
use crate::now::current;

/// Fields of one side.
pub struct Headers(());
/// Parameters of the query.
pub struct Query(());
/// Cookies of the request.
pub struct Cookies(());
/// A body.
pub struct Body(());
/// The client's connection.
pub struct Connection(());
/// What the client asked.
pub struct Request(());
/// What goes back to the client.
pub struct Response(());

/// What most functions here return: a trap, or what they come to.
type Answer<T> = wasmtime::Result<T>;
/// The same of functions that can fail.
type Try<T> = wasmtime::Result<Result<T, WitError>>;

/// The number of a handle to one side of an exchange.
pub(crate) fn rep(number: u32, side: Side) -> u32 {
    number << 1 | u32::from(side == Side::Response)
}

/// The most exchanges of one guest: their numbers must fit into handles.
pub(crate) const MOST_EXCHANGES: u32 = 1 << 30;

fn number(rep: u32) -> u32 {
    rep >> 1
}

fn side(rep: u32) -> Side {
    if rep & 1 == 0 { Side::Request } else { Side::Response }
}

/// A handle beside another, to the same.
fn beside<A: 'static, B: 'static>(of: &Resource<A>) -> Resource<B> {
    Resource::new_own(of.rep())
}

/// Reads something of an exchange. Where nobody waits for the call any more, the exchange is gone and there is nothing to
/// read; a handle that was kept is an error.
fn read<A: 'static, T: Default>(
    of: &Resource<A>,
    handle: &'static str,
    f: impl FnOnce(&mut Exchange) -> T,
) -> Answer<T> {
    or_nothing(current(|now| now.exchange(number(of.rep()), handle, |x| Ok(f(x)))))
}

fn or_nothing<T: Default>(read: Result<T>) -> Answer<T> {
    match read {
        Err(Error::Expired(_)) if current(|now| Ok(now.is_cancelled())).unwrap_or(false) => Ok(T::default()),
        read => read.map_err(trap),
    }
}

/// Does something to an exchange.
fn change<A: 'static, T>(
    of: &Resource<A>,
    handle: &'static str,
    f: impl FnOnce(&mut Exchange) -> Result<T>,
) -> Try<T> {
    Ok(current(|now| now.exchange(number(of.rep()), handle, f)).map_err(error))
}

fn headers_name(of: &Resource<Headers>) -> &'static str {
    match side(of.rep()) {
        Side::Request => "request's headers",
        Side::Response => "response's headers",
    }
}

fn body_name(of: &Resource<Body>) -> &'static str {
    match side(of.rep()) {
        Side::Request => "request's body",
        Side::Response => "response's body",
    }
}

impl wit::Host for Data {}

impl wit::HostHeaders for Data {
    fn get(&mut self, of: Resource<Headers>, name: String) -> Answer<Option<Vec<u8>>> {
        let side = side(of.rep());
        read(&of, headers_name(&of), |x| {
            headers::get(x, side, name.as_bytes()).map(|value| value.as_bytes().to_vec())
        })
    }

    fn get_all(&mut self, of: Resource<Headers>, name: String) -> Answer<Vec<Vec<u8>>> {
        let side = side(of.rep());
        read(&of, headers_name(&of), |x| {
            headers::get_all(x, side, name.as_bytes()).map(|value| value.as_bytes().to_vec()).collect()
        })
    }

    fn set(&mut self, of: Resource<Headers>, name: String, value: Vec<u8>) -> Try<()> {
        let side = side(of.rep());
        change(&of, headers_name(&of), |x| headers::set(x, side, name.as_bytes(), &value))
    }

    fn add(&mut self, of: Resource<Headers>, name: String, value: Vec<u8>) -> Try<()> {
        let side = side(of.rep());
        change(&of, headers_name(&of), |x| headers::add(x, side, name.as_bytes(), &value))
    }

    fn remove(&mut self, of: Resource<Headers>, name: String) -> Try<()> {
        let side = side(of.rep());
        change(&of, headers_name(&of), |x| headers::remove(x, side, name.as_bytes()))
    }

    fn entries(&mut self, of: Resource<Headers>) -> Answer<Vec<Header>> {
        let side = side(of.rep());
        read(&of, headers_name(&of), |x| {
            let fields = headers::of(x, side).iter();
            fields.map(|(name, value)| header(name.as_ref(), value.as_bytes())).collect()
        })
    }

    fn drop(&mut self, _: Resource<Headers>) -> Answer<()> {
        Ok(())
    }
}

impl wit::HostQuery for Data {
    fn get(&mut self, of: Resource<Query>, name: String) -> Answer<Option<Vec<u8>>> {
        read(&of, "query", |x| query::get(x, name.as_bytes()).map(|value| value.into_owned()))
    }

    fn get_all(&mut self, of: Resource<Query>, name: String) -> Answer<Vec<Vec<u8>>> {
        read(&of, "query", |x| {
            let named = query::entries(x).filter(|(known, _)| **known == *name.as_bytes());
            named.map(|(_, value)| value.into_owned()).collect()
        })
    }

    fn set(&mut self, of: Resource<Query>, name: String, value: Vec<u8>) -> Try<()> {
        change(&of, "query", |x| query::set(x, name.as_bytes(), &value))
    }

    fn remove(&mut self, of: Resource<Query>, name: String) -> Try<()> {
        change(&of, "query", |x| query::remove(x, name.as_bytes()))
    }

    fn entries(&mut self, of: Resource<Query>) -> Answer<Vec<Header>> {
        read(&of, "query", |x| query::entries(x).map(|(name, value)| header(&name, &value)).collect())
    }

    fn drop(&mut self, _: Resource<Query>) -> Answer<()> {
        Ok(())
    }
}

impl wit::HostCookies for Data {
    fn get(&mut self, of: Resource<Cookies>, name: String) -> Answer<Option<Vec<u8>>> {
        read(&of, "request's cookies", |x| cookies::get(x, name.as_bytes()).map(<[u8]>::to_vec))
    }

    fn entries(&mut self, of: Resource<Cookies>) -> Answer<Vec<Header>> {
        let all = |x: &mut Exchange| cookies::entries(x).map(|(name, value)| header(name, value)).collect();
        read(&of, "request's cookies", all)
    }

    fn drop(&mut self, _: Resource<Cookies>) -> Answer<()> {
        Ok(())
    }
}

impl wit::HostBody for Data {
    async fn read(&mut self, of: Resource<Body>, limit: Option<u64>) -> Try<Vec<u8>> {
        let limit = match body::limit(&self.policy.limits, limit) {
            Ok(limit) => limit,
            Err(wrong) => return Ok(Err(error(wrong))),
        };
        let (number, side, name) = (number(of.rep()), side(of.rep()), body_name(&of));
        let read = local::wait(move |cx| {
            let polled =
                current(|now| now.exchange(number, name, |x| Ok(body::poll_read(x, side, cx, limit))));
            ready!(polled?).into()
        });
        Ok(read.await.map(Into::into).map_err(error))
    }

    fn replace(&mut self, of: Resource<Body>, data: Vec<u8>) -> Try<()> {
        let side = side(of.rep());
        change(&of, body_name(&of), |x| body::replace(x, side, Bytes::from(data)))
    }

    fn pass(&mut self, of: Resource<Body>) -> Answer<()> {
        let rep = of.rep();
        or_nothing(current(|now| match now.slot(number(rep)) {
            Some(slot) => {
                slot.pass(side(rep));
                Ok(())
            }
            None => Err(Error::Expired(body_name(&of))),
        }))
    }

    fn drop(&mut self, _: Resource<Body>) -> Answer<()> {
        Ok(())
    }
}

/// Reads something of a connection.
fn told<T: Default>(of: &Resource<Connection>, f: impl FnOnce(&weir_plugin::Connection) -> T) -> Answer<T> {
    or_nothing(current(|now| now.connection(number(of.rep()), "connection", f)))
}

fn tls(connection: &weir_plugin::Connection) -> Option<&Tls> {
    connection.tls.as_deref()
}

fn client(connection: &weir_plugin::Connection) -> Option<&ClientCertificate> {
    tls(connection)?.client.as_ref()
}

impl wit::HostConnection for Data {
    fn id(&mut self, of: Resource<Connection>) -> Answer<String> {
        told(&of, |c| c.id.to_string())
    }

    fn listener(&mut self, of: Resource<Connection>) -> Answer<String> {
        told(&of, |c| c.listener.to_string())
    }

    fn peer(&mut self, of: Resource<Connection>) -> Answer<String> {
        told(&of, |c| c.peer.to_string())
    }

    fn peer_ip(&mut self, of: Resource<Connection>) -> Answer<Option<String>> {
        told(&of, |c| c.peer.ip().map(|ip| ip.to_string()))
    }

    fn local_address(&mut self, of: Resource<Connection>) -> Answer<String> {
        told(&of, |c| c.local.to_string())
    }

    fn tls_version(&mut self, of: Resource<Connection>) -> Answer<Option<String>> {
        told(&of, |c| tls(c).map(|tls| tls.version.to_owned()))
    }

    fn tls_cipher(&mut self, of: Resource<Connection>) -> Answer<Option<String>> {
        told(&of, |c| tls(c).map(|tls| tls.cipher.to_owned()))
    }

    fn sni(&mut self, of: Resource<Connection>) -> Answer<Option<String>> {
        told(&of, |c| tls(c).and_then(|tls| tls.sni.as_deref().map(str::to_owned)))
    }

    fn alpn(&mut self, of: Resource<Connection>) -> Answer<Option<String>> {
        told(&of, |c| tls(c).and_then(|tls| tls.alpn.as_deref().map(str::to_owned)))
    }

    fn client_subject(&mut self, of: Resource<Connection>) -> Answer<Option<String>> {
        told(&of, |c| client(c).map(|client| client.subject.clone()))
    }

    fn client_fingerprint(&mut self, of: Resource<Connection>) -> Answer<Option<String>> {
        told(&of, |c| client(c).map(|client| client.fingerprint.clone()))
    }

    fn drop(&mut self, _: Resource<Connection>) -> Answer<()> {
        Ok(())
    }
}

impl wit::HostRequest for Data {
    fn request_id(&mut self, of: Resource<Request>) -> Answer<String> {
        read(&of, "request", |x| text(x.request_id.as_bytes()))
    }

    fn route(&mut self, of: Resource<Request>) -> Answer<String> {
        read(&of, "request", |x| x.route.to_string())
    }

    fn method(&mut self, of: Resource<Request>) -> Answer<String> {
        read(&of, "request", |x| x.method.to_string())
    }

    fn set_method(&mut self, of: Resource<Request>, value: String) -> Try<()> {
        change(&of, "request", |x| message::set_method(x, value.as_bytes()))
    }

    fn scheme(&mut self, of: Resource<Request>) -> Answer<String> {
        read(&of, "request", |x| message::scheme(x).to_owned())
    }

    fn host(&mut self, of: Resource<Request>) -> Answer<String> {
        read(&of, "request", |x| text(message::host(x)))
    }

    fn path(&mut self, of: Resource<Request>) -> Answer<String> {
        read(&of, "request", |x| x.uri.path().to_owned())
    }

    fn set_path(&mut self, of: Resource<Request>, value: String) -> Try<()> {
        change(&of, "request", |x| message::set_path(x, value.as_bytes()))
    }

    fn query_string(&mut self, of: Resource<Request>) -> Answer<String> {
        read(&of, "request", |x| x.uri.query().unwrap_or_default().to_owned())
    }

    fn set_query_string(&mut self, of: Resource<Request>, value: String) -> Try<()> {
        change(&of, "request", |x| message::set_query(x, value.as_bytes()))
    }

    fn version(&mut self, of: Resource<Request>) -> Answer<String> {
        read(&of, "request", |x| message::version(x).to_owned())
    }

    fn is_websocket(&mut self, of: Resource<Request>) -> Answer<bool> {
        read(&of, "request", |x| x.is_websocket)
    }

    fn client_ip(&mut self, of: Resource<Request>) -> Answer<Option<String>> {
        read(&of, "request", |x| x.client.map(|ip| ip.to_string()))
    }

    fn capture(&mut self, of: Resource<Request>, name: String) -> Answer<Option<String>> {
        read(&of, "request", |x| message::capture(x, name.as_bytes()).map(str::to_owned))
    }

    fn upstream(&mut self, of: Resource<Request>) -> Answer<Option<String>> {
        read(&of, "request", |x| message::upstream(x).map(str::to_owned))
    }

    fn set_upstream(&mut self, of: Resource<Request>, value: String) -> Try<()> {
        change(&of, "request", |x| message::set_group(x, &value))
    }

    fn headers(&mut self, of: Resource<Request>) -> Answer<Resource<Headers>> {
        Ok(beside(&of))
    }

    fn query(&mut self, of: Resource<Request>) -> Answer<Resource<Query>> {
        Ok(beside(&of))
    }

    fn cookies(&mut self, of: Resource<Request>) -> Answer<Resource<Cookies>> {
        Ok(beside(&of))
    }

    fn body(&mut self, of: Resource<Request>) -> Answer<Resource<Body>> {
        Ok(beside(&of))
    }

    fn connection(&mut self, of: Resource<Request>) -> Answer<Resource<Connection>> {
        Ok(beside(&of))
    }

    fn drop(&mut self, _: Resource<Request>) -> Answer<()> {
        Ok(())
    }
}

impl wit::HostResponse for Data {
    fn status(&mut self, of: Resource<Response>) -> Answer<u16> {
        read(&of, "response", |x| x.status.as_u16())
    }

    fn set_status(&mut self, of: Resource<Response>, value: u16) -> Try<()> {
        change(&of, "response", |x| message::set_status(x, value.into()))
    }

    fn headers(&mut self, of: Resource<Response>) -> Answer<Resource<Headers>> {
        Ok(beside(&of))
    }

    fn body(&mut self, of: Resource<Response>) -> Answer<Resource<Body>> {
        Ok(beside(&of))
    }

    fn endpoint(&mut self, of: Resource<Response>) -> Answer<Option<String>> {
        read(&of, "response", |x| x.endpoint.as_deref().map(str::to_owned))
    }

    fn drop(&mut self, _: Resource<Response>) -> Answer<()> {
        Ok(())
    }
}
