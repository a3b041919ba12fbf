//! Deterministic simulation of client engines, a feed, a model database and a faulty network.
//!
//! Each of many devices has several tabs with an engine each. A run follows from its seed, so a
//! failure can be replayed exactly. Oracles check the invariants of engine and feed; planted bugs
//! (mutants) show that the oracles can fail. Not part of any release.

mod device; // operations of tabs on their device store
mod effects; // execution of the effects of engines
pub mod model_database; // reference model of the database and the REST API
pub mod model_schedule; // model of the schedule worker
mod model_server; // request handling, commits and delivery of frames
pub mod mutant; // planted bugs
pub mod oracle; // invariant checks
mod plans; // plans that tabs compute
pub mod rng; // seeded random numbers
mod sim_event; // events in order of time
pub mod simulation; // state and event loop of a run
pub mod tab; // state of devices and tabs
mod tabs; // life of tabs
mod workload; // random user actions and injected faults

pub use mutant::Mutant;
pub use oracle::Violation;
pub use simulation::{SimConfig, Simulation};

/// Returns the configuration of a small simulation: few devices with frequent conflicts.
pub fn small(mutant: Option<Mutant>) -> SimConfig {
    SimConfig { devices: 5, tabs: 3, people: 3, tasks: 10, events: 12_000, mutant, trace: None }
}

/// Returns the configuration of a large simulation: hundreds of engines.
pub fn large() -> SimConfig {
    SimConfig { devices: 120, tabs: 3, people: 12, tasks: 40, events: 120_000, mutant: None, trace: None }
}

/// Runs one simulation and returns the number of delivered events.
///
/// Fails with the first violation of an invariant.
pub fn run(seed: u64, config: SimConfig) -> Result<u64, Violation> {
    Simulation::new(seed, config).run()
}

#[cfg(test)]
mod tests;
