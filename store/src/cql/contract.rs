//! What [`Database`] promises, asked of any implementation whose statements all succeed: so the model in memory and the
//! driver on a real server mean the same by the same call. Each case uses keys of its own; a database with other rows is
//! as good as an empty one, but for the cluster's row and the API keys, of which there must be none.

use adal_actors::ports::{ApiKeyRecord, BannerCounts, CodeJob, JobState};
use adal_domain::{
    entity::{Effect, EntityKey, EntityKind, View},
    ids::{Actor, OfferId},
    time::{Day, Timestamp},
};

use super::db::{
    Beat, ClusterRow, CodeJobRow, CountRow, Cursor, Database, JournalRow, KeyRow, ListPart, OutboxPlace, OutboxRow,
    Place, Queue, SnapshotRow, StampedView, Stretch, TimerRow, ViewEntry, Watermark,
};

/// Runs every case.
pub(super) async fn run(db: &dyn Database) {
    the_cluster_changes_only_from_the_version_that_is_named(db).await;
    beats_only_rise(db).await;
    rows_are_found_by_stretches(db).await;
    snapshots_are_found_newest_first(db).await;
    entities_are_listed_in_order(db).await;
    recent_is_listed_and_dropped(db).await;
    watermarks_only_rise(db).await;
    timers_are_found_in_order_and_dropped(db).await;
    the_outbox_is_read_in_order(db).await;
    the_greater_stamp_counts_for_views(db).await;
    lists_are_descending_and_apart(db).await;
    codes_belong_to_jobs(db).await;
    counts_are_read_newest_first(db).await;
    keys_and_numbers_are_kept(db).await;
}

fn customer(id: &str) -> EntityKey {
    EntityKey::new(EntityKind::Customer, id)
}

fn promo(id: &str) -> EntityKey {
    EntityKey::new(EntityKind::Promo, id)
}

fn at(seq: u64, epoch: u64) -> Place {
    Place { seq, epoch }
}

async fn the_cluster_changes_only_from_the_version_that_is_named(db: &dyn Database) {
    assert_eq!(db.cluster().await.unwrap(), None);
    assert_eq!(db.cluster_settled().await.unwrap(), None);
    assert_eq!(db.cluster_version().await.unwrap(), None);
    let row = |version: u64, member: u8| ClusterRow { version, members: vec![member], owners: vec![member; 3000] };
    assert!(!db.change_cluster(0, &row(1, 9)).await.unwrap(), "there is none to change");
    assert!(db.create_cluster(&row(1, 1)).await.unwrap());
    assert!(!db.create_cluster(&row(1, 2)).await.unwrap());
    assert_eq!(db.cluster().await.unwrap(), Some(row(1, 1)));
    assert!(db.change_cluster(1, &row(2, 3)).await.unwrap());
    assert!(!db.change_cluster(1, &row(2, 4)).await.unwrap());
    assert_eq!(db.cluster_settled().await.unwrap(), Some(row(2, 3)));
    assert_eq!(db.cluster_version().await.unwrap(), Some(2));
}

async fn beats_only_rise(db: &dyn Database) {
    let beat = |member: &str, beat| Beat { member: member.to_owned(), beat, at: Timestamp(9) };
    db.put_beat(&beat("b1", 5)).await.unwrap();
    db.put_beat(&beat("b1", 4)).await.unwrap();
    db.put_beat(&beat("b2", 1)).await.unwrap();
    let ours = async || {
        let mut beats = db.beats().await.unwrap();
        beats.retain(|beat| beat.member.starts_with('b'));
        beats.sort_by(|a, b| a.member.cmp(&b.member));
        beats
    };
    assert_eq!(ours().await, [beat("b1", 5), beat("b2", 1)]);
    db.delete_beat("b1", 4).await.unwrap();
    assert_eq!(ours().await, [beat("b1", 5), beat("b2", 1)], "an earlier one was deleted");
    db.delete_beat("b1", 5).await.unwrap();
    assert_eq!(ours().await, [beat("b2", 1)]);
    db.put_beat(&beat("b1", 6)).await.unwrap();
    assert_eq!(ours().await, [beat("b1", 6), beat("b2", 1)], "who lives is there again");
    db.delete_beat("b1", 6).await.unwrap();
}

async fn rows_are_found_by_stretches(db: &dyn Database) {
    let whose = customer("stretches");
    let row = |place: Place, byte: u8| JournalRow {
        place,
        parent_epoch: place.epoch - 1,
        at: Timestamp(i64::from(byte) * 10),
        format: 2,
        body: vec![byte; 1500],
        bucket: 7,
        wake: byte.is_multiple_of(2).then_some(Timestamp(5)),
        derived: (!byte.is_multiple_of(2)).then(|| vec![byte]),
    };
    let all = [row(at(1, 1), 1), row(at(2, 1), 2), row(at(2, 3), 3), row(at(3, 3), 4), row(at(4, 3), 5)];
    for one in &all[..2] {
        db.insert_row(&whose, one).await.unwrap();
    }
    db.insert_row(&whose, &all[0]).await.unwrap();
    let rest: Vec<_> = all[2..].iter().map(|row| (whose.clone(), row.clone())).collect();
    db.insert_rows(&rest).await.unwrap();
    db.insert_row(&promo("stretches"), &row(at(9, 9), 9)).await.unwrap();
    // Of several entities in one statement.
    let others = [(customer("beside 1"), row(at(1, 1), 6)), (promo("beside 2"), row(at(1, 1), 7))];
    db.insert_rows(&others).await.unwrap();
    for (entity, row) in &others {
        let whole = Stretch { after: Place::FIRST, before: Place::LAST, descending: false, limit: 100 };
        assert_eq!(db.rows(entity, whole).await.unwrap(), std::slice::from_ref(row));
    }

    let stretch = |after, before, descending, limit| Stretch { after, before, descending, limit };
    let whole = stretch(Place::FIRST, Place::LAST, false, 100);
    assert_eq!(db.rows(&whose, whole).await.unwrap(), all);
    let places = |rows: Vec<JournalRow>| rows.into_iter().map(|row| row.place).collect::<Vec<_>>();
    let found = db.rows(&whose, stretch(at(2, 1), at(4, 3), false, 100)).await.unwrap();
    assert_eq!(places(found), [at(2, 3), at(3, 3)], "neither end is in it");
    let found = db.rows(&whose, stretch(Place::FIRST, Place::LAST, true, 2)).await.unwrap();
    assert_eq!(places(found), [at(4, 3), at(3, 3)]);
    let found = db.rows(&whose, stretch(at(1, u64::MAX >> 1), at(3, 0), false, 100)).await.unwrap();
    assert_eq!(places(found), [at(2, 1), at(2, 3)]);
    assert!(db.rows(&customer("nobody"), whole).await.unwrap().is_empty());
    assert!(db.rows(&whose, stretch(Place::FIRST, Place::LAST, false, 0)).await.unwrap().is_empty());

    let links = db.links(&whose, stretch(Place::FIRST, Place::LAST, true, 100)).await.unwrap();
    let expected = all.iter().rev().map(|row| (row.place, row.parent_epoch, row.at, row.bucket));
    assert!(links.iter().map(|link| (link.place, link.parent_epoch, link.at, link.bucket)).eq(expected), "{links:?}");
    assert_eq!(db.links(&whose, stretch(at(2, 3), at(4, 3), false, 100)).await.unwrap().len(), 1);
}

async fn snapshots_are_found_newest_first(db: &dyn Database) {
    let whose = customer("snapshots");
    let snapshot = |seq, epoch| SnapshotRow { place: at(seq, epoch), format: 3, body: vec![1, 2] };
    for (seq, epoch) in [(10, 1), (30, 1), (20, 2), (30, 2)] {
        db.put_snapshot(&whose, &snapshot(seq, epoch)).await.unwrap();
    }
    assert_eq!(db.snapshots(&whose, 3).await.unwrap(), [snapshot(30, 2), snapshot(30, 1), snapshot(20, 2)]);
    db.delete_snapshots(&whose, 30).await.unwrap();
    assert_eq!(db.snapshots(&whose, 10).await.unwrap(), [snapshot(30, 2), snapshot(30, 1)]);
}

async fn entities_are_listed_in_order(db: &dyn Database) {
    for id in ["e3", "e1", "e2", "e1", "e-\u{e9}", "E0"] {
        db.list_entity(5, &customer(id)).await.unwrap();
    }
    db.list_entity(6, &customer("other slice")).await.unwrap();
    db.list_entity(5, &promo("other kind")).await.unwrap();
    let ids = |found: Vec<EntityKey>| found.into_iter().map(|key| key.id.to_string()).collect::<Vec<_>>();
    let found = db.entities(EntityKind::Customer, 5, None, 100).await.unwrap();
    assert_eq!(ids(found), ["E0", "e-\u{e9}", "e1", "e2", "e3"]);
    let found = db.entities(EntityKind::Customer, 5, Some("e1"), 1).await.unwrap();
    assert_eq!(ids(found), ["e2"]);
}

async fn recent_is_listed_and_dropped(db: &dyn Database) {
    for (key, stamp) in [(promo("r1"), 5), (customer("r2"), 5), (customer("r1"), 5)] {
        db.put_recent(77, 3, &key, stamp).await.unwrap();
    }
    db.put_recent(77, 4, &customer("later"), 5).await.unwrap();
    assert_eq!(db.recent(77, 3, None, 10).await.unwrap(), [customer("r1"), customer("r2"), promo("r1")]);
    assert_eq!(db.recent(77, 3, Some(&customer("r1")), 1).await.unwrap(), [customer("r2")]);
    assert_eq!(db.recent(77, 3, Some(&customer("r2")), 10).await.unwrap(), [promo("r1")]);
    db.drop_recent(77, 3, 6).await.unwrap();
    assert!(db.recent(77, 3, None, 10).await.unwrap().is_empty());
    assert_eq!(db.recent(77, 4, None, 10).await.unwrap(), [customer("later")]);
    db.put_recent(77, 3, &customer("late, and earlier than the end"), 6).await.unwrap();
    assert!(db.recent(77, 3, None, 10).await.unwrap().is_empty(), "of the same stamp, the deletion counts");
    db.put_recent(77, 3, &customer("r3"), 7).await.unwrap();
    assert_eq!(db.recent(77, 3, None, 10).await.unwrap(), [customer("r3")]);
}

async fn watermarks_only_rise(db: &dyn Database) {
    let mark = |epoch, done_bucket, highest_bucket| Watermark { shard: 9, epoch, done_bucket, highest_bucket };
    for one in [mark(1, 5, 6), mark(3, 7, 9), mark(3, 8, 9), mark(3, 7, 9), mark(2, 6, 6)] {
        db.put_watermark(&one).await.unwrap();
    }
    assert_eq!(db.watermarks(9, 2).await.unwrap(), [mark(3, 8, 9), mark(2, 6, 6)]);
    db.delete_watermarks(9, 3).await.unwrap();
    assert_eq!(db.watermarks(9, 10).await.unwrap(), [mark(3, 8, 9)]);
}

async fn timers_are_found_in_order_and_dropped(db: &dyn Database) {
    let queue = Queue { slice: 3, bucket: 11 };
    let timer = |wake, entity| TimerRow { wake: Timestamp(wake), entity };
    let all = [timer(10, customer("t2")), timer(20, customer("t1")), timer(20, promo("t1")), timer(30, customer("t1"))];
    for one in all.iter().rev() {
        db.put_timer(queue, one, 1).await.unwrap();
    }
    assert_eq!(db.timers(queue, None, Timestamp(20), 10).await.unwrap(), all[..3]);
    assert_eq!(db.timers(queue, Some(&all[0]), Timestamp(30), 2).await.unwrap(), all[1..3]);
    assert_eq!(db.timers(queue, Some(&all[1]), Timestamp(20), 10).await.unwrap(), all[2..3]);
    db.delete_timer(queue, &all[1], 2).await.unwrap();
    assert_eq!(db.timers(queue, None, Timestamp(20), 10).await.unwrap(), [all[0].clone(), all[2].clone()]);

    for bucket in [12, 11, 14] {
        db.put_timer_bucket(Queue { slice: 3, bucket }, 1).await.unwrap();
    }
    assert_eq!(db.timer_buckets(3, None, 12, 10).await.unwrap(), [11, 12]);
    assert_eq!(db.timer_buckets(3, None, u32::MAX, 2).await.unwrap(), [11, 12]);
    assert_eq!(db.timer_buckets(3, Some(11), u32::MAX, 10).await.unwrap(), [12, 14]);
    db.drop_timer_bucket(queue, 3).await.unwrap();
    assert_eq!(db.timer_buckets(3, None, u32::MAX, 10).await.unwrap(), [12, 14]);
    assert!(db.timers(queue, None, Timestamp(99), 10).await.unwrap().is_empty());
}

async fn the_outbox_is_read_in_order(db: &dyn Database) {
    let queue = Queue { slice: 4, bucket: 21 };
    let row = |source: EntityKey, seq, index| OutboxRow {
        place: OutboxPlace { source, seq, index },
        effect: Effect { target: promo("p"), command: vec![1, 2, 3] },
    };
    let all = [
        row(customer("o1"), 1, 0),
        row(customer("o1"), 1, 1),
        row(customer("o1"), 2, 0),
        row(customer("o2"), 1, 0),
        row(promo("a"), 1, 0),
    ];
    db.put_outbox(queue, &all[2..], 1).await.unwrap();
    db.put_outbox(queue, &all[..2], 1).await.unwrap();
    assert_eq!(db.outbox(queue, None, 100).await.unwrap(), all);
    assert_eq!(db.outbox(queue, Some(&all[1].place), 2).await.unwrap(), all[2..4]);
    let before = |source| OutboxPlace { source, seq: 0, index: 0 };
    assert_eq!(db.outbox_of(queue, &before(customer("o1")), 100).await.unwrap(), all[..3]);
    assert_eq!(db.outbox_of(queue, &before(customer("o1")), 2).await.unwrap(), all[..2]);
    assert_eq!(db.outbox_of(queue, &all[0].place, 100).await.unwrap(), all[1..3]);
    assert_eq!(db.outbox_of(queue, &before(promo("a")), 100).await.unwrap(), all[4..]);
    assert!(db.outbox_of(queue, &before(customer("o")), 100).await.unwrap().is_empty());
    db.delete_outbox(queue, &[all[0].place.clone(), all[3].place.clone()], 2).await.unwrap();
    let left = [all[1].clone(), all[2].clone(), all[4].clone()];
    assert_eq!(db.outbox(queue, None, 100).await.unwrap(), left);
    // More than one message holds.
    let many: Vec<_> = (0..450).map(|index| row(customer("many"), 1, index)).collect();
    let other = Queue { slice: 4, bucket: 22 };
    db.put_outbox(other, &many, 1).await.unwrap();
    assert_eq!(db.outbox(other, None, 1000).await.unwrap(), many);

    db.put_outbox_bucket(queue, 1).await.unwrap();
    db.put_outbox_bucket(other, 1).await.unwrap();
    assert_eq!(db.outbox_buckets(4, None, 10).await.unwrap(), [21, 22]);
    assert_eq!(db.outbox_buckets(4, None, 1).await.unwrap(), [21]);
    assert_eq!(db.outbox_buckets(4, Some(21), 10).await.unwrap(), [22]);
    db.drop_outbox_bucket(queue, 3).await.unwrap();
    assert_eq!(db.outbox_buckets(4, None, 10).await.unwrap(), [22]);
    assert!(db.outbox(queue, None, 10).await.unwrap().is_empty());
}

fn entry(key: &str, filter: &str, seq: u64) -> ViewEntry {
    let (key, filter) = (key.to_owned(), filter.to_owned());
    ViewEntry { key, filter, entity: customer("v"), seq, value: seq.to_be_bytes().to_vec() }
}

fn stamped(view: View, entry: ViewEntry, stamp: i64) -> StampedView {
    StampedView { view, entry, stamp }
}

async fn the_greater_stamp_counts_for_views(db: &dyn Database) {
    let view = View::CardByBarcode;
    db.put_views(&[stamped(view, entry("k1", "f", 2), 2)]).await.unwrap();
    db.put_views(&[stamped(view, entry("k1", "", 1), 1)]).await.unwrap();
    assert_eq!(db.view(view, "k1").await.unwrap(), Some(entry("k1", "f", 2)));
    db.delete_view(view, "k1", 1).await.unwrap();
    assert_eq!(db.view(view, "k1").await.unwrap(), Some(entry("k1", "f", 2)), "deleted before it was written");
    db.delete_view(view, "k1", 3).await.unwrap();
    assert_eq!(db.view(view, "k1").await.unwrap(), None);
    db.put_views(&[stamped(view, entry("k1", "f", 2), 2)]).await.unwrap();
    assert_eq!(db.view(view, "k1").await.unwrap(), None, "a late repeat brings nothing back");
    db.put_views(&[stamped(view, entry("k1", "f", 4), 4)]).await.unwrap();
    assert_eq!(db.view(view, "k1").await.unwrap(), Some(entry("k1", "f", 4)));
    assert_eq!(db.view(View::HoldById, "k1").await.unwrap(), None);
    // More than go into one statement, and one that alone is larger than all that are put together.
    let hold = |number| stamped(View::HoldById, entry(&format!("h{number:03}"), "f", number), 9);
    let mut many: Vec<_> = (1..=300).map(hold).collect();
    many[7].entry.value = vec![7; 40_000];
    db.put_views(&many).await.unwrap();
    for StampedView { view, entry, .. } in &many {
        assert_eq!(db.view(*view, &entry.key).await.unwrap().as_ref(), Some(entry));
    }
    // Several at once: those that there are.
    let mut found = db.views(View::HoldById, &["h003", "nobody's", "h001", "k1"]).await.unwrap();
    found.sort_by_key(|entry| entry.seq);
    assert_eq!(found, [many[0].entry.clone(), many[2].entry.clone()]);
    assert_eq!(db.views(View::HoldById, &[]).await.unwrap(), []);

    let mut expected = vec![entry("k1", "f", 4)];
    for number in 0..25 {
        let one = entry(&format!("scan{number:02}"), "", number + 1);
        db.put_views(&[stamped(view, one.clone(), 1)]).await.unwrap();
        expected.push(one);
    }
    let (mut found, mut cursor) = (Vec::new(), None::<Cursor>);
    loop {
        let part = db.scan_views(cursor.as_ref(), 10).await.unwrap();
        found.extend(part.found.into_iter().filter(|(of, _)| *of == view).map(|(_, entry)| entry));
        cursor = part.next;
        if cursor.is_none() {
            break;
        }
    }
    found.sort_by(|a, b| a.key.cmp(&b.key));
    assert_eq!(found, expected);
}

async fn lists_are_descending_and_apart(db: &dyn Database) {
    let part = |filter, slice| ListPart { view: View::Signal, filter, slice };
    for (key, filter) in [("l1", "a"), ("l3", ""), ("l2", "b")] {
        db.put_view_list(part(None, 1), &entry(key, filter, 1), 1).await.unwrap();
    }
    db.put_view_list(part(Some("a"), 1), &entry("l1", "a", 1), 1).await.unwrap();
    db.put_view_list(part(Some(""), 1), &entry("l3", "", 1), 1).await.unwrap();
    db.put_view_list(part(None, 2), &entry("l9", "a", 1), 1).await.unwrap();
    let all = [entry("l3", "", 1), entry("l2", "b", 1), entry("l1", "a", 1)];
    assert_eq!(db.view_list(part(None, 1), None, 10).await.unwrap(), all);
    assert_eq!(db.view_list(part(None, 1), Some("l3"), 1).await.unwrap(), all[1..2]);
    assert_eq!(db.view_list(part(Some("a"), 1), None, 10).await.unwrap(), all[2..]);
    assert_eq!(db.view_list(part(Some(""), 1), None, 10).await.unwrap(), all[..1], "no filter is not every filter");
    let (mut lines, mut cursor) = (Vec::new(), None::<Cursor>);
    loop {
        let part = db.scan_view_lists(cursor.as_ref(), 2).await.unwrap();
        lines.extend(part.found.into_iter().map(|line| (line.filter, line.slice, line.entry.key, line.entry.filter)));
        cursor = part.next;
        if cursor.is_none() {
            break;
        }
    }
    lines.sort();
    let line = |filter: Option<&str>, slice: u8, key: &str, row_filter: &str| {
        (filter.map(str::to_owned), slice, key.to_owned(), row_filter.to_owned())
    };
    let expected = [
        line(None, 1, "l1", "a"),
        line(None, 1, "l2", "b"),
        line(None, 1, "l3", ""),
        line(None, 2, "l9", "a"),
        line(Some(""), 1, "l3", ""),
        line(Some("a"), 1, "l1", "a"),
    ];
    assert_eq!(lines, expected);
    db.delete_view_list(part(None, 1), "l2", 2).await.unwrap();
    assert_eq!(db.view_list(part(None, 1), None, 10).await.unwrap(), [all[0].clone(), all[2].clone()]);
}

async fn codes_belong_to_jobs(db: &dyn Database) {
    let codes: Vec<String> = (0..300).map(|number| format!("CODE{number:04}")).collect();
    db.put_codes(&codes[..200], "j1", 1).await.unwrap();
    db.put_codes(&codes[150..250], "j2", 2).await.unwrap();
    db.put_codes(&codes[..1], "j3", 0).await.unwrap();
    assert_eq!(db.code("CODE0000").await.unwrap().as_deref(), Some("j1"));
    assert_eq!(db.code("CODE0299").await.unwrap(), None);
    let jobs = db.codes(&codes).await.unwrap();
    let job = |number: usize| jobs[number].as_deref();
    assert_eq!((jobs.len(), job(149), job(150), job(249), job(250)), (300, Some("j1"), Some("j2"), Some("j2"), None));
    db.put_codes_of_job("j1", 7, &codes).await.unwrap();
    assert_eq!(db.codes_of_job("j1", 7, None, 1000).await.unwrap(), codes);
    assert_eq!(db.codes_of_job("j1", 7, Some("CODE0297"), 1).await.unwrap(), codes[298..299]);
    assert!(db.codes_of_job("j1", 8, None, 10).await.unwrap().is_empty());

    let mut row = CodeJobRow {
        job: CodeJob {
            id: "j1".to_owned(),
            offer: OfferId::new("o1").unwrap(),
            prefix: "X-".to_owned(),
            start: u64::MAX,
            count: 10,
            done: 0,
            state: JobState::Open,
            by: Actor::new("key:k1").unwrap(),
            at: Timestamp(5),
            print: [7; 16],
        },
        pending: Some(vec![1]),
    };
    db.put_code_job(&row, 1).await.unwrap();
    assert_eq!(db.code_job("j1").await.unwrap(), Some(row.clone()));
    (row.job.done, row.job.state, row.pending) = (10, JobState::Done, None);
    db.put_code_job(&row, 2).await.unwrap();
    assert_eq!(db.code_job("j1").await.unwrap(), Some(row));
    assert_eq!(db.code_job("j9").await.unwrap(), None);

    assert_eq!(db.all_jobs().await.unwrap(), ["j1"]);

    for job in ["j2", "j1", "j2"] {
        db.put_offer_job("o1", job).await.unwrap();
    }
    assert_eq!(db.offer_jobs("o1").await.unwrap(), ["j1", "j2"]);
    let open = [(Timestamp(1), "z".to_owned()), (Timestamp(2), "a".to_owned()), (Timestamp(2), "b".to_owned())];
    for (since, job) in &open {
        db.put_open_job(*since, job, 1).await.unwrap();
    }
    assert_eq!(db.open_jobs(10).await.unwrap(), open);
    db.delete_open_job(Timestamp(2), "a", 2).await.unwrap();
    assert_eq!(db.open_jobs(1).await.unwrap(), open[..1]);
    assert_eq!(db.open_jobs(10).await.unwrap(), [open[0].clone(), open[2].clone()]);
}

async fn counts_are_read_newest_first(db: &dyn Database) {
    let row = |day, member: &str, servings| CountRow {
        day: Day(day),
        member: member.to_owned(),
        counts: BannerCounts { servings, impressions: 2, clicks: 1 },
    };
    for (one, stamp) in [(row(1, "a", 1), 1), (row(2, "b", 1), 1), (row(2, "a", 9), 2), (row(2, "a", 1), 1)] {
        db.put_count("banner", &one, stamp).await.unwrap();
    }
    assert_eq!(db.counts("banner", None, 10).await.unwrap(), [row(2, "a", 9), row(2, "b", 1), row(1, "a", 1)]);
    assert_eq!(db.counts("banner", Some(Day(2)), 10).await.unwrap(), [row(1, "a", 1)]);
    assert_eq!(db.counts("banner", None, 1).await.unwrap(), [row(2, "a", 9)]);
    assert_eq!(db.counted().await.unwrap(), ["banner"], "once, however many rows");
}

async fn keys_and_numbers_are_kept(db: &dyn Database) {
    let key = |id: &str, stamp, revoked: Option<i64>, label: Option<&str>| KeyRow {
        record: ApiKeyRecord {
            id: id.to_owned(),
            hash: [3; 32],
            role: "pos".to_owned(),
            shop: None,
            created_at: Timestamp(4),
            revoked_at: revoked.map(Timestamp),
            label: label.map(str::to_owned),
        },
        stamp,
    };
    db.put_key(&key("k2", 1, None, Some("till"))).await.unwrap();
    db.put_key(&key("k1", 2, Some(9), None)).await.unwrap();
    db.put_key(&key("k1", 1, None, Some("older"))).await.unwrap();
    assert_eq!(db.key("k1").await.unwrap(), Some(key("k1", 2, Some(9), None)));
    assert_eq!(db.keys().await.unwrap(), [key("k1", 2, Some(9), None), key("k2", 1, None, Some("till"))]);
    assert_eq!(db.key("k3").await.unwrap(), None);

    assert_eq!(db.meta("number").await.unwrap(), None);
    db.put_meta("number", 5).await.unwrap();
    db.put_meta("number", 4).await.unwrap();
    assert_eq!(db.meta("number").await.unwrap(), Some(5));
}
