//! Values in the configuration that are more than a text or a number.

use std::{fmt, net::IpAddr, str::FromStr};

use adal_domain::hex;
use base64::{Engine, engine::general_purpose};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A network: an address and how many of its leading bits count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    bits: u8,
}

impl Network {
    /// Whether `address` belongs to it.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.address, address) {
            (IpAddr::V4(own), IpAddr::V4(other)) => {
                let mask = u32::MAX.checked_shl(32 - u32::from(self.bits)).unwrap_or(0);
                u32::from(own) & mask == u32::from(other) & mask
            }
            (IpAddr::V6(own), IpAddr::V6(other)) => {
                let mask = u128::MAX.checked_shl(128 - u32::from(self.bits)).unwrap_or(0);
                u128::from(own) & mask == u128::from(other) & mask
            }
            _ => false,
        }
    }
}

impl FromStr for Network {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} is not a network, like 10.0.0.0/8");
        let (address, bits) = text.split_once('/').map_or((text, None), |(address, bits)| (address, Some(bits)));
        let address: IpAddr = address.parse().map_err(|_| wrong())?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        let bits = bits.map_or(Ok(most), |bits| bits.parse().map_err(|_| wrong()))?;
        if bits > most { Err(wrong()) } else { Ok(Self { address, bits }) }
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.bits)
    }
}

impl Serialize for Network {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Network {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

/// For how many of a hundred customers a flag is on. In files: `true`, `false` or 0-100.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Share(pub u8);

impl Serialize for Share {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            0 => serializer.serialize_bool(false),
            100 => serializer.serialize_bool(true),
            share => serializer.serialize_u8(share),
        }
    }
}

impl<'de> Deserialize<'de> for Share {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl de::Visitor<'_> for Visitor {
            type Value = Share;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("true, false or a percentage from 0 to 100")
            }
            fn visit_bool<E>(self, on: bool) -> Result<Share, E> {
                Ok(Share(if on { 100 } else { 0 }))
            }
            fn visit_u64<E: de::Error>(self, share: u64) -> Result<Share, E> {
                u8::try_from(share)
                    .ok()
                    .filter(|share| *share <= 100)
                    .map(Share)
                    .ok_or_else(|| E::invalid_value(de::Unexpected::Unsigned(share), &self))
            }
            fn visit_i64<E: de::Error>(self, share: i64) -> Result<Share, E> {
                match u64::try_from(share) {
                    Ok(share) => self.visit_u64(share),
                    Err(_) => Err(E::invalid_value(de::Unexpected::Signed(share), &self)),
                }
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

/// A secret as hex (where it is nothing but pairs of hex digits) or base64 of either alphabet.
#[must_use]
pub fn decode_secret(text: &str) -> Option<Vec<u8>> {
    let bare = text.trim().trim_end_matches('=');
    hex::decode(text.trim()).or_else(|| {
        let standard = general_purpose::STANDARD_NO_PAD.decode(bare);
        standard.or_else(|_| general_purpose::URL_SAFE_NO_PAD.decode(bare)).ok()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_contains_its_own() {
        let contains =
            |network: &str, address: &str| network.parse::<Network>().unwrap().contains(address.parse().unwrap());
        assert!(contains("10.0.0.0/8", "10.255.0.1"));
        assert!(!contains("10.0.0.0/8", "11.0.0.1"));
        assert!(contains("0.0.0.0/0", "203.0.113.9"));
        assert!(contains("192.0.2.1", "192.0.2.1"));
        assert!(!contains("192.0.2.1", "192.0.2.2"));
        assert!(contains("2001:db8::/32", "2001:db8:9::1"));
        assert!(!contains("::/0", "192.0.2.1"));
        for wrong in ["", "10.0.0.0/33", "10.0.0/8", "x/8", "::/129"] {
            assert!(wrong.parse::<Network>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn secrets_read_from_hex_and_base64() {
        let bytes: Vec<u8> = (0..32).map(|n| n * 7 + 3).collect();
        assert_eq!(decode_secret(&hex::encode(&bytes)), Some(bytes.clone()));
        for engine in [general_purpose::STANDARD, general_purpose::URL_SAFE] {
            assert_eq!(decode_secret(&engine.encode(&bytes)), Some(bytes.clone()));
        }
        assert_eq!(decode_secret("not base64 at all!"), None);
    }
}
