//! Many engines with several tabs each, one feed, one modelled database and a hostile network between them; seeded, so that a failure replays exactly.
//! What the engine and the feed promise is checked as oracles; planted bugs show that the oracles can fail. Never shipped.

pub mod chance; // from a seed
pub mod database; // modelled, with its REST interface
mod device; // what a tab asks of its device
mod fate; // what people do, and what befalls them
pub mod mutant; // planted bugs
pub mod oracle; // the promises
mod server; // requests, commits, the feed, and the way of frames
pub mod world; // devices and tabs, step by step

pub use mutant::Mutant;
pub use oracle::Broken;
pub use world::{Plan, World};

/// A small world: a few devices that get into each other's way all the time.
pub fn small(mutant: Option<Mutant>) -> Plan {
    Plan { devices: 5, tabs: 3, people: 3, tasks: 10, events: 12_000, mutant, trace: None }
}

/// A large one: hundreds of engines.
pub fn large() -> Plan {
    Plan { devices: 120, tabs: 3, people: 12, tasks: 40, events: 120_000, mutant: None, trace: None }
}

/// Runs one seed.
pub fn run(seed: u64, plan: Plan) -> Result<u64, Broken> {
    World::new(seed, plan).run()
}

#[cfg(test)]
mod tests;
