//! How a record of the access log is written: the presets and format strings.

use std::str::FromStr;

use http::HeaderName;

use super::field::{Field, NAMES};

/// How a record of the access log is written. Parsed from `json`, `combined`, `common`, or a format string with
/// placeholders in braces: `{client} "{method} {target}" {status}`; `{{` and `}}` are braces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Format {
    /// One JSON object a line.
    Json,
    /// Text with the values of fields in it.
    Text(Template),
}

/// A parsed format string.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template(pub(super) Vec<Part>);

/// A part of a [`Template`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Part {
    Literal(Box<str>),
    /// The value of a field; `quoted` says whether it stands between double quotes.
    Value {
        field: Field,
        quoted: bool,
    },
}

/// What is wrong with a format string.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct FormatError {
    /// Where in the string, in bytes.
    pub offset: usize,
    /// What, and what would be right.
    pub message: String,
}

/// The common log format of web servers.
pub const COMMON: &str = r#"{client} - - [{time_clf}] "{method} {target} {protocol}" {status} {bytes_out}"#;
/// [`COMMON`], referer and user agent.
pub const COMBINED: &str = r#"{client} - - [{time_clf}] "{method} {target} {protocol}" {status} {bytes_out} "{referer}" "{user_agent}""#;

impl FromStr for Format {
    type Err = FormatError;

    fn from_str(text: &str) -> Result<Self, FormatError> {
        match text {
            "json" => Ok(Format::Json),
            "combined" => Template::parse(COMBINED).map(Format::Text),
            "common" => Template::parse(COMMON).map(Format::Text),
            _ => Template::parse(text).map(Format::Text),
        }
    }
}

fn error<T>(offset: usize, message: impl Into<String>) -> Result<T, FormatError> {
    Err(FormatError { offset, message: message.into() })
}

impl Template {
    fn parse(text: &str) -> Result<Self, FormatError> {
        let mut parts = Vec::new();
        let mut literal = String::new();
        let mut quote = None;
        let mut chars = text.char_indices().peekable();
        while let Some((offset, c)) = chars.next() {
            match c {
                '{' | '}' if chars.next_if(|(_, next)| *next == c).is_some() => literal.push(c),
                '{' => {
                    let Some(length) = text[offset..].find('}') else {
                        return error(offset, "this brace is never closed; a literal one is written {{");
                    };
                    let name = &text[offset + 1..offset + length];
                    let field = field(name).map_err(|message| FormatError { offset: offset + 1, message })?;
                    if !literal.is_empty() {
                        parts.push(Part::Literal(std::mem::take(&mut literal).into()));
                    }
                    parts.push(Part::Value { field, quoted: quote.is_some() });
                    while chars.next_if(|(at, _)| *at <= offset + length).is_some() {}
                }
                '}' => return error(offset, "this brace closes nothing; a literal one is written }}"),
                '\n' | '\r' => {
                    return error(offset, "a record is one line: there can be no line break in it");
                }
                c if c.is_control() && c != '\t' => {
                    return error(offset, "control characters cannot be written");
                }
                c => {
                    if c == '"' {
                        quote = if quote.is_some() { None } else { Some(offset) };
                    }
                    literal.push(c);
                }
            }
        }
        if let Some(offset) = quote {
            return error(offset, "this quote is never closed");
        }
        if parts.is_empty() {
            return error(
                0,
                "neither a preset (json, combined, common) nor a format string: it has no placeholder such as {status}",
            );
        }
        if !literal.is_empty() {
            parts.push(Part::Literal(literal.into()));
        }
        Ok(Template(parts))
    }
}

fn field(name: &str) -> Result<Field, String> {
    let header =
        |name: &str| HeaderName::try_from(name).map_err(|_| format!("`{name}` is not the name of a header"));
    if let Some(name) = name.strip_prefix("header.") {
        return header(name).map(Field::Header);
    }
    if let Some(name) = name.strip_prefix("response_header.") {
        return header(name).map(Field::ResponseHeader);
    }
    if let Some((_, field)) = NAMES.iter().find(|(known, _)| *known == name) {
        return Ok(field.clone());
    }
    let near = NAMES
        .iter()
        .map(|(known, _)| (strsim::jaro_winkler(known, name), *known))
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .filter(|(likeness, _)| *likeness > 0.75);
    Err(match near {
        Some((_, known)) => format!("there is no field `{name}`; did you mean `{known}`?"),
        None => {
            let all: Vec<&str> = NAMES.iter().map(|(known, _)| *known).collect();
            format!(
                "there is no field `{name}`; there are {}, header.NAME and response_header.NAME",
                all.join(", ")
            )
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_with_a_format_string_is_told_with_its_place() {
        for (text, offset, message) in [
            ("", 0, "neither a preset"),
            ("jsno", 0, "neither a preset"),
            ("{status", 0, "never closed"),
            ("a {status} {b", 11, "never closed"),
            ("{status}}", 8, "closes nothing"),
            ("é{}", 3, "there is no field ``"),
            ("{status} {stauts}", 10, "did you mean `status`?"),
            ("{xyzzy}", 1, "response_header.NAME"),
            ("{header.}", 1, "not the name of a header"),
            ("{header.a b}", 1, "not the name of a header"),
            ("{response_header.\"}", 1, "not the name of a header"),
            ("{status} \"{target}", 9, "this quote is never closed"),
            ("{status}\n{target}", 8, "one line"),
            ("{status}\u{1b}[31m", 8, "control characters"),
        ] {
            match text.parse::<Format>() {
                Ok(format) => panic!("{text:?} was taken as {format:?}"),
                Err(e) => {
                    assert_eq!(e.offset, offset, "{text:?}: {e}");
                    assert!(e.message.contains(message), "{text:?}: {e}");
                }
            }
        }
    }

    #[test]
    fn presets_and_braces_are_taken() {
        assert_eq!("json".parse(), Ok(Format::Json));
        for text in ["combined", "common"] {
            assert!(matches!(text.parse(), Ok(Format::Text(_))), "{text}");
        }
        let Ok(Format::Text(Template(parts))) = "{{{status}}} \"{target}\"".parse() else {
            panic!("not taken")
        };
        assert_eq!(
            parts,
            [
                Part::Literal("{".into()),
                Part::Value { field: Field::Status, quoted: false },
                Part::Literal("} \"".into()),
                Part::Value { field: Field::Target, quoted: true },
                Part::Literal("\"".into()),
            ]
        );
    }

    #[test]
    fn every_field_can_be_named() {
        for (name, field) in NAMES {
            let Ok(Format::Text(Template(parts))) = format!("{{{name}}}").parse() else {
                panic!("{name} is not taken")
            };
            assert_eq!(parts, [Part::Value { field: field.clone(), quoted: false }]);
        }
    }
}
