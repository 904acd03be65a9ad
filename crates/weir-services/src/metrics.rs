//! Counters, gauges and histograms of plugins, and how they are shown. How many there may be is bounded here; the
//! values themselves and the formats are of the crate `prometheus-client`.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, PoisonError, RwLock};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _, prometheus_text, text};
use prometheus_client::metrics::counter::{ConstCounter, Counter};
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::{MetricType, TypedMetric as _};
use prometheus_client::registry::Registry;
use weir_plugin::error::{Error, Result};
use weir_plugin::services::metrics::{self, BUCKETS, Exposition, Labels};

use crate::kv::LocalStore;

/// The most series of one plugin, those of its overflow not counted.
const MOST_SERIES: usize = 1000;
/// The most names of one plugin.
const MOST_NAMES: usize = 100;

type Count = Counter<f64, AtomicU64>;
type Level = Gauge<f64, AtomicU64>;

/// All metrics of this process.
pub(crate) struct Measures {
    families: Arc<Families>,
    exposed: Registry,
}

impl fmt::Debug for Measures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Measures").finish_non_exhaustive()
    }
}

/// A program that is shown beside plugins and the key-value store.
pub trait Shown: fmt::Debug + Send + Sync {
    /// How it stands now. Those of one name stand together and are of one kind.
    fn samples(&self) -> Vec<Sample>;
}

/// One value that is shown.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// The whole name, without `_total`.
    pub name: &'static str,
    /// What it is.
    pub help: &'static str,
    /// Names and values of labels.
    pub labels: Vec<(&'static str, String)>,
    /// How much.
    pub value: f64,
    /// Whether it only grows.
    pub is_counter: bool,
}

impl Measures {
    /// Nothing of plugins yet; with how this store is used, and how the program stands.
    pub(crate) fn new(kv: Arc<LocalStore>, program: Option<Arc<dyn Shown>>) -> Self {
        let families = Arc::new(Families::default());
        let mut exposed = Registry::default();
        if let Some(program) = program {
            exposed.register_collector(Box::new(Program(program)));
        }
        exposed.register_collector(Box::new(families.clone()));
        exposed.register_collector(Box::new(Store(kv)));
        Measures { families, exposed }
    }
}

#[derive(Debug)]
struct Program(Arc<dyn Shown>);

impl Collector for Program {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let samples = self.0.samples();
        for family in samples.chunk_by(|a, b| a.name == b.name) {
            let Some(Sample { name, help, is_counter, .. }) = family.first() else { continue };
            let kind = if *is_counter { MetricType::Counter } else { MetricType::Gauge };
            let mut encoder = encoder.encode_descriptor(name, help, None, kind)?;
            for sample in family {
                let labels = &sample.labels[..];
                let encoder = encoder.encode_family(&labels)?;
                match is_counter {
                    true => ConstCounter::new(sample.value).encode(encoder)?,
                    false => ConstGauge::new(sample.value).encode(encoder)?,
                }
            }
        }
        Ok(())
    }
}

impl metrics::Metrics for Measures {
    fn counter(&self, plugin: &str, name: &str, labels: Labels) -> Result<Arc<dyn metrics::Counter>> {
        match self.families.series(plugin, name, labels, &Series::Counter(Count::default()))? {
            Series::Counter(counter) => Ok(Arc::new(CounterOf(counter))),
            _ => Err(other_kind(name)),
        }
    }

    fn gauge(&self, plugin: &str, name: &str, labels: Labels) -> Result<Arc<dyn metrics::Gauge>> {
        match self.families.series(plugin, name, labels, &Series::Gauge(Level::default()))? {
            Series::Gauge(gauge) => Ok(Arc::new(GaugeOf(gauge))),
            _ => Err(other_kind(name)),
        }
    }

    fn histogram(
        &self,
        plugin: &str,
        name: &str,
        labels: Labels,
        buckets: &[f64],
    ) -> Result<Arc<dyn metrics::Histogram>> {
        metrics::check_buckets(buckets)?;
        let buckets = if buckets.is_empty() { BUCKETS.to_vec() } else { buckets.to_vec() };
        let fresh = Series::Histogram(Histogram::new(buckets.iter().copied()), buckets.into());
        match self.families.series(plugin, name, labels, &fresh)? {
            Series::Histogram(histogram, _) => Ok(Arc::new(HistogramOf(histogram))),
            _ => Err(other_kind(name)),
        }
    }

    fn expose(&self, format: Exposition) -> String {
        let mut out = String::new();
        let written = match format {
            Exposition::Prometheus => prometheus_text::encode(&mut out, &self.exposed),
            Exposition::OpenMetrics => text::encode(&mut out, &self.exposed),
        };
        // Writing to a text does not fail.
        written.map(|()| out).unwrap_or_default()
    }
}

fn other_kind(name: &str) -> Error {
    Error::invalid(format!("the metric {name:?} is of another kind already: counter, gauge or histogram"))
}

/// One series.
#[derive(Clone, Debug)]
enum Series {
    Counter(Count),
    Gauge(Level),
    Histogram(Histogram, Arc<[f64]>),
}

impl Series {
    fn kind(&self) -> MetricType {
        match self {
            Series::Counter(_) => Count::TYPE,
            Series::Gauge(_) => Level::TYPE,
            Series::Histogram(..) => Histogram::TYPE,
        }
    }

    /// Whether both are of one kind, with the same buckets.
    fn is_like(&self, other: &Series) -> bool {
        match (self, other) {
            (Series::Histogram(_, ours), Series::Histogram(_, theirs)) => ours == theirs,
            _ => self.kind().as_str() == other.kind().as_str(),
        }
    }
}

/// The labels of a series, that of the plugin first.
type Key = Arc<[(String, String)]>;

/// All series of plugins.
#[derive(Debug, Default)]
struct Families(RwLock<Inner>);

#[derive(Debug, Default)]
struct Inner {
    /// By the name of the metric: what is shown of one stands together.
    families: BTreeMap<Arc<str>, HashMap<Key, Series>>,
    plugins: HashMap<String, Usage>,
}

/// What a plugin has made.
#[derive(Debug, Default)]
struct Usage {
    names: usize,
    series: usize,
    /// That it has made too many was told.
    told: bool,
}

impl Families {
    /// The series of these labels, or `fresh` if there is none yet.
    fn series(&self, plugin: &str, name: &str, mut labels: Labels, fresh: &Series) -> Result<Series> {
        metrics::check_series(name, &mut labels)?;
        labels.insert(0, ("plugin".to_owned(), plugin.to_owned()));
        if let Some(found) = self.read().families.get(name).and_then(|family| family.get(&labels[..])) {
            return like(found.clone(), fresh, name);
        }
        self.0.write().unwrap_or_else(PoisonError::into_inner).add(plugin, name, labels, fresh)
    }

    fn read(&self) -> std::sync::RwLockReadGuard<'_, Inner> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }
}

fn like(found: Series, fresh: &Series, name: &str) -> Result<Series> {
    match found.is_like(fresh) {
        true => Ok(found),
        false if found.kind().as_str() == fresh.kind().as_str() => {
            Err(Error::invalid(format!("the histogram {name:?} has other buckets already")))
        }
        false => Err(other_kind(name)),
    }
}

impl Inner {
    fn add(&mut self, plugin: &str, name: &str, mut labels: Labels, fresh: &Series) -> Result<Series> {
        let family = self.families.get(name);
        if let Some(other) = family.and_then(|family| family.values().next()) {
            like(other.clone(), fresh, name)?;
        }
        let is_own = |key: &Key| key.first().is_some_and(|(_, of)| of == plugin);
        let is_new = !family.is_some_and(|family| family.keys().any(is_own));
        let usage = self.plugins.entry(plugin.to_owned()).or_default();
        if is_new && usage.names >= MOST_NAMES {
            return Err(Error::invalid(format!("a plugin has at most {MOST_NAMES} metrics")));
        }
        usage.names += usize::from(is_new);
        if usage.series >= MOST_SERIES {
            if !std::mem::replace(&mut usage.told, true) {
                tracing::warn!(
                    plugin,
                    metric = name,
                    "it has made {MOST_SERIES} series of metrics: all others are counted as overflow=\"true\""
                );
            }
            labels.truncate(1);
            labels.push(("overflow".to_owned(), "true".to_owned()));
        } else {
            usage.series += 1;
        }
        let family = self.families.entry(name.into()).or_default();
        Ok(family.entry(labels.into()).or_insert_with(|| fresh.clone()).clone())
    }
}

impl Collector for Families {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let names: Vec<Arc<str>> = self.read().families.keys().cloned().collect();
        for name in names {
            // A copy, so that plugins need not wait until all is written.
            let family = self.read().families.get(&name).cloned().unwrap_or_default();
            let mut family: Vec<(Key, Series)> = family.into_iter().collect();
            family.sort_by(|(a, _), (b, _)| a.cmp(b));
            let Some(kind) = family.first().map(|(_, series)| series.kind()) else { continue };
            let name = format!("weir_plugin_{name}");
            let mut encoder = encoder.encode_descriptor(&name, "Of plugins", None, kind)?;
            for (labels, series) in &family {
                let labels: &[(String, String)] = labels;
                let encoder = encoder.encode_family(&labels)?;
                match series {
                    Series::Counter(counter) => counter.encode(encoder)?,
                    Series::Gauge(gauge) => gauge.encode(encoder)?,
                    Series::Histogram(histogram, _) => histogram.encode(encoder)?,
                }
            }
        }
        Ok(())
    }
}

/// How a key-value store is used.
#[derive(Debug)]
struct Store(Arc<LocalStore>);

impl Collector for Store {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let now = self.0.statistics();
        for (name, help, value) in [
            ("weir_kv_entries", "Entries of the key-value store", now.entries),
            ("weir_kv_bytes", "Bytes of the key-value store that are used", now.bytes),
            ("weir_kv_capacity_bytes", "Bytes of the key-value store that there are", now.capacity),
        ] {
            #[allow(clippy::cast_precision_loss, reason = "exact up to eight PiB")]
            let gauge = ConstGauge::new(value as f64);
            gauge.encode(encoder.encode_descriptor(name, help, None, MetricType::Gauge)?)?;
        }
        for (name, help, value) in [
            ("weir_kv_hits", "Keys that were looked up and found", now.hits),
            ("weir_kv_misses", "Keys that were looked up and not found", now.misses),
            ("weir_kv_evictions", "Entries that went to make room for others", now.evictions),
        ] {
            let counter = ConstCounter::new(value);
            counter.encode(encoder.encode_descriptor(name, help, None, MetricType::Counter)?)?;
        }
        Ok(())
    }
}

#[derive(Debug)]
struct CounterOf(Count);

impl metrics::Counter for CounterOf {
    fn add(&self, n: f64) -> Result<()> {
        if metrics::check_number(n)? < 0.0 {
            return Err(Error::invalid(format!("{n} cannot be added to a counter: it only grows")));
        }
        self.0.inc_by(n);
        Ok(())
    }
}

#[derive(Debug)]
struct GaugeOf(Level);

impl metrics::Gauge for GaugeOf {
    fn set(&self, n: f64) -> Result<()> {
        self.0.set(metrics::check_number(n)?);
        Ok(())
    }

    fn add(&self, n: f64) -> Result<()> {
        self.0.inc_by(metrics::check_number(n)?);
        Ok(())
    }
}

#[derive(Debug)]
struct HistogramOf(Histogram);

impl metrics::Histogram for HistogramOf {
    fn observe(&self, n: f64) -> Result<()> {
        self.0.observe(metrics::check_number(n)?);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use weir_plugin::services::KeyValue as _;
    use weir_plugin::services::metrics::Metrics as _;

    use super::*;

    fn measures() -> Measures {
        let clock = Arc::new(crate::time::SystemClock::default());
        Measures::new(Arc::new(LocalStore::new(1 << 20, clock)), None)
    }

    fn labels(all: &[(&str, &str)]) -> Labels {
        all.iter().map(|&(name, value)| (name.into(), value.into())).collect()
    }

    /// Every line of the exposition but those of the store.
    fn check(measures: &Measures, format: Exposition, expected: &str) {
        let shown = measures.expose(format);
        let own: Vec<&str> = shown.lines().filter(|line| !line.contains("weir_kv_")).collect();
        let expected: Vec<&str> = expected.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
        assert_eq!(own, expected, "{shown}");
    }

    #[test]
    fn what_is_measured_is_shown() {
        let measures = measures();
        let hits =
            measures.counter("a", "hits", labels(&[("z", "1"), ("path", "\"\\\n")])).expect("a counter");
        hits.add(1.0).expect("a number");
        measures
            .counter("a", "hits", labels(&[("path", "\"\\\n"), ("z", "1")]))
            .expect("the same")
            .add(2.5)
            .expect("a number");
        measures.counter("b", "hits", Vec::new()).expect("a counter").add(0.0).expect("a number");
        let gauge = measures.gauge("a", "level", Vec::new()).expect("a gauge");
        gauge.set(5.0).expect("a number");
        gauge.add(-7.0).expect("a number");
        let spread = measures.histogram("a", "spread", Vec::new(), &[1.0, 2.0]).expect("a histogram");
        for n in [0.5, 1.5, 9.0] {
            spread.observe(n).expect("a number");
        }
        check(
            &measures,
            Exposition::OpenMetrics,
            r#"
            # HELP weir_plugin_hits Of plugins
            # TYPE weir_plugin_hits counter
            weir_plugin_hits_total{plugin="a",path="\"\\\n",z="1"} 3.5
            weir_plugin_hits_total{plugin="b"} 0.0
            # HELP weir_plugin_level Of plugins
            # TYPE weir_plugin_level gauge
            weir_plugin_level{plugin="a"} -2.0
            # HELP weir_plugin_spread Of plugins
            # TYPE weir_plugin_spread histogram
            weir_plugin_spread_sum{plugin="a"} 11.0
            weir_plugin_spread_count{plugin="a"} 3
            weir_plugin_spread_bucket{le="1.0",plugin="a"} 1
            weir_plugin_spread_bucket{le="2.0",plugin="a"} 2
            weir_plugin_spread_bucket{le="+Inf",plugin="a"} 3
            # EOF
            "#,
        );
        let shown = measures.expose(Exposition::Prometheus);
        assert!(
            shown.contains("# TYPE weir_plugin_hits_total counter\n") && !shown.contains("EOF"),
            "{shown}"
        );
    }

    #[test]
    fn what_cannot_be_is_an_error() {
        let measures = measures();
        let counter = measures.counter("a", "hits", Vec::new()).expect("a counter");
        assert!(counter.add(-1.0).is_err() && counter.add(f64::NAN).is_err());
        for other in [
            measures.gauge("a", "hits", Vec::new()).map(drop),
            measures.gauge("b", "hits", labels(&[("a", "1")])).map(drop),
            measures.histogram("b", "hits", Vec::new(), &[]).map(drop),
        ] {
            assert!(other.expect_err("it is a counter").to_string().contains("of another kind"));
        }
        let histogram = measures.histogram("a", "spread", Vec::new(), &[]).expect("a histogram");
        assert!(histogram.observe(f64::INFINITY).is_err());
        let error = measures.histogram("a", "spread", labels(&[("a", "1")]), &[1.0]).expect_err("others");
        assert!(error.to_string().contains("other buckets"), "{error}");
        assert!(measures.histogram("a", "more", Vec::new(), &[2.0, 1.0]).is_err());
        for i in 0..MOST_NAMES - 2 {
            measures.counter("a", &format!("n{i}"), Vec::new()).expect("there is room");
        }
        let error = measures.counter("a", "one_more", Vec::new()).expect_err("too many");
        assert!(error.to_string().contains("at most 100 metrics"), "{error}");
        measures.counter("a", "hits", labels(&[("a", "1")])).expect("a name that is there");
        measures.counter("b", "one_more", Vec::new()).expect("another plugin has room");
    }

    #[test]
    fn what_is_too_many_goes_into_one() {
        let measures = measures();
        let count = |i: usize| {
            let counter = measures.counter("a", "hits", labels(&[("i", &i.to_string())])).expect("a counter");
            counter.add(1.0).expect("a number");
        };
        (0..MOST_SERIES + 500).for_each(count);
        count(7);
        let shown = measures.expose(Exposition::OpenMetrics);
        assert_eq!(shown.matches("\nweir_plugin_hits_total{").count(), MOST_SERIES + 1);
        assert!(shown.contains("weir_plugin_hits_total{plugin=\"a\",overflow=\"true\"} 500.0\n"));
        assert!(shown.contains("weir_plugin_hits_total{plugin=\"a\",i=\"7\"} 2.0\n"));
        measures
            .counter("b", "hits", labels(&[("i", "1")]))
            .expect("another plugin")
            .add(1.0)
            .expect("a number");
        assert!(measures.expose(Exposition::OpenMetrics).contains("hits_total{plugin=\"b\",i=\"1\"} 1.0\n"));
    }

    #[derive(Debug)]
    struct Twice;

    impl Shown for Twice {
        fn samples(&self) -> Vec<Sample> {
            let sample = |name, labels: &[(&'static str, &str)], value| Sample {
                name,
                help: "Of a test",
                labels: labels.iter().map(|(name, value)| (*name, (*value).to_owned())).collect(),
                value,
                is_counter: name == "weir_changes",
            };
            vec![
                sample("weir_generation", &[], 3.0),
                sample("weir_changes", &[("outcome", "refused")], 1.0),
                sample("weir_changes", &[("outcome", "published")], 2.0),
            ]
        }
    }

    #[test]
    fn the_program_is_shown_with_them() {
        let store = Arc::new(LocalStore::new(1 << 20, Arc::new(crate::time::SystemClock::default())));
        check(
            &Measures::new(store, Some(Arc::new(Twice))),
            Exposition::OpenMetrics,
            r#"
            # HELP weir_generation Of a test
            # TYPE weir_generation gauge
            weir_generation 3.0
            # HELP weir_changes Of a test
            # TYPE weir_changes counter
            weir_changes_total{outcome="refused"} 1.0
            weir_changes_total{outcome="published"} 2.0
            # EOF
            "#,
        );
    }

    #[test]
    fn the_store_is_shown_with_them() {
        let store = Arc::new(LocalStore::new(1 << 20, Arc::new(crate::time::SystemClock::default())));
        let measures = Measures::new(store.clone(), None);
        store.set("a", b"k", "v".into(), None).expect("there is room");
        store.get("a", b"k").expect("a key");
        store.get("a", b"none").expect("a key");
        let shown = measures.expose(Exposition::OpenMetrics);
        for line in [
            "weir_kv_entries 1.0",
            "weir_kv_capacity_bytes 1048576.0",
            "weir_kv_hits_total 1",
            "weir_kv_misses_total 1",
            "weir_kv_evictions_total 0",
        ] {
            assert!(shown.lines().any(|shown| shown == line), "{line} is not in {shown}");
        }
    }
}
