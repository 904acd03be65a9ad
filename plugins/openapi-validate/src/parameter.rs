//! Parameters of requests, and header fields of responses.

use json_schema::Schema;
use serde_json::Value;

use crate::api::Compile;
use crate::kind::Kind;
use crate::node::{Node, Result};
use crate::text::{is_json, media_type, percent_decode};

/// Where a parameter is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    Path,
    Query,
    Header,
    Cookie,
}

impl Place {
    /// As in documents.
    pub fn name(self) -> &'static str {
        match self {
            Place::Path => "path",
            Place::Query => "query",
            Place::Header => "header",
            Place::Cookie => "cookie",
        }
    }
}

/// A parameter.
pub struct Parameter {
    pub name: String,
    pub place: Place,
    pub required: bool,
    pub schema: Option<Schema>,
    allow_empty: bool,
    form: Form,
}

/// How its value is written.
enum Form {
    /// As JSON.
    Json,
    /// As text, with what it is read as, and whether parts stand each on its own.
    Text(Kind, bool),
}

/// What is there of a parameter.
pub enum Given {
    Nothing,
    Value(Value),
    /// It cannot be read; why.
    Broken(&'static str),
}

impl Parameter {
    /// Of a Parameter Object.
    pub fn new(node: &Node<'_>, compile: &mut Compile<'_>) -> Result<Parameter> {
        let need = |name| node.text_of(name)?.ok_or_else(|| node.error(format!("`{name}` is not there")));
        let name = need("name")?.to_owned();
        let place = match need("in")? {
            "path" => Place::Path,
            "query" => Place::Query,
            "header" => Place::Header,
            "cookie" => Place::Cookie,
            other => {
                return Err(
                    node.error(format!("in: `{other}`; \"path\", \"query\", \"header\" or \"cookie\""))
                );
            }
        };
        if place == Place::Path && !node.flag("required", false)? {
            return Err(node.error(format!("`{name}` is in the path: `required` must be true")));
        }
        Parameter::read(node, name, place, compile)
    }

    /// Of a Header Object.
    pub fn header(node: &Node<'_>, name: &str, compile: &mut Compile<'_>) -> Result<Parameter> {
        Parameter::read(node, name.to_owned(), Place::Header, compile)
    }

    fn read(node: &Node<'_>, name: String, place: Place, compile: &mut Compile<'_>) -> Result<Parameter> {
        let required = node.flag("required", false)?;
        let allow_empty = place == Place::Query && node.flag("allowEmptyValue", false)?;
        let content = node.fields_of("content")?;
        let (form, schema) = match (node.get("schema"), content.as_slice()) {
            (Some(schema), []) => {
                let kind = Kind::of(&schema)?;
                let form = Form::Text(kind.clone(), explode(node, place, &kind)?);
                (form, Some(compile.schema(&schema)?))
            }
            (None, [(kind, content)]) if is_json(&media_type(kind)) => {
                (Form::Json, content.get("schema").map(|schema| compile.schema(&schema)).transpose()?)
            }
            (None, [(kind, content)]) => {
                return Err(content.error(format!("`{kind}` of a parameter cannot be read; only JSON")));
            }
            _ => return Err(node.error("needs either `schema`, or `content` with one media type")),
        };
        Ok(Parameter { name, place, required, schema, allow_empty, form })
    }

    /// Its value in a path, given what its placeholder stands for.
    pub fn in_path(&self, raw: &str) -> Given {
        self.simple(raw, |text| percent_decode(text, false))
    }

    /// Its value in a query, as it was sent.
    pub fn in_query(&self, query: &str) -> Given {
        let pairs: Vec<(String, &str)> = query
            .split('&')
            .filter(|pair| !pair.is_empty())
            .filter_map(|pair| {
                let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
                Some((percent_decode(name, true)?, value))
            })
            .collect();
        let decode = |text: &str| percent_decode(text, true);
        if let Form::Text(kind, true) = &self.form
            && kind.object
        {
            let own = pairs.iter().filter(|(name, _)| kind.properties.contains_key(name));
            let fields: Option<Vec<_>> =
                own.map(|(name, value)| Some((name.clone(), decode(value)?))).collect();
            return match fields {
                None => Given::Broken("is no UTF-8"),
                Some(fields) if fields.is_empty() => Given::Nothing,
                Some(fields) => Given::Value(kind.object(fields)),
            };
        }
        let values: Vec<&str> =
            pairs.iter().filter(|(name, _)| *name == self.name).map(|(_, value)| *value).collect();
        match (values.as_slice(), &self.form) {
            ([], _) => Given::Nothing,
            ([""], _) if self.allow_empty => Given::Nothing,
            (values, Form::Text(kind, true)) if kind.array => {
                let texts: Option<Vec<String>> = values.iter().map(|text| decode(text)).collect();
                texts.map_or(Given::Broken("is no UTF-8"), |texts| Given::Value(kind.list(texts)))
            }
            ([value], _) => self.simple(value, decode),
            _ => Given::Broken("is there twice"),
        }
    }

    /// Its value of header fields, or of a cookie: each as it was sent.
    pub fn in_fields(&self, values: &[Vec<u8>]) -> Given {
        let texts: std::result::Result<Vec<&str>, _> =
            values.iter().map(|value| std::str::from_utf8(value)).collect();
        match (texts.as_deref(), self.place) {
            (Ok([]), _) => Given::Nothing,
            (Ok([text]), Place::Cookie) => self.simple(text, |text| percent_decode(text, false)),
            (Ok(_), Place::Cookie) => Given::Broken("is there twice"),
            (Ok(texts), _) => self.simple(&texts.join(","), |text| Some(text.trim().to_owned())),
            (Err(_), _) => Given::Broken("is no UTF-8"),
        }
    }

    /// The styles simple, and form without its name.
    fn simple(&self, raw: &str, decode: impl Fn(&str) -> Option<String>) -> Given {
        let (kind, explode) = match &self.form {
            Form::Json => {
                let value = decode(raw).and_then(|text| json_schema::read(text.as_bytes()).ok());
                return value.map_or(Given::Broken("is no JSON"), Given::Value);
            }
            Form::Text(kind, explode) => (kind, *explode),
        };
        let parts = || raw.split(',').map(&decode);
        let value = if kind.array {
            let texts: Option<Vec<String>> =
                if raw.is_empty() { Some(Vec::new()) } else { parts().collect() };
            texts.map(|texts| kind.list(texts))
        } else if kind.object && explode {
            let pair = |part: &str| {
                let (name, value) = part.split_once('=')?;
                Some((decode(name)?, decode(value)?))
            };
            let pairs: Option<Vec<_>> = raw.split(',').map(pair).collect();
            let Some(pairs) = pairs else { return Given::Broken("is not written as NAME=VALUE,…") };
            Some(kind.object(pairs))
        } else if kind.object {
            let Some(texts) = parts().collect::<Option<Vec<String>>>() else {
                return Given::Broken("is no UTF-8");
            };
            if texts.len() % 2 != 0 {
                return Given::Broken("is not written as NAME,VALUE,…");
            }
            let pairs = texts.chunks(2).filter_map(|pair| match pair {
                [name, value] => Some((name.clone(), value.clone())),
                _ => None,
            });
            Some(kind.object(pairs))
        } else {
            decode(raw).map(|text| kind.primitive(text))
        };
        value.map_or(Given::Broken("is no UTF-8"), Given::Value)
    }
}

/// Whether parts of its value stand each on its own. Styles that are not read are refused.
fn explode(node: &Node<'_>, place: Place, kind: &Kind) -> Result<bool> {
    let usual = match place {
        Place::Path | Place::Header => "simple",
        Place::Query | Place::Cookie => "form",
    };
    match node.text_of("style")? {
        Some(style) if style != usual => {
            return Err(node.error(format!(
                "style: `{style}` cannot be read; of parameters in {} only `{usual}`",
                place.name()
            )));
        }
        _ => {}
    }
    let explode = node.flag("explode", usual == "form")?;
    if place == Place::Cookie && explode && !kind.is_primitive() {
        return Err(node.error("an array or object in a cookie needs `explode: false`"));
    }
    if kind.array && kind.object {
        return Err(node.error("a parameter is an array or an object, not either of them"));
    }
    Ok(explode)
}
