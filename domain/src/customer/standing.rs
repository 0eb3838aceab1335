//! Reads: what a card, a checkout or a dashboard sees of a customer, as of a moment. No event, no change.

use super::{
    Context, State,
    marketing::Marketing,
    read::{Band, CardView, Expiring, ReviewView, TrustView},
    tier::AsOf,
    trust::scaled,
};
use crate::{
    card::{Barcode, CardStatus},
    checkout::{Facts, Standing},
    errors::Code,
    ids::CustomerId,
    offers::Shopper,
    qr::Step,
    time::Timestamp,
};

impl State {
    /// Whose state this is; `None` for a guest, whose key is no customer id.
    #[must_use]
    pub fn customer_id(&self) -> Option<CustomerId> {
        CustomerId::new(&self.id).ok()
    }

    /// The moment of a read: the clock's, or the latest fact's where the shop's clock is ahead.
    fn read_at(&self, now: Timestamp) -> Timestamp {
        now.max(self.fact_time)
    }

    /// The card; `None` where there is none.
    #[must_use]
    pub fn card_view(&self, context: &Context, now: Timestamp) -> Option<CardView> {
        let card = self.card.as_deref()?;
        let now = self.read_at(now);
        let (state, _) = self.settled(context, now);
        let tier = state.tier_state(AsOf::new(now), context);
        let ledger = &state.ledger;
        let available = ledger.available();
        let calendar = &context.calendar;
        let until = calendar.day(now).plus(context.policy.loyalty.expiring_days);
        let mut expiring: Vec<Expiring> = Vec::new();
        for lot in ledger.lots.iter().filter(|lot| lot.expires() <= until) {
            let at = calendar.start(lot.expires());
            match expiring.last_mut().filter(|last| last.at == at) {
                Some(last) => last.points += lot.points(),
                None => expiring.push(Expiring { points: lot.points(), at }),
            }
        }
        let grace_days = context.policy.loyalty.tier_grace_days;
        Some(CardView {
            customer_id: self.customer_id()?,
            barcode: card.barcode,
            status: card.status,
            reason: card.reason.as_deref().map(str::to_owned),
            tier: tier.tier,
            tier_grace_until: tier.grace_from.map(|from| calendar.start(from.plus(grace_days))),
            since: card.since,
            balance: ledger.balance,
            available,
            held: ledger.balance - available,
            pending: ledger.pending(),
            under_review: ledger.under_review(),
            debt: ledger.debt,
            expiring,
        })
    }

    /// The trust score and its counts, as of the moment of the read. The history is read from the journal.
    /// `None` for a guest.
    #[must_use]
    pub fn trust_view(&self, context: &Context, now: Timestamp) -> Option<TrustView> {
        let as_of = AsOf::new(self.read_at(now));
        let standing = &self.standing;
        Some(TrustView {
            customer_id: self.customer_id()?,
            score: self.score(as_of, context),
            band: self.band(as_of, context),
            total_orders: u64::from(standing.total_orders),
            completed_orders: u64::from(standing.completed_orders),
            disputes_opened: 0,
            disputes_won_by_customer: 0,
            disputes_won_by_seller: 0,
            fraud_flags: standing.flags.iter().map(|flag| flag.flag.to_string()).collect(),
            last_updated: (standing.updated.0 != 0).then_some(standing.updated),
            history: Vec::new(),
        })
    }

    /// Earnings under review.
    #[must_use]
    pub fn reviews(&self) -> Vec<ReviewView> {
        self.ledger
            .reviews
            .iter()
            .map(|review| ReviewView {
                entry: review.entry.clone(),
                points: review.points,
                at: review.at,
                shop_id: review.order.shop_id.clone(),
                order_id: review.order.order_id.clone(),
                limit: review.limit.to_string(),
            })
            .collect()
    }

    /// What of the customer goes into a quote.
    #[must_use]
    pub fn standing(&self, context: &Context, now: Timestamp) -> Standing {
        let now = self.read_at(now);
        let (state, _) = self.settled(context, now);
        let policy = &context.policy;
        let as_of = AsOf::new(now);
        let band = state.band(as_of, context);
        let earns = context.earn && state.card.as_ref().is_some_and(|card| card.status != CardStatus::Closed);
        let tier = state.tier_state(as_of, context).tier;
        let today = context.calendar.day(now);
        let burned = if state.counters.burn_day == today { state.counters.burned } else { 0 };
        let held: i64 = state.holds.iter().map(super::hold::Hold::points).sum();
        let limit_band = if context.trust_limits { band } else { Band::Standard };
        let limit = scaled(policy.limits.points_burned, limit_band);
        Standing {
            customer_id: self.customer_id(),
            rate_permyriad: if earns { policy.loyalty.tier_rate_permyriad[tier.rank()] } else { 0 },
            available: state.ledger.available(),
            burn_share_permyriad: match band {
                Band::Manual => 0,
                Band::Strict => policy.checkout.burn_share_strict_permyriad,
                Band::Standard | Band::Priority => policy.checkout.burn_share_permyriad,
            },
            no_burn: state.burn_refusal(context, now),
            burn_left_today: limit.saturating_sub(burned).saturating_sub(held),
        }
    }

    /// What of the customer goes into a quote, offers included.
    #[must_use]
    pub fn quote_facts(&self, context: &Context, now: Timestamp) -> Facts {
        Facts { standing: self.standing(context, now), shopper: self.shopper(context, now) }
    }

    /// What of the customer decides about offers.
    #[must_use]
    pub fn shopper(&self, context: &Context, now: Timestamp) -> Shopper {
        let now = self.read_at(now);
        let as_of = AsOf::new(now);
        let customer_id = self.customer_id();
        let card = self.card.as_deref();
        let open_card = card.is_some_and(|card| card.status != CardStatus::Closed);
        let tier = self.tier_state(as_of, context).tier;
        let live = self.open_orders.len() + self.holds.iter().filter(|hold| !hold.expired).count();
        // A sale whose order has not come yet is a captured hold; one whose order has come is counted with it.
        let known =
            |key: u64| self.fact(key).is_some() || self.open_orders.iter().any(|open| open.order.fingerprint() == key);
        let captured = |m: &Marketing| m.captured.len() + m.sales.iter().filter(|sale| !known(sale.key)).count();
        let sales = self.marketing().map_or(0, captured);
        let of_all = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
        let is_customer = customer_id.is_some();
        Shopper {
            customer_id,
            tier: card.map(|_| tier),
            trust: is_customer.then(|| self.score(as_of, context)),
            segments: self.marketing().map(|marketing| marketing.segments.clone()).unwrap_or_default(),
            completed_orders: i64::from(self.standing.completed_orders),
            live_orders: of_all(live + sales),
            account_age_days: card.map(|card| now.micros_since(card.since).max(0) / Timestamp::DAY),
            earn_rate_permyriad: (context.earn && open_card)
                .then(|| context.policy.loyalty.tier_rate_permyriad[tier.rank()]),
            promos: context.promos,
            campaigns: context.campaigns,
        }
    }

    /// Scans of this customer's QR code that a day may have, by trust band.
    #[must_use]
    pub fn scan_limit(&self, context: &Context, now: Timestamp) -> i64 {
        let scans = context.policy.limits.scans;
        if scans == 0 { i64::MAX } else { self.by_trust(scans, context, now) }
    }

    /// A limit on what the customer may try, scaled by its trust band at a read of `now`.
    #[must_use]
    pub fn by_trust(&self, limit: i64, context: &Context, now: Timestamp) -> i64 {
        let band = if context.trust_limits { self.band(AsOf::new(self.read_at(now)), context) } else { Band::Standard };
        scaled(limit, band)
    }

    /// Why no point can be burned now, if so.
    #[must_use]
    pub fn burn_refusal(&self, context: &Context, now: Timestamp) -> Option<Code> {
        let Some(card) = self.card.as_deref() else { return Some(Code::BurnNotAllowed) };
        match card.status {
            CardStatus::Blocked => return Some(Code::CardBlocked),
            CardStatus::Closed => return Some(Code::CardClosed),
            CardStatus::Active => {}
        }
        if !context.burn {
            return Some(Code::FeatureDisabled);
        }
        if card.burns_from.is_some_and(|from| now < from) {
            return Some(Code::BurnNotAllowed);
        }
        (self.band(AsOf::new(self.read_at(now)), context) == Band::Manual).then_some(Code::BurnNotAllowed)
    }

    /// Whether a pay scan's step was used up by a capture.
    #[must_use]
    pub fn is_step_used(&self, step: Step) -> bool {
        self.used_steps.iter().any(|(used, _)| *used == step)
    }

    /// The card's barcode.
    #[must_use]
    pub fn barcode(&self) -> Option<Barcode> {
        self.card.as_deref().map(|card| card.barcode)
    }
}
