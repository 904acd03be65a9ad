//! WebSocket relays as plugins see them: frames and messages, and the relays themselves.
//!
//! In reading order: this file (what a hook is handed and what it returns), [`relay`] (what can be done to a relay from
//! anywhere), [`access`] (which relays a plugin gets at).

pub mod access;
pub mod relay;

use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;

use crate::error::{Error, Result};

pub use access::{Access, Group};
pub use relay::{LONGEST_GROUP, MOST_GROUPS, Relay, RelayLimits, relay_id};

/// Where a frame goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Direction {
    /// From the client to the upstream.
    ToUpstream,
    /// From the upstream to the client.
    ToClient,
}

/// What a frame carries (RFC 6455, section 11.8). A fragment has the opcode of its message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opcode {
    /// Text: UTF-8, checked before a hook sees it.
    Text,
    /// Bytes.
    Binary,
    /// A ping: at most 125 bytes.
    Ping,
    /// A pong: at most 125 bytes.
    Pong,
}

/// A frame as it came, or a whole message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// Where it goes.
    pub direction: Direction,
    /// What it carries.
    pub opcode: Opcode,
    /// Without mask and compression. Fragments of a text may end within a character.
    pub data: Bytes,
    /// Whether it is the first of its message. True for messages and control frames.
    pub first: bool,
    /// Whether it is the last of its message. True for messages and control frames.
    pub last: bool,
    /// Counts the frames of this direction, or its messages, from 1.
    pub sequence: u64,
    /// Whether it came compressed (RFC 7692).
    pub compressed: bool,
    /// Payload bytes on the wire; less than `data` has where it came compressed.
    pub size: u64,
}

/// What a hook makes of a frame or a message. What a hook has sent itself in the same direction goes first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FrameVerdict {
    /// It goes on as it is: where no other plugin changes it, the same bytes as they came.
    Forward,
    /// These bytes go on instead, as the same opcode.
    Replace(Bytes),
    /// It goes no further. Of a message in fragments the rest still comes.
    Drop,
    /// The relay ends with this, on both sides.
    Close(CloseReason),
    /// The plugin could not do its work; its failure policy says what happens. The text goes to the log only.
    Fail(String),
}

/// A close code (RFC 6455, section 7.4) and a reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CloseReason {
    code: u16,
    reason: Arc<str>,
}

/// How a relay ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Closed {
    /// The code of the first close frame, whoever sent it; `None` where it had none, or there was no close frame.
    pub code: Option<u16>,
    /// The reason beside it; empty where there was none.
    pub reason: Arc<str>,
    /// Who ended it.
    pub by: ClosedBy,
}

/// Who ended a relay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClosedBy {
    /// The client, with a close frame.
    Client,
    /// The upstream, with a close frame.
    Upstream,
    /// A plugin, or an operator.
    Plugin,
    /// weir: a limit, a timeout, a violation of the protocol, a reload, the end of the process.
    Weir,
    /// Nobody: a connection broke off.
    Nobody,
}

/// What a plugin wants to see of one relay.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Watch {
    /// Every frame as it comes ([`crate::Talk::on_frame`]).
    pub frames: bool,
    /// Every message as a whole ([`crate::Talk::on_message`]).
    pub messages: bool,
    /// Nothing, but it wants to send into it, and to know how it ends. Where no plugin wants anything of a relay, its bytes
    /// pass unread.
    pub send: bool,
}

/// The relay of an exchange, as the hooks of that exchange see it. May be kept: what is done to a relay that has ended
/// is an error, and never done to another.
#[derive(Clone, Debug)]
pub struct WebSocket {
    /// What can be done to it.
    pub relay: Arc<dyn Relay>,
    /// The name of its route.
    pub route: Arc<str>,
    /// As in the access log.
    pub request_id: Rc<str>,
    /// The client's address after trusted proxies are taken into account; empty on Unix sockets.
    pub client_ip: Rc<str>,
    /// What both sides agreed on (RFC 6455, section 1.9).
    pub subprotocol: Option<Rc<str>>,
}

impl Direction {
    /// As plugins and logs name it.
    pub fn name(self) -> &'static str {
        match self {
            Direction::ToUpstream => "to_upstream",
            Direction::ToClient => "to_client",
        }
    }

    /// The one of this name.
    pub fn of_name(name: &str) -> Option<Self> {
        [Direction::ToUpstream, Direction::ToClient].into_iter().find(|direction| direction.name() == name)
    }
}

impl Opcode {
    /// As plugins and logs name it.
    pub fn name(self) -> &'static str {
        match self {
            Opcode::Text => "text",
            Opcode::Binary => "binary",
            Opcode::Ping => "ping",
            Opcode::Pong => "pong",
        }
    }

    /// The one of this name.
    pub fn of_name(name: &str) -> Option<Self> {
        let all = [Opcode::Text, Opcode::Binary, Opcode::Ping, Opcode::Pong];
        all.into_iter().find(|opcode| opcode.name() == name)
    }

    /// Whether it is no part of a message.
    pub fn is_control(self) -> bool {
        matches!(self, Opcode::Ping | Opcode::Pong)
    }

    /// Whether a frame of this opcode may carry these bytes.
    ///
    /// # Errors
    /// [`Error::Invalid`] for text that is not UTF-8, [`Error::TooLarge`] for pings and pongs.
    pub fn check(self, data: &[u8]) -> Result<()> {
        match self {
            Opcode::Text if std::str::from_utf8(data).is_err() => {
                Err(Error::invalid("a text message is UTF-8: send it as \"binary\""))
            }
            Opcode::Ping | Opcode::Pong if data.len() > MOST_CONTROL => {
                Err(Error::TooLarge(MOST_CONTROL as u64))
            }
            _ => Ok(()),
        }
    }
}

impl FrameVerdict {
    /// What is carried out on a message or a whole control frame of this opcode: what cannot go on in its place is a
    /// failure. (In a fragment a text may end within a character, so that only the whole tells.)
    #[must_use]
    pub fn checked(self, opcode: Opcode) -> Self {
        match self {
            FrameVerdict::Replace(data) => match opcode.check(&data) {
                Ok(()) => FrameVerdict::Replace(data),
                Err(_) if opcode == Opcode::Text => {
                    FrameVerdict::Fail("what it returned in the place of a text is not UTF-8".to_owned())
                }
                Err(error) => FrameVerdict::Fail(format!(
                    "what it returned in the place of a {}: {error}",
                    opcode.name()
                )),
            },
            other => other,
        }
    }
}

/// The most bytes of a ping, a pong, or a close code with its reason (RFC 6455, section 5.5).
pub const MOST_CONTROL: usize = 125;

impl CloseReason {
    /// A reason for which a plugin may end a relay.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a code that no endpoint may send, [`Error::TooLarge`] for a reason of more than 123 bytes.
    pub fn new(code: i64, reason: &str) -> Result<Self> {
        let sendable = matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999);
        let Some(code) = u16::try_from(code).ok().filter(|_| sendable) else {
            return Err(Error::invalid(format!(
                "{code} is no close code that may be sent: 1000 to 1003, 1007 to 1014 and 3000 to 4999 are, and 4000 to \
                 4999 are for applications"
            )));
        };
        if reason.len() > MOST_CONTROL - 2 {
            return Err(Error::TooLarge(MOST_CONTROL as u64 - 2));
        }
        Ok(CloseReason { code, reason: reason.into() })
    }

    /// The code.
    pub fn code(&self) -> u16 {
        self.code
    }

    /// The reason: at most 123 bytes.
    pub fn reason(&self) -> &Arc<str> {
        &self.reason
    }
}

impl Watch {
    /// Whether anything is wanted.
    pub fn is_any(&self) -> bool {
        self.frames || self.messages || self.send
    }
}

impl ClosedBy {
    /// As plugins and logs name it.
    pub fn name(self) -> &'static str {
        match self {
            ClosedBy::Client => "client",
            ClosedBy::Upstream => "upstream",
            ClosedBy::Plugin => "plugin",
            ClosedBy::Weir => "weir",
            ClosedBy::Nobody => "nobody",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_that_may_be_sent() {
        for code in [1000, 1001, 1003, 1007, 1012, 3000, 4999] {
            assert_eq!(CloseReason::new(code, "why").map(|c| c.code()), Ok(code as u16));
        }
        for code in [-1, 0, 999, 1004, 1005, 1006, 1015, 2999, 5000, 70_000] {
            let error = CloseReason::new(code, "").expect_err("it may not be sent").to_string();
            assert!(error.contains(&code.to_string()), "{error}");
        }
        assert_eq!(CloseReason::new(1000, &"r".repeat(124)), Err(Error::TooLarge(123)));
    }

    #[test]
    fn what_frames_may_carry() {
        assert_eq!(Opcode::Ping.check(&[0; 126]), Err(Error::TooLarge(125)));
        assert_eq!(Opcode::Binary.check(&[0xff; 126]), Ok(()));
        assert!(Opcode::Text.check(&[0xff]).is_err_and(|error| error.to_string().contains("UTF-8")));
    }

    #[test]
    fn what_may_go_on_in_the_place_of_a_message() {
        let replace = |bytes: &[u8]| FrameVerdict::Replace(Bytes::copy_from_slice(bytes));
        assert_eq!(replace(b"\xff").checked(Opcode::Binary), replace(b"\xff"));
        for (bytes, opcode, expected) in
            [(&[0xff][..], Opcode::Text, "not UTF-8"), (&[0; 126], Opcode::Ping, "125")]
        {
            let FrameVerdict::Fail(text) = replace(bytes).checked(opcode) else { panic!("{opcode:?}") };
            assert!(text.contains(expected), "{text}");
        }
    }

    #[test]
    fn names_are_found_again() {
        for direction in [Direction::ToUpstream, Direction::ToClient] {
            assert_eq!(Direction::of_name(direction.name()), Some(direction));
        }
        for opcode in [Opcode::Text, Opcode::Binary, Opcode::Ping, Opcode::Pong] {
            assert_eq!(Opcode::of_name(opcode.name()), Some(opcode));
        }
    }
}
