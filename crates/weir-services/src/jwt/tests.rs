use std::pin::Pin;
use std::time::Duration;

use aws_lc_rs::encoding::{AsDer as _, PublicKeyX509Der};
use aws_lc_rs::hmac;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _, RSA_PKCS1_SHA256,
    RSA_PSS_SHA512, RsaEncoding, RsaKeyPair, RsaPublicKeyComponents,
};

use super::*;
use crate::crypto::tests::pem;

/// The time of the examples in RFC 7519: a moment before their token expires.
const NOW: u64 = 1_300_819_000;

/// A clock that stands.
#[derive(Debug)]
struct Standing(u64);

impl Clock for Standing {
    fn now(&self) -> Duration {
        Duration::from_secs(self.0)
    }

    fn monotonic(&self) -> Duration {
        Duration::ZERO
    }

    fn sleep(&self, _: Duration) -> Pin<Box<dyn Future<Output = ()>>> {
        Box::pin(std::future::pending())
    }
}

fn options(algorithms: &[&str]) -> TokenOptions {
    TokenOptions {
        algorithms: algorithms.iter().map(|&name| name.into()).collect(),
        ..TokenOptions::default()
    }
}

fn verify(token: &str, keys: &TokenKeys, options: &TokenOptions) -> Result<String> {
    Jwt::new(Arc::new(Standing(NOW))).verify(token.as_bytes(), keys, options)
}

/// What is wrong; the error's kind tells a bad token from a bad call.
fn check(token: &str, keys: &TokenKeys, options: &TokenOptions, expected: &str) {
    match verify(token, keys, options) {
        Err(Error::Denied(text)) => assert!(text.contains(expected), "{expected:?} is not in {text:?}"),
        other => panic!("{expected}: {other:?}"),
    }
}

fn check_call(token: &str, keys: &TokenKeys, options: &TokenOptions, expected: &str) {
    match verify(token, keys, options) {
        Err(Error::Invalid(text)) => assert!(text.contains(expected), "{expected:?} is not in {text:?}"),
        other => panic!("{expected}: {other:?}"),
    }
}

fn b64(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// A token with a signature made by `sign`.
fn token(header: &str, claims: &str, sign: impl FnOnce(&[u8]) -> Vec<u8>) -> String {
    let message = format!("{}.{}", b64(header), b64(claims));
    let signature = sign(message.as_bytes());
    format!("{message}.{}", b64(signature))
}

fn hs256(secret: &[u8], claims: &str) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
    token(r#"{"alg":"HS256"}"#, claims, |message| hmac::sign(&key, message).as_ref().to_vec())
}

const SECRET: &[u8] = b"a secret of some length, of 32 b";

fn secret() -> TokenKeys {
    TokenKeys::Secret(SECRET.to_vec())
}

const PAYLOAD: &str =
    "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ";
const RSA: &str = r#"{"kty":"RSA","n":"ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ","e":"AQAB"}"#;
const EC: &str = r#"{"kty":"EC","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}"#;
const ED: &str = r#"{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#;

fn set(keys: &[&str]) -> TokenKeys {
    TokenKeys::Jwks(format!(r#"{{"keys":[{}]}}"#, keys.join(",")))
}

/// RFC 7515, appendices A.1 to A.3, and RFC 8037, appendix A.4.
#[test]
fn examples_of_the_standards() {
    let key = "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow";
    let key = TokenKeys::Secret(URL_SAFE_NO_PAD.decode(key).expect("base64url"));
    let hs256 = format!(
        "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9.{PAYLOAD}.dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
    );
    let claims = verify(&hs256, &key, &options(&["HS256"])).expect("it holds");
    assert_eq!(claims, "{\"iss\":\"joe\",\r\n \"exp\":1300819380,\r\n \"http://example.com/is_root\":true}");

    let rs256 = format!(
        "eyJhbGciOiJSUzI1NiJ9.{PAYLOAD}.cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw"
    );
    assert!(verify(&rs256, &set(&[RSA]), &options(&["RS256"])).is_ok());

    let es256 = format!(
        "eyJhbGciOiJFUzI1NiJ9.{PAYLOAD}.DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q"
    );
    assert!(verify(&es256, &set(&[RSA, ED, EC]), &options(&["RS256", "ES256"])).is_ok());

    // What is signed there is no JSON: the signature holds, and the claims do not.
    let eddsa = "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc.hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg";
    check(eddsa, &set(&[ED]), &options(&["EdDSA"]), "no signed token");
    let other = eddsa.replace("hgyY0il", "hgyY0im");
    check(&other, &set(&[ED]), &options(&["EdDSA"]), "signature is wrong");
    check(&rs256.replace("cC4h", "cC4i"), &set(&[RSA]), &options(&["RS256"]), "signature is wrong");
    check(&es256.replace("DtEh", "DtEi"), &set(&[EC]), &options(&["ES256"]), "signature is wrong");
    check(&es256.replace(PAYLOAD, &b64("{}")), &set(&[EC]), &options(&["ES256"]), "signature is wrong");
}

#[test]
fn a_public_key_is_never_a_secret_and_none_never_an_algorithm() {
    let pair = RsaKeyPair::generate(KeySize::Rsa2048).expect("a key");
    let der: PublicKeyX509Der<'_> = pair.public_key().as_der().expect("a key");
    let text = pem(der.as_ref());
    let keys = TokenKeys::Pem(text.clone());
    // Signed with the public key's text, which everybody has.
    let forged = hs256(text.as_bytes(), "{}");
    check(&forged, &keys, &options(&["RS256"]), "HS256 is not accepted");
    check_call(&forged, &keys, &options(&["RS256", "HS256"]), "HS256 takes a secret");
    check_call(&forged, &set(&[RSA]), &options(&["HS256"]), "HS256 takes a secret");
    check_call(&forged, &secret(), &options(&["RS256"]), "RS256 takes a public key");
    check_call(&forged, &keys, &options(&["none"]), "unknown algorithm \"none\"");
    check_call(&forged, &keys, &options(&[]), "`algorithms` is empty");
    let oct = format!(r#"{{"kty":"oct","k":"{}"}}"#, b64(SECRET));
    check(&es256(&pair_of_curve(), "{}"), &set(&[&oct]), &options(&["ES256"]), "no key for its algorithm");
    for header in [r#"{"alg":"none"}"#, r#"{"alg":"None"}"#, r#"{"typ":"JWT"}"#, "no JSON", ""] {
        let token = token(header, "{}", |_| Vec::new());
        let expected = if header.is_empty() { "no signed token" } else { "header cannot be read" };
        check(&token, &keys, &options(&["RS256"]), expected);
    }
    let rs256 = |of: &'static dyn RsaEncoding, alg: &str| {
        token(&format!(r#"{{"alg":"{alg}"}}"#), "{}", |message| {
            let mut signature = vec![0; pair.public_modulus_len()];
            pair.sign(of, &SystemRandom::new(), message, &mut signature).expect("a signature");
            signature
        })
    };
    assert!(verify(&rs256(&RSA_PKCS1_SHA256, "RS256"), &keys, &options(&["RS256"])).is_ok());
    assert!(verify(&rs256(&RSA_PSS_SHA512, "PS512"), &keys, &options(&["PS512"])).is_ok());
    check(&rs256(&RSA_PSS_SHA512, "PS512"), &keys, &options(&["RS256"]), "PS512 is not accepted");
    check(&rs256(&RSA_PKCS1_SHA256, "PS512"), &keys, &options(&["PS512"]), "signature is wrong");
    // As a set, with what the set says of the key.
    let parts = RsaPublicKeyComponents::<Vec<u8>>::from(pair.public_key());
    let jwk =
        |more: &str| format!(r#"{{"kty":"RSA","n":"{}","e":"{}"{more}}}"#, b64(&parts.n), b64(&parts.e));
    let token = rs256(&RSA_PKCS1_SHA256, "RS256");
    let accepted = options(&["RS256", "PS512"]);
    assert!(verify(&token, &set(&[&jwk(r#","use":"sig","alg":"RS256","x":{"y":[]}"#)]), &accepted).is_ok());
    assert!(verify(&token, &set(&[&jwk(r#","key_ops":["verify"]"#)]), &accepted).is_ok());
    for more in [r#","use":"enc""#, r#","alg":"PS512""#, r#","alg":"RSA-OAEP""#, r#","key_ops":["encrypt"]"#]
    {
        check(&token, &set(&[&jwk(more)]), &accepted, "no key for its algorithm");
    }
}

fn pair_of_curve() -> EcdsaKeyPair {
    EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).expect("a key")
}

fn es256(pair: &EcdsaKeyPair, header_more: &str) -> String {
    let header = match header_more.trim_matches(['{', '}']) {
        "" => r#"{"alg":"ES256"}"#.to_owned(),
        more => format!(r#"{{"alg":"ES256",{more}}}"#),
    };
    token(&header, r#"{"sub":"me"}"#, |message| {
        pair.sign(&SystemRandom::new(), message).expect("a signature").as_ref().to_vec()
    })
}

fn jwk_of(pair: &EcdsaKeyPair, id: &str) -> String {
    let point = pair.public_key().as_ref();
    let (x, y) = (b64(&point[1..33]), b64(&point[33..]));
    let id = if id.is_empty() { String::new() } else { format!(r#","kid":"{id}""#) };
    format!(r#"{{"kty":"EC","crv":"P-256","x":"{x}","y":"{y}"{id}}}"#)
}

#[test]
fn keys_are_found_by_their_id_and_can_be_rotated() {
    let (old, new) = (pair_of_curve(), pair_of_curve());
    let accepted = options(&["ES256"]);
    let (by_old, by_new) = (es256(&old, r#""kid":"1""#), es256(&new, r#""kid":"2""#));
    let jwt = Jwt::new(Arc::new(Standing(NOW)));
    let holds = |token: &str, keys: &TokenKeys| jwt.verify(token.as_bytes(), keys, &accepted).is_ok();
    let before = set(&[&jwk_of(&old, "1")]);
    let both = set(&[&jwk_of(&old, "1"), &jwk_of(&new, "2")]);
    let after = set(&[&jwk_of(&new, "2")]);
    assert_eq!((holds(&by_old, &before), holds(&by_new, &before)), (true, false));
    assert_eq!((holds(&by_old, &both), holds(&by_new, &both)), (true, true));
    assert_eq!((holds(&by_old, &after), holds(&by_new, &after)), (false, true));
    check(&by_old, &after, &accepted, "no key of its `kid`");
    // The id says which key it is, and no other is tried.
    check(&es256(&old, r#""kid":"2""#), &both, &accepted, "signature is wrong");
    // Without one all are, up to a bound.
    assert!(holds(&es256(&new, ""), &both));
    let many: Vec<String> = (0..5).map(|i| jwk_of(&old, &i.to_string())).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    check(&es256(&old, ""), &set(&many), &accepted, "does not say which key");
    assert!(holds(&es256(&old, r#""kid":"4""#), &set(&many)));
    // A PEM and keys without an id are for any.
    let der: PublicKeyX509Der<'_> = old.public_key().as_der().expect("a key");
    assert!(holds(&by_old, &TokenKeys::Pem(pem(der.as_ref()))));
    assert!(holds(&by_old, &set(&[&jwk_of(&old, "")])));
    // What is not known is passed over.
    let odd =
        r#"{"kty":"LWE","kid":"1"},{"kty":"EC","crv":"P-521","x":"AA","y":"AA","kid":"1"},7,{"kty":"EC"}"#;
    assert!(holds(&by_old, &set(&[odd, &jwk_of(&old, "1")])));
    let pair = Ed25519KeyPair::generate().expect("a key");
    let der: PublicKeyX509Der<'_> = pair.public_key().as_der().expect("a key");
    let signed = token(r#"{"alg":"EdDSA"}"#, "{}", |message| pair.sign(message).as_ref().to_vec());
    assert!(verify(&signed, &TokenKeys::Pem(pem(der.as_ref())), &options(&["EdDSA"])).is_ok());
}

#[test]
fn claims_must_hold() {
    let none = options(&["HS256"]);
    let with = |set: &dyn Fn(&mut TokenOptions)| {
        let mut options = none.clone();
        set(&mut options);
        options
    };
    let leeway = with(&|o| o.leeway = 60);
    let issuer = with(&|o| o.issuers = vec!["https://a".into(), "b".into()]);
    let audience = with(&|o| o.audiences = vec!["api".into()]);
    let required = with(&|o| o.required = vec!["exp".into(), "sub".into()]);
    let at = |name: &str, delta: i64| format!(r#"{{"{name}":{}}}"#, NOW as i64 + delta);
    for (claims, options, expected) in [
        ("{}".to_owned(), &none, None),
        (at("exp", 1), &none, None),
        (at("exp", 0), &none, Some("expired")),
        (at("exp", -59), &leeway, None),
        (at("exp", -60), &leeway, Some("expired")),
        (r#"{"exp":1e300}"#.to_owned(), &none, None),
        (r#"{"exp":"tomorrow"}"#.to_owned(), &none, Some("`exp` is no time")),
        (r#"{"exp":null}"#.to_owned(), &none, Some("`exp` is no time")),
        (at("nbf", 0), &none, None),
        (at("nbf", 1), &none, Some("not valid yet")),
        (at("nbf", 60), &leeway, None),
        (at("nbf", 61), &leeway, Some("not valid yet")),
        (r#"{"iss":"b"}"#.to_owned(), &issuer, None),
        (r#"{"iss":"https://a/"}"#.to_owned(), &issuer, Some("issuer")),
        (r#"{"iss":["b"]}"#.to_owned(), &issuer, Some("issuer")),
        ("{}".to_owned(), &issuer, Some("issuer")),
        (r#"{"aud":"api"}"#.to_owned(), &audience, None),
        (r#"{"aud":["web","api"]}"#.to_owned(), &audience, None),
        (r#"{"aud":["web"]}"#.to_owned(), &audience, Some("audience")),
        (r#"{"aud":{"api":1}}"#.to_owned(), &audience, Some("audience")),
        ("{}".to_owned(), &audience, Some("audience")),
        (r#"{"sub":"me"}"#.to_owned(), &required, Some("no claim `exp`")),
        (r#"{"sub":null,"exp":9999999999}"#.to_owned(), &required, Some("no claim `sub`")),
        (r#"{"sub":"me","exp":9999999999}"#.to_owned(), &required, None),
        ("[]".to_owned(), &none, Some("no signed token")),
        ("".to_owned(), &none, Some("no signed token")),
    ] {
        match (verify(&hs256(SECRET, &claims), &secret(), options), expected) {
            (Ok(text), None) => assert_eq!(text, claims),
            (Err(Error::Denied(text)), Some(expected)) => {
                assert!(text.contains(expected), "{claims}: {text}")
            }
            (other, _) => panic!("{claims}: {other:?}, {expected:?}"),
        }
    }
}

#[test]
fn what_is_no_token_and_what_are_no_keys() {
    let accepted = options(&["HS256"]);
    let good = hs256(SECRET, "{}");
    let without = good.rsplit_once('.').expect("it has parts").0;
    for token in ["", ".", "..", "a.b", "a.b.c.d", "a.b.c.d.e", without, &format!("{good}.x"), "é.é.é"] {
        match verify(token, &secret(), &accepted) {
            Err(Error::Denied(_)) => {}
            other => panic!("{token}: {other:?}"),
        }
    }
    check(&format!("{good}="), &secret(), &accepted, "signature is wrong");
    check(&format!("{without}."), &secret(), &accepted, "signature is wrong");
    check(&"x".repeat(20_000), &secret(), &accepted, "longer than");
    let critical = token(r#"{"alg":"HS256","crit":["b64"],"b64":false}"#, "{}", |_| Vec::new());
    check(&critical, &secret(), &accepted, "`crit`");
    check_call(&good, &TokenKeys::Secret(b"short".to_vec()), &accepted, "at least 16 bytes");
    let public = options(&["RS256"]);
    for keys in ["", "[]", "{}", r#"{"keys":7}"#] {
        check_call(&good, &TokenKeys::Jwks(keys.to_owned()), &public, "no JWKS");
    }
    let many = vec!["{}"; 101].join(",");
    check_call(&good, &set(&[&many]), &public, "more than 100 keys");
    let large = TokenKeys::Jwks(" ".repeat(70_000));
    assert_eq!(verify(&good, &large, &public), Err(Error::TooLarge(64 << 10)));
    check_call(&good, &TokenKeys::Pem("-----BEGIN PUBLIC KEY-----".to_owned()), &public, "no public key");
    let leeway = TokenOptions { leeway: 3600, ..accepted };
    check_call(&good, &secret(), &leeway, "`leeway`");
    assert!(!format!("{:?}", secret()).contains("97"), "secrets are not shown");
}
