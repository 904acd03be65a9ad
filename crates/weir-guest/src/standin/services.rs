//! Services of the host, as far as they stand in for themselves; one module for each interface of the WIT package.
//!
//! What needs cryptography or a regular expression engine fails here, and says so: test it with `weir test`.

use crate::Error;

/// What cannot be called off WebAssembly.
fn absent<T>(name: &str) -> Result<T, Error> {
    Err(Error::Failed(format!("`{name}` is not there outside of weir")))
}

/// Lines of the log, which are kept.
pub mod log {
    use crate::standin::world;
    use crate::testing::Level;

    macro_rules! levels {
        ($($name:ident $level:ident;)*) => {
            $(
                /// A line of this level.
                pub fn $name(message: &str) {
                    world::with(|world| world.log.push((Level::$level, message.to_owned())));
                }
            )*
        };
    }

    levels! {
        debug Debug;
        info Info;
        warn Warn;
        error Error;
    }
}

/// The key-value store.
pub mod kv {
    use crate::Error;
    use crate::standin::world::{self, World};

    /// Values of a namespace that plugins share.
    #[derive(Debug)]
    pub struct Store(String);

    const MAX_KEY: usize = 1024;

    impl World {
        /// The value of a key that has not ended.
        fn value(&mut self, key: &(String, Vec<u8>)) -> Option<Vec<u8>> {
            let (value, ends) = self.kv.get(key)?;
            if ends.is_some_and(|ends| ends <= self.now) {
                self.kv.remove(key);
                return None;
            }
            Some(value.clone())
        }

        fn put(&mut self, key: (String, Vec<u8>), value: &[u8], ttl: Option<f64>) {
            let ends = ttl.map(|ttl| self.now + ttl);
            self.kv.insert(key, (value.to_vec(), ends));
        }
    }

    impl Store {
        /// The namespace of this name, where [`testing::grant`](crate::testing::grant) has granted it.
        pub fn open(namespace: &str) -> Result<Store, Error> {
            if world::with(|world| world.namespaces.contains(namespace)) {
                Ok(Store(namespace.to_owned()))
            } else {
                Err(Error::Denied(format!("grants.kv does not have `{namespace}`")))
            }
        }

        fn with<T>(
            &self,
            key: &[u8],
            work: impl FnOnce(&mut World, (String, Vec<u8>)) -> T,
        ) -> Result<T, Error> {
            if key.len() > MAX_KEY {
                return Err(Error::TooLarge(MAX_KEY as u64));
            }
            Ok(world::with(|world| work(world, (self.0.clone(), key.to_vec()))))
        }

        /// The value of a key.
        pub fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, Error> {
            self.with(key, |world, key| world.value(&key))
        }

        /// Sets a value, for so many seconds or for good.
        pub fn set(&self, key: &[u8], value: &[u8], ttl: Option<f64>) -> Result<(), Error> {
            self.with(key, |world, key| world.put(key, value, ttl))
        }

        /// Sets a value if there is none. Whether it did.
        pub fn add(&self, key: &[u8], value: &[u8], ttl: Option<f64>) -> Result<bool, Error> {
            self.cas(key, None, value, ttl)
        }

        /// Adds to a number. The sum.
        pub fn incr(&self, key: &[u8], by: i64, initial: i64, ttl: Option<f64>) -> Result<i64, Error> {
            self.with(key, |world, key| {
                let none = || Error::Invalid("the value is no whole number".to_owned());
                let Some(value) = world.value(&key) else {
                    let sum = initial.checked_add(by).ok_or_else(none)?;
                    world.put(key, sum.to_string().as_bytes(), ttl);
                    return Ok(sum);
                };
                let number: i64 =
                    std::str::from_utf8(&value).ok().and_then(|v| v.parse().ok()).ok_or_else(none)?;
                let sum = number.checked_add(by).ok_or_else(none)?;
                if let Some((value, _)) = world.kv.get_mut(&key) {
                    *value = sum.to_string().into_bytes();
                }
                Ok(sum)
            })?
        }

        /// Sets a value if the one that is there is `expected`. Whether it did.
        pub fn cas(
            &self,
            key: &[u8],
            expected: Option<&[u8]>,
            value: &[u8],
            ttl: Option<f64>,
        ) -> Result<bool, Error> {
            self.with(key, |world, key| {
                let same = world.value(&key).as_deref() == expected;
                if same {
                    world.put(key, value, ttl);
                }
                same
            })
        }

        /// Removes a key. Whether it was there.
        pub fn delete(&self, key: &[u8]) -> Result<bool, Error> {
            self.with(key, |world, key| {
                let there = world.value(&key).is_some();
                world.kv.remove(&key);
                there
            })
        }

        /// Seconds that a key has to live; none: for good, or it is not there.
        pub fn ttl(&self, key: &[u8]) -> Result<Option<f64>, Error> {
            self.with(key, |world, key| {
                world.value(&key)?;
                world.kv.get(&key)?.1.map(|ends| ends - world.now)
            })
        }
    }

    /// The plugin's own.
    fn own() -> Store {
        Store(String::new())
    }

    /// As [`Store::get`].
    pub fn get(key: &[u8]) -> Result<Option<Vec<u8>>, Error> {
        own().get(key)
    }

    /// As [`Store::set`].
    pub fn set(key: &[u8], value: &[u8], ttl: Option<f64>) -> Result<(), Error> {
        own().set(key, value, ttl)
    }

    /// As [`Store::add`].
    pub fn add(key: &[u8], value: &[u8], ttl: Option<f64>) -> Result<bool, Error> {
        own().add(key, value, ttl)
    }

    /// As [`Store::incr`].
    pub fn incr(key: &[u8], by: i64, initial: i64, ttl: Option<f64>) -> Result<i64, Error> {
        own().incr(key, by, initial, ttl)
    }

    /// As [`Store::cas`].
    pub fn cas(key: &[u8], expected: Option<&[u8]>, value: &[u8], ttl: Option<f64>) -> Result<bool, Error> {
        own().cas(key, expected, value, ttl)
    }

    /// As [`Store::delete`].
    pub fn delete(key: &[u8]) -> Result<bool, Error> {
        own().delete(key)
    }

    /// As [`Store::ttl`].
    pub fn ttl(key: &[u8]) -> Result<Option<f64>, Error> {
        own().ttl(key)
    }
}

/// Secrets that a test has set.
pub mod secrets {
    use crate::Error;
    use crate::standin::world;

    /// The secret of this name.
    pub fn get(name: &str) -> Result<Vec<u8>, Error> {
        let secret = world::with(|world| world.secrets.get(name).cloned());
        secret.ok_or_else(|| Error::Denied(format!("secrets.{name} is not set")))
    }
}

/// Cryptography, which is not there but for what needs none.
pub mod crypto {
    use std::hash::{BuildHasher, RandomState};

    use crate::Error;

    /// Not there.
    pub fn hash(_name: &str, _data: &[u8]) -> Result<Vec<u8>, Error> {
        super::absent("crypto.hash")
    }

    /// Not there.
    pub fn hmac(_name: &str, _key: &[u8], _data: &[u8]) -> Result<Vec<u8>, Error> {
        super::absent("crypto.hmac")
    }

    /// Whether two secrets are the same.
    #[must_use]
    pub fn equal(a: &[u8], b: &[u8]) -> bool {
        a == b
    }

    /// Random bytes, at most 1024; good enough for tests, and for nothing else.
    pub fn random(count: u32) -> Result<Vec<u8>, Error> {
        if count > 1024 {
            return Err(Error::TooLarge(1024));
        }
        let bytes = (0..count).map(|index| RandomState::new().hash_one(index).to_le_bytes()[0]);
        Ok(bytes.collect())
    }

    /// A random UUID.
    pub fn uuid() -> Result<String, Error> {
        let hex = crate::standin::codec::hex_encode(&random(16)?);
        Ok(format!("{}-{}-4{}-8{}-{}", &hex[..8], &hex[8..12], &hex[13..16], &hex[17..20], &hex[20..]))
    }

    /// Not there.
    pub fn encrypt(_key: &[u8], _plaintext: &[u8], _aad: &[u8]) -> Result<Vec<u8>, Error> {
        super::absent("crypto.encrypt")
    }

    /// Not there.
    pub fn decrypt(_key: &[u8], _sealed: &[u8], _aad: &[u8]) -> Result<Vec<u8>, Error> {
        super::absent("crypto.decrypt")
    }

    /// Not there.
    pub fn verify(_algorithm: &str, _key: &[u8], _data: &[u8], _signature: &[u8]) -> Result<bool, Error> {
        super::absent("crypto.verify")
    }
}

/// Not there.
pub mod password {
    use crate::Error;

    /// Not there.
    pub fn verify(_hash: &str, _password: &[u8]) -> Result<bool, Error> {
        super::absent("password.verify")
    }
}

/// Not there.
pub mod jwt {
    use crate::Error;
    pub use crate::bindings::weir::plugin::jwt::{Keys, Options};

    /// Not there.
    pub fn verify(_token: &[u8], _keys: &Keys, _options: &Options) -> Result<String, Error> {
        super::absent("jwt.verify")
    }
}

/// Not there.
pub mod regex {
    use crate::Error;

    /// Not there.
    pub fn is_match(_pattern: &str, _text: &[u8]) -> Result<bool, Error> {
        super::absent("regex.is-match")
    }

    /// Not there.
    pub fn find(_pattern: &str, _text: &[u8]) -> Result<Option<Vec<Option<Vec<u8>>>>, Error> {
        super::absent("regex.find")
    }

    /// Not there.
    pub fn replace(_pattern: &str, _text: &[u8], _replacement: &[u8]) -> Result<Vec<u8>, Error> {
        super::absent("regex.replace")
    }
}

/// Series, whose sums are kept.
pub mod metrics {
    use crate::Error;
    use crate::bindings::weir::plugin::metrics::Label;
    use crate::standin::world;

    /// `name{label="value"}`.
    fn series(name: &str, labels: &[Label]) -> String {
        let labels: Vec<String> =
            labels.iter().map(|label| format!("{}={:?}", label.name, label.value)).collect();
        if labels.is_empty() { name.to_owned() } else { format!("{name}{{{}}}", labels.join(",")) }
    }

    fn change(series: &str, n: f64, change: impl FnOnce(&mut f64)) -> Result<(), Error> {
        if !n.is_finite() {
            return Err(Error::Invalid(format!("{n} is not finite")));
        }
        world::with(|world| change(world.metrics.entry(series.to_owned()).or_default()));
        Ok(())
    }

    /// A number that only grows.
    #[derive(Debug)]
    pub struct CounterSeries(String);

    impl CounterSeries {
        /// Adds to it.
        pub fn add(&self, n: f64) -> Result<(), Error> {
            if n < 0.0 {
                return Err(Error::Invalid("a counter only grows".to_owned()));
            }
            change(&self.0, n, |value| *value += n)
        }
    }

    /// A number that goes up and down.
    #[derive(Debug)]
    pub struct GaugeSeries(String);

    impl GaugeSeries {
        /// Sets it.
        pub fn set(&self, n: f64) -> Result<(), Error> {
            change(&self.0, n, |value| *value = n)
        }

        /// Adds to it, or takes away.
        pub fn add(&self, n: f64) -> Result<(), Error> {
            change(&self.0, n, |value| *value += n)
        }
    }

    /// How values are spread; what is kept here is how many there were.
    #[derive(Debug)]
    pub struct HistogramSeries(String);

    impl HistogramSeries {
        /// Counts a value.
        pub fn observe(&self, n: f64) -> Result<(), Error> {
            change(&self.0, n, |count| *count += 1.0)
        }
    }

    /// The counter with this name and these labels.
    pub fn counter(name: &str, labels: &[Label]) -> Result<CounterSeries, Error> {
        Ok(CounterSeries(series(name, labels)))
    }

    /// The gauge with this name and these labels.
    pub fn gauge(name: &str, labels: &[Label]) -> Result<GaugeSeries, Error> {
        Ok(GaugeSeries(series(name, labels)))
    }

    /// The histogram with this name and these labels.
    pub fn histogram(name: &str, labels: &[Label], _buckets: &[f64]) -> Result<HistogramSeries, Error> {
        Ok(HistogramSeries(series(name, labels)))
    }
}

/// IP addresses and networks.
pub mod ip {
    use std::net::IpAddr;

    use crate::Error;

    /// Whether a text is an address.
    #[must_use]
    pub fn is_valid(text: &str) -> bool {
        text.parse::<IpAddr>().is_ok()
    }

    /// A set of networks.
    #[derive(Debug)]
    pub struct Networks(Vec<(u128, u32)>);

    /// An address as 128 bits; IPv4 is mapped.
    fn bits(text: &str) -> Option<(u128, bool)> {
        match text.parse::<IpAddr>().ok()?.to_canonical() {
            IpAddr::V4(address) => Some((u128::from(address.to_ipv6_mapped()), true)),
            IpAddr::V6(address) => Some((u128::from(address), false)),
        }
    }

    fn network(text: &str) -> Option<(u128, u32)> {
        let (address, length) = text.split_once('/').unwrap_or((text, ""));
        let (bits, v4) = bits(address)?;
        let most = if v4 { 32 } else { 128 };
        let length: u32 = if text.contains('/') { length.parse().ok()? } else { most };
        (length <= most).then(|| (bits, 128 - (most - length)))
    }

    impl Networks {
        /// From addresses and networks such as `10.0.0.0/8`. Errors: `Invalid`.
        pub fn parse(networks: &[String]) -> Result<Networks, Error> {
            let parsed = networks.iter().map(|text| {
                network(text).ok_or_else(|| Error::Invalid(format!("`{text}` is no address and no network")))
            });
            Ok(Networks(parsed.collect::<Result<_, _>>()?))
        }

        /// Whether an address is in any of them. Errors: `Invalid`.
        pub fn contains(&self, address: &str) -> Result<bool, Error> {
            let (bits, _) =
                bits(address).ok_or_else(|| Error::Invalid(format!("`{address}` is no address")))?;
            Ok(self
                .0
                .iter()
                .any(|(network, length)| (bits ^ network).checked_shr(128 - length).unwrap_or(0) == 0))
        }
    }
}

/// A clock that stands still until a test, or `sleep`, moves it.
pub mod time {
    use crate::Error;
    use crate::standin::world;

    /// What the clock shows in the beginning.
    const BEGIN: f64 = 1_700_000_000.0;

    /// Seconds since 1970-01-01 UTC.
    #[must_use]
    pub fn now() -> f64 {
        BEGIN + monotonic()
    }

    /// Seconds since the thread's begin.
    #[must_use]
    pub fn monotonic() -> f64 {
        world::with(|world| world.now)
    }

    /// Moves the clock. Errors: `Invalid`.
    pub fn sleep(seconds: f64) -> Result<(), Error> {
        if !(seconds.is_finite() && seconds >= 0.0) {
            return Err(Error::Invalid(format!("{seconds} is no time")));
        }
        world::with(|world| world.now += seconds);
        Ok(())
    }
}

/// Requests of the plugin's own, which a test answers.
pub mod http {
    use std::cell::RefCell;

    use crate::Error;
    pub use crate::bindings::weir::plugin::http::Call;
    use crate::bindings::weir::plugin::types::Header;
    use crate::standin::world;

    /// The answer to a call.
    #[derive(Debug)]
    pub struct HttpResponse {
        status: u16,
        headers: Vec<Header>,
        body: RefCell<Option<Vec<u8>>>,
    }

    impl HttpResponse {
        /// With this status. Only off WebAssembly, as all that begins with `with_`.
        #[must_use]
        pub fn new(status: u16) -> HttpResponse {
            HttpResponse { status, headers: Vec::new(), body: RefCell::new(Some(Vec::new())) }
        }

        /// One field more.
        #[must_use]
        pub fn with_header(mut self, name: &str, value: impl AsRef<[u8]>) -> HttpResponse {
            self.headers.push(Header { name: name.to_ascii_lowercase(), value: value.as_ref().to_vec() });
            self
        }

        /// With this body.
        #[must_use]
        pub fn with_body(self, body: impl Into<Vec<u8>>) -> HttpResponse {
            HttpResponse { body: RefCell::new(Some(body.into())), ..self }
        }

        /// 200 to 599.
        #[must_use]
        pub fn status(&self) -> u16 {
            self.status
        }

        /// The first value of this name.
        #[must_use]
        pub fn header(&self, name: &str) -> Option<Vec<u8>> {
            self.header_all(name).into_iter().next()
        }

        /// All values of this name, in order.
        #[must_use]
        pub fn header_all(&self, name: &str) -> Vec<Vec<u8>> {
            let named = self.headers.iter().filter(|field| field.name.eq_ignore_ascii_case(name));
            named.map(|field| field.value.clone()).collect()
        }

        /// All fields.
        #[must_use]
        pub fn headers(&self) -> Vec<Header> {
            self.headers.clone()
        }

        /// All of the body that was not read yet. Errors: `TooLarge`.
        pub fn read(&self, limit: Option<u64>) -> Result<Vec<u8>, Error> {
            let body = self.body.borrow().clone().unwrap_or_default();
            match limit {
                Some(most) if body.len() as u64 > most => Err(Error::TooLarge(most)),
                _ => Ok(body),
            }
        }

        /// The body as one piece, then none.
        pub fn piece(&self) -> Result<Option<Vec<u8>>, Error> {
            Ok(self.body.borrow_mut().take().filter(|body| !body.is_empty()))
        }
    }

    /// Asks what [`testing::answer`](crate::testing::answer) has set.
    pub fn request(call: &Call) -> Result<HttpResponse, Error> {
        // Taken out meanwhile: what answers may look at the world itself.
        let Some(mut answer) = world::with(|world| world.answer.take()) else {
            return Err(Error::Denied("no grant: a test answers with `testing::answer`".to_owned()));
        };
        let response = answer(call);
        world::with(|world| {
            world.answer.get_or_insert(answer);
        });
        response
    }

    /// One after the other.
    pub fn all(calls: &[Call]) -> Result<Vec<Result<HttpResponse, Error>>, Error> {
        if calls.len() > 32 {
            return Err(Error::TooLarge(32));
        }
        Ok(calls.iter().map(request).collect())
    }
}

/// Timers, which are kept for a test to look at.
pub mod timer {
    use crate::Error;
    use crate::standin::world;

    /// Sets a timer. Errors: `Invalid`, `TooLarge`.
    pub fn set(name: &str, seconds: f64) -> Result<(), Error> {
        if !(seconds.is_finite() && seconds >= 0.0) {
            return Err(Error::Invalid(format!("{seconds} is no time")));
        }
        if name.len() > 128 {
            return Err(Error::TooLarge(128));
        }
        world::with(|world| world.timers.insert(name.to_owned(), seconds));
        Ok(())
    }

    /// Takes a timer away. Whether it was set.
    #[must_use]
    pub fn cancel(name: &str) -> bool {
        world::with(|world| world.timers.remove(name)).is_some()
    }
}
