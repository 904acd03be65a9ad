//! What is told at the end: a table, JSON, and whether all is well.

use std::fmt::Write as _;
use std::time::Duration;

use serde_json::{Value, json};

use crate::change::Changes;
use crate::count::{Kind, Requests, SocketFigures};
use crate::memory::Memory;

/// All figures of a soak.
#[derive(Debug, Clone, Default)]
pub(crate) struct Report {
    /// The proxy.
    pub(crate) proxy: String,
    /// How many changes were asked for.
    pub(crate) reloads: u64,
    /// The most changes in a second.
    pub(crate) rate: f64,
    /// How long it took to make them.
    pub(crate) time: Duration,
    /// Why it ended before they were made.
    pub(crate) broke_off: Option<String>,
    /// Requests, in the order of [`Kind::ALL`], of the kinds that were asked for.
    pub(crate) requests: Vec<(&'static str, Requests)>,
    /// WebSockets.
    pub(crate) sockets: SocketFigures,
    /// How many WebSockets were asked for at a time.
    pub(crate) websockets: usize,
    /// Changes.
    pub(crate) changes: Changes,
    /// Answers and handshakes that came of broken changes.
    pub(crate) of_broken: u64,
    /// Memory before the first change, after each quarter of them, and after the last.
    pub(crate) memory: Vec<(&'static str, Memory)>,
    /// The most processes at a time.
    pub(crate) most_processes: usize,
}

impl Report {
    /// What is wrong; nothing, if all is well.
    pub(crate) fn faults(&self) -> Vec<String> {
        let changes = &self.changes;
        let mut faults: Vec<String> =
            self.broke_off.iter().map(|why| format!("it broke off: {why}")).collect();
        let mut at_most_none = |count: u64, what: &str| {
            if count > 0 {
                faults.push(format!("{count} {what}"));
            }
        };
        for (kind, requests) in &self.requests {
            at_most_none(requests.failed, &format!("requests failed ({kind})"));
        }
        at_most_none(self.sockets.lost, "WebSockets were lost");
        at_most_none(self.sockets.unopened, "WebSockets could not be opened");
        at_most_none(changes.failed, "changes did not serve, or were not told to");
        at_most_none(changes.broken.saturating_sub(changes.reported), "broken changes were not reported");
        at_most_none(changes.applied, "broken changes were applied");
        at_most_none(self.of_broken, "answers came of broken changes");
        // Without load nothing can fail.
        for (kind, requests) in &self.requests {
            if requests.made == 0 {
                faults.push(format!("no request was answered ({kind})"));
            }
        }
        if self.sockets.opened < self.websockets as u64 {
            let SocketFigures { opened, .. } = self.sockets;
            faults.push(format!("{opened} of {} WebSockets were opened", self.websockets));
        }
        if changes.made() < self.reloads {
            faults.push(format!("{} of {} changes were made", changes.made(), self.reloads));
        }
        if self.sockets.open() > 0 {
            faults.push(format!("{} WebSockets were still open at the end", self.sockets.open()));
        }
        faults
    }

    /// For people.
    pub(crate) fn text(&self) -> String {
        let mut out = String::new();
        let seconds = self.time.as_secs_f64();
        let _ = writeln!(out, "{}: {} changes in {seconds:.0} s\n", self.proxy, self.changes.made());
        let _ = writeln!(
            out,
            "{:24}{:>10}{:>10}{:>12}{:>10}",
            "requests", "made", "failed", "retriable", "stale"
        );
        for (kind, Requests { made, failed, retriable, stale, .. }) in &self.requests {
            let _ = writeln!(out, "{kind:24}{made:>10}{failed:>10}{retriable:>12}{stale:>10}");
        }
        let SocketFigures { opened, unopened, closed, lost, messages, .. } = &self.sockets;
        let _ = writeln!(
            out,
            "\nWebSockets               {opened} opened, {unopened} not opened, {closed} closed, {lost} lost, {messages} messages"
        );
        let Changes { published, failed, broken, reported, applied, .. } = &self.changes;
        let _ = writeln!(out, "changes                  {published} published, {failed} failed");
        let _ =
            writeln!(out, "broken changes           {broken} made, {reported} reported, {applied} applied");
        if let (Some(p50), Some(p99), Some(most)) = (self.time_at(0.5), self.time_at(0.99), self.time_at(1.0))
        {
            let _ = writeln!(
                out,
                "until a change serves    p50 {p50:.1} ms, p99 {p99:.1} ms, longest {most:.1} ms"
            );
        }
        self.memory_table(&mut out);
        self.reasons(&mut out);
        let faults = self.faults();
        for fault in &faults {
            let _ = writeln!(out, "FAILED: {fault}");
        }
        if faults.is_empty() {
            out.push_str("all is well: nothing failed, nothing was lost, nothing broken was applied\n");
        }
        out
    }

    fn memory_table(&self, out: &mut String) {
        let mut rows = [
            format!("\n{:24}", "memory"),
            format!("{:24}", "PSS, MiB"),
            format!("{:24}", "RSS, MiB"),
            format!("{:24}", "processes"),
        ];
        for (when, Memory { processes, pss, rss }) in &self.memory {
            let cells = [(*when).to_owned(), mib(*pss), mib(*rss), processes.to_string()];
            for (row, cell) in rows.iter_mut().zip(cells) {
                let _ = write!(row, "{cell:>10}");
            }
        }
        let _ = writeln!(out, "{}  (most at a time: {})\n", rows.join("\n"), self.most_processes);
    }

    fn reasons(&self, out: &mut String) {
        let requests = self.requests.iter().map(|(kind, requests)| (*kind, &requests.reasons));
        let sockets = [("WebSockets", &self.sockets.reasons), ("changes", &self.changes.problems)];
        for (what, reasons) in requests.chain(sockets) {
            for reason in reasons {
                let _ = writeln!(out, "{what}: {reason}");
            }
        }
    }

    /// A quantile of the times until changes served, in milliseconds.
    fn time_at(&self, quantile: f64) -> Option<f64> {
        time_at(&self.changes.times, quantile)
    }

    /// For programs.
    pub(crate) fn json(&self) -> Value {
        let requests: serde_json::Map<String, Value> = self
            .requests
            .iter()
            .map(|(kind, Requests { made, failed, retriable, stale, reasons })| {
                let figures = json!({
                    "made": made, "failed": failed, "retriable": retriable, "stale": stale, "reasons": reasons,
                });
                ((*kind).to_owned(), figures)
            })
            .collect();
        let memory: Vec<_> = self
            .memory
            .iter()
            .map(|(when, Memory { processes, pss, rss })| {
                json!({ "when": when, "processes": processes, "pss_kib": pss, "rss_kib": rss })
            })
            .collect();
        let SocketFigures { opened, unopened, closed, lost, messages, reasons } = &self.sockets;
        let Changes { published, failed, broken, reported, applied, problems, .. } = &self.changes;
        json!({
            "proxy": self.proxy,
            "reloads": self.reloads,
            "rate": self.rate,
            "seconds": self.time.as_secs_f64(),
            "requests": requests,
            "websockets": {
                "held": self.websockets, "opened": opened, "not_opened": unopened, "closed": closed, "lost": lost,
                "messages": messages, "reasons": reasons,
            },
            "changes": {
                "published": published, "failed": failed, "broken": broken, "reported": reported,
                "applied": applied, "answers_of_broken": self.of_broken, "problems": problems,
                "serve_ms": { "p50": self.time_at(0.5), "p99": self.time_at(0.99), "max": self.time_at(1.0) },
            },
            "memory": memory,
            "most_processes": self.most_processes,
            "faults": self.faults(),
        })
    }
}

/// The kinds of requests that a soak makes.
pub(crate) fn kinds(side: bool) -> impl Iterator<Item = Kind> {
    Kind::ALL.into_iter().filter(move |kind| side || *kind != Kind::Side)
}

fn mib(kib: u64) -> String {
    format!("{:.1}", kib as f64 / 1024.0)
}

/// A quantile of times, in milliseconds.
pub(crate) fn time_at(times: &[Duration], quantile: f64) -> Option<f64> {
    let mut times = times.to_vec();
    times.sort_unstable();
    let last = times.len().checked_sub(1)?;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a place in the list")]
    let at = (quantile * last as f64).ceil() as usize;
    Some(times.get(at)?.as_secs_f64() * 1000.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn good() -> Report {
        let made = |made| Requests { made, ..Requests::default() };
        Report {
            proxy: "weir".to_owned(),
            reloads: 11,
            requests: vec![("HTTP/1.1", made(5)), ("downloads", made(1))],
            sockets: SocketFigures { opened: 7, closed: 7, ..SocketFigures::default() },
            websockets: 5,
            changes: Changes { published: 10, broken: 1, reported: 1, ..Changes::default() },
            ..Report::default()
        }
    }

    #[test]
    fn what_is_well_has_no_faults() {
        assert_eq!(good().faults(), Vec::<String>::new());
        assert!(good().text().contains("all is well"));
    }

    #[test]
    fn every_fault_is_one() {
        type Spoil = fn(&mut Report);
        let spoils: &[(&str, Spoil)] = &[
            ("1 requests failed (downloads)", |report| report.requests[1].1.failed = 1),
            ("no request was answered (HTTP/1.1)", |report| report.requests[0].1.made = 0),
            ("1 WebSockets were lost", |report| {
                report.sockets.closed -= 1;
                report.sockets.lost = 1;
            }),
            ("2 WebSockets could not be opened", |report| report.sockets.unopened = 2),
            ("7 of 8 WebSockets were opened", |report| report.websockets = 8),
            ("1 WebSockets were still open at the end", |report| report.sockets.closed -= 1),
            ("1 changes did not serve, or were not told to", |report| {
                report.changes.published -= 1;
                report.changes.failed = 1;
            }),
            ("10 of 11 changes were made", |report| report.changes.published -= 1),
            ("1 broken changes were not reported", |report| report.changes.reported = 0),
            ("1 broken changes were applied", |report| report.changes.applied = 1),
            ("3 answers came of broken changes", |report| report.of_broken = 3),
            ("it broke off: no disk", |report| report.broke_off = Some("no disk".to_owned())),
        ];
        for (fault, spoil) in spoils {
            let mut report = good();
            spoil(&mut report);
            assert_eq!(report.faults(), [*fault]);
            assert!(report.text().contains(&format!("FAILED: {fault}")));
            assert_eq!(report.json()["faults"], json!([fault]));
        }
    }

    #[test]
    fn times_are_told_by_quantiles() {
        let mut report = good();
        assert_eq!(report.time_at(0.5), None);
        report.changes.times = (1..=100).rev().map(Duration::from_millis).collect();
        let times = [0.0, 0.5, 0.99, 1.0].map(|quantile| report.time_at(quantile));
        assert_eq!(times, [Some(1.0), Some(51.0), Some(100.0), Some(100.0)]);
    }
}
