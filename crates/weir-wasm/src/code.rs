//! Loading native code from a file.
//!
//! # Why this is sound
//! What is in the file runs as it is. It is in a folder that only the user of this process can write to, which
//! [`crate::cache`] has seen; it was written there by weir, whole, under a name that is the hash of the component and of all
//! that its compilation depends on; and it is never written to again while it may be mapped.

#![allow(unsafe_code)]

use std::path::Path;

use wasmtime::Engine;
use wasmtime::component::Component;

/// Loads a component that [`crate::cache`] has stored.
///
/// # Errors
/// When it cannot be read, or was made by another wasmtime.
pub(crate) fn load(engine: &Engine, path: &Path) -> wasmtime::Result<Component> {
    // SAFETY: see the module.
    unsafe { Component::deserialize_file(engine, path) }
}
