//! Scripts on bodies, and requests of their own, through a running proxy.

use std::collections::HashSet;
use std::time::Duration;

use weir_tests::raw::{OK, RawUpstream};
use weir_tests::{RawClient, Weir, process, tools, weir};

/// A proxy with one listener and these routes and upstreams; the script is the plugin `it`.
fn start(script: &str, more: &str) -> Weir {
    let folder = weir::folder();
    std::fs::create_dir(folder.path().join("plugins")).expect("a folder can be made");
    std::fs::write(folder.path().join("plugins/it.lua"), script).expect("a script can be written");
    Weir::start_in(
        folder,
        &format!("workers = 1\n[[listeners]]\nname = \"web\"\naddress = \"127.0.0.1:0\"\n{more}"),
    )
}

fn route(upstream: impl std::fmt::Display) -> String {
    format!(
        "[[routes]]\nupstream = \"app\"\nplugins = [\"it\"]\n[upstreams.app]\nendpoints = [\"{upstream}\"]\n"
    )
}

/// Output of curl.
fn curl(arguments: &[&str], input: &[u8]) -> Vec<u8> {
    let mut command = tools::program("curl");
    command.args(["-sS", "--max-time", "60"]).args(arguments);
    let output = process::run("curl", &mut command, input);
    assert_eq!(output.code, Some(0), "{}", output.stderr);
    output.stdout.into_bytes()
}

#[test]
fn a_body_is_read_and_replaced_whatever_its_coding() {
    let inner = Weir::start(
        "workers = 1\n[[listeners]]\nname = \"web\"\naddress = \"127.0.0.1:0\"
        [[routes]]\nupstream = \"app\"
        [routes.compression]\nmin_size = \"1B\"
        [upstreams.app]\nendpoints = [\"demo:\"]\n",
    );
    let outer = start(
        r#"return {
            on_request = function(req, ctx)
                ctx.change = req.query:get("change")
                if req.method == "POST" then
                    local order = weir.json.decode(req.body:read())
                    order.price = 5
                    req.body:replace(weir.json.encode(order))
                end
            end,
            on_response = function(res, req, ctx)
                local text = res.body:read()
                res.headers:set("x-size", tostring(#text))
                if ctx.change then res.body:replace((string.gsub(text, "/echo", "/" .. ctx.change))) end
            end,
        }"#,
        &route(inner.address("web")),
    );
    let base = outer.http("web");
    let echo = |more: &[&str], query: &str| {
        let url = format!("{base}/echo?{query}");
        let text = curl(&[more, &["-D", "-", &url]].concat(), b"");
        let end = text.windows(4).position(|w| w == b"\r\n\r\n").expect("a head") + 4;
        (String::from_utf8_lossy(&text[..end]).to_lowercase(), text[end..].to_vec())
    };
    for coding in ["gzip", "br", "zstd"] {
        let accept = format!("accept-encoding: {coding}");
        // Only looked at, it goes on as it came.
        let (head, body) = echo(&["-H", &accept], "a");
        assert!(head.contains(&format!("content-encoding: {coding}\r\n")), "{head}");
        assert!(!body.starts_with(b"GET /echo"), "it is compressed");
        let size: usize =
            head.split("x-size: ").nth(1).and_then(|s| s.split('\r').next()?.parse().ok()).expect("a size");
        assert!(size > 100, "the script read plain text: {size}");
        let (head, body) = echo(&["-H", &accept], "change=other");
        assert!(!head.contains("content-encoding") && head.contains("content-length: "), "{head}");
        assert!(body.starts_with(b"GET /other?change=other HTTP/1.1"), "{}", body.escape_ascii());
    }
    for version in ["--http1.1", "--http2-prior-knowledge"] {
        let (_, body) = echo(&[version, "--data-binary", "{\"price\":1,\"name\":\"x\"}"], "a");
        let text = String::from_utf8_lossy(&body);
        let (head, sent) = text.split_once("\n\n").expect("a body");
        let sent: serde_json::Value = serde_json::from_str(sent).expect("JSON");
        assert_eq!(sent, serde_json::json!({ "price": 5, "name": "x" }));
        assert!(
            head.contains(&format!(
                "content-length: {}",
                text.split_once("\n\n").expect("a body").1.trim_end().len()
            )),
            "{head}"
        );
    }
    let (head, _) = echo(&["--head"], "change=x");
    assert!(head.starts_with("http/1.1 200"), "{head}");
}

#[test]
fn bodies_stream_through_hooks() {
    let proxy = start(
        r#"return {
            on_request_body = function(piece, last)
                if string.find(piece, "virus", 1, true) then
                    return weir.respond{ status = 422, body = "infected" }
                end
                return (string.upper(piece))
            end,
            on_response = function(res, req, ctx)
                ctx.size = 0
                if req.path == "/status/404" then res.body:pass() end
            end,
            on_response_body = function(piece, last, ctx)
                ctx.size += #piece
                if last then return `\n{ctx.size} bytes` end
            end,
        }"#,
        &route("demo:"),
    );
    let base = proxy.http("web");
    for version in ["--http1.1", "--http2-prior-knowledge"] {
        let echo = format!("{base}/echo");
        let text = curl(&[version, "--data-binary", "hello", &echo], b"");
        let text = String::from_utf8_lossy(&text);
        let (shown, count) = text.rsplit_once('\n').expect("a last line");
        assert!(shown.contains("\n\nHELLO"), "{text}");
        assert_eq!(count, format!("{} bytes", shown.len()));
        let large = vec![b'a'; 3_000_000];
        let counted = curl(&[version, "-T", "-", &format!("{base}/upload")], &large);
        assert!(String::from_utf8_lossy(&counted).contains("3000000"), "{}", counted.escape_ascii());
        let download = curl(&[version, &format!("{base}/download?size=4MiB")], b"");
        assert!(download.ends_with(b"\n4194304 bytes"), "{}", download.len());
        let passed = curl(&[version, &format!("{base}/status/404")], b"");
        assert!(!passed.ends_with(b" bytes"), "{}", passed.escape_ascii());
        let infected = curl(&[version, "-w", " %{http_code}", "--data-binary", "a virus", &echo], b"");
        assert_eq!(String::from_utf8_lossy(&infected), "infected\n8 bytes 422");
    }
}

#[test]
fn a_client_that_breaks_off_is_not_the_plugins_fault() {
    let mut proxy = start("return { on_request = function(req) req.body:read() end }", &route("demo:"));
    let mut client = RawClient::connect(proxy.address("web"));
    client.send("POST /echo?broken HTTP/1.1\r\nhost: a\r\ncontent-length: 10\r\n\r\nabc");
    drop(client);
    let record = proxy.record("the request", |record| record["target"] == "/echo?broken");
    assert_eq!((&record["status"], &record["reason"]), (&400.into(), &"bad_request".into()), "{record}");
}

const ASKING: &str = r#"
local plugin = {}
plugin.on_request = function(req)
    if req.path == "/all" then
        local all = weir.http.all{ { upstream = "auth", path = "/a" }, { upstream = "auth", path = "/b" }, { upstream = "gone" } }
        return weir.respond{ body = `{all[1].status} {all[2]:read()} {all[3].error}` }
    elseif req.path == "/url" then
        local res = assert(weir.http.request{ url = "http://%AUTH%/url?x=1", method = "PUT", body = "abc", headers = { ["x-a"] = "1" } })
        return weir.respond{ status = res.status, body = res:read() }
    elseif req.path == "/slow" then
        local res, message = weir.http.request{ upstream = "slow", timeout = 30 }
        return weir.respond{ body = message }
    elseif req.path == "/late" then
        local res, message = weir.http.request{ upstream = "slow", timeout = 0.05 }
        return weir.respond{ body = message }
    elseif req.path == "/denied" then
        weir.http.request{ upstream = "app" }
    end
    local res = assert(weir.http.request{ upstream = "auth", path = "/verify" })
    if res.status ~= 200 then return weir.respond{ status = res.status } end
    req.headers:set("x-verified", res:read())
end
return plugin
"#;

#[test]
fn scripts_send_requests_of_their_own() {
    let auth = RawUpstream::start(|_, served| {
        while let Some(request) = served.request() {
            match request.starts_with("GET /verify") {
                true => served.send(OK),
                false => served.send("HTTP/1.1 201 Created\r\ncontent-length: 4\r\n\r\nmade"),
            }
        }
    });
    let silent = RawUpstream::start(|_, served| {
        served.request();
        served.rest();
    });
    let gone = weir_tests::nginx::free_address();
    let config = format!(
        "{}[upstreams.auth]\nendpoints = [\"{auth}\"]\n[upstreams.slow]\nendpoints = [\"{}\"]\n
        [upstreams.gone]\nendpoints = [\"{gone}\"]\n
        [plugins.it.grants]\nupstreams = [\"auth\", \"slow\", \"gone\"]\nhosts = [\"http://{auth}\"]\n
        [[routes]]\npath = \"/slow\"\nupstream = \"app\"\nplugins = [\"late\"]
        [plugins.late]\npath = \"plugins/it.lua\"\ngrants = {{ upstreams = [\"slow\"] }}\nlimits = {{ deadline = \"300ms\" }}\n",
        route("demo:"),
        silent.address(),
        auth = auth.address(),
    );
    let mut proxy = start(&ASKING.replace("%AUTH%", &auth.address().to_string()), &config);
    let address = proxy.address("web");
    let ask =
        |path: &str| RawClient::connect(address).ask(&format!("GET {path} HTTP/1.1\r\nhost: a\r\n\r\n"));
    for _ in 0..3 {
        assert!(ask("/echo").text().contains("\nx-verified: ok\n"));
    }
    assert_eq!(auth.received().len(), 1, "the connection is used again");
    let head = auth.head_of("/verify");
    assert!(head.contains("host: auth\r\n") && !head.contains("x-forwarded"), "{head}");
    let all = ask("/all").text();
    assert!(all.starts_with("201 made ") && all.contains("refused"), "{all}");
    let answer = ask("/url");
    assert_eq!((answer.status, answer.text().as_str()), (201, "made"));
    let head = auth.head_of("/url?x=1");
    assert!(head.starts_with("PUT ") && head.contains(&format!("host: {}\r\n", auth.address())), "{head}");
    assert!(head.contains("content-length: 3\r\n") && head.contains("x-a: 1\r\n"), "{head}");
    assert_eq!(ask("/late").text(), "it took too long");
    assert_eq!(ask("/denied").status, 502);
    proxy.process().line("what is missing", |line| {
        line.contains("`grants.upstreams` of the plugin does not name it").then_some(())
    });

    // A hook that waits for an answer that never comes ends by its deadline; others are served meanwhile.
    let waiting =
        std::thread::spawn(move || RawClient::connect(address).ask("GET /slow HTTP/1.1\r\nhost: a\r\n\r\n"));
    silent.wait("the call", |all| all.iter().any(|c| c.bytes.starts_with(b"GET / HTTP/1.1")));
    let mut worst = Duration::ZERO;
    while !waiting.is_finished() {
        let begun = std::time::Instant::now();
        assert_eq!(ask("/echo").status, 200);
        worst = worst.max(begun.elapsed());
    }
    println!("worst gap of another connection while a hook waits for an upstream: {worst:?}");
    assert_eq!(waiting.join().expect("an answer").status, 502);
    proxy
        .process()
        .line("the deadline", |line| line.contains("longer than its deadline of 300ms").then_some(()));
}

#[test]
fn an_answer_that_is_read_piece_by_piece_is_not_kept() {
    let config = format!(
        "{}[plugins.it]\ngrants = {{ upstreams = [\"app\"] }}\nlimits = {{ cpu = \"60s\", deadline = \"60s\" }}\n",
        route("demo:")
    );
    let mut proxy = start(
        "return { on_request = function(req)
            local res = assert(weir.http.request{ upstream = 'app', path = '/download?size=300MiB', stream = true })
            local size = 0
            for piece in function() return res:piece() end do size += #piece end
            return weir.respond{ body = tostring(size) }
        end }",
        &config,
    );
    let answer = RawClient::connect(proxy.address("web")).ask("GET / HTTP/1.1\r\nhost: a\r\n\r\n");
    assert_eq!(answer.text(), (300 << 20).to_string());
    let status = format!("/proc/{}/status", proxy.process().id());
    let status = std::fs::read_to_string(status).expect("it runs");
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB"));
    let peak: u64 = peak.and_then(|peak| peak.parse().ok()).expect("Linux tells");
    assert!(peak < 200 << 10, "it had {peak} KiB at the most");
}

#[test]
fn grants_are_checked() {
    let folder = weir::folder();
    std::fs::create_dir(folder.path().join("plugins")).expect("a folder can be made");
    std::fs::write(folder.path().join("plugins/it.lua"), "return {}").expect("a script can be written");
    let config = "[[listeners]]\naddress = \"127.0.0.1:0\"\n[[routes]]\nrespond = \"\"\nplugins = [\"it\"]
[upstreams.auth]\nendpoints = [\"127.0.0.1:1\"]
[plugins.it.grants]\nupstreams = [\"auht\"]\nhosts = [\"login.example.com\", \"https://a.example/path\"]\n";
    let file = weir::write_config(&folder, config);
    let output = weir::run(&["check", file.to_str().expect("a plain name")]);
    assert_eq!(output.code, Some(2));
    let wrong: HashSet<&str> = output.stderr.lines().filter(|line| line.starts_with("error")).collect();
    assert_eq!(wrong.len(), 3, "{}", output.stderr);
    assert!(output.stderr.contains("did you mean \"auth\"?"), "{}", output.stderr);
}
