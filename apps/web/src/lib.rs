//! Browser application of the project management office.
//!
//! The engine of `pmo-sync` supplies the data; this crate performs the engine's effects and renders
//! its state.
//! Must not: decide whether data is fresh, how changes merge or what a user may see.

// The `component` macro declares the props of crate-private components as `pub`.
#![allow(unreachable_pub)]

mod app; // root component and routes
pub mod client; // runs the engine: network, device store, browser tabs
pub mod hooks; // reactive queries, mutations and drafts for components
mod lazy; // code-split views
mod pages; // one page per route
mod table; // entity tables
mod ui; // components shared by pages

pub use app::App;
