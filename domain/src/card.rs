//! The member card: its barcode and its status.

use serde::{Deserialize, Serialize};

use crate::time::Timestamp;

/// A card's EAN-13 barcode with the in-store prefix 29: ten random digits and the check digit, 13 digits in all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Barcode(u64);

/// Numbers that ten digits give.
const NUMBERS: u64 = 10_000_000_000;

impl Barcode {
    /// The barcode of the number `n` (taken modulo 10^10).
    #[must_use]
    pub const fn of_number(n: u64) -> Self {
        let digits = 290_000_000_000 + n % NUMBERS;
        Self(digits * 10 + check_digit(digits))
    }

    /// The ten digits between prefix and check digit, as a number below 10^10.
    #[must_use]
    pub const fn number(self) -> u64 {
        (self.0 / 10) % NUMBERS
    }

    /// Reads 13 digits with prefix 29 and a right check digit.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        if text.len() != 13 || !text.starts_with("29") || !text.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
        let code: u64 = text.parse().ok()?;
        (check_digit(code / 10) == code % 10).then_some(Self(code))
    }
}

/// The EAN-13 check digit of twelve digits: weights 1 and 3 from the left (GS1 General Specifications, 7.9).
const fn check_digit(twelve: u64) -> u64 {
    let (mut rest, mut sum, mut weight) = (twelve, 0, 3);
    while rest > 0 {
        sum += rest % 10 * weight;
        weight = 4 - weight;
        rest /= 10;
    }
    (10 - sum % 10) % 10
}

impl std::fmt::Display for Barcode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:013}", self.0)
    }
}

impl TryFrom<String> for Barcode {
    type Error = &'static str;
    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::parse(&text).ok_or("not an EAN-13 with prefix 29")
    }
}

impl From<Barcode> for String {
    fn from(barcode: Barcode) -> Self {
        barcode.to_string()
    }
}

/// Whether a card can be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CardStatus {
    /// Earns and burns.
    Active,
    /// Earns, and does not burn.
    Blocked,
    /// Does neither, for good.
    Closed,
}

/// A member's card. Its QR secret is derived from the key ring when needed and stands nowhere.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Card {
    /// The printed barcode; a reissue gives a new one.
    pub barcode: Barcode,
    /// Active, blocked or closed.
    pub status: CardStatus,
    /// Why it is blocked or closed.
    pub reason: Option<Box<str>>,
    /// When it was issued here.
    pub issued_at: Timestamp,
    /// Member since: for the card's age alone.
    pub since: Timestamp,
    /// No burns before this: a reissued card waits.
    pub burns_from: Option<Timestamp>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_known_ean_has_the_right_check_digit() {
        // The example of the GS1 check digit page: 629104150021 -> 3.
        assert_eq!(check_digit(629_104_150_021), 3);
        let barcode = Barcode::of_number(1_234_567_890);
        assert_eq!(Barcode::parse(&barcode.to_string()), Some(barcode));
        assert_eq!(barcode.number(), 1_234_567_890);
    }

    #[test]
    fn one_wrong_digit_is_noticed() {
        let text = Barcode::of_number(42).to_string();
        for position in 2..13 {
            for digit in b'0'..=b'9' {
                let mut bytes = text.clone().into_bytes();
                if bytes[position] == digit {
                    continue;
                }
                bytes[position] = digit;
                assert_eq!(Barcode::parse(std::str::from_utf8(&bytes).unwrap()), None);
            }
        }
    }
}
