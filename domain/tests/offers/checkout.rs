//! What is quoted is held, what is held is captured, and what is released was never there: for made-up carts and
//! catalogues, a real customer's state, and the exchanges with promos as a coordinator would begin them.

use std::sync::Arc;

use adal_domain::{
    checkout::{
        self, HeldOffer, LineQuantity, Priced, Pricing, Quote,
        reserve::{Marks, together},
    },
    customer::{Command, Event, HoldRequest, OfferedHold, Reply, State, marketing::Marketing},
    entity::{EntityKey, EntityKind},
    ids::{Actor, ExchangeId, HoldId, OrderId, OrderKey, Word},
    offers::{CompiledOffers, Reason, Use},
    order_event::{CancelledBy, ChargedBy, Fault, OrderEvent, OrderFact},
    promo::{
        KeyHash, Token, Used,
        book::{BookEvent, Part},
    },
    time::Timestamp,
};
use proptest::{prelude::*, sample::Index};

use crate::{
    generate::cases,
    journal::{Journal, context_of},
    plain::limits,
    say::Case,
};

const TTL_S: i64 = 900;

/// A till: a customer with points, and the case's catalogue.
pub struct Till {
    pub case: Case,
    pub journal: Journal,
    now: Timestamp,
}

impl Till {
    pub fn new(mut case: Case) -> Self {
        // An id is one offer's in a catalogue; and some offers are limited per customer, which the engine leaves to us.
        let mut seen = std::collections::HashSet::new();
        case.offers.retain(|(id, _, _)| seen.insert(id.clone()));
        for (_, _, offer) in case.offers.iter_mut().step_by(2) {
            Arc::make_mut(offer).limits.per_customer = Some(1);
        }
        case.cart.codes = case.codes.iter().map(|code| code.typed.clone()).collect();
        let mut context = context_of(case.policy.clone());
        context.revision = 1;
        let (now, mut journal) = (case.now, Journal::new(context));
        let by = || Actor::new("admin").unwrap();
        let points = Command::Adjust { points: 400, reason: "start".to_owned(), by: by() };
        let vip = case.shopper.segments.clone();
        let join = Command::ChangeSegments { join: vip, leave: Vec::<Word>::new(), by: by() };
        for command in [Command::IssueCard { since: None, barcode: None }, points, join] {
            journal.run(now, &command).unwrap();
        }
        Self { case, journal, now }
    }

    pub fn marketing(&self) -> Marketing {
        self.journal.state.marketing().cloned().unwrap_or_default()
    }

    pub fn shopper(&self) -> adal_domain::offers::Shopper {
        self.journal.state.shopper(&self.journal.context, self.now)
    }

    pub fn quote(&self) -> Result<(Priced, String), adal_domain::errors::Refusal> {
        let context = &self.journal.context;
        let facts = self.journal.state.before_hold(context, self.now, None).quote_facts(context, self.now);
        let marketing = self.marketing();
        let uses = |one: &Use<'_>| {
            limits(one)?;
            let allowed = marketing.allows(one.offer_id, &one.offer.limits, self.now, &context.calendar);
            allowed.map_err(Reason::LimitReached)
        };
        let priced = checkout::quote(&Pricing {
            cart: &self.case.cart,
            facts: &facts,
            policy: &context.policy,
            calendar: &context.calendar,
            revision: context.revision,
            offers: &CompiledOffers::compile(1, self.case.offers.iter().cloned()),
            codes: &self.case.codes,
            uses: &uses,
            now: self.now,
            explain: false,
        })?;
        Ok((priced, facts.print()))
    }

    /// Prices the cart, with as many of the points as it allows; and reserves what it needs, as promos would.
    pub fn hold(&mut self, name: &str) -> Option<(Quote, Quote, Vec<Part>)> {
        let (priced, facts) = self
            .quote()
            .or_else(|refusal| {
                self.case.cart.points_to_burn = refusal.max.unwrap_or(0);
                self.quote()
            })
            .unwrap();
        let mut cart = self.case.cart.clone();
        let offers: Vec<HeldOffer> = priced.applied.iter().map(HeldOffer::from).collect();
        let parts = self.parts(name, &offers);
        let hold_id = HoldId::new(name).unwrap();
        let offered = OfferedHold {
            hold_id,
            at: self.now,
            expires_at: self.now.plus_seconds(TTL_S),
            facts,
            quote: Box::new(priced.quote.clone()),
            offers,
            max_discount_permyriad: self.journal.context.policy.checkout.max_discount_permyriad,
            parts: parts.clone(),
            link_keys: vec![],
            addresses: vec![],
        };
        if priced.applied.is_empty() {
            cart.codes.clear();
        }
        let request = HoldRequest {
            cart,
            ttl_s: Some(TTL_S),
            expected_total_minor: Some(priced.quote.total_minor),
            scan_step: None,
            no_burn: None,
            offered: (!priced.applied.is_empty()).then(|| Box::new(offered)),
        };
        match self.journal.run(self.now, &Command::Hold(request)).unwrap() {
            Reply::Held(held) => Some((priced.quote, *held, parts)),
            other => panic!("{other:?}"),
        }
    }

    fn parts(&self, name: &str, offers: &[HeldOffer]) -> Vec<Part> {
        let (calendar, owner) = (&self.journal.context.calendar, EntityKey::new(EntityKind::Customer, "c1"));
        let of = |held: &HeldOffer| {
            let unique = held.unique_code().map(|_| KeyHash([1; 16]));
            Marks::default().needs(&held.offer_id, &held.offer, unique, held.discount_minor, (calendar, self.now))
        };
        let needs = together(offers.iter().flat_map(of).collect());
        let (exchange, expires_at) = (ExchangeId::new(name).unwrap(), self.now.plus_seconds(TTL_S));
        needs
            .iter()
            .zip(1..)
            .map(|(need, seq)| {
                let request = Marks::default().request(need, &exchange, &owner, expires_at, false);
                Part::new(&need.promo, &request, Token { seq, index: 0 }, need.minor)
            })
            .collect()
    }

    /// What a command makes promos take; `None` where it ends no hold that they know.
    fn taken(&mut self, command: &Command) -> (Reply, Option<Vec<Used>>) {
        let (reply, events) = self.journal.run_and_see(self.now, command);
        let ended = events.into_iter().find_map(|event| match event {
            Event::Book(BookEvent::Ended { used, .. }) => Some(used),
            _ => None,
        });
        (reply.unwrap(), ended)
    }

    pub fn capture(&mut self, held: &Quote, lines: Option<Vec<LineQuantity>>) -> (Quote, Option<Vec<Used>>) {
        let hold_id = held.hold.as_ref().unwrap().hold_id.clone();
        let order_id = OrderId::new("order").unwrap();
        match self.taken(&Command::Capture { hold_id, order_id, lines, late: None }) {
            (Reply::Captured { quote, uncovered, .. }, used) => {
                assert_eq!(uncovered, [], "nothing of a live hold is gone");
                (*quote, used)
            }
            (other, _) => panic!("{other:?}"),
        }
    }

    pub fn order(&mut self, event: &str, fact: OrderFact) -> Reply {
        let order_id = OrderId::new("order").unwrap();
        let order = OrderKey { shop_id: self.case.cart.shop_id.clone(), order_id };
        let event_id = adal_domain::ids::EventId::new(event).unwrap();
        self.taken(&Command::Order(OrderEvent { event_id, order, at: self.now, fact })).0
    }

    /// A return; answers what it refunds in all, which is what it refunds line by line.
    pub fn returned(&mut self, event: &str, lines: Vec<LineQuantity>, by_shop: bool) -> i64 {
        let fault = if by_shop { Fault::Shop } else { Fault::Customer };
        match self.order(event, OrderFact::Returned { lines, refund_minor: None, fault }) {
            Reply::Order { changed: true, refund: Some(refund) } => {
                assert_eq!(refund.lines.iter().map(|line| line.refund_minor).sum::<i64>(), refund.refund_minor);
                refund.refund_minor
            }
            other => panic!("{other:?}"),
        }
    }
}

/// What a quote says of money, whatever made it.
fn money(quote: &Quote) -> Quote {
    Quote { quote_id: String::new(), rejected: vec![], hold: None, ..quote.clone() }
}

fn points_of(state: &State) -> (i64, i64) {
    (state.ledger.balance, state.ledger.available())
}

/// What counts for the customer, and what it still owes or waits for.
fn counters(mut marketing: Marketing) -> Marketing {
    marketing.book.over.clear();
    marketing.returned.clear();
    marketing
}

/// What each promo is to take, by what a quote gives.
fn due(till: &Till, quote: &Quote, parts: &[Part]) -> Vec<(Box<str>, i64)> {
    let of = |part: &Part| {
        let mut minors = quote.applied.iter().filter_map(|applied| {
            let (id, _, offer) = till.case.offers.iter().find(|(id, _, _)| id.as_str() == applied.offer_id).unwrap();
            let group = offer.limits.budget_group.as_ref().map(|group| format!("~budget/{group}"));
            let code = part.promo.strip_prefix(id.as_str()).is_some_and(|rest| rest.starts_with('/'));
            let own = &*part.promo == id.as_str() || group.as_deref() == Some(&*part.promo);
            (own || code).then_some(if code { 0 } else { applied.discount_minor })
        });
        let first = minors.next()?;
        Some((part.promo.clone(), minors.fold(first, |sum, minor| sum + minor)))
    };
    parts.iter().filter_map(of).collect()
}

fn told(used: Option<Vec<Used>>) -> Vec<(Box<str>, i64)> {
    used.unwrap_or_default().into_iter().map(|used| (used.promo, used.minor)).collect()
}

fn some(cases: u32) -> ProptestConfig {
    match std::env::var_os("PROPTEST_CASES") {
        Some(_) => ProptestConfig::default(),
        None => ProptestConfig::with_cases(cases),
    }
}

proptest! {
    #![proptest_config(some(400))]

    #[test]
    fn what_is_quoted_is_held_and_what_is_held_is_captured(case in cases(8, 6, 8), points in 0_i64..400) {
        let mut till = Till::new(case);
        till.case.cart.points_to_burn = points;
        let (quoted, held, parts) = till.hold("h").unwrap();
        prop_assert_eq!(money(&held), money(&quoted));
        prop_assert_eq!(held.quote_id == quoted.quote_id || quoted.applied.is_empty(), true);
        let (sold, used) = till.capture(&held, None);
        prop_assert_eq!(money(&sold), money(&held));
        prop_assert_eq!(told(used), due(&till, &sold, &parts));
        prop_assert_eq!(till.journal.replayed(), till.journal.state.clone());
        prop_assert_eq!(points_of(&till.journal.state).0, 400 - sold.points_burned);
    }

    #[test]
    fn less_is_captured_by_its_own_price_and_nothing_more_is_taken(
        case in cases(8, 6, 8),
        points in 0_i64..400,
        less in prop::collection::vec((any::<Index>(), any::<Index>()), 1..6),
    ) {
        let mut till = Till::new(case);
        till.case.cart.points_to_burn = points;
        let (_, held, parts) = till.hold("h").unwrap();
        let mut wanted: Vec<LineQuantity> = Vec::new();
        for (line, quantity) in less {
            let line = line.get(&till.case.cart.lines);
            let quantity = 1 + i64::try_from(quantity.index(usize::try_from(line.quantity).unwrap())).unwrap();
            if !wanted.iter().any(|known| known.line_id == line.line_id) {
                wanted.push(LineQuantity { line_id: line.line_id.clone(), quantity });
            }
        }
        let (sold, used) = till.capture(&held, Some(wanted));
        let sum = |of: fn(&checkout::QuoteLine) -> i64| sold.lines.iter().map(of).sum::<i64>();
        prop_assert_eq!(sum(|line| line.discount_minor), sold.discount_minor);
        prop_assert_eq!(sum(|line| line.total_minor) + sold.delivery_minor, sold.total_minor);
        prop_assert!(sold.lines.iter().all(|line| line.total_minor >= 0 && line.discount_minor >= 0));
        prop_assert!(sold.points_burned <= held.points_burned);
        let used = told(used);
        for (promo, minor) in &used {
            prop_assert!(parts.iter().any(|part| part.promo == *promo && *minor <= part.minor), "{}: {}", promo, minor);
        }
        for ((promo, taken), (due_at, minor)) in used.iter().zip(due(&till, &sold, &parts)) {
            prop_assert_eq!(promo, &due_at);
            let has_budget = promo.starts_with("~budget/")
                || till.case.offers.iter().any(|(id, _, offer)| id.as_str() == &**promo && offer.limits.budget_minor.is_some());
            // A budget pays all that is given. Of an offer without one, less is taken down than a smaller cart may get.
            prop_assert!(if has_budget { *taken == minor } else { *taken <= minor }, "{}: {} {}", promo, taken, minor);
        }
        let counted: Vec<&str> = sold.applied.iter().map(|applied| applied.offer_id.as_str()).collect();
        let uses = till.marketing().uses;
        prop_assert!(uses.iter().all(|uses| uses.uses == 1 && counted.contains(&uses.offer_id.as_str())));
        prop_assert_eq!(points_of(&till.journal.state), (400 - sold.points_burned, 400 - sold.points_burned));
    }

    #[test]
    fn what_is_released_runs_out_or_is_cancelled_leaves_every_counter_as_it_was(
        case in cases(8, 6, 8),
        points in 0_i64..400,
        end in 0..3,
    ) {
        let mut till = Till::new(case);
        till.case.cart.points_to_burn = points;
        let (before, had) = (counters(till.marketing()), points_of(&till.journal.state));
        let (_, held, parts) = till.hold("h").unwrap();
        let hold_id = held.hold.as_ref().unwrap().hold_id.clone();
        let used = match end {
            0 => till.taken(&Command::Release { hold_id }).1,
            1 => {
                till.now = till.now.plus_seconds(TTL_S);
                till.taken(&Command::Wake).1
            }
            _ => {
                let (_, used) = till.capture(&held, None);
                prop_assert_eq!(told(used).len(), parts.len());
                till.order("e", OrderFact::Cancelled { by: CancelledBy::Shop, after_picking: false });
                let returns: Vec<Box<str>> =
                    till.marketing().book.returns.iter().map(|(_, used)| used.promo.clone()).collect();
                prop_assert_eq!(returns, parts.iter().map(|part| part.promo.clone()).collect::<Vec<_>>());
                till.journal.state.marketing().map(|_| Vec::new())
            }
        };
        prop_assert!(used.unwrap_or_default().is_empty());
        let mut after = counters(till.marketing());
        after.book.returns.clear();
        prop_assert_eq!(after, before);
        prop_assert_eq!(points_of(&till.journal.state), had);
        prop_assert_eq!(till.journal.replayed(), till.journal.state.clone());
    }

    #[test]
    fn however_a_sale_comes_back_its_refunds_are_what_was_paid_and_its_points_are_undone(
        case in cases(8, 6, 8),
        points in 0_i64..400,
        cuts in prop::collection::vec((any::<Index>(), any::<Index>(), any::<bool>()), 0..8),
    ) {
        let mut till = Till::new(case);
        till.case.cart.points_to_burn = points;
        let (_, held, _) = till.hold("h").unwrap();
        let (sold, _) = till.capture(&held, None);
        let lines = till.case.cart.lines.clone();
        till.order("placed", OrderFact::Placed {
            lines: lines.clone(), total_minor: None, charged_by: ChargedBy::Ordered, link_keys: vec![],
        });
        till.order("completed", OrderFact::Completed { paid_minor: sold.total_minor });
        let mut left: Vec<LineQuantity> = lines
            .iter()
            .map(|line| LineQuantity { line_id: line.line_id.clone(), quantity: line.quantity })
            .collect();
        let mut refunded = 0;
        for (n, (line, quantity, by_shop)) in cuts.into_iter().enumerate() {
            if left.is_empty() {
                break;
            }
            let i = line.index(left.len());
            let quantity = 1 + i64::try_from(quantity.index(usize::try_from(left[i].quantity).unwrap())).unwrap();
            let back = vec![LineQuantity { line_id: left[i].line_id.clone(), quantity }];
            refunded += till.returned(&format!("r{n}"), back, by_shop);
            prop_assert!(refunded <= sold.total_minor);
            left[i].quantity -= quantity;
            left.retain(|line| line.quantity > 0);
        }
        if !left.is_empty() {
            refunded += till.returned("rest", left, false);
        }
        // Of lines that cost nothing none has a share of the delivery's money: it comes back by a named refund alone.
        prop_assert_eq!(refunded, if sold.subtotal_minor == 0 { 0 } else { sold.total_minor });
        prop_assert_eq!(points_of(&till.journal.state), (400, 400));
        prop_assert!(till.journal.state.ledger.pending.is_empty(), "{:?}", till.journal.state.ledger.pending);
        prop_assert_eq!(till.journal.replayed(), till.journal.state.clone());
    }
}
