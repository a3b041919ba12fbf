//! Flags of tasks.

use super::cells::parse_length;
use pmo_planning::{Span, TaskType};
use pmo_project_plan::{ConstraintType, DurationUnit};

/// Flags of a task, separated by commas.
///
/// `deadline +5d` and constraints (`SNET +2d`, `FNLT +8d`, `MSO +1d`, `ALAP`) count working days
/// from the date that the task has in the plan. `slip 3d` is the time that the task takes longer if
/// the project is late. `blocked` applies while the task is in progress.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Flags {
    /// Working days from the planned finish to the deadline.
    pub deadline_days: Option<i32>,
    /// Constraint, and the working days from the planned date to its date.
    pub constraint: Option<(ConstraintType, i32)>,
    /// Name of the calendar; `None` for that of the project.
    pub calendar: Option<String>,
    /// Days by which the task takes longer in a late project.
    pub slip_days: i32,
    /// Type of the task: value that stays when others change.
    pub task_type: TaskType,
    /// Option of the priority; empty for Medium.
    pub priority: &'static str,
    /// Option of the kind of work; empty for Work.
    pub kind: &'static str,
    /// State of the work while it is in progress.
    pub obstacle: Obstacle,
}

/// Whether work can go on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Obstacle {
    /// Work goes on.
    #[default]
    None,
    /// Work is blocked.
    Blocked,
}

impl Flags {
    /// Parses flags separated by commas.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let mut flags = Self::default();
        for flag in text.split(',').map(str::trim).filter(|flag| !flag.is_empty()) {
            flags.set(flag)?;
        }
        Ok(flags)
    }

    fn set(&mut self, flag: &str) -> Result<(), String> {
        let (name, value) = flag.split_once(' ').unwrap_or((flag, ""));
        match name {
            "deadline" => self.deadline_days = Some(parse_days(value)?),
            "slip" => self.slip_days = parse_days(value)?,
            "calendar" => self.calendar = Some(value.to_owned()),
            "fixed" if value == "duration" => self.task_type = TaskType::FixedDuration,
            "low" => self.priority = "Low",
            "high" => self.priority = "High",
            "critical" => self.priority = "Critical",
            "meeting" => self.kind = "Meeting",
            "review" => self.kind = "Review",
            "test" => self.kind = "Test run",
            "blocked" => self.obstacle = Obstacle::Blocked,
            "ALAP" => self.constraint = Some((ConstraintType::AsLateAsPossible, 0)),
            _ => {
                let kind = constraint_of(name).ok_or_else(|| format!("unknown flag {flag}"))?;
                self.constraint = Some((kind, parse_days(value)?));
            }
        }
        Ok(())
    }
}

fn constraint_of(name: &str) -> Option<ConstraintType> {
    Some(match name {
        "SNET" => ConstraintType::StartNoEarlierThan,
        "SNLT" => ConstraintType::StartNoLaterThan,
        "FNET" => ConstraintType::FinishNoEarlierThan,
        "FNLT" => ConstraintType::FinishNoLaterThan,
        "MSO" => ConstraintType::MustStartOn,
        "MFO" => ConstraintType::MustFinishOn,
        _ => return None,
    })
}

fn parse_days(text: &str) -> Result<i32, String> {
    let length = parse_length(text)?;
    if length.unit != DurationUnit::Days {
        return Err(format!("{text} is not in days"));
    }
    Ok(length.span.0 / Span::hours(8).0)
}
