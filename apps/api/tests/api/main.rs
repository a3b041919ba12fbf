//! The api over HTTP without a network.

#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)] // a test that fails here says where

mod administration;
mod comments;
mod files;
mod harness;
mod import;
mod import_export;
mod lists;
mod platform;
mod routes;
mod sharing;
mod sign_in;
mod types;
mod writes;
