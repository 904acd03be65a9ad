//! The steps themselves, and that every function of the WIT package can be called.

use weir_guest::testing::{self, Level};

use super::*;

fn guest(settings: &str) -> Conformance {
    testing::load(settings).expect("settings").0
}

#[test]
fn only_hooks_with_steps_are_wanted() {
    let hooks = |settings| testing::load::<Conformance>(settings).expect("settings").1;
    assert_eq!(hooks(r#"{"hooks": {}}"#), Hooks::empty());
    assert_eq!(hooks(r#"{"hooks": {"request": [], "tick": [], "load": []}}"#), Hooks::REQUEST | Hooks::TICK);
}

#[test]
fn results_are_kept_and_come_back_as_arguments() {
    let guest = guest(
        r#"{"hooks": {"request": [
            {"call": "kv.incr", "args": ["hits", 2, 5, null], "save": "hits"},
            {"call": "request.headers.set", "args": ["x-hits", "$hits"]},
            {"call": "log.info", "args": ["hits: ${hits}"]},
            {"call": "request.query.get", "args": ["deny"], "save": "deny"},
            {"if": "deny", "say": {"respond": {"status": 403, "headers": [["x-why", "$deny"]], "body": "no ${deny}"}}}
        ]}}"#,
    );
    let req = Request::new("GET", "/");
    assert_eq!(guest.on_request(&mut Exchange::default(), &req), Ok(Verdict::Proceed));
    assert_eq!(req.header("x-hits").as_deref(), Some("7"));
    assert_eq!(testing::log(), [(Level::Info, "hits: 7".to_owned())]);
    let verdict = guest.on_request(&mut Exchange::default(), &Request::new("GET", "/?deny=me"));
    assert_eq!(verdict, Ok(Reply::new(403).header("x-why", "me").body("no me").into()));
}

#[test]
fn a_failed_call_fails_the_hook_unless_it_is_kept() {
    let failed = guest(r#"{"hooks": {"request": [{"call": "secrets.get", "args": ["key"]}]}}"#)
        .on_request(&mut Exchange::default(), &Request::new("GET", "/"));
    assert_eq!(failed, Err(Failure::new("denied: secrets.key is not set")));
    let mut x = Exchange::default();
    guest(r#"{"hooks": {"request": [{"call": "secrets.get", "args": ["key"], "save": "key"}]}}"#)
        .on_request(&mut x, &Request::new("GET", "/"))
        .expect("kept");
    assert_eq!(x.kept["key"], json!({ "error": "denied: secrets.key is not set" }));
}

#[test]
fn every_verdict_of_every_hook_can_be_said() {
    let say = |hook: &str, say: &str| guest(&format!(r#"{{"hooks": {{"{hook}": [{{"say": {say}}}]}}}}"#));
    let mut x = Exchange::default();
    let (req, ws) = (Request::new("GET", "/"), Relay::new("1"));
    let frame = testing::text(Direction::ToClient, "hello");
    let refuse = say("connect", r#""refuse""#).on_connect(&req.connection());
    assert_eq!(refuse, Ok(ConnectVerdict::Refuse));
    let piece = say("request-body", r#"{"replace": "<${data}>"}"#).on_request_body(&mut x, b"a", false);
    assert_eq!(piece, Ok(Piece::Replace(b"<a>".to_vec())));
    let selection = Selection { group: "g".to_owned(), candidates: Vec::new(), attempt: 0, failure: None };
    let target = say("select-upstream", r#"{"hash-key": "k"}"#).select_upstream(&mut x, &selection, &req);
    assert_eq!(target, Ok(Target::HashKey(b"k".to_vec())));
    let watch = say("websocket", r#"{"watch": ["messages"]}"#).on_websocket(&mut x, &ws, &req);
    assert_eq!(watch, Ok(Watch::MESSAGES));
    let dropped = say("frame", r#""drop""#).on_frame(&mut x, &ws, &frame);
    assert_eq!(dropped, Ok(FrameVerdict::Drop));
    let closed = say("message", r#"{"close": {"code": 4001}}"#).on_message(&mut x, &ws, &frame);
    assert_eq!(closed, Ok(FrameVerdict::Close { code: 4001, reason: String::new() }));
    let misplaced = say("request", r#"{"group": "g"}"#).on_request(&mut x, &req);
    assert_eq!(misplaced, Err(Failure::new("`request` cannot say this")));
}

#[test]
fn what_an_exchange_has_kept_moves_to_the_next_generation() {
    let guest = guest(r#"{"hooks": {"migrate": [{"say": {"watch": ["frames"]}}]}}"#);
    let mut old = Exchange { kept: Map::from_iter([("seen".to_owned(), json!(3))]) };
    let saved = guest.save(&mut old).expect("saved");
    let mut new = Exchange::default();
    assert_eq!(guest.on_migrate(&mut new, &Relay::new("1"), &saved), Ok(Watch::FRAMES));
    assert_eq!(new.kept["old"], json!({ "seen": 3 }));
}
