//! Typed ids. A raw string stops at the edge: past it, a customer's id cannot be taken for a shop's.

use std::{fmt, sync::Arc};

use serde::{Deserialize, Deserializer, Serialize, de::Visitor};

/// Why a text is not an id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("must be 1-64 characters of A-Z a-z 0-9 . _ : -")]
pub struct InvalidId;

/// The longest id.
pub const MAX_ID_LENGTH: usize = 64;

fn is_id(text: &str) -> bool {
    (1..=MAX_ID_LENGTH).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b':' | b'-'))
}

macro_rules! ids {
    ($($(#[doc = $doc:literal])+ $name:ident;)+) => {$(
        $(#[doc = $doc])+
        #[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
        #[serde(transparent)]
        pub struct $name(Arc<str>);

        impl $name {
            /// Checks the alphabet and the length.
            ///
            /// # Errors
            /// [`InvalidId`], where it is not 1-64 of `[A-Za-z0-9._:-]`.
            pub fn new(text: &str) -> Result<Self, InvalidId> {
                if is_id(text) { Ok(Self(text.into())) } else { Err(InvalidId) }
            }

            /// The text.
            #[must_use]
            pub fn as_str(&self) -> &str { &self.0 }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result { f.write_str(&self.0) }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                deserializer.deserialize_str(Text(Self::new))
            }
        }
    )+};
}

/// Makes an id of a text where it stands: a cart has a hundred of them, and a copy of each in between is felt.
struct Text<T>(fn(&str) -> Result<T, InvalidId>);

impl<T> Visitor<'_> for Text<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string")
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<T, E> {
        (self.0)(text).map_err(|e| E::custom(format!("{:?} is not an id: {e}", shortened(text))))
    }
}

/// At most 80 characters of what was sent, for error messages.
fn shortened(text: &str) -> &str {
    text.char_indices().nth(80).map_or(text, |(end, _)| &text[..end])
}

ids! {
    /// A customer, as the shop's own systems name them.
    CustomerId;
    /// A shop (store).
    ShopId;
    /// An order within a shop.
    OrderId;
    /// A line within an order or a cart.
    LineId;
    /// A product.
    Sku;
    /// A category, brand, tag, payment or delivery method: a word of the shop's own.
    Word;
    /// An order event within a shop.
    EventId;
    /// Who did something: a service key's id, or `customer`.
    Actor;
    /// A hold: UUIDv7 made here.
    HoldId;
    /// What passes between a hold's owner and a promo: a reservation (the hold's own id) or a give-back.
    ExchangeId;
    /// An adjustment that waits for a second person: UUIDv7 made here.
    ApprovalId;
    /// An entry of the ledger: unique per customer.
    EntryId;
    /// A promo or a campaign.
    OfferId;
    /// A banner.
    BannerId;
    /// A fraud flag's name.
    FlagName;
}

impl From<&HoldId> for ExchangeId {
    fn from(hold: &HoldId) -> Self {
        Self(Arc::clone(&hold.0))
    }
}

impl EventId {
    /// 64 bits of SHA-256: how a booked return is remembered.
    #[must_use]
    pub fn fingerprint(&self) -> u64 {
        use sha2::Digest;
        let digest = sha2::Sha256::digest(self.as_str());
        let mut first = [0_u8; 8];
        first.copy_from_slice(&digest[..8]);
        u64::from_be_bytes(first)
    }
}

/// A UUIDv7 (RFC 9562) made of a time and of random bits, as text.
#[must_use]
pub fn uuid_v7(at: crate::time::Timestamp, entropy: [u8; 16]) -> String {
    let millis = at.0.div_euclid(1000).max(0).to_be_bytes();
    let mut b = entropy;
    b[..6].copy_from_slice(&millis[2..]);
    b[6] = 0x70 | (b[6] & 0x0f);
    b[8] = 0x80 | (b[8] & 0x3f);
    let digits = crate::hex::encode(&b);
    [&digits[..8], &digits[8..12], &digits[12..16], &digits[16..20], &digits[20..]].join("-")
}

/// An order: the pair by which it is known everywhere.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct OrderKey {
    /// The shop.
    pub shop_id: ShopId,
    /// The order within the shop.
    pub order_id: OrderId,
}

impl OrderKey {
    /// 56 bits of SHA-256 over shop and order: how ended orders are remembered for 400 days. Among the hundreds of one
    /// customer's orders two alike are not to be expected (1 in 10^12).
    #[must_use]
    pub fn fingerprint(&self) -> u64 {
        use sha2::Digest;
        let mut hash = sha2::Sha256::new();
        hash.update(self.shop_id.as_str());
        hash.update([0]);
        hash.update(self.order_id.as_str());
        let digest = hash.finalize();
        let mut first = [0_u8; 8];
        first[1..].copy_from_slice(&digest[..7]);
        u64::from_be_bytes(first)
    }
}

impl fmt::Display for OrderKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.shop_id, self.order_id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_of_one_alphabet() {
        for good in ["a", "A.b_c:d-9", &"x".repeat(64)] {
            assert!(CustomerId::new(good).is_ok(), "{good}");
        }
        for bad in ["", "a b", "a\n", "a\0", "ж", "a/b", &"x".repeat(65)] {
            assert!(CustomerId::new(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn uuids_sort_by_time() {
        let a = uuid_v7(crate::time::Timestamp::from_seconds(1), [0xff; 16]);
        let b = uuid_v7(crate::time::Timestamp::from_seconds(2), [0; 16]);
        assert!(a < b);
        assert_eq!(a.len(), 36);
        assert_eq!(&a[14..15], "7");
    }
}
