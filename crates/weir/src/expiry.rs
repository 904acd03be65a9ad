//! When certificates expire: what `weir status` shows of each, and what the program log is told as the day comes
//! nearer.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use x509_parser::prelude::{FromDer as _, GeneralName, X509Certificate};
use x509_parser::time::ASN1Time;

use crate::admin::Board;
use crate::run::Plan;

/// How many days before its end a certificate is warned about, each once.
const WARN_AT: [u64; 5] = [30, 14, 7, 3, 1];
/// How often is looked. Nothing is told twice, so an hour costs nothing and tells in time.
const EVERY: Duration = Duration::from_secs(3600);
const DAY: u64 = 24 * 3600;

/// A certificate that is served, or shown to upstreams. Times are seconds since 1970.
#[derive(Clone, Debug, Default, Serialize, Deserialize, PartialEq, Eq)]
pub struct Certificate {
    /// What it is for: DNS names and addresses.
    pub names: Vec<String>,
    /// Names of the listeners that serve it.
    pub listeners: Vec<String>,
    /// Names of the upstreams that it is shown to.
    pub upstreams: Vec<String>,
    /// From when on it is valid.
    pub not_before: u64,
    /// Until when it is valid.
    pub not_after: u64,
    /// The file that it was read from. None: weir made it at the start.
    pub file: Option<String>,
    /// SHA-256 of it, in hexadecimal.
    pub fingerprint: String,
}

impl Certificate {
    /// Reads one; it has no listeners and no upstreams yet. None where it cannot be read.
    pub fn read(der: &[u8]) -> Option<Certificate> {
        let (_, parsed) = X509Certificate::from_der(der).ok()?;
        Some(Certificate {
            names: names(&parsed),
            not_before: seconds(parsed.validity().not_before),
            not_after: seconds(parsed.validity().not_after),
            fingerprint: weir_core::tls::fingerprint(der),
            ..Certificate::default()
        })
    }

    /// What it is called in a sentence.
    fn title(&self) -> String {
        let names = match self.names.as_slice() {
            [] => "no name".to_owned(),
            [one] => one.clone(),
            [first, rest @ ..] => format!("{first} and {} more", rest.len()),
        };
        match &self.file {
            Some(file) => format!("{file} ({names})"),
            None => format!("the certificate made at the start ({names})"),
        }
    }

    /// What is to be said of it, by how urgent that is; 0: nothing.
    fn state(&self, now: u64) -> (u8, String) {
        let day = |time: u64| {
            let time = i64::try_from(time).ok().and_then(|time| ASN1Time::from_timestamp(time).ok());
            time.map_or_else(String::new, |time| time.to_datetime().date().to_string())
        };
        if self.not_after < now {
            let text = format!("has expired on {}: it is refused by who checks it", day(self.not_after));
            return (EXPIRED, text);
        }
        if self.not_before > now {
            let text =
                format!("is not valid before {}: it is refused by who checks it", day(self.not_before));
            return (NOT_YET, text);
        }
        let left = self.not_after - now;
        let passed = WARN_AT.iter().filter(|days| left <= **days * DAY).count();
        let text = match left / DAY {
            0 => format!("expires on {}, in less than a day", day(self.not_after)),
            1 => format!("expires on {}, in 1 day", day(self.not_after)),
            days => format!("expires on {}, in {days} days", day(self.not_after)),
        };
        (u8::try_from(passed).unwrap_or(EXPIRED), text)
    }
}

const NOT_YET: u8 = 100;
const EXPIRED: u8 = 101;

/// All certificates of a plan, each once, in the order in which they come.
pub fn certificates(plan: &Plan) -> Vec<Certificate> {
    let mut all: Vec<Certificate> = Vec::new();
    let mut add = |der: &[u8], add_to: &dyn Fn(&mut Certificate)| {
        let print = weir_core::tls::fingerprint(der);
        let at = all.iter().position(|known| known.fingerprint == print);
        let at = at.or_else(|| {
            let read = Certificate::read(der)?;
            let file = plan.certificate_files.get(&print).map(|file| file.display().to_string());
            all.push(Certificate { file, ..read });
            Some(all.len() - 1)
        });
        if let Some(certificate) = at.and_then(|at| all.get_mut(at)) {
            add_to(certificate);
        }
    };
    for listener in &plan.spec.listeners {
        for certificate in listener.tls.iter().flat_map(|tls| &tls.certificates) {
            if let Some(leaf) = certificate.key.cert.first() {
                add(leaf, &|of| of.listeners.push(listener.name.to_string()));
            }
        }
    }
    for upstream in &plan.spec.upstreams {
        let certificate = upstream.tls.as_ref().and_then(|tls| tls.client_certificate.as_ref());
        if let Some(leaf) = certificate.and_then(|key| key.cert.first()) {
            add(leaf, &|of| of.upstreams.push(upstream.name.to_string()));
        }
    }
    all
}

/// What the log was told of which certificate, so that it is told once.
#[derive(Debug, Default)]
pub struct Told(HashMap<String, u8>);

/// Something to be told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// Whether it is refused already, rather than soon.
    pub bad: bool,
    /// The text.
    pub text: String,
}

impl Told {
    /// What is to be told now and was not told before. Certificates that are gone are forgotten.
    pub fn news(&mut self, certificates: &[Certificate], now: SystemTime) -> Vec<Notice> {
        let now = now.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let before = std::mem::take(&mut self.0);
        let mut news = Vec::new();
        for certificate in certificates {
            let (state, text) = certificate.state(now);
            if state > 0 && before.get(&certificate.fingerprint) != Some(&state) {
                let text = format!("{} {text}", certificate.title());
                news.push(Notice { bad: state >= NOT_YET, text });
            }
            self.0.insert(certificate.fingerprint.clone(), state);
        }
        news
    }

    /// Tells the log.
    pub fn look(&mut self, certificates: &[Certificate], now: SystemTime) {
        for Notice { bad, text } in self.news(certificates, now) {
            match bad {
                true => tracing::error!("{text}"),
                false => tracing::warn!("{text}"),
            }
        }
    }
}

/// Looks again and again at what serves. To be spawned; never ends.
pub async fn watch(board: Board) {
    loop {
        tokio::time::sleep(EVERY).await;
        board.look_at_certificates();
    }
}

/// In how many seconds which certificate expires next.
pub fn next(certificates: &[Certificate]) -> Option<(&Certificate, String)> {
    let first = certificates.iter().min_by_key(|certificate| certificate.not_after)?;
    Some((first, first.title()))
}

fn seconds(time: ASN1Time) -> u64 {
    u64::try_from(time.timestamp()).unwrap_or(0)
}

fn names(certificate: &X509Certificate<'_>) -> Vec<String> {
    let Ok(Some(extension)) = certificate.subject_alternative_name() else { return Vec::new() };
    let names = extension.value.general_names.iter();
    names
        .filter_map(|name| match name {
            GeneralName::DNSName(name) => Some(name.to_ascii_lowercase()),
            GeneralName::IPAddress(bytes) => match **bytes {
                [a, b, c, d] => Some(IpAddr::from([a, b, c, d]).to_string()),
                ref bytes => <[u8; 16]>::try_from(bytes).ok().map(|bytes| IpAddr::from(bytes).to_string()),
            },
            _ => None,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A certificate of `a.test` that is valid from day 10 to day 100.
    fn certificate() -> Certificate {
        Certificate {
            names: vec!["a.test".to_owned()],
            not_before: 10 * DAY,
            not_after: 100 * DAY,
            file: Some("a.pem".to_owned()),
            fingerprint: "1".to_owned(),
            ..Certificate::default()
        }
    }

    fn day(day: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(day * DAY)
    }

    #[test]
    fn each_step_on_the_way_to_the_end_is_told_once() {
        let (mut told, all) = (Told::default(), [certificate()]);
        let mut said: Vec<(u64, bool)> = Vec::new();
        for now in 0..110 {
            let news = told.news(&all, day(now));
            said.extend(news.iter().map(|notice| (now, notice.bad)));
        }
        let steps = [(0, true), (70, false), (86, false), (93, false), (97, false), (99, false), (101, true)];
        assert_eq!(said, steps);
    }

    #[test]
    fn what_is_told_names_file_name_and_day() {
        let mut several = certificate();
        several.names.push("b.test".to_owned());
        let made = Certificate { file: None, ..certificate() };
        for (certificate, now, said) in [
            (certificate(), 98, "a.pem (a.test) expires on 1970-04-11, in 2 days"),
            (several, 99, "a.pem (a.test and 1 more) expires on 1970-04-11, in 1 day"),
            (certificate(), 100, "a.pem (a.test) expires on 1970-04-11, in less than a day"),
            (
                made,
                200,
                "the certificate made at the start (a.test) has expired on 1970-04-11: it is refused by who \
                 checks it",
            ),
            (
                certificate(),
                1,
                "a.pem (a.test) is not valid before 1970-01-11: it is refused by who checks it",
            ),
        ] {
            let news = Told::default().news(&[certificate], day(now));
            assert_eq!(news.iter().map(|notice| notice.text.as_str()).collect::<Vec<_>>(), [said]);
        }
    }

    #[test]
    fn another_certificate_is_told_of_anew() {
        let mut told = Told::default();
        assert_eq!(told.news(&[certificate()], day(80)).len(), 1);
        assert_eq!(told.news(&[certificate()], day(80)).len(), 0);
        let renewed = Certificate { fingerprint: "2".to_owned(), not_after: 190 * DAY, ..certificate() };
        assert_eq!(told.news(std::slice::from_ref(&renewed), day(80)).len(), 0);
        assert_eq!(told.news(&[renewed], day(165)).len(), 1);
        assert_eq!(told.news(&[certificate()], day(80)).len(), 1, "it was gone in between");
    }

    #[test]
    fn certificates_of_a_plan_are_told_with_who_uses_them() {
        use weir_core::spec::ServerTls;

        let (made, print) =
            crate::certs::self_signed(&["a.test", "10.0.0.1", "::1"]).expect("it can be made");
        let mut plan = crate::config::load(&crate::config::Source::Embedded).expect("it is good").plan;
        let mut listener = plan.spec.listeners.swap_remove(0);
        listener.tls = Some(ServerTls {
            certificates: vec![made],
            default_certificate: None,
            min_version: weir_core::spec::TlsVersion::Tls13,
            alpn: Vec::new(),
            tickets: false,
            ticket_rotation: Duration::from_secs(1),
            client_auth: Vec::new(),
            challenges: None,
        });
        let other = weir_core::spec::Listener { name: "other".into(), ..listener.clone() };
        let name = listener.name.to_string();
        plan.spec.listeners = vec![listener, other];
        plan.certificate_files.insert(print.clone(), "a.pem".into());
        let [certificate] = certificates(&plan).try_into().expect("it is one");
        assert_eq!(certificate.names, ["a.test", "10.0.0.1", "::1"]);
        assert_eq!(certificate.listeners, [name.as_str(), "other"]);
        assert_eq!((certificate.file.as_deref(), certificate.fingerprint), (Some("a.pem"), print));
    }
}
