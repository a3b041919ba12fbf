//! What handlers share: the pool, the keys, the catalogue as last read, and what was read before and still holds. What is kept of one person must
//! never be used before the database has said that it holds.

use crate::error::{ApiError, Result};
use crate::files::store::{Disk, Store};
use crate::settings::Settings;
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
const FIVE: NonZeroU32 = NonZeroU32::MIN.saturating_add(4);

/// How long a catalogue is taken as it is. A type added by migration appears within this time, or at once when asked for by name.
const CATALOGUE_AGE: Duration = Duration::from_secs(10);
/// How often an unknown name may cause another reading.
const CATALOGUE_RETRY: Duration = Duration::from_secs(1);

/// Lists that a core reads in turns: one waits for the network while the other is worked on.
const LISTS_PER_CORE: usize = 2;
/// A list that waits behind slow ones.
const LONGEST_WAIT: Duration = Duration::from_millis(500);
/// Memory for what people see: some hundreds of them.
const SIGHT_BYTES: u64 = 8 << 20;
/// Memory for rows: some thousands, such as many clients fetch when one has changed.
const ROW_BYTES: u64 = 8 << 20;

/// Entity types and option sets, read together.
pub struct Model {
    /// Entity types.
    pub catalogue: Catalog,
    /// Option sets by name.
    pub datalabels: BTreeMap<String, Datalabel>,
    read_at: Instant,
}

/// Shared by all handlers.
#[derive(Clone)]
pub struct App(Arc<Shared>);

/// The contents of [`App`].
pub struct Shared {
    /// Connections.
    pub pool: Pool,
    /// Signs and reads access tokens.
    pub keys: TokenKeys,
    /// The secret as bytes, for refresh tokens.
    pub secret: String,
    /// As started.
    pub settings: Settings,
    /// Sign-in attempts by address and account.
    pub sign_in_limit: DefaultKeyedRateLimiter<String>,
    /// Sign-in attempts by address, over all accounts.
    pub address_limit: DefaultKeyedRateLimiter<String>,
    /// Passwords that are checked at once: each takes memory and a core.
    pub hashing: Semaphore,
    /// Lists that are read at once. They wait for no lock, only for a core: more of them at a time make each of them late.
    listing: Semaphore,
    /// What people see and what things are called, as far as it is known.
    pub memory: VisibilityCache,
    /// Rows that were read lately.
    pub texts: RowCache,
    /// Contents of files.
    pub files: Box<dyn Store>,
    model: RwLock<Arc<Model>>,
}

impl std::ops::Deref for App {
    type Target = Shared;
    fn deref(&self) -> &Shared {
        &self.0
    }
}

/// Reads the model.
pub async fn read(connection: &mut Connection) -> Result<Model, pmo_database::DatabaseError> {
    Ok(Model {
        catalogue: pmo_database::catalog::load(connection).await?,
        datalabels: pmo_database::catalog::load_datalabels(connection).await?,
        read_at: Instant::now(),
    })
}

impl App {
    /// Reads the catalogue and makes the state.
    pub async fn new(pool: Pool, settings: Settings) -> Result<Self, pmo_database::DatabaseError> {
        let secret = settings.jwt_secret.clone().unwrap_or_default();
        let keys = TokenKeys::new(&secret).map_err(|_| {
            pmo_database::DatabaseError::Setup(
                "JWT_SECRET is missing or shorter than 32 bytes: set it to a long random text, the same for api and pubsub (openssl rand -base64 48)".into(),
            )
        })?;
        let model = read(&mut *pool.acquire().await?).await?;
        let attempts = NonZeroU32::new(settings.sign_in_per_minute).unwrap_or(NonZeroU32::MIN);
        Ok(Self(Arc::new(Shared {
            pool,
            keys,
            secret,
            sign_in_limit: RateLimiter::keyed(Quota::per_minute(attempts)),
            address_limit: RateLimiter::keyed(Quota::per_minute(attempts.saturating_mul(FIVE))),
            hashing: Semaphore::new(2),
            files: Box::new(Disk::new(&settings.files_dir)),
            settings,
            listing: Semaphore::new(LISTS_PER_CORE * std::thread::available_parallelism().map_or(2, NonZeroUsize::get)),
            memory: VisibilityCache::new(SIGHT_BYTES),
            texts: RowCache::new(ROW_BYTES),
            model: RwLock::new(Arc::new(model)),
        })))
    }

    /// The catalogue, at most [`CATALOGUE_AGE`] old.
    pub async fn model(&self) -> Result<Arc<Model>> {
        let present = self.present();
        if present.read_at.elapsed() < CATALOGUE_AGE { Ok(present) } else { self.read_again().await }
    }

    /// Waits for a turn to read a list. Turns only keep many from being late at once; who has waited long goes on without one.
    pub async fn turn(&self) -> Option<SemaphorePermit<'_>> {
        tokio::time::timeout(LONGEST_WAIT, self.listing.acquire()).await.ok()?.ok()
    }

    fn present(&self) -> Arc<Model> {
        self.model.read().unwrap_or_else(std::sync::PoisonError::into_inner).clone()
    }

    /// The catalogue as it is now: for whoever has just changed it.
    pub async fn reread(&self) -> Result<Arc<Model>> {
        self.read_again().await
    }

    async fn read_again(&self) -> Result<Arc<Model>> {
        let fresh = Arc::new(read(&mut *self.pool.acquire().await.map_err(pmo_database::DatabaseError::from)?).await?);
        *self.model.write().unwrap_or_else(std::sync::PoisonError::into_inner) = fresh.clone();
        Ok(fresh)
    }

    /// The catalogue, once it knows the type `code`; 404 where there is none.
    pub async fn model_with(&self, code: &str) -> Result<Arc<Model>> {
        let mut model = self.model().await?;
        if model.catalogue.get(code).is_none() && model.read_at.elapsed() >= CATALOGUE_RETRY {
            model = self.read_again().await?;
        }
        if model.catalogue.get(code).is_some() { Ok(model) } else { Err(ApiError::NotFound) }
    }
}

impl Model {
    /// The type, or 404.
    pub fn entity(&self, code: &str) -> Result<&EntityType> {
        self.catalogue.get(code).ok_or(ApiError::NotFound)
    }
}
