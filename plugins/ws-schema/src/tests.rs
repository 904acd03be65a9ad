//! What comes of messages, by the settings of the test.

use weir_guest::testing;

use super::*;

const CHAT: &str = r##"{
    "client": {
        "type": "/type",
        "max_size": 200,
        "schemas": {
            "say": {
                "properties": { "text": { "type": "string", "maxLength": 5 } },
                "required": ["text"]
            },
            "7": true,
            "leave": "{\"properties\": {\"why\": {\"enum\": [null, \"bored\"]}}}"
        }
    }
}"##;

/// Of `CHAT`, with this in addition to its rules.
fn chat(more: &str) -> Guard {
    load(&CHAT.replace("\"max_size\"", &format!("{more} \"max_size\"")))
}

fn load(settings: &str) -> Guard {
    testing::load(settings).expect("settings").0
}

/// What becomes of a message: `forward`, `drop`, or the code and the reason.
fn fate(guard: &Guard, message: &Frame) -> String {
    let verdict = guard.on_message(&mut Exchange::default(), &Relay::new("1"), message);
    match verdict.expect("a verdict") {
        FrameVerdict::Forward => "forward".to_owned(),
        FrameVerdict::Drop => "drop".to_owned(),
        FrameVerdict::Replace(_) => "replace".to_owned(),
        FrameVerdict::Close { code, reason } => {
            assert!(reason.len() <= 123, "{reason}");
            format!("{code} {reason}")
        }
    }
}

fn says(data: &str) -> Frame {
    testing::text(Direction::ToUpstream, data)
}

#[test]
fn messages_are_checked_by_their_type() {
    let guard = chat("");
    for (data, expected) in [
        (r#"{"type": "say", "text": "hello"}"#, "forward"),
        (r#"{"type": "say", "text": "hello!"}"#, "1008 invalid: /text maxLength"),
        (r#"{"type": "say"}"#, "1008 invalid: the message required"),
        (r#"{"type": 7}"#, "forward"),
        (r#"{"type": "leave", "why": null}"#, "forward"),
        (r#"{"type": "leave", "why": "tired"}"#, "1008 invalid: /why enum"),
        (r#"{"type": "shout"}"#, "1008 unknown type of message"),
        (r#"{"text": "hello"}"#, "1008 unknown type of message"),
        (r#"{"type": ["say"]}"#, "1008 unknown type of message"),
        ("[]", "1008 unknown type of message"),
        ("hello", "1007 no JSON: expected value at line 1 column 1"),
        (
            r#"{"type": "say", "type": "leave"}"#,
            "1007 no JSON: an object has a name twice at line 1 column 32",
        ),
        ("", "1007 no JSON: EOF while parsing a value at line 1 column 0"),
    ] {
        assert_eq!(fate(&guard, &says(data)), expected, "{data}");
    }
    assert_eq!(fate(&guard, &says(&format!("[{}]", "1".repeat(199)))), "1009 larger than 200 bytes");
    let binary = testing::message(Direction::ToUpstream, Opcode::Binary, b"{}");
    assert_eq!(fate(&guard, &binary), "1003 binary messages are not taken");
    assert_eq!(fate(&guard, &testing::text(Direction::ToClient, "no JSON")), "forward");
}

#[test]
fn what_becomes_of_each_is_set() {
    let invalid = says(r#"{"type": "say"}"#);
    for (more, message, expected) in [
        (r#""action": "drop","#, invalid.clone(), "drop"),
        (r#""action": "report","#, invalid.clone(), "forward"),
        (r#""action": "pass","#, invalid, "forward"),
        (r#""unknown": "pass","#, says("{}"), "forward"),
        (r#""not_json": "drop","#, says("{"), "drop"),
        (r#""large": "report","#, says(&" ".repeat(201)), "forward"),
        (r#""binary": "pass","#, testing::message(Direction::ToUpstream, Opcode::Binary, b""), "forward"),
    ] {
        assert_eq!(fate(&chat(more), &message), expected, "{more}");
    }
    let settings = r#"{ "codes": { "invalid": 4000 }, "upstream": { "schema": { "type": "object" } } }"#;
    let guard = load(settings);
    assert_eq!(fate(&guard, &testing::text(Direction::ToClient, "[]")), "4000 invalid: the message type");
    assert_eq!(fate(&guard, &says("[]")), "forward");
}

#[test]
fn a_long_pointer_loses_its_begin() {
    let guard = load(r#"{ "client": { "schema": { "additionalProperties": { "type": "string" } } } }"#);
    let told = fate(&guard, &says(&format!(r#"{{"{}end": 1}}"#, "é".repeat(100))));
    assert!(told.starts_with("1008 invalid: …é") && told.ends_with("éend type"), "{told}");
}

#[test]
fn messages_are_counted_and_the_log_is_short() {
    let (guard, relay, mut x) = (chat(r#""action": "drop","#), Relay::new("1"), Exchange::default());
    for data in [r#"{"type": "say", "text": "a"}"#, r#"{"type": "say"}"#, r#"{"type": "say", "text": 1}"#] {
        guard.on_message(&mut x, &relay, &says(data)).expect("a verdict");
    }
    let metrics = testing::metrics();
    let count = |outcome: &str| {
        let series = format!("messages{{from=\"client\",type=\"say\",outcome=\"{outcome}\"}}");
        *metrics.get(&series).unwrap_or_else(|| panic!("{series} in {metrics:?}"))
    };
    assert_eq!((count("valid"), count("invalid")), (1.0, 2.0));
    let log: Vec<String> = testing::log().into_iter().map(|(_, line)| line).collect();
    assert_eq!(log, ["message 1 of the client, dropped as others like it: invalid: the message required"]);
}

#[test]
fn wrong_settings_are_told() {
    for (settings, expected) in [
        ("{}", "nothing to check"),
        (r#"{ "client": {} }"#, "client: either `schema`"),
        (r#"{ "client": { "schema": {}, "type": "/a" } }"#, "client: either `schema`"),
        (r#"{ "client": { "schemas": { "a": {} } } }"#, "client: either `schema`"),
        (r#"{ "client": { "type": "a", "schemas": { "a": {} } } }"#, "client.type: `a` is no JSON pointer"),
        (r#"{ "upstream": { "schema": "{" } }"#, "upstream.schema: no JSON: EOF"),
        (r#"{ "upstream": { "schema": { "type": "text" } } }"#, "upstream.schema: #/type: must"),
        (
            r##"{ "client": { "type": "/t", "schemas": { "a": { "$ref": "b.json" } } } }"##,
            "client.schemas.a: `$ref` to `b.json`: only references within the document",
        ),
        (r#"{ "client": { "schema": {}, "max_size": 0 } }"#, "client.max_size: 0 bytes"),
        (r#"{ "client": { "schema": {} }, "codes": { "large": 1006 } }"#, "codes.large: 1006 cannot be sent"),
        (r#"{ "client": { "schema": {} }, "draft": "3" }"#, "settings: unknown variant `3`"),
    ] {
        let error = testing::load::<Guard>(settings).err().expect(settings);
        assert!(error.contains(expected), "{error}");
    }
}
