//! Errors of a file that is not a valid plan.

use pmo_domain::api_types::FieldError;

/// Error of a file that is not a valid plan.
#[derive(Debug, thiserror::Error, PartialEq)]
#[error("{message}")]
pub struct PlanError {
    /// Message for the importing user.
    pub message: String,
    /// Location in the file: an element or a task.
    pub location: String,
}

impl From<PlanError> for FieldError {
    fn from(error: PlanError) -> Self {
        Self { field: error.location, message: error.message }
    }
}

/// Creates an error about a location in the file.
pub(super) fn invalid(location: impl Into<String>, message: impl Into<String>) -> PlanError {
    PlanError { location: location.into(), message: message.into() }
}
