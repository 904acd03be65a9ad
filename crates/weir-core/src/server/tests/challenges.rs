//! Challenges of ACME on a whole server.

use super::*;
use crate::challenges::Challenges;
use crate::spec::{Action, Route};

#[test]
fn a_challenge_is_answered_before_any_route_while_it_waits() {
    let challenges = Arc::<Challenges>::default();
    let body = "of the route".into();
    let answer = Action::Respond { status: http::StatusCode::OK, headers: http::HeaderMap::new(), body };
    let server = Running::new(
        &Spec {
            listeners: vec![Listener { serve: Serve::Http, ..listener("main", loopback()) }],
            routes: vec![Route::new("all", answer)],
            challenges: Some(challenges.clone()),
            ..Spec::default()
        },
        1,
    );
    let ask = |method: &str, path: &str| {
        let mut stream = server.connect();
        write!(stream, "{method} {path} HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer.rsplit("\r\n\r\n").next().unwrap().to_owned()
    };
    let path = "/.well-known/acme-challenge/token";
    assert_eq!(ask("GET", path), "of the route");
    let pending = challenges.answer_http("token", "token.print");
    assert_eq!(ask("GET", path), "token.print");
    assert_eq!(ask("GET", "/.well-known/%61cme-challenge/token?x"), "token.print");
    assert_eq!(ask("HEAD", path), "");
    assert_eq!(ask("POST", path), "of the route");
    assert_eq!(ask("GET", "/.well-known/acme-challenge/other"), "of the route");
    drop(pending);
    assert_eq!(ask("GET", path), "of the route");
}
