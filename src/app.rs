//! The application: everything that a request can reach, made once, shared by all threads.
//!
//! [`App::open`] brings it up in the order in which the parts need each other; [`App::stop`] takes it down in the reverse
//! one, and nothing that was acknowledged depends on its being called. Background tasks (timers, credentials, rate
//! limits) are owned here and end with it.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use adal_actors::{
    AskError, ContextOf, Effects, Registry, RegistryConfig, Router, Timers,
    ports::{Clock, Codes, Flags, Journal, StoreError, Views},
};
use adal_domain::{
    card::Barcode,
    catalogue::{Catalogue, CatalogueState, MAIN},
    customer::{Context, Customer, Guest},
    entity::{EntityKind, View},
    flags::Flag,
    hashing::HashingKey,
    ids::{CustomerId, OfferId},
    offers::{CompiledOffers, NormalCode},
    policy::Policy,
    promo::Promo,
    qr::KeyRing,
    time::{Calendar, Timestamp},
};
use adal_store::Storage;
use arc_swap::ArcSwap;
use quick_cache::sync::Cache;
use tokio::task::JoinHandle;

use crate::{
    auth::{Auth, jwt::JwtError},
    banners::BannerCounter,
    checkout::{addresses::AddressSecrets, attempts::Attempts},
    clock::Stopwatch,
    codes::CodeMaker,
    config::Config,
    flags::ConfiguredFlags,
    http::{
        limits::{Limits, ScanCounter, TerminalGuard},
        owners::{self, Owners},
        watch::Watch,
    },
    promo_gauges,
    ring::{self, RingError},
    store::{self, OpenStore, StoreOpenError},
};

/// Whom switches see in every guest: there is no id to share them out by.
pub const GUEST: &str = "~";

/// Barcodes that are kept with their owners; some hundred bytes each.
const BARCODES_CACHED: usize = 200_000;

/// How often secrets of periods that are over are looked for.
const SECRETS_EVERY: Duration = Duration::from_secs(600);

/// See the module.
pub struct App {
    /// Customers.
    pub customers: Registry<Customer>,
    /// Guests' checkouts.
    pub guests: Registry<Guest>,
    /// Promos and campaigns with limits that customers share.
    pub promos: Registry<Promo>,
    /// The one catalogue.
    pub catalogue: Registry<Catalogue>,
    /// The store, as the loop sees it.
    pub journal: Arc<dyn Journal>,
    /// The store, as questions across entities see it.
    pub views: Arc<dyn Views>,
    /// The store itself: service keys, health.
    pub store: Arc<dyn Storage>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// The secrets of cards' codes and scan tokens.
    pub ring: Arc<KeyRing>,
    /// The key of hashes of phones, payment means and addresses.
    pub hashing: HashingKey,
    /// What addresses are hashed with, beside it.
    pub addresses: AddressSecrets,
    /// The catalogue in force; see [`App::refresh_catalogue`].
    pub policy: Arc<ArcSwap<InForce>>,
    /// Feature flags.
    pub flags: Arc<dyn Flags>,
    /// The configuration.
    pub config: Arc<Config>,
    /// Who asks.
    pub auth: Auth,
    /// Rate limits.
    pub limits: Limits,
    /// Slows terminals that send codes with a wrong signature.
    pub terminals: TerminalGuard,
    /// Who typed too many wrong codes.
    pub attempts: Attempts,
    /// Scans per customer and day.
    pub scans: ScanCounter,
    /// What is counted for signals alone.
    pub watch: Watch,
    /// Whose card has a barcode, as far as was asked: a till scans the same customers again and again. What is found
    /// here is held against the customer's own state, so a card that was reissued is not found by its old barcode.
    pub barcodes: Cache<Barcode, CustomerId>,
    /// Whose an order is, as far as was asked, and the orders whose first events are on their way.
    pub owners: Owners,
    /// Makes unique codes in the background.
    pub code_maker: Arc<CodeMaker>,
    /// Counts of banners on their way to the store, and how often each customer was served one.
    pub banners: Arc<BannerCounter>,
    stopping: AtomicBool,
    tasks: Mutex<Vec<JoinHandle<()>>>,
}

/// The catalogue in force, with what follows from it.
#[derive(Debug, Clone)]
pub struct InForce {
    /// The policy: the catalogue's, or else the configuration's.
    pub policy: Arc<Policy>,
    /// Its time zone.
    pub calendar: Calendar,
    /// The catalogue's revision; 0 before its first change.
    pub revision: u64,
    /// Promos, campaigns and banners, and whose each shared code is.
    pub catalogue: CatalogueState,
    /// The offers, compiled once for all checkouts of this revision.
    pub offers: Arc<CompiledOffers>,
    /// Whether any of them counts uses per address.
    pub counts_addresses: bool,
}

/// Why the application does not start. Each says what to do.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The store.
    #[error(transparent)]
    Open(#[from] StoreOpenError),
    /// What the store answered.
    #[error("the store cannot be read")]
    Store(#[from] StoreError),
    /// The catalogue.
    #[error("the catalogue cannot be read")]
    Catalogue(#[from] AskError),
    /// The secrets of cards' codes.
    #[error(transparent)]
    Ring(#[from] RingError),
    /// The identity service's keys.
    #[error(transparent)]
    Jwt(#[from] JwtError),
    /// Metrics.
    #[error("metrics cannot be recorded")]
    Metrics(#[from] metrics_exporter_prometheus::BuildError),
    /// A policy that has no calendar.
    #[error("policy.time_zone: {0:?} is not an IANA time zone")]
    TimeZone(String),
    /// A listener.
    #[error("cannot listen on {address}")]
    Listen {
        /// Where.
        address: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
}

impl InForce {
    fn new(catalogue: CatalogueState, config: &Config) -> Result<Self, StartError> {
        let policy = catalogue.policy.clone().unwrap_or_else(|| Arc::new(config.policy.clone()));
        let calendar = policy.calendar().ok_or_else(|| StartError::TimeZone(policy.time_zone.clone()))?;
        let offers = catalogue.offers().map(|(id, entry)| (id.clone(), entry.kind, Arc::clone(&entry.offer)));
        let offers = Arc::new(CompiledOffers::compile(catalogue.revision, offers));
        let counts_addresses = catalogue.offers().any(|(_, entry)| entry.offer.limits.per_ip_in.is_some());
        Ok(Self { policy, calendar, revision: catalogue.revision, catalogue, offers, counts_addresses })
    }
}

impl App {
    /// A random barcode that no card has now. Among ten thousand million numbers a random one is taken soon enough (of a
    /// million cards, once in fifty); that two requests draw the same free one at the same moment is not to be expected.
    ///
    /// # Errors
    /// Where the view cannot be read.
    pub async fn free_barcode(&self) -> Result<Barcode, StoreError> {
        loop {
            let barcode = Barcode::of_number(rand::random());
            if self.views.get(View::CardByBarcode, &barcode.to_string()).await?.is_none() {
                return Ok(barcode);
            }
        }
    }

    /// Brings everything up but the HTTP server. Within an actix `System`; waits for the disk.
    ///
    /// # Errors
    /// See [`StartError`].
    pub async fn open(config: Config, clock: Arc<dyn Clock>) -> Result<Arc<Self>, StartError> {
        let flags = Arc::new(ConfiguredFlags::new(config.flags.clone()));
        Self::open_with(config, clock, flags).await
    }

    /// As [`App::open`], with flags from elsewhere.
    ///
    /// # Errors
    /// See [`StartError`].
    pub async fn open_with(
        config: Config,
        clock: Arc<dyn Clock>,
        flags: Arc<dyn Flags>,
    ) -> Result<Arc<Self>, StartError> {
        // Handles of metrics are looked up once, by whatever is made from here on.
        crate::metrics::install()?;
        let OpenStore { store, ring, hashing } = store::open(&config).await?;
        let ring = Arc::new(ring::load(&config.qr, &ring)?);
        let hashing = ring::hashing(&config.hashing, &hashing, &ring)?;
        let auth = Auth::new(config.auth.jwt.clone())?;
        auth.refresh(&*store).await?;

        let journal: Arc<dyn Journal> = Arc::clone(&store) as _;
        let alone = RegistryConfig { arbiters: 1, ..config.actors.to_registry() };
        let catalogue = Registry::<Catalogue>::new(alone, Arc::clone(&journal), Arc::clone(&clock), Arc::new(|_| ()));
        let in_force = in_force(&catalogue, &config).await?;
        let policy = Arc::new(ArcSwap::from_pointee(in_force));

        let context = context_of(&policy, &flags);
        let settings = config.actors.to_registry();
        let customers =
            Registry::<Customer>::new(settings.clone(), Arc::clone(&journal), Arc::clone(&clock), Arc::clone(&context));
        let guests = Registry::<Guest>::new(settings.clone(), Arc::clone(&journal), Arc::clone(&clock), context);
        let promos = Registry::<Promo>::new(settings, Arc::clone(&journal), Arc::clone(&clock), Arc::new(|_| ()));

        let router = Router::new();
        router.add(EntityKind::Customer, Arc::new(customers.clone()));
        router.add(EntityKind::Guest, Arc::new(guests.clone()));
        router.add(EntityKind::Promo, Arc::new(promos.clone()));
        router.add(EntityKind::Catalogue, Arc::new(catalogue.clone()));
        let effects = Effects::new(Arc::clone(&journal), router.clone());
        customers.deliver_through(Arc::clone(&effects));
        guests.deliver_through(Arc::clone(&effects));
        promos.deliver_through(Arc::clone(&effects));
        catalogue.deliver_through(Arc::clone(&effects));
        // Before the first ask: what a source owes from before must not be overtaken by a new row of it.
        effects.recover().await?;
        let timers = Timers::new(Arc::clone(&journal), Arc::clone(&clock), router);

        let every = Duration::from_millis(config.actors.timer_every_ms);
        let app = Arc::new(Self {
            customers,
            guests,
            promos,
            catalogue,
            journal,
            views: Arc::clone(&store) as _,
            store,
            clock,
            ring,
            hashing,
            addresses: AddressSecrets::default(),
            policy,
            flags,
            auth,
            limits: Limits::new(&config.limits),
            terminals: TerminalGuard::default(),
            attempts: Attempts::default(),
            scans: ScanCounter::default(),
            watch: Watch::default(),
            barcodes: Cache::new(BARCODES_CACHED),
            owners: Owners::default(),
            code_maker: Arc::default(),
            banners: Arc::default(),
            stopping: AtomicBool::new(false),
            tasks: Mutex::new(vec![tokio::spawn(timers.run(every))]),
            config: Arc::new(config),
        });
        app.watch();
        Ok(app)
    }

    /// Starts the tasks that look at credentials, rate limits and unsettled orders every few seconds. They hold the
    /// application weakly: one that is dropped takes them along.
    fn watch(self: &Arc<Self>) {
        let weak = Arc::downgrade(self);
        let every = Duration::from_secs(self.config.auth.refresh_s);
        let credentials = tokio::spawn(async move {
            loop {
                tokio::time::sleep(every).await;
                let Some(app) = weak.upgrade() else { return };
                if let Err(error) = app.auth.refresh(&*app.store).await {
                    tracing::warn!(%error, "service keys cannot be read: the ones known still count");
                }
            }
        });
        let weak = Arc::downgrade(self);
        let limits = tokio::spawn(async move {
            loop {
                tokio::time::sleep(Duration::from_secs(10)).await;
                let Some(app) = weak.upgrade() else { return };
                app.limits.forget_idle();
            }
        });
        let weak = Arc::downgrade(self);
        // By itself: it waits for customers, which may not answer.
        let orders = tokio::spawn(async move {
            loop {
                tokio::time::sleep(Duration::from_secs(10)).await;
                let Some(app) = weak.upgrade() else { return };
                owners::settle(&app).await;
            }
        });
        let weak = Arc::downgrade(self);
        let addresses = tokio::spawn(async move {
            loop {
                tokio::time::sleep(SECRETS_EVERY).await;
                let Some(app) = weak.upgrade() else { return };
                if let Err(error) = app.addresses.forget(&*app.store, app.now()).await {
                    metrics::counter!("adal_address_secrets_kept_total").increment(1);
                    tracing::warn!(%error, "secrets of periods that are over are not forgotten yet");
                }
            }
        });
        let banners = tokio::spawn(Arc::clone(&self.banners).run(Arc::downgrade(self)));
        let codes = tokio::spawn(Arc::clone(&self.code_maker).run(Arc::downgrade(self)));
        let gauges = tokio::spawn(promo_gauges::run(Arc::downgrade(self)));
        let all = [credentials, limits, orders, addresses, codes, banners, gauges];
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner).extend(all);
    }

    /// The time.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Whose a code is that is one of many unique ones.
    ///
    /// # Errors
    /// Where it cannot be looked up.
    pub async fn unique_code(&self, typed: &str) -> Result<Option<OfferId>, StoreError> {
        match NormalCode::new(typed) {
            Some(code) => Codes::offer_of(&*self.store, &code).await,
            None => Ok(None),
        }
    }

    /// What a customer's decisions are given: the policy in force, and the flags for this customer.
    #[must_use]
    pub fn context(&self, customer_id: &str) -> Context {
        surroundings(&self.policy.load(), &*self.flags, customer_id)
    }

    /// Puts the catalogue in force as it stands: to be called when a change of it is durable, before it is answered.
    ///
    /// # Errors
    /// Where the catalogue cannot be read; what was in force stays until the next call.
    pub async fn refresh_catalogue(&self) -> Result<(), AskError> {
        let read = self.catalogue.read(MAIN).await?;
        if self.policy.load().revision >= read.state.revision {
            return Ok(());
        }
        match InForce::new(read.state.clone(), &self.config) {
            // Two changes may be answered in either order: an earlier revision never replaces a later one.
            Ok(next) => {
                let next = Arc::new(next);
                self.policy.rcu(|now| if now.revision < next.revision { Arc::clone(&next) } else { Arc::clone(now) });
            }
            // The catalogue refuses such a policy: what stands there was written by another version.
            Err(error) => tracing::error!(%error, "the catalogue cannot be put in force"),
        }
        Ok(())
    }

    /// Says that the end is near: connections are closed with their next answer, and load balancers are told to look
    /// elsewhere. Requests are still served.
    pub fn announce_stop(&self) {
        self.stopping.store(true, Ordering::Relaxed);
    }

    /// Whether the end is near.
    #[must_use]
    pub fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Relaxed)
    }

    /// Stops: tasks, then entities (what waits is decided, appended, answered), then the store. In `within` at most, or a
    /// little more; what is not done by then was not acknowledged.
    pub async fn stop(&self, within: Duration) {
        let watch = Stopwatch::start();
        for task in self.tasks.lock().unwrap_or_else(PoisonError::into_inner).drain(..) {
            task.abort();
        }
        let left = || within.saturating_sub(Duration::from_secs_f64(watch.seconds())).max(Duration::from_millis(100));
        let (customers, guests) = tokio::join!(self.customers.stop(left()), self.guests.stop(left()));
        let promos = self.promos.stop(left()).await;
        let catalogue = self.catalogue.stop(left()).await;
        for (kind, stopped) in [("customer", customers), ("guest", guests), ("promo", promos), ("catalogue", catalogue)]
        {
            if !stopped.in_time {
                tracing::warn!(
                    kind,
                    left = stopped.left,
                    "not all entities ended in time; nothing acknowledged is lost"
                );
            }
        }
        if let Err(error) = self.banners.flush(&*self.store).await {
            tracing::warn!(%error, "the last counts of banners are lost");
        }
        match tokio::time::timeout(left(), self.store.close()).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, "the store did not close"),
            Err(_) => tracing::warn!("the store did not close in time"),
        }
    }
}

async fn in_force(catalogue: &Registry<Catalogue>, config: &Config) -> Result<InForce, StartError> {
    InForce::new(catalogue.read(MAIN).await?.state.clone(), config)
}

fn context_of(policy: &Arc<ArcSwap<InForce>>, flags: &Arc<dyn Flags>) -> ContextOf<Customer> {
    let (policy, flags) = (Arc::clone(policy), Arc::clone(flags));
    Arc::new(move |id| surroundings(&policy.load(), &*flags, id))
}

fn surroundings(in_force: &InForce, flags: &dyn Flags, id: &str) -> Context {
    let id = if id.starts_with(GUEST) { GUEST } else { id };
    Context {
        policy: Arc::clone(&in_force.policy),
        calendar: in_force.calendar.clone(),
        revision: in_force.revision,
        earn: flags.enabled(Flag::LoyaltyEarn, id),
        burn: flags.enabled(Flag::LoyaltyBurn, id),
        trust_limits: flags.enabled(Flag::TrustLimits, id),
        promos: flags.enabled(Flag::MarketingPromos, id),
        campaigns: flags.enabled(Flag::MarketingCampaigns, id),
    }
}
