//! What every entity is: a state, commands that are decided, events that are applied.
//!
//! The loop in `adal-actors` runs any [`Entity`] in the same way; this module is all that it knows of the rules.
//! Everything here is a pure function of its arguments: the same journal gives the same state, bit for bit.

use std::fmt::Debug;

use serde::{Serialize, de::DeserializeOwned};

use crate::time::Timestamp;

/// The kinds of entity that the journal knows. The text is what is stored: it never changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EntityKind {
    /// A customer: card, ledger, holds, orders, trust.
    Customer,
    /// A guest's checkout, keyed by a hash of credential and idempotency key.
    Guest,
    /// The catalogue: policy now, offers later. There is one, with the id `main`.
    Catalogue,
    /// Whatever has a limit that many customers share: an offer, a unique code, a budget of several offers.
    Promo,
}

impl EntityKind {
    /// Every kind, in the order of their codes.
    pub const ALL: [Self; 4] = [Self::Customer, Self::Guest, Self::Catalogue, Self::Promo];

    /// The text under which rows of this kind are stored.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Customer => "customer",
            Self::Guest => "guest",
            Self::Catalogue => "catalogue",
            Self::Promo => "promo",
        }
    }

    /// The kind stored under `text`, if there is one.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == text)
    }
}

/// Which entity: its kind and its id within the kind.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, serde::Deserialize)]
pub struct EntityKey {
    /// The kind.
    pub kind: EntityKind,
    /// The id within the kind.
    pub id: Box<str>,
}

impl EntityKey {
    /// The entity `id` of `kind`.
    #[must_use]
    pub fn new(kind: EntityKind, id: &str) -> Self {
        Self { kind, id: id.into() }
    }
}

impl std::fmt::Display for EntityKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.kind.as_str(), self.id)
    }
}

/// What `decide` answers when it accepts: what happened, what the caller is told, what other entities are owed.
#[derive(Debug, Clone)]
pub struct Decision<E: Entity> {
    /// What changes, in order. May be empty: a command can be accepted and change nothing.
    pub events: Vec<E::Event>,
    /// What the caller is told, now and at every repeat of the command.
    pub reply: E::Reply,
    /// What this entity owes to others, delivered at least once and in order per target, applied exactly once.
    pub effects: Vec<Effect>,
}

/// One thing that an entity owes another: a command for it, as bytes that its own kind reads.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, serde::Deserialize)]
pub struct Effect {
    /// Who is to receive it.
    pub target: EntityKey,
    /// The target's `Entity::Command`, as a MessagePack map.
    #[serde(with = "serde_bytes")]
    pub command: Vec<u8>,
}

/// A change to a view: an answer to a question across entities. Views are derived from the journal alone and are
/// idempotent upserts, so a rebuild gives the same rows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, serde::Deserialize)]
pub struct ViewWrite {
    /// Which view.
    pub view: View,
    /// The key within the view. In views listed newest first it starts with a sortable time.
    pub key: String,
    /// A value to filter lists by (a signal's kind), empty where the view has none.
    pub filter: String,
    /// The value as a MessagePack map; `None` removes the row.
    pub value: Option<Vec<u8>>,
}

/// The views. The text is what is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum View {
    /// barcode -> customer.
    CardByBarcode,
    /// hold id -> its owner and its state.
    HoldById,
    /// approval id -> the customer whose adjustment it is, and its state.
    ApprovalById,
    /// Signals: what looks like fraud or a mistake, by time; filtered by kind.
    Signal,
    /// An order (`shop/order`) -> the customer whose it is, from the first event of it that was taken.
    OrderOwner,
    /// Changes of the catalogue's documents, by revision; filtered by document.
    CatalogueChange,
    /// Uses of offers that no promo counts, by day; filtered by offer and month. Read by its filter alone, never as a
    /// whole.
    OfferUse,
}

impl View {
    /// Every view.
    pub const ALL: [Self; 7] = [
        Self::CardByBarcode,
        Self::HoldById,
        Self::ApprovalById,
        Self::Signal,
        Self::OrderOwner,
        Self::CatalogueChange,
        Self::OfferUse,
    ];

    /// The text under which rows of this view are stored.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::CardByBarcode => "card_by_barcode",
            Self::HoldById => "hold_by_id",
            Self::ApprovalById => "approval_by_id",
            Self::Signal => "signal",
            Self::OrderOwner => "order_owner",
            Self::CatalogueChange => "catalogue_change",
            Self::OfferUse => "offer_use",
        }
    }

    /// Whether its rows are listed in order, and not only asked for by key: a store in which that costs something keeps
    /// what it takes for these views alone.
    #[must_use]
    pub const fn is_listed(self) -> bool {
        match self {
            Self::Signal | Self::CatalogueChange | Self::OfferUse => true,
            Self::CardByBarcode | Self::HoldById | Self::ApprovalById | Self::OrderOwner => false,
        }
    }

    /// Whether it is also listed without a filter. Uses of offers are not: all of them, of all offers and months, would be
    /// a list without a bound.
    #[must_use]
    pub const fn is_listed_whole(self) -> bool {
        matches!(self, Self::Signal | Self::CatalogueChange)
    }
}

/// An entity's rules. The loop guarantees: commands of one entity are decided one after another, each against the state
/// that the earlier ones left; nothing that `decide` answers is seen by anyone before its row is durable.
pub trait Entity: Sized + Debug + Clone + 'static {
    /// Which kind this is.
    const KIND: EntityKind;
    /// The version of the stored form of `Event`, `Reply`, `Refusal` and `State`.
    const FORMAT: u16;
    /// Whether effects are applied once by a high-water mark for each source. `false` for an entity with millions of
    /// sources, whose commands must then do no harm when they come again (a promo's: see `promo::protocol`).
    const KEEPS_MARKS: bool = true;

    /// The state in memory, and in snapshots.
    type State: Clone + Debug + Send + Sync + Serialize + DeserializeOwned + 'static;
    /// What can be asked.
    type Command: Clone + Debug + Send + Serialize + DeserializeOwned + 'static;
    /// What can happen. Carries every fact that `apply` needs.
    type Event: Clone + Debug + Send + Serialize + DeserializeOwned + 'static;
    /// An accepted command's answer.
    type Reply: Clone + Debug + Send + Serialize + DeserializeOwned + PartialEq + 'static;
    /// A refused command's answer: recorded like a reply.
    type Refusal: Clone + Debug + Send + Serialize + DeserializeOwned + PartialEq + 'static;
    /// What `decide` needs from outside besides the time: policy, flags. Taken once per batch.
    type Context: Clone + Send + Sync + 'static;

    /// The state of an entity that has no row yet.
    fn initial(id: &str) -> Self::State;

    /// The journal rows (by seq) that must be at hand to decide `command`, beyond the state. Empty for almost all: an
    /// order that has left the state, say. The loop reads them and gives them to `decide`.
    fn recalls(state: &Self::State, command: &Self::Command) -> Vec<u64> {
        let _ = (state, command);
        Vec::new()
    }

    /// Decides `command`.
    ///
    /// # Errors
    /// The refusal, which changes nothing, and is recorded unless [`Entity::is_recorded`] says otherwise.
    fn decide(
        state: &Self::State,
        command: &Self::Command,
        at: &Moment<'_, Self>,
    ) -> Result<Decision<Self>, Self::Refusal>;

    /// Whether a refusal is an answer for good: recorded, and given again to every repeat of the command. One that is not
    /// leaves nothing behind, and a repeat is decided anew.
    fn is_recorded(refusal: &Self::Refusal) -> bool {
        let _ = refusal;
        true
    }

    /// Applies one event of the row `seq`.
    fn apply(state: &mut Self::State, event: &Self::Event, seq: u64);

    /// When this entity next has something to do by itself. Only a wake-up call: the loop then decides
    /// [`Entity::wake`]'s command with the time given, which may find nothing due.
    fn next_wake(state: &Self::State) -> Option<Timestamp>;

    /// The command that a timer sends.
    fn wake() -> Self::Command;

    /// The changes to views that follow from `event`, given the state after it. `seq` and `index` (of the event in its
    /// row) make keys unique.
    fn views(id: &str, state: &Self::State, event: &Self::Event, seq: u64, index: u32) -> Vec<ViewWrite>;

    /// What `event` adds to a metric, once its row is durable; never again when it is replayed.
    fn count(event: &Self::Event) -> Option<Count> {
        let _ = event;
        None
    }

    /// About how many bytes the state takes, for the registry's bound on memory.
    fn weight(state: &Self::State) -> usize;

    /// The names of the invariants (see `invariants`) that `state` breaks; empty when it is sound.
    fn broken_invariants(state: &Self::State) -> Vec<&'static str>;
}

/// An addition to a counter with one label of few values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Count {
    /// The metric's name.
    pub metric: &'static str,
    /// The label's name.
    pub label: &'static str,
    /// The label's value.
    pub value: &'static str,
    /// How much.
    pub by: u64,
}

/// What surrounds one decision.
#[derive(Debug)]
pub struct Moment<'a, E: Entity> {
    /// The clock's time, or the last row's if that is later: it never runs backwards for an entity.
    pub now: Timestamp,
    /// Policy and flags.
    pub context: &'a E::Context,
    /// The seq that this row will have.
    pub seq: u64,
    /// The index of this command within the row: with `seq`, a deterministic source of ids.
    pub index: u32,
    /// Unpredictable bits for this command (barcodes, ids), drawn by the loop; what is made of them stands in events.
    pub entropy: [u8; 16],
    /// The events of the rows that [`Entity::recalls`] asked for, with their seq.
    pub recalled: &'a [(u64, Vec<E::Event>)],
}
