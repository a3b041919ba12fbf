//! Entry point of the pubsub service.
//!
//! A failure to start is reported in one line.

use clap::Parser;
use pmo_database::{DatabaseError, NotifyMode};
use pmo_pubsub::settings::{RENAMED_ENV, Settings};
use pmo_startup::deprecated_env;
use std::process::ExitCode;
use tokio::net::TcpListener;

#[tokio::main]
async fn main() -> ExitCode {
    let (args, deprecated) = deprecated_env::args(&RENAMED_ENV);
    let settings = Settings::parse_from(args);
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

/// Reason why the service cannot start or stopped with a failure.
#[derive(Debug, thiserror::Error)]
enum StartError {
    /// The secret of the access tokens is missing or too short.
    #[error(
        "JWT_SECRET is missing or shorter than 32 bytes: set it to the value of the api (create one with: openssl rand -base64 48)"
    )]
    Secret,
    /// The database is unusable.
    #[error(transparent)]
    Database(#[from] DatabaseError),
    /// The service cannot listen on its address.
    #[error("can't listen on {address} ({source}): stop the process that uses the port, or set another PUBSUB_PORT")]
    Listen {
        /// Host and port.
        address: String,
        /// Error of the operating system.
        source: std::io::Error,
    },
    /// The server failed.
    #[error(transparent)]
    Serve(std::io::Error),
}

async fn run(settings: Settings) -> Result<(), StartError> {
    let secret = settings.jwt_secret.as_deref().unwrap_or_default();
    let keys = pmo_token::TokenKeys::new(secret).map_err(|_| StartError::Secret)?;
    let pool =
        pmo_database::connect(&settings.database_url, settings.database_connections, NotifyMode::InTransaction).await?;
    pmo_database::prepare(&pool).await?;
    let server = pmo_pubsub::start(pool, keys, &settings).await?;
    let address = format!("{}:{}", settings.host, settings.port);
    let listener =
        TcpListener::bind(&address).await.map_err(|source| StartError::Listen { address: address.clone(), source })?;
    tracing::info!(%address, "listening");
    let handle = server.shutdown_handle();
    let stop = async move {
        pmo_startup::shutdown_signal().await;
        handle.stop().await;
    };
    server.serve(listener, stop).await.map_err(StartError::Serve)
}
