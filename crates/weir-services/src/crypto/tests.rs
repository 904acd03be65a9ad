use aws_lc_rs::encoding::{AsDer as _, PublicKeyX509Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_ASN1_SIGNING,
    ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, EcdsaSigningAlgorithm, Ed25519KeyPair, KeyPair as _,
    RSA_PKCS1_SHA256, RSA_PKCS1_SHA384, RSA_PKCS1_SHA512, RSA_PSS_SHA256, RSA_PSS_SHA384, RSA_PSS_SHA512,
    RsaEncoding, RsaKeyPair,
};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::*;

#[test]
fn what_is_sealed_can_be_opened_by_who_has_the_key() {
    for length in [16, 32] {
        let key = vec![7; length];
        for text in [&b""[..], b"a", &[1; 5000]] {
            let sealed = AwsLc.encrypt(&key, text, b"for").expect("it is small");
            assert_eq!(sealed.len(), 12 + text.len() + 16);
            assert_eq!(AwsLc.decrypt(&key, &sealed, b"for").as_deref(), Ok(text));
            assert_ne!(AwsLc.encrypt(&key, text, b"for"), Ok(sealed.clone()), "another nonce");
            let mut changed = sealed.clone();
            changed[12] ^= 1;
            for (key, sealed, aad) in [
                (&vec![8; length], &sealed[..], &b"for"[..]),
                (&key, &sealed, b"against"),
                (&key, &changed, b"for"),
                (&key, &sealed[1..], b"for"),
                (&key, b"", b"for"),
            ] {
                let error = AwsLc.decrypt(key, sealed, aad);
                assert_eq!(error, Err(Error::Failed("this cannot be decrypted".to_owned())));
            }
        }
    }
    let error = AwsLc.encrypt(&[0; 24], b"", b"").expect_err("AES-192 is not there").to_string();
    assert!(error.contains("16 bytes"), "{error}");
    let large = vec![0; 1 << 20];
    assert_eq!(AwsLc.encrypt(&[0; 16], &large, b""), Err(Error::TooLarge(MOST_CRYPTO as u64)));
    assert_eq!(AwsLc.decrypt(&[0; 16], &large, b""), Err(Error::TooLarge(MOST_CRYPTO as u64)));
    let most = vec![0; MOST_CRYPTO];
    let sealed = AwsLc.encrypt(&[0; 16], &most, b"").expect("it is just small enough");
    assert_eq!(AwsLc.decrypt(&[0; 16], &sealed, b""), Ok(most));
}

/// NIST's GCM test vectors (gcmEncryptExtIV256.rsp): the nonce in front, the tag behind.
#[test]
fn aes_gcm_is_that_of_others() {
    let key = hex::decode("92e11dcdaa866f5ce790fd24501f92509aacf4cb8b1339d50c9c1240935dd08b").expect("hex");
    let nonce = hex::decode("ac93a1a6145299bde902f21a").expect("hex");
    let text = hex::decode("2d71bcfa914e4ac045b2aa60955fad24").expect("hex");
    let aad = hex::decode("1e0889016f67601c8ebea4943bc23ad6").expect("hex");
    let sealed =
        hex::decode("8995ae2e6df3dbf96fac7b7137bae67feca5aa77d51d4a0a14d9c51e1da474ab").expect("hex");
    assert_eq!(AwsLc.decrypt(&key, &[nonce, sealed].concat(), &aad), Ok(text));
}

pub(crate) fn pem(der: &[u8]) -> String {
    let lines: Vec<String> = STANDARD
        .encode(der)
        .as_bytes()
        .chunks(64)
        .map(|line| String::from_utf8_lossy(line).into_owned())
        .collect();
    format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", lines.join("\n"))
}

/// A signature of `data` holds for it and for nothing else.
fn check(algorithm: &str, key: &[u8], data: &[u8], signature: &[u8]) {
    let named = Signature::named(algorithm).expect("it is known");
    assert_eq!(AwsLc.verify(named, key, data, signature), Ok(true), "{algorithm}");
    assert_eq!(AwsLc.verify(named, key, b"another", signature), Ok(false), "{algorithm}");
    let mut changed = signature.to_vec();
    changed[signature.len() / 2] ^= 1;
    assert_eq!(AwsLc.verify(named, key, data, &changed), Ok(false), "{algorithm}");
    assert_eq!(AwsLc.verify(named, key, data, b""), Ok(false), "{algorithm}");
}

#[test]
fn signatures_of_rsa() {
    let pair = RsaKeyPair::generate(KeySize::Rsa2048).expect("a key");
    let der: PublicKeyX509Der<'_> = pair.public_key().as_der().expect("a key");
    let pem = pem(der.as_ref());
    let algorithms: [(&str, &'static dyn RsaEncoding); 6] = [
        ("rsa-pkcs1-sha256", &RSA_PKCS1_SHA256),
        ("rsa-pkcs1-sha384", &RSA_PKCS1_SHA384),
        ("rsa-pkcs1-sha512", &RSA_PKCS1_SHA512),
        ("rsa-pss-sha256", &RSA_PSS_SHA256),
        ("rsa-pss-sha384", &RSA_PSS_SHA384),
        ("rsa-pss-sha512", &RSA_PSS_SHA512),
    ];
    for (name, of) in algorithms {
        let mut signature = vec![0; pair.public_modulus_len()];
        pair.sign(of, &SystemRandom::new(), b"data", &mut signature).expect("a signature");
        check(name, pem.as_bytes(), b"data", &signature);
    }
}

#[test]
fn signatures_of_curves() {
    let algorithms: [(&str, &'static EcdsaSigningAlgorithm); 4] = [
        ("ecdsa-p256-sha256-asn1", &ECDSA_P256_SHA256_ASN1_SIGNING),
        ("ecdsa-p256-sha256-jose", &ECDSA_P256_SHA256_FIXED_SIGNING),
        ("ecdsa-p384-sha384-asn1", &ECDSA_P384_SHA384_ASN1_SIGNING),
        ("ecdsa-p384-sha384-jose", &ECDSA_P384_SHA384_FIXED_SIGNING),
    ];
    for (name, of) in algorithms {
        let pair = EcdsaKeyPair::generate(of).expect("a key");
        let signature = pair.sign(&SystemRandom::new(), b"data").expect("a signature");
        let der: PublicKeyX509Der<'_> = pair.public_key().as_der().expect("a key");
        check(name, pem(der.as_ref()).as_bytes(), b"data", signature.as_ref());
        check(name, pair.public_key().as_ref(), b"data", signature.as_ref());
        // The other form is another algorithm.
        let other = match name.strip_suffix("asn1") {
            Some(rest) => format!("{rest}jose"),
            None => name.replace("jose", "asn1"),
        };
        let other = Signature::named(&other).expect("it is known");
        assert_eq!(AwsLc.verify(other, pair.public_key().as_ref(), b"data", signature.as_ref()), Ok(false));
    }
    let pair = Ed25519KeyPair::generate().expect("a key");
    let signature = pair.sign(b"data");
    check("ed25519", pair.public_key().as_ref(), b"data", signature.as_ref());
    let der: PublicKeyX509Der<'_> = pair.public_key().as_der().expect("a key");
    check("ed25519", pem(der.as_ref()).as_bytes(), b"data", signature.as_ref());
    // RFC 8032, section 7.1, test 2.
    let key = hex::decode("3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c").expect("hex");
    let signature = hex::decode(
        "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c\
         387b2eaeb4302aeeb00d291612bb0c00",
    );
    check("ed25519", &key, &[0x72], &signature.expect("hex"));
}

#[test]
fn keys_that_do_not_fit_are_told() {
    let pair = Ed25519KeyPair::generate().expect("a key");
    let ed25519 = pair.public_key().as_ref();
    for (algorithm, key) in [
        ("ed25519", &b"short"[..]),
        ("ed25519", b"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n"),
        ("rsa-pss-sha256", ed25519),
        ("ecdsa-p256-sha256-jose", ed25519),
        ("ecdsa-p384-sha384-asn1", b""),
    ] {
        let named = Signature::named(algorithm).expect("it is known");
        let error = AwsLc.verify(named, key, b"", b"").expect_err("it is none").to_string();
        assert!(error.contains("no public key"), "{algorithm}: {error}");
    }
    let error = Signature::named("ecdsa-p256-sha256").expect_err("which form?").to_string();
    assert!(error.contains("ecdsa-p256-sha256-asn1, ecdsa-p256-sha256-jose"), "{error}");
}
