//! Examples: what each rule means.

use super::*;
use crate::promo::{
    budget_id, code_id,
    protocol::{Ask, ToOwner},
    state::KEPT_DAYS,
};

const DAY: Day = Day(20_458);

/// The only question that the last command owes.
fn asked(journal: &Journal) -> Ask {
    let [effect] = &journal.effects[..] else { panic!("{:?}", journal.effects) };
    assert_eq!(effect.target, owner());
    let ToOwner::PromoAsks(ask) = rmp_serde::from_slice(&effect.command).unwrap();
    ask
}

#[test]
fn held_uses_count_and_released_ones_do_not() {
    let mut journal = Journal::new();
    let (token, _) = journal.reserve(limited("a", total(1))).unwrap();
    assert_eq!(journal.reserve(limited("b", total(1))), Err(Refusal::Exhausted));
    journal.end("a", Outcome::Released { token: Some(token) });
    let used = journal.take(limited("b", total(1)), DAY);
    assert_eq!(journal.reserve(limited("c", total(1))), Err(Refusal::Exhausted));
    let usage = journal.state.usage();
    assert_eq!((usage.taken, usage.held, usage.discount_minor), (1, 0, used.minor));
    assert_eq!(
        usage.by_day.iter().map(|of| (of.day, of.taken, of.discount_minor)).collect::<Vec<_>>(),
        [(DAY, 1, 100)]
    );
}

#[test]
fn a_budget_that_does_not_cover_the_whole_discount_refuses() {
    let mut journal = Journal::new();
    let budget = Limits { budget_minor: Some(150), ..Limits::default() };
    let (token, _) = journal.reserve(limited("a", budget.clone())).unwrap();
    assert_eq!(journal.reserve(limited("b", budget.clone())), Err(Refusal::Budget { left_minor: 50 }));
    let b = limited("b", budget.clone());
    assert_eq!(journal.state.would_reserve(&b, at(0)), Err(Refusal::Budget { left_minor: 50 }));
    // A smaller sale takes less, and what it leaves is free.
    journal.end("a", Outcome::Taken { token, minor: 40, day: DAY });
    assert_eq!(journal.state.budget_left(150), 110);
    assert_eq!(journal.state.would_reserve(&b, at(0)), Ok(100));
    journal.reserve(b).unwrap();
    // A late capture takes what is there, and nothing where nothing is.
    let late = |id: &str| Reserve { as_far: true, ..limited(id, budget.clone()) };
    assert_eq!(journal.reserve(late("c")).map(|(_, minor)| minor), Ok(10));
    assert_eq!(journal.reserve(late("d")), Err(Refusal::Budget { left_minor: 0 }));
}

#[test]
fn no_more_is_taken_than_was_reserved() {
    let mut journal = Journal::new();
    let (token, _) = journal.reserve(hold("a")).unwrap();
    journal.end("a", Outcome::Taken { token, minor: 1_000, day: DAY });
    assert_eq!(journal.state.usage().discount_minor, 100);
}

#[test]
fn link_keys_and_addresses_have_limits_of_their_own() {
    let mut journal = Journal::new();
    let day_ends = 3600;
    let limits = Limits {
        per_customer: Some(2),
        per_customer_in: in_period(1, day_ends),
        per_ip_in: in_period(2, day_ends),
        ..Limits::default()
    };
    let by = |id: &str, link: u8, ip: u8| Reserve {
        link_keys: vec![hash(link), hash(link)],
        ip: Some(hash(ip)),
        ..limited(id, limits.clone())
    };
    journal.reserve(by("a", 1, 1)).unwrap();
    assert_eq!(journal.reserve(by("b", 1, 2)), Err(Refusal::LinkKey), "once a day");
    journal.take(by("c", 2, 1), DAY);
    assert_eq!(journal.reserve(by("d", 3, 1)), Err(Refusal::Ip));
    let never = Limits { per_customer: Some(0), ..Limits::default() };
    assert_eq!(journal.reserve(Reserve { limits: never, ..by("none", 9, 9) }), Err(Refusal::LinkKey));
    // The next day each has its own count; for ever a link key has two.
    let next = |id: &str, link: u8| {
        let mut request = by(id, link, 1);
        request.expires_at = at(100_000);
        request.limits.per_customer_in = in_period(1, day_ends + 86_400);
        request.limits.per_ip_in = None;
        request
    };
    journal.reserve(next("e", 2)).unwrap();
    let mut third = next("f", 2);
    third.limits.per_customer_in = None;
    assert_eq!(journal.reserve(third), Err(Refusal::LinkKey), "twice for ever");
}

#[test]
fn a_repeat_gets_the_same_answer_while_the_exchange_is_open_and_opens_an_orphan_afterwards() {
    let mut journal = Journal::new();
    let first = journal.reserve(limited("a", total(1))).unwrap();
    assert_eq!(journal.reserve(limited("a", total(1))), Ok(first));
    assert_eq!((journal.state.held.uses, journal.rows.len()), (1, 1));
    journal.end("a", Outcome::Released { token: None });
    let orphan = journal.reserve(limited("a", total(1))).unwrap();
    assert_ne!(orphan.0, first.0);
    // What was said of the first does not fit the orphan.
    for outcome in [
        Outcome::Taken { token: first.0, minor: 100, day: DAY },
        Outcome::Released { token: Some(first.0) },
        Outcome::Returned { token: orphan.0 },
    ] {
        journal.end("a", outcome);
        assert_eq!((journal.state.held.uses, journal.state.taken.uses), (1, 0), "{outcome:?}");
    }
    journal.end("a", Outcome::Released { token: Some(orphan.0) });
    assert_eq!(journal.state.open_count(), 0);
}

#[test]
fn a_give_back_restores_what_the_use_took_once_its_owner_has_confirmed_it() {
    let mut journal = Journal::new();
    let limits = Limits {
        total: Some(1),
        per_customer: Some(1),
        per_ip_in: in_period(1, 3600),
        budget_minor: Some(100),
        ..Limits::default()
    };
    let request = |id: &str| Reserve { link_keys: vec![hash(1)], ip: Some(hash(2)), ..limited(id, limits.clone()) };
    let before = journal.state.clone();
    let used = journal.take(request("a"), DAY);
    let token = journal.give_back("a:back", used.clone());
    let question = asked(&journal);
    assert_eq!((question.token, &*question.promo), (token, "p"), "the owner is asked at once");
    assert_eq!(journal.give_back("a:back", used.clone()), token);
    assert_eq!(journal.reserve(request("b")), Err(Refusal::Exhausted), "nothing has come back yet");
    journal.end("a:back", Outcome::Returned { token });
    let (after, accepted) = (&journal.state, journal.state.accepted);
    assert_eq!(State { accepted, ..before }, *after);
    journal.take(request("b"), DAY);
}

#[test]
fn late_copies_of_a_give_back_and_of_its_confirmation_take_nothing_from_others() {
    let mut journal = Journal::new();
    let used = journal.take(hold("a"), DAY);
    journal.take(hold("b"), DAY);
    let token = journal.give_back("a:back", used.clone());
    journal.end("a:back", Outcome::Returned { token });
    let orphan = journal.give_back("a:back", used);
    journal.end("a:back", Outcome::Returned { token });
    assert_eq!((journal.state.taken.uses, journal.state.open_count()), (1, 1));
    journal.end("a:back", Outcome::Released { token: Some(orphan) });
    assert_eq!((journal.state.taken.uses, journal.state.open_count()), (1, 0));
}

#[test]
fn what_was_not_taken_is_not_given_back() {
    let mut journal = Journal::new();
    let used = journal.take(hold("a"), DAY);
    journal.return_it("wrong-day", Used { day: Day(1), ..used.clone() });
    journal.return_it("too-much", Used { minor: 101, ..used.clone() });
    journal.return_it("money-left-without-a-use", Used { minor: 99, ..used.clone() });
    let token = journal.give_back("dropped", used.clone());
    journal.end("dropped", Outcome::Released { token: Some(token) });
    assert_eq!((journal.state.taken.uses, journal.state.open_count()), (1, 0));
    let first = journal.give_back("twice-1", used.clone());
    journal.return_it("twice-2", used);
    journal.end("twice-1", Outcome::Returned { token: first });
    assert_eq!((journal.state.taken.uses, journal.state.taken.minor, journal.state.open_count()), (0, 0, 0));
}

#[test]
fn what_is_over_is_refused_and_forgotten_counts_do_not_begin_anew() {
    let mut journal = Journal::new();
    let limits = Limits { per_ip_in: in_period(1, 600), ..Limits::default() };
    let by = |id: &str, until| Reserve { ip: Some(hash(1)), expires_at: at(until), ..limited(id, limits.clone()) };
    let (token, _) = journal.reserve(by("a", 900)).unwrap();
    let over = 600 + 74 * 3600;
    let late = |id: &str| Command::Reserve(Box::new(by(id, over + 60)));
    assert_eq!(journal.tell(at(over - 1), &late("b")), Err(Refusal::Ip));
    assert_eq!(journal.tell(at(over), &late("b")), Err(Refusal::TooLate));
    assert_eq!(journal.tell(at(900), &Command::Reserve(Box::new(by("c", 900)))), Err(Refusal::TooLate));
    // The period's end is one of the times to wake at; ending the use afterwards counts nowhere.
    journal.tell(at(over - 1), &Command::Wake).unwrap();
    assert_eq!(journal.state.counters.size(), 1);
    assert_eq!(Promo::next_wake(&journal.state), Some(at(over)));
    journal.tell(at(over), &Command::Wake).unwrap();
    assert_eq!(journal.state.counters.size(), 0);
    journal.end("a", Outcome::Taken { token, minor: 100, day: DAY });
    assert_eq!((journal.state.counters.size(), journal.state.taken.uses), (0, 1));
}

#[test]
fn an_owner_is_asked_ever_less_often_and_the_promo_ends_nothing_by_itself() {
    let mut journal = Journal::new();
    let (token, _) = journal.reserve(hold("a")).unwrap();
    let mut waits = Vec::new();
    let mut before = at(900);
    for _ in 0..12 {
        let due = Promo::next_wake(&journal.state).unwrap();
        journal.tell(Timestamp(due.0 - 1), &Command::Wake).unwrap();
        assert_eq!(journal.effects, []);
        journal.tell(due, &Command::Wake).unwrap();
        let ask = asked(&journal);
        assert_eq!((ask.exchange, ask.token, ask.expires_at), (exchange("a"), token, at(900)));
        waits.push(due.micros_since(before) / Timestamp::SECOND);
        before = due;
    }
    assert_eq!(waits, [60, 120, 240, 480, 960, 1920, 3840, 7680, 15_360, 21_600, 21_600, 21_600]);
    assert_eq!(journal.state.held.uses, 1);
    // However long a hold is said to last, a day later its owner is asked.
    let mut journal = Journal::new();
    journal.reserve(Reserve { expires_at: at(1_000_000_000), ..hold("a") }).unwrap();
    assert_eq!(Promo::next_wake(&journal.state), Some(at(86_460)));
}

#[test]
fn one_wake_asks_a_bounded_number_of_owners_and_the_next_the_rest() {
    let mut journal = Journal::new();
    for i in 0..450 {
        journal.reserve(hold(&format!("h{i}"))).unwrap();
    }
    let asked: Vec<usize> = (0..4)
        .map(|_| {
            journal.tell(at(960), &Command::Wake).unwrap();
            journal.effects.len()
        })
        .collect();
    assert_eq!(asked, [200, 200, 50, 0]);
}

#[test]
fn the_question_reads_as_a_command_of_the_owner() {
    let mut journal = Journal::new();
    journal.reserve(hold("a")).unwrap();
    journal.tell(at(960), &Command::Wake).unwrap();
    let value: serde_json::Value = rmp_serde::from_slice(&journal.effects[0].command).unwrap();
    let expected = serde_json::json!({"PromoAsks": {
        "promo": "p", "exchange": "a", "token": {"seq": 1, "index": 0}, "expires_at": at(900).0,
    }});
    assert_eq!(value, expected);
}

#[test]
fn the_days_of_the_report_are_the_last_400_and_older_uses_still_come_back() {
    let mut journal = Journal::new();
    let days = i32::try_from(KEPT_DAYS).unwrap() + 3;
    let used: Vec<Used> = (0..days).map(|day| journal.take(hold(&format!("h{day}")), Day(day))).collect();
    let usage = journal.state.usage();
    assert_eq!((usage.by_day.len(), usage.by_day[0].day, usage.taken), (400, Day(3), 403));
    for day in [0, 1, 2, 3] {
        journal.return_it(&format!("b{day}"), used[day].clone());
    }
    let usage = journal.state.usage();
    assert_eq!((usage.by_day.len(), usage.by_day[0].day, usage.taken), (399, Day(4), 399));
    journal.return_it("again", used[0].clone());
    assert_eq!(journal.state.usage().taken, 399, "no earlier use is left");
}

#[test]
fn what_is_malformed_is_refused_with_field_and_rule() {
    let mut journal = Journal::new();
    let invalid = |text: &str| Err(Refusal::Invalid(text.to_owned()));
    for minor in [-1, i64::MAX] {
        let refused = journal.reserve(Reserve { minor, ..hold("a") });
        assert_eq!(refused, invalid("minor: must be 0 to 100000000000"));
    }
    let refused = journal.reserve(Reserve { link_keys: vec![hash(1); 11], ..hold("a") });
    assert_eq!(refused, invalid("link_keys: at most 10"));
    let used = journal.take(hold("a"), DAY);
    journal.give_back("b", used.clone());
    assert_eq!(journal.reserve(hold("b")), invalid("exchange: b is a give-back"));
    journal.reserve(hold("c")).unwrap();
    let request = Command::GiveBack(Box::new(GiveBack { exchange: exchange("c"), owner: owner(), used }));
    let refused = Refusal::Invalid("exchange: c is a reservation".to_owned());
    assert_eq!(journal.tell(at(0), &request), Err(refused));
}

#[test]
fn offers_codes_and_budgets_never_share_an_id() {
    let ids = ["budget".to_owned(), code_id("budget", hash(0xab)), budget_id("spring"), budget_id("budget")];
    let distinct: std::collections::BTreeSet<_> = ids.iter().collect();
    assert_eq!(distinct.len(), ids.len());
    assert_eq!(ids[1], format!("budget/{}", "ab".repeat(16)));
    assert_eq!(ids[2], "~budget/spring");
}
