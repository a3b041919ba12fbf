//! Typed dates become inputs before they enter the outbox; a toast states what was implied.

use super::registry::with_plan;
use crate::client::{client, new_write_ids};
use crate::hooks::set_patch_expander;
use crate::ui::format;
use crate::ui::overlay_state::{OverlayState, UndoableAction};
use leptos::prelude::*;
use pmo_device_plan::{Typed, expand_typed, project_of};
use pmo_domain::{EntityRef, Row};
use pmo_planning::Moment;
use pmo_project_plan::{ImpliedChange, OptionName};
use pmo_sync::Event;
use std::cell::Cell;
use std::sync::Arc;

thread_local! {
    static OVERLAYS: Cell<Option<OverlayState>> = const { Cell::new(None) };
}

/// Expands all further updates of tasks and dependencies.
pub(super) fn install(overlays: OverlayState) {
    OVERLAYS.set(Some(overlays));
    set_patch_expander(expand);
}

/// Returns the patch to write; `None` if a value is not possible, which a toast says.
fn expand(entity: &EntityRef, patch: Row) -> Option<Row> {
    if !matches!(entity.code.as_str(), "task" | "task_dependency") {
        return Some(patch);
    }
    let project = client().read(|engine| project_of(engine, entity));
    let raw = patch.clone();
    let expanded = project
        .and_then(|project| {
            with_plan(project, |plan| client().read(|engine| expand_typed(engine, Some(plan), entity, raw)))
        })
        .unwrap_or_else(|| client().read(|engine| expand_typed(engine, None, entity, patch)));
    match expanded {
        Ok(typed) => {
            report(entity, &typed);
            Some(typed.patch)
        }
        Err(error) => {
            show(UndoableAction { message: format!("Not changed: {error}."), undo: None });
            None
        }
    }
}

/// States what typed values implied, with an undo button.
fn report(entity: &EntityRef, typed: &Typed) {
    let texts: Vec<String> = typed.implied.iter().filter_map(|change| text(change, &typed.patch)).collect();
    let is_new = client().read(|engine| engine.row(entity).is_none());
    if texts.is_empty() || is_new {
        return;
    }
    let (entity, before) = (entity.clone(), typed.before.clone());
    let undo = Arc::new(move || {
        client().dispatch(Event::Update { entity: entity.clone(), patch: before.clone(), ids: new_write_ids() });
    });
    show(UndoableAction { message: format!("{}.", texts.join("; ")), undo: Some(undo) });
}

fn show(action: UndoableAction) {
    if let Some(overlays) = OVERLAYS.get() {
        overlays.toast.set(Some(action));
    }
}

/// Returns the sentence about an implied change; `None` if the user typed the same.
fn text(change: &ImpliedChange, patch: &Row) -> Option<String> {
    let day = |moment: Moment| {
        let text = moment.to_string();
        format::date(text.get(..10).unwrap_or_default(), false)
    };
    Some(match change {
        ImpliedChange::ConstraintSet { constraint, date, .. } => {
            format!("Constraint {} {} set", constraint.name(), day(*date))
        }
        ImpliedChange::ConstraintRemoved { before, .. } => format!("Constraint {} removed", before.name()),
        ImpliedChange::DurationSet { .. } if patch.contains_key("duration_days") => return None,
        ImpliedChange::DurationSet { duration, .. } => {
            format!("Duration set to {} hours", format::trim_zeros(duration.0 as f64 / 600.0))
        }
        ImpliedChange::ActualStartSet(moment) if moment.is_some() => format!("Actual start {} set", day(*moment)),
        ImpliedChange::ActualFinishSet(moment) if moment.is_some() => format!("Actual finish {} set", day(*moment)),
        ImpliedChange::ActualStartSet(_) => "Actual start removed".to_owned(),
        ImpliedChange::ActualFinishSet(_) => "Actual finish removed".to_owned(),
        ImpliedChange::ManualDatesSet { .. } | ImpliedChange::ManualMode | ImpliedChange::ActualDurationRemoved => {
            return None;
        }
    })
}
