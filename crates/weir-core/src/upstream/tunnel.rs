//! WebSockets on streams of an HTTP/2 connection to an upstream (RFC 8441).

use http::header::{CONTENT_LENGTH, SEC_WEBSOCKET_KEY};
use http::{HeaderMap, Method, Response, StatusCode, Uri};
use hyper::client::conn::http2::Connection as Driver;
use hyper::ext::Protocol;

use super::http2::{Http2Error, Http2Sender, Place, UNTOLD, received};
use super::tasks::Connects;
use crate::body::Body;
use crate::error::{Error, Kind};
use crate::headers;
use crate::net::tunnel::tether;
use crate::net::{Stream, Tunnel};

/// What an upstream answered to an extended CONNECT.
pub enum Connected {
    /// It agreed: the fields of its response, and the stream.
    Tunnel(HeaderMap, Stream),
    /// An ordinary response.
    Refused(Response<Body>),
}

impl Http2Sender {
    /// Whether the upstream takes WebSockets on this connection, which it says in its first SETTINGS (RFC 8441, section
    /// 3); waits for these, unbounded. Cancel safe.
    pub async fn takes_websockets(&self) -> bool {
        let connection = &self.connection;
        loop {
            let polled = connection.tasks.polled();
            {
                let driver = connection.driver.try_borrow();
                let Some(driver) = driver.as_ref().ok().and_then(|driver| driver.as_ref()) else {
                    return false;
                };
                let takes = Driver::is_extended_connect_protocol_enabled(driver);
                if takes || driver.current_max_send_streams() != UNTOLD {
                    return takes;
                }
            }
            polled.await;
        }
    }

    /// Opens a WebSocket: sends a handshake of HTTP/1.1's as an extended CONNECT, and resolves when the response head is
    /// there. Dropping the future resets the stream. What is said of the target and the `host` field at
    /// [`send`](Self::send) holds here, too; the key has no meaning over HTTP/2 and is not sent.
    ///
    /// # Errors
    /// See [`Http2Error`].
    pub async fn connect(&mut self, uri: Uri, mut headers: HeaderMap) -> Result<Connected, Http2Error> {
        let connection = self.connection.clone();
        let (tether, leash) = tether(self.take_place());
        headers.remove(SEC_WEBSOCKET_KEY);
        let body = Body::stream(Connects::new(connection.tasks.clone(), leash));
        let mut request = connection.request(Method::CONNECT, uri, headers, body)?;
        request.extensions_mut().insert(Protocol::from_static("websocket"));
        let mut response = connection.dispatch(request).await?;
        // The only status by which hyper hands the stream over.
        if response.status() != StatusCode::OK {
            return Ok(Connected::Refused(
                response.map(|incoming| received(incoming, Some(Place::take(&connection)), None)),
            ));
        }
        let upgraded = hyper::upgrade::on(&mut response).await.map_err(|error| Http2Error {
            error: Error::because(Kind::UpstreamClosed, "the upstream closed the HTTP/2 connection", error),
            unprocessed: false,
        })?;
        let mut headers = response.into_parts().0.headers;
        headers::remove_hop_by_hop(&mut headers);
        headers.remove(CONTENT_LENGTH);
        Ok(Connected::Tunnel(headers, Stream::Http2(Box::new(Tunnel::new(upgraded, tether)))))
    }
}
