//! The engine's shell in the browser: it holds the one engine of this tab, performs what the engine asks and tells the page what has
//! changed. One thread, no locks.

pub mod device_store; // IndexedDB through rexie
mod frame_log; // the last frames of the socket
pub mod http; // requests and tokens
pub mod local_storage; // what is left here between visits
pub mod network_throttle; // a network to try the app out with
mod socket; // the WebSocket
mod tab_channel; // leader and neighbours
pub mod uploads; // files on their way

use device_store::DeviceStore;
use futures_channel::mpsc;
use futures_util::StreamExt;
use leptos::prelude::*;
use pmo_domain::api_types::{AuthResponse, User};
use pmo_domain::{EntityRef, PersonId};
use pmo_sync::store::{self, KeySelector};
use pmo_sync::{
    BatchId, Effect, Engine, Event, Namespace, PersistedState, Query, RequestId, Store, TabId, TabMessage, Write,
};
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use uuid::Uuid;
use wasm_bindgen::JsCast;
use wasm_bindgen::prelude::Closure;
use wasm_bindgen_futures::spawn_local;

/// What the page must know of who is here.
#[derive(Clone, Debug, PartialEq)]
pub enum AuthState {
    /// Not known yet.
    Starting,
    /// Nobody: show the door.
    SignedOut,
    /// This person, with their data.
    SignedIn(User),
    /// This person, but the session has ended: ask to sign in, over the page.
    SessionExpired(User),
}

/// Ticks of half a second between two looks at how much room is left.
const STORAGE_CHECK_TICKS: u32 = 120;

/// What is done to the device, in order.
enum StoreTask {
    /// A batch, and the term in which it was written.
    Write(BatchId, Option<u64>, Vec<Write>),
    Read(Namespace, Vec<String>),
    /// This tab holds the lock: it leads from here on.
    Lead,
    TellTabs,
    TellTabsOfDrafts,
    ReadOutbox,
    ReadDrafts,
    /// Wipe, the work too unless it is kept, and say so.
    Wipe {
        keep_work: bool,
        done: futures_channel::oneshot::Sender<()>,
    },
}

/// The shell.
pub struct Client {
    engine: RefCell<Engine>,
    queries: RefCell<HashMap<Query, ArcRwSignal<u32>>>,
    drafts: RefCell<HashMap<EntityRef, ArcRwSignal<u32>>>,
    /// Counts changes of the sync mark.
    pub status: ArcRwSignal<u32>,
    /// Who is here.
    pub presence: ArcRwSignal<AuthState>,
    /// What the device can't do, in words; none: all is well.
    pub device_trouble: ArcRwSignal<Option<String>>,
    /// A newer build waits to be taken.
    pub update_available: ArcRwSignal<bool>,
    device_queue: RefCell<Option<mpsc::UnboundedSender<StoreTask>>>,
    socket: socket::Socket,
    /// The last frames of the socket.
    pub frames: frame_log::FrameLog,
    tabs: RefCell<Option<tab_channel::Tabs>>,
    tab: TabId,
    device: RefCell<Option<Rc<DeviceStore>>>,
    in_flight: RefCell<HashMap<RequestId, http::AbortHandle>>,
    refreshing_token: Cell<bool>,
}

thread_local! {
    static CLIENT: RefCell<Option<Rc<Client>>> = const { RefCell::new(None) };
}

/// Makes the shell; called once, before the page is drawn.
pub fn install() {
    let seed = Uuid::new_v4().as_u128() as u64;
    let client = Rc::new(Client {
        engine: RefCell::new(Engine::new(seed)),
        queries: RefCell::default(),
        drafts: RefCell::default(),
        status: ArcRwSignal::new(0),
        presence: ArcRwSignal::new(AuthState::Starting),
        device_trouble: ArcRwSignal::new(None),
        update_available: ArcRwSignal::new(false),
        device_queue: RefCell::default(),
        socket: socket::Socket::default(),
        frames: frame_log::FrameLog::default(),
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

/// The shell. Panics only before [`install`], which is the first line of `main`.
pub fn client() -> Rc<Client> {
    #[allow(clippy::expect_used)] // a programming error that no user can cause
    CLIENT.with_borrow(|slot| slot.clone().expect("install() comes first"))
}

/// Milliseconds since 1970.
pub fn now() -> f64 {
    js_sys::Date::now()
}

/// A new id that sorts by time.
pub fn new_id() -> Uuid {
    Uuid::now_v7()
}

/// Two ids for a write.
pub fn new_write_ids() -> [Uuid; 2] {
    [Uuid::now_v7(), Uuid::new_v4()]
}

fn storage() -> Option<web_sys::Storage> {
    web_sys::window()?.local_storage().ok()?
}

const PERSON_KEY: &str = "pmo.person";
/// Somebody signed out here, and the server does not know it yet.
const SIGNED_OUT_KEY: &str = "pmo.signed-out";

fn has_flag(key: &str) -> bool {
    storage().and_then(|s| s.get_item(key).ok()?).is_some()
}

fn set_flag(key: &str, set: bool) {
    if let Some(storage) = storage() {
        let _ = if set { storage.set_item(key, "1") } else { storage.remove_item(key) };
    }
}

impl Client {
    /// Opens with the person who was here last, so that a reload with no network knows whose data to show.
    async fn start(self: Rc<Self>) {
        let last = storage()
            .and_then(|s| s.get_item(PERSON_KEY).ok()?)
            .and_then(|text| serde_json::from_str::<User>(&text).ok());
        match last {
            Some(user) => {
                self.clone().open_session(user).await;
                self.refresh_token();
            }
            None => {
                // Who signed out where no server could be reached is not let in again by the cookie that stayed.
                if has_flag(SIGNED_OUT_KEY) {
                    if http::logout().await {
                        set_flag(SIGNED_OUT_KEY, false);
                    }
                    return self.presence.set(AuthState::SignedOut);
                }
                match http::refresh().await {
                    Ok(answer) => {
                        http::set_token(Some(answer.token));
                        self.open_session(answer.user).await;
                    }
                    Err(_) => self.presence.set(AuthState::SignedOut),
                }
            }
        }
    }

    /// A person has signed in, or their token was renewed. It is taken into use only where it is the person who is here.
    pub async fn signed_in(self: Rc<Self>, answer: AuthResponse) {
        let AuthResponse { token, user, .. } = answer;
        set_flag(SIGNED_OUT_KEY, false);
        let present = self.engine.borrow().person();
        if present.is_none_or(|present| present == PersonId(user.person_id)) {
            http::set_token(Some(token));
        }
        if present == Some(PersonId(user.person_id)) {
            // Tabs whose session had ended take the new one too: the one that sends the outbox may be among them.
            if matches!(self.presence.get_untracked(), AuthState::SessionExpired(_)) {
                self.broadcast(tab_channel::SIGNED_IN);
            }
            self.presence.set(AuthState::SignedIn(user));
            self.socket.send_token();
            self.dispatch(Event::TokenRefreshed);
        } else if present.is_some() {
            // One person's data is never opened by another, nor sent in another's name: begin anew.
            http::set_token(None);
            self.socket.disconnect();
            save_last_user(Some(&user));
            reload();
        } else {
            self.open_session(user).await;
        }
    }

    async fn open_session(self: Rc<Self>, user: User) {
        save_last_user(Some(&user));
        let person = PersonId(user.person_id);
        let device = Rc::new(DeviceStore::open(user.person_id).await);
        self.device_trouble.set(device.error_message());
        *self.device.borrow_mut() = Some(device.clone());
        *self.tabs.borrow_mut() = Some(tab_channel::Tabs::join(person));
        let term = if tab_channel::try_acquire_lock(person).await {
            Some(store::increment_term(&*device, now()).await)
        } else {
            None
        };
        let stored = match store::load(&*device).await {
            Ok(stored) => stored,
            Err(error) => {
                self.device_trouble.set(Some(error.to_string()));
                PersistedState::default()
            }
        };
        let (sender, receiver) = mpsc::unbounded();
        *self.device_queue.borrow_mut() = Some(sender);
        spawn_local(device_store::request_persistent_storage());
        spawn_local(self.clone().run_store_queue(device, receiver));
        self.presence.set(AuthState::SignedIn(user));
        self.dispatch(Event::Start { person, tab: self.tab, stored: Box::new(stored), term });
        if term.is_none() {
            tab_channel::wait_for_lock(person);
        }
    }

    /// Whether this tab still leads: one that was frozen while another took over does not, and must not send.
    async fn is_still_leader(&self) -> bool {
        let begun = self.term_on_device().await;
        self.read(Engine::term).is_some_and(|term| begun <= term)
    }

    async fn term_on_device(&self) -> u64 {
        let device = self.device.borrow().clone();
        match device {
            Some(device) => store::current_term(&*device).await,
            None => 0,
        }
    }

    /// Performs what is asked of the device, in order, and says when writes are on disk.
    async fn run_store_queue(self: Rc<Self>, device: Rc<DeviceStore>, mut tasks: mpsc::UnboundedReceiver<StoreTask>) {
        let mut waiting: Option<StoreTask> = None;
        loop {
            let task = match waiting.take() {
                Some(task) => task,
                None => match tasks.next().await {
                    Some(task) => task,
                    None => return,
                },
            };
            match task {
                StoreTask::Write(first, term, mut writes) => {
                    // What has come meanwhile goes to disk with it: one transaction for a burst.
                    let mut last = first;
                    let mut next = None;
                    while next.is_none()
                        && let Ok(more) = tasks.try_recv()
                    {
                        match more {
                            StoreTask::Write(batch, of, more) if of == term => {
                                last = batch;
                                writes.extend(more);
                            }
                            other => next = Some(other),
                        }
                    }
                    // Two tabs that write the cache would pack over each other: only the one that leads does, and where the browser has no locks there is
                    // no cache. What is typed is kept by whoever it was typed to.
                    if !tab_channel::supports_locks() {
                        writes.retain(|write| write.area().is_user_data());
                    } else if term.is_none() {
                        writes.retain(|write| !write.requires_leadership());
                    }
                    let outcome = device.write(&writes, term).await;
                    self.dispatch(Event::Persisted(first, last, outcome));
                    waiting = next;
                }
                StoreTask::Read(area, names) => {
                    let found = device.read(area, KeySelector::Names(&names)).await.unwrap_or_default();
                    self.dispatch(Event::StoreRead(area, names, found));
                }
                StoreTask::Lead => {
                    let term = store::increment_term(&*device, now()).await;
                    let stored = store::load(&*device).await.unwrap_or_default();
                    self.dispatch(Event::LeadershipAcquired { stored: Box::new(stored), term });
                }
                StoreTask::TellTabs => self.broadcast(tab_channel::OUTBOX_CHANGED),
                StoreTask::TellTabsOfDrafts => self.broadcast(tab_channel::DRAFTS_CHANGED),
                StoreTask::Wipe { keep_work, done } => {
                    device.wipe(keep_work).await;
                    let _ = done.send(());
                    // Nothing is written after it.
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

    fn broadcast(&self, word: &str) {
        if let Some(tabs) = &*self.tabs.borrow() {
            tabs.post_message(word);
        }
    }

    fn enqueue_store_task(&self, task: StoreTask) {
        if let Some(queue) = &*self.device_queue.borrow() {
            let _ = queue.unbounded_send(task);
        }
    }

    /// Gives the engine an event and performs what it answers.
    pub fn dispatch(self: &Rc<Self>, event: Event) {
        let effects = self.engine.borrow_mut().handle(event, now());
        for effect in effects {
            match effect {
                Effect::Fetch(id, request) => {
                    let client = self.clone();
                    let cancel = http::AbortHandle::default();
                    self.in_flight.borrow_mut().insert(id, cancel.clone());
                    spawn_local(async move {
                        if request.idempotency_key.is_some() && !client.is_still_leader().await {
                            client.in_flight.borrow_mut().remove(&id);
                            return client.dispatch(Event::LeadershipLost);
                        }
                        let answer = http::send(request, &cancel).await;
                        if client.in_flight.borrow_mut().remove(&id).is_some() {
                            client.dispatch(Event::ResponseReceived(id, answer));
                        }
                    });
                }
                Effect::Cancel(id) => {
                    if let Some(cancel) = self.in_flight.borrow_mut().remove(&id) {
                        cancel.now();
                    }
                }
                Effect::Persist(batch, writes) => {
                    let term = self.read(Engine::term);
                    self.enqueue_store_task(StoreTask::Write(batch, term, writes));
                }
                Effect::Read(area, names) => self.enqueue_store_task(StoreTask::Read(area, names)),
                Effect::PersistFailed(error) => self.device_trouble.set(Some(error.to_string())),
                Effect::Broadcast(message) => self.broadcast(&serde_json::to_string(&message).unwrap_or_default()),
                Effect::ReloadOutboxAndDrafts => {
                    self.enqueue_store_task(StoreTask::ReadOutbox);
                    self.enqueue_store_task(StoreTask::ReadDrafts);
                }
                Effect::CheckTerm => {
                    let client = self.clone();
                    spawn_local(async move {
                        let term = client.term_on_device().await;
                        client.dispatch(Event::TermChecked(term));
                    });
                }
                Effect::StealLock => tab_channel::steal_lock(),
                Effect::BroadcastOutboxChanged => self.enqueue_store_task(StoreTask::TellTabs),
                Effect::BroadcastDraftsChanged => self.enqueue_store_task(StoreTask::TellTabsOfDrafts),
                Effect::Connect => self.socket.connect(self.clone()),
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

    /// Reads the engine.
    pub fn read<T>(&self, reader: impl FnOnce(&Engine) -> T) -> T {
        reader(&self.engine.borrow())
    }

    /// Counts changes of a query.
    pub fn version_signal(&self, query: &Query) -> ArcRwSignal<u32> {
        self.queries.borrow_mut().entry(query.clone()).or_insert_with(|| ArcRwSignal::new(0)).clone()
    }

    /// Counts changes of a draft.
    pub fn draft_version_signal(&self, entity: &EntityRef) -> ArcRwSignal<u32> {
        self.drafts.borrow_mut().entry(entity.clone()).or_insert_with(|| ArcRwSignal::new(0)).clone()
    }

    /// Renews the access token, once at a time; where the network is away, again and again.
    pub fn refresh_token(self: &Rc<Self>) {
        if self.refreshing_token.replace(true) {
            return;
        }
        let client = self.clone();
        spawn_local(async move {
            let mut wait = 1000;
            loop {
                match http::refresh().await {
                    Ok(answer) => {
                        client.refreshing_token.set(false);
                        return client.signed_in(answer).await;
                    }
                    Err(http::RefreshError::Ended) => {
                        client.refreshing_token.set(false);
                        return client.prompt_sign_in();
                    }
                    Err(http::RefreshError::Network) => {
                        client.dispatch(Event::TokenRefreshFailed);
                        gloo_timers::future::TimeoutFuture::new(wait).await;
                        wait = (wait * 2).min(15_000);
                    }
                }
            }
        });
    }

    fn prompt_sign_in(&self) {
        if let AuthState::SignedIn(user) = self.presence.get_untracked() {
            self.presence.set(AuthState::SessionExpired(user));
        } else if self.presence.get_untracked() == AuthState::Starting {
            self.presence.set(AuthState::SignedOut);
        }
    }

    /// Signs out: wipes this person's data on the device; unsent work stays for their next sign-in if `keep_work`.
    pub async fn sign_out(self: Rc<Self>, keep_work: bool) {
        if !keep_work {
            local_storage::clear();
        }
        save_last_user(None);
        set_flag(SIGNED_OUT_KEY, true);
        self.socket.disconnect();
        http::set_token(None);
        self.broadcast(tab_channel::SIGNED_OUT);
        // Through the same queue as every write, so that none comes after it; the server is told last, as it may be away.
        let (done, wiped) = futures_channel::oneshot::channel();
        self.enqueue_store_task(StoreTask::Wipe { keep_work, done });
        let _ = wiped.await;
        if http::logout().await {
            set_flag(SIGNED_OUT_KEY, false);
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
            let bye = TabMessage::TabClosing { tab: client.tab };
            client.broadcast(&serde_json::to_string(&bye).unwrap_or_default());
            None
        });
        // Back from the browser's own cache of pages.
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

fn is_page_visible() -> Option<bool> {
    Some(web_sys::window()?.document()?.visibility_state() == web_sys::VisibilityState::Visible)
}

fn notify_signal(signal: Option<&ArcRwSignal<u32>>) {
    if let Some(signal) = signal {
        signal.update(|n| *n = n.wrapping_add(1));
    }
}

fn save_last_user(user: Option<&User>) {
    let Some(storage) = storage() else { return };
    let _ = match user.and_then(|u| serde_json::to_string(u).ok()) {
        Some(text) => storage.set_item(PERSON_KEY, &text),
        None => storage.remove_item(PERSON_KEY),
    };
}

/// Loads the page anew.
pub fn reload() {
    if let Some(window) = web_sys::window() {
        let _ = window.location().set_href("/");
    }
}
