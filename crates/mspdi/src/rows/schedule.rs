//! Derived columns of the rows of a file.

use super::column::{day, decimal, finish_day, id_of, moment, text_of};
use super::plan_rows::PlanRows;
use super::project::in_days;
use crate::file::{File, FileTask};
use pmo_planning::{Day, Direction, Moment, Schedule};
use pmo_project_plan::{
    AssignmentInput, CalendarDefinition, CalendarSet, DependencyInput, PlanInput, ProjectInput, ProjectPlan, Row,
    TaskInput, build,
};
use serde_json::Value;
use std::collections::HashMap;

impl PlanRows {
    /// Returns what the plan is built from.
    pub fn plan_input(&self) -> PlanInput {
        let mut exceptions: HashMap<_, Vec<&Row>> = HashMap::new();
        for exception in &self.exceptions {
            exceptions.entry(id_of(exception, "calendar_id")).or_default().push(exception);
        }
        let definition = |calendar: &Row| {
            let id = id_of(calendar, "id")?;
            let exceptions = exceptions.get(&Some(id)).map_or(&[][..], Vec::as_slice);
            Some((id, CalendarDefinition::from_rows(calendar, exceptions.iter().copied())))
        };
        PlanInput {
            project: ProjectInput::from_row(&self.project),
            tasks: self.tasks.iter().map(TaskInput::from_row).collect(),
            dependencies: self.dependencies.iter().map(DependencyInput::from_row).collect(),
            assignments: self.assignments.iter().map(AssignmentInput::from_row).collect(),
            calendars: CalendarSet {
                calendars: self.calendars.iter().filter_map(definition).collect(),
                employees: self.employee_calendars.clone(),
            },
            external_tasks: Vec::new(),
        }
    }

    /// Computes the schedule and sets the derived columns.
    pub fn schedule(&mut self) -> (ProjectPlan, Schedule) {
        let input = self.plan_input();
        let built = build(&input);
        let schedule = pmo_planning::schedule(&built.plan);
        for row in &mut self.tasks {
            let position = id_of(row, "id").and_then(|id| built.position(id));
            if let Some(derived) = position.and_then(|position| built.derived(&schedule, position)) {
                if let Some(duration) = derived.duration {
                    row.insert("duration_days".into(), in_days(duration, built.unit_sizes.day));
                }
                row.extend(derived.to_row());
            }
        }
        self.project.insert("completion_pct".into(), completion(&input, &built));
        if built.plan.settings.direction == Direction::FromStart {
            let finish = Some(schedule.project_finish).filter(|finish| finish.is_some());
            self.project.insert("planned_end_date".into(), day(finish.map(finish_day)));
            self.project.insert("planned_end_ts".into(), moment(finish));
        } else if schedule.project_start.is_some() {
            let start = schedule.project_start;
            self.project.insert("planned_start_date".into(), day(Some(Moment::day(start))));
            self.project.insert("planned_start_ts".into(), moment(Some(start)));
        }
        (built, schedule)
    }

    /// Returns the number of automatic tasks whose dates are on other days than those in the file.
    pub fn count_differing_dates(&self, file: &File) -> usize {
        let computed: HashMap<Option<i64>, &Row> = self.tasks.iter().map(|row| (uid_of(row), row)).collect();
        let is_automatic = |task: &&FileTask| task.active && !task.manual && !task.summary;
        let differs = |task: &FileTask| {
            let Some((row, (start, finish))) = computed.get(&Some(task.uid)).zip(task.start.zip(task.finish)) else {
                return false;
            };
            let is_day = |column: &str, expected| *text_of(row, column) == *day(Some(expected)).as_str().unwrap_or("");
            !is_day("start_date", start.day()) || !is_day("due_date", due_day(start, finish))
        };
        file.tasks.iter().filter(is_automatic).filter(|task| differs(task)).count()
    }
}

/// Returns the progress of the plan in percent with one decimal, weighted by duration.
fn completion(input: &PlanInput, built: &ProjectPlan) -> Value {
    let (mut total, mut done) = (0_i64, 0_i64);
    for task in &input.tasks {
        let Some(position) = built.position(task.id).map(|position| position as usize) else { continue };
        if !built.is_summary[position] && !task.is_milestone {
            let length = i64::from(built.plan.tasks[position].duration.0);
            total += length;
            done += length * i64::from(task.completion.0);
        }
    }
    if total == 0 { Value::from(0) } else { decimal((done / 10 + total / 2) / total, 10) }
}

fn uid_of(row: &Row) -> Option<i64> {
    row.get("metadata")?.get("mspdi_uid")?.as_i64()
}

/// Returns the day of a finish; midnight after the start belongs to the day before.
fn due_day(start: Moment, finish: Moment) -> Day {
    if finish > start { finish_day(finish) } else { finish.day() }
}
