//! Settings, all from the environment (or the command line), with documented defaults.

use clap::Parser;
use pmo_startup::LogFormat;

/// The pubsub service of PMO.
#[derive(Clone, Debug, Parser)]
#[command(name = "pmo-pubsub", version, about)]
pub struct Settings {
    /// PostgreSQL's address.
    #[arg(
        long,
        env = "DATABASE_URL",
        default_value = "postgresql://app:app@localhost:5434/app",
        hide_env_values = true
    )]
    pub database_url: String,
    /// The secret that signs access tokens; the same as the api's.
    #[arg(long, env = "JWT_SECRET", hide_env_values = true)]
    pub jwt_secret: Option<String>,
    /// The port to listen on.
    #[arg(long, env = "PUBSUB_PORT", default_value_t = 4001)]
    pub port: u16,
    /// The address to listen on.
    #[arg(long, env = "PUBSUB_HOST", default_value = "127.0.0.1")]
    pub host: String,
    /// Milliseconds between looks at the log where no doorbell rings.
    #[arg(long, env = "PUBSUB_POLL_MS", default_value_t = 1000)]
    pub poll_ms: u64,
    /// Origins of pages that may connect, separated by commas, besides those of the service's own host.
    #[arg(long, env = "PUBSUB_ALLOWED_ORIGINS", default_value = "")]
    pub allowed_origins: String,
    /// Sockets that one person may have open.
    #[arg(long, env = "PUBSUB_CONNECTIONS_PER_PERSON", default_value_t = 100)]
    pub connections_per_person: usize,
    /// Kilobytes that may wait for a slow socket before it is told to come back and resume.
    #[arg(long, env = "PUBSUB_QUEUE_KB", default_value_t = 4096)]
    pub queue_kilobytes: usize,
    /// Seconds for which a socket stays after its token has expired, so that the next may be on its way.
    #[arg(long, env = "PUBSUB_TOKEN_GRACE_SECONDS", default_value_t = 30)]
    pub token_grace_seconds: u32,
    /// How events are logged to stderr: 'text', or 'json' for machines that collect them.
    #[arg(long, env = "LOG_FORMAT", default_value = "text")]
    pub log_format: LogFormat,
    /// Most connections to the database.
    #[arg(long, env = "PUBSUB_DATABASE_CONNECTIONS", default_value_t = 6)]
    pub database_connections: u32,
}
