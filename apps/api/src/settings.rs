//! Settings, all from the environment (or the command line), with defaults that suit development. A missing or bad one is told in
//! one line that says what to do.

use clap::{Parser, Subcommand};
use pmo_database::change_log::NotifyMode;
use pmo_startup::LogFormat;
use std::path::PathBuf;

/// The api of PMO.
#[derive(Debug, Parser)]
#[command(name = "pmo-api", version, about)]
pub struct Config {
    /// What to do.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// PostgreSQL's address.
    #[arg(
        long,
        env = "DATABASE_URL",
        default_value = "postgresql://app:app@localhost:5434/app",
        global = true,
        hide_env_values = true
    )]
    pub database_url: String,
    /// The secret that signs access tokens, at least 32 bytes; the same for pubsub. It has no default.
    #[arg(long, env = "JWT_SECRET", global = true, hide_env_values = true)]
    pub jwt_secret: Option<String>,
    /// The port to listen on.
    #[arg(long, env = "API_PORT", default_value_t = 4000)]
    pub port: u16,
    /// The address to listen on.
    #[arg(long, env = "API_HOST", default_value = "127.0.0.1")]
    pub host: String,
    /// The socket's address as browsers reach it; empty: port 4001 of the same host in development, `/ws` of the same origin on https.
    #[arg(long, env = "PUBSUB_URL", default_value = "")]
    pub pubsub_url: String,
    /// The folder with the built app; where it is absent, only the interface is served.
    #[arg(long, env = "WEB_DIST", default_value = "dist")]
    pub web_dist: PathBuf,
    /// Send the session cookie over https alone; set it wherever the app is reached by https.
    #[arg(long, env = "COOKIE_SECURE", default_value_t = false, action = clap::ArgAction::Set)]
    pub cookie_secure: bool,
    /// Believe X-Forwarded-For; set it behind a proxy of your own alone.
    #[arg(long, env = "TRUST_PROXY", default_value_t = false, action = clap::ArgAction::Set)]
    pub trust_proxy: bool,
    /// Sign-in attempts a minute for one address and one account.
    #[arg(long, env = "SIGN_IN_PER_MINUTE", default_value_t = 20)]
    pub sign_in_per_minute: u32,
    /// Largest plan to import, in megabytes.
    #[arg(long, env = "IMPORT_LIMIT_MB", default_value_t = 32)]
    pub import_limit_mb: usize,
    /// The folder that keeps the contents of files.
    #[arg(long, env = "FILES_DIR", default_value = "files")]
    pub files_dir: PathBuf,
    /// Largest file, in megabytes.
    #[arg(long, env = "FILE_LIMIT_MB", default_value_t = 500)]
    pub file_limit_mb: u64,
    /// Who tells the feed of a write: 'in-transaction', the write itself at its commit, or 'afterwards', the api once it is committed.
    #[arg(long, env = "FEED_DOORBELL", default_value = "in-transaction")]
    pub doorbell: NotifyMode,
    /// How events are logged to stderr: 'text', or 'json' for machines that collect them.
    #[arg(long, env = "LOG_FORMAT", default_value = "text", global = true)]
    pub log_format: LogFormat,
    /// Most connections to the database.
    #[arg(long, env = "API_DATABASE_CONNECTIONS", default_value_t = 16, global = true)]
    pub database_connections: u32,
}

/// What the program can do besides serving.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Serve (the default).
    Serve,
    /// Bring the schema up to date and stop.
    Migrate,
    /// Load demo data; does nothing where there is data already.
    Seed {
        /// How much: small, demo or large.
        #[arg(long, default_value = "demo")]
        scale: crate::seed::Scale,
    },
    /// Import a Microsoft Project XML file as a new project, or with --entity rows of a type from a CSV file, upserted by code.
    Import {
        /// The file.
        file: PathBuf,
        /// In whose name.
        #[arg(long, default_value = "admin@pmo.example")]
        as_email: String,
        /// The project's name; default: what the file says.
        #[arg(long, conflicts_with = "entity")]
        name: Option<String>,
        /// The type of the rows of a CSV file, such as task.
        #[arg(long)]
        entity: Option<String>,
        /// Only say what would happen.
        #[arg(long, requires = "entity")]
        dry_run: bool,
    },
    /// Export what a person may see: everything as lines of JSON, with --entity rows of a type, with --project a plan for Microsoft Project.
    Export {
        /// The file to write; '-' for the standard output.
        #[arg(default_value = "-")]
        file: PathBuf,
        /// In whose name.
        #[arg(long, default_value = "admin@pmo.example")]
        as_email: String,
        /// Rows of this type alone.
        #[arg(long)]
        entity: Option<String>,
        /// With --entity: csv or json.
        #[arg(long, default_value = "csv", value_parser = ["csv", "json"])]
        format: String,
        /// A project, by its id, as Microsoft Project XML.
        #[arg(long, conflicts_with = "entity")]
        project: Option<uuid::Uuid>,
    },
    /// Make a person who owns everything, or give one a new password, which is printed once.
    AddAdministrator {
        /// The address to sign in with.
        email: String,
    },
    /// Print the OpenAPI document.
    Openapi,
}
