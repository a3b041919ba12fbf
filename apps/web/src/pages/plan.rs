//! Plan of a project on this device: dates that are computed here, and what typed dates imply.

mod frames; // when plans are computed
mod handle; // plan as a page uses it
mod notice; // source of the dates, as text
mod registry; // plans in use
mod service; // follows the rows of the plans in use
mod typed_edits; // typed dates become inputs
mod watcher; // observers of one plan

pub(crate) use handle::use_plan;
pub(crate) use notice::PlanNotice;
pub(crate) use service::PlanService;
