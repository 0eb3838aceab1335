//! Service keys: `adal_<role>_<random>`, 32 letters and digits that are shown once.
//!
//! Only a hash is kept. The random part has 190 bits, so a plain hash is enough: there is nothing to guess, and what
//! takes time against guessing would take it on every request. A key is found by its hash in a table: how long that
//! takes says something of the hash, and nothing of the key.

use std::collections::HashMap;

use adal_actors::ports::ApiKeyRecord;
use adal_domain::{hex, ids::ShopId, time::Timestamp};
use rand::{TryRngCore, rngs::OsRng};

use crate::http::extract::{Principal, Role};

/// How every key begins: secret scanners look for it.
pub const PREFIX: &str = "adal_";

const ALPHABET: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
const LENGTH: usize = 32;

/// A key that was just made.
#[derive(Debug)]
pub struct NewKey {
    /// The key itself: for whoever asked, once.
    pub key: String,
    /// What is kept.
    pub record: ApiKeyRecord,
}

/// Why a key is not made.
#[derive(Debug, thiserror::Error)]
pub enum NewKeyError {
    /// The operating system gives no random bits.
    #[error("the operating system gives no random bits: {0}")]
    Random(rand::rand_core::OsError),
    /// A till belongs to a shop.
    #[error("a pos key needs --shop: it may act for that shop alone")]
    PosWithoutShop,
}

/// Makes a key. Its id is public: role and a part of the hash.
///
/// # Errors
/// See [`NewKeyError`].
pub fn generate(
    role: Role,
    shop: Option<&ShopId>,
    label: Option<String>,
    now: Timestamp,
) -> Result<NewKey, NewKeyError> {
    if role == Role::Pos && shop.is_none() {
        return Err(NewKeyError::PosWithoutShop);
    }
    let key = format!("{PREFIX}{role}_{}", random_text().map_err(NewKeyError::Random)?);
    let hash = hash_of(&key);
    let record = ApiKeyRecord {
        id: format!("{role}-{}", hex::encode(&hash[..6])),
        hash,
        role: role.as_str().to_owned(),
        shop: shop.map(|shop| shop.as_str().to_owned()),
        created_at: now,
        revoked_at: None,
        label,
    };
    Ok(NewKey { key, record })
}

/// Letters and digits, each as likely as any other.
fn random_text() -> Result<String, rand::rand_core::OsError> {
    let mut text = String::with_capacity(LENGTH);
    let mut bytes = [0; 64];
    while text.len() < LENGTH {
        OsRng.try_fill_bytes(&mut bytes)?;
        // 248 is the greatest multiple of 62 in a byte: what lies above would favour the first letters.
        let letters = bytes.iter().filter(|byte| **byte < 248).map(|byte| char::from(ALPHABET[usize::from(byte % 62)]));
        text.extend(letters.take(LENGTH - text.len()));
    }
    Ok(text)
}

fn hash_of(key: &str) -> [u8; 32] {
    *blake3::hash(key.as_bytes()).as_bytes()
}

/// The keys that count, by hash.
#[derive(Debug, Default)]
pub struct KeyTable {
    by_hash: HashMap<[u8; 32], Principal>,
}

impl KeyTable {
    /// The table of what is stored. Revoked keys, and records that this version cannot read, are left out.
    #[must_use]
    pub fn new(records: &[ApiKeyRecord]) -> Self {
        let readable = records.iter().filter(|record| record.revoked_at.is_none()).filter_map(|record| {
            let principal = principal(record);
            if principal.is_none() {
                tracing::warn!(key = %record.id, role = %record.role, "a key is left out: role or shop cannot be read");
            }
            principal.map(|principal| (record.hash, principal))
        });
        Self { by_hash: readable.collect() }
    }

    /// Whose key this is.
    #[must_use]
    pub fn find(&self, key: &str) -> Option<Principal> {
        self.by_hash.get(&hash_of(key)).cloned()
    }
}

fn principal(record: &ApiKeyRecord) -> Option<Principal> {
    let role: Role = record.role.parse().ok()?;
    let shop = match &record.shop {
        Some(shop) => Some(ShopId::new(shop).ok()?),
        None if role == Role::Pos => return None,
        None => None,
    };
    Some(Principal::Service { key_id: record.id.clone(), role, shop })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(role: Role) -> NewKey {
        generate(role, Some(&ShopId::new("s1").unwrap()), None, Timestamp(0)).unwrap()
    }

    #[test]
    fn keys_have_the_documented_form() {
        for role in Role::ALL {
            let NewKey { key, record } = made(role);
            let random = key.strip_prefix(&format!("adal_{role}_")).unwrap();
            assert_eq!(random.len(), 32);
            assert!(random.bytes().all(|b| b.is_ascii_alphanumeric()));
            assert!(record.id.starts_with(role.as_str()) && adal_domain::ids::Actor::new(&record.id).is_ok());
            assert!(!format!("{record:?}").contains(random), "nothing that is kept holds the key");
        }
        assert_ne!(made(Role::Pos).key, made(Role::Pos).key);
    }

    #[test]
    fn a_till_without_a_shop_gets_no_key() {
        assert!(matches!(generate(Role::Pos, None, None, Timestamp(0)), Err(NewKeyError::PosWithoutShop)));
    }

    #[test]
    fn a_key_is_found_until_it_is_revoked() {
        let NewKey { key, mut record } = made(Role::Pos);
        let found = KeyTable::new(std::slice::from_ref(&record)).find(&key).unwrap();
        assert_eq!(found.shop().unwrap().as_str(), "s1");
        assert!(KeyTable::new(std::slice::from_ref(&record)).find(&format!("{key}x")).is_none());
        record.revoked_at = Some(Timestamp(1));
        assert!(KeyTable::new(&[record]).find(&key).is_none());
    }

    #[test]
    fn a_stored_key_that_cannot_be_read_counts_not_at_all() {
        for (role, shop) in [("root", Some("s1")), ("pos", None), ("pos", Some("not a shop"))] {
            let NewKey { key, mut record } = made(Role::Pos);
            (record.role, record.shop) = (role.to_owned(), shop.map(str::to_owned));
            assert!(KeyTable::new(&[record]).find(&key).is_none());
        }
    }
}
