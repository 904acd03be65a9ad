//! Refuses paths, and adds a field to every response.

use serde::Deserialize;
use weir_guest::prelude::*;

/// `[plugins.NAME.settings]` of the configuration.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Settings {
    /// Paths that nobody gets, with all that is below them.
    #[serde(default)]
    blocked: Vec<String>,
    /// The value of the field `x-served-by` of every response.
    #[serde(default = "weir")]
    served_by: String,
}

fn weir() -> String {
    "weir".to_owned()
}

struct Example(Settings);

impl Filter for Example {
    type Settings = Settings;
    type Exchange = ();

    fn load(settings: Settings) -> Result<Example> {
        if let Some(path) = settings.blocked.iter().find(|path| !path.starts_with('/')) {
            return Err(Failure::new(format!("blocked: `{path}` does not begin with `/`")));
        }
        Ok(Example(settings))
    }
}

impl Example {
    fn blocks(&self, path: &str) -> bool {
        self.0.blocked.iter().any(|blocked| {
            path.strip_prefix(blocked.trim_end_matches('/'))
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        })
    }
}

impl OnRequest for Example {
    fn on_request(&self, _: &mut (), req: &Request) -> Result<Verdict> {
        let path = req.path();
        if self.blocks(&path) {
            log::info(format!("refused {path}"));
            return Ok(Reply::text(403, "not here\n").into());
        }
        Ok(Verdict::Proceed)
    }
}

impl OnResponse for Example {
    fn on_response(&self, _: &mut (), res: &Response, _: &Request) -> Result<Verdict> {
        res.headers().set("x-served-by", self.0.served_by.as_bytes())?;
        Ok(Verdict::Proceed)
    }
}

weir_guest::export!(Example);

#[cfg(test)]
mod tests {
    use weir_guest::testing;

    use super::*;

    fn example(settings: &str) -> Example {
        testing::load(settings).expect("settings").0
    }

    #[test]
    fn a_blocked_path_is_refused_with_all_below_it() {
        let example = example(r#"{"blocked": ["/private"]}"#);
        for (path, expected) in [("/private", 403), ("/private/a", 403), ("/privateer", 200), ("/", 200)] {
            let verdict = example.on_request(&mut (), &Request::new("GET", path)).expect(path);
            let status = if let Verdict::Respond(reply) = verdict { reply.status } else { 200 };
            assert_eq!(status, expected, "{path}");
        }
        assert_eq!(testing::log().len(), 2);
    }

    #[test]
    fn every_response_has_the_field() {
        let (req, res) =
            (Request::new("GET", "/"), Response::new(200).with_header("x-served-by", "upstream"));
        let verdict = example(r#"{"served_by": "edge-1"}"#).on_response(&mut (), &res, &req);
        assert_eq!(verdict, Ok(Verdict::Proceed));
        assert_eq!(res.headers().get_all("x-served-by"), [b"edge-1"]);
    }

    #[test]
    fn settings_that_cannot_be_are_refused_with_the_reason() {
        for (settings, expected) in [
            (r#"{"blocked": ["private"]}"#, "blocked: `private` does not begin with `/`"),
            (r#"{"block": []}"#, "settings: unknown field `block`"),
        ] {
            let refused = testing::load::<Example>(settings).err().expect(settings);
            assert!(refused.starts_with(expected), "{refused}");
        }
    }

    #[test]
    fn weir_is_told_of_the_two_hooks() {
        let (_, hooks) = testing::load::<Example>("{}").expect("settings");
        assert_eq!(hooks, Hooks::REQUEST | Hooks::RESPONSE);
    }
}
