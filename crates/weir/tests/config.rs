//! The configuration as a person meets it: what `weir check` says of broken files, what the reference promises, and
//! what `weir explain` tells.

#![allow(clippy::unwrap_used, reason = "a test may fail")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::{Map, Value as Json};
use weir::config::document::{At, Node, Value};
use weir::config::report::Report;
use weir::config::shape::{Shape, alternatives};
use weir::config::{self, Source};
use weir_core::spec::{Balance, Serve};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

fn weir(folder: &Path, args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_weir"))
        .args(args)
        .current_dir(folder)
        .env_remove("RUST_LOG")
        .output()
        .unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// A folder with the broken configurations and the certificates that some of them name.
fn broken() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    copy(&root().join("tests/configs/broken"), folder.path());
    let files = folder.path().join("files");
    fs::create_dir(&files).unwrap();
    fs::write(files.join("empty"), "\n").unwrap();
    for name in ["a", "b"] {
        let key = rcgen::KeyPair::generate().unwrap();
        let params = rcgen::CertificateParams::new(vec![format!("{name}.example")]).unwrap();
        fs::write(files.join(format!("{name}.pem")), params.self_signed(&key).unwrap().pem()).unwrap();
        fs::write(files.join(format!("{name}.key")), key.serialize_pem()).unwrap();
    }
    folder
}

fn copy(from: &Path, to: &Path) {
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            fs::create_dir(&target).unwrap();
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

#[test]
fn broken_configurations_are_explained() {
    let folder = broken();
    let mut names: Vec<String> = fs::read_dir(root().join("tests/configs/broken"))
        .unwrap()
        .map(|e| e.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    assert!(names.len() >= 10, "{names:?}");
    for name in names {
        let out = weir(folder.path(), &["check", &name]);
        assert_eq!(out.status.code(), Some(2), "{name}");
        assert!(out.stdout.is_empty(), "{name}");
        insta::assert_snapshot!(name.trim_end_matches(".toml"), text(&out.stderr));
    }
}

#[test]
fn broken_plugins_are_explained() {
    let folder = tempfile::tempdir().unwrap();
    copy(&root().join("tests/configs/plugins"), folder.path());
    let out = weir(folder.path(), &["check", "weir.toml"]);
    assert_eq!(out.status.code(), Some(2));
    assert!(out.stdout.is_empty());
    insta::assert_snapshot!(text(&out.stderr));
}

#[test]
fn plugins_of_listeners_are_shown() {
    let folder = tempfile::tempdir().unwrap();
    let plugins = folder.path().join("plugins");
    fs::create_dir(&plugins).unwrap();
    for name in ["one", "two"] {
        let text = "local who\nreturn { on_load = function(config) who = config.who end, on_connect = function() end }";
        fs::write(plugins.join(format!("{name}.lua")), text).unwrap();
    }
    let config = "[[listeners]]\nname = \"web\"\naddress = \":80\"\n\
                  plugins = [\"one\", { name = \"two\", settings = { who = \"me\" } }]\n\
                  [[listeners]]\nname = \"db\"\naddress = \":5432\"\nprotocol = \"tcp\"\nplugins = [\"one\"]\n\
                  [[routes]]\nrespond = \"ok\"\n[[tcp_routes]]\nlistener = \"db\"\nupstream = \"db\"\n\
                  [upstreams.db]\nendpoints = [\"10.0.0.1:5432\"]\n";
    fs::write(folder.path().join("w.toml"), config).unwrap();
    let out = weir(folder.path(), &["check", "w.toml"]);
    assert_eq!((out.status.code(), text(&out.stderr).as_str()), (Some(0), ""));
    assert!(
        text(&out.stdout).ends_with(
            "  listener web: 0.0.0.0:80, on_connect of one, two\n  listener db: 0.0.0.0:5432, on_connect of one\n"
        ),
        "{}",
        text(&out.stdout)
    );
    let out = weir(folder.path(), &["explain", "GET", "http://a/", "-c", "w.toml"]);
    assert!(text(&out.stdout).contains("\nconnect   asks one, two\n"), "{}", text(&out.stdout));
}

/// The origin case: TLS, two servers, a client stays with its server, WebSocket.
#[test]
fn ten_lines_do_the_origin_case() {
    let config = "[[listeners]]\naddress = \":443\"\ntls = { cert = \"files/a.pem\", key = \"files/a.key\" }\n\n\
                  [[routes]]\nupstream = \"hub\"\n\n\
                  [upstreams.hub]\nendpoints = [\"10.0.0.1:5000\", \"10.0.0.2:5000\"]\nbalance = \"sticky\"\n";
    assert_eq!(config.lines().count(), 10);
    let folder = broken();
    let file = folder.path().join("ten.toml");
    fs::write(&file, config).unwrap();
    let spec = config::load(&Source::Path(file)).unwrap().plan.spec;
    assert_eq!(spec.listeners[0].serve, Serve::Http);
    assert_eq!(spec.listeners[0].tls.as_ref().unwrap().certificates.len(), 1);
    assert_eq!(spec.upstreams[0].endpoints.len(), 2);
    assert!(matches!(&spec.upstreams[0].balance, Balance::Sticky(c) if &*c.name == "weir-sticky"));
    assert!(spec.routes[0].websocket.is_some());
}

#[test]
fn an_expired_certificate_is_a_warning() {
    let folder = broken();
    let key = rcgen::KeyPair::generate().unwrap();
    let mut params = rcgen::CertificateParams::new(vec!["a.example".to_owned()]).unwrap();
    params.not_after = rcgen::date_time_ymd(2020, 1, 1);
    fs::write(folder.path().join("old.pem"), params.self_signed(&key).unwrap().pem()).unwrap();
    fs::write(folder.path().join("old.key"), key.serialize_pem()).unwrap();
    let config = "listeners = [{ address = \":443\", tls = { cert = \"old.pem\", key = \"old.key\" } }]\n\
                  routes = [{ respond = \"ok\" }]\n";
    fs::write(folder.path().join("old.toml"), config).unwrap();
    let out = weir(folder.path(), &["check", "old.toml"]);
    assert_eq!(out.status.code(), Some(0), "{}", text(&out.stderr));
    assert!(
        text(&out.stderr).contains("warning: old.pem (a.example) has expired on 2020-01-01"),
        "{}",
        text(&out.stderr)
    );
}

#[test]
fn what_is_built_in_is_ok() {
    let out = weir(&root(), &["check"]);
    assert_eq!(out.status.code(), Some(0), "{}", text(&out.stderr));
    assert!(out.stderr.is_empty(), "{}", text(&out.stderr));
    let plan = config::load(&Source::Embedded).unwrap().plan;
    assert_eq!(plan.demo.len(), 1);
    assert_eq!(plan.self_signed.len(), 1);
    assert!(plan.origins.values().all(|o| o.line > 1 && o.file == "config/weir.toml"), "{:?}", plan.origins);
}

#[test]
fn defaults_are_those_of_the_data_plane() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("small.toml");
    fs::write(&file, "[[listeners]]\naddress = \"127.0.0.1:0\"\n[[routes]]\nupstream = \"a\"\n[upstreams.a]\nendpoints = [\"127.0.0.1:1\"]\n").unwrap();
    let spec = config::load(&Source::Path(file)).unwrap().plan.spec;
    let same =
        |a: &dyn std::fmt::Debug, b: &dyn std::fmt::Debug| assert_eq!(format!("{a:?}"), format!("{b:?}"));
    same(&spec.listeners[0].http, &weir_core::spec::HttpLimits::default());
    same(&spec.proxy, &weir_core::spec::Proxy::default());
    same(&spec.upstreams[0].timeouts, &weir_core::spec::UpstreamTimeouts::default());
    same(&spec.upstreams[0].retry, &weir_core::spec::Retry::default());
    same(&spec.reload, &weir_core::spec::Reload::default());
    let default = weir_core::spec::Route {
        identity: spec.routes[0].identity,
        ..weir_core::spec::Route::new("route-1", spec.routes[0].action.clone())
    };
    same(&spec.routes[0], &default);
}

/// The table of the reference asks for what holds where frames are read.
#[test]
fn defaults_of_websockets_are_those_of_the_data_plane() {
    let reference = fs::read_to_string(root().join("config/reference.toml")).unwrap();
    let from = reference.find("#[routes.websocket]").unwrap();
    let to = reference.find("# What `weir ws tap` shows").unwrap();
    let keys = reference[from..to].lines().filter_map(|line| line.strip_prefix('#'));
    let keys = keys.filter(|line| !line.starts_with(' ') && !line.starts_with("ping_interval"));
    // Each goes with another key.
    let keys = keys.filter(|line| !line.starts_with("ping_timeout") && !line.starts_with("first_message"));
    let keys = keys.collect::<Vec<_>>().join("\n");
    let websocket = |table: &str| {
        let text = format!(
            "[[listeners]]\naddress = \"127.0.0.1:0\"\n[[routes]]\nupstream = \"a\"\n{table}\n\
             [upstreams.a]\nendpoints = [\"127.0.0.1:1\"]\n"
        );
        config::load(&Source::Text(text)).unwrap().plan.spec.routes[0].websocket.clone().unwrap()
    };
    let default = weir_core::spec::WebSocket { reads_frames: true, ..weir_core::spec::WebSocket::default() };
    assert_eq!(format!("{:?}", websocket(&keys)), format!("{default:?}"));
    let small = websocket("websocket = { deflate = { takeover = true } }").frames.deflate.unwrap();
    assert_eq!((small.takeover, small.window_bits, small.mem_level), (true, 12, 5));
    let tap =
        websocket("websocket = { tap = { sample = \"2.5%\", redact = \"[0-9]+\" } }").frames.tap.unwrap();
    assert_eq!((tap.sample, tap.max_bytes, tap.redact[0].as_str()), (0.025, 1024, "[0-9]+"));
}

#[test]
fn frames_are_read_where_a_key_asks_for_it() {
    let read = |table: &str| {
        let text = format!(
            "[[listeners]]\naddress = \"127.0.0.1:0\"\n[[routes]]\nupstream = \"a\"\nwebsocket = {table}\n\
             [upstreams.a]\nendpoints = [\"127.0.0.1:1\"]\n"
        );
        let loaded = config::load(&Source::Text(text)).unwrap();
        (loaded.plan.spec.routes[0].websocket.as_ref().unwrap().reads_frames, loaded.report.warnings())
    };
    for table in
        ["true", "{ idle_timeout = \"0s\", max_age = \"1h\", max_age_jitter = \"0%\" }", "{ tap = false }"]
    {
        assert_eq!(read(table), (false, 0), "{table}");
    }
    assert_eq!(read("{ deflate = false }"), (false, 1), "it changes nothing");
    assert_eq!(read("{ deflate = false, max_frame = \"1KiB\" }"), (true, 0));
    for table in [
        // What is given as it would be is asked for, too.
        "max_frame = \"1MiB\"",
        "max_message = \"1KiB\"",
        "max_fragments = 7",
        "max_controls = 0",
        "close_timeout = \"1s\"",
        "pings = \"pass\"",
        "ping_interval = \"0s\"",
        "connect = \"first-message\", first_message_timeout = \"0s\"",
        "queue = \"1KiB\"",
        "queue_full = \"drop\"",
        "deflate = true",
        "deflate = {}",
        "tap = true",
        "tap = {}",
    ] {
        assert_eq!(read(&format!("{{ {table} }}")), (true, 0), "{table}");
    }
}

#[test]
fn a_route_is_the_same_while_it_and_its_upstream_are() {
    let identities = |route: &str, upstream: &str| {
        let text = format!(
            "[[listeners]]\naddress = \"127.0.0.1:0\"\n\
             [[listeners]]\nname = \"tcp\"\naddress = \"127.0.0.1:0\"\nprotocol = \"tcp\"\n\
             [[routes]]\nupstream = \"a\"\n{route}\n[[tcp_routes]]\nlistener = \"tcp\"\nupstream = \"a\"\n{route}\n\
             [upstreams.a]\nendpoints = [\"127.0.0.1:1\"]\n{upstream}\n[upstreams.b]\nendpoints = [\"127.0.0.1:2\"]\n"
        );
        let spec = config::load(&Source::Text(text)).unwrap().plan.spec;
        (spec.routes[0].identity, spec.tcp_routes[0].identity)
    };
    let (http, tcp) = identities("", "");
    assert_eq!(identities("", ""), (http, tcp));
    assert_eq!(identities("on_reload = \"close\"", "# a comment"), (http, tcp));
    for (route, upstream) in [("name = \"other\"", ""), ("", "balance = \"random\"")] {
        let (other_http, other_tcp) = identities(route, upstream);
        assert!(other_http != http && other_tcp != tcp, "{route} {upstream}");
    }
}

#[test]
fn a_listener_inherits_limits_one_by_one() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("limits.toml");
    fs::write(&file, "[limits]\nmax_headers = 7\nhttp2 = { max_streams = 9, max_error_resets = 3 }\n[[listeners]]\naddress = \"127.0.0.1:0\"\nlimits = { http2 = { max_streams = 5 } }\n[[routes]]\nrespond = \"\"\n").unwrap();
    let spec = config::load(&Source::Path(file)).unwrap().plan.spec;
    let http = &spec.listeners[0].http;
    assert_eq!((http.max_headers, http.http2.max_streams, http.http2.max_error_resets), (7, 5, 3));
}

#[test]
fn a_folder_is_merged_in_the_order_of_names() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
    write(
        "20-b.toml",
        "[[routes]]\nname = \"b\"\npath = \"/b\"\nrespond = \"b\"\n[upstreams.y]\nendpoints = [\"127.0.0.1:2\"]\n",
    );
    write(
        "10-a.toml",
        "[[listeners]]\naddress = \"127.0.0.1:0\"\n[[routes]]\nname = \"a\"\nupstream = \"x\"\n[upstreams.x]\nendpoints = [\"127.0.0.1:1\"]\n",
    );
    write("ignored.txt", "not toml");
    let loaded = config::load(&Source::Path(folder.path().to_path_buf())).unwrap();
    let names: Vec<&str> = loaded.plan.spec.routes.iter().map(|r| &*r.name).collect();
    assert_eq!(names, ["a", "b"]);
    assert_eq!(loaded.plan.spec.upstreams.len(), 2);
    assert_eq!(loaded.report.warnings(), 1, "the upstream y is not used");
}

#[test]
fn explain_tells_route_and_reasons() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("w.toml"), include_str!("explain.toml")).unwrap();
    let mut out = String::new();
    for (args, code) in [
        (vec!["GET", "http://example.com/users/7?x=1"], 0),
        (vec!["POST", "https://example.com/api/%61?x=1", "-H", "X-Beta: 1"], 0),
        (vec!["GET", "/old/page", "-H", "Host: example.com:8080"], 0),
        (vec!["GET", "http://example.com/nowhere", "--client", "192.0.2.1", "--listener", "plain"], 4),
        (vec!["GET", "http://example.com/%zz"], 2),
        (vec!["GET", "example.com"], 2),
        (vec!["GET", "/", "--listener", "none"], 2),
    ] {
        let full: Vec<&str> =
            ["explain"].into_iter().chain(args.iter().copied()).chain(["--config", "w.toml"]).collect();
        let result = weir(folder.path(), &full);
        assert_eq!(result.status.code(), Some(code), "{args:?}: {}", text(&result.stderr));
        out.push_str(&format!(
            "$ weir explain {}\n{}{}\n",
            args.join(" "),
            text(&result.stdout),
            text(&result.stderr)
        ));
    }
    insta::assert_snapshot!(out);
}

#[test]
fn usage_errors_have_their_own_exit_code() {
    assert_eq!(weir(&root(), &["check", "no-such-file.toml"]).status.code(), Some(2));
    assert_eq!(weir(&root(), &["--no-such-option"]).status.code(), Some(2));
    assert_eq!(weir(&root(), &["--version"]).status.code(), Some(0));
}

/// The reference with all that is commented out but the prose.
fn reference() -> (String, Node) {
    let text = fs::read_to_string(root().join("config/reference.toml")).unwrap();
    let lines = text.lines().map(|line| match line.strip_prefix('#') {
        Some(code) if code.starts_with(|c: char| c.is_ascii_lowercase() || c == '[') => code,
        _ => line,
    });
    let text = lines.collect::<Vec<_>>().join("\n");
    let mut report = Report::default();
    let node = Node::parse(0, &text, &mut report);
    report.files.push(config::document::File {
        name: "reference".into(),
        folder: "".into(),
        text: text.clone(),
    });
    assert_eq!(report.errors(), 0, "{}", report.render(false));
    (text, node)
}

#[test]
fn the_reference_is_a_configuration() {
    let out = weir(&root(), &["check", "config/reference.toml"]);
    assert_eq!(out.status.code(), Some(0), "{}", text(&out.stderr));
    let (source, node) = reference();
    let schema = config::schema();
    let mut report = Report::default();
    report.files.push(config::document::File { name: "reference".into(), folder: "".into(), text: source });
    Shape { schema: &schema, report: &mut report, bad: &mut Vec::new() }.document(&node);
    assert_eq!(report.errors(), 0, "{}", report.render(false));
}

#[test]
fn the_reference_has_every_key_and_its_default() {
    let (_, node) = reference();
    let schema = config::schema();
    let mut keys = Keys { root: &schema, seen: BTreeSet::new(), wrong: Vec::new() };
    keys.compare(&schema, &node, &At::default());
    let mut all = BTreeSet::new();
    every_key(&schema, &schema, &mut all);
    let missing: Vec<_> = all.difference(&keys.seen).collect();
    assert!(missing.is_empty(), "config/reference.toml lacks {missing:?}");
    assert!(keys.wrong.is_empty(), "config/reference.toml: {:#?}", keys.wrong);
    assert!(all.len() > 100, "the walk over the schema finds keys");
}

/// What a table of the schema is called, and a key of it.
type Key = (String, String);

/// All keys of a schema, by the table that has them.
fn every_key(root: &Json, schema: &Json, out: &mut BTreeSet<Key>) {
    for option in alternatives(root, schema) {
        for part in ["items", "additionalProperties"] {
            option.get(part).filter(|s| s.is_object()).into_iter().for_each(|s| every_key(root, s, out));
        }
        for (key, property) in properties(option) {
            if out.insert((table(option), key.clone())) {
                every_key(root, &property, out);
            }
        }
    }
}

fn properties(schema: &Json) -> Map<String, Json> {
    schema.get("properties").and_then(Json::as_object).cloned().unwrap_or_default()
}

fn table(schema: &Json) -> String {
    schema
        .get("description")
        .and_then(Json::as_str)
        .unwrap_or_default()
        .lines()
        .next()
        .unwrap_or_default()
        .to_owned()
}

struct Keys<'a> {
    root: &'a Json,
    seen: BTreeSet<Key>,
    wrong: Vec<String>,
}

impl Keys<'_> {
    fn compare(&mut self, schema: &Json, node: &Node, at: &At) {
        for option in alternatives(self.root, schema) {
            match &node.value {
                Value::Array(list) => {
                    let Some(items) = option.get("items") else { continue };
                    list.iter().enumerate().for_each(|(i, n)| self.compare(items, n, &at.index(i)));
                }
                Value::Table(entries) => {
                    let properties = properties(option);
                    let others = option.get("additionalProperties").filter(|s| s.is_object());
                    for entry in entries {
                        let at = at.key(&entry.key);
                        if let Some(property) = properties.get(&entry.key) {
                            self.seen.insert((table(option), entry.key.clone()));
                            self.default(property, &entry.node, &at);
                            self.compare(property, &entry.node, &at);
                        } else if let Some(others) = others {
                            self.compare(others, &entry.node, &at);
                        }
                    }
                }
                _ => {}
            }
        }
    }

    /// A value in the reference is the default, where there is one that says something.
    fn default(&mut self, property: &Json, node: &Node, at: &At) {
        let Some(default) = property.get("default") else { return };
        let empty = match default {
            Json::Array(list) => list.is_empty(),
            Json::String(text) => text.is_empty(),
            // Tables are compared key by key.
            Json::Object(_) => true,
            _ => false,
        };
        if empty || matches!(node.value, Value::Table(_)) {
            return;
        }
        let written = json(node);
        let same = match (&written, default) {
            (Json::Number(a), Json::Number(b)) => a.as_f64() == b.as_f64(),
            (a, b) => a == b,
        };
        if !same {
            self.wrong.push(format!("{at} is {written}, the default is {default}"));
        }
    }
}

fn json(node: &Node) -> Json {
    match &node.value {
        Value::String(s) => Json::from(s.as_str()),
        Value::Integer(n) => Json::from(*n),
        Value::Float(n) => Json::from(*n),
        Value::Boolean(b) => Json::from(*b),
        Value::Array(list) => list.iter().map(json).collect(),
        Value::Datetime | Value::Table(_) => Json::Null,
    }
}

/// What the guide shows is a configuration: every block has a shape that is right, and names only what it defines.
#[test]
fn the_guide_shows_what_works() {
    let [guide, websockets] =
        ["config.md", "websocket.md"].map(|name| fs::read_to_string(root().join("docs").join(name)).unwrap());
    let guide = guide + &websockets;
    let blocks: Vec<&str> =
        guide.split("```toml\n").skip(1).filter_map(|rest| rest.split("```").next()).collect();
    assert!(blocks.len() >= 4, "the guide has examples");
    let schema = config::schema();
    for block in blocks {
        let mut report = Report::default();
        let node = Node::parse(0, block, &mut report);
        report.files.push(config::document::File {
            name: "guide".into(),
            folder: "".into(),
            text: block.into(),
        });
        let mut bad = Vec::new();
        let json = Shape { schema: &schema, report: &mut report, bad: &mut bad }.document(&node);
        let raw = serde_json::from_value(json).unwrap();
        config::lower::lower(&raw, &node, &mut report, &mut bad, &[]);
        // The files it names are the reader's own.
        let text = report.render(false);
        let wrong = text.lines().filter(|l| l.starts_with("error") || l.starts_with("warning"));
        let mine = |l: &str| {
            !l.contains("cannot be opened") && !l.contains("/srv/site") && !l.contains("env:EXAMPLE")
        };
        let wrong: Vec<&str> = wrong.filter(|l| mine(l)).collect();
        assert!(wrong.is_empty(), "{wrong:?} in\n{block}");
    }
}

/// What `weir check` says of a plugin that is this file.
fn check_component(file: &[u8]) -> (bool, String) {
    let folder = tempfile::tempdir().unwrap();
    let config =
        "[plugins.filter]\npath = \"filter.wasm\"\n[[routes]]\nrespond = \"x\"\nplugins = [\"filter\"]\n";
    fs::write(folder.path().join("weir.toml"), config).unwrap();
    fs::write(folder.path().join("filter.wasm"), file).unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_weir"))
        .args(["check", "weir.toml"])
        .current_dir(folder.path())
        .env("CACHE_DIRECTORY", folder.path().join("cache"))
        .output()
        .unwrap();
    (output.status.success(), text(&output.stdout) + &text(&output.stderr))
}

#[test]
fn a_file_of_webassembly_is_no_script() {
    for (file, expected) in [
        (&b"\0asm\x01\0\0\0"[..], "a core module; Proxy-Wasm is not supported yet"),
        // A component without anything in it.
        (b"\0asm\x0d\0\x01\0", "it exports no interface `weir:plugin/plugin`"),
        (b"\0asm\x0d\0\x01\0\xff", "plugin `filter`: "),
        // Any other file is a script.
        (b"\0asm", "filter.wasm"),
    ] {
        let (is_ok, told) = check_component(file);
        assert!(!is_ok && told.contains(expected) && told.contains("filter.wasm"), "{expected}: {told}");
    }
}
