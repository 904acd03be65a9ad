//! What operators see of a plugin: counters, gauges and histograms, shared by all workers.

use crate::Error;
use crate::bindings::weir::plugin::metrics::Label;
use crate::sys::metrics;
pub use crate::sys::metrics::{CounterSeries as Counter, GaugeSeries as Gauge, HistogramSeries as Histogram};

fn series(labels: &[(&str, &str)]) -> Vec<Label> {
    labels
        .iter()
        .map(|(name, value)| Label { name: (*name).to_owned(), value: (*value).to_owned() })
        .collect()
}

/// The counter with this name and these labels, a number that only grows. Errors: `Invalid`, `TooLarge`.
pub fn counter(name: &str, labels: &[(&str, &str)]) -> Result<Counter, Error> {
    metrics::counter(name, &series(labels))
}

/// The gauge with this name and these labels, a number that goes up and down. Errors: `Invalid`, `TooLarge`.
pub fn gauge(name: &str, labels: &[(&str, &str)]) -> Result<Gauge, Error> {
    metrics::gauge(name, &series(labels))
}

/// The histogram with this name and these labels: how values are spread. `buckets` are at most 32 upper bounds, the lowest
/// first, the same for all of a name; none: 0.005 to 10, which are seconds of requests. Errors: `Invalid`, `TooLarge`.
pub fn histogram(name: &str, labels: &[(&str, &str)], buckets: &[f64]) -> Result<Histogram, Error> {
    metrics::histogram(name, &series(labels), buckets)
}
