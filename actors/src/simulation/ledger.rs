//! A small ledger of two kinds, with everything that the loop has to get right: accounts that pay into purses (effects),
//! purses that pay a coin back for odd sums (effects the other way), holds that expire (timers), refusals, replies with
//! random bits (a command that is decided twice is noticed), rows that are recalled, and a command that panics.

use std::collections::BTreeMap;

use adal_domain::{
    entity::{Decision, Effect, Entity, EntityKey, EntityKind, Moment, View, ViewWrite},
    time::Timestamp,
};
use serde::{Deserialize, Serialize};

#[derive(Debug, Clone)]
pub(crate) struct Account;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct AccountState {
    pub(crate) id: String,
    pub(crate) balance: i64,
    pub(crate) captured: i64,
    /// id -> (amount, when it expires)
    pub(crate) holds: BTreeMap<String, (i64, Timestamp)>,
}

impl AccountState {
    pub(crate) fn held(&self) -> i64 {
        self.holds.values().map(|(amount, _)| amount).sum()
    }
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) enum Ask {
    Deposit(i64),
    Pay {
        to: String,
        amount: i64,
    },
    Hold {
        amount: i64,
        seconds: i64,
    },
    Capture,
    /// How much the row paid in.
    Recall(u64),
    /// Changes nothing.
    Look,
    /// A purse's coin.
    Coin(i64),
    Expire,
    Panic,
    /// Refused as long as there is nothing, and not for good.
    TryLater,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) enum Happened {
    Deposited(i64),
    Paid { to: String, amount: i64 },
    Held { id: String, amount: i64, until: Timestamp },
    Captured { id: String },
    Expired { id: String },
    Coin(i64),
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Told {
    pub(crate) balance: i64,
    pub(crate) recalled: i64,
    pub(crate) random: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Refused {
    TooLittle { available: i64 },
    NoHold,
    NotNow,
}

pub(crate) fn bytes<T: Serialize>(value: &T) -> Vec<u8> {
    rmp_serde::to_vec_named(value).unwrap()
}

impl Entity for Account {
    const KIND: EntityKind = EntityKind::Customer;
    const FORMAT: u16 = 1;
    type State = AccountState;
    type Command = Ask;
    type Event = Happened;
    type Reply = Told;
    type Refusal = Refused;
    type Context = ();

    fn initial(id: &str) -> AccountState {
        AccountState { id: id.into(), balance: 0, captured: 0, holds: BTreeMap::new() }
    }

    fn recalls(_: &AccountState, command: &Ask) -> Vec<u64> {
        if let Ask::Recall(seq) = command { vec![*seq] } else { Vec::new() }
    }

    fn is_recorded(refusal: &Refused) -> bool {
        *refusal != Refused::NotNow
    }

    fn decide(state: &AccountState, command: &Ask, at: &Moment<'_, Self>) -> Result<Decision<Self>, Refused> {
        let available = state.balance - state.held();
        let enough = |amount: i64| if amount > available { Err(Refused::TooLittle { available }) } else { Ok(()) };
        let random = u64::from_le_bytes(at.entropy[..8].try_into().unwrap());
        let mut decision: Decision<Self> = Decision {
            events: Vec::new(),
            reply: Told { balance: state.balance, recalled: 0, random },
            effects: Vec::new(),
        };
        match command {
            Ask::Deposit(amount) => decision.events.push(Happened::Deposited(*amount)),
            Ask::Coin(amount) => decision.events.push(Happened::Coin(*amount)),
            Ask::Pay { to, amount } => {
                enough(*amount)?;
                decision.events.push(Happened::Paid { to: to.clone(), amount: *amount });
                decision.effects.push(Effect {
                    target: EntityKey::new(EntityKind::Guest, to),
                    command: bytes(&Credit { from: state.id.clone(), amount: *amount }),
                });
            }
            Ask::Hold { amount, seconds } => {
                enough(*amount)?;
                let id = format!("{}-{}-{}", state.id, at.seq, at.index);
                let until = at.now.plus_seconds(*seconds);
                decision.events.push(Happened::Held { id, amount: *amount, until });
            }
            Ask::TryLater if state.balance == 0 => return Err(Refused::NotNow),
            Ask::TryLater => {}
            Ask::Capture => {
                let id = state.holds.keys().next().cloned().ok_or(Refused::NoHold)?;
                decision.events.push(Happened::Captured { id });
            }
            Ask::Recall(seq) => {
                let recalled = at.recalled.iter().filter(|(of, _)| of == seq).flat_map(|(_, events)| events);
                decision.reply.recalled =
                    recalled.map(|event| if let Happened::Deposited(n) = event { *n } else { 0 }).sum();
            }
            Ask::Look => {}
            Ask::Expire => {
                let due = state.holds.iter().filter(|(_, (_, until))| *until <= at.now);
                decision.events.extend(due.map(|(id, _)| Happened::Expired { id: id.clone() }));
            }
            Ask::Panic => panic!("planted"),
        }
        Ok(decision)
    }

    fn apply(state: &mut AccountState, event: &Happened, _: u64) {
        match event {
            Happened::Deposited(amount) | Happened::Coin(amount) => state.balance += amount,
            Happened::Paid { amount, .. } => state.balance -= amount,
            Happened::Held { id, amount, until } => drop(state.holds.insert(id.clone(), (*amount, *until))),
            Happened::Captured { id } => {
                let (amount, _) = state.holds.remove(id).unwrap();
                state.balance -= amount;
                state.captured += amount;
            }
            Happened::Expired { id } => drop(state.holds.remove(id)),
        }
    }

    fn next_wake(state: &AccountState) -> Option<Timestamp> {
        state.holds.values().map(|(_, until)| *until).min()
    }

    fn wake() -> Ask {
        Ask::Expire
    }

    fn views(id: &str, state: &AccountState, event: &Happened, seq: u64, index: u32) -> Vec<ViewWrite> {
        let write = |view, key: String, value| ViewWrite { view, key, filter: String::new(), value };
        match event {
            Happened::Held { id: hold, .. } => vec![write(View::HoldById, hold.clone(), Some(bytes(&id)))],
            Happened::Captured { id: hold } | Happened::Expired { id: hold } => {
                vec![write(View::HoldById, hold.clone(), None)]
            }
            Happened::Paid { .. } => {
                vec![write(View::Signal, format!("{seq:08}-{index:04}-{id}"), Some(bytes(&state.balance)))]
            }
            Happened::Deposited(_) | Happened::Coin(_) => Vec::new(),
        }
    }

    fn weight(state: &AccountState) -> usize {
        100 + state.holds.len() * 64
    }

    fn broken_invariants(state: &AccountState) -> Vec<&'static str> {
        if state.balance < state.held() { vec!["available is not negative"] } else { Vec::new() }
    }
}

#[derive(Debug, Clone)]
pub(crate) struct Purse;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Credit {
    pub(crate) from: String,
    pub(crate) amount: i64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PurseState {
    pub(crate) balance: i64,
}

impl Entity for Purse {
    const KIND: EntityKind = EntityKind::Guest;
    const FORMAT: u16 = 1;
    type State = PurseState;
    type Command = Credit;
    type Event = i64;
    type Reply = ();
    type Refusal = ();
    type Context = ();

    fn initial(_: &str) -> PurseState {
        PurseState { balance: 0 }
    }

    fn decide(_: &PurseState, command: &Credit, _: &Moment<'_, Self>) -> Result<Decision<Self>, ()> {
        let mut decision = Decision { events: vec![command.amount], reply: (), effects: Vec::new() };
        if command.amount % 2 == 1 {
            decision.events.push(-1);
            let target = EntityKey::new(EntityKind::Customer, &command.from);
            decision.effects.push(Effect { target, command: bytes(&Ask::Coin(1)) });
        }
        Ok(decision)
    }

    fn apply(state: &mut PurseState, event: &i64, _: u64) {
        state.balance += event;
    }

    fn next_wake(_: &PurseState) -> Option<Timestamp> {
        None
    }

    fn wake() -> Credit {
        Credit { from: String::new(), amount: 0 }
    }

    fn views(_: &str, _: &PurseState, _: &i64, _: u64, _: u32) -> Vec<ViewWrite> {
        Vec::new()
    }

    fn weight(_: &PurseState) -> usize {
        8
    }

    fn broken_invariants(state: &PurseState) -> Vec<&'static str> {
        if state.balance < 0 { vec!["a purse is not negative"] } else { Vec::new() }
    }
}
