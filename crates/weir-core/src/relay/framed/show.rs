//! What an operator who looks at a relay is shown of its messages.

use std::sync::Arc;

use bytes::Bytes;
use weir_plugin::websocket::{Direction, Opcode};

use crate::relay::live::Live;
use crate::relay::tap::{Passed, Tapped};
use crate::spec::Tap;

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
        if let Some(tapped) = Tapped::new(&self.0, direction, opcode, data, passed) {
            live.show(tapped);
        }
    }
}
