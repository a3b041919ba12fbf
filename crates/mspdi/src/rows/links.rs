//! Links of a file to dependencies.

use super::column::{decimal, minutes, row, truncate};
use super::cycle::find_cycle;
use super::format;
use super::mapping::Mapping;
use crate::file::FileLink;
use crate::xml::{Error, invalid};
use pmo_planning::{LinkKind, Span};
use pmo_project_plan::{LagUnit, OptionName};
use serde_json::{Value, json};
use std::collections::HashSet;

/// Checks that every link leads from one task of the plan to another, and that no tasks wait for
/// each other.
pub(super) fn check_links(mapping: &Mapping<'_, '_>) -> Result<(), Error> {
    let converted = &mapping.converted;
    let mut links = Vec::new();
    for (successor, row) in converted.rows.iter().enumerate() {
        let task = &mapping.file.tasks[*row];
        let name = || truncate(task.name.as_deref().unwrap_or("Untitled task"), 100);
        let location = || format!("Task {}", task.uid);
        for link in &task.links {
            if !(0..=3).contains(&link.kind) {
                let message = format!("A link has the type '{}'; valid types are 0 to 3.", link.kind);
                return Err(invalid(location(), message));
            }
            if link.cross_project {
                continue;
            }
            let Some(&predecessor) = mapping.positions.get(&link.predecessor) else {
                let message = format!("'{}' depends on task {}, which is not in the plan.", name(), link.predecessor);
                return Err(invalid(location(), message));
            };
            if predecessor == successor {
                return Err(invalid(location(), format!("'{}' depends on itself.", name())));
            }
            links.push((predecessor, successor));
        }
    }
    match find_cycle(converted.uids.len(), &links) {
        None => Ok(()),
        Some(cycle) => Err(cycle_error(mapping, &cycle)),
    }
}

fn cycle_error(mapping: &Mapping<'_, '_>, cycle: &[usize]) -> Error {
    let name = |position: &usize| {
        let task = &mapping.file.tasks[mapping.converted.rows[*position]];
        format!("'{}'", truncate(task.name.as_deref().unwrap_or("Untitled task"), 100))
    };
    let names: Vec<_> = cycle.iter().take(6).map(name).collect();
    let more = if cycle.len() > 6 { ", …" } else { "" };
    let uid = cycle.first().map_or(0, |position| mapping.converted.uids[*position]);
    invalid(format!("Task {uid}"), format!("These tasks form a dependency cycle: {}{more}.", names.join(" → ")))
}

/// Adds the rows of the dependencies.
pub(super) fn add_dependencies(mapping: &mut Mapping<'_, '_>) {
    let file = mapping.file;
    let mut seen = HashSet::new();
    for successor in 0..mapping.converted.rows.len() {
        let task = &file.tasks[mapping.converted.rows[successor]];
        for link in &task.links {
            let predecessor = mapping.positions.get(&link.predecessor).copied();
            let Some(predecessor) = predecessor.filter(|position| {
                // The UID of a predecessor in another project counts only where the file has a copy
                // of it.
                let row = mapping.converted.rows[*position];
                *position != successor && (!link.cross_project || file.tasks[row].external)
            }) else {
                mapping.skip("PredecessorLink", "the predecessor is in another project");
                continue;
            };
            if !seen.insert((predecessor, successor)) {
                mapping.skip("PredecessorLink", "there is another link between the same tasks");
                continue;
            }
            add_dependency(mapping, link, predecessor, successor);
        }
    }
}

fn add_dependency(mapping: &mut Mapping<'_, '_>, link: &FileLink, predecessor: usize, successor: usize) {
    let file = mapping.file;
    let id = mapping.new_id();
    let name = |position: usize| {
        let task = &file.tasks[mapping.converted.rows[position]];
        truncate(task.name.as_deref().unwrap_or("Untitled task"), 240)
    };
    let kind = match link.kind {
        0 => LinkKind::FinishToFinish,
        2 => LinkKind::StartToFinish,
        3 => LinkKind::StartToStart,
        _ => LinkKind::FinishToStart,
    };
    let unit = format::lag_unit(link.lag_format);
    let (lag, percent) = match unit {
        LagUnit::Time(_) => (Span::clamped(link.lag), Value::Null),
        LagUnit::Percent | LagUnit::ElapsedPercent => (Span::ZERO, json!(link.lag.clamp(-10_000, 10_000))),
    };
    let day = super::project::unit_sizes(file).day;
    let dependency = json!({
        "id": id, "name": format!("{} → {}", name(predecessor), name(successor)), "project_id": mapping.context.project_id,
        "predecessor__task_id": mapping.task_ids[predecessor], "successor__task_id": mapping.task_ids[successor],
        "dl__dependency_type": kind.name(), "lag_minutes": minutes(lag), "lag_pct": percent, "lag_unit": unit.code(),
        "lag_days": decimal((i64::from(lag.0) * 1_000).div_euclid(i64::from(day.0.max(1))), 1_000),
    });
    mapping.rows.dependencies.push(row(dependency));
}
