//! What plugins are lent, whatever engine they are written for. Implemented in `weir-services`.

mod crypto;
mod http;
pub mod metrics;
mod passwords;
mod tokens;
mod websockets;

use std::fmt::Debug;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::error::{Error, Result};

pub use self::crypto::{Crypto, Hash, MOST_CRYPTO, Signature};
pub use self::http::{HttpAnswer, HttpCall, HttpClient, MOST_AT_ONCE, fetch, together};
pub use self::metrics::Metrics;
pub use self::passwords::Passwords;
pub use self::tokens::{TokenKeys, TokenOptions, Tokens};
pub use self::websockets::{NoWebSockets, WebSockets};

/// All services.
#[derive(Clone, Debug)]
pub struct Services {
    /// Values that all workers share.
    pub kv: Arc<dyn KeyValue>,
    /// Encodings.
    pub codec: Arc<dyn Codec>,
    /// Crypto.
    pub crypto: Arc<dyn Crypto>,
    /// Hashes of passwords.
    pub passwords: Arc<dyn Passwords>,
    /// Signed tokens.
    pub tokens: Arc<dyn Tokens>,
    /// Regular expressions.
    pub patterns: Arc<dyn Patterns>,
    /// IP networks.
    pub networks: Arc<dyn NetworkParser>,
    /// Metrics.
    pub metrics: Arc<dyn Metrics>,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Calls to other servers.
    pub http: Arc<dyn HttpClient>,
    /// WebSocket relays.
    pub websockets: Arc<dyn WebSockets>,
}

/// The most bytes that codecs, hashes and codes work on at once: more would hold the worker up.
pub const MOST_INPUT: usize = 4 << 20;

/// What a codec, a hash or a code may be given.
///
/// # Errors
/// [`Error::TooLarge`].
pub fn input(bytes: &[u8]) -> Result<&[u8]> {
    if bytes.len() > MOST_INPUT { Err(Error::TooLarge(MOST_INPUT as u64)) } else { Ok(bytes) }
}

/// The most random bytes that a plugin gets at once.
pub const MOST_RANDOM: usize = 1024;

/// The longest time that a plugin may ask for: a year, in seconds.
const LONGEST: f64 = 366.0 * 86400.0;

/// Seconds, as plugins have them, as a time.
///
/// # Errors
/// [`Error::Invalid`] for less than nothing, more than a year, and what is no number.
pub fn seconds(seconds: f64) -> Result<Duration> {
    match (0.0..=LONGEST).contains(&seconds) {
        true => Ok(Duration::from_secs_f64(seconds)),
        false => Err(Error::invalid(format!("{seconds} is no time in seconds: 0 to {LONGEST} are"))),
    }
}

/// An IP address as plugins have it.
///
/// # Errors
/// [`Error::Invalid`].
pub fn ip_address(text: &str) -> Result<IpAddr> {
    text.parse().map_err(|_| Error::invalid(format!("\"{text}\" is no IP address")))
}

/// Random bytes for a plugin.
///
/// # Errors
/// [`Error::TooLarge`] over [`MOST_RANDOM`]; when the system has none.
pub fn random(crypto: &dyn Crypto, count: usize) -> Result<Vec<u8>> {
    if count > MOST_RANDOM {
        return Err(Error::TooLarge(MOST_RANDOM as u64));
    }
    let mut bytes = vec![0; count];
    crypto.random(&mut bytes)?;
    Ok(bytes)
}

/// A key-value store. Keys have at most 1024 bytes; every namespace has its own.
pub trait KeyValue: Debug + Send + Sync {
    /// The value of a key.
    ///
    /// # Errors
    /// [`crate::Error::TooLarge`] for a key.
    fn get(&self, namespace: &str, key: &[u8]) -> Result<Option<Bytes>>;
    /// Sets a value, for `ttl` or for good.
    ///
    /// # Errors
    /// [`crate::Error::TooLarge`].
    fn set(&self, namespace: &str, key: &[u8], value: Bytes, ttl: Option<Duration>) -> Result<()>;
    /// Sets a value if there is none. Whether it did.
    ///
    /// # Errors
    /// [`crate::Error::TooLarge`].
    fn add(&self, namespace: &str, key: &[u8], value: Bytes, ttl: Option<Duration>) -> Result<bool>;
    /// Adds to a number, which is `initial` where there is none; `ttl` is for a new one. The sum.
    ///
    /// # Errors
    /// [`crate::Error::Invalid`] where the value is no number, or the sum is too large.
    fn incr(&self, namespace: &str, key: &[u8], by: i64, initial: i64, ttl: Option<Duration>) -> Result<i64>;
    /// Sets a value if the one that is there is `expected` (`None`: there is none). Whether it did.
    ///
    /// # Errors
    /// [`crate::Error::TooLarge`].
    fn cas(
        &self,
        namespace: &str,
        key: &[u8],
        expected: Option<&[u8]>,
        value: Bytes,
        ttl: Option<Duration>,
    ) -> Result<bool>;
    /// Removes a key. Whether it was there.
    ///
    /// # Errors
    /// [`crate::Error::TooLarge`] for a key.
    fn delete(&self, namespace: &str, key: &[u8]) -> Result<bool>;
    /// How long a key has to live; `None`: for good, or it is not there.
    ///
    /// # Errors
    /// [`crate::Error::TooLarge`] for a key.
    fn ttl(&self, namespace: &str, key: &[u8]) -> Result<Option<Duration>>;
}

/// An encoding of bytes as text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// RFC 4648, section 4, padded.
    Base64,
    /// RFC 4648, section 5, without padding; with it, too, where it is read.
    Base64Url,
    /// RFC 4648, section 8, lower case.
    Hex,
    /// RFC 3986, section 2.1: all but unreserved characters are `%XX`.
    Url,
}

/// Encodings of bytes as text.
pub trait Codec: Debug + Send + Sync {
    /// As text.
    fn encode(&self, encoding: Encoding, bytes: &[u8]) -> String;
    /// As bytes.
    ///
    /// # Errors
    /// [`crate::Error::Invalid`].
    fn decode(&self, encoding: Encoding, text: &[u8]) -> Result<Vec<u8>>;
}

/// Groups of a match: all of it, then each group, `None` for one that has no part in it.
pub type Groups = Vec<Option<Vec<u8>>>;

/// Regular expressions in the syntax of Rust's regex crate, in time that grows with the text only.
pub trait Patterns: Debug + Send + Sync {
    /// Whether a pattern matches anywhere.
    ///
    /// # Errors
    /// [`crate::Error::Invalid`] for a pattern.
    fn is_match(&self, pattern: &str, text: &[u8]) -> Result<bool>;
    /// The first match.
    ///
    /// # Errors
    /// [`crate::Error::Invalid`] for a pattern.
    fn find(&self, pattern: &str, text: &[u8]) -> Result<Option<Groups>>;
    /// All matches replaced; `$1` and `${name}` stand for groups.
    ///
    /// # Errors
    /// [`crate::Error::Invalid`] for a pattern.
    fn replace(&self, pattern: &str, text: &[u8], with: &[u8]) -> Result<Vec<u8>>;
}

/// Reads networks.
pub trait NetworkParser: Debug + Send + Sync {
    /// From addresses and networks such as `10.0.0.0/8`.
    ///
    /// # Errors
    /// [`crate::Error::Invalid`] names the one that is neither.
    fn parse(&self, networks: &[String]) -> Result<Box<dyn Networks>>;
}

/// A set of networks.
pub trait Networks: Debug + Send + Sync {
    /// Whether an address is in any of them. IPv4-mapped IPv6 addresses count as IPv4.
    fn contains(&self, ip: IpAddr) -> bool;
}

/// Time.
pub trait Clock: Debug + Send + Sync {
    /// Since 1970-01-01 UTC.
    fn now(&self) -> Duration;
    /// Since some begin; never goes back.
    fn monotonic(&self) -> Duration;
    /// Ready after this time.
    fn sleep(&self, time: Duration) -> Pin<Box<dyn Future<Output = ()>>>;
}
