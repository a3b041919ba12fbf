//! Contents of a file to rows.

use super::mapping::Mapping;
use super::plan_rows::{MAX_TASKS, PlanRows, RowContext, Skipped};
use crate::convert::to_plan;
use crate::file::File;
use crate::xml::{Error, invalid};
use std::collections::HashMap;

/// Maps the contents of a file to rows without derived columns.
///
/// Returns an error if the tasks make no plan: two with the same UID, a link or an assignment to a
/// task that is not there, or tasks that wait for each other.
pub fn to_rows(file: &File, context: &mut RowContext<'_>) -> Result<(PlanRows, Skipped), Error> {
    if file.tasks.len() > MAX_TASKS {
        let message = format!("The plan has more than {MAX_TASKS} tasks. Split it and import the parts.");
        return Err(invalid("Tasks", message));
    }
    let converted = to_plan(file);
    let positions = converted.uids.iter().enumerate().map(|(position, uid)| (*uid, position)).collect();
    let mut mapping = Mapping {
        file,
        converted,
        context,
        rows: PlanRows::default(),
        skipped: Skipped::new(),
        calendar_ids: HashMap::new(),
        task_ids: Vec::new(),
        positions,
    };
    mapping.task_ids = (0..mapping.converted.uids.len()).map(|_| mapping.new_id()).collect();
    super::tasks::check_uids(&mapping)?;
    super::links::check_links(&mapping)?;
    super::assignments::check_tasks(&mapping)?;
    super::calendars::add_calendars(&mut mapping);
    super::project::set_columns(&mut mapping);
    super::tasks::add_tasks(&mut mapping);
    super::links::add_dependencies(&mut mapping);
    super::assignments::add_assignments(&mut mapping);
    super::baselines::add_baselines(&mut mapping);
    Ok((mapping.rows, mapping.skipped))
}
