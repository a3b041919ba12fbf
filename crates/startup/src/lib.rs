//! What both services do when they start and stop: how they log, and which signals end them. It must never know what a service is for.

use std::io::IsTerminal;
use tracing_subscriber::EnvFilter;

/// How events are logged to stderr.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    /// For people; in colours on a terminal.
    Text,
    /// A line of JSON for each event, for machines that collect them.
    Json,
}

impl LogFormat {
    /// Begins to log what RUST_LOG lets through. Called once, first of all.
    pub fn init_tracing(self) {
        let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| "info,sqlx=error".into());
        let ansi = std::io::stderr().is_terminal();
        let logs = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(ansi);
        match self {
            Self::Text => logs.init(),
            Self::Json => logs.json().init(),
        }
    }
}

/// Waits for the signal to stop: an interrupt, or what supervisors send.
pub async fn shutdown_signal() {
    let interrupt = tokio::signal::ctrl_c();
    let Ok(mut terminate) = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()) else { return };
    tokio::select! {
        _ = interrupt => {}
        _ = terminate.recv() => {}
    }
}
