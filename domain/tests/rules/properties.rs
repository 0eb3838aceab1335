//! What must hold for any sequence of commands: orders early, late, twice and in any order, returns, holds, captures,
//! adjustments, reviews, flags, changes of the card, and time.

use std::collections::BTreeMap;

use adal_domain::{
    checkout::quote,
    customer::{CardChange, Command, Event, Reply, facts::FactKind, order::Record, tier::AsOf},
    ids::HoldId,
    line::{Line, Unit},
    order_event::{CancelledBy, ChargedBy},
    policy::Tier,
    qr::Step,
    time::{Day, Timestamp},
};
use proptest::prelude::*;

use crate::{
    journal::{Journal, context},
    say,
};

/// A step of a sequence, before it is known what it meets.
#[derive(Debug, Clone)]
enum Op {
    Card,
    Change(CardChange),
    Adjust(i64),
    Approve(bool),
    Review(bool),
    Raise,
    Flag(bool),
    Buy {
        order: u8,
        cart: u8,
        paid: i64,
        late: i64,
    },
    Place {
        order: u8,
        cart: u8,
        charged: bool,
        late: i64,
    },
    Weigh {
        order: u8,
        grams: i64,
        late: i64,
    },
    Complete {
        order: u8,
        paid: i64,
        late: i64,
    },
    Cancel {
        order: u8,
        customer: bool,
        picked: bool,
        late: i64,
    },
    Return {
        order: u8,
        line: u8,
        quantity: i64,
        refund: Option<i64>,
        late: i64,
    },
    Hold {
        cart: u8,
        points: i64,
        ttl: i64,
        step: Option<u32>,
    },
    Capture {
        hold: u8,
        order: u8,
        pieces: Option<i64>,
    },
    Release {
        hold: u8,
    },
    /// A cart bought with points, from the hold to the completion.
    Sale {
        order: u8,
        cart: u8,
        share: i64,
    },
    /// A part (permille) of a line of a completed order comes back.
    Back {
        order: u8,
        line: u8,
        permille: i64,
        late: i64,
    },
    /// A completed order was weighed late, at so many permille of what was ordered.
    Late {
        order: u8,
        permille: i64,
    },
    Wake,
    Again,
}

/// Seconds that pass before a step: mostly little, sometimes years.
fn pause() -> impl Strategy<Value = i64> {
    prop_oneof![
        5 => 0_i64..120,
        4 => 120_i64..7200,
        3 => 3600_i64..200_000,
        2 => Just(86_400_i64),
        1 => 86_400_i64 * 5..86_400 * 40,
        1 => 86_400_i64 * 100..86_400 * 420,
    ]
}

/// Seconds by which an event comes late.
fn late() -> impl Strategy<Value = i64> {
    prop_oneof![6 => Just(0_i64), 2 => 0_i64..7200, 1 => 86_400_i64..86_400 * 40, 1 => 86_400_i64 * 40..86_400 * 405, 1 => -400_i64..0]
}

fn op() -> impl Strategy<Value = Op> {
    let change = prop_oneof![
        3 => Just(CardChange::Block), 6 => Just(CardChange::Unblock), 2 => Just(CardChange::Reissue), 1 => Just(CardChange::Close)
    ];
    let order = || 0_u8..6;
    let paid = || prop_oneof![Just(-1_i64), Just(0_i64), 0_i64..40_000_000];
    prop_oneof![
        2 => Just(Op::Card),
        1 => change.prop_map(Op::Change),
        3 => prop_oneof![-500_i64..2000, Just(5000_i64)].prop_map(Op::Adjust),
        1 => any::<bool>().prop_map(Op::Approve),
        1 => any::<bool>().prop_map(Op::Review),
        1 => Just(Op::Raise),
        1 => any::<bool>().prop_map(Op::Flag),
        8 => (0_u8..30, 0_u8..7, paid(), late()).prop_map(|(order, cart, paid, late)| Op::Buy { order, cart, paid, late }),
        3 => (order(), 0_u8..6, any::<bool>(), late())
            .prop_map(|(order, cart, charged, late)| Op::Place { order, cart, charged, late }),
        3 => (0_u8..12, 0_i64..1200, late()).prop_map(|(order, grams, late)| Op::Weigh { order, grams, late }),
        3 => (order(), paid(), late()).prop_map(|(order, paid, late)| Op::Complete { order, paid, late }),
        1 => (order(), any::<bool>(), any::<bool>(), late())
            .prop_map(|(order, customer, picked, late)| Op::Cancel { order, customer, picked, late }),
        8 => (0_u8..12, 0_u8..3, 1_i64..600, prop::option::weighted(0.3, 0_i64..1_000_000), late())
            .prop_map(|(order, line, quantity, refund, late)| Op::Return { order, line, quantity, refund, late }),
        5 => (0_u8..6, prop_oneof![0_i64..50, 0_i64..3000], 30_i64..3600, prop::option::weighted(0.3, 0_u32..3))
            .prop_map(|(cart, points, ttl, step)| Op::Hold { cart, points, ttl, step }),
        5 => (any::<u8>(), 0_u8..12, prop::option::weighted(0.3, 1_i64..4))
            .prop_map(|(hold, order, pieces)| Op::Capture { hold, order, pieces }),
        2 => any::<u8>().prop_map(|hold| Op::Release { hold }),
        8 => (0_u8..40, 0_u8..7, 0_i64..1001).prop_map(|(order, cart, share)| Op::Sale { order, cart, share }),
        9 => (any::<u8>(), 0_u8..3, prop_oneof![Just(1000_i64), 1_i64..1001], late())
            .prop_map(|(order, line, permille, late)| Op::Back { order, line, permille, late }),
        3 => (any::<u8>(), 750_i64..1050).prop_map(|(order, permille)| Op::Late { order, permille }),
        1 => Just(Op::Wake),
        2 => Just(Op::Again),
    ]
}

/// The carts that sequences buy.
fn cart(n: u8) -> Vec<Line> {
    match n {
        0 => vec![say::line("a", 3, Unit::Piece, 105_000)],
        1 => vec![say::line("a", 1000, Unit::Gram, 120_000), say::line("b", 4, Unit::Piece, 33_333)],
        2 => vec![say::line("a", 2, Unit::Piece, 50_001), say::line("tobacco", 1, Unit::Piece, 70_000)],
        3 => vec![
            say::line("a", 500, Unit::Gram, 99_999),
            say::line("b", 500, Unit::Gram, 1),
            say::line("c", 1, Unit::Piece, 0),
        ],
        4 => vec![say::line("a", 1, Unit::Piece, 15_000_000)],
        // The most that an order may be worth, and the most grams.
        6 => vec![say::line("a", 1_000_000_000, Unit::Gram, 100_000_000_000)],
        _ => vec![say::line("a", 5, Unit::Piece, 250_000_000)],
    }
}

const LINES: [&str; 3] = ["a", "b", "tobacco"];

struct Run {
    journal: Journal,
    clock: Timestamp,
    holds: Vec<HoldId>,
    last: Option<Command>,
    is_checked: bool,
}

impl Run {
    fn new() -> Self {
        Self {
            journal: Journal::new(context()),
            clock: say::time(1, 0),
            holds: Vec::new(),
            last: None,
            is_checked: true,
        }
    }

    fn commands(&self, op: &Op) -> Vec<Command> {
        let at = |late: i64| self.clock.plus_seconds(-late);
        let id = |order: u8| format!("o{order}");
        let state = &self.journal.state;
        let paid_of = |paid: i64, cart_n: u8| if paid < 0 { crate::notation::worth(&cart(cart_n)) } else { paid };
        let hold = |n: u8| {
            // Mostly one that can still be captured, late ones included; else any that ever was.
            let live: Vec<&HoldId> = state.holds.iter().map(|hold| &hold.hold_id).collect();
            let any: Vec<&HoldId> = self.holds.iter().collect();
            let from = if n.is_multiple_of(4) || live.is_empty() { any } else { live };
            from.get(usize::from(n / 4) % from.len().max(1)).copied()
        };
        match op {
            Op::Card => vec![say::card()],
            Op::Change(change) => vec![say::change(*change)],
            Op::Adjust(points) => vec![say::adjust(*points)],
            Op::Approve(approve) => state
                .approvals
                .first()
                .map(|approval| Command::DecideAdjustment {
                    approval_id: approval.approval_id.clone(),
                    approve: *approve,
                    by: say::by("admin-2"),
                })
                .into_iter()
                .collect(),
            Op::Review(release) => state
                .ledger
                .reviews
                .first()
                .map(|review| Command::DecideReview {
                    entry: review.entry.clone(),
                    release: *release,
                    reason: "looked at".to_owned(),
                    by: say::by("support-1"),
                })
                .into_iter()
                .collect(),
            Op::Raise => vec![say::raise("bots")],
            Op::Flag(confirm) => vec![say::decide_flag("bots", *confirm)],
            Op::Buy { order, cart: n, paid, late } => vec![
                say::placed(&id(*order), at(*late), &cart(*n)),
                say::completed(&id(*order), at(*late), paid_of(*paid, *n)),
            ],
            Op::Place { order, cart: n, charged, late } => {
                let charged_by = if *charged { ChargedBy::Delivered } else { ChargedBy::Ordered };
                vec![say::placed_charged(&id(*order), at(*late), &cart(*n), charged_by)]
            }
            Op::Weigh { order, grams, late } => vec![say::weighed(&id(*order), at(*late), &[("a", *grams)])],
            Op::Complete { order, paid, late } => {
                vec![say::completed(&id(*order), at(*late), paid_of(*paid, order % 6))]
            }
            Op::Cancel { order, customer, picked, late } => {
                let by = if *customer { CancelledBy::Customer } else { CancelledBy::Shop };
                vec![say::cancelled(&id(*order), at(*late), by, *picked)]
            }
            Op::Return { order, line, quantity, refund, late } => {
                let name = LINES[usize::from(*line)];
                // Pieces and grams alike: small returns of either.
                let quantity = if quantity % 2 == 0 { quantity % 4 + 1 } else { *quantity };
                vec![say::returned(&id(*order), at(*late), &[(name, quantity)], *refund)]
            }
            Op::Hold { cart: n, points, ttl, step } => {
                vec![say::hold_of(say::cart(&cart(*n), *points), Some(*ttl), step.map(Step))]
            }
            Op::Capture { hold: n, order, pieces } => hold(*n)
                .map(|hold_id| {
                    let lines = pieces.map(|pieces| [("a", pieces)]);
                    say::capture(hold_id, &id(*order), lines.as_ref().map(|lines| &lines[..]))
                })
                .into_iter()
                .collect(),
            Op::Release { hold: n } => hold(*n).map(say::release).into_iter().collect(),
            Op::Sale { .. } => Vec::new(),
            Op::Back { order, line, permille, late } => self
                .completed(*order)
                .map(|record| {
                    let line = &record.lines[usize::from(*line) % record.lines.len()];
                    let quantity = (line.line.quantity * permille / 1000).max(1);
                    let quantity = if *permille == 1000 { line.bought() - line.returned } else { quantity };
                    let lines = [(line.line.line_id.as_str(), quantity.max(1))];
                    say::returned(record.order.order_id.as_str(), at(*late), &lines, None)
                })
                .into_iter()
                .collect(),
            Op::Late { order, permille } => self
                .completed(*order)
                .and_then(|record| {
                    let line = record.lines.iter().find(|line| line.line.unit == Unit::Gram)?;
                    let lines = [(line.line.line_id.as_str(), line.line.quantity * permille / 1000)];
                    Some(say::weighed(record.order.order_id.as_str(), self.clock, &lines))
                })
                .into_iter()
                .collect(),
            Op::Wake => vec![Command::Wake],
            Op::Again => self.last.clone().into_iter().collect(),
        }
    }

    fn step(&mut self, pause: i64, op: &Op) {
        self.clock = self.clock.plus_seconds(pause);
        if let Op::Sale { order, cart, share } = op {
            self.sell(&format!("o{order}"), *cart, *share);
        }
        for command in self.commands(op) {
            self.run(&command);
        }
    }

    /// Holds, captures, places and completes, with `share` permille of the points that can be burned.
    fn sell(&mut self, id: &str, n: u8, share: i64) {
        let lines = cart(n);
        let worth = crate::notation::worth(&lines);
        let available = self.journal.settled(self.clock).ledger.available();
        let points = available.min(worth / 250) * share / 1000;
        let known = self.holds.len();
        self.run(&say::hold(&lines, points, None));
        let burned = self.journal.state.holds.last().map_or(0, |hold| hold.quote.points_burned);
        if self.holds.len() == known {
            return;
        }
        let hold = self.holds[known].clone();
        self.run(&say::capture(&hold, id, None));
        self.run(&say::placed(id, self.clock, &lines));
        self.run(&say::completed(id, self.clock, worth - burned * 100));
    }

    /// The completed order of that number, counted back from the latest.
    fn completed(&self, n: u8) -> Option<Record> {
        let mut orders: Vec<_> = self.journal.events().filter_map(Event::record).collect();
        orders.reverse();
        let key = orders.get(usize::from(n) % orders.len().clamp(1, 20))?.order.fingerprint();
        self.records().remove(&key)
    }

    fn run(&mut self, command: &Command) {
        let before = self.journal.settled(self.clock);
        let expected = self.expected_quote(command);
        let known = self.journal.events().count();
        let result = self.journal.run(self.clock, command);
        let after = &self.journal.state;
        match (&result, command) {
            (Ok(Reply::Held(held)), Command::Hold(request)) => {
                let mut priced = (**held).clone();
                self.holds.push(priced.hold.take().unwrap().hold_id);
                assert_eq!(Some(&priced), expected.as_ref(), "a hold is what was quoted");
                if request.scan_step.is_none() {
                    assert_eq!(after.ledger.available(), before.ledger.available() - priced.points_burned);
                }
                assert_eq!(after.ledger.balance, before.ledger.balance, "a hold takes nothing");
            }
            (Ok(Reply::Captured { quote, uncovered, .. }), Command::Capture { hold_id, lines, .. }) => {
                let hold = before.holds.iter().find(|hold| hold.hold_id == *hold_id).unwrap();
                if lines.is_none() {
                    let held = adal_domain::checkout::Quote { hold: None, ..hold.quote.clone() };
                    assert_eq!(**quote, held, "a capture is what was held");
                }
                let missing: i64 = uncovered.iter().map(|part| part.points).sum();
                assert!((0..=quote.points_burned).contains(&missing));
                let burned: i64 = self
                    .journal
                    .events()
                    .skip(known)
                    .map(|event| match event {
                        Event::Burned { spent, .. } => spent.iter().map(|part| part.points).sum(),
                        _ => 0,
                    })
                    .sum();
                assert_eq!(burned, quote.points_burned - missing);
                assert!(after.holds.iter().all(|hold| hold.hold_id != *hold_id));
            }
            (Ok(Reply::Released(_)), Command::Release { hold_id }) => {
                let hold = before.holds.iter().find(|hold| hold.hold_id == *hold_id).unwrap();
                let today = self.journal.context.calendar.day(self.clock.max(self.journal.last));
                let back: i64 = hold.parts.iter().filter(|part| part.expires > today).map(|part| part.points).sum();
                assert_eq!(after.ledger.available(), before.ledger.available() + back, "a release gives back");
            }
            _ => {}
        }
        if self.is_checked {
            self.check();
        }
        self.last = Some(command.clone());
    }

    /// What a quote says just before the hold.
    fn expected_quote(&self, command: &Command) -> Option<adal_domain::checkout::Quote> {
        let Command::Hold(request) = command else { return None };
        let (journal, now) = (&self.journal, self.clock.max(self.journal.last));
        // A hold with the scan of an open one replaces it first: what it will meet is not what a quote sees now.
        let mut state = journal.settled(self.clock);
        if let Some(step) = request.scan_step
            && let Some(hold) = state.holds.iter().find(|hold| hold.step == Some(step) && !hold.expired).cloned()
        {
            let mut copy = Journal::new(journal.context.clone());
            (copy.state, copy.last) = (state, journal.last);
            copy.run(self.clock, &say::release(&hold.hold_id)).unwrap();
            state = copy.state;
        }
        let standing = state.standing(&journal.context, now);
        quote(&request.cart, &standing, &journal.context.policy, journal.context.revision, now).ok()
    }

    /// What holds after every step.
    fn check(&self) {
        let journal = &self.journal;
        for days in [0, 1, 40, 800] {
            let then = self.clock.plus_seconds(days * 86_400);
            let settled = journal.settled(then);
            let entries = journal.statement(then);
            let sum: i64 = entries.iter().map(|entry| entry.points).sum();
            assert_eq!(sum, settled.ledger.balance, "the statement's sum is the balance");
            let mut balance = 0;
            for entry in &entries {
                balance += entry.points;
                assert_eq!(entry.balance_after, balance, "{entry:?}");
                assert!(entry.points != 0);
            }
            assert!(adal_domain::invariants::broken(&settled).is_empty());
            let again = settled.settled(&journal.context, then.max(journal.last)).1;
            assert!(again.is_empty(), "settling twice is settling once: {again:?}");
        }
        let soon = journal.settled(self.clock.plus_seconds(3 * 86_400));
        let far = self.clock.plus_seconds(400 * 86_400).max(journal.last);
        assert_eq!(*soon.settled(&journal.context, far).0, journal.settled(far), "settling in two steps is one");
        for record in self.records().values() {
            assert!(record.clawed_back <= record.cashback, "{record:?}");
            assert!(record.refunded() <= record.paid_minor, "{record:?}");
            assert!(record.lines.iter().all(|line| line.returned <= line.bought()), "{record:?}");
            let money: i64 = record.lines.iter().map(|line| line.money_minor).sum();
            let worth: i64 = record.lines.iter().map(|line| line.line.total_minor).sum();
            assert!(money == record.paid_minor || worth == 0, "{record:?}");
        }
    }

    /// Every completed order as last written.
    fn records(&self) -> BTreeMap<u64, Record> {
        let records = self.journal.events().filter_map(Event::record);
        records.map(|record| (record.order.fingerprint(), record.clone())).collect()
    }

    /// Every ended order: its own time, the money kept, how it ended; by time, equal times by arrival.
    fn facts(&self) -> Vec<(Timestamp, i64, FactKind)> {
        let mut facts: Vec<(u64, Timestamp, i64, FactKind)> = Vec::new();
        for event in self.journal.events() {
            match event {
                Event::OrderCompleted { record, .. } => {
                    facts.push((record.order.fingerprint(), record.at, record.paid_minor, FactKind::Completed));
                }
                // The latest of that id: it may be used again once its order is forgotten.
                Event::OrderAmended { record, .. } => {
                    let key = record.order.fingerprint();
                    let fact = facts.iter_mut().rfind(|(known, ..)| *known == key).unwrap();
                    fact.2 = record.paid_minor - record.refunded();
                }
                Event::OrderCancelled { order, at, by, after_picking, .. } => {
                    let late = *by == CancelledBy::Customer && *after_picking;
                    let kind = if late { FactKind::CancelledAfterPicking } else { FactKind::Cancelled };
                    facts.push((order.fingerprint(), *at, 0, kind));
                }
                _ => {}
            }
        }
        facts.sort_by_key(|(_, at, ..)| *at);
        facts.into_iter().map(|(_, at, paid, kind)| (at, paid, kind)).collect()
    }
}

/// The tier of `now` by walking every single day: written from the rules' text, slow and plain.
fn plain_tier(facts: &[(Timestamp, i64, FactKind)], now: Timestamp) -> (Tier, Option<Day>) {
    let calendar = say::calendar();
    let from = [0, 10_000_000, 30_000_000, 100_000_000];
    let paid: Vec<(i32, i64)> = facts
        .iter()
        .filter(|(at, _, kind)| *at <= now && *kind == FactKind::Completed)
        .map(|(at, paid, _)| (calendar.day(*at).0, *paid))
        .collect();
    let Some((first, _)) = paid.first().copied() else { return (Tier::Bronze, None) };
    let (mut tier, mut reached, mut grace) = (0_usize, first, None);
    for day in first..=calendar.day(now).0 {
        let window = |upto: usize| -> i64 { paid[..upto].iter().filter(|(d, _)| *d > day - 365).map(|(_, p)| p).sum() };
        let before = paid.iter().filter(|(d, _)| *d < day).count();
        if tier > 0 && day >= reached + 365 {
            match grace {
                Some(begun) if day >= begun + 30 => (tier, reached, grace) = (tier - 1, day, None),
                Some(_) => {}
                None if window(before) < from[tier] => grace = Some(day),
                None => {}
            }
        }
        let today = paid.iter().filter(|(d, _)| *d == day).count();
        for upto in before + 1..=before + today {
            let sum = window(upto);
            let carried = (0..4).rfind(|tier| sum >= from[*tier]).unwrap();
            if carried > tier {
                (tier, reached, grace) = (carried, day, None);
            } else if carried == tier {
                grace = None;
            }
        }
    }
    (Tier::ALL[tier], grace.map(Day))
}

/// c, x and the payments, counted plainly.
fn plain_counts(facts: &[(Timestamp, i64, FactKind)], now: Timestamp) -> (i64, i64, i64, usize) {
    let calendar = say::calendar();
    let today = calendar.day(now);
    let mut clean: BTreeMap<Day, i64> = BTreeMap::new();
    let (mut late, mut paid, mut days) = (0, 0, std::collections::BTreeSet::new());
    for (at, money, kind) in facts.iter().filter(|(at, ..)| *at <= now) {
        let day = calendar.day(*at);
        match kind {
            FactKind::Completed => {
                *clean.entry(day).or_default() += i64::from(*money >= 100_000);
                paid += money;
                if *money > 0 {
                    days.insert(day);
                }
            }
            FactKind::CancelledAfterPicking => late += i64::from(day.0 > today.0 - 365),
            FactKind::Cancelled => {}
        }
    }
    (clean.values().map(|n| (*n).min(2)).sum(), late, paid, days.len())
}

proptest! {
    // A third of the usual number: each case is sixty steps, each looked at from five moments.
    #![proptest_config(ProptestConfig { cases: ProptestConfig::default().cases / 3, ..ProptestConfig::default() })]

    #[test]
    fn any_sequence_keeps_the_rules_that_always_hold(ops in prop::collection::vec((pause(), op()), 1..60)) {
        let mut run = Run::new();
        run.step(0, &Op::Card);
        for (pause, op) in &ops {
            run.step(*pause, op);
        }
        let journal = &run.journal;
        prop_assert_eq!(&journal.replayed(), &journal.state, "a replay of the stored bytes");
        prop_assert_eq!(&journal.reloaded(), &journal.state, "a snapshot's round trip");
        let facts = run.facts();
        for days in [0, 20, 200, 380, 800] {
            let now = run.clock.plus_seconds(days * 86_400).max(journal.state.fact_time);
            let tier = journal.state.tier_state(AsOf::new(now), &journal.context);
            prop_assert_eq!((tier.tier, tier.grace_from), plain_tier(&facts, now), "the tier {} days on", days);
            let (clean, late, paid, paid_days) = plain_counts(&facts, now);
            let trust = journal.state.trust_view(&journal.context, now).unwrap();
            if journal.state.standing.flags.is_empty() {
                let (r, s) = (5 * clean.min(40), 10 * late);
                prop_assert_eq!(trust.score, 100 * (50 + r) / (100 + r + s));
                let score = journal.settled(now).standing.score;
                prop_assert_eq!(score, trust.score, "what was announced is what stands");
            }
            if trust.band == adal_domain::customer::read::Band::Priority {
                prop_assert!(paid >= 2_000_000 && paid_days >= 5);
            }
        }
    }

}

proptest! {
    /// Three thirds make a whole: returns in parts end where one return of the same ends.
    #[test]
    fn returns_in_parts_end_where_one_return_ends(
        prices in prop::collection::vec(0_i64..400_000, 1..4),
        pieces in 1_i64..7,
        discount in 0_i64..40_000,
        burn in 0_i64..500,
        parts in prop::collection::vec((0_usize..4, 1_i64..3), 1..12),
    ) {
        let lines: Vec<Line> = prices
            .iter()
            .enumerate()
            .map(|(i, price)| say::line(&format!("l{i}"), pieces, Unit::Piece, price * pieces))
            .collect();
        let mut ends = Vec::new();
        for whole in [false, true] {
            let mut journal = bought(&lines, burn, discount);
            let mut left = vec![0_i64; lines.len()];
            for (line, quantity) in &parts {
                let line = line % lines.len();
                let quantity = (*quantity).min(pieces - left[line]);
                if quantity > 0 {
                    left[line] += quantity;
                    if !whole {
                        let id = format!("l{line}");
                        journal.run(say::time(2, 10), &say::returned("A", say::time(2, 10), &[(&id, quantity)], None)).unwrap();
                    }
                }
            }
            if whole {
                let ids: Vec<String> = (0..lines.len()).map(|i| format!("l{i}")).collect();
                let named: Vec<(&str, i64)> =
                    ids.iter().zip(&left).filter(|(_, n)| **n > 0).map(|(id, n)| (id.as_str(), *n)).collect();
                journal.run(say::time(2, 10), &say::returned("A", say::time(2, 10), &named, None)).unwrap();
            }
            let record = journal.events().filter_map(Event::record).last().unwrap().clone();
            let ledger = journal.settled(say::time(3, 0)).ledger;
            ends.push((record.clawed_back, record.lines, ledger.balance, ledger.debt, ledger.burns));
        }
        prop_assert_eq!(&ends[0], &ends[1]);
    }

    /// All of it returned leaves nothing of the order: points burned are back, cashback is gone.
    #[test]
    fn all_of_it_returned_leaves_nothing(
        prices in prop::collection::vec(100_i64..400_000, 1..4), pieces in 1_i64..7, burn in 0_i64..500, discount in 0_i64..40_000,
    ) {
        let lines: Vec<Line> = prices
            .iter()
            .enumerate()
            .map(|(i, price)| say::line(&format!("l{i}"), pieces, Unit::Piece, price * pieces))
            .collect();
        let mut journal = bought(&lines, burn, discount);
        for i in 0..lines.len() {
            for _ in 0..pieces {
                let id = format!("l{i}");
                journal.run(say::time(3, 0), &say::returned("A", say::time(3, 0), &[(&id, 1)], None)).unwrap();
            }
        }
        let ledger = journal.settled(say::time(4, 0)).ledger;
        prop_assert_eq!((ledger.balance, ledger.debt), (2000, 0));
        prop_assert_eq!(journal.state.facts[0].paid(), 0);
    }

    /// The order of lines in a request changes nothing.
    #[test]
    fn the_order_of_lines_changes_nothing(
        prices in prop::collection::vec(0_i64..400_000, 2..6), burn in 0_i64..500, turn in 1_usize..5,
    ) {
        let lines: Vec<Line> = prices
            .iter()
            .enumerate()
            .map(|(i, price)| {
                let name = if i % 3 == 2 { format!("tobacco{i}") } else { format!("l{i}") };
                say::line(&name, 2, Unit::Piece, price * 2)
            })
            .collect();
        let mut turned = lines.clone();
        turned.rotate_left(turn % lines.len());
        let mut ends = Vec::new();
        for lines in [&lines, &turned] {
            let mut journal = bought(lines, burn, 0);
            let held = journal.events().find_map(|event| match event {
                Event::Held(hold) => Some(hold.quote.clone()),
                _ => None,
            });
            let named: Vec<(&str, i64)> = lines.iter().map(|line| (line.line_id.as_str(), 1)).collect();
            journal.run(say::time(2, 10), &say::returned("A", say::time(2, 10), &named, Some(1000))).ok();
            let by_line = held.map(|mut quote| {
                quote.lines.sort_by(|a, b| a.line_id.cmp(&b.line_id));
                quote
            });
            ends.push((by_line, journal.state));
        }
        prop_assert_eq!(&ends[0], &ends[1]);
    }

    /// Placed, weighed, completed, returned: whatever arrives first, the points are the same.
    #[test]
    fn events_of_an_order_in_any_order_give_the_same_points(
        delivered in 780_i64..1020, returned in 1_i64..400, paid in 1000_i64..300_000, turn in prop::collection::vec(0_usize..4, 4),
        weighed_late in any::<bool>(),
    ) {
        let lines = [say::line("a", 1000, Unit::Gram, 120_000), say::piece("b", 40_000)];
        let weighed_at = if weighed_late { 70 } else { 50 };
        let events = [
            say::placed("A", say::time(1, 40), &lines),
            say::weighed("A", say::time(1, weighed_at), &[("a", delivered)]),
            say::completed("A", say::time(1, 60), paid),
            say::returned("A", say::time(1, 80), &[("a", returned)], None),
        ];
        let mut order = vec![0, 1, 2, 3];
        for (i, j) in turn.into_iter().enumerate() {
            order.swap(i, j);
        }
        let mut ends = Vec::new();
        for order in [vec![0, 1, 2, 3], order] {
            let mut journal = Journal::new(context());
            journal.run(say::time(1, 0), &say::card()).unwrap();
            for i in &order {
                journal.run(say::time(1, 90), &events[*i]).unwrap();
            }
            let state = journal.settled(say::time(3, 0));
            let (ledger, fact) = (state.ledger, state.facts[0]);
            ends.push((ledger.balance, ledger.debt, ledger.lots, fact.paid(), state.standing.score, state.fact_time));
        }
        prop_assert_eq!(&ends[0], &ends[1]);
    }

    /// A feed in order, long after, gives what the days themselves gave.
    #[test]
    fn a_feed_in_order_gives_what_a_live_feed_gave(
        orders in prop::collection::vec((1_i64..40, 0_u8..6, 0_i64..3), 1..25),
    ) {
        let mut feeds = Vec::new();
        for live in [true, false] {
            let mut journal = Journal::new(context());
            journal.run(say::time(0, 0), &say::card()).unwrap();
            let mut minute = 60;
            let end = say::time(1, 60 * 24 * 390);
            for (i, (hours, n, back)) in orders.iter().enumerate() {
                minute += hours * 60 * 9;
                let at = say::time(1, minute);
                let clock = if live { at } else { end };
                let id = format!("o{i}");
                let lines = cart(*n);
                journal.run(clock, &say::placed(&id, at, &lines)).unwrap();
                journal.run(clock, &say::completed(&id, at, crate::notation::worth(&lines))).unwrap();
                if *back > 0 {
                    let at = say::time(1, minute + 30);
                    let clock = if live { at } else { end };
                    journal.run(clock, &say::returned(&id, at, &[("a", *back)], None)).ok();
                }
            }
            let state = journal.settled(end);
            let entries: Vec<_> = journal.statement(end).into_iter().map(|e| (e.at, e.points, e.cause, e.order_id)).collect();
            feeds.push((state.ledger, state.facts.len(), state.standing, state.counters, entries));
        }
        prop_assert_eq!(&feeds[0].4, &feeds[1].4);
        prop_assert_eq!(&feeds[0].0, &feeds[1].0);
        prop_assert_eq!((feeds[0].1, &feeds[0].2, feeds[0].3), (feeds[1].1, &feeds[1].2, feeds[1].3));
    }
}

/// The sequences are worth something only if they come everywhere.
#[test]
fn sequences_reach_every_kind_of_event() {
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let mut seen = BTreeMap::<String, usize>::new();
    let sequences = prop::collection::vec((pause(), op()), 20..60);
    for _ in 0..400 {
        let ops = proptest::strategy::ValueTree::current(&sequences.new_tree(&mut runner).unwrap());
        let mut run = Run::new();
        run.is_checked = false;
        run.step(0, &Op::Card);
        for (pause, op) in &ops {
            run.step(*pause, op);
        }
        for event in run.journal.events() {
            let mut kind = serde_json::to_value(event).unwrap();
            let name = kind.as_object().unwrap().keys().next().unwrap().clone();
            let mut add = |name: String| *seen.entry(name).or_default() += 1;
            let body = kind[&name].take();
            for detail in ["cause", "kind", "end"] {
                if let Some(word) = body.get(detail) {
                    let word = word.as_object().and_then(|o| o.keys().next().cloned());
                    let word = word.or_else(|| body[detail].as_str().map(str::to_owned)).unwrap();
                    if name != "trust" {
                        add(format!("{name} {word}"));
                    }
                }
            }
            add(name);
        }
    }
    let wanted = [
        "adjustment_asked",
        "adjustment_decided",
        "burn_returned",
        "burned",
        "card_changed",
        "card_issued",
        "completion_kept",
        "counted",
        "debt",
        "entry adjustment",
        "entry burn",
        "entry cashback",
        "entry claw_back",
        "entry debt_payment",
        "entry expiry",
        "entry give_back",
        "entry underweight_compensation",
        "expired_counted",
        "facts_aged",
        "flag_decided",
        "flag_raised",
        "held",
        "hold_ended captured",
        "hold_ended expired",
        "hold_ended forgotten",
        "hold_ended released",
        "hold_ended replaced",
        "lot_revived",
        "order_amended",
        "order_cancelled",
        "order_completed",
        "order_placed",
        "order_weighed",
        "pending",
        "pending_ended",
        "return_kept",
        "review_ended clawed_back",
        "review_ended released",
        "review_ended voided",
        "signal capture_uncovered",
        "signal cashback_operations",
        "signal earning_under_review",
        "signal kept_event_refused",
        "signal points_earned",
        "signal weight_off",
        "trust",
        "under_review",
        "voided_counted",
    ];
    let missing: Vec<_> = wanted.iter().filter(|name| !seen.contains_key(**name)).collect();
    assert!(missing.is_empty(), "never reached: {missing:?}\n{seen:#?}");
}

/// A customer with 2,000 points who has bought `lines` as order A, with as many points as `burn` and half the cart allow.
fn bought(lines: &[Line], burn: i64, discount: i64) -> Journal {
    let mut journal = Journal::new(context());
    journal.run(say::time(1, 0), &say::card()).unwrap();
    journal.run(say::time(1, 1), &say::adjust(2000)).unwrap();
    let unrestricted: Vec<Line> =
        lines.iter().filter(|line| !line.line_id.as_str().starts_with("tobacco")).cloned().collect();
    let worth = crate::notation::worth(lines);
    let points = burn.min(crate::notation::worth(&unrestricted) / 200);
    let Reply::Held(quote) = journal.run(say::time(1, 2), &say::hold(lines, points, None)).unwrap() else {
        panic!("not held")
    };
    journal.run(say::time(1, 3), &say::capture(&quote.hold.unwrap().hold_id, "A", None)).unwrap();
    journal.run(say::time(1, 4), &say::placed("A", say::time(1, 4), lines)).unwrap();
    let paid = (worth - points * 100 - discount).max(0);
    journal.run(say::time(1, 5), &say::completed("A", say::time(1, 5), paid)).unwrap();
    journal
}
