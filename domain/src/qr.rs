//! The QR code of a card, and the proof that a till scanned it.
//!
//! Text of a code: base45 (RFC 9285) of 21 bytes, 32 characters, one small symbol in alphanumeric mode:
//!
//! | bytes | what |
//! |---|---|
//! | 1 | version (high half, 1) and intent (low half: 0 show, 1 pay) |
//! | 1 | key id in the ring |
//! | 5 | the barcode's ten digits, big endian |
//! | 4 | 30-second step since 1970, big endian |
//! | 10 | HMAC-SHA256 over the eleven bytes before, cut to 80 bits, under the card's own secret |
//!
//! The card's secret is HMAC-SHA256(ring key, "adal card" | barcode): a reissue, which gives a new barcode, gives a new
//! secret, and a new key in the ring rotates the secrets of all cards, while codes of the old key are read as long as it
//! stays in the ring.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq;

use crate::{card::Barcode, hashing::hmac, hex, ids::CustomerId, time::Timestamp};

/// Seconds in a step.
pub const STEP_S: i64 = 30;

const VERSION: u8 = 1;
const SIGNED: usize = 11;
const MAC: usize = 10;

/// What the customer means to do with the code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Intent {
    /// Identify and earn.
    Show,
    /// Also pay with points.
    Pay,
}

/// A step: 30-second intervals since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Step(pub u32);

impl Step {
    /// The step in which `at` falls.
    #[must_use]
    pub fn of(at: Timestamp) -> Self {
        Self(u32::try_from(at.seconds().div_euclid(STEP_S)).unwrap_or(0))
    }

    /// When the step begins.
    #[must_use]
    pub fn start(self) -> Timestamp {
        Timestamp::from_seconds(i64::from(self.0) * STEP_S)
    }

    /// Whether a code of this step is fresh at `at`: this step, one either side.
    #[must_use]
    pub fn is_fresh(self, at: Timestamp) -> bool {
        self.0.abs_diff(Self::of(at).0) <= 1
    }
}

/// What a code says, its signature checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QrCode {
    /// What for.
    pub intent: Intent,
    /// Whose card.
    pub barcode: Barcode,
    /// When it was made.
    pub step: Step,
}

/// Why a text is not a code of ours. The public is told no more than `qr_invalid`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum QrError {
    /// Not base45 of 21 bytes of version 1.
    #[error("not a code of this kind")]
    Unreadable,
    /// The ring has no such key (any more).
    #[error("made with a key that is not in the ring")]
    UnknownKey,
    /// The signature is wrong.
    #[error("the signature is wrong")]
    WrongSignature,
}

/// Why a key ring cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyRingError {
    /// The current key is not among the keys.
    #[error("the current key {0} is not in the ring")]
    NoCurrent(u8),
    /// A key is too short.
    #[error("key {0} has fewer than 32 bytes")]
    TooShort(u8),
}

/// The secrets that cards' secrets and scan tokens are derived from, by key id.
#[derive(Clone)]
pub struct KeyRing {
    current: u8,
    keys: BTreeMap<u8, Box<[u8]>>,
}

impl std::fmt::Debug for KeyRing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KeyRing").field("current", &self.current).field("ids", &self.keys.keys()).finish()
    }
}

impl KeyRing {
    /// A ring of keys of 32 bytes or more; `current` signs, all verify.
    ///
    /// # Errors
    /// Where `current` is not among the keys, or a key is too short.
    pub fn new(current: u8, keys: BTreeMap<u8, Box<[u8]>>) -> Result<Self, KeyRingError> {
        if !keys.contains_key(&current) {
            return Err(KeyRingError::NoCurrent(current));
        }
        if let Some((id, _)) = keys.iter().find(|(_, key)| key.len() < 32) {
            return Err(KeyRingError::TooShort(*id));
        }
        Ok(Self { current, keys })
    }

    /// The text of a code.
    #[must_use]
    pub fn encode(&self, code: QrCode) -> String {
        let mut bytes = [0_u8; SIGNED + MAC];
        bytes[0] = (VERSION << 4) | u8::from(code.intent == Intent::Pay);
        bytes[1] = self.current;
        bytes[2..7].copy_from_slice(&code.barcode.number().to_be_bytes()[3..]);
        bytes[7..SIGNED].copy_from_slice(&code.step.0.to_be_bytes());
        let (signed, tail) = bytes.split_at_mut(SIGNED);
        if let Some(mac) = self.card_mac(self.current, code.barcode, signed) {
            tail.copy_from_slice(&mac[..MAC]);
        }
        base45::encode(bytes)
    }

    /// Reads a code and checks its signature. Whether it is fresh is for the caller to say.
    ///
    /// # Errors
    /// See [`QrError`].
    pub fn decode(&self, text: &str) -> Result<QrCode, QrError> {
        let bytes = base45::decode(text).map_err(|_| QrError::Unreadable)?;
        let bytes: [u8; SIGNED + MAC] = bytes.try_into().map_err(|_| QrError::Unreadable)?;
        let intent = match (bytes[0] >> 4, bytes[0] & 0x0f) {
            (VERSION, 0) => Intent::Show,
            (VERSION, 1) => Intent::Pay,
            _ => return Err(QrError::Unreadable),
        };
        let mut number = [0_u8; 8];
        number[3..].copy_from_slice(&bytes[2..7]);
        let mut step = [0_u8; 4];
        step.copy_from_slice(&bytes[7..SIGNED]);
        let barcode = Barcode::of_number(u64::from_be_bytes(number));
        let mac = self.card_mac(bytes[1], barcode, &bytes[..SIGNED]).ok_or(QrError::UnknownKey)?;
        if bool::from(mac[..MAC].ct_eq(&bytes[SIGNED..])) {
            Ok(QrCode { intent, barcode, step: Step(u32::from_be_bytes(step)) })
        } else {
            Err(QrError::WrongSignature)
        }
    }

    fn card_mac(&self, key_id: u8, barcode: Barcode, message: &[u8]) -> Option<[u8; 32]> {
        let mut derivation = b"adal card".to_vec();
        derivation.extend_from_slice(&barcode.number().to_be_bytes());
        let secret = hmac(self.keys.get(&key_id)?, &derivation)?;
        hmac(&secret, message)
    }

    /// The key of hashes that a deployment without one begins with: the same on all servers that share the ring. By the
    /// oldest key. It is kept then, and stays when the ring is rotated.
    #[must_use]
    pub fn hashing_key(&self) -> Option<[u8; 32]> {
        hmac(self.keys.first_key_value()?.1, b"adal hashing key")
    }

    /// A scan's signed token: opaque to the till, valid for 10 minutes, bound to terminal and customer.
    #[must_use]
    pub fn seal_scan(&self, scan: &Scan) -> String {
        let payload = scan.payload();
        let mac = self.scan_mac(self.current, &payload).unwrap_or_default();
        let mut bytes = vec![VERSION, self.current];
        bytes.extend_from_slice(payload.as_bytes());
        bytes.extend_from_slice(&mac[..16]);
        hex::encode(&bytes)
    }

    /// Reads a token and checks its signature. Its age and its terminal are for the caller to compare.
    ///
    /// # Errors
    /// See [`QrError`].
    pub fn open_scan(&self, token: &str) -> Result<Scan, QrError> {
        let bytes = hex::decode(token).ok_or(QrError::Unreadable)?;
        if bytes.len() < 18 || bytes[0] != VERSION {
            return Err(QrError::Unreadable);
        }
        let (payload, mac) = bytes[2..].split_at(bytes.len() - 18);
        let payload = std::str::from_utf8(payload).map_err(|_| QrError::Unreadable)?;
        let right = self.scan_mac(bytes[1], payload).ok_or(QrError::UnknownKey)?;
        if !bool::from(right[..16].ct_eq(mac)) {
            return Err(QrError::WrongSignature);
        }
        Scan::read(payload).ok_or(QrError::Unreadable)
    }

    fn scan_mac(&self, key_id: u8, payload: &str) -> Option<[u8; 32]> {
        let secret = hmac(self.keys.get(&key_id)?, b"adal scan")?;
        hmac(&secret, payload.as_bytes())
    }
}

/// What a till saw, sealed into `scan_id`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Scan {
    /// Whose card.
    pub customer_id: CustomerId,
    /// The code's step.
    pub step: Step,
    /// The code's intent; a printed barcode counts as `show`.
    pub intent: Intent,
    /// Whether the code was fresh when it was scanned.
    pub fresh: bool,
    /// The terminal: the service key that scanned.
    pub terminal: String,
    /// When it was scanned.
    pub at: Timestamp,
}

impl Scan {
    fn payload(&self) -> String {
        let intent = if self.intent == Intent::Pay { 'p' } else { 's' };
        let fresh = if self.fresh { 'f' } else { 'o' };
        format!("{} {} {intent}{fresh} {} {}", self.customer_id, self.step.0, self.at.0, self.terminal)
    }

    fn read(payload: &str) -> Option<Self> {
        let mut parts = payload.splitn(5, ' ');
        let customer_id = CustomerId::new(parts.next()?).ok()?;
        let step = Step(parts.next()?.parse().ok()?);
        let (intent, fresh) = match parts.next()? {
            "pf" => (Intent::Pay, true),
            "po" => (Intent::Pay, false),
            "sf" => (Intent::Show, true),
            "so" => (Intent::Show, false),
            _ => return None,
        };
        let at = Timestamp(parts.next()?.parse().ok()?);
        Some(Self { customer_id, step, intent, fresh, terminal: parts.next()?.to_owned(), at })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ring(current: u8, ids: &[u8]) -> KeyRing {
        KeyRing::new(current, ids.iter().map(|id| (*id, vec![*id; 32].into_boxed_slice())).collect()).unwrap()
    }

    fn code() -> QrCode {
        QrCode { intent: Intent::Pay, barcode: Barcode::of_number(123), step: Step(59_000_000) }
    }

    #[test]
    fn a_code_is_32_alphanumeric_characters_and_reads_back() {
        let text = ring(1, &[1]).encode(code());
        assert_eq!(text.len(), 32);
        assert!(text.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || " $%*+-./:".contains(c)));
        assert_eq!(ring(1, &[1]).decode(&text), Ok(code()));
    }

    #[test]
    fn any_changed_character_is_refused() {
        let ring = ring(1, &[1]);
        let text = ring.encode(code());
        for position in 0..text.len() {
            let mut bytes = text.clone().into_bytes();
            bytes[position] = if bytes[position] == b'0' { b'1' } else { b'0' };
            assert!(ring.decode(std::str::from_utf8(&bytes).unwrap()).is_err(), "{position}");
        }
    }

    #[test]
    fn a_rotated_ring_reads_codes_of_the_old_key_until_it_is_removed() {
        let text = ring(1, &[1]).encode(code());
        assert_eq!(ring(2, &[1, 2]).decode(&text), Ok(code()));
        assert_eq!(ring(2, &[2]).decode(&text), Err(QrError::UnknownKey));
    }

    #[test]
    fn a_reissued_card_has_another_secret() {
        let ring = ring(1, &[1]);
        let one = ring.encode(code());
        let two = ring.encode(QrCode { barcode: Barcode::of_number(124), ..code() });
        let forged = {
            let mut bytes = base45::decode(&two).unwrap();
            bytes[SIGNED..].copy_from_slice(&base45::decode(&one).unwrap()[SIGNED..]);
            base45::encode(bytes)
        };
        assert_eq!(ring.decode(&forged), Err(QrError::WrongSignature));
    }

    #[test]
    fn a_scan_token_cannot_be_changed() {
        let ring = ring(1, &[1]);
        let scan = Scan {
            customer_id: CustomerId::new("c1").unwrap(),
            step: Step(7),
            intent: Intent::Pay,
            fresh: true,
            terminal: "till 1".to_owned(),
            at: Timestamp(5),
        };
        let token = ring.seal_scan(&scan);
        assert_eq!(ring.open_scan(&token), Ok(scan));
        let forged = token.replacen("6331", "6332", 1);
        assert_ne!(forged, token);
        assert_eq!(ring.open_scan(&forged), Err(QrError::WrongSignature));
    }
}
