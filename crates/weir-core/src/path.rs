//! Paths: normalised once, then routed and forwarded as they are.
