//! The service over real sockets, each test with a database of its own.

#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)] // a test that fails here says where

mod access; // what people may see, and cease to
mod operations; // pods, outages, slow readers, the log's age
mod presence; // who looks at what
mod protocol_limits; // tokens, bad frames, limits
mod resume; // who was away
mod service; // a running service and its clients
mod subscriptions; // who hears what
