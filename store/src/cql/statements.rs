//! Every statement of the store, prepared once. `@` stands for the keyspace; `schema.cql` says what each table is for.
//!
//! A statement here is what its method in [`super::db`] says, no more: the protocol gives the stamps, and where a
//! statement takes none, its contents for one key are always the same, or the later one counts.

use super::{
    db::Failed,
    failure::Kind::{Conditional, Read, Write},
    session::{
        Room::{Common, Ownership},
        Session, Statement,
    },
};

macro_rules! statements {
    ($($name:ident: $kind:ident, $room:ident, $text:literal;)*) => {
        /// See the module. Each is named as in metrics.
        #[derive(Debug)]
        pub(super) struct Statements {
            $(pub(super) $name: Statement,)*
        }

        impl Statements {
            /// Prepares all, one after another: several hundred at once from many servers that start would be a load.
            pub(super) async fn prepare(session: &Session) -> Result<Self, Failed> {
                $(let $name = session.prepare(stringify!($name), $kind, $room, $text).await?;)*
                Ok(Self { $($name,)* })
            }
        }

        #[cfg(test)]
        /// Name, kind and text of each.
        const ALL: &[(&str, super::failure::Kind, &str)] = &[$((stringify!($name), $kind, $text),)*];
    };
}

statements! {
    cluster: Read, Ownership, "SELECT version, members, owners FROM @cluster WHERE name = 'adal'";
    cluster_settled: Read, Ownership, "SELECT version, members, owners FROM @cluster WHERE name = 'adal'";
    cluster_version: Read, Ownership, "SELECT version FROM @cluster WHERE name = 'adal'";
    create_cluster: Conditional, Ownership,
        "INSERT INTO @cluster (name, version, members, owners) VALUES ('adal', ?, ?, ?) IF NOT EXISTS";
    change_cluster: Conditional, Ownership,
        "UPDATE @cluster SET version = ?, members = ?, owners = ? WHERE name = 'adal' IF version = ?";
    put_beat: Write, Ownership, "INSERT INTO @member_beat (member, beat, at) VALUES (?, ?, ?) USING TIMESTAMP ?";
    beats: Read, Ownership, "SELECT member, beat, at FROM @member_beat";
    delete_beat: Write, Ownership, "DELETE FROM @member_beat USING TIMESTAMP ? WHERE member = ?";

    insert_row: Write, Common,
        "INSERT INTO @journal (kind, id, seq, epoch, parent_epoch, at, format, body, bucket, wake, derived) \
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)";
    rows: Read, Common,
        "SELECT seq, epoch, parent_epoch, at, format, body, bucket, wake, derived FROM @journal \
         WHERE kind = ? AND id = ? AND (seq, epoch) > (?, ?) AND (seq, epoch) < (?, ?) LIMIT ?";
    rows_descending: Read, Common,
        "SELECT seq, epoch, parent_epoch, at, format, body, bucket, wake, derived FROM @journal \
         WHERE kind = ? AND id = ? AND (seq, epoch) > (?, ?) AND (seq, epoch) < (?, ?) \
         ORDER BY seq DESC, epoch DESC LIMIT ?";
    links: Read, Common,
        "SELECT seq, epoch, parent_epoch, at, bucket FROM @journal \
         WHERE kind = ? AND id = ? AND (seq, epoch) > (?, ?) AND (seq, epoch) < (?, ?) LIMIT ?";
    links_descending: Read, Common,
        "SELECT seq, epoch, parent_epoch, at, bucket FROM @journal \
         WHERE kind = ? AND id = ? AND (seq, epoch) > (?, ?) AND (seq, epoch) < (?, ?) \
         ORDER BY seq DESC, epoch DESC LIMIT ?";
    put_snapshot: Write, Common, "INSERT INTO @snapshot (kind, id, seq, epoch, format, body) VALUES (?, ?, ?, ?, ?, ?)";
    snapshots: Read, Common, "SELECT seq, epoch, format, body FROM @snapshot WHERE kind = ? AND id = ? LIMIT ?";
    delete_snapshots: Write, Common, "DELETE FROM @snapshot WHERE kind = ? AND id = ? AND seq < ?";
    list_entity: Write, Common, "INSERT INTO @entity (kind, slice, id) VALUES (?, ?, ?)";
    entities: Read, Common, "SELECT id FROM @entity WHERE kind = ? AND slice = ? AND id > ? LIMIT ?";

    put_recent: Write, Common,
        "INSERT INTO @recent (shard, bucket, kind, id) VALUES (?, ?, ?, ?) USING TIMESTAMP ?";
    recent: Read, Common,
        "SELECT kind, id FROM @recent WHERE shard = ? AND bucket = ? AND (kind, id) > (?, ?) LIMIT ?";
    drop_recent: Write, Common, "DELETE FROM @recent USING TIMESTAMP ? WHERE shard = ? AND bucket = ?";
    put_watermark: Write, Common,
        "INSERT INTO @watermark (shard, epoch, done_bucket, highest_bucket) VALUES (?, ?, ?, ?) USING TIMESTAMP ?";
    watermarks: Read, Common,
        "SELECT epoch, done_bucket, highest_bucket FROM @watermark WHERE shard = ? LIMIT ?";
    delete_watermarks: Write, Common, "DELETE FROM @watermark WHERE shard = ? AND epoch < ?";

    put_timer: Write, Common,
        "INSERT INTO @timer (slice, bucket, wake, kind, id) VALUES (?, ?, ?, ?, ?) USING TIMESTAMP ?";
    delete_timer: Write, Common,
        "DELETE FROM @timer USING TIMESTAMP ? WHERE slice = ? AND bucket = ? AND wake = ? AND kind = ? AND id = ?";
    timers: Read, Common,
        "SELECT wake, kind, id FROM @timer WHERE slice = ? AND bucket = ? \
         AND (wake, kind, id) > (?, ?, ?) AND (wake) <= (?) LIMIT ?";
    drop_timers: Write, Common, "DELETE FROM @timer USING TIMESTAMP ? WHERE slice = ? AND bucket = ?";
    put_timer_bucket: Write, Common, "INSERT INTO @timer_bucket (slice, bucket) VALUES (?, ?) USING TIMESTAMP ?";
    timer_buckets: Read, Common, "SELECT bucket FROM @timer_bucket WHERE slice = ? AND bucket > ? AND bucket <= ? LIMIT ?";
    delete_timer_bucket: Write, Common, "DELETE FROM @timer_bucket USING TIMESTAMP ? WHERE slice = ? AND bucket = ?";

    put_outbox: Write, Common,
        "INSERT INTO @outbox (slice, bucket, kind, id, seq, idx, target_kind, target_id, command) \
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) USING TIMESTAMP ?";
    delete_outbox: Write, Common,
        "DELETE FROM @outbox USING TIMESTAMP ? \
         WHERE slice = ? AND bucket = ? AND kind = ? AND id = ? AND seq = ? AND idx = ?";
    outbox: Read, Common,
        "SELECT kind, id, seq, idx, target_kind, target_id, command FROM @outbox \
         WHERE slice = ? AND bucket = ? AND (kind, id, seq, idx) > (?, ?, ?, ?) LIMIT ?";
    outbox_of: Read, Common,
        "SELECT kind, id, seq, idx, target_kind, target_id, command FROM @outbox \
         WHERE slice = ? AND bucket = ? AND kind = ? AND id = ? AND (seq, idx) > (?, ?) LIMIT ?";
    drop_outbox: Write, Common, "DELETE FROM @outbox USING TIMESTAMP ? WHERE slice = ? AND bucket = ?";
    put_outbox_bucket: Write, Common, "INSERT INTO @outbox_bucket (slice, bucket) VALUES (?, ?) USING TIMESTAMP ?";
    outbox_buckets: Read, Common, "SELECT bucket FROM @outbox_bucket WHERE slice = ? AND bucket > ? LIMIT ?";
    delete_outbox_bucket: Write, Common, "DELETE FROM @outbox_bucket USING TIMESTAMP ? WHERE slice = ? AND bucket = ?";

    put_view: Write, Common,
        "INSERT INTO @view_row (name, key, filter, kind, id, seq, value) VALUES (?, ?, ?, ?, ?, ?, ?) USING TIMESTAMP ?";
    delete_view: Write, Common, "DELETE FROM @view_row USING TIMESTAMP ? WHERE name = ? AND key = ?";
    view: Read, Common, "SELECT key, filter, kind, id, seq, value FROM @view_row WHERE name = ? AND key = ?";
    views: Read, Common, "SELECT key, filter, kind, id, seq, value FROM @view_row WHERE name = ? AND key IN ?";
    scan_views: Read, Common, "SELECT name, key, filter, kind, id, seq, value FROM @view_row";
    scan_view_lists: Read, Common,
        "SELECT name, part, filter, slice, key, row_filter, kind, id, seq, value FROM @view_list";
    put_view_list: Write, Common,
        "INSERT INTO @view_list (name, part, filter, slice, key, row_filter, kind, id, seq, value) \
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?) USING TIMESTAMP ?";
    delete_view_list: Write, Common,
        "DELETE FROM @view_list USING TIMESTAMP ? WHERE name = ? AND part = ? AND filter = ? AND slice = ? AND key = ?";
    view_list: Read, Common,
        "SELECT key, row_filter, kind, id, seq, value FROM @view_list \
         WHERE name = ? AND part = ? AND filter = ? AND slice = ? LIMIT ?";
    view_list_before: Read, Common,
        "SELECT key, row_filter, kind, id, seq, value FROM @view_list \
         WHERE name = ? AND part = ? AND filter = ? AND slice = ? AND key < ? LIMIT ?";

    put_code: Write, Common, "INSERT INTO @code (code, job) VALUES (?, ?) USING TIMESTAMP ?";
    code: Read, Common, "SELECT job FROM @code WHERE code = ?";
    put_code_of_job: Write, Common, "INSERT INTO @code_of_job (job, chunk, code) VALUES (?, ?, ?)";
    codes_of_job: Read, Common, "SELECT code FROM @code_of_job WHERE job = ? AND chunk = ? AND code > ? LIMIT ?";
    put_code_job: Write, Common,
        "INSERT INTO @code_job (id, offer, prefix, start, count, done, state, actor, at, print, pending) \
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) USING TIMESTAMP ?";
    code_job: Read, Common,
        "SELECT id, offer, prefix, start, count, done, state, actor, at, print, pending FROM @code_job WHERE id = ?";
    put_offer_job: Write, Common, "INSERT INTO @offer_job (offer, job) VALUES (?, ?)";
    all_jobs: Read, Common, "SELECT id FROM @code_job";
    offer_jobs: Read, Common, "SELECT job FROM @offer_job WHERE offer = ?";
    put_open_job: Write, Common, "INSERT INTO @open_job (part, at, job) VALUES (0, ?, ?) USING TIMESTAMP ?";
    delete_open_job: Write, Common, "DELETE FROM @open_job USING TIMESTAMP ? WHERE part = 0 AND at = ? AND job = ?";
    open_jobs: Read, Common, "SELECT at, job FROM @open_job WHERE part = 0 LIMIT ?";

    put_count: Write, Common,
        "INSERT INTO @banner_count (banner, day, member, servings, impressions, clicks) VALUES (?, ?, ?, ?, ?, ?) \
         USING TIMESTAMP ?";
    counted: Read, Common, "SELECT DISTINCT banner FROM @banner_count";
    counts: Read, Common,
        "SELECT day, member, servings, impressions, clicks FROM @banner_count WHERE banner = ? AND day < ? LIMIT ?";

    put_key: Write, Common,
        "INSERT INTO @api_key (id, hash, role, shop, created_at, revoked_at, label, stamp) \
         VALUES (?, ?, ?, ?, ?, ?, ?, ?) USING TIMESTAMP ?";
    key: Read, Common,
        "SELECT id, hash, role, shop, created_at, revoked_at, label, stamp FROM @api_key WHERE id = ?";
    keys: Read, Common, "SELECT id, hash, role, shop, created_at, revoked_at, label, stamp FROM @api_key";

    create_period_key: Conditional, Common,
        "INSERT INTO @period_key (until, secret) VALUES (?, ?) IF NOT EXISTS USING TTL ?";
    period_key: Read, Common, "SELECT secret FROM @period_key WHERE until = ?";

    meta: Read, Common, "SELECT value FROM @meta WHERE name = ?";
    put_meta: Write, Common, "INSERT INTO @meta (name, value) VALUES (?, ?) USING TIMESTAMP ?";
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is repeated by the driver must be what may be repeated.
    #[test]
    fn only_statements_with_a_condition_are_conditional() {
        for (name, kind, text) in ALL {
            let is = if text.contains(" IF ") {
                Conditional
            } else if text.starts_with("SELECT ") {
                Read
            } else {
                Write
            };
            assert_eq!(*kind, is, "{name}");
        }
    }
}
