//! Extended CONNECT from clients (RFC 8441): a WebSocket on a stream of its own.
//!
//! The rest of weir sees the handshake that HTTP/1.1 would have: a GET with a key, which the upstream's answer must be
//! right for. So routes, plugins and upstreams need not know how a client asked.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::{CONNECTION, HeaderValue, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, UPGRADE};
use http::{Extensions, Method, Response, StatusCode};
use hyper::ext::Protocol;
use hyper::upgrade::OnUpgrade;

use super::streams::Active;
use crate::body::Body;
use crate::error::{Error, Kind, Result};
use crate::exchange::{Session, Switch};
use crate::http1::head::RequestHead;
use crate::net::tunnel::tether;
use crate::net::{Stream, Tunnel};

/// A stream on which a client asked for a WebSocket.
pub(super) struct Opening(OnUpgrade);

impl Opening {
    /// What a request with these extensions asks for; `None`: it is like any other. A handshake is made of its head.
    ///
    /// # Errors
    /// `NotImplemented` for another protocol than `websocket`.
    pub(super) fn of(head: &mut RequestHead, extensions: &mut Extensions) -> Result<Option<Self>> {
        let Some(protocol) = extensions.get::<Protocol>() else { return Ok(None) };
        if !protocol.as_str().eq_ignore_ascii_case("websocket") {
            return Err(Error::new(
                Kind::NotImplemented,
                "an extended CONNECT for another protocol than websocket",
            ));
        }
        let Some(upgrade) = extensions.remove::<OnUpgrade>() else { return Ok(None) };
        let mut nonce = [0; 16];
        fastrand::fill(&mut nonce);
        let key = HeaderValue::try_from(STANDARD.encode(nonce));
        let key = key.map_err(|e| Error::because(Kind::Internal, "a key that is no field", e))?;
        head.method = Method::GET;
        head.headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
        head.headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
        head.headers.insert(SEC_WEBSOCKET_KEY, key);
        Ok(Some(Opening(upgrade)))
    }

    /// The answer to a handshake on which an upstream agreed. The relay begins when hyper has sent it.
    pub(super) fn switch(self, session: &Session, mut switch: Box<Switch>, stream: Active) -> Response<Body> {
        let (tether, leash) = tether(());
        stream.opens(leash);
        // What the client sees.
        switch.tally.x.status = StatusCode::OK;
        let mut response = Response::new(Body::Empty);
        *response.headers_mut() = std::mem::take(&mut switch.headers);
        response.headers_mut().remove(SEC_WEBSOCKET_ACCEPT);
        session.worker.spawn_for(&session.connection, async move {
            let _stream = stream;
            // Else the client has left meanwhile, which the end of the switch tells the log.
            let Ok(upgraded) = self.0.await else { return };
            let tunnel = Tunnel::new(upgraded, tether);
            switch.client = Some((Stream::Http2(Box::new(tunnel)), Bytes::new()));
            Box::pin(switch.run()).await;
        });
        response
    }
}
