//! Compares a document with the JSON Schema of the raw types: unknown keys, missing keys, wrong types and values
//! that do not parse, all of them at once and each with its place. What is wrong is left out of the result, so
//! that the rest can still be looked at.

use serde_json::{Map, Value as Json};

use super::document::{At, Node, Value};
use super::report::{Diagnostic, Report, did_you_mean};
use super::value;

/// A walk over a document.
pub struct Shape<'a> {
    /// The whole schema: references lead into it.
    pub schema: &'a Json,
    /// Where errors go.
    pub report: &'a mut Report,
    /// Ways to what is wrong.
    pub bad: &'a mut Vec<At>,
}

impl Shape<'_> {
    /// The document as JSON without what is wrong in it.
    pub fn document(mut self, node: &Node) -> Json {
        let schema = self.schema;
        self.walk(schema, node, &At::default()).unwrap_or_else(|| Json::Object(Map::new()))
    }

    fn walk(&mut self, schema: &Json, node: &Node, at: &At) -> Option<Json> {
        let options = alternatives(self.schema, schema);
        let fitting: Vec<&Json> = options.iter().copied().filter(|s| accepts(s, node)).collect();
        let Some(first) = fitting.first() else {
            self.wrong_kind(&options, node, at);
            return None;
        };
        match &node.value {
            Value::String(text) => self.string(&fitting, text, node, at),
            Value::Integer(n) => self.number(first, *n as f64, node, at).then(|| Json::from(*n)),
            Value::Float(n) => self.number(first, *n, node, at).then(|| Json::from(*n)),
            Value::Boolean(b) => Some(Json::from(*b)),
            Value::Datetime => None,
            Value::Array(list) => self.array(first, list, at),
            Value::Table(_) => Some(self.table(first, node, at)),
        }
    }

    fn error(&mut self, at: &At, diagnostic: Diagnostic) {
        self.bad.push(at.clone());
        self.report.push(diagnostic);
    }

    fn wrong_kind(&mut self, options: &[&Json], node: &Node, at: &At) {
        let mut wanted: Vec<String> = Vec::new();
        for option in options {
            let want = describe(option);
            if !want.is_empty() && !wanted.contains(&want) {
                wanted.push(want);
            }
        }
        let title = match at.0.last() {
            Some(super::document::Step::Key(key)) => format!("`{key}` cannot be {}", node.kind()),
            _ => format!("this cannot be {}", node.kind()),
        };
        let mut diagnostic =
            Diagnostic::new(title).place(node.place.clone(), format!("expected {}", wanted.join(", or ")));
        if let (Value::Table(_), [super::document::Step::Key(key)]) = (&node.value, at.0.as_slice())
            && options.iter().any(|o| has_type(o, "array"))
        {
            diagnostic = diagnostic.help(format!("each is a table of a list: write `[[{key}]]`"));
        }
        self.error(at, diagnostic);
    }

    fn string(&mut self, options: &[&Json], text: &str, node: &Node, at: &At) -> Option<Json> {
        let words: Vec<&str> = options.iter().flat_map(|o| words(o)).collect();
        if words.contains(&text) {
            return Some(Json::from(text));
        }
        let open: Vec<&&Json> = options.iter().filter(|o| self::words(o).is_empty()).collect();
        if open.is_empty() {
            let mut diagnostic = Diagnostic::new(format!("`{text}` is not possible here"));
            diagnostic = match did_you_mean(text, words.iter().copied()) {
                Some(word) => diagnostic.place(node.place.clone(), format!("did you mean \"{word}\"?")),
                None => diagnostic.place(node.place.clone(), ""),
            };
            let list: Vec<String> = words.iter().map(|w| format!("\"{w}\"")).collect();
            self.error(at, diagnostic.help(format!("expected {}", list.join(", "))));
            return None;
        }
        for option in open {
            let Some(format) = option.get("format").and_then(Json::as_str) else { continue };
            if let Some(Err((message, want))) = value::check(format, text) {
                let diagnostic =
                    Diagnostic::new(message).place(node.place.clone(), "").help(format!("expected {want}"));
                self.error(at, diagnostic);
                return None;
            }
        }
        Some(Json::from(text))
    }

    fn number(&mut self, schema: &Json, n: f64, node: &Node, at: &At) -> bool {
        let bound = |key: &str| schema.get(key).and_then(Json::as_f64);
        let widest = match schema.get("format").and_then(Json::as_str) {
            Some("uint16") => f64::from(u16::MAX),
            Some("uint32") => f64::from(u32::MAX),
            _ => f64::INFINITY,
        };
        let min = bound("minimum").unwrap_or(f64::NEG_INFINITY);
        let max = bound("maximum").unwrap_or(f64::INFINITY).min(widest);
        if n >= min && n <= max && n.is_finite() {
            return true;
        }
        let range = match (min.is_finite(), max.is_finite()) {
            (true, true) => format!("expected {min} to {max}"),
            (true, false) => format!("expected {min} or more"),
            (false, true) => format!("expected {max} or less"),
            (false, false) => "expected a finite number".to_owned(),
        };
        let title = match at.0.last() {
            Some(super::document::Step::Key(key)) => format!("`{key}` cannot be {n}"),
            _ => format!("this cannot be {n}"),
        };
        self.error(at, Diagnostic::new(title).place(node.place.clone(), range));
        false
    }

    fn array(&mut self, schema: &Json, list: &[Node], at: &At) -> Option<Json> {
        let any = Json::Bool(true);
        let items = schema.get("items").unwrap_or(&any);
        let tables = alternatives(self.schema, items).iter().any(|o| has_type(o, "object"));
        let mut out = Vec::with_capacity(list.len());
        let mut whole = true;
        for (i, node) in list.iter().enumerate() {
            match self.walk(items, node, &at.index(i)) {
                Some(value) => out.push(value),
                // An empty table keeps the positions of those behind it.
                None if tables => out.push(Json::Object(Map::new())),
                None => whole = false,
            }
        }
        whole.then_some(Json::Array(out))
    }

    fn table(&mut self, schema: &Json, node: &Node, at: &At) -> Json {
        let empty = Map::new();
        let properties = schema.get("properties").and_then(Json::as_object).unwrap_or(&empty);
        let others = match is_any(schema) {
            true => Some(schema),
            false => schema.get("additionalProperties").filter(|s| s.is_object() || is_any(s)),
        };
        let mut out = Map::new();
        let Value::Table(entries) = &node.value else { return Json::Object(out) };
        for entry in entries {
            let at = at.key(&entry.key);
            match properties.get(&entry.key).or(others) {
                Some(schema) => {
                    if let Some(value) = self.walk(schema, &entry.node, &at) {
                        out.insert(entry.key.clone(), value);
                    }
                }
                None => {
                    let diagnostic =
                        unknown_key(self.schema, properties, &entry.key, &at).map_place(entry.place.clone());
                    self.error(&at, diagnostic);
                }
            }
        }
        let required = schema.get("required").and_then(Json::as_array);
        for key in required.into_iter().flatten().filter_map(Json::as_str) {
            if entries.iter().any(|e| e.key == key) {
                continue;
            }
            // A misspelt key next to it is told already.
            let told = entries
                .iter()
                .any(|e| !properties.contains_key(&e.key) && did_you_mean(&e.key, [key]).is_some());
            self.bad.push(at.key(key));
            if !told {
                let mut diagnostic = Diagnostic::new(format!("`{key}` is missing"))
                    .place(node.place.clone(), format!("this needs a key `{key}`"));
                if let Some(text) = properties.get(key).and_then(description) {
                    diagnostic = diagnostic.help(format!("`{key}`: {text}"));
                }
                self.report.push(diagnostic);
            }
        }
        Json::Object(out)
    }
}

/// A diagnostic whose place is still to come.
struct Unplaced {
    title: String,
    label: String,
    help: Option<String>,
}

impl Unplaced {
    fn map_place(self, place: super::document::Place) -> Diagnostic {
        let diagnostic = Diagnostic::new(self.title).place(place, self.label);
        match self.help {
            Some(help) => diagnostic.help(help),
            None => diagnostic,
        }
    }
}

fn unknown_key(root: &Json, properties: &Map<String, Json>, key: &str, at: &At) -> Unplaced {
    let title = format!("unknown key `{key}`");
    if let Some(near) = did_you_mean(key, properties.keys().map(String::as_str)) {
        let help = properties.get(near).and_then(description).map(|d| format!("`{near}`: {d}"));
        return Unplaced { title, label: format!("did you mean `{near}`?"), help };
    }
    let mut homes = Vec::new();
    homes_of(root, root, key, "", 0, &mut homes);
    let help = match homes.first() {
        Some(_) => format!("`{key}` belongs in {}", homes.join(", ")),
        None => {
            let keys: Vec<String> = properties.keys().map(|k| format!("`{k}`")).collect();
            match at.0.len() {
                1 => format!("the keys of a configuration are {}", keys.join(", ")),
                _ => format!("the keys here are {}", keys.join(", ")),
            }
        }
    };
    Unplaced { title, label: "not known here".into(), help: Some(help) }
}

/// Where in the schema a key is known, as a person would write it.
fn homes_of(root: &Json, schema: &Json, key: &str, way: &str, depth: usize, out: &mut Vec<String>) {
    if depth > 5 {
        return;
    }
    for option in alternatives(root, schema) {
        if let Some(items) = option.get("items") {
            homes_of(root, items, key, way, depth + 1, out);
        }
        if let Some(others) = option.get("additionalProperties").filter(|s| s.is_object()) {
            homes_of(root, others, key, &format!("{way}.NAME"), depth + 1, out);
        }
        let Some(properties) = option.get("properties").and_then(Json::as_object) else { continue };
        if properties.contains_key(key) && !way.is_empty() {
            let home = format!("`{}`", way.trim_start_matches('.'));
            if !out.contains(&home) {
                out.push(home);
            }
        }
        for (name, schema) in properties {
            homes_of(root, schema, key, &format!("{way}.{name}"), depth + 1, out);
        }
    }
}

/// The first sentence of a description.
fn description(schema: &Json) -> Option<String> {
    let text = schema.get("description")?.as_str()?.replace('\n', " ");
    Some(text)
}

/// The schemas of which a value must fit one, references followed.
pub fn alternatives<'a>(root: &'a Json, schema: &'a Json) -> Vec<&'a Json> {
    if let Some(target) = schema.get("$ref").and_then(Json::as_str) {
        let resolved = target.strip_prefix('#').and_then(|pointer| root.pointer(pointer));
        return resolved.map(|s| alternatives(root, s)).unwrap_or_default();
    }
    match schema.get("anyOf").or_else(|| schema.get("oneOf")).and_then(Json::as_array) {
        Some(list) => list.iter().flat_map(|s| alternatives(root, s)).collect(),
        None => vec![schema],
    }
}

fn has_type(schema: &Json, name: &str) -> bool {
    match schema.get("type") {
        Some(Json::String(t)) => t == name,
        Some(Json::Array(list)) => list.iter().any(|t| t == name),
        _ => false,
    }
}

/// Whether a schema takes everything.
fn is_any(schema: &Json) -> bool {
    *schema == Json::Bool(true)
}

fn accepts(schema: &Json, node: &Node) -> bool {
    if is_any(schema) {
        return !matches!(node.value, Value::Datetime);
    }
    match &node.value {
        Value::String(_) => has_type(schema, "string"),
        Value::Integer(_) => has_type(schema, "integer") || has_type(schema, "number"),
        Value::Float(_) => has_type(schema, "number"),
        Value::Boolean(_) => has_type(schema, "boolean"),
        Value::Datetime => false,
        Value::Array(_) => has_type(schema, "array"),
        Value::Table(_) => has_type(schema, "object"),
    }
}

/// The strings to which a schema is bound; empty: any.
fn words(schema: &Json) -> Vec<&str> {
    let constant = schema.get("const").and_then(Json::as_str);
    let list = schema.get("enum").and_then(Json::as_array);
    constant.into_iter().chain(list.into_iter().flatten().filter_map(Json::as_str)).collect()
}

fn describe(schema: &Json) -> String {
    if let [word, rest @ ..] = words(schema).as_slice() {
        return rest.iter().fold(format!("\"{word}\""), |text, w| format!("{text}, \"{w}\""));
    }
    if let Some(format) = schema.get("format").and_then(Json::as_str)
        && let Some(want) = value::want(format)
    {
        return want.to_owned();
    }
    let names = [
        ("string", "a string"),
        ("integer", "a whole number"),
        ("number", "a number"),
        ("boolean", "true or false"),
        ("array", "a list"),
        ("object", "a table"),
    ];
    names.iter().find(|(t, _)| has_type(schema, t)).map_or("", |(_, name)| name).to_owned()
}
