//! What a change has to show before it serves.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::Value;
use tempfile::TempDir;
use weir_tests::{RawClient, RawUpstream, Weir, weir};

use super::configuration;

/// A script that stamps requests, and what else its hook does.
fn stamp(text: &str, more: &str) -> String {
    format!(
        "return {{\n  on_request = function(req)\n    {more}\n    return weir.respond{{ body = \"{text}\" }}\n  end,\n}}\n"
    )
}

/// Tests of that script, which want this text.
fn tests(text: &str) -> String {
    format!(
        "return {{\n  [\"it stamps\"] = function(t)\n    local x = t:plugin():exchange()\n    \
         t:equal(x.response.body, \"{text}\")\n  end,\n}}\n"
    )
}

fn write(path: impl AsRef<Path>, text: &str) {
    let path = path.as_ref();
    let new = path.with_file_name("new");
    fs::write(&new, text).expect("a temporary file can be written");
    fs::rename(new, path).expect("it can be renamed");
}

/// A folder with `plugins/stamp.lua`.
fn folder(script: &str) -> TempDir {
    let folder = weir::folder();
    fs::create_dir(folder.path().join("plugins")).expect("a folder");
    write(folder.path().join("plugins/stamp.lua"), script);
    folder
}

/// weir with that plugin before an upstream.
fn start(folder: TempDir, reload: &str, upstream: SocketAddr) -> Weir {
    let config = configuration("", upstream)
        .replace("upstream = \"app\"\n", "upstream = \"app\"\n        plugins = [\"stamp\"]\n");
    Weir::start_in(folder, &format!("{config}\n[access_log]\npath = \"off\"\n[reload]\n{reload}\n"))
}

fn get(address: SocketAddr) -> String {
    RawClient::connect(address).ask("GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").text()
}

fn generation(n: u64) -> impl Fn(&Value) -> bool {
    move |status| status["generation"] == n
}

fn refused(status: &Value) -> bool {
    status["last_change"]["outcome"] == "refused"
}

fn lines(change: &Value, key: &str) -> Vec<String> {
    let list = change[key].as_array().unwrap_or_else(|| panic!("{key} is a list: {change}"));
    list.iter().map(|line| line.as_str().expect("lines are texts").to_owned()).collect()
}

#[test]
fn a_change_whose_tests_fail_is_refused_until_they_pass() {
    let upstream = RawUpstream::polite();
    let folder = folder(&stamp("one", ""));
    let plugins = folder.path().join("plugins");
    // It fails, but was there at the start.
    write(plugins.join("stamp_test.lua"), &tests("two"));
    let mut weir = start(folder, "prove = \"tests\"", upstream.address());
    let address = weir.address("web");
    write(plugins.join("stamp.lua"), &stamp("three", ""));
    let status = weir.wait_for_status("the refusal", refused);
    let problem = &lines(&status["last_change"], "problems")[0];
    for part in [
        "plugins/stamp_test.lua:4: plugin `stamp`: its test \"it stamps\" failed: these are not equal:",
        "expected: \"two\"",
        "came:     \"three\"",
    ] {
        assert!(problem.contains(part), "{part:?} is not in {problem}");
    }
    weir.process().line("the log", |line| line.contains("its test \"it stamps\" failed").then_some(()));
    assert_eq!(get(address), "one");
    // A dry run tells the same.
    let told = weir.ask(&["reload", "--dry-run"]);
    assert_eq!(told.code, Some(5), "{}", told.stdout);
    assert!(told.stdout.contains("its test \"it stamps\" failed"), "{}", told.stdout);
    // The tests alone are mended.
    write(plugins.join("stamp_test.lua"), &tests("three"));
    let status = weir.wait_for_status("the change", generation(2));
    assert_eq!(lines(&status["last_change"], "proof"), ["1 test of stamp passed"]);
    assert_eq!(get(address), "three");
    // What serves is not proved again, and other tests are no other configuration.
    write(plugins.join("stamp_test.lua"), &tests("four"));
    let told = weir.ask_json(&["reload"]);
    assert_eq!((&told["outcome"], &told["generation"]), (&"unchanged".into(), &2.into()));
    // Without tests there is nothing to pass.
    fs::remove_file(plugins.join("stamp_test.lua")).expect("it is there");
    write(plugins.join("stamp.lua"), &stamp("five", ""));
    let status = weir.wait_for_status("the change", generation(3));
    assert!(lines(&status["last_change"], "proof").is_empty());
}

#[test]
fn tests_that_do_not_end_in_time_have_failed() {
    let upstream = RawUpstream::polite();
    let folder = folder(&stamp("one", ""));
    let plugins = folder.path().join("plugins");
    let weir = start(folder, "watch = false\nprove = \"tests\"\nprove_timeout = \"1us\"", upstream.address());
    write(plugins.join("stamp.lua"), &stamp("two", ""));
    write(plugins.join("stamp_test.lua"), &tests("two"));
    let told = weir.ask_json(&["reload"]);
    assert_eq!(told["outcome"], "refused", "{told}");
    let problem = &lines(&told, "problems")[0];
    assert!(problem.contains("stamp_test.lua") && problem.contains("no time left for it"), "{problem}");
    assert_eq!(get(weir.address("web")), "one");
}

/// Sends requests while something is waited for. What the answers were, but for the last ones perhaps.
fn under_traffic<T>(address: SocketAddr, request: &str, wait: impl FnOnce() -> T) -> (Vec<String>, T) {
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let traffic = scope.spawn(|| {
            let (mut client, mut answers) = (RawClient::connect(address), Vec::new());
            while !stop.load(Ordering::Relaxed) {
                answers.push(client.ask(request).text());
            }
            answers
        });
        let waited = wait();
        stop.store(true, Ordering::Relaxed);
        (traffic.join().expect("every request is answered"), waited)
    })
}

const GET: &str = "GET / HTTP/1.1\r\nhost: a\r\n\r\n";

/// `[reload]` with a shadow of all requests.
fn shadow(more: &str) -> String {
    format!("prove = \"shadow\"\n[reload.shadow]\nshare = \"100%\"\n{more}")
}

#[test]
fn a_script_that_fails_on_live_requests_is_refused_and_no_request_sees_it() {
    let upstream = RawUpstream::polite();
    // Only failures can end it.
    let asked = shadow("for = \"1h\"\nrequests = 20\nerrors = \"10%\"");
    let mut weir = start(folder(&stamp("one", "")), &asked, upstream.address());
    let (address, script) = (weir.address("web"), weir.folder().join("plugins/stamp.lua"));
    write(&script, &stamp("two", "req.headers:set(\"x-a\", req.headers:get(\"x-none\").text)"));
    let (answers, status) = under_traffic(address, GET, || weir.wait_for_status("the refusal", refused));
    assert!(answers.iter().all(|answer| answer == "one"), "{answers:?}");
    assert_eq!(status["generation"], 1);
    let problem = &lines(&status["last_change"], "problems")[0];
    assert!(problem.starts_with("100% of "), "{problem}");
    for part in [
        " shadowed requests failed in plugin `stamp`: stamp.lua:3: attempt to index nil",
        "(`reload.shadow.errors` allows 10%)",
    ] {
        assert!(problem.contains(part), "{part:?} is not in {problem}");
    }
    // Nothing of what it did is in the log but that.
    weir.process().line("the end of it", |line| line.contains("was not changed").then_some(()));
    assert!(
        !weir.process().lines().iter().any(|line| line.contains("hook=")),
        "{:?}",
        weir.process().lines()
    );
}

#[test]
fn a_script_that_does_well_on_live_requests_serves_and_has_had_no_effects() {
    let upstream = RawUpstream::polite();
    let counting = |text: &str, more: &str| {
        format!(
            "return {{\n  on_request = function(req)\n    {more}\n    \
             return weir.respond{{ body = `{text} {{weir.kv.incr(\"n\")}}` }}\n  end,\n}}\n"
        )
    };
    let asked = shadow("for = \"3s\"\nrequests = 1\nlatency = \"1h\"");
    let mut weir = start(folder(&counting("one", "")), &asked, upstream.address());
    let (address, script) = (weir.address("web"), weir.folder().join("plugins/stamp.lua"));
    let more = "weir.log.error(\"logged\") weir.metrics.counter(\"seen\"):add() weir.kv.incr(\"m\") \
                if req.path == \"/m\" then return weir.respond{ body = `{weir.kv.get(\"m\")}` } end";
    write(&script, &counting("two", more));
    let (answers, status) = under_traffic(address, GET, || weir.wait_for_status("the change", generation(2)));
    let proof = &lines(&status["last_change"], "proof")[0];
    assert!(
        proof.contains("shadowed within 3s: none failed, hooks took ") && !proof.starts_with('0'),
        "{proof}"
    );
    // Each request counted once, by the script that answered it.
    let mut twos = 0;
    for (n, answer) in answers.iter().enumerate() {
        twos += usize::from(answer.starts_with("two"));
        let text = if twos > 0 { "two" } else { "one" };
        assert_eq!(*answer, format!("{text} {}", n + 1));
    }
    let told = RawClient::connect(address).ask(&GET.replace("/ HTTP", "/m HTTP")).text();
    assert_eq!(told, (twos + 1).to_string());
    let _ = weir.terminate();
    let logged = weir.process().lines().iter().filter(|line| line.contains("logged")).count();
    assert_eq!(logged, twos + 1);
}

#[test]
fn what_asks_for_more_than_the_head_of_a_request_is_not_judged_and_serves() {
    let upstream = RawUpstream::polite();
    let folder = folder(&stamp("one", ""));
    let asked = shadow("for = \"2s\"\nrequests = 1");
    let grants = "[plugins.stamp.grants]\nupstreams = [\"app\"]";
    let mut weir = start(folder, &format!("{asked}\n{grants}"), upstream.address());
    let (address, script) = (weir.address("web"), weir.folder().join("plugins/stamp.lua"));
    let call =
        "if req.method == \"GET\" then weir.http.request{ upstream = \"app\" } else req.body:read() end";
    write(&script, &stamp("two", call));
    let post = "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\n\r\nx";
    let (posts, (gets, status)) = under_traffic(address, post, || {
        under_traffic(address, GET, || weir.wait_for_status("the change", generation(2)))
    });
    let proof = &lines(&status["last_change"], "proof")[0];
    assert!(proof.starts_with("0 requests shadowed within 2s; "), "{proof}");
    assert!(proof.contains(" not judged, for hooks asked for a body or another server's answer"), "{proof}");
    weir.process()
        .line("a warning", |line| line.contains("a change is published that could not").then_some(()));
    assert!(posts.iter().all(|answer| answer == "one" || answer == "two"), "{posts:?}");
    let twos = gets.iter().filter(|answer| *answer == "two").count();
    let calls = |received: &weir_tests::raw::Received| {
        String::from_utf8_lossy(&received.bytes).matches(" HTTP/1.1\r\n").count()
    };
    let calls: usize = upstream.received().iter().map(calls).sum();
    assert_eq!(calls, twos, "only what serves calls it");
}

#[test]
fn a_script_that_is_too_slow_is_refused() {
    let upstream = RawUpstream::polite();
    let asked = shadow("for = \"2s\"\nrequests = 1\nlatency = \"1us\"");
    let weir = start(folder(&stamp("one", "")), &asked, upstream.address());
    let (address, script) = (weir.address("web"), weir.folder().join("plugins/stamp.lua"));
    write(&script, &stamp("two", "weir.time.sleep(9)"));
    let (answers, status) = under_traffic(address, GET, || weir.wait_for_status("the refusal", refused));
    assert!(answers.iter().all(|answer| answer == "one"), "{answers:?}");
    let problem = &lines(&status["last_change"], "problems")[0];
    assert!(problem.contains(" longer than those that serve"), "{problem}");
    assert!(problem.contains("(`reload.shadow.latency` allows 1µs)"), "{problem}");
}

#[test]
fn without_traffic_or_other_hooks_a_change_serves_all_the_same() {
    let upstream = RawUpstream::polite();
    let mut weir = start(folder(&stamp("one", "")), &shadow("for = \"1us\""), upstream.address());
    let config = weir.folder().join("weir.toml");
    write(weir.folder().join("plugins/stamp.lua"), &stamp("two", ""));
    let status = weir.wait_for_status("the change", generation(2));
    assert_eq!(
        lines(&status["last_change"], "proof"),
        ["0 requests shadowed within 1µs: too few to judge by (`reload.shadow.requests` asks for 100)"]
    );
    weir.process()
        .line("a warning", |line| line.contains("a change is published that could not").then_some(()));
    assert_eq!(get(weir.address("web")), "two");
    // Longer than anybody waits: but these are the hooks that serve.
    let text = fs::read_to_string(&config).expect("it is there");
    let text = text.replace("1us", "1h").replace("name = \"all\"", "name = \"all\"\nmax_body = \"1MiB\"");
    write(&config, &text);
    let status = weir.wait_for_status("the change", generation(3));
    assert!(lines(&status["last_change"], "proof").is_empty(), "{status:#}");
    // A dry run does not wait for it either.
    write(weir.folder().join("plugins/stamp.lua"), &stamp("three", ""));
    assert_eq!(weir.ask_json(&["reload", "--dry-run"])["outcome"], "possible");
    // Nor does the end.
    weir.process().line("the shadow", |line| line.contains("tried on live requests").then_some(()));
    assert_eq!(weir.terminate().code(), Some(0));
}

#[test]
fn what_changes_while_another_change_is_tried_is_taken_after_it() {
    let upstream = RawUpstream::polite();
    let mut weir = start(folder(&stamp("one", "")), &shadow("for = \"2s\""), upstream.address());
    let (address, script) = (weir.address("web"), weir.folder().join("plugins/stamp.lua"));
    write(&script, &stamp("two", ""));
    weir.process().line("the shadow", |line| line.contains("tried on live requests").then_some(()));
    write(&script, &stamp("three", ""));
    let told = weir.ask_json(&["rollback", "--to", "7"]);
    assert!(told["outcome"] == "refused" && told["generation"] != 1, "it has waited: {told}");
    weir.wait_for_status("the other change", generation(3));
    assert_eq!(get(address), "three");
}
