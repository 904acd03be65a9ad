//! The configuration that weir runs as it is: what the README promises about the first minute.

use weir_tests::{Weir, process, tools, weir};

/// The default configuration on addresses that the kernel chooses, started by its own words otherwise.
fn start() -> Weir {
    let config =
        std::fs::read_to_string(weir::root().join("config/weir.toml")).expect("the default configuration");
    let config =
        config.replace("127.0.0.1:8080\"", "127.0.0.1:0\"").replace("127.0.0.1:8443\"", "127.0.0.1:0\"");
    Weir::start(&config)
}

fn curl(arguments: &[&str]) -> String {
    let mut command = tools::program("curl");
    command.args(["--silent", "--show-error", "--fail"]).args(arguments);
    let output = process::run("curl", &mut command, b"");
    assert_eq!(output.code, Some(0), "{arguments:?}: {}", output.stderr);
    output.stdout
}

#[test]
fn curl_in_the_first_minute() {
    let weir = start();
    let plain = weir.http("plain");
    let tls = format!("https://{}", weir.address("tls"));
    assert_eq!(curl(&[&format!("{plain}/hello/you")]), "Hello from weir.\n");
    for (base, options) in [
        (&plain, &["--http1.1"][..]),
        (&plain, &["--http2"]),
        (&plain, &["--http2-prior-knowledge"]),
        (&tls, &["--insecure", "--http1.1"]),
        (&tls, &["--insecure", "--http2"]),
    ] {
        let ask = |path: &str| curl(&[options, &[&format!("{base}{path}")]].concat());
        let echoed = ask("/echo/x?y=z");
        assert!(echoed.contains("x-forwarded-for"), "it shows the request as the upstream saw it: {echoed}");
        let events = ask("/events?every_ms=1&count=5");
        assert_eq!(events.lines().filter(|line| line.starts_with("data:")).count(), 5, "{events}");
        let size = curl(
            &[
                options,
                &["-o", "/dev/null", "-w", "%{size_download}"],
                &[&format!("{base}/download?size=50MiB")],
            ]
            .concat(),
        );
        assert_eq!(size, "52428800");
    }
    let version = curl(&["--insecure", "--http2", "-o", "/dev/null", "-w", "%{http_version}", &tls]);
    assert_eq!(version, "2");
}

/// The fingerprint that is printed is that of the certificate that is served.
#[test]
fn fingerprint_is_printed() {
    let mut weir = start();
    let mut command = tools::program("openssl");
    command.args(["s_client", "-connect", &weir.address("tls").to_string()]);
    let pem = process::run("openssl", &mut command, b"").stdout;
    let mut command = tools::program("openssl");
    command.args(["x509", "-noout", "-fingerprint", "-sha256"]);
    let printed = process::run("openssl", &mut command, pem.as_bytes()).stdout;
    let expected =
        printed.trim().split('=').nth(1).expect("a fingerprint").replace(':', "").to_ascii_lowercase();
    let lines = weir.process().lines().join("\n").replace(':', "").to_ascii_lowercase();
    assert!(lines.contains(&expected), "{expected} is not in\n{lines}");
}

#[test]
fn websocket_echo() {
    let weir = start();
    let mut command = tools::python();
    command.arg("-c").arg(format!(
        "import asyncio, websockets\n\
         async def main():\n    \
             async with websockets.connect('ws://{}/ws', proxy=None) as ws:\n        \
                 await ws.send('hello, weir')\n        \
                 while 'hello, weir' not in str(await ws.recv()): pass\n        \
                 print('echoed')\n\
         asyncio.run(asyncio.wait_for(main(), 20))",
        weir.address("plain")
    ));
    let output = process::run("the Python client", &mut command, b"");
    assert_eq!(output.stdout, "echoed\n", "{}", output.stderr);
}
