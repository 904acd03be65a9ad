//! The status as metrics.

use weir_services::{Sample, Shown};

use super::Board;

impl Shown for Board {
    fn samples(&self) -> Vec<Sample> {
        let status = self.status();
        #[allow(clippy::cast_precision_loss, reason = "exact up to 2^53")]
        let number = |n: u64| n as f64;
        let gauge = |name, help, labels, value| Sample { name, help, labels, value, is_counter: false };
        let mut samples = vec![
            gauge(
                "weir_start_time_seconds",
                "When the process was started, in seconds since 1970",
                Vec::new(),
                number(status.started),
            ),
            gauge("weir_generation", "The configuration that serves", Vec::new(), number(status.generation)),
            gauge(
                "weir_generation_time_seconds",
                "Since when it serves, in seconds since 1970",
                Vec::new(),
                number(status.generation_since),
            ),
        ];
        samples.extend(self.counts().map(|(outcome, count)| Sample {
            name: "weir_config_changes",
            help: "Configurations that were read again, by what came of them",
            labels: vec![("outcome", outcome.to_string())],
            value: number(count),
            is_counter: true,
        }));
        let help = "Connections of clients that are open";
        samples.push(gauge("weir_connections", help, Vec::new(), number(status.connections as u64)));
        let help = "Open WebSockets and connections of layer 4";
        samples.push(gauge("weir_relays", help, Vec::new(), number(status.relays as u64)));
        let help = "Earlier generations that something under way still goes by";
        samples.push(gauge("weir_generations_held", help, Vec::new(), number(status.held.len() as u64)));
        let mut held: Vec<(&str, usize)> = Vec::new();
        for (route, relays) in status.held.iter().flat_map(|held| &held.relays) {
            match held.iter_mut().find(|(known, _)| known == route) {
                Some((_, sum)) => *sum += relays,
                None => held.push((route, *relays)),
            }
        }
        samples.extend(held.into_iter().map(|(route, relays)| {
            let labels = vec![("route", route.to_owned())];
            gauge(
                "weir_relays_held",
                "Relays of earlier generations, by route",
                labels,
                number(relays as u64),
            )
        }));
        samples.extend(status.certificates.iter().map(|certificate| {
            let labels = vec![
                ("names", certificate.names.join(",")),
                ("file", certificate.file.clone().unwrap_or_default()),
                ("fingerprint", certificate.fingerprint.clone()),
            ];
            let help = "When a certificate expires, in seconds since 1970";
            gauge("weir_certificate_expiry_seconds", help, labels, number(certificate.not_after))
        }));
        samples
    }
}
