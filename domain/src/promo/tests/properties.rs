//! Any interleaving of commands, with repeats, compared with a plain count.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

/// A step of a test; numbers pick among few exchanges, keys and tokens, so that they meet.
#[derive(Debug, Clone)]
enum Op {
    Reserve { id: u8, minor: i64, link: u8, ip: u8, as_far: bool },
    End { id: u8, known: bool, how: u8, part: i64, day: i32 },
    GiveBack { id: u8, of: usize },
    Wake,
    Later(i64),
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        4 => (0..8_u8, 0..60_i64, 0..3_u8, 0..3_u8, prop::bool::weighted(0.2))
            .prop_map(|(id, minor, link, ip, as_far)| Op::Reserve { id, minor, link, ip, as_far }),
        4 => (0..16_u8, prop::bool::weighted(0.8), 0..3_u8, 0..60_i64, 0..3_i32)
            .prop_map(|(id, known, how, part, day)| Op::End { id, known, how, part, day }),
        2 => (8..16_u8, 0..8_usize).prop_map(|(id, of)| Op::GiveBack { id, of }),
        1 => Just(Op::Wake),
        1 => (1..4000_i64).prop_map(Op::Later),
    ]
}

const TOTAL: u64 = 4;
const BUDGET: i64 = 120;
const PER_LINK: u32 = 2;
const PER_IP: u32 = 2;

/// The plain count: what is open and what was taken, as lists.
#[derive(Debug, Default)]
struct Plain {
    open: BTreeMap<u8, (Token, Kept)>,
    taken: Vec<(Kept, Used)>,
}

#[derive(Debug, Clone)]
enum Kept {
    Use { minor: i64, link: u8, ip: u8 },
    Back(usize),
}

impl Plain {
    fn uses(&self) -> impl Iterator<Item = (i64, u8, u8)> {
        let open = self.open.values().map(|(_, kept)| kept.clone());
        let taken = self.taken.iter().map(|(kept, _)| kept.clone());
        open.chain(taken).filter_map(|kept| match kept {
            Kept::Use { minor, link, ip } => Some((minor, link, ip)),
            Kept::Back(_) => None,
        })
    }

    /// Looks at every limit in the plainest way.
    fn check(&self) {
        let all: Vec<_> = self.uses().collect();
        assert!(all.len() as u64 <= TOTAL);
        assert!(all.iter().map(|(minor, _, _)| minor).sum::<i64>() <= BUDGET);
        for key in 0..3 {
            assert!(all.iter().filter(|(_, link, _)| *link == key).count() <= PER_LINK as usize);
            assert!(all.iter().filter(|(_, _, ip)| *ip == key).count() <= PER_IP as usize);
        }
    }
}

fn request(id: u8, minor: i64, link: u8, ip: u8, as_far: bool, now: i64) -> Reserve {
    let limits = Limits {
        total: Some(TOTAL),
        per_customer: Some(PER_LINK),
        per_ip_in: in_period(PER_IP, 10_000_000),
        budget_minor: Some(BUDGET),
        ..Limits::default()
    };
    Reserve {
        minor,
        as_far,
        link_keys: vec![hash(link)],
        ip: Some(hash(ip)),
        expires_at: at(now + 900),
        ..limited(&format!("x{id}"), limits)
    }
}

fn run(journal: &mut Journal, plain: &mut Plain, op: &Op, now: &mut i64) {
    match *op {
        Op::Reserve { id, minor, link, ip, as_far } => {
            let request = request(id, minor, link, ip, as_far, *now);
            let before = journal.rows.len();
            match journal.tell(at(*now), &Command::Reserve(Box::new(request))) {
                Ok(Reply::Reserved { token, minor: granted }) => match plain.open.get(&id) {
                    Some((known, Kept::Use { minor, .. })) => {
                        assert_eq!((token, granted, journal.rows.len()), (*known, *minor, before), "a repeat");
                    }
                    Some(other) => panic!("{other:?}"),
                    None => {
                        assert!(granted == minor || as_far && granted > 0 && granted < minor);
                        plain.open.insert(id, (token, Kept::Use { minor: granted, link, ip }));
                    }
                },
                Ok(other) => panic!("{other:?}"),
                Err(refusal) => {
                    assert_eq!(journal.rows.len(), before);
                    // Not without need: with the use, some limit would be passed.
                    let all: Vec<_> = plain.uses().collect();
                    let left = BUDGET - all.iter().map(|(minor, _, _)| minor).sum::<i64>();
                    let needed = match refusal {
                        Refusal::Exhausted => all.len() as u64 == TOTAL,
                        Refusal::LinkKey => all.iter().filter(|(_, of, _)| *of == link).count() == PER_LINK as usize,
                        Refusal::Ip => all.iter().filter(|(_, _, of)| *of == ip).count() == PER_IP as usize,
                        Refusal::Budget { left_minor } => left == left_minor && minor > left && (!as_far || left == 0),
                        _ => false,
                    };
                    assert!(needed, "{refusal:?}");
                }
            }
        }
        Op::End { id, known, how, part, day } => {
            let open = plain.open.get(&id).cloned();
            let token = match &open {
                Some((token, _)) if known => *token,
                _ => Token { seq: 1_000_000, index: 0 },
            };
            let outcome = match how {
                0 => Outcome::Taken { token, minor: part, day: Day(day) },
                1 => Outcome::Released { token: Some(token) },
                _ => Outcome::Returned { token },
            };
            let end = Command::End { exchange: exchange(&format!("x{id}")), outcome };
            assert_eq!(journal.tell(at(*now), &end), Ok(Reply::Ended));
            if known {
                end_plain(plain, id, open, how, part, day);
            }
        }
        Op::GiveBack { id, of } => {
            let Some((_, used)) = plain.taken.get(of) else { return };
            let request = GiveBack { exchange: exchange(&format!("x{id}")), owner: owner(), used: used.clone() };
            match journal.tell(at(*now), &Command::GiveBack(Box::new(request))) {
                Ok(Reply::Asked { token }) => {
                    let known = plain.open.entry(id).or_insert((token, Kept::Back(of)));
                    assert_eq!(known.0, token);
                }
                other => panic!("{other:?}"),
            }
        }
        Op::Wake => assert_eq!(journal.tell(at(*now), &Command::Wake), Ok(Reply::Woken)),
        Op::Later(seconds) => *now += seconds,
    }
}

fn end_plain(plain: &mut Plain, id: u8, open: Option<(Token, Kept)>, how: u8, part: i64, day: i32) {
    match (open, how) {
        (Some((_, Kept::Use { minor, link, ip })), 0) => {
            let minor = part.min(minor);
            let counters = request(id, minor, link, ip, false, 0).counted().into_iter().map(|(one, _)| one).collect();
            plain.open.remove(&id);
            let used = Used { promo: "p".into(), minor, day: Day(day), counters };
            plain.taken.push((Kept::Use { minor, link, ip }, used));
        }
        (Some((_, Kept::Back(of))), 2) => {
            plain.open.remove(&id);
            // Once: others that would give back the same, or a later one, are let go by the test.
            plain.open.retain(|_, (_, kept)| !matches!(kept, Kept::Back(_)));
            plain.taken.remove(of);
        }
        (Some(_), 1) => {
            plain.open.remove(&id);
        }
        _ => {}
    }
}

/// Releases the give-backs that the plain count let go, so that both keep the same.
fn let_go(journal: &mut Journal, plain: &Plain, now: i64) {
    for id in (8..16).filter(|id| !plain.open.contains_key(id)) {
        let end = Command::End { exchange: exchange(&format!("x{id}")), outcome: Outcome::Released { token: None } };
        journal.tell(at(now), &end).unwrap();
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn any_interleaving_keeps_the_limits_exact_and_replays(ops in prop::collection::vec(op(), 1..120)) {
        let (mut journal, mut plain, mut now) = (Journal::new(), Plain::default(), 0);
        for op in &ops {
            run(&mut journal, &mut plain, op, &mut now);
            let_go(&mut journal, &plain, now);
            plain.check();
            let held: Vec<i64> = plain
                .open
                .values()
                .filter_map(|(_, kept)| if let Kept::Use { minor, .. } = kept { Some(*minor) } else { None })
                .collect();
            let taken: Vec<i64> = plain.taken.iter().map(|(_, used)| used.minor).collect();
            let state = &journal.state;
            prop_assert_eq!((state.held.uses, state.held.minor), (held.len() as u64, held.iter().sum()));
            prop_assert_eq!((state.taken.uses, state.taken.minor), (taken.len() as u64, taken.iter().sum()));
            prop_assert_eq!(state.open_count(), plain.open.len());
        }
        let mut replayed = State::new("p");
        journal.rows.iter().for_each(|event| Promo::apply(&mut replayed, event, 0));
        prop_assert_eq!(&replayed, &journal.state);
        let bytes = rmp_serde::to_vec_named(&replayed).unwrap();
        let read: State = rmp_serde::from_slice(&bytes).unwrap();
        prop_assert_eq!(&read, &journal.state);
        prop_assert_eq!(rmp_serde::to_vec_named(&read).unwrap(), bytes);
        prop_assert_eq!(Promo::next_wake(&read), Promo::next_wake(&replayed));
        let events = rmp_serde::to_vec_named(&journal.rows).unwrap();
        prop_assert_eq!(rmp_serde::from_slice::<Vec<Event>>(&events).unwrap(), journal.rows);
    }
}
