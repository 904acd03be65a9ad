//! A client's connection, one request and its response. They are only good during the hook that they were handed to.

use std::net::IpAddr;
use std::str::FromStr;

use serde::de::DeserializeOwned;

pub use crate::bindings::weir::plugin::types::Header;
use crate::filter::Result;
pub use crate::sys::message::{Body, Connection, Cookies, Headers, Query, Request, Response};

/// What is text of bytes.
fn text(bytes: Vec<u8>) -> Option<String> {
    String::from_utf8(bytes).ok()
}

impl Headers {
    /// The first value of this name, where it is UTF-8.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<String> {
        self.get(name).and_then(text)
    }

    /// The first value of this name, where it is text that can be read as this type.
    #[must_use]
    pub fn parse<T: FromStr>(&self, name: &str) -> Option<T> {
        self.text(name)?.trim().parse().ok()
    }
}

impl Query {
    /// The first value of this name, where it is UTF-8.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<String> {
        self.get(name).and_then(text)
    }

    /// The first value of this name, where it is text that can be read as this type.
    #[must_use]
    pub fn parse<T: FromStr>(&self, name: &str) -> Option<T> {
        self.text(name)?.parse().ok()
    }
}

impl Cookies {
    /// The first value of this name, where it is UTF-8.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<String> {
        self.get(name).and_then(text)
    }
}

impl Body {
    /// All of it, as JSON.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T> {
        Ok(serde_json::from_slice(&self.read(None)?)?)
    }
}

impl Request {
    /// The first value of this field, where it is UTF-8.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<String> {
        self.headers().text(name)
    }

    /// The client's address, trusted proxies taken into account; none on Unix sockets.
    #[must_use]
    pub fn client_address(&self) -> Option<IpAddr> {
        self.client_ip()?.parse().ok()
    }
}

impl Response {
    /// The first value of this field, where it is UTF-8.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<String> {
        self.headers().text(name)
    }
}
