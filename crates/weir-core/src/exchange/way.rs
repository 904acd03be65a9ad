//! How a WebSocket gets to an upstream: on a connection of its own over HTTP/1.1, or on a stream of a shared one over
//! HTTP/2 (RFC 8441), where the configuration says HTTP/2 and the upstream takes it.

use std::rc::Rc;
use std::sync::Arc;

use weir_plugin::Exchange;

use super::forward::Outgoing;
use crate::error::{AttemptFailure, Error, Kind, Result};
use crate::net::{Deadline, Stream};
use crate::spec::Protocol;
use crate::upstream::{self, Connected, Endpoint, Group, Http2Sender, Lease};
use crate::worker::Worker;

/// What a handshake is sent on.
pub(super) enum Way {
    Http1(Stream),
    Http2(Http2Sender),
}

impl Way {
    /// To an endpoint, within the group's connect timeout. An upstream of HTTP/2 that takes no WebSockets there is asked
    /// for HTTP/1.1 by ALPN; without TLS there is no asking.
    pub(super) async fn open(
        worker: &Rc<Worker>,
        group: &Arc<Group>,
        endpoint: &Arc<Endpoint>,
        deadline: &mut Deadline,
    ) -> Result<Self> {
        if group.spec.protocol == Protocol::Http2 {
            let lease = upstream::lease(worker, group, endpoint, true, deadline).await?;
            if let Lease::Http2(sender) = lease {
                let asked = deadline.bound(group.spec.timeouts.connect, sender.takes_websockets()).await;
                match asked {
                    Ok(true) => return Ok(Way::Http2(sender)),
                    Ok(false) if group.spec.tls.is_some() => {}
                    Ok(false) => {
                        return Err(Error::new(Kind::UpstreamInvalid, AttemptFailure::NO_WEBSOCKETS));
                    }
                    Err(_) => {
                        let detail = "the endpoint did not take the connection in time";
                        return Err(Error::new(Kind::ConnectTimeout, detail));
                    }
                }
            }
        }
        upstream::connect(group, endpoint, deadline).await.map(Way::Http1)
    }
}

/// Opens a WebSocket over HTTP/2. A connection that turns out to be closing is no attempt of its own: the same endpoint
/// on another, once.
pub(super) async fn connect(
    worker: &Rc<Worker>,
    (group, endpoint): (&Arc<Group>, &Arc<Endpoint>),
    mut sender: Http2Sender,
    x: &Exchange,
    outgoing: &Outgoing,
    deadline: &mut Deadline,
) -> Result<Connected> {
    let parts = outgoing.parts(x, None);
    let mut again = true;
    loop {
        let connected = sender.connect(parts.uri.clone(), parts.headers.clone());
        match deadline.bound(group.spec.timeouts.response, connected).await {
            Ok(Ok(connected)) => return Ok(connected),
            Ok(Err(failed)) => {
                if !failed.unprocessed || !std::mem::replace(&mut again, false) {
                    return Err(failed.error);
                }
                match Way::open(worker, group, endpoint, deadline).await? {
                    Way::Http2(other) => sender = other,
                    Way::Http1(_) => return Err(failed.error),
                }
            }
            Err(_) => return Err(Error::new(Kind::ResponseTimeout, "no response from the upstream")),
        }
    }
}
