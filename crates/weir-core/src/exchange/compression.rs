//! Agreeing on compression (RFC 7692) with both sides of a WebSocket whose frames weir reads, each by itself.

use std::sync::Arc;

use http::header::SEC_WEBSOCKET_EXTENSIONS;
use http::{HeaderMap, HeaderValue};

use crate::error::{Error, Kind, Result};
use crate::relay::framed::Agreements;
use crate::spec::{self, Deflate};
use crate::ws::extension::{self, Agreement};
use crate::ws::states::{Charge, TakeoverMemory};

/// What weir says to both sides of a handshake about compression.
#[derive(Default)]
pub(super) struct Asking {
    /// What was agreed on with the client, should the upstream agree too, and how the client is told.
    client: Option<(Agreement, HeaderValue)>,
    settings: Option<Deflate>,
    charges: Vec<Charge>,
}

/// What was agreed on.
#[derive(Default)]
pub(super) struct Compression {
    pub(super) agreements: Agreements,
    /// Room for what a relay keeps between two messages.
    _charges: Vec<Charge>,
}

impl Asking {
    /// Looks at what a client has offered.
    pub(super) fn new(
        settings: &spec::WebSocket,
        headers: &HeaderMap,
        memory: &Arc<TakeoverMemory>,
        most: usize,
    ) -> Self {
        let Some(mut settings) = settings.frames.deflate else { return Asking::default() };
        let mut charges = Vec::new();
        if settings.takeover {
            let charge = || memory.try_charge(most, settings.window_bits, settings.mem_level);
            match (charge(), charge()) {
                (Some(client), Some(upstream)) => charges = vec![client, upstream],
                _ => settings.takeover = false,
            }
        }
        let client = extension::accept(headers, &settings);
        Asking { client, settings: Some(settings), charges }
    }

    /// What the upstream is offered: nothing, where the client has offered nothing that weir takes.
    pub(super) fn offer(&self) -> Option<HeaderValue> {
        self.settings.as_ref().filter(|_| self.client.is_some()).map(extension::offer)
    }

    /// Puts what the client is told in the place of what the upstream has answered.
    ///
    /// # Errors
    /// Where the upstream has answered what it was not offered.
    pub(super) fn settle(self, headers: &mut HeaderMap) -> Result<Compression> {
        let offered = self.settings.as_ref().filter(|_| self.client.is_some());
        let upstream = agreed(headers, offered)?;
        headers.remove(SEC_WEBSOCKET_EXTENSIONS);
        let Some((upstream, (client, told))) = upstream.zip(self.client) else {
            return Ok(Compression::default());
        };
        headers.insert(SEC_WEBSOCKET_EXTENSIONS, told);
        let takeover = [client, upstream].iter().any(|a| a.client_takeover || a.server_takeover);
        let charges = if takeover { self.charges } else { Vec::new() };
        Ok(Compression { agreements: (Some(client), Some(upstream)), _charges: charges })
    }

    /// Agrees with the client alone, who is told so in `headers`; the upstream is asked by what comes second.
    pub(super) fn settle_client(self, headers: &mut HeaderMap) -> (Compression, Later) {
        let offer = self.offer();
        let Some((client, told)) = self.client else { return Default::default() };
        headers.insert(SEC_WEBSOCKET_EXTENSIONS, told);
        let compression = Compression { agreements: (Some(client), None), _charges: self.charges };
        (compression, Later { offer, settings: self.settings })
    }
}

/// What an upstream is asked that is opened later.
#[derive(Default)]
pub(super) struct Later {
    pub(super) offer: Option<HeaderValue>,
    settings: Option<Deflate>,
}

impl Later {
    /// What it has agreed on.
    ///
    /// # Errors
    /// Where it has answered what it was not offered.
    pub(super) fn settle(&self, headers: &HeaderMap) -> Result<Option<Agreement>> {
        agreed(headers, self.settings.as_ref().filter(|_| self.offer.is_some()))
    }
}

fn agreed(headers: &HeaderMap, offered: Option<&Deflate>) -> Result<Option<Agreement>> {
    let invalid = |detail| Error::new(Kind::UpstreamInvalid, detail);
    match offered {
        Some(settings) => extension::agreed(headers, settings).map_err(invalid),
        None if headers.contains_key(SEC_WEBSOCKET_EXTENSIONS) => {
            Err(invalid("101 with extensions that were not offered"))
        }
        None => Ok(None),
    }
}

impl Compression {
    /// Whether either side can read what the other one sends, without weir.
    pub(super) fn is_transparent(&self) -> bool {
        self.agreements.0 == self.agreements.1
    }
}
