//! Keys of tokens.

use std::sync::Arc;

use aws_lc_rs::signature::{self, ParsedPublicKey, VerificationAlgorithm};
use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyOperations, PublicKeyUse};
use jsonwebtoken::{Algorithm, AlgorithmFamily, DecodingKey};
use quick_cache::sync::Cache;
use serde_json::Value;
use weir_plugin::error::{Error, Result};
use weir_plugin::services::TokenKeys;

use crate::crypto::{LONGEST_KEY, spki};

/// The longest set of keys, in bytes.
const LONGEST_SET: usize = 64 << 10;
/// The most keys of a set.
const MOST_KEYS: usize = 100;
/// Keys that are tried where a token does not say which it is.
const MOST_TRIED: usize = 4;
/// The shortest secret, in bytes.
const SHORTEST_SECRET: usize = 16;
/// Sets that are kept as they were read.
const KEPT: usize = 100;

/// A key that is ready.
#[derive(Debug)]
pub(super) struct Key {
    id: Option<String>,
    algorithms: Vec<Algorithm>,
    pub(super) key: DecodingKey,
}

/// Reads keys, and keeps those it has read.
#[derive(Debug)]
pub(super) struct Keys {
    sets: Cache<String, Arc<Vec<Key>>>,
    pems: Cache<String, Arc<Vec<Key>>>,
}

impl Default for Keys {
    fn default() -> Self {
        Keys { sets: Cache::new(KEPT), pems: Cache::new(KEPT) }
    }
}

impl Keys {
    pub(super) fn read(&self, keys: &TokenKeys) -> Result<Arc<Vec<Key>>> {
        match keys {
            TokenKeys::Jwks(text) if text.len() > LONGEST_SET => Err(Error::TooLarge(LONGEST_SET as u64)),
            TokenKeys::Jwks(text) => self.sets.get_or_insert_with(text, || set(text).map(Arc::new)),
            TokenKeys::Pem(text) if text.len() > LONGEST_KEY => Err(Error::TooLarge(LONGEST_KEY as u64)),
            TokenKeys::Pem(text) => {
                self.pems.get_or_insert_with(text, || Ok(Arc::new(vec![public(text.as_bytes())?])))
            }
            TokenKeys::Secret(secret) if secret.len() < SHORTEST_SECRET => {
                Err(Error::invalid(format!("a secret has at least {SHORTEST_SECRET} bytes")))
            }
            TokenKeys::Secret(secret) => {
                let algorithms = AlgorithmFamily::Hmac.algorithms().to_vec();
                Ok(Arc::new(vec![Key { id: None, algorithms, key: DecodingKey::from_secret(secret) }]))
            }
        }
    }
}

/// Whether an algorithm takes a secret that both sides share.
pub(super) fn is_secret(algorithm: Algorithm) -> bool {
    AlgorithmFamily::Hmac.algorithms().contains(&algorithm)
}

/// The keys to try: the one of this id where there is an id, else all that fit.
pub(super) fn fitting<'k>(keys: &'k [Key], algorithm: Algorithm, id: Option<&str>) -> Result<Vec<&'k Key>> {
    let fits = |key: &&Key| key.algorithms.contains(&algorithm);
    // A key without an id, a PEM or a secret, is for tokens of any.
    let named = |key: &&Key| id.is_none() || key.id.is_none() || key.id.as_deref() == id;
    let found: Vec<&Key> = keys.iter().filter(fits).filter(named).collect();
    match found.len() {
        0 if id.is_some() => Err(Error::denied("there is no key of its `kid` for its algorithm")),
        0 => Err(Error::denied("there is no key for its algorithm")),
        1..=MOST_TRIED => Ok(found),
        _ => {
            Err(Error::denied(format!("it does not say which key it is of, and more than {MOST_TRIED} fit")))
        }
    }
}

fn set(text: &str) -> Result<Vec<Key>> {
    let wrong = |why: &str| Error::invalid(format!("this is no JWKS (RFC 7517, section 5): {why}"));
    let set: Value = serde_json::from_str(text).map_err(|error| wrong(&error.to_string()))?;
    let keys = set.get("keys").and_then(Value::as_array).ok_or_else(|| wrong("it has no list `keys`"))?;
    if keys.len() > MOST_KEYS {
        return Err(wrong(&format!("it has more than {MOST_KEYS} keys")));
    }
    // What is of no known kind is passed over (RFC 7517, section 5): others may be in the set for others.
    let known = keys.iter().filter_map(|key| serde_json::from_value::<Jwk>(key.clone()).ok());
    Ok(known.filter_map(|key| of_set(&key)).collect())
}

/// A key of a set, if tokens are verified with it. Secrets are not: a set is public.
fn of_set(jwk: &Jwk) -> Option<Key> {
    let common = &jwk.common;
    let is_for_signatures = common.public_key_use.as_ref().is_none_or(|of| *of == PublicKeyUse::Signature)
        && common.key_operations.as_ref().is_none_or(|all| all.contains(&KeyOperations::Verify));
    if !is_for_signatures {
        return None;
    }
    let mut algorithms = match &jwk.algorithm {
        AlgorithmParameters::RSA(_) => AlgorithmFamily::Rsa.algorithms().to_vec(),
        AlgorithmParameters::EllipticCurve(key) => match key.curve {
            EllipticCurve::P256 => vec![Algorithm::ES256],
            EllipticCurve::P384 => vec![Algorithm::ES384],
            _ => return None,
        },
        AlgorithmParameters::OctetKeyPair(key) if key.curve == EllipticCurve::Ed25519 => {
            vec![Algorithm::EdDSA]
        }
        _ => return None,
    };
    if let Some(only) = common.key_algorithm {
        let only = Algorithm::try_from(only).ok()?;
        algorithms.retain(|algorithm| *algorithm == only);
    }
    Some(Key { id: common.key_id.clone(), algorithms, key: DecodingKey::from_jwk(jwk).ok()? })
}

/// A public key as PEM; what it is says the key itself.
fn public(pem: &[u8]) -> Result<Key> {
    let wrong = || {
        Error::invalid(
            "this is no public key as PEM: text that begins with \"-----BEGIN PUBLIC KEY-----\", of RSA (2048 to 8192 bits), P-256, \
             P-384 or Ed25519",
        )
    };
    let der = spki(pem).ok_or_else(wrong)?;
    let is = |of: &'static dyn VerificationAlgorithm| ParsedPublicKey::new(of, &der).is_ok();
    let (algorithms, key) = if is(&signature::RSA_PKCS1_2048_8192_SHA256) {
        (AlgorithmFamily::Rsa.algorithms().to_vec(), DecodingKey::from_rsa_der(&der))
    } else if is(&signature::ECDSA_P256_SHA256_FIXED) {
        (vec![Algorithm::ES256], DecodingKey::from_ec_der(&der))
    } else if is(&signature::ECDSA_P384_SHA384_FIXED) {
        (vec![Algorithm::ES384], DecodingKey::from_ec_der(&der))
    } else if is(&signature::ED25519) {
        (vec![Algorithm::EdDSA], DecodingKey::from_ed_der(&der))
    } else {
        return Err(wrong());
    };
    Ok(Key { id: None, algorithms, key })
}
