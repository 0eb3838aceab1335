//! How keys and checksums are stored. Pure functions; whatever is changed here is a new format of the file.
//!
//! A journal row's position is one integer, `entity number << 31 | seq`, and the table's rowid. All rows of an entity
//! lie side by side, in order, in a B-tree whose inner pages hold nothing but integers (three levels for ten million
//! rows, where a WITHOUT ROWID table would put the bodies into the inner pages and have six or seven). An append looks
//! at one leaf and writes that leaf; a cold open reads one or two.
//!
//! SQLite has no checksums of its own for what is in the pages: a flipped bit in a body would come back as data. So
//! every body carries a CRC-32 over itself *and* over what it belongs to (entity, seq, time, format): a row that turns
//! up under another entity or seq is found out as well.

use adal_actors::ports::{ApiKeyRecord, CodeJob, StoreError, StoredRow, StoredSnapshot};
use adal_domain::entity::{Effect, EntityKey, EntityKind, ViewWrite};

/// Bits of a position that are the seq: 2,147,483,647 rows of one entity, 4,294,967,295 entities. Either bound is some
/// hundred gigabytes of rows; an append past it is refused, never wrapped.
const SEQ_BITS: u32 = 31;
/// The greatest seq that can be stored.
pub(super) const MAX_SEQ: u64 = (1 << SEQ_BITS) - 1;
/// The greatest entity number that can be stored.
pub(super) const MAX_ENTITY: i64 = (1 << 32) - 1;

/// Where row `seq` of entity number `num` is kept. The caller has checked both against their bounds; seqs past the
/// bound are cut to it, so that ranges given by callers stay within the entity.
pub(super) fn position(num: i64, seq: u64) -> i64 {
    let seq = i64::try_from(seq.min(MAX_SEQ)).unwrap_or(i64::MAX);
    num << SEQ_BITS | seq
}

/// The seq at a position.
pub(super) fn seq_of(position: i64) -> u64 {
    position.cast_unsigned() & MAX_SEQ
}

/// The entity number at a position.
pub(super) fn entity_of(position: i64) -> i64 {
    position >> SEQ_BITS
}

/// A seq as SQLite stores it.
pub(super) fn to_sql(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// An unsigned number out of the file.
pub(super) fn from_sql<T: TryFrom<i64>>(value: i64, what: &str) -> Result<T, StoreError> {
    T::try_from(value).map_err(|_| corrupt(format!("{what} {value} is out of range")))
}

/// An entity's key out of the file.
pub(super) fn key(kind: &str, id: &str) -> Result<EntityKey, StoreError> {
    match EntityKind::parse(kind) {
        Some(kind) => Ok(EntityKey::new(kind, id)),
        None => Err(corrupt(format!("unknown kind of entity `{kind}` (damage, or written by a newer version)"))),
    }
}

/// The error for what cannot be read.
pub(super) fn corrupt(what: impl AsRef<str>) -> StoreError {
    StoreError::Corrupt(what.as_ref().into())
}

/// The error for what was not done and may work later.
pub(super) fn unavailable(what: impl AsRef<str>) -> StoreError {
    StoreError::Unavailable(what.as_ref().into())
}

/// The checksum of a journal row.
pub(super) fn row_sum(entity: &EntityKey, row: &StoredRow) -> i64 {
    Sum::of(entity).int(row.seq).int(row.at.0.cast_unsigned()).int(row.format.into()).bytes(&row.body).finish()
}

/// The checksum of a snapshot.
pub(super) fn snapshot_sum(entity: &EntityKey, snapshot: &StoredSnapshot) -> i64 {
    Sum::of(entity).int(snapshot.seq).int(snapshot.format.into()).bytes(&snapshot.body).finish()
}

/// The checksum of a row of a view; 0 for a removal, which is never stored.
pub(super) fn view_sum(entity: &EntityKey, seq: u64, write: &ViewWrite) -> i64 {
    let Some(value) = &write.value else { return 0 };
    view_row_sum(entity, seq, write.view.as_str(), &write.key, &write.filter, value)
}

/// The checksum of a row of a view, from its columns.
pub(super) fn view_row_sum(entity: &EntityKey, seq: u64, view: &str, key: &str, filter: &str, value: &[u8]) -> i64 {
    let sum = Sum::of(entity).int(seq).bytes(view.as_bytes()).bytes(key.as_bytes());
    sum.bytes(filter.as_bytes()).bytes(value).finish()
}

/// The checksum of an owed effect.
pub(super) fn effect_sum(source: &EntityKey, seq: u64, index: u32, effect: &Effect) -> i64 {
    let target = &effect.target;
    let sum = Sum::of(source).int(seq).int(index.into()).bytes(target.kind.as_str().as_bytes());
    sum.bytes(target.id.as_bytes()).bytes(&effect.command).finish()
}

/// The checksum of an API key.
pub(super) fn api_key_sum(record: &ApiKeyRecord) -> i64 {
    // An absent text differs from an empty one by a length that no text has.
    let text = |sum: Sum, text: &Option<String>| match text {
        Some(text) => sum.bytes(text.as_bytes()),
        None => sum.int(u64::MAX),
    };
    let sum = Sum::new().bytes(record.id.as_bytes()).bytes(&record.hash).bytes(record.role.as_bytes());
    let sum = text(text(sum, &record.shop), &record.label).int(record.created_at.0.cast_unsigned());
    sum.int(record.revoked_at.map_or(u64::MAX, |at| at.0.cast_unsigned())).finish()
}

/// The checksum of a job that makes codes.
pub(super) fn code_job_sum(job: &CodeJob) -> i64 {
    let sum = Sum::new().bytes(job.id.as_bytes()).bytes(job.offer.as_str().as_bytes()).bytes(job.prefix.as_bytes());
    let sum = sum.int(job.start).int(job.count).int(job.done).bytes(job.state.as_str().as_bytes());
    sum.bytes(job.by.as_str().as_bytes()).int(job.at.0.cast_unsigned()).bytes(&job.print).finish()
}

/// CRC-32 (ISO-HDLC, the one of zip and Ethernet) over length-prefixed parts.
struct Sum(crc32fast::Hasher);

impl Sum {
    fn new() -> Self {
        Self(crc32fast::Hasher::new())
    }

    fn of(entity: &EntityKey) -> Self {
        Self::new().bytes(entity.kind.as_str().as_bytes()).bytes(entity.id.as_bytes())
    }

    fn int(self, value: u64) -> Self {
        self.raw(&value.to_le_bytes())
    }

    fn bytes(self, bytes: &[u8]) -> Self {
        self.int(bytes.len() as u64).raw(bytes)
    }

    fn raw(mut self, bytes: &[u8]) -> Self {
        self.0.update(bytes);
        self
    }

    fn finish(self) -> i64 {
        i64::from(self.0.finalize())
    }
}

#[cfg(test)]
mod tests {
    use adal_domain::time::Timestamp;

    use super::*;

    #[test]
    fn the_checksum_is_the_crc_32_of_the_catalogue() {
        // "check" of CRC-32/ISO-HDLC in the CRC catalogue.
        assert_eq!(Sum::new().raw(b"123456789").finish(), 0xCBF4_3926);
    }

    #[test]
    fn positions_keep_the_order_of_entities_and_rows() {
        for (num, seq) in [(0, 1), (1, 1), (7, MAX_SEQ), (MAX_ENTITY, MAX_SEQ)] {
            let position = position(num, seq);
            assert!(position >= 0);
            assert_eq!((entity_of(position), seq_of(position)), (num, seq));
        }
        assert!(position(1, MAX_SEQ) < position(2, 0));
        assert_eq!(position(1, u64::MAX), position(1, MAX_SEQ), "a range never reaches into the next entity");
    }

    #[test]
    fn a_checksum_covers_the_body_and_what_it_belongs_to() {
        let entity = EntityKey::new(EntityKind::Customer, "ab");
        let row = StoredRow { seq: 1, at: Timestamp(5), format: 1, body: b"body".to_vec() };
        let sum = row_sum(&entity, &row);
        assert_ne!(sum, row_sum(&EntityKey::new(EntityKind::Guest, "ab"), &row));
        assert_ne!(sum, row_sum(&EntityKey::new(EntityKind::Customer, "ac"), &row));
        assert_ne!(sum, row_sum(&entity, &StoredRow { seq: 2, ..row.clone() }));
        assert_ne!(sum, row_sum(&entity, &StoredRow { at: Timestamp(6), ..row.clone() }));
        assert_ne!(sum, row_sum(&entity, &StoredRow { format: 2, ..row.clone() }));
        assert_ne!(sum, row_sum(&entity, &StoredRow { body: b"bodz".to_vec(), ..row }));
    }
}
