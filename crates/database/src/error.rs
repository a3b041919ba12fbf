//! What can go wrong with the database, in names that the edge can put into words.

/// A failure.
#[derive(Debug, thiserror::Error)]
pub enum DatabaseError {
    /// The address, the server or the schema is not usable; the text is for the one who runs the service.
    #[error("{0}")]
    Setup(String),
    /// The database does not answer, or is too busy; trying again may help.
    #[error("the database does not answer")]
    Unavailable(#[source] sqlx::Error),
    /// Another row has that value already.
    #[error("{column} is taken")]
    UniqueViolation {
        /// The column.
        column: String,
    },
    /// A value breaks a rule of the schema.
    #[error("{column}: {message}")]
    ConstraintViolation {
        /// The column, where it is known.
        column: String,
        /// The rule, in words.
        message: String,
    },
    /// A cursor that this list did not give.
    #[error("the cursor is not one of this list")]
    InvalidCursor,
    /// Two transactions were in each other's way; try again.
    #[error("the row was being changed by somebody else")]
    LockContention,
    /// Anything else: a bug.
    #[error(transparent)]
    Unexpected(sqlx::Error),
}

impl From<sqlx::Error> for DatabaseError {
    fn from(error: sqlx::Error) -> Self {
        use sqlx::Error as E;
        if matches!(error, E::Io(_) | E::PoolTimedOut | E::PoolClosed | E::Tls(_) | E::WorkerCrashed) {
            return Self::Unavailable(error);
        }
        let E::Database(database) = &error else { return Self::Unexpected(error) };
        let Some(postgres) = database.try_downcast_ref::<sqlx::postgres::PgDatabaseError>() else {
            return Self::Unexpected(error);
        };
        let table = postgres.table().unwrap_or_default();
        // `task_sprint_id_fkey`, `person_code_idx`: the column stands between the table's name and the ending.
        let column = || {
            postgres.column().map(str::to_owned).unwrap_or_else(|| {
                let name = postgres.constraint().unwrap_or_default();
                let name = name.strip_prefix(table).unwrap_or(name).trim_start_matches('_');
                ["_fkey", "_idx", "_key", "_check", "_lower_idx"]
                    .iter()
                    .find_map(|end| name.strip_suffix(end))
                    .unwrap_or(name)
                    .to_owned()
            })
        };
        match postgres.code() {
            "23505" => Self::UniqueViolation { column: if column() == "lower" { "email".into() } else { column() } },
            "23503" => Self::ConstraintViolation { column: column(), message: "there is no such thing".into() },
            "54000" => Self::ConstraintViolation { column: "name".into(), message: "is too long".into() },
            "23502" => Self::ConstraintViolation { column: column(), message: "is needed".into() },
            "23514" => {
                let own = postgres.constraint().is_none();
                let message = if own { postgres.message() } else { "has a value that is not allowed" };
                Self::ConstraintViolation { column: column(), message: message.to_owned() }
            }
            code if code.starts_with("22") => Self::ConstraintViolation {
                column: column(),
                message: "has a value that the database does not take".into(),
            },
            "40001" | "40P01" | "55P03" => Self::LockContention,
            "57014" | "57P01" | "57P02" | "57P03" | "53300" | "53200" | "53100" => Self::Unavailable(error),
            code if code.starts_with("08") => Self::Unavailable(error),
            _ => Self::Unexpected(error),
        }
    }
}
