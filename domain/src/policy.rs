//! The policy: every number that the rules use. The defaults are those of the rules; a shop changes them at run time
//! through the catalogue. What was decided keeps the numbers that it was decided with: they stand in the events.

use serde::{Deserialize, Serialize};

use crate::{
    errors::{Code, Refusal},
    time::Calendar,
};

/// A member's tier.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum Tier {
    /// From the first day.
    #[default]
    Bronze,
    /// The second.
    Silver,
    /// The third.
    Gold,
    /// The highest.
    Platinum,
}

impl Tier {
    /// All tiers, lowest first.
    pub const ALL: [Self; 4] = [Self::Bronze, Self::Silver, Self::Gold, Self::Platinum];

    /// 0 for bronze to 3 for platinum.
    #[must_use]
    pub const fn rank(self) -> usize {
        self as usize
    }

    /// The next lower tier; bronze stays bronze.
    #[must_use]
    pub const fn below(self) -> Self {
        match self {
            Self::Bronze | Self::Silver => Self::Bronze,
            Self::Gold => Self::Silver,
            Self::Platinum => Self::Gold,
        }
    }
}

/// All numbers of the rules.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Policy {
    /// IANA name of the shop's time zone: what "day" and "00:00" mean.
    pub time_zone: String,
    /// Earning, tiers, lots.
    pub loyalty: LoyaltyPolicy,
    /// Anti-abuse limits of a day.
    pub limits: LimitPolicy,
    /// Holds and captures.
    pub checkout: CheckoutPolicy,
    /// Codes that are typed wrong.
    pub codes: CodePolicy,
    /// Order events.
    pub orders: OrderPolicy,
    /// QR codes.
    pub qr: QrPolicy,
    /// The trust score and its bands.
    pub trust: TrustPolicy,
    /// Goods that earn nothing and are not paid in points.
    pub restricted: Restricted,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            time_zone: "Asia/Almaty".to_owned(),
            loyalty: LoyaltyPolicy::default(),
            limits: LimitPolicy::default(),
            checkout: CheckoutPolicy::default(),
            codes: CodePolicy::default(),
            orders: OrderPolicy::default(),
            qr: QrPolicy::default(),
            trust: TrustPolicy::default(),
            restricted: Restricted::default(),
        }
    }
}

/// Earning, tiers, lots.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LoyaltyPolicy {
    /// Minor units paid in the window from which each tier is carried, bronze first (0).
    pub tier_from_minor: [i64; 4],
    /// Cashback rate of each tier, permyriad of the money paid.
    pub tier_rate_permyriad: [u32; 4],
    /// Days whose payments count for the tier: today and the ones before.
    pub tier_window_days: i32,
    /// Days that a tier reached is kept.
    pub tier_hold_days: i32,
    /// Days of grace before the step down.
    pub tier_grace_days: i32,
    /// Days from activation to expiry of a lot.
    pub lot_days: i32,
    /// Days until the bonus points of an offer (and of reviews) are active: the time in which goods may be returned.
    pub bonus_days: i32,
    /// Days that an expired lot lives again when points are given back into it, once.
    pub revived_days: i32,
    /// Days ahead that a card's `expiring` lists.
    pub expiring_days: i32,
    /// Shortfall of a weighed line above which it is compensated, permyriad of what was ordered.
    pub underweight_above_permyriad: u32,
    /// Shortfall up to which it is compensated, permyriad; above it is for a dispute.
    pub underweight_up_to_permyriad: u32,
    /// Points of one adjustment above which a second person decides.
    pub adjustment_alone_points: i64,
    /// Hours without burns after a card was reissued.
    pub reissue_wait_hours: i64,
}

impl Default for LoyaltyPolicy {
    fn default() -> Self {
        Self {
            tier_from_minor: [0, 10_000_000, 30_000_000, 100_000_000],
            tier_rate_permyriad: [100, 200, 300, 500],
            tier_window_days: 365,
            tier_hold_days: 365,
            tier_grace_days: 30,
            lot_days: 365,
            bonus_days: 14,
            revived_days: 30,
            expiring_days: 30,
            underweight_above_permyriad: 200,
            underweight_up_to_permyriad: 2000,
            adjustment_alone_points: 2000,
            reissue_wait_hours: 24,
        }
    }
}

/// Anti-abuse limits of one calendar day, for the standard trust band.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LimitPolicy {
    /// Cashback operations a day.
    pub cashback_operations: i64,
    /// Points of cashback earned a day.
    pub points_earned: i64,
    /// Points burned a day.
    pub points_burned: i64,
    /// Scans of one card's QR a day (kept in memory).
    pub scans: i64,
    /// Scans of one card at one terminal on one day, by QR or barcode, from which they are signalled (kept in memory);
    /// 0: never.
    pub terminal_scans: i64,
    /// Orders of one customer completed at one shop in one week (ISO), from which they are signalled (kept in memory);
    /// 0: never.
    pub shop_orders: i64,
}

impl Default for LimitPolicy {
    fn default() -> Self {
        Self {
            cashback_operations: 5,
            points_earned: 20_000,
            points_burned: 50_000,
            scans: 50,
            terminal_scans: 10,
            shop_orders: 15,
        }
    }
}

/// Holds and captures.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CheckoutPolicy {
    /// The share of subtotal less discounts that points may pay, permyriad, rounded down.
    pub burn_share_permyriad: u32,
    /// The same for the strict trust band (30-49).
    pub burn_share_strict_permyriad: u32,
    /// Seconds that a hold lasts where the caller names none.
    pub hold_ttl_s: i64,
    /// The shortest hold, seconds.
    pub hold_ttl_min_s: i64,
    /// The longest hold, seconds.
    pub hold_ttl_max_s: i64,
    /// Open holds of one customer.
    pub open_holds: usize,
    /// Hours past its time that a hold can still be captured.
    pub late_capture_hours: i64,
    /// Lines of one cart or order.
    pub max_lines: usize,
    /// The most that offers together may take off an order's lines, permyriad of their subtotal, rounded down.
    pub max_discount_permyriad: u32,
    /// How often uses of one offer come back to one customer in [`Self::give_back_days`].
    pub give_backs: usize,
    /// The days in which they are counted.
    pub give_back_days: i64,
}

impl Default for CheckoutPolicy {
    fn default() -> Self {
        Self {
            burn_share_permyriad: 5000,
            burn_share_strict_permyriad: 3000,
            hold_ttl_s: 900,
            hold_ttl_min_s: 30,
            hold_ttl_max_s: 3600,
            open_holds: 2,
            late_capture_hours: 72,
            max_lines: 1000,
            max_discount_permyriad: 10_000,
            give_backs: 3,
            give_back_days: 30,
        }
    }
}

/// Codes that nobody knows: who types too many is told nothing of any code for a while. Kept in memory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CodePolicy {
    /// Different wrong codes in a window that lock a customer of the standard trust band (others' are scaled).
    pub wrong_per_customer: i64,
    /// The same for an address.
    pub wrong_per_address: i64,
    /// The same for a till.
    pub wrong_per_terminal: i64,
    /// Seconds of the window.
    pub window_s: i64,
    /// Seconds that a lock lasts.
    pub locked_s: i64,
}

impl Default for CodePolicy {
    fn default() -> Self {
        Self { wrong_per_customer: 10, wrong_per_address: 30, wrong_per_terminal: 60, window_s: 600, locked_s: 900 }
    }
}

/// Order events.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct OrderPolicy {
    /// Days that an ended order is remembered; older events are refused.
    pub remembered_days: i32,
    /// Seconds that an event may be ahead of the clock.
    pub ahead_s: i64,
    /// Hours that a code scanned at an offline till identifies.
    pub offline_code_hours: i64,
    /// Orders of one customer that may be open at once.
    pub max_open: usize,
}

impl Default for OrderPolicy {
    fn default() -> Self {
        Self { remembered_days: 400, ahead_s: 300, offline_code_hours: 72, max_open: 200 }
    }
}

/// QR codes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct QrPolicy {
    /// Hours that a stale code still identifies.
    pub stale_hours: i64,
    /// Seconds that a scan_id is valid.
    pub scan_id_s: i64,
}

impl Default for QrPolicy {
    fn default() -> Self {
        Self { stale_hours: 24, scan_id_s: 600 }
    }
}

/// The trust score and its bands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TrustPolicy {
    /// Money paid, net of returns, from which a completed order counts, minor units.
    pub counted_from_minor: i64,
    /// Completed orders that count a day.
    pub counted_a_day: i64,
    /// Completed orders that count at all.
    pub counted_at_most: i64,
    /// Days that cancellations and lost disputes count: today and the ones before.
    pub window_days: i32,
    /// Days that the score stays capped after a fraud flag was confirmed.
    pub flag_days: i32,
    /// The cap while a fraud flag stands.
    pub flag_cap: i64,
    /// Days of membership needed for the priority band.
    pub priority_card_days: i32,
    /// Money paid net over all time needed for the priority band, minor units.
    pub priority_paid_minor: i64,
    /// Days with a payment needed for the priority band.
    pub priority_days: usize,
}

impl Default for TrustPolicy {
    fn default() -> Self {
        Self {
            counted_from_minor: 100_000,
            counted_a_day: 2,
            counted_at_most: 40,
            window_days: 365,
            flag_days: 180,
            flag_cap: 49,
            priority_card_days: 30,
            priority_paid_minor: 2_000_000,
            priority_days: 5,
        }
    }
}

/// Goods that earn nothing, are not paid in points and get no offer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Restricted {
    /// Categories.
    pub categories: Vec<String>,
    /// Tags.
    pub tags: Vec<String>,
}

impl Default for Restricted {
    fn default() -> Self {
        Self { categories: vec!["tobacco".to_owned()], tags: vec!["tobacco".to_owned()] }
    }
}

/// How far ahead of the window facts are kept, so that any event that is still accepted can be decided.
const MAX_DAYS: i32 = 3660;

impl Policy {
    /// The shop's calendar. A policy that passed [`Policy::validate`] has one.
    #[must_use]
    pub fn calendar(&self) -> Option<Calendar> {
        Calendar::new(&self.time_zone)
    }

    /// Checks the document as a whole.
    ///
    /// # Errors
    /// `policy_invalid`, naming the field (both, where two contradict each other) and the rule.
    pub fn validate(&self) -> Result<(), Refusal> {
        let fail = |detail: String| Err(Refusal::new(Code::PolicyInvalid, detail));
        if self.calendar().is_none() {
            return fail(format!("time_zone: {:?} is not an IANA time zone", self.time_zone));
        }
        let l = &self.loyalty;
        if l.tier_from_minor[0] != 0 || !l.tier_from_minor.is_sorted_by(|a, b| a < b) {
            return fail("loyalty.tier_from_minor: must start at 0 and rise".to_owned());
        }
        if l.tier_rate_permyriad.iter().any(|rate| *rate > 10_000) {
            return fail("loyalty.tier_rate_permyriad: at most 10000 (100 %)".to_owned());
        }
        for (name, days) in [
            ("loyalty.tier_window_days", l.tier_window_days),
            ("loyalty.tier_hold_days", l.tier_hold_days),
            ("loyalty.tier_grace_days", l.tier_grace_days),
            ("loyalty.lot_days", l.lot_days),
            ("loyalty.bonus_days", l.bonus_days),
            ("loyalty.revived_days", l.revived_days),
            ("loyalty.expiring_days", l.expiring_days),
            ("orders.remembered_days", self.orders.remembered_days),
            ("trust.window_days", self.trust.window_days),
            ("trust.flag_days", self.trust.flag_days),
            ("trust.priority_card_days", self.trust.priority_card_days),
        ] {
            if !(1..=MAX_DAYS).contains(&days) {
                return fail(format!("{name}: must be 1 to {MAX_DAYS} days"));
            }
        }
        if l.underweight_above_permyriad > l.underweight_up_to_permyriad || l.underweight_up_to_permyriad > 10_000 {
            return fail(
                "loyalty.underweight_above_permyriad, loyalty.underweight_up_to_permyriad: the first may not be above \
                 the second, nor the second above 10000"
                    .to_owned(),
            );
        }
        self.validate_limits()
    }

    fn validate_limits(&self) -> Result<(), Refusal> {
        let fail = |detail: String| Err(Refusal::new(Code::PolicyInvalid, detail));
        let (limits, checkout, trust) = (&self.limits, &self.checkout, &self.trust);
        for (name, number) in [
            ("loyalty.adjustment_alone_points", self.loyalty.adjustment_alone_points),
            ("loyalty.reissue_wait_hours", self.loyalty.reissue_wait_hours),
            ("limits.cashback_operations", limits.cashback_operations),
            ("limits.points_earned", limits.points_earned),
            ("limits.points_burned", limits.points_burned),
            ("limits.scans", limits.scans),
            ("limits.terminal_scans", limits.terminal_scans),
            ("limits.shop_orders", limits.shop_orders),
            ("checkout.late_capture_hours", checkout.late_capture_hours),
            ("orders.ahead_s", self.orders.ahead_s),
            ("orders.offline_code_hours", self.orders.offline_code_hours),
            ("qr.stale_hours", self.qr.stale_hours),
            ("qr.scan_id_s", self.qr.scan_id_s),
            ("trust.counted_from_minor", trust.counted_from_minor),
            ("trust.counted_a_day", trust.counted_a_day),
            ("trust.counted_at_most", trust.counted_at_most),
            ("trust.priority_paid_minor", trust.priority_paid_minor),
        ] {
            if !(0..=1_000_000_000_000).contains(&number) {
                return fail(format!("{name}: must be 0 to 10^12"));
            }
        }
        let codes = &self.codes;
        for (name, number, most) in [
            // Each of them is remembered.
            ("codes.wrong_per_customer", codes.wrong_per_customer, 1000),
            ("codes.wrong_per_address", codes.wrong_per_address, 1000),
            ("codes.wrong_per_terminal", codes.wrong_per_terminal, 1000),
            ("codes.window_s", codes.window_s, 86_400),
            ("codes.locked_s", codes.locked_s, 86_400),
            // `apply` remembers what came back for 31 days.
            ("checkout.give_back_days", checkout.give_back_days, 30),
        ] {
            if !(1..=most).contains(&number) {
                return fail(format!("{name}: must be 1 to {most}"));
            }
        }
        if checkout.give_backs > 100 {
            return fail("checkout.give_backs: must be 0 to 100".to_owned());
        }
        // What expired and what was scanned is remembered for as long as these allow, and no longer.
        if self.orders.remembered_days > 400 {
            return fail("orders.remembered_days: must be 1 to 400 days".to_owned());
        }
        if self.qr.scan_id_s > 3600 {
            return fail("qr.scan_id_s: must be 0 to 3600".to_owned());
        }
        if !(0..=100).contains(&trust.flag_cap) {
            return fail("trust.flag_cap: must be 0 to 100".to_owned());
        }
        if checkout.burn_share_permyriad > 10_000
            || checkout.burn_share_strict_permyriad > checkout.burn_share_permyriad
        {
            return fail(
                "checkout.burn_share_strict_permyriad, checkout.burn_share_permyriad: the first may not be above the \
                 second, nor the second above 10000"
                    .to_owned(),
            );
        }
        if checkout.max_discount_permyriad > 10_000 {
            return fail("checkout.max_discount_permyriad: at most 10000 (100 %)".to_owned());
        }
        let ttl = [checkout.hold_ttl_min_s, checkout.hold_ttl_s, checkout.hold_ttl_max_s];
        if ttl[0] < 1 || !ttl.is_sorted() || ttl[2] > 86_400 {
            return fail(
                "checkout.hold_ttl_min_s, hold_ttl_s, hold_ttl_max_s: must rise, from 1 to at most 86400".to_owned(),
            );
        }
        for (name, number, most) in [
            ("checkout.open_holds", checkout.open_holds, 20),
            ("checkout.max_lines", checkout.max_lines, 1000),
            ("orders.max_open", self.orders.max_open, 1000),
        ] {
            if !(1..=most).contains(&number) {
                return fail(format!("{name}: must be 1 to {most}"));
            }
        }
        for (name, words) in
            [("restricted.categories", &self.restricted.categories), ("restricted.tags", &self.restricted.tags)]
        {
            if words.len() > 1000 || words.iter().any(|word| crate::ids::Word::new(word).is_err()) {
                return fail(format!("{name}: at most 1000 words of [A-Za-z0-9._:-]"));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_valid() {
        Policy::default().validate().unwrap();
    }

    #[test]
    fn a_contradiction_names_both_fields() {
        let mut policy = Policy::default();
        policy.checkout.burn_share_strict_permyriad = 6000;
        let refusal = policy.validate().unwrap_err();
        assert!(
            refusal.detail.contains("burn_share_strict_permyriad") && refusal.detail.contains("burn_share_permyriad")
        );
    }
}
