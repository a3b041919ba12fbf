//! The app. What it shows comes from the engine of `pmo-sync`; this crate performs the engine's effects and draws its answers. It must
//! never decide what is fresh, what merges or what may be seen.

pub mod client; // the engine's shell: network, device, tabs
pub mod hooks; // what components call
mod lazy; // what is downloaded after what shows first
mod pages; // one for each kind of address
mod table; // things of a type as a table
mod ui; // what pages share

pub use pages::App;
