//! Metrics of plugins: what may be measured, by which names.

use std::fmt::Debug;
use std::sync::Arc;

use crate::error::{Error, Result};

/// Label names and values.
pub type Labels = Vec<(String, String)>;

/// The longest name of a metric or a label, in bytes.
const LONGEST_NAME: usize = 64;
/// The longest value of a label, in bytes.
const LONGEST_VALUE: usize = 256;
/// The most labels of a metric.
const MOST_LABELS: usize = 8;
/// The most buckets of a histogram.
const MOST_BUCKETS: usize = 32;
/// What exposition formats put behind names themselves.
const SUFFIXES: [&str; 5] = ["_total", "_count", "_sum", "_bucket", "_created"];
/// Labels that weir or an exposition format sets.
const TAKEN: [&str; 4] = ["plugin", "overflow", "le", "quantile"];

/// The upper bounds of a histogram that names none: seconds of requests.
pub const BUCKETS: [f64; 11] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

/// Formats of an exposition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exposition {
    /// Prometheus text, version 0.0.4.
    Prometheus,
    /// OpenMetrics text, version 1.0.0.
    OpenMetrics,
}

/// Counts and measures for operators. Everything is shared by all workers, and lives until the end of the process.
pub trait Metrics: Debug + Send + Sync {
    /// The counter of a plugin with this name and these labels. All of a name are of one kind, in all plugins. Past a
    /// bound on how many labels a plugin has made, it is one with the label `overflow="true"` alone.
    ///
    /// # Errors
    /// [`Error::Invalid`] for the name, the labels, or where the name is of another kind.
    fn counter(&self, plugin: &str, name: &str, labels: Labels) -> Result<Arc<dyn Counter>>;
    /// As [`Metrics::counter`].
    ///
    /// # Errors
    /// The same.
    fn gauge(&self, plugin: &str, name: &str, labels: Labels) -> Result<Arc<dyn Gauge>>;
    /// As [`Metrics::counter`], with upper bounds of buckets; none: [`BUCKETS`].
    ///
    /// # Errors
    /// The same, and [`Error::Invalid`] for buckets, and where the plugin gave the name others before.
    fn histogram(
        &self,
        plugin: &str,
        name: &str,
        labels: Labels,
        buckets: &[f64],
    ) -> Result<Arc<dyn Histogram>>;
    /// All there is, of plugins and of weir. Takes milliseconds where there is much.
    fn expose(&self, format: Exposition) -> String;
}

/// A number that only grows.
pub trait Counter: Debug + Send + Sync {
    /// Adds to it.
    ///
    /// # Errors
    /// [`Error::Invalid`] for less than zero, and for what is no number.
    fn add(&self, n: f64) -> Result<()>;
}

/// A number that goes up and down.
pub trait Gauge: Debug + Send + Sync {
    /// Sets it.
    ///
    /// # Errors
    /// [`Error::Invalid`] for what is no number.
    fn set(&self, n: f64) -> Result<()>;
    /// Adds to it, or takes away.
    ///
    /// # Errors
    /// [`Error::Invalid`] for what is no number.
    fn add(&self, n: f64) -> Result<()>;
}

/// How values are spread.
pub trait Histogram: Debug + Send + Sync {
    /// Counts a value.
    ///
    /// # Errors
    /// [`Error::Invalid`] for what is no number.
    fn observe(&self, n: f64) -> Result<()>;
}

/// Refuses what is no name of a metric, and labels that cannot be. Labels are in order afterwards.
///
/// # Errors
/// [`Error::Invalid`] says what would be right.
pub fn check_series(name: &str, labels: &mut Labels) -> Result<()> {
    if !is_name(name) {
        return Err(Error::invalid(format!("{name:?} is no name of a metric: {NAME}")));
    }
    if let Some(suffix) = SUFFIXES.iter().find(|suffix| name.ends_with(*suffix)) {
        return Err(Error::invalid(format!("{name:?} ends in {suffix}, which is added where it belongs")));
    }
    if labels.len() > MOST_LABELS {
        return Err(Error::invalid(format!("a metric has at most {MOST_LABELS} labels")));
    }
    for (label, value) in labels.iter() {
        if !is_name(label) || label.starts_with("__") {
            return Err(Error::invalid(format!("{label:?} is no name of a label: {NAME}")));
        }
        if TAKEN.contains(&label.as_str()) {
            return Err(Error::invalid(format!("the label {label:?} is set by weir")));
        }
        if value.len() > LONGEST_VALUE {
            return Err(Error::TooLarge(LONGEST_VALUE as u64));
        }
    }
    labels.sort();
    match labels.windows(2).find(|pair| matches!(pair, [(a, _), (b, _)] if a == b)) {
        Some(_) => Err(Error::invalid("a label is there twice")),
        None => Ok(()),
    }
}

/// Refuses buckets that are not in order.
///
/// # Errors
/// [`Error::Invalid`] says what would be right.
pub fn check_buckets(buckets: &[f64]) -> Result<()> {
    let in_order = buckets.windows(2).all(|pair| matches!(pair, [a, b] if a < b));
    match in_order && buckets.len() <= MOST_BUCKETS && buckets.iter().all(|bound| bound.is_finite()) {
        true => Ok(()),
        false => {
            Err(Error::invalid(format!("buckets are at most {MOST_BUCKETS} upper bounds, the lowest first")))
        }
    }
}

/// Refuses what is not finite.
///
/// # Errors
/// [`Error::Invalid`].
pub fn check_number(n: f64) -> Result<f64> {
    match n.is_finite() {
        true => Ok(n),
        false => Err(Error::invalid(format!("{n} cannot be measured"))),
    }
}

/// What a name is.
const NAME: &str = "lower-case letters, digits and underscores, a letter first, at most 64";

fn is_name(name: &str) -> bool {
    name.len() <= LONGEST_NAME
        && name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_labels_are_checked() {
        let check = |name: &str, labels: &[(&str, &str)]| {
            let mut labels = labels.iter().map(|&(name, value)| (name.into(), value.into())).collect();
            check_series(name, &mut labels).map(|()| labels)
        };
        assert!(check("requests", &[]).is_ok());
        let sorted = check("requests_2", &[("b", "1"), ("a", "")]).expect("they are right");
        assert_eq!(sorted.first().map(|(name, _)| name.as_str()), Some("a"));
        let long = "x".repeat(65);
        for (name, labels, expected) in [
            ("", &[][..], "no name of a metric"),
            ("Requests", &[], "no name of a metric"),
            ("2xx", &[], "no name of a metric"),
            ("a-b", &[], "no name of a metric"),
            ("a\nb", &[], "no name of a metric"),
            (&long, &[], "no name of a metric"),
            ("requests_total", &[], "ends in _total"),
            ("requests", &[("__a", "")], "no name of a label"),
            ("requests", &[("a b", "")], "no name of a label"),
            ("requests", &[("plugin", "other")], "set by weir"),
            ("requests", &[("le", "1")], "set by weir"),
            ("requests", &[("a", "1"), ("a", "2")], "there twice"),
            ("requests", &[("a", "1"); 9], "at most 8 labels"),
            ("requests", &[("a", &"x".repeat(257))], "too large"),
        ] {
            let error = check(name, labels).expect_err(expected).to_string();
            assert!(error.contains(expected), "{expected:?} is not in {error:?}");
        }
        assert!(check_buckets(&BUCKETS).is_ok() && check_buckets(&[]).is_ok());
        for wrong in [&[1.0, 1.0][..], &[2.0, 1.0], &[f64::NAN], &[1.0, f64::INFINITY]] {
            assert!(check_buckets(wrong).is_err(), "{wrong:?}");
        }
        assert!(check_number(f64::NAN).is_err() && check_number(-1.0).is_ok());
    }
}
