//! Certificates, keys, authorities and revocation lists: files into what [`weir_core::spec`] holds.
//!
//! Everything here is PEM, from a file or, where the path is `env:NAME`, from an environment variable. Errors name the file,
//! what is wrong with it and what would be right. What is no error but will be trouble (a list that is overdue) is a
//! warning in the program log.

use std::fmt;
use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rcgen::{CertificateParams, DnType, KeyPair};
use rustls::RootCertStore;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer};
use rustls::sign::{CertifiedKey, SigningKey};
use weir_core::spec::{Certificate, HostPattern};
use x509_parser::prelude::{CertificateRevocationList, FromDer as _, GeneralName, X509Certificate};
use x509_parser::time::ASN1Time;

/// The largest file that is read. The bundle of all public authorities is about 250 KiB.
const MAX_FILE: u64 = 16 << 20;
/// How long a self-signed certificate is good for: what browsers take at most.
const SELF_SIGNED_FOR: Duration = Duration::from_secs(397 * 24 * 3600);

/// What is wrong with a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertError {
    /// The file.
    pub file: PathBuf,
    /// What is wrong, lower case, without a full stop; reads on after the name of the file.
    pub problem: String,
    /// What would be right.
    pub help: Option<String>,
}

impl fmt::Display for CertError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.file.display(), self.problem)?;
        match &self.help {
            Some(help) => write!(f, "; {help}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for CertError {}

impl CertError {
    fn new(file: &Path, problem: impl Into<String>) -> Self {
        CertError { file: file.to_owned(), problem: problem.into(), help: None }
    }

    fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }
}

/// Reads a certificate chain (the server's own first) and its private key; both may be in the same file. They are
/// known to belong together. Server names are those of the subject alternative names.
///
/// A certificate without a server name is a warning in the log. When it expires is told elsewhere: see
/// [`crate::expiry`].
///
/// # Errors
/// Says which file is wrong and why.
pub fn load_certificate(cert_path: &Path, key_path: &Path) -> Result<Certificate, CertError> {
    let chain = read_certificates(cert_path)?;
    let key = load_key(key_path)?;
    let leaf = chain.first().ok_or_else(|| CertError::new(cert_path, "has no certificate"))?.clone();
    if !belongs(&leaf, &*key) {
        let problem = format!("does not belong to {}", cert_path.display());
        let error = CertError::new(key_path, problem);
        return Err(match chain.iter().position(|other| belongs(other, &*key)) {
            Some(at) => error.help(format!(
                "it is the key of certificate {} in that file: put the server's own certificate first",
                at + 1
            )),
            None => error.help("give the key that the certificate was requested with"),
        });
    }
    let (_, parsed) = X509Certificate::from_der(&leaf)
        .map_err(|e| CertError::new(cert_path, format!("has a certificate that cannot be read: {e}")))?;
    let names = server_names(&parsed);
    if names.is_empty() {
        tracing::warn!(
            "{} has no DNS name (subject alternative name): it is only served as the default certificate",
            cert_path.display()
        );
    }
    Ok(Certificate { key: Arc::new(CertifiedKey::new(chain, key)), names })
}

/// Reads the certificates of authorities.
///
/// # Errors
/// Says what is wrong with the file.
pub fn load_roots(path: &Path) -> Result<Arc<RootCertStore>, CertError> {
    let mut roots = RootCertStore::empty();
    for (i, certificate) in read_certificates(path)?.into_iter().enumerate() {
        roots.add(certificate).map_err(|e| {
            CertError::new(path, format!("has a certificate ({}) that cannot be an authority: {e}", i + 1))
        })?;
    }
    Ok(Arc::new(roots))
}

/// The authorities that this machine trusts, or those of `SSL_CERT_FILE` and `SSL_CERT_DIR`.
///
/// The machine's and not a list built into weir: an operator who adds a company's authority, or takes one away,
/// does so once for everything on the machine, and its updates need no new weir. Reads files each time.
///
/// # Errors
/// There are none, as in a container image without them.
pub fn system_roots() -> Result<Arc<RootCertStore>, CertError> {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(found.certs);
    if roots.is_empty() {
        let why = found.errors.first().map(|e| format!(": {e}")).unwrap_or_default();
        return Err(CertError::new(Path::new("the system's certificate store"), format!("is empty{why}"))
            .help("install ca-certificates, set SSL_CERT_FILE, or name a file of authorities"));
    }
    Ok(Arc::new(roots))
}

/// Reads revocation lists. Each authority in a client's chain needs one. One whose next update is overdue still
/// holds, with a warning in the log.
///
/// # Errors
/// Says what is wrong with the file.
pub fn load_crls(path: &Path) -> Result<Vec<CertificateRevocationListDer<'static>>, CertError> {
    let bytes = read(path)?;
    let crls: Vec<_> = sections(path, CertificateRevocationListDer::pem_slice_iter(&bytes))?;
    if crls.is_empty() {
        return Err(missing(path, &bytes, "revocation list", "X509 CRL", "openssl crl -inform der"));
    }
    for (i, crl) in crls.iter().enumerate() {
        let (_, crl) = CertificateRevocationList::from_der(crl).map_err(|e| {
            CertError::new(path, format!("has a revocation list ({}) that cannot be read: {e}", i + 1))
        })?;
        if let Some(next) = crl.next_update()
            && next < ASN1Time::now()
        {
            tracing::warn!(
                "{}: revocation list of {} was to be renewed on {}",
                path.display(),
                crl.issuer(),
                day(next)
            );
        }
    }
    Ok(crls)
}

/// Makes a certificate for these names (DNS names, `*.` wildcards, IP addresses) that it signs itself; the second
/// part is its SHA-256 fingerprint in hexadecimal.
///
/// # Errors
/// A name cannot be one.
pub fn self_signed(names: &[impl AsRef<str>]) -> Result<(Certificate, String), CertError> {
    let failed = |problem: String| CertError::new(Path::new("the self-signed certificate"), problem);
    let names: Vec<String> = names.iter().map(|n| n.as_ref().to_owned()).collect();
    let mut params =
        CertificateParams::new(names).map_err(|e| failed(format!("cannot have this name: {e}")))?;
    let now = SystemTime::now();
    params.not_before = (now - Duration::from_secs(24 * 3600)).into();
    params.not_after = (now + SELF_SIGNED_FOR).into();
    params.distinguished_name.push(DnType::CommonName, "weir self-signed");
    let made = KeyPair::generate().and_then(|key| Ok((params.self_signed(&key)?, key)));
    let (certificate, key) = made.map_err(|e| failed(format!("cannot be made: {e}")))?;
    let der = certificate.der().clone();
    let key =
        PrivateKeyDer::try_from(key.serialize_der()).map_err(|e| failed(format!("cannot be made: {e}")))?;
    let key = weir_core::tls::provider()
        .key_provider
        .load_private_key(key)
        .map_err(|e| failed(format!("cannot be made: {e}")))?;
    let names = X509Certificate::from_der(&der).map(|(_, c)| server_names(&c)).unwrap_or_default();
    let fingerprint = weir_core::tls::fingerprint(&der);
    Ok((Certificate { key: Arc::new(CertifiedKey::new(vec![der], key)), names }, fingerprint))
}

fn load_key(path: &Path) -> Result<Arc<dyn SigningKey>, CertError> {
    let bytes = read(path)?;
    let has = |label: &str| String::from_utf8_lossy(&bytes).contains(label);
    let key = match PrivateKeyDer::from_pem_slice(&bytes) {
        Ok(key) => key,
        Err(pem::Error::NoItemsFound) if has("BEGIN ENCRYPTED PRIVATE KEY") => {
            return Err(CertError::new(path, "is an encrypted key; weir asks for no passphrase")
                .help("decrypt it: openssl pkey -in KEY -out PLAIN"));
        }
        Err(pem::Error::NoItemsFound) if has("BEGIN CERTIFICATE") => {
            return Err(CertError::new(path, "has a certificate but no private key")
                .help("are the files of certificate and key swapped?"));
        }
        Err(pem::Error::NoItemsFound) => {
            return Err(missing(path, &bytes, "private key", "PRIVATE KEY", "openssl pkey -inform der"));
        }
        Err(e) => return Err(broken(path, &e)),
    };
    if has("Proc-Type: 4,ENCRYPTED") {
        return Err(CertError::new(path, "is an encrypted key; weir asks for no passphrase")
            .help("decrypt it: openssl pkey -in KEY -out PLAIN"));
    }
    weir_core::tls::provider().key_provider.load_private_key(key).map_err(|e| {
        CertError::new(path, format!("has a key that cannot be used: {e}"))
            .help("weir takes ECDSA (P-256, P-384, P-521), RSA (2048 bits or more) and Ed25519 keys")
    })
}

/// Whether a certificate is for this key.
fn belongs(certificate: &CertificateDer<'_>, key: &dyn SigningKey) -> bool {
    let Some(public) = key.public_key() else { return false };
    X509Certificate::from_der(certificate).is_ok_and(|(_, c)| c.public_key().raw == &public[..])
}

fn read_certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, CertError> {
    let bytes = read(path)?;
    let certificates: Vec<_> = sections(path, CertificateDer::pem_slice_iter(&bytes))?;
    if certificates.is_empty() {
        return Err(missing(path, &bytes, "certificate", "CERTIFICATE", "openssl x509 -inform der"));
    }
    Ok(certificates)
}

fn sections<T>(path: &Path, items: impl Iterator<Item = Result<T, pem::Error>>) -> Result<Vec<T>, CertError> {
    items.collect::<Result<_, _>>().map_err(|e| broken(path, &e))
}

fn broken(path: &Path, error: &pem::Error) -> CertError {
    CertError::new(path, format!("is damaged PEM: {error}"))
}

/// Nothing of the kind is in the file.
fn missing(path: &Path, bytes: &[u8], what: &str, label: &str, convert: &str) -> CertError {
    // A DER sequence.
    if bytes.first() == Some(&0x30) {
        return CertError::new(path, "is DER, not PEM")
            .help(format!("convert it: {convert} -in FILE -out FILE.pem"));
    }
    CertError::new(path, format!("has no {what}"))
        .help(format!("it should have a line `-----BEGIN {label}-----`"))
}

/// A path `env:NAME` stands for the content of an environment variable.
fn read(path: &Path) -> Result<Vec<u8>, CertError> {
    if let Some(name) = path.to_str().and_then(|p| p.strip_prefix("env:")) {
        return std::env::var(name)
            .map(String::into_bytes)
            .map_err(|_| CertError::new(path, "is not set in the environment"));
    }
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(|e| CertError::new(path, format!("cannot be opened: {e}")))?;
    let read = file.take(MAX_FILE + 1).read_to_end(&mut bytes);
    read.map_err(|e| CertError::new(path, format!("cannot be read: {e}")))?;
    if bytes.len() as u64 > MAX_FILE {
        return Err(CertError::new(path, "is larger than 16 MiB"));
    }
    Ok(bytes)
}

/// The DNS names that a certificate is for. A wildcard stands for the whole first label or is not one.
fn server_names(certificate: &X509Certificate<'_>) -> Vec<HostPattern> {
    let Ok(Some(extension)) = certificate.subject_alternative_name() else { return Vec::new() };
    let names = extension.value.general_names.iter().filter_map(|name| match name {
        GeneralName::DNSName(name) => Some(name.to_ascii_lowercase()),
        _ => None,
    });
    names
        .filter_map(|name| match name.strip_prefix('*') {
            Some(suffix) if suffix.starts_with('.') && suffix.len() > 1 => {
                Some(HostPattern::Suffix(suffix.into()))
            }
            None if !name.is_empty() => Some(HostPattern::Exact(name.into())),
            _ => None,
        })
        .collect()
}

fn day(time: ASN1Time) -> String {
    time.to_datetime().date().to_string()
}

#[cfg(test)]
#[path = "certs_tests.rs"]
mod tests;
