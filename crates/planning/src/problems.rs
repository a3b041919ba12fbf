//! Problems that the dates show: broken links and constraints, missed deadlines.

use crate::graph::{Role, index};
use crate::model::{Constraint, LinkKind, Mode};
use crate::moment::{Moment, Span};
use crate::pass::Pass;
use crate::result::Problem;

/// Adds what the dates of a schedule break.
pub(crate) fn report(pass: &Pass<'_>, problems: &mut Vec<Problem>) {
    let network = pass.network;
    for task in 0..network.role.len() {
        if network.role[task] == Role::Inactive {
            continue;
        }
        report_links(pass, task, problems);
        let (start, finish, entry) = (pass.schedule.start[task], pass.schedule.finish[task], pass.task(task));
        if entry.deadline.is_some() && finish > entry.deadline {
            problems.push(Problem::DeadlineMissed(entry.id));
        }
        let table = network.table_of(task);
        let broken = match entry.constraint {
            Constraint::StartNoLaterThan(date) | Constraint::MustStartOn(date) => start > table.start_form(date),
            Constraint::FinishNoLaterThan(date) | Constraint::MustFinishOn(date) => finish > date,
            _ => false,
        };
        if broken && entry.mode == Mode::Automatic && network.role[task] == Role::Leaf {
            problems.push(Problem::ConstraintBroken(entry.id));
        }
        if [start, finish].iter().any(|date| *date <= Moment::MIN || *date >= Moment::MAX) {
            problems.push(Problem::OutOfRange(entry.id));
        }
    }
}

/// Reports the links into a task that its dates break.
fn report_links(pass: &Pass<'_>, task: usize, problems: &mut Vec<Problem>) {
    let entry = pass.task(task);
    let table = pass.network.table_of(task);
    for edge in pass.network.edges_into(task) {
        let asked = pass.asked_date(edge).moment;
        let date = match edge.kind {
            LinkKind::FinishToStart | LinkKind::StartToStart => pass.schedule.start[task],
            LinkKind::FinishToFinish | LinkKind::StartToFinish => pass.schedule.finish[task],
        };
        if asked <= date || table.between(asked, date) >= Span::ZERO {
            continue;
        }
        let constrained = !matches!(
            entry.constraint,
            Constraint::AsSoonAsPossible
                | Constraint::AsLateAsPossible
                | Constraint::StartNoEarlierThan(_)
                | Constraint::FinishNoEarlierThan(_)
        );
        problems.push(if entry.mode == Mode::Automatic && !pass.is_started(task) && constrained {
            Problem::ConstraintBeatsLink { task: index(task), link: edge.link }
        } else {
            Problem::LinkBroken(edge.link)
        });
    }
}
