//! Header rules of an intermediary: hop-by-hop fields, forwarding fields, `Via`, request ids, edits by route.
