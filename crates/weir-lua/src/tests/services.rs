//! What scripts are lent, on the real services.

use super::*;
use std::time::Duration;

use weir_plugin::services::metrics::Exposition;
use weir_plugin::{Grants, Secrets};

#[test]
fn services_work() {
    let limits = Limits { cpu: Duration::from_secs(60), ..Limits::default() };
    let (_, verdict) = run_with(
        r#"
        local kv = weir.kv
        assert(kv.get("a") == nil)
        kv.set("a", "1\0", 60)
        assert(kv.get("a") == "1\0" and kv.ttl("a") > 59)
        assert(kv.add("a", "2") == false and kv.add("b", "2") == true)
        assert(kv.incr("n") == 1 and kv.incr("n", 5) == 6 and kv.incr("m", 1, 10, 60) == 11)
        assert(kv.cas("b", "2", "3") and not kv.cas("b", "2", "4") and kv.cas("c", nil, "5"))
        assert(kv.delete("b") and not kv.delete("b"))
        local ok, message = pcall(kv.incr, "a")
        assert(not ok and string.find(message, "no whole number"), message)

        assert(weir.codec.base64_encode("\255\254") == "//4=" and weir.codec.base64_decode("//4=") == "\255\254")
        assert(weir.codec.base64url_encode("\255\254") == "__4" and weir.codec.base64url_decode("__4=") == "\255\254")
        assert(weir.codec.hex_encode("\255a") == "ff61" and weir.codec.hex_decode("FF61") == "\255a")
        assert(weir.codec.url_encode("a b/é") == "a%20b%2F%C3%A9" and weir.codec.url_decode("a%20b") == "a b")
        ok, message = pcall(weir.codec.hex_decode, "x")
        assert(not ok and string.find(message, "no hexadecimal"), message)

        -- RFC 4231, test case 2
        local code = weir.codec.hex_encode(weir.crypto.hmac("sha256", "Jefe", "what do ya want for nothing?"))
        assert(code == "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843")
        assert(weir.codec.hex_encode(weir.crypto.hash("sha1", "abc")) == "a9993e364706816aba3e25717850c26c9cd0d89d")
        assert(weir.crypto.equal("a", "a") and not weir.crypto.equal("a", "ab"))
        assert(#weir.crypto.random(16) == 16 and weir.crypto.random(16) ~= weir.crypto.random(16))
        assert(weir.regex.is_match("^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab]", weir.crypto.uuid()))
        ok, message = pcall(weir.crypto.hash, "md5", "x")
        assert(not ok and string.find(message, "there are sha1"), message)

        local groups = weir.regex.find("(a)(x)?(b+)", "zabbc")
        assert(groups[1] == "abb" and groups[2] == "a" and groups[3] == false and groups[4] == "bb")
        assert(weir.regex.find("x", "y") == nil)
        assert(weir.regex.replace("(\\w)1", "a1 b1", "$1-") == "a- b-")
        ok, message = pcall(weir.regex.is_match, "(", "x")
        assert(not ok and string.find(message, "no regular expression"), message)

        local networks = weir.ip.parse({ "10.0.0.0/8", "2001:db8::1" })
        assert(networks:contains("10.1.2.3") and networks:contains("::ffff:10.0.0.1") and not networks:contains("11.0.0.1"))
        assert(weir.ip.is_valid("::1") and not weir.ip.is_valid("1.2.3"))

        assert(weir.time.now() > 1.7e9 and weir.time.monotonic() >= 0)

        local value = weir.json.decode('{"a": [1, 2.5, "x", null, true], "b": {}}')
        assert(value.a[2] == 2.5 and value.a[4] == weir.json.null and value.a[5] == true)
        assert(weir.json.encode({ a = { 1, 2 } }) == '{"a":[1,2]}')
        assert(weir.json.encode(weir.json.decode("[]")) == "[]")
        ok, message = pcall(weir.json.decode, "{")
        assert(not ok and string.find(message, "this is no JSON"), message)
        "#,
        limits,
    );
    assert!(matches!(verdict, Verdict::Proceed), "{verdict:?}");
}

/// Runs `on_request` in an event loop.
fn waiting(body: &str, patience: Duration) -> Option<(Held, Verdict)> {
    waiting_with(body, patience, Limits::default())
}

fn waiting_with(body: &str, patience: Duration, limits: Limits) -> Option<(Held, Verdict)> {
    let text = format!("return {{ on_request = function(req)\n{body}\nend }}");
    let policy = Policy { limits, ..Policy::default() };
    let plugin = load_with(&text, Settings::new(), policy).expect("it loads");
    let mut visit = visit(&plugin);
    let mut x = exchange();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("an event loop");
    let verdict = runtime
        .block_on(async { tokio::time::timeout(patience, visit.on_request(&mut x).finish()).await.ok() });
    verdict.map(|verdict| (x, verdict))
}

#[test]
fn a_wait_goes_through_coroutines_and_can_be_cancelled() {
    let (x, verdict) = waiting(
        r#"
        local steps = {}
        local generate = coroutine.wrap(function()
          for i = 1, 3 do
            weir.time.sleep(0.001)
            coroutine.yield(i)
          end
        end)
        table.insert(steps, generate())
        weir.time.sleep(0.001)
        table.insert(steps, generate())
        pcall(function() weir.time.sleep(0.001) end)
        table.insert(steps, generate())
        req.path = "/" .. table.concat(steps, "-")
        "#,
        Duration::from_secs(60),
    )
    .expect("it ends");
    assert!(matches!(verdict, Verdict::Proceed), "{verdict:?}");
    assert_eq!(x.uri.path(), "/1-2-3");
    assert!(waiting("weir.time.sleep(3600)", Duration::from_millis(20)).is_none(), "given up");
    let body = "coroutine.wrap(function() weir.time.sleep(3600) end)()";
    assert!(waiting(body, Duration::from_millis(20)).is_none(), "given up");
}

#[test]
fn a_wait_is_woken_wherever_turns_end() {
    // To begin this takes longer than a turn: it ends between asking what is waited for, and giving way.
    let limits = Limits { slice: Duration::from_micros(20), ..Limits::default() };
    let body = "weir.password.verify('$2b$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW', 'U*U')";
    for _ in 0..10 {
        let (_, verdict) = waiting_with(body, Duration::from_secs(60), limits.clone()).expect("it is woken");
        assert!(matches!(verdict, Verdict::Proceed), "{verdict:?}");
    }
}

#[test]
fn secrets_are_sealed_and_signatures_verified() {
    let (_, verdict) = run(r#"
        local crypto = weir.crypto
        local key = crypto.random(32)
        local sealed = crypto.encrypt(key, "text\0", "for")
        assert(#sealed == 12 + 5 + 16 and crypto.decrypt(key, sealed, "for") == "text\0")
        assert(crypto.decrypt(key, crypto.encrypt(key, "x")) == "x")
        local ok, message = pcall(crypto.decrypt, key, sealed)
        assert(not ok and string.find(message, "cannot be decrypted"), message)
        ok, message = pcall(crypto.encrypt, "short", "x")
        assert(not ok and string.find(message, "16 bytes"), message)

        -- RFC 8032, section 7.1, test 1
        local hex = weir.codec.hex_decode
        local public = hex("d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a")
        local signature = hex("e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b")
        assert(crypto.verify("ed25519", public, "", signature) and not crypto.verify("ed25519", public, "x", signature))
        ok, message = pcall(crypto.verify, "rsa", public, "", signature)
        assert(not ok and string.find(message, "there are ed25519, rsa%-pkcs1%-sha256"), message)
        "#);
    assert!(matches!(verdict, Verdict::Proceed), "{verdict:?}");
}

#[test]
fn tokens_are_verified() {
    let limits = Limits { cpu: Duration::from_secs(60), ..Limits::default() };
    let (_, verdict) = run_with(
        r#"
        local secret = "a secret of some length"
        local function token(claims)
          local function part(value) return weir.codec.base64url_encode(weir.json.encode(value)) end
          local message = part({ alg = "HS256" }) .. "." .. part(claims)
          return message .. "." .. weir.codec.base64url_encode(weir.crypto.hmac("sha256", secret, message))
        end
        local keys = { secret = secret }
        local claims, why = weir.jwt.verify(token({ sub = "me", roles = { "a", "b" }, exp = weir.time.now() + 60 }), keys, { algorithms = { "HS256" } })
        assert(claims and claims.sub == "me" and claims.roles[2] == "b", why)
        claims, why = weir.jwt.verify(token({ exp = 1 }), keys, { algorithms = "HS256", leeway = 5 })
        assert(claims == nil and why == "it has expired", why)
        claims, why = weir.jwt.verify(token({ aud = "a" }), keys, { algorithms = "HS256", audiences = { "b" } })
        assert(claims == nil and string.find(why, "another audience"), why)
        claims, why = weir.jwt.verify("x", '{"keys":[]}', { algorithms = "RS256" })
        assert(claims == nil and string.find(why, "no signed token"), why)
        for expected, arguments in {
          ["one of jwks, secret and pem"] = { "x", {}, {} },
          ["unknown name `key`"] = { "x", { key = "x" }, {} },
          ["not a number"] = { "x", 7, {} },
          ["unknown name `issuer`"] = { "x", keys, { algorithms = "HS256", issuer = "x" } },
          ["`algorithms` is empty"] = { "x", keys, {} },
          ["RS256 takes a public key"] = { "x", keys, { algorithms = "RS256" } },
          ["text or a list of texts"] = { "x", keys, { algorithms = 7 } },
        } do
          local ok, message = pcall(weir.jwt.verify, unpack(arguments))
          assert(not ok and string.find(message, expected, 1, true), message)
        end
        "#,
        limits,
    );
    assert!(matches!(verdict, Verdict::Proceed), "{verdict:?}");
}

#[test]
fn passwords_are_verified_beside_the_worker() {
    let (_, verdict) = waiting(
        r#"
        local hash = "$2b$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW"
        assert(weir.password.verify(hash, "U*U") == true and weir.password.verify(hash, "u*u") == false)
        local ok, message = pcall(weir.password.verify, "$2b$31" .. string.sub(hash, 7), "U*U")
        assert(not ok and string.find(message, "a cost of 31"), message)
        "#,
        Duration::from_secs(60),
    )
    .expect("it ends");
    assert!(matches!(verdict, Verdict::Proceed), "{verdict:?}");
    let (_, verdict) =
        run("weir.password.verify('$2b$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW', 'x')");
    assert!(failure(verdict).contains("no event loop"), "and no panic where there is none");
}

#[test]
fn plugins_share_what_they_were_granted() {
    let services = services();
    let run = |name: &str, kv: &[&str], body: &str| {
        let grants = Grants { kv: kv.iter().map(|&name| name.into()).collect(), ..Grants::default() };
        let policy = Policy { grants, ..Policy::default() };
        let text = format!("return {{ on_request = function(req)\n{body}\nend }}");
        let source = Source::text("test.lua", &text);
        let plugin = block_on(LuaPlugin::load(name, source, Settings::new(), policy, services.clone()));
        let plugin = plugin.expect("it loads");
        block_on(visit(&plugin).on_request(&mut exchange()).finish())
    };
    let write = r#"
        local carts = weir.kv.open("carts")
        carts:set("a", "1\0", 60)
        assert(carts:add("a", "2") == false and carts:get("a") == "1\0" and carts:ttl("a") > 59)
        assert(carts:incr("n") == 1 and carts:incr("n", 5) == 6 and carts:cas("b", nil, "x") and carts:delete("b"))
        assert(weir.kv.get("a") == nil, "its own are others")
        weir.kv.set("a", "own")
    "#;
    let verdict = run("one", &["carts", "more"], write);
    assert!(matches!(verdict, Verdict::Proceed), "{verdict:?}");
    let read = r#"
        local carts = weir.kv.open("carts")
        assert(carts:get("a") == "1\0" and carts:incr("n") == 7 and weir.kv.get("a") == nil)
        local ok, message = pcall(function() return carts.size end)
        assert(not ok and string.find(message, "a store has no `size`"), message)
    "#;
    let verdict = run("carts", &["carts"], read);
    assert!(matches!(verdict, Verdict::Proceed), "{verdict:?}");
    let error = failure(run("two", &["more"], "weir.kv.open('carts')"));
    assert!(error.contains("[plugins.two.grants] kv = [\"carts\"]"), "{error}");
    let error = failure(run("two", &[], "weir.kv.open('own:one')"));
    assert!(error.contains("not granted"), "{error}");
}

#[test]
fn secrets_are_had_by_name() {
    let secrets = Secrets::new([("token".to_owned(), "hush\0".into())].into());
    let policy = Policy { secrets, ..Policy::default() };
    let text = r#"return { on_load = function() assert(weir.secrets.get("token") == "hush\0") weir.secrets.get("key") end }"#;
    let error = load_with(text, Settings::new(), policy).expect_err("there is no such secret");
    let error = format!("{error:?}");
    assert!(error.contains("[plugins.test.secrets]") && !error.contains("hush"), "{error}");
}

#[test]
fn what_scripts_measure_is_shown() {
    let services = services();
    let text = r#"
        local seen = weir.metrics.counter("seen")
        local spread = weir.metrics.histogram("spread", nil, { 1, 2 })
        return { on_request = function(req)
          seen:add()
          weir.metrics.counter("by", { method = req.method, n = 1, ok = true }):add(2)
          local level = weir.metrics.gauge("level")
          level:set(5)
          level:add(-2)
          level:add()
          spread:observe(1.5)
          for expected, call in {
            ["is a table: a text"] = function() weir.metrics.counter("x", { a = {} }) end,
            ["no name of a metric"] = function() weir.metrics.counter("X") end,
            ["of another kind"] = function() weir.metrics.gauge("seen") end,
            ["it only grows"] = function() seen:add(-1) end,
            ["a counter has no `set`"] = function() seen:set(1) end,
          } do
            local ok, message = pcall(call)
            assert(not ok and string.find(message, expected, 1, true), message)
          end
        end }"#;
    let source = Source::text("test.lua", text);
    let plugin =
        block_on(LuaPlugin::load("test", source, Settings::new(), Policy::default(), services.clone()))
            .expect("it loads");
    let verdict = block_on(visit(&plugin).on_request(&mut exchange()).finish());
    assert!(matches!(verdict, Verdict::Proceed), "{verdict:?}");
    let shown = services.metrics.expose(Exposition::OpenMetrics);
    for line in [
        "weir_plugin_seen_total{plugin=\"test\"} 1.0",
        "weir_plugin_by_total{plugin=\"test\",method=\"GET\",n=\"1\",ok=\"true\"} 2.0",
        "weir_plugin_level{plugin=\"test\"} 4.0",
        "weir_plugin_spread_bucket{le=\"2.0\",plugin=\"test\"} 1",
    ] {
        assert!(shown.lines().any(|shown| shown == line), "{line} is not in {shown}");
    }
}
