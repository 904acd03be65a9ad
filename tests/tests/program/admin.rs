//! The admin socket over TCP: who knows the token, and nobody else.

use std::fs;
use std::net::SocketAddr;

use weir_tests::process::Output;
use weir_tests::{RawClient, Weir, process, weir};

const TOKEN: &str = "0123456789abcdef";

fn config(token: &str, answer: &str) -> String {
    format!(
        "workers = 1\n[admin]\naddress = \"127.0.0.1:0\"\ntoken = \"{token}\"\n[[listeners]]\nname = \"web\"\n\
         address = \"127.0.0.1:0\"\n[[routes]]\nrespond = \"{answer}\"\n"
    )
}

/// Where it says that it can be asked.
fn told(weir: &mut Weir) -> SocketAddr {
    weir.process().line("where it is asked", |line| {
        line.contains("admin token is answered here").then_some(())?;
        line.split("address=").nth(1)?.split_whitespace().next()?.parse().ok()
    })
}

fn ask(address: SocketAddr, arguments: &[&str], token: Option<&str>) -> Output {
    let mut command = weir::command(arguments);
    command.args(["--address", &address.to_string()]).env_remove("WEIR_ADMIN_TOKEN");
    command.envs(token.map(|token| ("WEIR_ADMIN_TOKEN", token)));
    process::run("weir", &mut command, b"")
}

#[test]
fn who_knows_the_token_is_answered() {
    let folder = weir::folder();
    let secret = folder.path().join("token");
    fs::write(&secret, format!("{TOKEN}\n")).expect("a file");
    let mut weir = Weir::start_in(folder, &config("file:token", "1"));
    let address = told(&mut weir);
    for (token, code, text) in [
        (Some(TOKEN), 0, "generation 1"),
        (Some("fedcba9876543210"), 1, "401"),
        (Some(""), 1, "401"),
        (None, 1, "WEIR_ADMIN_TOKEN is not set"),
    ] {
        let output = ask(address, &["status"], token);
        assert_eq!(output.code, Some(code), "{token:?}: {output:?}");
        assert!(output.stdout.contains(text) || output.stderr.contains(text), "{output:?}");
    }
    for header in ["", "Authorization: Basic 0123456789abcdef\r\n"] {
        let answer =
            RawClient::connect(address).ask(&format!("POST /reload HTTP/1.1\r\nHost: a\r\n{header}\r\n"));
        assert_eq!((answer.status, answer.header("www-authenticate")), (401, Some("Bearer realm=\"weir\"")));
    }
    // Orders come this way, too; another token is taken as all else is.
    fs::write(&secret, "another token, no: other\n").expect("a file");
    let refused = ask(address, &["reload"], Some(TOKEN));
    assert_eq!(refused.code, Some(5), "{refused:?}");
    assert!(refused.stdout.contains("characters that a header cannot carry"), "{refused:?}");
    fs::write(&secret, "fedcba9876543210\n").expect("a file");
    weir.wait_for_status("the other token", |status| status["generation"] == 2);
    assert_eq!(ask(address, &["status"], Some(TOKEN)).code, Some(1));
    assert_eq!(ask(address, &["reload"], Some("fedcba9876543210")).code, Some(0));
    // The socket stays.
    assert_eq!(weir.status().code, Some(0));
    assert_eq!(weir.terminate().code(), Some(0));
}

#[test]
fn an_address_without_a_good_token_is_an_error() {
    let folder = weir::folder();
    fs::write(folder.path().join("short"), "0123456789abcde").expect("a file");
    for (admin, problem) in [
        ("address = \"127.0.0.1:9901\"", "`admin.token` is missing"),
        ("token = \"file:short\"", "no `admin.address`"),
        ("address = \"127.0.0.1:9901\"\ntoken = \"file:short\"", "too short"),
        ("address = \"127.0.0.1:9901\"\ntoken = \"0123456789abcdef\"", "no reference to a secret"),
        ("address = \"unix:/run/admin\"\ntoken = \"file:short\"", "no IP address with a port"),
    ] {
        let text = format!(
            "[admin]\n{admin}\n[[listeners]]\naddress = \"127.0.0.1:0\"\n[[routes]]\nrespond = \"\"\n"
        );
        let path = weir::write_config(&folder, &text);
        let output = weir::run(&["check", path.to_str().expect("a plain name")]);
        assert_eq!(output.code, Some(2), "{output:?}");
        assert!(output.stderr.contains(problem), "{admin}: {output:?}");
    }
}
