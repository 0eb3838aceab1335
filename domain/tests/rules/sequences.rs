//! Sequences of commands: what may be asked of a customer in any order (`Op`), and a customer that lives through them
//! (`Run`), with what must hold after every step.

use std::collections::BTreeMap;

use adal_domain::{
    checkout::{Pricing, quote},
    customer::{CardChange, Command, Event, Reply, facts::FactKind, order::Record},
    ids::HoldId,
    line::{Line, Unit},
    offers::{CompiledOffers, unlimited},
    order_event::{CancelledBy, ChargedBy},
    qr::Step,
    time::Timestamp,
};
use proptest::prelude::*;

use crate::{
    journal::{Journal, context},
    plain::EndedOrder,
    say,
};

/// A step of a sequence, before it is known what it meets.
#[derive(Debug, Clone)]
pub enum Op {
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
pub fn pause() -> impl Strategy<Value = i64> {
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

pub fn op() -> impl Strategy<Value = Op> {
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
pub fn cart(n: u8) -> Vec<Line> {
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

pub struct Run {
    pub journal: Journal,
    pub clock: Timestamp,
    holds: Vec<HoldId>,
    last: Option<Command>,
    /// Whether each step is looked at.
    pub is_checked: bool,
}

impl Run {
    pub fn new() -> Self {
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
                .approvals()
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
                .iter()
                .next()
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

    pub fn step(&mut self, pause: i64, op: &Op) {
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

    pub fn run(&mut self, command: &Command) {
        let before = self.journal.settled(self.clock);
        let expected = self.expected_quote(command);
        let (result, events) = self.journal.run_and_see(self.clock, command);
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
                let burned: i64 = events
                    .iter()
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
        let state = journal.state.before_hold(&journal.context, now, request.scan_step);
        let facts = state.quote_facts(&journal.context, now);
        let context = &journal.context;
        let asked = Pricing {
            cart: &request.cart,
            facts: &facts,
            policy: &context.policy,
            calendar: &context.calendar,
            revision: context.revision,
            offers: &CompiledOffers::empty(),
            codes: &[],
            uses: &unlimited,
            now,
            explain: false,
        };
        quote(&asked).ok().map(|priced| priced.quote)
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
    pub fn facts(&self) -> Vec<EndedOrder> {
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
