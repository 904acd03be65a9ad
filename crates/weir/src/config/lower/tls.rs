//! TLS on both sides.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::RootCertStore;
use rustls::pki_types::ServerName;
use weir_core::spec::{self, ListenAddress};

use super::{Lower, all, arc};
use crate::certs::{self, CertError};
use crate::config::document::At;
use crate::config::inputs::{Kind, SYSTEM_AUTHORITIES};
use crate::config::raw;

impl Lower<'_> {
    /// TLS of a listener.
    pub fn listener_tls(
        &mut self,
        raw: &raw::ListenerTls,
        listener: &raw::Listener,
        at: &At,
    ) -> Option<spec::ServerTls> {
        let http = listener.protocol == raw::ListenerProtocol::Http;
        let default_alpn: Vec<Arc<str>> = if http { vec![arc("h2"), arc("http/1.1")] } else { Vec::new() };
        let defaults = raw::ServerTls::default();
        let (settings, certificates) = match raw {
            raw::ListenerTls::Keyword(raw::TlsKeyword::SelfSigned) => {
                let made = certs::self_signed(&self_signed_names(listener));
                let made = made.map(|(certificate, _)| certificate);
                (&defaults, vec![self.certified(made, at)?])
            }
            raw::ListenerTls::Settings(settings) => (&**settings, self.certificates(settings, at)),
        };
        // What is wrong with names for an authority was told.
        if certificates.is_empty() && !settings.acme.as_slice().is_empty() {
            return None;
        }
        if certificates.is_empty() {
            self.error(at, "TLS needs a certificate and its key", "").help(
                "tls = { cert = \"site.pem\", key = \"site.key\" }, or tls = { acme = [\"www.example.com\"] }, or tls = \"self-signed\" for a first try",
            );
            return None;
        }
        self.positive(settings.ticket_rotation.0, &at.key("ticket_rotation"));
        let alpn = match &settings.alpn {
            Some(list) => self.alpn(list, &at.key("alpn")),
            None => default_alpn,
        };
        let auth = settings.client_auth.iter().enumerate();
        let client_auth =
            auth.filter_map(|(i, a)| self.client_auth(a, &at.key("client_auth").index(i))).collect();
        Some(spec::ServerTls {
            certificates,
            default_certificate: settings.serve_unknown_names.then_some(0),
            min_version: version(settings.min_version),
            alpn,
            tickets: settings.tickets,
            ticket_rotation: settings.ticket_rotation.0,
            client_auth,
            challenges: None,
        })
    }

    fn certificates(&mut self, raw: &raw::ServerTls, at: &At) -> Vec<spec::Certificate> {
        let mut certificates = Vec::new();
        match (&raw.cert, &raw.key) {
            (Some(cert), Some(key)) => {
                certificates.extend(self.certificate(cert, key, &at.key("cert"), &at.key("key")));
            }
            (None, None) => {}
            (Some(_), None) => self.half_pair("key", "cert", at),
            (None, Some(_)) => self.half_pair("cert", "key", at),
        }
        for (i, pair) in raw.certificates.iter().enumerate() {
            let at = at.key("certificates").index(i);
            if let (Some(cert), Some(key)) = (&pair.cert, &pair.key) {
                certificates.extend(self.certificate(cert, key, &at.key("cert"), &at.key("key")));
            }
        }
        certificates.extend(self.acme_certificates(raw, at).unwrap_or_default());
        certificates
    }

    fn half_pair(&mut self, missing: &str, there: &str, at: &At) {
        let place = at.key(there);
        self.key_error(&place, format!("`{there}` without `{missing}`"), "")
            .help("a certificate and its key are given together");
    }

    fn certificate(&mut self, cert: &str, key: &str, cert_at: &At, key_at: &At) -> Option<spec::Certificate> {
        let cert_path = self.reference(cert, cert_at)?;
        let key_path = self.reference(key, key_at)?;
        self.pem(&cert_path, Kind::Certificate);
        self.pem(&key_path, Kind::Certificate);
        let loaded = certs::load_certificate(&cert_path, &key_path);
        if let Ok(certificate) = &loaded {
            self.note_file(certificate, cert_path.clone());
            if key_path != cert_path {
                self.key_files.insert(cert_path.clone(), key_path.clone());
            }
        }
        // Which of the two is wrong is told by the file that the error names.
        let at = match &loaded {
            Err(error) if error.file == key_path && key_path != cert_path => key_at,
            _ => cert_at,
        };
        self.certified(loaded, at)
    }

    /// Remembers where a certificate was read from.
    pub fn note_file(&mut self, certificate: &spec::Certificate, file: PathBuf) {
        if let Some(leaf) = certificate.key.cert.first() {
            self.certificate_files.insert(weir_core::tls::fingerprint(leaf), file);
        }
    }

    /// What was read, or its error told.
    pub fn certified<T>(&mut self, result: Result<T, CertError>, at: &At) -> Option<T> {
        match result {
            Ok(value) => Some(value),
            Err(error) => {
                let told = self.error(at, format!("{} {}", error.file.display(), error.problem), "");
                match error.help {
                    Some(help) => drop(told.help(help)),
                    None => drop(told),
                }
                None
            }
        }
    }

    /// Notes that a file of PEM is read next.
    pub fn pem(&mut self, path: &Path, kind: Kind) {
        if path.to_str().is_none_or(|path| !path.starts_with("env:")) {
            self.report.inputs.file_to_read(path, kind);
        }
    }

    /// The authorities of the system. They are not watched, but a reload sees others.
    pub fn system_roots(&mut self, at: &At) -> Option<Arc<RootCertStore>> {
        let roots = self.certified(certs::system_roots(), at)?;
        let mut keys: Vec<&[u8]> =
            roots.roots.iter().map(|root| root.subject_public_key_info.as_ref()).collect();
        keys.sort_unstable();
        self.report.inputs.other(SYSTEM_AUTHORITIES, &keys.concat());
        Some(roots)
    }

    /// What a reference to PEM names: `env:NAME` as it is, else a path.
    pub fn reference(&mut self, text: &str, at: &At) -> Option<PathBuf> {
        if text.contains("-----BEGIN") {
            self.error(at, "a certificate or key is not written into the configuration", "")
                .help("name a file, or an environment variable: \"env:NAME\"");
            return None;
        }
        if text.starts_with("env:") {
            return Some(PathBuf::from(text));
        }
        Some(self.path(text.strip_prefix("file:").unwrap_or(text), at))
    }

    fn alpn(&mut self, list: &[String], at: &At) -> Vec<Arc<str>> {
        for (i, name) in list.iter().enumerate() {
            if name.is_empty() || name.len() > 255 {
                self.error(&at.index(i), "the name of a protocol has 1 to 255 bytes", "");
            }
        }
        list.iter().map(|n| arc(n)).collect()
    }

    fn client_auth(&mut self, raw: &raw::ClientAuth, at: &At) -> Option<spec::ClientAuth> {
        let ca_at = at.key("ca");
        let ca = self.reference(raw.ca.as_ref()?, &ca_at)?;
        self.pem(&ca, Kind::Authority);
        let roots = self.certified(certs::load_roots(&ca), &ca_at)?;
        let mut crls = Vec::new();
        for (i, crl) in raw.crl.as_slice().iter().enumerate() {
            let at = at.key("crl").index(i);
            if let Some(path) = self.reference(crl, &at) {
                self.pem(&path, Kind::Authority);
                crls.extend(self.certified(certs::load_crls(&path), &at).unwrap_or_default());
            }
        }
        let header = |name: &Option<raw::Text<http::HeaderName>>| name.as_ref().map(|n| n.0.clone());
        Some(spec::ClientAuth {
            names: all(&raw.names),
            mode: match raw.mode {
                raw::ClientAuthMode::Optional => spec::ClientAuthMode::Optional,
                raw::ClientAuthMode::Required => spec::ClientAuthMode::Required,
            },
            roots,
            crls,
            headers: spec::ClientAuthHeaders {
                subject: header(&raw.subject_header),
                fingerprint: header(&raw.fingerprint_header),
                certificate: header(&raw.certificate_header),
            },
        })
    }

    /// TLS to an upstream.
    pub fn upstream_tls(&mut self, raw: &raw::UpstreamTls, at: &At) -> Option<spec::UpstreamTls> {
        let defaults = raw::UpstreamTlsSettings::default();
        let raw = match raw {
            raw::UpstreamTls::Switch(false) => return None,
            raw::UpstreamTls::Switch(true) => &defaults,
            raw::UpstreamTls::Settings(settings) => settings,
        };
        let roots = match &raw.ca {
            Some(ca) => {
                let at = at.key("ca");
                let path = self.reference(ca, &at)?;
                self.pem(&path, Kind::Authority);
                self.certified(certs::load_roots(&path), &at)?
            }
            None if !raw.verify => Arc::new(rustls::RootCertStore::empty()),
            None => self.system_roots(at)?,
        };
        let server_name = raw.server_name.as_ref().and_then(|name| {
            let parsed = ServerName::try_from(name.clone());
            if parsed.is_err() {
                let at = at.key("server_name");
                self.error(&at, format!("`{name}` is neither a host name nor an IP address"), "");
            }
            parsed.ok()
        });
        let client_certificate = match (&raw.cert, &raw.key) {
            (Some(cert), Some(key)) => {
                self.certificate(cert, key, &at.key("cert"), &at.key("key")).map(|c| c.key)
            }
            (None, None) => None,
            (Some(_), None) => {
                self.half_pair("key", "cert", at);
                None
            }
            (None, Some(_)) => {
                self.half_pair("cert", "key", at);
                None
            }
        };
        if !raw.verify {
            self.warning(&at.key("verify"), "any certificate of this upstream is accepted", "for tests only");
        }
        Some(spec::UpstreamTls {
            roots,
            verify: raw.verify,
            server_name,
            client_certificate,
            min_version: version(raw.min_version),
        })
    }
}

fn version(raw: raw::TlsVersion) -> spec::TlsVersion {
    match raw {
        raw::TlsVersion::Tls12 => spec::TlsVersion::Tls12,
        raw::TlsVersion::Tls13 => spec::TlsVersion::Tls13,
    }
}

/// The names of a self-signed certificate: this machine, and the listener's own address.
fn self_signed_names(listener: &raw::Listener) -> Vec<String> {
    let mut names = vec!["localhost".to_owned(), "127.0.0.1".to_owned(), "::1".to_owned()];
    if let Some(ListenAddress::Tcp(address)) = listener.address.as_ref().map(|a| &a.0) {
        let ip = address.ip().to_string();
        if !address.ip().is_unspecified() && !names.contains(&ip) {
            names.push(ip);
        }
    }
    names
}
