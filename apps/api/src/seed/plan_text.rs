//! Plans of the demo company as texts (`db/demo/plans/*.txt`).
//!
//! A plan has a head (`key: value`) and sections (`[tasks]`, `[risks]`, …). Cells of a line are
//! separated by `|`. Indentation by two spaces makes the outline of the tasks. A task line is
//! `key = Name | duration | predecessors | people | flags`; without further cells it is a summary.
//!
//! - Duration: `3d`, `4h`, `2w`, `0d` (milestone), `3ed` (elapsed days).
//! - Predecessors: `key`, `key SS+2d`, `key FF-1d`, `key FS+4w`, separated by commas.
//! - People: `Role`, `Role 2` (a second person of the role), `Role 50%`, `?Role` (no person yet).
//! - Flags: see [`Flags`].
//!
//! Must not: contain a date.

mod cells; // durations, predecessors, people
mod flags; // flags of tasks
mod lines; // lines and their cells
mod sections; // risks, issues, decisions, change requests, costs, comments

pub(crate) use cells::{Length, PersonText, Predecessor};
pub(crate) use flags::{Flags, Obstacle};
pub(crate) use lines::PlanTextError;
pub(crate) use sections::{ChangeText, CommentText, CostText, DecisionText, IssueText, RiskText, Target};

use lines::{Cells, Keys, Line, fault};
use std::collections::HashMap;

/// Plan as written.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct PlanText {
    /// Description of the project.
    pub descr: String,
    /// Option of the type of the project.
    pub kind: String,
    /// Budget in EUR.
    pub budget: u32,
    /// Whether the tasks belong to sprints and have story points.
    pub has_sprints: bool,
    /// Tasks in outline order.
    pub tasks: Vec<TaskText>,
    /// Risks.
    pub risks: Vec<RiskText>,
    /// Issues.
    pub issues: Vec<IssueText>,
    /// Decisions.
    pub decisions: Vec<DecisionText>,
    /// Change requests.
    pub changes: Vec<ChangeText>,
    /// Costs.
    pub costs: Vec<CostText>,
    /// Comments.
    pub comments: Vec<CommentText>,
}

/// Task as written.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct TaskText {
    /// Name.
    pub name: String,
    /// Position of the summary above.
    pub parent: Option<usize>,
    /// Duration; `None` for a summary.
    pub length: Option<Length>,
    /// Predecessors.
    pub predecessors: Vec<Predecessor>,
    /// People.
    pub people: Vec<PersonText>,
    /// Flags.
    pub flags: Flags,
}

impl PlanText {
    /// Parses a plan.
    pub(crate) fn parse(text: &str) -> Result<Self, PlanTextError> {
        let mut plan = Self::default();
        let mut sections: HashMap<&str, Vec<Line<'_>>> = HashMap::new();
        let mut section = "";
        for (index, line) in text.lines().enumerate() {
            let trimmed = line.trim();
            if trimmed.is_empty() || trimmed.starts_with('#') {
                continue;
            }
            if let Some(name) = trimmed.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
                section = name;
                continue;
            }
            let depth = (line.len() - line.trim_start().len()) / 2;
            sections.entry(section).or_default().push(Line { number: index + 1, depth, text: trimmed });
        }
        let mut lines = |name: &str| sections.remove(name).unwrap_or_default();
        for line in lines("") {
            plan.set_head(line)?;
        }
        let keys = plan.add_tasks(&lines("tasks"))?;
        for line in lines("risks") {
            plan.risks.push(RiskText::read(&Cells::of(line))?);
        }
        for line in lines("issues") {
            plan.issues.push(IssueText::read(&Cells::of(line), &keys)?);
        }
        for line in lines("decisions") {
            plan.decisions.push(DecisionText::read(&Cells::of(line), &keys)?);
        }
        for line in lines("changes") {
            plan.changes.push(ChangeText::read(&Cells::of(line), &keys)?);
        }
        for line in lines("costs") {
            plan.costs.push(CostText::read(&Cells::of(line), &keys)?);
        }
        for line in lines("comments") {
            plan.comments.push(CommentText::read(&Cells::of(line), &keys)?);
        }
        match sections.into_iter().next() {
            Some((name, lines)) => {
                Err(fault(lines.first().map_or(0, |line| line.number), format!("unknown section {name}")))
            }
            None => Ok(plan),
        }
    }

    fn set_head(&mut self, line: Line<'_>) -> Result<(), PlanTextError> {
        let Some((name, value)) = line.text.split_once(':') else {
            return Err(fault(line.number, "expected 'key: value'"));
        };
        let value = value.trim();
        match name {
            "name" => {}
            "descr" => value.clone_into(&mut self.descr),
            "type" => value.clone_into(&mut self.kind),
            "budget" => self.budget = value.parse().map_err(|_| fault(line.number, "not a number"))?,
            "sprints" => self.has_sprints = value == "yes",
            _ => return Err(fault(line.number, format!("unknown key {name}"))),
        }
        Ok(())
    }

    fn add_tasks(&mut self, lines: &[Line<'_>]) -> Result<Keys, PlanTextError> {
        let mut keys = Keys::new();
        let mut above: Vec<usize> = Vec::new();
        for (position, line) in lines.iter().enumerate() {
            let (key, rest) = line.text.split_once(" = ").unwrap_or(("", line.text));
            if !key.is_empty() && keys.insert(key.to_owned(), position).is_some() {
                return Err(fault(line.number, format!("key {key} is used twice")));
            }
            if line.depth > above.len() {
                return Err(fault(line.number, "indented by more than one level"));
            }
            above.truncate(line.depth);
            let name = rest.split('|').next().unwrap_or_default().trim().to_owned();
            self.tasks.push(TaskText { name, parent: above.last().copied(), ..TaskText::default() });
            above.push(position);
        }
        for (task, line) in self.tasks.iter_mut().zip(lines) {
            let mut cells = line.text.split('|').skip(1).map(str::trim);
            let at = |error: String| fault(line.number, error);
            let Some(length) = cells.next() else { continue };
            task.length = Some(cells::parse_length(length).map_err(at)?);
            task.predecessors = cells::parse_predecessors(cells.next().unwrap_or_default(), &keys).map_err(at)?;
            task.people = cells::parse_people(cells.next().unwrap_or_default()).map_err(at)?;
            task.flags = Flags::parse(cells.next().unwrap_or_default()).map_err(at)?;
            if cells.next().is_some() {
                return Err(fault(line.number, "too many cells"));
            }
        }
        Ok(keys)
    }

    /// Returns the plan with its first tasks only, and without what refers to the others.
    pub(crate) fn truncated(&self, task_count: usize) -> Self {
        let is_in = |task: usize| task < task_count;
        let mut plan = self.clone();
        plan.tasks.truncate(task_count);
        let parents: Vec<usize> = plan.tasks.iter().filter_map(|task| task.parent).collect();
        for (position, task) in plan.tasks.iter_mut().enumerate() {
            task.predecessors.retain(|predecessor| is_in(predecessor.task));
            if task.length.is_none() && !parents.contains(&position) {
                // The last line was a summary; it becomes a task.
                task.length = Some(Length::days(5));
            }
        }
        plan.issues.retain(|issue| is_in(issue.task));
        plan.decisions.retain(|decision| is_in(decision.task));
        plan.changes.retain(|change| is_in(change.task));
        plan.costs.retain(|cost| is_in(cost.task));
        let mut follows_removed = false;
        plan.comments.retain(|comment| {
            follows_removed = match comment.target {
                Target::Task(task) => !is_in(task),
                Target::Project => false,
                Target::PreviousComment => follows_removed,
            };
            !follows_removed
        });
        plan
    }
}

#[cfg(test)]
mod tests;
