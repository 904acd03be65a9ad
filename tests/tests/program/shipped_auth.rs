//! The plugins that come with weir and look at who somebody is: basic-auth, geo-route, jwt, each through a running proxy.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use rcgen::{KeyPair, PKCS_ED25519, PublicKeyData as _, SigningKey as _};

use crate::shipped::{ask, refused, start, start_granted};
use weir_tests::{Answer, RawUpstream, Weir};

/// Of crypt_blowfish's own tests: the password is `U*U`.
const BCRYPT: &str = "$2b$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW";
/// Of the reference implementation's own tests: the password is `password`.
const ARGON2: &str = "$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc";

fn basic(weir: &Weir, name: &str, password: &str) -> Answer {
    let credentials = STANDARD.encode(format!("{name}:{password}"));
    ask(weir, &format!("GET /echo\nx-user: forged\nauthorization: Basic {credentials}"))
}

/// A file in a folder of its own, as a reference of the configuration.
fn secret(content: &str) -> (tempfile::TempDir, String) {
    let folder = weir_tests::weir::folder();
    let path = folder.path().join("secret");
    std::fs::write(&path, content).expect("a file can be written");
    (folder, format!("file:{}", path.display()))
}

#[test]
fn basic_auth() {
    let (_folder, file) = secret(&format!("# staff\nann:{BCRYPT}\r\n\nJörg:{ARGON2}\n"));
    let weir = start(
        "basic-auth",
        "{ users_secret = \"htpasswd\", realm = \"Staff\" }",
        &format!("[plugins.it.secrets]\nhtpasswd = \"{file}\"\n"),
    );
    let answer = ask(&weir, "GET /echo");
    assert_eq!(answer.status, 401);
    assert_eq!(answer.header("www-authenticate"), Some("Basic realm=\"Staff\", charset=\"UTF-8\""));
    // The second time from what is remembered; what is wrong is not.
    for _ in 0..2 {
        for (name, password, right) in [
            ("ann", "U*U", true),
            ("ann", "u*u", false),
            ("ann", "U*U ", false),
            ("ann", "", false),
            ("Jörg", "password", true),
            ("J\u{f6}rg", "Password", false),
            ("jörg", "password", false),
            ("bob", "U*U", false),
            ("", "U*U", false),
            ("ann", &"x".repeat(1200), false),
        ] {
            let answer = basic(&weir, name, password);
            assert_eq!(answer.status, if right { 200 } else { 401 }, "{name}");
            if right {
                let text = answer.text();
                assert!(text.contains(&format!("x-user: {name}")) && !text.contains("forged"), "{text}");
                assert!(!text.contains("authorization"), "{text}");
            }
        }
    }
    for wrong in
        ["Basic", "Basic !", "Basic YW5u", "Bearer YW5uOlUqVQ==", "Basic YW5uOlUqVQ==, Basic YW5uOlUqVQ=="]
    {
        assert_eq!(ask(&weir, &format!("GET /echo\nauthorization: {wrong}")).status, 401, "{wrong}");
    }
    let twice = "GET /echo\nauthorization: Basic YW5uOlUqVQ==\nauthorization: Basic YW5uOlUqVQ==";
    assert_eq!(ask(&weir, twice).status, 401);
    assert_eq!(ask(&weir, "GET /echo\nauthorization: bAsIc  YW5uOlUqVQ==").status, 200);

    let weir = start(
        "basic-auth",
        &format!("{{ users = {{ ann = \"{BCRYPT}\" }}, forward = true, header = \"\", remember = 0 }}"),
        "",
    );
    let text = basic(&weir, "ann", "U*U").text();
    assert!(text.contains("authorization: Basic") && text.contains("x-user: forged"), "{text}");
    assert!(refused("basic-auth", "{}").contains("there is no user"));
    assert!(refused("basic-auth", "{ users = { ann = \"secret\" } }").contains("neither Argon2 nor bcrypt"));
    assert!(refused("basic-auth", "{ users_secret = \"x\" }").contains("there is no secret"));
}

#[test]
fn geo_route() {
    let networks = "networks = { \"127.0.0.0/8\" = \"wide\", \"127.0.0.0/30\" = \"near\", \"127.0.0.2\" = \"one\", \"::/0\" = \"six\" }";
    let more = "[upstreams.wide]\nendpoints = [\"demo:\"]\n[upstreams.near]\nendpoints = [\"demo:\"]\n";
    let mut weir = start("geo-route", &format!("{{ {networks} }}"), more);
    assert_eq!(ask(&weir, "GET /echo").status, 200);
    let record = weir.record("the request", |record| record["target"] == "/echo");
    assert_eq!(record["upstream"], "near", "the longest prefix");
    let weir = start(
        "geo-route",
        &format!("{{ {networks}, header = \"x-region\" }}"),
        "[proxy]\ntrusted = [\"127.0.0.1\"]\n",
    );
    for (client, region) in
        [("127.0.0.2", "one"), ("127.0.0.3", "near"), ("127.9.9.9", "wide"), ("2001:db8::1", "six")]
    {
        let text = ask(&weir, &format!("GET /echo\nx-forwarded-for: {client}\nx-region: forged")).text();
        assert!(
            text.contains(&format!("x-region: {region}")) && !text.contains("forged"),
            "{client}: {text}"
        );
    }
    let text = ask(&weir, "GET /echo\nx-forwarded-for: 192.0.2.1\nx-region: forged").text();
    assert!(!text.contains("x-region"), "in none of them: {text}");
    assert!(refused("geo-route", "{ networks = {} }").contains("`networks` is empty"));
    assert!(
        refused("geo-route", "{ networks = { \"10.0.0.0/40\" = \"a\" } }")
            .contains("no address and no network")
    );
}

/// Signs tokens.
struct Signer(KeyPair);

impl Signer {
    fn new() -> Self {
        Signer(KeyPair::generate_for(&PKCS_ED25519).expect("a key"))
    }

    fn sign(&self, header: &str, claims: &str) -> String {
        let message = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims));
        let signature = self.0.sign(message.as_bytes()).expect("a signature");
        format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature))
    }

    fn token(&self, claims: &str) -> String {
        self.sign(r#"{"alg":"EdDSA","kid":"1"}"#, claims)
    }

    fn jwks(&self) -> String {
        let x = URL_SAFE_NO_PAD.encode(self.0.der_bytes());
        format!(r#"{{"keys":[{{"kty":"OKP","crv":"Ed25519","kid":"1","x":"{x}"}}]}}"#)
    }
}

const LATER: &str = "\"exp\":9999999999";

#[test]
fn jwt() {
    let signer = Signer::new();
    let (_folder, file) = secret(&signer.jwks());
    let settings = "{ algorithms = [\"EdDSA\"], jwks_secret = \"keys\", issuers = [\"me\"], audiences = [\"api\"], \
                    sources = [\"header\", \"cookie:token\", \"query:access_token\"], forward = false, \
                    claims = { x-user = \"sub\", x-roles = \"roles\", x-more = \"more\" } }";
    let weir = start("jwt", settings, &format!("[plugins.it.secrets]\nkeys = \"{file}\"\n"));
    let answer = ask(&weir, "GET /echo");
    assert_eq!(
        (answer.status, answer.header("www-authenticate")),
        (401, Some("Bearer realm=\"restricted\""))
    );
    let good = signer.token(&format!(
        r#"{{"iss":"me","aud":["api","web"],{LATER},"sub":"ann","roles":["a","b"],"more":{{"x":[1]}}}}"#
    ));
    let forged = "x-user: forged\nx-roles: forged\nx-more: forged\nx-other: kept";
    for head in [
        format!("GET /echo\nauthorization: Bearer {good}\n{forged}"),
        format!("GET /echo\ncookie: token={good}\n{forged}"),
        format!("GET /echo?a=1&access_token={good}\n{forged}"),
    ] {
        let answer = ask(&weir, &head);
        let text = answer.text();
        assert_eq!(answer.status, 200, "{text}");
        for field in ["x-user: ann", "x-roles: a,b", "x-more: {\"x\":[1]}", "x-other: kept"] {
            assert!(text.contains(field), "{field} is not in {text}");
        }
        assert!(
            !text.contains("forged") && !text.contains("authorization") && !text.contains("access_token"),
            "{text}"
        );
    }
    let another = Signer::new().token(&format!(r#"{{"iss":"me","aud":"api",{LATER}}}"#));
    let (head, _) = good.rsplit_once('.').expect("it has parts");
    for (token, expected) in [
        (signer.token(r#"{"iss":"me","aud":"api","exp":1000000000}"#), "it has expired"),
        (signer.token(r#"{"iss":"me","aud":"api"}"#), "it has no claim `exp`"),
        (signer.token(&format!(r#"{{"iss":"you","aud":"api",{LATER}}}"#)), "its issuer is not accepted"),
        (signer.token(&format!(r#"{{"iss":"me","aud":"web",{LATER}}}"#)), "it is for another audience"),
        (signer.sign(r#"{"alg":"EdDSA","kid":"2"}"#, "{}"), "there is no key of its `kid` for its algorithm"),
        (signer.sign(r#"{"alg":"HS256","kid":"1"}"#, "{}"), "its algorithm HS256 is not accepted"),
        (another, "its signature is wrong"),
        (format!("{head}."), "its signature is wrong"),
    ] {
        let answer = ask(&weir, &format!("GET /echo\nauthorization: bearer {token}"));
        let told = answer.header("www-authenticate").expect("it is told");
        assert_eq!(answer.status, 401);
        let wanted =
            format!("Bearer realm=\"restricted\", error=\"invalid_token\", error_description=\"{expected}\"");
        assert_eq!(told, wanted);
    }

    let pem = signer.0.public_key_pem().replace("\r\n", "\n").replace('\n', "\\n");
    let settings = format!(
        "{{ algorithms = [\"EdDSA\"], pem = \"{pem}\", optional = true, claims = {{ x-user = \"sub\" }} }}"
    );
    let weir = start("jwt", &settings, "");
    let answer = ask(&weir, "GET /echo\nx-user: forged");
    assert!(answer.status == 200 && !answer.text().contains("forged"), "{}", answer.text());
    assert_eq!(ask(&weir, "GET /echo\nauthorization: Bearer x.y.z").status, 401);
    let text = ask(&weir, &format!("GET /echo\nauthorization: Bearer {good}")).text();
    assert!(text.contains("x-user: ann") && text.contains("authorization: Bearer"), "{text}");

    assert!(refused("jwt", "{ algorithms = [\"RS256\"] }").contains("says where the keys are"));
    assert!(
        refused("jwt", "{ algorithms = [\"none\"], jwks = '{\"keys\":[]}' }")
            .contains("unknown algorithm \"none\"")
    );
    assert!(
        refused("jwt", "{ algorithms = [\"HS256\"], jwks = '{\"keys\":[]}' }").contains("takes a secret")
    );
    assert!(refused("jwt", "{ algorithms = [\"RS256\"], pem = \"x\" }").contains("no public key as PEM"));
    let told = refused("jwt", "{ algorithms = [\"RS256\"], jwks = '{\"keys\":[]}', sources = [\"body\"] }");
    assert!(told.contains("\"body\" is not known"), "{told}");
}

#[test]
fn jwt_with_keys_at_a_url() {
    let (old, new) = (Signer::new(), Signer::new());
    let sets = [old.jwks(), new.jwks().replace("\"kid\":\"1\"", "\"kid\":\"2\"")];
    let rotated = Arc::new(AtomicUsize::new(0));
    let server = {
        let rotated = rotated.clone();
        RawUpstream::start(move |_, served| {
            while served.request().is_some() {
                let set = &sets[rotated.load(Ordering::SeqCst)];
                served.send(format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{set}", set.len()));
            }
        })
    };
    let url = format!("http://{}", server.address());
    let settings = format!("{{ algorithms = [\"EdDSA\"], jwks_url = \"{url}/keys\" }}");
    let weir = start_granted("jwt", &settings, &format!("grants = {{ hosts = [\"{url}\"] }}\n"));
    let asked = || {
        server
            .received()
            .iter()
            .map(|c| String::from_utf8_lossy(&c.bytes).matches("GET /keys").count())
            .sum::<usize>()
    };
    let status = |token: &str| ask(&weir, &format!("GET /echo\nauthorization: Bearer {token}")).status;
    let good = old.token(&format!("{{{LATER}}}"));
    for _ in 0..5 {
        assert_eq!(status(&good), 200);
    }
    assert_eq!(asked(), 1, "the keys are kept");
    // A key that is not known has the set fetched anew, but not again and again.
    rotated.store(1, Ordering::SeqCst);
    let newer = new.sign(r#"{"alg":"EdDSA","kid":"2"}"#, &format!("{{{LATER}}}"));
    assert_eq!(status(&newer), 200);
    for _ in 0..5 {
        assert_eq!(status(&good), 401, "its key is gone");
    }
    assert_eq!(asked(), 2);
}
