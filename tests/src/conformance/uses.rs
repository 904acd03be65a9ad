//! What a case uses, read from its text: steps are tables that are written out.

use std::collections::BTreeSet;
use std::iter::Peekable;
use std::str::Chars;

/// What a hook says that lets things go on as they are.
pub(super) const NOTHING: &str = "nothing";

/// Hooks that have steps, what they say, and what these call.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Uses {
    /// By their names in the settings: `request-body`.
    pub hooks: BTreeSet<String>,
    /// Hook and verdict: `request` and `respond`.
    pub says: BTreeSet<(String, String)>,
    /// Functions as steps name them: `request.headers.get`.
    pub calls: BTreeSet<String>,
}

#[derive(Debug, PartialEq, Eq)]
enum Token {
    Open,
    Close,
    Is,
    Name(String),
    Text(String),
    Other,
}

impl Uses {
    /// Reads a file of tests.
    pub fn read(text: &str) -> Uses {
        let mut uses = Uses::default();
        // Keys of the tables that are open, the outermost first; empty for items of lists.
        let mut open: Vec<String> = Vec::new();
        let (mut name, mut key) = (String::new(), String::new());
        let mut ends = false;
        for token in Tokens(text.chars().peekable()) {
            let hook = || hook(&open).map(str::to_owned);
            match token {
                Token::Open => {
                    open.push(std::mem::take(&mut key));
                    // A step of a hook: it may be its last.
                    if open.len() >= 3 && open[open.len() - 3] == "hooks" {
                        ends = false;
                    }
                }
                Token::Close => {
                    if open.len() >= 2 && open[open.len() - 2] == "hooks" && !ends {
                        uses.says.extend(hook().map(|hook| (hook, NOTHING.to_owned())));
                    }
                    open.pop();
                    key.clear();
                }
                Token::Is => {
                    key = std::mem::take(&mut name);
                    match open.last().map(String::as_str) {
                        Some("hooks") => {
                            ends = false;
                            uses.hooks.insert(key.clone());
                        }
                        Some("say") => uses.says.extend(hook().map(|hook| (hook, key.clone()))),
                        _ => ends |= key == "say" && hook().is_some(),
                    }
                }
                Token::Name(text) => name = text,
                Token::Text(text) => {
                    match (key.as_str(), hook()) {
                        ("call", Some(_)) => uses.calls.extend([text.clone()]),
                        ("say", Some(hook)) => uses.says.extend([(hook, text.clone())]),
                        _ => {}
                    }
                    key.clear();
                    name = text;
                }
                Token::Other => {}
            }
        }
        uses
    }

    /// What either uses.
    #[must_use]
    pub fn and(mut self, other: Uses) -> Uses {
        self.hooks.extend(other.hooks);
        self.says.extend(other.says);
        self.calls.extend(other.calls);
        self
    }
}

/// The hook in whose steps this is.
fn hook(open: &[String]) -> Option<&str> {
    let hooks = open.iter().position(|key| key == "hooks")?;
    open.get(hooks + 1).map(String::as_str)
}

struct Tokens<'a>(Peekable<Chars<'a>>);

impl Iterator for Tokens<'_> {
    type Item = Token;

    fn next(&mut self) -> Option<Token> {
        Some(match self.0.next()? {
            '{' => Token::Open,
            '}' => Token::Close,
            '=' => Token::Is,
            '-' if self.0.peek() == Some(&'-') => {
                self.0.by_ref().take_while(|c| *c != '\n').for_each(drop);
                Token::Other
            }
            quote @ ('"' | '\'' | '`') => Token::Text(self.text(quote)),
            c if c.is_ascii_alphabetic() || c == '_' => {
                let mut name = String::from(c);
                while let Some(c) = self.0.next_if(|c| c.is_ascii_alphanumeric() || *c == '_') {
                    name.push(c);
                }
                Token::Name(name)
            }
            _ => Token::Other,
        })
    }
}

impl Tokens<'_> {
    fn text(&mut self, quote: char) -> String {
        let mut text = String::new();
        while let Some(c) = self.0.next() {
            match c {
                '\\' => text.extend(self.0.next()),
                c if c == quote => break,
                c => text.push(c),
            }
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_read() {
        let uses = Uses::read(
            r#"-- hooks = { no = {
            local x = { call = "not.this" }
            return { ["a name"] = function(t)
              local plugin = load(t) { hooks = {
                request = { { call = "kv.get", args = { "a", { b = "call" } }, save = "a" }, { say = "nothing" } },
                ["request-body"] = { { say = { respond = { status = 1 } } } },
                message = { { ["if"] = "a", say = { replace = "{" } }, { call = "log.info" } },
              } }
              t:equal(x == y, { say = "no" })
            end }"#,
        );
        let set = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<BTreeSet<_>>();
        assert_eq!(uses.hooks, set(&["message", "request", "request-body"]));
        assert_eq!(uses.calls, set(&["kv.get", "log.info"]));
        let says: Vec<String> = uses.says.iter().map(|(hook, say)| format!("{hook} {say}")).collect();
        assert_eq!(says, ["message nothing", "message replace", "request nothing", "request-body respond"]);
    }
}
