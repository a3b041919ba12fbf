//! Integration tests of the API: HTTP requests to the router in process, without a network.

// A panic fails the test and names its line.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod administration;
mod batch;
mod comments;
mod deleted_parents;
mod demo;
mod feed_notifier;
mod files;
mod harness;
mod history;
mod import;
mod import_export;
mod links;
mod lists;
mod outline;
mod purge;
mod routes;
mod scheduling;
mod search;
mod sharing;
mod sign_in;
mod snapshot;
mod statement_counts;
mod sync_changes;
mod types;
mod writes;
