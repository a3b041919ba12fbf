//! A sample of what `just simulate` runs for longer.

use super::*;

#[test]
fn the_promises_hold_in_small_worlds() {
    for seed in 1..60 {
        if let Err(broken) = run(seed, small(None)) {
            panic!("seed {seed}: {}: {}", broken.invariant, broken.detail);
        }
    }
}

#[test]
fn a_seed_gives_the_same_run_each_time() {
    let times: Vec<_> = (0..2).map(|_| run(3, small(None)).map_err(|broken| broken.detail)).collect();
    assert_eq!(times[0], times[1]);
}
