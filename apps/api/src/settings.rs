//! Settings, from the environment or the command line, with defaults for development.
//!
//! A missing or invalid setting is reported in one line that says how to correct it.

use clap::{Parser, Subcommand};
use pmo_database::NotifyMode;
use pmo_startup::LogFormat;
use pmo_startup::deprecated_env::RenamedEnv;
use std::path::PathBuf;

/// Renamed environment variables; the old names are accepted for one release.
pub const RENAMED_ENV: [RenamedEnv; 2] = [
    RenamedEnv { old: "SIGN_IN_PER_MINUTE", new: "LOGIN_RATE_PER_MINUTE", option: "--sign-in-per-minute" },
    RenamedEnv { old: "FEED_DOORBELL", new: "FEED_NOTIFY", option: "--doorbell" },
];

/// The api service of PMO.
#[derive(Debug, Parser)]
#[command(name = "pmo-api", version, about)]
pub struct Config {
    /// Command to run; the server by default.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// URL of the PostgreSQL database.
    #[arg(
        long,
        env = "DATABASE_URL",
        default_value = "postgresql://app:app@localhost:5434/app",
        global = true,
        hide_env_values = true
    )]
    pub database_url: String,
    /// Secret that signs access tokens, at least 32 bytes; the same value as for pubsub.
    #[arg(long, env = "JWT_SECRET", global = true, hide_env_values = true)]
    pub jwt_secret: Option<String>,
    /// Port to listen on.
    #[arg(long, env = "API_PORT", default_value_t = 4000)]
    pub port: u16,
    /// Address to listen on.
    #[arg(long, env = "API_HOST", default_value = "127.0.0.1")]
    pub host: String,
    /// WebSocket URL for browsers.
    ///
    /// Empty: port 4001 of the same host over http, `/ws` of the same origin over https.
    #[arg(long, env = "PUBSUB_URL", default_value = "")]
    pub pubsub_url: String,
    /// Folder with the built web app; if it does not exist, only the API is served.
    #[arg(long, env = "WEB_DIST", default_value = "dist")]
    pub web_dist: PathBuf,
    /// Whether to send the session cookie over https only; set it if users open the app with https.
    #[arg(long, env = "COOKIE_SECURE", default_value_t = false, action = clap::ArgAction::Set)]
    pub cookie_secure: bool,
    /// Whether to take client addresses from the `X-Forwarded-For` header.
    ///
    /// Set it only behind your own proxy.
    #[arg(long, env = "TRUST_PROXY", default_value_t = false, action = clap::ArgAction::Set)]
    pub trust_proxy: bool,
    /// Maximum number of login attempts per minute for one client address and account.
    #[arg(long, env = "LOGIN_RATE_PER_MINUTE", default_value_t = 20)]
    pub sign_in_per_minute: u32,
    /// Maximum size of an import file, in megabytes.
    #[arg(long, env = "IMPORT_LIMIT_MB", default_value_t = 32)]
    pub import_limit_mb: usize,
    /// Folder for the contents of files.
    #[arg(long, env = "FILES_DIR", default_value = "files")]
    pub files_dir: PathBuf,
    /// Maximum size of an uploaded file, in megabytes.
    #[arg(long, env = "FILE_LIMIT_MB", default_value_t = 500)]
    pub file_limit_mb: u64,
    /// Sender of the NOTIFY for a write: 'in-transaction' or 'after-commit'.
    ///
    /// With 'in-transaction' the writing transaction sends it, with 'after-commit' the api after
    /// the commit. 'afterwards' is the deprecated name of 'after-commit'.
    #[arg(long = "doorbell", env = "FEED_NOTIFY", default_value = "in-transaction")]
    pub notify_mode: NotifyMode,
    /// Format of the log on stderr: 'text', or 'json' for one JSON object per line.
    #[arg(long, env = "LOG_FORMAT", default_value = "text", global = true)]
    pub log_format: LogFormat,
    /// Maximum number of database connections.
    #[arg(long, env = "API_DATABASE_CONNECTIONS", default_value_t = 16, global = true)]
    pub database_connections: u32,
}

/// Command of the program.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Start the server (default).
    Serve,
    /// Apply pending migrations and exit.
    Migrate,
    /// Load demo data; does nothing if the database has projects.
    Seed {
        /// Amount of data: small, demo or large.
        #[arg(long, default_value = "demo")]
        scale: crate::seed::scale::Scale,
    },
    /// Import a Microsoft Project XML file as a new project, or rows from a CSV file.
    ///
    /// With --entity, the rows of a CSV file are upserted by code.
    Import {
        /// File to import.
        file: PathBuf,
        /// Email address of the user that the command acts for.
        #[arg(long, default_value = "admin@pmo.example")]
        as_email: String,
        /// Project name; default: the title in the file.
        #[arg(long, conflicts_with = "entity")]
        name: Option<String>,
        /// Entity type of the rows of a CSV file, such as task.
        #[arg(long)]
        entity: Option<String>,
        /// Only report the result; nothing is written.
        #[arg(long, requires = "entity")]
        dry_run: bool,
    },
    /// Export the data that a user may see, by default everything as JSON lines.
    ///
    /// With --entity the rows of one type, with --project a plan for Microsoft Project.
    Export {
        /// File to write; '-' for standard output.
        #[arg(default_value = "-")]
        file: PathBuf,
        /// Email address of the user that the command acts for.
        #[arg(long, default_value = "admin@pmo.example")]
        as_email: String,
        /// Export only the rows of this entity type.
        #[arg(long)]
        entity: Option<String>,
        /// Format with --entity: csv or json.
        #[arg(long, default_value = "csv", value_parser = ["csv", "json"])]
        format: String,
        /// Id of a project to export as Microsoft Project XML.
        #[arg(long, conflicts_with = "entity")]
        project: Option<uuid::Uuid>,
    },
    /// Create a user with OWNER on everything, or reset the password of an existing one.
    ///
    /// The password is printed once.
    AddAdministrator {
        /// Email address to sign in with.
        email: String,
    },
    /// Compute the dates of a Microsoft Project XML file from its inputs; needs no database.
    Schedule {
        /// File to read.
        file: PathBuf,
        /// Print the dates as JSON, which is the only format.
        #[arg(long)]
        json: bool,
    },
    /// Print the `OpenAPI` document.
    Openapi,
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn renamed_variables_belong_to_their_options() {
        let command = Config::command();
        for setting in RENAMED_ENV {
            let arg = command.get_arguments().find(|arg| arg.get_env().is_some_and(|env| env == setting.new));
            let option = arg.and_then(|arg| arg.get_long()).map(|long| format!("--{long}"));
            assert_eq!(option.as_deref(), Some(setting.option), "{}", setting.new);
            assert!(command.get_arguments().all(|arg| arg.get_env().is_none_or(|env| env != setting.old)));
        }
    }
}
