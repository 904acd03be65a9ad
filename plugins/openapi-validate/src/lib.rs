//! Checks requests and responses against an OpenAPI document: see README.md.
//!
//! In reading order: [`settings`], [`node`] (a place in the document), [`api`] (what it says) with [`template`],
//! [`parameter`], [`kind`] and [`translate`], [`check`], [`problem`] (how it is told).

mod api;
mod check;
mod kind;
mod node;
mod parameter;
mod problem;
mod settings;
mod template;
#[cfg(test)]
mod tests;
mod text;
mod translate;

use json_schema::Schema;
use weir_guest::prelude::*;

use api::{Answer, Body as Described, Operation};
use check::Typed;
use problem::{Problem, Wrong};
use settings::{Mode, Plan, Settings, Unknown};

struct Guard(Plan);

/// What is kept of an exchange.
#[derive(Default)]
struct Exchange {
    /// Which path of the document it is for, and its method.
    asked: Option<(usize, String)>,
    request: Option<Reading>,
    response: Option<Reading>,
}

/// A body that is looked at while it passes, or is held until it was.
struct Reading {
    /// None: it only must be there.
    schema: Option<Schema>,
    required: bool,
    data: Vec<u8>,
}

impl Filter for Guard {
    type Settings = Settings;
    type Exchange = Exchange;

    fn load(settings: Settings) -> Result<Guard> {
        Ok(Guard(settings.resolve()?))
    }

    fn wants(&self) -> Hooks {
        let mut hooks = Hooks::REQUEST;
        hooks.set(Hooks::REQUEST_BODY, self.0.request != Mode::Off);
        hooks.set(Hooks::RESPONSE, self.0.response != Mode::Off);
        hooks.set(Hooks::RESPONSE_BODY, self.0.response == Mode::Report);
        hooks
    }
}

impl OnRequest for Guard {
    fn on_request(&self, x: &mut Exchange, req: &Request) -> Result<Verdict> {
        let reply = self.request(x, req)?;
        if x.request.is_none() {
            req.body().pass();
        }
        Ok(reply.map_or(Verdict::Proceed, Verdict::Respond))
    }
}

impl OnRequestBody for Guard {
    fn on_request_body(&self, x: &mut Exchange, data: &[u8], last: bool) -> Result<Piece> {
        let Some(reading) = &mut x.request else { return Ok(Piece::Pass) };
        reading.data.extend_from_slice(data);
        let is_long = reading.data.len() > self.0.max_body;
        let is_read = last || is_long || (reading.schema.is_none() && !reading.data.is_empty());
        let holds = self.0.request == Mode::Enforce;
        if !is_read {
            return Ok(if holds { Piece::hold() } else { Piece::Pass });
        }
        let (Some(reading), Some(operation)) = (x.request.take(), self.operation(x)) else {
            return Ok(Piece::Pass);
        };
        let problem = if reading.schema.is_some() && is_long {
            Some(self.too_large())
        } else {
            let wrong = reading.wrong(&self.0);
            (!wrong.is_empty()).then(|| Problem::invalid(wrong))
        };
        match self.judge_request(&operation.name, problem)? {
            Some(reply) => Ok(reply.into()),
            None if holds => Ok(Piece::Replace(reading.data)),
            None => Ok(Piece::Pass),
        }
    }
}

impl OnResponse for Guard {
    fn on_response(&self, x: &mut Exchange, res: &Response, req: &Request) -> Result<Verdict> {
        let reply = self.response(x, res, req)?;
        if x.response.is_none() {
            res.body().pass();
        }
        Ok(reply.map_or(Verdict::Proceed, Verdict::Respond))
    }
}

impl OnResponseBody for Guard {
    fn on_response_body(&self, x: &mut Exchange, data: &[u8], last: bool) -> Result<Piece> {
        let Some(reading) = &mut x.response else { return Ok(Piece::Pass) };
        reading.data.extend_from_slice(data);
        let is_long = reading.data.len() > self.0.max_body;
        if (last || is_long)
            && let (Some(reading), Some(operation)) = (x.response.take(), self.operation(x))
        {
            let problem = if is_long { Some(self.too_large()) } else { refused(reading.wrong(&self.0)) };
            self.judge_response(&operation.name, problem)?;
        }
        Ok(Piece::Pass)
    }
}

impl Guard {
    /// The operation that an exchange is for.
    fn operation(&self, x: &Exchange) -> Option<&Operation> {
        let (at, method) = x.asked.as_ref()?;
        self.0.api.paths.get(*at)?.operation(method)
    }

    /// Looks at the head of a request; the answer where it is refused.
    fn request(&self, x: &mut Exchange, req: &Request) -> Result<Option<Reply>> {
        let Guard(plan) = self;
        let path = req.path();
        let Some((at, captures)) = plan.api.find(&path) else {
            let problem = Problem::new(404, "unknown", "the API has no such path");
            return match plan.unknown {
                Unknown::Pass => Ok(None),
                Unknown::Refuse => self.judge_request("", Some(problem)),
            };
        };
        x.asked = Some((at, req.method()));
        if plan.request == Mode::Off {
            return Ok(None);
        }
        let Some(operation) = self.operation(x) else {
            let mut problem = Problem::new(405, "method", "the path has no such method");
            let path = plan.api.paths.get(at);
            problem.allow = path.map(api::Path::allow);
            return self.judge_request(path.map_or("", |path| &path.template.text), Some(problem));
        };
        let mut wrong = check::parameters(&plan.api.schemas, operation, &captures, req);
        let mut reading = None;
        if let Some(body) = &operation.body {
            match self.body(body, req, &mut wrong)? {
                Ok(body) => reading = body,
                Err(problem) => return self.judge_request(&operation.name, Some(problem)),
            }
        }
        let problem = (!wrong.is_empty()).then(|| Problem::invalid(wrong));
        if problem.is_none() && reading.is_some() {
            x.request = reading;
            return Ok(None);
        }
        self.judge_request(&operation.name, problem)
    }

    /// How the body of a request is to be read, if it is; or why it cannot be.
    fn body(
        &self,
        described: &Described,
        req: &Request,
        wrong: &mut Vec<Wrong>,
    ) -> Result<std::result::Result<Option<Reading>, Problem>> {
        let length = req.headers().parse::<u64>("content-length").unwrap_or_default();
        if length == 0 && is_empty(&req.body())? {
            if described.required {
                wrong.push(Wrong::whole("required", "must be there"));
            }
            return Ok(Ok(None));
        }
        let schema = match check::typed(&described.content, &req.headers()) {
            Typed::Json(_) if length > self.0.max_body as u64 => return Ok(Err(self.too_large())),
            Typed::Json(schema) => Some(schema),
            Typed::Other => None,
            Typed::Unlisted | Typed::Missing if described.content.is_empty() => None,
            Typed::Unlisted | Typed::Missing => {
                let listed = described.content.listed();
                return Ok(Err(Problem::new(415, "type", format!("the body must be of the type {listed}"))));
            }
        };
        Ok(Ok(Some(Reading { schema, required: described.required, data: Vec::new() })))
    }

    fn too_large(&self) -> Problem {
        Problem::new(413, "large", format!("the body has more than {} bytes", self.0.max_body))
    }

    /// Counts a request, and logs what is wrong; the answer where it is refused.
    fn judge_request(&self, operation: &str, problem: Option<Problem>) -> Result<Option<Reply>> {
        let mode = self.0.request;
        if mode == Mode::Off {
            return Ok(None);
        }
        judge("requests", operation, mode, problem.as_ref())?;
        problem.filter(|_| mode == Mode::Enforce).map(|problem| problem.reply()).transpose()
    }

    /// The same for a response: its reader is not told what is wrong.
    fn judge_response(&self, operation: &str, problem: Option<Problem>) -> Result<Option<Reply>> {
        let mode = self.0.response;
        judge("responses", operation, mode, problem.as_ref())?;
        let reply = || Problem::new(502, "", "the response is not as the API describes it").reply();
        problem.filter(|_| mode == Mode::Enforce).map(|_| reply()).transpose()
    }

    /// Looks at a response; the answer in its place where it is refused.
    fn response(&self, x: &mut Exchange, res: &Response, req: &Request) -> Result<Option<Reply>> {
        let Guard(plan) = self;
        let status = res.status();
        // What weir or a plugin answered is not the API's; 304 is HTTP's own.
        if res.endpoint().is_none() || status == 304 || status < 200 {
            return Ok(None);
        }
        let Some(operation) = self.operation(x).filter(|operation| operation.has_answers()) else {
            return Ok(None);
        };
        let Some(answer) = operation.answer(status) else {
            let problem = Problem::new(502, "status", format!("the status {status} is not described"));
            return self.judge_response(&operation.name, Some(problem));
        };
        let mut wrong = check::fields(&plan.api.schemas, answer, res);
        let has_body =
            req.method() != "HEAD" && status != 204 && res.header("content-length").as_deref() != Some("0");
        let schema = if has_body { json_of(answer, res, &mut wrong) } else { None };
        if let Some(schema) = schema {
            let reading = Reading { schema: Some(schema), required: true, data: Vec::new() };
            if plan.response == Mode::Report && wrong.is_empty() {
                x.response = Some(reading);
                return Ok(None);
            }
            if plan.response == Mode::Enforce {
                match res.body().read(Some(plan.max_body as u64)) {
                    Ok(data) => wrong.extend(Reading { data, ..reading }.wrong(plan)),
                    Err(Error::TooLarge(_)) => {
                        return self.judge_response(&operation.name, Some(self.too_large()));
                    }
                    Err(error) => return Err(error.into()),
                }
            }
        }
        self.judge_response(&operation.name, refused(wrong))
    }
}

impl Reading {
    /// What is wrong with what was read.
    fn wrong(&self, plan: &Plan) -> Vec<Wrong> {
        match self.schema {
            _ if self.data.is_empty() && self.required => vec![Wrong::whole("required", "must be there")],
            Some(schema) if !self.data.is_empty() => check::body(&plan.api.schemas, schema, &self.data),
            _ => Vec::new(),
        }
    }
}

/// Whether nothing comes of a body. Waits for its first byte where it has not said how long it is.
fn is_empty(body: &Body) -> Result<bool> {
    match body.read(Some(0)) {
        Ok(_) => Ok(true),
        Err(Error::TooLarge(_)) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// The schema of a response's body, where it is to be looked at.
fn json_of(answer: &Answer, res: &Response, wrong: &mut Vec<Wrong>) -> Option<Schema> {
    if answer.content.is_empty() {
        return None;
    }
    match check::typed(&answer.content, &res.headers()) {
        Typed::Json(schema) => Some(schema),
        Typed::Other => None,
        Typed::Unlisted | Typed::Missing => {
            wrong.push(Wrong::whole("content", format!("must be of the type {}", answer.content.listed())));
            None
        }
    }
}

/// Of a response.
fn refused(errors: Vec<Wrong>) -> Option<Problem> {
    (!errors.is_empty()).then(|| Problem { errors, ..Problem::new(502, "invalid", "") })
}

/// Counts, and logs what is wrong.
fn judge(counter: &str, operation: &str, mode: Mode, problem: Option<&Problem>) -> Result<()> {
    let outcome = problem.map_or("valid", |problem| problem.outcome);
    metrics::counter(counter, &[("operation", operation), ("outcome", outcome)])?.add(1.0)?;
    if let Some(problem) = problem {
        let what = counter.trim_end_matches('s');
        let verb = if mode == Mode::Enforce { "refused" } else { "would be refused" };
        let operation = if operation.is_empty() { String::new() } else { format!("{operation}: ") };
        log::info(format!("{what} {verb}: {operation}{}", problem.line()));
    }
    Ok(())
}

weir_guest::export!(Guard);
