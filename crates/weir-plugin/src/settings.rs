//! What a plugin is configured with: values, and the schema by which a plugin says what they may be.

use std::collections::BTreeMap;
use std::fmt;

/// A value of the configuration, or of a plugin's schema.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Value {
    /// Nothing.
    #[default]
    Null,
    /// True or false.
    Bool(bool),
    /// A whole number.
    Integer(i64),
    /// A number.
    Number(f64),
    /// A text.
    String(String),
    /// Values in order.
    List(Vec<Value>),
    /// Values by name.
    Table(BTreeMap<String, Value>),
}

/// The settings of a plugin, by name.
pub type Settings = BTreeMap<String, Value>;

/// What settings may be. Without a schema, a plugin takes any.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Schema(BTreeMap<String, Field>);

/// One setting.
#[derive(Clone, Debug, PartialEq)]
struct Field {
    kind: Kind,
    required: bool,
    default: Option<Value>,
    /// Of numbers; of the length of strings and lists.
    min: Option<f64>,
    max: Option<f64>,
    one_of: Vec<Value>,
    /// Of lists, and of the values of a table without `fields`.
    items: Option<Box<Field>>,
    fields: Option<Schema>,
    /// Never shown in an error.
    secret: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Any,
    Boolean,
    Integer,
    Number,
    String,
    List,
    Table,
}

/// Something that is wrong with settings, or with a schema.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}{message}", At(.path))]
pub struct Problem {
    /// The way to the value: names and positions (from 0).
    pub path: Vec<String>,
    /// What is wrong, and what would be right.
    pub message: String,
}

struct At<'a>(&'a [String]);

impl fmt::Display for At<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() { Ok(()) } else { write!(f, "`{}`: ", self.0.join(".")) }
    }
}

/// Kinds by the names that a schema has for them.
const KINDS: [(&str, Kind); 7] = [
    ("any", Kind::Any),
    ("boolean", Kind::Boolean),
    ("integer", Kind::Integer),
    ("number", Kind::Number),
    ("string", Kind::String),
    ("list", Kind::List),
    ("table", Kind::Table),
];

/// What may be said of a setting.
const KEYS: [&str; 10] =
    ["type", "required", "default", "min", "max", "one_of", "items", "fields", "secret", "description"];

impl Value {
    /// What it is, as a schema would say.
    pub fn kind(&self) -> &'static str {
        match self {
            Value::Null => "nothing",
            Value::Bool(_) => "a boolean",
            Value::Integer(_) => "an integer",
            Value::Number(_) => "a number",
            Value::String(_) => "a string",
            Value::List(_) => "a list",
            Value::Table(_) => "a table",
        }
    }

    fn as_number(&self) -> Option<f64> {
        match self {
            #[allow(clippy::cast_precision_loss, reason = "compared with bounds only")]
            Value::Integer(n) => Some(*n as f64),
            Value::Number(n) => Some(*n),
            _ => None,
        }
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Null => f.write_str("nothing"),
            Value::Bool(b) => b.fmt(f),
            Value::Integer(n) => n.fmt(f),
            Value::Number(n) => n.fmt(f),
            Value::String(s) => write!(f, "{s:?}"),
            Value::List(_) | Value::Table(_) => f.write_str(self.kind()),
        }
    }
}

impl Schema {
    /// Reads a schema as a plugin writes it: a table of settings, each a table with `type` and so on, or just the
    /// type's name.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn parse(value: &Value) -> Result<Self, Vec<Problem>> {
        let mut problems = Vec::new();
        let schema = schema(value, &mut Vec::new(), &mut problems);
        if problems.is_empty() { Ok(schema) } else { Err(problems) }
    }

    /// Checks settings and fills in defaults.
    ///
    /// # Errors
    /// Everything that is wrong with them.
    pub fn apply(&self, settings: &Settings) -> Result<Settings, Vec<Problem>> {
        let mut problems = Vec::new();
        let settings = self.fill(settings, &mut Vec::new(), &mut problems);
        if problems.is_empty() { Ok(settings) } else { Err(problems) }
    }

    fn fill(&self, settings: &Settings, at: &mut Vec<String>, problems: &mut Vec<Problem>) -> Settings {
        let mut filled = Settings::new();
        for (name, value) in settings {
            at.push(name.clone());
            match self.0.get(name) {
                Some(field) => drop(filled.insert(name.clone(), field.check(value, at, problems))),
                None => problem(problems, at, unknown("setting", name, self.0.keys())),
            }
            at.pop();
        }
        for (name, field) in &self.0 {
            if filled.contains_key(name) || settings.contains_key(name) {
                continue;
            }
            match &field.default {
                Some(default) => drop(filled.insert(name.clone(), default.clone())),
                None if field.required => {
                    problem(problems, at, format!("the setting `{name}` is missing: {}", field.wanted()));
                }
                None => {}
            }
        }
        filled
    }
}

impl Field {
    fn check(&self, value: &Value, at: &mut Vec<String>, problems: &mut Vec<Problem>) -> Value {
        let before = problems.len();
        let value = match (self.kind, value) {
            (Kind::Any, value) => value.clone(),
            (Kind::Boolean, Value::Bool(_)) | (Kind::Integer | Kind::Number, Value::Integer(_)) => {
                value.clone()
            }
            (Kind::Number, Value::Number(_)) | (Kind::String, Value::String(_)) => value.clone(),
            (Kind::List, Value::List(list)) => {
                let mut each = |(i, value): (usize, &Value)| match &self.items {
                    Some(items) => {
                        at.push(i.to_string());
                        let value = items.check(value, at, problems);
                        at.pop();
                        value
                    }
                    None => value.clone(),
                };
                Value::List(list.iter().enumerate().map(&mut each).collect())
            }
            // Lua has one kind of table: an empty one is an empty list, too.
            (Kind::List, Value::Table(table)) if table.is_empty() => Value::List(Vec::new()),
            (Kind::Table, Value::Table(table)) => match (&self.fields, &self.items) {
                (Some(fields), _) => Value::Table(fields.fill(table, at, problems)),
                (None, Some(items)) => {
                    let mut each = |(name, value): (&String, &Value)| {
                        at.push(name.clone());
                        let value = items.check(value, at, problems);
                        at.pop();
                        (name.clone(), value)
                    };
                    Value::Table(table.iter().map(&mut each).collect())
                }
                (None, None) => value.clone(),
            },
            (_, value) => {
                problem(problems, at, format!("this is {}: {}", value.kind(), self.wanted()));
                return Value::Null;
            }
        };
        let size = match &value {
            Value::String(s) => Some(s.len() as f64),
            Value::List(list) => Some(list.len() as f64),
            value => value.as_number(),
        };
        let outside =
            |size: f64| self.min.is_some_and(|min| size < min) || self.max.is_some_and(|max| size > max);
        if problems.len() == before
            && (size.is_some_and(outside) || (!self.one_of.is_empty() && !self.one_of.contains(&value)))
        {
            let shown = if self.secret { "the value".to_owned() } else { value.to_string() };
            problem(problems, at, format!("{shown} cannot be: {}", self.wanted()));
        }
        value
    }

    /// What would be right.
    fn wanted(&self) -> String {
        let kind = KINDS.iter().find(|(_, kind)| *kind == self.kind).map_or("any", |(name, _)| name);
        let article = if kind.starts_with(['a', 'i']) { "an" } else { "a" };
        let mut text = match self.kind {
            Kind::Any => "any value is wanted".to_owned(),
            _ => format!("{article} {kind} is wanted"),
        };
        let unit = match self.kind {
            Kind::String => " bytes long",
            Kind::List => " items long",
            _ => "",
        };
        match (self.min, self.max) {
            (Some(min), Some(max)) => text.push_str(&format!(", {min} to {max}{unit}")),
            (Some(min), None) => text.push_str(&format!(", at least {min}{unit}")),
            (None, Some(max)) => text.push_str(&format!(", at most {max}{unit}")),
            (None, None) => {}
        }
        if !self.one_of.is_empty() {
            let all: Vec<String> = self.one_of.iter().map(Value::to_string).collect();
            text.push_str(&format!(", one of {}", all.join(", ")));
        }
        text
    }
}

fn problem(problems: &mut Vec<Problem>, at: &[String], message: String) {
    problems.push(Problem { path: at.to_vec(), message });
}

fn unknown<'a>(what: &str, name: &str, known: impl Iterator<Item = &'a String>) -> String {
    let known: Vec<&str> = known.map(String::as_str).collect();
    match known.is_empty() {
        true => format!("unknown {what} `{name}`: there is none"),
        false => format!("unknown {what} `{name}`: there are {}", known.join(", ")),
    }
}

fn schema(value: &Value, at: &mut Vec<String>, problems: &mut Vec<Problem>) -> Schema {
    let Value::Table(table) = value else {
        problem(problems, at, format!("this is {}: a table of settings is wanted", value.kind()));
        return Schema::default();
    };
    let mut fields = BTreeMap::new();
    for (name, value) in table {
        at.push(name.clone());
        fields.extend(field(value, at, problems).map(|field| (name.clone(), field)));
        at.pop();
    }
    Schema(fields)
}

fn field(value: &Value, at: &mut Vec<String>, problems: &mut Vec<Problem>) -> Option<Field> {
    let short = Settings::from([("type".to_owned(), value.clone())]);
    let table = match value {
        Value::Table(table) => table,
        Value::String(_) => &short,
        value => {
            problem(problems, at, format!("this is {}: a type's name or a table is wanted", value.kind()));
            return None;
        }
    };
    let before = problems.len();
    for key in table.keys().filter(|key| !KEYS.contains(&key.as_str())) {
        problem(problems, at, format!("unknown key `{key}`: there are {}", KEYS.join(", ")));
    }
    let kind = match table.get("type") {
        None => Some(Kind::Any),
        Some(Value::String(name)) => KINDS.iter().find(|(known, _)| known == name).map(|(_, kind)| *kind),
        Some(_) => None,
    };
    if kind.is_none() {
        let names = KINDS.map(|(name, _)| name).join(", ");
        problem(problems, at, format!("`type` is one of {names}"));
    }
    let mut flag = |key: &str| match table.get(key) {
        None => false,
        Some(Value::Bool(flag)) => *flag,
        Some(_) => {
            problem(problems, at, format!("`{key}` is true or false"));
            false
        }
    };
    let (required, secret) = (flag("required"), flag("secret"));
    let mut bound = |key: &str| {
        let value = table.get(key)?;
        if value.as_number().is_none() {
            problem(problems, at, format!("`{key}` is a number"));
        }
        value.as_number()
    };
    let (min, max) = (bound("min"), bound("max"));
    let one_of = match table.get("one_of") {
        None => Vec::new(),
        Some(Value::List(list)) => list.clone(),
        Some(_) => {
            problem(problems, at, "`one_of` is a list of values".to_owned());
            Vec::new()
        }
    };
    let items = table.get("items").and_then(|value| {
        at.push("items".to_owned());
        let items = field(value, at, problems).map(Box::new);
        at.pop();
        items
    });
    let fields = table.get("fields").map(|value| {
        at.push("fields".to_owned());
        let fields = schema(value, at, problems);
        at.pop();
        fields
    });
    let default = table.get("default").cloned();
    let field = Field { kind: kind?, required, default: None, min, max, one_of, items, fields, secret };
    if problems.len() > before {
        return None;
    }
    let default = default.map(|default| {
        at.push("default".to_owned());
        let default = field.check(&default, at, problems);
        at.pop();
        default
    });
    Some(Field { default, ..field })
}
