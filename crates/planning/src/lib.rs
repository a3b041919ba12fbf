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
//!
//! # Rules
//!
//! Each module states its rules with their source: "Microsoft" is the documentation of Microsoft
//! Project and its file format, "Microsoft Project" the dates that it stored in files. The modules
//! in order of the computation: `limits`, `compile_calendar`, `network` and `order`, `forward`,
//! `backward`, `slack`, `problems`; `mirror` for plans from the finish; `live` after edits.
//!
//! # Known differences to Microsoft Project
//!
//! - Microsoft Project does not always recompute late dates and slack of tasks without successors
//!   when the project finish moves. Its files then hold the finish of an earlier state; the engine
//!   gives the late dates of the present one.
//! - Late finish of a manual task: some files hold the end of a range of work where the rule gives
//!   the beginning of the next.
//! - A link to the finish without a date constraint gives a finish in finish form. The only file
//!   that shows such a link has a constraint, and keeps the moment that the link asks for.
//! - Late finish of a started task without successors: the finish of the project. One file has the
//!   finish of the task, others agree with the engine.
//! - One file has early dates as late dates of tasks that have slack in it; the engine gives late
//!   dates that go with the slack.
//! - From the finish, all tasks stand at their late dates, whether ASAP or ALAP.

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
