//! What hooks see and do.

use super::*;
use weir_plugin::{Candidate, Phase, Selection, Target};

#[test]
fn a_request_is_read_and_changed() {
    let (x, verdict) = run(r#"
        assert(req.method == "GET" and req.path == "/a/b" and req.query_string == "x=1&y=%20z")
        assert(req.host == "example.com" and req.scheme == "http" and req.version == "HTTP/1.1")
        assert(req.is_websocket == false)
        assert(req.client_ip == "192.0.2.1" and req.route == "app" and req.upstream == nil)
        assert(req.connection.peer == "192.0.2.1:40000" and req.connection.sni == nil)
        assert(req.headers:get("X-One") == "1" and req.headers:get("x-none") == nil)
        assert(table.concat(req.headers:get_all("x-one"), ",") == "1,2")
        assert(req.query:get("y") == " z" and req.query:get("z") == nil)
        assert(req.cookies:get("c") == "d")
        req.headers:set("x-two", "\255")
        req.headers:add("x-one", "3")
        req.headers:remove("cookie")
        req.query:set("x", "a b&")
        req.path = "/c"
        req.method = "POST"
        req.upstream = "other"
    "#);
    assert!(matches!(verdict, Verdict::Proceed), "{verdict:?}");
    assert_eq!(x.uri, "/c?x=a%20b%26&y=%20z");
    assert_eq!((x.method.as_str(), x.group.as_deref()), ("POST", Some("other")));
    assert_eq!(x.headers.get("x-two").expect("it is set").as_bytes(), b"\xff");
    assert_eq!(x.headers.get_all("x-one").iter().count(), 3);
    assert!(!x.headers.contains_key("cookie"));
}

#[test]
fn what_cannot_be_is_an_error_that_says_so() {
    for (body, expected) in [
        ("req.headers:set('a b', 'c')", "test.lua:2: \"a b\" is no header name"),
        ("req.headers:set('x', 'a\\nb')", "test.lua:2: the value of x has a control character"),
        ("req.headers:set('content-length', '5')", "test.lua:2: content-length is about the connection"),
        ("req.headers:remove('Host')", "a request needs its host"),
        ("req.path = 'a'", "test.lua:2: \"a\" is no path: it starts with /"),
        ("req.path = '/a b'", "blanks and control characters"),
        ("req.method = 'CONNECT'", "CONNECT is not forwarded"),
        ("req.foo()", "test.lua:2: a request has no `foo`"),
        ("req.is_websocket = true", "test.lua:2: `is_websocket` of a request cannot be set"),
        ("req.foo = 1", "test.lua:2: `foo` of a request cannot be set"),
        ("return 5", "on_request returned a number"),
        ("return weir.respond{ stats = 5 }", "unknown name `stats`: there are status, headers, body"),
        ("return weir.respond{ status = 101 }", "101 is no status of a response"),
        ("error('my own')", "test.lua:2: my own"),
        ("local t = nil; t.x = 1", "test.lua:2: attempt to index nil with 'x'"),
    ] {
        let message = failure(run(body).1);
        assert!(message.contains(expected), "{body}: {message}");
        assert!(!message.contains("weir.luau") && !message.contains("mlua"), "{body}: {message}");
    }
}

#[test]
fn a_traceback_has_the_places_of_the_plugin() {
    let text = "local function deep(req, ...)\n  req.path = 'x'\nend\nreturn { on_request = function(req)\n  deep(req)\nend }";
    let plugin = load(text).expect("it loads");
    let message = failure(block_on(visit(&plugin).on_request(&mut exchange()).finish()));
    assert!(message.starts_with("test.lua:2: \"x\" is no path"), "{message}");
    assert!(message.contains("called from test.lua:5"), "{message}");
}

#[test]
fn a_handshake_can_be_told_from_a_get() {
    let script = "if req.is_websocket then return weir.respond{ status = 403 } end";
    let plugin = load(&format!("return {{ on_request = function(req) {script} end }}")).expect("it loads");
    for is_websocket in [false, true] {
        let mut x = exchange();
        x.is_websocket = is_websocket;
        let verdict = block_on(visit(&plugin).on_request(&mut x).finish());
        assert_eq!(matches!(verdict, Verdict::Respond(_)), is_websocket, "{verdict:?}");
    }
}

#[test]
fn an_answer_has_status_headers_and_body() {
    let (_, verdict) = run(r#"
        return weir.respond{ status = 403, body = "no", headers = { ["x-a"] = { "1", "2" }, connection = "close" } }
    "#);
    let Verdict::Respond(reply) = verdict else { panic!("{verdict:?}") };
    assert_eq!((reply.status.as_u16(), &reply.body[..]), (403, &b"no"[..]));
    let all: Vec<_> = reply.headers.get_all("x-a").iter().map(|v| v.as_bytes().to_vec()).collect();
    assert_eq!(all, [b"1", b"2"]);
    assert!(!reply.headers.contains_key("connection"));
}

#[test]
fn ctx_is_of_one_exchange_and_handles_end_with_their_hook() {
    let plugin = load(
        r#"
        local kept
        return {
          on_request = function(req, ctx)
            ctx.path = req.path
            if kept then
              local ok, message = pcall(function() return kept.path end)
              req.headers:set("x-kept", tostring(message))
            end
            kept = req
          end,
          on_response = function(res, req, ctx)
            res.headers:set("x-path", ctx.path)
            res.status = 202
            local ok, message = pcall(function() req.path = "/late" end)
            res.headers:set("x-late", tostring(message))
          end,
          on_log = function(res, req, ctx)
            assert(res.status == 202 and ctx.path == "/a/b")
          end,
        }
    "#,
    )
    .expect("it loads");
    let instance: Rc<dyn Instance> = block_on(plugin.instantiate().finish()).expect("it starts");
    let (mut first, mut second) = (exchange(), exchange());
    let mut one = instance.clone().visit();
    assert!(matches!(block_on(one.on_request(&mut first).finish()), Verdict::Proceed));
    first.phase = Phase::Response;
    assert!(matches!(block_on(one.on_response(&mut first).finish()), Verdict::Proceed));
    assert_eq!(first.response_headers["x-path"], "/a/b");
    assert_eq!(first.status.as_u16(), 202);
    assert!(
        first.response_headers["x-late"].to_str().expect("text").contains("only be changed in on_request")
    );
    assert_eq!(block_on(one.on_log(&mut first).finish()), Ok(()));
    let mut two = instance.visit();
    assert!(matches!(block_on(two.on_request(&mut second).finish()), Verdict::Proceed));
    let message = second.headers["x-kept"].to_str().expect("text");
    assert!(message.contains("this request was used after its hook had ended"), "{message}");
}

#[test]
fn an_upstream_is_chosen() {
    let plugin = load(
        r#"
        return { select_upstream = function(selection, req)
          if selection.attempt > 0 then
            assert(selection.failure == "refused")
            return weir.group("spare")
          end
          assert(selection.group == "app")
          local best
          for _, c in selection.candidates do
            if c.available and (not best or c.load < best.load) then best = c end
          end
          return best and weir.endpoint(best.address)
        end }
    "#,
    )
    .expect("it loads");
    let candidate =
        |address: &str, load, available| Candidate { address: address.into(), weight: 1, load, available };
    let mut selection = Selection {
        group: "app".into(),
        candidates: vec![candidate("a:1", 5, true), candidate("b:1", 2, true), candidate("c:1", 0, false)],
        attempt: 0,
        failure: None,
    };
    let (mut visit, mut x) = (visit(&plugin), exchange());
    let target = block_on(visit.select_upstream(&mut x, &selection).finish());
    assert_eq!(target, Ok(Target::Endpoint("b:1".into())));
    (selection.attempt, selection.failure) = (1, Some("refused"));
    let target = block_on(visit.select_upstream(&mut x, &selection).finish());
    assert_eq!(target, Ok(Target::Group("spare".into())));
}

#[test]
fn an_answer_may_be_made_once_and_returned_each_time() {
    let plugin =
        load("local no = weir.respond{ status = 403 } return { on_request = function() return no end }")
            .expect("it loads");
    for _ in 0..2 {
        let verdict = block_on(visit(&plugin).on_request(&mut exchange()).finish());
        assert!(matches!(verdict, Verdict::Respond(_)), "{verdict:?}");
    }
}

#[test]
fn a_handle_is_of_no_use_while_its_hook_waits() {
    let plugin = load(
        r#"
        local kept, thread
        return { on_request = function(req)
          if kept then
            local ok, message = pcall(function() return kept.path end)
            req.headers:set("x-kept", tostring(message))
            ok, message = pcall(coroutine.close, thread)
            req.headers:set("x-closed", tostring(message))
            return
          end
          kept, thread = req, coroutine.running()
          while true do end
        end }
    "#,
    )
    .expect("it loads");
    let instance: Rc<dyn Instance> = block_on(plugin.instantiate().finish()).expect("it starts");
    let (mut first, mut second) = (exchange(), exchange());
    let (mut one, mut two) = (instance.clone().visit(), instance.visit());
    // It has had its first turn, and its exchange is lent.
    let waiting = one.on_request(&mut first);
    assert!(matches!(waiting, weir_plugin::Step::Wait(_)));
    assert!(matches!(block_on(two.on_request(&mut second).finish()), Verdict::Proceed));
    let told = |name: &str| second.headers[name].to_str().expect("text").to_owned();
    assert!(told("x-kept").contains("used after its hook had ended"), "{}", told("x-kept"));
    assert!(told("x-closed").contains("not a coroutine of the plugin's own"), "{}", told("x-closed"));
}
