//! The engine under test, with plans and answers of the reference solver.

use pmo_planning as engine;

use crate::calendar::{Calendar, Exception, Hours, Recurrence, WeekDay};
use crate::moment::Tick;
use crate::plan::{Answer, Constraint, Kind, Lag, Mode, Plan, Task};

fn number<T: TryFrom<i64>>(value: i64) -> T {
    T::try_from(value).unwrap_or_else(|_| panic!("out of range: {value}"))
}

fn position(value: usize) -> u32 {
    u32::try_from(value).unwrap()
}

fn moment(moment: Tick) -> engine::Moment {
    engine::Moment(number(moment))
}

fn optional(date: Option<Tick>) -> engine::Moment {
    date.map_or(engine::Moment::NONE, moment)
}

fn span(length: Tick) -> engine::Span {
    engine::Span(number(length))
}

fn calendar_index(calendar: usize) -> engine::CalendarIndex {
    engine::CalendarIndex(u16::try_from(calendar).unwrap())
}

/// Returns the plan in the form of the engine.
pub(crate) fn engine_plan(plan: &Plan) -> engine::Plan {
    let task_numbers = (0u32..).zip(&plan.tasks);
    let mut assignments = vec![];
    let mut segments = vec![];
    for (task, data) in task_numbers.clone() {
        assignments.extend(data.assignments.iter().map(|assignment| engine::Assignment {
            task,
            resource: position(assignment.resource),
            units: engine::Units(number(assignment.units_percent * 100)),
            work: span(assignment.work),
            delay: span(assignment.delay),
            ..engine::Assignment::default()
        }));
        let mut offset = 0;
        for &(gap, length) in &data.parts {
            offset += gap;
            segments.push(engine::Segment { task, assignment: None, offset: span(offset), length: span(length) });
            offset += length;
        }
    }
    let link = |link: &crate::plan::Link| engine::Link {
        predecessor: position(link.from),
        successor: position(link.to),
        kind: match link.kind {
            Kind::FinishStart => engine::LinkKind::FinishToStart,
            Kind::StartStart => engine::LinkKind::StartToStart,
            Kind::FinishFinish => engine::LinkKind::FinishToFinish,
            Kind::StartFinish => engine::LinkKind::StartToFinish,
        },
        lag: lag_of(link.lag),
    };
    let resource = |calendar: &usize| engine::Resource {
        kind: engine::ResourceKind::Work,
        calendar: Some(calendar_index(*calendar)),
    };
    engine::Plan {
        settings: settings_of(plan),
        calendars: plan.calendars.iter().map(calendar_of).collect(),
        tasks: task_numbers.map(|(number, task)| task_of(number, task)).collect(),
        links: plan.links.iter().map(link).collect(),
        resources: plan.resources.iter().map(resource).collect(),
        assignments,
        segments,
    }
}

fn settings_of(plan: &Plan) -> engine::Settings {
    engine::Settings {
        start: moment(plan.start),
        finish: optional(plan.from_finish),
        direction: match plan.from_finish {
            None => engine::Direction::FromStart,
            Some(_) => engine::Direction::FromFinish,
        },
        calendar: engine::CalendarIndex(0),
        status_date: optional(plan.status),
        reschedule_remaining: plan.reschedules_rest,
        honor_constraints: plan.honours_constraints,
        critical_slack_limit: span(plan.slack_limit),
        multiple_critical_paths: plan.has_multiple_critical_paths,
        split_in_progress: plan.retains_logic,
    }
}

fn lag_of(lag: Lag) -> engine::Lag {
    match lag {
        Lag::Work(length) => engine::Lag::Working(span(length)),
        Lag::Elapsed(length) => engine::Lag::Elapsed(span(length)),
        Lag::Percent(percent) => engine::Lag::Percent(number(percent)),
        Lag::ElapsedPercent(percent) => engine::Lag::ElapsedPercent(number(percent)),
    }
}

fn task_of(id: u32, task: &Task) -> engine::Task {
    let (mode, start, finish) = match task.mode {
        Mode::Automatic => (engine::Mode::Automatic, None, None),
        Mode::Inactive => (engine::Mode::Inactive, None, None),
        Mode::Manual { start, finish } => (engine::Mode::Manual, Some(start), Some(finish)),
    };
    engine::Task {
        parent: task.parent.map(position),
        mode,
        manual_start: optional(start),
        manual_finish: optional(finish),
        elapsed: task.is_elapsed,
        task_type: if task.has_fixed_duration { engine::TaskType::FixedDuration } else { engine::TaskType::FixedUnits },
        calendar: task.calendar.map(calendar_index),
        ignore_resource_calendars: task.ignores_resource_calendars,
        constraint: match task.constraint {
            Constraint::Asap => engine::Constraint::AsSoonAsPossible,
            Constraint::Alap => engine::Constraint::AsLateAsPossible,
            Constraint::MustStart(date) => engine::Constraint::MustStartOn(moment(date)),
            Constraint::MustFinish(date) => engine::Constraint::MustFinishOn(moment(date)),
            Constraint::StartNoEarlier(date) => engine::Constraint::StartNoEarlierThan(moment(date)),
            Constraint::StartNoLater(date) => engine::Constraint::StartNoLaterThan(moment(date)),
            Constraint::FinishNoEarlier(date) => engine::Constraint::FinishNoEarlierThan(moment(date)),
            Constraint::FinishNoLater(date) => engine::Constraint::FinishNoLaterThan(moment(date)),
        },
        deadline: optional(task.deadline),
        leveling_delay: span(task.delay),
        actual_start: optional(task.actual_start),
        actual_finish: optional(task.actual_finish),
        actual_duration: span(task.done),
        resume: optional(task.resume),
        ..engine::Task::new(id, span(task.length))
    }
}

fn calendar_of(calendar: &Calendar) -> engine::Calendar {
    let week = |days: &[WeekDay; 7]| {
        days.clone().map(|day| match day {
            WeekDay::AsBase => engine::DayHours::Inherited,
            WeekDay::Free => engine::DayHours::Ranges(vec![]),
            WeekDay::Hours(hours) => engine::DayHours::Ranges(hours_of(&hours)),
        })
    };
    let day = |day: i64| engine::Day(number(day));
    let work_week = |work_week: &crate::calendar::WorkWeek| engine::WorkWeek {
        from: day(work_week.from),
        to: day(work_week.to),
        days: week(&work_week.days),
    };
    let exception = |exception: &Exception| engine::CalendarException {
        from: day(exception.from),
        to: day(exception.to),
        recurrence: recurrence_of(&exception.recurrence),
        occurrences: None,
        hours: hours_of(&exception.hours),
    };
    engine::Calendar {
        base: calendar.base.map(calendar_index),
        week: week(&calendar.week),
        work_weeks: calendar.work_weeks.iter().map(work_week).collect(),
        exceptions: calendar.exceptions.iter().map(exception).collect(),
    }
}

fn hours_of(hours: &Hours) -> Vec<engine::HourRange> {
    hours.iter().map(|&(begin, end)| engine::HourRange { from: number(begin), to: number(end) }).collect()
}

fn recurrence_of(recurrence: &Recurrence) -> engine::Recurrence {
    let week_day = |day: usize| u8::try_from(day).unwrap();
    match *recurrence {
        Recurrence::Single => engine::Recurrence::Daily { period: 1 },
        Recurrence::Daily(every) => engine::Recurrence::Daily { period: number(every) },
        Recurrence::YearlyByDay { month, day } => {
            engine::Recurrence::YearlyByDay { month: number(month), day: number(day) }
        }
        Recurrence::YearlyByPosition { month, week_day: day, position } => engine::Recurrence::YearlyByPosition {
            month: number(month),
            position: number(position),
            weekday: week_day(day),
        },
        Recurrence::MonthlyByDay { every, day } => {
            engine::Recurrence::MonthlyByDay { day: number(day), period: number(every) }
        }
        Recurrence::MonthlyByPosition { every, week_day: day, position } => engine::Recurrence::MonthlyByPosition {
            position: number(position),
            weekday: week_day(day),
            period: number(every),
        },
        Recurrence::Weekly { every, days } => engine::Recurrence::Weekly { days, period: number(every) },
    }
}

/// Returns the engine's answers in the form of the reference solver.
pub(crate) fn solve_with_engine(plan: &Plan) -> Vec<Answer> {
    answers_of(&engine::schedule(&engine_plan(plan)))
}

fn answers_of(schedule: &engine::Schedule) -> Vec<Answer> {
    let date = |dates: &[engine::Moment], task: usize| Tick::from(dates[task].0);
    let length = |lengths: &[engine::Span], task: usize| Tick::from(lengths[task].0);
    let answer = |task: usize| Answer {
        start: date(&schedule.start, task),
        finish: date(&schedule.finish, task),
        early_start: date(&schedule.early_start, task),
        early_finish: date(&schedule.early_finish, task),
        late_start: date(&schedule.late_start, task),
        late_finish: date(&schedule.late_finish, task),
        total: length(&schedule.total_slack, task),
        free: length(&schedule.free_slack, task),
        is_critical: schedule.critical[task],
        length: length(&schedule.duration, task),
        percent: i64::from(schedule.percent_complete[task]),
        resume: schedule.resume[task].get().map(|moment| Tick::from(moment.0)),
    };
    (0..schedule.start.len()).map(answer).collect()
}
