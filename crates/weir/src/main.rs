//! weir: a programmable HTTP and WebSocket reverse proxy.

use mimalloc::MiMalloc;

#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() {}
