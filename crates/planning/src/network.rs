//! The plan compiled for the passes: calendars as tables, links by task, nodes in order.
//!
//! A leaf is one node. A summary is two: a start gate, which holds everything below it to the links
//! and dates of the summary, and a finish gate, which gathers the dates of what is below. So a link
//! between two large summaries stays one link.

use crate::graph::{Edge, Lists, NO_PARENT, Outline, Role, index};
use crate::model::{Lag, LinkKind, Mode, Plan, ResourceKind, Task, TaskType};
use crate::moment::Span;
use crate::order;
use crate::result::Problem;
use crate::tables::{ELAPSED, Tables};
use crate::work_table::WorkTable;
use std::ops::Range;

/// Work of one assignment, or the whole task if it has no people.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Run {
    /// Table of working time.
    pub(crate) table: u16,
    /// Working time from the start of the task to the start of the run.
    pub(crate) delay: Span,
    /// Working time of the run, gaps between segments included.
    pub(crate) length: Span,
}

/// Compiled plan.
#[derive(Clone, Debug)]
pub(crate) struct Network {
    pub(crate) tables: Tables,
    pub(crate) role: Vec<Role>,
    /// Table on which each task is done: its calendar or that of its people; 0 for elapsed tasks.
    pub(crate) table: Vec<u16>,
    /// Table on which the slack of each task counts: its calendar, or else that of the project.
    pub(crate) slack_table: Vec<u16>,
    /// Working time from start to finish of each leaf, gaps between segments included.
    pub(crate) length: Vec<Span>,
    /// Working time from the actual start to the rest, of each started leaf.
    pub(crate) done: Vec<Span>,
    /// Runs of leaves with more than one, or with a delay; empty for others.
    pub(crate) runs: Vec<Run>,
    pub(crate) run_range: Vec<Range<u32>>,
    /// Whether the length of a task comes from its people or from segments, not from its duration.
    pub(crate) sized_by_parts: Vec<bool>,
    /// Positions of the segments of each task itself; empty if no task is split.
    segments: Lists,
    /// Active children by summary.
    pub(crate) children: Lists,
    /// Number of each summary among the summaries; 0 for others.
    pub(crate) gate: Vec<u32>,
    /// Number of summaries.
    pub(crate) summaries: usize,
    /// Effective parent; `u32::MAX` at the top level.
    pub(crate) parent: Vec<u32>,
    pub(crate) edges: Vec<Edge>,
    /// Edges by successor: `edges[into[task]..into[task + 1]]`.
    pub(crate) into: Vec<u32>,
    /// Positions of edges by predecessor.
    pub(crate) out: Lists,
    /// Nodes in an order in which predecessors come first; `tasks + i` is the finish gate of i.
    pub(crate) order: Vec<u32>,
    /// Whether the latest finish at which a leaf loses no work matters to some link.
    pub(crate) held_finish: Vec<bool>,
    /// Whether time is turned around.
    pub(crate) turned: bool,
    /// Table of the project's calendar.
    pub(crate) project_table: u16,
}

impl Network {
    /// Compiles a plan and reports what it states wrongly.
    pub(crate) fn new(plan: &Plan, problems: &mut Vec<Problem>) -> Self {
        let count = plan.tasks.len();
        let mut tables = Tables::new(plan, problems);
        let project_table = tables.calendar(plan, plan.settings.calendar, problems);
        let parent = effective_parents(plan, problems);
        let role = roles(plan, &parent);
        let active = (0..count).filter(|&task| role[task] != Role::Inactive && parent[task] != NO_PARENT);
        let children = Lists::new(count, active.map(|task| (parent[task], index(task))));
        let mut network = Self {
            tables,
            table: vec![project_table; count],
            slack_table: vec![project_table; count],
            length: vec![Span::ZERO; count],
            done: vec![Span::ZERO; count],
            runs: Vec::new(),
            run_range: vec![0..0; count],
            sized_by_parts: vec![false; count],
            segments: Lists::default(),
            gate: vec![0; count],
            summaries: 0,
            children,
            parent,
            role,
            edges: Vec::new(),
            into: Vec::new(),
            out: Lists::default(),
            order: Vec::new(),
            held_finish: vec![false; count],
            turned: false,
            project_table,
        };
        for task in 0..count {
            if network.role[task] == Role::Summary {
                network.gate[task] = index(network.summaries);
                network.summaries += 1;
            }
        }
        network.compile_tasks(plan, problems);
        network.compile_links(plan, problems);
        network
    }

    /// Returns the table of a task.
    pub(crate) fn table_of(&self, task: usize) -> &WorkTable {
        self.tables.get(self.table[task])
    }

    /// Returns the table on which the slack of a task counts.
    pub(crate) fn slack_table_of(&self, task: usize) -> &WorkTable {
        self.tables.get(self.slack_table[task])
    }

    /// Returns the edges into a task.
    pub(crate) fn edges_into(&self, task: usize) -> &[Edge] {
        &self.edges[self.into[task] as usize..self.into[task + 1] as usize]
    }

    fn compile_tasks(&mut self, plan: &Plan, problems: &mut Vec<Problem>) {
        let count = plan.tasks.len();
        let assignments = assignments_by_task(plan, problems);
        let gaps = segment_extents(plan, problems);
        self.segments = segments_by_task(plan);
        for task in 0..count {
            if self.role[task] != Role::Inactive {
                self.compile_task(plan, task, assignments.of(task), &gaps, problems);
                self.done[task] = self.done_length(plan, task);
            }
        }
    }

    /// Returns the working time from the actual start of a task to the beginning of its rest.
    pub(crate) fn done_length(&self, plan: &Plan, task: usize) -> Span {
        let entry = &plan.tasks[task];
        if entry.actual_start.is_none() {
            return Span::ZERO;
        }
        let mut left = Span(entry.actual_duration.0.max(0));
        let positions: &[u32] = if self.segments.is_empty() { &[] } else { self.segments.of(task) };
        let mut segments = positions.iter().map(|&position| &plan.segments[position as usize]);
        let mut position = segments.clone().next().map_or(left, |first| first.offset);
        if let Some(part) = segments.find(|part| {
            let inside = left < part.length;
            if !inside {
                left = left.minus(part.length);
                position = part.offset.plus(part.length);
            }
            inside
        }) {
            position = part.offset.plus(left);
        } else if entry.stop.is_some() {
            position = self.table_of(task).between(entry.actual_start, entry.stop);
        }
        Span(position.0.clamp(0, self.length[task].0))
    }

    /// Sets table, length and runs of a task.
    ///
    /// Microsoft Project: fixed-duration tasks and tasks without working people run on the calendar
    /// of the task; all others end when their last assignment ends.
    fn compile_task(
        &mut self,
        plan: &Plan,
        task: usize,
        assignments: &[u32],
        extents: &Extents,
        problems: &mut Vec<Problem>,
    ) {
        let entry = &plan.tasks[task];
        let own = if entry.elapsed { ELAPSED } else { self.calendar_table(plan, task, problems) };
        self.table[task] = own;
        self.slack_table[task] = own;
        self.length[task] = Span(extents.task[task].0.max(entry.duration.0.clamp(0, Span::MAX.0)));
        self.sized_by_parts[task] = extents.task[task] > Span::ZERO;
        let own_only = entry.elapsed || entry.mode == Mode::Manual || entry.task_type == TaskType::FixedDuration;
        if own_only || self.role[task] == Role::Summary {
            return;
        }
        let first = self.runs.len();
        for &position in assignments {
            let assignment = &plan.assignments[position as usize];
            let table = self.run_table(plan, entry, own, assignment.resource, problems);
            let units = i64::from(assignment.units.0);
            let mut length = assignment.duration.unwrap_or_else(|| assignment.work.scale(10_000, units));
            length = Span(length.0.max(extents.assignment[position as usize].0).clamp(0, Span::MAX.0));
            let delay = assignment.delay.plus(assignment.leveling_delay);
            if length > Span::ZERO {
                self.runs.push(Run { table, delay: Span(delay.0.max(0)), length });
            }
        }
        self.sized_by_parts[task] |= self.runs.len() > first;
        self.simplify_runs(task, first);
    }

    /// Returns the table of the calendar of a task, also if its duration counts all time.
    pub(crate) fn calendar_table(&mut self, plan: &Plan, task: usize, problems: &mut Vec<Problem>) -> u16 {
        let calendar = plan.tasks[task].calendar;
        calendar.map_or(self.project_table, |calendar| self.tables.calendar(plan, calendar, problems))
    }

    /// Keeps the runs of a task, unless one run on one table says the same.
    fn simplify_runs(&mut self, task: usize, first: usize) {
        let runs = &self.runs[first..];
        let Some(&Run { table, .. }) = runs.first() else { return };
        if runs.iter().all(|run| run.table == table) && runs.iter().any(|run| run.delay == Span::ZERO) {
            let length = runs.iter().map(|run| run.delay.plus(run.length)).max().unwrap_or_default();
            self.runs.truncate(first);
            self.table[task] = table;
            self.length[task] = length;
        } else {
            let longest = runs.iter().max_by_key(|run| run.delay.plus(run.length)).copied();
            self.table[task] = longest.map_or(table, |run| run.table);
            self.length[task] = longest.map_or(Span::ZERO, |run| run.delay.plus(run.length));
            self.run_range[task] = index(first)..index(self.runs.len());
        }
    }

    /// Returns the table of an assignment.
    ///
    /// Microsoft Project: with a calendar of the task and one of the person, the time that both
    /// have; with "ignore resource calendars", that of the task; without a task calendar, the
    /// person's.
    fn run_table(&mut self, plan: &Plan, task: &Task, own: u16, resource: u32, problems: &mut Vec<Problem>) -> u16 {
        let calendar = plan.resources.get(resource as usize).and_then(|resource| resource.calendar);
        let person = calendar.map_or(self.project_table, |calendar| self.tables.calendar(plan, calendar, problems));
        match task.calendar {
            None => person,
            Some(_) if task.ignore_resource_calendars => own,
            Some(calendar) => self.tables.pair(own, person).unwrap_or_else(|| {
                problems.push(Problem::NoWorkingTime(calendar));
                own
            }),
        }
    }

    /// Returns true if a task lies below another, which is a summary that takes part.
    fn is_inside(&self, outline: &Outline, task: usize, summary: usize) -> bool {
        self.role[summary] == Role::Summary && outline.is_below(task, summary)
    }

    fn compile_links(&mut self, plan: &Plan, problems: &mut Vec<Problem>) {
        let count = plan.tasks.len();
        let mut usable: Vec<Edge> = Vec::with_capacity(plan.links.len());
        let outline = Outline::new(&self.parent);
        for (position, link) in plan.links.iter().enumerate() {
            let (before, after) = (link.predecessor as usize, link.successor as usize);
            let known = before < count && after < count && before != after;
            if !known || self.is_inside(&outline, before, after) || self.is_inside(&outline, after, before) {
                problems.push(Problem::LinkIgnored(index(position)));
                continue;
            }
            if self.role[before] != Role::Inactive && self.role[after] != Role::Inactive {
                usable.push(Edge {
                    predecessor: link.predecessor,
                    successor: link.successor,
                    link: index(position),
                    kind: link.kind,
                    lag_table: self.calendar_table(plan, after, problems),
                    lag: if is_zero(link.lag) { Lag::Elapsed(Span::ZERO) } else { link.lag },
                });
            }
        }
        self.order = order::sort(plan, &self.role, &self.parent, &mut usable, problems);
        let by_successor =
            Lists::new(count, usable.iter().enumerate().map(|(position, edge)| (edge.successor, index(position))));
        self.edges = by_successor.items().iter().map(|&position| usable[position as usize]).collect();
        self.into = by_successor.into_starts();
        let by_predecessor = self.edges.iter().enumerate().map(|(position, edge)| (edge.predecessor, index(position)));
        self.out = Lists::new(count, by_predecessor);
        for edge in &self.edges {
            if matches!(edge.kind, LinkKind::FinishToFinish | LinkKind::StartToFinish) {
                self.held_finish[edge.successor as usize] = true;
            }
        }
        for task in 0..count {
            let above = self.parent[task];
            self.held_finish[task] |= above != NO_PARENT && self.held_finish[above as usize];
        }
    }
}

fn is_zero(lag: Lag) -> bool {
    match lag {
        Lag::Working(span) | Lag::Elapsed(span) => span == Span::ZERO,
        Lag::Percent(percent) | Lag::ElapsedPercent(percent) => percent == 0,
    }
}

fn effective_parents(plan: &Plan, problems: &mut Vec<Problem>) -> Vec<u32> {
    let mut parents = Vec::with_capacity(plan.tasks.len());
    for (position, task) in plan.tasks.iter().enumerate() {
        parents.push(match task.parent {
            Some(parent) if (parent as usize) < position => parent,
            Some(_) => {
                problems.push(Problem::ParentIgnored(task.id));
                NO_PARENT
            }
            None => NO_PARENT,
        });
    }
    parents
}

/// Returns the roles; a summary below which nothing is active takes no part either.
fn roles(plan: &Plan, parent: &[u32]) -> Vec<Role> {
    let tasks = plan.tasks.len();
    let mut role = vec![Role::Leaf; tasks];
    for (position, task) in plan.tasks.iter().enumerate() {
        let above = parent[position];
        let inherited = above != NO_PARENT && role[above as usize] == Role::Inactive;
        if task.mode == Mode::Inactive || inherited {
            role[position] = Role::Inactive;
        }
        if above != NO_PARENT && role[above as usize] == Role::Leaf {
            role[above as usize] = Role::Summary;
        }
    }
    let mut has_active_child = vec![false; tasks];
    for position in (0..tasks).rev() {
        if role[position] == Role::Summary && !has_active_child[position] {
            role[position] = Role::Inactive;
        }
        if role[position] != Role::Inactive && parent[position] != NO_PARENT {
            has_active_child[parent[position] as usize] = true;
        }
    }
    role
}

fn assignments_by_task(plan: &Plan, problems: &mut Vec<Problem>) -> Lists {
    let mut pairs = Vec::with_capacity(plan.assignments.len());
    for (position, assignment) in plan.assignments.iter().enumerate() {
        let resource = plan.resources.get(assignment.resource as usize);
        match (plan.tasks.get(assignment.task as usize), resource) {
            (Some(_), Some(resource)) if resource.kind == ResourceKind::Work => {
                pairs.push((assignment.task, index(position)));
            }
            (Some(_), Some(_)) => {}
            (Some(task), None) => problems.push(Problem::ReferenceIgnored(task.id)),
            (None, _) => problems.push(Problem::ReferenceIgnored(crate::model::TaskId(assignment.task))),
        }
    }
    Lists::new(plan.tasks.len(), pairs.into_iter())
}

/// Returns the positions of the segments of each task itself, or nothing if no task is split.
fn segments_by_task(plan: &Plan) -> Lists {
    let tasks = plan.tasks.len();
    let own = plan.segments.iter().enumerate().filter(|(_, part)| part.assignment.is_none());
    let pairs = own.map(|(position, part)| (part.task, index(position))).filter(|(task, _)| (*task as usize) < tasks);
    if pairs.clone().next().is_none() { Lists::default() } else { Lists::new(tasks, pairs) }
}

/// Ends of the last segments, by task and by assignment; zero where nothing is split.
struct Extents {
    task: Vec<Span>,
    assignment: Vec<Span>,
}

fn segment_extents(plan: &Plan, problems: &mut Vec<Problem>) -> Extents {
    let mut extents =
        Extents { task: vec![Span::ZERO; plan.tasks.len()], assignment: vec![Span::ZERO; plan.assignments.len()] };
    for segment in &plan.segments {
        let end = segment.offset.plus(segment.length);
        let slot = match segment.assignment {
            Some(assignment) => extents.assignment.get_mut(assignment as usize),
            None => extents.task.get_mut(segment.task as usize),
        };
        match slot {
            Some(extent) => *extent = (*extent).max(end),
            None => problems.push(Problem::ReferenceIgnored(crate::model::TaskId(segment.task))),
        }
    }
    extents
}
