//! Greets the upstream, and turns away who does not know the word.

use std::time::Duration;

use serde::Deserialize;
use weir_guest::prelude::*;

/// What the configuration may set. All of it is checked before a request is served.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Settings {
    #[serde(default = "hello")]
    word: String,
    secret: Option<String>,
}

fn hello() -> String {
    "hello".to_owned()
}

struct Greeter(Settings);

impl Filter for Greeter {
    type Settings = Settings;
    /// When the request came.
    type Exchange = Option<Duration>;

    fn load(settings: Settings) -> Result<Greeter> {
        if settings.word.is_empty() {
            return Err(Failure::new("word: it is empty"));
        }
        Ok(Greeter(settings))
    }
}

/// After routing, before an upstream is asked.
impl OnRequest for Greeter {
    fn on_request(&self, began: &mut Option<Duration>, req: &Request) -> Result<Verdict> {
        if let Some(secret) = &self.0.secret
            && req.header("x-secret").as_ref() != Some(secret)
        {
            log::info(format!("a stranger at {}", req.path()));
            return Ok(Reply::text(403, "no\n").into());
        }
        *began = Some(time::monotonic());
        let who = req.client_ip().unwrap_or_else(|| "you".to_owned());
        req.headers().set("x-greeting", format!("{} {who}", self.0.word).as_bytes())?;
        Ok(Verdict::Proceed)
    }
}

/// The head of the response is there.
impl OnResponse for Greeter {
    fn on_response(&self, began: &mut Option<Duration>, res: &Response, _: &Request) -> Result<Verdict> {
        if let Some(began) = began {
            let took = time::monotonic().saturating_sub(*began);
            res.headers().set("x-took", format!("{:.3}", took.as_secs_f64()).as_bytes())?;
        }
        Ok(Verdict::Proceed)
    }
}

weir_guest::export!(Greeter);

/// They run without weir and without WebAssembly: `cargo test`.
#[cfg(test)]
mod tests {
    use weir_guest::testing;

    use super::*;

    fn greeter(settings: &str) -> Greeter {
        testing::load(settings).expect("settings").0
    }

    #[test]
    fn the_upstream_is_greeted() {
        let greeter = greeter(r#"{"word": "good day"}"#);
        let (req, res) = (Request::new("GET", "/").with_client_ip("192.0.2.1"), Response::new(200));
        let mut began = None;
        assert_eq!(greeter.on_request(&mut began, &req), Ok(Verdict::Proceed));
        assert_eq!(req.header("x-greeting").as_deref(), Some("good day 192.0.2.1"));
        testing::advance(Duration::from_millis(250));
        assert_eq!(greeter.on_response(&mut began, &res, &req), Ok(Verdict::Proceed));
        assert_eq!(res.header("x-took").as_deref(), Some("0.250"));
    }

    #[test]
    fn a_stranger_is_turned_away() {
        let greeter = greeter(r#"{"secret": "s"}"#);
        let verdict = greeter.on_request(&mut None, &Request::new("GET", "/a"));
        assert!(matches!(verdict, Ok(Verdict::Respond(reply)) if reply.status == 403));
        let knows = Request::new("GET", "/a").with_header("x-secret", "s");
        assert_eq!(greeter.on_request(&mut None, &knows), Ok(Verdict::Proceed));
    }

    #[test]
    fn wrong_settings_are_refused() {
        assert!(testing::load::<Greeter>(r#"{"word": 7}"#).is_err());
        assert!(testing::load::<Greeter>(r#"{"wort": "hello"}"#).is_err());
    }
}
