//! Counters, gauges and histograms.

use std::sync::Arc;

use wasmtime::component::Resource;
use weir_plugin::services::metrics;

use super::Data;
use super::convert::error;
use crate::bindings::imported::metrics::{
    Host, HostCounterSeries, HostGaugeSeries, HostHistogramSeries, Label,
};
use crate::bindings::imported::types::Error as WitError;

/// A number that only grows.
pub struct Counter(Arc<dyn metrics::Counter>);
/// A number that goes up and down.
pub struct Gauge(Arc<dyn metrics::Gauge>);
/// How values are spread.
pub struct Histogram(Arc<dyn metrics::Histogram>);

type Try<T> = wasmtime::Result<Result<T, WitError>>;

fn labels(labels: Vec<Label>) -> metrics::Labels {
    labels.into_iter().map(|label| (label.name, label.value)).collect()
}

impl Data {
    /// Hands a thing to the guest.
    fn made<T: Send + 'static>(&mut self, made: weir_plugin::error::Result<T>) -> Try<Resource<T>> {
        match made {
            Ok(made) => Ok(Ok(self.table.push(made)?)),
            Err(wrong) => Ok(Err(error(wrong))),
        }
    }
}

impl Host for Data {
    fn counter(&mut self, name: String, all: Vec<Label>) -> Try<Resource<Counter>> {
        let made = self.services.metrics.counter(&self.plugin, &name, labels(all)).map(Counter);
        self.made(made)
    }

    fn gauge(&mut self, name: String, all: Vec<Label>) -> Try<Resource<Gauge>> {
        let made = self.services.metrics.gauge(&self.plugin, &name, labels(all)).map(Gauge);
        self.made(made)
    }

    fn histogram(&mut self, name: String, all: Vec<Label>, buckets: Vec<f64>) -> Try<Resource<Histogram>> {
        let made = self.services.metrics.histogram(&self.plugin, &name, labels(all), &buckets).map(Histogram);
        self.made(made)
    }
}

impl HostCounterSeries for Data {
    fn add(&mut self, of: Resource<Counter>, n: f64) -> Try<()> {
        Ok(self.table.get(&of)?.0.add(n).map_err(error))
    }

    fn drop(&mut self, of: Resource<Counter>) -> wasmtime::Result<()> {
        self.table.delete(of)?;
        Ok(())
    }
}

impl HostGaugeSeries for Data {
    fn set(&mut self, of: Resource<Gauge>, n: f64) -> Try<()> {
        Ok(self.table.get(&of)?.0.set(n).map_err(error))
    }

    fn add(&mut self, of: Resource<Gauge>, n: f64) -> Try<()> {
        Ok(self.table.get(&of)?.0.add(n).map_err(error))
    }

    fn drop(&mut self, of: Resource<Gauge>) -> wasmtime::Result<()> {
        self.table.delete(of)?;
        Ok(())
    }
}

impl HostHistogramSeries for Data {
    fn observe(&mut self, of: Resource<Histogram>, n: f64) -> Try<()> {
        Ok(self.table.get(&of)?.0.observe(n).map_err(error))
    }

    fn drop(&mut self, of: Resource<Histogram>) -> wasmtime::Result<()> {
        self.table.delete(of)?;
        Ok(())
    }
}
