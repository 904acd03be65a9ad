//! Hashes, message authentication, encryption, signatures, random numbers.

use std::fmt::Debug;

use crate::error::{Error, Result};

/// The most bytes that are encrypted, decrypted or verified at once: more would hold the worker up.
pub const MOST_CRYPTO: usize = 256 << 10;

/// A hash function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hash {
    /// Broken for signatures; for protocols that ask for it.
    Sha1,
    /// FIPS 180-4.
    Sha256,
    /// FIPS 180-4.
    Sha384,
    /// FIPS 180-4.
    Sha512,
}

impl Hash {
    /// By its name: `sha1`, `sha256`, `sha384`, `sha512`.
    ///
    /// # Errors
    /// [`Error::Invalid`].
    pub fn named(name: &str) -> Result<Self> {
        match name {
            "sha1" => Ok(Hash::Sha1),
            "sha256" => Ok(Hash::Sha256),
            "sha384" => Ok(Hash::Sha384),
            "sha512" => Ok(Hash::Sha512),
            other => Err(Error::invalid(format!(
                "unknown hash \"{other}\": there are sha1, sha256, sha384, sha512"
            ))),
        }
    }
}

/// How data was signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signature {
    /// RFC 8032.
    Ed25519,
    /// RFC 8017, section 8.2, with SHA-256.
    RsaPkcs1Sha256,
    /// The same with SHA-384.
    RsaPkcs1Sha384,
    /// The same with SHA-512.
    RsaPkcs1Sha512,
    /// RFC 8017, section 8.1, with SHA-256.
    RsaPssSha256,
    /// The same with SHA-384.
    RsaPssSha384,
    /// The same with SHA-512.
    RsaPssSha512,
    /// FIPS 186-5 on P-256 with SHA-256; the signature is ASN.1 (RFC 3279, section 2.2.3).
    EcdsaP256Sha256Asn1,
    /// The same; the signature is two numbers of a fixed length (RFC 7518, section 3.4).
    EcdsaP256Sha256Jose,
    /// FIPS 186-5 on P-384 with SHA-384; the signature is ASN.1.
    EcdsaP384Sha384Asn1,
    /// The same; the signature is two numbers of a fixed length.
    EcdsaP384Sha384Jose,
}

impl Signature {
    const NAMES: [(&str, Signature); 11] = [
        ("ed25519", Signature::Ed25519),
        ("rsa-pkcs1-sha256", Signature::RsaPkcs1Sha256),
        ("rsa-pkcs1-sha384", Signature::RsaPkcs1Sha384),
        ("rsa-pkcs1-sha512", Signature::RsaPkcs1Sha512),
        ("rsa-pss-sha256", Signature::RsaPssSha256),
        ("rsa-pss-sha384", Signature::RsaPssSha384),
        ("rsa-pss-sha512", Signature::RsaPssSha512),
        ("ecdsa-p256-sha256-asn1", Signature::EcdsaP256Sha256Asn1),
        ("ecdsa-p256-sha256-jose", Signature::EcdsaP256Sha256Jose),
        ("ecdsa-p384-sha384-asn1", Signature::EcdsaP384Sha384Asn1),
        ("ecdsa-p384-sha384-jose", Signature::EcdsaP384Sha384Jose),
    ];

    /// By its name: `ed25519`, `rsa-pkcs1-sha256` and the like. Those of ECDSA end in the form of the signature,
    /// `-asn1` or `-jose`.
    ///
    /// # Errors
    /// [`Error::Invalid`].
    pub fn named(name: &str) -> Result<Self> {
        let found = Self::NAMES.iter().find(|(known, _)| *known == name);
        found.map(|(_, signature)| *signature).ok_or_else(|| {
            let known: Vec<&str> = Self::NAMES.iter().map(|(known, _)| *known).collect();
            Error::invalid(format!("unknown algorithm \"{name}\": there are {}", known.join(", ")))
        })
    }
}

/// Hashes, message authentication, encryption, signatures, random numbers.
pub trait Crypto: Debug + Send + Sync {
    /// The hash of data.
    fn hash(&self, hash: Hash, data: &[u8]) -> Vec<u8>;
    /// The code of data under a key (RFC 2104).
    fn hmac(&self, hash: Hash, key: &[u8], data: &[u8]) -> Vec<u8>;
    /// Whether two secrets are the same, in time that does not tell where they differ.
    fn equal(&self, a: &[u8], b: &[u8]) -> bool;
    /// Fills with random bytes that nobody can guess.
    ///
    /// # Errors
    /// When the system has none.
    fn random(&self, bytes: &mut [u8]) -> Result<()>;
    /// A random UUID (RFC 9562, version 4).
    ///
    /// # Errors
    /// When the system has no random numbers.
    fn uuid(&self) -> Result<String>;
    /// Encrypts and authenticates with AES-GCM (NIST SP 800-38D): by the length of the key AES-128 (16 bytes) or
    /// AES-256 (32). `aad` is authenticated with it and not part of what comes out: a random nonce of 96 bits, the
    /// text, a tag of 128 bits.
    ///
    /// # Errors
    /// [`Error::Invalid`] for the key; [`Error::TooLarge`] over [`MOST_CRYPTO`] bytes.
    fn encrypt(&self, key: &[u8], plaintext: &[u8], aad: &[u8]) -> Result<Vec<u8>>;
    /// What [`Crypto::encrypt`] made, decrypted.
    ///
    /// # Errors
    /// [`Error::Invalid`] for the key; [`Error::TooLarge`]; [`Error::Failed`] where it was made with another key or
    /// `aad`, or changed: which of these is not told.
    fn decrypt(&self, key: &[u8], sealed: &[u8], aad: &[u8]) -> Result<Vec<u8>>;
    /// Whether `signature` is of `data` under a public key, as PEM (`PUBLIC KEY`, RFC 7468, section 13) or, for
    /// Ed25519 and ECDSA, as its bytes (RFC 8032; the uncompressed point of SEC 1). RSA keys have 2048 to 8192 bits.
    ///
    /// # Errors
    /// [`Error::Invalid`] for the key; [`Error::TooLarge`] over [`MOST_CRYPTO`] bytes.
    fn verify(&self, algorithm: Signature, public_key: &[u8], data: &[u8], signature: &[u8]) -> Result<bool>;
}
