//! Compression in one direction (RFC 7692): out of what the sender does with it, into what the receiver was promised.
//! While nothing is changed, the receiver gets what the sender has compressed, where it can read that.

use crate::spec::Deflate;
use crate::ws::deflate::{Bound, Deflater, Inflater};
use crate::ws::extension::Agreement;
use crate::ws::{Role, Violation};

/// Compression in one direction.
pub(super) struct Coding {
    /// The part of the sender, which weir plays towards the receiver.
    sender: Role,
    /// What each side has agreed on with weir; `None`: no compression.
    from: Option<Agreement>,
    to: Option<Agreement>,
    settings: Deflate,
    inflater: Inflater,
    /// None where the receiver takes nothing compressed.
    deflater: Option<Deflater>,
    /// Whether the sender's messages refer to those before them: each has to be read then.
    takeover: bool,
    raw: Raw,
}

/// Whether the receiver can read what the sender has compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Raw {
    Always,
    /// As long as it gets all of it, and nothing else that is compressed.
    WhileIntact,
    Never,
}

impl Coding {
    /// From a sender who agreed on `from` with weir to a receiver that agreed on `to`. `sender` is the part of the sender.
    pub(super) fn new(
        sender: Role,
        from: Option<Agreement>,
        to: Option<Agreement>,
        settings: &Deflate,
    ) -> Self {
        let takeover = from.is_some_and(|from| from.takeover(sender));
        let raw = raw(sender, from, to);
        let deflater = to.map(|to| deflater(sender, to, settings, raw));
        Coding {
            sender,
            from,
            to,
            settings: *settings,
            inflater: Inflater::new(takeover),
            deflater,
            takeover,
            raw,
        }
    }

    /// The sender, who was not there before, has agreed on this.
    pub(super) fn hear(&mut self, from: Agreement) {
        self.from = Some(from);
        self.takeover = from.takeover(self.sender);
        self.inflater = Inflater::new(self.takeover);
        // What weir has compressed before may be referred to by what it compresses next: by nothing else.
        let own_takeover = self.to.is_some_and(|to| to.takeover(self.sender));
        self.raw = match raw(self.sender, self.from, self.to) {
            Raw::Always if !own_takeover => Raw::Always,
            _ => Raw::Never,
        };
    }

    /// The receiver, who was not there before, has agreed on this. What waits for it is not compressed.
    pub(super) fn reach(&mut self, to: Agreement) {
        self.to = Some(to);
        self.raw = match raw(self.sender, self.from, self.to) {
            Raw::Always => Raw::Always,
            // It has not got all of what the sender refers to.
            _ => Raw::Never,
        };
        self.deflater = Some(deflater(self.sender, to, &self.settings, self.raw));
    }

    /// Whether the sender may compress.
    pub(super) fn inflates(&self) -> bool {
        self.from.is_some()
    }

    /// Whether the receiver takes what is compressed.
    pub(super) fn deflates(&self) -> bool {
        self.deflater.is_some()
    }

    /// Whether each compressed message has to be read, whoever wants to see it.
    pub(super) fn reads_all(&self) -> bool {
        self.takeover || self.raw == Raw::Never
    }

    /// Whether the receiver can read what the sender has compressed.
    pub(super) fn is_raw(&self) -> bool {
        self.raw != Raw::Never
    }

    /// A compressed message of the sender's does not reach the receiver as it was.
    pub(super) fn broken(&mut self) {
        if self.raw == Raw::WhileIntact {
            self.raw = Raw::Never;
        }
    }

    /// What the payload of a frame says; `last`: its message ends with it. At most so many bytes in all of the message.
    pub(super) fn read(
        &mut self,
        payload: &[u8],
        last: bool,
        out: &mut Vec<u8>,
        most: u64,
    ) -> Result<(), Violation> {
        let bound =
            Bound { size: usize::try_from(most).unwrap_or(usize::MAX), ratio: self.settings.max_ratio };
        self.inflater.inflate(payload, last, out, bound)
    }

    /// Compresses a whole message, if that is worth it.
    pub(super) fn whole(&mut self, data: &[u8]) -> Option<Vec<u8>> {
        if data.len() < self.settings.min_size || self.raw == Raw::WhileIntact {
            return None;
        }
        let deflater = self.deflater.as_mut()?;
        let mut out = Vec::with_capacity(data.len() / 2 + 16);
        deflater.deflate(data, true, &mut out);
        Some(out)
    }

    /// Compresses a fragment of a message; `last`: the message ends with it.
    /// None: the receiver takes nothing compressed.
    pub(super) fn fragment(&mut self, data: &[u8], last: bool) -> Option<Vec<u8>> {
        self.broken();
        let deflater = self.deflater.as_mut()?;
        let mut out = Vec::new();
        deflater.deflate(data, last, &mut out);
        Some(out)
    }
}

fn raw(sender: Role, from: Option<Agreement>, to: Option<Agreement>) -> Raw {
    let Some((from, to)) = from.zip(to) else { return Raw::Never };
    let fits = from.window_bits(sender) <= to.window_bits(sender);
    match (fits, from.takeover(sender), to.takeover(sender)) {
        (true, false, _) => Raw::Always,
        (true, true, true) => Raw::WhileIntact,
        _ => Raw::Never,
    }
}

fn deflater(sender: Role, to: Agreement, settings: &Deflate, raw: Raw) -> Deflater {
    let bits = to.window_bits(sender).min(settings.window_bits);
    // Beside what the sender has compressed, what weir compresses must stand on its own.
    let takeover = to.takeover(sender) && raw != Raw::Always;
    Deflater::new(settings.level, bits, settings.mem_level, takeover)
}
