//! TLS with clients.

use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use http::HeaderName;
use rustls::server::{ClientHello, NoServerSessionStorage, WebPkiClientVerifier};
use rustls::{CipherSuite, HandshakeKind, ProtocolVersion, ServerConfig, ServerConnection};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio_rustls::LazyConfigAcceptor;

use super::names::{Certificates, PolicyNames};
use super::tickets::Tickets;
use super::{BUFFER_LIMIT, HandshakeError, TlsError, identity, provider, versions};
use crate::challenges::{ALPN, Challenges};
use crate::net::{Rewind, Socket, Stream};
use crate::spec::{self, ClientAuthMode};

/// TLS 1.3 tickets after a handshake: one. Each is good once, and each resumption brings the next.
const TICKETS: usize = 1;
/// Tickets for a client that asks for a number (RFC 9149), at most.
const MOST_TICKETS: usize = 4;
/// A fatal alert, `unrecognized_name` (RFC 6066, section 3), in a record of its own.
const UNRECOGNIZED_NAME: [u8; 7] = [21, 3, 3, 0, 2, 2, 112];
/// How long, and how much, is still read from a client that was sent an alert.
const LINGER: Duration = Duration::from_secs(1);
const LINGER_BYTES: u64 = 64 << 10;

/// TLS of a listener, ready to serve. Shared by all workers.
#[derive(Debug)]
pub struct Acceptor {
    /// By policy number: the first asks for no certificate.
    policies: Vec<Policy>,
    names: PolicyNames,
    certificates: Arc<Certificates>,
    alpn: Vec<Arc<str>>,
    identity_headers: Vec<HeaderName>,
    challenges: Option<Arc<Challenges>>,
}

/// What clients of some names are asked for. Each has ticket keys of its own: rustls resumes a session without
/// looking at what the client was asked for when it began.
#[derive(Debug)]
struct Policy {
    auth: Option<spec::ClientAuth>,
    tickets: Option<Arc<Tickets>>,
    /// Cipher suites by weir's order.
    config: Arc<ServerConfig>,
    /// Cipher suites by the client's order: for those that want ChaCha20-Poly1305 most, as they have no
    /// instructions for AES.
    config_by_client: Arc<ServerConfig>,
}

impl Acceptor {
    /// Compiles TLS of a listener. Ticket keys are kept from `previous` for policies that did not change.
    ///
    /// # Errors
    /// See [`TlsError`].
    pub fn new(spec: &spec::ServerTls, previous: Option<&Acceptor>) -> Result<Self, TlsError> {
        let certificates = Arc::new(Certificates::new(spec)?);
        let mut policies = Vec::with_capacity(spec.client_auth.len() + 1);
        for auth in std::iter::once(None).chain(spec.client_auth.iter().map(Some)) {
            policies.push(Policy::new(spec, auth, &certificates, previous, policies.len())?);
        }
        let mut identity_headers: Vec<HeaderName> = Vec::new();
        for auth in &spec.client_auth {
            let headers = &auth.headers;
            for name in [&headers.subject, &headers.fingerprint, &headers.certificate].into_iter().flatten() {
                if !identity_headers.contains(name) {
                    identity_headers.push(name.clone());
                }
            }
        }
        let names = PolicyNames::new(&spec.client_auth);
        Ok(Acceptor {
            policies,
            names,
            certificates,
            alpn: spec.alpn.clone(),
            identity_headers,
            challenges: spec.challenges.clone(),
        })
    }

    /// The handshake. Not bounded in time: the caller does that. A client that is refused is told why by an alert.
    ///
    /// Cancel safety: dropped before its end, the connection is lost.
    ///
    /// # Errors
    /// See [`HandshakeError`].
    pub async fn accept(&self, socket: Rewind<Socket>) -> Result<(Stream, weir_plugin::Tls), HandshakeError> {
        // On the heap, or the task of every connection would keep its 7 KiB to its end.
        Box::pin(self.handshake(socket)).await
    }

    async fn handshake(&self, socket: Rewind<Socket>) -> Result<(Stream, weir_plugin::Tls), HandshakeError> {
        let mut hello = pin!(LazyConfigAcceptor::new(rustls::server::Acceptor::default(), socket));
        let mut start = match hello.as_mut().await {
            Ok(start) => start,
            Err(error) => return Err(refused(error, hello.take_io()).await),
        };
        let hello = start.client_hello();
        let name = hello.server_name();
        if let Some(challenges) = &self.challenges
            && asks_challenge(&hello)
            && let Some(config) = challenges.tls(name)
        {
            let mut stream = start.into_stream(config).await?;
            stream.flush().await?;
            linger(stream).await;
            return Err(HandshakeError::Challenge);
        }
        if !self.certificates.serves(name) {
            let name = name.map(Arc::from);
            start.io.write_all(&UNRECOGNIZED_NAME).await?;
            linger(start.io).await;
            return Err(HandshakeError::UnknownName(name));
        }
        let number = self.names.find(name);
        let policy = self.policies.get(number as usize).ok_or(HandshakeError::UnknownName(None))?;
        let config = if wants_chacha(&hello) { &policy.config_by_client } else { &policy.config };
        let accept = start
            .into_stream_with(config.clone(), |connection| connection.set_buffer_limit(Some(BUFFER_LIMIT)));
        let stream = match accept.into_fallible().await {
            Ok(stream) => stream,
            Err((error, io)) => return Err(refused(error, Some(io)).await),
        };
        let tls = self.settled(stream.get_ref().1, number)?;
        Ok((Stream::ServerTls(Box::new(stream)), tls))
    }

    /// The client-authentication policy of a host name (without port): 0 where none is asked for. A request whose
    /// host has another policy than its connection ([`weir_plugin::Tls::policy`]) gets 421, unless the host's is 0.
    pub fn policy_for(&self, host: &str) -> u32 {
        self.names.find(Some(host))
    }

    /// The number here of a policy of an `earlier` generation: of the one that asks for the same. `None`: none does.
    pub fn policy_now(&self, earlier: &Acceptor, policy: u32) -> Option<u32> {
        let earlier = earlier.policies.get(policy as usize)?;
        let same = |policy: &Policy| same_demands(policy.auth.as_ref(), earlier.auth.as_ref());
        self.policies.iter().position(same).and_then(|number| u32::try_from(number).ok())
    }

    /// How a policy's identity is told to upstreams.
    pub fn identity_headers(&self, policy: u32) -> Option<&spec::ClientAuthHeaders> {
        Some(&self.policies.get(policy as usize)?.auth.as_ref()?.headers)
    }

    /// Every header that any policy sets: to be removed from what clients send.
    pub fn all_identity_headers(&self) -> &[HeaderName] {
        &self.identity_headers
    }

    /// What a handshake settled.
    fn settled(
        &self,
        connection: &ServerConnection,
        policy: u32,
    ) -> Result<weir_plugin::Tls, HandshakeError> {
        let resumed = connection.handshake_kind() == Some(HandshakeKind::Resumed);
        let client = match connection.peer_certificates().and_then(<[_]>::first) {
            None => None,
            Some(der) => {
                let (client, valid) = identity::read(der, SystemTime::now())
                    .ok_or(HandshakeError::ClientCertificate("is unreadable"))?;
                // A full handshake has verified this; a ticket may outlive the certificate.
                if resumed && !valid {
                    return Err(HandshakeError::ClientCertificate("of a resumed session has expired"));
                }
                Some(client)
            }
        };
        let alpn =
            connection.alpn_protocol().and_then(|p| self.alpn.iter().find(|a| a.as_bytes() == p)).cloned();
        let sni = connection.server_name().map(|name| Arc::from(name.strip_suffix('.').unwrap_or(name)));
        Ok(weir_plugin::Tls {
            version: match connection.protocol_version() {
                Some(ProtocolVersion::TLSv1_3) => "TLSv1.3",
                _ => "TLSv1.2",
            },
            cipher: connection.negotiated_cipher_suite().map_or("", |suite| iana_name(suite.suite())),
            sni,
            alpn,
            resumed,
            client,
            policy,
        })
    }
}

impl Policy {
    fn new(
        spec: &spec::ServerTls,
        auth: Option<&spec::ClientAuth>,
        certificates: &Arc<Certificates>,
        previous: Option<&Acceptor>,
        number: usize,
    ) -> Result<Self, TlsError> {
        let builder = ServerConfig::builder_with_provider(provider())
            .with_protocol_versions(versions(spec.min_version))?;
        let builder = match auth {
            None => builder.with_no_client_auth(),
            Some(auth) => {
                let verifier = WebPkiClientVerifier::builder_with_provider(auth.roots.clone(), provider())
                    .with_crls(auth.crls.iter().cloned());
                let verifier = match auth.mode {
                    ClientAuthMode::Optional => verifier.allow_unauthenticated(),
                    ClientAuthMode::Required => verifier,
                };
                let verifier = verifier
                    .build()
                    .map_err(|source| TlsError::ClientAuth { index: number.saturating_sub(1), source })?;
                builder.with_client_cert_verifier(verifier)
            }
        };
        let mut config = builder.with_cert_resolver(certificates.clone());
        config.alpn_protocols = spec.alpn.iter().map(|p| p.as_bytes().to_vec()).collect();
        config.max_early_data_size = 0;
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        config.ignore_client_order = true;
        let tickets = match spec.tickets {
            false => None,
            true => {
                let kept = previous.and_then(|p| p.tickets_of(auth, spec.ticket_rotation));
                let tickets = match kept {
                    Some(tickets) => tickets,
                    None => Arc::new(Tickets::new(spec.ticket_rotation).ok_or(TlsError::Random)?),
                };
                config.ticketer = tickets.clone();
                config.send_tls13_tickets = TICKETS;
                config.max_tls13_tickets = MOST_TICKETS;
                Some(tickets)
            }
        };
        let mut config_by_client = config.clone();
        config_by_client.ignore_client_order = false;
        Ok(Policy {
            auth: auth.cloned(),
            tickets,
            config: Arc::new(config),
            config_by_client: Arc::new(config_by_client),
        })
    }
}

impl Acceptor {
    /// The ticket keys of the policy that asks for the same.
    fn tickets_of(&self, auth: Option<&spec::ClientAuth>, rotation: Duration) -> Option<Arc<Tickets>> {
        let same = self.policies.iter().find(|policy| same_demands(policy.auth.as_ref(), auth))?;
        same.tickets.clone().filter(|tickets| tickets.rotates_every(rotation))
    }
}

/// Whether whoever satisfied one satisfies the other.
fn same_demands(a: Option<&spec::ClientAuth>, b: Option<&spec::ClientAuth>) -> bool {
    match (a, b) {
        (None, None) => true,
        (Some(a), Some(b)) => {
            a.names == b.names && a.mode == b.mode && a.crls == b.crls && a.roots.roots == b.roots.roots
        }
        _ => false,
    }
}

/// Whether it is an authority that asks for the answer to a challenge: it offers nothing else.
fn asks_challenge(hello: &ClientHello<'_>) -> bool {
    hello.alpn().is_some_and(|mut offered| offered.next() == Some(ALPN) && offered.next().is_none())
}

/// Whether the client wants ChaCha20-Poly1305 most.
fn wants_chacha(hello: &ClientHello<'_>) -> bool {
    let known = hello.cipher_suites().iter().find_map(|suite| suite.as_str());
    known.is_some_and(|name| name.contains("CHACHA20"))
}

/// rustls writes `TLS13_` where the registry has `TLS_`.
fn iana_name(suite: CipherSuite) -> &'static str {
    match suite {
        CipherSuite::TLS13_AES_128_GCM_SHA256 => "TLS_AES_128_GCM_SHA256",
        CipherSuite::TLS13_AES_256_GCM_SHA384 => "TLS_AES_256_GCM_SHA384",
        CipherSuite::TLS13_CHACHA20_POLY1305_SHA256 => "TLS_CHACHA20_POLY1305_SHA256",
        other => other.as_str().unwrap_or("unknown"),
    }
}

/// Why a handshake failed. A client that was sent an alert gets time to read it.
async fn refused<S: AsyncRead + AsyncWrite + Unpin>(error: std::io::Error, io: Option<S>) -> HandshakeError {
    let error = HandshakeError::from(error);
    if let (HandshakeError::Tls(reason), Some(io)) = (&error, io)
        && !matches!(reason, rustls::Error::AlertReceived(_))
    {
        linger(io).await;
    }
    error
}

/// Closes a connection so that the client sees the last bytes sent to it. If something that it sent were left
/// unread, the kernel would answer with a reset, and the client would drop them.
async fn linger<S: AsyncRead + AsyncWrite + Unpin>(mut io: S) {
    if io.shutdown().await.is_ok() {
        let _ =
            tokio::time::timeout(LINGER, tokio::io::copy(&mut io.take(LINGER_BYTES), &mut tokio::io::sink()))
                .await;
    }
}
