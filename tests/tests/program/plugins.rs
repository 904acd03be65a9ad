//! Scripts on routes: the example of the README, changed while requests run; what is wrong with one; one that would
//! hold a worker up.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tempfile::TempDir;
use weir_tests::RawClient;
use weir_tests::{Weir, weir};

/// A folder with a configuration's scripts.
fn folder(scripts: &[(&str, &str)]) -> TempDir {
    let folder = weir::folder();
    std::fs::create_dir(folder.path().join("plugins")).expect("a folder can be made");
    for (name, text) in scripts {
        write(&folder, name, text);
    }
    folder
}

/// Puts a script in the place of another at once, as editors do.
fn write(folder: &TempDir, name: &str, text: &str) {
    write_in(folder.path(), name, text);
}

fn write_in(folder: &std::path::Path, name: &str, text: &str) {
    let new = folder.join("plugins/new.tmp");
    std::fs::write(&new, text).expect("a script can be written");
    std::fs::rename(new, folder.join("plugins").join(name)).expect("and renamed");
}

fn example() -> String {
    let config =
        std::fs::read_to_string(weir::root().join("examples/script/weir.toml")).expect("the example");
    config.replace("127.0.0.1:8080\"", "127.0.0.1:0\"")
}

fn script() -> String {
    std::fs::read_to_string(weir::root().join("examples/script/plugins/beta.lua")).expect("the example")
}

#[test]
fn the_example_routes_and_can_be_changed_under_traffic() {
    let mut weir = Weir::start_in(folder(&[("beta.lua", &script())]), &example());
    let address = weir.address("web");
    let mut client = RawClient::connect(address);
    let beta = "GET /echo HTTP/1.1\r\nhost: a\r\ncookie: beta=1\r\n\r\n";
    let answer = client.ask(beta);
    assert!(answer.text().contains("x-variant: beta"), "{}", answer.text());
    let record = weir.record("the request", |record| record["target"] == "/echo");
    assert_eq!(record["upstream"], "beta");
    let answer = client.ask("GET /echo HTTP/1.1\r\nhost: a\r\ncookie: beta=0\r\n\r\n");
    assert!(!answer.text().contains("x-variant"), "{}", answer.text());

    // Requests go on all the time.
    let stop = Arc::new(AtomicBool::new(false));
    let seen = Arc::new(Mutex::new(Vec::new()));
    let asking = {
        let (stop, seen) = (stop.clone(), seen.clone());
        std::thread::spawn(move || {
            let mut client = RawClient::connect(address);
            while !stop.load(Ordering::Relaxed) {
                let answer = client.ask(beta);
                assert_eq!(answer.status, 200, "{}", answer.text());
                let text = answer.text();
                let variant = text.lines().find_map(|line| line.strip_prefix("x-variant: "));
                seen.lock().expect("nobody panics").push(variant.unwrap_or("none").trim().to_owned());
            }
        })
    };
    let wait_for = |what: &str| {
        let begun = Instant::now();
        while seen.lock().expect("nobody panics").last().is_none_or(|last| last != what) {
            assert!(begun.elapsed() < Duration::from_secs(60), "{what} never came");
            std::thread::yield_now();
        }
        begun.elapsed()
    };
    let path = weir.folder().to_owned();
    wait_for("beta");
    write_in(&path, "beta.lua", &script().replace("\"x-variant\", \"beta\"", "\"x-variant\", \"gamma\""));
    println!("the new script answered {:?} after it was saved", wait_for("gamma"));
    let told = weir.status();
    assert_eq!(told.code, Some(0), "{}", told.stderr);
    assert!(told.stdout.contains("beta.lua changed): it serves"), "{}", told.stdout);
    // A mistake changes nothing but the log and the status.
    write_in(&path, "beta.lua", "return {\n  on_request = function(req\n}");
    let mut from = 0;
    let told = weir.process().line_from(&mut from, "what is wrong", |line| {
        line.contains("plugin `beta`").then(|| line.to_owned())
    });
    assert!(told.contains("plugins/beta.lua:3:") && told.contains("Expected ')'"), "{told}");
    weir.process().line_from(&mut from, "that the old one goes on", |line| {
        line.contains("the configuration was not changed").then_some(())
    });
    let told = weir.status();
    assert_eq!(told.code, Some(5), "{}", told.stderr);
    assert!(
        told.stdout.contains("beta.lua changed): refused: what served before goes on"),
        "{}",
        told.stdout
    );
    assert!(told.stdout.contains("plugins/beta.lua:3:"), "{}", told.stdout);
    let before = seen.lock().expect("nobody panics").len();
    while seen.lock().expect("nobody panics").len() < before + 20 {
        std::thread::yield_now();
    }
    wait_for("gamma");
    stop.store(true, Ordering::Relaxed);
    asking.join().expect("no request failed");
    let seen = seen.lock().expect("nobody panics");
    let first_gamma = seen.iter().position(|v| v == "gamma").expect("it came");
    assert!(seen[first_gamma..].iter().all(|v| v == "gamma"), "the new script once and for all");
}

#[test]
fn a_script_that_fails_is_told_and_one_that_loops_holds_nobody_up() {
    let scripts = [
        (
            "loops.lua",
            "return { on_request = function(req)\n  if req.path == '/loop' then while true do end end\nend }",
        ),
        ("fails.lua", "return { on_request = function(req)\n  local t = nil\n  t.x = req.path\nend }"),
    ];
    let route = |name: &str, more: &str| {
        format!("[[routes]]\nname = \"{name}\"\npath_prefix = \"/{name}\"\nrespond = \"fine\"\n{more}\n")
    };
    let config = format!(
        "workers = 1\n[[listeners]]\nname = \"web\"\naddress = \"127.0.0.1:0\"\n{}{}{}{}",
        route("loop", "plugins = [\"loops\"]"),
        route("closed", "plugins = [\"fails\"]"),
        route("open", "plugins = [\"open\"]"),
        "[plugins.open]\npath = \"plugins/fails.lua\"\non_failure = \"open\"\n[[routes]]\nrespond = \"other\"\n",
    );
    let mut weir = Weir::start_in(folder(&scripts), &config);
    let address = weir.address("web");
    let mut client = RawClient::connect(address);
    let ask =
        |client: &mut RawClient, path: &str| client.ask(&format!("GET {path} HTTP/1.1\r\nhost: a\r\n\r\n"));
    let answer = ask(&mut client, "/closed");
    assert_eq!(answer.status, 502);
    assert!(!answer.text().contains("attempt"), "the client is not told: {}", answer.text());
    let told =
        weir.process().line("what failed", |line| line.contains("attempt to index").then(|| line.to_owned()));
    assert!(told.contains("fails.lua:3: attempt to index nil with 'x'"), "{told}");
    assert!(told.contains("plugin=\"fails\"") || told.contains("plugin=fails"), "{told}");
    assert_eq!(ask(&mut client, "/open").status, 200);

    // The only worker serves others while scripts loop.
    let looping: Vec<_> = (0..4)
        .map(|_| {
            let mut client = RawClient::connect(address);
            std::thread::spawn(move || client.ask("GET /loop HTTP/1.1\r\nhost: a\r\n\r\n").status)
        })
        .collect();
    let mut worst = Duration::ZERO;
    let mut answered = 0;
    while looping.iter().any(|one| !one.is_finished()) {
        let begun = Instant::now();
        assert_eq!(ask(&mut client, "/").status, 200);
        worst = worst.max(begun.elapsed());
        answered += 1;
    }
    println!("{answered} requests beside four endless loops, the slowest in {worst:?}");
    for one in looping {
        assert_eq!(one.join().expect("it was answered"), 502);
    }
}

/// A proxy whose only route has the plugin `it`, and what it answers.
fn answering(folder: TempDir) -> (Weir, impl Fn(&str)) {
    let config = "workers = 1\n[[listeners]]\nname = \"web\"\naddress = \"127.0.0.1:0\"\n[[routes]]\nrespond = \"\"\nplugins = [\"it\"]\n";
    let weir = Weir::start_in(folder, config);
    let address = weir.address("web");
    let answers = move |wanted: &str| {
        let begun = Instant::now();
        let mut client = RawClient::connect(address);
        while client.ask("GET / HTTP/1.1\r\nhost: a\r\n\r\n").text() != wanted {
            assert!(begun.elapsed() < Duration::from_secs(60), "{wanted} never came");
            std::thread::yield_now();
        }
    };
    (weir, answers)
}

fn saying(text: &str) -> String {
    format!("return {{ on_request = function() return weir.respond{{ body = \"{text}\" }} end }}")
}

#[test]
fn a_link_that_points_elsewhere_is_a_change() {
    use std::os::unix::fs::symlink;
    // As Kubernetes mounts a ConfigMap: it.lua -> ..data/it.lua, ..data -> ..1, and then ..data -> ..2.
    let folder = folder(&[]);
    let plugins = folder.path().join("plugins");
    let version = |name: &str, text: &str| {
        std::fs::create_dir(plugins.join(name)).expect("a folder can be made");
        std::fs::write(plugins.join(name).join("it.lua"), text).expect("a script can be written");
        symlink(name, plugins.join("..new")).expect("a link can be made");
        std::fs::rename(plugins.join("..new"), plugins.join("..data")).expect("and renamed");
    };
    version("..1", &saying("one"));
    symlink("..data/it.lua", plugins.join("it.lua")).expect("a link can be made");
    let (_weir, answers) = answering(folder);
    answers("one");
    version("..2", &saying("two"));
    answers("two");
    version("..3", &saying("three"));
    answers("three");
}

#[test]
fn a_folder_in_the_place_of_another_is_watched_too() {
    let folder = folder(&[]);
    let plugins = folder.path().join("plugins");
    let make = |name: &str, text: &str| {
        std::fs::create_dir(plugins.join(name)).expect("a folder can be made");
        std::fs::write(plugins.join(name).join("plugin.lua"), "return require \"./words\"")
            .expect("a script");
        std::fs::write(plugins.join(name).join("words.lua"), text).expect("a script can be written");
    };
    let replace = |name: &str| {
        std::fs::rename(plugins.join("it"), plugins.join(format!("{name}.old"))).expect("it can be renamed");
        std::fs::rename(plugins.join(name), plugins.join("it")).expect("it can be renamed");
    };
    make("it", &saying("one"));
    let (mut weir, answers) = answering(folder);
    answers("one");
    make("next", &saying("two"));
    replace("next");
    answers("two");
    // Also one with a mistake, which is then mended where it is.
    make("broken", "return {");
    replace("broken");
    weir.process().line("the mistake", |line| line.contains("words.lua:1").then_some(()));
    answers("two");
    std::fs::write(plugins.join("it/words.lua"), saying("three")).expect("a script can be written");
    answers("three");
    std::fs::write(plugins.join("it/words.lua"), saying("four")).expect("a script can be written");
    answers("four");
}

#[test]
fn a_script_is_told_why_an_attempt_failed_also_of_a_websocket() {
    let folder = folder(&[(
        "it.lua",
        "return { select_upstream = function(selection)
            weir.log.info(`attempt {selection.attempt}: {selection.failure or \"none\"}.`)
        end }",
    )]);
    let config = "workers = 1\n[[listeners]]\nname = \"web\"\naddress = \"127.0.0.1:0\"
        [[routes]]\nupstream = \"app\"\nplugins = [\"it\"]\nwebsocket = {}
        [upstreams.app]\nendpoints = [\"unix:gone-1\", \"unix:gone-2\"]\nretry = { attempts = 2 }\n";
    let mut weir = Weir::start_in(folder, config);
    let upgrade = "upgrade: websocket\r\nconnection: upgrade\r\nsec-websocket-version: 13\r\n\
                   sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    let mut seen = 0;
    for fields in ["", upgrade] {
        let answer = RawClient::connect(weir.address("web"))
            .ask(&format!("GET / HTTP/1.1\r\nhost: a\r\n{fields}\r\n"));
        assert_eq!(answer.status, 502);
        for said in ["attempt 0: none.", "attempt 1: there is no such Unix socket."] {
            weir.process().line_from(&mut seen, said, |line| line.contains(said).then_some(()));
        }
    }
}

#[test]
fn connections_are_refused_before_anything_is_read_of_them() {
    let gate = "return { on_connect = function(connection)
        local name = connection.listener
        if name == 'shut' then return weir.refuse() end
        if name == 'fails' or name == 'open' then error('no luck') end
        if name == 'loops' then while true do end end
        assert(weir.kv.incr('connections') >= 1)
    end }";
    let listener = |name: &str, plugin: &str, more: &str| {
        format!(
            "[[listeners]]\nname = \"{name}\"\naddress = \"127.0.0.1:0\"\nplugins = [\"{plugin}\"]\n{more}\n"
        )
    };
    let config = [
        "workers = 1\n[plugins.lenient]\npath = \"plugins/gate.lua\"\non_failure = \"open\"\n".to_owned(),
        listener("web", "gate", ""),
        listener("secure", "gate", "tls = \"self-signed\""),
        listener("shut", "gate", ""),
        listener("fails", "gate", ""),
        listener("loops", "gate", ""),
        listener("open", "lenient", ""),
        "[[routes]]\nrespond = \"fine\"\n".to_owned(),
    ];
    let mut weir = Weir::start_in(folder(&[("gate.lua", gate)]), &config.concat());
    let request = "GET / HTTP/1.1\r\nhost: a\r\n\r\n";
    for name in ["web", "open"] {
        assert_eq!(RawClient::connect(weir.address(name)).ask(request).status, 200, "{name}");
    }
    let url = format!("https://{}/", weir.address("secure"));
    for version in ["--http1.1", "--http2"] {
        let mut curl = std::process::Command::new("curl");
        curl.args(["--silent", "--insecure", version, &url]);
        assert_eq!(weir_tests::process::run("curl", &mut curl, b"").stdout, "fine", "{version}");
    }
    // Nobody is held up by one that loops.
    let mut looping = RawClient::connect(weir.address("loops"));
    assert_eq!(RawClient::connect(weir.address("web")).ask(request).status, 200);
    assert_eq!(looping.rest(), b"");
    for name in ["shut", "fails"] {
        assert_eq!(RawClient::connect(weir.address(name)).rest(), b"", "{name}");
    }
    // The next connection sees what the script says now.
    let before = gate.replace("name == 'shut'", "name == 'web'");
    write_in(weir.folder(), "gate.lua", &before);
    let mut from = 0;
    weir.process().line_from(&mut from, "that the script was taken", |line| {
        line.contains("a new configuration serves").then_some(())
    });
    assert_eq!(RawClient::connect(weir.address("shut")).ask(request).status, 200);
    assert_eq!(RawClient::connect(weir.address("web")).rest(), b"");
}
