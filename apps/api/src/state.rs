//! What handlers share: the pool, the keys, the catalogue as last read, and what was read before and still holds. What is kept of one person must
//! never be used before the database has said that it holds.

use crate::error::{ApiError, Result};
use crate::files::blob_store::{BlobStore, DiskBlobStore};
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

/// Accounts that one address may try at full rate.
const ADDRESS_LIMIT_FACTOR: NonZeroU32 = NonZeroU32::MIN.saturating_add(4);

/// How long a catalogue is taken as it is. A type added by migration appears within this time, or at once when asked for by name.
const CATALOG_TTL: Duration = Duration::from_secs(10);
/// How often an unknown name may cause another reading.
const CATALOG_RETRY_DELAY: Duration = Duration::from_secs(1);

/// Lists that a core reads in turns: one waits for the network while the other is worked on.
const LISTS_PER_CORE: usize = 2;
/// A list that waits behind slow ones.
const LIST_PERMIT_TIMEOUT: Duration = Duration::from_millis(500);
/// Memory for what people see: some hundreds of them.
const VISIBILITY_CACHE_BYTES: u64 = 8 << 20;
/// Memory for rows: some thousands, such as many clients fetch when one has changed.
const ROW_CACHE_BYTES: u64 = 8 << 20;

/// Entity types and option sets, read together.
pub struct EntityModel {
    /// Entity types.
    pub catalogue: Catalog,
    /// Option sets by name.
    pub datalabels: BTreeMap<String, Datalabel>,
    read_at: Instant,
}

/// Shared by all handlers.
#[derive(Clone)]
pub struct AppState(Arc<AppStateInner>);

/// The contents of [`App`].
pub struct AppStateInner {
    /// Connections.
    pub pool: Pool,
    /// Signs and reads access tokens.
    pub keys: TokenKeys,
    /// The secret as bytes, for refresh tokens.
    pub secret: String,
    /// As started.
    pub settings: Config,
    /// Sign-in attempts by address and account.
    pub sign_in_limit: DefaultKeyedRateLimiter<String>,
    /// Sign-in attempts by address, over all accounts.
    pub address_limit: DefaultKeyedRateLimiter<String>,
    /// Passwords that are checked at once: each takes memory and a core.
    pub password_hash_permits: Semaphore,
    /// Lists that are read at once. They wait for no lock, only for a core: more of them at a time make each of them late.
    list_permits: Semaphore,
    /// What people see and what things are called, as far as it is known.
    pub visibility_cache: VisibilityCache,
    /// Rows that were read lately.
    pub row_cache: RowCache,
    /// Contents of files.
    pub files: Box<dyn BlobStore>,
    model: RwLock<Arc<EntityModel>>,
}

impl std::ops::Deref for AppState {
    type Target = AppStateInner;
    fn deref(&self) -> &AppStateInner {
        &self.0
    }
}

/// Reads the model.
pub async fn load_model(connection: &mut Connection) -> Result<EntityModel, pmo_database::DatabaseError> {
    Ok(EntityModel {
        catalogue: pmo_database::catalog::load(connection).await?,
        datalabels: pmo_database::catalog::load_datalabels(connection).await?,
        read_at: Instant::now(),
    })
}

impl AppState {
    /// Reads the catalogue and makes the state.
    pub async fn new(pool: Pool, settings: Config) -> Result<Self, pmo_database::DatabaseError> {
        let secret = settings.jwt_secret.clone().unwrap_or_default();
        let keys = TokenKeys::new(&secret).map_err(|_| {
            pmo_database::DatabaseError::Setup(
                "JWT_SECRET is missing or shorter than 32 bytes: set it to a long random text, the same for api and pubsub (openssl rand -base64 48)".into(),
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
            model: RwLock::new(Arc::new(model)),
        })))
    }

    /// The catalogue, at most [`CATALOGUE_AGE`] old.
    pub async fn model(&self) -> Result<Arc<EntityModel>> {
        let present = self.cached_model();
        if present.read_at.elapsed() < CATALOG_TTL { Ok(present) } else { self.refresh_model().await }
    }

    /// Waits for a turn to read a list. Turns only keep many from being late at once; who has waited long goes on without one.
    pub async fn acquire_list_permit(&self) -> Option<SemaphorePermit<'_>> {
        tokio::time::timeout(LIST_PERMIT_TIMEOUT, self.list_permits.acquire()).await.ok()?.ok()
    }

    fn cached_model(&self) -> Arc<EntityModel> {
        self.model.read().unwrap_or_else(std::sync::PoisonError::into_inner).clone()
    }

    /// The catalogue as it is now: for whoever has just changed it.
    pub async fn reload_model(&self) -> Result<Arc<EntityModel>> {
        self.refresh_model().await
    }

    async fn refresh_model(&self) -> Result<Arc<EntityModel>> {
        let fresh =
            Arc::new(load_model(&mut *self.pool.acquire().await.map_err(pmo_database::DatabaseError::from)?).await?);
        *self.model.write().unwrap_or_else(std::sync::PoisonError::into_inner) = fresh.clone();
        Ok(fresh)
    }

    /// The catalogue, once it knows the type `code`; 404 where there is none.
    pub async fn model_for_type(&self, code: &str) -> Result<Arc<EntityModel>> {
        let mut model = self.model().await?;
        if model.catalogue.get(code).is_none() && model.read_at.elapsed() >= CATALOG_RETRY_DELAY {
            model = self.refresh_model().await?;
        }
        if model.catalogue.get(code).is_some() { Ok(model) } else { Err(ApiError::NotFound) }
    }
}

impl EntityModel {
    /// The type, or 404.
    pub fn entity(&self, code: &str) -> Result<&EntityType> {
        self.catalogue.get(code).ok_or(ApiError::NotFound)
    }
}
