//! Native side of `just bench planning`: prints one line of JSON for each number of tasks.

#![allow(unsafe_code)] // the allocator that counts

#[path = "workload/bare.rs"]
mod bare;
#[path = "workload/bench.rs"]
mod bench;
#[path = "workload/counting_allocator.rs"]
mod counting_allocator;
#[path = "workload/hash.rs"]
mod hash;
#[path = "workload/plans.rs"]
mod plans;

use bench::{Bench, Links, memory};
use std::time::Instant;

#[global_allocator]
static ALLOCATOR: counting_allocator::CountingAllocator = counting_allocator::CountingAllocator;

/// Steps of dragging that are measured one by one.
const DRAGS: usize = 1_200;

fn main() {
    for argument in std::env::args().skip(1) {
        let Ok(tasks) = argument.parse() else {
            eprintln!("usage: bench_native TASKS...");
            std::process::exit(2);
        };
        println!("{}", measure(tasks));
    }
}

/// Returns the time that a step takes, in milliseconds.
fn time(step: impl FnOnce()) -> f64 {
    let begin = Instant::now();
    step();
    begin.elapsed().as_secs_f64() * 1_000.0
}

fn quantile(times: &mut [f64], share: f64) -> f64 {
    times.sort_by(f64::total_cmp);
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss)]
    let place = (times.len() as f64 * share) as usize;
    times.get(place.min(times.len().saturating_sub(1))).copied().unwrap_or(0.0)
}

fn measure(tasks: u32) -> String {
    let mut bench = Bench::new(tasks);
    let rounds = (2_000_000 / tasks).clamp(20, 400);
    let (mut full, mut bare, mut build) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..rounds {
        full.push(time(|| {
            bench.full();
        }));
        bare.push(time(|| {
            bench.bare_full();
        }));
        build.push(time(|| {
            bench.build();
        }));
    }
    bench.drag();
    let (mut drag, mut bare_drag, mut touched) = (Vec::new(), Vec::new(), 0);
    for _ in 0..DRAGS {
        drag.push(time(|| touched += bench.drag()));
        bare_drag.push(time(|| {
            bench.bare_change();
        }));
    }
    let allocations = bench.allocations_of_drags(DRAGS);
    let (with, without) = (memory(tasks, Links::With), memory(tasks, Links::Without));
    let values = [
        ("full", quantile(&mut full, 0.5)),
        ("bareFull", quantile(&mut bare, 0.5)),
        ("build", quantile(&mut build, 0.5)),
        ("dragP50", quantile(&mut drag, 0.5)),
        ("dragP95", quantile(&mut drag, 0.95)),
        ("bareDragP50", quantile(&mut bare_drag, 0.5)),
        ("bareDragP95", quantile(&mut bare_drag, 0.95)),
    ];
    let times: Vec<String> = values.iter().map(|(name, value)| format!("\"{name}\":{value:.6}")).collect();
    format!(
        "{{\"tasks\":{tasks},\"links\":{},{},\"touched\":{},\"allocations\":{allocations},\"hash\":\"{}\",\
         \"planBytes\":{},\"engineBytes\":{},\"planBytesAlone\":{},\"engineBytesAlone\":{}}}",
        bench.links(),
        times.join(","),
        touched / DRAGS,
        bench.hash(),
        with.plan,
        with.engine,
        without.plan,
        without.engine
    )
}
