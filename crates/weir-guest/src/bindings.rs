//! What the WIT package says, in Rust: generated, and the one place with `unsafe` in it.
//!
//! Off WebAssembly the types are used and the functions are not: what stands in for the host is in `standin`.
#![allow(unsafe_code, missing_docs, unreachable_pub, clippy::all, rustdoc::all)]

wit_bindgen::generate!({
    path: "wit",
    world: "filter",
    pub_export_macro: true,
    generate_all,
    additional_derives: [PartialEq],
    default_bindings_module: "weir_guest::bindings",
});
