//! What an offer's document may say. It is checked as a whole: each value against its bounds, then the fields against
//! each other; where two contradict, both are named. What is allowed but can hardly be meant is a warning.

use crate::{
    amounts::MAX_ORDER_MINOR,
    errors::{Code, Refusal},
    offers::{
        code::NormalCode,
        document::{Conditions, Discount, Limits, Name, Offer, OfferKind, Per, Selection, Selector, Target},
    },
};

/// Shared codes of an offer.
pub const MAX_CODES: usize = 1000;
/// Products that one offer may list, in all its selectors.
pub const MAX_SKUS: usize = 50_000;
/// Values of any other list.
pub const MAX_LIST: usize = 1000;
/// Selections of a selector's `include` or `exclude`.
pub const MAX_SELECTIONS: usize = 100;
/// Weekly windows.
pub const MAX_WINDOWS: usize = 50;
/// Bytes of a name, per language.
pub const MAX_NAME_BYTES: usize = 500;
/// Pieces, times and uses that a document may name.
pub const MAX_COUNT: i64 = 1_000_000_000;
/// Points that one use may give.
pub const MAX_BONUS_POINTS: i64 = 1_000_000;
/// The highest points multiplier, permyriad: a hundredfold.
pub const MAX_MULTIPLIER: u32 = 1_000_000;
/// Priorities lie between this and its negative.
pub const MAX_PRIORITY: i32 = 1_000_000;
/// The largest budget, minor units.
pub const MAX_BUDGET_MINOR: i64 = 100_000 * MAX_ORDER_MINOR;

type Checked = Result<(), Refusal>;

fn fail(detail: impl Into<String>) -> Checked {
    Err(Refusal::new(Code::OfferInvalid, detail))
}

/// Whether `value`, where it is given, lies within `least` and `most`.
fn within(field: &str, value: Option<i64>, least: i64, most: i64) -> Checked {
    match value {
        Some(value) if !(least..=most).contains(&value) => fail(format!("{field}: must be {least} to {most}")),
        _ => Ok(()),
    }
}

fn at_most<T>(field: &str, list: &[T], most: usize) -> Checked {
    if list.len() > most { fail(format!("{field}: {} given, at most {most}", list.len())) } else { Ok(()) }
}

/// Checks an offer that is to live among `kind`.
///
/// # Errors
/// What [`validate`] answers; `offer_invalid` where a campaign has codes.
pub fn validate_as(kind: OfferKind, offer: &Offer) -> Checked {
    if kind == OfferKind::Campaign && !offer.codes.is_empty() {
        return fail("codes: a campaign applies without a code; an offer with codes is a promo");
    }
    validate(offer)
}

/// Checks the document as a whole.
///
/// # Errors
/// `offer_invalid`, naming the field (both, where two contradict each other) and the rule.
pub fn validate(offer: &Offer) -> Checked {
    name(&offer.name)?;
    codes(&offer.codes)?;
    discount(&offer.discount)?;
    target(offer)?;
    selectors(offer)?;
    conditions(&offer.conditions)?;
    limits(&offer.limits)?;
    if !(-MAX_PRIORITY..=MAX_PRIORITY).contains(&offer.stacking.priority) {
        return fail(format!("stacking.priority: must be -{MAX_PRIORITY} to {MAX_PRIORITY}"));
    }
    if let (Some(starts), Some(ends)) = (offer.starts_at, offer.ends_at)
        && ends <= starts
    {
        return fail(format!("starts_at, ends_at: it ends ({ends}) before it starts ({starts})"));
    }
    Ok(())
}

fn name(name: &Name) -> Checked {
    let texts = match name {
        Name::Text(text) => vec![("name", text)],
        Name::Languages(l) => vec![("name.ru", &l.ru), ("name.kk", &l.kk), ("name.en", &l.en)],
    };
    for (field, text) in texts {
        if text.trim().is_empty() || text.len() > MAX_NAME_BYTES || text.chars().any(char::is_control) {
            return fail(format!("{field}: must be 1-{MAX_NAME_BYTES} bytes without control characters"));
        }
    }
    Ok(())
}

fn codes(codes: &[String]) -> Checked {
    at_most("codes", codes, MAX_CODES)?;
    let mut seen = std::collections::HashMap::new();
    for (i, code) in codes.iter().enumerate() {
        let Some(normal) = NormalCode::new(code) else {
            return fail(format!("codes[{i}]: must be 1-64 bytes, not of spaces and dashes alone"));
        };
        if let Some(before) = seen.insert(normal, i) {
            return fail(format!(
                "codes[{before}], codes[{i}]: cannot be told apart once case and look-alikes are equal"
            ));
        }
    }
    Ok(())
}

fn discount(discount: &Discount) -> Checked {
    let at = |field: &str| format!("discount.{field}");
    let share = |permyriad: u32| within(&at("permyriad"), Some(i64::from(permyriad)), 1, 10_000);
    let money = |value| within(&at("minor"), Some(value), 1, MAX_ORDER_MINOR);
    match discount {
        Discount::Percent { permyriad, max_minor, .. } => {
            share(*permyriad)?;
            within(&at("max_minor"), *max_minor, 1, MAX_ORDER_MINOR)?;
        }
        Discount::Amount { minor, per, group_of, .. } => {
            money(*minor)?;
            if *per == Per::Line && group_of.is_some() {
                return fail("discount.per, discount.group_of: groups may run across lines, an amount per line cannot");
            }
        }
        // A price of 0 is a gift, and said so by `percent` 10000 or `free_item`: here it is more likely a field forgotten.
        Discount::FixedPrice { minor, .. } => money(*minor)?,
        Discount::BuyXGetY { buy, get, permyriad, max_times, .. } => {
            within(&at("buy"), Some(*buy), 1, MAX_COUNT)?;
            within(&at("get"), Some(*get), 1, MAX_COUNT)?;
            within(&at("max_times"), *max_times, 1, MAX_COUNT)?;
            share(*permyriad)?;
        }
        Discount::BundlePrice { quantity, minor, max_times } => {
            within(&at("quantity"), Some(*quantity), 1, MAX_COUNT)?;
            within(&at("max_times"), *max_times, 1, MAX_COUNT)?;
            money(*minor)?;
        }
        Discount::FreeItem { quantity, .. } => within(&at("quantity"), Some(*quantity), 1, MAX_COUNT)?,
        Discount::FreeDelivery {} => {}
        Discount::PointsMultiplier { permyriad } => {
            within(&at("permyriad"), Some(i64::from(*permyriad)), 10_001, i64::from(MAX_MULTIPLIER))?;
        }
        Discount::BonusPoints { points } => within(&at("points"), Some(*points), 1, MAX_BONUS_POINTS)?,
    }
    pieces(discount)
}

fn pieces(discount: &Discount) -> Checked {
    let pieces = discount.pieces();
    within("discount.max_pieces", pieces.max, 1, MAX_COUNT)?;
    within("discount.max_pieces_per_line", pieces.max_per_line, 1, MAX_COUNT)?;
    within("discount.group_of", pieces.group_of, 2, MAX_COUNT)?;
    match (pieces.max, pieces.group_of) {
        (Some(most), Some(group)) if most < group => {
            fail("discount.max_pieces, discount.group_of: no group can be filled by so few pieces")
        }
        _ => Ok(()),
    }
}

/// Target and discount must go together.
fn target(offer: &Offer) -> Checked {
    let (discount, word) = (&offer.discount, offer.discount.as_str());
    match offer.target {
        Target::Lines if matches!(discount, Discount::FreeDelivery {}) => {
            fail("target, discount.type: free_delivery lowers the delivery, not lines")
        }
        Target::Delivery => match discount {
            Discount::Percent { .. } | Discount::Amount { .. } | Discount::FixedPrice { .. } => {
                if let Discount::Amount { per, .. } = discount
                    && *per != Per::Selection
                {
                    return fail("target, discount.per: the delivery has no pieces or lines");
                }
                if !discount.pieces().is_all() {
                    return fail(
                        "target, discount: max_pieces, max_pieces_per_line and group_of count pieces, the delivery has none",
                    );
                }
                Ok(())
            }
            Discount::FreeDelivery {} => Ok(()),
            _ => fail(format!("target, discount.type: {word} cannot lower the delivery")),
        },
        _ => Ok(()),
    }
}

/// The offer's selectors by their paths.
fn all_selectors(offer: &Offer) -> Vec<(&'static str, &Selector)> {
    let mut all = vec![("selector", &offer.selector)];
    if let Some(selector) = &offer.conditions.selector {
        all.push(("conditions.selector", selector));
    }
    if let Discount::BuyXGetY { buy_selector: Some(selector), .. } = &offer.discount {
        all.push(("discount.buy_selector", selector));
    }
    all
}

fn selectors(offer: &Offer) -> Checked {
    let mut skus = 0;
    for (path, selector) in all_selectors(offer) {
        for (side, selections) in [("include", &selector.include), ("exclude", &selector.exclude)] {
            at_most(&format!("{path}.{side}"), selections, MAX_SELECTIONS)?;
            for (i, selection) in selections.iter().enumerate() {
                self::selection(&format!("{path}.{side}[{i}]"), selection)?;
                skus += selection.skus.as_ref().map_or(0, Vec::len);
            }
        }
    }
    if skus > MAX_SKUS {
        return fail(format!("selector: {skus} skus in all, at most {MAX_SKUS}; a tag or category selects more"));
    }
    Ok(())
}

fn selection(path: &str, selection: &Selection) -> Checked {
    let Selection { categories, brands, shops, tags, .. } = selection;
    let lists = [("categories", categories), ("brands", brands), ("tags", tags)];
    for (field, list) in lists {
        at_most(&format!("{path}.{field}"), list.as_deref().unwrap_or_default(), MAX_LIST)?;
    }
    at_most(&format!("{path}.shops"), shops.as_deref().unwrap_or_default(), MAX_LIST)?;
    let (least, most) = (selection.min_unit_price_minor, selection.max_unit_price_minor);
    within(&format!("{path}.min_unit_price_minor"), least, 0, MAX_ORDER_MINOR)?;
    within(&format!("{path}.max_unit_price_minor"), most, 0, MAX_ORDER_MINOR)?;
    ordered(path, "min_unit_price_minor", least, "max_unit_price_minor", most)
}

fn ordered(path: &str, low: &str, least: Option<i64>, high: &str, most: Option<i64>) -> Checked {
    match (least, most) {
        (Some(least), Some(most)) if least > most => {
            fail(format!("{path}.{low}, {path}.{high}: {least} to {most} leaves nothing"))
        }
        _ => Ok(()),
    }
}

fn conditions(c: &Conditions) -> Checked {
    let at = |field: &str| format!("conditions.{field}");
    within(&at("min_subtotal_minor"), c.min_subtotal_minor, 0, MAX_ORDER_MINOR)?;
    within(&at("max_subtotal_minor"), c.max_subtotal_minor, 0, MAX_ORDER_MINOR)?;
    ordered("conditions", "min_subtotal_minor", c.min_subtotal_minor, "max_subtotal_minor", c.max_subtotal_minor)?;
    within(&at("min_quantity"), c.min_quantity, 1, MAX_COUNT)?;
    within(&at("min_distinct"), c.min_distinct, 1, MAX_COUNT)?;
    within(&at("min_trust"), c.min_trust, 0, 100)?;
    within(&at("nth_order"), c.nth_order, 1, MAX_COUNT)?;
    within(&at("account_age_days"), c.account_age_days, 0, 100_000)?;
    if c.first_order && c.nth_order.is_some_and(|nth| nth != 1) {
        return fail("conditions.first_order, conditions.nth_order: the first order is not a later one");
    }
    for (field, length) in [
        ("shops", c.shops.as_ref().map_or(0, Vec::len)),
        ("tiers", c.tiers.as_ref().map_or(0, Vec::len)),
        ("segments", c.segments.as_ref().map_or(0, Vec::len)),
        ("channels", c.channels.as_ref().map_or(0, Vec::len)),
        ("payment_methods", c.payment_methods.as_ref().map_or(0, Vec::len)),
        ("delivery_methods", c.delivery_methods.as_ref().map_or(0, Vec::len)),
    ] {
        if length > MAX_LIST {
            return fail(format!("{}: {length} given, at most {MAX_LIST}", at(field)));
        }
    }
    let windows = c.windows.as_deref().unwrap_or_default();
    at_most(&at("windows"), windows, MAX_WINDOWS)?;
    for (i, window) in windows.iter().enumerate() {
        if window.days.as_ref().is_some_and(|days| days.is_empty() || days.len() > 7) {
            return fail(format!("conditions.windows[{i}].days: one to seven days; left out: every day"));
        }
        if window.to <= window.from {
            return fail(format!(
                "conditions.windows[{i}].from, conditions.windows[{i}].to: it ends ({}) before it starts ({}); a window \
                 over midnight is two",
                window.to, window.from
            ));
        }
    }
    Ok(())
}

fn limits(l: &Limits) -> Checked {
    within("limits.total", l.total, 1, MAX_COUNT)?;
    within("limits.per_customer", l.per_customer, 1, MAX_COUNT)?;
    within("limits.per_customer_in.uses", l.per_customer_in.map(|limit| limit.uses), 1, MAX_COUNT)?;
    within("limits.per_ip_in.uses", l.per_ip_in.map(|limit| limit.uses), 1, MAX_COUNT)?;
    within("limits.budget_minor", l.budget_minor, 1, MAX_BUDGET_MINOR)?;
    if l.budget_group.is_some() && l.budget_minor.is_none() {
        return fail("limits.budget_group, limits.budget_minor: a group shares a budget, which must be named");
    }
    Ok(())
}

/// What a document says that can hardly be meant: selectors and lists that match nothing, limits that never bind.
#[must_use]
pub fn warnings(offer: &Offer) -> Vec<String> {
    let mut warnings = Vec::new();
    for (path, selector) in all_selectors(offer) {
        warnings.extend(matches_nothing(selector).map(|why| format!("{path}: matches nothing: {why}")));
        for (side, selections) in [("include", &selector.include), ("exclude", &selector.exclude)] {
            for (i, selection) in selections.iter().enumerate() {
                if let Some(dimension) = empty_dimension(selection) {
                    warnings.push(format!(
                        "{path}.{side}[{i}].{dimension}: is empty, so that the selection matches nothing"
                    ));
                }
            }
        }
    }
    let c = &offer.conditions;
    for (field, is_empty) in [
        ("shops", c.shops.as_ref().is_some_and(Vec::is_empty)),
        ("tiers", c.tiers.as_ref().is_some_and(Vec::is_empty)),
        ("segments", c.segments.as_ref().is_some_and(Vec::is_empty)),
        ("channels", c.channels.as_ref().is_some_and(Vec::is_empty)),
        ("payment_methods", c.payment_methods.as_ref().is_some_and(Vec::is_empty)),
        ("delivery_methods", c.delivery_methods.as_ref().is_some_and(Vec::is_empty)),
        ("windows", c.windows.as_ref().is_some_and(Vec::is_empty)),
    ] {
        if is_empty {
            warnings.push(format!("conditions.{field}: is empty, so that the offer never applies"));
        }
    }
    if offer.stacking.exclusive && offer.stacking.group.is_some() {
        warnings
            .push("stacking.exclusive, stacking.group: an exclusive offer stands alone; its group is not used".into());
    }
    if let (Some(ever), Some(within)) = (offer.limits.per_customer, offer.limits.per_customer_in)
        && within.uses >= ever
    {
        warnings.push("limits.per_customer, limits.per_customer_in: the period's limit never binds".into());
    }
    warnings
}

/// The first dimension that a selection names without a value.
fn empty_dimension(selection: &Selection) -> Option<&'static str> {
    let Selection { skus, categories, brands, shops, tags, .. } = selection;
    [
        ("skus", skus.as_ref().is_some_and(Vec::is_empty)),
        ("categories", categories.as_ref().is_some_and(Vec::is_empty)),
        ("brands", brands.as_ref().is_some_and(Vec::is_empty)),
        ("shops", shops.as_ref().is_some_and(Vec::is_empty)),
        ("tags", tags.as_ref().is_some_and(Vec::is_empty)),
    ]
    .into_iter()
    .find_map(|(field, is_empty)| is_empty.then_some(field))
}

/// Why a selector matches no line whatever the cart, as far as that can be told from it alone.
fn matches_nothing(selector: &Selector) -> Option<&'static str> {
    if !selector.include.is_empty() && selector.include.iter().all(|selection| empty_dimension(selection).is_some()) {
        return Some("every object of include names an empty list");
    }
    if selector.exclude.contains(&Selection::default()) {
        return Some("an object without dimensions in exclude excludes every line");
    }
    if !selector.include.is_empty() && selector.include.iter().all(|s| selector.exclude.contains(s)) {
        return Some("exclude takes away all that include selects");
    }
    None
}
