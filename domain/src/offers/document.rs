//! The document of an offer: the shape in which promos and campaigns are administered, stored and compiled. What may be
//! left out has a default; what is left out is not written again. Unknown fields are refused.
//!
//! The document says nothing of what was used or spent: that is the promo's own state. This file has the offer and what it
//! gives; its terms (which lines, when, how often, together with what) are in `terms`.

use serde::{Deserialize, Serialize};

pub use super::terms::{ClockTime, Conditions, Limits, PeriodLimit, Selection, Selector, Stacking, Window};
use crate::{ids::Sku, time::Timestamp};

/// Whether `value` is what it is when left out: such values are not written.
pub(super) fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// What kind of offer it is: which of the two collections it lives in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum OfferKind {
    /// Needs a code.
    Promo,
    /// Needs none: applies by itself.
    Campaign,
}

impl OfferKind {
    /// The word in answers.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Promo => "promo",
            Self::Campaign => "campaign",
        }
    }
}

/// An offer, as `PUT /v1/promos/{id}` and `/v1/campaigns/{id}` take it. All but `name` and `discount` may be left out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Offer {
    /// What people read.
    pub name: Name,
    /// Shared codes of a promo, at most 1,000; case and look-alike letters do not matter. A campaign has none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub codes: Vec<String>,
    /// What it gives.
    pub discount: Discount,
    /// What it lowers.
    #[serde(default, skip_serializing_if = "is_default")]
    pub target: Target,
    /// Which lines count and share.
    #[serde(default, skip_serializing_if = "is_default")]
    pub selector: Selector,
    /// When it applies.
    #[serde(default, skip_serializing_if = "is_default")]
    pub conditions: Conditions,
    /// How often, and for how much money.
    #[serde(default, skip_serializing_if = "is_default")]
    pub limits: Limits,
    /// How it goes together with others.
    #[serde(default, skip_serializing_if = "is_default")]
    pub stacking: Stacking,
    /// Who pays for it.
    #[serde(default, skip_serializing_if = "is_default")]
    pub funded_by: FundedBy,
    /// Whether it is in force.
    #[serde(default, skip_serializing_if = "is_default")]
    pub status: Status,
    /// The first moment at which it applies.
    #[serde(default, with = "crate::time::rfc3339::option", skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>, format = DateTime))]
    pub starts_at: Option<Timestamp>,
    /// The first moment at which it no longer applies.
    #[serde(default, with = "crate::time::rfc3339::option", skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>, format = DateTime))]
    pub ends_at: Option<Timestamp>,
}

/// What people read: one text for all, or one in each language.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged, expecting = "must be a text, or {ru, kk, en} with a text for each")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum Name {
    /// The same in every language.
    Text(String),
    /// One in each.
    Languages(Languages),
}

/// A text in each language.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Languages {
    /// Russian.
    pub ru: String,
    /// Kazakh.
    pub kk: String,
    /// English.
    pub en: String,
}

/// A language of what people read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum Locale {
    /// Russian.
    Ru,
    /// Kazakh.
    Kk,
    /// English.
    #[default]
    En,
}

impl Name {
    /// The text for a language.
    #[must_use]
    pub fn text(&self, locale: Locale) -> &str {
        match (self, locale) {
            (Self::Text(text), _) => text,
            (Self::Languages(languages), Locale::Ru) => &languages.ru,
            (Self::Languages(languages), Locale::Kk) => &languages.kk,
            (Self::Languages(languages), Locale::En) => &languages.en,
        }
    }
}

/// What an offer gives.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum Discount {
    /// A share of what is selected.
    Percent {
        /// 1000 = 10 %.
        permyriad: u32,
        /// The most it gives, minor units.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        max_minor: Option<i64>,
        /// Pieces that it counts for, of the whole selection.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        max_pieces: Option<i64>,
        /// Pieces that it counts for, of each line.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        max_pieces_per_line: Option<i64>,
        /// Which pieces, where not all count; the cheapest where left out.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        choose: Option<Choose>,
        /// Only pieces that fill a group of so many count.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        group_of: Option<i64>,
    },
    /// A sum of money.
    Amount {
        /// Minor units.
        minor: i64,
        /// Once for all that is selected, or again for each piece or line.
        #[serde(default, skip_serializing_if = "is_default")]
        per: Per,
        /// Pieces that it counts for, of the whole selection.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        max_pieces: Option<i64>,
        /// Pieces that it counts for, of each line.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        max_pieces_per_line: Option<i64>,
        /// Which pieces, where not all count; the cheapest where left out.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        choose: Option<Choose>,
        /// Only pieces that fill a group of so many count.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        group_of: Option<i64>,
    },
    /// A price: of each piece or kilogram (target lines), of all that is selected (order), of the delivery (delivery).
    FixedPrice {
        /// Minor units.
        minor: i64,
        /// Pieces that it counts for, of the whole selection.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        max_pieces: Option<i64>,
        /// Pieces that it counts for, of each line.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        max_pieces_per_line: Option<i64>,
        /// Which pieces, where not all count; the cheapest where left out.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        choose: Option<Choose>,
        /// Only pieces that fill a group of so many count.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        group_of: Option<i64>,
    },
    /// Of each group of `buy` + `get` pieces, `get` are cheaper.
    BuyXGetY {
        /// Pieces at full price.
        buy: i64,
        /// Cheaper pieces.
        get: i64,
        /// By how much: 10000, free, where left out.
        #[serde(default = "whole", skip_serializing_if = "is_whole")]
        permyriad: u32,
        /// Which pieces are the cheaper ones; the cheapest of a group where left out.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        choose: Option<Choose>,
        /// Groups that count.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        max_times: Option<i64>,
        /// Where the pieces at full price come from, if not from the offer's selector.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        buy_selector: Option<Selector>,
    },
    /// So many pieces for one price.
    BundlePrice {
        /// Pieces of a bundle.
        quantity: i64,
        /// Minor units for a bundle.
        minor: i64,
        /// Bundles that count.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        max_times: Option<i64>,
    },
    /// Pieces of one product are free where they are in the cart.
    FreeItem {
        /// The product.
        #[cfg_attr(feature = "openapi", schema(value_type = String))]
        sku: Sku,
        /// Pieces at most.
        quantity: i64,
    },
    /// Delivery costs nothing.
    FreeDelivery {},
    /// Cashback is multiplied on the selected lines.
    PointsMultiplier {
        /// 20000 = twice.
        permyriad: u32,
    },
    /// Points on top.
    BonusPoints {
        /// How many.
        points: i64,
    },
}

const fn whole() -> u32 {
    10_000
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks by reference")]
const fn is_whole(permyriad: &u32) -> bool {
    *permyriad == whole()
}

/// Which pieces an offer counts for, where not all do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Pieces {
    /// Of the whole selection at most so many.
    pub max: Option<i64>,
    /// Of each line at most so many.
    pub max_per_line: Option<i64>,
    /// Which.
    pub choose: Choose,
    /// Only pieces that fill a group of so many.
    pub group_of: Option<i64>,
}

impl Pieces {
    /// Whether whole lines count, weighed ones included.
    #[must_use]
    pub const fn is_all(&self) -> bool {
        self.max.is_none() && self.max_per_line.is_none() && self.group_of.is_none()
    }
}

impl Discount {
    /// The word in `type`.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Percent { .. } => "percent",
            Self::Amount { .. } => "amount",
            Self::FixedPrice { .. } => "fixed_price",
            Self::BuyXGetY { .. } => "buy_x_get_y",
            Self::BundlePrice { .. } => "bundle_price",
            Self::FreeItem { .. } => "free_item",
            Self::FreeDelivery {} => "free_delivery",
            Self::PointsMultiplier { .. } => "points_multiplier",
            Self::BonusPoints { .. } => "bonus_points",
        }
    }

    /// The limits on pieces of the three types that take them; all pieces for the others.
    #[must_use]
    pub fn pieces(&self) -> Pieces {
        match self {
            Self::Percent { max_pieces, max_pieces_per_line, choose, group_of, .. }
            | Self::Amount { max_pieces, max_pieces_per_line, choose, group_of, .. }
            | Self::FixedPrice { max_pieces, max_pieces_per_line, choose, group_of, .. } => Pieces {
                max: *max_pieces,
                max_per_line: *max_pieces_per_line,
                choose: choose.unwrap_or_default(),
                group_of: *group_of,
            },
            _ => Pieces::default(),
        }
    }
}

macro_rules! words {
    ($($(#[doc = $doc:literal])+ $name:ident { $(#[doc = $first_doc:literal])+ $first:ident, $($(#[doc = $word_doc:literal])+ $word:ident,)* })+) => {$(
        $(#[doc = $doc])+
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
        #[serde(rename_all = "snake_case")]
        #[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
        pub enum $name {
            $(#[doc = $first_doc])+ #[default] $first,
            $($(#[doc = $word_doc])+ $word,)*
        }
    )+};
}

words! {
    /// Which pieces come first.
    Choose {
        /// The cheapest.
        Cheapest,
        /// The dearest.
        Dearest,
    }
    /// What an amount is given for.
    Per {
        /// Once for all that is selected.
        Selection,
        /// For each piece.
        Piece,
        /// For each line.
        Line,
    }
    /// What an offer lowers.
    Target {
        /// The order: the selected lines share it.
        Order,
        /// The selected lines.
        Lines,
        /// The delivery.
        Delivery,
    }
    /// What an offer's price is computed on.
    Base {
        /// On what the offers before it left.
        Discounted,
        /// On the undiscounted price; never below what is left.
        Initial,
    }
    /// Who pays for an offer.
    FundedBy {
        /// The platform.
        Platform,
        /// The shop.
        Shop,
        /// The brand.
        Brand,
    }
    /// Whether an offer is in force.
    Status {
        /// It is.
        Active,
        /// Not yet: it is tried by `dry_run` alone.
        Draft,
        /// No longer.
        Ended,
    }
    /// A stretch of the shop's calendar.
    Period {
        /// From 00:00 to 00:00.
        Day,
        /// From Monday (ISO).
        Week,
        /// From the first.
        Month,
    }
    /// A day of the week.
    Weekday {
        /// Monday.
        Mon,
        /// Tuesday.
        Tue,
        /// Wednesday.
        Wed,
        /// Thursday.
        Thu,
        /// Friday.
        Fri,
        /// Saturday.
        Sat,
        /// Sunday.
        Sun,
    }
}

impl FundedBy {
    /// The word in answers.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Platform => "platform",
            Self::Shop => "shop",
            Self::Brand => "brand",
        }
    }
}
