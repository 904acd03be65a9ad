//! What the bench has weir do in a component. The setting `work` says which: the routing of S2, the fields of S3, frames
//! that go on as they are, or nothing but to end in a trap where a request asks for it.

use serde::Deserialize;
use weir_guest::prelude::*;

#[derive(Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Work {
    /// A hook that does nothing.
    Nothing,
    /// The instance ends where a request has the field `x-trap`.
    Trap,
    Route,
    Fields,
    Frames,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Settings {
    work: Work,
}

struct Bench(Work);

impl Filter for Bench {
    type Settings = Settings;
    type Exchange = ();

    fn load(Settings { work }: Settings) -> Result<Bench> {
        Ok(Bench(work))
    }

    fn wants(&self) -> Hooks {
        match self.0 {
            Work::Nothing | Work::Trap => Hooks::REQUEST,
            Work::Route | Work::Fields => Hooks::REQUEST | Hooks::RESPONSE,
            Work::Frames => Hooks::FRAME,
        }
    }
}

impl OnRequest for Bench {
    fn on_request(&self, _: &mut (), req: &Request) -> Result<Verdict> {
        match self.0 {
            Work::Route => {
                let headers = req.headers();
                let tenant = headers.get("x-tenant");
                let is_beta = tenant.as_deref() == Some(b"beta") && req.path().starts_with("/api/");
                let to = if is_beta { "b" } else { "a" };
                req.set_upstream(to)?;
                let id = [b"t-", tenant.as_deref().unwrap_or(b"none")].concat();
                headers.set("x-tenant-id", &id)?;
                headers.set("x-route", to.as_bytes())?;
                headers.set("x-gateway", b"bench")?;
                headers.remove("x-debug")?;
            }
            Work::Fields => {
                let headers = req.headers();
                headers.add("x-wasm-route", b"a")?;
                headers.add("x-wasm-tenant", b"t-alpha")?;
                headers.add("x-wasm-gateway", b"bench")?;
            }
            Work::Trap => assert!(req.header("x-trap").is_none(), "as asked"),
            Work::Nothing | Work::Frames => {}
        }
        Ok(Verdict::Proceed)
    }
}

impl OnResponse for Bench {
    fn on_response(&self, _: &mut (), res: &Response, req: &Request) -> Result<Verdict> {
        match self.0 {
            Work::Fields => res.headers().add("x-wasm-served-by", b"bench-a")?,
            _ => {
                let to = req.upstream().unwrap_or_default();
                res.headers().set("x-served-by", format!("bench-{to}").as_bytes())?;
            }
        }
        Ok(Verdict::Proceed)
    }
}

impl OnFrame for Bench {
    fn on_frame(&self, _: &mut (), _: &Relay, _: &Frame) -> Result<FrameVerdict> {
        Ok(FrameVerdict::Forward)
    }
}

weir_guest::export!(Bench);

#[cfg(test)]
mod tests {
    use weir_guest::testing;

    use super::*;

    #[test]
    fn the_route_is_chosen_by_tenant_and_path() {
        let (bench, _) = testing::load::<Bench>(r#"{"work": "route"}"#).expect("settings");
        for (path, tenant, to) in
            [("/api/x", Some("beta"), "b"), ("/web", Some("beta"), "a"), ("/api/x", None, "a")]
        {
            let req = Request::new("GET", path);
            if let Some(tenant) = tenant {
                req.headers().set("x-tenant", tenant.as_bytes()).expect("a field");
            }
            bench.on_request(&mut (), &req).expect(path);
            assert_eq!((req.upstream().as_deref(), req.header("x-route").as_deref()), (Some(to), Some(to)));
            assert_eq!(req.header("x-tenant-id"), Some(format!("t-{}", tenant.unwrap_or("none"))));
        }
    }
}
