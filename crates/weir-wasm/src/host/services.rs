//! The other services: each function is one of `weir-plugin`'s.

use std::net::IpAddr;

use wasmtime::component::Resource;
use weir_plugin::Timers;
use weir_plugin::error::Result;
use weir_plugin::services::{
    Encoding, Hash, Networks as Set, Signature, TokenKeys, TokenOptions, input, ip_address, random, seconds,
};

use super::Data;
use super::convert::{error, trap};
use crate::bindings::imported::types::Error as WitError;
use crate::bindings::imported::{codec, crypto, ip, jwt, password, regex, secrets, time, timer, types};
use crate::local::wait_for;

/// A set of networks.
pub struct Networks(Box<dyn Set>);

type Answer<T> = wasmtime::Result<T>;
type Try<T> = wasmtime::Result<Result<T, WitError>>;

impl types::Host for Data {}

impl secrets::Host for Data {
    fn get(&mut self, name: String) -> Try<Vec<u8>> {
        Ok(self.policy.secrets.named(&self.plugin, &name).map(|secret| secret.to_vec()).map_err(error))
    }
}

impl Data {
    fn encode(&self, encoding: Encoding, data: &[u8]) -> Answer<String> {
        Ok(self.services.codec.encode(encoding, input(data).map_err(trap)?))
    }

    fn decode(&self, encoding: Encoding, text: &[u8]) -> Try<Vec<u8>> {
        Ok(input(text).and_then(|text| self.services.codec.decode(encoding, text)).map_err(error))
    }
}

impl codec::Host for Data {
    fn base64_encode(&mut self, data: Vec<u8>) -> Answer<String> {
        self.encode(Encoding::Base64, &data)
    }

    fn base64_decode(&mut self, text: Vec<u8>) -> Try<Vec<u8>> {
        self.decode(Encoding::Base64, &text)
    }

    fn base64url_encode(&mut self, data: Vec<u8>) -> Answer<String> {
        self.encode(Encoding::Base64Url, &data)
    }

    fn base64url_decode(&mut self, text: Vec<u8>) -> Try<Vec<u8>> {
        self.decode(Encoding::Base64Url, &text)
    }

    fn hex_encode(&mut self, data: Vec<u8>) -> Answer<String> {
        self.encode(Encoding::Hex, &data)
    }

    fn hex_decode(&mut self, text: Vec<u8>) -> Try<Vec<u8>> {
        self.decode(Encoding::Hex, &text)
    }

    fn url_encode(&mut self, data: Vec<u8>) -> Answer<String> {
        self.encode(Encoding::Url, &data)
    }

    fn url_decode(&mut self, text: Vec<u8>) -> Try<Vec<u8>> {
        self.decode(Encoding::Url, &text)
    }
}

impl crypto::Host for Data {
    fn hash(&mut self, name: String, data: Vec<u8>) -> Try<Vec<u8>> {
        let hash = || Ok(self.services.crypto.hash(Hash::named(&name)?, input(&data)?));
        Ok(hash().map_err(error))
    }

    fn hmac(&mut self, name: String, key: Vec<u8>, data: Vec<u8>) -> Try<Vec<u8>> {
        let code = || Ok(self.services.crypto.hmac(Hash::named(&name)?, input(&key)?, input(&data)?));
        Ok(code().map_err(error))
    }

    fn equal(&mut self, a: Vec<u8>, b: Vec<u8>) -> Answer<bool> {
        Ok(self.services.crypto.equal(&a, &b))
    }

    fn random(&mut self, count: u32) -> Try<Vec<u8>> {
        let count = usize::try_from(count).unwrap_or(usize::MAX);
        Ok(random(&*self.services.crypto, count).map_err(error))
    }

    fn uuid(&mut self) -> Try<String> {
        Ok(self.services.crypto.uuid().map_err(error))
    }

    fn encrypt(&mut self, key: Vec<u8>, plaintext: Vec<u8>, aad: Vec<u8>) -> Try<Vec<u8>> {
        Ok(self.services.crypto.encrypt(&key, &plaintext, &aad).map_err(error))
    }

    fn decrypt(&mut self, key: Vec<u8>, sealed: Vec<u8>, aad: Vec<u8>) -> Try<Vec<u8>> {
        Ok(self.services.crypto.decrypt(&key, &sealed, &aad).map_err(error))
    }

    fn verify(
        &mut self,
        algorithm: String,
        public_key: Vec<u8>,
        data: Vec<u8>,
        signature: Vec<u8>,
    ) -> Try<bool> {
        let verified = Signature::named(&algorithm)
            .and_then(|algorithm| self.services.crypto.verify(algorithm, &public_key, &data, &signature));
        Ok(verified.map_err(error))
    }
}

impl password::Host for Data {
    async fn verify(&mut self, hash: String, password: Vec<u8>) -> Try<bool> {
        let verifying = wait_for(self.services.passwords.verify(hash, password));
        Ok(verifying.await.flatten().map_err(error))
    }
}

impl jwt::Host for Data {
    fn verify(&mut self, token: Vec<u8>, keys: jwt::Keys, options: jwt::Options) -> Try<String> {
        let keys = match keys {
            jwt::Keys::Jwks(text) => TokenKeys::Jwks(text),
            jwt::Keys::Secret(secret) => TokenKeys::Secret(secret),
            jwt::Keys::Pem(text) => TokenKeys::Pem(text),
        };
        let jwt::Options { algorithms, issuers, audiences, leeway, required } = options;
        let options = TokenOptions { algorithms, issuers, audiences, leeway, required };
        Ok(self.services.tokens.verify(&token, &keys, &options).map_err(error))
    }
}

impl regex::Host for Data {
    fn is_match(&mut self, pattern: String, text: Vec<u8>) -> Try<bool> {
        Ok(self.services.patterns.is_match(&pattern, &text).map_err(error))
    }

    fn find(&mut self, pattern: String, text: Vec<u8>) -> Try<Option<Vec<Option<Vec<u8>>>>> {
        Ok(self.services.patterns.find(&pattern, &text).map_err(error))
    }

    fn replace(&mut self, pattern: String, text: Vec<u8>, replacement: Vec<u8>) -> Try<Vec<u8>> {
        Ok(self.services.patterns.replace(&pattern, &text, &replacement).map_err(error))
    }
}

impl ip::Host for Data {
    fn is_valid(&mut self, text: String) -> Answer<bool> {
        Ok(text.parse::<IpAddr>().is_ok())
    }
}

impl ip::HostNetworks for Data {
    fn parse(&mut self, networks: Vec<String>) -> Try<Resource<Networks>> {
        match self.services.networks.parse(&networks) {
            Ok(set) => Ok(Ok(self.table.push(Networks(set))?)),
            Err(wrong) => Ok(Err(error(wrong))),
        }
    }

    fn contains(&mut self, of: Resource<Networks>, address: String) -> Try<bool> {
        let Networks(set) = self.table.get(&of)?;
        Ok(ip_address(&address).map(|ip| set.contains(ip)).map_err(error))
    }

    fn drop(&mut self, of: Resource<Networks>) -> Answer<()> {
        self.table.delete(of)?;
        Ok(())
    }
}

impl time::Host for Data {
    fn now(&mut self) -> Answer<f64> {
        Ok(self.services.clock.now().as_secs_f64())
    }

    fn monotonic(&mut self) -> Answer<f64> {
        Ok(self.services.clock.monotonic().as_secs_f64())
    }

    async fn sleep(&mut self, time: f64) -> Try<()> {
        let time = match seconds(time) {
            Ok(time) => time,
            Err(wrong) => return Ok(Err(error(wrong))),
        };
        let sleeping = wait_for(self.services.clock.sleep(time));
        Ok(sleeping.await.map_err(error))
    }
}

impl timer::Host for Data {
    fn set(&mut self, name: String, after: f64) -> Try<()> {
        if !self.wants_timers {
            return Ok(Err(error(Timers::unwanted())));
        }
        let Some(timers) = &self.timers else { return Ok(Ok(())) };
        let set = seconds(after).and_then(|after| timers.with(|timers| timers.set(&name, after)).flatten());
        Ok(set.map_err(error))
    }

    fn cancel(&mut self, name: String) -> Answer<bool> {
        match &self.timers {
            Some(timers) => timers.with(|timers| timers.cancel(&name)).map_err(trap),
            None => Ok(false),
        }
    }
}
