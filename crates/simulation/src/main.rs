//! Runs the simulator: many seeds on all cores, or one again; with a planted bug, until it is caught.

use clap::Parser;
use pmo_simulation::{Mutant, large, run, small};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// The simulator of PMO.
#[derive(Parser)]
#[command(name = "pmo-simulate", version, about)]
struct Args {
    /// Stop after so many delivered events.
    #[arg(long, default_value_t = 10_000_000)]
    events: u64,
    /// Stop after so many seconds, whatever was delivered.
    #[arg(long, default_value_t = 3600)]
    seconds: u64,
    /// Begin with this seed.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Run this seed alone.
    #[arg(long)]
    only: Option<u64>,
    /// With `only`: say on stderr what happens to whatever has this in its words, such as an id.
    #[arg(long)]
    trace: Option<String>,
    /// Run it in a large world.
    #[arg(long)]
    large: bool,
    /// Plant a bug, and stop when it is caught.
    #[arg(long)]
    mutant: Option<Mutant>,
    /// Plant every bug, one after the other; each must be caught within `seconds`.
    #[arg(long)]
    mutants: bool,
}

/// What many runs came to.
struct Outcome {
    events: u64,
    worlds: u64,
    took: Duration,
    broken: Option<(u64, bool, pmo_simulation::Violation)>,
}

/// Runs seeds on all cores until one fails, or enough was delivered. Every tenth world is large.
fn run_seeds(settings: &Args, mutant: Option<Mutant>, seconds: u64) -> Outcome {
    let (next, events, worlds) = (AtomicU64::new(settings.seed), AtomicU64::new(0), AtomicU64::new(0));
    let (stop, broken) = (AtomicBool::new(false), std::sync::Mutex::new(None));
    let began = Instant::now();
    let cores = std::thread::available_parallelism().map_or(2, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..cores {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed)
                    && events.load(Ordering::Relaxed) < settings.events
                    && began.elapsed().as_secs() < seconds
                {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    let is_large = mutant.is_none() && (settings.large || seed % 25 == 0);
                    let plan = if is_large { large() } else { small(mutant) };
                    match run(seed, plan) {
                        Ok(delivered) => {
                            events.fetch_add(delivered, Ordering::Relaxed);
                            worlds.fetch_add(1, Ordering::Relaxed);
                        }
                        Err(found) => {
                            stop.store(true, Ordering::Relaxed);
                            let mut first = broken.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
                            first.get_or_insert((seed, is_large, found));
                        }
                    }
                }
            });
        }
    });
    let broken = broken.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    Outcome { events: events.into_inner(), worlds: worlds.into_inner(), took: began.elapsed(), broken }
}

fn main() -> ExitCode {
    let settings = Args::parse();
    if let Some(seed) = settings.only {
        let mut plan = if settings.large { large() } else { small(settings.mutant) };
        plan.trace = settings.trace;
        return match run(seed, plan) {
            Ok(events) => {
                println!("seed {seed}: {events} events, every promise held");
                ExitCode::SUCCESS
            }
            Err(broken) => {
                println!("seed {seed}: {}: {}", broken.invariant, broken.detail);
                ExitCode::FAILURE
            }
        };
    }
    if settings.mutants || settings.mutant.is_some() {
        let mut missed = 0;
        for mutant in settings.mutant.map_or_else(|| Mutant::ALL.to_vec(), |one| vec![one]) {
            let outcome = run_seeds(&settings, Some(mutant), settings.seconds.min(60));
            match outcome.broken {
                Some((seed, _, broken)) => {
                    println!(
                        "{mutant:?}: caught in {:.1} s by '{}' (seed {seed})",
                        outcome.took.as_secs_f64(),
                        broken.invariant
                    );
                }
                None => {
                    missed += 1;
                    println!(
                        "{mutant:?}: NOT caught in {} events, {:.1} s",
                        outcome.events,
                        outcome.took.as_secs_f64()
                    );
                }
            }
        }
        return if missed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE };
    }
    let outcome = run_seeds(&settings, None, settings.seconds);
    let rate = outcome.events as f64 / outcome.took.as_secs_f64();
    println!(
        "{} events in {} worlds, {:.0} s, {rate:.0} events/s",
        outcome.events,
        outcome.worlds,
        outcome.took.as_secs_f64()
    );
    match outcome.broken {
        None => {
            println!("every promise held");
            ExitCode::SUCCESS
        }
        Some((seed, large, broken)) => {
            println!("{}: {}", broken.invariant, broken.detail);
            println!("again: pmo-simulate --only {seed}{}", if large { " --large" } else { "" });
            ExitCode::FAILURE
        }
    }
}
