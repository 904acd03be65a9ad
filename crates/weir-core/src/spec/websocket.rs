//! WebSocket relays of a route: how their frames are handled where they are read.

use std::sync::Arc;
use std::time::Duration;

/// WebSocket relays of a route.
#[derive(Clone, Debug)]
pub struct WebSocket {
    /// Ends with 1001 when nothing passed either way for so long. Zero: no bound. Default 1 h.
    pub idle_timeout: Duration,
    /// Ends with 1001 so long after it was opened. Zero: no bound, the default.
    pub max_age: Duration,
    /// Up to so much of `max_age` is taken off by chance, so that not all end at once. Default 10 %.
    pub max_age_jitter: f64,
    /// How frames are handled where they are read. They are where a plugin has hooks for them, and where this is
    /// `Some`.
    pub frames: Frames,
    /// Whether frames are read even where no plugin asks for it: some of `frames` was set in the configuration.
    pub reads_frames: bool,
}

/// How frames are handled where they are read.
#[derive(Clone, Debug)]
pub struct Frames {
    /// The most payload bytes of one frame; over it 1009. Default 1 MiB.
    pub max_frame: u64,
    /// The most bytes of a message, as they came and without compression; over it 1009. Default 1 MiB.
    pub max_message: u64,
    /// The most frames of a message; over it 1008. Default 1024.
    pub max_fragments: u32,
    /// The most pings and pongs a second in one direction; over it 1008. Zero: no bound. Default 50.
    pub max_controls: u32,
    /// How long a side has to answer a close frame. Default 5 s.
    pub close_timeout: Duration,
    /// Who answers pings.
    pub pings: Pings,
    /// A ping of weir's own goes to a client that was silent for so long. Zero: none, the default.
    pub ping_interval: Duration,
    /// How long the client has to send anything after that, or it ends with 1001. Default 10 s.
    pub ping_timeout: Duration,
    /// The most bytes that wait for one side because it is slow: what plugins, timers and other relays have sent. Default
    /// 256 KiB.
    pub queue: usize,
    /// What happens when more would wait.
    pub queue_full: QueueFull,
    /// Compression of messages (RFC 7692); `None`: not agreed on.
    pub deflate: Option<Deflate>,
    /// What operators may look at; `None`: nothing.
    pub tap: Option<Arc<Tap>>,
    /// When the upstream is opened.
    pub connect: Connect,
    /// With [`Connect::FirstMessage`]: how long it may take until there is one; then 1008. Zero: no bound. Default 10 s.
    pub first_message_timeout: Duration,
}

/// When the upstream of a relay is opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Connect {
    /// Before the client's handshake is answered, with the upstream's answer.
    #[default]
    Handshake,
    /// When there is something to be sent to it: weir answers the client by itself.
    FirstMessage,
}

/// Who answers pings of clients and upstreams.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Pings {
    /// The other side: pings and pongs are passed on.
    #[default]
    Pass,
    /// weir: no ping or pong is passed on.
    Answer,
}

/// What happens to what is sent into a relay that has too much waiting.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum QueueFull {
    /// The relay ends with 1008.
    #[default]
    Close,
    /// It is dropped, and counted; whoever sends it is told.
    Drop,
}

/// permessage-deflate (RFC 7692), on each side by itself.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Deflate {
    /// Whether a message may refer to those before it: better compression, for memory that each relay holds. Default
    /// false.
    pub takeover: bool,
    /// 9 to 15: the largest window, as a power of two, of what weir compresses and of what it asks for. Default 12 with
    /// `takeover`, else 15.
    pub window_bits: u8,
    /// 1 to 9: memory of a compressor. Default 5 with `takeover`, else 8.
    pub mem_level: u8,
    /// 1 to 9: how hard a compressor tries. Default 1.
    pub level: u8,
    /// Smaller messages that weir makes go as they are. Default 256.
    pub min_size: usize,
    /// How many times its size a message may have when it is decompressed, beside its first 256 KiB; over it 1009. Default
    /// 200.
    pub max_ratio: u32,
}

/// What operators may look at of the messages of relays.
#[derive(Clone, Debug)]
pub struct Tap {
    /// The share of messages that is shown: more than 0, at most 1.
    pub sample: f64,
    /// The most bytes of a message that are shown. Default 1 KiB.
    pub max_bytes: usize,
    /// What is replaced by `***`, in what is shown or begins there.
    pub redact: Vec<regex::bytes::Regex>,
}

impl WebSocket {
    /// How old one relay may become. Zero: no bound.
    pub fn age(&self) -> Duration {
        self.max_age.mul_f64(1.0 - self.max_age_jitter.clamp(0.0, 1.0) * fastrand::f64())
    }
}

impl Default for WebSocket {
    fn default() -> Self {
        WebSocket {
            idle_timeout: Duration::from_secs(3600),
            max_age: Duration::ZERO,
            max_age_jitter: 0.1,
            frames: Frames::default(),
            reads_frames: false,
        }
    }
}

impl Default for Frames {
    fn default() -> Self {
        Frames {
            max_frame: 1 << 20,
            max_message: 1 << 20,
            max_fragments: 1024,
            max_controls: 50,
            close_timeout: Duration::from_secs(5),
            pings: Pings::Pass,
            ping_interval: Duration::ZERO,
            ping_timeout: Duration::from_secs(10),
            queue: 256 << 10,
            queue_full: QueueFull::Close,
            deflate: Some(Deflate::default()),
            tap: None,
            connect: Connect::Handshake,
            first_message_timeout: Duration::from_secs(10),
        }
    }
}

impl Default for Deflate {
    fn default() -> Self {
        Deflate { takeover: false, window_bits: 15, mem_level: 8, level: 1, min_size: 256, max_ratio: 200 }
    }
}
