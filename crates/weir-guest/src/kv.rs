//! Values that all workers share, by key. The functions are on those of the plugin's own, which no other sees; [`Store`]
//! is for those that plugins share. Keys have at most 1024 bytes. When the store is full, what was not used for long goes.

use std::time::Duration;

use crate::Error;
use crate::sys::kv;

type Result<T> = std::result::Result<T, Error>;

fn seconds(ttl: Option<Duration>) -> Option<f64> {
    ttl.map(|ttl| ttl.as_secs_f64())
}

fn time(seconds: Option<f64>) -> Option<Duration> {
    seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
}

/// The value of a key.
pub fn get(key: impl AsRef<[u8]>) -> Result<Option<Vec<u8>>> {
    kv::get(key.as_ref())
}

/// Sets a value, for so long or for good. Errors: `TooLarge`.
pub fn set(key: impl AsRef<[u8]>, value: impl AsRef<[u8]>, ttl: Option<Duration>) -> Result<()> {
    kv::set(key.as_ref(), value.as_ref(), seconds(ttl))
}

/// Sets a value if there is none. Whether it did. Errors: `TooLarge`.
pub fn add(key: impl AsRef<[u8]>, value: impl AsRef<[u8]>, ttl: Option<Duration>) -> Result<bool> {
    kv::add(key.as_ref(), value.as_ref(), seconds(ttl))
}

/// Adds to a number, which is `initial` where there is none; `ttl` is for a new one. The sum. Errors: `Invalid` where the
/// value is no whole number.
pub fn incr(key: impl AsRef<[u8]>, by: i64, initial: i64, ttl: Option<Duration>) -> Result<i64> {
    kv::incr(key.as_ref(), by, initial, seconds(ttl))
}

/// Sets a value if the one that is there is `expected` (none: there is none). Whether it did. Errors: `TooLarge`.
pub fn cas(
    key: impl AsRef<[u8]>,
    expected: Option<&[u8]>,
    value: impl AsRef<[u8]>,
    ttl: Option<Duration>,
) -> Result<bool> {
    kv::cas(key.as_ref(), expected, value.as_ref(), seconds(ttl))
}

/// Removes a key. Whether it was there.
pub fn delete(key: impl AsRef<[u8]>) -> Result<bool> {
    kv::delete(key.as_ref())
}

/// How long a key has to live; none: for good, or it is not there.
pub fn ttl(key: impl AsRef<[u8]>) -> Result<Option<Duration>> {
    Ok(time(kv::ttl(key.as_ref())?))
}

/// Values that plugins share, with the same functions.
pub struct Store(kv::Store);

impl Store {
    /// The namespace of this name, which `kv` of the plugin's grants has. Errors: `Denied`.
    pub fn open(namespace: &str) -> Result<Store> {
        kv::Store::open(namespace).map(Store)
    }

    /// As the function [`get`].
    pub fn get(&self, key: impl AsRef<[u8]>) -> Result<Option<Vec<u8>>> {
        self.0.get(key.as_ref())
    }

    /// As the function [`set`].
    pub fn set(&self, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>, ttl: Option<Duration>) -> Result<()> {
        self.0.set(key.as_ref(), value.as_ref(), seconds(ttl))
    }

    /// As the function [`add`].
    pub fn add(&self, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>, ttl: Option<Duration>) -> Result<bool> {
        self.0.add(key.as_ref(), value.as_ref(), seconds(ttl))
    }

    /// As the function [`incr`].
    pub fn incr(&self, key: impl AsRef<[u8]>, by: i64, initial: i64, ttl: Option<Duration>) -> Result<i64> {
        self.0.incr(key.as_ref(), by, initial, seconds(ttl))
    }

    /// As the function [`cas`].
    pub fn cas(
        &self,
        key: impl AsRef<[u8]>,
        expected: Option<&[u8]>,
        value: impl AsRef<[u8]>,
        ttl: Option<Duration>,
    ) -> Result<bool> {
        self.0.cas(key.as_ref(), expected, value.as_ref(), seconds(ttl))
    }

    /// As the function [`delete`].
    pub fn delete(&self, key: impl AsRef<[u8]>) -> Result<bool> {
        self.0.delete(key.as_ref())
    }

    /// As the function [`ttl`].
    pub fn ttl(&self, key: impl AsRef<[u8]>) -> Result<Option<Duration>> {
        Ok(time(self.0.ttl(key.as_ref())?))
    }
}
