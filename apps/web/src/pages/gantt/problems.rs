//! Panel with the problems of the plan, each with a jump and a remedy.

use super::history::Change;
use super::plan::GanttPlan;
use super::state::GanttState;
use crate::hooks::use_entity_mutation;
use crate::ui::reactive::reactive_view;
use crate::ui::value_view::icon;
use leptos::prelude::*;
use pmo_domain::EntityCode;
use pmo_project_plan::explain::{PlanProblem, ProblemKind, Remedy};
use pmo_project_plan::gantt_edit::RowEdit;
use serde_json::{Value, json};
use uuid::Uuid;

/// Most problems that are listed.
const MAX_PROBLEMS: usize = 100;

/// Problem in words.
#[derive(Clone, Debug, PartialEq)]
struct ProblemText {
    text: String,
    /// Task to jump to.
    task: Option<Uuid>,
    remedy: Option<(Remedy, &'static str)>,
}

fn problem_text(plan: &GanttPlan, problem: &PlanProblem) -> ProblemText {
    let name = |id: &Uuid| {
        let info = plan.plan.position(*id).and_then(|position| plan.tasks.get(position as usize));
        info.map(|info| info.name.clone()).unwrap_or_default()
    };
    let names: Vec<String> = problem.tasks.iter().map(name).collect();
    let first = names.first().cloned().unwrap_or_default();
    let text = match problem.kind {
        ProblemKind::Ring => format!("These tasks wait for each other: {}", names.join(" → ")),
        ProblemKind::LinkIgnored => format!("A dependency of {first} has no effect"),
        ProblemKind::OutlineIgnored => format!("The place of {first} in the outline contradicts itself"),
        ProblemKind::ReferenceIgnored => format!("An assignment of {first} refers to nothing"),
        ProblemKind::LinkBroken => format!("Fixed dates break a dependency of {first}"),
        ProblemKind::ConstraintBeatsLink => format!("The constraint of {first} overrides a dependency"),
        ProblemKind::ConstraintBroken => format!("{first} does not meet its constraint"),
        ProblemKind::DeadlineMissed => format!("{first} finishes after its deadline"),
        ProblemKind::NoWorkingTime => "A calendar has no working time".into(),
        ProblemKind::CalendarIgnored => "A calendar is missing or contains itself".into(),
        ProblemKind::OutOfRange => format!("A date of {first} is out of range"),
    };
    let remedy = problem.remedies.iter().find_map(|remedy| Some((*remedy, remedy_label(*remedy)?)));
    ProblemText { text, task: problem.tasks.first().copied(), remedy }
}

/// Returns the label of a remedy that the chart can apply.
fn remedy_label(remedy: Remedy) -> Option<&'static str> {
    match remedy {
        Remedy::RemoveLink(_) => Some("Remove the dependency"),
        Remedy::RemoveConstraint(_) => Some("Remove the constraint"),
        Remedy::MakeAutomatic(_) => Some("Schedule automatically"),
        Remedy::MoveDeadline(_) => Some("Move the deadline"),
        Remedy::ShortenDrivers(_) => Some("Show what drives it"),
        Remedy::CorrectActuals(_) | Remedy::EditCalendar(_) | Remedy::MoveInOutline(_) => None,
    }
}

fn apply_remedy(state: GanttState, remedy: Remedy) {
    let mut edit = RowEdit::default();
    let task = match remedy {
        Remedy::RemoveLink(link) => {
            if let Ok(code) = EntityCode::new("task_dependency") {
                use_entity_mutation(code).delete(link);
            }
            return;
        }
        Remedy::RemoveConstraint(task) => {
            edit.patch.insert("dl__constraint_type".into(), json!("As Soon As Possible"));
            edit.patch.insert("constraint_ts".into(), Value::Null);
            task
        }
        Remedy::MakeAutomatic(task) => {
            edit.patch.insert("dl__schedule_mode".into(), json!("Automatic"));
            task
        }
        Remedy::MoveDeadline(task) => {
            let finish = state
                .core
                .with_value(|core| core.plan.plan.position(task).map(|position| core.plan.dates(position).finish));
            let Some(finish) = finish.and_then(pmo_planning::Moment::get) else { return };
            edit.patch.insert("deadline_ts".into(), json!(finish.to_string()));
            task
        }
        Remedy::ShortenDrivers(task) => {
            state.reveal(task);
            return state.explained.set(Some(task));
        }
        Remedy::CorrectActuals(_) | Remedy::EditCalendar(_) | Remedy::MoveInOutline(_) => return,
    };
    let change: Option<Change> = state.task_change(task, edit);
    state.apply(change.into_iter().collect(), None, None);
}

/// Panel with the problems of the plan.
#[component]
pub(super) fn ProblemsPanel(state: GanttState) -> impl IntoView {
    let list = Memo::new(move |_| {
        state.version.track();
        state.core.with_value(|core| {
            core.problems.iter().take(MAX_PROBLEMS).map(|problem| problem_text(&core.plan, problem)).collect::<Vec<_>>()
        })
    });
    let item = move |problem: ProblemText| {
        let jump = problem
            .task
            .map(|task| view! { <button class="btn quiet sm" on:click=move |_| state.reveal(task)>"Show"</button> });
        let remedy = problem.remedy.filter(|_| state.can_edit.get_untracked()).map(
            |(remedy, label)| view! { <button class="btn sm" on:click=move |_| apply_remedy(state, remedy)>{label}</button> },
        );
        view! { <li><span class="grow">{icon("triangle-alert")}{problem.text}</span>{jump}{remedy}</li> }
    };
    let items = move || {
        let list = list.get();
        if list.is_empty() {
            return view! { <p class="meta">"The plan has no problems."</p> }.into_any();
        }
        view! { <ul class="problems">{list.into_iter().map(item).collect_view()}</ul> }.into_any()
    };
    view! {
        <section class="gantt-card panel" aria-label="Problems of the plan" data-testid="gantt-problems">
            <header><h3>"Problems of the plan"</h3>
                <button class="btn quiet icon sm" aria-label="Close" on:click=move |_| state.problems_open.set(false)>{icon("x")}</button></header>
            {reactive_view(items)}
        </section>
    }
}
