//! What stands in for the host in tests of plugins does what the host does.

use std::time::Duration;

use weir_guest::prelude::*;
use weir_guest::testing;
use weir_guest::websocket::Group;

#[test]
fn fields_have_names_of_any_case_and_stay_together() {
    let req = Request::new("GET", "/").with_header("X-A", "1").with_header("x-b", "2");
    let headers = req.headers();
    headers.add("x-a", b"3").expect("added");
    assert_eq!(headers.get_all("X-a"), [b"1", b"3"]);
    assert_eq!(headers.parse::<u8>("x-b"), Some(2));
    headers.set("X-A", b"4").expect("set");
    let names: Vec<String> = req.headers().entries().into_iter().map(|field| field.name).collect();
    assert_eq!(names, ["host", "x-a", "x-b"]);
    headers.remove("x-b").expect("removed");
    assert_eq!(headers.get("x-b"), None);
    assert!(matches!(headers.set("content-length", b"1"), Err(Error::Denied(_))));
    assert!(matches!(headers.set("x a", b"1"), Err(Error::Invalid(_))));
    assert!(matches!(headers.set("x-a", b"1\r\n"), Err(Error::Invalid(_))));
}

#[test]
fn parameters_of_the_query_are_decoded_and_encoded() {
    let req = Request::new("GET", "/?a=1%2b1&b&a=x+y");
    let query = req.query();
    assert_eq!(query.get_all("a"), [b"1+1", b"x y"]);
    assert_eq!(query.text("b").as_deref(), Some(""));
    query.set("a", "é&".as_bytes()).expect("set");
    assert_eq!(req.query_string(), "a=%C3%A9%26&b=");
    query.remove("a").expect("removed");
    assert_eq!(req.query_string(), "b=");
}

#[test]
fn cookies_lose_their_quotes() {
    let req = Request::new("GET", "/").with_header("cookie", "a=1; B=\"two\"; c");
    assert_eq!(req.cookies().text("B").as_deref(), Some("two"));
    assert_eq!(req.cookies().entries().len(), 2);
    assert_eq!(req.cookies().get("b"), None);
}

#[test]
fn a_body_is_read_and_replaced() {
    let req = Request::new("POST", "/").with_body(r#"{"n": 3}"#);
    let body: std::collections::BTreeMap<String, u8> = req.body().json().expect("JSON");
    assert_eq!(body["n"], 3);
    assert_eq!(req.body().read(Some(2)), Err(Error::TooLarge(2)));
    req.body().replace(b"longer than before").expect("replaced");
    assert_eq!(req.header("content-length").as_deref(), Some("18"));
    assert!(!req.body().is_passed());
    req.body().pass();
    assert!(req.body().is_passed());
}

#[test]
fn values_of_the_store_end_when_their_time_is_over() {
    let second = Duration::from_secs(1);
    kv::set("a", "1", Some(second)).expect("set");
    assert_eq!(kv::incr("a", 4, 0, None), Ok(5));
    assert_eq!(kv::ttl("a"), Ok(Some(second)));
    testing::advance(second);
    assert_eq!(kv::get("a"), Ok(None));
    assert_eq!(kv::add("a", "2", None), Ok(true));
    assert_eq!(kv::add("a", "3", None), Ok(false));
    assert_eq!(kv::cas("a", Some(b"2"), "x", None), Ok(true));
    assert!(matches!(kv::incr("a", 1, 0, None), Err(Error::Invalid(_))));
    assert_eq!(kv::delete("a"), Ok(true));
    assert_eq!(kv::get([b'k'; 1025]), Err(Error::TooLarge(1024)));
}

#[test]
fn a_shared_namespace_has_to_be_granted_and_is_another() {
    assert!(matches!(kv::Store::open("shared"), Err(Error::Denied(_))));
    testing::grant("shared");
    let store = kv::Store::open("shared").expect("granted");
    store.set("a", "1", None).expect("set");
    assert_eq!((store.get("a"), kv::get("a")), (Ok(Some(b"1".to_vec())), Ok(None)));
}

#[test]
fn calls_are_answered_by_the_test() {
    let call = http::Call::url("https://example.com/").timeout(Duration::from_secs(1));
    assert!(matches!(call.send(), Err(Error::Denied(_))));
    testing::answer(|call| match call.url.as_deref() {
        Some("https://example.com/") => {
            Ok(http::Response::new(200).with_header("X-A", "1").with_body("[1, 2]"))
        }
        _ => Err(Error::Timeout),
    });
    let response = call.send().expect("answered");
    assert_eq!((response.status(), response.header("x-a")), (200, Some(b"1".to_vec())));
    assert_eq!(response.json::<Vec<u8>>().expect("JSON"), [1, 2]);
    let all = http::all([http::Call::upstream("other", "/"), call]).expect("few");
    assert!(matches!(all[..], [Err(Error::Timeout), Ok(_)]), "{all:?}");
}

#[test]
fn relays_keep_what_was_sent_into_them() {
    let (first, second) = (Relay::new("1"), Relay::new("2"));
    first.join("room").expect("joined");
    second.join("room").expect("joined");
    let group = Group::open("room").expect("open");
    assert_eq!(group.send(Direction::ToClient, b"hello", Opcode::Text, Some("1")), Ok(1));
    assert_eq!(
        (first.sent().len(), second.sent()),
        (0, vec![(Direction::ToClient, Opcode::Text, b"hello".to_vec())])
    );
    assert!(matches!(first.send(Direction::ToClient, b"\xff", Opcode::Text), Err(Error::Invalid(_))));
    second.close(4000, "bye").expect("closed");
    assert_eq!((group.count(), second.closed()), (1, Some((4000, "bye".to_owned()))));
    assert!(matches!(second.send(Direction::ToClient, b"", Opcode::Binary), Err(Error::Failed(_))));
    assert!(weir_guest::websocket::find("2").expect("found").is_none());
}

#[test]
fn encodings_go_there_and_back() {
    for data in [&b""[..], b"f", b"fo", b"foo", b"foob", b"fooba", b"foobar", b"\xff\xfe\xfd"] {
        assert_eq!(codec::base64_decode(codec::base64_encode(data).as_bytes()).as_deref(), Ok(data));
        assert_eq!(codec::base64url_decode(codec::base64url_encode(data).as_bytes()).as_deref(), Ok(data));
        assert_eq!(codec::hex_decode(codec::hex_encode(data).as_bytes()).as_deref(), Ok(data));
        assert_eq!(codec::url_decode(codec::url_encode(data).as_bytes()).as_deref(), Ok(data));
    }
    // RFC 4648, section 10.
    assert_eq!(codec::base64_encode(b"fooba"), "Zm9vYmE=");
    assert_eq!(codec::base64url_encode(b"\xff\xfe"), "__4");
    assert_eq!(codec::url_decode(b"a%2fb%zz").as_deref(), Ok(&b"a/b%zz"[..]));
    for text in ["Zg=", "Z===", "Zm!v", "===="] {
        assert!(codec::base64_decode(text.as_bytes()).is_err(), "{text}");
    }
}

#[test]
fn addresses_are_in_networks() {
    let networks: Vec<String> = ["10.0.0.0/8", "2001:db8::/32", "192.0.2.7"].map(str::to_owned).into();
    let networks = ip::Networks::parse(&networks).expect("networks");
    for (address, expected) in [
        ("10.1.2.3", true),
        ("::ffff:10.1.2.3", true),
        ("11.0.0.0", false),
        ("192.0.2.7", true),
        ("192.0.2.8", false),
        ("2001:db8::1", true),
        ("2001:db9::1", false),
    ] {
        assert_eq!(networks.contains(address), Ok(expected), "{address}");
    }
    let everything = ip::Networks::parse(&["::/0".to_owned()]).expect("a network");
    assert_eq!(everything.contains("2001:db8::1"), Ok(true));
    for text in ["10.0.0.0/33", "10.0.0/8", "example.com"] {
        assert!(matches!(ip::Networks::parse(&[text.to_owned()]), Err(Error::Invalid(_))), "{text}");
    }
}

#[test]
fn metrics_and_timers_can_be_looked_at() {
    let hits = metrics::counter("hits", &[("kind", "a")]).expect("a counter");
    hits.add(2.0).expect("added");
    assert!(matches!(hits.add(-1.0), Err(Error::Invalid(_))));
    metrics::histogram("size", &[], &[]).expect("a histogram").observe(9.0).expect("counted");
    let metrics: Vec<(String, f64)> = testing::metrics().into_iter().collect();
    assert_eq!(metrics, [("hits{kind=\"a\"}".to_owned(), 2.0), ("size".to_owned(), 1.0)]);
    timer::set("later", Duration::from_secs(5)).expect("set");
    assert_eq!(testing::timers()["later"], Duration::from_secs(5));
    assert!(timer::cancel("later") && !timer::cancel("later"));
}
