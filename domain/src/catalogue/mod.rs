//! The catalogue: the policy, promos, campaigns and banners, as one versioned document that every thread reads.
//!
//! One entity, [`MAIN`], owns the whole: that a code belongs to one offer, or that a banner's offer exists, is decided
//! where both are known. [`State`](CatalogueState) is a snapshot that is cheap to copy (documents are shared, maps are
//! persistent), `apply` the only place that changes it, `decide` says what may happen, `banner` what a banner is. It
//! knows no uses: they are the promos' own state, so an offer keeps them whatever becomes of its document.
//!
//! Every accepted command that changes something raises the revision by one, and its events carry whole documents: the
//! journal, which is kept whole, answers who changed what and when. `views` lists the changes of each document, so that
//! its history and any earlier revision of it are found without going through the journal.
//!
//! It must never decide by the clock: what is scheduled is in the documents, and the engine reads them at its own time.

pub mod banner;
pub mod codes;
mod command;
mod decide;
mod event;
mod history;
mod state;

#[cfg(test)]
mod tests;

pub use self::{
    banner::Banner,
    command::{CatalogueCommand, CatalogueReply, Change, Changed, DocumentKind, Outcome},
    decide::{
        MAX_BANNERS, MAX_CATALOGUE_BYTES, MAX_CHANGES, MAX_COMMAND_BYTES, MAX_DOCUMENT_BYTES, MAX_OFFERS, change,
    },
    event::CatalogueEvent,
    history::{Recorded, change_of, filter_of, key_of},
    state::{BannerEntry, CatalogueState, OfferEntry, Stamp},
};
use crate::{
    entity::{Count, Decision, Entity, EntityKind, Moment, ViewWrite},
    errors::Refusal,
    time::Timestamp,
};

/// The id of the one catalogue.
pub const MAIN: &str = "main";

/// The catalogue's rules.
#[derive(Debug, Clone)]
pub struct Catalogue;

impl Entity for Catalogue {
    const KIND: EntityKind = EntityKind::Catalogue;
    const FORMAT: u16 = 1;

    type State = CatalogueState;
    type Command = CatalogueCommand;
    type Event = CatalogueEvent;
    type Reply = CatalogueReply;
    type Refusal = Refusal;
    type Context = ();

    fn initial(_id: &str) -> Self::State {
        CatalogueState::default()
    }

    fn decide(
        state: &Self::State,
        command: &Self::Command,
        at: &Moment<'_, Self>,
    ) -> Result<Decision<Self>, Self::Refusal> {
        let (events, reply) = decide::decide(state, command, at.now)?;
        Ok(Decision { events, reply, effects: vec![] })
    }

    fn apply(state: &mut Self::State, event: &Self::Event, _seq: u64) {
        state.apply(event);
    }

    fn next_wake(_state: &Self::State) -> Option<Timestamp> {
        None
    }

    fn wake() -> Self::Command {
        CatalogueCommand::Wake
    }

    fn views(_: &str, state: &Self::State, event: &Self::Event, seq: u64, index: u32) -> Vec<ViewWrite> {
        history::views(state, event, seq, index)
    }

    fn count(event: &Self::Event) -> Option<Count> {
        let (kind, _) = event.document();
        Some(Count { metric: "adal_catalogue_changes_total", label: "kind", value: kind.as_str(), by: 1 })
    }

    fn weight(state: &Self::State) -> usize {
        state.weight()
    }

    fn broken_invariants(state: &Self::State) -> Vec<&'static str> {
        state.broken_invariants()
    }
}
