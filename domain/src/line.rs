//! A line of a cart or of an order: what was put in the basket, and what it costs.

use std::fmt::Display;

use serde::{Deserialize, Serialize};

use crate::{
    amounts::{MAX_ORDER_MINOR, MinorUnits},
    errors::{Code, Refusal},
    ids::{LineId, Sku, Word},
    policy::Restricted,
};

/// What a quantity counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum Unit {
    /// Pieces.
    Piece,
    /// Grams; the unit price is per kilogram.
    Gram,
}

/// The most pieces or grams of one line.
pub const MAX_QUANTITY: i64 = 1_000_000_000;

/// The most tags of one line.
pub const MAX_TAGS: usize = 50;

/// A line as a caller sends it. Exactly one of `unit_price_minor` and `line_total_minor` is given.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Line {
    /// Unique in its cart or order.
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub line_id: LineId,
    /// The product.
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub sku: Sku,
    /// The product's category.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>))]
    pub category: Option<Word>,
    /// The product's brand.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>))]
    pub brand: Option<Word>,
    /// At most 50 tags.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[cfg_attr(feature = "openapi", schema(value_type = Vec<String>))]
    pub tags: Vec<Word>,
    /// Pieces or grams, 1 to 10^9.
    pub quantity: i64,
    /// What `quantity` counts.
    pub unit: Unit,
    /// Minor units per piece, or per kilogram for grams.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unit_price_minor: Option<i64>,
    /// Minor units for the whole line, where no whole unit price gives it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub line_total_minor: Option<i64>,
    /// Minor units per piece (or kilogram) below which no discount may bring it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_price_minor: Option<i64>,
}

impl Line {
    /// What the line costs before discounts: price times quantity, grams rounded half up, or the total as sent.
    ///
    /// # Errors
    /// `invalid_field` or `amount_too_large`, naming the field under `path` (`lines[3]`).
    pub fn subtotal(&self, path: impl Display + Copy) -> Result<MinorUnits, Refusal> {
        let invalid = |field: &str, rule: &str| Refusal::new(Code::InvalidField, format!("{path}.{field}: {rule}"));
        if !(1..=MAX_QUANTITY).contains(&self.quantity) {
            return Err(invalid("quantity", "must be 1 to 1000000000"));
        }
        if self.tags.len() > MAX_TAGS {
            return Err(invalid("tags", "at most 50"));
        }
        let price = |field: &str, value: i64| {
            if value < 0 {
                Err(invalid(field, "must be 0 or more"))
            } else if value > MAX_ORDER_MINOR {
                Err(Refusal::new(Code::AmountTooLarge, format!("{path}.{field}: at most {MAX_ORDER_MINOR}"))
                    .with_max(MAX_ORDER_MINOR))
            } else {
                Ok(i128::from(value))
            }
        };
        if let Some(least) = self.min_price_minor {
            price("min_price_minor", least)?;
        }
        let quantity = i128::from(self.quantity);
        let total = match (self.unit_price_minor, self.line_total_minor) {
            (Some(unit), None) => match self.unit {
                Unit::Piece => price("unit_price_minor", unit)? * quantity,
                Unit::Gram => (price("unit_price_minor", unit)? * quantity * 2 + 1000) / 2000,
            },
            (None, Some(total)) => price("line_total_minor", total)?,
            _ => {
                return Err(invalid(
                    "unit_price_minor",
                    "exactly one of unit_price_minor and line_total_minor is needed",
                ));
            }
        };
        match i64::try_from(total) {
            Ok(total) if total <= MAX_ORDER_MINOR => Ok(MinorUnits(total)),
            _ => Err(Refusal::new(
                Code::AmountTooLarge,
                format!("{path}: the line is worth more than {MAX_ORDER_MINOR}"),
            )
            .with_max(MAX_ORDER_MINOR)),
        }
    }

    /// Whether the policy lists the line's category or one of its tags as restricted.
    #[must_use]
    pub fn is_restricted(&self, restricted: &Restricted) -> bool {
        self.category.as_ref().is_some_and(|c| restricted.categories.iter().any(|r| r == c.as_str()))
            || self.tags.iter().any(|t| restricted.tags.iter().any(|r| r == t.as_str()))
    }
}

/// Checks lines as a whole, and gives their subtotals in the same order.
///
/// # Errors
/// `too_many_lines`, `duplicate_line`, `amount_too_large`, and what [`Line::subtotal`] answers.
pub fn check_lines(lines: &[Line], most: usize) -> Result<Vec<MinorUnits>, Refusal> {
    if lines.len() > most {
        return Err(Refusal::new(Code::TooManyLines, format!("lines: {} given, at most {most}", lines.len()))
            .with_max(i64::try_from(most).unwrap_or(i64::MAX)));
    }
    let mut seen = std::collections::HashSet::with_capacity(lines.len());
    let mut subtotals = Vec::with_capacity(lines.len());
    let mut sum = 0_i64;
    for (i, line) in lines.iter().enumerate() {
        if !seen.insert(&line.line_id) {
            return Err(Refusal::new(Code::DuplicateLine, format!("lines[{i}].line_id: {} comes twice", line.line_id)));
        }
        let subtotal = line.subtotal(format_args!("lines[{i}]"))?;
        sum += subtotal.0;
        if sum > MAX_ORDER_MINOR {
            return Err(Refusal::new(
                Code::AmountTooLarge,
                format!("lines: together worth more than {MAX_ORDER_MINOR}"),
            )
            .with_max(MAX_ORDER_MINOR));
        }
        subtotals.push(subtotal);
    }
    Ok(subtotals)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(quantity: i64, unit: Unit, price: i64) -> Line {
        Line {
            line_id: LineId::new("1").unwrap(),
            sku: Sku::new("a").unwrap(),
            category: None,
            brand: None,
            tags: vec![],
            quantity,
            unit,
            unit_price_minor: Some(price),
            line_total_minor: None,
            min_price_minor: None,
        }
    }

    #[test]
    fn grams_round_half_up() {
        assert_eq!(line(500, Unit::Gram, 1001).subtotal("l").unwrap().0, 501, "500.5");
        assert_eq!(line(499, Unit::Gram, 1001).subtotal("l").unwrap().0, 499, "499.499");
        assert_eq!(line(3, Unit::Piece, 1001).subtotal("l").unwrap().0, 3003);
    }

    #[test]
    fn impossible_lines_name_the_field() {
        assert!(line(0, Unit::Piece, 1).subtotal("lines[0]").unwrap_err().detail.starts_with("lines[0].quantity"));
        assert!(line(-1, Unit::Piece, 1).subtotal("l").is_err());
        assert_eq!(
            line(MAX_QUANTITY, Unit::Piece, MAX_ORDER_MINOR).subtotal("l").unwrap_err().code,
            Code::AmountTooLarge
        );
        let mut both = line(1, Unit::Piece, 1);
        both.line_total_minor = Some(1);
        assert_eq!(both.subtotal("l").unwrap_err().code, Code::InvalidField);
    }
}
