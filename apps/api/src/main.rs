//! Command line entry point of the api: runs a command or the server.
//!
//! Every startup failure is reported in one line.

use clap::Parser;
use pmo_api::auth::AuthUser;
use pmo_api::files::blob_store::DiskBlobStore;
use pmo_api::schedule_worker::ScheduleWorker;
use pmo_api::settings::{Command, Config, RENAMED_ENV};
use pmo_api::state::AppState;
use pmo_api::{error::ApiError, export, import, seed, state};
use pmo_database::row_cache::RowCache;
use pmo_database::visibility::VisibilityCache;
use pmo_database::{DatabaseError, NotifyMode};
use pmo_domain::PersonId;
use pmo_startup::deprecated_env;
use std::io::{Read as _, Write as _};
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;

#[tokio::main]
async fn main() -> ExitCode {
    let (args, deprecated) = deprecated_env::args(&RENAMED_ENV);
    let settings = Config::parse_from(args);
    settings.log_format.init_tracing();
    for setting in deprecated {
        tracing::warn!(setting = setting.old, "deprecated setting: use {}", setting.new);
    }
    match run(settings).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Error of a command, in one line for the terminal.
#[derive(Debug, thiserror::Error)]
enum CommandError {
    #[error(transparent)]
    Database(#[from] DatabaseError),
    #[error(transparent)]
    Seed(#[from] seed::SeedError),
    #[error("{}", describe_error(.0))]
    Api(#[from] ApiError),
    #[error("{path}: {source}")]
    File { path: String, source: std::io::Error },
    #[error(transparent)]
    Io(#[from] std::io::Error),
    #[error(transparent)]
    Json(#[from] serde_json::Error),
    #[error("{path}: {}: {}", .source.location, .source.message)]
    Plan { path: String, source: import::mspdi::PlanError },
    #[error("{path}: {source}")]
    Schedule { path: String, source: pmo_mspdi::Error },
    #[error("no person has the email address {0}: choose another one with --as-email, or run 'pmo-api seed' first")]
    UnknownUser(String),
    #[error("'{0}' is not an email address")]
    InvalidEmail(String),
    #[error("the password could not be hashed")]
    PasswordHash,
    #[error("cannot write files to {path} ({source}): make the directory writable, or set FILES_DIR to another one")]
    FilesDir { path: String, source: std::io::Error },
    #[error(
        "cannot listen on {address} ({source}): stop the process that uses the port, or set API_PORT to another one"
    )]
    Listen { address: String, source: std::io::Error },
}

async fn run(settings: Config) -> Result<(), CommandError> {
    if matches!(settings.command, Some(Command::Openapi)) {
        return print_line(&format!("{:#}", pmo_api::api_router().1));
    }
    if let Some(Command::Schedule { file, .. }) = &settings.command {
        return print_line(&schedule_file(file)?);
    }
    // Commands exit after their transaction, so the transaction itself must notify the feed.
    let notify_mode = if matches!(settings.command, None | Some(Command::Serve)) {
        settings.notify_mode
    } else {
        NotifyMode::InTransaction
    };
    let pool = pmo_database::connect(&settings.database_url, settings.database_connections, notify_mode).await?;
    let epoch = pmo_database::prepare(&pool).await?;
    tracing::debug!(epoch, "migrations applied");
    match &settings.command {
        Some(Command::Migrate) => Ok(()),
        Some(Command::Seed { scale }) => {
            print_line(&seed::run(&pool, *scale).await?)?;
            // The data are complete, also for a server that starts afterwards.
            ScheduleWorker::new(pool.clone(), notify_mode, Arc::default()).run_pending().await?;
            Ok(())
        }
        Some(Command::Import { file, as_email, name, entity, dry_run }) => {
            let path = file.display().to_string();
            let bytes = std::fs::read(file).map_err(|source| CommandError::File { path: path.clone(), source })?;
            let user = find_user(&pool, as_email).await?;
            let model = load_catalog(&pool).await?;
            let report = match entity {
                Some(code) => {
                    let report = import::csv_import::import_file(&pool, &model, &user, code, &bytes, *dry_run).await?;
                    serde_json::to_value(report)?
                }
                None => {
                    let plan = import::mspdi::parse(&bytes).map_err(|source| CommandError::Plan { path, source })?;
                    serde_json::to_value(import_plan(&pool, &model, &user, name.as_deref(), &plan).await?)?
                }
            };
            print_line(&format!("{report:#}"))
        }
        Some(Command::Export { file, as_email, entity, format, project }) => {
            let bytes = export_as(&pool, as_email, entity.as_deref(), format, *project).await?;
            if file.as_os_str() == "-" {
                Ok(std::io::Write::write_all(&mut std::io::stdout(), &bytes)?)
            } else {
                let path = file.display().to_string();
                std::fs::write(file, bytes).map_err(|source| CommandError::File { path, source })
            }
        }
        Some(Command::AddAdministrator { email }) => print_line(&add_administrator(&pool, email).await?),
        _ => serve(pool, settings).await,
    }
}

/// Prints a line; a closed output is an error.
fn print_line(line: &str) -> Result<(), CommandError> {
    let mut output = std::io::stdout().lock();
    writeln!(output, "{line}")?;
    Ok(output.flush()?)
}

/// Maximum size of a file that is scheduled: 512 MB.
const MAX_SCHEDULE_BYTES: u64 = 512 << 20;

/// Reads a text of a limited size; also of a device or pipe, which has no size.
fn read_text(input: impl std::io::Read, max_bytes: u64) -> std::io::Result<String> {
    let mut text = String::new();
    input.take(max_bytes.saturating_add(1)).read_to_string(&mut text)?;
    if u64::try_from(text.len()).unwrap_or(u64::MAX) > max_bytes {
        return Err(too_large(max_bytes));
    }
    Ok(text)
}

fn too_large(max_bytes: u64) -> std::io::Error {
    let message = format!("the file is larger than {} MB", max_bytes >> 20);
    std::io::Error::new(std::io::ErrorKind::FileTooLarge, message)
}

/// Opens and reads a file, unless it is larger than a limit.
fn read_file(file: &std::path::Path, max_bytes: u64) -> std::io::Result<String> {
    let input = std::fs::File::open(file)?;
    if input.metadata()?.len() > max_bytes {
        return Err(too_large(max_bytes));
    }
    read_text(input, max_bytes)
}

/// Returns the dates of a Microsoft Project XML file as JSON.
fn schedule_file(file: &std::path::Path) -> Result<String, CommandError> {
    let path = file.display().to_string();
    let text =
        read_file(file, MAX_SCHEDULE_BYTES).map_err(|source| CommandError::File { path: path.clone(), source })?;
    pmo_mspdi::schedule_json(&text).map_err(|source| CommandError::Schedule { path, source })
}

/// Renders an error as one line for the terminal.
fn describe_error(error: &ApiError) -> String {
    let problem = error.problem();
    let fields: Vec<String> = problem.errors.iter().map(|e| format!("{}: {}", e.field, e.message)).collect();
    if fields.is_empty() { problem.detail.unwrap_or(problem.title) } else { fields.join("; ") }
}

async fn load_catalog(pool: &pmo_database::Pool) -> Result<state::EntityModel, DatabaseError> {
    state::load_model(&mut *pool.acquire().await?).await
}

/// Finds the user that a command acts for.
async fn find_user(pool: &pmo_database::Pool, email: &str) -> Result<AuthUser, CommandError> {
    let mut connection = pool.acquire().await.map_err(DatabaseError::from)?;
    let account = pmo_database::credential::by_email(&mut connection, email).await?;
    let account = account.ok_or_else(|| CommandError::UnknownUser(email.to_owned()))?;
    Ok(AuthUser { person: PersonId(account.user.person_id), actor: account.actor })
}

async fn import_plan(
    pool: &pmo_database::Pool,
    model: &state::EntityModel,
    user: &AuthUser,
    name: Option<&str>,
    plan: &import::mspdi::ParsedPlan,
) -> Result<import::ImportedPlan, CommandError> {
    let mut transaction = pmo_database::begin(pool, &user.actor).await?;
    let imported = import::write(&mut transaction, model, user.person, plan, name).await?;
    transaction.commit().await.map_err(DatabaseError::from)?;
    Ok(imported)
}

async fn export_as(
    pool: &pmo_database::Pool,
    email: &str,
    entity: Option<&str>,
    format: &str,
    project: Option<uuid::Uuid>,
) -> Result<Vec<u8>, CommandError> {
    let (user, model) = (find_user(pool, email).await?, load_catalog(pool).await?);
    let (visibility_cache, row_cache) = (VisibilityCache::new(1 << 24), RowCache::new(1 << 24));
    let context =
        export::ExportContext { pool, visibility_cache: &visibility_cache, row_cache: &row_cache, model: &model };
    let request = match (project, entity) {
        (Some(id), _) => {
            let plan = export::plan::load_plan(&context, user.person, id).await?;
            return Ok(pmo_mspdi::write(&plan.file, &plan.computed).into_bytes());
        }
        (None, Some(code)) => {
            let export_format = if format == "json" { export::ExportFormat::Json } else { export::ExportFormat::Csv };
            let query = export::all_rows(&model, code)?;
            export::ExportRequest::Rows(code.to_owned(), Box::new(query), export_format, None)
        }
        (None, None) => export::ExportRequest::Everything,
    };
    Ok(export::export_to_bytes(&context, &user, &request).await?)
}

async fn add_administrator(pool: &pmo_database::Pool, email: &str) -> Result<String, CommandError> {
    if !email.contains('@') {
        return Err(CommandError::InvalidEmail(email.to_owned()));
    }
    let password = pmo_api::auth::new_password();
    let hash = pmo_api::auth::hash(&password).ok_or(CommandError::PasswordHash)?;
    let mut transaction = pmo_database::begin(pool, &pmo_database::Actor::default()).await?;
    let person = pmo_database::bootstrap::add_administrator(&mut transaction, email).await?;
    pmo_database::credential::set_password(&mut transaction, person, &hash).await?;
    transaction.commit().await.map_err(DatabaseError::from)?;
    Ok(format!("{email} is an owner of everything. Password (shown once): {password}"))
}

async fn serve(pool: pmo_database::Pool, settings: Config) -> Result<(), CommandError> {
    let address = format!("{}:{}", settings.host, settings.port);
    let files_dir = settings.files_dir.clone();
    DiskBlobStore::new(&files_dir)
        .check_writable()
        .map_err(|source| CommandError::FilesDir { path: files_dir.display().to_string(), source })?;
    let app = AppState::new(pool.clone(), settings).await?;
    let listener = TcpListener::bind(&address)
        .await
        .map_err(|source| CommandError::Listen { address: address.clone(), source })?;
    tracing::info!(%address, "listening");
    let worker = ScheduleWorker::new(pool.clone(), app.settings.notify_mode, app.schedule_metrics.clone());
    tokio::spawn(worker.run());
    tokio::spawn(housekeeping(pool, app.clone()));
    Ok(axum::serve(listener, pmo_api::router(app).into_make_service_with_connect_info::<SocketAddr>())
        .with_graceful_shutdown(pmo_startup::shutdown_signal())
        .await?)
}

/// Deletes expired data once an hour.
///
/// Drops log partitions after their retention and creates upcoming ones; deletes old access
/// changes, stored responses, expired tokens, and files that no artifact references.
async fn housekeeping(pool: pmo_database::Pool, app: AppState) {
    let mut hourly = tokio::time::interval(Duration::from_secs(3600));
    loop {
        hourly.tick().await;
        let result = async {
            pmo_database::ensure_partitions(&pool).await?;
            pmo_database::prune_access_changes(&pool).await?;
            let partitions = pmo_database::drop_expired_log_partitions(&pool).await?;
            if !partitions.is_empty() {
                tracing::info!(count = partitions.len(), ?partitions, "dropped expired log partitions");
            }
            let mut connection = pool.acquire().await?;
            pmo_database::idempotency::delete_expired(&mut connection).await?;
            pmo_database::credential::delete_expired(&mut connection).await?;
            pmo_api::files::collect_garbage(&mut connection, app.files.as_ref()).await
        };
        if let Err(error) = result.await {
            tracing::warn!(%error, "housekeeping failed; retrying in 1 h");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_beyond_the_limit_is_refused() {
        assert_eq!(read_text(&b"abc"[..], 3).expect("a text"), "abc");
        let endless = std::io::repeat(b' ');
        let error = read_text(endless, 1 << 20).expect_err("an error");
        assert_eq!(error.to_string(), "the file is larger than 1 MB");
    }

    #[test]
    fn a_file_beyond_the_limit_is_refused_before_it_is_read() {
        let file = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml");
        assert!(read_file(&file, 1 << 20).is_ok());
        let error = read_file(&file, 10).expect_err("an error");
        assert_eq!(error.kind(), std::io::ErrorKind::FileTooLarge);
    }
}
