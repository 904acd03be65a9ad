//! Regular expressions that find parts of a text.

use regex::bytes::{Regex, RegexBuilder};

use super::Leaf;

/// The most memory of a compiled one.
const LARGEST: usize = 1 << 20;

/// A regular expression that finds parts of a text.
#[derive(Clone, Debug)]
pub struct Part(pub Regex);

impl Leaf for Part {
    const FORMAT: &'static str = "regular-expression-of-a-part";
    const WANT: &'static str =
        "a regular expression; it finds parts of a text, `^` and `$` stand for its ends";

    fn parse(text: &str) -> Result<Self, String> {
        let regex = RegexBuilder::new(text).size_limit(LARGEST).build().map_err(|error| {
            let message = error.to_string();
            let last = message.lines().last().unwrap_or_default().trim_start_matches("error: ");
            format!("`{text}` is not a regular expression: {last}")
        })?;
        match regex.is_match(b"") {
            true => Err(format!("`{text}` finds the empty text, which is everywhere")),
            false => Ok(Part(regex)),
        }
    }

    fn show(&self) -> String {
        self.0.as_str().to_owned()
    }
}
