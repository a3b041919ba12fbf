//! Outline page: the tasks of a project as a tree table with stage, people, dates and progress.
//!
//! The page scales to thousands of rows: only visible rows are rendered, and a change re-renders
//! only its own row.

mod page; // page of a project with its outline
mod row; // row of one task
mod state; // state that the components of the page share
mod tree; // visible rows of the task tree

pub(crate) use page::OutlinePage;
