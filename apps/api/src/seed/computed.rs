//! Dates and progress of a project of the demo company: baseline, delays, actual dates.

use super::calendars::Calendars;
use super::company::{Chosen, Company, Demand};
use super::draft::{Draft, Timeline};
use super::library::ProjectText;
use super::moments::{add_working_days, day_text, moment_value, monday_of, working_days_between};
use super::plan_text::PlanText;
use super::progress::{Progress, progress, slipped, stage};
use pmo_planning::{Day, Moment, Span, WorkingTime};
use pmo_project_plan::ConstraintType;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// What the seeding of a project needs.
pub(crate) struct Surroundings<'a> {
    /// Day that counts as today.
    pub today: Day,
    /// Calendars of the company.
    pub calendars: &'a Calendars,
    /// People of the company.
    pub company: &'a mut Company,
    /// Number of businesses.
    pub businesses: usize,
    /// Number of customers.
    pub customers: usize,
}

/// Project with its dates and progress.
pub(crate) struct Computed<'text> {
    /// Rows of tasks, dependencies and assignments.
    pub draft: Draft<'text>,
    /// Plan when it was agreed.
    pub baseline: Timeline,
    /// Plan today.
    pub current: Timeline,
    /// Progress of each task.
    pub progress: Vec<Progress>,
    /// First moment of today.
    pub now: Moment,
}

impl Computed<'_> {
    /// Returns the working time of the project.
    pub(crate) fn working_time(&self) -> WorkingTime {
        let plan = &self.current.plan.plan;
        WorkingTime::of_calendar(&plan.calendars, plan.settings.calendar)
    }

    /// Returns the working days by which the finish has slipped; negative if it is earlier.
    pub(crate) fn slip_days(&self) -> i32 {
        let (before, after) = (self.baseline.schedule.project_finish, self.current.schedule.project_finish);
        working_days_between(&self.working_time(), before, after)
    }

    /// Returns whether a task has begun.
    pub(crate) fn has_begun(&self, task: usize) -> bool {
        self.progress.get(task).is_some_and(|progress| *progress != Progress::NotStarted)
            || (self.draft.plan.tasks.get(task).is_some_and(|text| text.length.is_none())
                && self.current.start(task) < self.now)
    }

    /// Returns the person of a role, or else the manager.
    pub(crate) fn person(&self, role: &str) -> Option<Chosen> {
        self.draft.people.get(&(role.to_owned(), 1)).copied().or_else(|| self.manager())
    }

    /// Returns the manager: the project manager, or the person with most tasks.
    pub(crate) fn manager(&self) -> Option<Chosen> {
        let people = &self.draft.people;
        if let Some(manager) = people.get(&("Project manager".to_owned(), 1)) {
            return Some(*manager);
        }
        let task_count = |role: &str| {
            let roles = self.draft.plan.tasks.iter().flat_map(|task| &task.people);
            roles.filter(|person| person.role == role && person.number == Some(1)).count()
        };
        let first = people.iter().filter(|((_, number), _)| *number == 1);
        first.max_by_key(|((role, _), _)| task_count(role)).map(|(_, chosen)| *chosen)
    }
}

/// Computes dates and progress of a project: baseline, delays, actual dates.
pub(crate) fn compute<'text>(
    number: usize,
    text: &'text ProjectText,
    plan: &'text PlanText,
    surroundings: &mut Surroundings<'_>,
) -> Computed<'text> {
    let Surroundings { today, calendars, company, .. } = surroundings;
    let monday = monday_of(*today);
    let mut draft = Draft::new(number, text, plan, monday);
    let length = draft.schedule(calendars).schedule.project_finish.day().0 - monday.0;
    let start = monday_of(Day(today.0 - length * text.elapsed_pct / 100));
    draft.project.insert("planned_start_date".into(), json!(day_text(start)));
    choose_people(&mut draft, calendars, company);
    draft.assign_people();
    set_constraints(&mut draft, calendars);
    let baseline = draft.schedule(calendars);
    set_deadlines(&mut draft, &baseline);

    let now = today.midnight();
    for (task, text) in plan.tasks.iter().enumerate() {
        if let Some(length) = text.length.filter(|_| text.flags.slip_days != 0) {
            draft.set_duration(task, slipped(draft.text.story, length.span, length.day(), text.flags.slip_days));
        }
    }
    let happened = draft.schedule(calendars);
    for (task, text) in plan.tasks.iter().enumerate() {
        // A delay of a task that has not begun is not known yet.
        if let Some(length) = text.length.filter(|_| happened.start(task) >= now) {
            draft.set_duration(task, length.span);
        }
    }
    set_work(&mut draft);
    let happened = draft.schedule(calendars);
    let progress = progress(&draft, &happened, now);
    set_progress(&mut draft, &happened, &progress, now);
    let current = draft.schedule(calendars);
    let mut computed = Computed { draft, baseline, current, progress, now };
    set_derived(&mut computed);
    set_hours(&mut computed);
    computed
}

/// Chooses the people of a plan, those with most work first.
fn choose_people(draft: &mut Draft<'_>, calendars: &Calendars, company: &mut Company) {
    let timeline = draft.schedule(calendars);
    let mut demands: BTreeMap<(String, usize), Demand> = BTreeMap::new();
    for (task, text) in draft.plan.tasks.iter().enumerate() {
        let (from, to) = (timeline.start(task).day(), timeline.finish(task).day());
        for person in &text.people {
            let Some(number) = person.number else { continue };
            let hours = i64::from(draft.lengths[task].0) * i64::from(person.units) / 60_000;
            let demand = demands.entry((person.role.clone(), number)).or_insert(Demand { from, to, hours: 0 });
            demand.from = demand.from.min(from);
            demand.to = demand.to.max(to);
            demand.hours += hours;
        }
    }
    let mut order: Vec<_> = demands.into_iter().collect();
    order.sort_by_key(|((role, number), demand)| (*number, -demand.hours, role.clone()));
    let mut taken: Vec<usize> = Vec::new();
    for ((role, number), demand) in order {
        let chosen = company.choose(&role, demand, &taken).or_else(|| company.choose(&role, demand, &[]));
        if let Some(chosen) = chosen {
            taken.push(chosen.number);
            draft.people.insert((role, number), chosen);
        }
    }
}

fn set_constraints(draft: &mut Draft<'_>, calendars: &Calendars) {
    let timeline = draft.schedule(calendars);
    for (task, text) in draft.plan.tasks.iter().enumerate() {
        let Some((kind, days)) = text.flags.constraint else { continue };
        let time = timeline.plan.working_time(u32::try_from(task).unwrap_or_default());
        let date = match kind {
            ConstraintType::AsSoonAsPossible | ConstraintType::AsLateAsPossible => Moment::NONE,
            ConstraintType::MustFinishOn | ConstraintType::FinishNoEarlierThan | ConstraintType::FinishNoLaterThan => {
                time.finish_form(add_working_days(&time, timeline.finish(task), days))
            }
            ConstraintType::MustStartOn | ConstraintType::StartNoEarlierThan | ConstraintType::StartNoLaterThan => {
                time.start_form(add_working_days(&time, timeline.start(task), days))
            }
        };
        draft.set_constraint(task, kind, date);
    }
}

fn set_deadlines(draft: &mut Draft<'_>, baseline: &Timeline) {
    for (task, text) in draft.plan.tasks.iter().enumerate() {
        let Some(days) = text.flags.deadline_days else { continue };
        let time = baseline.plan.working_time(u32::try_from(task).unwrap_or_default());
        let date = time.finish_form(add_working_days(&time, baseline.finish(task), days));
        draft.set(task, "deadline_ts", moment_value(date));
    }
}

/// Sets the work of the assignments: the duration times the units.
fn set_work(draft: &mut Draft<'_>) {
    let hours: BTreeMap<String, f64> = draft
        .tasks
        .iter()
        .zip(&draft.lengths)
        .filter_map(|(row, length)| Some((row.get("id")?.as_str()?.to_owned(), f64::from(length.0) / 600.0)))
        .collect();
    for assignment in &mut draft.assignments {
        let task = assignment.get("task_id").and_then(Value::as_str).unwrap_or_default();
        let units = assignment.get("units_pct").and_then(Value::as_f64).unwrap_or(100.0);
        let work = hours.get(task).copied().unwrap_or_default() * units / 100.0;
        assignment.insert("work_hours".into(), json!(work));
        assignment.insert("remaining_work_hours".into(), json!(work));
    }
}

fn set_progress(draft: &mut Draft<'_>, happened: &Timeline, progress: &[Progress], now: Moment) {
    for (task, text) in draft.plan.tasks.iter().enumerate() {
        let (start, finish) = (happened.start(task), happened.finish(task));
        let days_to_start = start.day().0 - now.day().0;
        draft.set(task, "dl__task_stage", json!(stage(progress[task], text.flags.kind, days_to_start)));
        let done = match progress[task] {
            Progress::NotStarted => continue,
            Progress::Started { done, .. } => done,
            Progress::Finished => 100,
        };
        draft.set(task, "completion_pct", json!(done));
        draft.set(task, "actual_start_date", json!(day_text(start.day())));
        draft.set(task, "actual_start_ts", moment_value(start));
        if done == 100 {
            // A finish at midnight belongs to the day before.
            let day = if finish == finish.day().midnight() && finish > start {
                Day(finish.day().0 - 1)
            } else {
                finish.day()
            };
            draft.set(task, "actual_end_date", json!(day_text(day)));
            draft.set(task, "actual_end_ts", moment_value(finish));
        }
    }
}

/// Sets the derived columns, and the stages of summaries.
fn set_derived(computed: &mut Computed<'_>) {
    let Computed { draft, current, progress, now, .. } = computed;
    for task in 0..draft.tasks.len() {
        let position = current.plan.position(draft.task_id(task)).unwrap_or_default();
        let Some(derived) = current.plan.derived(&current.schedule, position) else { continue };
        draft.tasks[task].extend(derived.to_row());
        if !derived.is_summary {
            continue;
        }
        if let Some(duration) = derived.duration {
            draft.set(task, "duration_days", json!(f64::from(duration.0) / f64::from(Span::hours(8).0)));
        }
        let below = below(draft, task);
        let is_finished = |task: &usize| progress[*task] == Progress::Finished;
        let stage = if below.iter().all(is_finished) {
            "Completed"
        } else if below.iter().any(|task| progress[*task] != Progress::NotStarted) {
            "In Progress"
        } else {
            stage(Progress::NotStarted, "", current.start(task).day().0 - now.day().0)
        };
        draft.set(task, "dl__task_stage", json!(stage));
    }
}

/// Returns the tasks below a summary that are no summaries.
fn below(draft: &Draft<'_>, summary: usize) -> Vec<usize> {
    let tasks = &draft.plan.tasks;
    let is_below = |task: &usize| {
        let mut above = tasks[*task].parent;
        while let Some(parent) = above.filter(|parent| *parent != summary) {
            above = tasks[parent].parent;
        }
        above == Some(summary)
    };
    (0..tasks.len()).filter(|task| tasks[*task].length.is_some() && is_below(task)).collect()
}

/// Sets estimates, spent hours and the work that is done and left.
fn set_hours(computed: &mut Computed<'_>) {
    let mut planned: BTreeMap<String, f64> = BTreeMap::new();
    let mut spent: BTreeMap<String, f64> = BTreeMap::new();
    let done: BTreeMap<String, f64> = computed
        .draft
        .tasks
        .iter()
        .zip(&computed.progress)
        .filter_map(|(row, progress)| {
            let done = match progress {
                Progress::NotStarted => 0.0,
                Progress::Started { done, .. } => f64::from(*done) / 100.0,
                Progress::Finished => 1.0,
            };
            Some((row.get("id")?.as_str()?.to_owned(), done))
        })
        .collect();
    for assignment in &mut computed.draft.assignments {
        let task = assignment.get("task_id").and_then(Value::as_str).unwrap_or_default().to_owned();
        let work = assignment.get("work_hours").and_then(Value::as_f64).unwrap_or_default();
        let actual = work * done.get(&task).copied().unwrap_or_default();
        assignment.insert("actual_work_hours".into(), json!(actual));
        assignment.insert("remaining_work_hours".into(), json!(work - actual));
        *planned.entry(task.clone()).or_default() += work;
        *spent.entry(task).or_default() += actual;
    }
    for (index, row) in computed.draft.tasks.iter_mut().enumerate() {
        let id = row.get("id").and_then(Value::as_str).unwrap_or_default().to_owned();
        let Some(work) = planned.get(&id) else { continue };
        let length = computed.draft.plan.tasks[index].length.map_or(Span::ZERO, |length| length.span).0;
        let now = computed.draft.lengths[index].0.max(1);
        // The estimate is that of the baseline.
        row.insert("estimated_hours".into(), json!(work * f64::from(length) / f64::from(now)));
        row.insert("actual_hours".into(), json!(spent.get(&id)));
    }
}
