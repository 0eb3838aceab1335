//! Examples too fine for the page: one sentence of the rules each.

use adal_domain::{
    checkout::Cart,
    customer::{
        CardChange, Command, Event, Reply,
        facts::{Fact, FactKind},
        ledger::Burn,
        read::{Cause, SignalKind},
    },
    ids::{HoldId, LineId, Word},
    line::Unit,
    order_event::CancelledBy,
    qr::Step,
};

use crate::{
    journal::{Journal, context, context_of},
    say::{self, time},
};

fn with_card() -> Journal {
    let mut journal = Journal::new(context());
    journal.run(time(1, 0), &say::card()).unwrap();
    journal
}

fn hold_id(reply: Reply) -> HoldId {
    match reply {
        Reply::Held(quote) => quote.hold.unwrap().hold_id,
        other => panic!("{other:?}"),
    }
}

fn plums() -> [adal_domain::line::Line; 1] {
    [say::line("plums", 1000, Unit::Gram, 100_000)]
}

fn signals(events: &[Event], wanted: SignalKind) -> usize {
    events.iter().filter(|event| matches!(event, Event::Signal { kind, .. } if *kind == wanted)).count()
}

/// "a `weighed` after `completed` is dated by the later of both", also where it arrives first.
#[test]
fn a_weight_from_after_the_completion_is_dated_by_the_later_of_both_whatever_arrives_first() {
    let (placed, completed, weighed) = (
        say::placed("A", time(1, 60), &plums()),
        say::completed("A", time(1, 120), 100_000),
        say::weighed("A", time(1, 180), &[("plums", 900)]),
    );
    let mut ends = Vec::new();
    for commands in [[&placed, &completed, &weighed], [&placed, &weighed, &completed], [&weighed, &completed, &placed]]
    {
        let mut journal = with_card();
        for command in commands {
            journal.run(time(1, 240), command).unwrap();
        }
        let entry = journal.statement(time(1, 240)).pop().unwrap();
        ends.push((entry.at, entry.points, journal.state.fact_time, journal.settled(time(2, 0)).ledger.lots));
    }
    assert_eq!(ends[0].0, time(1, 180));
    assert_eq!(ends[0], ends[1]);
    assert_eq!(ends[0], ends[2]);
}

/// A closed card neither earns nor burns.
#[test]
fn a_late_weight_gives_nothing_to_a_closed_card() {
    let mut journal = with_card();
    journal.run(time(1, 60), &say::placed("A", time(1, 60), &plums())).unwrap();
    journal.run(time(1, 61), &say::completed("A", time(1, 61), 100_000)).unwrap();
    journal.run(time(1, 62), &say::change(CardChange::Close)).unwrap();
    journal.run(time(1, 63), &say::weighed("A", time(1, 63), &[("plums", 900)])).unwrap();
    assert_eq!(journal.state.ledger.balance, 0);
}

/// "Cashback is clawed back from its own lot, then soonest-to-expire": released on day 5, its lot is that of day 370, and
/// the lot of the order's next day is somebody else's.
#[test]
fn released_cashback_is_clawed_back_from_the_lot_that_it_went_into() {
    let mut journal = with_card();
    journal.run(time(1, 60), &say::placed("A", time(1, 60), &[say::piece("tv", 300_000_000)])).unwrap();
    journal.run(time(1, 61), &say::completed("A", time(1, 61), 300_000_000)).unwrap();
    let entry = journal.state.ledger.reviews.iter().next().unwrap().entry.clone();
    // 100 points that expire on day 366, 50 that expire with what A's cashback would have been, on day 367.
    journal.run(time(1, 62), &say::adjust(100)).unwrap();
    journal.run(time(2, 60), &say::adjust(50)).unwrap();
    let release = Command::DecideReview { entry, release: true, reason: "fine".to_owned(), by: say::by("support-1") };
    journal.run(time(5, 60), &release).unwrap();
    journal.run(time(6, 60), &say::returned("A", time(6, 60), &[("tv", 1)], None)).unwrap();
    let lots: Vec<_> =
        journal.state.ledger.lots.iter().map(|lot| (say::day_number(lot.expires()), lot.points())).collect();
    assert_eq!(lots, [(366, 100), (367, 50)]);
}

/// "A fresh `pay` code may burn, once": a hold that ran out and the hold that took its code's place cannot both burn.
#[test]
fn a_pay_code_burns_once_even_where_a_late_capture_uses_it() {
    for late_first in [true, false] {
        let mut journal = with_card();
        journal.run(time(1, 60), &say::adjust(300)).unwrap();
        let cart = say::cart(&[say::piece("milk", 100_000)], 100);
        let hold = |ttl| say::hold_of(cart.clone(), Some(ttl), Some(Step(7)));
        let first = hold_id(journal.run(time(1, 61), &hold(30)).unwrap());
        let second = hold_id(journal.run(time(1, 62), &hold(900)).unwrap());
        let captures = [say::capture(&first, "A", None), say::capture(&second, "B", None)];
        let order = if late_first { [0, 1] } else { [1, 0] };
        let mut uncovered = Vec::new();
        for (minute, i) in order.into_iter().enumerate() {
            // The second one a day later: what was used up is remembered as long as a hold asks for it.
            let day = if late_first { 1 } else { 1 + i32::try_from(minute).unwrap() };
            match journal.run(time(day, 65), &captures[i]).unwrap() {
                Reply::Captured { uncovered: parts, .. } => uncovered.push(parts.iter().map(|p| p.points).sum::<i64>()),
                other => panic!("{other:?}"),
            }
        }
        assert_eq!((uncovered, journal.state.ledger.balance), (vec![0, 100], 200), "late first: {late_first}");
    }
}

#[test]
fn a_weight_said_again_says_nothing_new() {
    let mut journal = with_card();
    journal.run(time(1, 60), &say::placed("A", time(1, 60), &plums())).unwrap();
    journal.run(time(1, 61), &say::completed("A", time(1, 61), 100_000)).unwrap();
    let weighed = say::weighed("A", time(1, 62), &[("plums", 100)]);
    let (_, events) = journal.run_and_see(time(1, 63), &weighed);
    assert_eq!(signals(&events, SignalKind::WeightOff), 1);
    let (reply, events) = journal.run_and_see(time(1, 64), &weighed);
    assert_eq!((reply, events.len()), (Ok(Reply::Order { changed: false, refund: None }), 0));
}

/// "each change says why": the last score announced is the one that stands; `last_updated` never runs back.
#[test]
fn a_late_order_neither_announces_an_older_score_nor_moves_last_updated_back() {
    let mut journal = with_card();
    journal.run(time(10, 60), &say::raise("bots")).unwrap();
    journal.run(time(10, 61), &say::placed("A", time(5, 60), &[say::piece("milk", 100_000)])).unwrap();
    journal.run(time(10, 62), &say::completed("A", time(5, 61), 100_000)).unwrap();
    assert_eq!(journal.state.standing.score, 49);
    assert_eq!(journal.state.standing.updated, time(10, 60));
    let at_midnight = journal.settled(time(11, 0));
    assert_eq!(at_midnight.standing.score, 49);
}

/// "left out on both sides of every formula", and "where no money was paid, line totals stand for it".
#[test]
fn where_money_was_paid_for_restricted_goods_alone_line_totals_stand_for_the_rest() {
    let mut policy = adal_domain::policy::Policy::default();
    policy.checkout.burn_share_permyriad = 10_000;
    let mut journal = Journal::new(context_of(policy));
    journal.run(time(1, 0), &say::card()).unwrap();
    journal.run(time(1, 1), &say::adjust(100)).unwrap();
    let lines = [say::line("milk", 2, Unit::Piece, 10_000), say::piece("tobacco", 10_000)];
    let hold = hold_id(journal.run(time(1, 2), &say::hold(&lines, 100, None)).unwrap());
    journal.run(time(1, 3), &say::capture(&hold, "A", None)).unwrap();
    journal.run(time(1, 4), &say::placed("A", time(1, 4), &lines)).unwrap();
    // One tiyn: by the largest remainder it is the first line's by id, which is the tobacco's after renaming.
    journal.run(time(1, 5), &say::completed("A", time(1, 5), 0)).unwrap();
    journal.run(time(1, 6), &say::returned("A", time(1, 6), &[("milk", 1)], None)).unwrap();
    assert_eq!(journal.state.ledger.balance, 50);

    let lines = [say::line("xmilk", 2, Unit::Piece, 10_000), say::piece("tobacco", 10_000)];
    journal.run(time(1, 7), &say::adjust(50)).unwrap();
    let hold = hold_id(journal.run(time(1, 8), &say::hold(&lines, 100, None)).unwrap());
    journal.run(time(1, 9), &say::capture(&hold, "B", None)).unwrap();
    journal.run(time(1, 10), &say::placed("B", time(1, 10), &lines)).unwrap();
    journal.run(time(1, 11), &say::completed("B", time(1, 11), 1)).unwrap();
    journal.run(time(1, 12), &say::returned("B", time(1, 12), &[("xmilk", 1)], None)).unwrap();
    assert_eq!(journal.state.ledger.balance, 50);
}

#[test]
fn a_hold_may_name_the_total_that_it_saw() {
    let mut journal = with_card();
    let cart: Cart = say::cart(&[say::piece("milk", 100_000)], 0);
    let Command::Hold(mut request) = say::hold_of(cart, None, None) else { unreachable!() };
    request.expected_total_minor = Some(99_999);
    let refusal = journal.run(time(1, 1), &Command::Hold(request.clone())).unwrap_err();
    assert_eq!(refusal.code.as_str(), "total_changed");
    assert_eq!(refusal.quote.unwrap().total_minor, 100_000);
    request.expected_total_minor = Some(100_000);
    journal.run(time(1, 2), &Command::Hold(request)).unwrap();
}

/// A new hold with the same pay scan replaces the earlier one.
#[test]
fn a_pay_scan_is_bound_to_one_open_hold() {
    let mut journal = with_card();
    journal.run(time(1, 60), &say::adjust(300)).unwrap();
    let hold = say::hold_of(say::cart(&[say::piece("milk", 100_000)], 200), None, Some(Step(7)));
    let first = hold_id(journal.run(time(1, 61), &hold).unwrap());
    let second = hold_id(journal.run(time(1, 62), &hold).unwrap());
    assert_eq!(journal.state.holds.len(), 1);
    assert_eq!(journal.run(time(1, 63), &say::release(&first)).unwrap_err().code.as_str(), "hold_ended");
    journal.run(time(1, 63), &say::capture(&second, "A", None)).unwrap();
    assert_eq!(journal.run(time(1, 64), &hold).unwrap_err().code.as_str(), "qr_used");
}

/// A tag restricts like a category does; a line's own policy words stand in the order for good.
#[test]
fn a_tag_restricts_like_a_category() {
    let mut line = say::piece("pipe", 100_000);
    line.tags = vec![Word::new("tobacco").unwrap()];
    let mut journal = with_card();
    journal.run(time(1, 1), &say::placed("A", time(1, 1), &[line])).unwrap();
    journal.run(time(1, 2), &say::completed("A", time(1, 2), 100_000)).unwrap();
    assert!(journal.state.ledger.pending.is_empty());
}

/// "Returning more than was bought is refused whole."
#[test]
fn a_return_with_one_line_too_many_changes_nothing() {
    let mut journal = with_card();
    let lines = [say::piece("bread", 50_000), say::piece("milk", 50_000)];
    journal.run(time(1, 1), &say::placed("A", time(1, 1), &lines)).unwrap();
    journal.run(time(1, 2), &say::completed("A", time(1, 2), 100_000)).unwrap();
    let before = journal.state.clone();
    for bad in [&[("bread", 1), ("milk", 2)][..], &[("bread", 1), ("jam", 1)]] {
        journal.run(time(1, 3), &say::returned("A", time(1, 3), bad, None)).unwrap_err();
        assert_eq!(journal.state, before);
    }
}

/// Limits of 0 are no limits.
#[test]
fn a_limit_of_zero_is_none() {
    let mut policy = adal_domain::policy::Policy::default();
    (policy.limits.cashback_operations, policy.limits.points_earned, policy.limits.points_burned) = (0, 0, 0);
    let mut journal = Journal::new(context_of(policy));
    journal.run(time(1, 0), &say::card()).unwrap();
    for i in 0..20 {
        let id = format!("A{i}");
        journal.run(time(1, 1), &say::placed(&id, time(1, 1), &[say::piece("tv", 300_000_000)])).unwrap();
        let (_, events) = journal.run_and_see(time(1, 2), &say::completed(&id, time(1, 2), 300_000_000));
        assert!(!events.iter().any(|event| matches!(event, Event::Signal { .. })));
    }
    assert!(journal.state.ledger.reviews.is_empty());
}

/// "Equal times: by arrival": the order that arrived first counts for the rate of the second.
#[test]
fn of_two_orders_at_one_time_the_earlier_arrival_counts_for_the_later() {
    let mut journal = with_card();
    for (id, minor) in [("A", 10_000_000), ("B", 100_000)] {
        journal.run(time(1, 60), &say::placed(id, time(1, 60), &[say::piece("tv", minor)])).unwrap();
        journal.run(time(1, 60), &say::completed(id, time(1, 60), minor)).unwrap();
    }
    let points: Vec<i64> = journal.state.ledger.pending.iter().map(|pending| pending.points).collect();
    assert_eq!(points, [1000, 20]);
}

/// "A flag that is off refuses with `feature_disabled`": what an order would earn is neither given nor lost. The event is
/// refused, and taken when it comes again; it is decided at its own time, as if it had come then.
#[test]
fn while_earning_is_off_an_event_that_earns_is_refused_and_loses_nothing() {
    let mut journal = with_card();
    let code = |result: Result<Reply, adal_domain::errors::Refusal>| result.unwrap_err().code.as_str();
    journal.run(time(1, 1), &say::placed("C", time(1, 1), &plums())).unwrap();
    journal.run(time(1, 2), &say::completed("C", time(1, 2), 100_000)).unwrap();
    journal.context.earn = false;
    // What is not the order's end, or ends without earning, is taken: history, trust and tiers go on.
    let cheap = say::completed("B", time(1, 3), 99);
    for event in [
        say::placed("A", time(1, 2), &plums()),
        say::placed("B", time(1, 2), &[say::piece("match", 99)]),
        cheap.clone(),
        say::placed("D", time(1, 2), &plums()),
        say::cancelled("D", time(1, 3), CancelledBy::Shop, false),
    ] {
        journal.run(time(1, 4), &event).unwrap();
    }
    assert_eq!(journal.state.standing.total_orders, 3);
    let before = journal.state.clone();
    // Cashback, and compensation of an order that was completed before.
    let events = [say::completed("A", time(1, 5), 100_000), say::weighed("C", time(1, 6), &[("plums", 900)])];
    for event in &events {
        assert_eq!(code(journal.run(time(1, 7), event)), "feature_disabled");
    }
    assert_eq!(journal.state, before);
    // A return takes what was earned; what was earned becomes active by itself.
    journal.run(time(2, 1), &say::returned("C", time(2, 1), &[("plums", 500)], None)).unwrap();
    assert_eq!(journal.state.ledger.balance, 5);
    journal.context.earn = true;
    journal.run(time(3, 1), &events[0]).unwrap();
    let record = journal.events().filter_map(Event::record).last().unwrap();
    assert_eq!((record.at, record.cashback), (time(1, 5), 10));
}

#[test]
fn without_a_card_there_is_nothing_to_refuse_while_earning_is_off() {
    let mut journal = Journal::new(context());
    journal.context.earn = false;
    journal.run(time(1, 2), &say::placed("A", time(1, 2), &plums())).unwrap();
    journal.run(time(1, 3), &say::completed("A", time(1, 3), 100_000)).unwrap();
    assert_eq!(journal.state.standing.completed_orders, 1);
}

/// What was held before is captured: a printed sale is never refused.
#[test]
fn while_burning_is_off_nothing_new_is_held_and_what_is_held_is_taken() {
    let mut journal = with_card();
    journal.run(time(1, 1), &say::adjust(100)).unwrap();
    let hold = hold_id(journal.run(time(1, 2), &say::hold(&plums(), 10, None)).unwrap());
    journal.context.burn = false;
    let refusal = journal.run(time(1, 5), &say::hold(&plums(), 1, None)).unwrap_err();
    assert_eq!((refusal.code.as_str(), refusal.is_recorded()), ("feature_disabled", false));
    journal.run(time(1, 6), &say::capture(&hold, "A", None)).unwrap();
    assert_eq!(journal.state.ledger.balance, 90);
}

/// The debt's entry names the order whose earning pays it; expiries name none.
#[test]
fn entries_name_their_orders() {
    let mut journal = with_card();
    journal.run(time(1, 1), &say::adjust(5)).unwrap();
    journal.run(time(1, 2), &say::placed("A", time(1, 2), &[say::piece("tv", 100_000)])).unwrap();
    journal.run(time(1, 3), &say::completed("A", time(1, 3), 100_000)).unwrap();
    for entry in journal.statement(time(400, 0)) {
        let named = entry.order_id.as_ref().map(adal_domain::ids::OrderId::as_str);
        let expected = if entry.cause == Cause::Cashback { Some("A") } else { None };
        assert_eq!(named, expected, "{entry:?}");
    }
}

/// "events older than that are refused": a completion that waited 400 days for `placed` counts for nothing any more.
#[test]
fn a_completion_that_waited_400_days_is_too_old() {
    let mut journal = with_card();
    journal.run(time(1, 60), &say::completed("A", time(1, 60), 100_000)).unwrap();
    journal.run(time(1, 60), &say::completed("B", time(1, 60), 100_000)).unwrap();
    let placed = |id: &str, at| say::placed(id, at, &[say::piece("tv", 100_000)]);
    journal.run(time(401, 60), &placed("A", time(401, 60))).unwrap();
    assert_eq!(journal.state.standing.completed_orders, 1);
    let refusal = journal.run(time(401, 61), &placed("B", time(401, 61))).unwrap_err();
    assert_eq!(refusal.code.as_str(), "event_too_old");
}

/// "a default one is at most what is left of the money paid".
#[test]
fn a_default_refund_is_at_most_what_is_left() {
    let mut journal = with_card();
    let lines = [say::piece("bread", 50_000), say::piece("milk", 50_000)];
    journal.run(time(1, 1), &say::placed("A", time(1, 1), &lines)).unwrap();
    journal.run(time(1, 2), &say::completed("A", time(1, 2), 100_000)).unwrap();
    journal.run(time(1, 3), &say::returned("A", time(1, 3), &[("milk", 1)], Some(90_000))).unwrap();
    journal.run(time(1, 4), &say::returned("A", time(1, 4), &[("bread", 1)], None)).unwrap();
    let record = journal.events().filter_map(Event::record).last().unwrap();
    assert_eq!((record.lines[0].refunded_minor, record.refunded()), (10_000, 100_000));
}

/// "an expired lot lives 30 more days, once": what was burned out of a second life is lost when that is over.
#[test]
fn points_of_a_second_life_have_no_third() {
    let mut journal = with_card();
    journal.run(time(1, 60), &say::adjust(100)).unwrap();
    let burn = |day, id: &str, journal: &mut Journal| {
        let lines = [say::piece("milk", 20_000)];
        let hold = hold_id(journal.run(time(day, 60), &say::hold(&lines, 100, None)).unwrap());
        journal.run(time(day, 61), &say::capture(&hold, id, None)).unwrap();
    };
    burn(2, "A", &mut journal);
    journal.run(time(380, 60), &say::cancelled("A", time(380, 60), CancelledBy::Shop, false)).unwrap();
    assert_eq!(journal.state.ledger.lots[0].expires(), say::day(410));
    burn(390, "B", &mut journal);
    journal.run(time(411, 60), &say::cancelled("B", time(411, 60), CancelledBy::Shop, false)).unwrap();
    assert_eq!((journal.state.ledger.balance, journal.state.ledger.lots.len()), (0, 0));
}

/// "no limit is exceeded": a late capture takes what the day's limit leaves, and nothing where the card may not burn.
#[test]
fn a_late_capture_passes_no_limit() {
    let mut policy = adal_domain::policy::Policy::default();
    policy.limits.points_burned = 100;
    for block in [false, true] {
        let mut journal = Journal::new(context_of(policy.clone()));
        journal.run(time(1, 0), &say::card()).unwrap();
        journal.run(time(1, 60), &say::adjust(300)).unwrap();
        let hold = say::hold(&[say::piece("milk", 100_000)], 80, Some(30));
        let first = hold_id(journal.run(time(1, 61), &hold).unwrap());
        let second = hold_id(journal.run(time(1, 62), &hold).unwrap());
        journal.run(time(1, 62), &say::capture(&second, "B", None)).unwrap();
        if block {
            journal.run(time(1, 63), &say::change(CardChange::Block)).unwrap();
        }
        match journal.run(time(1, 64), &say::capture(&first, "A", None)).unwrap() {
            Reply::Captured { uncovered, .. } => assert_eq!(uncovered[0].points, if block { 80 } else { 60 }),
            other => panic!("{other:?}"),
        }
        assert_eq!(journal.state.ledger.balance, if block { 220 } else { 200 });
    }
}

/// A cancellation counts by the customer and after picking alone, and only once.
#[test]
fn a_cancellation_said_twice_counts_once() {
    let mut journal = with_card();
    for minute in 1..=2 {
        journal.run(time(1, minute), &say::cancelled("A", time(1, 1), CancelledBy::Customer, true)).unwrap();
    }
    assert_eq!((journal.state.standing.total_orders, journal.state.standing.score), (1, 45));
}

/// Line ids, not positions, say what is captured.
#[test]
fn the_order_of_lines_in_a_capture_changes_nothing() {
    let lines = ["c", "b", "a"].map(|id| say::line(id, 2, Unit::Piece, 10_000));
    let mut ends = Vec::new();
    for sold in [[("a", 1), ("b", 1), ("c", 1)], [("c", 1), ("b", 1), ("a", 1)]] {
        let mut journal = with_card();
        journal.run(time(1, 1), &say::adjust(200)).unwrap();
        let hold = hold_id(journal.run(time(1, 2), &say::hold(&lines, 55, None)).unwrap());
        let Reply::Captured { mut quote, .. } =
            journal.run(time(1, 3), &say::capture(&hold, "A", Some(&sold))).unwrap()
        else {
            panic!("not captured")
        };
        quote.lines.sort_by(|a, b| a.line_id.cmp(&b.line_id));
        assert_eq!(quote.lines[0].line_id, LineId::new("a").unwrap());
        ends.push((quote, journal.state));
    }
    assert_eq!(ends[0], ends[1]);
}

/// The journal forgets ids after a day; a queue may bring a return again long after.
#[test]
fn a_return_that_comes_again_after_days_is_booked_once() {
    let mut journal = with_card();
    let bought = time(1, 600);
    journal.run(bought, &say::placed("A", bought, &[say::line("milk", 3, Unit::Piece, 300_000)])).unwrap();
    journal.run(bought, &say::completed("A", bought, 300_000)).unwrap();
    let returned = say::returned("A", time(2, 10), &[("milk", 1)], None);
    let Reply::Order { changed: true, refund: Some(_) } = journal.run(time(2, 10), &returned).unwrap() else {
        panic!("a return refunds");
    };
    let once = journal.state.ledger.clone();
    assert_eq!(journal.run(time(9, 10), &returned).unwrap(), Reply::Order { changed: false, refund: None });
    let paid: i64 = journal.state.facts.iter().map(adal_domain::customer::facts::Fact::paid).sum();
    assert_eq!(paid, 200_000, "the refund counts once");
    assert_eq!(journal.state.ledger.debt, once.debt);
}

/// Two carts a minute for days are no way to fill the memory.
#[test]
fn holds_past_their_time_make_room_for_later_ones() {
    let mut journal = with_card();
    for minute in 0..60 {
        let at = time(1, 10).plus_seconds(minute * 60);
        journal.run(at, &say::hold(&[say::piece("milk", 1000)], 0, Some(30))).unwrap();
    }
    assert!(journal.state.holds.len() <= 22, "{}", journal.state.holds.len());
}

/// Orders that never end do not fill the room of those that do.
#[test]
fn an_order_of_which_nothing_was_heard_for_400_days_is_forgotten() {
    let mut journal = with_card();
    journal.run(time(1, 10), &say::placed("A", time(1, 10), &[say::piece("milk", 1000)])).unwrap();
    journal.run(time(402, 10), &say::placed("B", time(402, 10), &[say::piece("milk", 1000)])).unwrap();
    assert_eq!(journal.state.open_orders.len(), 1);
    assert_eq!(journal.state.open_orders[0].order.order_id.as_str(), "B");
}

/// Every list of a customer is bounded: what goes under review waits for support, and 500 of them are enough.
#[test]
fn the_501st_earning_under_review_is_refused_until_support_has_decided_one() {
    let mut journal = with_card();
    let completed = |n: i32| (time(1 + n / 300, 60 + i64::from(n % 300)), format!("o{n}"));
    let mut n = 0;
    let refused = loop {
        let (at, order) = completed(n);
        journal.run(at, &say::placed(&order, at, &[say::piece("tv", 100_000)])).unwrap();
        let event = say::completed(&order, at, 100_000);
        match journal.run(at, &event) {
            Ok(_) => n += 1,
            Err(refusal) => break (event, refusal),
        }
        assert!(n < 600);
    };
    assert_eq!(journal.state.ledger.reviews.len(), 500);
    assert_eq!((refused.1.code.as_str(), refused.1.is_recorded()), ("too_many_open", false));
    let entry = journal.state.ledger.reviews.iter().next().unwrap().entry.clone();
    let void = Command::DecideReview { entry, release: false, reason: "bots".to_owned(), by: say::by("support-1") };
    journal.run(time(9, 1), &void).unwrap();
    journal.run(time(9, 2), &refused.0).unwrap();
    assert_eq!(journal.state.ledger.reviews.len(), 500);
}

#[test]
fn where_too_many_burns_are_kept_no_more_points_are_held() {
    let mut journal = with_card();
    journal.run(time(1, 1), &say::adjust(100)).unwrap();
    let part = journal.state.ledger.soonest(1, None);
    let spent = part.repeat(20_000);
    journal.state.ledger.burns.push(Burn { key: 1, at: time(1, 1), points: 20_000, given_back: 0, spent });
    let refusal = journal.run(time(1, 2), &say::hold(&plums(), 1, None)).unwrap_err();
    assert_eq!(refusal.code.as_str(), "too_many_open");
    journal.run(time(1, 3), &say::hold(&plums(), 0, None)).unwrap();
}

#[test]
fn a_customer_has_a_million_orders_at_most() {
    let mut journal = with_card();
    let fact = |key| Fact::new(key, time(1, 1), 1, 1, FactKind::Completed);
    journal.state.facts = (1..=1_000_000).map(fact).collect();
    let event = say::placed("A", time(1, 2), &plums());
    assert_eq!(journal.run(time(1, 2), &event).unwrap_err().code.as_str(), "too_many_open");
    journal.state.facts = (1..1_000_000).map(fact).collect();
    (journal.state.standing.total_orders, journal.state.standing.completed_orders) = (999_999, 999_999);
    journal.run(time(1, 2), &event).unwrap();
}
