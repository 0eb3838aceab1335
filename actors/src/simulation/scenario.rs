//! The ledger's scenario: money moves, and none is made or lost.

use adal_domain::time::Timestamp;
use rand::{Rng, rngs::StdRng};

use super::{
    Scenario,
    ledger::{Account, Ask, Purse},
};
use crate::ask::Published;

pub(super) struct Money {
    pub(super) accounts: usize,
}

impl Scenario for Money {
    type Asked = Account;
    type Owed = Purse;

    fn ids(&self) -> Vec<String> {
        (0..self.accounts).map(|number| format!("account-{number}")).collect()
    }

    fn command(&self, rng: &mut StdRng, _: &str) -> (Ask, bool) {
        match rng.random_range(0..100) {
            0..25 => (Ask::Deposit(rng.random_range(1..100)), true),
            25..60 => {
                let to = format!("purse-{}", rng.random_range(0..4));
                (Ask::Pay { to, amount: rng.random_range(1..60) }, true)
            }
            60..75 => (Ask::Hold { amount: rng.random_range(1..40), seconds: rng.random_range(1..90) }, true),
            75..82 => (Ask::Capture, true),
            82..92 => (Ask::Recall(rng.random_range(1..20)), true),
            _ => (Ask::Look, false),
        }
    }

    fn contexts(&self) -> ((), ()) {
        ((), ())
    }

    fn settled_after(&self) -> u64 {
        120
    }

    fn verify(&self, asked: &[Published<Account>], owed: &[Published<Purse>], accepted: &[Ask], now: Timestamp) {
        let paid_in = accepted.iter().map(|ask| if let Ask::Deposit(amount) = ask { *amount } else { 0 });
        let accounts = asked.iter().map(|account| account.state.balance + account.state.captured);
        let purses = owed.iter().map(|purse| purse.state.balance);
        assert_eq!(paid_in.sum::<i64>(), accounts.sum::<i64>() + purses.sum::<i64>(), "money is made or lost");
        let late = asked.iter().flat_map(|account| account.state.holds.values()).filter(|(_, until)| *until <= now);
        assert_eq!(late.count(), 0, "a hold outlived its time");
    }
}
