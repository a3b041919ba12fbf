//! Settings, from the environment or the command line.

use clap::Parser;
use pmo_startup::LogFormat;
use pmo_startup::deprecated_env::RenamedEnv;

/// Renamed environment variables; the old names are accepted for one release.
pub const RENAMED_ENV: [RenamedEnv; 3] = [
    RenamedEnv { old: "PUBSUB_POLL_MS", new: "PUBSUB_POLL_INTERVAL_MS", option: "--poll-ms" },
    RenamedEnv {
        old: "PUBSUB_CONNECTIONS_PER_PERSON",
        new: "PUBSUB_MAX_CONNECTIONS_PER_USER",
        option: "--connections-per-person",
    },
    RenamedEnv { old: "PUBSUB_QUEUE_KB", new: "PUBSUB_OUTBOUND_QUEUE_KB", option: "--queue-kilobytes" },
];

/// The pubsub service of PMO.
#[derive(Clone, Debug, Parser)]
#[command(name = "pmo-pubsub", version, about)]
pub struct Settings {
    /// URL of the PostgreSQL database.
    #[arg(
        long,
        env = "DATABASE_URL",
        default_value = "postgresql://app:app@localhost:5434/app",
        hide_env_values = true
    )]
    pub database_url: String,
    /// Secret that signs access tokens, at least 32 bytes; the same value as for the api.
    #[arg(long, env = "JWT_SECRET", hide_env_values = true)]
    pub jwt_secret: Option<String>,
    /// Port to listen on.
    #[arg(long, env = "PUBSUB_PORT", default_value_t = 4001)]
    pub port: u16,
    /// Address to listen on.
    #[arg(long, env = "PUBSUB_HOST", default_value = "127.0.0.1")]
    pub host: String,
    /// Interval in milliseconds at which the change log is polled if no NOTIFY arrives.
    #[arg(long, env = "PUBSUB_POLL_INTERVAL_MS", default_value_t = 1000)]
    pub poll_ms: u64,
    /// Additional origins of pages that may connect, separated by commas.
    ///
    /// Pages of the service's own host are always allowed.
    #[arg(long, env = "PUBSUB_ALLOWED_ORIGINS", default_value = "")]
    pub allowed_origins: String,
    /// Maximum number of open connections per user.
    #[arg(long, env = "PUBSUB_MAX_CONNECTIONS_PER_USER", default_value_t = 100)]
    pub connections_per_person: usize,
    /// Maximum outbound queue of a connection in kilobytes, at least 512.
    ///
    /// A slower client is disconnected and has to resume.
    #[arg(long, env = "PUBSUB_OUTBOUND_QUEUE_KB", default_value_t = 4096)]
    pub queue_kilobytes: usize,
    /// Seconds that a connection stays open after its token has expired.
    ///
    /// In this time a new token can arrive.
    #[arg(long, env = "PUBSUB_TOKEN_GRACE_SECONDS", default_value_t = 30)]
    pub token_grace_seconds: u32,
    /// Format of the log on stderr: 'text', or 'json' for one JSON object per line.
    #[arg(long, env = "LOG_FORMAT", default_value = "text")]
    pub log_format: LogFormat,
    /// Maximum number of database connections.
    #[arg(long, env = "PUBSUB_DATABASE_CONNECTIONS", default_value_t = 6)]
    pub database_connections: u32,
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn renamed_variables_belong_to_their_options() {
        let command = Settings::command();
        for setting in RENAMED_ENV {
            let arg = command.get_arguments().find(|arg| arg.get_env().is_some_and(|env| env == setting.new));
            let option = arg.and_then(|arg| arg.get_long()).map(|long| format!("--{long}"));
            assert_eq!(option.as_deref(), Some(setting.option), "{}", setting.new);
            assert!(command.get_arguments().all(|arg| arg.get_env().is_none_or(|env| env != setting.old)));
        }
    }
}
