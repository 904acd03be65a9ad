//! Certificates from an authority.

use std::sync::Arc;

use http::Uri;
use http::uri::Scheme;
use rustls::pki_types::DnsName;
use weir_core::spec;

use super::Lower;
use crate::acme::store::{Kept, kept, stand_ins};
use crate::acme::{Challenge, Settings, Wanted};
use crate::certs;
use crate::config::document::At;
use crate::config::inputs::Kind;
use crate::config::raw;

/// The most names of a certificate: what Let's Encrypt takes.
const MOST_NAMES: usize = 100;

/// A certificate that weir made until one of an authority is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placeholder {
    /// The certificate that is wanted in its place.
    pub wanted: Wanted,
    /// Of the one that weir made, SHA-256.
    pub fingerprint: String,
    /// Of others that serve some of its names meanwhile, SHA-256.
    pub stand_ins: Vec<String>,
    /// Why what is kept of it cannot serve. None: nothing is kept.
    pub problem: Option<String>,
}

impl Lower<'_> {
    /// The authority, without what is wanted of it; `None` if no listener wants anything, or it cannot be asked.
    pub fn acme(&mut self, raw: &raw::Config) -> Option<Settings> {
        let named = raw.listeners.iter().enumerate().find(|(_, listener)| !acme_names(listener).is_empty());
        let (listener, _) = named?;
        let at = At::default().key("acme");
        if !raw.acme.agree {
            let text = "the terms of the authority must be agreed to";
            let key = match self.document.find(&at) {
                Some(_) => at.key("agree"),
                None => At::default().key("listeners").index(listener).key("tls").key("acme"),
            };
            self.error(&key, text, "").help("read them, then write: [acme] agree = true");
        }
        let https = |uri: &Uri| uri.scheme() == Some(&Scheme::HTTPS) && uri.host().is_some();
        if !raw.acme.directory.parse::<Uri>().is_ok_and(|uri| https(&uri)) {
            self.error(&at.key("directory"), "the directory of an authority is an https URL", "")
                .help("directory = \"https://acme-v02.api.letsencrypt.org/directory\"");
        }
        for (i, contact) in raw.acme.contact.as_slice().iter().enumerate() {
            if contact.contains(':') {
                continue;
            }
            let key = at.key("contact");
            let key = if matches!(raw.acme.contact, raw::OneOrMany::Many(_)) { key.index(i) } else { key };
            self.error(&key, format!("`{contact}` is no URL"), "")
                .help(format!("an address is written so: \"mailto:{contact}\""));
        }
        if raw.acme.renew_before.is_some_and(|before| before.0.is_zero()) {
            self.error(&at.key("renew_before"), "a certificate that has ended is renewed too late", "")
                .help("give a duration such as \"30d\"; without one it is a third of the certificate's life");
        }
        let roots = match &raw.acme.roots {
            Some(roots) => {
                let at = at.key("roots");
                let path = self.reference(roots, &at)?;
                self.pem(&path, Kind::Authority);
                self.certified(certs::load_roots(&path), &at)?
            }
            None => self.system_roots(&at)?,
        };
        let plain = |l: &raw::Listener| l.protocol == raw::ListenerProtocol::Http && l.tls.is_none();
        let challenge = match raw.acme.challenge {
            raw::AcmeChallenge::TlsAlpn01 => Challenge::TlsAlpn,
            raw::AcmeChallenge::Http01 => Challenge::Http,
        };
        if challenge == Challenge::Http && !raw.listeners.iter().any(plain) {
            let key = At::default().key("listeners").index(listener).key("tls").key("acme");
            self.error(&key, "no listener can answer the authority's challenge `http-01`", "").help(
                "add one without TLS, on port 80 from outside: [[listeners]] address = \":80\"; or set \
                 acme.challenge = \"tls-alpn-01\"",
            );
        }
        Some(Settings {
            directory: raw.acme.directory.clone(),
            contact: raw.acme.contact.as_slice().to_vec(),
            store: self.path(&raw.acme.store, &at.key("store")),
            roots,
            challenge,
            renew_before: raw.acme.renew_before.map(|before| before.0),
            wanted: Vec::new(),
        })
    }

    /// The certificate of a listener with `acme`: what is kept of it, or else others for its names and one that weir makes.
    pub fn acme_certificates(&mut self, raw: &raw::ServerTls, at: &At) -> Option<Vec<spec::Certificate>> {
        let written = raw.acme.as_slice();
        if written.is_empty() {
            return None;
        }
        let at = at.key("acme");
        let one = matches!(raw.acme, raw::OneOrMany::One(_));
        let mut names: Vec<String> = Vec::with_capacity(written.len());
        for (i, name) in written.iter().enumerate() {
            let at = if one { at.clone() } else { at.index(i) };
            if let Some(name) = self.acme_name(name, &at)
                && !names.contains(&name)
            {
                names.push(name);
            }
        }
        if names.len() > MOST_NAMES {
            self.error(&at, format!("a certificate has {MOST_NAMES} names at most"), "")
                .help("spread them over several listeners, or have them in files of your own");
        }
        if names.is_empty() {
            return None;
        }
        let settings = self.acme.as_mut()?;
        let wanted = Wanted::new(&settings.store, &settings.directory, names);
        if !settings.wanted.contains(&wanted) {
            settings.wanted.push(wanted.clone());
        }
        self.report.inputs.file_to_read(&wanted.file, Kind::Certificate);
        let problem = match kept(&wanted) {
            Kept::Certificate(certificate) => {
                self.note_file(&certificate, wanted.file);
                return Some(vec![certificate]);
            }
            Kept::Nothing => None,
            Kept::Unreadable(problem) | Kept::Broken(problem) => {
                self.warning(&at, problem.clone(), "");
                Some(problem)
            }
        };
        let (made, fingerprint) = self.certified(certs::self_signed(&wanted.names), &at)?;
        let (mut certificates, mut prints) = (Vec::new(), Vec::new());
        for (file, certificate) in stand_ins(&wanted) {
            prints.extend(certificate.key.cert.first().map(|leaf| weir_core::tls::fingerprint(leaf)));
            self.note_file(&certificate, file);
            certificates.push(certificate);
        }
        certificates.push(made);
        self.placeholders.push(Placeholder { wanted, fingerprint, stand_ins: prints, problem });
        Some(certificates)
    }

    fn acme_name(&mut self, name: &str, at: &At) -> Option<String> {
        if name.starts_with('*') {
            self.error(at, format!("no certificate for `{name}` can be had so"), "a wildcard").help(
                "http-01 and tls-alpn-01 prove single names: name each, or have the certificate in a file",
            );
            return None;
        }
        if name.parse::<std::net::IpAddr>().is_ok() || DnsName::try_from(name).is_err() {
            self.error(at, format!("`{name}` is not the name of a host"), "")
                .help("write it so: \"www.example.com\"");
            return None;
        }
        Some(name.trim_end_matches('.').to_ascii_lowercase())
    }

    /// The authority and what is wanted of it.
    pub fn acme_settings(&mut self) -> Option<Arc<Settings>> {
        self.acme.take().filter(|settings| !settings.wanted.is_empty()).map(Arc::new)
    }
}

/// The names for which a listener wants a certificate.
fn acme_names(listener: &raw::Listener) -> &[String] {
    match &listener.tls {
        Some(raw::ListenerTls::Settings(tls)) => tls.acme.as_slice(),
        _ => &[],
    }
}
