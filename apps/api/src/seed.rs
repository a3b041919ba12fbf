//! Demo data for evaluation and for benchmarks.
//!
//! Must not: change a database that has projects.

use clap::ValueEnum;
use pmo_database::{Actor, DatabaseError, Pool};

/// Password of the demo accounts, which exist only in demo data.
pub const DEMO_PASSWORD: &str = "pmo-demo-2026";
/// Demo accounts: owner of everything, editor, viewer, and one without access to the demo projects.
pub const DEMO_ACCOUNTS: [&str; 4] =
    ["admin@pmo.example", "editor@pmo.example", "viewer@pmo.example", "outsider@pmo.example"];

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

/// Loads demo data at the given scale and returns a one-sentence summary.
///
/// Loads nothing if there are projects already; the summary says so.
pub async fn run(pool: &Pool, scale: Scale) -> Result<String, DatabaseError> {
    let mut transaction = pmo_database::begin(pool, &Actor::default()).await?;
    let existing = pmo_database::demo::count_projects(&mut transaction).await?;
    if existing > 0 {
        return Ok(format!(
            "The database already has {existing} projects; nothing was loaded ('just db-reset' empties it)."
        ));
    }
    pmo_database::demo::load(&mut transaction, &scale.entity_counts()).await?;
    let hash = crate::auth::hash(DEMO_PASSWORD).unwrap_or_default();
    for email in DEMO_ACCOUNTS {
        if let Some(account) = pmo_database::credential::by_email(&mut transaction, email).await? {
            pmo_database::credential::set_password(&mut transaction, account.user.person_id, &hash).await?;
        }
    }
    transaction.commit().await?;
    pmo_database::demo::analyze(pool).await?;
    let counts: Vec<String> = scale.entity_counts().iter().map(|(name, n)| format!("{n} {name}")).collect();
    Ok(format!(
        "Loaded {}. Sign in as {} with the password {DEMO_PASSWORD}.",
        counts.join(", "),
        DEMO_ACCOUNTS.join(", ")
    ))
}
