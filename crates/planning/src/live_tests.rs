use super::*;
use crate::calendar::{Calendar, CalendarIndex};
use crate::model::{Assignment, Lag, LinkKind, Mode, Resource, TaskType, Units};

/// Pseudo-random numbers (splitmix64).
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % limit
    }

    fn small(&mut self, limit: u64) -> i32 {
        i32::try_from(self.below(limit)).unwrap_or(0)
    }

    fn index(&mut self, limit: u32) -> u32 {
        u32::try_from(self.below(u64::from(limit.max(1)))).unwrap_or(0)
    }

    fn moment(&mut self) -> Moment {
        Moment::from_civil(2026, 3, 1 + self.index(30), self.index(24), 0)
    }

    fn chance(&mut self, one_in: u64) -> bool {
        self.below(one_in) == 0
    }
}

fn random_constraint(random: &mut Random) -> Constraint {
    let date = random.moment();
    match random.below(12) {
        0 => Constraint::MustStartOn(date),
        1 => Constraint::MustFinishOn(date),
        2 => Constraint::StartNoEarlierThan(date),
        3 => Constraint::StartNoLaterThan(date),
        4 => Constraint::FinishNoEarlierThan(date),
        5 => Constraint::FinishNoLaterThan(date),
        _ => Constraint::AsSoonAsPossible,
    }
}

fn random_task(random: &mut Random, id: u32) -> Task {
    let mut task = Task::new(id, Span::hours(random.small(40)));
    task.constraint = random_constraint(random);
    if random.chance(4) {
        task.deadline = random.moment();
    }
    if random.chance(8) {
        task.mode = Mode::Manual;
        task.manual_start = random.moment();
        task.manual_finish = task.manual_start.plus(Span::hours(random.small(50)));
    } else if random.chance(20) {
        task.mode = Mode::Inactive;
    }
    if random.chance(6) {
        task.actual_start = random.moment();
        task.actual_duration = Span::hours(random.small(10));
        if random.chance(2) {
            task.actual_finish = task.actual_start.plus(Span::hours(random.small(60)));
        }
    }
    if random.chance(10) {
        task.leveling_delay = Span::hours(random.small(50));
    }
    task.elapsed = random.chance(10);
    if random.chance(5) {
        task.calendar = Some(CalendarIndex(u16::try_from(random.below(3)).unwrap_or(0)));
    }
    if random.chance(8) {
        task.task_type = TaskType::FixedDuration;
    }
    task
}

fn random_plan(random: &mut Random, tasks: u32) -> Plan {
    let mut plan = Plan {
        calendars: vec![
            Calendar::standard(),
            Calendar::always(),
            Calendar::with_week([0, 3, 6], &[crate::calendar::HourRange::hours(6, 10)]),
        ],
        resources: vec![Resource::default(), Resource { calendar: Some(CalendarIndex(2)), ..Resource::default() }],
        ..Plan::default()
    };
    plan.settings.start = Moment::from_civil(2026, 3, 2, 8, 0);
    plan.settings.multiple_critical_paths = random.chance(4);
    plan.settings.split_in_progress = !random.chance(4);
    plan.settings.honor_constraints = !random.chance(4);
    for id in 0..tasks {
        let mut task = random_task(random, id);
        if id > 0 && random.chance(2) {
            task.parent = Some(random.index(id));
        }
        plan.tasks.push(task);
    }
    for _ in 0..tasks {
        plan.links.push(random_link(random, tasks));
    }
    for _ in 0..tasks / 3 {
        plan.assignments.push(Assignment {
            task: random.index(tasks),
            resource: random.index(3),
            units: Units(random.index(20_000)),
            work: Span::hours(random.small(30)),
            delay: Span::hours(random.small(3)),
            ..Assignment::default()
        });
    }
    plan
}

fn random_link(random: &mut Random, tasks: u32) -> Link {
    let (first, second) = (random.index(tasks), random.index(tasks));
    let kinds = [LinkKind::FinishToStart, LinkKind::StartToStart, LinkKind::FinishToFinish, LinkKind::StartToFinish];
    Link {
        predecessor: first.min(second),
        successor: if random.chance(30) { first.min(second) / 2 } else { first.max(second) },
        kind: kinds[random.index(4) as usize],
        lag: match random.below(6) {
            0 => Lag::Working(Span::hours(random.small(30) - 10)),
            1 => Lag::Elapsed(Span::hours(random.small(60) - 20)),
            2 => Lag::Percent(50),
            _ => Lag::default(),
        },
    }
}

fn assert_equal(live: &Live, context: &str) {
    let mut expected = schedule(live.plan());
    let problems = std::mem::take(&mut expected.problems);
    assert_eq!(live.schedule(), &expected, "{context}");
    assert_eq!(live.problems(), problems, "{context}");
}

#[test]
fn changes_give_the_same_as_a_full_computation() {
    for seed in 0..300 {
        let mut random = Random(seed);
        let tasks = 2 + random.index(30);
        let mut live = Live::new(random_plan(&mut random, tasks));
        assert_equal(&live, &format!("seed {seed}"));
        for step in 0..12 {
            let task = random.index(tasks);
            let mut entry = live.plan().tasks[task as usize];
            match random.below(6) {
                0 => entry.duration = Span::hours(random.small(40)),
                1 => entry.constraint = random_constraint(&mut random),
                2 => entry.deadline = random.moment(),
                3 => entry.manual_start = random.moment(),
                4 => entry.actual_duration = Span::hours(random.small(30)),
                _ => entry = Task { parent: entry.parent, ..random_task(&mut random, task) },
            }
            live.change(Edit::Task { task, entry });
            assert_equal(&live, &format!("seed {seed} step {step} task {task}"));
        }
        live.change(Edit::AddLink(random_link(&mut random, tasks)));
        assert_equal(&live, &format!("seed {seed}: link added"));
        live.change(Edit::RemoveLink(0));
        assert_equal(&live, &format!("seed {seed}: link removed"));
    }
}

#[test]
fn a_change_names_the_tasks_that_moved() {
    let mut plan = Plan { calendars: vec![Calendar::standard()], ..Plan::default() };
    plan.settings.start = Moment::from_civil(2026, 3, 2, 8, 0);
    plan.tasks = (0..4).map(|id| Task::new(id, Span::hours(8))).collect();
    plan.tasks[3].duration = Span::hours(80);
    plan.links.push(Link::finish_to_start(0, 1));
    let mut live = Live::new(plan);
    let entry = Task::new(0, Span::hours(16));
    let changed = live.change(Edit::Task { task: 0, entry });
    let mut moved = changed.tasks.to_vec();
    moved.sort_unstable();
    assert_eq!(moved, [0, 1]);
    assert_eq!(changed.finish_before, changed.finish_after);
    assert_eq!(live.schedule().finish[1], Moment::from_civil(2026, 3, 4, 17, 0));
}
