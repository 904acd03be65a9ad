//! Hashes, message authentication, encryption, signatures, random numbers.

use aws_lc_rs::aead::{AES_128_GCM, AES_256_GCM, Aad, Algorithm, NONCE_LEN, Nonce, RandomizedNonceKey};
use aws_lc_rs::signature::{self, ParsedPublicKey, VerificationAlgorithm};
use aws_lc_rs::{constant_time, digest, hmac, rand};
use rustls_pki_types::SubjectPublicKeyInfoDer;
use rustls_pki_types::pem::PemObject as _;
use weir_plugin::error::{Error, Result};
use weir_plugin::services::{Crypto, Hash, MOST_CRYPTO, Signature};

/// Seeds the random numbers of this process. Whoever asks for the first of them does it, too, and it takes some 60 ms of
/// processor time: more than a hook has.
pub fn seed() {
    // Where the system gives none, each call is told so.
    let _ = rand::fill(&mut [0]);
}

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

    fn encrypt(&self, key: &[u8], plaintext: &[u8], aad: &[u8]) -> Result<Vec<u8>> {
        let key = aes_gcm(key)?;
        bounded(&[plaintext, aad])?;
        let mut text = plaintext.to_vec();
        let failed = |_| Error::Failed("the system gives no random numbers".to_owned());
        let nonce = key.seal_in_place_append_tag(Aad::from(aad), &mut text).map_err(failed)?;
        let mut sealed = Vec::with_capacity(NONCE_LEN + text.len());
        sealed.extend_from_slice(nonce.as_ref());
        sealed.extend_from_slice(&text);
        Ok(sealed)
    }

    fn decrypt(&self, key: &[u8], sealed: &[u8], aad: &[u8]) -> Result<Vec<u8>> {
        let key = aes_gcm(key)?;
        bounded(&[sealed, aad])?;
        let failed = || Error::Failed("this cannot be decrypted".to_owned());
        let (nonce, text) = sealed.split_at_checked(NONCE_LEN).ok_or_else(failed)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| failed())?;
        let mut text = text.to_vec();
        let length = key.open_in_place(nonce, Aad::from(aad), &mut text).map_err(|_| failed())?.len();
        text.truncate(length);
        Ok(text)
    }

    fn verify(&self, algorithm: Signature, public_key: &[u8], data: &[u8], signature: &[u8]) -> Result<bool> {
        bounded(&[data, signature])?;
        Ok(public(algorithm, public_key)?.verify_sig(data, signature).is_ok())
    }
}

fn bounded(texts: &[&[u8]]) -> Result<()> {
    // A nonce and a tag come on top of what may be encrypted.
    match texts.iter().all(|text| text.len() <= MOST_CRYPTO + 64) {
        true => Ok(()),
        false => Err(Error::TooLarge(MOST_CRYPTO as u64)),
    }
}

fn aes_gcm(key: &[u8]) -> Result<RandomizedNonceKey> {
    let algorithm: Option<&'static Algorithm> = match key.len() {
        16 => Some(&AES_128_GCM),
        32 => Some(&AES_256_GCM),
        _ => None,
    };
    let key = algorithm.and_then(|algorithm| RandomizedNonceKey::new(algorithm, key).ok());
    key.ok_or_else(|| {
        Error::invalid("a key has 16 bytes (AES-128) or 32 bytes (AES-256): weir.crypto.random(32) makes one")
    })
}

fn public(algorithm: Signature, key: &[u8]) -> Result<ParsedPublicKey> {
    let wrong = || {
        Error::invalid(
            "this is no public key for the algorithm: PEM that begins with \"-----BEGIN PUBLIC KEY-----\", or for \
             Ed25519 and ECDSA the key's bytes",
        )
    };
    let of: &'static dyn VerificationAlgorithm = match algorithm {
        Signature::Ed25519 => &signature::ED25519,
        Signature::RsaPkcs1Sha256 => &signature::RSA_PKCS1_2048_8192_SHA256,
        Signature::RsaPkcs1Sha384 => &signature::RSA_PKCS1_2048_8192_SHA384,
        Signature::RsaPkcs1Sha512 => &signature::RSA_PKCS1_2048_8192_SHA512,
        Signature::RsaPssSha256 => &signature::RSA_PSS_2048_8192_SHA256,
        Signature::RsaPssSha384 => &signature::RSA_PSS_2048_8192_SHA384,
        Signature::RsaPssSha512 => &signature::RSA_PSS_2048_8192_SHA512,
        Signature::EcdsaP256Sha256Asn1 => &signature::ECDSA_P256_SHA256_ASN1,
        Signature::EcdsaP256Sha256Jose => &signature::ECDSA_P256_SHA256_FIXED,
        Signature::EcdsaP384Sha384Asn1 => &signature::ECDSA_P384_SHA384_ASN1,
        Signature::EcdsaP384Sha384Jose => &signature::ECDSA_P384_SHA384_FIXED,
    };
    if key.len() > LONGEST_KEY {
        return Err(Error::TooLarge(LONGEST_KEY as u64));
    }
    let der = spki(key);
    ParsedPublicKey::new(of, der.as_deref().unwrap_or(key)).map_err(|_| wrong())
}

/// The longest public key, in bytes: one of RSA with 8192 bits, as PEM with texts around it.
pub(crate) const LONGEST_KEY: usize = 8 << 10;

/// What is in the first `PUBLIC KEY` of a PEM text.
pub(crate) fn spki(pem: &[u8]) -> Option<Vec<u8>> {
    SubjectPublicKeyInfoDer::from_pem_slice(pem).ok().map(|der| der.as_ref().to_vec())
}

#[cfg(test)]
pub(crate) mod tests;
