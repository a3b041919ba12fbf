//! Plans that tabs compute from the rows on their device, and what they show.

use crate::model_database::project_id;
use crate::model_schedule::derived_columns;
use crate::mutant::Mutant;
use crate::oracle::Violation;
use crate::sim_event::SimEvent;
use crate::simulation::Simulation;
use crate::tab::{Tab, TabRef};
use pmo_device_plan::{DevicePlan, PlanState};
use pmo_domain::Row;
use pmo_project_plan::TaskInput;
use pmo_sync::{Engine, EntryState, Event, ObserverId};
use serde_json::Value;
use uuid::Uuid;

const DATES_AGREE: &str = "devices and server compute the same dates";
const DERIVED_STAY: &str = "derived columns are never sent";

/// Time from a change to the computation, in milliseconds: one frame.
const FRAME_MS: f64 = 16.0;

impl Simulation {
    /// Lets a tab compute the plan of a random project.
    pub(crate) fn open_plan(&mut self, tab_ref: TabRef) {
        let plan = DevicePlan::new(project_id(self.rng.gen_range(3)));
        if let Some(tab) = self.tab(tab_ref) {
            tab.plan = plan.map(|plan| (plan, Vec::new()));
        }
        self.schedule_plan(tab_ref);
    }

    /// Schedules the computation of the plan of a tab, if it has one.
    pub(crate) fn schedule_plan(&mut self, tab_ref: TabRef) {
        let Some(tab) = self.tab(tab_ref).filter(|tab| tab.plan.is_some()) else { return };
        if !std::mem::replace(&mut tab.plan_due, true) {
            self.schedule(FRAME_MS, SimEvent::PlanFrame(tab_ref));
        }
    }

    /// Computes the plan of a tab and shows the result.
    pub(crate) fn run_plan(&mut self, tab_ref: TabRef) -> Result<(), Violation> {
        let (healing, shows_partial) = (self.healing, self.is_planted(Mutant::PartialPlansShown));
        let Some(tab) = self.tab(tab_ref) else { return Ok(()) };
        if tab.frozen && !healing {
            self.schedule(FRAME_MS, SimEvent::PlanFrame(tab_ref));
            return Ok(());
        }
        tab.plan_due = false;
        let Tab { engine, plan: Some((plan, observed)), next_observer, .. } = tab else { return Ok(()) };
        let mut rows = plan.update(engine).derived;
        if shows_partial && *plan.state() != PlanState::Computed {
            rows = all_derived(plan);
        }
        let code = plan.task_code().clone();
        let mut events = Vec::new();
        for query in plan.queries() {
            if !observed.contains(&query) {
                *next_observer += 1;
                observed.push(query.clone());
                events.push(Event::Observe(ObserverId(*next_observer), query));
            }
        }
        if !rows.is_empty() {
            events.push(Event::SetDerived { code, rows });
        }
        events.into_iter().try_for_each(|event| self.deliver(tab_ref, event))
    }

    /// Checks the dates of the database and those that every tab shows.
    pub(crate) fn check_dates(&self) -> Result<(), Violation> {
        if let Some(column) = self.database.derived_in_writes.first() {
            return Err(Violation::new(DERIVED_STAY, format!("a write contained {column}")));
        }
        for project in 0..3 {
            let differing = self.database.unscheduled(project);
            if !differing.is_empty() {
                return Err(Violation::new(DATES_AGREE, format!("the server has other dates: {differing:?}")));
            }
        }
        for (n, device) in self.devices.iter().enumerate() {
            for tab in device.tabs.iter().filter(|tab| tab.alive) {
                self.check_shown_dates(&tab.engine).map_err(|detail| {
                    let state = tab.plan.as_ref().map(|(plan, _)| plan.state());
                    Violation::new(DATES_AGREE, format!("device {n}, plan {state:?}: {detail}"))
                })?;
            }
        }
        Ok(())
    }

    /// Checks that a tab shows the dates of the database, unless some of its writes wait.
    fn check_shown_dates(&self, engine: &Engine) -> Result<(), String> {
        if engine.outbox().iter().any(|entry| entry.state == EntryState::Pending) {
            return Ok(());
        }
        // A row whose changes are not received counts as stale.
        for cached in engine.cached_rows().filter(|cached| !cached.stale) {
            let Some(task) = self.database.tasks.get(&cached.entity.id) else { continue };
            let (Some(view), expected) = (engine.row(&cached.entity), self.database.row(cached.entity.id, task)) else {
                continue;
            };
            if !is_same(&view.data, &expected) {
                let (shown, expected) = (derived_columns(&view.data), derived_columns(&expected));
                return Err(format!("{} is shown with {shown:?}, expected {expected:?}", cached.entity));
            }
        }
        Ok(())
    }
}

/// Returns the derived columns of all tasks of a plan, whether or not the device holds all rows.
fn all_derived(plan: &DevicePlan) -> Vec<(Uuid, Option<Row>)> {
    let derived = |task: &TaskInput| {
        let columns = plan.plan().derived(plan.live().schedule(), plan.plan().position(task.id)?)?;
        Some((task.id, Some(columns.to_row())))
    };
    plan.input().tasks.iter().filter_map(derived).collect()
}

/// Returns whether two rows have the same derived columns; numbers are compared by value.
fn is_same(a: &Row, b: &Row) -> bool {
    let is_same = |a: &Value, b: &Value| a == b || (a.as_f64().is_some() && a.as_f64() == b.as_f64());
    derived_columns(a).iter().zip(&derived_columns(b)).all(|((_, a), (_, b))| is_same(a, b))
}
