//! Reads the dependencies between tasks; a cycle is an error.

use super::error::{PlanError, invalid};
use super::plan::{Plan, PlanLink};
use super::xml::{Fields, RawPlan};
use std::collections::{BTreeSet, HashMap};

/// Adds the dependencies of a file to the plan; `index_by_uid` are the tasks of the plan.
pub(super) fn add_links(
    raw: &RawPlan,
    plan: &mut Plan,
    index_by_uid: &HashMap<i64, usize>,
    minutes_per_day: f64,
) -> Result<(), PlanError> {
    for task in &raw.tasks {
        let uid = task.fields.get("UID").and_then(|text| text.trim().parse::<i64>().ok()).unwrap_or_default();
        let Some(&successor) = index_by_uid.get(&uid) else { continue };
        let mut seen = BTreeSet::new();
        for link in &task.links {
            let location = format!("Task {uid}");
            let text = link.get("PredecessorUID").map(|text| text.trim()).unwrap_or_default();
            let predecessor_uid: i64 =
                text.parse().map_err(|_| invalid(&location, "A link has no valid <PredecessorUID>."))?;
            let Some(&predecessor) = index_by_uid.get(&predecessor_uid) else {
                return Err(invalid(
                    location,
                    format!(
                        "'{}' depends on task {predecessor_uid}, which is not in the plan.",
                        plan.tasks[successor].name
                    ),
                ));
            };
            if predecessor == successor {
                return Err(invalid(location, format!("'{}' depends on itself.", plan.tasks[successor].name)));
            }
            let kind = link_kind(link, &location)?;
            // LinkLag is in tenths of a minute.
            let lag: f64 = link.get("LinkLag").and_then(|text| text.trim().parse().ok()).unwrap_or(0.0);
            if seen.insert(predecessor) {
                let lag_days = (lag / 10.0 / minutes_per_day * 1000.0).round() / 1000.0;
                plan.links.push(PlanLink { predecessor, successor, kind, lag_days });
            }
        }
    }
    match find_cycle(plan.tasks.len(), &plan.links) {
        None => Ok(()),
        Some(cycle) => Err(cycle_error(plan, &cycle)),
    }
}

fn link_kind(link: &Fields, location: &str) -> Result<&'static str, PlanError> {
    match link.get("Type").map(|text| text.trim()) {
        Some("0") => Ok("FF"),
        None | Some("" | "1") => Ok("FS"),
        Some("2") => Ok("SF"),
        Some("3") => Ok("SS"),
        Some(other) => Err(invalid(
            location,
            format!("A link has the type '{}'; valid types are 0 to 3.", other.chars().take(20).collect::<String>()),
        )),
    }
}

fn cycle_error(plan: &Plan, cycle: &[usize]) -> PlanError {
    let names: Vec<_> = cycle.iter().take(6).map(|index| format!("'{}'", plan.tasks[*index].name)).collect();
    let more = if cycle.len() > 6 { ", …" } else { "" };
    invalid(
        format!("Task {}", plan.tasks[cycle[0]].uid),
        format!("These tasks form a dependency cycle: {}{more}.", names.join(" → ")),
    )
}

/// Returns a cycle of links, if there is one.
///
/// Repeatedly removes tasks without predecessors (Kahn 1962); if tasks remain, the remaining links
/// contain a cycle.
pub(super) fn find_cycle(tasks: usize, links: &[PlanLink]) -> Option<Vec<usize>> {
    let mut in_degree = vec![0usize; tasks];
    let mut successors: Vec<Vec<usize>> = vec![Vec::new(); tasks];
    for link in links {
        in_degree[link.successor] += 1;
        successors[link.predecessor].push(link.successor);
    }
    let mut ready: Vec<usize> = (0..tasks).filter(|task| in_degree[*task] == 0).collect();
    while let Some(task) = ready.pop() {
        for &next in &successors[task] {
            in_degree[next] -= 1;
            if in_degree[next] == 0 {
                ready.push(next);
            }
        }
    }
    // Every remaining task has a remaining predecessor, so following predecessors must revisit a
    // task.
    let mut current = (0..tasks).find(|task| in_degree[*task] > 0)?;
    let mut path = vec![current];
    loop {
        current = links.iter().find(|link| link.successor == current && in_degree[link.predecessor] > 0)?.predecessor;
        if let Some(start) = path.iter().position(|task| *task == current) {
            let mut cycle = path.split_off(start);
            cycle.reverse();
            return Some(cycle);
        }
        path.push(current);
    }
}
