//! Services for a plugin that is tried beside one that serves: it finds what is there, and what it does is seen by nobody
//! but others that are tried.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use weir_plugin::error::{Error, Result};
use weir_plugin::services::metrics::{Counter, Exposition, Gauge, Histogram, Labels, Metrics};
use weir_plugin::services::metrics::{check_buckets, check_number, check_series};
use weir_plugin::services::{HttpClient, KeyValue, NoWebSockets, Services};

use crate::kv::LocalStore;

/// Services like these, apart from them: values that are set or removed go to a store of its own of so many bytes, which
/// ends with what is returned; nothing is measured. Requests go this way.
pub fn apart(services: &Services, kv_memory: u64, http: Arc<dyn HttpClient>) -> Services {
    let own = LocalStore::new(kv_memory, services.clock.clone());
    let kv = Arc::new(Overlay { below: services.kv.clone(), own: Mutex::new(own) });
    Services {
        kv,
        metrics: Arc::new(Unmeasured),
        http,
        websockets: Arc::new(NoWebSockets),
        ..services.clone()
    }
}

/// A store over another one, which it only reads. A key is taken over when it is first changed.
#[derive(Debug)]
struct Overlay {
    below: Arc<dyn KeyValue>,
    /// Locked, so that nobody changes a key between its being taken over and its being changed.
    own: Mutex<LocalStore>,
}

/// Where it is kept that a key was taken over: no namespace of a plugin begins so.
fn taken(namespace: &str) -> String {
    format!("\0{namespace}")
}

impl Overlay {
    fn own(&self) -> MutexGuard<'_, LocalStore> {
        self.own.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The own store, which has the key if there is one.
    fn take_over(&self, namespace: &str, key: &[u8]) -> Result<MutexGuard<'_, LocalStore>> {
        let own = self.own();
        if own.get(&taken(namespace), key)?.is_none() {
            if let Some(value) = self.below.get(namespace, key)? {
                own.set(namespace, key, value, self.below.ttl(namespace, key)?)?;
            }
            own.set(&taken(namespace), key, Bytes::new(), None)?;
        }
        Ok(own)
    }
}

impl KeyValue for Overlay {
    fn get(&self, namespace: &str, key: &[u8]) -> Result<Option<Bytes>> {
        let own = self.own();
        match own.get(&taken(namespace), key)? {
            Some(_) => own.get(namespace, key),
            None => self.below.get(namespace, key),
        }
    }

    fn set(&self, namespace: &str, key: &[u8], value: Bytes, ttl: Option<Duration>) -> Result<()> {
        self.take_over(namespace, key)?.set(namespace, key, value, ttl)
    }

    fn add(&self, namespace: &str, key: &[u8], value: Bytes, ttl: Option<Duration>) -> Result<bool> {
        self.take_over(namespace, key)?.add(namespace, key, value, ttl)
    }

    fn incr(&self, namespace: &str, key: &[u8], by: i64, initial: i64, ttl: Option<Duration>) -> Result<i64> {
        self.take_over(namespace, key)?.incr(namespace, key, by, initial, ttl)
    }

    fn cas(
        &self,
        namespace: &str,
        key: &[u8],
        expected: Option<&[u8]>,
        value: Bytes,
        ttl: Option<Duration>,
    ) -> Result<bool> {
        self.take_over(namespace, key)?.cas(namespace, key, expected, value, ttl)
    }

    fn delete(&self, namespace: &str, key: &[u8]) -> Result<bool> {
        self.take_over(namespace, key)?.delete(namespace, key)
    }

    fn ttl(&self, namespace: &str, key: &[u8]) -> Result<Option<Duration>> {
        let own = self.own();
        match own.get(&taken(namespace), key)? {
            Some(_) => own.ttl(namespace, key),
            None => self.below.ttl(namespace, key),
        }
    }
}

/// Checks what would be measured, and forgets it.
#[derive(Debug)]
struct Unmeasured;

impl Metrics for Unmeasured {
    fn counter(&self, _: &str, name: &str, mut labels: Labels) -> Result<Arc<dyn Counter>> {
        check_series(name, &mut labels).map(|()| Arc::new(Unmeasured) as Arc<dyn Counter>)
    }

    fn gauge(&self, _: &str, name: &str, mut labels: Labels) -> Result<Arc<dyn Gauge>> {
        check_series(name, &mut labels).map(|()| Arc::new(Unmeasured) as Arc<dyn Gauge>)
    }

    fn histogram(
        &self,
        _: &str,
        name: &str,
        mut labels: Labels,
        buckets: &[f64],
    ) -> Result<Arc<dyn Histogram>> {
        check_series(name, &mut labels)?;
        check_buckets(buckets).map(|()| Arc::new(Unmeasured) as Arc<dyn Histogram>)
    }

    fn expose(&self, _: Exposition) -> String {
        String::new()
    }
}

impl Counter for Unmeasured {
    fn add(&self, n: f64) -> Result<()> {
        match check_number(n)? < 0.0 {
            true => Err(Error::invalid("a counter only grows")),
            false => Ok(()),
        }
    }
}

impl Gauge for Unmeasured {
    fn set(&self, n: f64) -> Result<()> {
        check_number(n).map(drop)
    }

    fn add(&self, n: f64) -> Result<()> {
        check_number(n).map(drop)
    }
}

impl Histogram for Unmeasured {
    fn observe(&self, n: f64) -> Result<()> {
        check_number(n).map(drop)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{ManualClock, ScriptedClient};

    #[test]
    fn what_is_there_is_found_and_what_is_changed_is_not_seen_outside() {
        let clock = Arc::new(ManualClock::default());
        let http: Arc<dyn HttpClient> = Arc::new(ScriptedClient(|_: &_| Err(Error::Timeout)));
        let outside = crate::with_clock(1 << 20, http.clone(), clock.clone());
        let minute = Some(Duration::from_secs(60));
        outside.kv.set("a", b"n", "7".into(), minute).expect("there is room");
        outside.kv.set("a", b"gone", "x".into(), None).expect("there is room");
        outside.kv.set("a", b"read", "x".into(), None).expect("there is room");
        let inside = apart(&outside, 1 << 20, http);
        assert_eq!(inside.kv.incr("a", b"n", 1, 0, None), Ok(8));
        assert_eq!((inside.kv.get("a", b"n"), inside.kv.ttl("a", b"n")), (Ok(Some("8".into())), Ok(minute)));
        assert_eq!(inside.kv.incr("a", b"new", 1, 0, None), Ok(1));
        assert_eq!(inside.kv.add("a", b"gone", "y".into(), None), Ok(false));
        assert_eq!(inside.kv.delete("a", b"gone"), Ok(true));
        assert_eq!((inside.kv.get("a", b"gone"), inside.kv.ttl("a", b"gone")), (Ok(None), Ok(None)));
        assert_eq!(inside.kv.cas("a", b"gone", None, "z".into(), None), Ok(true));
        assert_eq!(outside.kv.get("a", b"n"), Ok(Some("7".into())));
        assert_eq!(outside.kv.get("a", b"gone"), Ok(Some("x".into())));
        assert_eq!(outside.kv.get("a", b"new"), Ok(None));
        // What is not changed inside is read outside.
        outside.kv.set("a", b"read", "y".into(), None).expect("there is room");
        assert_eq!(inside.kv.get("a", b"read"), Ok(Some("y".into())));
        // What has come to its end inside is not looked for outside again.
        outside.kv.set("a", b"n", "9".into(), None).expect("there is room");
        clock.advance(Duration::from_secs(61));
        assert_eq!(inside.kv.get("a", b"n"), Ok(None));
    }

    #[test]
    fn nothing_is_measured() {
        let http: Arc<dyn HttpClient> = Arc::new(ScriptedClient(|_: &_| Err(Error::Timeout)));
        let outside = crate::local(1 << 20, http.clone());
        let inside = apart(&outside, 1 << 20, http);
        let counter = inside.metrics.counter("p", "requests", Vec::new()).expect("a name");
        assert!(counter.add(1.0).is_ok() && counter.add(-1.0).is_err());
        assert!(inside.metrics.gauge("p", "No", Vec::new()).is_err());
        assert!(!outside.metrics.expose(Exposition::Prometheus).contains("requests"));
    }
}
