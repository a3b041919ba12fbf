//! Lines about risks, issues, decisions, change requests, costs and comments.

use super::lines::{Cells, Keys, PlanTextError};

/// `name | probability % | impact EUR | response | status | role of the owner | plan`.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct RiskText {
    pub name: String,
    pub probability: u32,
    pub impact: u32,
    pub response: String,
    pub status: String,
    pub owner: String,
    pub plan: String,
}

/// `name | severity | status | task | role of the owner | text`.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct IssueText {
    pub name: String,
    pub severity: String,
    pub status: String,
    pub task: usize,
    pub owner: String,
    pub text: String,
}

/// `name | status | task | rationale`; the decision is made when the task begins.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct DecisionText {
    pub name: String,
    pub status: String,
    pub task: usize,
    pub rationale: String,
}

/// `name | status | cost EUR | days | task | text`.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ChangeText {
    pub name: String,
    pub status: String,
    pub cost: u32,
    pub days: u32,
    pub task: usize,
    pub text: String,
}

/// `name | amount EUR | category | task`; the cost is due at the finish of the task.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct CostText {
    pub name: String,
    pub amount: u32,
    pub category: String,
    pub task: usize,
}

/// `task | role of the author | text`; `project` for the project, `> role | text` for a reply.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct CommentText {
    pub target: Target,
    pub author: Author,
    pub text: String,
}

/// Role of the author of a comment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Author(pub String);

/// What a comment is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    /// A task, by position.
    Task(usize),
    /// The project.
    Project,
    /// The comment before, which it answers.
    PreviousComment,
}

impl RiskText {
    pub(super) fn read(cells: &Cells<'_>) -> Result<Self, PlanTextError> {
        Ok(Self {
            name: cells.text(0)?.to_owned(),
            probability: cells.number(1)?,
            impact: cells.number(2)?,
            response: cells.text(3)?.to_owned(),
            status: cells.text(4)?.to_owned(),
            owner: cells.text(5)?.to_owned(),
            plan: cells.text(6)?.to_owned(),
        })
    }
}

impl IssueText {
    pub(super) fn read(cells: &Cells<'_>, keys: &Keys) -> Result<Self, PlanTextError> {
        Ok(Self {
            name: cells.text(0)?.to_owned(),
            severity: cells.text(1)?.to_owned(),
            status: cells.text(2)?.to_owned(),
            task: cells.task(3, keys)?,
            owner: cells.text(4)?.to_owned(),
            text: cells.text(5)?.to_owned(),
        })
    }
}

impl DecisionText {
    pub(super) fn read(cells: &Cells<'_>, keys: &Keys) -> Result<Self, PlanTextError> {
        Ok(Self {
            name: cells.text(0)?.to_owned(),
            status: cells.text(1)?.to_owned(),
            task: cells.task(2, keys)?,
            rationale: cells.text(3)?.to_owned(),
        })
    }
}

impl ChangeText {
    pub(super) fn read(cells: &Cells<'_>, keys: &Keys) -> Result<Self, PlanTextError> {
        Ok(Self {
            name: cells.text(0)?.to_owned(),
            status: cells.text(1)?.to_owned(),
            cost: cells.number(2)?,
            days: cells.number(3)?,
            task: cells.task(4, keys)?,
            text: cells.text(5)?.to_owned(),
        })
    }
}

impl CostText {
    pub(super) fn read(cells: &Cells<'_>, keys: &Keys) -> Result<Self, PlanTextError> {
        Ok(Self {
            name: cells.text(0)?.to_owned(),
            amount: cells.number(1)?,
            category: cells.text(2)?.to_owned(),
            task: cells.task(3, keys)?,
        })
    }
}

impl CommentText {
    pub(super) fn read(cells: &Cells<'_>, keys: &Keys) -> Result<Self, PlanTextError> {
        let first = cells.text(0)?;
        if let Some(author) = first.strip_prefix("> ") {
            let text = cells.text(1)?.to_owned();
            return Ok(Self { target: Target::PreviousComment, author: Author(author.to_owned()), text });
        }
        let target = if first == "project" { Target::Project } else { Target::Task(cells.task(0, keys)?) };
        Ok(Self { target, author: Author(cells.text(1)?.to_owned()), text: cells.text(2)?.to_owned() })
    }
}
