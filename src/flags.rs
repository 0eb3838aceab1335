//! Feature flags as the configuration has them: on, off, or on for a share of the customers.

use adal_actors::ports::Flags;
use adal_domain::flags::Flag;

use crate::config::{FlagsConfig, Share};

/// The configuration's flags. Never change while the server runs.
#[derive(Debug, Clone)]
pub struct ConfiguredFlags(FlagsConfig);

impl ConfiguredFlags {
    /// The flags of a configuration.
    #[must_use]
    pub const fn new(config: FlagsConfig) -> Self {
        Self(config)
    }
}

impl Flags for ConfiguredFlags {
    fn enabled(&self, flag: Flag, id: &str) -> bool {
        let Share(share) = match flag {
            Flag::LoyaltyEarn => self.0.loyalty.earn,
            Flag::LoyaltyBurn => self.0.loyalty.burn,
            Flag::MarketingPromos => self.0.marketing.promos,
            Flag::MarketingCampaigns => self.0.marketing.campaigns,
            Flag::MarketingBanners => self.0.marketing.banners,
            Flag::TrustLimits => self.0.trust.limits,
        };
        match share {
            0 => false,
            100.. => true,
            // Nobody in particular: not yet on for all is off.
            _ if id.is_empty() => false,
            share => place(flag, id) < share,
        }
    }
}

/// Where a customer stands in a flag's queue, 0 to 99. Of the flag's name too: the first to get one feature are not
/// the first to get all.
fn place(flag: Flag, id: &str) -> u8 {
    let mut hasher = blake3::Hasher::new();
    hasher.update(flag.as_str().as_bytes());
    hasher.update(&[0]);
    hasher.update(id.as_bytes());
    let mut head = [0; 8];
    head.copy_from_slice(&hasher.finalize().as_bytes()[..8]);
    u8::try_from(u64::from_le_bytes(head) % 100).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    fn flags(share: u8) -> ConfiguredFlags {
        let mut config = Config::defaults().unwrap().flags;
        config.loyalty.burn = Share(share);
        ConfiguredFlags::new(config)
    }

    fn on(share: u8) -> Vec<usize> {
        let flags = flags(share);
        (0..10_000).filter(|n| flags.enabled(Flag::LoyaltyBurn, &format!("c{n}"))).collect()
    }

    #[test]
    fn a_gradual_flag_is_on_for_its_share_and_stays_on_as_the_share_grows() {
        let (some, more) = (on(25), on(40));
        assert!((2300..2700).contains(&some.len()), "{}", some.len());
        assert!(some.iter().all(|n| more.binary_search(n).is_ok()));
        assert!(on(0).is_empty());
        assert_eq!(on(100).len(), 10_000);
    }
}
