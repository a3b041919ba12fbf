//! Allocator that counts what the current thread allocates.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
    static BYTES: Cell<i64> = const { Cell::new(0) };
}

/// The allocator of the system, with counters.
pub(crate) struct CountingAllocator;

fn record(allocations: u64, bytes: i64) {
    ALLOCATIONS.with(|count| count.set(count.get() + allocations));
    BYTES.with(|sum| sum.set(sum.get() + bytes));
}

fn size_of(layout: Layout) -> i64 {
    i64::try_from(layout.size()).unwrap_or(i64::MAX)
}

// SAFETY: every call is passed on to the allocator of the system.
unsafe impl GlobalAlloc for CountingAllocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        record(1, size_of(layout));
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        record(1, size_of(layout));
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        record(1, i64::try_from(size).unwrap_or(i64::MAX) - size_of(layout));
        unsafe { System.realloc(pointer, layout, size) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        record(0, -size_of(layout));
        unsafe { System.dealloc(pointer, layout) }
    }
}

/// Returns the number of allocations of this thread so far.
pub(crate) fn allocations() -> u64 {
    ALLOCATIONS.with(Cell::get)
}

/// Returns the number of bytes that this thread has allocated and not freed.
#[allow(dead_code)] // not every user measures both
pub(crate) fn bytes() -> i64 {
    BYTES.with(Cell::get)
}
