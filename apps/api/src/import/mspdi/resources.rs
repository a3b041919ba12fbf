//! People and their assignments to tasks.

use super::error::{PlanError, invalid};
use super::plan::{Plan, PlanResource};
use super::values::truncate;
use super::xml::RawPlan;
use std::collections::HashMap;

/// Adds the people of a file, with the tasks they are assigned to, to the plan.
pub(super) fn add_resources(
    raw: &RawPlan,
    plan: &mut Plan,
    index_by_uid: &HashMap<i64, usize>,
) -> Result<(), PlanError> {
    let mut by_uid: HashMap<&str, usize> = HashMap::new();
    for resource in &raw.resources {
        let field = |name: &str| resource.get(name).map(|text| text.trim()).filter(|text| !text.is_empty());
        let Some(name) = field("Name") else {
            plan.record_skipped("Resource", "has no name");
            continue;
        };
        if matches!(field("Type"), Some("0" | "2")) {
            plan.record_skipped("Resource", "material and cost resources are not people");
            continue;
        }
        by_uid.insert(field("UID").unwrap_or_default(), plan.resources.len());
        plan.resources.push(PlanResource {
            name: truncate(name, 500),
            email: field("EmailAddress").map(str::to_owned),
            tasks: Vec::new(),
        });
    }
    for assignment in &raw.assignments {
        let field = |name: &str| assignment.get(name).map(|text| text.trim()).unwrap_or_default();
        let task = field("TaskUID").parse::<i64>().ok().and_then(|uid| index_by_uid.get(&uid)).copied();
        match (task, by_uid.get(field("ResourceUID"))) {
            (Some(task), Some(&resource)) => {
                let tasks = &mut plan.resources[resource].tasks;
                if !tasks.contains(&task) {
                    tasks.push(task);
                }
            }
            (None, _) if field("TaskUID") != "0" => {
                return Err(invalid(
                    "Assignments",
                    format!(
                        "An assignment refers to task {}, which is not in the plan.",
                        truncate(field("TaskUID"), 20)
                    ),
                ));
            }
            _ => plan.record_skipped("Assignment", "does not refer to a person of the plan"),
        }
    }
    Ok(())
}
