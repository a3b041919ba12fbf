//! Starts the api: settings, database, then serving, importing or seeding. Every failure to start is one plain line.

use clap::Parser;
use pmo_api::auth::AuthUser;
use pmo_api::files::blob_store::DiskBlobStore;
use pmo_api::settings::{Command, Config};
use pmo_api::state::AppState;
use pmo_api::{error::ApiError, export, import, seed, state};
use pmo_database::change_log::NotifyMode;
use pmo_database::row_cache::RowCache;
use pmo_database::visibility::VisibilityCache;
use pmo_domain::PersonId;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;
use tokio::net::TcpListener;

#[tokio::main]
async fn main() -> ExitCode {
    let settings = Config::parse();
    settings.log_format.init_tracing();
    match run(settings).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("error: {message}");
            ExitCode::FAILURE
        }
    }
}

async fn run(settings: Config) -> Result<(), String> {
    if matches!(settings.command, Some(Command::Openapi)) {
        println!("{:#}", pmo_api::api_router().1);
        return Ok(());
    }
    // Commands write and end: nobody would ring for them.
    let ring = if matches!(settings.command, None | Some(Command::Serve)) {
        settings.doorbell
    } else {
        NotifyMode::InTransaction
    };
    let pool = pmo_database::connect(&settings.database_url, settings.database_connections, ring)
        .await
        .map_err(|e| e.to_string())?;
    let epoch = pmo_database::prepare(&pool).await.map_err(|e| e.to_string())?;
    tracing::debug!(epoch, "the schema is up to date");
    match &settings.command {
        Some(Command::Migrate) => Ok(()),
        Some(Command::Seed { scale }) => {
            let made = seed::run(&pool, *scale).await.map_err(|e| e.to_string())?;
            println!("{made}");
            Ok(())
        }
        Some(Command::Import { file, as_email, name, entity, dry_run }) => {
            let bytes = std::fs::read(file).map_err(|e| format!("{}: {e}", file.display()))?;
            let who = find_user(&pool, as_email).await?;
            let model = load_catalog(&pool).await?;
            let answer = match entity {
                Some(code) => import::csv_import::import_file(&pool, &model, &who, code, &bytes, *dry_run)
                    .await
                    .map_err(describe_error)?,
                None => {
                    let plan = import::mspdi::parse(&bytes)
                        .map_err(|bad| format!("{}: {}: {}", file.display(), bad.location, bad.message))?;
                    import_plan(&pool, &model, &who, name.as_deref(), &plan).await?
                }
            };
            println!("{}", serde_json::to_string_pretty(&answer).map_err(|e| e.to_string())?);
            Ok(())
        }
        Some(Command::Export { file, as_email, entity, format, project }) => {
            let bytes = export_as(&pool, as_email, entity.as_deref(), format, *project).await?;
            if file.as_os_str() == "-" {
                std::io::Write::write_all(&mut std::io::stdout(), &bytes).map_err(|e| e.to_string())
            } else {
                std::fs::write(file, bytes).map_err(|e| format!("{}: {e}", file.display()))
            }
        }
        Some(Command::AddAdministrator { email }) => {
            println!("{}", add_administrator(&pool, email).await?);
            Ok(())
        }
        _ => serve(pool, settings).await,
    }
}

/// A refusal in one line.
fn describe_error(error: ApiError) -> String {
    let problem = error.problem();
    let fields: Vec<String> = problem.errors.iter().map(|e| format!("{}: {}", e.field, e.message)).collect();
    if fields.is_empty() { problem.detail.unwrap_or(problem.title) } else { fields.join("; ") }
}

async fn load_catalog(pool: &pmo_database::Pool) -> Result<state::EntityModel, String> {
    state::load_model(&mut *pool.acquire().await.map_err(|e| e.to_string())?).await.map_err(|e| e.to_string())
}

/// Somebody in whose name a command works.
async fn find_user(pool: &pmo_database::Pool, email: &str) -> Result<AuthUser, String> {
    let mut connection = pool.acquire().await.map_err(|e| e.to_string())?;
    let account = pmo_database::credential::by_email(&mut connection, email).await.map_err(|e| e.to_string())?;
    let account = account.ok_or_else(|| {
        format!("nobody has the address {email}: name a person with --as-email, or run 'pmo-api seed' first")
    })?;
    Ok(AuthUser { person: PersonId(account.user.person_id), actor: account.actor })
}

async fn import_plan(
    pool: &pmo_database::Pool,
    model: &state::EntityModel,
    who: &AuthUser,
    name: Option<&str>,
    plan: &import::mspdi::Plan,
) -> Result<serde_json::Value, String> {
    let mut transaction = pmo_database::begin(pool, &who.actor).await.map_err(|e| e.to_string())?;
    let answer = import::write(&mut transaction, model, who.person, plan, name).await.map_err(describe_error)?;
    transaction.commit().await.map_err(|e| e.to_string())?;
    Ok(answer)
}

async fn export_as(
    pool: &pmo_database::Pool,
    email: &str,
    entity: Option<&str>,
    format: &str,
    project: Option<uuid::Uuid>,
) -> Result<Vec<u8>, String> {
    let (who, model) = (find_user(pool, email).await?, load_catalog(pool).await?);
    let (memory, texts) = (VisibilityCache::new(1 << 24), RowCache::new(1 << 24));
    let kept = export::ExportContext { pool, memory: &memory, texts: &texts, model: &model };
    match (project, entity) {
        (Some(id), _) => {
            let plan = export::plan::load_plan(&kept, who.person, id).await.map_err(describe_error)?;
            Ok(export::mspdi::write(&plan).into_bytes())
        }
        (None, Some(code)) => {
            let form = if format == "json" { export::ExportFormat::Json } else { export::ExportFormat::Csv };
            let query = export::all_rows(&model, code).map_err(describe_error)?;
            export::export_to_bytes(
                &kept,
                &who,
                &export::ExportRequest::Rows(code.to_owned(), Box::new(query), form, None),
            )
            .await
            .map_err(describe_error)
        }
        (None, None) => {
            export::export_to_bytes(&kept, &who, &export::ExportRequest::Everything).await.map_err(describe_error)
        }
    }
}

async fn add_administrator(pool: &pmo_database::Pool, email: &str) -> Result<String, String> {
    if !email.contains('@') {
        return Err(format!("'{email}' is no address"));
    }
    let password = pmo_api::auth::new_password();
    let hash = pmo_api::auth::hash(&password).ok_or("the password could not be hashed")?;
    let mut transaction =
        pmo_database::begin(pool, &pmo_database::Actor::default()).await.map_err(|e| e.to_string())?;
    let person =
        pmo_database::bootstrap::add_administrator(&mut transaction, email).await.map_err(|e| e.to_string())?;
    pmo_database::credential::set_password(&mut transaction, person, &hash).await.map_err(|e| e.to_string())?;
    transaction.commit().await.map_err(|e| e.to_string())?;
    Ok(format!("{email} owns everything. Password, shown this once: {password}"))
}

async fn serve(pool: pmo_database::Pool, settings: Config) -> Result<(), String> {
    let address = format!("{}:{}", settings.host, settings.port);
    let folder = settings.files_dir.clone();
    DiskBlobStore::new(&folder).check_writable().map_err(|e| {
        format!(
            "files can't be kept in {} ({e}): make it writable, or set FILES_DIR to another folder",
            folder.display()
        )
    })?;
    let app = AppState::new(pool.clone(), settings).await.map_err(|e| e.to_string())?;
    let listener = TcpListener::bind(&address)
        .await
        .map_err(|e| format!("can't listen on {address} ({e}): stop what uses the port, or set API_PORT to another"))?;
    tracing::info!(%address, "api is up");
    tokio::spawn(housekeeping(pool, app.clone()));
    axum::serve(listener, pmo_api::router(app).into_make_service_with_connect_info::<SocketAddr>())
        .with_graceful_shutdown(pmo_startup::shutdown_signal())
        .await
        .map_err(|e| e.to_string())
}

/// What has to be done now and then: partitions of the log, old changes of access, old answers, old tokens.
async fn housekeeping(pool: pmo_database::Pool, app: AppState) {
    let mut hourly = tokio::time::interval(Duration::from_secs(3600));
    loop {
        hourly.tick().await;
        let done = async {
            pmo_database::ensure_partitions(&pool).await?;
            pmo_database::prune_access_changes(&pool).await?;
            let cut = pmo_database::drop_expired_log_partitions(&pool).await?;
            if !cut.is_empty() {
                tracing::info!(?cut, "old months of the log are gone, as the setting feed.keep_days asks");
            }
            let mut connection = pool.acquire().await?;
            pmo_database::idempotency::delete_expired(&mut connection).await?;
            pmo_database::credential::delete_expired(&mut connection).await?;
            pmo_api::files::collect_garbage(&mut connection, app.files.as_ref()).await
        };
        if let Err(error) = done.await {
            tracing::warn!(%error, "housekeeping did not go through; trying again in an hour");
        }
    }
}
