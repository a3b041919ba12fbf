//! Texts of the demo company: plans, projects, roles, names of people.

use super::plan_text::{PlanText, PlanTextError};
use pmo_domain::public_holidays::Country;

/// Name and text of each plan.
const PLANS: [(&str, &str); 12] = [
    ("product_release", include_str!("../../../../db/demo/plans/product_release.txt")),
    ("erp_rollout", include_str!("../../../../db/demo/plans/erp_rollout.txt")),
    ("website_relaunch", include_str!("../../../../db/demo/plans/website_relaunch.txt")),
    ("building_works", include_str!("../../../../db/demo/plans/building_works.txt")),
    ("office_move", include_str!("../../../../db/demo/plans/office_move.txt")),
    ("iso_27001", include_str!("../../../../db/demo/plans/iso_27001.txt")),
    ("acquisition_integration", include_str!("../../../../db/demo/plans/acquisition_integration.txt")),
    ("data_centre_migration", include_str!("../../../../db/demo/plans/data_centre_migration.txt")),
    ("marketing_campaign", include_str!("../../../../db/demo/plans/marketing_campaign.txt")),
    ("onboarding_programme", include_str!("../../../../db/demo/plans/onboarding_programme.txt")),
    ("trade_fair", include_str!("../../../../db/demo/plans/trade_fair.txt")),
    ("internal_audit", include_str!("../../../../db/demo/plans/internal_audit.txt")),
];
const PROJECTS: &str = include_str!("../../../../db/demo/projects.txt");
const ROLES: &str = include_str!("../../../../db/demo/roles.txt");
const PEOPLE: &str = include_str!("../../../../db/demo/people.txt");

/// Fault of the texts.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum LibraryError {
    /// A plan cannot be read.
    #[error("plan {0}: {1}")]
    Plan(&'static str, PlanTextError),
    /// A line of the projects, roles or people cannot be read.
    #[error("cannot read the line {0:?}")]
    Line(String),
}

/// Texts of the demo company.
#[derive(Clone, Debug)]
pub(crate) struct Library {
    /// Plans with their names.
    pub plans: Vec<(&'static str, PlanText)>,
    /// Projects.
    pub projects: Vec<ProjectText>,
    /// Roles; the people of a small company have the first ones.
    pub roles: Vec<RoleText>,
    /// First names.
    pub first_names: Vec<&'static str>,
    /// Last names.
    pub last_names: Vec<&'static str>,
}

/// Project as written.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ProjectText {
    /// Name.
    pub name: String,
    /// Position of the plan.
    pub plan: usize,
    /// Part of the planned time before today, in percent: below 0 for a future project, above 100
    /// for a past one.
    pub elapsed_pct: i32,
    /// What happened to the plan.
    pub story: Story,
    /// Country whose public holidays are free.
    pub country: Country,
}

/// What happened to a plan since its baseline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Story {
    /// The delays of the plan happened.
    Late,
    /// Less than half of them happened.
    Steady,
    /// Work went faster instead.
    Early,
}

/// Role as written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RoleText {
    /// Name.
    pub name: &'static str,
    /// Department.
    pub department: &'static str,
    /// Number of people among the first 76.
    pub count: usize,
    /// Cost in EUR per hour.
    pub rate: u32,
    /// Option of the level.
    pub level: &'static str,
}

impl Library {
    /// Reads all texts.
    pub(crate) fn read() -> Result<Self, LibraryError> {
        let parse = |(name, text)| Ok((name, PlanText::parse(text).map_err(|error| LibraryError::Plan(name, error))?));
        let plans = PLANS.into_iter().map(parse).collect::<Result<Vec<_>, _>>()?;
        let names = |list: &str| {
            let line = PEOPLE.lines().find_map(|line| line.strip_prefix(list));
            line.map(|names| names.split_whitespace().collect()).unwrap_or_default()
        };
        Ok(Self {
            projects: lines(PROJECTS).map(|line| read(line, read_project)).collect::<Result<_, _>>()?,
            roles: lines(ROLES).map(|line| read(line, read_role)).collect::<Result<_, _>>()?,
            first_names: names("first:"),
            last_names: names("last:"),
            plans,
        })
    }
}

fn lines(text: &'static str) -> impl Iterator<Item = &'static str> {
    text.lines().filter(|line| !line.starts_with('#') && !line.trim().is_empty())
}

fn read<T>(line: &'static str, parse: impl Fn(&[&'static str]) -> Option<T>) -> Result<T, LibraryError> {
    let cells: Vec<&str> = line.split('|').map(str::trim).collect();
    parse(&cells).ok_or_else(|| LibraryError::Line(line.to_owned()))
}

fn read_project(cells: &[&'static str]) -> Option<ProjectText> {
    let [name, plan, elapsed, story, country] = cells else { return None };
    Some(ProjectText {
        name: (*name).to_owned(),
        plan: PLANS.iter().position(|(known, _)| known == plan)?,
        elapsed_pct: elapsed.strip_suffix('%')?.parse().ok()?,
        story: match *story {
            "late" => Story::Late,
            "steady" => Story::Steady,
            "early" => Story::Early,
            _ => return None,
        },
        country: Country::from_code(country)?,
    })
}

fn read_role(cells: &[&'static str]) -> Option<RoleText> {
    let [name, department, count, rate, level] = cells else { return None };
    Some(RoleText { name, department, count: count.parse().ok()?, rate: rate.parse().ok()?, level })
}
