//! Ids and pseudorandom numbers of demo data: the same for the same arguments, on every machine.

use md5::{Digest, Md5};
use uuid::Uuid;

/// Returns the id of the n-th entity of a kind, the same as `pg_temp.demo_id` in `db/demo.sql`.
pub(crate) fn demo_id(kind: &str, n: usize) -> Uuid {
    Uuid::from_bytes(Md5::digest(format!("pmo demo {kind} {n}")).into())
}

/// Returns a pseudorandom number from 0 to `below` - 1; 0 if `below` is 0.
pub(crate) fn demo_random(kind: &str, n: usize, below: usize) -> usize {
    let digest = Md5::digest(format!("{kind}{n}"));
    let number = digest.iter().take(4).fold(0_usize, |number, byte| number << 8 | usize::from(*byte));
    number.checked_rem(below).unwrap_or(0)
}
