//! Browser shell of the sync engine: owns the engine of this tab, performs its effects and signals
//! changes to the page. Single-threaded, no locks.

mod connection_event; // what the socket and the other tabs report
pub mod device_store; // IndexedDB through rexie
mod frame_log; // the most recent WebSocket frames
pub mod http; // requests and access tokens
pub mod local_storage; // per-user values in window.localStorage
pub mod network_throttle; // simulated network conditions
pub mod service_worker; // registration and updates
mod socket; // the WebSocket
mod tab_channel; // leader election and messages between tabs
pub mod uploads; // resumable file uploads

use connection_event::ConnectionEvent;
use device_store::DeviceStore;
use futures_channel::mpsc;
use futures_util::StreamExt;
use leptos::prelude::*;
use network_throttle::NetworkConditions;
use pmo_domain::api_types::{AuthResponse, User};
use pmo_domain::{EntityRef, PersonId, UnixMillis};
use pmo_sync::store::{self, KeySelector};
use pmo_sync::{
    BatchId, Effect, Engine, Event, Namespace, PersistedState, Query, RequestId, Store, TabId, TabMessage, Write,
    WriteIds,
};
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use uuid::Uuid;
use wasm_bindgen::JsCast;
use wasm_bindgen::prelude::Closure;
use wasm_bindgen_futures::spawn_local;

/// Sign-in state of this tab.
#[derive(Clone, Debug, PartialEq)]
pub enum AuthState {
    /// The state is not known yet.
    Starting,
    /// No user is signed in; the page shows the sign-in form.
    SignedOut,
    /// The user is signed in and their data is open.
    SignedIn(User),
    /// The session of the user has expired; the page asks to sign in and keeps its state.
    SessionExpired(User),
}

/// Interval between two checks of the free storage, in timer ticks of 500 ms.
const STORAGE_CHECK_TICKS: u32 = 120;

/// An operation of the store queue; operations run one at a time, in order.
enum StoreTask {
    /// Writes a batch; the second field is the leader term in which the batch was created.
    Write(BatchId, Option<u64>, Vec<Write>),
    /// Reads values by key and passes them to the engine.
    Read(Namespace, Vec<String>),
    /// Makes this tab the leader, after it has acquired the lock.
    BecomeLeader,
    /// Notifies the other tabs that the persisted outbox has changed.
    BroadcastOutboxChanged,
    /// Notifies the other tabs that the persisted drafts have changed.
    BroadcastDraftsChanged,
    /// Reloads the outbox, after another tab has changed it.
    ReadOutbox,
    /// Reloads the drafts, after another tab has changed them.
    ReadDrafts,
    /// Clears the cache, and outbox and drafts unless `keep_user_data`; ends the queue.
    Wipe { keep_user_data: bool, done: futures_channel::oneshot::Sender<()> },
}

/// The browser shell: the engine and its connections to network, storage, tabs and page.
pub struct Client {
    engine: RefCell<Engine>,
    queries: RefCell<HashMap<Query, ArcRwSignal<u32>>>,
    drafts: RefCell<HashMap<EntityRef, ArcRwSignal<u32>>>,
    /// Counts changes of the sync status.
    pub status: ArcRwSignal<u32>,
    /// Sign-in state of this tab.
    pub auth_state: ArcRwSignal<AuthState>,
    /// Message about a failure of the local storage; `None` while it works.
    pub storage_error: ArcRwSignal<Option<String>>,
    /// Whether a newer build has been downloaded and can be activated.
    pub update_available: ArcRwSignal<bool>,
    device_queue: RefCell<Option<mpsc::UnboundedSender<StoreTask>>>,
    socket: socket::Socket,
    tabs: RefCell<Option<tab_channel::Tabs>>,
    tab: TabId,
    device: RefCell<Option<Rc<DeviceStore>>>,
    in_flight: RefCell<HashMap<RequestId, http::AbortHandle>>,
    refreshing_token: Cell<bool>,
}

thread_local! {
    static CLIENT: RefCell<Option<Rc<Client>>> = const { RefCell::new(None) };
}

/// Creates the client of this tab and starts it. Must be called once, before the first render.
pub fn install() {
    let seed = Uuid::new_v4().as_u128() as u64;
    let client = Rc::new(Client {
        engine: RefCell::new(Engine::new(seed)),
        queries: RefCell::default(),
        drafts: RefCell::default(),
        status: ArcRwSignal::new(0),
        auth_state: ArcRwSignal::new(AuthState::Starting),
        storage_error: ArcRwSignal::new(None),
        update_available: ArcRwSignal::new(false),
        device_queue: RefCell::default(),
        socket: socket::Socket::default(),
        tabs: RefCell::default(),
        tab: TabId(Uuid::new_v4()),
        device: RefCell::default(),
        in_flight: RefCell::default(),
        refreshing_token: Cell::new(false),
    });
    CLIENT.with_borrow_mut(|slot| *slot = Some(client.clone()));
    client.add_window_listeners();
    client.clone().run_timer();
    spawn_local(async move { client.start().await });
}

/// Returns the client of this tab.
///
/// # Panics
///
/// If [`install`] has not been called; it is the first call of `main`.
pub fn client() -> Rc<Client> {
    #[allow(clippy::expect_used)] // a programming error, independent of user input
    CLIENT.with_borrow(|slot| slot.clone().expect("install() must be called first"))
}

/// Returns the current time.
pub fn now() -> UnixMillis {
    UnixMillis::from_js(js_sys::Date::now())
}

/// Returns a new UUID v7; these ids sort by creation time.
pub fn new_id() -> Uuid {
    Uuid::now_v7()
}

/// Returns the ids of a new write.
pub fn new_write_ids() -> WriteIds {
    WriteIds { entry: Uuid::now_v7(), idempotency_key: Uuid::new_v4() }
}

impl Client {
    /// Opens the session of the last user, so that a reload works offline.
    ///
    /// If no user is stored, the session is restored with the refresh cookie.
    async fn start(self: Rc<Self>) {
        match local_storage::last_user() {
            Some(user) => {
                self.clone().open_session(user).await;
                self.refresh_token();
            }
            None => {
                // After an offline sign-out the refresh cookie is still valid: it must not restore
                // the session.
                if local_storage::is_sign_out_pending() {
                    if http::logout().await {
                        local_storage::set_sign_out_pending(false);
                    }
                    return self.auth_state.set(AuthState::SignedOut);
                }
                match http::refresh().await {
                    Ok(response) => {
                        http::set_token(Some(response.token));
                        self.open_session(response.user).await;
                    }
                    Err(_) => self.auth_state.set(AuthState::SignedOut),
                }
            }
        }
    }

    /// Applies the response of a sign-in or of a token refresh.
    ///
    /// If another user is open in this tab, the token is discarded and the page is reloaded for the
    /// new user.
    pub async fn signed_in(self: Rc<Self>, response: AuthResponse) {
        let AuthResponse { token, user, .. } = response;
        local_storage::set_sign_out_pending(false);
        let current = self.engine.borrow().person();
        if current.is_none_or(|current| current == PersonId(user.person_id)) {
            http::set_token(Some(token));
        }
        if current == Some(PersonId(user.person_id)) {
            // The other tabs must refresh their token too: the leader, which sends the outbox, may
            // be one of them.
            if matches!(self.auth_state.get_untracked(), AuthState::SessionExpired(_)) {
                self.broadcast(tab_channel::SIGNED_IN);
            }
            self.auth_state.set(AuthState::SignedIn(user));
            self.socket.send_token();
            self.dispatch(Event::TokenRefreshed);
        } else if current.is_some() {
            // Must not open or send the data of one user under the name of another.
            http::set_token(None);
            self.socket.disconnect();
            local_storage::save_last_user(Some(&user));
            reload();
        } else {
            self.open_session(user).await;
        }
    }

    async fn open_session(self: Rc<Self>, user: User) {
        local_storage::save_last_user(Some(&user));
        let person = PersonId(user.person_id);
        let device = Rc::new(DeviceStore::open(user.person_id).await);
        self.storage_error.set(device.error_message());
        *self.device.borrow_mut() = Some(device.clone());
        let tabs = tab_channel::Tabs::join(person, on_connection_event);
        let lock = tabs.lock();
        *self.tabs.borrow_mut() = Some(tabs);
        let term = if lock.try_acquire().await { Some(store::increment_term(&*device, now()).await) } else { None };
        let stored = match store::load(&*device).await {
            Ok(stored) => stored,
            Err(error) => {
                self.storage_error.set(Some(error.to_string()));
                PersistedState::default()
            }
        };
        let (sender, receiver) = mpsc::unbounded();
        *self.device_queue.borrow_mut() = Some(sender);
        spawn_local(device_store::request_persistent_storage());
        spawn_local(self.clone().run_store_queue(device, receiver));
        self.auth_state.set(AuthState::SignedIn(user));
        local_storage::set_person(person);
        self.dispatch(Event::Start { person, tab: self.tab, stored: Box::new(stored), term });
        if term.is_none() {
            lock.wait();
        }
    }

    /// Returns whether this tab is still the leader, according to the persisted term.
    ///
    /// False if another tab took over while this one was frozen; it must not send writes then.
    async fn is_still_leader(&self) -> bool {
        let stored_term = self.stored_term().await;
        self.read(Engine::term).is_some_and(|term| stored_term <= term)
    }

    async fn stored_term(&self) -> u64 {
        let device = self.device.borrow().clone();
        match device {
            Some(device) => store::current_term(&*device).await,
            None => 0,
        }
    }

    /// Runs the store queue and reports results and finished writes to the engine.
    async fn run_store_queue(self: Rc<Self>, device: Rc<DeviceStore>, mut tasks: mpsc::UnboundedReceiver<StoreTask>) {
        let mut deferred: Option<StoreTask> = None;
        loop {
            let task = match deferred.take() {
                Some(task) => task,
                None => match tasks.next().await {
                    Some(task) => task,
                    None => return,
                },
            };
            match task {
                StoreTask::Write(first, term, mut writes) => {
                    // Coalesce queued writes of the same term into one transaction.
                    let mut last = first;
                    let mut next = None;
                    while next.is_none()
                        && let Ok(queued) = tasks.try_recv()
                    {
                        match queued {
                            StoreTask::Write(batch, batch_term, more) if batch_term == term => {
                                last = batch;
                                writes.extend(more);
                            }
                            other => next = Some(other),
                        }
                    }
                    // Two tabs that write the cache would overwrite each other's chunks: only the
                    // leader writes it, and without Web Locks no tab does. Drafts and new outbox
                    // entries are written by the tab in which they were made.
                    if !tab_channel::supports_locks() {
                        writes.retain(|write| write.namespace().is_user_data());
                    } else if term.is_none() {
                        writes.retain(|write| !write.requires_leadership());
                    }
                    let outcome = device.write(&writes, term).await;
                    self.dispatch(Event::Persisted(first, last, outcome));
                    deferred = next;
                }
                StoreTask::Read(namespace, names) => {
                    let entries = device.read(namespace, KeySelector::Keys(&names)).await.unwrap_or_default();
                    self.dispatch(Event::StoreRead(namespace, names, entries));
                }
                StoreTask::BecomeLeader => {
                    let term = store::increment_term(&*device, now()).await;
                    let stored = store::load(&*device).await.unwrap_or_default();
                    self.dispatch(Event::LeadershipAcquired { stored: Box::new(stored), term });
                }
                StoreTask::BroadcastOutboxChanged => self.broadcast(tab_channel::OUTBOX_CHANGED),
                StoreTask::BroadcastDraftsChanged => self.broadcast(tab_channel::DRAFTS_CHANGED),
                StoreTask::Wipe { keep_user_data, done } => {
                    device.wipe(keep_user_data).await;
                    let _ = done.send(());
                    // Nothing may be written after the data is deleted.
                    return;
                }
                StoreTask::ReadDrafts => {
                    let as_of = now();
                    if let Ok(drafts) = store::load_drafts(&*device).await {
                        self.dispatch(Event::DraftsReloaded { drafts, as_of });
                    }
                }
                StoreTask::ReadOutbox => {
                    if let Ok(entries) = store::load_outbox(&*device).await {
                        self.dispatch(Event::OutboxReloaded(entries));
                    }
                }
            }
        }
    }

    fn broadcast(&self, message: &str) {
        if let Some(tabs) = &*self.tabs.borrow() {
            tabs.post_message(message);
        }
    }

    fn enqueue_store_task(&self, task: StoreTask) {
        if let Some(queue) = &*self.device_queue.borrow() {
            let _ = queue.unbounded_send(task);
        }
    }

    /// Passes an event to the engine and performs the resulting effects.
    pub fn dispatch(self: &Rc<Self>, event: Event) {
        let effects = self.engine.borrow_mut().handle(event, now());
        for effect in effects {
            match effect {
                Effect::Fetch(id, request) => {
                    let client = self.clone();
                    let abort = http::AbortHandle::default();
                    self.in_flight.borrow_mut().insert(id, abort.clone());
                    spawn_local(async move {
                        if request.idempotency_key.is_some() && !client.is_still_leader().await {
                            client.in_flight.borrow_mut().remove(&id);
                            return client.dispatch(Event::LeadershipLost);
                        }
                        let response = http::send(request, &abort).await;
                        if client.in_flight.borrow_mut().remove(&id).is_some() {
                            client.dispatch(Event::ResponseReceived(id, response));
                        }
                    });
                }
                Effect::Cancel(id) => {
                    if let Some(handle) = self.in_flight.borrow_mut().remove(&id) {
                        handle.abort();
                    }
                }
                Effect::Persist(batch, writes) => {
                    let term = self.read(Engine::term);
                    self.enqueue_store_task(StoreTask::Write(batch, term, writes));
                }
                Effect::Read(namespace, names) => self.enqueue_store_task(StoreTask::Read(namespace, names)),
                Effect::PersistFailed(error) => self.storage_error.set(Some(error.to_string())),
                Effect::Broadcast(message) => self.broadcast(&serde_json::to_string(&message).unwrap_or_default()),
                Effect::ReloadOutboxAndDrafts => {
                    self.enqueue_store_task(StoreTask::ReadOutbox);
                    self.enqueue_store_task(StoreTask::ReadDrafts);
                }
                Effect::CheckTerm => {
                    let client = self.clone();
                    spawn_local(async move {
                        let term = client.stored_term().await;
                        client.dispatch(Event::TermChecked(term));
                    });
                }
                Effect::StealLock => {
                    let lock = self.tabs.borrow().as_ref().map(tab_channel::Tabs::lock);
                    if let Some(lock) = lock {
                        lock.steal();
                    }
                }
                Effect::BroadcastOutboxChanged => self.enqueue_store_task(StoreTask::BroadcastOutboxChanged),
                Effect::BroadcastDraftsChanged => self.enqueue_store_task(StoreTask::BroadcastDraftsChanged),
                Effect::Connect => self.socket.connect(on_connection_event),
                Effect::Send(message) => self.socket.send(&message),
                Effect::Disconnect => self.socket.disconnect(),
                Effect::Changed(query) => notify_signal(self.queries.borrow().get(&query)),
                Effect::DraftChanged(entity) => notify_signal(self.drafts.borrow().get(&entity)),
                Effect::StatusChanged => self.status.update(|n| *n += 1),
                Effect::RefreshToken => self.refresh_token(),
                Effect::PromptSignIn => self.prompt_sign_in(),
            }
        }
    }

    /// Handles an event of the socket or of another tab.
    fn on_connection_event(self: Rc<Self>, event: ConnectionEvent) {
        match event {
            ConnectionEvent::Engine(event) => self.dispatch(event),
            ConnectionEvent::LockAcquired => self.enqueue_store_task(StoreTask::BecomeLeader),
            ConnectionEvent::OutboxChanged => self.enqueue_store_task(StoreTask::ReadOutbox),
            ConnectionEvent::DraftsChanged => self.enqueue_store_task(StoreTask::ReadDrafts),
            ConnectionEvent::SignedIn => {
                if matches!(self.auth_state.get_untracked(), AuthState::SessionExpired(_)) {
                    self.refresh_token();
                }
            }
            ConnectionEvent::SignedOut => reload(),
        }
    }

    /// Applies simulated network conditions immediately.
    pub fn set_conditions(self: &Rc<Self>, conditions: NetworkConditions) {
        let previous = network_throttle::replace_conditions(conditions);
        if !network_throttle::sockets_allowed() {
            self.socket.disconnect();
            self.dispatch(Event::SocketClosed(1006));
        }
        if previous.offline != conditions.offline {
            self.dispatch(Event::Online(!conditions.offline));
        } else if previous.no_socket && !conditions.no_socket {
            // A visible page reconnects without waiting for the backoff.
            self.dispatch(Event::VisibilityChanged(true));
        }
    }

    /// Returns the most recent WebSocket frames, for the devtools.
    pub fn frames(&self) -> Rc<frame_log::FrameLog> {
        self.socket.frames.clone()
    }

    /// Calls `reader` with shared access to the engine and returns its result.
    pub fn read<T>(&self, reader: impl FnOnce(&Engine) -> T) -> T {
        reader(&self.engine.borrow())
    }

    /// Marks the queries that pass `filter` as stale; observed ones are fetched again.
    pub fn invalidate(self: &Rc<Self>, filter: impl Fn(&Query) -> bool) {
        let queries = self.read(|e| e.queries().filter(filter).collect());
        self.dispatch(Event::Invalidate(queries));
    }

    /// Returns a signal that is incremented when the result of a query changes.
    pub fn version_signal(&self, query: &Query) -> ArcRwSignal<u32> {
        self.queries.borrow_mut().entry(query.clone()).or_insert_with(|| ArcRwSignal::new(0)).clone()
    }

    /// Returns a signal that is incremented when the draft of an entity changes.
    pub fn draft_version_signal(&self, entity: &EntityRef) -> ArcRwSignal<u32> {
        self.drafts.borrow_mut().entry(entity.clone()).or_insert_with(|| ArcRwSignal::new(0)).clone()
    }

    /// Refreshes the access token; does nothing if a refresh is already running.
    ///
    /// Retries with exponential backoff (1 to 15 s) while the network fails. If the session has
    /// expired, asks the user to sign in.
    pub fn refresh_token(self: &Rc<Self>) {
        if self.refreshing_token.replace(true) {
            return;
        }
        let client = self.clone();
        spawn_local(async move {
            let mut delay_ms = 1000;
            loop {
                match http::refresh().await {
                    Ok(response) => {
                        client.refreshing_token.set(false);
                        return client.signed_in(response).await;
                    }
                    Err(http::RefreshError::SessionExpired) => {
                        client.refreshing_token.set(false);
                        return client.prompt_sign_in();
                    }
                    Err(http::RefreshError::Network) => {
                        client.dispatch(Event::TokenRefreshFailed);
                        gloo_timers::future::TimeoutFuture::new(delay_ms).await;
                        delay_ms = (delay_ms * 2).min(15_000);
                    }
                }
            }
        });
    }

    fn prompt_sign_in(&self) {
        if let AuthState::SignedIn(user) = self.auth_state.get_untracked() {
            self.auth_state.set(AuthState::SessionExpired(user));
        } else if self.auth_state.get_untracked() == AuthState::Starting {
            self.auth_state.set(AuthState::SignedOut);
        }
    }

    /// Signs out and deletes the user's data on this device.
    ///
    /// With `keep_user_data`, outbox and drafts remain for the next sign-in of the same user.
    pub async fn sign_out(self: Rc<Self>, keep_user_data: bool) {
        if !keep_user_data {
            local_storage::clear();
        }
        local_storage::save_last_user(None);
        local_storage::set_sign_out_pending(true);
        self.socket.disconnect();
        http::set_token(None);
        self.broadcast(tab_channel::SIGNED_OUT);
        // The deletion goes through the store queue, so that no queued write runs after it. The
        // server comes last, because it may be unreachable.
        let (done, wiped) = futures_channel::oneshot::channel();
        self.enqueue_store_task(StoreTask::Wipe { keep_user_data, done });
        let _ = wiped.await;
        if http::logout().await {
            local_storage::set_sign_out_pending(false);
        }
        reload();
    }

    fn add_window_listeners(self: &Rc<Self>) {
        let Some(window) = web_sys::window() else { return };
        let on = |target: &web_sys::EventTarget, name: &str, event: fn() -> Option<Event>| {
            let client = self.clone();
            let handler = Closure::<dyn Fn()>::new(move || {
                if let Some(event) = event() {
                    client.dispatch(event);
                }
            });
            let _ = target.add_event_listener_with_callback(name, handler.as_ref().unchecked_ref());
            handler.forget();
        };
        on(&window, "online", || Some(Event::Online(true)));
        on(&window, "offline", || Some(Event::Online(false)));
        if let Some(document) = window.document() {
            on(&document, "visibilitychange", || Some(Event::VisibilityChanged(is_page_visible()?)));
            self.dispatch(Event::VisibilityChanged(is_page_visible().unwrap_or(true)));
        }
        on(&window, "pagehide", || {
            let client = client();
            let message = TabMessage::TabClosing { tab: client.tab };
            client.broadcast(&serde_json::to_string(&message).unwrap_or_default());
            None
        });
        // The page may be restored from the back/forward cache.
        on(&window, "pageshow", || Some(Event::VisibilityChanged(is_page_visible()?)));
        if !window.navigator().on_line() {
            self.dispatch(Event::Online(false));
        }
    }

    fn run_timer(self: Rc<Self>) {
        spawn_local(async move {
            let mut ticks = 0u32;
            loop {
                gloo_timers::future::TimeoutFuture::new(500).await;
                self.dispatch(Event::Tick);
                ticks += 1;
                if ticks.is_multiple_of(STORAGE_CHECK_TICKS) && device_store::is_storage_low().await {
                    self.dispatch(Event::StorageLow);
                }
            }
        });
    }
}

fn on_connection_event(event: ConnectionEvent) {
    client().on_connection_event(event);
}

fn is_page_visible() -> Option<bool> {
    Some(web_sys::window()?.document()?.visibility_state() == web_sys::VisibilityState::Visible)
}

fn notify_signal(signal: Option<&ArcRwSignal<u32>>) {
    if let Some(signal) = signal {
        signal.update(|n| *n = n.wrapping_add(1));
    }
}

/// Reloads the app at the start page.
pub fn reload() {
    if let Some(window) = web_sys::window() {
        let _ = window.location().set_href("/");
    }
}
