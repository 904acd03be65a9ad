//! Changes while weir runs: of every file that it was read from, in every way of saving one; asked for, tried, taken
//! back by hand and by itself.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::Value;
use weir_tests::{Authority, RawClient, RawUpstream, Weir, weir};

use super::configuration;

/// A listener `web` that answers every request with this text; `more` goes first, where top-level keys belong.
fn answering(text: &str, more: &str) -> String {
    format!(
        "workers = 1\n{more}\n[[listeners]]\nname = \"web\"\naddress = \"127.0.0.1:0\"\n\
         [[routes]]\nname = \"all\"\nrespond = \"{text}\"\n"
    )
}

fn get(address: SocketAddr) -> String {
    RawClient::connect(address).ask("GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").text()
}

fn write(path: impl AsRef<Path>, text: &str) {
    fs::write(path, text).expect("a temporary file can be written");
}

/// Puts another file in the place of one, as `sed -i` does.
fn put(path: &Path, text: &str) {
    let new = path.with_file_name("sedABC");
    write(&new, text);
    fs::rename(new, path).expect("it can be renamed");
}

fn generation(n: u64) -> impl Fn(&Value) -> bool {
    move |status| status["generation"] == n
}

fn lines<'a>(change: &'a Value, key: &str) -> Vec<&'a str> {
    let list = change[key].as_array().unwrap_or_else(|| panic!("{key} is a list: {change}"));
    list.iter().map(|line| line.as_str().expect("lines are texts")).collect()
}

#[test]
fn every_way_of_saving_the_configuration_is_seen() {
    let weir = Weir::start(&answering("0", ""));
    let (address, path) = (weir.address("web"), weir.folder().join("weir.toml"));
    let vim = |text: &str| {
        // The swap file before, the backup after: neither counts.
        write(path.with_file_name(".weir.toml.swp"), "swap");
        fs::rename(&path, path.with_file_name("weir.toml~")).expect("it can be renamed");
        write(&path, text);
        fs::remove_file(path.with_file_name("weir.toml~")).expect("it is there");
        fs::remove_file(path.with_file_name(".weir.toml.swp")).expect("it is there");
    };
    let saves: [&dyn Fn(&str); 3] = [&|text| write(&path, text), &|text| put(&path, text), &vim];
    for (n, save) in (2..).zip(saves) {
        let text = n.to_string();
        save(&answering(&text, ""));
        let status = weir.wait_for_status("the change", generation(n));
        assert_eq!(get(address), text);
        let change = &status["last_change"];
        assert!(change["cause"].as_str().is_some_and(|cause| cause.contains("weir.toml")), "{change}");
        assert_eq!(
            (&change["outcome"], lines(change, "changes")),
            (&"published".into(), vec!["route all: changed"])
        );
    }
    // Nothing of what else was written is left to be read.
    assert_eq!(weir.ask_json(&["reload"])["outcome"], "unchanged");
    assert_eq!(weir.ask_json(&["status"])["generation"], 4);
}

#[test]
fn links_of_a_deployment_are_followed_to_where_they_lead_now() {
    let folder = weir::folder();
    let mount = folder.path().join("config");
    let deploy = move |n: u32| {
        let own = mount.join(format!("..{n}"));
        fs::create_dir_all(&own).expect("a folder");
        write(own.join("weir.toml"), &answering(&n.to_string(), ""));
        symlink(format!("..{n}"), mount.join("..data_tmp")).expect("a link");
        fs::rename(mount.join("..data_tmp"), mount.join("..data")).expect("it can be renamed");
        if n > 0 {
            fs::remove_dir_all(mount.join(format!("..{}", n - 1))).expect("it is there");
        }
    };
    deploy(0);
    symlink("..data/weir.toml", folder.path().join("config/weir.toml")).expect("a link");
    let weir = Weir::start_at(folder, "config/weir.toml");
    for n in 1..=3u32 {
        deploy(n);
        weir.wait_for_status("the deployment", generation(u64::from(n) + 1));
        assert_eq!(get(weir.address("web")), n.to_string());
    }
}

#[test]
fn many_files_that_change_at_once_are_one_generation() {
    let folder = weir::folder();
    let config = folder.path().join("config");
    fs::create_dir(&config).expect("a folder");
    write(config.join("0.toml"), "workers = 1\n[[listeners]]\nname = \"web\"\naddress = \"127.0.0.1:0\"\n");
    let route = |n: usize, text: &str| {
        format!("[[routes]]\nname = \"r{n}\"\npath = \"/{n}\"\nrespond = \"{text}\"\n")
    };
    for n in 1..=200 {
        write(config.join(format!("r{n}.toml")), &route(n, "old"));
        write(config.join(format!("r{n}.new")), &route(n, "new"));
    }
    let weir = Weir::start_at(folder, "config");
    for n in 1..=200 {
        let file = |end: &str| config.join(format!("r{n}.{end}"));
        fs::rename(file("new"), file("toml")).expect("it can be renamed");
    }
    let status = weir.wait_for_status("the change", |status| status["generation"] != 1);
    assert_eq!(lines(&status["last_change"], "changes").len(), 200);
    // One more route in a file of its own.
    write(config.join("more.toml"), &route(201, "new"));
    weir.wait_for_status("another file", generation(3));
    assert_eq!(weir.ask_json(&["reload"])["outcome"], "unchanged");
    assert_eq!(weir.ask_json(&["status"])["generation"], 3);
}

#[test]
fn a_certificate_that_is_replaced_is_served_and_a_bad_pair_is_not() {
    let folder = weir::folder();
    let (one, two) = (Authority::new(folder.path(), "one"), Authority::new(folder.path(), "two"));
    one.issue("site", &["example.com"]);
    let tls = "tls = { cert = \"site.pem\", key = \"site.key\" }";
    let config = answering("hello", "").replace("\n[[routes]]", &format!("\n{tls}\n[[routes]]"));
    let weir = Weir::start_in(folder, &config);
    let address = weir.address("web");
    let serves = |authority: &Authority| {
        RawClient::connect_tls(address, authority.client_config(&[]), "example.com").is_ok()
    };
    assert!(serves(&one) && !serves(&two));
    // Another certificate without its key.
    let other = two.issue("other", &["example.com"]);
    let (cert, key) = (weir.folder().join("site.pem"), weir.folder().join("site.key"));
    fs::copy(&other.certificate, &cert).expect("it can be copied");
    let status = weir.wait_for_status("the refusal", |status| status["last_change"]["outcome"] == "refused");
    assert!(lines(&status["last_change"], "problems")[0].contains("does not belong to"), "{status:#}");
    assert!(serves(&one), "the old one is served on");
    fs::copy(&other.key, &key).expect("it can be copied");
    let status = weir.wait_for_status("the certificate", generation(2));
    assert_eq!(lines(&status["last_change"], "changes"), ["certificate for example.com: replaced"]);
    assert!(serves(&two) && !serves(&one));
}

#[test]
fn what_was_taken_back_does_not_come_with_a_certificate() {
    let folder = weir::folder();
    let (one, two) = (Authority::new(folder.path(), "one"), Authority::new(folder.path(), "two"));
    one.issue("site", &["example.com"]);
    let tls = "tls = { cert = \"site.pem\", key = \"site.key\" }";
    let config = |text| answering(text, "").replace("\n[[routes]]", &format!("\n{tls}\n[[routes]]"));
    let weir = Weir::start_in(folder, &config("good"));
    put(&weir.folder().join("weir.toml"), &config("bad"));
    weir.wait_for_status("the change", generation(2));
    assert_eq!(weir.ask_json(&["rollback"])["restored"], 1);
    let other = two.issue("other", &["example.com"]);
    // Until both are there, they do not belong together.
    fs::copy(&other.certificate, weir.folder().join("site.pem")).expect("it can be copied");
    fs::copy(&other.key, weir.folder().join("site.key")).expect("it can be copied");
    let status = weir.wait_for_status("the certificate", generation(4));
    assert_eq!(lines(&status["last_change"], "changes"), ["certificate for example.com: replaced"]);
    let address = weir.address("web");
    let mut client =
        RawClient::connect_tls(address, two.client_config(&[]), "example.com").expect("it serves");
    assert_eq!(client.ask("GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").text(), "good");
    // What is written counts when it is another.
    put(&weir.folder().join("weir.toml"), &config("better"));
    weir.wait_for_status("the next change", generation(5));
}

#[test]
fn a_file_that_cannot_be_read_changes_nothing_and_is_looked_at_again_when_it_can() {
    let folder = weir::folder();
    fs::create_dir(folder.path().join("plugins")).expect("a folder");
    write(folder.path().join("page.html"), "one");
    let config = answering("", "").replace("respond = \"\"", "respond = { file = \"page.html\" }");
    let weir = Weir::start_in(folder, &config);
    let (address, page) = (weir.address("web"), weir.folder().join("page.html"));
    let refused = |status: &Value| status["last_change"]["outcome"] == "refused";
    fs::remove_file(&page).expect("it is there");
    let status = weir.wait_for_status("the refusal", refused);
    assert!(lines(&status["last_change"], "problems")[0].contains("cannot read"), "{status:#}");
    assert_eq!(weir.status().code, Some(5));
    assert_eq!(get(address), "one");
    write(&page, "two");
    weir.wait_for_status("the page", generation(2));
    assert_eq!(get(address), "two");
    // A folder in its place, for root reads whatever has no permission.
    fs::remove_file(&page).expect("it is there");
    fs::create_dir(&page).expect("a folder");
    weir.wait_for_status("the refusal", refused);
    fs::remove_dir(&page).expect("it is there");
    write(&page, "two");
    let status = weir.wait_for_status("that all is well", |status| !refused(status));
    assert_eq!((&status["generation"], &status["last_change"]["outcome"]), (&2.into(), &"unchanged".into()));
    // A plugin that is not there yet is waited for.
    write(weir.folder().join("weir.toml"), &format!("{config}plugins = [\"late\"]\n"));
    weir.wait_for_status("the refusal", refused);
    write(weir.folder().join("plugins/late.lua"), "return {}");
    let status = weir.wait_for_status("the plugin", generation(3));
    assert_eq!(status["plugins"][0], "late");
    fs::set_permissions(&page, fs::Permissions::from_mode(0o644)).expect("it is there");
}

#[test]
fn without_watching_only_what_is_asked_for_is_done() {
    let off = "reload = { watch = false }";
    let weir = Weir::start(&answering("one", off));
    write(weir.folder().join("weir.toml"), &answering("two", off));
    let told = weir.ask(&["reload"]);
    assert_eq!((told.code, told.stdout.as_str()), (Some(0), "generation 2 serves\n  route all: changed\n"));
    assert_eq!(get(weir.address("web")), "two");
}

#[test]
fn a_dry_run_tells_what_would_change_and_changes_nothing() {
    let off = "reload = { watch = false }";
    let weir = Weir::start(&answering("one", off));
    let config = weir.folder().join("weir.toml");
    let told = weir.ask(&["reload", "--dry-run"]);
    assert_eq!((told.code, told.stdout.as_str()), (Some(0), "nothing has changed: generation 1 goes on\n"));
    write(&config, &answering("two", off));
    let told = weir.ask(&["reload", "--dry-run"]);
    assert_eq!(
        (told.code, told.stdout.as_str()),
        (Some(0), "it could serve; what would change:\n  route all: changed\n")
    );
    write(&config, &answering("two", &format!("{off}\nwrong = 1")));
    let told = weir.ask(&["reload", "--dry-run"]);
    assert_eq!(told.code, Some(5), "{}", told.stderr);
    assert!(told.stdout.contains("weir.toml:3:1: unknown key `wrong`"), "{}", told.stdout);
    assert_eq!(get(weir.address("web")), "one");
    let status = weir.ask_json(&["status"]);
    assert_eq!((&status["generation"], &status["last_change"]), (&1.into(), &Value::Null));
}

#[test]
fn earlier_configurations_serve_again_and_stay() {
    let mut weir = Weir::start(&answering("1", ""));
    let (address, config) = (weir.address("web"), weir.folder().join("weir.toml"));
    let told = weir.ask(&["rollback"]);
    assert_eq!(told.code, Some(5), "{}", told.stderr);
    assert!(told.stdout.contains("no earlier configuration is kept"), "{}", told.stdout);
    for n in 2..=5 {
        put(&config, &answering(&n.to_string(), ""));
        weir.wait_for_status("the change", generation(n));
    }
    assert_eq!(weir.ask_json(&["status"])["kept"], Value::from(vec![4, 3, 2]));
    let told = weir.ask(&["rollback"]);
    assert_eq!(
        (told.code, told.stdout.as_str()),
        (Some(0), "generation 6 serves, with the configuration of generation 4\n  route all: changed\n")
    );
    assert_eq!(get(address), "4");
    // What was taken back is still in the file. A file that is only touched changes nothing.
    put(&config, &answering("5", ""));
    weir.process().line("that it is known", |line| line.contains("was refused or taken back").then_some(()));
    assert_eq!(get(address), "4");
    let told = weir.ask_json(&["rollback", "--to", "2"]);
    assert_eq!((&told["generation"], &told["restored"]), (&7.into(), &2.into()));
    assert_eq!(get(address), "2");
    let status = weir.ask_json(&["status"]);
    assert_eq!((&status["kept"], &status["generation"]), (&Value::from(Vec::<u64>::new()), &7.into()));
    // Who asks for it gets it.
    assert_eq!(weir.ask_json(&["reload"])["outcome"], "published");
    assert_eq!(get(address), "5");
    assert_eq!(
        weir.ask_json(&["rollback", "--to", "3"])["problems"][0],
        "generation 3 is not kept; kept are 7"
    );
}

#[test]
fn reloads_at_the_same_time_lose_no_change() {
    let weir = Weir::start(&answering("0", ""));
    let config = weir.folder().join("weir.toml");
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let (weir, config) = (&weir, &config);
            scope.spawn(move || {
                for n in 0..5 {
                    let new = config.with_file_name(format!("{thread}.tmp"));
                    write(&new, &answering(&format!("{thread}-{n}"), ""));
                    fs::rename(&new, config).expect("it can be renamed");
                    let told = weir.ask(&["reload"]);
                    assert_eq!(told.code, Some(0), "{}{}", told.stdout, told.stderr);
                }
            });
        }
    });
    // Each of the threads asked after its last change.
    let last = fs::read_to_string(&config).expect("it is there");
    assert!(last.contains(&format!("respond = \"{}\"", get(weir.address("web")))), "{last}");
    assert_eq!(weir.ask_json(&["reload"])["outcome"], "unchanged");
}

#[test]
fn a_change_after_which_requests_fail_is_taken_back() {
    let upstream = RawUpstream::polite();
    let guard = "reload = { rollback = { errors = \"10%\", within = \"10m\", requests = 20 } }";
    let good = configuration(guard, upstream.address());
    let mut weir = Weir::start(&good);
    let (address, config) = (weir.address("web"), weir.folder().join("weir.toml"));
    let status = |client: &mut RawClient| client.ask("GET /x HTTP/1.1\r\nhost: a\r\n\r\n").status;
    let mut client = RawClient::connect(address);
    assert_eq!(status(&mut client), 200);
    // An upstream where nobody is.
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").and_then(|socket| socket.local_addr());
    put(&config, &configuration(guard, nobody.expect("a port")));
    weir.wait_for_status("the bad change", generation(2));
    let stop = AtomicBool::new(false);
    let told = std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut client = RawClient::connect(address);
            while !stop.load(Ordering::Relaxed) {
                status(&mut client);
            }
        });
        let told = weir.wait_for_status("the end of it", generation(3));
        stop.store(true, Ordering::Relaxed);
        told
    });
    let change = &told["last_change"];
    let cause = change["cause"].as_str().expect("a cause");
    assert!(cause.starts_with("100% of ") && cause.contains(" requests failed within "), "{cause}");
    assert_eq!((&change["restored"], lines(change, "changes")), (&1.into(), vec!["upstream app: changed"]));
    weir.process()
        .line("that it was taken back", |line| line.contains("the last change is taken back").then_some(()));
    assert_eq!(status(&mut RawClient::connect(address)), 200);
}
