//! The key-value store.

use bytes::Bytes;
use wasmtime::component::Resource;
use weir_plugin::Namespace;
use weir_plugin::error::Result;
use weir_plugin::services::seconds;

use super::Data;
use super::convert::error;
use crate::bindings::imported::kv::{Host, HostStore};
use crate::bindings::imported::types::Error as WitError;

/// Values of one namespace that plugins share.
pub struct Store(Namespace);

type Try<T> = wasmtime::Result<Result<T, WitError>>;

impl Data {
    fn kv_get(&self, of: &Namespace, key: &[u8]) -> Result<Option<Vec<u8>>> {
        Ok(self.services.kv.get(of.as_str(), key)?.map(Into::into))
    }

    fn kv_set(&self, of: &Namespace, key: &[u8], value: Vec<u8>, ttl: Option<f64>) -> Result<()> {
        self.services.kv.set(of.as_str(), key, Bytes::from(value), ttl.map(seconds).transpose()?)
    }

    fn kv_add(&self, of: &Namespace, key: &[u8], value: Vec<u8>, ttl: Option<f64>) -> Result<bool> {
        self.services.kv.add(of.as_str(), key, Bytes::from(value), ttl.map(seconds).transpose()?)
    }

    fn kv_incr(&self, of: &Namespace, key: &[u8], by: i64, initial: i64, ttl: Option<f64>) -> Result<i64> {
        self.services.kv.incr(of.as_str(), key, by, initial, ttl.map(seconds).transpose()?)
    }

    fn kv_cas(
        &self,
        of: &Namespace,
        key: &[u8],
        expected: Option<&[u8]>,
        value: Vec<u8>,
        ttl: Option<f64>,
    ) -> Result<bool> {
        self.services.kv.cas(of.as_str(), key, expected, Bytes::from(value), ttl.map(seconds).transpose()?)
    }

    fn kv_ttl(&self, of: &Namespace, key: &[u8]) -> Result<Option<f64>> {
        Ok(self.services.kv.ttl(of.as_str(), key)?.map(|ttl| ttl.as_secs_f64()))
    }
}

impl Host for Data {
    fn get(&mut self, key: Vec<u8>) -> Try<Option<Vec<u8>>> {
        Ok(self.kv_get(&self.own, &key).map_err(error))
    }

    fn set(&mut self, key: Vec<u8>, value: Vec<u8>, ttl: Option<f64>) -> Try<()> {
        Ok(self.kv_set(&self.own, &key, value, ttl).map_err(error))
    }

    fn add(&mut self, key: Vec<u8>, value: Vec<u8>, ttl: Option<f64>) -> Try<bool> {
        Ok(self.kv_add(&self.own, &key, value, ttl).map_err(error))
    }

    fn incr(&mut self, key: Vec<u8>, by: i64, initial: i64, ttl: Option<f64>) -> Try<i64> {
        Ok(self.kv_incr(&self.own, &key, by, initial, ttl).map_err(error))
    }

    fn cas(
        &mut self,
        key: Vec<u8>,
        expected: Option<Vec<u8>>,
        value: Vec<u8>,
        ttl: Option<f64>,
    ) -> Try<bool> {
        Ok(self.kv_cas(&self.own, &key, expected.as_deref(), value, ttl).map_err(error))
    }

    fn delete(&mut self, key: Vec<u8>) -> Try<bool> {
        Ok(self.services.kv.delete(self.own.as_str(), &key).map_err(error))
    }

    fn ttl(&mut self, key: Vec<u8>) -> Try<Option<f64>> {
        Ok(self.kv_ttl(&self.own, &key).map_err(error))
    }
}

impl HostStore for Data {
    fn open(&mut self, namespace: String) -> Try<Resource<Store>> {
        match Namespace::shared(&self.plugin, &namespace, &self.policy.grants) {
            Ok(namespace) => Ok(Ok(self.table.push(Store(namespace))?)),
            Err(denied) => Ok(Err(error(denied))),
        }
    }

    fn get(&mut self, of: Resource<Store>, key: Vec<u8>) -> Try<Option<Vec<u8>>> {
        let Store(of) = self.table.get(&of)?;
        Ok(self.kv_get(of, &key).map_err(error))
    }

    fn set(&mut self, of: Resource<Store>, key: Vec<u8>, value: Vec<u8>, ttl: Option<f64>) -> Try<()> {
        let Store(of) = self.table.get(&of)?;
        Ok(self.kv_set(of, &key, value, ttl).map_err(error))
    }

    fn add(&mut self, of: Resource<Store>, key: Vec<u8>, value: Vec<u8>, ttl: Option<f64>) -> Try<bool> {
        let Store(of) = self.table.get(&of)?;
        Ok(self.kv_add(of, &key, value, ttl).map_err(error))
    }

    fn incr(
        &mut self,
        of: Resource<Store>,
        key: Vec<u8>,
        by: i64,
        initial: i64,
        ttl: Option<f64>,
    ) -> Try<i64> {
        let Store(of) = self.table.get(&of)?;
        Ok(self.kv_incr(of, &key, by, initial, ttl).map_err(error))
    }

    fn cas(
        &mut self,
        of: Resource<Store>,
        key: Vec<u8>,
        expected: Option<Vec<u8>>,
        value: Vec<u8>,
        ttl: Option<f64>,
    ) -> Try<bool> {
        let Store(of) = self.table.get(&of)?;
        Ok(self.kv_cas(of, &key, expected.as_deref(), value, ttl).map_err(error))
    }

    fn delete(&mut self, of: Resource<Store>, key: Vec<u8>) -> Try<bool> {
        let Store(of) = self.table.get(&of)?;
        Ok(self.services.kv.delete(of.as_str(), &key).map_err(error))
    }

    fn ttl(&mut self, of: Resource<Store>, key: Vec<u8>) -> Try<Option<f64>> {
        let Store(of) = self.table.get(&of)?;
        Ok(self.kv_ttl(of, &key).map_err(error))
    }

    fn drop(&mut self, of: Resource<Store>) -> wasmtime::Result<()> {
        self.table.delete(of)?;
        Ok(())
    }
}
