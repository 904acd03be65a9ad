//! What operators see of relays: which there are, and the messages of one.

use std::net::IpAddr;
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use ipnet::IpNet;
use weir_plugin::websocket::{Direction, Opcode};

use crate::spec;

/// How far behind what is shown is looked for what is to be redacted and begins before.
const BEYOND: usize = 64 << 10;
/// What is shown in the place of what is redacted.
const REDACTED: &[u8] = b"***";

/// A relay as operators see it.
#[derive(Clone, Debug)]
pub struct RelayInfo {
    /// Unique in this process.
    pub id: u64,
    /// The name of its route.
    pub route: Arc<str>,
    /// The client's address; `None` on Unix sockets.
    pub client: Option<IpAddr>,
    /// How long it has been open.
    pub age: Duration,
    /// How long nothing has passed.
    pub idle: Duration,
    /// Frames that have passed, to the upstream and to the client; zero where they are not read.
    pub frames: [u64; 2],
    /// Bytes that have passed on the wire, to the upstream and to the client.
    pub bytes: [u64; 2],
    /// What was sent into it and did not fit into its queue.
    pub dropped: u64,
    /// The generation that it holds.
    pub generation: u64,
    /// What is read of it.
    pub kind: RelayKind,
    /// The groups that it is in.
    pub groups: Vec<Arc<str>>,
}

/// What is read of a relay.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum RelayKind {
    /// A WebSocket whose bytes pass unread.
    Spliced,
    /// A WebSocket whose frames are read.
    Frames,
    /// A WebSocket whose messages are put together.
    Messages,
    /// A connection of layer 4.
    Tcp,
}

/// Which relays are meant: those for which all holds that is there.
#[derive(Clone, Debug, Default)]
pub struct RelayFilter {
    /// The one of this id.
    pub id: Option<u64>,
    /// Those of this route.
    pub route: Option<String>,
    /// Those of clients in this network.
    pub client: Option<IpNet>,
    /// Those that hold this generation.
    pub generation: Option<u64>,
    /// Those that are in this group.
    pub group: Option<String>,
}

/// Something that has passed a relay.
#[derive(Clone, Debug)]
pub struct Tapped {
    /// When.
    pub at: SystemTime,
    /// Where it went.
    pub direction: Direction,
    /// What it carries.
    pub opcode: Opcode,
    /// Its begin, redacted as the route says.
    pub data: Bytes,
    /// How many bytes it has.
    pub size: usize,
    /// What became of it.
    pub passed: Passed,
    /// How many could not be shown since the last one, because the operator was slow.
    pub lost: u64,
}

/// What became of a frame or a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Passed {
    /// It went on as it was.
    Forwarded,
    /// A plugin has put something else in its place, which is what is shown.
    Replaced,
    /// A plugin has dropped it.
    Dropped,
    /// A plugin has sent it.
    Sent,
}

/// Why a relay cannot be looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TapError {
    /// There is none of this id.
    #[error("there is no such relay")]
    NoSuchRelay,
    /// Its frames are not read.
    #[error("its bytes pass unread")]
    Unread,
    /// Its route says nothing of it.
    #[error("its route has no `websocket.tap`")]
    NotConfigured,
    /// Somebody looks at it already.
    #[error("somebody looks at it already")]
    Taken,
}

impl Tapped {
    /// What an operator is shown of something that passes, as the route says; `None` where chance leaves it out.
    pub fn new(
        settings: &spec::Tap,
        direction: Direction,
        opcode: Opcode,
        data: &[u8],
        passed: Passed,
    ) -> Option<Self> {
        if settings.sample < 1.0 && fastrand::f64() >= settings.sample {
            return None;
        }
        let mut shown = redacted(settings, data);
        if opcode == Opcode::Text {
            // A character that is cut is none.
            let cut = shown.utf8_chunks().last().map_or(0, |last| last.invalid().len());
            shown.truncate(shown.len() - cut);
        }
        Some(Tapped {
            at: SystemTime::now(),
            direction,
            opcode,
            data: shown.into(),
            size: data.len(),
            passed,
            lost: 0,
        })
    }
}

/// The begin of some data, at most `max_bytes` of it, without what is not to be seen.
fn redacted(settings: &spec::Tap, data: &[u8]) -> Vec<u8> {
    let end = data.len().min(settings.max_bytes);
    let part = |range: Range<usize>| data.get(range).unwrap_or_default();
    let looked_at = part(0..data.len().min(end.saturating_add(BEYOND)));
    let found =
        settings.redact.iter().flat_map(|regex| regex.find_iter(looked_at)).map(|found| found.range());
    let mut hidden: Vec<_> = found.filter(|range| range.start < end).collect();
    hidden.sort_unstable_by_key(|range| range.start);
    let mut shown = Vec::with_capacity(end);
    let mut at = 0;
    for range in hidden {
        if range.start >= at {
            shown.extend_from_slice(part(at..range.start));
            shown.extend_from_slice(REDACTED);
        }
        at = at.max(range.end);
    }
    shown.extend_from_slice(part(at..end));
    shown.truncate(settings.max_bytes);
    shown
}

impl RelayKind {
    /// As it is shown.
    pub fn name(self) -> &'static str {
        match self {
            RelayKind::Spliced => "spliced",
            RelayKind::Frames => "frames",
            RelayKind::Messages => "messages",
            RelayKind::Tcp => "tcp",
        }
    }
}

impl Passed {
    /// As it is shown.
    pub fn name(self) -> &'static str {
        match self {
            Passed::Forwarded => "forwarded",
            Passed::Replaced => "replaced",
            Passed::Dropped => "dropped",
            Passed::Sent => "sent",
        }
    }
}

impl RelayFilter {
    /// Whether a relay is meant.
    pub(super) fn takes(&self, relay: &RelayInfo) -> bool {
        self.id.is_none_or(|id| id == relay.id)
            && self.route.as_ref().is_none_or(|route| **route == *relay.route)
            && self.client.is_none_or(|net| relay.client.is_some_and(|client| net.contains(&client)))
            && self.generation.is_none_or(|generation| generation == relay.generation)
            && self.group.as_ref().is_none_or(|group| relay.groups.iter().any(|joined| **joined == **group))
    }
}

#[cfg(test)]
mod tests {
    use regex::bytes::Regex;

    use super::*;

    fn tap(max_bytes: usize, redact: &[&str]) -> spec::Tap {
        let redact = redact.iter().map(|text| Regex::new(text).expect("an expression")).collect();
        spec::Tap { sample: 1.0, max_bytes, redact }
    }

    fn shown(settings: &spec::Tap, opcode: Opcode, data: &[u8]) -> Vec<u8> {
        let tapped = Tapped::new(settings, Direction::ToClient, opcode, data, Passed::Forwarded);
        let tapped = tapped.expect("all are shown");
        assert_eq!(tapped.size, data.len());
        tapped.data.to_vec()
    }

    #[test]
    fn what_is_redacted_is_never_seen() {
        let check = |max_bytes, redact: &[&str], text: &str, expected: &str| {
            let shown = shown(&tap(max_bytes, redact), Opcode::Text, text.as_bytes());
            assert_eq!(String::from_utf8(shown).expect("text"), expected, "{text}");
        };
        check(100, &[], "all of it", "all of it");
        check(3, &[], "all of it", "all");
        check(0, &["a"], "all of it", "");
        check(100, &["[0-9]+"], "1 and 23", "*** and ***");
        // Two that overlap, one in another, two side by side.
        check(100, &["bcd", "cde"], "abcdef", "a***f");
        check(100, &["bcde", "c"], "abcdef", "a***f");
        check(100, &["bc", "de"], "abcdef", "a******f");
        // It ends behind what is shown, or begins there.
        check(12, &[r#""secret":"[^"]*""#], r#"{"secret":"abcdefgh"}"#, "{***");
        check(1, &["b+"], "abbb", "a");
        // More stars than there were letters.
        check(4, &["[0-9]"], "1234", "****");
        let long = format!("x{}", "s".repeat(BEYOND));
        check(2, &["s+"], &long, "x*");
    }

    #[test]
    fn text_is_cut_between_characters_and_bytes_are_not() {
        let text = "aä€".as_bytes();
        for (max, length) in [(6, 6), (5, 3), (4, 3), (3, 3), (2, 1), (1, 1)] {
            assert_eq!(shown(&tap(max, &[]), Opcode::Text, text).len(), length, "{max}");
            assert_eq!(shown(&tap(max, &[]), Opcode::Binary, text).len(), max);
        }
    }

    #[test]
    fn chance_leaves_out_as_many_as_the_route_says() {
        let settings = spec::Tap { sample: 0.25, ..tap(1, &[]) };
        let one = |_: &usize| {
            Tapped::new(&settings, Direction::ToClient, Opcode::Text, b"x", Passed::Forwarded).is_some()
        };
        let shown = (0..10_000).filter(one).count();
        assert!((2_000..3_000).contains(&shown), "{shown}");
    }
}
