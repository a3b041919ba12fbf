//! Errors of the cells of an import.

/// Error of a cell that is not a value of its column.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CellError {
    /// Neither yes nor no.
    #[error("must be yes or no")]
    NotBoolean,
    /// Empty, although the column requires a value.
    #[error("must not be empty")]
    Empty,
    /// Not an option of the set; contains the options.
    #[error("must be one of {0}")]
    NotAnOption(String),
    /// Not a number; contains its beginning.
    #[error("'{0}' is not a number")]
    NotANumber(String),
    /// The separator of the number may separate thousands or decimals.
    #[error("'{number}' is ambiguous: write {integer}{fraction} or {integer}.{fraction}0")]
    AmbiguousNumber {
        /// The number as in the file.
        number: String,
        /// Digits before the separator.
        integer: String,
        /// Digits after the separator.
        fraction: String,
    },
    /// No entity that the user may see has this code, name or id.
    #[error("{entity} '{reference}' does not exist, or is not visible to you")]
    UnknownReference {
        /// Type of the entity.
        entity: String,
        /// Beginning of the reference.
        reference: String,
    },
    /// Several entities have this code or name.
    #[error("{count} entities match '{reference}': use the code or id")]
    AmbiguousReference {
        /// Number of entities.
        count: usize,
        /// Beginning of the reference.
        reference: String,
    },
    /// Invalid for the column, for the given reason.
    #[error("{0}")]
    Invalid(String),
}
