//! The statements on those tables. No logic: keys, stamps and order are what the trait says.

use std::any::Any;

use adal_domain::{
    entity::{EntityKey, EntityKind, View},
    time::{Day, Timestamp},
};
use async_trait::async_trait;

use super::{
    SimDb,
    table::{Change, Col, Found, Key, delete, put},
};
use crate::cql::{
    db::{
        Beat, ClusterRow, CodeJobRow, CountRow, Cursor, Database, Failed, JournalRow, KeyRow, Link, ListLine, ListPart,
        OutboxPlace, OutboxRow, Place, Queue, Scanned, SnapshotRow, StampedView, Stretch, Table, TimerRow, ViewEntry,
        Watermark,
    },
    together::all,
};

type Done = Result<(), Failed>;

fn int(of: impl TryInto<i64>) -> Col {
    Col::Int(of.try_into().unwrap_or(i64::MAX))
}

fn text(of: &str) -> Col {
    Col::Text(of.to_owned())
}

fn key(table: &'static str, part: Vec<Col>, row: Vec<Col>) -> Key {
    Key { table, part, row }
}

fn of_entity(entity: &EntityKey) -> Vec<Col> {
    vec![text(entity.kind.as_str()), text(&entity.id)]
}

fn place(place: Place) -> Vec<Col> {
    vec![int(place.seq), int(place.epoch)]
}

fn queue(of: Queue) -> Vec<Col> {
    vec![int(of.slice), int(of.bucket)]
}

fn timer(timer: &TimerRow) -> Vec<Col> {
    [vec![int(timer.wake.0)], of_entity(&timer.entity)].concat()
}

fn owed(place: &OutboxPlace) -> Vec<Col> {
    [of_entity(&place.source), vec![int(place.seq), int(place.index)]].concat()
}

fn list(part: ListPart<'_>) -> Vec<Col> {
    let filter = part.filter.map_or(Col::Int(0), text);
    vec![text(part.view.as_str()), filter, int(part.slice)]
}

fn typed<T: Any + Clone>(found: Vec<(Key, Found)>) -> impl DoubleEndedIterator<Item = T> {
    found.into_iter().filter_map(|(_, found)| found.downcast_ref::<T>().cloned())
}

/// The key after all that begin with this row.
fn after(mut row: Vec<Col>) -> Vec<Col> {
    row.push(Col::End);
    row
}

impl SimDb {
    /// A statement that changes several partitions: each has a fate of its own (and is counted), and any may be done where
    /// another is not.
    async fn several(&self, name: &'static str, partitions: impl Iterator<Item = Vec<Change>>) -> Done {
        let each = partitions.map(|changes| self.write(name, changes));
        all(futures_util::future::join_all(each).await)
    }

    /// Rows of a partition from `from` to `to`, this one not included.
    async fn range<T: Any + Clone + Send>(
        &self,
        name: &'static str,
        (table, part): (&'static str, Vec<Col>),
        (from, to): (Vec<Col>, Vec<Col>),
    ) -> Result<Vec<T>, Failed> {
        let (from, to) = (key(table, part.clone(), from), key(table, part, to));
        self.read(name, |state| typed(state.read(&from, &to)).collect()).await
    }

    /// The first rows of a partition after a row.
    async fn page<T: Any + Clone + Send>(
        &self,
        name: &'static str,
        of: (&'static str, Vec<Col>),
        from: Option<Vec<Col>>,
        limit: usize,
    ) -> Result<Vec<T>, Failed> {
        let mut found = self.range(name, of, (from.map(after).unwrap_or_default(), vec![Col::End])).await?;
        found.truncate(limit);
        Ok(found)
    }

    async fn one<T: Any + Clone + Send>(
        &self,
        name: &'static str,
        table: &'static str,
        part: Vec<Col>,
    ) -> Result<Option<T>, Failed> {
        Ok(self.range(name, (table, part), (vec![], vec![Col::End])).await?.into_iter().next())
    }

    /// Rows of all partitions of a table.
    async fn all<T: Any + Clone + Send>(&self, name: &'static str, table: &'static str) -> Result<Vec<T>, Failed> {
        let (from, to) = (key(table, vec![], vec![]), key(table, vec![Col::End], vec![]));
        self.read(name, |state| typed(state.read(&from, &to)).collect()).await
    }

    async fn stretch(&self, name: &'static str, entity: &EntityKey, of: Stretch) -> Result<Vec<JournalRow>, Failed> {
        let within = (after(place(of.after)), place(of.before));
        let mut rows: Vec<JournalRow> = self.range(name, ("journal", of_entity(entity)), within).await?;
        if of.descending {
            rows.reverse();
        }
        rows.truncate(of.limit);
        Ok(rows)
    }
}

#[async_trait]
impl Database for SimDb {
    fn datacenter(&self) -> Option<&str> {
        self.datacenter.as_deref()
    }

    /// As of a cluster of several nodes: by the last letter of the key.
    fn home(&self, _: Table, _: &str, key: &str) -> u64 {
        u64::from(key.bytes().last().unwrap_or_default()) % 3
    }

    async fn cluster(&self) -> Result<Option<ClusterRow>, Failed> {
        self.one("cluster", "cluster", vec![]).await
    }

    async fn cluster_settled(&self) -> Result<Option<ClusterRow>, Failed> {
        self.read("cluster_settled", |state| {
            state.settle();
            state.decided.clone()
        })
        .await
    }

    async fn cluster_version(&self) -> Result<Option<u64>, Failed> {
        Ok(self.one::<ClusterRow>("cluster_version", "cluster", vec![]).await?.map(|row| row.version))
    }

    async fn create_cluster(&self, row: &ClusterRow) -> Result<bool, Failed> {
        self.condition("create_cluster", None, row).await
    }

    async fn change_cluster(&self, from: u64, row: &ClusterRow) -> Result<bool, Failed> {
        self.condition("change_cluster", Some(from), row).await
    }

    async fn put_beat(&self, beat: &Beat) -> Done {
        let key = key("member_beat", vec![text(&beat.member)], vec![]);
        self.write("put_beat", vec![put(key, beat.beat.cast_signed(), beat.clone())]).await
    }

    async fn beats(&self) -> Result<Vec<Beat>, Failed> {
        self.all("beats", "member_beat").await
    }

    async fn delete_beat(&self, member: &str, beat: u64) -> Done {
        let key = key("member_beat", vec![text(member)], vec![]);
        self.write("delete_beat", vec![delete(key, beat.cast_signed())]).await
    }

    async fn insert_row(&self, entity: &EntityKey, row: &JournalRow) -> Done {
        let key = key("journal", of_entity(entity), place(row.place));
        self.write("insert_row", vec![put(key, 0, row.clone())]).await
    }

    async fn insert_rows(&self, rows: &[(EntityKey, JournalRow)]) -> Done {
        let mut partitions: Vec<(&EntityKey, Vec<Change>)> = Vec::new();
        for (entity, row) in rows {
            let change = put(key("journal", of_entity(entity), place(row.place)), 0, row.clone());
            match partitions.iter_mut().find(|(of, _)| *of == entity) {
                Some((_, changes)) => changes.push(change),
                None => partitions.push((entity, vec![change])),
            }
        }
        // Those of one entity are an adoption's.
        let name = if partitions.len() == 1 { "insert_rows" } else { "insert_rows_of_several" };
        self.several(name, partitions.into_iter().map(|(_, changes)| changes)).await
    }

    async fn rows(&self, entity: &EntityKey, of: Stretch) -> Result<Vec<JournalRow>, Failed> {
        self.stretch("rows", entity, of).await
    }

    async fn links(&self, entity: &EntityKey, of: Stretch) -> Result<Vec<Link>, Failed> {
        let rows = self.stretch("links", entity, of).await?;
        let link = |JournalRow { place, parent_epoch, at, bucket, .. }| Link { place, parent_epoch, at, bucket };
        Ok(rows.into_iter().map(link).collect())
    }

    async fn put_snapshot(&self, entity: &EntityKey, snapshot: &SnapshotRow) -> Done {
        let key = key("snapshot", of_entity(entity), place(snapshot.place));
        self.write("put_snapshot", vec![put(key, 0, snapshot.clone())]).await
    }

    async fn snapshots(&self, entity: &EntityKey, limit: usize) -> Result<Vec<SnapshotRow>, Failed> {
        let whole = (vec![], vec![Col::End]);
        let mut all: Vec<SnapshotRow> = self.range("snapshots", ("snapshot", of_entity(entity)), whole).await?;
        all.reverse();
        all.truncate(limit);
        Ok(all)
    }

    async fn delete_snapshots(&self, entity: &EntityKey, below: u64) -> Done {
        let key = key("snapshot", of_entity(entity), vec![int(below)]);
        self.write("delete_snapshots", vec![Change::Before(key)]).await
    }

    async fn list_entity(&self, slice: u8, entity: &EntityKey) -> Done {
        let key = key("entity", vec![text(entity.kind.as_str()), int(slice)], vec![text(&entity.id)]);
        self.write("list_entity", vec![put(key, 0, entity.clone())]).await
    }

    async fn entities(
        &self,
        kind: EntityKind,
        slice: u8,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<EntityKey>, Failed> {
        let of = ("entity", vec![text(kind.as_str()), int(slice)]);
        self.page("entities", of, after.map(|id| vec![text(id)]), limit).await
    }

    async fn put_recent(&self, shard: u16, bucket: u32, entity: &EntityKey, stamp: i64) -> Done {
        let key = key("recent", vec![int(shard), int(bucket)], of_entity(entity));
        self.write("put_recent", vec![put(key, stamp, entity.clone())]).await
    }

    async fn recent(
        &self,
        shard: u16,
        bucket: u32,
        after: Option<&EntityKey>,
        limit: usize,
    ) -> Result<Vec<EntityKey>, Failed> {
        let of = ("recent", vec![int(shard), int(bucket)]);
        self.page("recent", of, after.map(of_entity), limit).await
    }

    async fn drop_recent(&self, shard: u16, bucket: u32, stamp: i64) -> Done {
        let key = key("recent", vec![int(shard), int(bucket)], vec![]);
        self.write("drop_recent", vec![Change::Drop(key, stamp)]).await
    }

    async fn put_watermark(&self, mark: &Watermark) -> Done {
        let key = key("watermark", vec![int(mark.shard)], vec![int(mark.epoch)]);
        let stamp = i64::from(mark.done_bucket) + i64::from(mark.highest_bucket);
        self.write("put_watermark", vec![put(key, stamp, *mark)]).await
    }

    async fn watermarks(&self, shard: u16, limit: usize) -> Result<Vec<Watermark>, Failed> {
        let whole = (vec![], vec![Col::End]);
        let mut all: Vec<Watermark> = self.range("watermarks", ("watermark", vec![int(shard)]), whole).await?;
        all.reverse();
        all.truncate(limit);
        Ok(all)
    }

    async fn delete_watermarks(&self, shard: u16, epoch: u64) -> Done {
        let key = key("watermark", vec![int(shard)], vec![int(epoch)]);
        self.write("delete_watermarks", vec![Change::Before(key)]).await
    }

    async fn put_timer(&self, of: Queue, row: &TimerRow, stamp: i64) -> Done {
        self.write("put_timer", vec![put(key("timer", queue(of), timer(row)), stamp, row.clone())]).await
    }

    async fn delete_timer(&self, of: Queue, row: &TimerRow, stamp: i64) -> Done {
        self.write("delete_timer", vec![delete(key("timer", queue(of), timer(row)), stamp)]).await
    }

    async fn timers(
        &self,
        of: Queue,
        from: Option<&TimerRow>,
        until: Timestamp,
        limit: usize,
    ) -> Result<Vec<TimerRow>, Failed> {
        let within = (from.map(|from| after(timer(from))).unwrap_or_default(), after(vec![int(until.0)]));
        let mut found = self.range("timers", ("timer", queue(of)), within).await?;
        found.truncate(limit);
        Ok(found)
    }

    async fn put_timer_bucket(&self, of: Queue, stamp: i64) -> Done {
        let key = key("timer_bucket", vec![int(of.slice)], vec![int(of.bucket)]);
        self.write("put_timer_bucket", vec![put(key, stamp, of.bucket)]).await
    }

    async fn timer_buckets(&self, slice: u8, from: Option<u32>, until: u32, limit: usize) -> Result<Vec<u32>, Failed> {
        let within = (from.map(|from| after(vec![int(from)])).unwrap_or_default(), after(vec![int(until)]));
        let mut found = self.range("timer_buckets", ("timer_bucket", vec![int(slice)]), within).await?;
        found.truncate(limit);
        Ok(found)
    }

    async fn drop_timer_bucket(&self, of: Queue, stamp: i64) -> Done {
        let listed = key("timer_bucket", vec![int(of.slice)], vec![int(of.bucket)]);
        let changes = vec![Change::Drop(key("timer", queue(of), vec![]), stamp), delete(listed, stamp)];
        self.write("drop_timer_bucket", changes).await
    }

    async fn put_outbox(&self, of: Queue, rows: &[OutboxRow], stamp: i64) -> Done {
        let row = |row: &OutboxRow| put(key("outbox", queue(of), owed(&row.place)), stamp, row.clone());
        self.write("put_outbox", rows.iter().map(row).collect()).await
    }

    async fn delete_outbox(&self, of: Queue, places: &[OutboxPlace], stamp: i64) -> Done {
        let gone = places.iter().map(|place| delete(key("outbox", queue(of), owed(place)), stamp));
        self.write("delete_outbox", gone.collect()).await
    }

    async fn outbox(&self, of: Queue, after: Option<&OutboxPlace>, limit: usize) -> Result<Vec<OutboxRow>, Failed> {
        self.page("outbox", ("outbox", queue(of)), after.map(owed), limit).await
    }

    async fn outbox_of(&self, of: Queue, from: &OutboxPlace, limit: usize) -> Result<Vec<OutboxRow>, Failed> {
        let within = (after(owed(from)), after(of_entity(&from.source)));
        let mut rows = self.range("outbox_of", ("outbox", queue(of)), within).await?;
        rows.truncate(limit);
        Ok(rows)
    }

    async fn put_outbox_bucket(&self, of: Queue, stamp: i64) -> Done {
        let key = key("outbox_bucket", vec![int(of.slice)], vec![int(of.bucket)]);
        self.write("put_outbox_bucket", vec![put(key, stamp, of.bucket)]).await
    }

    async fn outbox_buckets(&self, slice: u8, after: Option<u32>, limit: usize) -> Result<Vec<u32>, Failed> {
        let after = after.map(|after| vec![int(after)]);
        self.page("outbox_buckets", ("outbox_bucket", vec![int(slice)]), after, limit).await
    }

    async fn drop_outbox_bucket(&self, of: Queue, stamp: i64) -> Done {
        let listed = key("outbox_bucket", vec![int(of.slice)], vec![int(of.bucket)]);
        let changes = vec![Change::Drop(key("outbox", queue(of), vec![]), stamp), delete(listed, stamp)];
        self.write("drop_outbox_bucket", changes).await
    }

    async fn put_views(&self, rows: &[StampedView]) -> Done {
        let change = |StampedView { view, entry, stamp }: &StampedView| {
            let key = key("view_row", vec![text(view.as_str()), text(&entry.key)], vec![]);
            vec![put(key, *stamp, (*view, entry.clone()))]
        };
        self.several("put_views", rows.iter().map(change)).await
    }

    async fn delete_view(&self, view: View, of: &str, stamp: i64) -> Done {
        self.write("delete_view", vec![delete(key("view_row", vec![text(view.as_str()), text(of)], vec![]), stamp)])
            .await
    }

    async fn view(&self, view: View, of: &str) -> Result<Option<ViewEntry>, Failed> {
        let part = vec![text(view.as_str()), text(of)];
        Ok(self.one::<(View, ViewEntry)>("view", "view_row", part).await?.map(|(_, entry)| entry))
    }

    async fn views(&self, view: View, keys: &[&str]) -> Result<Vec<ViewEntry>, Failed> {
        // Each by two replicas of its own choice, as they are of several partitions.
        let each = futures_util::future::try_join_all(keys.iter().map(|key| async {
            let part = vec![text(view.as_str()), text(key)];
            self.one::<(View, ViewEntry)>("views", "view_row", part).await
        }));
        Ok(each.await?.into_iter().flatten().map(|(_, entry)| entry).collect())
    }

    async fn scan_views(&self, cursor: Option<&Cursor>, limit: usize) -> Result<Scanned<(View, ViewEntry)>, Failed> {
        // Where it goes on: the view's text, a zero, the key.
        let from = cursor.map(|cursor| String::from_utf8_lossy(&cursor.0).into_owned());
        let mut found: Vec<(View, ViewEntry)> = self.all("scan_views", "view_row").await?;
        let place = |(view, entry): &(View, ViewEntry)| format!("{}\0{}", view.as_str(), entry.key);
        found.retain(|row| from.as_ref().is_none_or(|from| place(row) > *from));
        let more = found.len() > limit;
        found.truncate(limit);
        let next = found.last().filter(|_| more).map(|last| Cursor(place(last).into_bytes()));
        Ok(Scanned { found, next })
    }

    async fn scan_view_lists(&self, cursor: Option<&Cursor>, limit: usize) -> Result<Scanned<ListLine>, Failed> {
        let from = cursor.map(|cursor| String::from_utf8_lossy(&cursor.0).into_owned());
        let (first, last) = (key("view_list", vec![], vec![]), key("view_list", vec![Col::End], vec![]));
        let all = self.read("scan_view_lists", |state| state.read(&first, &last)).await?;
        let line = |(key, found): (Key, Found)| {
            let entry = found.downcast_ref::<ViewEntry>()?.clone();
            let [Col::Text(view), filter, Col::Int(slice)] = key.part.as_slice() else { return None };
            let filter = if let Col::Text(filter) = filter { Some(filter.clone()) } else { None };
            let view = View::ALL.into_iter().find(|one| one.as_str() == view)?;
            Some(ListLine { view, filter, slice: u8::try_from(*slice).ok()?, entry })
        };
        let place = |of: &ListLine| format!("{} {:?} {:02} {}", of.view.as_str(), of.filter, of.slice, of.entry.key);
        let mut found: Vec<ListLine> = all.into_iter().filter_map(line).collect();
        found.sort_by_key(place);
        found.retain(|line| from.as_ref().is_none_or(|from| place(line) > *from));
        let more = found.len() > limit;
        found.truncate(limit);
        let next = found.last().filter(|_| more).map(|last| Cursor(place(last).into_bytes()));
        Ok(Scanned { found, next })
    }

    async fn put_view_list(&self, part: ListPart<'_>, entry: &ViewEntry, stamp: i64) -> Done {
        let key = key("view_list", list(part), vec![text(&entry.key)]);
        self.write("put_view_list", vec![put(key, stamp, entry.clone())]).await
    }

    async fn delete_view_list(&self, part: ListPart<'_>, of: &str, stamp: i64) -> Done {
        self.write("delete_view_list", vec![delete(key("view_list", list(part), vec![text(of)]), stamp)]).await
    }

    async fn view_list(
        &self,
        part: ListPart<'_>,
        before: Option<&str>,
        limit: usize,
    ) -> Result<Vec<ViewEntry>, Failed> {
        let to = before.map_or(vec![Col::End], |before| vec![text(before)]);
        let mut found: Vec<ViewEntry> = self.range("view_list", ("view_list", list(part)), (vec![], to)).await?;
        found.reverse();
        found.truncate(limit);
        Ok(found)
    }

    async fn put_codes(&self, codes: &[String], job: &str, stamp: i64) -> Done {
        let code = |code: &String| put(key("code", vec![text(code)], vec![]), stamp, job.to_owned());
        self.write("put_codes", codes.iter().map(code).collect()).await
    }

    async fn code(&self, code: &str) -> Result<Option<String>, Failed> {
        self.one("code", "code", vec![text(code)]).await
    }

    async fn codes(&self, codes: &[String]) -> Result<Vec<Option<String>>, Failed> {
        let mut found = Vec::with_capacity(codes.len());
        for code in codes {
            found.push(self.one("codes", "code", vec![text(code)]).await?);
        }
        Ok(found)
    }

    async fn put_codes_of_job(&self, job: &str, chunk: u32, codes: &[String]) -> Done {
        let part = || vec![text(job), int(chunk)];
        let code = |code: &String| put(key("code_of_job", part(), vec![text(code)]), 0, code.clone());
        self.write("put_codes_of_job", codes.iter().map(code).collect()).await
    }

    async fn codes_of_job(
        &self,
        job: &str,
        chunk: u32,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<String>, Failed> {
        let of = ("code_of_job", vec![text(job), int(chunk)]);
        self.page("codes_of_job", of, after.map(|code| vec![text(code)]), limit).await
    }

    async fn put_code_job(&self, row: &CodeJobRow, stamp: i64) -> Done {
        let key = key("code_job", vec![text(&row.job.id)], vec![]);
        self.write("put_code_job", vec![put(key, stamp, row.clone())]).await
    }

    async fn code_job(&self, id: &str) -> Result<Option<CodeJobRow>, Failed> {
        self.one("code_job", "code_job", vec![text(id)]).await
    }

    async fn put_offer_job(&self, offer: &str, job: &str) -> Done {
        let key = key("offer_job", vec![text(offer)], vec![text(job)]);
        self.write("put_offer_job", vec![put(key, 0, job.to_owned())]).await
    }

    async fn all_jobs(&self) -> Result<Vec<String>, Failed> {
        let rows: Vec<CodeJobRow> = self.all("all_jobs", "code_job").await?;
        Ok(rows.into_iter().map(|row| row.job.id).collect())
    }

    async fn counted(&self) -> Result<Vec<String>, Failed> {
        let (from, to) = (key("banner_count", vec![], vec![]), key("banner_count", vec![Col::End], vec![]));
        let keys = self.read("counted", |state| state.read(&from, &to)).await?;
        let banner = |key: Key| match key.part.into_iter().next() {
            Some(Col::Text(banner)) => Some(banner),
            _ => None,
        };
        let mut banners: Vec<String> = keys.into_iter().filter_map(|(key, _)| banner(key)).collect();
        banners.dedup();
        Ok(banners)
    }

    async fn offer_jobs(&self, offer: &str) -> Result<Vec<String>, Failed> {
        self.page("offer_jobs", ("offer_job", vec![text(offer)]), None, usize::MAX).await
    }

    async fn put_open_job(&self, at: Timestamp, job: &str, stamp: i64) -> Done {
        let key = key("open_job", vec![], vec![int(at.0), text(job)]);
        self.write("put_open_job", vec![put(key, stamp, (at, job.to_owned()))]).await
    }

    async fn delete_open_job(&self, at: Timestamp, job: &str, stamp: i64) -> Done {
        self.write("delete_open_job", vec![delete(key("open_job", vec![], vec![int(at.0), text(job)]), stamp)]).await
    }

    async fn open_jobs(&self, limit: usize) -> Result<Vec<(Timestamp, String)>, Failed> {
        self.page("open_jobs", ("open_job", vec![]), None, limit).await
    }

    async fn put_count(&self, banner: &str, row: &CountRow, stamp: i64) -> Done {
        let newest_first = vec![int(-i64::from(row.day.0)), text(&row.member)];
        self.write("put_count", vec![put(key("banner_count", vec![text(banner)], newest_first), stamp, row.clone())])
            .await
    }

    async fn counts(&self, banner: &str, before: Option<Day>, limit: usize) -> Result<Vec<CountRow>, Failed> {
        let before = before.map(|day| vec![int(-i64::from(day.0))]);
        self.page("counts", ("banner_count", vec![text(banner)]), before, limit).await
    }

    async fn put_key(&self, row: &KeyRow) -> Done {
        let key = key("api_key", vec![], vec![text(&row.record.id)]);
        self.write("put_key", vec![put(key, row.stamp, row.clone())]).await
    }

    async fn key(&self, id: &str) -> Result<Option<KeyRow>, Failed> {
        let within = (vec![text(id)], after(vec![text(id)]));
        Ok(self.range("key", ("api_key", vec![]), within).await?.into_iter().next())
    }

    async fn keys(&self) -> Result<Vec<KeyRow>, Failed> {
        self.page("keys", ("api_key", vec![]), None, usize::MAX).await
    }

    async fn create_period_key(&self, until: Timestamp, secret: &[u8; 32], _: i32) -> Result<bool, Failed> {
        self.first("create_period_key", |state| {
            let first = !state.period_keys.contains_key(&until);
            state.period_keys.entry(until).or_insert(*secret);
            first
        })
        .await
    }

    async fn period_key(&self, until: Timestamp) -> Result<Option<[u8; 32]>, Failed> {
        self.read("period_key", |state| state.period_keys.get(&until).copied()).await
    }

    async fn meta(&self, name: &str) -> Result<Option<i64>, Failed> {
        self.one("meta", "meta", vec![text(name)]).await
    }

    async fn put_meta(&self, name: &str, value: i64) -> Done {
        self.write("put_meta", vec![put(key("meta", vec![text(name)], vec![]), value, value)]).await
    }
}
