//! Compression in one direction (RFC 7692): out of what the sender does with it, into what the receiver was promised.
//! While nothing is changed, the receiver gets what the sender has compressed, where it can read that.

use crate::spec::Deflate;
use crate::ws::deflate::{Bound, Deflater, Inflater};
use crate::ws::extension::Agreement;
use crate::ws::{Role, Violation};

/// Compression in one direction.
pub(super) struct Coding {
    inflater: Inflater,
    deflater: Deflater,
    /// Whether the sender's messages refer to those before them: each has to be read then.
    takeover: bool,
    raw: Raw,
    min_size: usize,
    max_ratio: u32,
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
    /// From a sender who agreed on `from` with weir to a receiver that agreed on `to`. `sender` is the part of the sender,
    /// which weir plays towards the receiver.
    pub(super) fn new(sender: Role, from: Agreement, to: Agreement, settings: &Deflate) -> Self {
        let fits = from.window_bits(sender) <= to.window_bits(sender);
        let takeover = from.takeover(sender);
        let raw = match (fits, takeover, to.takeover(sender)) {
            (true, false, _) => Raw::Always,
            (true, true, true) => Raw::WhileIntact,
            _ => Raw::Never,
        };
        let bits = to.window_bits(sender).min(settings.window_bits);
        // Beside what the sender has compressed, what weir compresses must stand on its own.
        let own_takeover = to.takeover(sender) && raw != Raw::Always;
        Coding {
            inflater: Inflater::new(takeover),
            deflater: Deflater::new(settings.level, bits, settings.mem_level, own_takeover),
            takeover,
            raw,
            min_size: settings.min_size,
            max_ratio: settings.max_ratio,
        }
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
        let bound = Bound { size: usize::try_from(most).unwrap_or(usize::MAX), ratio: self.max_ratio };
        self.inflater.inflate(payload, last, out, bound)
    }

    /// Compresses a whole message, if that is worth it.
    pub(super) fn whole(&mut self, data: &[u8]) -> Option<Vec<u8>> {
        if data.len() < self.min_size || self.raw == Raw::WhileIntact {
            return None;
        }
        let mut out = Vec::with_capacity(data.len() / 2 + 16);
        self.deflater.deflate(data, true, &mut out);
        Some(out)
    }

    /// Compresses a fragment of a message; `last`: the message ends with it.
    pub(super) fn fragment(&mut self, data: &[u8], last: bool) -> Vec<u8> {
        self.broken();
        let mut out = Vec::new();
        self.deflater.deflate(data, last, &mut out);
        out
    }
}
