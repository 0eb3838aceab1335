//! Open, adopt, append: the entity's side of the protocol, under its handle.
//!
//! Each runs as a task of its own that holds the handle until its outcome is known or its time is over: a caller that
//! gives up in the middle leaves nothing half done that would be forgotten. What is in doubt stays in the handle and is
//! taken up by whoever comes next, with the same content: never is another content written under the same seq and epoch.
//!
//! The order of an append is what makes it safe without transactions. What finds a row stands before the row is written:
//! the entity's line, its timer, its ticket (see [`super::marks`]) and its line in `recent`. What tells of it comes after
//! the verification: views, outbox, the answer. In between: the row, written until that succeeds, and then the verifying
//! read, begun after that.

use std::sync::{Arc, atomic::Ordering};

use adal_actors::ports::{Append, Opened, StoreError, StoredRow, StoredSnapshot};
use adal_domain::entity::EntityKey;
use metrics::counter;
use tokio::time::Instant;

use super::{
    Inner,
    db::{Failed, JournalRow, Place, SnapshotRow},
    derived::{Derived, Of},
    handle::{Adopting, Known, Locked, Pending, Phase, print},
    outbox::Where,
    owner::Verdict,
    protocol::{Linked, Standing, bucket_of, on_top, shard_of, slice_of, standing, unsure},
    read::{self, Found, stored},
    retry,
    timers::Timers,
};

/// Rows that an adoption writes in one statement: more only where an entity was adopted again and again, and nothing was
/// ever decided in between.
const ADOPTED_AT_ONCE: usize = 256;

/// Why something that was begun is not done.
enum Stop {
    /// Another owner has the shard.
    Fenced,
    /// Nothing was written, and nothing will be.
    Nothing(Failed),
    /// What was begun is still in the handle.
    Doubt(Failed),
}

impl Stop {
    fn told(self, entity: &EntityKey) -> StoreError {
        match self {
            Self::Fenced => {
                counter!("adal_cql_fenced_total").increment(1);
                StoreError::Fenced(entity.clone())
            }
            Self::Nothing(failed) => failed.into(),
            Self::Doubt(Failed::Unreadable(why)) => StoreError::Corrupt(why),
            Self::Doubt(Failed::Unknown(why) | Failed::NotDone(why)) => StoreError::InDoubt(why),
        }
    }

    /// For who only reads: whatever is in doubt, it is not told yet.
    fn for_reader(self, entity: &EntityKey) -> StoreError {
        match self.told(entity) {
            StoreError::InDoubt(why) => StoreError::Unavailable(why),
            other => other,
        }
    }
}

impl Inner {
    // --- open ---------------------------------------------------------------------------------------------------

    pub(super) async fn open(self: &Arc<Self>, entity: &EntityKey) -> Result<Opened, StoreError> {
        let mut state = self.handles.lock(entity).await;
        let deadline = self.deadline();
        self.settle(entity, &mut state, deadline).await.map_err(|stop| stop.for_reader(entity))?;
        self.load(entity, &mut state, deadline).await
    }

    /// Brings what is in doubt to its end.
    async fn settle(&self, entity: &EntityKey, state: &mut Locked, deadline: Instant) -> Result<(), Stop> {
        if state.adopting.is_some() {
            self.adopt(entity, state, deadline).await?;
        }
        if state.pending.is_some() {
            self.finish(entity, state, deadline).await?;
        }
        Ok(())
    }

    /// Reads the entity, and makes it ours where it is not.
    async fn load(&self, entity: &EntityKey, state: &mut Locked, deadline: Instant) -> Result<Opened, StoreError> {
        let shard = shard_of(entity);
        let epoch = self.owner.epoch(shard)?;
        let found = read::found(&*self.db, entity).await?;
        match standing(found.tip(), epoch) {
            Standing::Empty | Standing::Serve => {}
            Standing::Adopt => {
                self.begin_adoption(entity, state, &found, deadline).await?;
                self.adopt(entity, state, deadline).await.map_err(|stop| stop.for_reader(entity))?;
                let mut opened = opened(&found);
                opened.rows.extend(self.last_adopted(state));
                return Ok(opened);
            }
            Standing::Fenced => {
                // It says so itself; the row of the cluster is asked so that the process learns of it.
                let verdict = self.owner.verify(deadline).await?;
                debug_assert_eq!(verdict, Verdict::Lost, "{entity} is of a later epoch");
                return Err(Stop::Fenced.told(entity));
            }
        }
        let listed = state.known.as_ref().map_or(0, |known| known.listed);
        let timer = state.known.as_mut().and_then(|known| known.timer.take());
        let last = found.tip_row();
        state.known = Some(Known {
            tip: found.tip(),
            print: last.map(|row| print(&stored(row.clone()))).unwrap_or_default(),
            wake: last.and_then(|row| row.wake),
            timer,
            listed,
            snapshot: found.snapshot.as_ref().map(|snapshot| snapshot.place),
            adopted: None,
        });
        Ok(opened(&found))
    }

    fn last_adopted(&self, state: &Locked) -> Option<StoredRow> {
        state.known.as_ref().and_then(|known| known.adopted.clone())
    }

    /// Decides what an adoption writes. From here on it is that, whatever a later read finds: it may have been done.
    async fn begin_adoption(
        &self,
        entity: &EntityKey,
        state: &mut Locked,
        found: &Found,
        deadline: Instant,
    ) -> Result<(), StoreError> {
        let shard = shard_of(entity);
        let epoch = self.owner.epoch(shard)?;
        let now = bucket_of(self.clock.now());
        let ticket = self.marks.ticket(shard, epoch, now, deadline).await?;
        let tip = found.tip_row().cloned();
        let (place, parent_epoch) = on_top(found.tip(), epoch);
        let wake = tip.as_ref().and_then(|tip| tip.wake);
        let at = tip.as_ref().map_or_else(|| self.clock.now(), |tip| tip.at);
        let format = tip.as_ref().map_or(1, |tip| tip.format);
        let body = adal_actors::row::empty()?;
        let bucket = ticket.bucket();
        let chain: Vec<&JournalRow> = found.chain().collect();
        let unsure = chain.get(unsure(&chain)..).unwrap_or_default();
        // Whoever appends has written what follows from the row before, and so has whoever made a snapshot: the last row in
        // which something was decided is the only one of which that may be missing. However old its bucket is: it may
        // have come late, after an owner in between had looked and not seen it.
        let redo = unsure.first().filter(|row| !row.is_adoption() && row.derived.is_some()).map(|row| (*row).clone());
        let empty = JournalRow { place, parent_epoch, at, format, body, bucket, wake, derived: None };
        let timer = wake.map(|wake| Timers::place(entity, wake, bucket));
        let rows = unsure.iter().map(|row| (*row).clone()).chain([empty]).collect();
        let snapshot = found.snapshot.as_ref().map(|snapshot| snapshot.place);
        state.adopting = Some(Box::new(Adopting { rows, redo, timer, phase: Phase::Fresh, ticket, snapshot }));
        Ok(())
    }

    /// Makes what another owner left ours: its last rows, perhaps unfinished, again and an empty row on them, verified; then
    /// what follows from the last in which something was decided. What was adopted is served from here on, and is in every
    /// later history.
    async fn adopt(&self, entity: &EntityKey, state: &mut Locked, deadline: Instant) -> Result<(), Stop> {
        let Some(adopting) = &mut state.adopting else { return Ok(()) };
        let Some(top) = adopting.rows.last().cloned() else { return Ok(()) };
        let (epoch, seq) = (top.place.epoch, top.place.seq);
        let doubt = Stop::Doubt;
        // What goes with others goes with them once.
        let mut alone = adopting.phase == Phase::Durable;
        if adopting.phase < Phase::Written {
            if let Some(timer) = &adopting.timer {
                let put = || self.timers.put(timer, epoch, seq);
                retry::until(deadline, "timer", put).await.map_err(doubt)?;
            }
            self.list(entity, adopting.ticket.bucket(), epoch, deadline).await.map_err(doubt)?;
            // From below, so that nothing is ever on top of what may be on no quorum.
            for rows in adopting.rows.chunks(ADOPTED_AT_ONCE) {
                let rows: Vec<_> = rows.iter().map(|row| (entity.clone(), row.clone())).collect();
                retry::until(deadline, "adopt", || self.db.insert_rows(&rows)).await.map_err(doubt)?;
            }
            adopting.phase = Phase::Written;
        }
        if adopting.phase < Phase::Durable {
            if self.owner.verify(deadline).await.map_err(doubt)? == Verdict::Lost {
                state.adopting = None;
                state.known = None;
                return Err(Stop::Fenced);
            }
            adopting.phase = Phase::Durable;
            counter!("adal_cql_adopted_total").increment(1);
        }
        if let Some(row) = &adopting.redo {
            let derived = Derived::decode(row).map_err(doubt)?;
            // In our bucket and under our epoch, whatever those of the row are: an earlier owner may drop the row's part of
            // the outbox at any time, and what comes to it then lies under that for ever. What was delivered comes again.
            let at = Where { bucket: top.bucket, row_epoch: epoch };
            let of = Of { entity, seq: row.place.seq, at, epoch };
            let follow = || self.follower.follow(of, &derived, std::mem::replace(&mut alone, true));
            retry::until(deadline, "follow", follow).await.map_err(doubt)?;
        }
        let listed = adopting.ticket.bucket();
        let (timer, snapshot) = (adopting.timer.take(), adopting.snapshot);
        let row = stored(top.clone());
        state.known = Some(Known {
            tip: Some(top.place),
            print: print(&row),
            wake: top.wake,
            timer,
            listed,
            snapshot,
            adopted: Some(row),
        });
        state.adopting = None;
        Ok(())
    }

    async fn list(&self, entity: &EntityKey, bucket: u32, epoch: u64, deadline: Instant) -> Result<(), Failed> {
        let stamp = super::protocol::stamp(epoch, 0);
        let put = || self.db.put_recent(shard_of(entity), bucket, entity, stamp);
        retry::until(deadline, "recent", put).await
    }

    // --- append -------------------------------------------------------------------------------------------------

    pub(super) async fn append(self: &Arc<Self>, append: Append) -> Result<(), StoreError> {
        let entity = append.entity.clone();
        if self.owner.is_lost() {
            return Err(Stop::Fenced.told(&entity));
        }
        let mut state = self.handles.lock(&entity).await;
        self.append_in(append, &mut state).await
    }

    /// Appends to an entity whose handle is held.
    pub(super) async fn append_in(&self, append: Append, state: &mut Locked) -> Result<(), StoreError> {
        let entity = append.entity.clone();
        let deadline = self.deadline();
        let wanted = print(&append.row);
        let seq = append.row.seq;
        let repeats = |pending: &Pending| pending.row.place.seq == seq && pending.print == wanted;
        if state.adopting.is_none() && state.pending.as_deref().is_some_and(repeats) {
            return self.finish(&entity, state, deadline).await.map_err(|stop| stop.told(&entity));
        }
        // Another content than what is in doubt: that one comes first, and this is not its place any more.
        self.settle(&entity, state, deadline).await.map_err(|stop| stop.for_reader(&entity))?;
        let known = self.known(&entity, state, deadline).await?;
        let head = known.tip.map_or(0, |tip| tip.seq);
        if seq != head + 1 {
            return match self.is_there(&entity, &append.row, &known).await? {
                true => Ok(()),
                false => Err(StoreError::Fenced(entity)),
            };
        }
        self.begin_append(append, state, known, deadline).await?;
        self.finish(&entity, state, deadline).await.map_err(|stop| stop.told(&entity))
    }

    /// Whether a row stands in the history as it is here.
    async fn is_there(&self, entity: &EntityKey, row: &StoredRow, known: &Known) -> Result<bool, StoreError> {
        let Some(tip) = known.tip.filter(|tip| row.seq <= tip.seq && row.seq > 0) else { return Ok(false) };
        if row.seq == tip.seq {
            return Ok(print(row) == known.print);
        }
        let there = read::rows(&*self.db, entity, (row.seq, row.seq), 1, false, tip).await?;
        Ok(there.first() == Some(row))
    }

    /// Writes what has to stand before the row: if that fails, nothing of the row was written.
    async fn begin_append(
        &self,
        append: Append,
        state: &mut Locked,
        known: Known,
        deadline: Instant,
    ) -> Result<(), StoreError> {
        let Append { entity, row, views, wake, effects } = append;
        let shard = shard_of(&entity);
        let epoch = self.owner.epoch(shard)?;
        let (place, parent_epoch) = on_top(known.tip, epoch);
        let derived = Derived { views, effects };
        let bytes = derived.encode()?;
        let ticket = self.marks.ticket(shard, epoch, bucket_of(self.clock.now()), deadline).await?;
        let bucket = ticket.bucket();
        let timer = wake.filter(|_| wake != known.wake).map(|wake| Timers::place(&entity, wake, bucket));
        let line = async {
            if place.seq == 1 {
                retry::until(deadline, "entity", || self.db.list_entity(slice_of(shard), &entity)).await?;
            }
            Ok(())
        };
        let timed = async {
            if let Some(timer) = &timer {
                retry::until(deadline, "timer", || self.timers.put(timer, epoch, place.seq)).await?;
            }
            Ok(())
        };
        let listed = async {
            if bucket != known.listed {
                self.list(&entity, bucket, epoch, deadline).await?;
            }
            Ok::<_, Failed>(())
        };
        futures_util::future::try_join3(line, timed, listed).await?;
        if let Some(known) = &mut state.known {
            known.listed = bucket;
        }
        let wanted = print(&row);
        let StoredRow { at, format, body, .. } = row;
        let row = JournalRow { place, parent_epoch, at, format, body, bucket, wake, derived: bytes };
        state.pending = Some(Box::new(Pending { row, print: wanted, derived, timer, phase: Phase::Fresh, ticket }));
        Ok(())
    }

    /// Writes, verifies and follows what is pending, from where it stands.
    async fn finish(&self, entity: &EntityKey, state: &mut Locked, deadline: Instant) -> Result<(), Stop> {
        let Some(pending) = &mut state.pending else { return Ok(()) };
        let Place { seq, epoch } = pending.row.place;
        // What goes with others goes with them once.
        let mut follows_alone = pending.phase == Phase::Durable;
        if pending.phase < Phase::Written {
            let fresh = pending.phase == Phase::Fresh;
            // Before the first try: should this task end in the middle, nobody knows.
            pending.phase = Phase::Doubtful;
            let row = &pending.row;
            let mut alone = !fresh;
            let insert = || self.together.insert_row(entity, row, std::mem::replace(&mut alone, true));
            match retry::until(deadline, "append", insert).await {
                Ok(()) => pending.phase = Phase::Written,
                Err(failed @ Failed::NotDone(_)) if fresh => {
                    state.pending = None;
                    return Err(Stop::Nothing(failed));
                }
                Err(failed) => return Err(Stop::Doubt(failed)),
            }
        }
        if pending.phase < Phase::Durable {
            if self.owner.verify(deadline).await.map_err(Stop::Doubt)? == Verdict::Lost {
                tracing::warn!(%entity, seq, epoch, "fenced: a row was written and does not count, another has the entity");
                state.pending = None;
                state.known = None;
                return Err(Stop::Fenced);
            }
            pending.phase = Phase::Durable;
        }
        let of = Of { entity, seq, at: Where { bucket: pending.row.bucket, row_epoch: epoch }, epoch };
        let derived = &pending.derived;
        if !derived.effects.is_empty() {
            self.outbox.remember(entity, seq, of.at);
        }
        let follow = || self.follower.follow(of, derived, std::mem::replace(&mut follows_alone, true));
        retry::until(deadline, "follow", follow).await.map_err(Stop::Doubt)?;
        self.landed(state);
        Ok(())
    }

    /// What was pending is done, with all that follows from it.
    fn landed(&self, state: &mut Locked) {
        let Some(pending) = state.pending.take() else { return };
        let Pending { row, print, timer, ticket, .. } = *pending;
        let Some(known) = &mut state.known else { return };
        let Place { seq, epoch } = row.place;
        let replaced = if row.wake == known.wake { None } else { std::mem::replace(&mut known.timer, timer) };
        (known.tip, known.print, known.wake, known.adopted) = (Some(row.place), print, row.wake, None);
        drop(ticket);
        counter!("adal_journal_rows_total").increment(1);
        self.rows.fetch_add(1, Ordering::Relaxed);
        if let Some(replaced) = replaced {
            let timers = Arc::clone(&self.timers);
            tokio::spawn(async move { timers.delete(&replaced, epoch, seq).await });
        }
    }

    // --- snapshots and reads ------------------------------------------------------------------------------------

    pub(super) async fn snapshot(
        self: &Arc<Self>,
        entity: &EntityKey,
        snapshot: StoredSnapshot,
    ) -> Result<(), StoreError> {
        let mut state = self.handles.lock(entity).await;
        let known = self.known(entity, &mut state, self.deadline()).await?;
        let StoredSnapshot { seq, format, body } = snapshot;
        let Some(tip) = known.tip.filter(|tip| seq <= tip.seq) else {
            return Err(StoreError::Unavailable(format!("{entity}: a snapshot of a row that is not there").into()));
        };
        if known.snapshot.is_some_and(|latest| latest.seq > seq) {
            return Ok(());
        }
        let place = match seq == tip.seq {
            true => tip,
            false => {
                let gone = || StoreError::Unavailable(format!("{entity}: row {seq} is not there").into());
                read::place_of(&*self.db, entity, seq, tip).await?.ok_or_else(gone)?.place
            }
        };
        self.db.put_snapshot(entity, &SnapshotRow { place, format, body }).await?;
        let before = known.snapshot.filter(|before| before.seq < seq);
        if let Some(known) = &mut state.known {
            known.snapshot = Some(place);
        }
        drop(state);
        // The latest two are kept.
        if let Some(before) = before
            && let Err(error) = self.db.delete_snapshots(entity, before.seq).await
        {
            tracing::debug!(%entity, %error, "old snapshots stay for now");
        }
        Ok(())
    }

    /// The tip of an entity's history as far as it is durable.
    pub(super) async fn tip(self: &Arc<Self>, entity: &EntityKey) -> Result<Option<Place>, StoreError> {
        if self.owner.has_ended() {
            // What is there now is another's, and need not be durable.
            self.owner.epoch(shard_of(entity))?;
        }
        if self.owner.claimed().is_none() {
            return read::tip(&*self.db, entity).await;
        }
        if let Some(tip) = self.handles.tip(entity) {
            return Ok(tip);
        }
        let mut state = self.handles.lock(entity).await;
        Ok(self.known(entity, &mut state, self.deadline()).await?.tip)
    }

    /// How an entity's journal ends: what is in doubt of it comes first, where that is not known.
    async fn known(&self, entity: &EntityKey, state: &mut Locked, deadline: Instant) -> Result<Known, StoreError> {
        if state.known.is_none() {
            self.settle(entity, state, deadline).await.map_err(|stop| stop.for_reader(entity))?;
        }
        if state.known.is_none() {
            self.load(entity, state, deadline).await?;
        }
        state.known.clone().ok_or_else(|| StoreError::Unavailable("the entity was not loaded".into()))
    }
}

pub(super) fn opened(found: &Found) -> Opened {
    let snapshot = found.snapshot.as_ref().map(|snapshot| StoredSnapshot {
        seq: snapshot.place.seq,
        format: snapshot.format,
        body: snapshot.body.clone(),
    });
    Opened { snapshot, rows: found.chain().cloned().map(stored).collect(), damaged: None }
}
