//! A short version of `just simulate`.

use super::*;

#[test]
fn invariants_hold_in_small_simulations() {
    for seed in 1..60 {
        if let Err(violation) = run(seed, small(None)) {
            panic!("seed {seed}: {}: {}", violation.invariant, violation.detail);
        }
    }
}

#[test]
fn equal_seeds_give_equal_runs() {
    let outcomes: Vec<_> = (0..2).map(|_| run(3, small(None)).map_err(|violation| violation.detail)).collect();
    assert_eq!(outcomes[0], outcomes[1]);
}
