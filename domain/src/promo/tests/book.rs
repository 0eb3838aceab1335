//! The owner's side.

use super::*;
use crate::promo::{
    Counter,
    book::{Book, BookError, BookEvent, Part, Step},
    protocol::{Ask, give_back_id},
};

const TOKEN: Token = Token { seq: 7, index: 1 };
const OTHER: Token = Token { seq: 9, index: 0 };

fn part(promo: &str) -> Part {
    let request = Reserve { link_keys: vec![hash(1)], ..limited("h", Limits { per_customer: Some(1), ..total(5) }) };
    Part::new(promo, &request, TOKEN, 100)
}

fn apply(book: &mut Book, step: &Step) {
    step.events.iter().for_each(|event| book.apply(event));
}

/// What a step owes, by promo.
fn owed(step: &Step) -> Vec<(String, Command)> {
    let read = |effect: &Effect| (effect.target.to_string(), rmp_serde::from_slice(&effect.command).unwrap());
    step.effects.iter().map(read).collect()
}

fn ended(promo: &str, id: &str, outcome: Outcome) -> (String, Command) {
    (format!("promo/{promo}"), Command::End { exchange: exchange(id), outcome })
}

fn ask(id: &str, token: Token) -> Ask {
    Ask { promo: "p".into(), exchange: exchange(id), token, expires_at: at(900) }
}

/// A book with the live hold `h` over `p` and `q`.
fn held() -> Book {
    let mut book = Book::default();
    let step = book.hold(&exchange("h"), at(900), vec![part("p"), part("q")], at(0)).unwrap();
    assert_eq!(step.effects, []);
    apply(&mut book, &step);
    book
}

#[test]
fn a_refused_hold_is_never_made_however_late_it_comes() {
    let mut book = Book::default();
    let h = exchange("h");
    let step = book.refuse(&h, &["p".into(), "q".into()], at(900), at(1)).unwrap();
    let release = Outcome::Released { token: None };
    assert_eq!(owed(&step), [ended("p", "h", release), ended("q", "h", release)]);
    apply(&mut book, &step);
    assert_eq!(book.hold(&h, at(900), vec![part("p")], at(2)), Err(BookError::Over));
    assert_eq!(book.hold(&h, at(900), vec![part("p")], at(900)), Err(BookError::Over));
    assert_eq!(book.refuse(&h, &["p".into()], at(900), at(2)), Ok(Step::default()));
    // Past its time the time says no, and the memory of it goes with the next one.
    let step = book.refuse(&exchange("i"), &[], at(1800), at(900)).unwrap();
    apply(&mut book, &step);
    assert_eq!(book.over, [(exchange("i"), at(1800))]);
    assert_eq!(book.hold(&h, at(900), vec![part("p")], at(900)), Err(BookError::TooLate));
}

#[test]
fn a_hold_is_made_once_and_for_the_time_that_its_promos_know() {
    let book = held();
    assert_eq!(book.hold(&exchange("h"), at(900), vec![], at(0)), Err(BookError::Live));
    assert_eq!(book.refuse(&exchange("h"), &[], at(900), at(0)), Err(BookError::Live));
    let other_time = book.hold(&exchange("i"), at(901), vec![part("p")], at(0));
    assert_eq!(other_time, Err(BookError::Invalid("expires_at: p was asked for another time".into())));
}

#[test]
fn a_capture_takes_what_was_sold_and_releases_the_rest() {
    let mut book = held();
    let h = exchange("h");
    let sold = |promo: &str, minor| [(Box::from(promo), minor)];
    for (promo, minor) in [("r", 1), ("p", 101), ("p", -1)] {
        let invalid = BookError::Invalid(format!("sold: {minor} is not reserved at {promo}"));
        assert_eq!(book.capture(&h, &sold(promo, minor), Day(3), at(1)), Err(invalid));
    }
    let step = book.capture(&h, &sold("p", 60), Day(3), at(1)).unwrap();
    let taken = Outcome::Taken { token: TOKEN, minor: 60, day: Day(3) };
    assert_eq!(owed(&step), [ended("p", "h", taken), ended("q", "h", Outcome::Released { token: Some(TOKEN) })]);
    let counters = vec![Counter { until: Counter::FOREVER, scope: crate::promo::Scope::LinkKey, hash: hash(1) }];
    let used = vec![Used { promo: "p".into(), minor: 60, day: Day(3), counters }];
    assert_eq!(step.events, [BookEvent::Ended { hold: h.clone(), used, at: at(1) }]);
    apply(&mut book, &step);
    assert_eq!(book.capture(&h, &[], Day(3), at(1)), Err(BookError::Unknown));
    assert_eq!(book.release(&h, at(1)), Err(BookError::Unknown));
    assert_eq!(book.hold(&h, at(900), vec![part("p")], at(2)), Err(BookError::Over), "no hold is made twice");
}

#[test]
fn a_hold_that_ran_out_leaves_nothing_to_remember() {
    let mut book = held();
    let step = book.release(&exchange("h"), at(900)).unwrap();
    let release = Outcome::Released { token: Some(TOKEN) };
    assert_eq!(owed(&step), [ended("p", "h", release), ended("q", "h", release)]);
    apply(&mut book, &step);
    assert_eq!(book, Book::default());
}

#[test]
fn a_live_hold_is_not_released_when_asked_and_an_orphan_of_it_is() {
    let book = held();
    assert_eq!(book.answer(&ask("h", TOKEN), at(1)), Ok(Step::default()));
    let step = book.answer(&ask("h", OTHER), at(1)).unwrap();
    assert_eq!((owed(&step), step.events), (vec![ended("p", "h", Outcome::Released { token: Some(OTHER) })], vec![]));
}

#[test]
fn a_hold_that_is_not_there_is_refused_before_it_is_released() {
    let mut book = Book::default();
    let step = book.answer(&ask("h", TOKEN), at(1)).unwrap();
    assert_eq!(step.events, [BookEvent::Refused { hold: exchange("h"), expires_at: at(900), at: at(1) }]);
    assert_eq!(owed(&step), [ended("p", "h", Outcome::Released { token: Some(TOKEN) })]);
    apply(&mut book, &step);
    assert_eq!(book.hold(&exchange("h"), at(900), vec![part("p")], at(2)), Err(BookError::Over));
    // Asked again, or past its time, there is nothing more to remember.
    assert_eq!(book.answer(&ask("h", OTHER), at(2)).unwrap().events, []);
    assert_eq!(book.answer(&ask("i", TOKEN), at(900)).unwrap().events, []);
}

#[test]
fn a_give_back_is_confirmed_once() {
    let mut book = Book::default();
    let back = give_back_id(&crate::ids::HoldId::new("h").unwrap()).unwrap();
    let used = |promo: &str| Used { promo: promo.into(), minor: 60, day: Day(3), counters: vec![] };
    for promo in ["p", "q"] {
        let step = book.give_back(&back, used(promo), &owner()).unwrap();
        let request = GiveBack { exchange: back.clone(), owner: owner(), used: used(promo) };
        assert_eq!(owed(&step), [(format!("promo/{promo}"), Command::GiveBack(Box::new(request)))]);
        apply(&mut book, &step);
        assert_eq!(book.give_back(&back, used(promo), &owner()), Err(BookError::Live));
    }
    let step = book.answer(&ask("h:back", TOKEN), at(1)).unwrap();
    assert_eq!(owed(&step), [ended("p", "h:back", Outcome::Returned { token: TOKEN })]);
    apply(&mut book, &step);
    let orphan = book.answer(&ask("h:back", OTHER), at(1)).unwrap();
    assert_eq!(owed(&orphan), [ended("p", "h:back", Outcome::Released { token: Some(OTHER) })]);
    assert_eq!(book.returns, [(back, used("q"))]);
}

#[test]
fn what_is_remembered_is_bounded() {
    let mut book = held();
    for i in 0..99 {
        let step = book.refuse(&exchange(&format!("r{i}")), &[], at(900), at(0)).unwrap();
        apply(&mut book, &step);
    }
    let h = exchange("new");
    assert_eq!(book.refuse(&h, &[], at(900), at(1)), Err(BookError::Busy));
    assert_eq!(book.hold(&h, at(900), vec![], at(1)), Err(BookError::Busy));
    assert_eq!(book.answer(&ask("new", TOKEN), at(1)), Err(BookError::Busy), "no release without a refusal");
    book.hold(&h, at(1800), vec![], at(900)).unwrap();
    let used = Used { promo: "p".into(), minor: 0, day: Day(0), counters: vec![] };
    for i in 0..1000 {
        let step = book.give_back(&exchange(&format!("b{i}")), used.clone(), &owner()).unwrap();
        apply(&mut book, &step);
    }
    assert_eq!(book.give_back(&exchange("b"), used, &owner()), Err(BookError::Busy));
}
