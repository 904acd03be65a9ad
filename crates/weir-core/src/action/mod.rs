//! What a route does without an upstream: redirects, fixed answers, files; error responses and compression.

pub mod error;
