//! Entry point of the pubsub service.
//!
//! A failure to start is reported in one line.

use clap::Parser;
use pmo_database::NotifyMode;
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
        Err(message) => {
            eprintln!("error: {message}");
            ExitCode::FAILURE
        }
    }
}

async fn run(settings: Settings) -> Result<(), String> {
    let keys = pmo_token::TokenKeys::new(settings.jwt_secret.as_deref().unwrap_or_default()).map_err(|_| {
        "JWT_SECRET is missing or shorter than 32 bytes: set it to the value of the api (create one with: openssl rand -base64 48)"
            .to_owned()
    })?;
    let pool = pmo_database::connect(&settings.database_url, settings.database_connections, NotifyMode::InTransaction)
        .await
        .map_err(|e| e.to_string())?;
    pmo_database::prepare(&pool).await.map_err(|e| e.to_string())?;
    let server = pmo_pubsub::start(pool, keys, &settings).await.map_err(|e| e.to_string())?;
    let address = format!("{}:{}", settings.host, settings.port);
    let listener = TcpListener::bind(&address).await.map_err(|e| {
        format!("can't listen on {address} ({e}): stop the process that uses the port, or set another PUBSUB_PORT")
    })?;
    tracing::info!(%address, "listening");
    let handle = server.shutdown_handle();
    let stop = async move {
        pmo_startup::shutdown_signal().await;
        handle.stop().await;
    };
    server.serve(listener, stop).await.map_err(|e| e.to_string())
}
