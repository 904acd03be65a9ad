//! What texts of parameters are read as, by their schemas.

use std::collections::BTreeMap;

use serde_json::{Map, Number, Value};

use crate::node::{Node, Result};

/// Which values a schema is for.
#[derive(Debug, Clone, Default)]
pub struct Kind {
    null: bool,
    boolean: bool,
    number: bool,
    pub array: bool,
    pub object: bool,
    /// Of an array's items.
    items: Option<Box<Kind>>,
    /// Of an object's properties.
    pub properties: BTreeMap<String, Kind>,
}

/// How many references and combinations are followed to find a type.
const DEEPEST: usize = 8;

impl Kind {
    /// Of a schema.
    pub fn of(schema: &Node<'_>) -> Result<Kind> {
        let mut kind = Kind::default();
        kind.add(schema.clone(), DEEPEST, true)?;
        Ok(kind)
    }

    /// `parts`: whether it may have parts, which have none themselves.
    fn add(&mut self, schema: Node<'_>, room: usize, parts: bool) -> Result<()> {
        let Some(room) = room.checked_sub(1) else { return Ok(()) };
        if !schema.value().is_object() {
            return Ok(());
        }
        if schema.get("$ref").is_some() {
            self.add(schema.clone().resolve()?, room, parts)?;
        }
        match schema.get("type").map(|node| node.value()) {
            Some(Value::String(name)) => self.allow(name),
            Some(Value::Array(names)) => {
                names.iter().filter_map(Value::as_str).for_each(|name| self.allow(name))
            }
            _ => {
                for value in [schema.get("const")].into_iter().flatten().chain(schema.items_of("enum")?) {
                    self.allow_value(value.value());
                }
            }
        }
        self.null |= schema.flag("nullable", false)?;
        if parts {
            if let Some(items) = schema.get("items") {
                self.items.get_or_insert_default().add(items, DEEPEST, false)?;
            }
            for (name, property) in schema.fields_of("properties")? {
                self.properties.entry(name.to_owned()).or_default().add(property, DEEPEST, false)?;
            }
        }
        for list in ["allOf", "anyOf", "oneOf"] {
            for below in schema.items_of(list)? {
                self.add(below, room, parts)?;
            }
        }
        Ok(())
    }

    fn allow(&mut self, name: &str) {
        match name {
            "null" => self.null = true,
            "boolean" => self.boolean = true,
            "number" | "integer" => self.number = true,
            "array" => self.array = true,
            "object" => self.object = true,
            _ => {}
        }
    }

    fn allow_value(&mut self, value: &Value) {
        match value {
            Value::Null => self.null = true,
            Value::Bool(_) => self.boolean = true,
            Value::Number(_) => self.number = true,
            Value::Array(_) => self.array = true,
            Value::Object(_) => self.object = true,
            Value::String(_) => {}
        }
    }

    /// Whether it is a value of one part.
    pub fn is_primitive(&self) -> bool {
        !self.array && !self.object
    }

    /// The value of a text; a text where it is nothing else.
    pub fn primitive(&self, text: String) -> Value {
        let plain = text.bytes().all(|b| b.is_ascii_digit() || b"+-.eE".contains(&b));
        match text.as_str() {
            "true" if self.boolean => Value::Bool(true),
            "false" if self.boolean => Value::Bool(false),
            "" if self.null => Value::Null,
            number if self.number && plain => {
                serde_json::from_str::<Number>(number).map_or(Value::String(text), Value::Number)
            }
            _ => Value::String(text),
        }
    }

    /// The array of these texts.
    pub fn list(&self, texts: impl IntoIterator<Item = String>) -> Value {
        let any = Kind::default();
        let kind = self.items.as_deref().unwrap_or(&any);
        texts.into_iter().map(|text| kind.primitive(text)).collect()
    }

    /// The object of these properties.
    pub fn object(&self, fields: impl IntoIterator<Item = (String, String)>) -> Value {
        let any = Kind::default();
        let read = |(name, text): (String, String)| {
            let value = self.properties.get(&name).unwrap_or(&any).primitive(text);
            (name, value)
        };
        Value::Object(fields.into_iter().map(read).collect::<Map<_, _>>())
    }
}
