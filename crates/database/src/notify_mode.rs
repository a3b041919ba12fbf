//! Which side notifies the readers of the change log.

/// Sender of the change-log notification for the transactions of a connection.
///
/// The channel is [`LOG_CHANNEL`](crate::change_log::LOG_CHANNEL).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum NotifyMode {
    /// The writing transaction, as part of its commit.
    InTransaction,
    /// The owner of the connection, after the commit, with [`notify`](crate::change_log::notify).
    AfterCommit,
}

impl NotifyMode {
    /// Returns the session settings that the trigger on the change log reads.
    pub(crate) fn session_options(self) -> [(&'static str, &'static str); 1] {
        [(
            "app.notify_mode",
            match self {
                Self::InTransaction => "",
                Self::AfterCommit => "after_commit",
            },
        )]
    }
}

/// Error for a text that is not the name of a [`NotifyMode`].
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("must be 'in-transaction' or 'after-commit'")]
pub struct InvalidNotifyMode;

impl std::str::FromStr for NotifyMode {
    type Err = InvalidNotifyMode;

    /// Accepts `afterwards` as the deprecated name of `after-commit`.
    fn from_str(text: &str) -> Result<Self, InvalidNotifyMode> {
        match text {
            "in-transaction" => Ok(Self::InTransaction),
            "after-commit" | "afterwards" => Ok(Self::AfterCommit),
            _ => Err(InvalidNotifyMode),
        }
    }
}
