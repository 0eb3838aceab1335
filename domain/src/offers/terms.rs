//! The terms of an offer's document: which lines, when, how often, and together with what.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};

use crate::{
    checkout::Channel,
    ids::{ShopId, Sku, Word},
    offers::document::{Base, Period, Weekday, is_default},
    policy::Tier,
};

/// Which lines: those that one of `include` selects (all, where it is empty) and none of `exclude`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Selector {
    /// Any of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub include: Vec<Selection>,
    /// None of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub exclude: Vec<Selection>,
}

/// Lines that match one value of each dimension named. A dimension that is named with no value matches nothing.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Selection {
    /// Products.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<Vec<String>>))]
    pub skus: Option<Vec<Sku>>,
    /// Categories.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<Vec<String>>))]
    pub categories: Option<Vec<Word>>,
    /// Brands.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<Vec<String>>))]
    pub brands: Option<Vec<Word>>,
    /// Shops: the one where the cart is bought.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<Vec<String>>))]
    pub shops: Option<Vec<ShopId>>,
    /// Tags: the line has one of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<Vec<String>>))]
    pub tags: Option<Vec<Word>>,
    /// Least undiscounted price of a piece or kilogram, minor units.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_unit_price_minor: Option<i64>,
    /// Greatest undiscounted price of a piece or kilogram, minor units.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_unit_price_minor: Option<i64>,
}

/// When an offer applies: all that is named must hold. Sums and counts are those of the undiscounted lines of `selector`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Conditions {
    /// Whose lines are summed and counted: the offer's where left out; `{}`: the whole cart.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selector: Option<Selector>,
    /// Least subtotal, minor units.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_subtotal_minor: Option<i64>,
    /// Greatest subtotal, minor units.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_subtotal_minor: Option<i64>,
    /// Least number of pieces; a weighed line counts as one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_quantity: Option<i64>,
    /// Least number of different products.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_distinct: Option<i64>,
    /// One of these shops.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<Vec<String>>))]
    pub shops: Option<Vec<ShopId>>,
    /// One of these tiers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tiers: Option<Vec<Tier>>,
    /// In one of these segments.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<Vec<String>>))]
    pub segments: Option<Vec<Word>>,
    /// Least trust score, 0 to 100.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_trust: Option<i64>,
    /// No completed or live order, no open or captured hold; never for a guest.
    #[serde(default, skip_serializing_if = "is_default")]
    pub first_order: bool,
    /// This would be the customer's so-manieth order; never for a guest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nth_order: Option<i64>,
    /// Days of membership at least.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account_age_days: Option<i64>,
    /// One of these channels.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub channels: Option<Vec<Channel>>,
    /// Paid by one of these.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<Vec<String>>))]
    pub payment_methods: Option<Vec<Word>>,
    /// Delivered by one of these.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<Vec<String>>))]
    pub delivery_methods: Option<Vec<Word>>,
    /// Within one of these, by the shop's clock.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub windows: Option<Vec<Window>>,
}

/// A stretch of some days of every week.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Window {
    /// Every day where left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub days: Option<Vec<Weekday>>,
    /// From this minute.
    #[cfg_attr(feature = "openapi", schema(value_type = String, example = "15:00"))]
    pub from: ClockTime,
    /// Until before this minute; 24:00 is the day's end.
    #[cfg_attr(feature = "openapi", schema(value_type = String, example = "17:00"))]
    pub to: ClockTime,
}

/// A minute of the day, 00:00 to 24:00.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ClockTime(u16);

impl ClockTime {
    /// Reads "HH:MM".
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (hours, minutes) = text.split_once(':')?;
        let number = |digits: &str| {
            (digits.len() == 2 && digits.bytes().all(|b| b.is_ascii_digit())).then(|| digits.parse::<u16>().ok())?
        };
        let (hours, minutes) = (number(hours)?, number(minutes)?);
        (minutes < 60 && hours * 60 + minutes <= 24 * 60).then_some(Self(hours * 60 + minutes))
    }

    /// Minutes since 00:00.
    #[must_use]
    pub const fn minutes(self) -> u16 {
        self.0
    }
}

impl std::fmt::Display for ClockTime {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:02}:{:02}", self.0 / 60, self.0 % 60)
    }
}

impl Serialize for ClockTime {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ClockTime {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| D::Error::custom("must be a time of the day, 00:00 to 24:00"))
    }
}

/// How often an offer can be used, and for how much money. Held uses count.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Limits {
    /// Uses in all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub total: Option<i64>,
    /// Uses of one customer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub per_customer: Option<i64>,
    /// Uses of one customer in a period.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub per_customer_in: Option<PeriodLimit>,
    /// Uses from one address in a period; not at tills.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub per_ip_in: Option<PeriodLimit>,
    /// Discounts in all, minor units.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub budget_minor: Option<i64>,
    /// Offers that name the same group spend one budget.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>))]
    pub budget_group: Option<Word>,
}

/// Uses in a period.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct PeriodLimit {
    /// How many.
    pub uses: i64,
    /// In which stretch.
    pub period: Period,
}

/// How an offer goes together with others.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Stacking {
    /// Highest first; then by id.
    #[serde(default, skip_serializing_if = "is_default")]
    pub priority: i32,
    /// Of a group only the best applies.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>))]
    pub group: Option<Word>,
    /// Applies alone, where it gives more than all the others.
    #[serde(default, skip_serializing_if = "is_default")]
    pub exclusive: bool,
    /// What its discount is computed on.
    #[serde(default, skip_serializing_if = "is_default")]
    pub base: Base,
}
