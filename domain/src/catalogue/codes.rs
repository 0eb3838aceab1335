//! Unique codes: how their texts are made. Where they are kept, and who makes a million of them, is not the rules'
//! business; nothing here draws a random number.
//!
//! A code is 12 signs of an alphabet in which no two are alike and the normal form changes none: 60 bits, written after
//! the job's prefix. The first 10 bits are a *stretch*, which a job goes through in order; the other 50 are random. So
//! whoever knows everything of a job still has to guess 50 bits, and a store that keeps codes in their order writes a
//! few pages for a batch of them, where scattered ones would make it write a page for each.

use crate::offers::NormalCode;

/// The signs: letters and digits without I, L, O (alike to 1 and 0) and U.
pub const ALPHABET: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
/// Signs of a code after its prefix.
pub const SIGNS: usize = 12;
/// Random bits of each code.
pub const RANDOM_BITS: u32 = 50;
/// Stretches that the codes are spread over: the other 10 bits.
pub const STRETCHES: u64 = 1 << 10;
/// Codes that one job makes at most.
pub const MAX_COUNT: u64 = 1_000_000;
/// The longest prefix, bytes.
pub const MAX_PREFIX_BYTES: usize = 32;

/// The stretch of a job's next codes, `done` of `count` being made; the first is `start`.
#[must_use]
pub const fn stretch(start: u64, done: u64, count: u64) -> u64 {
    let most = if count == 0 { 1 } else { count };
    (start + done.saturating_mul(STRETCHES) / most) % STRETCHES
}

/// The code of a stretch and of random bits, of which the lowest [`RANDOM_BITS`] count: as it is printed, and as it is
/// compared. `None` where the prefix is no prefix.
#[must_use]
pub fn code(prefix: &str, stretch: u64, random: u64) -> Option<(String, NormalCode)> {
    let bits = (stretch % STRETCHES) << RANDOM_BITS | random & ((1 << RANDOM_BITS) - 1);
    let mut printed = String::with_capacity(prefix.len() + SIGNS);
    printed.push_str(prefix);
    for place in (0..SIGNS).rev() {
        let sign = bits >> (5 * place) & 31;
        printed.push(char::from(ALPHABET[usize::try_from(sign).ok()?]));
    }
    let normal = NormalCode::new(&printed)?;
    Some((printed, normal))
}

/// A stored code as it was printed: after the prefix as it was typed. `None` where it is none of that prefix.
#[must_use]
pub fn printed(prefix: &str, normal: &str) -> Option<String> {
    let signs = normal.len().checked_sub(SIGNS).and_then(|from| normal.get(from..))?;
    Some(format!("{prefix}{signs}"))
}

/// Whether a text can stand before codes; why not, where it cannot.
///
/// # Errors
/// The rule that it breaks.
pub fn check_prefix(prefix: &str) -> Result<(), &'static str> {
    if prefix.is_empty() {
        return Ok(());
    }
    if prefix.len() > MAX_PREFIX_BYTES {
        return Err("at most 32 bytes");
    }
    // In a file of comma-separated values it needs no quotes, and no table takes it for a formula.
    let is_plain = |c: char| c.is_alphanumeric() || matches!(c, '-' | '_');
    if !prefix.chars().all(is_plain) || !prefix.chars().next().is_some_and(char::is_alphanumeric) {
        return Err("letters and digits, - and _ after the first");
    }
    if NormalCode::new(prefix).is_none_or(|normal| normal.as_str().len() > 64 - SIGNS) {
        return Err("its normal form is too long");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_alphabet_is_its_own_normal_form_and_has_no_look_alikes() {
        for &sign in ALPHABET {
            let text = char::from(sign).to_string();
            assert_eq!(NormalCode::new(&text).unwrap().as_str(), text);
            assert_eq!(NormalCode::new(&text.to_lowercase()).unwrap().as_str(), text, "typed small");
        }
        let distinct: std::collections::BTreeSet<_> = ALPHABET.iter().collect();
        assert_eq!(distinct.len(), 32);
    }

    #[test]
    fn every_random_bit_and_the_stretch_are_in_the_code() {
        let plain = code("", 0, 0).unwrap().0;
        assert_eq!(plain, "0".repeat(SIGNS));
        let mut seen = std::collections::HashSet::from([plain]);
        for bit in 0..RANDOM_BITS {
            assert!(seen.insert(code("", 0, 1 << bit).unwrap().0), "bit {bit}");
        }
        for stretch in 1..STRETCHES {
            assert!(seen.insert(code("", stretch, 0).unwrap().0), "stretch {stretch}");
        }
        assert_eq!(code("", 0, 1 << RANDOM_BITS).unwrap().0, "0".repeat(SIGNS), "what is above does not count");
        assert_eq!(code("", STRETCHES - 1, u64::MAX).unwrap().0, "Z".repeat(SIGNS));
    }

    #[test]
    fn a_job_goes_through_its_stretches_in_order() {
        let all: Vec<u64> = (0..1_000_000).step_by(500).map(|done| stretch(1000, done, 1_000_000)).collect();
        assert_eq!((all[0], all[all.len() - 1]), (1000, 999));
        assert!(all.windows(2).all(|pair| (pair[1] + STRETCHES - pair[0]) % STRETCHES <= 1));
        assert_eq!((stretch(5, 0, 1), stretch(5, 0, 0)), (5, 5));
    }

    #[test]
    fn what_is_printed_is_what_was_stored() {
        for prefix in ["", "SPRING-", "весна_", "Lilo"] {
            check_prefix(prefix).unwrap();
            let (shown, normal) = code(prefix, 7, 123_456_789).unwrap();
            assert_eq!(NormalCode::new(&shown).unwrap(), normal);
            assert_eq!(printed(prefix, normal.as_str()).unwrap(), shown);
        }
        for wrong in ["a b", "=cmd", "a,b", "-a", "a\"", &"x".repeat(33)] {
            assert!(check_prefix(wrong).is_err(), "{wrong}");
        }
    }
}
