//! Requests of who fetches: by https, with the authorities of the system, through the proxy that the environment names
//! (`HTTPS_PROXY`, `NO_PROXY`).

use std::io::Read as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::Response;
use http::header::{ACCEPT, AUTHORIZATION};
use ureq::tls::{Certificate, RootCerts, TlsConfig};
use ureq::{Agent, Body};

/// How long a name may take to resolve, and a connection to open.
const CONNECT: Duration = Duration::from_secs(10);
/// How long a server may say nothing.
const SILENCE: Duration = Duration::from_secs(30);
/// How long all of it may take.
const ALL: Duration = Duration::from_secs(300);
/// What takes so long is told of, and then again and again.
const SLOW: Duration = Duration::from_secs(3);
const REDIRECTS: u32 = 5;

pub(super) struct Client {
    agent: Agent,
    /// `Basic …`.
    pub(super) basic: Option<String>,
}

impl Client {
    pub(super) fn new(credentials: Option<&str>) -> Client {
        let basic = credentials.map(|credentials| format!("Basic {}", STANDARD.encode(credentials)));
        Client { agent: agent(), basic }
    }

    /// What is there, of at most so many bytes.
    pub(super) fn get(&self, url: &str, most: u64) -> Result<Vec<u8>, String> {
        let mut response = self.ask(url, None, self.basic.as_deref())?;
        body(url, &mut response, most)
    }

    /// An answer, whatever its status.
    pub(super) fn ask(
        &self,
        url: &str,
        accept: Option<&str>,
        authorization: Option<&str>,
    ) -> Result<Response<Body>, String> {
        // Where it begins without TLS, on loopback, it may go on so.
        let is_plain = url.starts_with("http://");
        let mut request = self.agent.get(url).config().https_only(!is_plain).build();
        if let Some(accept) = accept {
            request = request.header(ACCEPT, accept);
        }
        if let Some(authorization) = authorization {
            request = request.header(AUTHORIZATION, authorization);
        }
        request.call().map_err(|error| format!("{url}: {error}"))
    }
}

/// The body of an answer that is one.
pub(super) fn body(url: &str, response: &mut Response<Body>, most: u64) -> Result<Vec<u8>, String> {
    if !response.status().is_success() {
        return Err(format!("{url}: the server answered {}", response.status()));
    }
    let whole = response.body().content_length();
    let too_long = || format!("{url}: it has more than {} MiB", most >> 20);
    if whole.is_some_and(|whole| whole > most) {
        return Err(too_long());
    }
    let mut reader = response.body_mut().as_reader();
    let (mut bytes, mut piece) = (Vec::new(), vec![0; 64 << 10]);
    let mut told = Instant::now();
    loop {
        let read = reader.read(&mut piece).map_err(|error| format!("{url}: {error}"))?;
        bytes.extend_from_slice(piece.get(..read).unwrap_or_default());
        if bytes.len() as u64 > most {
            return Err(too_long());
        }
        if read == 0 {
            return Ok(bytes);
        }
        if told.elapsed() > SLOW {
            told = Instant::now();
            tracing::info!(url, bytes = bytes.len(), of = whole, "fetching a plugin");
        }
    }
}

fn agent() -> Agent {
    let found = rustls_native_certs::load_native_certs();
    let roots: Vec<Certificate<'static>> =
        found.certs.iter().map(|certificate| Certificate::from_der(certificate).to_owned()).collect();
    let tls = TlsConfig::builder()
        .root_certs(RootCerts::new_with_certs(&roots))
        .unversioned_rustls_crypto_provider(Arc::clone(&weir_core::tls::provider()));
    Agent::config_builder()
        .tls_config(tls.build())
        .http_status_as_error(false)
        .max_redirects(REDIRECTS)
        .user_agent(concat!("weir/", env!("CARGO_PKG_VERSION")))
        .timeout_resolve(Some(CONNECT))
        .timeout_connect(Some(CONNECT))
        .timeout_recv_response(Some(SILENCE))
        .timeout_per_read(Some(SILENCE))
        .timeout_global(Some(ALL))
        .build()
        .new_agent()
}
