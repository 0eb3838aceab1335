//! What checkouts count: how many of each step, how long a pricing takes, why offers and codes do not count, what offers
//! took off. Labels are words of a fixed list; no offer, code, customer or shop is one.

use adal_domain::{
    checkout::{Quote, RejectedOffer},
    offers::Applied,
};
use metrics::{counter, describe_counter, describe_histogram, histogram};

use super::{Asked, Told, counts_address};
use crate::{clock::Stopwatch, http::problem::Problem};

/// Says what each is, once.
pub fn describe() {
    describe_counter!("adal_checkouts_total", "Quotes, holds, captures and releases, by outcome");
    describe_counter!("adal_checkouts_refused_total", "Those that were not done, by the error's code");
    describe_histogram!("adal_quote_seconds", "Pricing one cart, with what had to be read for it, by step");
    describe_counter!("adal_offers_rejected_total", "Codes (and offers) of quotes that did not count, by reason");
    describe_counter!("adal_holds_rejected_total", "Codes that a hold failed by, by reason and condition or limit");
    describe_counter!("adal_offers_discount_minor_total", "What offers took off captured carts, minor units");
    describe_counter!("adal_codes_wrong_total", "Promo codes typed that nobody knows");
    describe_counter!("adal_codes_locked_total", "Locked out for typing too many of them, by kind");
    describe_counter!("adal_address_limits_skipped_total", "Offers limited per address, given where none was known");
    describe_counter!("adal_address_secrets_kept_total", "Times that secrets of periods that are over stayed");
    describe_counter!("adal_let_go_failed_total", "Prepared holds that could not be let go of at once");
}

/// A priced quote, or why there is none.
pub fn quoted(told: Result<&Quote, &Problem>) {
    counter!("adal_checkouts_total", "step" => "quote", "outcome" => told.map_or_else(failed, |_| "ok")).increment(1);
    match told {
        Ok(quote) => rejected(&quote.rejected),
        Err(problem) => refused("quote", problem),
    }
}

/// A cart was priced, for a quote or a hold.
pub(super) fn priced(step: &'static str, watch: &Stopwatch) {
    histogram!("adal_quote_seconds", "step" => step).record(watch.seconds());
}

/// What came of a hold, a capture or a release.
pub fn step(step: &'static str, told: &Result<Told, Problem>) {
    let outcome = match told {
        Ok(Told { replayed: true, .. }) => "replayed",
        Ok(_) => "ok",
        Err(problem) => failed(problem),
    };
    counter!("adal_checkouts_total", "step" => step, "outcome" => outcome).increment(1);
    if let Err(problem) = told {
        refused(step, problem);
    }
}

fn failed(problem: &Problem) -> &'static str {
    if problem.code().status() >= 500 || problem.code().status() == 429 { "unavailable" } else { "refused" }
}

fn refused(step: &'static str, problem: &Problem) {
    counter!("adal_checkouts_refused_total", "step" => step, "code" => problem.code().as_str()).increment(1);
}

/// A hold fails by a code. Reason and condition are the engine's stable words.
pub(super) fn hold_rejected(rejected: &RejectedOffer) {
    let condition = rejected.condition.clone().unwrap_or_default();
    counter!("adal_holds_rejected_total", "reason" => rejected.reason.clone(), "condition" => condition).increment(1);
}

/// Offers limited per address that count for a cart whose address nobody knows: that limit was not asked.
pub(super) fn without_address(asked: &Asked, applied: &[Applied]) {
    if asked.address.is_some() || !counts_address(asked.cart.channel) {
        return;
    }
    let skipped = applied.iter().filter(|applied| applied.offer.limits.per_ip_in.is_some()).count();
    if skipped > 0 {
        counter!("adal_address_limits_skipped_total").increment(skipped as u64);
    }
}

/// Reservations of a hold that is not made stay until their promos have asked.
pub(super) fn let_go_failed() {
    counter!("adal_let_go_failed_total").increment(1);
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
