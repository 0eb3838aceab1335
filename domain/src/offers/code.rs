//! Promo codes as people type them. Case, spaces, dashes and letters that look alike make no difference: a code is kept,
//! compared and looked up in its normal form, and shown as it was written.

use serde::{Deserialize, Deserializer, Serialize, de::Error};

/// The longest code, bytes, as typed and in its normal form.
pub const MAX_CODE_BYTES: usize = 64;

/// A code in its normal form: what is compared.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct NormalCode(String);

impl NormalCode {
    /// The normal form of what was typed; `None` where nothing is left, it is longer than [`MAX_CODE_BYTES`], or it holds
    /// control characters.
    #[must_use]
    pub fn new(typed: &str) -> Option<Self> {
        if typed.len() > MAX_CODE_BYTES {
            return None;
        }
        let mut normal = String::with_capacity(typed.len());
        for typed in typed.chars() {
            if is_skipped(typed) {
                continue;
            }
            if typed.is_control() {
                return None;
            }
            normal.extend(half_width(typed).to_uppercase().map(look_alike));
        }
        (!normal.is_empty() && normal.len() <= MAX_CODE_BYTES).then_some(Self(normal))
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl<'de> Deserialize<'de> for NormalCode {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        Self::new(&text).ok_or_else(|| D::Error::custom("is not a code"))
    }
}

/// Spaces, dashes and what cannot be seen: people group a code's letters as they like, and paste what surrounds it.
fn is_skipped(typed: char) -> bool {
    typed.is_whitespace()
        || matches!(typed, '-' | '_' | '\u{ad}' | '\u{2010}'..='\u{2015}' | '\u{2212}' | '\u{feff}')
        || matches!(typed, '\u{200b}'..='\u{200f}' | '\u{2060}')
}

/// Full-width forms as their plain ones.
fn half_width(typed: char) -> char {
    match typed {
        '\u{ff01}'..='\u{ff5e}' => char::from_u32(u32::from(typed) - 0xfee0).unwrap_or(typed),
        _ => typed,
    }
}

/// One sign for all that look alike: a code is read off a leaflet or heard over the phone, and typed on a Cyrillic
/// keyboard as often as on a Latin one.
const fn look_alike(upper: char) -> char {
    match upper {
        'O' | 'О' | 'Ο' => '0',
        'I' | 'L' | '|' | 'І' | 'Ӏ' | 'Ι' => '1',
        'З' => '3',
        'А' | 'Α' => 'A',
        'В' | 'Β' => 'B',
        'С' => 'C',
        'Е' | 'Ε' => 'E',
        'Н' | 'Η' => 'H',
        'Ј' => 'J',
        'К' | 'Κ' | 'Қ' => 'K',
        'М' | 'Μ' => 'M',
        'Р' | 'Ρ' => 'P',
        'Ѕ' => 'S',
        'Т' | 'Τ' => 'T',
        'Х' | 'Χ' => 'X',
        'У' | 'Ү' | 'Ұ' | 'Υ' => 'Y',
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn normal(typed: &str) -> String {
        NormalCode::new(typed).unwrap().0
    }

    #[test]
    fn case_spaces_dashes_and_look_alikes_make_no_difference() {
        for typed in
            ["WELCOME10", "welcome 10", " wel-come-1o ", "WELCOMEl0", "WЕLСОМЕ10", "welcоme-i0", "ＷＥＬＣＯＭＥ１０"]
        {
            assert_eq!(normal(typed), normal("WELCOME10"), "{typed}");
        }
        assert_eq!(normal("АВЕКМНОРСТУХ"), normal("ABEKMHOPCTYX"));
        assert_ne!(normal("WELCOME10"), normal("WELCOME11"), "what does not look alike stays apart");
        assert_ne!(normal("SALE5"), normal("SALES"));
    }

    #[test]
    fn a_normal_form_is_its_own_normal_form() {
        for typed in ["ß-test", "İstanbul", "қаңтар", "zima_2026", "ŉ"] {
            let once = normal(typed);
            assert_eq!(normal(&once), once, "{typed}");
        }
    }

    #[test]
    fn what_is_no_code_has_no_normal_form() {
        for typed in ["", "  - ", "a\u{0}b", &"x".repeat(65)] {
            assert_eq!(NormalCode::new(typed), None, "{typed:?}");
        }
    }
}
