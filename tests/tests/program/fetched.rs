//! Plugins that are named by a URL: of a web server, and of an OCI registry.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use sha2::{Digest as _, Sha256};
use tempfile::TempDir;
use weir_tests::certificates::Authority;
use weir_tests::nginx::Nginx;
use weir_tests::process::{self, Output};
use weir_tests::registry::{PASSWORD, Registry};
use weir_tests::{Weir, tools, weir};

use crate::shipped::ask;

const SCRIPT: &str = "return { on_response = function(res) res.headers:set('x-served-by', 'one') end }";

fn hex(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A route with a plugin of these keys.
fn config(plugin: &str) -> String {
    format!(
        "workers = 1
        [[listeners]]
        name = \"web\"
        address = \"127.0.0.1:0\"
        [[routes]]
        respond = \"served\"
        plugins = [\"it\"]
        [plugins.it]
        {plugin}
        "
    )
}

/// A web server with files, whom only `roots` makes believable, and where weir keeps what it fetches.
struct World {
    server: Nginx,
    files: PathBuf,
    roots: PathBuf,
    kept: TempDir,
    _folder: TempDir,
}

impl World {
    fn new(server: &str) -> World {
        let (folder, own) = (weir::folder(), weir::folder());
        let authority = Authority::new(folder.path(), "ca");
        let certificate = authority.issue("server", &["127.0.0.1"]);
        let files = own.path().to_owned();
        fs::write(files.join("it.lua"), SCRIPT).expect("a file");
        fs::copy(tools::guest("example"), files.join("it.wasm")).expect("a copy");
        World {
            server: Nginx::start_tls(own, &certificate, &format!("root %DIR%; {server}")),
            files,
            roots: folder.path().join("ca.pem"),
            kept: weir::folder(),
            _folder: folder,
        }
    }

    fn url(&self, file: &str) -> String {
        format!("https://{}/{file}", self.server.address())
    }

    fn pinned(&self, file: &str) -> String {
        let bytes = fs::read(self.files.join(file)).expect("a file");
        format!("url = \"{}\"\nsha256 = \"{}\"", self.url(file), hex(&bytes))
    }

    /// What fetched plugins are kept as.
    fn kept(&self) -> Vec<PathBuf> {
        kept(self.kept.path())
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = command(self.kept.path(), arguments);
        command.env("SSL_CERT_FILE", &self.roots);
        command
    }

    fn start(&self, plugin: &str) -> Weir {
        start(self.command(&["run", "--config"]), plugin)
    }

    fn check(&self, plugin: &str) -> Output {
        check(self.command(&["check"]), plugin)
    }
}

fn kept(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder.join("weir/plugins")) else { return Vec::new() };
    entries.map(|entry| entry.expect("an entry").path()).collect()
}

/// weir with a cache of the test's own, and no proxy.
fn command(kept: &Path, arguments: &[&str]) -> Command {
    let mut command = weir::command(arguments);
    command.env("XDG_CACHE_HOME", kept).env_remove("CACHE_DIRECTORY");
    for name in ["http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"] {
        command.env_remove(name);
    }
    command
}

fn start(mut command: Command, plugin: &str) -> Weir {
    let folder = weir::folder();
    let path = weir::write_config(&folder, &config(plugin));
    Weir::start_command(folder, command.arg(path))
}

fn check(mut command: Command, plugin: &str) -> Output {
    let folder = weir::folder();
    process::run("weir", command.arg(weir::write_config(&folder, &config(plugin))), b"")
}

fn served_by(weir: &Weir) -> Option<String> {
    ask(weir, "GET /").header("x-served-by").map(str::to_owned)
}

#[test]
fn a_plugin_is_fetched_once() {
    let world = World::new("");
    for (file, served) in [("it.lua", "one"), ("it.wasm", "weir")] {
        let plugin = world.pinned(file);
        assert_eq!(served_by(&world.start(&plugin)).as_deref(), Some(served), "{file}");
        // What is kept does, also where it is gone from the server.
        fs::remove_file(world.files.join(file)).expect("a file");
        assert_eq!(served_by(&world.start(&plugin)).as_deref(), Some(served), "{file}");
    }
    assert_eq!(world.kept().len(), 2);
}

#[test]
fn what_cannot_be_fetched_is_told_and_not_kept() {
    let world = World::new(
        "location /elsewhere { return 302 http://127.0.0.1:1/; } location /round { return 302 /round; }",
    );
    let url = world.url("it.lua");
    let large = fs::File::create(world.files.join("large.wasm")).expect("a file");
    large.set_len((64 << 20) + 1).expect("it has no bytes of its own");
    fs::write(world.files.join("login"), "secret").expect("a file");
    let login = format!("credentials = \"file:{}/login\"", world.files.display());
    for (plugin, told) in [
        (format!("url = \"{url}\"\nsha256 = \"{}\"", hex(b"another")), "what came has the SHA-256"),
        (format!("url = \"{}\"\nsha256 = \"{}\"", world.url("gone.lua"), hex(b"")), "404 Not Found"),
        (format!("url = \"{}\"\nsha256 = \"{}\"", world.url("elsewhere"), hex(b"")), "https only"),
        (format!("url = \"{}\"\nsha256 = \"{}\"", world.url("round"), hex(b"")), "too many redirects"),
        (format!("url = \"{}\"\nsha256 = \"{}\"", world.url("large.wasm"), hex(b"")), "more than 64 MiB"),
        (format!("{}\n{login}", world.pinned("it.lua")), "no user and password"),
        (format!("url = \"{url}\""), "is not pinned"),
        (format!("url = \"{url}\"\nsha256 = \"12\""), "64 hexadecimal digits are wanted"),
        (format!("url = \"{url}\"\npath = \"it.lua\""), "a `path` or a `url`, and not both"),
        (format!("url = \"http://192.0.2.1/it.lua\"\nsha256 = \"{}\"", hex(b"")), "https is wanted"),
    ] {
        let output = world.check(&plugin);
        assert_eq!(output.code, Some(2), "{plugin}: {}{}", output.stdout, output.stderr);
        let shown = format!("{}{}", output.stdout, output.stderr);
        assert!(shown.contains(told), "{plugin}: {shown}");
    }
    // Nobody vouches for the server.
    let output = check(command(world.kept.path(), &["check"]), &world.pinned("it.lua"));
    let shown = format!("{}{}", output.stdout, output.stderr);
    assert!(output.code == Some(2) && shown.contains("UnknownIssuer"), "{shown}");
    assert_eq!(world.kept(), Vec::<PathBuf>::new());
}

#[test]
fn what_is_there_is_told() {
    let world = World::new("");
    for (file, kind) in [("it.lua", "script"), ("it.wasm", "component")] {
        let seen = process::run("weir", &mut world.command(&["inspect", &world.url(file)]), b"");
        assert_eq!(seen.code, Some(0), "{}", seen.stderr);
        let pin = hex(&fs::read(world.files.join(file)).expect("a file"));
        for line in
            [format!("kind     {kind}"), format!("sha256   {pin}"), format!("url      {}", world.url(file))]
        {
            assert!(seen.stdout.contains(&line), "{line}: {}", seen.stdout);
        }
    }
    let seen = process::run("weir", &mut world.command(&["inspect", &world.url("gone")]), b"");
    assert!(seen.code == Some(2) && seen.stderr.contains("404 Not Found"), "{}", seen.stderr);
    assert_eq!(world.kept(), Vec::<PathBuf>::new());
}

#[test]
fn what_is_kept_and_broken_is_fetched_again() {
    let world = World::new("");
    let plugin = world.pinned("it.lua");
    assert_eq!(world.check(&plugin).code, Some(0));
    let [file] = &world.kept()[..] else { panic!("{:?}", world.kept()) };
    fs::write(file, "return { on_request = os.exit }").expect("a file");
    assert_eq!(served_by(&world.start(&plugin)).as_deref(), Some("one"));
    assert_eq!(fs::read_to_string(file).expect("a file"), SCRIPT);
}

#[test]
fn a_reload_that_cannot_fetch_changes_nothing() {
    let world = World::new("");
    let mut weir = world.start(&world.pinned("it.lua"));
    let gone = format!("url = \"{}\"\nsha256 = \"{}\"", world.url("gone.lua"), hex(b"gone"));
    fs::write(weir.folder().join("weir.toml"), config(&gone)).expect("a file");
    let status = weir.wait_for_status("the refusal", |status| status["last_change"]["outcome"] == "refused");
    assert!(status.to_string().contains("404 Not Found"), "{status}");
    assert_eq!(served_by(&weir).as_deref(), Some("one"));
    let other = SCRIPT.replace("one", "two");
    fs::write(world.files.join("gone.lua"), &other).expect("a file");
    let plugin = format!("url = \"{}\"\nsha256 = \"{}\"", world.url("gone.lua"), hex(other.as_bytes()));
    weir.reload(&config(&plugin));
    assert_eq!(served_by(&weir).as_deref(), Some("two"));
}

#[test]
fn an_artifact_is_fetched_from_a_registry() {
    let (mut registry, cache) = (Registry::start(false), weir::folder());
    let component = fs::read(tools::guest("example")).expect("a component");
    let digest = registry.push("me/it", "1.0", "application/wasm", &component);
    let name = format!("oci://{}/me/it:1.0", registry.address());
    // What is there now, and how it is pinned.
    let seen = process::run("weir", &mut command(cache.path(), &["inspect", "--json", &name]), b"");
    assert_eq!(seen.code, Some(0), "{}", seen.stderr);
    let seen: serde_json::Value = serde_json::from_str(&seen.stdout).expect("it is JSON");
    let url = format!("{name}@sha256:{digest}");
    assert_eq!(seen["url"], url.as_str());
    assert_eq!(seen["sha256"], hex(&component).as_str());
    // The tag is another's now: the digest is what counts.
    registry.push("me/it", "1.0", "application/wasm", b"another");
    let plugin = format!("url = \"{url}\"");
    let run = || command(cache.path(), &["run", "--config"]);
    assert_eq!(served_by(&start(run(), &plugin)).as_deref(), Some("weir"));
    for (plugin, told) in [
        (format!("url = \"{name}\""), "`@sha256:…`; `weir inspect"),
        (format!("url = \"{url}\"\nsha256 = \"{}\"", hex(b"")), "and `sha256` is"),
        (format!("url = \"{name}@sha256:{}\"", hex(b"")), "404 Not Found"),
    ] {
        let output = check(command(cache.path(), &["check"]), &plugin);
        let shown = format!("{}{}", output.stdout, output.stderr);
        assert!(output.code == Some(2) && shown.contains(told), "{plugin}: {shown}");
    }
    let other = registry.push("me/it", "2.0", "application/vnd.oci.image.layer.v1.tar", b"no plugin");
    let other = format!("url = \"oci://{}/me/it@sha256:{other}\"", registry.address());
    let output = check(command(cache.path(), &["check"]), &other);
    let shown = format!("{}{}", output.stdout, output.stderr);
    assert!(output.code == Some(2) && shown.contains("the layers [application/vnd.oci"), "{shown}");
    registry.stop();
    assert_eq!(served_by(&start(run(), &plugin)).as_deref(), Some("weir"), "it is kept");
}

#[test]
fn a_registry_is_told_who_asks() {
    let (registry, cache) = (Registry::start(true), weir::folder());
    let component = fs::read(tools::guest("example")).expect("a component");
    let digest = registry.push("it", "1", "application/wasm", &component);
    let plugin = format!("url = \"oci://{}/it@sha256:{digest}\"", registry.address());
    let output = check(command(cache.path(), &["check"]), &plugin);
    let shown = format!("{}{}", output.stdout, output.stderr);
    assert!(output.code == Some(2) && shown.contains("a user and a password"), "{shown}");
    let plugin = format!("{plugin}\ncredentials = \"env:LOGIN\"");
    for (password, served) in [("wrong", false), (PASSWORD, true)] {
        let mut command = command(cache.path(), &["check"]);
        command.env("LOGIN", format!("me:{password}"));
        let output = check(command, &plugin);
        let shown = format!("{}{}", output.stdout, output.stderr);
        assert_eq!(output.code == Some(0), served, "{shown}");
        assert!(served || shown.contains("401 Unauthorized"), "{shown}");
        assert!(!shown.contains(password), "{shown}");
    }
}

#[test]
fn a_token_is_asked_for() {
    let (registry, cache) = (Registry::start(false), weir::folder());
    let component = fs::read(tools::guest("example")).expect("a component");
    let digest = registry.push("it", "1", "application/wasm", &component);
    // As Docker's registry and GitHub's have it: whoever comes without a token is told where there are tokens.
    let front = Nginx::start(
        weir::folder(),
        &format!(
            "location /token {{
                if ($args != 'scope=repository%3Ait%3Apull&service=a%20registry') {{ return 400; }}
                return 200 '{{\"token\": \"good\"}}';
            }}
            location / {{
                error_page 599 = @who;
                if ($http_authorization != 'Bearer good') {{ return 599; }}
                proxy_pass http://{};
            }}
            location @who {{
                add_header WWW-Authenticate 'Bearer realm=\"http://$http_host/token\",service=\"a registry\"' always;
                return 401;
            }}",
            registry.address()
        ),
    );
    let plugin = format!("url = \"oci://{}/it@sha256:{digest}\"", front.address());
    let output = check(command(cache.path(), &["check"]), &plugin);
    assert_eq!(output.code, Some(0), "{}{}", output.stdout, output.stderr);
    assert_eq!(kept(cache.path()).len(), 2, "the manifest and the component");
}
