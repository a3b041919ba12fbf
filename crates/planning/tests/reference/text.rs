//! Plans written as text, for the cases and for reports of disagreement.
//!
//! Statements are separated by `;`. `A 3d snet:9Mar@08:00` is a task, `A FS+2d B` a link, `project
//! finish:…` sets what holds for the whole plan. A task names the summary that contains it with
//! `in:S`.

use crate::moment::{DAY, HOUR, MINUTE, Tick, WORK_DAY, at, civil, show};
use crate::plan::{Assignment, Constraint, Kind, Lag, Link, Mode, Plan, Task};

/// Reads a plan with the calendar Standard.
pub(crate) fn plan(text: &str) -> Plan {
    let mut plan = Plan::new();
    for statement in text.split(';') {
        let words: Vec<&str> = statement.split_whitespace().collect();
        match words[..] {
            [] => {}
            ["project", ref settings @ ..] => settings.iter().for_each(|word| set_project(&mut plan, word)),
            [from, link, to] if link_of(link).is_some() => {
                let (kind, lag) = link_of(link).unwrap();
                let position = |name: &str| plan.tasks.iter().position(|task| task.name == name).unwrap();
                let link = Link { from: position(from), to: position(to), kind, lag };
                plan.links.push(link);
            }
            [name, length, ref settings @ ..] => {
                let mut task = Task::new(name, length_of(length).0);
                task.is_elapsed = length_of(length).1;
                for word in settings {
                    set_task(&plan, &mut task, word);
                }
                plan.tasks.push(task);
            }
            [_] => panic!("not a statement: {statement}"),
        }
    }
    plan
}

fn set_project(plan: &mut Plan, word: &str) {
    match word.split_once(':').unwrap_or((word, "")) {
        ("start", date) => plan.start = moment(date),
        ("finish", date) => plan.from_finish = Some(moment(date)),
        ("status", date) => plan.status = Some(moment(date)),
        ("limit", length) => plan.slack_limit = length_of(length).0,
        ("reschedule", _) => plan.reschedules_rest = true,
        ("unhonoured", _) => plan.honours_constraints = false,
        ("override", _) => plan.retains_logic = false,
        ("multiple", _) => plan.has_multiple_critical_paths = true,
        _ => panic!("not a setting: {word}"),
    }
}

fn set_task(plan: &Plan, task: &mut Task, word: &str) {
    let (key, value) = word.split_once(':').unwrap_or((word, ""));
    match key {
        "alap" => task.constraint = Constraint::Alap,
        "snet" => task.constraint = Constraint::StartNoEarlier(moment(value)),
        "fnet" => task.constraint = Constraint::FinishNoEarlier(moment(value)),
        "snlt" => task.constraint = Constraint::StartNoLater(moment(value)),
        "fnlt" => task.constraint = Constraint::FinishNoLater(moment(value)),
        "mso" => task.constraint = Constraint::MustStart(moment(value)),
        "mfo" => task.constraint = Constraint::MustFinish(moment(value)),
        "deadline" => task.deadline = Some(moment(value)),
        "in" => task.parent = plan.tasks.iter().position(|other| other.name == value),
        "inactive" => task.mode = Mode::Inactive,
        "manual" => {
            let (start, finish) = value.split_once('>').unwrap();
            task.mode = Mode::Manual { start: moment(start), finish: moment(finish) };
        }
        "started" => task.actual_start = Some(moment(value)),
        "finished" => {
            task.actual_finish = Some(moment(value));
            task.done = task.length;
        }
        "done" => task.done = length_of(value).0,
        "resume" => task.resume = Some(moment(value)),
        "delay" => task.delay = length_of(value).0,
        "fixed" => task.has_fixed_duration = true,
        "ignore" => task.ignores_resource_calendars = true,
        "cal" => task.calendar = Some(value.parse().unwrap()),
        "parts" => {
            let part =
                |part: &str| part.split_once('+').map(|(gap, part)| (length_of(gap).0, length_of(part).0)).unwrap();
            task.parts = value.split(',').map(part).collect();
        }
        "by" => {
            let words: Vec<&str> = value.split(',').collect();
            task.assignments.push(Assignment {
                resource: words[0].parse().unwrap(),
                work: length_of(words[1]).0,
                units_percent: words[2].parse().unwrap(),
                delay: words.get(3).map_or(0, |delay| length_of(delay).0),
            });
        }
        _ => panic!("not a property of a task: {word}"),
    }
}

fn link_of(word: &str) -> Option<(Kind, Lag)> {
    let kind = match word.get(..2)? {
        "FS" => Kind::FinishStart,
        "SS" => Kind::StartStart,
        "FF" => Kind::FinishFinish,
        "SF" => Kind::StartFinish,
        _ => return None,
    };
    let lag = &word[2..];
    let lag = match lag {
        "" => Lag::Work(0),
        _ if lag.ends_with("e%") => Lag::ElapsedPercent(lag.trim_end_matches("e%").parse().unwrap()),
        _ if lag.ends_with('%') => Lag::Percent(lag.trim_end_matches('%').parse().unwrap()),
        _ => match length_of(lag) {
            (length, true) => Lag::Elapsed(length),
            (length, false) => Lag::Work(length),
        },
    };
    Some((kind, lag))
}

/// Returns the length of `3d`, `4h`, `-5m`, `7t` (tenths of a minute) or `2ed`, and whether it is
/// elapsed.
pub(crate) fn length_of(text: &str) -> (Tick, bool) {
    let unit = text.trim_start_matches(|c: char| c.is_ascii_digit() || "+-.".contains(c));
    let number = text[..text.len() - unit.len()].trim_start_matches('+');
    let (of_unit, is_elapsed) = match unit {
        "d" => (WORK_DAY, false),
        "h" => (HOUR, false),
        "m" => (MINUTE, false),
        "t" => (1, false),
        "ed" => (DAY, true),
        "eh" => (HOUR, true),
        "em" => (MINUTE, true),
        "et" => (1, true),
        _ => panic!("not a length: {text}"),
    };
    let number: Tick = number.parse().unwrap_or_else(|_| panic!("not a length: {text}"));
    (number * of_unit, is_elapsed)
}

/// Returns the moment of `9Mar@08:00`.
fn moment(text: &str) -> Tick {
    let (date, time) = text.split_once('@').unwrap_or_else(|| panic!("not a moment: {text}"));
    let month = date.trim_start_matches(|c: char| c.is_ascii_digit());
    at(&format!("{} {month} {time}", &date[..date.len() - month.len()]))
}

// Writing
// ------------------------------------------------------------------------------------------

fn show_moment(moment: Tick) -> String {
    let words = show(moment);
    let words: Vec<&str> = words.split_whitespace().collect();
    format!("{}{}@{}", words[1].trim_start_matches('0'), words[2], words[3])
}

fn show_span(length: Tick, is_elapsed: bool) -> String {
    let e = if is_elapsed { "e" } else { "" };
    let day = if is_elapsed { DAY } else { WORK_DAY };
    match length {
        _ if length % day == 0 => format!("{}{e}d", length / day),
        _ if length % HOUR == 0 => format!("{}{e}h", length / HOUR),
        _ if length % MINUTE == 0 => format!("{}{e}m", length / MINUTE),
        _ => format!("{length}{e}t"),
    }
}

fn show_link(plan: &Plan, link: &Link) -> String {
    let kind = match link.kind {
        Kind::FinishStart => "FS",
        Kind::StartStart => "SS",
        Kind::FinishFinish => "FF",
        Kind::StartFinish => "SF",
    };
    let sign = |amount: i64| if amount < 0 { "" } else { "+" };
    let lag = match link.lag {
        Lag::Work(0) => String::new(),
        Lag::Work(length) => format!("{}{}", sign(length), show_span(length, false)),
        Lag::Elapsed(length) => format!("{}{}", sign(length), show_span(length, true)),
        Lag::Percent(percent) => format!("{}{percent}%", sign(percent)),
        Lag::ElapsedPercent(percent) => format!("{}{percent}e%", sign(percent)),
    };
    format!("{} {kind}{lag} {}", plan.tasks[link.from].name, plan.tasks[link.to].name)
}

fn show_task(plan: &Plan, task: &Task) -> String {
    let mut words = vec![task.name.clone(), show_span(task.length, task.is_elapsed)];
    let dated = |key: &str, date: Tick| format!("{key}:{}", show_moment(date));
    words.extend(task.parent.map(|parent| format!("in:{}", plan.tasks[parent].name)));
    words.extend(match task.constraint {
        Constraint::Asap => None,
        Constraint::Alap => Some("alap".to_owned()),
        Constraint::MustStart(date) => Some(dated("mso", date)),
        Constraint::MustFinish(date) => Some(dated("mfo", date)),
        Constraint::StartNoEarlier(date) => Some(dated("snet", date)),
        Constraint::StartNoLater(date) => Some(dated("snlt", date)),
        Constraint::FinishNoEarlier(date) => Some(dated("fnet", date)),
        Constraint::FinishNoLater(date) => Some(dated("fnlt", date)),
    });
    words.extend(task.deadline.map(|date| dated("deadline", date)));
    words.extend(match task.mode {
        Mode::Automatic => None,
        Mode::Inactive => Some("inactive".to_owned()),
        Mode::Manual { start, finish } => Some(format!("manual:{}>{}", show_moment(start), show_moment(finish))),
    });
    words.extend(task.actual_start.map(|date| dated("started", date)));
    words.extend(task.actual_finish.map(|date| dated("finished", date)));
    words.extend(
        (task.done != 0 && task.actual_finish.is_none()).then(|| format!("done:{}", show_span(task.done, false))),
    );
    words.extend(task.resume.map(|date| dated("resume", date)));
    words.extend((task.delay != 0).then(|| format!("delay:{}", show_span(task.delay, true))));
    words.extend(task.has_fixed_duration.then(|| "fixed".to_owned()));
    words.extend(task.calendar.map(|calendar| format!("cal:{calendar}")));
    words.extend(task.ignores_resource_calendars.then(|| "ignore".to_owned()));
    let parts: Vec<_> = task
        .parts
        .iter()
        .map(|(gap, part)| format!("{}+{}", show_span(*gap, false), show_span(*part, false)))
        .collect();
    words.extend((!parts.is_empty()).then(|| format!("parts:{}", parts.join(","))));
    words.extend(task.assignments.iter().map(|assignment| {
        let delay =
            if assignment.delay == 0 { String::new() } else { format!(",{}", show_span(assignment.delay, false)) };
        let work = show_span(assignment.work, false);
        format!("by:{},{work},{}{delay}", assignment.resource, assignment.units_percent)
    }));
    words.join(" ")
}

/// Writes a plan so that [`plan`] reads it; calendars other than Standard follow in debug form.
pub(crate) fn show_plan(plan: &Plan) -> String {
    let mut words = vec!["project".to_owned(), format!("start:{}", show_moment(plan.start))];
    words.extend(plan.from_finish.map(|date| format!("finish:{}", show_moment(date))));
    words.extend(plan.status.map(|date| format!("status:{}", show_moment(date))));
    words.extend((plan.slack_limit != 0).then(|| format!("limit:{}", show_span(plan.slack_limit, false))));
    words.extend(plan.reschedules_rest.then(|| "reschedule".to_owned()));
    words.extend((!plan.honours_constraints).then(|| "unhonoured".to_owned()));
    words.extend((!plan.retains_logic).then(|| "override".to_owned()));
    words.extend(plan.has_multiple_critical_paths.then(|| "multiple".to_owned()));
    let mut statements = vec![words.join(" ")];
    statements.extend(plan.tasks.iter().map(|task| show_task(plan, task)));
    statements.extend(plan.links.iter().map(|link| show_link(plan, link)));
    let mut text = statements.join("; ");
    if plan.calendars != Plan::new().calendars {
        text.push_str(&format!("\nresources: {:?}\ncalendars:", plan.resources));
        for (number, calendar) in plan.calendars.iter().enumerate() {
            text.push_str(&format!("\n  {number}: {}", show_calendar(calendar)));
        }
    }
    text
}

fn show_calendar(calendar: &crate::calendar::Calendar) -> String {
    use crate::calendar::{Hours, WeekDay};
    let date = |day: i64| {
        let (year, month, day) = civil(day);
        format!("{year}-{month:02}-{day:02}")
    };
    let hours = |hours: &Hours| {
        let span = |(begin, end): &(Tick, Tick)| format!("{}-{}", show_clock(*begin), show_clock(*end));
        if hours.is_empty() { "free".to_owned() } else { hours.iter().map(span).collect::<Vec<_>>().join(",") }
    };
    let week = |week: &[WeekDay; 7]| {
        let day = |day: &WeekDay| match day {
            WeekDay::AsBase => "base".to_owned(),
            WeekDay::Free => "free".to_owned(),
            WeekDay::Hours(of_day) => hours(of_day),
        };
        week.iter().map(day).collect::<Vec<_>>().join(" | ")
    };
    let mut text = format!("base {:?}, Sun-Sat {}", calendar.base, week(&calendar.week));
    for work_week in &calendar.work_weeks {
        text.push_str(&format!(
            "\n     work week {} to {}: {}",
            date(work_week.from),
            date(work_week.to),
            week(&work_week.days)
        ));
    }
    for exception in &calendar.exceptions {
        let (from, to) = (date(exception.from), date(exception.to));
        text.push_str(&format!(
            "\n     exception {from} to {to} {:?}: {}",
            exception.recurrence,
            hours(&exception.hours)
        ));
    }
    text
}

fn show_clock(clock: Tick) -> String {
    format!("{:02}:{:02}", clock / HOUR, clock % HOUR / MINUTE)
}
