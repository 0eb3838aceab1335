//! What must hold for any sequence of commands: orders early, late, twice and in any order, returns, holds, captures,
//! adjustments, reviews, flags, changes of the card, and time.

use std::collections::BTreeMap;

use adal_domain::{
    customer::{Event, Reply, read::Band, tier::AsOf, trust},
    line::{Line, Unit},
    order_event::CancelledBy,
};
use proptest::prelude::*;

use crate::{
    journal::{Journal, context},
    plain, say,
    sequences::{Op, Run, cart, op, pause},
};

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
            prop_assert_eq!((tier.tier, tier.grace_from), plain::tier(&facts, now), "the tier {} days on", days);
            let (clean, late, paid, paid_days) = plain::counts(&facts, now);
            let trust = journal.state.trust_view(&journal.context, now).unwrap();
            if journal.state.standing.flags.is_empty() {
                let (r, s) = (5 * clean.min(40), 10 * late);
                prop_assert_eq!(trust.score, 100 * (50 + r) / (100 + r + s));
                let score = journal.settled(now).standing.score;
                prop_assert_eq!(score, trust.score, "what was announced is what stands");
            }
            if trust.band == Band::Priority {
                prop_assert!(paid >= 2_000_000 && paid_days >= 5);
            }
        }
    }

}

proptest! {
    #![proptest_config(ProptestConfig { cases: ProptestConfig::default().cases / 4, ..ProptestConfig::default() })]

    /// Years of orders, some late, some returned: facts that are aged out leave the tier as a walk over all of them gives.
    #[test]
    fn aged_facts_leave_the_tier_as_it_was(
        orders in prop::collection::vec((1_i64..100, 1_i64..45, prop_oneof![3 => Just(0_i64), 1 => 0_i64..399], any::<bool>()), 10..60),
    ) {
        let mut run = Run::new();
        run.is_checked = false;
        let mut aged = 0;
        for (i, (days, worth, late, back)) in orders.iter().enumerate() {
            run.clock = run.clock.plus_seconds(days * 86_400);
            let (id, lines) = (format!("o{i}"), [say::piece("tv", worth * 1_000_000)]);
            let at = run.clock.plus_seconds(-late * 86_400);
            run.run(&say::placed(&id, at, &lines));
            run.run(&say::completed(&id, at, worth * 1_000_000));
            if *back {
                run.run(&say::returned(&format!("o{}", i / 2), run.clock, &[("tv", 1)], Some(worth * 500_000)));
            }
            if i % 9 != 8 && i + 1 != orders.len() {
                continue;
            }
            let facts = run.facts();
            let state = &run.journal.state;
            aged += i32::from(state.facts.len() < facts.len());
            for days in [0, 30, 300, 365, 396] {
                let now = run.clock.max(state.fact_time).plus_seconds(days * 86_400);
                let tier = state.tier_state(AsOf::new(now), &run.journal.context);
                prop_assert_eq!((tier.tier, tier.grace_from), plain::tier(&facts, now), "order {}, {} days on", i, days);
            }
        }
        // Long enough a run has let facts go.
        let span: i64 = orders.iter().map(|(days, ..)| days).sum();
        prop_assert!(aged > 0 || span < 1000, "nothing was aged in {} days", span);
    }

}

proptest! {
    #![proptest_config(ProptestConfig { cases: ProptestConfig::default().cases / 32, ..ProptestConfig::default() })]

    /// So many orders that most are laid away, some late, some returned long after: tier and trust are what a walk over
    /// all of them gives, and a replay and a snapshot end in the same state.
    #[test]
    fn hundreds_of_orders_are_walked_like_a_few(
        orders in prop::collection::vec(
            (1_i64..60, prop_oneof![Just(99_999_i64), 100_000_i64..400_000], prop_oneof![9 => Just(0_i64), 1 => 0_i64..300], 0_u8..20),
            250..350,
        ),
    ) {
        let mut run = Run::new();
        run.is_checked = false;
        run.run(&say::card());
        for (i, (hours, paid, late, what)) in orders.iter().enumerate() {
            run.clock = run.clock.plus_seconds(hours * 3600);
            let (id, lines) = (format!("o{i}"), [say::piece("tv", 2_000_000)]);
            let at = run.clock.plus_seconds(-late * 86_400);
            run.run(&say::placed(&id, at, &lines));
            match what {
                0 | 1 => run.run(&say::cancelled(&id, at, CancelledBy::Customer, *what == 0)),
                _ => run.run(&say::completed(&id, at, *paid)),
            };
            if *what == 19 {
                run.run(&say::returned(&format!("o{}", i * 2 / 3), run.clock, &[("tv", 1)], Some(50_000)));
            }
        }
        let (facts, state) = (run.facts(), &run.journal.state);
        prop_assert_eq!(state.facts.len(), facts.len());
        for days in [-300, -100, -9, 0, 200, 380] {
            let now = run.clock.plus_seconds(days * 86_400);
            let as_of = AsOf::new(now);
            let tier = state.tier_state(as_of, &run.journal.context);
            prop_assert_eq!((tier.tier, tier.grace_from), plain::tier(&facts, now), "{} days on", days);
            let counts = trust::count(&state.facts, as_of, &run.journal.context.calendar, &run.journal.context.policy.trust);
            let counts = (counts.counted, counts.cancelled_after_picking, counts.paid_minor, counts.paid_days);
            prop_assert_eq!(counts, plain::counts(&facts, now), "{} days on", days);
        }
        prop_assert_eq!(&run.journal.replayed(), state, "a replay of the stored bytes");
        prop_assert_eq!(&run.journal.reloaded(), state, "a snapshot's round trip");
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
        prop_assert_eq!(journal.state.facts.first().unwrap().paid(), 0);
    }

    /// The order of lines in a request changes nothing.
    #[test]
    fn the_order_of_lines_changes_nothing(
        prices in prop::collection::vec(prop_oneof![Just(33_333_i64), 0_i64..400_000], 2..6), burn in 0_i64..500, turn in 1_usize..5,
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
            let (ledger, fact) = (state.ledger, *state.facts.first().unwrap());
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
        "order_forgotten",
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
