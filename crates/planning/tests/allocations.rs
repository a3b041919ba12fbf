//! An edit of the dates, the duration or the progress of a task allocates nothing.

#![allow(unsafe_code)] // the allocator that counts
#![allow(dead_code)] // parts of the workload of the benchmark

#[path = "../examples/workload/bare.rs"]
mod bare;
#[path = "../examples/workload/bench.rs"]
mod bench;
#[path = "../examples/workload/counting_allocator.rs"]
mod counting_allocator;
#[path = "../examples/workload/hash.rs"]
mod hash;
#[path = "../examples/workload/plans.rs"]
mod plans;

use counting_allocator::allocations;
use plans::{Random, Rows};
use pmo_planning::{Edit, Live, Span, Task};

#[global_allocator]
static ALLOCATOR: counting_allocator::CountingAllocator = counting_allocator::CountingAllocator;

#[test]
fn dragging_a_bar_allocates_nothing() {
    let mut bench = bench::Bench::new(3_000);
    assert_eq!(bench.allocations_of_drags(1_000), 0);
}

#[test]
fn a_change_of_duration_or_progress_allocates_nothing() {
    let mut live = Live::new(Rows::new(2_000).plan());
    let mut random = Random(3);
    for _ in 0..1_000 {
        let task = random.below(2_000);
        let entry = live.plan().tasks[task as usize];
        let hours = i32::try_from(random.below(60)).unwrap_or(0);
        // People decide on the duration of their task, so a new one compiles the plan again.
        let is_assigned = live.plan().assignments.iter().any(|assignment| assignment.task == task);
        let resized = Task { duration: Span::hours(hours), ..entry };
        let begun =
            Task { actual_start: live.schedule().start[task as usize], actual_duration: Span::hours(1), ..entry };
        let edited = if is_assigned || random.below(2) == 0 { begun } else { resized };
        for entry in [edited, entry] {
            let before = allocations();
            live.change(Edit::Task { task, entry });
            assert_eq!(allocations() - before, 0, "task {task}: {entry:?}");
        }
    }
}
