//! Relays: which there are, closing them, and looking at the messages of one.

use std::convert::Infallible;
use std::fmt::Write;
use std::net::IpAddr;
use std::time::UNIX_EPOCH;

use bytes::Bytes;
use futures_util::{Stream, stream};
use http_body::Frame;
use ipnet::IpNet;
use percent_encoding::percent_decode_str;
use serde::{Deserialize, Serialize};
use tokio::sync::OwnedSemaphorePermit;
use tokio::sync::mpsc::Receiver;
use weir_core::relay::{RelayFilter, RelayInfo, Tapped};
use weir_core::server::Publisher;
use weir_plugin::websocket::{CloseReason, Opcode};

use crate::config::value::Leaf;
use crate::telemetry::misleading;

/// How many are listed where that is not said.
const SOME: usize = 100;
/// The close code where none is given: come again.
const RESTART: i64 = 1012;

/// What `GET /websockets` answers.
#[derive(Clone, Debug, Default, Serialize, Deserialize, PartialEq)]
pub struct Listed {
    /// How many are meant.
    pub total: usize,
    /// The oldest of them.
    pub relays: Vec<Relay>,
}

/// A relay. Times are seconds.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq)]
pub struct Relay {
    /// Unique in this process.
    pub id: u64,
    /// Its route.
    pub route: String,
    /// The client's address; none on a Unix socket.
    pub client: Option<IpAddr>,
    /// How long it has been open.
    pub age: f64,
    /// How long nothing has passed.
    pub idle: f64,
    /// Frames that have passed; zero where they are not read.
    pub frames: Ways,
    /// Bytes that have passed on the wire.
    pub bytes: Ways,
    /// What was sent into it and did not fit into its queue.
    pub dropped: u64,
    /// The generation that it goes by.
    pub generation: u64,
    /// Whether that is an earlier one than the one that serves.
    pub pinned: bool,
    /// What is read of it: `spliced`, `frames`, `messages`; or `tcp`.
    pub kind: String,
    /// The groups that it is in.
    pub groups: Vec<String>,
}

/// Something by direction.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize, PartialEq, Eq)]
pub struct Ways {
    /// From the client to the upstream.
    pub to_upstream: u64,
    /// From the upstream to the client.
    pub to_client: u64,
}

/// What `POST /websockets/close` answers.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, PartialEq, Eq)]
pub struct Closed {
    /// How many were told to end.
    pub closed: usize,
}

/// A line of `GET /websockets/ID/tap`.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq)]
pub struct Message {
    /// When, in seconds since 1970.
    pub at: f64,
    /// `to_upstream` or `to_client`.
    pub direction: String,
    /// `text`, `binary`, `ping` or `pong`.
    pub opcode: String,
    /// What became of it: `forwarded`, `replaced`, `dropped`, or `sent` by a plugin.
    pub passed: String,
    /// How many bytes it has.
    pub size: usize,
    /// Its begin, where it is a text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// Its begin in hexadecimal digits, where it is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hex: Option<String>,
    /// How many before it are not shown because nobody took them in time.
    pub lost: u64,
}

/// What a query asks for.
#[derive(Debug)]
pub(super) struct Query {
    filter: RelayFilter,
    /// Whether all are meant where no filter is given.
    all: bool,
    limit: usize,
    code: i64,
    reason: String,
}

impl Query {
    /// Reads the query of a list.
    pub(super) fn of_list(text: Option<&str>) -> Result<Self, String> {
        Self::parse(text, &["limit"])
    }

    /// Reads the query of an order to close, which says which are meant.
    pub(super) fn of_close(text: Option<&str>) -> Result<Self, String> {
        let query = Self::parse(text, &["all", "code", "reason"])?;
        let RelayFilter { id, route, client, generation, group } = &query.filter;
        let any =
            id.is_some() || route.is_some() || client.is_some() || generation.is_some() || group.is_some();
        match any || query.all {
            true => Ok(query),
            false => Err("say which: id, route, client, generation, group, or all=true".to_owned()),
        }
    }

    fn parse(text: Option<&str>, others: &[&str]) -> Result<Self, String> {
        let (code, reason) = (RESTART, String::new());
        let mut query = Query { filter: RelayFilter::default(), all: false, limit: SOME, code, reason };
        let filter = &mut query.filter;
        for part in text.unwrap_or_default().split('&').filter(|part| !part.is_empty()) {
            let (name, value) = part.split_once('=').ok_or_else(|| format!("`{part}` has no value"))?;
            let value = value.replace('+', " ");
            let decoded = percent_decode_str(&value).decode_utf8();
            let value = decoded.map_err(|_| format!("`{part}` is not UTF-8"))?.into_owned();
            let number = || value.parse().map_err(|_| format!("`{value}` is no {name}"));
            match name {
                "id" => filter.id = Some(number()?),
                "generation" => filter.generation = Some(number()?),
                "route" => filter.route = Some(value),
                "group" => filter.group = Some(value),
                "client" => filter.client = Some(<IpNet as Leaf>::parse(&value)?),
                name if !others.contains(&name) => {
                    let known = ["id", "route", "client", "generation", "group"];
                    let known: Vec<_> = known.iter().chain(others).copied().collect();
                    return Err(format!("`{name}` is none of {}", known.join(", ")));
                }
                "limit" => query.limit = usize::try_from(number()?).unwrap_or(usize::MAX),
                "code" => query.code = i64::try_from(number()?).unwrap_or(i64::MAX),
                "reason" => query.reason = value,
                _ => query.all = value == "true",
            }
        }
        Ok(query)
    }

    /// Those that are meant.
    pub(super) fn list(&self, server: &Publisher) -> Listed {
        let newest = server.current().generation;
        let (relays, total) = server.list_relays(&self.filter, self.limit);
        Listed { total, relays: relays.into_iter().map(|relay| Relay::new(relay, newest)).collect() }
    }

    /// Closes them.
    ///
    /// # Errors
    /// Where the code or the reason cannot be sent.
    pub(super) fn close(&self, server: &Publisher) -> Result<Closed, String> {
        let close = CloseReason::new(self.code, &self.reason).map_err(|error| error.to_string())?;
        Ok(Closed { closed: server.close_relays(&self.filter, &close) })
    }
}

impl Relay {
    fn new(relay: RelayInfo, newest: u64) -> Self {
        let ways = |[to_upstream, to_client]: [u64; 2]| Ways { to_upstream, to_client };
        Relay {
            id: relay.id,
            route: relay.route.to_string(),
            client: relay.client,
            age: relay.age.as_secs_f64(),
            idle: relay.idle.as_secs_f64(),
            frames: ways(relay.frames),
            bytes: ways(relay.bytes),
            dropped: relay.dropped,
            generation: relay.generation,
            pinned: relay.generation < newest,
            kind: relay.kind.name().to_owned(),
            groups: relay.groups.iter().map(|group| group.to_string()).collect(),
        }
    }
}

/// The relay whose messages are asked for by a path.
pub(super) fn tapped(path: &str) -> Option<u64> {
    path.strip_prefix("/websockets/")?.strip_suffix("/tap")?.parse().ok()
}

/// Messages as lines of JSON, until the relay ends, for one of those who may look.
pub(super) fn lines(
    messages: Receiver<Tapped>,
    looks: OwnedSemaphorePermit,
) -> impl Stream<Item = Result<Frame<Bytes>, Infallible>> {
    stream::unfold((messages, looks), |(mut messages, looks)| async {
        let tapped = messages.recv().await?;
        let mut line = serde_json::to_string(&Message::from(tapped)).unwrap_or_default();
        if line.contains(is_active) {
            line = inert(&line);
        }
        line.push('\n');
        Some((Ok(Frame::data(line.into())), (messages, looks)))
    })
}

impl From<Tapped> for Message {
    fn from(tapped: Tapped) -> Self {
        let text = match tapped.opcode {
            Opcode::Binary => None,
            _ => std::str::from_utf8(&tapped.data).ok().map(str::to_owned),
        };
        let hex = text.is_none().then(|| {
            tapped.data.iter().fold(String::with_capacity(2 * tapped.data.len()), |mut hex, byte| {
                let _ = write!(hex, "{byte:02x}");
                hex
            })
        });
        Message {
            at: tapped.at.duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64()),
            direction: tapped.direction.name().to_owned(),
            opcode: tapped.opcode.name().to_owned(),
            passed: tapped.passed.name().to_owned(),
            size: tapped.size,
            text,
            hex,
            lost: tapped.lost,
        }
    }
}

/// Whether a terminal may do something else with it than show it.
fn is_active(c: char) -> bool {
    c.is_control() || misleading(c)
}

/// A line of JSON, or a part of a string in one, with what a terminal would act upon escaped. All of that is below
/// U+10000.
pub fn inert(text: &str) -> String {
    let mut inert = String::with_capacity(text.len());
    for c in text.chars() {
        match is_active(c) {
            true => drop(write!(inert, "\\u{:04x}", u32::from(c))),
            false => inert.push(c),
        }
    }
    inert
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use weir_core::relay::Passed;
    use weir_plugin::websocket::Direction;

    use super::*;

    #[test]
    fn queries_say_which_are_meant() {
        let query =
            Query::of_list(Some("route=a%20b&client=10.1.0.0/16&limit=5&generation=3&group=room:7&id=9"));
        let Query { filter, limit, .. } = query.expect("it is right");
        assert_eq!((filter.route.as_deref(), filter.group.as_deref()), (Some("a b"), Some("room:7")));
        assert_eq!(filter.client.map(|net| net.to_string()).as_deref(), Some("10.1.0.0/16"));
        assert_eq!((filter.id, filter.generation, limit), (Some(9), Some(3), 5));
        for (text, problem) in [
            ("route", "`route` has no value"),
            ("id=x", "`x` is no id"),
            ("client=all", "`all` is neither"),
            ("code=1000", "`code` is none of id, route, client, generation, group, limit"),
            ("route=%ff", "is not UTF-8"),
        ] {
            let wrong = Query::of_list(Some(text)).expect_err(text);
            assert!(wrong.contains(problem), "{wrong}");
        }
    }

    #[test]
    fn who_closes_says_which() {
        for text in [None, Some(""), Some("code=1000"), Some("all=false")] {
            Query::of_close(text).expect_err("it does not say which");
        }
        let query = Query::of_close(Some("all=true")).expect("it says which");
        assert_eq!((query.code, query.reason.as_str()), (1012, ""));
        let query = Query::of_close(Some("group=a&code=4001&reason=come+again")).expect("it says which");
        assert_eq!((query.code, query.reason.as_str()), (4001, "come again"));
    }

    #[test]
    fn only_the_path_of_a_tap_is_one() {
        assert_eq!(tapped("/websockets/17/tap"), Some(17));
        for path in ["/websockets//tap", "/websockets/x/tap", "/websockets/17", "/websockets/1/tap/"] {
            assert_eq!(tapped(path), None, "{path}");
        }
    }

    #[test]
    fn lines_are_harmless_and_binary_is_hexadecimal() {
        let message = |opcode, data: &'static [u8]| {
            let tapped = Tapped {
                at: UNIX_EPOCH + Duration::from_millis(1500),
                direction: Direction::ToClient,
                opcode,
                data: Bytes::from_static(data),
                size: 7,
                passed: Passed::Replaced,
                lost: 2,
            };
            inert(&serde_json::to_string(&Message::from(tapped)).expect("it can be written"))
        };
        let begin = r#"{"at":1.5,"direction":"to_client","#;
        for (opcode, data, expected) in [
            (
                Opcode::Text,
                &b"h\xc3\xa9 \"\x1b[2J\xc2\x9b"[..],
                r#""opcode":"text","passed":"replaced","size":7,"text":"hé \"\u001b[2J\u009b","lost":2}"#,
            ),
            (
                Opcode::Binary,
                &b"\x00\xffa"[..],
                r#""opcode":"binary","passed":"replaced","size":7,"hex":"00ff61","lost":2}"#,
            ),
            // A fragment that ends within a character.
            (
                Opcode::Text,
                &b"\xc3"[..],
                r#""opcode":"text","passed":"replaced","size":7,"hex":"c3","lost":2}"#,
            ),
        ] {
            let line = message(opcode, data);
            assert_eq!(line.strip_prefix(begin), Some(expected));
            let _: Message = serde_json::from_str(&line).expect("it is JSON");
        }
    }
}
