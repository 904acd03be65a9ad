//! `weir explain`.

#![allow(rustdoc::bare_urls, reason = "the comments of arguments are texts for users")]

use std::collections::HashMap;
use std::fmt::Write;
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::process::ExitCode;

use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri};
use weir_core::path;
use weir_core::route::{Question, Router};
use weir_core::spec::{Action, Balance, HostRewrite, ListenAddress, Listener, Route, Serve, Spec};

use super::{load, names, print};
use crate::config::lower::without_upstreams;
use crate::config::value::Leaf;
use crate::run::EXIT_CONFIG;

/// Exit code: no route takes the request.
const EXIT_NO_ROUTE: u8 = 4;

/// A request to explain.
#[derive(Debug, clap::Args)]
pub(super) struct Explain {
    /// The method.
    method: Method,
    /// Where to: https://example.com/path?query, or only the path.
    url: String,
    /// A header of the request, as in curl; can be given again.
    #[arg(short = 'H', long = "header", value_name = "NAME: VALUE")]
    headers: Vec<String>,
    /// The client's address.
    #[arg(long, value_name = "IP", default_value_t = IpAddr::V4(Ipv4Addr::LOCALHOST))]
    client: IpAddr,
    /// The listener that accepts the request. Default: the first that fits the scheme and port of the URL.
    #[arg(long, value_name = "NAME")]
    listener: Option<String>,
    /// A file, or a folder of *.toml files. Default: the built-in demo.
    #[arg(short, long, value_name = "PATH")]
    config: Option<PathBuf>,
}

/// The request as routing sees it.
struct Request {
    uri: Uri,
    host: String,
    path: String,
    headers: HeaderMap,
}

impl Explain {
    /// Tells which route takes the request.
    pub(super) fn run(self) -> ExitCode {
        let plan = match load(self.config.clone()) {
            Ok(loaded) => loaded.plan,
            Err(code) => return code,
        };
        match self.explain(&plan.spec) {
            Ok((text, found)) => match print(&text) {
                ExitCode::SUCCESS if !found => ExitCode::from(EXIT_NO_ROUTE),
                code => code,
            },
            Err(message) => {
                eprintln!("error: {message}");
                ExitCode::from(EXIT_CONFIG)
            }
        }
    }

    /// The explanation, and whether a route takes the request.
    fn explain(&self, spec: &Spec) -> Result<(String, bool), String> {
        let request = self.request(spec)?;
        let listener = self.listener(spec, &request.uri)?;
        let question = Question {
            listener: &listener.name,
            host: &request.host,
            path: &request.path,
            query: request.uri.query().unwrap_or_default(),
            method: &self.method,
            headers: &request.headers,
            client: Some(self.client),
        };
        let router =
            Router::new(&without_upstreams(&spec.routes), &HashMap::new()).map_err(|e| e.to_string())?;
        let found = router.find(&question);
        let mut out = String::new();
        let _ = writeln!(out, "request   {} {} on listener {}", self.method, request.path, listener.name);
        if let Some(plugins) = spec.connect_plugins.get(&listener.name) {
            let _ = writeln!(out, "connect   asks {}", names(plugins));
        }
        let _ = writeln!(out, "host      {}", if request.host.is_empty() { "-" } else { &request.host });
        let name = found.as_ref().map(|f| &f.route.spec.name);
        match name.and_then(|name| spec.routes.iter().find(|r| r.name == *name)) {
            Some(route) => {
                let _ = writeln!(out, "route     {}", route.name);
                for (name, value) in found.iter().flat_map(|f| &f.captures) {
                    let _ = writeln!(out, "          {{{name}}} = {value}");
                }
                action(&mut out, spec, route);
            }
            None => out.push_str("route     none: the answer is 404\n"),
        }
        others(&mut out, &router, &question, name);
        Ok((out, found.is_some()))
    }

    fn request(&self, spec: &Spec) -> Result<Request, String> {
        let uri: Uri = self.url.parse().map_err(|e| format!("`{}` is not a URL: {e}", self.url))?;
        if uri.path().is_empty() || (!self.url.contains("://") && !self.url.starts_with('/')) {
            return Err(format!("`{}` has no scheme: write http://{}", self.url, self.url));
        }
        let mut headers = HeaderMap::new();
        for header in &self.headers {
            let (name, value) =
                header.split_once(':').ok_or_else(|| format!("`{header}` is not a header: NAME: VALUE"))?;
            let name = HeaderName::parse(name.trim())?;
            headers.append(name, HeaderValue::parse(value.trim())?);
        }
        if !headers.contains_key(http::header::HOST)
            && let Some(authority) = uri.authority()
        {
            headers.insert(http::header::HOST, HeaderValue::parse(authority.as_str())?);
        }
        let authority = headers.get(http::header::HOST).and_then(|h| h.to_str().ok()).unwrap_or_default();
        let host = authority
            .parse::<http::uri::Authority>()
            .map(|a| a.host().to_ascii_lowercase())
            .unwrap_or_default();
        let path = path::normalise(uri.path(), &spec.proxy.path)
            .map_err(|e| format!("this request is answered with 400: {e}"))?
            .into_owned();
        Ok(Request { uri, host, path, headers })
    }

    fn listener<'s>(&self, spec: &'s Spec, uri: &Uri) -> Result<&'s Listener, String> {
        let http = || spec.listeners.iter().filter(|l| l.serve == Serve::Http);
        if let Some(name) = &self.listener {
            return http().find(|l| *l.name == **name).ok_or_else(|| {
                let names: Vec<&str> = http().map(|l| &*l.name).collect();
                format!("there is no HTTP listener `{name}`; there are {}", names.join(", "))
            });
        }
        let secure = match uri.scheme_str() {
            Some("https" | "wss") => Some(true),
            Some(_) => Some(false),
            None => None,
        };
        let port = uri.port_u16().or(secure.map(|s| if s { 443 } else { 80 }));
        let scheme_fits = |l: &&Listener| secure.is_none_or(|s| l.tls.is_some() == s);
        let port_fits = |l: &&Listener| matches!(&l.address, ListenAddress::Tcp(a) if Some(a.port()) == port);
        http()
            .filter(scheme_fits)
            .find(port_fits)
            .or_else(|| http().find(scheme_fits))
            .or_else(|| http().next())
            .ok_or_else(|| "there is no HTTP listener".to_owned())
    }
}

/// What the route does.
fn action(out: &mut String, spec: &Spec, route: &Route) {
    let _ = match &route.action {
        Action::Redirect { status, to } => writeln!(out, "answer    redirect {} to {to}", status.as_u16()),
        Action::Respond { status, body, .. } => {
            writeln!(out, "answer    {} with {} bytes", status.as_u16(), body.len())
        }
        Action::Files(files) => writeln!(out, "answer    files of {}", files.root.display()),
        Action::Metrics(_) => writeln!(out, "answer    metrics"),
        Action::Upstream(name) => {
            let upstream = spec.upstreams.iter().find(|u| u.name == *name);
            let _ = match upstream.map(|u| &u.balance) {
                Some(balance) => writeln!(out, "upstream  {name} ({})", balance_name(balance)),
                None => writeln!(out, "upstream  {name}"),
            };
            for endpoint in upstream.iter().flat_map(|u| &u.endpoints) {
                let _ = match endpoint.weight {
                    1 => writeln!(out, "          {}", endpoint.address.show()),
                    weight => writeln!(out, "          {} weight {weight}", endpoint.address.show()),
                };
            }
            let _ = match &route.host {
                HostRewrite::Keep => Ok(()),
                HostRewrite::Endpoint => writeln!(out, "          with the endpoint as Host"),
                HostRewrite::Set(host) => writeln!(out, "          with Host {}", host.show()),
            };
            websocket(out, route)
        }
    };
}

/// What is done with the route's WebSockets, where they are not just carried.
fn websocket(out: &mut String, route: &Route) -> std::fmt::Result {
    let Some(settings) = &route.websocket else { return writeln!(out, "websocket refused with 403") };
    let readers = route.plugins.iter().filter(|plugin| plugin.hooks().is_for_relays()).cloned();
    let readers: Vec<_> = readers.collect();
    match (readers.is_empty(), settings.reads_frames) {
        (true, false) => Ok(()),
        (true, true) => writeln!(out, "websocket frames are read, as `websocket` says"),
        (false, _) => writeln!(out, "websocket frames are read, by {}", names(&readers)),
    }
}

fn balance_name(balance: &Balance) -> String {
    match balance {
        Balance::RoundRobin => "round-robin".into(),
        Balance::LeastRequests => "least-requests".into(),
        Balance::Random => "random".into(),
        Balance::Hash(key) => format!("hash of {}", key.show()),
        Balance::Sticky(cookie) => format!("sticky by the cookie {}", cookie.name),
    }
}

/// Why each other route does not take the request, in the order in which they are asked.
fn others(out: &mut String, router: &Router, question: &Question<'_>, taken: Option<&std::sync::Arc<str>>) {
    let explanations = router.explain(question);
    let others = || explanations.iter().filter(|e| Some(&e.route) != taken);
    if others().next().is_none() {
        return;
    }
    out.push_str("\nother routes, the most specific first\n");
    let width = others().map(|e| e.route.len()).max().unwrap_or_default();
    for explanation in others() {
        let reason = explanation.mismatch.as_deref().unwrap_or("would take it, but is less specific");
        let _ = writeln!(out, "  {:width$}  {reason}", explanation.route);
    }
}
