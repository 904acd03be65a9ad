//! Certificates that were replaced in their files, while the rest of the configuration stays what it is.

use std::path::Path;

use weir_core::spec::Certificate;

use crate::acme::store::{Kept, kept};
use crate::certs;
use crate::config::inputs::Inputs;
use crate::run::Plan;

/// Which certificates are looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Which {
    /// All that were read from files.
    All,
    /// Those of an authority.
    Authority,
}

/// This plan with the certificates that are in its files now; none where it has these already. What cannot be read
/// stays what it is.
pub(super) fn renewed(plan: &Plan, which: Which) -> Option<Plan> {
    let mut new = plan.clone();
    let mut changed = false;
    let wanted = plan.acme.iter().flat_map(|acme| &acme.wanted);
    let of_authority: Vec<&Path> = wanted.map(|wanted| wanted.file.as_path()).collect();
    for (print, file) in &plan.certificate_files {
        if which == Which::Authority && !of_authority.contains(&file.as_path()) {
            continue;
        }
        let key = plan.key_files.get(file).unwrap_or(file);
        let mut inputs = new.inputs.clone();
        inputs.read_anew(file);
        inputs.read_anew(key);
        match certs::load_certificate(file, key) {
            Ok(certificate) => changed |= replace(&mut new, inputs, print, &certificate, file),
            Err(error) => {
                let (file, problem) = (error.file.display(), &error.problem);
                tracing::warn!("{file} {problem}: the certificate of before serves on");
            }
        }
    }
    for placeholder in &plan.placeholders {
        let mut inputs = new.inputs.clone();
        inputs.read_anew(&placeholder.wanted.file);
        let Kept::Certificate(certificate) = kept(&placeholder.wanted) else { continue };
        let file = &placeholder.wanted.file;
        if replace(&mut new, inputs, &placeholder.fingerprint, &certificate, file) {
            changed = true;
            for tls in new.spec.listeners.iter_mut().filter_map(|listener| listener.tls.as_mut()) {
                let now = print_of(&certificate);
                if tls.certificates.iter().any(|served| print_of(served) == now) {
                    let is_stand_in = |of: &String| placeholder.stand_ins.contains(of);
                    tls.certificates.retain(|served| !print_of(served).as_ref().is_some_and(is_stand_in));
                }
            }
            new.placeholders.retain(|other| other.wanted != placeholder.wanted);
        }
    }
    changed.then_some(new)
}

/// Puts a certificate, and what its file is now, where one with this fingerprint is. Whether it is another.
fn replace(plan: &mut Plan, inputs: Inputs, print: &String, certificate: &Certificate, file: &Path) -> bool {
    let Some(now) = print_of(certificate).filter(|now| now != print) else { return false };
    for tls in plan.spec.listeners.iter_mut().filter_map(|listener| listener.tls.as_mut()) {
        for served in tls.certificates.iter_mut().filter(|served| print_of(served).as_ref() == Some(print)) {
            *served = certificate.clone();
        }
    }
    for tls in plan.spec.upstreams.iter_mut().filter_map(|upstream| upstream.tls.as_mut()) {
        if let Some(shown) = &mut tls.client_certificate
            && key_print(shown).as_ref() == Some(print)
        {
            *shown = certificate.key.clone();
        }
    }
    plan.inputs = inputs;
    plan.certificate_files.remove(print);
    plan.certificate_files.insert(now, file.to_path_buf());
    true
}

fn print_of(certificate: &Certificate) -> Option<String> {
    key_print(&certificate.key)
}

fn key_print(key: &rustls::sign::CertifiedKey) -> Option<String> {
    key.cert.first().map(|leaf| weir_core::tls::fingerprint(leaf))
}
