//! What a server name has: a certificate, a client-authentication policy.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

use rustls::SignatureScheme;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use super::TlsError;
use crate::spec::{self, HostPattern};

/// Lower case, without the dot that may end a full name. Borrowed where it is so already.
fn fold(name: &str) -> Cow<'_, str> {
    let name = name.strip_suffix('.').unwrap_or(name);
    if name.bytes().any(|b| b.is_ascii_uppercase()) {
        Cow::Owned(name.to_ascii_lowercase())
    } else {
        Cow::Borrowed(name)
    }
}

/// Certificates by server name.
#[derive(Debug)]
pub(super) struct Certificates {
    exact: HashMap<Box<str>, Vec<Arc<CertifiedKey>>>,
    /// By what follows the first label, with the dot. A certificate for `*.example.com` is good for one label
    /// before it, not for more (RFC 9525, section 6.3).
    wildcard: HashMap<Box<str>, Vec<Arc<CertifiedKey>>>,
    default: Option<Arc<CertifiedKey>>,
}

impl Certificates {
    pub(super) fn new(spec: &spec::ServerTls) -> Result<Self, TlsError> {
        if spec.certificates.is_empty() {
            return Err(TlsError::NoCertificate);
        }
        let default = match spec.default_certificate {
            Some(i) => Some(spec.certificates.get(i).ok_or(TlsError::NoDefaultCertificate(i))?.key.clone()),
            None => None,
        };
        let mut certificates = Certificates { exact: HashMap::new(), wildcard: HashMap::new(), default };
        for certificate in &spec.certificates {
            for name in &certificate.names {
                let (map, name) = match name {
                    HostPattern::Exact(name) => (&mut certificates.exact, name),
                    HostPattern::Suffix(name) => (&mut certificates.wildcard, name),
                };
                map.entry(fold(name).into()).or_default().push(certificate.key.clone());
            }
        }
        Ok(certificates)
    }

    /// The certificates for a name: those of the name itself, else of its wildcard, else the default one.
    fn candidates(&self, name: Option<&str>) -> &[Arc<CertifiedKey>] {
        let named = name.map(fold).and_then(|name| {
            self.exact.get(&*name).or_else(|| self.wildcard.get(name.get(name.find('.')?..)?))
        });
        match named {
            Some(keys) => keys,
            None => self.default.as_slice(),
        }
    }

    /// Whether there is a certificate for this name.
    pub(super) fn serves(&self, name: Option<&str>) -> bool {
        !self.candidates(name).is_empty()
    }

    /// The first certificate for a name whose key the client can verify.
    fn choose(&self, name: Option<&str>, schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        match self.candidates(name) {
            [] => None,
            [only] => Some(only.clone()),
            all @ [first, ..] => {
                let fits = all.iter().find(|c| c.key.choose_scheme(schemes).is_some());
                Some(fits.unwrap_or(first).clone())
            }
        }
    }
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.choose(hello.server_name(), hello.signature_schemes())
    }
}

/// Client-authentication policies by server name. Where several fit, the first in the configuration holds.
#[derive(Debug, Default)]
pub(super) struct PolicyNames {
    exact: HashMap<Box<str>, u32>,
    /// With the dot before it; good for one or more labels.
    suffix: HashMap<Box<str>, u32>,
    all: Option<u32>,
}

impl PolicyNames {
    /// Policies are numbered from 1; 0 asks for nothing.
    pub(super) fn new(policies: &[spec::ClientAuth]) -> Self {
        let mut names = PolicyNames::default();
        for (policy, auth) in (1..).zip(policies) {
            if auth.names.is_empty() {
                names.all.get_or_insert(policy);
            }
            for name in &auth.names {
                let (map, name) = match name {
                    HostPattern::Exact(name) => (&mut names.exact, name),
                    HostPattern::Suffix(name) => (&mut names.suffix, name),
                };
                map.entry(fold(name).into()).or_insert(policy);
            }
        }
        names
    }

    /// The policy of a name; of clients that give none, if `None`.
    pub(super) fn find(&self, name: Option<&str>) -> u32 {
        let named = name.and_then(|name| {
            if self.exact.is_empty() && self.suffix.is_empty() {
                return None;
            }
            let name = fold(name);
            let exact = self.exact.get(&*name);
            let suffixes = name.match_indices('.').filter_map(|(dot, _)| self.suffix.get(name.get(dot..)?));
            exact.into_iter().chain(suffixes).min().copied()
        });
        named.into_iter().chain(self.all).min().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(policies: &[(&str, u32)], all: Option<u32>) -> PolicyNames {
        let mut names = PolicyNames { all, ..PolicyNames::default() };
        for &(name, policy) in policies {
            let map = if name.starts_with('.') { &mut names.suffix } else { &mut names.exact };
            map.insert(name.into(), policy);
        }
        names
    }

    #[test]
    fn the_first_policy_that_fits_holds() {
        let n = names(&[("a.test", 2), (".test", 1), (".b.test", 3), ("c.org", 4)], None);
        for (name, policy) in [
            (Some("a.test"), 1),
            (Some("A.TEST."), 1),
            (Some("x.b.test"), 1),
            (Some("c.org"), 4),
            (Some("d.c.org"), 0),
            (Some("test"), 0),
            (Some(""), 0),
            (Some("."), 0),
            (None, 0),
        ] {
            assert_eq!(n.find(name), policy, "{name:?}");
        }
    }

    #[test]
    fn a_policy_without_names_holds_for_all_that_have_none_before_it() {
        let n = names(&[("a.test", 1), ("b.test", 3)], Some(2));
        for (name, policy) in [(Some("a.test"), 1), (Some("b.test"), 2), (Some("c.test"), 2), (None, 2)] {
            assert_eq!(n.find(name), policy, "{name:?}");
        }
    }
}
