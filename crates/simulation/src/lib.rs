//! Many engines with several tabs each, one feed, one modelled database and a hostile network between them; seeded, so that a failure replays exactly.
//! What the engine and the feed promise is checked as oracles; planted bugs show that the oracles can fail. Never shipped.

mod device; // what a tab asks of its device
pub mod model_database; // modelled, with its REST interface
mod model_server; // requests, commits, the feed, and the way of frames
pub mod mutant; // planted bugs
pub mod oracle; // the promises
pub mod rng; // from a seed
pub mod simulation;
mod workload; // what people do, and what befalls them // devices and tabs, step by step

pub use mutant::Mutant;
pub use oracle::Violation;
pub use simulation::{SimConfig, Simulation};

/// A small world: a few devices that get into each other's way all the time.
pub fn small(mutant: Option<Mutant>) -> SimConfig {
    SimConfig { devices: 5, tabs: 3, people: 3, tasks: 10, events: 12_000, mutant, trace: None }
}

/// A large one: hundreds of engines.
pub fn large() -> SimConfig {
    SimConfig { devices: 120, tabs: 3, people: 12, tasks: 40, events: 120_000, mutant: None, trace: None }
}

/// Runs one seed.
pub fn run(seed: u64, plan: SimConfig) -> Result<u64, Violation> {
    Simulation::new(seed, plan).run()
}

#[cfg(test)]
mod tests;
