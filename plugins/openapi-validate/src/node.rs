//! A place in a document, whose errors name it.

use serde_json::Value;

/// Errors begin with the JSON pointer of what is wrong, as `#/paths`.
pub type Result<T> = std::result::Result<T, String>;

/// How many references one may lead to another.
const MOST_REFERENCES: usize = 16;

/// A value of a document, and where it is.
#[derive(Debug, Clone)]
pub struct Node<'d> {
    document: &'d Value,
    value: &'d Value,
    /// A JSON pointer (RFC 6901).
    pointer: String,
}

impl<'d> Node<'d> {
    /// The document itself.
    pub fn root(document: &'d Value) -> Node<'d> {
        Node { document, value: document, pointer: String::new() }
    }

    pub fn value(&self) -> &'d Value {
        self.value
    }

    pub fn pointer(&self) -> &str {
        &self.pointer
    }

    /// An error at this place.
    pub fn error(&self, what: impl AsRef<str>) -> String {
        format!("#{}: {}", self.pointer, what.as_ref())
    }

    /// What has this name in an object.
    pub fn get(&self, name: &str) -> Option<Node<'d>> {
        self.value.get(name).map(|value| self.below(name, value))
    }

    /// As [`Node::get`], with references followed.
    pub fn find(&self, name: &str) -> Result<Option<Node<'d>>> {
        self.get(name).map(Node::resolve).transpose()
    }

    fn below(&self, name: &str, value: &'d Value) -> Node<'d> {
        let pointer = format!("{}/{}", self.pointer, name.replace('~', "~0").replace('/', "~1"));
        Node { document: self.document, value, pointer }
    }

    /// What it refers to, where it is a reference.
    pub fn resolve(self) -> Result<Node<'d>> {
        let mut node = self;
        for _ in 0..MOST_REFERENCES {
            let Some(reference) = node.value.get("$ref") else { return Ok(node) };
            let reference = reference.as_str().ok_or_else(|| node.error("`$ref` must be a text"))?;
            let Some(pointer) =
                reference.strip_prefix('#').filter(|rest| rest.is_empty() || rest.starts_with('/'))
            else {
                return Err(node.error(format!(
                    "`$ref` to `{reference}`: only references within the document are followed, as `#/components/…`; a \
                     bundler makes one document of several"
                )));
            };
            let pointer = crate::text::percent_decode(pointer, false)
                .ok_or_else(|| node.error(format!("`$ref` to `{reference}` is no UTF-8")))?;
            let value = node.document.pointer(&pointer);
            let value =
                value.ok_or_else(|| node.error(format!("`$ref` to `{reference}`: nothing is there")))?;
            node = Node { document: node.document, value, pointer };
        }
        Err(node.error(format!("more than {MOST_REFERENCES} references, one to another")))
    }

    /// Its fields.
    pub fn fields(&self) -> Result<Vec<(&'d str, Node<'d>)>> {
        let object = self.value.as_object().ok_or_else(|| self.error("must be an object"))?;
        Ok(object.iter().map(|(name, value)| (name.as_str(), self.below(name, value))).collect())
    }

    /// The fields of an object in it; none where it is not there.
    pub fn fields_of(&self, name: &str) -> Result<Vec<(&'d str, Node<'d>)>> {
        self.get(name).map_or(Ok(Vec::new()), |node| node.fields())
    }

    /// The same without extensions (`x-…`), where others have no such names.
    pub fn known_of(&self, name: &str) -> Result<Vec<(&'d str, Node<'d>)>> {
        let mut fields = self.fields_of(name)?;
        fields.retain(|(name, _)| !name.starts_with("x-"));
        Ok(fields)
    }

    /// Its items; none where it is not there.
    pub fn items_of(&self, name: &str) -> Result<Vec<Node<'d>>> {
        let Some(node) = self.get(name) else { return Ok(Vec::new()) };
        let items = node.value.as_array().ok_or_else(|| node.error("must be a list"))?;
        Ok(items.iter().enumerate().map(|(at, value)| node.below(&at.to_string(), value)).collect())
    }

    pub fn text(&self) -> Result<&'d str> {
        self.value.as_str().ok_or_else(|| self.error("must be a text"))
    }

    /// A text that may be left out.
    pub fn text_of(&self, name: &str) -> Result<Option<&'d str>> {
        self.get(name).map(|node| node.text()).transpose()
    }

    /// Whether it is true; what is not there is `default`.
    pub fn flag(&self, name: &str, default: bool) -> Result<bool> {
        let Some(node) = self.get(name) else { return Ok(default) };
        node.value.as_bool().ok_or_else(|| node.error("must be true or false"))
    }
}
