//! The same plans give the same schedules on every platform.
//!
//! The test runs natively and as WASM, and both must give the number below. A change of the rules
//! or of the random plans changes the number: take it from the message of the native test.

use pmo_planning as engine;

use crate::adapter::engine_plan;
use crate::generate::{Features, Random, random_plan};
use crate::hash::Hash;
use crate::hostile::hostile_plan;

/// Hash of all columns of all schedules.
const EXPECTED: u64 = 11_298_397_776_510_236_561;

#[cfg_attr(target_arch = "wasm32", wasm_bindgen_test::wasm_bindgen_test)]
#[test]
fn schedules_are_the_same_on_every_platform() {
    let mut hash = Hash::new();
    for seed in 0..400 {
        let plan = engine_plan(&random_plan(&mut Random::new(seed), Features::ALL, 40));
        hash.add_schedule(&engine::schedule(&plan));
        hash.add_schedule(&engine::schedule(&hostile_plan(&mut Random::new(seed), 12)));
    }
    assert_eq!(hash.0, EXPECTED);
}
