//! The api over HTTP without a network.

#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)] // a test that fails here says where

mod administration;
mod exchange;
mod files;
mod harness;
mod import;
mod lists;
mod platform;
mod routes;
mod sharing;
mod sign_in;
mod talk;
mod types;
mod writes;
