//! What scripts are lent, on the real services.

use super::*;
use std::pin::Pin;
use std::time::Duration;

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
    let text = format!("return {{ on_request = function(req)\n{body}\nend }}");
    let plugin = load(&text).expect("it loads");
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

/// A clock on which it takes a while to begin to wait.
#[derive(Debug)]
struct Slow;

impl weir_plugin::services::Clock for Slow {
    fn now(&self) -> Duration {
        Duration::ZERO
    }

    fn monotonic(&self) -> Duration {
        Duration::ZERO
    }

    fn sleep(&self, time: Duration) -> Pin<Box<dyn Future<Output = ()>>> {
        let mut waiting = Box::pin(tokio::time::sleep(time));
        Box::pin(std::future::poll_fn(move |cx| {
            let begun = std::time::Instant::now();
            while begun.elapsed() < Duration::from_millis(2) {}
            waiting.as_mut().poll(cx)
        }))
    }
}

#[test]
fn a_wait_that_begins_at_the_end_of_a_turn_is_woken() {
    // The turn ends between the begin of the wait and the script's saying so.
    let text = "return { on_request = function(req) weir.time.sleep(0.005) req.path = '/woken' end }";
    let limits =
        Limits { slice: Duration::from_millis(1), cpu: Duration::from_secs(60), ..Limits::default() };
    let policy = Policy { limits, ..Policy::default() };
    let services = Services { clock: std::sync::Arc::new(Slow), ..services() };
    let loading = LuaPlugin::load("test", Source::text("test.lua", text), Settings::new(), policy, services);
    let plugin = block_on(loading).expect("it loads");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
    let mut x = exchange();
    runtime.block_on(async {
        let mut visit = visit(&plugin);
        let hook = visit.on_request(&mut x).finish();
        // Polled only when it is woken.
        tokio::time::timeout(Duration::from_secs(10), hook).await.expect("it is woken");
    });
    assert_eq!(x.uri.path(), "/woken");
}
