//! What checkouts count: how many of each step, how long a pricing takes, why offers and codes do not count, what offers
//! took off. Labels are words of a fixed list; no offer, code, customer or shop is one.

use adal_domain::checkout::{Quote, RejectedOffer};
use metrics::{counter, histogram};

use super::Told;
use crate::{clock::Stopwatch, http::problem::Problem};

/// A priced quote.
pub fn quoted(watch: &Stopwatch, quote: &Quote) {
    counter!("adal_checkouts_total", "step" => "quote", "outcome" => "ok").increment(1);
    histogram!("adal_quote_seconds").record(watch.seconds());
    rejected(&quote.rejected);
}

/// What came of a hold, a capture or a release.
pub fn step(step: &'static str, told: &Result<Told, Problem>) {
    let outcome = match told {
        Ok(Told { replayed: true, .. }) => "replayed",
        Ok(_) => "ok",
        Err(problem) if problem.code().status() >= 500 || problem.code().status() == 429 => "unavailable",
        Err(_) => "refused",
    };
    counter!("adal_checkouts_total", "step" => step, "outcome" => outcome).increment(1);
    if let Err(problem) = told {
        counter!("adal_checkouts_refused_total", "step" => step, "code" => problem.code().as_str()).increment(1);
    }
}

/// A sale: what its offers took off, by who pays for them.
pub fn sold(quote: &Quote) {
    for applied in &quote.applied {
        let funded_by = match applied.funded_by.as_str() {
            "shop" => "shop",
            "brand" => "brand",
            _ => "platform",
        };
        let minor = u64::try_from(applied.discount_minor).unwrap_or(0);
        counter!("adal_offers_discount_minor_total", "funded_by" => funded_by).increment(minor);
    }
}

/// Why codes (and, where all are explained, offers) did not count. The reasons are the engine's stable words.
fn rejected(rejected: &[RejectedOffer]) {
    for one in rejected {
        counter!("adal_offers_rejected_total", "reason" => one.reason.clone()).increment(1);
    }
}
