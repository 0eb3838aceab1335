//! The feature flags. Where they come from is the edge's business; the rules see them as plain values.

/// A part that can be switched off.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub enum Flag {
    /// Earning points by orders.
    #[serde(rename = "loyalty.earn")]
    LoyaltyEarn,
    /// Burning points at checkout.
    #[serde(rename = "loyalty.burn")]
    LoyaltyBurn,
    /// Promos: offers that need a code.
    #[serde(rename = "marketing.promos")]
    MarketingPromos,
    /// Campaigns: offers that need none.
    #[serde(rename = "marketing.campaigns")]
    MarketingCampaigns,
    /// Banners.
    #[serde(rename = "marketing.banners")]
    MarketingBanners,
    /// Limits that depend on the trust band (off: every customer has the standard ones).
    #[serde(rename = "trust.limits")]
    TrustLimits,
}

impl Flag {
    /// Every flag.
    pub const ALL: [Self; 6] = [
        Self::LoyaltyEarn,
        Self::LoyaltyBurn,
        Self::MarketingPromos,
        Self::MarketingCampaigns,
        Self::MarketingBanners,
        Self::TrustLimits,
    ];

    /// The flag's name in the configuration and in Unleash.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::LoyaltyEarn => "loyalty.earn",
            Self::LoyaltyBurn => "loyalty.burn",
            Self::MarketingPromos => "marketing.promos",
            Self::MarketingCampaigns => "marketing.campaigns",
            Self::MarketingBanners => "marketing.banners",
            Self::TrustLimits => "trust.limits",
        }
    }
}
