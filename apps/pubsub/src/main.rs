//! Starts pubsub. Every failure to start is one plain line.

use clap::Parser;
use pmo_database::change_log::NotifyMode;
use pmo_pubsub::settings::Settings;
use std::process::ExitCode;
use tokio::net::TcpListener;

#[tokio::main]
async fn main() -> ExitCode {
    let settings = Settings::parse();
    settings.log_format.init_tracing();
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
        "JWT_SECRET is missing or shorter than 32 bytes: set it to the api's (openssl rand -base64 48 makes one)"
            .to_owned()
    })?;
    let pool = pmo_database::connect(&settings.database_url, settings.database_connections, NotifyMode::InTransaction)
        .await
        .map_err(|e| e.to_string())?;
    pmo_database::prepare(&pool).await.map_err(|e| e.to_string())?;
    let running = pmo_pubsub::start(pool, keys, &settings).await.map_err(|e| e.to_string())?;
    let address = format!("{}:{}", settings.host, settings.port);
    let listener = TcpListener::bind(&address).await.map_err(|e| {
        format!("can't listen on {address} ({e}): stop what uses the port, or set PUBSUB_PORT to another")
    })?;
    tracing::info!(%address, "pubsub is up");
    let stopper = running.stopper();
    let stop = async move {
        pmo_startup::shutdown_signal().await;
        stopper.stop().await;
    };
    running.serve(listener, stop).await.map_err(|e| e.to_string())
}
