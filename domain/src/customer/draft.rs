//! A decision in the making: a copy of the state that each event changes as soon as it is decided, so that the next step
//! sees it.

use super::{
    Context, Event, State,
    ledger::{EarnedBy, Entry, LotPart},
    order::Record,
    read::{Band, Cause, Refund, SignalKind},
    tier::{AsOf, TierState, tier_at},
    trust,
};
use crate::{
    entity::{Effect, EntityKey, EntityKind},
    errors::{Code, Refusal},
    ids::{Actor, EntryId, OrderKey, ShopId, uuid_v7},
    offers::document::FundedBy,
    policy::Tier,
    promo::book::Step,
    time::{Day, Timestamp},
};

/// See the module.
#[derive(Debug)]
pub(super) struct Draft<'a> {
    pub state: State,
    pub context: &'a Context,
    /// The clock's time, or the last row's if that is later.
    pub now: Timestamp,
    pub seq: u64,
    pub entropy: [u8; 16],
    pub events: Vec<Event>,
    /// What this decision owes promos.
    pub effects: Vec<Effect>,
    /// Who pays for the points of the entry that is being written, where it is not the platform.
    funded_by: Option<FundedBy>,
    /// What the return refunds whose entries are being written.
    pub refund: Option<Refund>,
    recalled: &'a [(u64, Vec<Event>)],
}

impl<'a> Draft<'a> {
    pub fn new(
        state: &State,
        context: &'a Context,
        now: Timestamp,
        seq: u64,
        entropy: [u8; 16],
        recalled: &'a [(u64, Vec<Event>)],
    ) -> Self {
        Self {
            state: state.clone(),
            context,
            now,
            seq,
            entropy,
            events: Vec::new(),
            effects: Vec::new(),
            funded_by: None,
            refund: None,
            recalled,
        }
    }

    /// Decides an event: it happens in the draft at once.
    pub fn emit(&mut self, event: Event) {
        super::apply::apply(&mut self.state, &event, self.seq);
        self.events.push(event);
    }

    /// A step of the exchanges with promos: both of it, in this row.
    pub fn step(&mut self, step: Step) {
        step.events.into_iter().for_each(|event| self.emit(Event::Book(event)));
        self.effects.extend(step.effects);
    }

    /// Whose state this is, as promos know it.
    pub fn owner(&self) -> EntityKey {
        // A guest's key is of no customer's alphabet.
        let kind = if self.state.customer_id().is_some() { EntityKind::Customer } else { EntityKind::Guest };
        EntityKey::new(kind, &self.state.id)
    }

    pub fn day(&self, at: Timestamp) -> Day {
        self.context.calendar.day(at)
    }

    pub fn start(&self, day: Day) -> Timestamp {
        self.context.calendar.start(day)
    }

    /// A UUIDv7 of this command.
    pub fn uuid(&self) -> String {
        uuid_v7(self.now, self.entropy)
    }

    pub fn next_entry_id(&self) -> EntryId {
        entry_id(self.state.ledger.entries)
    }

    /// Writes an entry of the ledger. Nothing where there are no points.
    pub fn enter(
        &mut self,
        at: Timestamp,
        points: i64,
        cause: Cause,
        order: Option<&OrderKey>,
        why: Option<(&str, &Actor)>,
        lots: Vec<LotPart>,
    ) -> EntryId {
        let entry = self.next_entry_id();
        if points != 0 {
            self.emit(Event::Entry(Entry {
                entry: entry.clone(),
                at,
                points,
                balance_after: self.state.ledger.balance.saturating_add(points),
                cause,
                order: order.cloned(),
                reason: why.map(|(reason, _)| reason.into()),
                by: why.map(|(_, by)| by.clone()),
                lots,
                funded_by: self.funded_by,
                refund: self.refund.clone().map(Box::new),
            }));
        }
        entry
    }

    /// Points that become active: an entry, and what of them pays a debt by an entry of its own.
    pub fn earn(
        &mut self,
        at: Timestamp,
        points: i64,
        cause: Cause,
        order: Option<&OrderKey>,
        why: Option<(&str, &Actor)>,
        expires: Day,
    ) -> EntryId {
        let lot = |points| vec![LotPart { expires, revived: false, points }];
        let entry = self.enter(at, points, cause, order, why, lot(points));
        let paid = self.state.ledger.debt.min(points);
        if paid > 0 {
            self.enter(at, -paid, Cause::DebtPayment, order, None, lot(-paid));
        }
        entry
    }

    /// Points of an order become active: cashback, or an offer's bonus at the expense of whoever funds it.
    pub fn earn_by(&mut self, source: EarnedBy, at: Timestamp, points: i64, order: &OrderKey, expires: Day) {
        let (cause, funded_by) = match source {
            EarnedBy::Cashback => (Cause::Cashback, None),
            EarnedBy::Offer(funded_by) => (Cause::OfferBonus, Some(funded_by)),
        };
        self.funded_by = funded_by;
        self.earn(at, points, cause, Some(order), None, expires);
        self.funded_by = None;
    }

    /// The day on which points that are active at once at `at` expire.
    pub fn expiry_of(&self, at: Timestamp) -> Day {
        self.day(at).plus(self.context.policy.loyalty.lot_days)
    }

    /// Whether something that takes effect now can earn: there is a card that is not closed. The flag `loyalty.earn` is
    /// not asked here: an event that earns while it is off is refused as a whole (`orders`).
    pub fn earns(&self) -> bool {
        self.state.card.as_ref().is_some_and(|card| card.status != crate::card::CardStatus::Closed)
    }

    pub fn signal(
        &mut self,
        kind: SignalKind,
        at: Timestamp,
        shop_id: Option<&ShopId>,
        order: Option<&OrderKey>,
        detail: &str,
    ) {
        let (shop_id, order) = (shop_id.cloned(), order.cloned());
        self.emit(Event::Signal { kind, at, shop_id, order, detail: detail.into() });
    }

    pub fn tier(&self, as_of: AsOf) -> TierState {
        self.state.tier_state(as_of, self.context)
    }

    pub fn rate_permyriad(&self, tier: Tier) -> u32 {
        self.context.policy.loyalty.tier_rate_permyriad[tier.rank()]
    }

    pub fn band(&self, as_of: AsOf) -> Band {
        self.state.band(as_of, self.context)
    }

    /// The band that limits go by: standard for all where the flag is off.
    pub fn limit_band(&self, as_of: AsOf) -> Band {
        if self.context.trust_limits { self.band(as_of) } else { Band::Standard }
    }

    /// Says so where the score is another than the one last announced.
    pub fn announce_trust(&mut self, at: Timestamp, cause: &str) {
        // What stands is the score of all that is known: a late order does not undo a flag of today.
        let known = self.state.fact_time.max(self.state.standing.updated);
        let score = self.state.score(AsOf::new(at.max(known)), self.context);
        if score != self.state.standing.score {
            self.emit(Event::Trust { at, score, cause: cause.into() });
        }
    }

    /// The record of an ended order, read back from the journal row that its fact names.
    pub fn record(&self, key: u64, seq: u64) -> Result<Record, Refusal> {
        let in_row = |events: &[Event]| {
            events.iter().rev().find_map(|event| event.record().filter(|r| r.order.fingerprint() == key).cloned())
        };
        in_row(&self.events)
            .or_else(|| self.recalled_row(seq).and_then(in_row))
            .ok_or_else(|| Refusal::new(Code::Internal, format!("row {seq} does not hold the order's record")))
    }

    /// The events of a row that was asked for (see `orders::recalls`).
    pub fn recalled_row(&self, seq: u64) -> Option<&'a [Event]> {
        self.recalled.iter().find(|(row, _)| *row == seq).map(|(_, events)| events.as_slice())
    }
}

/// The id of the `n`th entry.
pub(super) fn entry_id(n: u64) -> EntryId {
    // "e" and digits are always of an id's alphabet.
    EntryId::new(&format!("e{}", n + 1)).unwrap_or_else(|_| unreachable!())
}

impl State {
    /// The tier as of a moment.
    #[must_use]
    pub fn tier_state(&self, as_of: AsOf, context: &Context) -> TierState {
        tier_at(&self.facts, as_of, &context.calendar, &context.policy.loyalty)
    }

    fn counts(&self, as_of: AsOf, context: &Context) -> trust::Counts {
        let mut counts = trust::count(&self.facts, as_of, &context.calendar, &context.policy.trust);
        let confirmed = self.standing.flags.iter().filter(|f| f.confirmed_at.is_some_and(|at| at <= as_of.at)).count();
        counts.confirmed_flags = i64::try_from(confirmed).unwrap_or(i64::MAX);
        counts
    }

    /// The trust score as of a moment.
    #[must_use]
    pub fn score(&self, as_of: AsOf, context: &Context) -> i64 {
        let policy = &context.policy.trust;
        let capped = trust::is_capped(&self.standing.flags, as_of.at, &context.calendar, policy);
        trust::score(&self.counts(as_of, context), capped, policy)
    }

    /// The trust band as of a moment.
    #[must_use]
    pub fn band(&self, as_of: AsOf, context: &Context) -> Band {
        let policy = &context.policy.trust;
        let counts = self.counts(as_of, context);
        let capped = trust::is_capped(&self.standing.flags, as_of.at, &context.calendar, policy);
        let of_age = self.card.as_ref().is_some_and(|card| {
            as_of.at.micros_since(card.since) >= i64::from(policy.priority_card_days) * Timestamp::DAY
        });
        let has_standing =
            of_age && counts.paid_minor >= policy.priority_paid_minor && counts.paid_days >= policy.priority_days;
        trust::band(trust::score(&counts, capped, policy), has_standing)
    }
}
