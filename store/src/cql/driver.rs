//! [`Database`] on a session with a real database: each method is its statement, and what was found made plain.
//!
//! Holds nothing but the session and the prepared statements.

use std::sync::Arc;

use adal_actors::ports::{ApiKeyRecord, BannerCounts, CodeJob, JobState};
use adal_domain::{
    entity::{Effect, EntityKey, EntityKind, View},
    ids::{Actor, OfferId},
    time::{Day, Timestamp},
};
use async_trait::async_trait;
use futures_util::{StreamExt, TryStreamExt, stream};
use scylla::{
    response::{PagingState, query_result::QueryRowsResult},
    statement::Consistency,
    value::{MaybeUnset, Row},
};

use super::{
    config::{CqlConfig, CqlError},
    db::{
        Beat, ClusterRow, CodeJobRow, CountRow, Cursor, Database, Failed, JournalRow, KeyRow, Link, ListLine, ListPart,
        OutboxPlace, OutboxRow, Place, Queue, Scanned, SnapshotRow, StampedView, Stretch, Table, TimerRow, ViewEntry,
        Watermark,
    },
    failure::{Kind, chain},
    migrate,
    session::Session,
    statements::Statements,
    together::{self, Load},
};

/// Statements of one call that are under way at once.
const AT_ONCE: usize = 64;
/// Rows of one batch of one partition: this is about the size of a message alone.
const BATCH: usize = 200;

type Done = Result<(), Failed>;

/// See the module.
#[derive(Debug)]
pub(super) struct Driver {
    session: Arc<Session>,
    on: Statements,
}

/// The database of a configuration: connected, with the tables that this version needs, all statements prepared.
///
/// # Errors
/// A configuration without sense, no node that answers and lets us in, tables that are older or newer.
pub async fn open(config: CqlConfig) -> Result<Arc<dyn Database>, CqlError> {
    let session = Session::connect(config).await?;
    migrate::check(&session).await?;
    Ok(Arc::new(Driver::new(session).await?))
}

impl Driver {
    /// Prepares all statements.
    pub(super) async fn new(session: Arc<Session>) -> Result<Self, Failed> {
        let mut on = Statements::prepare(&session).await?;
        on.cluster_settled.set_consistency(Consistency::LocalSerial);
        Ok(Self { session, on })
    }

    async fn cluster_row(&self, statement: &super::session::Statement) -> Result<Option<ClusterRow>, Failed> {
        let found = self.session.rows::<(i64, Vec<u8>, Vec<u8>)>(statement, ()).await?;
        let row =
            |(version, members, owners): (i64, _, _)| ClusterRow { version: version.cast_unsigned(), members, owners };
        Ok(found.into_iter().next().map(row))
    }
}

/// A number as CQL has it. What is stored here stays below 2^63: seq, epochs, versions.
const fn big(number: u64) -> i64 {
    number.cast_signed()
}

/// The bucket after which a list of them begins: they count from 0.
fn behind(after: Option<u32>) -> i32 {
    after.map_or(-1, |after| i32::try_from(after).unwrap_or(i32::MAX))
}

fn most(limit: usize) -> i32 {
    i32::try_from(limit).unwrap_or(i32::MAX)
}

fn damaged(what: &str) -> Failed {
    Failed::Unreadable(what.into())
}

fn small(number: i64, what: &str) -> Result<u64, Failed> {
    u64::try_from(number).map_err(|_| damaged(&format!("{what} is {number}")))
}

fn bucket(number: i32) -> Result<u32, Failed> {
    u32::try_from(number).map_err(|_| damaged(&format!("a bucket is {number}")))
}

fn format(number: i32) -> Result<u16, Failed> {
    u16::try_from(number).map_err(|_| damaged(&format!("a format is {number}")))
}

fn entity(kind: &str, id: &str) -> Result<EntityKey, Failed> {
    let known = EntityKind::parse(kind).ok_or_else(|| damaged(&format!("no kind is called {kind:?}")))?;
    Ok(EntityKey::new(known, id))
}

fn in_queue(queue: Queue) -> (i32, i32) {
    (i32::from(queue.slice), queue.bucket.cast_signed())
}

/// What the parts of lists are called that have one filter.
const FILTERED: &str = "filter";

/// The view of this name.
fn named(name: &str) -> Result<View, Failed> {
    let view = View::ALL.into_iter().find(|view| view.as_str() == name);
    view.ok_or_else(|| damaged(&format!("no view is called {name:?}")))
}

/// The part of a list, and its filter: `all` has one of its own, which no filter can be mistaken for.
fn part<'a>(list: ListPart<'a>) -> (&'static str, &'static str, &'a str, i32) {
    let (part, filter) = list.filter.map_or(("all", ""), |filter| (FILTERED, filter));
    (list.view.as_str(), part, filter, i32::from(list.slice))
}

/// What a conditional statement answered.
fn applied(answer: &QueryRowsResult) -> Result<bool, Failed> {
    // It was done or not: only that we cannot tell.
    let lost = |why: &str| Failed::Unknown(why.into());
    let (place, _) =
        answer.column_specs().get_by_name("[applied]").ok_or_else(|| lost("no [applied] in the answer"))?;
    let row: Row = answer.first_row().map_err(|error| lost(&chain(&error)))?;
    let value = row.columns.get(place).and_then(Option::as_ref).and_then(scylla::value::CqlValue::as_boolean);
    value.ok_or_else(|| lost("[applied] is not a boolean"))
}

type StoredRow = (i64, i64, i64, i64, i32, Vec<u8>, i32, Option<i64>, Option<Vec<u8>>);

fn journal_row(row: StoredRow) -> Result<JournalRow, Failed> {
    let (seq, epoch, parent_epoch, at, format_number, body, in_bucket, wake, derived) = row;
    Ok(JournalRow {
        place: Place { seq: small(seq, "a row's seq")?, epoch: small(epoch, "a row's epoch")? },
        parent_epoch: small(parent_epoch, "a row's parent")?,
        at: Timestamp(at),
        format: format(format_number)?,
        body,
        bucket: bucket(in_bucket)?,
        wake: wake.map(Timestamp),
        derived,
    })
}

type Owed = (String, String, i64, i32, String, String, Vec<u8>);

fn owed((kind, id, seq, index, target_kind, target_id, command): Owed) -> Result<OutboxRow, Failed> {
    let index = u32::try_from(index).map_err(|_| damaged("the index of an effect is negative"))?;
    let place = OutboxPlace { source: entity(&kind, &id)?, seq: small(seq, "the seq of an effect")?, index };
    Ok(OutboxRow { place, effect: Effect { target: entity(&target_kind, &target_id)?, command } })
}

fn view_entry(row: (String, String, String, String, i64, Vec<u8>)) -> Result<ViewEntry, Failed> {
    let (key, filter, kind, id, seq, value) = row;
    Ok(ViewEntry { key, filter, entity: entity(&kind, &id)?, seq: small(seq, "a view's seq")?, value })
}

type StoredKey = (String, Vec<u8>, String, Option<String>, i64, Option<i64>, Option<String>, i64);

fn key_row((id, hash, role, shop, created_at, revoked_at, label, stamp): StoredKey) -> Result<KeyRow, Failed> {
    let hash = hash.try_into().map_err(|_| damaged(&format!("the hash of key {id} has not 32 bytes")))?;
    let (created_at, revoked_at) = (Timestamp(created_at), revoked_at.map(Timestamp));
    Ok(KeyRow { record: ApiKeyRecord { id, hash, role, shop, created_at, revoked_at, label }, stamp })
}

type StoredJob = (String, String, String, i64, i64, i64, String, String, i64, Vec<u8>, Option<Vec<u8>>);

fn code_job_row(row: StoredJob) -> Result<CodeJobRow, Failed> {
    let (id, offer, prefix, start, count, done, state, actor, at, print, pending) = row;
    let bad = |what: &str| damaged(&format!("{what} of job {id}"));
    let job = CodeJob {
        offer: OfferId::new(&offer).map_err(|_| bad("the offer"))?,
        prefix,
        // A stretch of codes, which may begin anywhere: all 64 bits are used.
        start: start.cast_unsigned(),
        count: small(count, "a job's count")?,
        done: small(done, "a job's done")?,
        state: JobState::ALL.into_iter().find(|known| known.as_str() == state).ok_or_else(|| bad("the state"))?,
        by: Actor::new(&actor).map_err(|_| bad("the actor"))?,
        at: Timestamp(at),
        print: print.try_into().map_err(|_| bad("the print"))?,
        id,
    };
    Ok(CodeJobRow { job, pending })
}

type ViewValues<'a> = (&'a str, &'a str, &'a str, &'a str, &'a str, i64, &'a [u8], i64);

fn view_values(row: &StampedView) -> ViewValues<'_> {
    let StampedView { view, entry, stamp } = row;
    let (of, seq) = (&entry.entity, big(entry.seq));
    (view.as_str(), &entry.key, &entry.filter, of.kind.as_str(), &*of.id, seq, &entry.value, *stamp)
}

/// How many of `rows`, which are not empty, go into one batch.
fn views_at_once(rows: &[StampedView]) -> usize {
    let mut bytes = 0;
    let fits = rows.iter().take(together::ROWS).take_while(|row| {
        bytes += row.bytes();
        bytes <= together::BYTES
    });
    fits.count().max(1)
}

#[async_trait]
impl Database for Driver {
    fn datacenter(&self) -> Option<&str> {
        self.session.config().local_datacenter.as_deref()
    }

    fn home(&self, table: Table, first: &str, second: &str) -> u64 {
        let name = match table {
            Table::Journal => "journal",
            Table::ViewRow => "view_row",
        };
        self.session.home(name, (first, second))
    }

    async fn cluster(&self) -> Result<Option<ClusterRow>, Failed> {
        self.cluster_row(&self.on.cluster).await
    }

    async fn cluster_settled(&self) -> Result<Option<ClusterRow>, Failed> {
        self.cluster_row(&self.on.cluster_settled).await
    }

    async fn cluster_version(&self) -> Result<Option<u64>, Failed> {
        let found = self.session.rows::<(i64,)>(&self.on.cluster_version, ()).await?;
        Ok(found.first().map(|(version,)| version.cast_unsigned()))
    }

    async fn create_cluster(&self, row: &ClusterRow) -> Result<bool, Failed> {
        let values = (big(row.version), &row.members, &row.owners);
        applied(&self.session.conditional(&self.on.create_cluster, values).await?)
    }

    async fn change_cluster(&self, from: u64, row: &ClusterRow) -> Result<bool, Failed> {
        let values = (big(row.version), &row.members, &row.owners, big(from));
        applied(&self.session.conditional(&self.on.change_cluster, values).await?)
    }

    async fn put_beat(&self, beat: &Beat) -> Done {
        let values = (&beat.member, big(beat.beat), beat.at.0, big(beat.beat));
        self.session.write(&self.on.put_beat, values).await
    }

    async fn beats(&self) -> Result<Vec<Beat>, Failed> {
        let found = self.session.rows::<(String, i64, i64)>(&self.on.beats, ()).await?;
        let beat = |(member, beat, at)| Ok(Beat { member, beat: small(beat, "a beat")?, at: Timestamp(at) });
        found.into_iter().map(beat).collect()
    }

    async fn delete_beat(&self, member: &str, beat: u64) -> Done {
        self.session.write(&self.on.delete_beat, (big(beat), member)).await
    }

    async fn insert_row(&self, entity: &EntityKey, row: &JournalRow) -> Done {
        self.session.write(&self.on.insert_row, row_values(entity, row)).await
    }

    async fn insert_rows(&self, rows: &[(EntityKey, JournalRow)]) -> Done {
        let of_one = rows.windows(2).all(|pair| pair[0].0 == pair[1].0);
        let kind = if of_one { Kind::Write } else { Kind::Several };
        let values = rows.iter().map(|(entity, row)| row_values(entity, row)).collect();
        self.session.batch(&self.on.insert_row, kind, values).await
    }

    async fn rows(&self, entity: &EntityKey, stretch: Stretch) -> Result<Vec<JournalRow>, Failed> {
        let statement = if stretch.descending { &self.on.rows_descending } else { &self.on.rows };
        if stretch.limit == 0 {
            return Ok(Vec::new());
        }
        let found = self.session.rows::<StoredRow>(statement, stretch_values(entity, &stretch)).await?;
        found.into_iter().map(journal_row).collect()
    }

    async fn links(&self, entity: &EntityKey, stretch: Stretch) -> Result<Vec<Link>, Failed> {
        let statement = if stretch.descending { &self.on.links_descending } else { &self.on.links };
        if stretch.limit == 0 {
            return Ok(Vec::new());
        }
        let values = stretch_values(entity, &stretch);
        let found = self.session.rows::<(i64, i64, i64, i64, i32)>(statement, values).await?;
        let link = |(seq, epoch, parent_epoch, at, in_bucket)| {
            Ok(Link {
                place: Place { seq: small(seq, "a row's seq")?, epoch: small(epoch, "a row's epoch")? },
                parent_epoch: small(parent_epoch, "a row's parent")?,
                at: Timestamp(at),
                bucket: bucket(in_bucket)?,
            })
        };
        found.into_iter().map(link).collect()
    }

    async fn put_snapshot(&self, entity: &EntityKey, snapshot: &SnapshotRow) -> Done {
        let (place, format) = (snapshot.place, i32::from(snapshot.format));
        let values = (entity.kind.as_str(), &*entity.id, big(place.seq), big(place.epoch), format, &snapshot.body);
        self.session.write(&self.on.put_snapshot, values).await
    }

    async fn snapshots(&self, entity: &EntityKey, limit: usize) -> Result<Vec<SnapshotRow>, Failed> {
        if limit == 0 {
            return Ok(Vec::new());
        }
        let values = (entity.kind.as_str(), &*entity.id, most(limit));
        let found = self.session.rows::<(i64, i64, i32, Vec<u8>)>(&self.on.snapshots, values).await?;
        let snapshot = |(seq, epoch, number, body)| {
            let place = Place { seq: small(seq, "a snapshot's seq")?, epoch: small(epoch, "a snapshot's epoch")? };
            Ok(SnapshotRow { place, format: format(number)?, body })
        };
        found.into_iter().map(snapshot).collect()
    }

    async fn delete_snapshots(&self, entity: &EntityKey, below: u64) -> Done {
        self.session.write(&self.on.delete_snapshots, (entity.kind.as_str(), &*entity.id, big(below))).await
    }

    async fn list_entity(&self, slice: u8, entity: &EntityKey) -> Done {
        self.session.write(&self.on.list_entity, (entity.kind.as_str(), i32::from(slice), &*entity.id)).await
    }

    async fn entities(
        &self,
        kind: EntityKind,
        slice: u8,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<EntityKey>, Failed> {
        if limit == 0 {
            return Ok(Vec::new());
        }
        // No id is empty.
        let values = (kind.as_str(), i32::from(slice), after.unwrap_or_default(), most(limit));
        let found = self.session.rows::<(String,)>(&self.on.entities, values).await?;
        Ok(found.into_iter().map(|(id,)| EntityKey::new(kind, &id)).collect())
    }

    async fn put_recent(&self, shard: u16, bucket: u32, entity: &EntityKey, stamp: i64) -> Done {
        let values = (i32::from(shard), bucket.cast_signed(), entity.kind.as_str(), &*entity.id, stamp);
        self.session.write(&self.on.put_recent, values).await
    }

    async fn recent(
        &self,
        shard: u16,
        bucket: u32,
        after: Option<&EntityKey>,
        limit: usize,
    ) -> Result<Vec<EntityKey>, Failed> {
        if limit == 0 {
            return Ok(Vec::new());
        }
        let (kind, id) = after.map_or(("", ""), |after| (after.kind.as_str(), &*after.id));
        let values = (i32::from(shard), bucket.cast_signed(), kind, id, most(limit));
        let found = self.session.rows::<(String, String)>(&self.on.recent, values).await?;
        found.into_iter().map(|(kind, id)| entity(&kind, &id)).collect()
    }

    async fn drop_recent(&self, shard: u16, bucket: u32, stamp: i64) -> Done {
        self.session.write(&self.on.drop_recent, (stamp, i32::from(shard), bucket.cast_signed())).await
    }

    async fn put_watermark(&self, mark: &Watermark) -> Done {
        let stamp = i64::from(mark.done_bucket) + i64::from(mark.highest_bucket);
        let (done, highest) = (mark.done_bucket.cast_signed(), mark.highest_bucket.cast_signed());
        let values = (i32::from(mark.shard), big(mark.epoch), done, highest, stamp);
        self.session.write(&self.on.put_watermark, values).await
    }

    async fn watermarks(&self, shard: u16, limit: usize) -> Result<Vec<Watermark>, Failed> {
        if limit == 0 {
            return Ok(Vec::new());
        }
        let values = (i32::from(shard), most(limit));
        let found = self.session.rows::<(i64, i32, i32)>(&self.on.watermarks, values).await?;
        let mark = |(epoch, done, highest)| {
            let (done_bucket, highest_bucket) = (bucket(done)?, bucket(highest)?);
            Ok(Watermark { shard, epoch: small(epoch, "a watermark's epoch")?, done_bucket, highest_bucket })
        };
        found.into_iter().map(mark).collect()
    }

    async fn delete_watermarks(&self, shard: u16, epoch: u64) -> Done {
        self.session.write(&self.on.delete_watermarks, (i32::from(shard), big(epoch))).await
    }

    async fn put_timer(&self, queue: Queue, timer: &TimerRow, stamp: i64) -> Done {
        let ((slice, bucket), of) = (in_queue(queue), &timer.entity);
        let values = (slice, bucket, timer.wake.0, of.kind.as_str(), &*of.id, stamp);
        self.session.write(&self.on.put_timer, values).await
    }

    async fn delete_timer(&self, queue: Queue, timer: &TimerRow, stamp: i64) -> Done {
        let ((slice, bucket), of) = (in_queue(queue), &timer.entity);
        let values = (stamp, slice, bucket, timer.wake.0, of.kind.as_str(), &*of.id);
        self.session.write(&self.on.delete_timer, values).await
    }

    async fn timers(
        &self,
        queue: Queue,
        after: Option<&TimerRow>,
        until: Timestamp,
        limit: usize,
    ) -> Result<Vec<TimerRow>, Failed> {
        if limit == 0 {
            return Ok(Vec::new());
        }
        let (slice, bucket) = in_queue(queue);
        let (wake, kind, id) =
            after.map_or((i64::MIN, "", ""), |after| (after.wake.0, after.entity.kind.as_str(), &*after.entity.id));
        let values = (slice, bucket, wake, kind, id, until.0, most(limit));
        let found = self.session.rows::<(i64, String, String)>(&self.on.timers, values).await?;
        let timer =
            |(wake, kind, id): (_, String, String)| Ok(TimerRow { wake: Timestamp(wake), entity: entity(&kind, &id)? });
        found.into_iter().map(timer).collect()
    }

    async fn put_timer_bucket(&self, queue: Queue, stamp: i64) -> Done {
        let (slice, bucket) = in_queue(queue);
        self.session.write(&self.on.put_timer_bucket, (slice, bucket, stamp)).await
    }

    async fn timer_buckets(&self, slice: u8, after: Option<u32>, until: u32, limit: usize) -> Result<Vec<u32>, Failed> {
        if limit == 0 {
            return Ok(Vec::new());
        }
        let until = i32::try_from(until).unwrap_or(i32::MAX);
        let values = (i32::from(slice), behind(after), until, most(limit));
        let found = self.session.rows::<(i32,)>(&self.on.timer_buckets, values).await?;
        found.into_iter().map(|(number,)| bucket(number)).collect()
    }

    async fn drop_timer_bucket(&self, queue: Queue, stamp: i64) -> Done {
        let (slice, bucket) = in_queue(queue);
        self.session.write(&self.on.drop_timers, (stamp, slice, bucket)).await?;
        self.session.write(&self.on.delete_timer_bucket, (stamp, slice, bucket)).await
    }

    async fn put_outbox(&self, queue: Queue, rows: &[OutboxRow], stamp: i64) -> Done {
        let (slice, bucket) = in_queue(queue);
        for rows in rows.chunks(BATCH) {
            let values = rows.iter().map(|OutboxRow { place, effect }| {
                let (kind, id) = (place.source.kind.as_str(), &*place.source.id);
                let (target_kind, target_id) = (effect.target.kind.as_str(), &*effect.target.id);
                let (seq, index) = (big(place.seq), place.index.cast_signed());
                (slice, bucket, kind, id, seq, index, target_kind, target_id, &effect.command, stamp)
            });
            self.session.batch(&self.on.put_outbox, Kind::Write, values.collect()).await?;
        }
        Ok(())
    }

    async fn delete_outbox(&self, queue: Queue, places: &[OutboxPlace], stamp: i64) -> Done {
        let (slice, bucket) = in_queue(queue);
        for places in places.chunks(BATCH) {
            let values = places.iter().map(|place| {
                let (kind, id) = (place.source.kind.as_str(), &*place.source.id);
                (stamp, slice, bucket, kind, id, big(place.seq), place.index.cast_signed())
            });
            self.session.batch(&self.on.delete_outbox, Kind::Write, values.collect()).await?;
        }
        Ok(())
    }

    async fn outbox(&self, queue: Queue, after: Option<&OutboxPlace>, limit: usize) -> Result<Vec<OutboxRow>, Failed> {
        if limit == 0 {
            return Ok(Vec::new());
        }
        let (slice, bucket) = in_queue(queue);
        let (kind, id, seq, index) = after.map_or(("", "", 0, 0), |after| {
            (after.source.kind.as_str(), &*after.source.id, big(after.seq), after.index.cast_signed())
        });
        let values = (slice, bucket, kind, id, seq, index, most(limit));
        self.session.rows::<Owed>(&self.on.outbox, values).await?.into_iter().map(owed).collect()
    }

    async fn outbox_of(&self, queue: Queue, after: &OutboxPlace, limit: usize) -> Result<Vec<OutboxRow>, Failed> {
        if limit == 0 {
            return Ok(Vec::new());
        }
        let (slice, bucket) = in_queue(queue);
        let (kind, id) = (after.source.kind.as_str(), &*after.source.id);
        let values = (slice, bucket, kind, id, big(after.seq), after.index.cast_signed(), most(limit));
        self.session.rows::<Owed>(&self.on.outbox_of, values).await?.into_iter().map(owed).collect()
    }

    async fn put_outbox_bucket(&self, queue: Queue, stamp: i64) -> Done {
        let (slice, bucket) = in_queue(queue);
        self.session.write(&self.on.put_outbox_bucket, (slice, bucket, stamp)).await
    }

    async fn outbox_buckets(&self, slice: u8, after: Option<u32>, limit: usize) -> Result<Vec<u32>, Failed> {
        if limit == 0 {
            return Ok(Vec::new());
        }
        let values = (i32::from(slice), behind(after), most(limit));
        let found = self.session.rows::<(i32,)>(&self.on.outbox_buckets, values).await?;
        found.into_iter().map(|(number,)| bucket(number)).collect()
    }

    async fn drop_outbox_bucket(&self, queue: Queue, stamp: i64) -> Done {
        let (slice, bucket) = in_queue(queue);
        self.session.write(&self.on.drop_outbox, (stamp, slice, bucket)).await?;
        self.session.write(&self.on.delete_outbox_bucket, (stamp, slice, bucket)).await
    }

    async fn put_views(&self, rows: &[StampedView]) -> Done {
        let (mut parts, mut rest) = (Vec::new(), rows);
        while !rest.is_empty() {
            let (part, after) = rest.split_at(views_at_once(rest));
            parts.push(part);
            rest = after;
        }
        let each = parts.into_iter().map(|part| async move {
            match part {
                [row] => self.session.write(&self.on.put_view, view_values(row)).await,
                rows => {
                    let values = rows.iter().map(view_values).collect();
                    self.session.batch(&self.on.put_view, Kind::Several, values).await
                }
            }
        });
        // To the end, whatever becomes of the others: none is dropped under way.
        together::all(stream::iter(each.collect::<Vec<_>>()).buffer_unordered(AT_ONCE).collect().await)
    }

    async fn delete_view(&self, view: View, key: &str, stamp: i64) -> Done {
        self.session.write(&self.on.delete_view, (stamp, view.as_str(), key)).await
    }

    async fn view(&self, view: View, key: &str) -> Result<Option<ViewEntry>, Failed> {
        let found = self.session.rows(&self.on.view, (view.as_str(), key)).await?;
        found.into_iter().next().map(view_entry).transpose()
    }

    async fn views(&self, view: View, keys: &[&str]) -> Result<Vec<ViewEntry>, Failed> {
        let found = self.session.rows(&self.on.views, (view.as_str(), keys)).await?;
        found.into_iter().map(view_entry).collect()
    }

    async fn scan_views(&self, cursor: Option<&Cursor>, limit: usize) -> Result<Scanned<(View, ViewEntry)>, Failed> {
        type Stored = (String, String, String, String, String, i64, Vec<u8>);
        let from = cursor.map_or_else(PagingState::start, |cursor| PagingState::new_from_raw_bytes(&*cursor.0));
        let mut found = Vec::new();
        let next = self.session.page::<Stored>(&self.on.scan_views, (), from, Some(most(limit)), &mut found).await?;
        let entry = |(name, key, filter, kind, id, seq, value): Stored| {
            Ok((named(&name)?, view_entry((key, filter, kind, id, seq, value))?))
        };
        let next = next.and_then(|next| next.as_bytes_slice().map(|bytes| Cursor(bytes.to_vec())));
        Ok(Scanned { found: found.into_iter().map(entry).collect::<Result<_, Failed>>()?, next })
    }

    async fn scan_view_lists(&self, cursor: Option<&Cursor>, limit: usize) -> Result<Scanned<ListLine>, Failed> {
        type Stored = (String, String, String, i32, String, String, String, String, i64, Vec<u8>);
        let from = cursor.map_or_else(PagingState::start, |cursor| PagingState::new_from_raw_bytes(&*cursor.0));
        let mut found = Vec::new();
        let size = Some(most(limit));
        let next = self.session.page::<Stored>(&self.on.scan_view_lists, (), from, size, &mut found).await?;
        let line = |(name, part, filter, slice, key, row_filter, kind, id, seq, value): Stored| {
            Ok(ListLine {
                view: named(&name)?,
                filter: (part == FILTERED).then_some(filter),
                slice: u8::try_from(slice).map_err(|_| damaged("a list of a slice that there is not"))?,
                entry: view_entry((key, row_filter, kind, id, seq, value))?,
            })
        };
        let next = next.and_then(|next| next.as_bytes_slice().map(|bytes| Cursor(bytes.to_vec())));
        Ok(Scanned { found: found.into_iter().map(line).collect::<Result<_, Failed>>()?, next })
    }

    async fn put_view_list(&self, list: ListPart<'_>, entry: &ViewEntry, stamp: i64) -> Done {
        let (name, part, filter, slice) = part(list);
        let (kind, id, seq) = (entry.entity.kind.as_str(), &*entry.entity.id, big(entry.seq));
        let values = (name, part, filter, slice, &entry.key, &entry.filter, kind, id, seq, &entry.value, stamp);
        self.session.write(&self.on.put_view_list, values).await
    }

    async fn delete_view_list(&self, list: ListPart<'_>, key: &str, stamp: i64) -> Done {
        let (name, part, filter, slice) = part(list);
        self.session.write(&self.on.delete_view_list, (stamp, name, part, filter, slice, key)).await
    }

    async fn view_list(
        &self,
        list: ListPart<'_>,
        before: Option<&str>,
        limit: usize,
    ) -> Result<Vec<ViewEntry>, Failed> {
        if limit == 0 {
            return Ok(Vec::new());
        }
        let (name, part, filter, slice) = part(list);
        let found = match before {
            None => self.session.rows(&self.on.view_list, (name, part, filter, slice, most(limit))).await?,
            Some(before) => {
                let values = (name, part, filter, slice, before, most(limit));
                self.session.rows(&self.on.view_list_before, values).await?
            }
        };
        found.into_iter().map(view_entry).collect()
    }

    async fn put_codes(&self, codes: &[String], job: &str, stamp: i64) -> Done {
        let each = codes.iter().map(|code| self.session.write(&self.on.put_code, (code, job, stamp)));
        stream::iter(each.collect::<Vec<_>>()).buffer_unordered(AT_ONCE).try_collect().await
    }

    async fn code(&self, code: &str) -> Result<Option<String>, Failed> {
        let found = self.session.rows::<(String,)>(&self.on.code, (code,)).await?;
        Ok(found.into_iter().next().map(|(job,)| job))
    }

    async fn codes(&self, codes: &[String]) -> Result<Vec<Option<String>>, Failed> {
        let each = codes.iter().map(|code| self.code(code));
        stream::iter(each.collect::<Vec<_>>()).buffered(AT_ONCE).try_collect().await
    }

    async fn put_codes_of_job(&self, job: &str, chunk: u32, codes: &[String]) -> Done {
        for codes in codes.chunks(BATCH) {
            let values = codes.iter().map(|code| (job, chunk.cast_signed(), code));
            self.session.batch(&self.on.put_code_of_job, Kind::Write, values.collect()).await?;
        }
        Ok(())
    }

    async fn codes_of_job(
        &self,
        job: &str,
        chunk: u32,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<String>, Failed> {
        if limit == 0 {
            return Ok(Vec::new());
        }
        let values = (job, chunk.cast_signed(), after.unwrap_or_default(), most(limit));
        let found = self.session.rows::<(String,)>(&self.on.codes_of_job, values).await?;
        Ok(found.into_iter().map(|(code,)| code).collect())
    }

    async fn put_code_job(&self, row: &CodeJobRow, stamp: i64) -> Done {
        let CodeJobRow { job, pending } = row;
        let (start, count, done) = (big(job.start), big(job.count), big(job.done));
        let (state, actor, print) = (job.state.as_str(), job.by.as_str(), job.print.as_slice());
        let values = (
            &job.id,
            job.offer.as_str(),
            &job.prefix,
            start,
            count,
            done,
            state,
            actor,
            job.at.0,
            print,
            pending,
            stamp,
        );
        self.session.write(&self.on.put_code_job, values).await
    }

    async fn code_job(&self, id: &str) -> Result<Option<CodeJobRow>, Failed> {
        let found = self.session.rows::<StoredJob>(&self.on.code_job, (id,)).await?;
        found.into_iter().next().map(code_job_row).transpose()
    }

    async fn put_offer_job(&self, offer: &str, job: &str) -> Done {
        self.session.write(&self.on.put_offer_job, (offer, job)).await
    }

    async fn all_jobs(&self) -> Result<Vec<String>, Failed> {
        let found = self.session.rows::<(String,)>(&self.on.all_jobs, ()).await?;
        Ok(found.into_iter().map(|(id,)| id).collect())
    }

    async fn counted(&self) -> Result<Vec<String>, Failed> {
        let found = self.session.rows::<(String,)>(&self.on.counted, ()).await?;
        Ok(found.into_iter().map(|(banner,)| banner).collect())
    }

    async fn offer_jobs(&self, offer: &str) -> Result<Vec<String>, Failed> {
        let found = self.session.rows::<(String,)>(&self.on.offer_jobs, (offer,)).await?;
        Ok(found.into_iter().map(|(job,)| job).collect())
    }

    async fn put_open_job(&self, at: Timestamp, job: &str, stamp: i64) -> Done {
        self.session.write(&self.on.put_open_job, (at.0, job, stamp)).await
    }

    async fn delete_open_job(&self, at: Timestamp, job: &str, stamp: i64) -> Done {
        self.session.write(&self.on.delete_open_job, (stamp, at.0, job)).await
    }

    async fn open_jobs(&self, limit: usize) -> Result<Vec<(Timestamp, String)>, Failed> {
        if limit == 0 {
            return Ok(Vec::new());
        }
        let found = self.session.rows::<(i64, String)>(&self.on.open_jobs, (most(limit),)).await?;
        Ok(found.into_iter().map(|(at, job)| (Timestamp(at), job)).collect())
    }

    async fn put_count(&self, banner: &str, row: &CountRow, stamp: i64) -> Done {
        let BannerCounts { servings, impressions, clicks } = row.counts;
        let values = (banner, row.day.0, &row.member, big(servings), big(impressions), big(clicks), stamp);
        self.session.write(&self.on.put_count, values).await
    }

    async fn counts(&self, banner: &str, before: Option<Day>, limit: usize) -> Result<Vec<CountRow>, Failed> {
        type Stored = (i32, String, i64, i64, i64);
        if limit == 0 {
            return Ok(Vec::new());
        }
        let values = (banner, before.map_or(i32::MAX, |day| day.0), most(limit));
        let found = self.session.rows::<Stored>(&self.on.counts, values).await?;
        let row = |(day, member, servings, impressions, clicks): Stored| {
            let counts = BannerCounts {
                servings: small(servings, "servings")?,
                impressions: small(impressions, "impressions")?,
                clicks: small(clicks, "clicks")?,
            };
            Ok(CountRow { day: Day(day), member, counts })
        };
        found.into_iter().map(row).collect()
    }

    async fn put_key(&self, row: &KeyRow) -> Done {
        let KeyRow { record, stamp } = row;
        let (created, revoked) = (record.created_at.0, record.revoked_at.map(|at| at.0));
        let (hash, stamp) = (record.hash.as_slice(), *stamp);
        let values = (&record.id, hash, &record.role, &record.shop, created, revoked, &record.label, stamp, stamp);
        self.session.write(&self.on.put_key, values).await
    }

    async fn key(&self, id: &str) -> Result<Option<KeyRow>, Failed> {
        let found = self.session.rows::<StoredKey>(&self.on.key, (id,)).await?;
        found.into_iter().next().map(key_row).transpose()
    }

    async fn keys(&self) -> Result<Vec<KeyRow>, Failed> {
        let found = self.session.rows::<StoredKey>(&self.on.keys, ()).await?;
        let mut keys = found.into_iter().map(key_row).collect::<Result<Vec<_>, Failed>>()?;
        // Partitions come in the order of their tokens.
        keys.sort_by(|a, b| a.record.id.cmp(&b.record.id));
        Ok(keys)
    }

    async fn create_period_key(&self, until: Timestamp, secret: &[u8; 32], ttl_s: i32) -> Result<bool, Failed> {
        let values = (until.0, secret.as_slice(), ttl_s);
        applied(&self.session.conditional(&self.on.create_period_key, values).await?)
    }

    async fn period_key(&self, until: Timestamp) -> Result<Option<[u8; 32]>, Failed> {
        let found = self.session.rows::<(Vec<u8>,)>(&self.on.period_key, (until.0,)).await?;
        let Some((secret,)) = found.into_iter().next() else { return Ok(None) };
        let odd = |_| Failed::Unreadable(format!("the secret of the period until {until} is not 32 bytes").into());
        secret.try_into().map(Some).map_err(odd)
    }

    async fn meta(&self, name: &str) -> Result<Option<i64>, Failed> {
        let found = self.session.rows::<(i64,)>(&self.on.meta, (name,)).await?;
        Ok(found.first().map(|(value,)| *value))
    }

    async fn put_meta(&self, name: &str, value: i64) -> Done {
        self.session.write(&self.on.put_meta, (name, value, value)).await
    }
}

type RowValues<'a> =
    (&'static str, &'a str, i64, i64, i64, i64, i32, &'a [u8], i32, MaybeUnset<i64>, MaybeUnset<&'a [u8]>);

fn row_values<'a>(entity: &'a EntityKey, row: &'a JournalRow) -> RowValues<'a> {
    let (seq, epoch, parent) = (big(row.place.seq), big(row.place.epoch), big(row.parent_epoch));
    let (format, bucket) = (i32::from(row.format), row.bucket.cast_signed());
    // Left out, not null: a null is a tombstone, two of them a row would soon be more than a read may step over.
    let (wake, derived) =
        (MaybeUnset::from_option(row.wake.map(|at| at.0)), MaybeUnset::from_option(row.derived.as_deref()));
    (entity.kind.as_str(), &entity.id, seq, epoch, parent, row.at.0, format, &row.body, bucket, wake, derived)
}

fn stretch_values<'a>(entity: &'a EntityKey, stretch: &Stretch) -> (&'static str, &'a str, i64, i64, i64, i64, i32) {
    let (after, before) = (stretch.after, stretch.before);
    let (from, to) = ((big(after.seq), big(after.epoch)), (big(before.seq), big(before.epoch)));
    (entity.kind.as_str(), &entity.id, from.0, from.1, to.0, to.1, most(stretch.limit))
}
