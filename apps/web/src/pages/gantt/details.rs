//! Details of a task: its dates, why they are what they are, and fields to change them.

use super::edits::edit_error;
use super::history::Change;
use super::plan::GanttPlan;
use super::state::GanttState;
use crate::ui::dialog::Dialog;
use crate::ui::format;
use crate::ui::reactive::{reactive_attr, reactive_view};
use crate::ui::value_view::icon;
use leptos::prelude::*;
use leptos_router::components::A;
use pmo_gantt::{Point, TaskDates, day_label};
use pmo_planning::{Constraint, Mode, Moment, Span};
use pmo_project_plan::explain::{Reason, Step, TaskEnd, explain};
use pmo_project_plan::gantt_edit::{self, RowEdit};
use pmo_project_plan::{EditError, Percent};
use serde_json::{Value, json};
use uuid::Uuid;

/// Most steps of an explanation that are shown.
const MAX_STEPS: usize = 12;
const WEEKDAYS: [&str; 7] = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"];

/// Returns working time in days of the project, as `3 days`.
pub(super) fn work_days(plan: &GanttPlan, span: Span) -> String {
    let days = f64::from(span.0) / f64::from(plan.plan.unit_sizes.day.0.max(1));
    let text = format::trim_zeros(days);
    if text == "1" { "1 day".into() } else { format!("{text} days") }
}

/// Returns a moment as `Mon 2 Mar 2026, 08:00`.
pub(super) fn moment_text(moment: Moment) -> String {
    if moment.is_none() {
        return "–".into();
    }
    let (year, ..) = moment.day().to_civil();
    let mut day = String::new();
    day_label(moment, &mut day);
    let minutes = moment.time_of_day().0 / 10;
    format!("{} {day} {year}, {:02}:{:02}", WEEKDAYS[moment.day().weekday()], minutes / 60, minutes % 60)
}

/// What is said about a task.
#[derive(Clone, Debug, Default, PartialEq)]
struct Facts {
    name: String,
    start: String,
    finish: String,
    duration: String,
    percent: u8,
    slack: Option<String>,
    constraint: Option<String>,
    deadline: Option<String>,
    manual: bool,
    computed: bool,
}

fn constraint_text(constraint: Constraint) -> Option<String> {
    let (text, date) = match constraint {
        Constraint::AsSoonAsPossible => return None,
        Constraint::AsLateAsPossible => return Some("As late as possible".into()),
        Constraint::MustStartOn(date) => ("Must start on", date),
        Constraint::MustFinishOn(date) => ("Must finish on", date),
        Constraint::StartNoEarlierThan(date) => ("Start no earlier than", date),
        Constraint::StartNoLaterThan(date) => ("Start no later than", date),
        Constraint::FinishNoEarlierThan(date) => ("Finish no earlier than", date),
        Constraint::FinishNoLaterThan(date) => ("Finish no later than", date),
    };
    Some(format!("{text} {}", moment_text(date)))
}

fn facts(state: GanttState, task: Uuid) -> Option<Facts> {
    state.core.with_value(|core| {
        let plan = &core.plan;
        let position = plan.plan.position(task)?;
        let TaskDates { start, finish } = plan.dates(position);
        let entry = plan.live.plan().tasks.get(position as usize)?;
        let deadline = entry.deadline.get().map(moment_text);
        let slack = if plan.is_critical(position) {
            Some("Critical: a delay moves the finish of the project".to_owned())
        } else {
            plan.total_slack(position).map(|slack| format!("Slack {}", work_days(plan, slack)))
        };
        Some(Facts {
            name: plan.tasks.get(position as usize)?.name.clone(),
            start: moment_text(start),
            finish: moment_text(finish),
            duration: plan.duration_text(position),
            percent: plan.percent(position),
            slack,
            constraint: constraint_text(entry.constraint),
            deadline,
            manual: entry.mode == Mode::Manual,
            computed: plan.source == super::plan::DateSource::Computed,
        })
    })
}

/// Step of an explanation in words.
#[derive(Clone, Debug, PartialEq)]
struct StepText {
    text: String,
    /// Task to jump to.
    cause: Option<(Uuid, String)>,
}

fn step_text(plan: &GanttPlan, step: &Step) -> StepText {
    let name = |id: Uuid| {
        let info = plan.plan.position(id).and_then(|position| plan.tasks.get(position as usize));
        info.map(|info| info.name.clone()).unwrap_or_else(|| "a task of another project".into())
    };
    let what = match step.end {
        TaskEnd::Start => "starts",
        TaskEnd::Finish => "finishes",
    };
    let reason = match step.reason {
        Reason::ProjectStart => "because the project starts then",
        Reason::ProjectFinish => "because the plan is scheduled from its finish",
        Reason::Link => "because it waits for",
        Reason::Constraint if step.cause.is_some_and(|cause| cause != step.task) => "because of the constraint of",
        Reason::Constraint => "because of its constraint",
        Reason::Actual => "because that is when it happened",
        Reason::Manual if step.cause.is_some_and(|cause| cause != step.task) => "because of the manual dates of",
        Reason::Manual => "because its dates are manual",
        Reason::StatusDate => "because the rest waits for the status date",
        Reason::Leveling => "because leveling delays it",
        Reason::Calendar => "because there is no working time before",
        Reason::Child => "because of the task below it,",
        Reason::Duration => "because of its start and its duration",
    };
    let cause = step.cause.filter(|cause| *cause != step.task).map(|cause| (cause, name(cause)));
    StepText { text: format!("{} {what} {} {reason}", name(step.task), moment_text(step.moment)), cause }
}

fn steps(state: GanttState, task: Uuid) -> Vec<StepText> {
    state.core.with_value(|core| {
        let plan = &core.plan;
        let Some(position) = plan.plan.position(task).filter(|_| plan.source == super::plan::DateSource::Computed)
        else {
            return Vec::new();
        };
        let steps = explain(&plan.plan, plan.live.schedule(), position, TaskEnd::Start);
        steps.iter().take(MAX_STEPS).map(|step| step_text(plan, step)).collect()
    })
}

fn facts_view(facts: &Facts) -> AnyView {
    let facts = facts.clone();
    view! {
        <p class="dates">{facts.start}" – "{facts.finish}</p>
        <p class="meta">{facts.duration}" · "{facts.percent}" % complete"{facts.manual.then_some(" · manual")}</p>
        {facts.slack.filter(|_| facts.computed).map(|slack| view! { <p class="meta">{slack}</p> })}
        {facts.deadline.map(|deadline| view! { <p class="meta">"Deadline "{deadline}</p> })}
        {facts.constraint.map(|constraint| view! { <p class="meta">{constraint}</p> })}
    }
    .into_any()
}

/// Card beside the pointer: dates and the first reason.
#[component]
pub(super) fn HoverCard(state: GanttState, task: Uuid, at: Point) -> impl IntoView {
    let Some(facts) = facts(state, task) else { return ().into_any() };
    let first = steps(state, task).into_iter().next();
    let (width, height) = state.size.get_untracked();
    let left = (state.table_width.get_untracked() + at.x + 14.0).min(width - 330.0).max(8.0);
    let place = if at.y > height - 190.0 {
        format!("inset:auto auto {}px {left}px", height - at.y + 14.0)
    } else {
        format!("inset:{}px auto auto {left}px", at.y + 18.0)
    };
    view! {
        <div class="gantt-card" role="tooltip" style=place data-testid="gantt-hover">
            <h3>{facts.name.clone()}</h3>
            {facts_view(&facts)}
            {first.map(|step| view! { <p class="why">{step.text}{step.cause.map(|(_, name)| format!(" {name}"))}</p> })}
            <p class="meta softer">"I shows the whole chain"</p>
        </div>
    }
    .into_any()
}

/// Panel that explains the start of a task, step by step.
#[component]
pub(super) fn ExplanationCard(state: GanttState, task: Uuid) -> impl IntoView {
    let facts = Memo::new(move |_| {
        state.version.track();
        facts(state, task)
    });
    let chain = Memo::new(move |_| {
        state.version.track();
        steps(state, task)
    });
    let remove_constraint = move |_| {
        let mut edit = RowEdit::default();
        edit.patch.insert("dl__constraint_type".into(), json!("As Soon As Possible"));
        edit.patch.insert("constraint_ts".into(), Value::Null);
        let change = state.task_change(task, edit);
        state.apply(change.into_iter().collect(), None, None);
    };
    let step_view = move |step: StepText| {
        let cause = step.cause.map(|(id, name)| {
            let jump = move |_| {
                state.reveal(id);
                state.explained.set(Some(id));
            };
            view! { " " <button class="link" on:click=jump>{name}</button> }
        });
        view! { <li>{step.text}{cause}</li> }
    };
    let content = move || {
        let facts = facts.get()?;
        let constrained = facts.constraint.is_some() && state.can_edit.get();
        let chain = chain.get();
        Some(view! {
            <header><h3>{facts.name.clone()}</h3>
                <button class="btn quiet icon sm" aria-label="Close" on:click=move |_| state.explained.set(None)>{icon("x")}</button></header>
            {facts_view(&facts)}
            {constrained.then(|| view! { <button class="btn sm" on:click=remove_constraint>"Remove the constraint"</button> })}
            <h4>"Why is it here"</h4>
            {if facts.computed {
                view! { <ol class="chain" data-testid="gantt-chain">{chain.into_iter().map(step_view).collect_view()}</ol> }.into_any()
            } else {
                view! { <p class="meta">"A part of this plan is not on this device, so its dates are those of the server."</p> }.into_any()
            }}
            <A href=format!("/task/{task}") attr:class="btn sm">"Open the task"</A>
        })
    };
    view! { <section class="gantt-card panel" aria-label="Why is it here" data-testid="gantt-why">{reactive_view(content)}</section> }
}

/// Returns a moment on a date that was typed, with the hour of the moment before.
fn on_date(text: &str, hour: Moment) -> Option<Moment> {
    let mut parts = text.split('-').map(str::parse::<u32>);
    let (year, month, day) = (parts.next()?.ok()?, parts.next()?.ok()?, parts.next()?.ok()?);
    let midnight = Moment::from_civil(i32::try_from(year).ok()?, month, day, 0, 0);
    Some(midnight.plus(hour.get().map_or(Span::ZERO, Moment::time_of_day)))
}

/// Returns a date in the form of a date field.
fn field_date(moment: Moment) -> String {
    if moment.is_none() {
        return String::new();
    }
    let (year, month, day) = moment.day().to_civil();
    format!("{year:04}-{month:02}-{day:02}")
}

/// Field of the sheet that was changed.
#[derive(Clone, Copy, PartialEq)]
enum SheetField {
    Start,
    Finish,
    Progress,
}

fn sheet_edit(state: GanttState, task: Uuid, field: SheetField, text: &str) -> Option<Result<RowEdit, EditError>> {
    state.core.with_value(|core| {
        let position = core.plan.plan.position(task)?;
        let (input, context) = (core.plan.task_input(position)?, core.plan.edit_context(position));
        let dates = core.plan.dates(position);
        Some(match field {
            SheetField::Start => gantt_edit::move_task(input, &context, on_date(text, dates.start)?),
            SheetField::Finish => gantt_edit::resize_finish(input, &context, on_date(text, dates.finish)?),
            SheetField::Progress => {
                gantt_edit::set_progress(input, &context, Percent(text.parse::<i32>().ok()?.clamp(0, 100) * 100))
            }
        })
    })
}

/// Dates of a task on a phone.
#[component]
pub(super) fn TaskSheet(state: GanttState, task: Uuid) -> impl IntoView {
    let error = RwSignal::new(None::<String>);
    let title = facts(state, task).map(|facts| facts.name).unwrap_or_default();
    let dates = Memo::new(move |_| {
        state.version.track();
        state.core.with_value(|core| {
            core.plan.plan.position(task).map(|position| (core.plan.dates(position), core.plan.percent(position)))
        })
    });
    let date =
        move |read: fn(TaskDates) -> Moment| dates.get().map(|(dates, _)| field_date(read(dates))).unwrap_or_default();
    let disabled = move || !state.can_edit.get();
    let on_change = move |field: SheetField, text: String| match sheet_edit(state, task, field, &text) {
        Some(Ok(edit)) => {
            error.set(None);
            let change: Option<Change> = state.task_change(task, edit);
            state.apply(change.into_iter().collect(), None, None);
        }
        Some(Err(refused)) => error.set(Some(edit_error(&refused))),
        None => {}
    };
    let facts = Memo::new(move |_| {
        state.version.track();
        facts(state, task)
    });
    let reason = move || {
        steps(state, task)
            .into_iter()
            .next()
            .map(|step| view! { <p class="why">{step.text}{step.cause.map(|(_, name)| format!(" {name}"))}</p> })
    };
    view! {
        <Dialog title=title close=move |()| state.editing.set(None) class="gantt-sheet">
            <div class="body" data-testid="gantt-sheet">
                <div class="field"><label for="gantt-start">"Start"</label><span class="input"><input id="gantt-start" type="date" disabled=reactive_attr(disabled) prop:value=reactive_attr(move || date(|dates| dates.start)) on:change=move |event| on_change(SheetField::Start, event_target_value(&event))/></span></div>
                <div class="field"><label for="gantt-finish">"Finish"</label><span class="input"><input id="gantt-finish" type="date" disabled=reactive_attr(disabled) prop:value=reactive_attr(move || date(|dates| dates.finish)) on:change=move |event| on_change(SheetField::Finish, event_target_value(&event))/></span></div>
                <div class="field"><label for="gantt-progress">"Progress in %"</label><span class="input"><input id="gantt-progress" type="number" min="0" max="100" step="5" disabled=reactive_attr(disabled) prop:value=reactive_attr(move || dates.get().map(|(_, percent)| percent.to_string()).unwrap_or_default()) on:change=move |event| on_change(SheetField::Progress, event_target_value(&event))/></span></div>
                {reactive_view(move || error.get().map(|error| view! { <p class="hint error" role="alert">{error}</p> }))}
                {reactive_view(move || facts.get().map(|facts| facts_view(&facts)))}
                {reactive_view(reason)}
            </div>
            <footer><A href=format!("/task/{task}") attr:class="btn">"Open the task"</A><button class="btn primary" on:click=move |_| state.editing.set(None)>"Done"</button></footer>
        </Dialog>
    }
}
