//! `[routes.websocket]`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Bytes, OneOrMany, Switch, Text, Time, kib, secs};
use crate::config::value::{Part, Share, Size};

/// WebSocket relays. Bytes are passed on without looking at them; frames are read where a plugin has a hook for them, and
/// where any key but `idle_timeout`, `max_age`, `max_age_jitter`, `connect = "handshake"`, `deflate = false` and
/// `tap = false` is given.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct WebSocket {
    /// Ends with 1001 when nothing passed either way for so long. "0s": no bound.
    pub idle_timeout: Time,
    /// Ends with 1001 so long after it was opened. "0s": no bound.
    pub max_age: Time,
    /// Up to this share of `max_age` is taken off by chance, so that not all end at once.
    pub max_age_jitter: Text<Share>,

    /// When the upstream is opened: "handshake" (before the client's handshake is answered, with the upstream's answer) or
    /// "first-message" (when there is something to be sent to it, so that plugins can choose it by what the client says;
    /// weir answers the client by itself). Default: "handshake".
    pub connect: Option<Connect>,
    /// With `connect = "first-message"`: how long the client has to send something; then 1008. "0s": no bound. Default:
    /// "10s".
    pub first_message_timeout: Option<Time>,

    /// The most payload of one frame; over it 1009. Default: "1MiB".
    pub max_frame: Option<Bytes>,
    /// The most of a message, without compression; over it 1009. Default: "1MiB".
    pub max_message: Option<Bytes>,
    /// The most frames of a message; over it 1008. Default: 1024.
    #[schemars(range(min = 1))]
    pub max_fragments: Option<u32>,
    /// The most pings and pongs a second in one direction; over it 1008. 0: no bound. Default: 50.
    pub max_controls: Option<u32>,
    /// How long a side has to answer a close frame. Default: "5s".
    pub close_timeout: Option<Time>,
    /// Who answers pings: "pass" (the other side: pings and pongs are passed on) or "answer" (weir). Default: "pass".
    pub pings: Option<Pings>,
    /// A client that was silent for so long gets a ping of weir's own. "0s": none, the default.
    pub ping_interval: Option<Time>,
    /// How long it has to send anything after that; then 1001. Default: "10s".
    pub ping_timeout: Option<Time>,
    /// The most that waits for a side because it is slow: what plugins, timers and other relays have sent. Default:
    /// "256KiB".
    pub queue: Option<Bytes>,
    /// What happens when more would wait: "close" (the relay ends with 1008) or "drop" (what does not fit is left out, and
    /// counted). Default: "close".
    pub queue_full: Option<QueueFull>,
    /// Compression of messages (permessage-deflate), agreed on with each side by itself where frames are read: true, false,
    /// or a table of settings. Default: true.
    pub deflate: Option<Switch<Deflate>>,
    /// Whether `weir ws tap` may show messages: true, false, or a table of settings. Default: false.
    pub tap: Option<Switch<Tap>>,
}

impl Default for WebSocket {
    fn default() -> Self {
        WebSocket {
            idle_timeout: secs(3600),
            max_age: secs(0),
            max_age_jitter: Text(Share::of(1, 10)),
            connect: None,
            first_message_timeout: None,
            max_frame: None,
            max_message: None,
            max_fragments: None,
            max_controls: None,
            close_timeout: None,
            pings: None,
            ping_interval: None,
            ping_timeout: None,
            queue: None,
            queue_full: None,
            deflate: None,
            tap: None,
        }
    }
}

/// When an upstream is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Connect {
    /// Before the client's handshake is answered.
    Handshake,
    /// When there is something to be sent to it.
    FirstMessage,
}

/// Who answers pings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Pings {
    /// The other side.
    Pass,
    /// weir.
    Answer,
}

/// What happens to what is sent to a side that has too much waiting.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum QueueFull {
    /// The relay ends.
    Close,
    /// It is left out.
    Drop,
}

/// Compression of messages (permessage-deflate, RFC 7692), agreed on with each side by itself.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Deflate {
    /// Whether a message may refer to those before it: better compression, for memory that each relay holds, which
    /// `proxy.takeover_memory` bounds.
    pub takeover: bool,
    /// The largest window as a power of two, 9 to 15, of what weir compresses and of what it asks for. Default: 12 with
    /// `takeover`, else 15.
    pub window_bits: Option<u32>,
    /// Memory of a compressor, 1 to 9. Default: 5 with `takeover`, else 8.
    #[schemars(range(min = 1, max = 9))]
    pub mem_level: Option<u32>,
    /// How hard a compressor tries, 1 to 9.
    #[schemars(range(min = 1, max = 9))]
    pub level: u32,
    /// Smaller messages that weir makes go as they are.
    pub min_size: Bytes,
    /// How many times its size a message may have without compression, beside its first 256 KiB; over it 1009.
    #[schemars(range(min = 1))]
    pub max_ratio: u32,
}

impl Default for Deflate {
    fn default() -> Self {
        Deflate {
            takeover: false,
            window_bits: None,
            mem_level: None,
            level: 1,
            min_size: Text(Size(256)),
            max_ratio: 200,
        }
    }
}

/// What `weir ws tap` shows of messages.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Tap {
    /// The share of messages that is shown.
    pub sample: Text<Share>,
    /// The most of a message that is shown.
    pub max_bytes: Bytes,
    /// Regular expressions; what they find is shown as `***`.
    pub redact: OneOrMany<Text<Part>>,
}

impl Default for Tap {
    fn default() -> Self {
        Tap { sample: Text(Share::of(1, 1)), max_bytes: kib(1), redact: OneOrMany::default() }
    }
}
