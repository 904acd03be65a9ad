//! A snapshot that is tried on the requests of another one.

use super::*;
use crate::server::Publisher;
use crate::shadow::{Figures, Shadow, WHOLE};

/// A route with this plugin.
fn spec(plugin: Native) -> Spec {
    let body = crate::spec::Action::Respond {
        status: StatusCode::OK,
        headers: HeaderMap::new(),
        body: Bytes::new(),
    };
    let mut route = Route::new("all", body);
    route.plugins = vec![Arc::new(plugin)];
    Spec { listeners: vec![listener()], routes: vec![route], ..Spec::default() }
}

fn answer(text: &'static str) -> Verdict {
    Verdict::Respond(Reply {
        status: StatusCode::OK,
        headers: HeaderMap::new(),
        body: Bytes::from_static(text.as_bytes()),
    })
}

fn shadow(publisher: &Publisher, spec: &Spec) -> Arc<Shadow> {
    let current = publisher.current();
    Arc::new(Shadow::new(spec, &current, |plugin| Some(plugin.clone()), WHOLE).unwrap())
}

/// Waits until so many requests were judged, those not counted that wait.
async fn judged(shadow: &Shadow, n: u64) -> Figures {
    loop {
        let figures = shadow.figures();
        if figures.judged - figures.waiting >= n {
            return figures;
        }
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn plugins_are_asked_beside_those_that_serve_and_nobody_sees_it() {
    let serving = spec(Native::new("old").on_request(|x| match x.uri.path() {
        "/both-fail" => Verdict::Fail("old".into()),
        _ => answer("old"),
    }));
    let server = Server::start(Snapshot::assemble(&serving, None, None).unwrap(), 1).unwrap();
    let (web, publisher) = (server.addresses()[0].1.unwrap(), server.publisher());
    let asked = Arc::new(Mutex::new(Vec::new()));
    let seen = asked.clone();
    let next = spec(Native::new("new").on_request(move |x| {
        let path = x.uri.path().to_owned();
        seen.lock().unwrap().push(path.clone());
        x.headers.insert("x-new", HeaderValue::from_static("1"));
        match path.as_str() {
            "/fail" | "/both-fail" => Verdict::Fail("new.lua:1: no".into()),
            "/bad" => {
                x.uri = http::Uri::from_static("/%00");
                Verdict::Proceed
            }
            _ => answer("new"),
        }
    }));
    let tried = shadow(&publisher, &next);
    publisher.current().trials.begin(tried.clone());
    for path in ["/a", "/fail", "/bad"] {
        let response = get(web, path).await;
        assert!(response.ends_with("\r\n\r\nold"), "{response}");
    }
    let figures = judged(&tried, 3).await;
    assert_eq!((figures.judged, figures.failed, figures.unjudged, figures.left_out), (3, 2, 0, 0));
    let (plugin, n, message) = figures.worst.unwrap();
    assert_eq!((plugin.as_str(), n, message.as_str()), ("new", 2, "new.lua:1: no"));
    // What fails already tells nothing.
    assert!(get(web, "/both-fail").await.starts_with("HTTP/1.1 502 "));
    while tried.figures().unjudged != 1 {
        tokio::task::yield_now().await;
    }
    publisher.current().trials.end();
    assert!(get(web, "/a").await.ends_with("\r\n\r\nold"));
    assert_eq!(*asked.lock().unwrap(), ["/a", "/fail", "/bad", "/both-fail"]);
    // Nothing is kept of what is tried no more.
    drop((tried, next));
    while Arc::strong_count(&asked) > 1 {
        tokio::task::yield_now().await;
    }
    assert_eq!(server.drain(Duration::from_secs(10)).await.cut, 0);
}

#[tokio::test]
async fn where_the_same_plugins_are_asked_nothing_is_tried() {
    let serving = spec(Native::new("same").on_request(|_| answer("old")));
    let server = Server::start(Snapshot::assemble(&serving, None, None).unwrap(), 1).unwrap();
    let (web, publisher) = (server.addresses()[0].1.unwrap(), server.publisher());
    let other = spec(Native::new("without")).routes[0].plugins.clone();
    for plugins in [serving.routes[0].plugins.clone(), other] {
        let mut next = serving.clone();
        next.routes[0].plugins = plugins;
        let tried = shadow(&publisher, &next);
        publisher.current().trials.begin(tried.clone());
        assert!(get(web, "/").await.ends_with("\r\n\r\nold"));
        assert_eq!(tried.figures(), Figures::default());
    }
    // A plugin that cannot be lent anything else cannot be tried.
    let next = spec(Native::new("new").on_request(|_| panic!("it is never asked")));
    let current = publisher.current();
    let tried = Arc::new(Shadow::new(&next, &current, |_| None, WHOLE).unwrap());
    current.trials.begin(tried.clone());
    assert!(get(web, "/").await.ends_with("\r\n\r\nold"));
    assert_eq!(tried.figures(), Figures { unjudged: 1, ..Figures::default() });
}
