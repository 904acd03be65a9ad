//! What is told at the end: a table, JSON, and whether all is well.

use std::fmt::Write as _;
use std::time::Duration;

use serde_json::{Value, json};

use super::count::Figures;
use crate::memory::Memory;
use crate::report::time_at;

/// All figures of a soak of relays that go over.
#[derive(Debug, Clone, Default)]
pub(crate) struct Report {
    /// How many changes were asked for.
    pub(super) reloads: u64,
    /// How many relays were asked for.
    pub(super) relays: usize,
    /// How long all changes took.
    pub(super) time: Duration,
    /// Why it ended before they were made.
    pub(super) broke_off: Option<String>,
    /// From the write of each change to weir's telling that it serves.
    pub(super) published: Vec<Duration>,
    /// From the same to weir's telling that no relay goes by an earlier one.
    pub(super) over: Vec<Duration>,
    /// From the same to the moment at which both ends of all relays had a message of it.
    pub(super) seen: Vec<Duration>,
    /// Messages and relays.
    pub(super) figures: Figures,
    /// Memory before the first change, after each quarter of them, and after the last.
    pub(super) memory: Vec<(&'static str, Memory)>,
}

impl Figures {
    /// Messages and what is wrong with them, in one line.
    pub(super) fn line(&self) -> String {
        let Figures { to_upstream, to_client, lost, again, counters, back, garbled, broken, .. } = self;
        format!(
            "{to_upstream} messages to the upstream, {to_client} to the client: {lost} lost, {again} again or out of order, \
             {counters} with a wrong counter, {back} by an older script, {garbled} garbled; {broken} relays broken"
        )
    }
}

impl Report {
    /// What is wrong; nothing, if all is well.
    pub(crate) fn faults(&self) -> Vec<String> {
        let Figures {
            to_upstream,
            to_client,
            lost,
            again,
            counters,
            back,
            garbled,
            opened,
            closed,
            broken,
            ..
        } = &self.figures;
        let mut faults: Vec<String> =
            self.broke_off.iter().map(|why| format!("it broke off: {why}")).collect();
        for (count, what) in [
            (lost, "messages were lost"),
            (again, "messages came twice or out of order"),
            (counters, "messages had a wrong counter"),
            (back, "messages went through an older script than one before them"),
            (garbled, "messages were garbled"),
            (broken, "relays broke off"),
        ] {
            if *count > 0 {
                faults.push(format!("{count} {what}"));
            }
        }
        let relays = self.relays as u64;
        if *opened != relays || *closed != relays {
            faults.push(format!("{opened} of {relays} relays were opened, {closed} closed"));
        }
        // Without messages nothing can fail.
        if *to_upstream.min(to_client) < relays * (self.reloads + 1) {
            faults.push(format!(
                "there were only {to_upstream} messages to the upstream, {to_client} to the client"
            ));
        }
        if (self.seen.len() as u64) < self.reloads {
            faults.push(format!("{} of {} changes were made", self.seen.len(), self.reloads));
        }
        faults
    }

    /// For people.
    pub(crate) fn text(&self) -> String {
        let mut out = String::new();
        let seconds = self.time.as_secs_f64();
        let _ = writeln!(out, "{} changes in {seconds:.0} s, {} relays\n", self.seen.len(), self.relays);
        let _ = writeln!(out, "{}\n", self.figures.line().replace(": ", ":\n").replace("; ", "\n"));
        for (times, what) in [
            (&self.published, "until a change serves"),
            (&self.over, "until the last relay is over"),
            (&self.seen, "until both ends of all saw it"),
        ] {
            let [p50, p99, most] = quantiles(times).map(|time| time.unwrap_or(f64::NAN));
            let _ = writeln!(out, "{what:30} p50 {p50:.1} ms, p99 {p99:.1} ms, longest {most:.1} ms");
        }
        let _ = write!(out, "{:30}", "memory, PSS");
        for (when, Memory { pss, .. }) in &self.memory {
            let _ = write!(out, " {when} {:.1} MiB", *pss as f64 / 1024.0);
        }
        out.push_str("\n\n");
        for problem in &self.figures.problems {
            let _ = writeln!(out, "{problem}");
        }
        let faults = self.faults();
        for fault in &faults {
            let _ = writeln!(out, "FAILED: {fault}");
        }
        if faults.is_empty() {
            out.push_str("all is well: no message and no counter was lost, and no relay\n");
        }
        out
    }

    /// For programs.
    pub(crate) fn json(&self) -> Value {
        let times = |times: &[Duration]| {
            let [p50, p99, max] = quantiles(times);
            json!({ "p50": p50, "p99": p99, "max": max })
        };
        let memory: Vec<_> =
            self.memory.iter().map(|(when, memory)| json!({ "when": when, "pss_kib": memory.pss })).collect();
        let Figures {
            to_upstream,
            to_client,
            lost,
            again,
            counters,
            back,
            garbled,
            opened,
            closed,
            broken,
            problems,
        } = &self.figures;
        json!({
            "reloads": self.reloads,
            "changes": self.seen.len(),
            "seconds": self.time.as_secs_f64(),
            "relays": { "held": self.relays, "opened": opened, "closed": closed, "broken": broken },
            "messages": {
                "to_upstream": to_upstream, "to_client": to_client, "lost": lost, "again": again,
                "wrong_counter": counters, "older_script": back, "garbled": garbled, "problems": problems,
            },
            "ms": {
                "published": times(&self.published), "over": times(&self.over), "seen": times(&self.seen),
            },
            "memory": memory,
            "faults": self.faults(),
        })
    }
}

/// Median, 99th percentile and the most, in milliseconds.
fn quantiles(times: &[Duration]) -> [Option<f64>; 3] {
    [0.5, 0.99, 1.0].map(|quantile| time_at(times, quantile))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn good() -> Report {
        let figures = Figures { to_upstream: 15, to_client: 16, opened: 5, closed: 5, ..Figures::default() };
        Report {
            reloads: 2,
            relays: 5,
            seen: vec![Duration::from_millis(3); 2],
            figures,
            ..Report::default()
        }
    }

    #[test]
    fn every_fault_is_one() {
        assert_eq!(good().faults(), Vec::<String>::new());
        assert!(good().text().contains("all is well"));
        type Spoil = fn(&mut Report);
        let spoils: &[(&str, Spoil)] = &[
            ("3 messages were lost", |report| report.figures.lost = 3),
            ("1 messages came twice or out of order", |report| report.figures.again = 1),
            ("1 messages had a wrong counter", |report| report.figures.counters = 1),
            ("1 messages went through an older script than one before them", |report| {
                report.figures.back = 1
            }),
            ("1 messages were garbled", |report| report.figures.garbled = 1),
            ("1 relays broke off", |report| report.figures.broken = 1),
            ("5 of 5 relays were opened, 4 closed", |report| report.figures.closed = 4),
            ("there were only 14 messages to the upstream, 16 to the client", |report| {
                report.figures.to_upstream = 14;
            }),
            ("1 of 2 changes were made", |report| report.seen.truncate(1)),
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
        assert_eq!(quantiles(&[]), [None; 3]);
        let times: Vec<_> = (1..=200).rev().map(Duration::from_millis).collect();
        assert_eq!(quantiles(&times), [Some(101.0), Some(199.0), Some(200.0)]);
    }
}
