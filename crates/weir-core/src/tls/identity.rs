//! The client's certificate as plugins and upstreams are told of it. It was verified before it comes here.

use std::fmt::Write as _;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use weir_plugin::ClientCertificate;
use x509_parser::der_parser::asn1_rs::{Any, ToDer as _};
use x509_parser::prelude::{FromDer as _, GeneralName, X509Certificate, X509Name};

/// Lower-case hexadecimal.
pub(super) fn hex(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        let _ = write!(out, "{byte:02x}");
    }
    out
}

/// Reads a certificate, and whether it is still valid at `now`. `None`: it cannot be read.
pub(super) fn read(der: &[u8], now: SystemTime) -> Option<(ClientCertificate, bool)> {
    let (_, certificate) = X509Certificate::from_der(der).ok()?;
    let now = now.duration_since(UNIX_EPOCH).map_or(0, |d| i64::try_from(d.as_secs()).unwrap_or(i64::MAX));
    let valid = now <= certificate.validity().not_after.timestamp();
    let names = match certificate.subject_alternative_name() {
        Ok(Some(extension)) => extension.value.general_names.iter().filter_map(name).collect(),
        _ => Vec::new(),
    };
    let serial = certificate.raw_serial();
    let client = ClientCertificate {
        der: Arc::from(der),
        subject: rfc4514(certificate.subject())?,
        issuer: rfc4514(certificate.issuer())?,
        serial: hex(if serial.len() > 1 { serial.strip_prefix(&[0]).unwrap_or(serial) } else { serial }),
        names,
        fingerprint: super::fingerprint(der),
    };
    Some((client, valid))
}

/// A subject alternative name as text. What is not plain ASCII is left out: such a name means nothing.
fn name(name: &GeneralName<'_>) -> Option<String> {
    match name {
        GeneralName::DNSName(s) | GeneralName::URI(s) | GeneralName::RFC822Name(s) => {
            s.bytes().all(|b| b.is_ascii_graphic()).then(|| (*s).to_owned())
        }
        GeneralName::IPAddress(bytes) => {
            let v4 = <[u8; 4]>::try_from(*bytes).map(IpAddr::from);
            let v6 = || <[u8; 16]>::try_from(*bytes).map(IpAddr::from);
            v4.or_else(|_| v6()).ok().map(|ip| ip.to_string())
        }
        _ => None,
    }
}

/// A distinguished name as RFC 4514 writes it, in printable ASCII only: what else is in it is escaped by bytes.
/// That is also what OpenSSL's RFC 2253 format prints, as nginx's `$ssl_client_s_dn`.
fn rfc4514(name: &X509Name<'_>) -> Option<String> {
    let mut out = String::new();
    // Last first (section 2.1).
    let rdns: Vec<_> = name.iter_rdn().collect();
    for (i, rdn) in rdns.iter().rev().enumerate() {
        if i > 0 {
            out.push(',');
        }
        for (j, attribute) in rdn.iter().enumerate() {
            if j > 0 {
                out.push('+');
            }
            let oid = attribute.attr_type().to_id_string();
            match (short_name(&oid), attribute.as_str()) {
                (Some(short), Ok(value)) => {
                    let _ = write!(out, "{short}=");
                    escape(value, &mut out);
                }
                (short, _) => {
                    let value: &Any<'_> = attribute.attr_value();
                    let _ = write!(out, "{}=#{}", short.unwrap_or(&oid), hex(&value.to_der_vec().ok()?));
                }
            }
        }
    }
    Some(out)
}

/// The registered short names (RFC 4519) of what certificates use.
fn short_name(oid: &str) -> Option<&'static str> {
    Some(match oid {
        "2.5.4.3" => "CN",
        "2.5.4.4" => "SN",
        "2.5.4.5" => "serialNumber",
        "2.5.4.6" => "C",
        "2.5.4.7" => "L",
        "2.5.4.8" => "ST",
        "2.5.4.9" => "street",
        "2.5.4.10" => "O",
        "2.5.4.11" => "OU",
        "2.5.4.12" => "title",
        "2.5.4.42" => "GN",
        "0.9.2342.19200300.100.1.1" => "UID",
        "0.9.2342.19200300.100.1.25" => "DC",
        "1.2.840.113549.1.9.1" => "emailAddress",
        _ => return None,
    })
}

/// RFC 4514, section 2.4.
fn escape(value: &str, out: &mut String) {
    let last = value.len().saturating_sub(1);
    for (i, byte) in value.bytes().enumerate() {
        match byte {
            b'"' | b'+' | b',' | b';' | b'<' | b'>' | b'\\' => {
                out.push('\\');
                out.push(char::from(byte));
            }
            b'#' | b' ' if i == 0 => {
                out.push('\\');
                out.push(char::from(byte));
            }
            b' ' if i == last => out.push_str("\\ "),
            b' '..=b'~' => out.push(char::from(byte)),
            _ => {
                let _ = write!(out, "\\{byte:02X}");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;
    use rcgen::{CertificateParams, CustomExtension, DnType, DnValue, KeyPair, SanType, SerialNumber};

    use super::*;

    #[test]
    fn a_certificate_is_read() {
        let mut params = CertificateParams::default();
        params.distinguished_name.remove(DnType::CommonName);
        params.distinguished_name.push(DnType::CountryName, "DE");
        params.distinguished_name.push(DnType::OrganizationName, "Käse, \"Brot\" + Söhne");
        params.distinguished_name.push(DnType::CommonName, " #alice\r\nX: y ");
        params.distinguished_name.push(DnType::CustomDnType(vec![1, 3, 6, 1, 4, 1, 99]), "z");
        params.subject_alt_names = vec![
            SanType::DnsName("alice.test".try_into().unwrap()),
            SanType::Rfc822Name("alice@test".try_into().unwrap()),
            SanType::Rfc822Name("not a\nname".try_into().unwrap()),
            SanType::URI("spiffe://test/alice".try_into().unwrap()),
            SanType::IpAddress([10, 0, 0, 1].into()),
            SanType::IpAddress("::1".parse().unwrap()),
        ];
        params.serial_number = Some(SerialNumber::from_slice(&[0xab, 0x01]));
        let cert = params.self_signed(&KeyPair::generate().unwrap()).unwrap();
        let (client, valid) = read(cert.der(), SystemTime::now()).unwrap();
        let subject = "1.3.6.1.4.1.99=#0c017a,CN=\\ #alice\\0D\\0AX: y\\ ,\
                       O=K\\C3\\A4se\\, \\\"Brot\\\" \\+ S\\C3\\B6hne,C=DE";
        assert_eq!(client.subject, subject);
        assert_eq!(client.issuer, subject);
        assert_eq!(client.serial, "ab01");
        assert_eq!(client.names, ["alice.test", "alice@test", "spiffe://test/alice", "10.0.0.1", "::1"]);
        assert_eq!(client.fingerprint.len(), 64);
        assert_eq!(&*client.der, &cert.der()[..]);
        assert!(valid);
        let (_, valid) = read(cert.der(), SystemTime::now() + Duration::from_secs(1 << 37)).unwrap();
        assert!(!valid);
    }

    #[test]
    fn unknown_string_kinds_are_written_as_bytes() {
        let mut params = CertificateParams::default();
        params.distinguished_name.remove(DnType::CommonName);
        params.distinguished_name.push(DnType::CommonName, DnValue::BmpString("é".try_into().unwrap()));
        params.custom_extensions.push(CustomExtension::from_oid_content(&[1, 2, 3], vec![5, 0]));
        let cert = params.self_signed(&KeyPair::generate().unwrap()).unwrap();
        let (client, _) = read(cert.der(), SystemTime::now()).unwrap();
        assert_eq!(client.subject, "CN=#1e0200e9");
    }

    #[test]
    fn a_fingerprint_is_sha256() {
        assert_eq!(
            super::super::fingerprint(b"abc"),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
    }

    proptest! {
        #[test]
        fn damaged_certificates_do_no_harm(at in any::<prop::sample::Index>(), with in any::<u8>()) {
            static DER: std::sync::LazyLock<Vec<u8>> = std::sync::LazyLock::new(|| {
                let params = CertificateParams::new(vec!["a.test".to_owned()]).unwrap();
                params.self_signed(&KeyPair::generate().unwrap()).unwrap().der().to_vec()
            });
            let mut der = DER.clone();
            let at = at.index(der.len());
            der[at] = with;
            if let Some((client, _)) = read(&der, SystemTime::now()) {
                prop_assert!(client.subject.bytes().all(|b| (b' '..=b'~').contains(&b)));
            }
        }
    }
}
