//! Startup and shutdown of both services: logging, request ids and termination signals.
//!
//! Must not: depend on the purpose of a service.

pub mod deprecated_env; // environment variables that were renamed
mod request_trace; // request ids and spans

pub use request_trace::trace_requests;

use std::io::IsTerminal;
use tracing_subscriber::EnvFilter;

/// Format of log events on stderr.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    /// Text for people, colored on a terminal.
    Text,
    /// One line of JSON per event, for log collectors.
    Json,
}

impl LogFormat {
    /// Initializes logging with the filter of `RUST_LOG`, by default `info,sqlx=error`.
    ///
    /// Must be called once, before the first event; a second call panics.
    pub fn init_tracing(self) {
        let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| "info,sqlx=error".into());
        let use_color = std::io::stderr().is_terminal();
        let subscriber =
            tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(use_color);
        match self {
            Self::Text => subscriber.init(),
            Self::Json => subscriber.json().init(),
        }
    }
}

/// Waits for a termination signal: `SIGINT` or `SIGTERM`.
///
/// Returns immediately if the handler for `SIGTERM` cannot be installed.
pub async fn shutdown_signal() {
    let interrupt = tokio::signal::ctrl_c();
    let Ok(mut terminate) = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()) else { return };
    tokio::select! {
        _ = interrupt => {}
        _ = terminate.recv() => {}
    }
}
