//! What a subscriber may have: release under a grant.
//!
//! Decides: how a value looks once a grant masks it. Must not know: files, databases, sockets.

pub mod masks;
