//! Hashes, message authentication, random numbers.

use aws_lc_rs::{constant_time, digest, hmac, rand};
use weir_plugin::error::{Error, Result};
use weir_plugin::services::{Crypto, Hash};

#[derive(Debug)]
pub(crate) struct AwsLc;

impl Crypto for AwsLc {
    fn hash(&self, hash: Hash, data: &[u8]) -> Vec<u8> {
        let algorithm = match hash {
            Hash::Sha1 => &digest::SHA1_FOR_LEGACY_USE_ONLY,
            Hash::Sha256 => &digest::SHA256,
            Hash::Sha384 => &digest::SHA384,
            Hash::Sha512 => &digest::SHA512,
        };
        digest::digest(algorithm, data).as_ref().to_vec()
    }

    fn hmac(&self, hash: Hash, key: &[u8], data: &[u8]) -> Vec<u8> {
        let algorithm = match hash {
            Hash::Sha1 => hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY,
            Hash::Sha256 => hmac::HMAC_SHA256,
            Hash::Sha384 => hmac::HMAC_SHA384,
            Hash::Sha512 => hmac::HMAC_SHA512,
        };
        hmac::sign(&hmac::Key::new(algorithm, key), data).as_ref().to_vec()
    }

    fn equal(&self, a: &[u8], b: &[u8]) -> bool {
        constant_time::verify_slices_are_equal(a, b).is_ok()
    }

    fn random(&self, bytes: &mut [u8]) -> Result<()> {
        rand::fill(bytes).map_err(|_| Error::Failed("the system gives no random numbers".to_owned()))
    }

    fn uuid(&self) -> Result<String> {
        let mut bytes = [0; 16];
        self.random(&mut bytes)?;
        Ok(uuid::Builder::from_random_bytes(bytes).into_uuid().to_string())
    }
}
