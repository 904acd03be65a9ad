//! Encodings of bytes as text.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode, percent_encode};
use weir_plugin::error::{Error, Result};
use weir_plugin::services::{Codec, Encoding};

/// All but the unreserved characters of RFC 3986, section 2.3.
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

#[derive(Debug)]
pub(crate) struct Codecs;

impl Codec for Codecs {
    fn encode(&self, encoding: Encoding, bytes: &[u8]) -> String {
        match encoding {
            Encoding::Base64 => STANDARD.encode(bytes),
            Encoding::Base64Url => URL_SAFE_NO_PAD.encode(bytes),
            Encoding::Hex => hex::encode(bytes),
            Encoding::Url => percent_encode(bytes, ESCAPED).to_string(),
        }
    }

    fn decode(&self, encoding: Encoding, text: &[u8]) -> Result<Vec<u8>> {
        match encoding {
            Encoding::Base64 => {
                STANDARD.decode(text).map_err(|e| Error::invalid(format!("this is no base64: {e}")))
            }
            Encoding::Base64Url => {
                // With or without padding.
                let text = text.strip_suffix(b"==").or_else(|| text.strip_suffix(b"=")).unwrap_or(text);
                URL_SAFE_NO_PAD.decode(text).map_err(|e| Error::invalid(format!("this is no base64url: {e}")))
            }
            Encoding::Hex => {
                hex::decode(text).map_err(|e| Error::invalid(format!("this is no hexadecimal: {e}")))
            }
            Encoding::Url => Ok(percent_decode(text).collect()),
        }
    }
}
