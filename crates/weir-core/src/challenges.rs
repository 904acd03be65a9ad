//! Challenges of ACME (RFC 8555): how an authority that is to sign a certificate is shown that its names lead here.
//!
//! Whoever asks for certificates puts answers in; listeners give them. Nearly always there are none, and then a request
//! or a handshake pays for one load.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use rustls::ServerConfig;
use rustls::sign::{CertifiedKey, SingleCertAndKey};

use crate::tls::{TlsError, provider};

/// Where an authority looks for the answer to a challenge `http-01` (RFC 8555, section 8.3).
const WELL_KNOWN: &str = "/.well-known/acme-challenge/";
/// The protocol of a challenge `tls-alpn-01` (RFC 8737, section 6.2).
pub const ALPN: &[u8] = b"acme-tls/1";

/// Challenges that wait to be answered. Shared by all workers; outlives generations.
#[derive(Debug, Default)]
pub struct Challenges {
    pending: AtomicUsize,
    answers: RwLock<Answers>,
}

#[derive(Debug, Default)]
struct Answers {
    /// What is answered to a request, by token.
    http: HashMap<String, Arc<str>>,
    /// What is served to a handshake, by server name.
    tls: HashMap<String, Arc<ServerConfig>>,
}

/// One answer, given until this is dropped.
#[derive(Debug)]
#[must_use = "the answer is taken away when this is dropped"]
pub struct Pending {
    challenges: Arc<Challenges>,
    key: String,
    kind: Kind,
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    Http,
    Tls,
}

impl Challenges {
    /// Answers a challenge `http-01` with this text.
    pub fn answer_http(self: &Arc<Self>, token: &str, answer: &str) -> Pending {
        self.add(Kind::Http, token, |answers| drop(answers.http.insert(token.to_owned(), answer.into())))
    }

    /// Answers a challenge `tls-alpn-01` for a name, in lower case, with this certificate.
    ///
    /// # Errors
    /// rustls does not take the certificate.
    pub fn answer_tls(self: &Arc<Self>, name: &str, key: CertifiedKey) -> Result<Pending, TlsError> {
        let mut config = ServerConfig::builder_with_provider(provider())
            .with_protocol_versions(rustls::ALL_VERSIONS)?
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(SingleCertAndKey::from(key)));
        config.alpn_protocols = vec![ALPN.to_vec()];
        config.send_tls13_tickets = 0;
        let config = Arc::new(config);
        Ok(self.add(Kind::Tls, name, |answers| drop(answers.tls.insert(name.to_owned(), config))))
    }

    fn add(self: &Arc<Self>, kind: Kind, key: &str, add: impl FnOnce(&mut Answers)) -> Pending {
        add(&mut self.answers.write().unwrap_or_else(PoisonError::into_inner));
        self.pending.fetch_add(1, Ordering::Release);
        Pending { challenges: self.clone(), key: key.to_owned(), kind }
    }

    /// What is answered to a request for this path.
    pub(crate) fn http(&self, path: &str) -> Option<Arc<str>> {
        if self.pending.load(Ordering::Acquire) == 0 {
            return None;
        }
        let token = path.strip_prefix(WELL_KNOWN)?;
        self.answers.read().unwrap_or_else(PoisonError::into_inner).http.get(token).cloned()
    }

    /// What is served to a client that speaks [`ALPN`] and wants this server.
    pub(crate) fn tls(&self, name: Option<&str>) -> Option<Arc<ServerConfig>> {
        if self.pending.load(Ordering::Acquire) == 0 {
            return None;
        }
        let name = name?.to_ascii_lowercase();
        self.answers.read().unwrap_or_else(PoisonError::into_inner).tls.get(&name).cloned()
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        let mut answers = self.challenges.answers.write().unwrap_or_else(PoisonError::into_inner);
        match self.kind {
            Kind::Http => drop(answers.http.remove(&self.key)),
            Kind::Tls => drop(answers.tls.remove(&self.key)),
        }
        self.challenges.pending.fetch_sub(1, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_given_until_it_is_dropped() {
        let challenges = Arc::new(Challenges::default());
        assert_eq!(challenges.http("/.well-known/acme-challenge/t1"), None);
        let first = challenges.answer_http("t1", "t1.print");
        let second = challenges.answer_http("t2", "t2.print");
        for (path, answer) in [
            ("/.well-known/acme-challenge/t1", Some("t1.print")),
            ("/.well-known/acme-challenge/t2", Some("t2.print")),
            ("/.well-known/acme-challenge/t3", None),
            ("/.well-known/acme-challenge/", None),
            ("/.well-known/acme-challenge/t1/", None),
            ("/t1", None),
        ] {
            assert_eq!(challenges.http(path).as_deref(), answer, "{path}");
        }
        drop(first);
        assert_eq!(challenges.http("/.well-known/acme-challenge/t1"), None);
        assert!(challenges.http("/.well-known/acme-challenge/t2").is_some());
        drop(second);
        assert_eq!(challenges.pending.load(Ordering::Relaxed), 0);
    }
}
