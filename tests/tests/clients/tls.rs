//! TLS towards clients: names, versions, client certificates, and requests that stray onto the wrong connection.

use std::process::Command;

use weir_tests::{Authority, RawClient, RawUpstream, Weir, process, tools, weir};

use crate::HEAD;

/// Certificates for `open.test`, `*.wild.test`, `secure.test` (clients must have one) and `maybe.test` (they may).
fn start(upstream: &RawUpstream) -> (Weir, Authority) {
    let (folder, authority) = certificates();
    (Weir::start_in(folder, &config(upstream)), authority)
}

fn certificates() -> (tempfile::TempDir, Authority) {
    let folder = weir::folder();
    let authority = Authority::new(folder.path(), "ca");
    authority.issue("open", &["open.test"]);
    authority.issue("wild", &["*.wild.test"]);
    authority.issue("secure", &["secure.test", "maybe.test"]);
    let clients = Authority::new(folder.path(), "clients");
    clients.issue("alice", &[]);
    Authority::new(folder.path(), "others").issue("mallory", &[]);
    (folder, authority)
}

fn config(upstream: &RawUpstream) -> String {
    let certificates = "certificates = [
            { cert = \"%DIR%/open.pem\", key = \"%DIR%/open.key\" },
            { cert = \"%DIR%/wild.pem\", key = \"%DIR%/wild.key\" },
            { cert = \"%DIR%/secure.pem\", key = \"%DIR%/secure.key\" },
        ]";
    format!(
        "{HEAD}
        [[listeners]]
        name = \"tls\"
        address = \"127.0.0.1:0\"
        [listeners.tls]
        {certificates}
        [[listeners.tls.client_auth]]
        names = \"secure.test\"
        ca = \"%DIR%/clients.pem\"
        subject_header = \"x-client\"
        fingerprint_header = \"x-client-fingerprint\"
        [[listeners.tls.client_auth]]
        names = \"maybe.test\"
        mode = \"optional\"
        ca = \"%DIR%/clients.pem\"
        subject_header = \"x-client\"

        [[listeners]]
        name = \"strict\"
        address = \"127.0.0.1:0\"
        [listeners.tls]
        {certificates}
        serve_unknown_names = false
        min_version = \"1.3\"

        [[routes]]
        name = \"all\"
        upstream = \"app\"
        [upstreams.app]
        endpoints = [\"{}\"]
        ",
        upstream.address()
    )
}

/// curl to a name on a listener: exit code and what it printed (the body and the status).
fn curl(weir: &Weir, listener: &str, name: &str, arguments: &[&str]) -> (Option<i32>, String) {
    let port = weir.address(listener).port();
    let mut command = tools::program("curl");
    command.args(["--silent", "--resolve", &format!("{name}:{port}:127.0.0.1")]);
    command.arg("--cacert").arg(weir.folder().join("ca.pem")).args(["-w", " %{http_code}"]);
    command.current_dir(weir.folder()).args(arguments).arg(format!("https://{name}:{port}/"));
    let output = process::run("curl", &mut command, b"");
    (output.code, output.stdout)
}

fn openssl(weir: &Weir, listener: &str, arguments: &[&str], input: &str) -> String {
    let mut command: Command = tools::program("openssl");
    command.args(["s_client", "-connect", &weir.address(listener).to_string(), "-CAfile", "ca.pem"]);
    command.current_dir(weir.folder()).args(arguments);
    let output = process::run("openssl", &mut command, input.as_bytes());
    format!("{}{}", output.stdout, output.stderr)
}

const OK: (Option<i32>, &str) = (Some(0), "ok 200");

fn is((code, text): &(Option<i32>, String), expected: (Option<i32>, &str)) -> bool {
    (*code, text.as_str()) == expected
}

#[test]
fn certificate_by_name() {
    let upstream = RawUpstream::polite();
    let (weir, _) = start(&upstream);
    for name in ["open.test", "OPEN.test", "a.wild.test", "maybe.test"] {
        // curl checks the certificate against the name.
        let got = curl(&weir, "tls", name, &[]);
        assert!(is(&got, OK), "{name}: {got:?}");
    }
    let subject = |listener: &str, name: &str| {
        let text = openssl(&weir, listener, &["-servername", name], "");
        text.lines().find_map(|line| line.trim().strip_prefix("subject=")).unwrap_or("none").to_owned()
    };
    assert!(subject("tls", "open.test").contains("open"));
    assert!(subject("tls", "b.wild.test").contains("wild"));
    assert!(subject("tls", "a.b.wild.test").contains("open"), "a wildcard is one label");
    assert!(subject("tls", "unknown.test").contains("open"), "the first certificate is for unknown names");
    assert_eq!(subject("strict", "unknown.test"), "none", "unknown names are refused");
}

#[test]
fn versions_and_protocols() {
    let upstream = RawUpstream::polite();
    let (weir, _) = start(&upstream);
    assert!(is(&curl(&weir, "tls", "open.test", &["--tls-max", "1.2"]), OK));
    assert!(is(&curl(&weir, "tls", "open.test", &["--tlsv1.3"]), OK));
    assert!(is(&curl(&weir, "strict", "open.test", &["--tlsv1.3"]), OK));
    let (code, _) = curl(&weir, "strict", "open.test", &["--tls-max", "1.2"]);
    assert_eq!(code, Some(35), "TLS 1.2 is below the listener's floor");
    for (offer, chosen) in [("h2", "h2"), ("http/1.1", "http/1.1"), ("http/1.1,h2", "h2")] {
        let text = openssl(&weir, "tls", &["-servername", "open.test", "-alpn", offer], "");
        assert!(text.contains(&format!("ALPN protocol: {chosen}")), "{offer}: {text}");
    }
    let text = openssl(&weir, "tls", &["-servername", "open.test", "-alpn", "spdy/3"], "");
    assert!(text.contains("no application protocol"), "{text}");
}

#[test]
fn client_certificates() {
    let upstream = RawUpstream::polite();
    let (weir, _) = start(&upstream);
    let alice = ["--cert", "alice.pem", "--key", "alice.key"];
    let mallory = ["--cert", "mallory.pem", "--key", "mallory.key"];
    for version in ["--http1.1", "--http2"] {
        assert!(is(&curl(&weir, "tls", "secure.test", &[&alice[..], &[version]].concat()), OK));
        for arguments in [&[][..], &mallory] {
            let (code, text) = curl(&weir, "tls", "secure.test", &[arguments, &[version]].concat());
            assert!(code != Some(0) && !text.contains("ok"), "{arguments:?}: {code:?} {text}");
        }
        assert!(is(&curl(&weir, "tls", "maybe.test", &[version]), OK));
        assert!(is(&curl(&weir, "tls", "maybe.test", &[&alice[..], &[version]].concat()), OK));
        let (code, text) = curl(&weir, "tls", "maybe.test", &[&mallory[..], &[version]].concat());
        assert!(code != Some(0) && !text.contains("ok"), "{code:?} {text}");
    }
}

/// Who is on the list of revoked certificates is refused in the handshake, also where a certificate is optional; who
/// is not on it is served.
#[test]
fn revoked_client_certificates() {
    let upstream = RawUpstream::polite();
    let folder = weir::folder();
    let authority = Authority::new(folder.path(), "ca");
    authority.issue("site", &["secure.test", "maybe.test"]);
    let clients = Authority::new(folder.path(), "clients");
    let [_alice, bob, carol] = ["alice", "bob", "carol"].map(|name| clients.issue(name, &[]));
    clients.revoke("revoked", &[&bob, &carol]);
    let config = format!(
        "{HEAD}
        [[listeners]]
        name = \"tls\"
        address = \"127.0.0.1:0\"
        [listeners.tls]
        cert = \"%DIR%/site.pem\"
        key = \"%DIR%/site.key\"
        client_auth = [
            {{ names = \"secure.test\", ca = \"%DIR%/clients.pem\", crl = \"%DIR%/revoked.crl\" }},
            {{ names = \"maybe.test\", mode = \"optional\", ca = \"%DIR%/clients.pem\", crl = \"%DIR%/revoked.crl\" }},
        ]
        [[routes]]
        name = \"all\"
        upstream = \"app\"
        [upstreams.app]
        endpoints = [\"{}\"]
        ",
        upstream.address()
    );
    let weir = Weir::start_in(folder, &config);
    for version in ["--tls-max 1.2 --http1.1", "--tlsv1.3 --http1.1", "--tlsv1.3 --http2"] {
        let version: Vec<&str> = version.split(' ').collect();
        for name in ["secure.test", "maybe.test"] {
            let ask = |who: &str| {
                let files = [format!("{who}.pem"), format!("{who}.key")];
                curl(&weir, "tls", name, &[&["--cert", &files[0], "--key", &files[1]], &version[..]].concat())
            };
            let got = ask("alice");
            assert!(is(&got, OK), "{version:?} {name}: {got:?}");
            for revoked in ["bob", "carol"] {
                let (code, text) = ask(revoked);
                assert!(code != Some(0) && text == " 000", "{version:?} {name} {revoked}: {code:?} {text}");
            }
        }
        assert!(is(&curl(&weir, "tls", "maybe.test", &version), OK), "without a certificate none is revoked");
    }
    let bob = ["-servername", "secure.test", "-cert", "bob.pem", "-key", "bob.key", "-ign_eof"];
    let text = openssl(&weir, "tls", &bob, "GET / HTTP/1.1\r\nHost: secure.test\r\n\r\n");
    assert!(text.contains("certificate revoked"), "the alert says why: {text}");
    let requests = |bytes: &[u8]| bytes.windows(4).filter(|window| window == b"GET ").count();
    let served: usize = upstream.received().iter().map(|connection| requests(&connection.bytes)).sum();
    assert_eq!(served, 9, "nothing of the revoked ones reached the upstream");
}

/// What the upstream is told about the client comes from the certificate, and never from the client.
#[test]
fn identity_headers_cannot_be_forged() {
    let upstream = RawUpstream::polite();
    let (weir, _) = start(&upstream);
    let forged = ["-H", "X-Client: CN=root", "-H", "x-client-fingerprint: 00"];
    let alice = ["--cert", "alice.pem", "--key", "alice.key"];
    let ask = |target: &str, listener: &str, name: &str, arguments: &[&str]| {
        let wanted = ["--request-target", target];
        let got = curl(&weir, listener, name, &[&forged[..], &wanted, arguments].concat());
        assert!(is(&got, OK), "{listener} {name}: {got:?}");
        upstream.head_of(target)
    };
    let head = ask("/alice", "tls", "secure.test", &alice);
    assert!(head.contains("\r\nx-client: CN=alice\r\n"), "{head}");
    let print = head.split("\r\nx-client-fingerprint: ").nth(1).and_then(|rest| rest.split("\r\n").next());
    assert_eq!(print.map(str::len), Some(64), "{head}");
    for (target, listener, name) in
        [("/1", "tls", "open.test"), ("/2", "tls", "maybe.test"), ("/3", "strict", "open.test")]
    {
        let head = ask(target, listener, name, &[]);
        assert!(!head.contains("x-client"), "{listener} {name}: {head}");
    }
}

/// A request for a host that asks for certificates, on a connection that was not verified for it.
#[test]
fn strayed_requests_are_misdirected() {
    let upstream = RawUpstream::polite();
    let (weir, authority) = start(&upstream);
    let address = weir.address("tls");
    // The server name and the host differ.
    let config = authority.client_config(&["http/1.1"]);
    for (host, status) in
        [("open.test", 200), ("secure.test", 421), ("SECURE.TEST:443", 421), ("maybe.test", 421)]
    {
        let mut client = RawClient::connect_tls(address, config.clone(), "open.test").expect("a handshake");
        assert_eq!(client.ask(&format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n")).status, status, "{host}");
    }
    // HTTP/2 on a connection to another name, as browsers share one.
    for (host, answer) in [("open.test", "ok 200"), ("secure.test", " 421"), ("maybe.test", " 421")] {
        let host = format!("Host: {host}");
        let (code, text) = curl(&weir, "tls", "open.test", &["--http2", "-H", &host]);
        assert!(code == Some(0) && text.ends_with(answer), "{host}: {text}");
    }
}

/// A ticket of a name that asks for nothing opens no door at a name that does.
#[test]
fn tickets_do_not_carry_over() {
    let upstream = RawUpstream::polite();
    let (weir, _) = start(&upstream);
    for version in ["-tls1_2", "-tls1_3"] {
        let get = |host: &str| format!("GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
        let first = ["-quiet", "-servername", "open.test", version, "-sess_out", "session"];
        let text = openssl(&weir, "tls", &first, &get("open.test"));
        assert!(text.contains("200 OK"), "{version}: {text}");
        let again = ["-ign_eof", "-servername", "open.test", version, "-sess_in", "session"];
        let text = openssl(&weir, "tls", &again, &get("open.test"));
        assert!(text.contains("Reused, ") && text.contains("200 OK"), "{version}: {text}");
        for host in ["secure.test", "open.test"] {
            let other = ["-ign_eof", "-servername", "secure.test", version, "-sess_in", "session"];
            let text = openssl(&weir, "tls", &other, &get(host));
            assert!(!text.contains("200 OK"), "{version} {host}: {text}");
        }
    }
}

/// A change of who must show a certificate holds for connections that were open before it, too.
#[test]
fn a_changed_policy_holds_for_open_connections() {
    let upstream = RawUpstream::polite();
    let (folder, authority) = certificates();
    let asks = config(&upstream);
    // Nobody is asked at first: the same without the two policies.
    let (before, rest) = asks.split_once("[[listeners.tls.client_auth]]").expect("a policy");
    let (_, after) = rest.split_once("[[listeners]]").expect("another listener");
    let mut weir = Weir::start_in(folder, &format!("{before}[[listeners]]{after}"));
    let client = authority.client_config(&["http/1.1"]);
    let mut open = RawClient::connect_tls(weir.address("tls"), client, "open.test").expect("a handshake");
    let mut status = |host: &str| open.ask(&format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n")).status;
    assert_eq!((status("open.test"), status("secure.test")), (200, 200));
    weir.reload(&asks);
    assert_eq!((status("open.test"), status("secure.test")), (200, 421));
}
