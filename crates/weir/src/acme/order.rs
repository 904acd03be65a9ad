//! From an account to a certificate (RFC 8555, section 7).

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use instant_acme::{
    Account, AuthorizationHandle, AuthorizationStatus, CertificateIdentifier, ChallengeType, Error,
    Identifier, Key, NewOrder, Order, OrderStatus, RetryPolicy,
};
use rcgen::{CertificateParams, CustomExtension, DistinguishedName, KeyPair};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::sign::CertifiedKey;
use weir_core::challenges::{Challenges, Pending};

use super::https::Https;
use super::store::StoreError;
use super::{Challenge, Settings, Store, Wanted};

/// How long an authority may take to look at challenges, and to sign.
const PATIENCE: Duration = Duration::from_secs(120);
/// How long a whole order may take.
const LONGEST: Duration = Duration::from_secs(600);
/// At least so long is waited when there were too many requests.
const RATE_LIMITED: Duration = Duration::from_secs(3600);

/// Why there is no certificate.
#[derive(Debug, thiserror::Error)]
#[error("{text}")]
pub struct Failed {
    /// What a person reads.
    text: String,
    /// At least so long is to be waited.
    pub wait: Option<Duration>,
}

impl Failed {
    fn new(text: impl Into<String>) -> Self {
        Failed { text: text.into(), wait: None }
    }
}

impl From<StoreError> for Failed {
    fn from(error: StoreError) -> Self {
        Failed::new(error.to_string())
    }
}

/// An authority where there is an account.
pub struct Authority {
    account: Account,
    https: Https,
}

impl Authority {
    /// Opens the account at the authority of the settings, and makes it if there is none. That they agree to its terms
    /// is known.
    ///
    /// # Errors
    /// When the authority cannot be reached, refuses, or the key of the account cannot be kept.
    pub async fn open(settings: &Settings, store: &Arc<Store>) -> Result<Authority, Failed> {
        let https = Https::new(settings.roots.clone())
            .map_err(|error| Failed::new(format!("cannot speak TLS to the authority: {error}")))?;
        let (of, directory) = (store.clone(), settings.directory.clone());
        // The key is on disk before the authority hears of it: an account is never lost.
        let key = blocking(move || of.account_key(&directory)).await??;
        let told = |error| told(&https, "the account", error);
        let der = PrivatePkcs8KeyDer::from(key.serialize_der());
        let pair = Key::from_pkcs8_der(der.clone_key()).map_err(told)?;
        let builder = Account::builder_with_http(Box::new(https.clone()));
        let opened = builder.create_from_key((pair, PrivateKeyDer::from(der)), settings.directory.clone());
        let (account, _) = opened.await.map_err(told)?;
        let contact: Vec<&str> = settings.contact.iter().map(String::as_str).collect();
        if !contact.is_empty() {
            account.update_contacts(&contact).await.map_err(told)?;
        }
        Ok(Authority { account, https })
    }

    /// When a certificate should be renewed by the authority's own advice (RFC 9773), as begin and end of a window, and
    /// when to ask again. `None`: it gives none.
    pub async fn advice(&self, leaf: &CertificateDer<'_>) -> Option<(SystemTime, SystemTime, Duration)> {
        let id = CertificateIdentifier::try_from(leaf).ok()?;
        let asked = tokio::time::timeout(PATIENCE, self.account.renewal_info(&id)).await.ok()?;
        let (info, again) = asked.ok()?;
        let window = info.suggested_window;
        let time = |seconds: i64| {
            SystemTime::UNIX_EPOCH + Duration::from_secs(u64::try_from(seconds).unwrap_or_default())
        };
        Some((time(window.start.unix_timestamp()), time(window.end.unix_timestamp()), again))
    }

    /// Asks for a certificate and keeps it in the store. Bounded in time.
    ///
    /// # Errors
    /// When it cannot be had, or not be kept; what was kept before still is.
    pub async fn obtain(
        &self,
        settings: &Settings,
        wanted: &Wanted,
        store: &Arc<Store>,
        challenges: &Arc<Challenges>,
    ) -> Result<(), Failed> {
        let of = store.clone();
        blocking(move || of.check_room()).await??;
        let (key, chain) = tokio::time::timeout(LONGEST, self.order(settings, wanted, challenges))
            .await
            .unwrap_or_else(|_| Err(Failed::new(format!("the order took longer than {LONGEST:?}"))))?;
        let (store, wanted) = (store.clone(), wanted.clone());
        Ok(blocking(move || store.keep(&wanted, &key, &chain)).await??)
    }

    /// The key and the chain, PEM.
    async fn order(
        &self,
        settings: &Settings,
        wanted: &Wanted,
        challenges: &Arc<Challenges>,
    ) -> Result<(String, String), Failed> {
        let told = |error| told(&self.https, "the order", error);
        let names: Vec<Identifier> = wanted.names.iter().map(|name| Identifier::Dns(name.clone())).collect();
        let mut order = self.account.new_order(&NewOrder::new(&names)).await.map_err(told)?;
        let pending = match self.answer_all(&mut order, settings.challenge, challenges).await {
            Ok(pending) => pending,
            // It may have looked at the first name before it heard of the second.
            Err(error) => return Err(refusal(&mut order).await.map_or(error, Failed::new)),
        };
        let retries = RetryPolicy::new().backoff(1.5).timeout(PATIENCE);
        let ready = order.poll_ready(&retries).await;
        drop(pending);
        match ready {
            Ok(OrderStatus::Ready) => {}
            Ok(status) => {
                let why = refusal(&mut order).await.unwrap_or_else(|| format!("the order is {status:?}"));
                return Err(Failed::new(why));
            }
            Err(error) => match refusal(&mut order).await {
                Some(why) => return Err(Failed::new(why)),
                None => return Err(told(error)),
            },
        }
        let (key, request) = request(&wanted.names)
            .map_err(|error| Failed::new(format!("a request for a certificate cannot be made: {error}")))?;
        order.finalize_csr(&request).await.map_err(told)?;
        let chain = order.poll_certificate(&retries).await.map_err(told)?;
        Ok((key, chain))
    }

    /// Gives the answers to the challenges of all names.
    async fn answer_all(
        &self,
        order: &mut Order,
        kind: Challenge,
        challenges: &Arc<Challenges>,
    ) -> Result<Vec<Pending>, Failed> {
        let mut pending = Vec::new();
        let mut authorizations = order.authorizations();
        while let Some(authorization) = authorizations.next().await {
            let authorization = authorization.map_err(|error| told(&self.https, "the order", error))?;
            pending.extend(self.answer(authorization, kind, challenges).await?);
        }
        Ok(pending)
    }

    /// Gives the answer to the challenge of one name, and says so.
    async fn answer(
        &self,
        mut authorization: AuthorizationHandle<'_>,
        kind: Challenge,
        challenges: &Arc<Challenges>,
    ) -> Result<Option<Pending>, Failed> {
        let name = authorization.identifier().to_string();
        match authorization.status {
            // Shown not long ago.
            AuthorizationStatus::Valid => return Ok(None),
            AuthorizationStatus::Pending => {}
            status => return Err(Failed::new(format!("{name}: its authorization is {status:?}"))),
        }
        let (wanted, called) = match kind {
            Challenge::Http => (ChallengeType::Http01, "http-01"),
            Challenge::TlsAlpn => (ChallengeType::TlsAlpn01, "tls-alpn-01"),
        };
        let mut challenge = authorization
            .challenge(wanted)
            .ok_or_else(|| Failed::new(format!("{name}: the authority offers no challenge {called}")))?;
        let answer = challenge.key_authorization();
        let pending = match kind {
            Challenge::Http => challenges.answer_http(&challenge.token, answer.as_str()),
            Challenge::TlsAlpn => {
                let failed = |error: &dyn std::fmt::Display| {
                    Failed::new(format!("{name}: the certificate of the challenge cannot be made: {error}"))
                };
                let key = challenge_certificate(&name, answer.digest().as_ref()).map_err(|e| failed(&e))?;
                challenges.answer_tls(&name, key).map_err(|e| failed(&e))?
            }
        };
        challenge.set_ready().await.map_err(|error| told(&self.https, &name, error))?;
        Ok(Some(pending))
    }
}

/// What the authority says of the names that it did not find leading here.
async fn refusal(order: &mut Order) -> Option<String> {
    let mut why = Vec::new();
    let mut authorizations = order.authorizations();
    while let Some(Ok(mut authorization)) = authorizations.next().await {
        let state = authorization.refresh().await.ok()?;
        let name = state.identifier().to_string();
        let problems = state.challenges.iter().filter_map(|challenge| challenge.error.as_ref());
        why.extend(problems.map(|problem| {
            format!("{name}: the authority says: {}", problem.detail.as_deref().unwrap_or("no more"))
        }));
    }
    (!why.is_empty()).then(|| why.join("; "))
}

/// An error of the authority, and how long is to be waited after it.
fn told(https: &Https, what: &str, error: Error) -> Failed {
    let limited = matches!(&error, Error::Api(problem)
        if problem.r#type.as_deref() == Some("urn:ietf:params:acme:error:rateLimited"));
    let asked = https.asked_to_wait();
    let wait = if limited { Some(asked.unwrap_or_default().max(RATE_LIMITED)) } else { asked };
    Failed { text: format!("{what}: {error}"), wait }
}

/// A fresh key, PEM, and a request to sign a certificate for these names with it, DER.
fn request(names: &[String]) -> Result<(String, Vec<u8>), rcgen::Error> {
    let mut params = CertificateParams::new(names.to_vec())?;
    params.distinguished_name = DistinguishedName::new();
    let key = KeyPair::generate()?;
    let request = params.serialize_request(&key)?;
    Ok((key.serialize_pem(), request.der().to_vec()))
}

/// The certificate by which a handshake answers a challenge (RFC 8737, section 3).
fn challenge_certificate(name: &str, digest: &[u8]) -> Result<CertifiedKey, Box<dyn std::error::Error>> {
    let mut params = CertificateParams::new(vec![name.to_owned()])?;
    params.custom_extensions = vec![CustomExtension::new_acme_identifier(digest)];
    let key = KeyPair::generate()?;
    let certificate = params.self_signed(&key)?;
    let key = PrivateKeyDer::try_from(key.serialize_der())?;
    let key = weir_core::tls::provider().key_provider.load_private_key(key)?;
    // Not looked at: it has a critical extension that only an authority knows.
    Ok(CertifiedKey::new(vec![certificate.der().clone()], key))
}

/// Work with files, off the control thread.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Failed> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|error| Failed::new(format!("work with the store broke off: {error}")))
}
