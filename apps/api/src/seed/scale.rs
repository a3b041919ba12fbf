//! Amount of demo data.

use clap::ValueEnum;
use std::collections::BTreeMap;

/// Amount of demo data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Scale {
    /// A few entities, for tests.
    Small,
    /// A small company, for evaluation.
    Demo,
    /// 300 businesses, 3,000 projects, 100,000 tasks, 2,000 people.
    Large,
}

/// Numbers of entities.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Amount {
    /// Businesses.
    pub businesses: usize,
    /// Projects.
    pub projects: usize,
    /// Tasks of all projects; `None` for whole plans.
    pub tasks: Option<usize>,
    /// People, demo accounts included.
    pub people: usize,
}

impl Scale {
    /// Returns the numbers of entities.
    pub(crate) fn amount(self) -> Amount {
        let (businesses, projects, tasks, people) = match self {
            Self::Small => (3, 6, Some(120), 14),
            Self::Demo => (8, 36, None, 80),
            Self::Large => (300, 3000, Some(100_000), 2000),
        };
        Amount { businesses, projects, tasks, people }
    }
}

impl Amount {
    /// Returns the number of tasks of the n-th project; `None` for a whole plan.
    pub(crate) fn task_count(&self, number: usize) -> Option<usize> {
        self.tasks.map(|tasks| tasks / self.projects + usize::from(number <= tasks % self.projects))
    }

    /// Returns the numbers of businesses, projects and people by name.
    pub(crate) fn counts(&self) -> BTreeMap<&'static str, i64> {
        let count = |number: usize| i64::try_from(number).unwrap_or(i64::MAX);
        BTreeMap::from([
            ("businesses", count(self.businesses)),
            ("projects", count(self.projects)),
            ("people", count(self.people)),
        ])
    }
}
