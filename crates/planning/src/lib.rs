//! Scheduling engine with the rules of Microsoft Project: a plan in, its dates out. Pure.
//!
//! [`schedule`] is the definition: it computes all dates of a [`Plan`]. [`Live`] keeps a plan and
//! its dates, and after an edit recomputes only what depends on it; the result is the same.
//!
//! Invariant: the same plan gives the same dates on every platform. Dates are whole numbers of
//! tenths of a minute ([`Moment`], [`Span`]); there are no floats and no time zones.
//!
//! Invariant: no input makes the engine panic. What a plan states wrongly is a [`Problem`].
//!
//! Must not: read a clock, a file or the network.

mod backward;
mod calendar;
mod compile_calendar;
mod compute;
mod forward;
mod graph;
mod limits;
mod live;
mod mirror;
mod model;
mod moment;
mod network;
mod order;
mod pass;
mod problems;
mod recurrence;
mod result;
mod schedule;
mod slack;
mod tables;
mod work;
mod work_table;
mod working_time;

#[cfg(test)]
mod hostile_tests;

pub use calendar::{Calendar, CalendarException, CalendarIndex, DayHours, HourRange, Recurrence, WorkWeek};
pub use live::{Changed, Edit, Live};
pub use model::{
    Assignment, Constraint, Direction, Lag, Link, LinkKind, Mode, Plan, Resource, ResourceKind, Segment, Settings,
    Task, TaskId, TaskType, Units,
};
pub use moment::{Day, Moment, Span};
pub use result::{Driver, Problem, Schedule};
pub use schedule::schedule;
pub use work::{WorkChange, WorkTriangle};
pub use working_time::WorkingTime;
