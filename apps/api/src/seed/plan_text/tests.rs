use super::{Obstacle, PlanText, Target};
use crate::seed::calendars;
use crate::seed::library::Library;
use pmo_planning::{LinkKind, Span, TaskType};
use pmo_project_plan::{ConstraintType, DurationUnit};
use std::collections::BTreeSet;

#[test]
fn plan_text_becomes_an_outline_with_links_people_and_flags() {
    let text = "type: Release\nbudget: 5000\n[tasks]\nPhase\n  a = First | 3d | | Engineer, Tester 2 50%\n  b = Second | 2ed | a SS+2d, a FF-1d | ?Builder | slip 3d, deadline +5d, fixed duration, high\nEnd | 0d | b FS+1w | | MSO +2d\n[comments]\na | Engineer | Hello\n> Tester | Hi";
    let plan = PlanText::parse(text).unwrap();
    let [phase, first, second, end] = plan.tasks.as_slice() else { panic!("{plan:?}") };
    assert_eq!((phase.length, phase.parent, first.parent, end.parent), (None, None, Some(0), None));
    assert_eq!(first.people[1].units, 50);
    assert_eq!((first.people[1].role.as_str(), first.people[1].number), ("Tester", Some(2)));
    let length = second.length.unwrap();
    assert_eq!((length.span, length.unit), (Span::hours(48), DurationUnit::ElapsedDays));
    let links: Vec<_> = second.predecessors.iter().map(|link| (link.task, link.kind, link.lag.span)).collect();
    assert_eq!(
        links,
        [(1, LinkKind::StartToStart, Span::hours(16)), (1, LinkKind::FinishToFinish, Span(-Span::hours(8).0))]
    );
    assert_eq!(second.people[0].number, None);
    assert_eq!((second.flags.slip_days, second.flags.deadline_days), (3, Some(5)));
    assert_eq!((second.flags.task_type, second.flags.priority), (TaskType::FixedDuration, "High"));
    assert_eq!(end.flags.constraint, Some((ConstraintType::MustStartOn, 2)));
    assert_eq!(end.predecessors[0].lag.span, Span::hours(40));
    let targets: Vec<_> = plan.comments.iter().map(|comment| comment.target).collect();
    assert_eq!(targets, [Target::Task(1), Target::PreviousComment]);
}

#[test]
fn faults_name_their_line() {
    for (text, line) in [
        ("nonsense", 1),
        ("[tasks]\na = A | x", 2),
        ("[tasks]\na = A | 1d | b", 2),
        ("[tasks]\na = A | 1d\na = B | 1d", 3),
        ("[tasks]\n    A | 1d", 2),
        ("[tasks]\nA | 1d | | | glow", 2),
        ("[tasks]\nA | 1d | | 50%", 2),
        ("[tasks]\na = A | 1d\nB | 1d | a XX+1d", 3),
        ("[tasks]\nA | 99999999w", 2),
        ("[risks]\nA | 1", 2),
        ("[poems]\nA", 2),
    ] {
        assert_eq!(PlanText::parse(text).unwrap_err().line, line, "{text}");
    }
}

#[test]
fn truncated_plan_refers_to_no_other_task() {
    let library = Library::read().unwrap();
    for (name, plan) in &library.plans {
        for count in [1, 20, 34] {
            let short = plan.truncated(count);
            assert_eq!(short.tasks.len(), count, "{name}");
            let is_in = |task: usize| task < count;
            assert!(short.tasks.iter().flat_map(|task| &task.predecessors).all(|before| is_in(before.task)));
            assert!(short.costs.iter().all(|cost| is_in(cost.task)), "{name}");
            let tasks = short.comments.iter().filter_map(|comment| match comment.target {
                Target::Task(task) => Some(task),
                _ => None,
            });
            assert!({ tasks }.all(is_in), "{name}");
            let last = short.tasks.last().unwrap();
            assert!(last.length.is_some(), "{name}: a summary without tasks below has a duration");
        }
    }
}

#[test]
fn each_plan_has_30_to_120_tasks_with_all_types_of_links_and_content() {
    let library = Library::read().unwrap();
    let mut kinds = BTreeSet::new();
    for (name, plan) in &library.plans {
        assert!((30..=120).contains(&plan.tasks.len()), "{name}: {}", plan.tasks.len());
        let links: Vec<_> = plan.tasks.iter().flat_map(|task| &task.predecessors).collect();
        kinds.extend(links.iter().map(|link| format!("{:?}", link.kind)));
        assert!(links.iter().any(|link| link.lag.span > Span::ZERO), "{name} has lags");
        assert!(links.iter().any(|link| link.lag.span < Span::ZERO), "{name} has leads");
        let flags = || plan.tasks.iter().map(|task| &task.flags);
        assert!(flags().any(|flags| flags.deadline_days.is_some()), "{name} has deadlines");
        assert!(flags().any(|flags| flags.constraint.is_some()), "{name} has constraints");
        assert!(flags().any(|flags| flags.slip_days > 0), "{name} can be late");
        assert!(flags().any(|flags| flags.obstacle == Obstacle::Blocked), "{name} has blocked work");
        assert!(plan.risks.len() >= 3 && plan.issues.len() >= 2 && plan.decisions.len() >= 2, "{name}");
        assert!(!plan.changes.is_empty() && plan.costs.len() >= 3 && plan.comments.len() >= 4, "{name}");
        assert!(plan.budget > 10_000 && !plan.descr.is_empty() && !plan.kind.is_empty(), "{name}");
        let names: BTreeSet<_> = plan.tasks.iter().map(|task| &task.name).collect();
        assert_eq!(names.len(), plan.tasks.len(), "{name}: a name is used twice");
    }
    assert_eq!(kinds.len(), 4, "{kinds:?}");
}

#[test]
fn plans_use_roles_and_calendars_that_exist() {
    let library = Library::read().unwrap();
    let roles: BTreeSet<&str> = library.roles.iter().map(|role| role.name).collect();
    assert_eq!(library.roles.iter().map(|role| role.count).sum::<usize>(), 76);
    for (name, plan) in &library.plans {
        let people = plan.tasks.iter().flat_map(|task| &task.people).filter(|person| person.number.is_some());
        let owners = plan.risks.iter().map(|risk| &risk.owner).chain(plan.issues.iter().map(|issue| &issue.owner));
        let authors = plan.comments.iter().map(|comment| &comment.author.0);
        for role in people.map(|person| &person.role).chain(owners).chain(authors) {
            assert!(roles.contains(role.as_str()), "{name}: no role is named {role}");
        }
        for calendar in plan.tasks.iter().filter_map(|task| task.flags.calendar.as_deref()) {
            assert!(calendars::is_known(calendar), "{name}: no calendar is named {calendar}");
        }
    }
}
