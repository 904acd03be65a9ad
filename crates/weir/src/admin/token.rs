//! Who may ask over TCP.

use std::fmt;
use std::net::SocketAddr;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use bytes::Bytes;
use http::{HeaderMap, header};

/// The fewest characters of a token.
const SHORTEST: usize = 16;

/// An address where weir tells about itself to whoever knows a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tcp {
    /// The address.
    pub address: SocketAddr,
    /// The token.
    pub token: Token,
}

/// What one must know. Never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(Bytes);

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(..)")
    }
}

impl Token {
    /// A token of at least 16 visible ASCII characters.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn new(text: Bytes) -> Result<Token, &'static str> {
        if text.len() < SHORTEST {
            return Err("this token could be guessed: it is too short");
        }
        match text.iter().all(u8::is_ascii_graphic) {
            true => Ok(Token(text)),
            false => Err("this token has characters that a header cannot carry"),
        }
    }

    /// Whether a request has it (RFC 6750, section 2.1). How long that takes tells nothing of the token but its length.
    pub fn is_in(&self, headers: &HeaderMap) -> bool {
        let mut all = headers.get_all(header::AUTHORIZATION).iter();
        let (Some(only), None) = (all.next(), all.next()) else { return false };
        let Some((scheme, token)) = only.as_bytes().split_at_checked("Bearer ".len()) else { return false };
        scheme.eq_ignore_ascii_case(b"Bearer ") && verify_slices_are_equal(token, &self.0).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_token_is_the_token() {
        let token = Token::new(Bytes::from_static(b"0123456789abcdef")).expect("it is long enough");
        let check = |values: &[&str], expected: bool| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(header::AUTHORIZATION, value.parse().expect("a value"));
            }
            assert_eq!(token.is_in(&headers), expected, "{values:?}");
        };
        check(&["Bearer 0123456789abcdef"], true);
        check(&["bearer 0123456789abcdef"], true);
        check(&[], false);
        check(&["Bearer 0123456789abcdef", "Bearer 0123456789abcdef"], false);
        check(&["Bearer 0123456789abcdeg"], false);
        check(&["Bearer 0123456789abcde"], false);
        check(&["Bearer 0123456789abcdef0"], false);
        check(&["Bearer "], false);
        check(&["Bearer"], false);
        check(&["Basic 0123456789abcdef"], false);
        check(&["0123456789abcdef"], false);
        assert!(Token::new(Bytes::from_static(b"0123456789abcde")).is_err());
        assert!(Token::new(Bytes::from_static(b"0123456789 abcdef")).is_err());
        assert_eq!(format!("{token:?}"), "Token(..)");
    }
}
