//! Demo data, for trying the product out and for measurements. It must never touch a database that has projects.

use clap::ValueEnum;
use pmo_database::{Actor, DatabaseError, Pool};

/// The password of the demo accounts, which exist only in demo data.
pub const DEMO_PASSWORD: &str = "pmo-demo-2026";
/// The demo accounts: owner of all, editor, viewer, and one who sees nothing of the demo projects.
pub const DEMO_ACCOUNTS: [&str; 4] =
    ["admin@pmo.example", "editor@pmo.example", "viewer@pmo.example", "outsider@pmo.example"];

/// How much.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Scale {
    /// A handful, for tests.
    Small,
    /// A company, for trying it out.
    Demo,
    /// 300 businesses, 3,000 projects, 100,000 tasks, 2,000 people.
    Large,
}

impl Scale {
    /// Businesses, projects, tasks, people.
    pub fn entity_counts(self) -> [(&'static str, i64); 4] {
        let [b, p, t, e] = match self {
            Self::Small => [3, 6, 120, 14],
            Self::Demo => [8, 36, 1600, 80],
            Self::Large => [300, 3000, 100_000, 2000],
        };
        [("businesses", b), ("projects", p), ("tasks", t), ("people", e)]
    }
}

/// Loads demo data of that scale; answers what it did in a sentence.
pub async fn run(pool: &Pool, scale: Scale) -> Result<String, DatabaseError> {
    let mut transaction = pmo_database::begin(pool, &Actor::default()).await?;
    let present = pmo_database::demo::count_projects(&mut transaction).await?;
    if present > 0 {
        return Ok(format!(
            "There are {present} projects already: nothing was loaded ('just db-reset' empties the database)."
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
    let numbers: Vec<String> = scale.entity_counts().iter().map(|(what, n)| format!("{n} {what}")).collect();
    Ok(format!(
        "Loaded {}. Sign in as {} with the password {DEMO_PASSWORD}.",
        numbers.join(", "),
        DEMO_ACCOUNTS.join(", ")
    ))
}
