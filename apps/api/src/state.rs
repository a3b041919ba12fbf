//! State shared by all handlers: pool, keys, the cached catalog, and caches of visibility and rows.
//!
//! Must not: use cached data of a person before the database has confirmed that it is still valid.

use crate::error::{ApiError, Result};
use crate::files::blob_store::{BlobStore, DiskBlobStore};
use crate::schedule_worker::metrics::ScheduleMetrics;
use crate::settings::Config;
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};
use pmo_database::row_cache::RowCache;
use pmo_database::visibility::VisibilityCache;
use pmo_database::{Connection, Pool};
use pmo_domain::catalog::Datalabel;
use pmo_domain::{Catalog, EntityType};
use pmo_token::TokenKeys;
use std::collections::BTreeMap;
use std::num::{NonZeroU32, NonZeroUsize};
use std::sync::{Arc, RwLock};
use std::time::{Duration, Instant};
use tokio::sync::{Semaphore, SemaphorePermit};

/// Ratio of the sign-in limit per address to the limit per address and account.
const ADDRESS_LIMIT_FACTOR: NonZeroU32 = NonZeroU32::MIN.saturating_add(4);

/// Maximum age of a cached catalog.
///
/// A type added by a migration appears within this time, or immediately if it is requested by name.
const CATALOG_TTL: Duration = Duration::from_secs(10);
/// Minimum age of a cached catalog before a request for an unknown type reloads it.
const CATALOG_RETRY_DELAY: Duration = Duration::from_secs(1);

/// Concurrent list reads per core: one waits for the network while the other runs.
const LISTS_PER_CORE: usize = 2;
/// Maximum time that a list request waits for a permit.
const LIST_PERMIT_TIMEOUT: Duration = Duration::from_millis(500);
/// Size limit of the visibility cache, in bytes: enough for some hundreds of users.
const VISIBILITY_CACHE_BYTES: u64 = 8 << 20;
/// Size limit of the row cache, in bytes: some thousands of rows.
///
/// Many clients fetch the same row after it has changed.
const ROW_CACHE_BYTES: u64 = 8 << 20;

/// Entity types and option sets, loaded together.
pub struct EntityModel {
    /// Entity types by code.
    pub catalog: Catalog,
    /// Option sets by name.
    pub datalabels: BTreeMap<String, Datalabel>,
    read_at: Instant,
}

/// Handle to the state, cheap to clone.
#[derive(Clone)]
pub struct AppState(Arc<AppStateInner>);

/// The contents of [`AppState`].
pub struct AppStateInner {
    /// Database connection pool.
    pub pool: Pool,
    /// Keys that sign and verify access tokens.
    pub keys: TokenKeys,
    /// The JWT secret, from which refresh tokens are derived.
    pub secret: String,
    /// Settings the service was started with.
    pub settings: Config,
    /// Rate limiter of sign-in attempts by address and account.
    pub sign_in_limit: DefaultKeyedRateLimiter<String>,
    /// Rate limiter of sign-in attempts by address, over all accounts.
    pub address_limit: DefaultKeyedRateLimiter<String>,
    /// Permits for password hashing, which takes memory and a core each time.
    pub password_hash_permits: Semaphore,
    /// Permits for list reads.
    ///
    /// List reads take no locks and compete only for CPU: more of them at a time would delay all of
    /// them.
    list_permits: Semaphore,
    /// Cached visibility sets and titles.
    pub visibility_cache: VisibilityCache,
    /// Recently read rows.
    pub row_cache: RowCache,
    /// Metrics of the schedule worker.
    pub schedule_metrics: Arc<ScheduleMetrics>,
    /// File contents.
    pub files: Box<dyn BlobStore>,
    model: RwLock<Arc<EntityModel>>,
}

impl std::ops::Deref for AppState {
    type Target = AppStateInner;
    fn deref(&self) -> &AppStateInner {
        &self.0
    }
}

/// Loads catalog and option sets.
pub async fn load_model(connection: &mut Connection) -> Result<EntityModel, pmo_database::DatabaseError> {
    Ok(EntityModel {
        catalog: pmo_database::catalog::load(connection).await?,
        datalabels: pmo_database::catalog::load_datalabels(connection).await?,
        read_at: Instant::now(),
    })
}

impl AppState {
    /// Loads the catalog and builds the state.
    ///
    /// Fails if the JWT secret is missing or shorter than 32 bytes, or if the database cannot be
    /// read.
    pub async fn new(pool: Pool, settings: Config) -> Result<Self, pmo_database::DatabaseError> {
        let secret = settings.jwt_secret.clone().unwrap_or_default();
        let keys = TokenKeys::new(&secret).map_err(|_| {
            pmo_database::DatabaseError::Setup(
                "JWT_SECRET is missing or shorter than 32 bytes: set it to a long random string, the same for api and pubsub (openssl rand -base64 48)".into(),
            )
        })?;
        let model = load_model(&mut *pool.acquire().await?).await?;
        let attempts = NonZeroU32::new(settings.sign_in_per_minute).unwrap_or(NonZeroU32::MIN);
        Ok(Self(Arc::new(AppStateInner {
            pool,
            keys,
            secret,
            sign_in_limit: RateLimiter::keyed(Quota::per_minute(attempts)),
            address_limit: RateLimiter::keyed(Quota::per_minute(attempts.saturating_mul(ADDRESS_LIMIT_FACTOR))),
            password_hash_permits: Semaphore::new(2),
            files: Box::new(DiskBlobStore::new(&settings.files_dir)),
            settings,
            list_permits: Semaphore::new(
                LISTS_PER_CORE * std::thread::available_parallelism().map_or(2, NonZeroUsize::get),
            ),
            visibility_cache: VisibilityCache::new(VISIBILITY_CACHE_BYTES),
            row_cache: RowCache::new(ROW_CACHE_BYTES),
            schedule_metrics: Arc::default(),
            model: RwLock::new(Arc::new(model)),
        })))
    }

    /// Returns the catalog, reloading it if it is older than [`CATALOG_TTL`].
    pub async fn model(&self) -> Result<Arc<EntityModel>> {
        let cached = self.cached_model();
        if cached.read_at.elapsed() < CATALOG_TTL { Ok(cached) } else { self.refresh_model().await }
    }

    /// Waits for a permit to read a list.
    ///
    /// Returns `None` after [`LIST_PERMIT_TIMEOUT`]; the caller then continues without a permit.
    /// The permits only smooth the load.
    pub async fn acquire_list_permit(&self) -> Option<SemaphorePermit<'_>> {
        tokio::time::timeout(LIST_PERMIT_TIMEOUT, self.list_permits.acquire()).await.ok()?.ok()
    }

    fn cached_model(&self) -> Arc<EntityModel> {
        self.model.read().unwrap_or_else(std::sync::PoisonError::into_inner).clone()
    }

    /// Reloads and returns the catalog: for callers that have just changed it.
    pub async fn reload_model(&self) -> Result<Arc<EntityModel>> {
        self.refresh_model().await
    }

    async fn refresh_model(&self) -> Result<Arc<EntityModel>> {
        let fresh =
            Arc::new(load_model(&mut *self.pool.acquire().await.map_err(pmo_database::DatabaseError::from)?).await?);
        *self.model.write().unwrap_or_else(std::sync::PoisonError::into_inner) = fresh.clone();
        Ok(fresh)
    }

    /// Returns the catalog if it has the type `code`.
    ///
    /// Reloads an older catalog first if the type is unknown. Fails with 404 if there is no such
    /// type.
    pub async fn model_for_type(&self, code: &str) -> Result<Arc<EntityModel>> {
        let mut model = self.model().await?;
        if model.catalog.get(code).is_none() && model.read_at.elapsed() >= CATALOG_RETRY_DELAY {
            model = self.refresh_model().await?;
        }
        if model.catalog.get(code).is_some() { Ok(model) } else { Err(ApiError::NotFound) }
    }
}

impl EntityModel {
    /// Returns the type with this code, or 404.
    pub fn entity(&self, code: &str) -> Result<&EntityType> {
        self.catalog.get(code).ok_or(ApiError::NotFound)
    }
}
