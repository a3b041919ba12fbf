//! All rows of a project of the demo company.

use super::calendars::{Calendars, row};
use super::company::{Chosen, Company, Demand};
use super::control_rows::add_control_rows;
use super::demo_id::{demo_id, demo_random};
use super::draft::{Draft, Timeline};
use super::library::ProjectText;
use super::moments::{add_working_days, day_text, moment_value, monday_of, working_days_between};
use super::plan_text::PlanText;
use super::progress::{Progress, progress, slipped, stage};
use pmo_planning::{Day, Moment, Span, WorkingTime};
use pmo_project_plan::{ConstraintType, Row, baseline};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// Length of a sprint in days.
const SPRINT_DAYS: i32 = 14;
/// Number of sprints of a project.
const SPRINTS: usize = 3;

/// Rows of a project by table.
pub(crate) type Tables = BTreeMap<&'static str, Vec<Row>>;

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
            Progress::InProgress { done, .. } => done,
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
                Progress::InProgress { done, .. } => f64::from(*done) / 100.0,
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

/// Returns all rows of a project.
pub(crate) fn project_rows(computed: Computed<'_>, surroundings: &Surroundings<'_>) -> Tables {
    let mut tables = Tables::new();
    add_control_rows(&computed, &mut tables);
    add_baseline(&computed, &mut tables);
    add_milestones(&computed, &mut tables);
    let sprints = sprint_rows(&computed);
    tables.insert("project", vec![project_row(&computed, surroundings, &tables)]);
    tables.insert("schedule", vec![schedule_row(&computed)]);
    let Computed { mut draft, .. } = computed;
    if draft.plan.has_sprints {
        for row in &mut draft.tasks {
            let sprint = sprint_of(row, &sprints);
            row.insert("sprint_id".into(), sprint);
        }
    }
    tables.insert("sprint", sprints);
    tables.insert("task", draft.tasks);
    tables.insert("task_dependency", draft.links);
    tables.insert("assignment", draft.assignments);
    tables
}

fn project_row(computed: &Computed<'_>, surroundings: &Surroundings<'_>, tables: &Tables) -> Row {
    let Computed { draft, baseline, current, progress, now, .. } = computed;
    let (number, plan) = (draft.number, draft.plan);
    let leaves: Vec<usize> = (0..plan.tasks.len()).filter(|task| plan.tasks[*task].length.is_some()).collect();
    let is_finished = leaves.iter().all(|task| progress[*task] == Progress::Finished);
    let has_begun = leaves.iter().any(|task| progress[*task] != Progress::NotStarted);
    let done = done_pct(computed, &leaves);
    let slip = computed.slip_days();
    let is_blocked = draft.tasks.iter().any(|row| row.get("dl__task_stage") == Some(&json!("Blocked")));
    let spent = labour(computed) + actual_costs(tables);
    let days_to_start = current.schedule.project_start.day().0 - now.day().0;
    let stage = match (has_begun, is_finished) {
        (_, true) => "Closure",
        (false, _) if days_to_start > 30 => "Initiation",
        (false, _) => "Planning",
        _ if done > 80 => "Monitoring",
        _ => "Execution",
    };
    let health = match slip {
        ..=2 if is_blocked => "Amber",
        ..=2 => "Green",
        3..=8 => "Amber",
        _ => "Red",
    };
    let day = |moment: Moment| json!(day_text(moment.day()));
    let mut project = draft.project.clone();
    let budget = plan.budget / 20 * (18 + u32::try_from(demo_random("budget", number, 5)).unwrap_or_default());
    project.extend(row([
        ("name", json!(draft.text.name)),
        ("descr", json!(plan.descr)),
        ("business_id", json!(demo_id("business", 1 + (number - 1) % surroundings.businesses))),
        ("manager__employee_id", json!(computed.manager().map(Chosen::employee_id))),
        ("sponsor__employee_id", json!(demo_id("employee", 1))),
        ("stakeholder__employee_ids", json!([demo_id("employee", 2), demo_id("employee", 3)])),
        ("customer_id", json!(demo_id("customer", 1 + number % surroundings.customers))),
        ("planned_end_date", day(baseline.schedule.project_finish)),
        ("actual_start_date", if has_begun { day(current.schedule.project_start) } else { Value::Null }),
        ("actual_end_date", if is_finished { day(current.schedule.project_finish) } else { Value::Null }),
        ("status_date", if has_begun && !is_finished { json!(day_text(now.day())) } else { Value::Null }),
        ("budget_allocated_amt", json!(budget)),
        ("budget_spent_amt", json!(spent)),
        ("completion_pct", json!(done)),
        ("dl__project_stage", json!(stage)),
        ("dl__project_type", json!(plan.kind)),
        ("dl__project_health", json!(health)),
    ]));
    project
}

/// Returns the part of all durations that is done, in percent.
fn done_pct(computed: &Computed<'_>, leaves: &[usize]) -> i64 {
    let length = |task: &usize| i64::from(computed.draft.lengths[*task].0);
    let done = |task: &usize| match computed.progress[*task] {
        Progress::NotStarted => 0,
        Progress::InProgress { done, .. } => length(task) * i64::from(done) / 100,
        Progress::Finished => length(task),
    };
    let (all, done): (i64, i64) = (leaves.iter().map(length).sum(), leaves.iter().map(done).sum());
    done * 100 / all.max(1)
}

/// Returns the cost of the work that is done, in EUR.
fn labour(computed: &Computed<'_>) -> i64 {
    let rates: BTreeMap<String, u32> =
        computed.draft.people.values().map(|chosen| (chosen.employee_id().to_string(), chosen.rate)).collect();
    let cost = |row: &Row| {
        let rate = rates.get(row.get("employee_id")?.as_str()?)?;
        Some(row.get("actual_work_hours")?.as_f64()? * f64::from(*rate))
    };
    computed.draft.assignments.iter().filter_map(cost).sum::<f64>().round() as i64
}

fn actual_costs(tables: &Tables) -> i64 {
    let rows = tables.get("cost").into_iter().flatten();
    let actual = rows.filter(|row| row.get("dl__cost_status") == Some(&json!("Actual")));
    actual.filter_map(|row| row.get("amount_amt")?.as_i64()).sum()
}

fn schedule_row(computed: &Computed<'_>) -> Row {
    let Timeline { plan, schedule, calendars } = &computed.current;
    let problems = schedule.problems.len() + plan.incomplete.len() + plan.faults.len();
    row([
        ("id", json!(demo_id("schedule", computed.draft.number))),
        ("name", json!("Schedule")),
        ("project_id", json!(computed.draft.project_id())),
        ("calendars", calendars.to_json()),
        ("start_ts", moment_value(schedule.project_start)),
        ("finish_ts", moment_value(schedule.project_finish)),
        ("problem_count", json!(problems)),
        ("scheduled_ts", moment_value(computed.now)),
    ])
}

/// Adds the baseline of a project that has begun.
fn add_baseline(computed: &Computed<'_>, tables: &mut Tables) {
    let Timeline { plan, schedule, .. } = &computed.baseline;
    let captured = schedule.project_start.minus(Span::hours(24 * 3));
    if captured >= computed.now {
        return;
    }
    let snapshot = baseline::take(plan, schedule, &BTreeMap::new());
    tables.entry("baseline").or_default().push(row([
        ("id", json!(demo_id("baseline", computed.draft.number))),
        ("name", json!("Agreed plan")),
        ("project_id", json!(computed.draft.project_id())),
        ("captured_ts", moment_value(captured)),
        ("snapshot", snapshot.to_json()),
    ]));
}

/// Adds the commitments: the tasks without duration that have a deadline, and the last one.
fn add_milestones(computed: &Computed<'_>, tables: &mut Tables) {
    let Computed { draft, baseline, current, progress, now, .. } = computed;
    let is_milestone = |task: &usize| draft.plan.tasks[*task].length.is_some_and(|length| length.span == Span::ZERO);
    let milestones: Vec<usize> = (0..draft.plan.tasks.len()).filter(is_milestone).collect();
    let last = milestones.last().copied();
    let committed = |task: &&usize| draft.plan.tasks[**task].flags.deadline_days.is_some() || Some(**task) == last;
    let owner = json!(computed.manager().map(Chosen::employee_id));
    let rows = milestones.iter().filter(committed).enumerate().map(|(index, &task)| {
        let (due, expected) = (baseline.finish(task), current.finish(task));
        let is_reached = progress[task] == Progress::Finished;
        let status = match (is_reached, due < *now) {
            (true, _) => "Reached",
            (false, true) => "Missed",
            (false, false) if expected.day() > due.day() => "At Risk",
            (false, false) => "Planned",
        };
        row([
            ("id", json!(demo_id("milestone", draft.entity_number(index)))),
            ("name", json!(draft.plan.tasks[task].name)),
            ("project_id", json!(draft.project_id())),
            ("due_date", json!(day_text(due.day()))),
            ("reached_date", if is_reached { json!(day_text(expected.day())) } else { Value::Null }),
            ("owner__employee_id", owner.clone()),
            ("dl__milestone_status", json!(status)),
        ])
    });
    tables.entry("milestone").or_default().extend(rows);
}

/// Returns the sprints around today of a project with sprints.
fn sprint_rows(computed: &Computed<'_>) -> Vec<Row> {
    if !computed.draft.plan.has_sprints {
        return Vec::new();
    }
    let first = monday_of(Day(computed.now.day().0 - SPRINT_DAYS)).0;
    let sprint = |(index, status): (usize, &str)| {
        let from = first + SPRINT_DAYS * i32::try_from(index).unwrap_or_default();
        row([
            ("id", json!(demo_id("sprint", computed.draft.number * 10 + index + 1))),
            ("name", json!(format!("Sprint {}", index + 1))),
            ("project_id", json!(computed.draft.project_id())),
            ("start_date", json!(day_text(Day(from)))),
            ("end_date", json!(day_text(Day(from + SPRINT_DAYS - 3)))),
            ("goal", json!(["Finish what is open", "A part that works", "Ready for the next test"][index])),
            ("capacity_hours", json!(160)),
            ("dl__sprint_status", json!(status)),
        ])
    };
    ["Closed", "Active", "Planned"].into_iter().enumerate().take(SPRINTS).map(sprint).collect()
}

/// Returns the id of the sprint in which a task begins; null for summaries and other tasks.
fn sprint_of(task: &Row, sprints: &[Row]) -> Value {
    let text = |row: &Row, column: &str| row.get(column).and_then(Value::as_str).map(str::to_owned);
    let Some(start) = text(task, "start_date").filter(|_| task.get("story_points").is_some_and(Value::is_number))
    else {
        return Value::Null;
    };
    let contains = |sprint: &&Row| {
        text(sprint, "start_date").is_some_and(|from| from <= start)
            && text(sprint, "end_date").is_some_and(|to| start <= to)
    };
    sprints.iter().find(contains).and_then(|sprint| sprint.get("id").cloned()).unwrap_or(Value::Null)
}
