//! Whose the shards are: this process as a member of the cluster, its claim, its beat, and the read that verifies.
//!
//! Shared by all who append; a task beats and confirms each second, another runs the verifying reads as long as somebody
//! waits for one. It must never answer a verification from a read that began before it was asked for, and never take its
//! own later claim for the one that was made ("ours again" is not "ours since": see [`super::protocol`]). What was lost
//! stays lost: the process is *deposed*, serves nothing any more, and has to end.

use std::{
    panic::AssertUnwindSafe,
    sync::{Arc, Mutex, PoisonError, Weak},
    time::Duration,
};

use adal_actors::ports::StoreError;
use adal_domain::time::Timestamp;
use futures_util::FutureExt;
use metrics::{counter, histogram};
use tokio::{
    runtime::Handle,
    sync::{oneshot, watch},
    time::Instant,
};

use super::{
    clock::WallClock,
    cluster::{Cluster, Member},
    config::CqlError,
    db::{Beat, Database, Failed},
    protocol::{SHARDS, still_ours},
    retry,
    watch::Watched,
};

/// How long the database is asked the same before its caller is told that it does not answer.
const CLAIM: Duration = Duration::from_secs(30);

/// Beats that are older are deleted: nobody lives who has not beaten for a day. Microseconds.
const FORGOTTEN: i64 = 86_400 * Timestamp::SECOND;

/// Greater than any beat that will ever be: who hands over comes never again. (Not the greatest that a stamp can be, which
/// Cassandra would keep for ever.)
const LAST_BEAT: u64 = 1 << 60;

/// What the owner goes by.
#[derive(Debug, Clone)]
pub(super) struct Terms {
    pub(super) node: String,
    pub(super) dead_after: Duration,
    pub(super) beat_every: Duration,
    pub(super) confirmed_within: Duration,
    /// The other datacentre whose shards may be taken.
    pub(super) take_from: Option<String>,
}

/// What a verification answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Ours since the same claim.
    Ours,
    /// Another has claimed it since.
    Lost,
}

#[derive(Debug, Clone, Copy)]
struct Held {
    /// The version at which every shard was claimed.
    since: u64,
    /// The version at which the row was last seen in full, and all shards in it ours.
    seen: u64,
    /// When the last read began that saw them ours.
    confirmed: Instant,
    /// When the last beat began that was taken: others are patient from there on.
    beaten: Instant,
}

/// What became of the claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// It stands, or none was made.
    No,
    /// Another has claimed the shards.
    Lost,
    /// We gave them up.
    HandedOver,
}

/// What a claim knows from one look to the next.
struct Standby {
    watched: Watched,
    /// The number of our next beat.
    beat: u64,
    /// The owners that the log has named.
    told: Vec<Member>,
}

/// What came of one look.
enum Looked {
    /// The shards are ours since this epoch.
    Ours(u64),
    /// Somebody was quicker, or it is not known: look again at once.
    Raced,
    /// They are another's, who is alive.
    Theirs,
}

#[derive(Default)]
struct Waiting {
    asked: Vec<oneshot::Sender<Result<Verdict, Failed>>>,
    reading: bool,
}

/// See the module.
pub(super) struct Owner {
    db: Arc<dyn Database>,
    clock: Arc<dyn WallClock>,
    terms: Terms,
    me: Member,
    held: Mutex<Option<Held>>,
    end: watch::Sender<End>,
    /// Where what runs for all is run: a caller's own runtime may stop before the store does.
    runtime: Handle,
    waiting: Mutex<Waiting>,
}

impl std::fmt::Debug for Owner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Owner").field("me", &self.me).finish_non_exhaustive()
    }
}

impl Owner {
    pub(super) fn new(db: Arc<dyn Database>, clock: Arc<dyn WallClock>, terms: Terms) -> Arc<Self> {
        let me = Member {
            id: format!("{:032x}", rand::random::<u128>()),
            node: terms.node.clone(),
            datacenter: db.datacenter().map(str::to_owned),
        };
        let (held, waiting) = (Mutex::new(None), Mutex::default());
        let end = watch::channel(End::No).0;
        Arc::new(Self { db, clock, terms, me, held, end, runtime: Handle::current(), waiting })
    }

    /// This process's id, for ever its own.
    pub(super) fn member(&self) -> &str {
        &self.me.id
    }

    fn held(&self) -> Option<Held> {
        *self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The epoch of a shard, for who may write in it.
    pub(super) fn epoch(&self, shard: u16) -> Result<u64, StoreError> {
        debug_assert!(shard < SHARDS, "of 1,024");
        match *self.end.borrow() {
            End::No => {}
            End::Lost => return Err(StoreError::Unavailable("another server has taken over".into())),
            End::HandedOver => return Err(StoreError::Unavailable("the store is closed".into())),
        }
        match self.held() {
            Some(held) => Ok(held.since),
            None => Err(StoreError::Unavailable("this process has claimed nothing".into())),
        }
    }

    /// The epoch, for what is no entity's: `None` where nothing is claimed.
    pub(super) fn claimed(&self) -> Option<u64> {
        self.held().filter(|_| !self.has_ended()).map(|held| held.since)
    }

    /// The claim does not stand any more, whoever ended it.
    pub(super) fn has_ended(&self) -> bool {
        *self.end.borrow() != End::No
    }

    /// Another has claimed the shards.
    pub(super) fn is_lost(&self) -> bool {
        *self.end.borrow() == End::Lost
    }

    /// Resolves when the process has lost what it claimed.
    pub(super) fn deposed(&self) -> impl Future<Output = ()> + Send + 'static {
        let mut told = self.end.subscribe();
        async move {
            // An error says that the store is gone: then nothing is lost any more.
            if told.wait_for(|end| *end == End::Lost).await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }

    /// Why nothing may be served now, if so.
    pub(super) fn serves(&self) -> Result<(), StoreError> {
        self.epoch(0)?;
        // Of both the older: who was seen to own, and does not get its beats across, is about to be replaced.
        let lately = |held: Held| held.confirmed.min(held.beaten).elapsed() <= self.terms.confirmed_within;
        match self.held().is_some_and(lately) {
            true => Ok(()),
            false => {
                Err(StoreError::Unavailable("the database has not confirmed lately whose the entities are".into()))
            }
        }
    }

    // --- claim --------------------------------------------------------------------------------------------------

    /// Becomes the owner of all shards, however long that takes: those without an owner, of a process of the same node
    /// that does not beat, or of any other when it is dead. Answers the epoch. Whoever stands by goes on doing so while the
    /// database is away.
    ///
    /// # Errors
    /// The database's, where it did not answer for half a minute and never had; shards that are of a member in another
    /// datacentre.
    pub(super) async fn claim(self: &Arc<Self>) -> Result<u64, CqlError> {
        if self.held().is_some() {
            return Err(CqlError::Ended("this process has claimed its shards already".into()));
        }
        let mut standby = Standby { watched: Watched::new(self.terms.beat_every), beat: 1, told: Vec::new() };
        loop {
            let began = Instant::now();
            match self.look_for_them(&mut standby).await {
                Ok(Looked::Ours(since)) => return Ok(since),
                Ok(Looked::Raced) => continue,
                Ok(Looked::Theirs) => {}
                Err(CqlError::Failed(error @ (Failed::Unknown(_) | Failed::NotDone(_))))
                    if standby.watched.has_looked() =>
                {
                    tracing::warn!(%error, "standing by: the database does not answer; waiting on");
                }
                Err(error) => return Err(error),
            }
            tokio::time::sleep_until(began + self.terms.beat_every).await;
        }
    }

    /// Beats, looks whose the shards are, and takes them where that may be.
    async fn look_for_them(self: &Arc<Self>, standby: &mut Standby) -> Result<Looked, CqlError> {
        let beaten = Instant::now();
        self.beat(standby.beat).await?;
        standby.beat += 1;
        standby.watched.answer(Instant::now());
        let confirmed = Instant::now();
        let cluster = self.settled().await?;
        standby.watched.answer(Instant::now());
        if let Some(since) = self.ours_in(&cluster) {
            // An attempt that timed out was done.
            return Ok(self.hold(Held { since, seen: cluster.version, confirmed, beaten }, standby.beat));
        }
        self.in_our_datacenter(&cluster)?;
        let beats = retry::until(Instant::now() + CLAIM, "beats", || self.db.beats()).await?;
        standby.watched.see(&beats, Instant::now());
        let may = |owner: Option<&Member>| owner.is_none_or(|owner| self.may_replace(owner, &standby.watched));
        let next = cluster.taken(&self.me, may);
        let theirs: Vec<_> = next.members.iter().filter(|member| **member != self.me).cloned().collect();
        if !theirs.is_empty() {
            if standby.told != theirs {
                tracing::info!(owners = ?theirs, "standing by: the shards are another's, who is alive");
                standby.told = theirs;
            }
            return Ok(Looked::Theirs);
        }
        let confirmed = Instant::now();
        if !self.change(&cluster, &next).await? {
            return Ok(Looked::Raced);
        }
        self.tidy(&beats).await;
        if let Some(from) = &self.terms.take_from {
            tracing::warn!(
                from,
                "claimed with store.cql.take_from_datacenter: take that out of the configuration again"
            );
        }
        let version = next.version;
        Ok(self.hold(Held { since: version, seen: version, confirmed, beaten }, standby.beat))
    }

    fn hold(self: &Arc<Self>, held: Held, beat: u64) -> Looked {
        *self.held.lock().unwrap_or_else(PoisonError::into_inner) = Some(held);
        self.runtime.spawn(Self::live(Arc::downgrade(self), beat));
        tracing::info!(epoch = held.since, member = %self.me.id, node = %self.me.node, "all shards are claimed");
        Looked::Ours(held.since)
    }

    /// The version at which all shards were claimed by this process, if they were.
    fn ours_in(&self, cluster: &Cluster) -> Option<u64> {
        let since = cluster.owner(0)?.since;
        let ours = |shard| still_ours(&self.me.id.as_str(), since, cluster.owner(shard).as_ref());
        (0..usize::from(SHARDS)).all(ours).then_some(since)
    }

    async fn settled(&self) -> Result<Cluster, CqlError> {
        let row = retry::until(Instant::now() + CLAIM, "cluster", || self.db.cluster_settled()).await?;
        row.as_ref().map_or_else(|| Ok(Cluster::empty()), Cluster::decode)
    }

    /// One conditional write. `false`: another was first, or it is not known whether this one was done; who asks the row
    /// learns which.
    async fn change(&self, from: &Cluster, next: &Cluster) -> Result<bool, CqlError> {
        let row = next.encode()?;
        let done = match from.version {
            0 => self.db.create_cluster(&row).await,
            version => self.db.change_cluster(version, &row).await,
        };
        match done {
            Ok(applied) => Ok(applied),
            Err(Failed::Unreadable(why)) => Err(Failed::Unreadable(why).into()),
            Err(failed) => {
                tracing::warn!(error = %failed, "the change of the cluster is in doubt; asking what became of it");
                Ok(false)
            }
        }
    }

    /// The beats of the members that own something, by id.
    pub(super) async fn beats_of_owners(&self) -> Result<Vec<(String, u64)>, StoreError> {
        let row = self.db.cluster().await?;
        let cluster = row.as_ref().map_or_else(|| Ok(Cluster::empty()), Cluster::decode);
        let members = cluster.map_err(|error| StoreError::Corrupt(error.to_string().into()))?.members;
        let beats = self.db.beats().await?.into_iter();
        let mut found: Vec<_> = beats
            .filter(|beat| members.iter().any(|member| member.id == beat.member))
            .map(|Beat { member, beat, .. }| (member, beat))
            .collect();
        found.sort();
        Ok(found)
    }

    /// Whether a member may be replaced: one that does not beat. An earlier process of our own node as soon as it serves
    /// nothing any more, wherever it is cut off: two servers that were given one name do not replace each other for ever.
    /// Any other when it is dead.
    fn may_replace(&self, owner: &Member, watched: &Watched) -> bool {
        let &Terms { dead_after, beat_every, confirmed_within, .. } = &self.terms;
        let patience = match owner.node == self.me.node {
            // It serves for so long after a beat that was taken; and its clock may go slower than ours.
            true => dead_after.min(confirmed_within + beat_every),
            false => dead_after,
        };
        // Whoever has no beat handed over, or was forgotten.
        watched.still_for(&owner.id, Instant::now()).is_none_or(|still| still >= patience)
    }

    /// Refuses shards of whoever stands elsewhere, or stood there last: what it wrote need not have come to where we read,
    /// and its conditional writes and ours do not meet. Unless the operator says that all of it has come.
    fn in_our_datacenter(&self, cluster: &Cluster) -> Result<(), CqlError> {
        let Some(ours) = self.me.datacenter.as_deref() else { return Ok(()) };
        let may = |theirs: &str| theirs == ours || self.terms.take_from.as_deref() == Some(theirs);
        match cluster.datacenters().find(|theirs| !may(theirs)) {
            None => Ok(()),
            Some(theirs) => Err(CqlError::Config {
                key: "local_datacenter",
                rule: format!(
                    "is {ours}, and the entities are of a server in {theirs}, or were last: stop that one, have the database \
                     repaired, then set store.cql.take_from_datacenter = \"{theirs}\" for one start"
                ),
            }),
        }
    }

    /// Deletes the beats of members of long ago.
    async fn tidy(&self, beats: &[Beat]) {
        let before = Timestamp(self.clock.now().0.saturating_sub(FORGOTTEN));
        for beat in beats.iter().filter(|beat| beat.at < before && beat.member != self.me.id) {
            // It may be our clock that is wrong, and the member alive: its next beat counts more than this.
            if let Err(error) = self.db.delete_beat(&beat.member, beat.beat).await {
                tracing::debug!(%error, "beats of long ago stay");
            }
        }
    }

    /// Gives up all shards, so that a successor need not wait; nothing is appended or served from here on.
    pub(super) async fn hand_over(&self) -> Result<(), CqlError> {
        let Some(held) = self.held() else { return Ok(()) };
        if self.has_ended() {
            return Ok(());
        }
        self.end.send_replace(End::HandedOver);
        let until = Instant::now() + CLAIM;
        while Instant::now() < until {
            let cluster = self.settled().await?;
            let ours = still_ours(&self.me.id.as_str(), held.since, cluster.owner(0).as_ref());
            if !ours || self.change(&cluster, &cluster.left(&self.me.id)).await? {
                break;
            }
        }
        if let Err(error) = self.db.delete_beat(&self.me.id, LAST_BEAT).await {
            tracing::debug!(%error, "our beats stay");
        }
        Ok(())
    }

    // --- life ---------------------------------------------------------------------------------------------------

    async fn beat(&self, beat: u64) -> Result<(), CqlError> {
        let beat = Beat { member: self.me.id.clone(), beat, at: self.clock.now() };
        Ok(retry::until(Instant::now() + CLAIM, "beat", || self.db.put_beat(&beat)).await?)
    }

    /// Beats and confirms until the store is gone or the process deposed.
    async fn live(owner: Weak<Self>, mut beat: u64) {
        loop {
            let Some(owner) = owner.upgrade().filter(|owner| !owner.has_ended()) else { return };
            let sign = Beat { member: owner.me.id.clone(), beat, at: owner.clock.now() };
            let began = Instant::now();
            let (beaten, confirmed) = tokio::join!(owner.db.put_beat(&sign), owner.ask());
            beat += 1;
            if beaten.is_ok() {
                owner.note(|held| held.beaten = began);
            }
            for error in [beaten.err(), confirmed.err()].into_iter().flatten() {
                tracing::warn!(%error, "the database does not confirm that we live");
            }
            let every = owner.terms.beat_every;
            drop(owner);
            tokio::time::sleep(every).await;
        }
    }

    // --- verify -------------------------------------------------------------------------------------------------

    /// Whether the shards are ours since we claimed them, by a read that begins now or later. Repeated until `deadline`.
    pub(super) async fn verify(self: &Arc<Self>, deadline: Instant) -> Result<Verdict, Failed> {
        if self.has_ended() {
            return Ok(Verdict::Lost);
        }
        retry::until(deadline, "verify", || self.ask()).await
    }

    /// One verification; those that are asked for while a read is under way share the next.
    fn ask(self: &Arc<Self>) -> impl Future<Output = Result<Verdict, Failed>> + Send + use<> {
        let (to, answer) = oneshot::channel();
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.asked.push(to);
        if !std::mem::replace(&mut waiting.reading, true) {
            self.runtime.spawn(Arc::clone(self).read());
        }
        drop(waiting);
        async move { answer.await.unwrap_or_else(|_| Err(Failed::NotDone("the store is closed".into()))) }
    }

    /// Reads for all who wait, as long as somebody does.
    async fn read(self: Arc<Self>) {
        loop {
            let asked = {
                let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
                if waiting.asked.is_empty() {
                    waiting.reading = false;
                    return;
                }
                std::mem::take(&mut waiting.asked)
            };
            // They were all taken before the read begins: whatever they wrote had ended.
            // Were this to panic, `reading` would stay, and nobody ever read again.
            let looked = AssertUnwindSafe(self.look()).catch_unwind().await;
            let verdict = looked.unwrap_or_else(|_| Err(Failed::NotDone("the verifying read panicked".into())));
            counter!("adal_cql_verifying_reads_total").increment(1);
            histogram!("adal_cql_verified_at_once").record(u32::try_from(asked.len()).unwrap_or(u32::MAX));
            for to in asked {
                let _ = to.send(verdict.clone());
            }
        }
    }

    async fn look(&self) -> Result<Verdict, Failed> {
        let Some(held) = self.held() else { return Err(Failed::NotDone("nothing is claimed".into())) };
        let began = Instant::now();
        if self.db.cluster_version().await? == Some(held.seen) {
            self.confirm(held.seen, began);
            return Ok(Verdict::Ours);
        }
        let began = Instant::now();
        let row = self.db.cluster().await?;
        let cluster = match row.as_ref().map_or_else(|| Ok(Cluster::empty()), Cluster::decode) {
            Ok(cluster) => cluster,
            Err(error) => return Err(Failed::Unreadable(error.to_string().into())),
        };
        let ours = |shard| still_ours(&self.me.id.as_str(), held.since, cluster.owner(shard).as_ref());
        if (0..usize::from(SHARDS)).all(ours) {
            self.confirm(cluster.version, began);
            return Ok(Verdict::Ours);
        }
        let first = self.end.send_if_modified(|end| {
            // One that was handed over is nobody's loss.
            let first = *end == End::No;
            if first {
                *end = End::Lost;
            }
            first
        });
        if first {
            tracing::error!(version = cluster.version, members = ?cluster.members, "another server has claimed our shards");
            counter!("adal_cql_deposed_total").increment(1);
        }
        Ok(Verdict::Lost)
    }

    fn confirm(&self, seen: u64, began: Instant) {
        self.note(|held| (held.seen, held.confirmed) = (seen, held.confirmed.max(began)));
    }

    fn note(&self, what: impl FnOnce(&mut Held)) {
        if let Some(held) = &mut *self.held.lock().unwrap_or_else(PoisonError::into_inner) {
            what(held);
        }
    }
}
