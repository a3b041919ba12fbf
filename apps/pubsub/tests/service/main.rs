//! Tests of the service over real connections, each with its own database.

#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)] // a panic names its line

mod access; // changes of grants and visibility
mod operations; // pods, outages, slow consumers, log retention
mod presence; // which users view which entity
mod protocol_limits; // tokens, invalid frames, limits
mod resume; // catch-up after a disconnect
mod service; // test server and clients
mod subscriptions; // delivery to subscribers
