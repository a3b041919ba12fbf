//! A second, slow scheduling engine, written from the rules alone, and its comparison with
//! `pmo_planning`.
//!
//! - `solver`, `late`, `clock` and `calendar` are the slow engine: each rule is applied to each
//!   task until nothing changes.
//! - `cases` and `formulas` are the cases of the rules, run on both engines.
//! - `compare` runs both engines on random plans, `properties` checks invariants, `live`
//!   incremental edits, `hostile` plans that make no sense, `identical` the results of platforms.
//!
//! `PLANNING_CASES` replaces the number of random plans of each test, `PLANNING_SEED` the first
//! seed. A failure prints the smallest plan found in the notation of `text`. For a report by
//! feature run the ignored test
//! `report_disagreements_by_feature`, with `PLANNING_FEATURES=LAGS,PEOPLE` for some features only.

#![allow(clippy::unwrap_used, clippy::expect_used)] // a panic names its line

mod adapter;
mod calendar;
mod cases;
mod clock;
mod compare;
mod formulas;
mod generate;
#[path = "../../examples/workload/hash.rs"]
mod hash;
mod hostile;
mod identical;
mod late;
mod live;
mod moment;
mod plan;
mod properties;
mod shrink;
mod solver;
mod text;
