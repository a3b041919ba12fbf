//! Gantt chart of a project: its outline at the left, bars on a time scale at the right.
//!
//! Bars are painted on two canvases: one for the plan, one for what moves. The table beside them is
//! what screen readers and keyboards use. Dates are computed on the device by the scheduling
//! engine, also while a bar is dragged. The stored dates are shown if a part of the plan is
//! missing.
//!
//! Must not: be required by the outline or by lists, because the engine is loaded with the chart.

mod bars; // rows of the chart from the plan
mod canvas; // painting on a canvas, colors of the theme
mod chart; // component of the chart, its layout and frames
mod details; // why a task is where it is, and its dates
mod edits; // changes of the plan and their undo
mod export; // print, SVG and PNG
mod grid; // table beside the bars
mod history; // changes that can be taken back
mod keys; // commands of the keyboard
mod plan; // plan of the project from cached rows
mod pointer; // mouse, pen and touch
mod problems; // problems of the plan
mod state; // state that the components share
mod toolbar; // zoom, layers, legend and export

pub(crate) use chart::GanttChart;
