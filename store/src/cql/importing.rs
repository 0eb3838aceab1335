//! An import that was cut off: the mark that says so, and how an entity of which it left a part is written anew.
//!
//! Whoever opens an entity of another owner's puts an empty row on it (see [`super::journal`]), and the row of the file that
//! would come next has lost its place. So nothing is adopted while the mark stands, by the recovery as little as by reads, and
//! an entity that is not whole is begun anew: its first row is written under our epoch on top of nothing. The tip of a
//! history is the row with the greatest epoch, then seq, so from that row on the history is ours alone, and what an earlier
//! import wrote of the entity is void, as any late row of a former owner is. What must never happen: that something is made
//! void that anybody was told of; nobody serves as long as the mark stands.

use std::sync::Arc;

use adal_actors::ports::{Append, StoreError};
use adal_domain::entity::EntityKey;

use super::{
    Inner,
    codes::told,
    db::{Failed, OutboxPlace},
    handle::Known,
    owner::Verdict,
    protocol::{Standing, shard_of, standing},
    read, retry,
};

/// The name in `meta` of a number that is odd from an import's beginning until its end.
const MARK: &str = "import";

/// Effects that one entity may owe: no export has more.
const OWED: usize = 100_000;

impl Inner {
    pub(super) async fn is_importing(&self) -> Result<bool, StoreError> {
        Ok(self.mark().await?.is_some_and(|mark| mark % 2 != 0))
    }

    async fn mark(&self) -> Result<Option<i64>, Failed> {
        retry::until(self.deadline(), "meta", || self.db.meta(MARK)).await
    }

    pub(super) async fn set_importing(&self, importing: bool) -> Result<(), StoreError> {
        self.owner.epoch(0)?;
        let mark = self.mark().await?.unwrap_or(0).max(0);
        if (mark % 2 != 0) == importing {
            return Ok(());
        }
        self.put_mark(mark + 1).await?;
        if self.owner.verify(self.deadline()).await.map_err(told)? == Verdict::Lost {
            if importing {
                // Nothing was written under it, and a server may have taken over that knows nothing of it.
                self.put_mark(mark + 2).await?;
            }
            return Err(StoreError::Unavailable("another server has taken over".into()));
        }
        Ok(())
    }

    async fn put_mark(&self, mark: i64) -> Result<(), StoreError> {
        retry::until(self.deadline(), "meta", || self.db.put_meta(MARK, mark)).await.map_err(told)
    }

    pub(super) async fn append_anew(self: &Arc<Self>, append: Append) -> Result<(), StoreError> {
        let entity = append.entity.clone();
        let refused = |why: &str| Err(StoreError::Unavailable(format!("{entity}: {why}").into()));
        if !self.is_importing().await? {
            return refused("it is begun anew by an import alone");
        }
        let mut state = self.handles.lock(&entity).await;
        // What is in doubt is of ours: it was begun anew already.
        if state.pending.is_none() && state.adopting.is_none() {
            let epoch = self.owner.epoch(shard_of(&entity))?;
            let found = read::found(&*self.db, &entity).await?;
            if standing(found.tip(), epoch) == Standing::Adopt {
                if found.snapshot.is_some() {
                    // It counts as a row, and whoever wrote it had all rows of its own file.
                    return refused("an import of another file has written all of it that was in that one");
                }
                self.forget_owed(&entity).await?;
                state.known = Some(Known::nothing());
            }
        }
        self.append_in(append, &mut state).await
    }

    /// What void rows owe counts for nothing, and would be listed beside what their successors owe.
    async fn forget_owed(&self, source: &EntityKey) -> Result<(), StoreError> {
        for owed in self.outbox.owed_by(source, OWED, self.deadline()).await? {
            let place = OutboxPlace { source: owed.source, seq: owed.seq, index: owed.index };
            for at in self.places_of(source, owed.seq).await? {
                self.outbox.delete(at, std::slice::from_ref(&place)).await?;
            }
        }
        Ok(())
    }
}
