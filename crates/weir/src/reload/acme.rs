//! Certificates of an authority over a reload.

use weir_core::spec::{Certificate, Spec};

use crate::config::lower::Placeholder;
use crate::run::Plan;

/// Where what is kept of an authority's certificate cannot be read, or is not there, what served before goes on.
pub(super) fn keep(old: &Plan, new: &mut Plan) {
    let print =
        |certificate: &Certificate| certificate.key.cert.first().map(|c| weir_core::tls::fingerprint(c));
    let certificates = |plan: &Spec| {
        let tls = plan.listeners.iter().filter_map(|listener| listener.tls.as_ref());
        tls.flat_map(|tls| tls.certificates.clone()).collect::<Vec<_>>()
    };
    let served = certificates(&old.spec);
    for placeholder in std::mem::take(&mut new.placeholders) {
        let file = &placeholder.wanted.file;
        let read = old.certificate_files.iter().find(|(_, of)| *of == file).map(|(print, _)| print.clone());
        let made = old.placeholders.iter().find(|old| old.wanted == placeholder.wanted);
        let before = read.as_ref().or(made.map(|made| &made.fingerprint));
        let Some(kept) = served.iter().find(|served| print(served).as_ref() == before) else {
            new.placeholders.push(placeholder);
            continue;
        };
        for tls in new.spec.listeners.iter_mut().filter_map(|listener| listener.tls.as_mut()) {
            let is = |certificate: &Certificate, of: &String| print(certificate).as_ref() == Some(of);
            let Some(at) = tls.certificates.iter().position(|c| is(c, &placeholder.fingerprint)) else {
                continue;
            };
            if let Some(certificate) = tls.certificates.get_mut(at) {
                *certificate = kept.clone();
            }
            if read.is_some() {
                tls.certificates.retain(|c| !placeholder.stand_ins.iter().any(|of| is(c, of)));
            }
        }
        match (read, made) {
            (Some(print), _) => {
                new.certificate_files.insert(print, placeholder.wanted.file);
            }
            (None, made) => {
                let fingerprint = made.map_or(placeholder.fingerprint, |made| made.fingerprint.clone());
                new.placeholders.push(Placeholder { fingerprint, ..placeholder });
            }
        }
    }
}
