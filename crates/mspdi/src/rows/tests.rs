//! Rows of real and generated files: the same dates, and the same rows after an export.

use super::*;
use crate::file::File;
use crate::xml::Error;
use crate::{Computed, read, to_plan, write};
use pmo_planning::Schedule;
use pmo_project_plan::Row;
use proptest::prelude::*;
use serde_json::{Value, json};
use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use uuid::Uuid;

mod generated; // generated files
mod skipped; // what rows do not contain, and files that are refused

/// Returns the employee of each work resource: an id that contains its UID.
fn employees(file: &File) -> BTreeMap<i64, Uuid> {
    let work = file.resources.iter().filter(|resource| resource.kind == 1 && resource.name.is_some());
    work.map(|resource| (resource.uid, Uuid::from_u128(0xe000_0000 + u128::from(resource.uid.unsigned_abs()))))
        .collect()
}

fn map(file: &File, people: &BTreeMap<i64, Uuid>) -> Result<(PlanRows, Skipped), Error> {
    let mut last = 0x1000_0000_u128;
    let mut new_id = || {
        last += 1;
        Uuid::from_u128(last)
    };
    to_rows(file, &mut RowContext { project_id: Uuid::from_u128(1), new_id: &mut new_id, people })
}

/// Maps a file to rows with derived columns.
fn import(file: &File, people: &BTreeMap<i64, Uuid>) -> PlanRows {
    let (mut rows, _) = map(file, people).expect("rows");
    rows.schedule();
    rows
}

/// Exports rows as text, reads it and maps it to rows with the same people.
fn export_and_import(rows: &PlanRows, people: &BTreeMap<i64, Uuid>) -> (String, PlanRows) {
    let named = people.values().map(|id| (*id, Person { name: format!("Person {id}"), email: None })).collect();
    let exported = from_rows(rows, &named);
    let text = write(&exported.file, &exported.computed);
    let file = read(&text).expect("a file");
    let id_of_name = |name: &str| people.values().find(|id| name == format!("Person {id}")).copied();
    let again = file.resources.iter().filter_map(|one| Some((one.uid, id_of_name(one.name.as_deref()?)?))).collect();
    (text, import(&file, &again))
}

/// Returns rows in an order that does not depend on ids, with the ids of tasks and calendars
/// replaced by what identifies them in a file.
fn canonical(rows: &PlanRows) -> Value {
    let mut labels: HashMap<String, Value> = HashMap::new();
    for task in &rows.tasks {
        labels.insert(task["id"].to_string(), json!(format!("task {}", task["metadata"]["mspdi_uid"])));
    }
    for calendar in &rows.calendars {
        labels.insert(calendar["id"].to_string(), json!(format!("calendar {}", calendar["name"])));
    }
    let relabel = |row: &Row| -> Value {
        let is_own = |column: &str| column != "id" || labels.contains_key(&row["id"].to_string());
        let columns = row.iter().filter(|(column, _)| is_own(column));
        columns
            .map(|(column, value)| (column.clone(), labels.get(&value.to_string()).unwrap_or(value).clone()))
            .collect()
    };
    let sorted = |list: &[Row]| {
        let mut list: Vec<Value> = list.iter().map(relabel).collect();
        list.sort_by_key(Value::to_string);
        list
    };
    let mut tasks: Vec<Value> = rows.tasks.iter().map(relabel).collect();
    for people in tasks.iter_mut().filter_map(|task| task["assignee__employee_ids"].as_array_mut()) {
        people.sort_by_key(Value::to_string);
    }
    // Tasks in snapshots are named by id.
    let baselines = rows.baselines.iter().map(|row| {
        let mut row = row.clone();
        let tasks = row["snapshot"]["tasks"].as_object().cloned().unwrap_or_default();
        let label = |id: &String| labels.get(&json!(id).to_string()).map(Value::to_string).unwrap_or_default();
        row["snapshot"]["tasks"] = tasks.iter().map(|(id, task)| (label(id), task.clone())).collect();
        row
    });
    let baselines: Vec<Row> = baselines.collect();
    json!({
        "project": relabel(&rows.project), "calendars": sorted(&rows.calendars), "exceptions": sorted(&rows.exceptions),
        "tasks": tasks, "dependencies": sorted(&rows.dependencies), "assignments": sorted(&rows.assignments),
        "baselines": sorted(&baselines),
        "employees": rows.employee_calendars.iter().map(|(employee, calendar)| {
            (employee.to_string(), labels.get(&json!(calendar).to_string()).cloned().unwrap_or_default())
        }).collect::<Row>(),
    })
}

/// Describes the first differences of two JSON values.
fn differences(path: &str, left: &Value, right: &Value, found: &mut Vec<String>) {
    match (left, right) {
        _ if left == right || found.len() > 8 => {}
        (Value::Object(left), Value::Object(right)) => {
            for name in left.keys().chain(right.keys().filter(|name| !left.contains_key(*name))) {
                let of = |row: &Row| row.get(name).cloned().unwrap_or_else(|| json!("(absent)"));
                differences(&format!("{path}.{name}"), &of(left), &of(right), found);
            }
        }
        (Value::Array(left), Value::Array(right)) if left.len() == right.len() => {
            for (index, (left, right)) in left.iter().zip(right).enumerate() {
                differences(&format!("{path}[{index}]"), left, right, found);
            }
        }
        _ => found.push(format!("{path}: {left} | {right}")),
    }
}

fn assert_same_plan(name: &str, left: &PlanRows, right: &PlanRows) {
    let mut found = Vec::new();
    differences("", &canonical(left), &canonical(right), &mut found);
    assert!(found.is_empty(), "{name}: {}", found.join("\n"));
}

/// Dates, slack and critical flag of a task.
fn answers(schedule: &Schedule, position: usize) -> String {
    let moments = [
        &schedule.start,
        &schedule.finish,
        &schedule.early_start,
        &schedule.early_finish,
        &schedule.late_start,
        &schedule.late_finish,
    ];
    let moments: Vec<String> = moments.iter().map(|list| list[position].to_string()).collect();
    let (total, free) = (schedule.total_slack[position].0, schedule.free_slack[position].0);
    format!("{} {total} {free} {}", moments.join(" "), schedule.critical[position])
}

/// Returns the tasks whose dates differ between a file and its rows.
fn wrong_tasks(file: &File) -> Vec<String> {
    let (rows, _) = map(file, &employees(file)).expect("rows");
    let built = pmo_project_plan::build(&rows.plan_input());
    let of_rows = pmo_planning::schedule(&built.plan);
    let converted = to_plan(file);
    let of_file = pmo_planning::schedule(&converted.plan);
    let wrong = |position: usize| {
        let id = rows.tasks[position]["id"].as_str()?.parse().ok()?;
        let (expected, actual) = (answers(&of_file, position), answers(&of_rows, built.position(id)? as usize));
        (expected != actual).then(|| format!("task {}:\n  file {expected}\n  rows {actual}", converted.uids[position]))
    };
    assert!(built.faults.is_empty() && built.incomplete.is_empty(), "{:?} {:?}", built.faults, built.incomplete);
    (0..converted.uids.len()).filter_map(wrong).collect()
}

/// Returns real files by name; none where they are not there.
fn real_files() -> Vec<(String, File)> {
    let root = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/data"));
    let mut paths: Vec<PathBuf> = ["", "planning", "planning/rules"]
        .iter()
        .filter_map(|folder| std::fs::read_dir(root.join(folder)).ok())
        .flat_map(|entries| entries.flatten().map(|entry| entry.path()))
        .filter(|path| path.extension().is_some_and(|extension| extension == "xml"))
        .collect();
    paths.sort();
    if paths.is_empty() {
        println!("SKIPPED: there are no files in {}", root.display());
    }
    paths
        .into_iter()
        .filter_map(|path| {
            let file = read(&std::fs::read_to_string(&path).ok()?).ok()?;
            Some((path.file_name()?.to_string_lossy().into_owned(), file))
        })
        .collect()
}

#[test]
fn rows_of_real_files_have_the_dates_of_the_files() {
    let mut wrong = Vec::new();
    for (name, file) in real_files() {
        wrong.extend(wrong_tasks(&file).into_iter().map(|task| format!("{name} {task}")));
    }
    assert!(wrong.is_empty(), "{} tasks differ:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn real_files_are_the_same_plan_after_export_and_import() {
    let mut wrong = Vec::new();
    for (name, file) in real_files() {
        let people = employees(&file);
        let rows = import(&file, &people);
        let (_, again) = export_and_import(&rows, &people);
        let mut found = Vec::new();
        differences(&name, &canonical(&rows), &canonical(&again), &mut found);
        wrong.extend(found);
    }
    assert!(wrong.is_empty(), "{} differences:\n{}", wrong.len(), wrong.join("\n"));
}
