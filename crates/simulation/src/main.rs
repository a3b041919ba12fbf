//! Command line of the simulator: runs many seeds on all cores, replays one seed, or tests mutants.

use clap::Parser;
use pmo_simulation::{Mutant, large, run, small};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Simulator of PMO.
#[derive(Parser)]
#[command(name = "pmo-simulate", version, about)]
struct Args {
    /// Stop after this number of delivered events.
    #[arg(long, default_value_t = 10_000_000)]
    events: u64,
    /// Stop after this number of seconds.
    #[arg(long, default_value_t = 3600)]
    seconds: u64,
    /// First seed.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Run only this seed.
    #[arg(long)]
    only: Option<u64>,
    /// With `--only`: print events and effects that contain this text, such as an id, to stderr.
    #[arg(long)]
    trace: Option<String>,
    /// Run large simulations.
    #[arg(long)]
    large: bool,
    /// Plant this bug and stop when it is detected.
    #[arg(long)]
    mutant: Option<Mutant>,
    /// Plant each bug in turn; each must be detected within `--seconds`, at most 60.
    #[arg(long)]
    mutants: bool,
}

/// Result of many simulation runs.
struct Outcome {
    events: u64,
    /// Number of runs without a violation.
    runs: u64,
    elapsed: Duration,
    /// Seed, whether the simulation was large, and the violation.
    violation: Option<(u64, bool, pmo_simulation::Violation)>,
}

/// Runs seeds on all cores until one fails or a limit is reached.
///
/// Every 25th simulation is large, except with a mutant.
fn run_seeds(args: &Args, mutant: Option<Mutant>, seconds: u64) -> Outcome {
    let (next_seed, events, runs) = (AtomicU64::new(args.seed), AtomicU64::new(0), AtomicU64::new(0));
    let (stop, violation) = (AtomicBool::new(false), std::sync::Mutex::new(None));
    let started = Instant::now();
    let cores = std::thread::available_parallelism().map_or(2, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..cores {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed)
                    && events.load(Ordering::Relaxed) < args.events
                    && started.elapsed().as_secs() < seconds
                {
                    let seed = next_seed.fetch_add(1, Ordering::Relaxed);
                    let is_large = mutant.is_none() && (args.large || seed % 25 == 0);
                    let config = if is_large { large() } else { small(mutant) };
                    match run(seed, config) {
                        Ok(delivered) => {
                            events.fetch_add(delivered, Ordering::Relaxed);
                            runs.fetch_add(1, Ordering::Relaxed);
                        }
                        Err(violation_found) => {
                            stop.store(true, Ordering::Relaxed);
                            let mut first_violation =
                                violation.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
                            first_violation.get_or_insert((seed, is_large, violation_found));
                        }
                    }
                }
            });
        }
    });
    let violation = violation.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    Outcome { events: events.into_inner(), runs: runs.into_inner(), elapsed: started.elapsed(), violation }
}

fn main() -> ExitCode {
    let args = Args::parse();
    if let Some(seed) = args.only {
        let mut config = if args.large { large() } else { small(args.mutant) };
        config.trace = args.trace;
        return match run(seed, config) {
            Ok(events) => {
                println!("seed {seed}: {events} events, all invariants hold");
                ExitCode::SUCCESS
            }
            Err(violation) => {
                println!("seed {seed}: {}: {}", violation.invariant, violation.detail);
                ExitCode::FAILURE
            }
        };
    }
    if args.mutants || args.mutant.is_some() {
        let mut missed = 0;
        for mutant in args.mutant.map_or_else(|| Mutant::ALL.to_vec(), |mutant| vec![mutant]) {
            let outcome = run_seeds(&args, Some(mutant), args.seconds.min(60));
            match outcome.violation {
                Some((seed, _, violation)) => {
                    println!(
                        "{mutant:?}: detected in {:.1} s by '{}' (seed {seed})",
                        outcome.elapsed.as_secs_f64(),
                        violation.invariant
                    );
                }
                None => {
                    missed += 1;
                    println!(
                        "{mutant:?}: NOT detected in {} events, {:.1} s",
                        outcome.events,
                        outcome.elapsed.as_secs_f64()
                    );
                }
            }
        }
        return if missed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE };
    }
    let outcome = run_seeds(&args, None, args.seconds);
    let rate = outcome.events as f64 / outcome.elapsed.as_secs_f64();
    println!(
        "{} events in {} simulations, {:.0} s, {rate:.0} events/s",
        outcome.events,
        outcome.runs,
        outcome.elapsed.as_secs_f64()
    );
    match outcome.violation {
        None => {
            println!("all invariants hold");
            ExitCode::SUCCESS
        }
        Some((seed, is_large, violation)) => {
            println!("{}: {}", violation.invariant, violation.detail);
            println!("replay: pmo-simulate --only {seed}{}", if is_large { " --large" } else { "" });
            ExitCode::FAILURE
        }
    }
}
