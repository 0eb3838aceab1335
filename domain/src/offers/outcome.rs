//! What goes into an evaluation besides cart and catalogue, and what comes out of it.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::{
    amounts::{MINOR_PER_POINT, share_out},
    ids::{CustomerId, OfferId, Word},
    offers::document::{Offer, OfferKind},
    policy::Tier,
};

/// What of a customer decides about offers. Kept with a hold, so that a capture is priced with the same facts.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Shopper {
    /// Who; `None`: a guest.
    pub customer_id: Option<CustomerId>,
    /// The card's tier, where there is a card.
    pub tier: Option<Tier>,
    /// The trust score, 0 to 100; `None` for a guest.
    pub trust: Option<i64>,
    /// The segments that the customer is in.
    pub segments: Vec<Word>,
    /// Completed orders.
    pub completed_orders: i64,
    /// Orders that have not ended, and open or captured holds that no order stands for yet.
    pub live_orders: i64,
    /// Whole days since the membership began; `None` without a card.
    pub account_age_days: Option<i64>,
    /// The cashback rate, permyriad; `None` where no points can be earned (a guest, no card, the feature is off).
    pub earn_rate_permyriad: Option<u32>,
    /// Whether promos are switched on for this customer.
    pub promos: bool,
    /// Whether campaigns are switched on for this customer.
    pub campaigns: bool,
}

impl Shopper {
    /// A guest, for whom promos and campaigns are on.
    #[must_use]
    pub fn guest() -> Self {
        Self { promos: true, campaigns: true, ..Self::default() }
    }
}

/// A code as it was typed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TypedCode {
    /// As typed.
    pub typed: String,
    /// The promo it belongs to, where the caller found it among unique codes. Shared codes are found by the engine.
    pub offer: Option<OfferId>,
}

/// One use of an offer that is about to count: what its limits are asked about.
#[derive(Debug, Clone, Copy)]
pub struct Use<'a> {
    /// The offer.
    pub offer_id: &'a OfferId,
    /// Promo or campaign.
    pub kind: OfferKind,
    /// Its document.
    pub offer: &'a Offer,
    /// The code as typed, where one was.
    pub code: Option<&'a str>,
    /// What it would give on lines and delivery, minor units.
    pub discount_minor: i64,
    /// What other offers of the same `budget_group` give in this cart already, minor units: the group's budget must cover
    /// both.
    pub group_minor: i64,
}

/// Which limit stands against a use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Limit {
    /// Uses in all.
    Total,
    /// Uses of the customer.
    PerCustomer,
    /// Uses of the customer in a period.
    PerCustomerIn,
    /// Uses of a phone or payment means.
    PerLinkKey,
    /// Uses from the address in a period.
    PerIpIn,
    /// The budget does not cover the discount.
    Budget,
}

/// Which condition does not hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[expect(missing_docs, reason = "each is the condition of that name in the document")]
pub enum Condition {
    Shops,
    Channels,
    PaymentMethods,
    DeliveryMethods,
    Windows,
    Tiers,
    Segments,
    MinTrust,
    FirstOrder,
    NthOrder,
    AccountAgeDays,
    MinSubtotal,
    MaxSubtotal,
    MinQuantity,
    MinDistinct,
}

/// Why an offer or a code does not count. The words are stable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Reason {
    /// No offer has this code.
    CodeUnknown,
    /// Another code of this cart uses the offer already.
    CodeDuplicate,
    /// A unique code that was used.
    CodeUsed,
    /// A promo whose code was not typed.
    CodeMissing,
    /// Switched off by a feature flag.
    FeatureDisabled,
    /// A draft.
    Draft,
    /// Its time, or its status, says that it is over.
    Ended,
    /// Its time has not come.
    NotStarted,
    /// Its selector selects no line of the cart (restricted goods count as none).
    NoMatchingLines,
    /// A condition does not hold.
    ConditionNotMet(Condition),
    /// A limit is reached.
    LimitReached(Limit),
    /// A limit is counted per customer, and there is none.
    CustomerRequired,
    /// It would change nothing: nothing is left to lower, a floor or the order's cap forbids it, the product is not in the
    /// cart.
    NoEffect,
    /// Another offer of its group gives more.
    GroupOutdone,
    /// An exclusive offer and all the others do not go together, and the other side gives more.
    ExclusiveOutdone,
}

impl Reason {
    /// The stable word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::CodeUnknown => "code_unknown",
            Self::CodeDuplicate => "code_duplicate",
            Self::CodeUsed => "code_used",
            Self::CodeMissing => "code_missing",
            Self::FeatureDisabled => "feature_disabled",
            Self::Draft => "draft",
            Self::Ended => "ended",
            Self::NotStarted => "not_started",
            Self::NoMatchingLines => "no_matching_lines",
            Self::ConditionNotMet(_) => "condition_not_met",
            Self::LimitReached(_) => "limit_reached",
            Self::CustomerRequired => "customer_required",
            Self::NoEffect => "no_effect",
            Self::GroupOutdone => "group_outdone",
            Self::ExclusiveOutdone => "exclusive_outdone",
        }
    }

    /// The condition or limit behind it, as the document names it.
    #[must_use]
    pub const fn condition(self) -> Option<&'static str> {
        Some(match self {
            Self::ConditionNotMet(condition) => match condition {
                Condition::Shops => "conditions.shops",
                Condition::Channels => "conditions.channels",
                Condition::PaymentMethods => "conditions.payment_methods",
                Condition::DeliveryMethods => "conditions.delivery_methods",
                Condition::Windows => "conditions.windows",
                Condition::Tiers => "conditions.tiers",
                Condition::Segments => "conditions.segments",
                Condition::MinTrust => "conditions.min_trust",
                Condition::FirstOrder => "conditions.first_order",
                Condition::NthOrder => "conditions.nth_order",
                Condition::AccountAgeDays => "conditions.account_age_days",
                Condition::MinSubtotal => "conditions.min_subtotal_minor",
                Condition::MaxSubtotal => "conditions.max_subtotal_minor",
                Condition::MinQuantity => "conditions.min_quantity",
                Condition::MinDistinct => "conditions.min_distinct",
            },
            Self::LimitReached(limit) => match limit {
                Limit::Total => "limits.total",
                Limit::PerCustomer => "limits.per_customer",
                Limit::PerCustomerIn => "limits.per_customer_in",
                Limit::PerLinkKey => "link_keys",
                Limit::PerIpIn => "limits.per_ip_in",
                Limit::Budget => "limits.budget_minor",
            },
            Self::NotStarted => "starts_at",
            Self::NoMatchingLines => "selector",
            _ => return None,
        })
    }
}

/// An offer that counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Applied {
    /// The offer.
    pub offer_id: OfferId,
    /// Promo or campaign.
    pub kind: OfferKind,
    /// Its document: name, who pays, limits.
    pub offer: Arc<Offer>,
    /// The code as typed, where one was.
    pub code: Option<String>,
    /// What it gives on lines and delivery together, minor units.
    pub discount_minor: i64,
    /// What of that lowers the delivery.
    pub delivery_minor: i64,
    /// What of it lowers each line: (position in the cart, minor units above 0), by line_id.
    pub shares: Vec<(usize, i64)>,
    /// Points that it gives outright.
    pub bonus_points: i64,
    /// What a multiplier adds to the plain rate, permyriad (10000: as much again); 0 for other offers.
    pub extra_permyriad: u32,
    /// The lines (positions in the cart, by line_id) on which a multiplier counts.
    pub multiplied: Vec<usize>,
    /// Pieces that are cheaper, where the offer counts pieces.
    pub pieces: i64,
    /// Groups or bundles that count.
    pub times: i64,
}

/// An offer or a code that does not count.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejected {
    /// The offer, where there is one.
    pub offer: Option<(OfferId, OfferKind)>,
    /// The code as typed.
    pub code: Option<String>,
    /// Why.
    pub reason: Reason,
}

/// What offers do to a cart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offered {
    /// Discount of each line, in the cart's order, minor units.
    pub discounts: Vec<i64>,
    /// Their sum.
    pub discount_minor: i64,
    /// The delivery after discounts, minor units.
    pub delivery_minor: i64,
    /// Offers that count, in the order in which they were applied.
    pub applied: Vec<Applied>,
    /// Codes that do not; with `explain` all other offers too.
    pub rejected: Vec<Rejected>,
}

/// Points beyond plain cashback.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bonus {
    /// In all.
    pub points: i64,
    /// Of each applied offer, in their order.
    pub by_offer: Vec<i64>,
}

impl Offered {
    /// A cart without any offer.
    #[must_use]
    pub fn nothing(lines: usize, delivery_minor: i64) -> Self {
        Self { discounts: vec![0; lines], discount_minor: 0, delivery_minor, applied: Vec::new(), rejected: Vec::new() }
    }

    /// The offers of each line, in the cart's order: (position among the applied, minor units).
    #[must_use]
    pub fn by_line(&self) -> Vec<Vec<(usize, i64)>> {
        let mut lines = vec![Vec::new(); self.discounts.len()];
        for (position, applied) in self.applied.iter().enumerate() {
            for (line, minor) in &applied.shares {
                if let Some(line) = lines.get_mut(*line) {
                    line.push((position, *minor));
                }
            }
        }
        lines
    }

    /// Points beyond plain cashback, where `money_minor` is what is paid of each line by anything but points (0 for
    /// restricted goods), in the cart's order, and `rate_permyriad` the rate at which the order earns: multipliers add up,
    /// bonus = floor(rate x money x multiplier) - floor(rate x money), shared out over the multipliers by what each adds.
    #[must_use]
    pub fn bonus(&self, rate_permyriad: u32, money_minor: &[i64]) -> Bonus {
        let paid: i128 = money_minor.iter().map(|minor| i128::from(*minor)).sum();
        let mut by_offer: Vec<i64> = self.applied.iter().map(|applied| applied.bonus_points).collect();
        let added: Vec<i128> = self
            .applied
            .iter()
            .map(|applied| {
                let money = applied.multiplied.iter().filter_map(|line| money_minor.get(*line));
                money.map(|minor| i128::from(*minor)).sum::<i128>() * i128::from(applied.extra_permyriad)
            })
            .collect();
        let points = multiplied(rate_permyriad, paid, added.iter().sum());
        // Money of at most 10^11 times a multiplier of at most 10^6: far from the type's end.
        let weights: Vec<i64> = added.iter().map(|a| i64::try_from(*a).unwrap_or(i64::MAX)).collect();
        for (total, share) in by_offer.iter_mut().zip(share_out(points, &weights)) {
            *total += share;
        }
        Bonus { points: by_offer.iter().sum(), by_offer }
    }
}

/// floor(rate x (paid + added / 10000) / 100 minor) - floor(rate x paid / 100 minor): `added` is money x permyriad.
pub(super) fn multiplied(rate_permyriad: u32, paid_minor: i128, added: i128) -> i64 {
    let rate = i128::from(rate_permyriad);
    let unit = 10_000 * i128::from(MINOR_PER_POINT);
    let plain = (rate * paid_minor).div_euclid(unit);
    let all = (rate * (paid_minor * 10_000 + added)).div_euclid(unit * 10_000);
    i64::try_from(all - plain).unwrap_or(i64::MAX)
}
