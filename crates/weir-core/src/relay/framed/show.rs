//! What an operator who looks at a relay is shown of its messages.

use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use weir_plugin::websocket::{Direction, Opcode};

use crate::relay::live::Live;
use crate::relay::tap::{Passed, Tapped};
use crate::spec::Tap;

/// What stands for what is redacted.
const REDACTED: &[u8] = b"***";

/// What may be shown, as the route says.
pub(super) struct Show(pub(super) Arc<Tap>);

impl Show {
    /// Shows something that has passed: by chance, where not all is to be shown.
    pub(super) fn tell(
        &self,
        live: &Live,
        direction: Direction,
        opcode: Opcode,
        data: &Bytes,
        passed: Passed,
    ) {
        let tap = &self.0;
        if tap.sample < 1.0 && fastrand::f64() >= tap.sample {
            return;
        }
        let size = data.len();
        // Before it is cut: what is looked for may be cut in two.
        let mut shown = data.clone();
        if opcode == Opcode::Text {
            for pattern in &tap.redact {
                if let std::borrow::Cow::Owned(redacted) = pattern.replace_all(&shown, REDACTED) {
                    shown = redacted.into();
                }
            }
        }
        shown.truncate(tap.max_bytes);
        let shown = Bytes::copy_from_slice(&shown);
        live.show(Tapped { at: SystemTime::now(), direction, opcode, data: shown, size, passed, lost: 0 });
    }
}
