//! What the conformance client needs besides the public API.

pub mod walker;
