//! What many ask of the database at the same moment goes to it in one statement: rows of different entities, rows of views,
//! reads of views. Each statement costs the database, the driver and the system something beside its rows.
//!
//! Nobody waits where nothing is under way: the first leaves at once, and what comes while it is under way leaves together
//! when it has landed, when [`LINGER`] has passed, or when there is enough for a whole statement, whichever is first. So
//! what is slow or never answers holds nobody else up.
//!
//! Only rows that lie on the same nodes ([`Database::home`]) are written together, and no more than a cluster takes
//! without a word: whichever of them the statement goes to is a replica of each row, as it would be of each alone.
//!
//! **What fails together is tried alone.** Of several rows that went together and failed it is not known which one it was;
//! that one's replicas must not fail the others again and again. So a repeat goes by itself, which is what a caller has to
//! see to for writes; reads do so here, and may so take two statements' time.
//!
//! Statements run on the runtime on which the store was opened, whoever asks: no caller's thread sees to another's.

use std::{
    collections::{HashMap, VecDeque, hash_map::Entry},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use adal_domain::entity::{EntityKey, View};
use async_trait::async_trait;
use tokio::{runtime::Handle, sync::oneshot, time::timeout};

use super::db::{Database, Failed, JournalRow, StampedView, Table, ViewEntry};

/// Rows in one batch, and their bytes: past 10 partitions or 5 KiB Cassandra warns of each.
pub(super) const ROWS: usize = 10;
/// See [`ROWS`].
pub(super) const BYTES: usize = 5_000;
/// Keys in one read. ScyllaDB allows 100.
const KEYS: usize = 32;
/// Bytes of a row beside its own texts and blobs, as the database counts them, rather more.
const ROW_BYTES: usize = 190;
/// For so long what is under way is waited for. A statement takes a millisecond or two where the database is well.
const LINGER: Duration = Duration::from_millis(10);

/// Something that may go with others of its sort.
#[async_trait]
pub(super) trait Load: Sized + Send + 'static {
    /// What it is answered.
    type Answer: Send + 'static;
    /// How many go together at most, and their bytes.
    const MOST: (usize, usize);

    /// Its bytes.
    fn bytes(&self) -> usize;

    /// Does them in one statement, and gives the answer of each, in their order.
    async fn send(db: &dyn Database, loads: Vec<Self>) -> Result<Vec<Self::Answer>, Failed>;
}

/// What became of something that was not done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Lost {
    pub(super) failed: Failed,
    /// Nothing else was in its statement.
    pub(super) alone: bool,
}

type Told<L> = oneshot::Sender<Result<<L as Load>::Answer, Lost>>;
/// Those that wait in a lane. One that is there has a task that sees to it.
type Waiting<L> = VecDeque<(L, Told<L>)>;

/// Loads of one sort. Those of a lane go together.
pub(super) struct Lanes<L: Load> {
    db: Arc<dyn Database>,
    runtime: Handle,
    lanes: Mutex<HashMap<u64, Waiting<L>>>,
}

impl<L: Load> Lanes<L> {
    /// Within the runtime on which the statements are to run.
    pub(super) fn new(db: Arc<dyn Database>) -> Arc<Self> {
        Arc::new(Self { db, runtime: Handle::current(), lanes: Mutex::default() })
    }

    fn lanes(&self) -> MutexGuard<'_, HashMap<u64, Waiting<L>>> {
        self.lanes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends each in its lane, and waits for all; answers in their order.
    pub(super) async fn go(self: &Arc<Self>, loads: Vec<(u64, L)>) -> Vec<Result<L::Answer, Lost>> {
        let mut answers = Vec::with_capacity(loads.len());
        let (mut full, mut fresh) = (Vec::new(), Vec::new());
        {
            let mut lanes = self.lanes();
            for (lane, load) in loads {
                let (told, answer) = oneshot::channel();
                answers.push(answer);
                let waiting = match lanes.entry(lane) {
                    Entry::Occupied(lane) => lane.into_mut(),
                    Entry::Vacant(vacant) => {
                        fresh.push(lane);
                        vacant.insert(VecDeque::new())
                    }
                };
                waiting.push_back((load, told));
                while is_full(waiting) {
                    full.push(first(waiting));
                }
            }
        }
        for loads in full {
            self.runtime.spawn(Arc::clone(self).flight(loads));
        }
        for lane in fresh {
            // Made here, not in the task: one that is dropped before it ever ran must tell as well.
            let driver = Driver { lanes: Arc::clone(self), lane, ended: false };
            self.runtime.spawn(driver.drive());
        }
        let mut done = Vec::with_capacity(answers.len());
        for answer in answers {
            let gone = || Lost { failed: Failed::Unknown("the store is closed".into()), alone: false };
            done.push(answer.await.unwrap_or_else(|_| Err(gone())));
        }
        done
    }

    /// One statement, and what each is told.
    async fn flight(self: Arc<Self>, loads: Vec<(L, Told<L>)>) {
        let (loads, told): (Vec<_>, Vec<_>) = loads.into_iter().unzip();
        let alone = loads.len() == 1;
        match L::send(&*self.db, loads).await {
            // Who asked may have gone.
            Ok(answers) => told.into_iter().zip(answers).for_each(|(told, answer)| drop(told.send(Ok(answer)))),
            Err(failed) => {
                for told in told {
                    drop(told.send(Err(Lost { failed: failed.clone(), alone })));
                }
            }
        }
    }
}

/// Whoever sees to a lane. Where its task is dropped in the middle, with its runtime, those that wait are told.
struct Driver<L: Load> {
    lanes: Arc<Lanes<L>>,
    lane: u64,
    ended: bool,
}

impl<L: Load> Driver<L> {
    async fn drive(mut self) {
        while let Some(loads) = self.next() {
            let flight = self.lanes.runtime.spawn(Arc::clone(&self.lanes).flight(loads));
            // Whether it landed or not: it goes on by itself, and tells those that were in it.
            let _ = timeout(LINGER, flight).await;
        }
    }

    /// What leaves next; `None`: nothing waits, and the lane is gone.
    fn next(&mut self) -> Option<Vec<(L, Told<L>)>> {
        let mut lanes = self.lanes.lanes();
        if let Some(waiting) = lanes.get_mut(&self.lane).filter(|waiting| !waiting.is_empty()) {
            return Some(first(waiting));
        }
        lanes.remove(&self.lane);
        self.ended = true;
        None
    }
}

impl<L: Load> Drop for Driver<L> {
    fn drop(&mut self) {
        if !self.ended {
            self.lanes.lanes().remove(&self.lane);
        }
    }
}

/// Whether those that wait are enough for a whole statement.
fn is_full<L: Load>(waiting: &Waiting<L>) -> bool {
    let (most, bytes) = L::MOST;
    waiting.len() >= most || waiting.iter().map(|(load, _)| load.bytes()).sum::<usize>() >= bytes
}

/// Takes what goes into one statement: one at least.
fn first<L: Load>(waiting: &mut Waiting<L>) -> Vec<(L, Told<L>)> {
    let (most, mut bytes) = L::MOST;
    let fits = waiting.iter().take(most).take_while(|(load, _)| {
        let fits = bytes >= load.bytes();
        bytes = bytes.saturating_sub(load.bytes());
        fits
    });
    let count = fits.count().max(1).min(waiting.len());
    waiting.drain(..count).collect()
}

/// A row of an entity.
#[async_trait]
impl Load for (EntityKey, JournalRow) {
    type Answer = ();
    const MOST: (usize, usize) = (ROWS, BYTES);

    fn bytes(&self) -> usize {
        let (entity, row) = self;
        ROW_BYTES + entity.id.len() + row.body.len() + row.derived.as_ref().map_or(0, Vec::len)
    }

    async fn send(db: &dyn Database, rows: Vec<Self>) -> Result<Vec<()>, Failed> {
        match &rows[..] {
            [(entity, row)] => db.insert_row(entity, row).await?,
            rows => db.insert_rows(rows).await?,
        }
        Ok(vec![(); rows.len()])
    }
}

#[async_trait]
impl Load for StampedView {
    type Answer = ();
    const MOST: (usize, usize) = (ROWS, BYTES);

    fn bytes(&self) -> usize {
        let entry = &self.entry;
        ROW_BYTES + entry.key.len() + entry.filter.len() + entry.entity.id.len() + entry.value.len()
    }

    async fn send(db: &dyn Database, rows: Vec<Self>) -> Result<Vec<()>, Failed> {
        db.put_views(&rows).await?;
        Ok(vec![(); rows.len()])
    }
}

/// The key of a view's row that is asked for. Its lane says of which view.
struct Asked(View, String);

#[async_trait]
impl Load for Asked {
    type Answer = Option<ViewEntry>;
    const MOST: (usize, usize) = (KEYS, KEYS * ROW_BYTES);

    fn bytes(&self) -> usize {
        self.1.len()
    }

    async fn send(db: &dyn Database, asked: Vec<Self>) -> Result<Vec<Option<ViewEntry>>, Failed> {
        if let [Asked(view, key)] = &asked[..] {
            return Ok(vec![db.view(*view, key).await?]);
        }
        let view = asked.first().map_or(View::OrderOwner, |Asked(view, _)| *view);
        let keys: Vec<&str> = asked.iter().map(|Asked(_, key)| key.as_str()).collect();
        let found: HashMap<_, _> =
            db.views(view, &keys).await?.into_iter().map(|entry| (entry.key.clone(), entry)).collect();
        // Two may ask for the same.
        Ok(keys.into_iter().map(|key| found.get(key).cloned()).collect())
    }
}

/// See the module.
pub(super) struct Together {
    db: Arc<dyn Database>,
    rows: Arc<Lanes<(EntityKey, JournalRow)>>,
    views: Arc<Lanes<StampedView>>,
    asked: Arc<Lanes<Asked>>,
}

impl Together {
    pub(super) fn new(db: Arc<dyn Database>) -> Self {
        let (rows, views) = (Lanes::new(Arc::clone(&db)), Lanes::new(Arc::clone(&db)));
        Self { rows, views, asked: Lanes::new(Arc::clone(&db)), db }
    }

    /// Writes a row: with those of others, or `alone`.
    pub(super) async fn insert_row(&self, entity: &EntityKey, row: &JournalRow, alone: bool) -> Result<(), Failed> {
        if alone {
            return self.db.insert_row(entity, row).await;
        }
        let lane = self.db.home(Table::Journal, entity.kind.as_str(), &entity.id);
        all(failed(self.rows.go(vec![(lane, (entity.clone(), row.clone()))]).await))
    }

    /// Writes rows of views: with those of others, or `alone`.
    pub(super) async fn put_views(&self, rows: Vec<StampedView>, alone: bool) -> Result<(), Failed> {
        if alone {
            return self.db.put_views(&rows).await;
        }
        let lane = |row: &StampedView| self.db.home(Table::ViewRow, row.view.as_str(), &row.entry.key);
        all(failed(self.views.go(rows.into_iter().map(|row| (lane(&row), row)).collect()).await))
    }

    /// A row of a view.
    pub(super) async fn view(&self, view: View, key: &str) -> Result<Option<ViewEntry>, Failed> {
        let answer = self.asked.go(vec![(view as u64, Asked(view, key.to_owned()))]).await.pop();
        match answer {
            Some(Ok(found)) => Ok(found),
            Some(Err(lost)) if lost.alone => Err(lost.failed),
            _ => {
                metrics::counter!("adal_cql_retries_total", "what" => "view").increment(1);
                self.db.view(view, key).await
            }
        }
    }
}

fn failed(answers: Vec<Result<(), Lost>>) -> Vec<Result<(), Failed>> {
    answers.into_iter().map(|answer| answer.map_err(|lost| lost.failed)).collect()
}

/// Whether all were done: where one was not, nobody knows of the whole, unless surely none was.
pub(super) fn all(answers: Vec<Result<(), Failed>>) -> Result<(), Failed> {
    let surely_none = answers.iter().all(|answer| matches!(answer, Err(Failed::NotDone(_))));
    match answers.into_iter().find_map(Result::err) {
        None => Ok(()),
        Some(Failed::NotDone(why)) if !surely_none => Err(Failed::Unknown(why)),
        Some(failed) => Err(failed),
    }
}
