//! WASM side of `just bench planning`: functions that the page calls and measures.

#![allow(unsafe_code)] // exported names, and the allocator that counts

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
use std::cell::RefCell;

#[global_allocator]
static ALLOCATOR: counting_allocator::CountingAllocator = counting_allocator::CountingAllocator;

thread_local! {
    static BENCH: RefCell<Option<Bench>> = const { RefCell::new(None) };
}

/// Runs a step on the bench; returns a default value before `setup`.
fn with_bench<T: Default>(step: impl FnOnce(&mut Bench) -> T) -> T {
    BENCH.with_borrow_mut(|bench| bench.as_mut().map(step)).unwrap_or_default()
}

fn count(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

/// Creates a plan with a number of tasks; returns the number of links.
#[unsafe(no_mangle)]
pub extern "C" fn setup(tasks: u32) -> u32 {
    BENCH.with_borrow_mut(|bench| count(bench.insert(Bench::new(tasks)).links()))
}

/// Builds plan and engine from rows.
#[unsafe(no_mangle)]
pub extern "C" fn build() -> u32 {
    with_bench(|bench| count(bench.build()))
}

/// Computes the whole schedule.
#[unsafe(no_mangle)]
pub extern "C" fn full() -> i32 {
    with_bench(|bench| bench.full())
}

/// Computes all dates without calendars.
#[unsafe(no_mangle)]
pub extern "C" fn bare_full() -> i32 {
    with_bench(Bench::bare_full)
}

/// Moves the bar in hand by one step; returns the number of tasks that were computed.
#[unsafe(no_mangle)]
pub extern "C" fn drag() -> u32 {
    with_bench(|bench| count(bench.drag()))
}

/// Changes a length in the bare arrays; returns the number of tasks that were swept.
#[unsafe(no_mangle)]
pub extern "C" fn bare_change() -> u32 {
    with_bench(Bench::bare_change)
}

/// Returns the number of allocations that some steps of dragging make.
#[unsafe(no_mangle)]
pub extern "C" fn allocations_of_drags(steps: u32) -> u64 {
    with_bench(|bench| bench.allocations_of_drags(steps as usize))
}

/// Returns the hash of the whole schedule.
#[unsafe(no_mangle)]
pub extern "C" fn hash() -> u64 {
    with_bench(|bench| bench.hash())
}

/// Returns the bytes of the engine for a plan without links.
#[unsafe(no_mangle)]
pub extern "C" fn engine_bytes_alone(tasks: u32) -> i64 {
    memory(tasks, Links::Without).engine
}

/// Returns the bytes of the engine for a plan with links.
#[unsafe(no_mangle)]
pub extern "C" fn engine_bytes(tasks: u32) -> i64 {
    memory(tasks, Links::With).engine
}

/// Returns the bytes of a plan with links.
#[unsafe(no_mangle)]
pub extern "C" fn plan_bytes(tasks: u32) -> i64 {
    memory(tasks, Links::With).plan
}
