//! WebSocket relays of a route.

use std::sync::Arc;

use weir_core::spec;
use weir_plugin::Plugin;

use super::{Lower, all};
use crate::config::document::At;
use crate::config::raw::{self, Switch};
use crate::config::value::Share;

/// The most of a frame and of a message, in bytes: it is held in memory.
const LARGEST: u64 = 1 << 30;
/// The least and the most that may wait for a side, in bytes.
const QUEUE: (u64, u64) = (1 << 10, 1 << 30);

impl raw::WebSocket {
    /// Whether something is asked for that takes reading frames.
    fn reads_frames(&self) -> bool {
        let raw::WebSocket { idle_timeout: _, max_age: _, max_age_jitter: _, deflate, tap, .. } = self;
        let limits = self.max_frame.is_some()
            || self.max_message.is_some()
            || self.max_fragments.is_some()
            || self.max_controls.is_some();
        let pings = self.pings.is_some() || self.ping_interval.is_some() || self.ping_timeout.is_some();
        let queue = self.queue.is_some() || self.queue_full.is_some();
        let connect = self.connect == Some(raw::Connect::FirstMessage);
        limits
            || connect
            || pings
            || queue
            || self.close_timeout.is_some()
            || is_on(deflate.as_ref())
            || is_on(tap.as_ref())
    }
}

/// Whether it is on, and was said to be.
fn is_on<T>(switch: Option<&Switch<T>>) -> bool {
    !matches!(switch, None | Some(Switch::Bool(false)))
}

impl Lower<'_> {
    /// WebSockets of a route; `None` refuses them.
    pub fn websocket(&mut self, raw: &Switch<raw::WebSocket>, at: &At) -> Option<spec::WebSocket> {
        match raw {
            Switch::Bool(false) => None,
            Switch::Bool(true) => Some(spec::WebSocket::default()),
            Switch::Settings(raw) => Some(spec::WebSocket {
                idle_timeout: raw.idle_timeout.0,
                max_age: raw.max_age.0,
                max_age_jitter: part(raw.max_age_jitter.0),
                frames: self.frames(raw, at),
                reads_frames: raw.reads_frames(),
            }),
        }
    }

    /// How frames are handled where they are read.
    fn frames(&mut self, raw: &raw::WebSocket, at: &At) -> spec::Frames {
        let default = spec::Frames::default();
        let mut largest = |size: Option<raw::Bytes>, key, default| {
            size.map_or(default, |size| self.size(size, 1, LARGEST, &at.key(key)))
        };
        let max_frame = largest(raw.max_frame, "max_frame", default.max_frame);
        let max_message = largest(raw.max_message, "max_message", default.max_message);
        let mut wait = |time: Option<raw::Time>, key, default| {
            let time = time?;
            self.positive(time.0, &at.key(key));
            Some(if time.0.is_zero() { default } else { time.0 })
        };
        let close_timeout = wait(raw.close_timeout, "close_timeout", default.close_timeout);
        let ping_timeout = wait(raw.ping_timeout, "ping_timeout", default.ping_timeout);
        let ping_interval = raw.ping_interval.map_or(default.ping_interval, |time| time.0);
        if raw.ping_timeout.is_some() && ping_interval.is_zero() {
            self.key_error(&at.key("ping_timeout"), "weir sends no ping that could be waited for", "")
                .help("set `ping_interval`, for example to \"30s\"");
        }
        let connect = match raw.connect {
            None => default.connect,
            Some(raw::Connect::Handshake) => spec::Connect::Handshake,
            Some(raw::Connect::FirstMessage) => spec::Connect::FirstMessage,
        };
        if raw.first_message_timeout.is_some() && connect == spec::Connect::Handshake {
            let at = at.key("first_message_timeout");
            self.key_error(&at, "the upstream is opened before there is a message", "")
                .help("set `connect = \"first-message\"`, or leave it out");
        }
        let queue = raw.queue.map(|queue| self.size(queue, QUEUE.0, QUEUE.1, &at.key("queue")));
        spec::Frames {
            connect,
            first_message_timeout: raw
                .first_message_timeout
                .map_or(default.first_message_timeout, |time| time.0),
            max_frame,
            max_message,
            max_fragments: raw.max_fragments.unwrap_or(default.max_fragments),
            max_controls: raw.max_controls.unwrap_or(default.max_controls),
            close_timeout: close_timeout.unwrap_or(default.close_timeout),
            pings: match raw.pings {
                None => default.pings,
                Some(raw::Pings::Pass) => spec::Pings::Pass,
                Some(raw::Pings::Answer) => spec::Pings::Answer,
            },
            ping_interval,
            ping_timeout: ping_timeout.unwrap_or(default.ping_timeout),
            queue: queue.map_or(default.queue, |queue| queue as usize),
            queue_full: match raw.queue_full {
                None => default.queue_full,
                Some(raw::QueueFull::Close) => spec::QueueFull::Close,
                Some(raw::QueueFull::Drop) => spec::QueueFull::Drop,
            },
            deflate: match &raw.deflate {
                None => default.deflate,
                Some(Switch::Bool(on)) => on.then(spec::Deflate::default),
                Some(Switch::Settings(raw)) => Some(self.deflate(raw, &at.key("deflate"))),
            },
            tap: match &raw.tap {
                None => default.tap,
                Some(Switch::Bool(on)) => on.then(|| self.tap(&raw::Tap::default(), at)),
                Some(Switch::Settings(raw)) => Some(self.tap(raw, &at.key("tap"))),
            },
        }
    }

    fn deflate(&mut self, raw: &raw::Deflate, at: &At) -> spec::Deflate {
        let default = spec::Deflate::default();
        // Memory that each relay holds is to be small.
        let (window_bits, mem_level) =
            if raw.takeover { (12, 5) } else { (default.window_bits, default.mem_level) };
        let window_bits = match raw.window_bits.map(u8::try_from) {
            None => window_bits,
            Some(Ok(bits @ 9..=15)) => bits,
            Some(bits) => {
                let told = self.error(&at.key("window_bits"), "there is no such window", "expected 9 to 15");
                if bits == Ok(8) {
                    told.help("8 is never used: zlib cannot compress with it");
                }
                window_bits
            }
        };
        let level = |level: u32, default| u8::try_from(level).unwrap_or(default);
        spec::Deflate {
            takeover: raw.takeover,
            window_bits,
            mem_level: raw.mem_level.map_or(mem_level, |n| level(n, mem_level)),
            level: level(raw.level, default.level),
            min_size: self.size(raw.min_size, 0, LARGEST, &at.key("min_size")) as usize,
            max_ratio: raw.max_ratio,
        }
    }

    fn tap(&mut self, raw: &raw::Tap, at: &At) -> Arc<spec::Tap> {
        if raw.sample.0.hundredths() == 0 {
            self.error(&at.key("sample"), "no message would be shown", "more than \"0%\"")
                .help("`tap = false` shows nothing");
        }
        Arc::new(spec::Tap {
            sample: part(raw.sample.0),
            max_bytes: self.size(raw.max_bytes, 1, LARGEST, &at.key("max_bytes")) as usize,
            redact: all(&raw.redact).into_iter().map(|part| part.0).collect(),
        })
    }

    /// Tells that relays cannot go over to what this plugin, named there, becomes.
    pub fn cannot_migrate(&mut self, plugin: &dyn Plugin, at: &At, route: &At) {
        let hooks = plugin.hooks();
        let has = [
            (hooks.websocket, "on_websocket"),
            (hooks.frame, "on_frame"),
            (hooks.message, "on_message"),
            (hooks.close, "on_close"),
        ];
        let has: Vec<_> = has.iter().filter(|(has, _)| *has).map(|(_, name)| *name).collect();
        let place = self.document.locate(&route.key("on_reload"));
        let title = format!("the plugin `{}` has no on_migrate", plugin.name());
        self.error(at, title, format!("it has {}", has.join(", ")))
            .context(place, "asks for it")
            .help("`on_migrate` makes what the new script keeps of a WebSocket from what the old one kept; or `on_reload = \"pin\"`");
    }

    /// Warns where compression was switched off, and nothing is done about it: none of the plugins reads frames either.
    pub fn untouched_deflate(&mut self, raw: &raw::Route, plugins: &[Arc<dyn Plugin>], at: &At) {
        let Switch::Settings(websocket) = &raw.websocket else { return };
        let by_plugin = plugins.iter().any(|plugin| plugin.hooks().is_for_relays());
        if matches!(websocket.deflate, Some(Switch::Bool(false))) && !by_plugin && !websocket.reads_frames() {
            let at = at.key("websocket").key("deflate");
            self.warning(&at, "`deflate = false` changes nothing here", "").help(
                "no other key and no plugin of this route reads frames: client and upstream agree on compression by \
                 themselves",
            );
        }
    }
}

/// From 0 to 1.
fn part(share: Share) -> f64 {
    #[allow(clippy::cast_precision_loss, reason = "at most 10,000")]
    let hundredths = share.hundredths() as f64;
    hundredths / 10_000.0
}

#[cfg(test)]
mod tests {
    use std::fs;

    use crate::config::{self, Source};

    /// What is wrong where a route has a plugin with these hooks.
    fn check(hooks: &str, on_reload: &str, expected: &[&str]) {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("weir.toml");
        let text = format!(
            "[[listeners]]\naddress = \"127.0.0.1:0\"\n[[routes]]\nupstream = \"app\"\non_reload = \"{on_reload}\"\n\
             websocket = {{ deflate = false }}\nplugins = [\"one\"]\n[upstreams.app]\nendpoints = [\"127.0.0.1:1\"]\n"
        );
        fs::write(&path, text).expect("a file");
        fs::create_dir(folder.path().join("plugins")).expect("a folder");
        let hooks: String =
            hooks.split_whitespace().map(|hook| format!("{hook} = function() end,")).collect();
        fs::write(folder.path().join("plugins/one.lua"), format!("return {{ {hooks} }}")).expect("a file");
        let report = config::load(&Source::Path(path)).map_or_else(|report| *report, |loaded| loaded.report);
        let lines = report.lines();
        assert_eq!(lines.len(), expected.len(), "{lines:?}");
        for (line, expected) in lines.iter().zip(expected) {
            assert!(line.contains(expected), "{line}");
        }
    }

    #[test]
    fn relays_migrate_only_where_every_plugin_that_reads_them_can() {
        let warned = ":6:15: `deflate = false` changes nothing here";
        check("", "migrate", &[warned]);
        check("on_request", "migrate", &[warned]);
        check("on_message", "pin", &[]);
        check("on_message", "close", &[]);
        check("on_message", "migrate", &[":7:12: the plugin `one` has no on_migrate; `on_migrate` makes"]);
        check("on_message on_migrate", "migrate", &[]);
    }
}
