//! The small world that is searched: owners, promos, coordinators, and what is under way between them.
//!
//! Owners and promos are the real thing (`Book`, `Promo`); what stands here is the store, the network and the clocks. A
//! row is written by changing the state. A packet in `net` may be delivered at any time or never, so that nothing need
//! say that it was lost. Lanes are the durable effects: what is first in one is delivered at some time.

use std::{
    collections::{BTreeSet, VecDeque},
    sync::atomic::{AtomicBool, Ordering},
};

use adal_domain::{
    entity::{Effect, Entity, EntityKey, EntityKind, Moment},
    ids::ExchangeId,
    promo::{
        self, Command, Limits, Outcome, Promo, Refusal, Reply, Reserve, Used,
        book::{Book, BookError, BookEvent, Part, Step},
        event::End,
        protocol::{Ask, ToOwner},
    },
    time::{Day, Timestamp},
};

use super::{Fault, Holds};

/// Seconds: a moment within every hold's time.
pub const EARLY: i64 = 5;
/// The owners whose holds end early; those of further ones last on, and can take what the early ones gave up.
pub const SOON: usize = 2;

/// When an owner's holds end, seconds.
pub const fn expires(owner: usize) -> i64 {
    if owner < SOON { 10 } else { 2000 }
}

/// A moment after that.
pub const fn past(owner: usize) -> i64 {
    expires(owner) + 10
}

/// When promos look for what is overdue: after the first question to each is due, and after the second.
pub const fn asking(owner: usize) -> [i64; 2] {
    if owner < SOON { [100, 1000] } else { [2100, 5000] }
}

/// What each use takes off.
pub const MINOR: i64 = 7;
/// The day of every capture.
pub const DAY: Day = Day(1);

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct World {
    pub owners: Vec<Owner>,
    pub promos: Vec<Side>,
    /// Requests, answers and late copies, in no order.
    pub net: BTreeSet<Packet>,
    /// How many more messages may come twice.
    pub copies: u8,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Owner {
    pub book: Book,
    /// Seconds: the last row's.
    pub head: i64,
    /// Effects under way, by promo.
    pub lanes: Vec<VecDeque<Command>>,
    pub coordinator: Coordinator,
    /// Attempts begun.
    pub attempts: usize,
    /// Uses that captured holds took and that were not given back, by promo: what is true.
    pub captured: Vec<u64>,
    /// Uses that may be given back.
    pub used: Vec<(ExchangeId, Used)>,
}

/// Serves one request, and keeps nothing durable.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Coordinator {
    Idle,
    Reserving { parts: Vec<Part> },
    Committing,
}

/// A promo with its journal's length and what it owes.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Side {
    pub state: promo::State,
    pub seq: u64,
    pub head: i64,
    /// Questions under way, by owner.
    pub lanes: Vec<VecDeque<Question>>,
}

/// A question, and when it was put: the last one is answered by a clock that is past the hold's time, or clocks would
/// never agree.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Question {
    pub promo: usize,
    pub exchange: ExchangeId,
    pub token: (u64, u32),
    pub expires_at: i64,
    pub put: i64,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Packet {
    Reserve {
        owner: usize,
        attempt: usize,
        promo: usize,
    },
    Answer {
        owner: usize,
        attempt: usize,
        promo: usize,
        token: Option<(u64, u32)>,
    },
    Hold {
        owner: usize,
        attempt: usize,
        tokens: Vec<(u64, u32)>,
    },
    Refuse {
        owner: usize,
        attempt: usize,
        asked: usize,
    },
    /// A late copy of an effect, as its bytes.
    Late {
        promo: usize,
        command: Vec<u8>,
    },
    LateQuestion {
        owner: usize,
        question: Question,
    },
}

/// What has happened anywhere in the search: a search in which nothing happens finds nothing.
#[derive(Debug, Default)]
pub struct Seen {
    pub sold_out: AtomicBool,
    pub expired: AtomicBool,
    pub refused_when_asked: AtomicBool,
    pub late_hold_refused: AtomicBool,
    pub orphan_released: AtomicBool,
    pub returned: AtomicBool,
    pub all_captured: AtomicBool,
}

impl Seen {
    pub fn all(&self) -> bool {
        [
            &self.sold_out,
            &self.expired,
            &self.refused_when_asked,
            &self.late_hold_refused,
            &self.orphan_released,
            &self.returned,
            &self.all_captured,
        ]
        .into_iter()
        .all(|one| one.load(Ordering::Relaxed))
    }
}

pub fn note(what: &AtomicBool, happened: bool) {
    if happened {
        what.store(true, Ordering::Relaxed);
    }
}

pub fn at(seconds: i64) -> Timestamp {
    Timestamp::from_seconds(seconds)
}

pub fn hold_id(owner: usize, attempt: usize) -> ExchangeId {
    ExchangeId::new(&format!("h{owner}.{attempt}")).unwrap()
}

fn back_id(hold: &ExchangeId) -> ExchangeId {
    ExchangeId::new(&format!("{hold}:back")).unwrap()
}

pub fn promo_name(promo: usize) -> Box<str> {
    format!("p{promo}").into()
}

fn index_of(name: &str) -> usize {
    name[1..].parse().unwrap()
}

fn key(owner: usize) -> EntityKey {
    EntityKey::new(EntityKind::Customer, &format!("c{owner}"))
}

pub fn reserve(owner: usize, attempt: usize, limit: u64) -> Reserve {
    let limits = Limits { total: Some(limit), budget_minor: Some(MINOR * 100), ..Limits::default() };
    Reserve {
        exchange: hold_id(owner, attempt),
        owner: key(owner),
        minor: MINOR,
        as_far: false,
        ip: None,
        link_keys: Vec::new(),
        expires_at: at(expires(owner)),
        limits,
    }
}

fn part(promo: usize, owner: usize, attempt: usize, (seq, index): (u64, u32)) -> Part {
    Part::new(&promo_name(promo), &reserve(owner, attempt, 1), promo::Token { seq, index }, MINOR)
}

impl World {
    pub fn new(owners: usize, promos: usize, copies: u8) -> Self {
        let owner = Owner {
            book: Book::default(),
            head: 0,
            lanes: vec![VecDeque::new(); promos],
            coordinator: Coordinator::Idle,
            attempts: 0,
            captured: vec![0; promos],
            used: Vec::new(),
        };
        let side = |p| Side {
            state: promo::State::new(&promo_name(p)),
            seq: 0,
            head: 0,
            lanes: vec![VecDeque::new(); owners],
        };
        Self { owners: vec![owner; owners], promos: (0..promos).map(side).collect(), net: BTreeSet::new(), copies }
    }

    /// The promo decides a command and writes its row.
    pub fn tell_promo(&mut self, p: usize, command: &Command, now: i64, holds: &Holds) -> Result<Reply, Refusal> {
        let side = &mut self.promos[p];
        let command =
            if holds.fault == Fault::EndsWithoutToken { fit_token(command, &side.state) } else { command.clone() };
        let seq = side.seq + 1;
        let moment = Moment::<Promo> { now: at(now), context: &(), seq, index: 0, entropy: [0; 16], recalled: &[] };
        let decision = Promo::decide(&side.state, &command, &moment)?;
        for event in &decision.events {
            Promo::apply(&mut side.state, event, seq);
            match event {
                // Only openings need places of their own: fewer worlds differ.
                promo::Event::Opened(_) => side.seq = seq,
                promo::Event::Ended { end, .. } => note(&holds.seen.returned, matches!(end, End::Returned { .. })),
                _ => {}
            }
            side.head = side.head.max(now);
        }
        for effect in &decision.effects {
            let ToOwner::PromoAsks(Ask { exchange, token, expires_at, .. }) =
                rmp_serde::from_slice(&effect.command).unwrap();
            let token = (token.seq, token.index);
            let question = Question { promo: p, exchange, token, expires_at: expires_at.seconds(), put: now };
            side.lanes[index_of(&effect.target.id)].push_back(question);
        }
        Ok(decision.reply)
    }

    /// The owner writes a row: both or none.
    pub fn write(&mut self, o: usize, step: &Step, now: i64) {
        let owner = &mut self.owners[o];
        if !step.events.is_empty() || !step.effects.is_empty() {
            owner.head = owner.head.max(now);
        }
        for event in &step.events {
            owner.book.apply(event);
            match event {
                BookEvent::Ended { hold, used, .. } => {
                    for used in used {
                        owner.captured[index_of(&used.promo)] += 1;
                        owner.used.push((back_id(hold), used.clone()));
                    }
                }
                BookEvent::ReturnOwed { exchange, used } => {
                    owner.captured[index_of(&used.promo)] -= 1;
                    owner.used.retain(|(known, of)| known != exchange || of.promo != used.promo);
                }
                _ => {}
            }
        }
        for Effect { target, command } in &step.effects {
            owner.lanes[index_of(&target.id)].push_back(rmp_serde::from_slice(command).unwrap());
        }
    }

    /// Ends the owner's holds whose time is over.
    pub fn expire(&mut self, o: usize, seen: &Seen) {
        let live: Vec<ExchangeId> = self.owners[o].book.holds.iter().map(|live| live.hold.clone()).collect();
        for hold in live {
            let step = self.owners[o].book.release(&hold, at(past(o))).unwrap();
            self.write(o, &step, past(o));
            note(&seen.expired, true);
        }
    }

    /// Step 6: the owner answers a question, by one of the clocks that it may have.
    pub fn answer(&mut self, o: usize, question: &Question, now: i64, holds: &Holds) {
        let (fault, seen) = (holds.fault, &holds.seen);
        if now >= expires(o) {
            self.expire(o, seen);
        }
        let (seq, index) = question.token;
        let ask = Ask {
            promo: promo_name(question.promo),
            exchange: question.exchange.clone(),
            token: promo::Token { seq, index },
            expires_at: at(question.expires_at),
        };
        let mut step = self.owners[o].book.answer(&ask, at(now)).unwrap();
        let head = self.owners[o].head;
        if fault == Fault::ReleaseWithoutRefusal {
            step.events.retain(|event| !matches!(event, BookEvent::Refused { .. }));
        }
        let orphan = self.owners[o].used.iter().any(|(back, _)| *back == back_id(&question.exchange));
        note(&seen.orphan_released, orphan && !step.effects.is_empty());
        note(&seen.refused_when_asked, !step.events.is_empty());
        self.write(o, &step, now);
        if fault == Fault::ReleaseWithoutRefusal && step.events.is_empty() {
            // Without a row nothing says how late it was.
            self.owners[o].head = head;
        }
    }

    pub fn deliver(&mut self, packet: &Packet, holds: &Holds, now: i64) {
        let (wants, seen) = (&holds.wants, &holds.seen);
        match packet {
            Packet::Reserve { owner, attempt, promo } => {
                let request = reserve(*owner, *attempt, holds.limit);
                let answer = self.tell_promo(*promo, &Command::Reserve(Box::new(request)), now, holds);
                let token = match answer {
                    Ok(Reply::Reserved { token, .. }) => Some((token.seq, token.index)),
                    _ => None,
                };
                note(&seen.sold_out, answer == Err(Refusal::Exhausted));
                self.net.insert(Packet::Answer { owner: *owner, attempt: *attempt, promo: *promo, token });
            }
            Packet::Answer { owner, attempt, promo, token } => {
                self.answered(*owner, *attempt, *promo, *token, &wants[*owner]);
            }
            Packet::Hold { owner, attempt, tokens } => {
                let parts = wants[*owner].iter().zip(tokens).map(|(p, token)| part(*p, *owner, *attempt, *token));
                let hold = hold_id(*owner, *attempt);
                let step = self.owners[*owner].book.hold(&hold, at(expires(*owner)), parts.collect(), at(now));
                note(&seen.late_hold_refused, step == Err(BookError::Over));
                if let Ok(step) = step {
                    self.write(*owner, &step, now);
                }
                self.owners[*owner].coordinator = Coordinator::Idle;
            }
            Packet::Refuse { owner, attempt, asked } => {
                let asked: Vec<_> = wants[*owner].iter().take(*asked).map(|p| promo_name(*p)).collect();
                let hold = hold_id(*owner, *attempt);
                if let Ok(step) = self.owners[*owner].book.refuse(&hold, &asked, at(expires(*owner)), at(now)) {
                    self.write(*owner, &step, now);
                }
            }
            Packet::Late { promo, command } => {
                let command = rmp_serde::from_slice(command).unwrap();
                // An end or a give-back: the answer goes nowhere.
                let _ = self.tell_promo(*promo, &command, now, holds);
            }
            Packet::LateQuestion { owner, question } => self.answer(*owner, question, now, holds),
        }
    }

    /// Takes out of `net` what can change nothing any more: fewer worlds differ.
    pub fn sweep(&mut self) {
        let (owners, promos) = (&self.owners, &self.promos);
        self.net.retain(|packet| match packet {
            Packet::Reserve { owner, promo, .. } => promos[*promo].head < expires(*owner),
            Packet::Answer { owner, attempt, .. } => {
                let owner = &owners[*owner];
                matches!(owner.coordinator, Coordinator::Reserving { .. }) && owner.attempts == attempt + 1
            }
            Packet::Hold { owner, attempt, .. } => {
                let until = expires(*owner);
                let owner = &owners[*owner];
                // Its arrival also frees the coordinator.
                let waits = owner.coordinator == Coordinator::Committing && owner.attempts == attempt + 1;
                waits || owner.head < until
            }
            Packet::Refuse { .. } | Packet::Late { .. } | Packet::LateQuestion { .. } => true,
        });
    }

    /// A promo's answer reaches the coordinator.
    fn answered(&mut self, o: usize, attempt: usize, promo: usize, token: Option<(u64, u32)>, wants: &[usize]) {
        let owner = &mut self.owners[o];
        let Coordinator::Reserving { parts } = &mut owner.coordinator else { return };
        if owner.attempts != attempt + 1 || wants[parts.len()] != promo {
            return;
        }
        let Some(token) = token else {
            let asked = parts.len() + 1;
            owner.coordinator = Coordinator::Idle;
            self.net.insert(Packet::Refuse { owner: o, attempt, asked });
            return;
        };
        parts.push(part(promo, o, attempt, token));
        if let Some(next) = wants.get(parts.len()) {
            self.net.insert(Packet::Reserve { owner: o, attempt, promo: *next });
            return;
        }
        let tokens = parts.iter().map(|part| (part.token.seq, part.token.index)).collect();
        owner.coordinator = Coordinator::Committing;
        self.net.insert(Packet::Hold { owner: o, attempt, tokens });
    }
}

/// What a promo would do that did not look at tokens.
fn fit_token(command: &Command, state: &promo::State) -> Command {
    let Command::End { exchange, outcome } = command else { return command.clone() };
    let Some(open) = state.open(exchange) else { return command.clone() };
    let outcome = match *outcome {
        Outcome::Taken { minor, day, .. } => Outcome::Taken { token: open.token, minor, day },
        Outcome::Released { .. } => Outcome::Released { token: None },
        Outcome::Returned { .. } => Outcome::Returned { token: open.token },
    };
    Command::End { exchange: exchange.clone(), outcome }
}
