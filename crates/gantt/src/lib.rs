//! Geometry and interaction of the Gantt chart. Pure.
//!
//! A [`Chart`] holds the rows and links, a [`View`] the visible part. [`Scene::draw_chart`] turns
//! both into a list of shapes, which a canvas paints or [`write_svg`] writes. [`hit`] finds what is
//! under the pointer, [`Drag`] turns pointer events into a [`Gesture`], and [`command`] keys into a
//! [`Command`].
//!
//! Positions are pixels relative to the top left corner of the chart; only [`TimeScale`] counts
//! from the beginning of the plan.
//!
//! Invariant: a frame costs time for what is visible, not for the whole plan.
//!
//! Must not: use the DOM, read a clock, or compute dates of a plan.

mod bars;
mod chart;
mod draw;
mod gesture;
mod header;
mod hit;
mod impact;
mod keyboard;
mod label;
mod link_index;
mod link_route;
mod pages;
mod preview;
mod scale;
mod scene;
mod shading;
mod sheet;
mod svg;
mod view;

pub use bars::{BarBox, bar_box};
pub use chart::{Baseline, Chart, ChartLink, ConstraintMark, Emphasis, Row, RowKind, RowMode, SyncMark};
pub use draw::{ChartOptions, Layer, Overlay};
pub use gesture::{BarEnd, Drag, Gesture, Grip, LinkTarget, Outcome, link_kind};
pub use header::{Tick, Tiers, Unit, ticks};
pub use hit::{Hit, HitOptions, Part, hit};
pub use impact::Impact;
pub use keyboard::{Command, Modifiers, command};
pub use label::{day_label, days_label, slip_label};
pub use link_index::LinkIndex;
pub use link_route::{Heading, Route, route};
pub use pages::{MAX_PAGES, Page, PageError, PageLayout, Paper, split_pages};
pub use preview::{TaskDates, preview, stepped_finish, stepped_start};
pub use scale::{TimeScale, Zoom};
pub use scene::{Align, Dash, Measure, Paint, Point, Scene, Shape, TextStyle, estimated_width};
pub use shading::{Shading, non_working};
pub use sheet::{Column, Sheet, SheetRow};
pub use svg::{Palette, escape_xml, write_svg};
pub use view::View;
