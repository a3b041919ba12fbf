//! Amount of demo data.

use clap::ValueEnum;

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

impl Scale {
    /// Returns the number of businesses, projects, tasks and people, with their names.
    pub fn entity_counts(self) -> [(&'static str, i64); 4] {
        let [businesses, projects, tasks, people] = match self {
            Self::Small => [3, 6, 120, 14],
            Self::Demo => [8, 36, 1600, 80],
            Self::Large => [300, 3000, 100_000, 2000],
        };
        [("businesses", businesses), ("projects", projects), ("tasks", tasks), ("people", people)]
    }
}
