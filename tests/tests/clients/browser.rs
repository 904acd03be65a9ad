//! A browser whose WebSockets a plugin reads and changes: Chromium, without a window.

use weir_tests::node::echo_server;
use weir_tests::{Process, tools, weir};

use crate::messages::{LATE, editing};

/// Over TLS a browser that has a connection of HTTP/2 opens its WebSockets on that (RFC 8441).
#[test]
fn chromium() {
    for (deflate, compression) in [("true", "compressed"), (LATE, "compressed"), ("false", "plain")] {
        for (scheme, listener, protocol) in [("http", "web", "HTTP/1.1"), ("https", "tls", "HTTP/2.0")] {
            let (server, echo) = echo_server(&[]);
            let page = weir::root().join("tests/browser/page.html");
            let routes = format!(
                "[[routes]]\nname = \"page\"\npath = \"/page\"\n[routes.respond]\nfile = \"{}\"\n\
                 headers = {{ content-type = \"text/html\" }}\n",
                page.display()
            );
            let (mut weir, _) = editing(echo, ("messages", deflate), "", &routes);
            let profile = weir::folder();
            let mut command = tools::program("chromium");
            command
                .args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"])
                .args(["--no-first-run", "--no-proxy-server", "--ignore-certificate-errors"])
                // It goes on until it is told to stop.
                .arg("--remote-debugging-port=0")
                .arg(format!("--user-data-dir={}", profile.path().display()))
                .arg(format!("{scheme}://localhost:{}/page?{compression}", weir.address(listener).port()));
            let mut browser = Process::start("Chromium", &mut command);
            let told = server.line("what came of it", |line| line.strip_prefix("told ").map(str::to_owned));
            assert_eq!(told, "ok", "{scheme} {compression}");
            weir.record("a WebSocket", |record| {
                record["upgraded"] == true
                    && record["target"].as_str().is_some_and(|t| t.ends_with("/echo"))
                    && record["protocol"] == protocol
            });
            browser.terminate();
        }
    }
}
