//! Keyed hashes of what is to be told apart and never to be read again: addresses, phones, payment means.
//!
//! The key is not one of the QR ring: those are rotated, and a limit "per customer for ever" has to know a phone for ever.
//! An address is hashed with a secret of its period beside the key, so that what was counted in a period that is over can
//! be told to be nobody's, by nobody: the secret is gone then.

use std::net::IpAddr;

use hmac::{Hmac, Mac};
use sha2::Sha256;

/// The key of all hashes of a deployment. It is never changed.
#[derive(Clone)]
pub struct HashingKey([u8; 32]);

impl std::fmt::Debug for HashingKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("HashingKey")
    }
}

impl HashingKey {
    /// A key.
    #[must_use]
    pub const fn new(key: [u8; 32]) -> Self {
        Self(key)
    }

    /// The hash of a phone's or a payment means' opaque hash.
    #[must_use]
    pub fn link_key(&self, text: &str) -> Option<[u8; 16]> {
        short(&hmac(&hmac(&self.0, b"adal link key")?, text.as_bytes())?)
    }

    /// The hash of an address in the period with that secret.
    #[must_use]
    pub fn address(&self, secret: &[u8; 32], address: IpAddr) -> Option<[u8; 16]> {
        short(&hmac(&hmac(&self.0, secret)?, address.to_string().as_bytes())?)
    }
}

fn short(hash: &[u8; 32]) -> Option<[u8; 16]> {
    hash.first_chunk().copied()
}

/// HMAC-SHA256. A key of any length is one: there is always a result.
pub(crate) fn hmac(key: &[u8], message: &[u8]) -> Option<[u8; 32]> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).ok()?;
    mac.update(message);
    Some(mac.finalize().into_bytes().into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_another_in_each_period_and_a_link_key_is_the_same_for_ever() {
        let (key, other) = (HashingKey::new([1; 32]), HashingKey::new([2; 32]));
        let address: IpAddr = "203.0.113.1".parse().unwrap();
        let hash = key.address(&[7; 32], address);
        assert_eq!(hash, key.address(&[7; 32], address));
        assert_ne!(hash, key.address(&[8; 32], address));
        assert_ne!(hash, other.address(&[7; 32], address));
        assert_ne!(hash, key.address(&[7; 32], "203.0.113.2".parse().unwrap()));
        assert_ne!(key.link_key("phone"), other.link_key("phone"));
        assert_eq!(key.link_key("phone"), HashingKey::new([1; 32]).link_key("phone"));
    }
}
