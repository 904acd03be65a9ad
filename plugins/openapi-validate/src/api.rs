//! What a document says, made ready for requests.

use std::collections::BTreeMap;

use json_schema::{Builder, Draft, Schema, Schemas};
use serde_json::Value;

use crate::node::{Node, Result};
use crate::parameter::{Parameter, Place};
use crate::template::Template;
use crate::text::media_type;
use crate::translate::{Side, translate};

/// An API.
pub struct Api {
    /// Begins of paths, the longest first; without `/` at their end.
    bases: Vec<String>,
    /// In the order in which they are tried.
    pub paths: Vec<Path>,
    pub schemas: Schemas,
}

/// A path with its operations, by method in upper case.
pub struct Path {
    pub template: Template,
    pub operations: BTreeMap<&'static str, Operation>,
}

/// What may be asked with one method.
pub struct Operation {
    /// Its `operationId`, or method and path: for logs and metrics.
    pub name: String,
    pub parameters: Vec<Parameter>,
    pub body: Option<Body>,
    responses: Vec<(Status, Answer)>,
}

/// The body of a request.
pub struct Body {
    pub required: bool,
    pub content: Content,
}

/// Media types, and the schemas of those that are JSON; what is more exact comes first.
pub struct Content(Vec<(String, Option<Schema>)>);

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Status {
    Is(u16),
    /// The first digit.
    Begins(u16),
    Default,
}

/// A response.
pub struct Answer {
    pub headers: Vec<Parameter>,
    pub content: Content,
}

const METHODS: [(&str, &str); 8] = [
    ("get", "GET"),
    ("put", "PUT"),
    ("post", "POST"),
    ("delete", "DELETE"),
    ("options", "OPTIONS"),
    ("head", "HEAD"),
    ("patch", "PATCH"),
    ("trace", "TRACE"),
];

/// Fields that a document cannot describe as parameters: other parts of it do.
const NO_PARAMETERS: [&str; 3] = ["accept", "content-type", "authorization"];

/// The most beginnings of paths that servers may have.
const MOST_BASES: usize = 64;

/// Compiles the schemas of one side of exchanges.
pub struct Compile<'b> {
    builder: &'b mut Builder,
    side: Side,
}

impl Compile<'_> {
    /// The schema at this place.
    pub fn schema(&mut self, node: &Node<'_>) -> Result<Schema> {
        let document = if self.side == Side::Request { "request" } else { "response" };
        self.builder
            .schema(document, node.pointer())
            .map_err(|error| if error.starts_with('#') { error } else { node.error(error) })
    }
}

impl Api {
    /// Of a document. `base` takes the place of what its servers say.
    pub fn new(document: Value, base: Option<String>, formats: bool) -> Result<Api> {
        let root = Node::root(&document);
        let (is_3_0, draft) = version(&root)?;
        let mut builder = Builder::new(draft, formats);
        for (name, side) in [("request", Side::Request), ("response", Side::Response)] {
            builder.add(name, translate(&document, side, is_3_0))?;
        }
        let bases = match base {
            Some(base) => vec![base.trim_end_matches('/').to_owned()],
            None => bases(&root)?,
        };
        let mut paths: Vec<Path> = Vec::new();
        for (text, node) in root.known_of("paths")? {
            let template = Template::new(text).map_err(|error| node.error(error))?;
            let same = paths.iter().find(|path| path.template.shape() == template.shape());
            if let Some(same) = same {
                return Err(node.error(format!("the same paths match `{}`", same.template.text)));
            }
            paths.push(Path::new(template, &node.resolve()?, &mut builder)?);
        }
        if paths.is_empty() {
            return Err("#/paths: there must be at least one".to_owned());
        }
        paths.sort_by_key(|path| path.template.rank());
        Ok(Api { bases, paths, schemas: builder.finish() })
    }

    /// Which of its paths matches, and what its placeholders stand for, still percent-encoded.
    pub fn find<'a, 'p>(&'a self, path: &'p str) -> Option<(usize, Vec<(&'a str, &'p str)>)> {
        self.bases.iter().find_map(|base| {
            let rest = path.strip_prefix(base.as_str()).filter(|rest| rest.starts_with('/'))?;
            self.paths.iter().enumerate().find_map(|(at, path)| Some((at, path.template.captures(rest)?)))
        })
    }
}

/// Whether it is 3.0, and the draft of its schemas.
fn version(root: &Node<'_>) -> Result<(bool, Draft)> {
    let Some(version) = root.text_of("openapi")? else {
        return Err("#: `openapi` is not there, which says the version: \"3.0.x\" or \"3.1.x\"".to_owned());
    };
    if version.starts_with("3.0.") {
        return Ok((true, Draft::V4));
    }
    if !version.starts_with("3.1.") {
        return Err(format!("#/openapi: `{version}` cannot be read; \"3.0.x\" or \"3.1.x\""));
    }
    match root.text_of("jsonSchemaDialect")? {
        None
        | Some(
            "https://spec.openapis.org/oas/3.1/dialect/base" | "https://json-schema.org/draft/2020-12/schema",
        ) => Ok((false, Draft::V2020)),
        Some("http://json-schema.org/draft-07/schema#" | "http://json-schema.org/draft-07/schema") => {
            Ok((false, Draft::V7))
        }
        Some(other) => Err(format!("#/jsonSchemaDialect: `{other}` is not known; leave it out for 2020-12")),
    }
}

/// Begins of paths, of `servers`.
fn bases(root: &Node<'_>) -> Result<Vec<String>> {
    let mut bases = Vec::new();
    for server in root.items_of("servers")? {
        let url = server.text_of("url")?.ok_or_else(|| server.error("`url` is not there"))?;
        let mut urls = vec![url.to_owned()];
        for (name, variable) in server.fields_of("variables")? {
            let values =
                match variable.items_of("enum")?.iter().map(Node::text).collect::<Result<Vec<_>>>()? {
                    none if none.is_empty() => variable.text_of("default")?.into_iter().collect(),
                    values => values,
                };
            if urls.len() * values.len() > MOST_BASES {
                return Err(server.error(format!("its variables make more than {MOST_BASES} addresses")));
            }
            let placeholder = format!("{{{name}}}");
            let with = |url: &String| -> Vec<String> {
                values.iter().map(|value| url.replace(&placeholder, value)).collect()
            };
            urls = urls.iter().flat_map(with).collect();
        }
        for url in urls {
            let path = match url.split_once("://") {
                Some((_, rest)) => rest.find('/').and_then(|at| rest.get(at..)).unwrap_or_default(),
                None => url.as_str(),
            };
            if path.contains(['{', '}']) || !(path.is_empty() || path.starts_with('/')) {
                return Err(server.error(format!(
                    "the path of `{url}` is not known; variables need a `default`, and a path begins with `/`. The \
                     setting `base` can say it instead"
                )));
            }
            bases.push(path.trim_end_matches('/').to_owned());
        }
    }
    if bases.is_empty() {
        bases.push(String::new());
    }
    bases.sort_by_key(|base| std::cmp::Reverse(base.len()));
    bases.dedup();
    Ok(bases)
}

impl Path {
    fn new(template: Template, node: &Node<'_>, builder: &mut Builder) -> Result<Path> {
        no_servers(node)?;
        let mut operations = BTreeMap::new();
        for (name, method) in METHODS {
            if let Some(below) = node.get(name) {
                let operation = Operation::new(&template, method, node, &below, builder)?;
                operations.insert(method, operation);
            }
        }
        Ok(Path { template, operations })
    }

    /// The operation of a method; that of `GET` for a `HEAD` that has none.
    pub fn operation(&self, method: &str) -> Option<&Operation> {
        let get = || (method == "HEAD").then(|| self.operations.get("GET")).flatten();
        self.operations.get(method).or_else(get)
    }

    /// The value of `Allow`.
    pub fn allow(&self) -> String {
        let mut methods: Vec<&str> = self.operations.keys().copied().collect();
        if methods.contains(&"GET") && !methods.contains(&"HEAD") {
            methods.push("HEAD");
        }
        methods.join(", ")
    }
}

fn no_servers(node: &Node<'_>) -> Result<()> {
    match node.get("servers") {
        Some(servers) => {
            Err(servers.error("only the document's own servers are read, not those of paths and operations"))
        }
        None => Ok(()),
    }
}

impl Operation {
    fn new(
        template: &Template,
        method: &str,
        path: &Node<'_>,
        node: &Node<'_>,
        builder: &mut Builder,
    ) -> Result<Operation> {
        no_servers(node)?;
        let id = node.text_of("operationId")?.map(str::to_owned);
        let name = id.unwrap_or_else(|| format!("{method} {}", template.text));
        let mut compile = Compile { builder, side: Side::Request };
        let parameters = parameters(path, node, &mut compile)?;
        for wanted in template.names() {
            if !parameters.iter().any(|p| p.place == Place::Path && p.name == wanted) {
                return Err(
                    node.error(format!("`{{{wanted}}}` of the path has no parameter with `in: path`"))
                );
            }
        }
        for parameter in parameters.iter().filter(|p| p.place == Place::Path) {
            if !template.names().contains(&parameter.name.as_str()) {
                return Err(
                    node.error(format!("the path has no `{{{}}}`, which a parameter names", parameter.name))
                );
            }
        }
        let body = match node.find("requestBody")? {
            None => None,
            Some(body) => Some(Body {
                required: body.flag("required", false)?,
                content: Content::new(&body, &mut compile)?,
            }),
        };
        compile.side = Side::Response;
        let mut responses = Vec::new();
        for (status, answer) in node.known_of("responses")? {
            let status = Status::new(status).ok_or_else(|| {
                answer.error(format!("`{status}` is no status; as \"200\", \"2XX\", \"default\""))
            })?;
            responses.push((status, Answer::new(&answer.resolve()?, &mut compile)?));
        }
        responses.sort_by_key(|(status, _)| *status);
        Ok(Operation { name, parameters, body, responses })
    }

    /// Whether the document says anything of responses.
    pub fn has_answers(&self) -> bool {
        !self.responses.is_empty()
    }

    /// What a response with this status must be; none where it may not have it.
    pub fn answer(&self, status: u16) -> Option<&Answer> {
        let matches = |of: &Status| match of {
            Status::Is(exact) => *exact == status,
            Status::Begins(digit) => status / 100 == *digit,
            Status::Default => true,
        };
        self.responses.iter().find(|(of, _)| matches(of)).map(|(_, answer)| answer)
    }
}

/// Those of the path, and those of the operation in their place.
fn parameters(path: &Node<'_>, operation: &Node<'_>, compile: &mut Compile<'_>) -> Result<Vec<Parameter>> {
    let mut parameters: Vec<Parameter> = Vec::new();
    for node in path.items_of("parameters")?.into_iter().chain(operation.items_of("parameters")?) {
        let parameter = Parameter::new(&node.resolve()?, compile)?;
        let header = parameter.place == Place::Header;
        if header && NO_PARAMETERS.iter().any(|name| parameter.name.eq_ignore_ascii_case(name)) {
            continue;
        }
        parameters.retain(|other| (other.place, &other.name) != (parameter.place, &parameter.name));
        parameters.push(parameter);
    }
    Ok(parameters)
}

impl Status {
    fn new(text: &str) -> Option<Status> {
        match text.as_bytes() {
            b"default" => Some(Status::Default),
            [digit @ b'1'..=b'5', b'X' | b'x', b'X' | b'x'] => Some(Status::Begins(u16::from(digit - b'0'))),
            [b'1'..=b'5', _, _] => text.parse().ok().map(Status::Is),
            _ => None,
        }
    }
}

impl Answer {
    fn new(node: &Node<'_>, compile: &mut Compile<'_>) -> Result<Answer> {
        let mut headers = Vec::new();
        for (name, header) in node.fields_of("headers")? {
            if !name.eq_ignore_ascii_case("content-type") {
                headers.push(Parameter::header(&header.resolve()?, name, compile)?);
            }
        }
        Ok(Answer { headers, content: Content::new(node, compile)? })
    }
}

impl Content {
    fn new(node: &Node<'_>, compile: &mut Compile<'_>) -> Result<Content> {
        let mut content = Vec::new();
        for (range, below) in node.fields_of("content")? {
            let schema = below.get("schema").map(|schema| compile.schema(&schema)).transpose()?;
            content.push((media_type(range), schema));
        }
        content.sort_by_key(|(range, _)| match range.as_str() {
            "*/*" => 2,
            range if range.ends_with("/*") => 1,
            _ => 0,
        });
        Ok(Content(content))
    }

    /// Whether nothing is said of media types.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The schema of a media type, in lower case and without parameters; none where it is not listed.
    pub fn of(&self, media_type: &str) -> Option<Option<Schema>> {
        let matches = |range: &str| match range.strip_suffix('*') {
            Some("*/") => true,
            Some(start) => media_type.starts_with(start),
            None => range == media_type,
        };
        self.0.iter().find(|(range, _)| matches(range)).map(|(_, schema)| *schema)
    }

    /// For a message to a client.
    pub fn listed(&self) -> String {
        let ranges: Vec<&str> = self.0.iter().map(|(range, _)| range.as_str()).collect();
        ranges.join(", ")
    }
}
