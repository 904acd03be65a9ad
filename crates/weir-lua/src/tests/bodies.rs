//! Bodies, and requests of a plugin's own.

use super::*;
use bytes::Bytes;
use weir_plugin::message::headers::Side;
use weir_plugin::{Content, Flow, Grants, Phase, Piece};

/// Runs `on_request`, and `on_response` after it, on bodies.
fn with_bodies(text: &str) -> (Held, Box<dyn Visit>, Verdict, Verdict) {
    let plugin = load(text).expect("it loads");
    let mut visit = visit(&plugin);
    let mut x = exchange();
    x.request_body = Content::new(Box::new(Bytes::from_static(b"from the client")));
    let first = block_on(visit.on_request(&mut x).finish());
    x.phase = Phase::Response;
    x.response_body = Content::new(Box::new(Bytes::from_static(b"from the upstream")));
    x.response_headers.insert("etag", http::HeaderValue::from_static("\"1\""));
    x.response_headers.insert("content-encoding", http::HeaderValue::from_static("gzip"));
    let then = block_on(visit.on_response(&mut x).finish());
    (x, visit, first, then)
}

#[test]
fn bodies_are_read_and_replaced() {
    let (mut x, _, first, then) = with_bodies(
        r#"return {
            on_request = function(req)
                assert(req.body:read() == "from the client" and req.body:read(15) == "from the client")
                local ok, message = pcall(function() return req.body:read(5) end)
                assert(not ok and string.find(message, "too large: 5", 1, true), message)
                ok, message = pcall(function() return req.body:read(2^30) end)
                assert(not ok and string.find(message, "limits.body", 1, true), message)
                req.headers:set("x-size", tostring(#req.body:read()))
            end,
            on_response = function(res, req)
                local ok, message = pcall(function() return req.body:read() end)
                assert(not ok and string.find(message, "on its way", 1, true), message)
                res.body:replace("<" .. res.body:read() .. ">")
                assert(res.body:read() == "<from the upstream>")
            end,
        }"#,
    );
    assert!(matches!((&first, &then), (Verdict::Proceed, Verdict::Proceed)), "{first:?} {then:?}");
    assert_eq!(x.headers["x-size"], "15");
    assert_eq!(x.response_headers["etag"], "W/\"1\"");
    assert!(!x.response_headers.contains_key("content-encoding"));
    let (_, replaced) = std::mem::take(&mut x.response_body).into_parts();
    assert_eq!(replaced.as_deref(), Some(&b"<from the upstream>"[..]));
}

fn piece(flow: &mut dyn Flow, bytes: &'static [u8], last: bool) -> Piece {
    block_on(flow.piece(Bytes::from_static(bytes), last).finish())
}

#[test]
fn pieces_go_through_hooks() {
    let (x, mut visit, _, _) = with_bodies(
        r#"return {
            on_request = function(req, ctx) ctx.held = {} end,
            on_request_body = function(piece, last, ctx)
                if piece == "stop" then return weir.respond{ status = 403 } end
                if piece == "wrong" then return 5 end
                if piece == "slow" then weir.time.sleep(0) return "waited" end
                if not last then table.insert(ctx.held, piece) return "" end
                return table.concat(ctx.held, "+")
            end,
            on_response = function(res, req) res.body:pass() end,
            on_response_body = function() error("it was told to pass") end,
        }"#,
    );
    assert!(visit.flow(Side::Response, &x).is_none(), "it lets the response pass");
    let mut flow = visit.flow(Side::Request, &x).expect("it wants the request");
    let flow = &mut *flow;
    assert!(matches!(piece(flow, b"a", false), Piece::Replace(held) if held.is_empty()));
    assert!(matches!(piece(flow, b"b", false), Piece::Replace(held) if held.is_empty()));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
    let waited = runtime.block_on(async { flow.piece(Bytes::from_static(b"slow"), false).finish().await });
    assert!(matches!(waited, Piece::Replace(bytes) if bytes == "waited"));
    assert!(matches!(piece(flow, b"stop", false), Piece::Respond(reply) if reply.status == 403));
    let Piece::Fail(message) = piece(flow, b"wrong", false) else { panic!("a number is no piece") };
    assert!(message.contains("on_request_body returned a number"), "{message}");
    assert!(matches!(piece(flow, b"", true), Piece::Replace(all) if all == "a+b"));
}

#[test]
fn calls_go_where_they_may() {
    let grants = Grants {
        upstreams: ["auth".to_owned()].into(),
        hosts: ["https://a.example".to_owned()].into(),
        ..Grants::default()
    };
    let policy = Policy { grants, ..Policy::default() };
    let text = r#"return { on_request = function(req)
        local res = weir.http.request{ upstream = "auth", path = "/verify?a", method = "POST", body = "\0", headers = { ["x-a"] = { "1", "2" } } }
        assert(res.status == 202 and res:header("x-group") == "auth" and res:header("x-none") == nil)
        local text = res:read()
        assert(string.find(text, "POST /verify?a", 1, true) and string.find(text, "\\x00", 1, true), text)
        assert(res:read() == text, "it can be read again")

        res = assert(weir.http.request{ url = "https://A.example/x", stream = true })
        assert(string.find(res:piece(), "GET /x", 1, true) and res:piece() == nil)

        local none, message = weir.http.request{ upstream = "auth", path = "/refused" }
        assert(none == nil and message == "connection refused", message)

        local all = weir.http.all{ { upstream = "auth", path = "/1" }, { upstream = "auth", path = "/refused" }, { upstream = "auth", path = "/3" } }
        assert(#all == 3 and all[1].status == 202 and all[1].error == nil and all[2].error == "connection refused")
        assert(string.find(all[3]:read(), "GET /3", 1, true))

        for call, wanted in {
            [{ url = "https://b.example/" }] = "https://b.example: `grants.hosts`",
            [{ upstream = "app" }] = "app: `grants.upstreams`",
            [{ upstream = "auth", url = "https://a.example" }] = "either `url`, or `upstream`",
            [{ upstream = "auth", limit = 2^30 }] = "limits.body",
            [{ upstream = "auth", timeout = 0 }] = "the timeout of a call",
            [{ upstream = "auth", headers = { ["a b"] = "c" } }] = "no header name",
            [{ upstream = "auth", hedaers = {} }] = "unknown name `hedaers`",
        } do
            local ok, message = pcall(weir.http.request, call)
            assert(not ok and string.find(message, wanted, 1, true), message)
        end
    end }"#;
    let plugin = load_with(text, Settings::new(), policy).expect("it loads");
    let verdict = block_on(visit(&plugin).on_request(&mut exchange()).finish());
    assert!(matches!(verdict, Verdict::Proceed), "{verdict:?}");
}
