use std::fs;

use rcgen::{BasicConstraints, CertificateRevocationListParams, IsCa, Issuer, KeyIdMethod, SerialNumber};
use tempfile::TempDir;

use super::*;

/// Files in a folder that goes away.
struct Folder(TempDir);

impl Folder {
    fn new() -> Self {
        Folder(tempfile::tempdir().unwrap())
    }

    fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.0.path().join(name);
        fs::write(&path, content).unwrap();
        path
    }

    /// What an error says, without the name of the folder.
    fn said<T>(&self, result: Result<T, CertError>) -> String {
        let said = result.err().expect("an error").to_string();
        said.replace(&format!("{}/", self.0.path().display()), "")
    }
}

/// A certificate for these names and its key, PEM.
fn pair(names: &[&str]) -> (String, String) {
    let names: Vec<String> = names.iter().map(|&n| n.to_owned()).collect();
    let key = KeyPair::generate().unwrap();
    (CertificateParams::new(names).unwrap().self_signed(&key).unwrap().pem(), key.serialize_pem())
}

fn patterns(names: &[&str]) -> Vec<HostPattern> {
    let pattern = |name: &&str| match name.strip_prefix('*') {
        Some(suffix) => HostPattern::Suffix(suffix.into()),
        None => HostPattern::Exact((*name).into()),
    };
    names.iter().map(pattern).collect()
}

#[test]
fn a_certificate_and_its_key_are_read() {
    let folder = Folder::new();
    let (cert, key) = pair(&["A.test", "*.b.test", "10.0.0.1"]);
    let (other, _) = pair(&["ca.test"]);
    let cert_path = folder.write("cert.pem", format!("leaf first\n{cert}{other}"));
    let key_path = folder.write("key.pem", &key);
    let certificate = load_certificate(&cert_path, &key_path).unwrap();
    assert_eq!(certificate.names, patterns(&["a.test", "*.b.test"]));
    assert_eq!(certificate.key.cert.len(), 2);

    let both = folder.write("both.pem", format!("{key}{cert}"));
    assert_eq!(load_certificate(&both, &both).unwrap().names, certificate.names);
}

#[test]
fn errors_say_which_file_and_what_would_be_right() {
    let folder = Folder::new();
    let (cert, key) = pair(&["a.test"]);
    let (other, other_key) = pair(&["b.test"]);
    let good = folder.write("cert.pem", &cert);
    let good_key = folder.write("key.pem", &key);
    let check = |cert: &Path, key: &Path, said: &str| {
        assert_eq!(folder.said(load_certificate(cert, key)), said);
    };
    let path = |name: &str, content: &[u8]| folder.write(name, content);

    check(
        &good,
        &path("b.pem", other_key.as_bytes()),
        "b.pem does not belong to cert.pem; give the key that the certificate was requested with",
    );
    check(
        &path("order.pem", format!("{other}{cert}").as_bytes()),
        &good_key,
        "key.pem does not belong to order.pem; it is the key of certificate 2 in that file: \
         put the server's own certificate first",
    );
    check(
        &good,
        &good,
        "cert.pem has a certificate but no private key; are the files of certificate and key swapped?",
    );
    check(
        &good_key,
        &good_key,
        "key.pem has no certificate; it should have a line `-----BEGIN CERTIFICATE-----`",
    );
    check(
        &good,
        &path("empty.pem", b""),
        "empty.pem has no private key; it should have a line `-----BEGIN PRIVATE KEY-----`",
    );
    check(
        &path("cert.der", &[0x30, 0x82, 1, 1]),
        &good_key,
        "cert.der is DER, not PEM; convert it: openssl x509 -inform der -in FILE -out FILE.pem",
    );
    check(
        &good,
        &path("locked.pem", key.replace("PRIVATE KEY", "ENCRYPTED PRIVATE KEY").as_bytes()),
        "locked.pem is an encrypted key; weir asks for no passphrase; decrypt it: openssl pkey -in KEY -out PLAIN",
    );
    let missing = folder.0.path().join("missing.pem");
    check(&missing, &good_key, "missing.pem cannot be opened: No such file or directory (os error 2)");
    check(
        Path::new("env:WEIR_TEST_NOT_SET"),
        &good_key,
        "env:WEIR_TEST_NOT_SET is not set in the environment",
    );
    check(
        Path::new("env:PATH"),
        &good_key,
        "env:PATH has no certificate; it should have a line `-----BEGIN CERTIFICATE-----`",
    );
    let said = folder.said(load_certificate(&path("cut.pem", &cert.as_bytes()[..cert.len() / 2]), &good_key));
    assert!(said.starts_with("cut.pem is damaged PEM"), "{said}");
    let junk = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n";
    let said = folder.said(load_certificate(&good, &path("junk.pem", junk.as_bytes())));
    assert!(said.starts_with("junk.pem has a key that cannot be used"), "{said}");
}

#[test]
fn authorities_are_read() {
    let folder = Folder::new();
    let (a, _) = pair(&["a.test"]);
    let (b, key) = pair(&["b.test"]);
    assert_eq!(load_roots(&folder.write("ca.pem", format!("{a}{b}"))).unwrap().len(), 2);
    assert_eq!(
        folder.said(load_roots(&folder.write("key.pem", key))),
        "key.pem has no certificate; it should have a line `-----BEGIN CERTIFICATE-----`"
    );
    let junk = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    let said = folder.said(load_roots(&folder.write("junk.pem", format!("{a}{junk}"))));
    assert!(said.starts_with("junk.pem has a certificate (2) that cannot be an authority"), "{said}");
}

#[test]
fn revocation_lists_are_read() {
    let folder = Folder::new();
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let issuer = Issuer::new(params, KeyPair::generate().unwrap());
    let now = SystemTime::now();
    let crl = CertificateRevocationListParams {
        this_update: now.into(),
        next_update: (now + Duration::from_secs(3600)).into(),
        crl_number: SerialNumber::from(1),
        issuing_distribution_point: None,
        revoked_certs: Vec::new(),
        key_identifier_method: KeyIdMethod::Sha256,
    };
    let crl = crl.signed_by(&issuer).unwrap().pem().unwrap();
    assert_eq!(load_crls(&folder.write("crl.pem", &crl)).unwrap().len(), 1);
    assert_eq!(
        folder.said(load_crls(&folder.write("cert.pem", pair(&["a.test"]).0))),
        "cert.pem has no revocation list; it should have a line `-----BEGIN X509 CRL-----`"
    );
    let junk = "-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----\n";
    let said = folder.said(load_crls(&folder.write("junk.pem", junk)));
    assert!(said.starts_with("junk.pem has a revocation list (1) that cannot be read"), "{said}");
}

#[test]
fn a_self_signed_certificate_is_for_its_names() {
    let (certificate, fingerprint) = self_signed(&["localhost", "*.local.test", "127.0.0.1"]).unwrap();
    assert_eq!(certificate.names, patterns(&["localhost", "*.local.test"]));
    assert_eq!(fingerprint, weir_core::tls::fingerprint(&certificate.key.cert[0]));
    assert!(certificate.key.keys_match().is_ok());
    let (_, parsed) = X509Certificate::from_der(&certificate.key.cert[0]).unwrap();
    assert!(parsed.validity().is_valid());
    assert!(self_signed(&["not a name ü"]).is_err());
}
