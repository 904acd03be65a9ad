//! HTTP/2 (RFC 9113), both sides, by hyper.
