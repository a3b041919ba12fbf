//! Rows of the chart from the plan.

use super::plan::GanttPlan;
use pmo_gantt::{
    Baseline, Chart, ChartLink, ConstraintMark, Emphasis, Row, RowKind, RowMode, SyncMark, TaskDates, day_label,
};
use pmo_planning::{Constraint, Mode, Moment};
use pmo_project_plan::baseline::Snapshot;
use std::collections::HashSet;
use std::fmt::Write;
use uuid::Uuid;

/// Position of a task without a row.
const NO_ROW: u32 = u32::MAX;

/// Visible rows of the outline.
#[derive(Default)]
pub(super) struct VisibleRows {
    /// Task of each row.
    pub(super) tasks: Vec<u32>,
    /// Row of each task, or [`NO_ROW`].
    rows: Vec<u32>,
}

impl VisibleRows {
    /// Replaces the rows by those that no collapsed summary hides.
    pub(super) fn update(&mut self, plan: &GanttPlan, collapsed: &HashSet<Uuid>) {
        self.tasks.clear();
        self.rows.clear();
        self.rows.resize(plan.tasks.len(), NO_ROW);
        let mut hidden_level = usize::MAX;
        for (position, task) in plan.tasks.iter().enumerate() {
            if task.level > hidden_level {
                continue;
            }
            hidden_level = if collapsed.contains(&task.id) { task.level } else { usize::MAX };
            self.rows[position] = u32::try_from(self.tasks.len()).unwrap_or(NO_ROW);
            self.tasks.push(u32::try_from(position).unwrap_or(NO_ROW));
        }
    }

    /// Returns the row of a task; `None` if a collapsed summary hides it.
    pub(super) fn row(&self, task: u32) -> Option<usize> {
        self.rows.get(task as usize).filter(|row| **row != NO_ROW).map(|row| *row as usize)
    }

    /// Returns the task of a row.
    pub(super) fn task(&self, row: usize) -> Option<u32> {
        self.tasks.get(row).copied()
    }
}

/// Fills the chart with the visible rows and the links between them.
pub(super) fn fill_chart(chart: &mut Chart, plan: &GanttPlan, visible: &VisibleRows, baselines: &[Snapshot]) {
    chart.clear();
    let mut label = String::new();
    for &task in &visible.tasks {
        let row = chart_row(plan, task);
        label.clear();
        write_label(plan, task, &row, &mut label);
        let id = plan.tasks.get(task as usize).map(|task| task.id).unwrap_or_default();
        let of_task = baselines.iter().map(|snapshot| {
            let dates = snapshot.tasks.get(&id);
            dates.map_or(Baseline { start: Moment::NONE, finish: Moment::NONE }, |dates| Baseline {
                start: dates.start,
                finish: dates.finish,
            })
        });
        chart.push_row(row, &label, of_task);
    }
    let links = plan.live.plan().links.iter().enumerate().filter_map(|(number, link)| {
        let (from, to) = (visible.row(link.predecessor)?, visible.row(link.successor)?);
        Some(ChartLink {
            from: u32::try_from(from).ok()?,
            to: u32::try_from(to).ok()?,
            kind: link.kind,
            emphasis: link_emphasis(plan, u32::try_from(number).ok()?),
        })
    });
    chart.set_links(links);
}

/// Updates the dates of rows, for a preview.
pub(super) fn update_dates(chart: &mut Chart, plan: &GanttPlan, visible: &VisibleRows, tasks: &[u32]) {
    for &task in tasks {
        if let Some(row) = visible.row(task).and_then(|row| chart.row_mut(row)) {
            *row = chart_row(plan, task);
        }
    }
}

fn link_emphasis(plan: &GanttPlan, link: u32) -> Emphasis {
    let critical = plan.live.plan().links.get(link as usize).is_some_and(|ends| {
        plan.is_critical(ends.predecessor) && plan.is_critical(ends.successor) && plan.drives(link)
    });
    if critical { Emphasis::Critical } else { Emphasis::Normal }
}

fn chart_row(plan: &GanttPlan, task: u32) -> Row {
    let TaskDates { start, finish } = plan.dates(task);
    let info = plan.tasks.get(task as usize);
    let entry = plan.live.plan().tasks.get(task as usize);
    let kind = match info {
        _ if plan.is_summary(task) => RowKind::Summary,
        Some(info) if info.milestone || (start.is_some() && start == finish) => RowKind::Milestone,
        _ => RowKind::Task,
    };
    let critical = plan.is_critical(task) && kind != RowKind::Summary;
    let has_slack = plan.total_slack(task).is_some_and(|slack| slack.0 > 0);
    let constraint = entry.map(|entry| entry.constraint).unwrap_or_default();
    let mark = match constraint {
        Constraint::AsSoonAsPossible | Constraint::AsLateAsPossible => ConstraintMark::None,
        Constraint::StartNoEarlierThan(_) | Constraint::StartNoLaterThan(_) | Constraint::MustStartOn(_) => {
            ConstraintMark::Start
        }
        _ => ConstraintMark::Finish,
    };
    Row {
        start,
        finish,
        kind,
        mode: match plan.mode(task) {
            Mode::Automatic => RowMode::Automatic,
            Mode::Manual => RowMode::Manual,
            Mode::Inactive => RowMode::Inactive,
        },
        emphasis: if critical { Emphasis::Critical } else { Emphasis::Normal },
        sync: if info.is_some_and(|info| info.pending) { SyncMark::Unsent } else { SyncMark::Synced },
        percent: plan.percent(task),
        slack_end: if has_slack && !critical { plan.late_finish(task) } else { Moment::NONE },
        deadline: entry.map(|entry| entry.deadline).unwrap_or_default(),
        constraint: mark,
        constraint_moment: constraint.date().unwrap_or_default(),
    }
}

/// Appends the label beside a bar: the date of a milestone, otherwise progress and people.
fn write_label(plan: &GanttPlan, task: u32, row: &Row, out: &mut String) {
    let initials = plan.tasks.get(task as usize).map(|task| task.initials.as_str()).unwrap_or_default();
    match row.kind {
        RowKind::Summary => {}
        RowKind::Milestone => day_label(row.finish, out),
        RowKind::Task => {
            if row.percent > 0 && row.percent < 100 {
                // Writing to a string never fails.
                let _ = write!(out, "{}%", row.percent);
            }
            if !initials.is_empty() && row.percent < 100 {
                out.push_str(if out.is_empty() { "" } else { " · " });
                out.push_str(initials);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pages::gantt::plan::{DateSource, PlanRows};
    use pmo_sync::RowView;
    use serde_json::{Value, json};
    use std::sync::Arc;
    use wasm_bindgen_test::wasm_bindgen_test;

    fn id(number: u32) -> String {
        format!("00000000-0000-7000-8000-{number:012}")
    }

    fn row(value: &Value) -> RowView {
        let data = Arc::new(value.as_object().cloned().unwrap());
        RowView { data, pending: false, pending_fields: Vec::new(), needs_attention: false, stale: false }
    }

    /// A summary with two tasks of two days, the second after the first, from Monday 2 March 2026.
    fn rows(complete: bool) -> PlanRows {
        let project = id(1);
        let task = |number: u32, parent: Option<u32>| {
            row(&json!({
                "id": id(number), "project_id": project, "parent__task_id": parent.map(id), "name": format!("Task {number}"),
                "rank": format!("a{number}"), "duration_minutes": 960, "active_flag": true, "due_date": "2026-05-05",
                "start_date": "2026-05-04",
            }))
        };
        let link = json!({
            "id": id(9), "project_id": project, "predecessor__task_id": id(3), "successor__task_id": id(4),
            "dl__dependency_type": "FS", "active_flag": true,
        });
        PlanRows {
            project: Some(row(&json!({"id": project, "planned_start_date": "2026-03-02"}))),
            tasks: vec![task(2, None), task(3, Some(2)), task(4, Some(2))],
            dependencies: vec![row(&link)],
            assignments: Vec::new(),
            schedules: Vec::new(),
            people: Arc::default(),
            complete,
        }
    }

    fn charted(plan: &GanttPlan, collapsed: &[u32]) -> (Chart, VisibleRows) {
        let collapsed = collapsed.iter().map(|number| id(*number).parse().unwrap()).collect();
        let (mut chart, mut visible) = (Chart::default(), VisibleRows::default());
        visible.update(plan, &collapsed);
        fill_chart(&mut chart, plan, &visible, &[]);
        (chart, visible)
    }

    #[wasm_bindgen_test]
    fn bars_have_the_dates_that_the_engine_computes() {
        let plan = GanttPlan::new(&rows(true));
        assert_eq!(plan.source, DateSource::Computed);
        let (chart, _) = charted(&plan, &[]);
        let at = |day, hour| Moment::from_civil(2026, 3, day, hour, 0);
        let dates: Vec<_> = chart.rows().iter().map(|row| (row.kind, row.start, row.finish)).collect();
        assert_eq!(
            dates,
            [
                (RowKind::Summary, at(2, 8), at(5, 17)),
                (RowKind::Task, at(2, 8), at(3, 17)),
                (RowKind::Task, at(4, 8), at(5, 17)),
            ]
        );
        assert_eq!(chart.links().len(), 1);
        assert_eq!(chart.links()[0].emphasis, Emphasis::Critical);
    }

    #[wasm_bindgen_test]
    fn a_collapsed_summary_hides_rows_and_links() {
        let plan = GanttPlan::new(&rows(true));
        let (chart, visible) = charted(&plan, &[2]);
        assert_eq!((chart.rows().len(), chart.links().len()), (1, 0));
        assert_eq!((visible.row(0), visible.row(1), visible.task(0)), (Some(0), None, Some(0)));
    }

    #[wasm_bindgen_test]
    fn stored_dates_are_shown_while_a_part_of_the_plan_is_missing() {
        let plan = GanttPlan::new(&rows(false));
        let (chart, _) = charted(&plan, &[]);
        assert_eq!(plan.source, DateSource::Stored);
        assert_eq!(chart.rows()[1].start.day(), Moment::from_civil(2026, 5, 4, 0, 0).day());
    }
}
