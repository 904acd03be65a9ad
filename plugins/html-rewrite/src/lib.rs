//! Changes HTML on its way to the client, by CSS selectors: see README.md.
//!
//! In reading order: [`settings`] (what the rules are), [`page`] (one page on its way).

mod page;
mod settings;
#[cfg(test)]
mod tests;

use std::rc::Rc;

use weir_guest::prelude::*;

use page::Page;
use settings::{Plan, Settings};

struct Rewrite(Rc<Plan>);

impl Filter for Rewrite {
    type Settings = Settings;
    /// None where the response is no page that is changed.
    type Exchange = Option<Page>;

    fn load(settings: Settings) -> Result<Rewrite> {
        Ok(Rewrite(Rc::new(settings.resolve()?)))
    }
}

impl OnResponse for Rewrite {
    fn on_response(&self, x: &mut Option<Page>, res: &Response, req: &Request) -> Result<Verdict> {
        if is_page(res) && req.method() != "HEAD" {
            *x = Some(Page::new(&self.0));
        } else {
            res.body().pass();
        }
        Ok(Verdict::Proceed)
    }
}

impl OnResponseBody for Rewrite {
    fn on_response_body(&self, x: &mut Option<Page>, data: &[u8], last: bool) -> Result<Piece> {
        let Some(page) = x else { return Ok(Piece::Pass) };
        let mut out = page.write(data)?;
        if last {
            out.extend(page.end()?);
            for (rule, changed) in self.0.rules.iter().zip(page.changed()).filter(|(_, changed)| *changed > 0)
            {
                metrics::counter("changed", &[("select", &rule.select)])?.add(f64::from(changed))?;
            }
            *x = None;
        }
        Ok(if out == data { Piece::Pass } else { Piece::Replace(out) })
    }
}

/// Whether it is a whole page of HTML in UTF-8 that can be read.
fn is_page(res: &Response) -> bool {
    // A part of a page begins anywhere.
    if res.status() == 206 || res.headers().get("content-range").is_some() {
        return false;
    }
    // The host decodes these; another one is not to be read.
    let coding = res.header("content-encoding").unwrap_or_default().trim().to_ascii_lowercase();
    if !["", "identity", "gzip", "x-gzip", "br", "zstd"].contains(&coding.as_str()) {
        return false;
    }
    let Some(content_type) = res.header("content-type") else { return false };
    let mut parts = content_type.split(';');
    let is_html = parts.next().is_some_and(|kind| kind.trim().eq_ignore_ascii_case("text/html"));
    let charset = parts.find_map(|parameter| {
        let (name, value) = parameter.split_once('=')?;
        name.trim()
            .eq_ignore_ascii_case("charset")
            .then(|| value.trim().trim_matches('"').to_ascii_lowercase())
    });
    is_html && charset.is_none_or(|charset| ["utf-8", "utf8", "us-ascii"].contains(&charset.as_str()))
}

weir_guest::export!(Rewrite);
