//! What is wrong, and how it is told.

use json_schema::Finding;
use serde_json::{Value, json};
use weir_guest::prelude::*;

use crate::parameter::Parameter;

/// One thing that is wrong.
#[derive(Debug, PartialEq, Eq)]
pub struct Wrong {
    /// `"path"`, `"query"`, `"header"`, `"cookie"`, `"body"`.
    place: &'static str,
    /// Of a parameter; empty for a body.
    name: String,
    finding: Finding,
}

impl Wrong {
    /// In a body.
    pub fn body(finding: Finding) -> Wrong {
        Wrong { place: "body", name: String::new(), finding }
    }

    /// In a body as a whole.
    pub fn whole(keyword: &'static str, text: impl Into<String>) -> Wrong {
        Wrong::body(Finding { pointer: String::new(), keyword, text: text.into() })
    }

    /// In a parameter.
    pub fn parameter(parameter: &Parameter, finding: Finding) -> Wrong {
        Wrong { place: parameter.place.name(), name: parameter.name.clone(), finding }
    }

    /// In a parameter as a whole.
    pub fn there(parameter: &Parameter, keyword: &'static str, text: &str) -> Wrong {
        Wrong::parameter(parameter, Finding { pointer: String::new(), keyword, text: text.to_owned() })
    }

    fn json(&self) -> Value {
        let Wrong { place, name, finding: Finding { pointer, keyword, text } } = self;
        let mut error = json!({ "in": place, "pointer": pointer, "keyword": keyword, "message": text });
        if !name.is_empty() {
            error["name"] = json!(name);
        }
        error
    }

    /// For the log: nothing of what was sent but names.
    fn line(&self) -> String {
        let Wrong { place, name, finding } = self;
        let parts = [place, name.as_str(), finding.pointer.as_str(), finding.keyword];
        parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" ")
    }
}

/// Why a request or a response is refused.
#[derive(Debug)]
pub struct Problem {
    pub status: u16,
    /// As in metrics.
    pub outcome: &'static str,
    pub detail: String,
    pub errors: Vec<Wrong>,
    /// The methods that there are.
    pub allow: Option<String>,
}

impl Problem {
    pub fn new(status: u16, outcome: &'static str, detail: impl Into<String>) -> Problem {
        Problem { status, outcome, detail: detail.into(), errors: Vec::new(), allow: None }
    }

    /// 400.
    pub fn invalid(errors: Vec<Wrong>) -> Problem {
        Problem { errors, ..Problem::new(400, "invalid", "the request is not as the API describes it") }
    }

    /// As JSON (RFC 9457).
    pub fn reply(&self) -> Result<Reply> {
        let title = match self.status {
            404 => "Not Found",
            405 => "Method Not Allowed",
            413 => "Content Too Large",
            415 => "Unsupported Media Type",
            502 => "Bad Gateway",
            _ => "Bad Request",
        };
        let mut body = json!({
            "type": "about:blank",
            "title": title,
            "status": self.status,
            "detail": self.detail,
        });
        if !self.errors.is_empty() {
            body["errors"] = self.errors.iter().map(Wrong::json).collect();
        }
        let reply = Reply::json(self.status, &body)?;
        let mut reply =
            Reply { headers: Vec::new(), ..reply }.header("content-type", "application/problem+json");
        if let Some(allow) = &self.allow {
            reply = reply.header("allow", allow);
        }
        Ok(reply)
    }

    /// For the log.
    pub fn line(&self) -> String {
        if self.errors.is_empty() {
            return self.detail.clone();
        }
        let mut lines: Vec<String> = self.errors.iter().take(4).map(Wrong::line).collect();
        if self.errors.len() > 4 {
            lines.push(format!("{} more", self.errors.len() - 4));
        }
        lines.join("; ")
    }
}
