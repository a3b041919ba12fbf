//! A second, slow scheduling engine, written from the rules alone, and its comparison with `pmo_planning`.

#![allow(clippy::unwrap_used, clippy::expect_used)] // a panic names its line

mod adapter;
mod calendar;
mod cases;
mod clock;
mod compare;
mod formulas;
mod generate;
mod hostile;
mod late;
mod live;
mod moment;
mod plan;
mod properties;
mod shrink;
mod solver;
mod text;
