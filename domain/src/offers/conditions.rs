//! Whether an offer may apply at all: its status and time, whose cart it is, where and how it is bought, and what is in
//! it. The first condition that does not hold is the reason. Limits are asked later, when the discount is known.

use crate::{
    checkout::{Cart, Channel},
    ids::Word,
    offers::{
        basket::{Basket, Lines},
        compile::Compiled,
        document::{Conditions, OfferKind, Status},
        outcome::{Condition, Reason, Shopper},
    },
    time::Timestamp,
};

/// What conditions look at.
pub(super) struct Facts<'a> {
    pub(super) cart: &'a Cart,
    pub(super) shopper: &'a Shopper,
    pub(super) now: Timestamp,
    /// Weekday from Monday and minute of the day by the shop's clock.
    pub(super) clock: (u8, u16),
}

/// Checks all but the lines, which cost most.
pub(super) fn check_circumstances(compiled: &Compiled, facts: &Facts<'_>) -> Result<(), Reason> {
    let (offer, now) = (&compiled.offer, facts.now);
    let is_on = match compiled.kind {
        OfferKind::Promo => facts.shopper.promos,
        OfferKind::Campaign => facts.shopper.campaigns,
    };
    if !is_on {
        return Err(Reason::FeatureDisabled);
    }
    match offer.status {
        Status::Draft => return Err(Reason::Draft),
        Status::Ended => return Err(Reason::Ended),
        Status::Active => {}
    }
    if offer.starts_at.is_some_and(|starts| now < starts) {
        return Err(Reason::NotStarted);
    }
    if offer.ends_at.is_some_and(|ends| now >= ends) {
        return Err(Reason::Ended);
    }
    unmet(
        compiled.windows.as_ref().is_none_or(|all| all.iter().any(|w| w.holds(facts.clock.0, facts.clock.1))),
        Condition::Windows,
    )?;
    check_cart(&offer.conditions, facts.cart)?;
    check_shopper(&offer.conditions, facts.shopper)
}

fn unmet(holds: bool, condition: Condition) -> Result<(), Reason> {
    if holds { Ok(()) } else { Err(Reason::ConditionNotMet(condition)) }
}

/// Where and how it is bought. What the caller did not say meets no condition.
fn check_cart(conditions: &Conditions, cart: &Cart) -> Result<(), Reason> {
    let Conditions { shops, channels, payment_methods, delivery_methods, .. } = conditions;
    let one_of = |words: &Option<Vec<Word>>, word: &Option<Word>| {
        words.as_ref().is_none_or(|words| word.as_ref().is_some_and(|word| words.contains(word)))
    };
    let is_channel = |channels: &Vec<Channel>| channels.contains(&cart.channel);
    unmet(shops.as_ref().is_none_or(|shops| shops.contains(&cart.shop_id)), Condition::Shops)?;
    unmet(channels.as_ref().is_none_or(is_channel), Condition::Channels)?;
    unmet(one_of(payment_methods, &cart.payment_method), Condition::PaymentMethods)?;
    unmet(one_of(delivery_methods, &cart.delivery_method), Condition::DeliveryMethods)
}

/// Whose cart it is. A guest has no tier, trust, age or order history.
pub(crate) fn check_shopper(conditions: &Conditions, shopper: &Shopper) -> Result<(), Reason> {
    let at_least = |least: Option<i64>, value: Option<i64>| least.is_none_or(|least| value.is_some_and(|v| v >= least));
    let tier = |tiers: &Vec<_>| shopper.tier.is_some_and(|tier| tiers.contains(&tier));
    let segment = |wanted: &Vec<_>| shopper.segments.iter().any(|segment| wanted.contains(segment));
    // Orders under way count, so that a second one placed before the first is completed is not a first one too.
    let before = shopper.customer_id.is_some().then(|| shopper.completed_orders.saturating_add(shopper.live_orders));
    unmet(conditions.tiers.as_ref().is_none_or(tier), Condition::Tiers)?;
    unmet(conditions.segments.as_ref().is_none_or(segment), Condition::Segments)?;
    unmet(at_least(conditions.min_trust, shopper.trust), Condition::MinTrust)?;
    unmet(!conditions.first_order || before == Some(0), Condition::FirstOrder)?;
    unmet(conditions.nth_order.is_none_or(|nth| before == Some(nth - 1)), Condition::NthOrder)?;
    unmet(at_least(conditions.account_age_days, shopper.account_age_days), Condition::AccountAgeDays)
}

/// Checks what is in the cart; `lines` are those of the offer's selector.
pub(super) fn check_lines(compiled: &Compiled, basket: &Basket<'_>, lines: &Lines) -> Result<(), Reason> {
    if lines.is_empty() {
        return Err(Reason::NoMatchingLines);
    }
    let c = &compiled.offer.conditions;
    let Conditions { min_subtotal_minor, max_subtotal_minor, min_quantity, min_distinct, .. } = c;
    if [min_subtotal_minor, max_subtotal_minor, min_quantity, min_distinct].iter().all(|asked| asked.is_none()) {
        return Ok(());
    }
    let own = compiled.counted.as_ref().map(|selector| basket.select(selector));
    let lines = own.as_ref().unwrap_or(lines);
    let counted = basket.count(lines);
    unmet(min_subtotal_minor.is_none_or(|least| counted.subtotal >= least), Condition::MinSubtotal)?;
    unmet(max_subtotal_minor.is_none_or(|most| counted.subtotal <= most), Condition::MaxSubtotal)?;
    unmet(min_quantity.is_none_or(|least| counted.pieces >= least), Condition::MinQuantity)?;
    unmet(min_distinct.is_none_or(|least| basket.distinct(lines) >= least), Condition::MinDistinct)
}
