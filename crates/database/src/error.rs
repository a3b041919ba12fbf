//! Error type of the crate; the api maps each variant to a problem response.

/// Error of a database operation.
#[derive(Debug, thiserror::Error)]
pub enum DatabaseError {
    /// The URL, the server or the schema is unusable; the message is for the operator.
    #[error("{0}")]
    Setup(String),
    /// The database is not available or overloaded; a retry may succeed.
    #[error("database unavailable")]
    Unavailable(#[source] sqlx::Error),
    /// Another row already has the value of a unique column (SQLSTATE 23505).
    #[error("{column} is already in use")]
    UniqueViolation {
        /// Name of the column; `email` for the index on `lower(email)`.
        column: String,
    },
    /// A value violates a constraint of the schema.
    #[error("{column}: {message}")]
    ConstraintViolation {
        /// Name of the column; empty or the constraint's name if the column is not known.
        column: String,
        /// Predicate for the column, such as `is required`, or the message of a trigger.
        message: String,
    },
    /// The cursor is malformed or belongs to another list.
    #[error("the cursor does not belong to this list")]
    InvalidCursor,
    /// Serialization failure, deadlock or lock timeout; a retry may succeed.
    #[error("the row is being changed by another transaction")]
    LockContention,
    /// Any other error; indicates a bug.
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
        // PostgreSQL does not report the column of foreign keys and unique indexes. Their names
        // contain it between table and suffix: `task_sprint_id_fkey`, `person_code_idx`.
        let column = || {
            postgres.column().map(str::to_owned).unwrap_or_else(|| {
                let name = postgres.constraint().unwrap_or_default();
                let name = name.strip_prefix(table).unwrap_or(name).trim_start_matches('_');
                ["_fkey", "_idx", "_key", "_check", "_lower_idx"]
                    .iter()
                    .find_map(|suffix| name.strip_suffix(suffix))
                    .unwrap_or(name)
                    .to_owned()
            })
        };
        match postgres.code() {
            "23505" => Self::UniqueViolation { column: if column() == "lower" { "email".into() } else { column() } },
            "23503" => Self::ConstraintViolation { column: column(), message: "does not exist".into() },
            // Program limit exceeded: an index entry that contains the name is too large.
            "54000" => Self::ConstraintViolation { column: "name".into(), message: "is too long".into() },
            "23502" => Self::ConstraintViolation { column: column(), message: "is required".into() },
            "23514" => {
                // Errors raised by triggers have no constraint name, but a message for users.
                let is_from_trigger = postgres.constraint().is_none();
                let message = if is_from_trigger { postgres.message() } else { "has a value that is not allowed" };
                Self::ConstraintViolation { column: column(), message: message.to_owned() }
            }
            code if code.starts_with("22") => Self::ConstraintViolation {
                column: column(),
                message: "has a value that the database does not accept".into(),
            },
            "40001" | "40P01" | "55P03" => Self::LockContention,
            "57014" | "57P01" | "57P02" | "57P03" | "53300" | "53200" | "53100" => Self::Unavailable(error),
            code if code.starts_with("08") => Self::Unavailable(error),
            _ => Self::Unexpected(error),
        }
    }
}
