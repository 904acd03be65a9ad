//! The status as metrics.

use weir_core::relay::{RelayKind, Totals};
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
        samples.extend(self.server().into_iter().flat_map(|server| carried(&server.carried())));
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

/// What relays have carried.
#[allow(clippy::cast_precision_loss, reason = "exact up to 2^53")]
fn carried(totals: &Totals) -> Vec<Sample> {
    let counter =
        |name, help, labels, n: u64| Sample { name, help, labels, value: n as f64, is_counter: true };
    let kinds = [RelayKind::Spliced, RelayKind::Frames, RelayKind::Messages, RelayKind::Tcp];
    let mut samples: Vec<_> = kinds
        .into_iter()
        .map(|kind| Sample {
            name: "weir_relays_by_kind",
            help: "Open relays, by what is read of them",
            labels: vec![("kind", kind.name().to_owned())],
            value: totals.open.get(&kind).copied().unwrap_or_default() as f64,
            is_counter: false,
        })
        .collect();
    let frames = "Frames of WebSockets that have passed, where they are read";
    let bytes = "Bytes that have passed relays";
    for (name, help, counts) in
        [("weir_websocket_frames", frames, totals.frames), ("weir_relay_bytes", bytes, totals.bytes)]
    {
        let ways = ["to_upstream", "to_client"].into_iter().zip(counts);
        samples.extend(ways.map(|(way, n)| counter(name, help, vec![("direction", way.to_owned())], n)));
    }
    let help = "What was sent into WebSockets and did not fit into their queues";
    samples.push(counter("weir_websocket_dropped", help, Vec::new(), totals.dropped));
    let help = "WebSockets that have ended, where frames are read, by their close code";
    let closes = Totals::CODES.into_iter().zip(totals.closes);
    samples.extend(
        closes.map(|(code, n)| counter("weir_websocket_closes", help, vec![("code", code.to_owned())], n)),
    );
    samples
}
