//! Rows of risks, issues, decisions, change requests, costs and comments of a project.
//!
//! What belongs to a task that has not begun has not happened yet and is left out.

use super::company::Chosen;
use super::computed::Computed;
use super::demo_id::demo_id;
use super::moments::day_text;
use super::plan_text::{CommentText, Target};
use super::progress::Progress;
use super::rows::{Tables, row};
use pmo_planning::{Moment, Span};
use serde_json::{Value, json};
use uuid::Uuid;

/// Time between a comment and its reply.
const REPLY_TIME: Span = Span(600 * 3);

/// Adds all rows of this module to the tables.
pub(crate) fn add_control_rows(computed: &Computed<'_>, tables: &mut Tables) {
    add_risks(computed, tables);
    add_issues(computed, tables);
    add_decisions(computed, tables);
    add_changes(computed, tables);
    add_costs(computed, tables);
    add_comments(computed, tables);
}

fn employee(chosen: Option<Chosen>) -> Value {
    json!(chosen.map(Chosen::employee_id))
}

fn day_after(moment: Moment, days: i32) -> Value {
    json!(day_text(moment.plus(Span::hours(24 * days)).day()))
}

fn add_risks(computed: &Computed<'_>, tables: &mut Tables) {
    let draft = &computed.draft;
    let has_begun = computed.progress.iter().any(|progress| *progress != Progress::NotStarted);
    let is_over = computed.current.schedule.project_finish < computed.now;
    let rows = draft.plan.risks.iter().enumerate().map(|(index, risk)| {
        let status = match risk.status.as_str() {
            _ if !has_begun => "Identified",
            "Occurred" => "Occurred",
            _ if is_over => "Closed",
            status => status,
        };
        row([
            ("id", json!(demo_id("risk", draft.entity_number(index)))),
            ("name", json!(risk.name)),
            ("project_id", json!(draft.project_id())),
            ("probability_pct", json!(risk.probability)),
            ("impact_amt", json!(risk.impact)),
            ("owner__employee_id", employee(computed.person(&risk.owner))),
            ("response", json!(risk.plan)),
            ("due_date", day_after(computed.now, 7 + 9 * i32::try_from(index).unwrap_or_default())),
            ("dl__risk_status", json!(status)),
            ("dl__risk_response", json!(risk.response)),
        ])
    });
    tables.entry("risk").or_default().extend(rows);
}

fn add_issues(computed: &Computed<'_>, tables: &mut Tables) {
    let draft = &computed.draft;
    let begun = draft.plan.issues.iter().enumerate().filter(|(_, issue)| computed.has_begun(issue.task));
    let rows = begun.map(|(index, issue)| {
        let is_over = computed.progress[issue.task] == Progress::Finished;
        let status = match issue.status.as_str() {
            "Open" | "In Progress" if is_over => "Resolved",
            status => status,
        };
        let is_solved = matches!(status, "Resolved" | "Closed");
        row([
            ("id", json!(demo_id("issue", draft.entity_number(index)))),
            ("name", json!(issue.name)),
            ("descr", json!(issue.text)),
            ("project_id", json!(draft.project_id())),
            ("raised_by__employee_id", employee(computed.manager())),
            ("owner__employee_id", employee(computed.person(&issue.owner))),
            ("resolution", if is_solved { json!(issue.text) } else { Value::Null }),
            ("due_date", day_after(computed.current.finish(issue.task), -1)),
            ("dl__issue_status", json!(status)),
            ("dl__issue_severity", json!(issue.severity)),
        ])
    });
    tables.entry("issue").or_default().extend(rows);
}

fn add_decisions(computed: &Computed<'_>, tables: &mut Tables) {
    let draft = &computed.draft;
    let rows = draft.plan.decisions.iter().enumerate().map(|(index, decision)| {
        let is_made = computed.has_begun(decision.task);
        let made = |value: Value| if is_made { value } else { Value::Null };
        row([
            ("id", json!(demo_id("decision", draft.entity_number(index)))),
            ("name", json!(decision.name)),
            ("project_id", json!(draft.project_id())),
            ("decided_by__employee_id", made(employee(computed.manager()))),
            ("decision_date", made(day_after(computed.current.start(decision.task), 0))),
            ("rationale", json!(decision.rationale)),
            ("dl__decision_status", if is_made { json!(decision.status) } else { json!("Proposed") }),
        ])
    });
    tables.entry("decision").or_default().extend(rows);
}

fn add_changes(computed: &Computed<'_>, tables: &mut Tables) {
    let draft = &computed.draft;
    let begun = draft.plan.changes.iter().enumerate().filter(|(_, change)| computed.has_begun(change.task));
    let rows = begun.map(|(index, change)| {
        let is_over = computed.progress[change.task] == Progress::Finished;
        let status = match change.status.as_str() {
            "Approved" if is_over => "Implemented",
            status => status,
        };
        let requester = draft.people.values().nth(index).copied();
        row([
            ("id", json!(demo_id("change_request", draft.entity_number(index)))),
            ("name", json!(change.name)),
            ("descr", json!(change.text)),
            ("project_id", json!(draft.project_id())),
            ("requested_by__employee_id", employee(requester)),
            ("approver__employee_id", employee(computed.manager())),
            ("cost_impact_amt", json!(change.cost)),
            ("schedule_impact_days", json!(change.days)),
            ("dl__change_status", json!(status)),
        ])
    });
    tables.entry("change_request").or_default().extend(rows);
}

fn add_costs(computed: &Computed<'_>, tables: &mut Tables) {
    let draft = &computed.draft;
    let rows = draft.plan.costs.iter().enumerate().map(|(index, cost)| {
        let status = match computed.progress[cost.task] {
            Progress::Finished => "Actual",
            Progress::Started { .. } => "Committed",
            Progress::NotStarted => "Planned",
        };
        row([
            ("id", json!(demo_id("cost", draft.entity_number(index)))),
            ("name", json!(cost.name)),
            ("project_id", json!(draft.project_id())),
            ("task_id", json!(draft.task_id(cost.task))),
            ("cost_date", day_after(computed.current.finish(cost.task), 0)),
            ("amount_amt", json!(cost.amount)),
            ("currency", json!("EUR")),
            ("dl__cost_category", json!(cost.category)),
            ("dl__cost_status", json!(status)),
        ])
    });
    tables.entry("cost").or_default().extend(rows);
}

/// Comment that was written before, to which the next one may reply.
struct Written {
    id: Uuid,
    target_code: &'static str,
    target: Uuid,
    moment: Moment,
}

fn add_comments(computed: &Computed<'_>, tables: &mut Tables) {
    let mut previous: Option<Written> = None;
    for (index, comment) in computed.draft.plan.comments.iter().enumerate() {
        let id = demo_id("message", computed.draft.entity_number(index));
        let reply_to = previous.as_ref().filter(|_| comment.target == Target::PreviousComment).map(|before| before.id);
        let written = match (comment.target, previous) {
            (Target::PreviousComment, Some(before)) => {
                Some(Written { id, moment: before.moment.plus(REPLY_TIME), ..before })
            }
            (Target::PreviousComment, None) => None,
            (target, _) => write_comment(computed, target, id),
        };
        previous = written.filter(|written| written.moment < computed.now);
        if let Some(written) = &previous {
            tables.entry("message").or_default().push(comment_row(computed, comment, written, reply_to));
        }
    }
}

/// Returns where and when a comment was written; `None` if its task has not begun.
fn write_comment(computed: &Computed<'_>, target: Target, id: Uuid) -> Option<Written> {
    let Computed { draft, current, now, .. } = computed;
    match target {
        Target::Task(task) => computed.has_begun(task).then(|| {
            // At 14:20 of the first or second day.
            let day = current.start(task).day().midnight();
            let written = day.plus(Span::minutes(38 * 60 + 20));
            let moment = if written < *now { written } else { day.plus(Span::minutes(9 * 60 + 5)) };
            Written { id, target_code: "task", target: draft.task_id(task), moment }
        }),
        Target::Project | Target::PreviousComment => {
            let has_begun = current.schedule.project_start.plus(Span::hours(24 * 21)) < *now;
            let last = current.schedule.project_finish.min(*now);
            let moment = last.minus(Span::hours(24 * 4 - 10));
            let target = draft.project_id();
            has_begun.then_some(Written { id, target_code: "project", target, moment })
        }
    }
}

fn comment_row(
    computed: &Computed<'_>,
    comment: &CommentText,
    written: &Written,
    reply_to: Option<Uuid>,
) -> pmo_project_plan::Row {
    row([
        ("id", json!(written.id)),
        ("name", json!("")),
        ("target_code", json!(written.target_code)),
        ("target_id", json!(written.target)),
        ("author__person_id", json!(computed.person(&comment.author.0).map(Chosen::person_id))),
        ("reply_to__message_id", json!(reply_to)),
        ("body", json!(comment.text)),
    ])
}
