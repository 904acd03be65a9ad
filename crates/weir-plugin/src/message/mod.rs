//! The rules by which plugins read and change requests and responses. Engines call these and add none of their own.

mod authority;
pub mod body;
pub mod call;
pub mod cookies;
pub mod headers;
pub mod query;
mod request;
mod response;

pub use authority::is_authority;
pub use request::{capture, host, scheme, set_group, set_method, set_path, set_query, upstream, version};
pub use response::{reply, set_status};

use std::fmt;

use crate::error::{Error, Result};
use crate::{Exchange, Phase};

/// The most bytes that are shown of what is wrong.
const LONGEST_SHOWN: usize = 100;

/// What is shown of bytes that are no text, or may be long: their begin, as ASCII.
struct Shown<'a>(&'a [u8]);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.split_at_checked(LONGEST_SHOWN) {
            Some((begin, more)) if !more.is_empty() => write!(f, "{}…", begin.escape_ascii()),
            _ => self.0.escape_ascii().fmt(f),
        }
    }
}

/// Whether the request may still be changed.
fn may_change_request(x: &Exchange) -> Result<()> {
    match x.phase {
        Phase::Request => Ok(()),
        _ => Err(Error::denied("the request can only be changed in on_request: by now it is on its way")),
    }
}

/// Whether the response may be changed.
fn may_change_response(x: &Exchange) -> Result<()> {
    match x.phase {
        Phase::Response => Ok(()),
        Phase::Ended => Err(Error::denied("the response can no longer be changed: it has been sent")),
        _ => Err(Error::denied("there is no response yet")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shown_of_something_long_is_its_begin() {
        assert_eq!(Shown(b"a\r\n").to_string(), "a\\r\\n");
        let most = "x".repeat(LONGEST_SHOWN);
        assert_eq!(Shown(most.as_bytes()).to_string(), most);
        assert_eq!(Shown(&[b'x'; 1 << 20]).to_string(), format!("{most}…"));
    }
}
