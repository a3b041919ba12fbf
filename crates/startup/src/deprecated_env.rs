//! Renamed environment variables: the old name of a setting still works for one release.
//!
//! Must not: change the environment of the process. Values of old variables become command line
//! arguments.
//!
//! A service lists its renamed variables, parses the arguments that [`args`] returns instead of
//! those of the process, and logs a warning for each old variable once logging is set up:
//!
//! ```no_run
//! use clap::Parser;
//! use pmo_startup::deprecated_env::{self, RenamedEnv};
//!
//! #[derive(Parser)]
//! struct Settings {
//!     #[arg(long, env = "POLL_INTERVAL_MS", default_value_t = 1000)]
//!     poll_ms: u64,
//! }
//!
//! const RENAMED: [RenamedEnv; 1] =
//!     [RenamedEnv { old: "POLL_MS", new: "POLL_INTERVAL_MS", option: "--poll-ms" }];
//!
//! let (args, deprecated) = deprecated_env::args(&RENAMED);
//! let settings = Settings::parse_from(args);
//! // Set up logging here.
//! for setting in deprecated {
//!     eprintln!("{}: deprecated setting: use {}", setting.old, setting.new);
//! }
//! # let _ = settings.poll_ms;
//! ```
//!
//! Old names of a value (not of a variable) are aliases of the value in clap:
//! `#[value(alias = "afterwards")]`.

use std::ffi::{OsStr, OsString};

/// Environment variable of a setting that has a new name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RenamedEnv {
    /// Old name, accepted until the next release.
    pub old: &'static str,
    /// New name: the `env` of the setting's clap argument.
    pub new: &'static str,
    /// Long command line option of the same clap argument, with its dashes, such as `--poll-ms`.
    pub option: &'static str,
}

/// Returns the arguments for clap's `parse_from`, and the old variables that are in use.
///
/// For each old variable in use, `option=value` is inserted after the program's name. An old
/// variable is in use if it is set and not empty, its new variable is not set, and the command line
/// does not contain the option. The order of precedence is thus: command line, new variable, old
/// variable, default.
pub fn args(renamed: &[RenamedEnv]) -> (Vec<OsString>, Vec<RenamedEnv>) {
    args_from(renamed, std::env::args_os(), |name| std::env::var_os(name))
}

/// Implements [`args`] for any command line and environment.
fn args_from(
    renamed: &[RenamedEnv],
    command_line: impl IntoIterator<Item = OsString>,
    env: impl Fn(&str) -> Option<OsString>,
) -> (Vec<OsString>, Vec<RenamedEnv>) {
    let mut args: Vec<OsString> = command_line.into_iter().collect();
    let mut inserted = Vec::new();
    let mut deprecated = Vec::new();
    for setting in renamed {
        let Some(value) = env(setting.old).filter(|value| !value.is_empty()) else { continue };
        if env(setting.new).is_some_and(|value| !value.is_empty())
            || args.iter().any(|arg| is_option(arg, setting.option))
        {
            continue;
        }
        let mut arg = OsString::from(setting.option);
        arg.push("=");
        arg.push(value);
        inserted.push(arg);
        deprecated.push(*setting);
    }
    // Options of the program itself precede a subcommand.
    let first = args.len().min(1);
    args.splice(first..first, inserted);
    (args, deprecated)
}

/// Returns whether `arg` is `option` or `option=value`.
fn is_option(arg: &OsStr, option: &str) -> bool {
    arg.as_encoded_bytes().strip_prefix(option.as_bytes()).is_some_and(|rest| rest.is_empty() || rest.starts_with(b"="))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    const RENAMED: [RenamedEnv; 2] = [
        RenamedEnv { old: "TEST_OLD_POLL", new: "TEST_NEW_POLL", option: "--poll-ms" },
        RenamedEnv { old: "TEST_OLD_QUEUE", new: "TEST_NEW_QUEUE", option: "--queue-kb" },
    ];

    #[derive(Parser)]
    struct Settings {
        #[arg(long, env = "TEST_NEW_POLL", default_value_t = 1000)]
        poll_ms: u64,
        #[arg(long, env = "TEST_NEW_QUEUE", default_value_t = 4096)]
        queue_kb: u64,
        #[command(subcommand)]
        command: Option<Command>,
    }

    #[derive(clap::Subcommand)]
    enum Command {
        Serve,
    }

    fn run(command_line: &[&str], env: &[(&str, &str)]) -> (Vec<OsString>, Vec<RenamedEnv>) {
        args_from(&RENAMED, command_line.iter().map(OsString::from), |name| {
            env.iter().find(|(set, _)| *set == name).map(|(_, value)| OsString::from(value))
        })
    }

    #[test]
    fn old_variable_is_used_and_reported_if_the_new_one_is_not_set() {
        let (args, deprecated) = run(&["service", "serve"], &[("TEST_OLD_POLL", "50"), ("TEST_OLD_QUEUE", "600")]);
        assert_eq!(args, ["service", "--poll-ms=50", "--queue-kb=600", "serve"]);
        assert_eq!(deprecated, RENAMED);
        let settings = Settings::parse_from(args);
        assert_eq!((settings.poll_ms, settings.queue_kb), (50, 600));
        assert!(matches!(settings.command, Some(Command::Serve)));
    }

    #[test]
    fn new_variable_overrides_the_old_one() {
        let (args, deprecated) = run(&["service"], &[("TEST_OLD_POLL", "50"), ("TEST_NEW_POLL", "60")]);
        assert_eq!(args, ["service"]);
        assert_eq!(deprecated, []);
    }

    #[test]
    fn command_line_overrides_the_old_variable() {
        for command_line in [&["service", "--poll-ms", "70"][..], &["service", "--poll-ms=70"]] {
            let (args, deprecated) = run(command_line, &[("TEST_OLD_POLL", "50")]);
            assert_eq!(deprecated, []);
            assert_eq!(Settings::parse_from(args).poll_ms, 70);
        }
        let (_, deprecated) = run(&["service", "--poll-ms-else=70"], &[("TEST_OLD_POLL", "50")]);
        assert_eq!(deprecated, RENAMED[..1], "another option with the same beginning");
    }

    #[test]
    fn empty_or_missing_old_variable_changes_nothing() {
        let (args, deprecated) = run(&["service", "--queue-kb", "700"], &[("TEST_OLD_POLL", "")]);
        assert_eq!(args, ["service", "--queue-kb", "700"]);
        assert_eq!(deprecated, []);
        assert_eq!(run(&[], &[]), (Vec::new(), Vec::new()));
    }
}
