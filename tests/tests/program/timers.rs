//! Hooks without a request: ticks and timers.

use weir_tests::{RawClient, Weir, weir};

fn start(script: &str) -> Weir {
    let folder = weir::folder();
    std::fs::create_dir(folder.path().join("plugins")).expect("a folder can be made");
    std::fs::write(folder.path().join("plugins/it.lua"), script).expect("a script can be written");
    let config = "workers = 2\n[[listeners]]\nname = \"web\"\naddress = \"127.0.0.1:0\"
        [[routes]]\nrespond = \"fine\"\nplugins = [\"it\"]\n";
    Weir::start_in(folder, config)
}

#[test]
fn a_plugin_ticks_before_the_first_request_and_on_one_worker() {
    let mut weir = start(
        r#"return {
            tick_every = 1,
            on_tick = function()
                local n = weir.kv.incr("ticks")
                weir.log.info("tick " .. n)
                if n == 2 then error("the second one fails") end
            end,
        }"#,
    );
    for n in 1..=3 {
        let wanted = format!("tick {n} ");
        weir.process().line(&wanted, |line| format!("{line} ").contains(&wanted).then_some(()));
    }
    let told = weir
        .process()
        .line("the failure", |line| line.contains("the second one fails").then(|| line.to_owned()));
    assert!(told.contains("hook=\"on_tick\"") && told.contains("it.lua:6"), "{told}");
}

#[test]
fn timers_run_where_they_were_set() {
    let mut weir = start(
        r#"return {
            on_request = function(req)
                weir.timer.set(req.path, 0.01)
                weir.timer.set("never", 1000)
                weir.timer.set("cancelled", 0.005)
                assert(weir.timer.cancel("cancelled") and not weir.timer.cancel("cancelled"))
            end,
            on_timer = function(name)
                weir.time.sleep(0)
                weir.log.info("over: " .. name)
            end,
        }"#,
    );
    for path in ["/a", "/b", "/c"] {
        let answer =
            RawClient::connect(weir.address("web")).ask(&format!("GET {path} HTTP/1.1\r\nhost: a\r\n\r\n"));
        assert_eq!(answer.status, 200);
        weir.process().line(path, |line| line.contains(&format!("over: {path}")).then_some(()));
    }
    assert!(!weir.process().lines().iter().any(|line| line.contains("over: cancelled")));
}

#[test]
fn timers_of_a_script_that_was_replaced_end_with_it() {
    let script = |own: &str| {
        format!(
            r#"return {{
                on_request = function(req)
                    if req.path == "/start" then weir.timer.set("again", 0.01) end
                    return weir.respond{{ body = (weir.kv.get("old") or "0") .. " " .. (weir.kv.get("new") or "0") }}
                end,
                on_timer = function(name)
                    weir.kv.incr("{own}")
                    weir.timer.set(name, 0.01)
                end,
            }}"#
        )
    };
    let weir = start(&script("old"));
    let get = |path: &str| {
        let request = format!("GET {path} HTTP/1.1\r\nhost: a\r\n\r\n");
        RawClient::connect(weir.address("web")).ask(&request).text()
    };
    let counted = || {
        let answer = get("/");
        let (old, new) = answer.split_once(' ').expect("two numbers");
        (old.parse::<u64>().expect("a number"), new.parse::<u64>().expect("a number"))
    };
    let until = |wanted: &dyn Fn((u64, u64)) -> bool| {
        let deadline = std::time::Instant::now() + weir_tests::PATIENCE;
        loop {
            let counted = counted();
            if wanted(counted) {
                return counted;
            }
            assert!(std::time::Instant::now() < deadline, "it never came: {counted:?}");
        }
    };
    get("/start");
    until(&|(old, _)| old > 0);
    std::fs::write(weir.folder().join("plugins/it.lua"), script("new")).expect("it can be written");
    weir.wait_for_status("the new script", |status| status["generation"] == 2);
    get("/start");
    // What had begun under the old one has ended by now.
    let (old, _) = until(&|(_, new)| new > 5);
    let (after, _) = until(&|(_, new)| new > 50);
    assert_eq!(old, after, "timers of the old one still run");
}
