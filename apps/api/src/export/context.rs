//! Pool, caches and model from which an export reads.

use crate::state::EntityModel;
use pmo_database::Pool;
use pmo_database::row_cache::RowCache;
use pmo_database::visibility::VisibilityCache;

/// Dependencies of an export.
#[derive(Clone, Copy)]
pub struct ExportContext<'a> {
    /// Database connection pool.
    pub pool: &'a Pool,
    /// Cached visibility sets.
    pub visibility_cache: &'a VisibilityCache,
    /// Cached rows.
    pub row_cache: &'a RowCache,
    /// Catalog and option sets.
    pub model: &'a EntityModel,
}
