//! The form in which a customer is stored, in snapshots and in what a past state shows: as it was when facts were one
//! list in the state and what aged ones leave was a part of its standing.

use std::borrow::Cow;

use serde::{Deserialize, Serialize, Serializer};
use thin_vec::ThinVec;

use super::{
    Approval, Counters, Rare, Standing, State,
    history::{Aged, Facts},
    hold::Hold,
    ledger::Ledger,
    marketing::Marketing,
    order::OpenOrder,
    trust::FraudFlag,
};
use crate::{card::Card, qr::Step, time::Timestamp};

/// See the module. Borrowed where it is written, owned where it was read.
#[derive(Serialize, Deserialize)]
pub(super) struct Stored<'a> {
    id: Cow<'a, str>,
    card: Cow<'a, Option<Box<Card>>>,
    ledger: Cow<'a, Ledger>,
    holds: Cow<'a, ThinVec<Hold>>,
    used_steps: Cow<'a, ThinVec<(Step, Timestamp)>>,
    open_orders: Cow<'a, ThinVec<OpenOrder>>,
    facts: Cow<'a, Facts>,
    fact_time: Timestamp,
    counters: Counters,
    standing: StoredStanding<'a>,
    approvals: Cow<'a, [Approval]>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    marketing: Option<Cow<'a, Marketing>>,
}

#[derive(Serialize, Deserialize)]
struct StoredStanding<'a> {
    score: i64,
    updated: Option<Timestamp>,
    total_orders: u32,
    completed_orders: u32,
    flags: Cow<'a, ThinVec<FraudFlag>>,
    aged: Option<Aged>,
}

impl Serialize for State {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let standing = StoredStanding {
            score: self.standing.score,
            updated: (self.standing.updated.0 != 0).then_some(self.standing.updated),
            total_orders: self.standing.total_orders,
            completed_orders: self.standing.completed_orders,
            flags: Cow::Borrowed(&self.standing.flags),
            aged: self.facts.aged(),
        };
        let stored = Stored {
            id: Cow::Borrowed(&self.id),
            card: Cow::Borrowed(&self.card),
            ledger: Cow::Borrowed(&self.ledger),
            holds: Cow::Borrowed(&self.holds),
            used_steps: Cow::Borrowed(&self.used_steps),
            open_orders: Cow::Borrowed(&self.open_orders),
            facts: Cow::Borrowed(&self.facts),
            fact_time: self.fact_time,
            counters: self.counters,
            standing,
            approvals: Cow::Borrowed(self.approvals()),
            marketing: self.marketing().filter(|known| **known != Marketing::default()).map(Cow::Borrowed),
        };
        stored.serialize(serializer)
    }
}

impl From<Stored<'_>> for State {
    fn from(stored: Stored<'_>) -> Self {
        let standing = stored.standing;
        let mut facts = stored.facts.into_owned();
        if let Some(aged) = standing.aged {
            facts.set_aged(aged);
        }
        let rare = Rare {
            approvals: stored.approvals.into_owned(),
            marketing: stored.marketing.map(Cow::into_owned).unwrap_or_default(),
        };
        let mut state = Self {
            id: stored.id.into(),
            card: stored.card.into_owned(),
            ledger: stored.ledger.into_owned(),
            holds: stored.holds.into_owned(),
            used_steps: stored.used_steps.into_owned(),
            open_orders: stored.open_orders.into_owned(),
            facts,
            fact_time: stored.fact_time,
            counters: stored.counters,
            standing: Standing {
                score: standing.score,
                updated: standing.updated.unwrap_or_default(),
                total_orders: standing.total_orders,
                completed_orders: standing.completed_orders,
                flags: standing.flags.into_owned(),
            },
            rare: Some(Box::new(rare)),
        };
        state.tidy();
        state
    }
}
