//! Demo data for evaluation and for benchmarks.
//!
//! Must not: change a database that has projects.

pub(crate) mod scale; // amount of demo data

pub use scale::Scale;

use pmo_database::{Actor, DatabaseError, Pool};

/// Password of the demo accounts, which exist only in demo data.
pub const DEMO_PASSWORD: &str = "pmo-demo-2026";
/// Demo accounts: owner of everything, editor, viewer, and one without access to the demo projects.
pub const DEMO_ACCOUNTS: [&str; 4] =
    ["admin@pmo.example", "editor@pmo.example", "viewer@pmo.example", "outsider@pmo.example"];

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
