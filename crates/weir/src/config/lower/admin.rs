//! Where weir tells about itself: by a Unix socket, and over TCP.

use weir_core::spec::ListenAddress;

use super::{Lower, path_of};
use crate::admin::{Settings, Tcp, Token};
use crate::config::document::{At, Node};
use crate::config::raw;
use crate::config::report::Report;

/// Where weir tells about itself.
pub(in crate::config) fn settings(raw: &raw::Admin, document: &Node, report: &Report) -> Settings {
    match &raw.socket {
        None | Some(raw::OrFalse::Switch(true)) => Settings::Default,
        Some(raw::OrFalse::Switch(false)) => Settings::Off,
        Some(raw::OrFalse::Value(path)) => Settings::Socket {
            path: path_of(path, &At::default().key("admin").key("socket"), document, report),
            mode: raw.mode.0.0,
        },
    }
}

impl Lower<'_> {
    /// `admin.address` and `admin.token`: there is none without the other.
    pub fn admin_tcp(&mut self, raw: &raw::Admin) -> Option<Tcp> {
        let at = At::default().key("admin");
        let example = "`token = \"env:WEIR_ADMIN_TOKEN\"` or `token = \"file:PATH\"`, at least 16 characters";
        let address = match raw.address.as_ref().map(|address| &address.0) {
            None => None,
            Some(ListenAddress::Tcp(address)) => Some(*address),
            Some(_) => {
                self.error(&at.key("address"), "this is no IP address with a port", "")
                    .help("the Unix socket is `admin.socket`");
                return None;
            }
        };
        let token = match (&raw.token, address) {
            (Some(reference), Some(_)) => self.one_secret(reference, &at.key("token")),
            (Some(_), None) => {
                self.key_error(&at.key("token"), "there is no `admin.address` that this token is for", "");
                None
            }
            (None, Some(_)) => {
                self.key_error(
                    &at.key("address"),
                    "everybody could command weir there: `admin.token` is missing",
                    "",
                )
                .help(format!("add {example}"));
                None
            }
            (None, None) => None,
        };
        let token = Token::new(token?).map_err(|problem| {
            self.error(&at.key("token"), problem, "").help(format!("expected {example}"));
        });
        Some(Tcp { address: address?, token: token.ok()? })
    }
}
