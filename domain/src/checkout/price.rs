//! Pricing: what offers took off, what points pay, what is left to pay and what it will earn. Pure: the same inputs give
//! the same quote, bit for bit.

use sha2::Digest;

use super::{AppliedOffer, Cart, LineOffer, Quote, QuoteLine, RejectedOffer, Standing, check_cart};
use crate::{
    amounts::{MINOR_PER_POINT, mul_div_floor, share_out},
    errors::{Code, Refusal},
    hex,
    ids::{LineId, OfferId},
    line::Line,
    offers::{Applied, Asked, CompiledOffers, Offered, Rejected, Shopper, TypedCode, Uses, document::Locale, evaluate},
    policy::Policy,
    time::{Calendar, Timestamp},
};

/// What of a customer goes into a quote.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Facts {
    /// What decides about points.
    pub standing: Standing,
    /// What decides about offers.
    pub shopper: Shopper,
}

impl Facts {
    /// A hash of all of them: whoever decides later can tell whether anything has changed.
    #[must_use]
    pub fn print(&self) -> String {
        hash(self)
    }
}

/// What a quote is made of.
#[derive(Clone, Copy)]
pub struct Pricing<'a> {
    /// The cart.
    pub cart: &'a Cart,
    /// What of the customer counts.
    pub facts: &'a Facts,
    /// The policy in force.
    pub policy: &'a Policy,
    /// The shop's calendar.
    pub calendar: &'a Calendar,
    /// The catalogue's revision.
    pub revision: u64,
    /// Its offers.
    pub offers: &'a CompiledOffers,
    /// The cart's codes, unique ones with their offers.
    pub codes: &'a [TypedCode],
    /// Whether an offer's limits allow a use.
    pub uses: &'a Uses<'a>,
    /// The moment.
    pub now: Timestamp,
    /// Whether all offers are to say why they do not count.
    pub explain: bool,
}

/// A quote, and the offers that made it.
#[derive(Debug, Clone)]
pub struct Priced {
    /// For the caller.
    pub quote: Quote,
    /// For whoever holds it: the offers that count, in the order in which they were applied.
    pub applied: Vec<Applied>,
}

/// Prices a cart. Pure: same inputs, same quote.
///
/// # Errors
/// What [`check_cart`] answers; `points_insufficient`, `points_over_share`, `burn_limit`, `burn_not_allowed` or the
/// standing's reason, where the points asked for cannot be burned; the most that can stands in `max`.
pub fn quote(asked: &Pricing<'_>) -> Result<Priced, Refusal> {
    let Pricing { cart, facts, policy, revision, now, .. } = *asked;
    let subtotals = check_cart(cart, policy)?;
    let offered = evaluate(&Asked {
        set: asked.offers,
        cart,
        subtotals: &subtotals,
        shopper: &facts.shopper,
        codes: asked.codes,
        uses: asked.uses,
        now,
        calendar: asked.calendar,
        policy,
        explain: asked.explain,
    });
    let lines = Lines::new(&cart.lines, &subtotals, &offered, |line| line.is_restricted(&policy.restricted));
    let points = burnable(cart.points_to_burn, lines.eligible(), &facts.standing)?;
    let mut quote = price(&lines, &offered, points, facts.standing.rate_permyriad);
    quote.catalogue_revision = revision;
    quote.rejected = offered.rejected.iter().map(rejected).collect();
    let applied = offered.applied.iter().map(|applied| (&applied.offer_id, applied.discount_minor));
    quote.quote_id = quote_id(cart, facts, applied, revision, now);
    Ok(Priced { quote, applied: offered.applied })
}

/// A cart's lines while they are priced.
pub(super) struct Lines<'a> {
    lines: &'a [Line],
    subtotals: &'a [i64],
    discounts: &'a [i64],
    restricted: Vec<bool>,
}

impl<'a> Lines<'a> {
    pub(super) fn new(
        lines: &'a [Line],
        subtotals: &'a [i64],
        offered: &'a Offered,
        is_restricted: impl Fn(&Line) -> bool,
    ) -> Self {
        let restricted = lines.iter().map(is_restricted).collect();
        Self { lines, subtotals, discounts: &offered.discounts, restricted }
    }

    /// What is left of each line after discounts.
    fn left(&self) -> Vec<i64> {
        self.subtotals.iter().zip(self.discounts).map(|(subtotal, discount)| subtotal - discount).collect()
    }

    /// What is left of each line that points may pay: 0 where it is restricted.
    fn payable(&self) -> Vec<i64> {
        self.unrestricted(self.left())
    }

    fn unrestricted(&self, minor: Vec<i64>) -> Vec<i64> {
        minor.into_iter().zip(&self.restricted).map(|(minor, restricted)| if *restricted { 0 } else { minor }).collect()
    }

    /// The sum that points may pay a share of: subtotal less discounts.
    pub(super) fn eligible(&self) -> i64 {
        self.payable().iter().sum()
    }

    /// Shared out by `weights`, ties by line_id; in the lines' own order.
    fn share(&self, minor: i64, weights: &[i64]) -> Vec<i64> {
        let mut order: Vec<usize> = (0..self.lines.len()).collect();
        order.sort_by(|a, b| self.lines[*a].line_id.cmp(&self.lines[*b].line_id));
        let sorted: Vec<i64> = order.iter().map(|i| weights[*i]).collect();
        let mut by_line = vec![0; self.lines.len()];
        for (position, share) in order.into_iter().zip(share_out(minor, &sorted)) {
            by_line[position] = share;
        }
        by_line
    }
}

/// The lines of a cart that are restricted by `policy`.
#[must_use]
pub fn restricted(cart: &Cart, policy: &Policy) -> Vec<LineId> {
    let lines = cart.lines.iter().filter(|line| line.is_restricted(&policy.restricted));
    lines.map(|line| line.line_id.clone()).collect()
}

/// The most points that may pay `eligible_minor` at a share.
#[must_use]
pub fn burn_cap(eligible_minor: i64, share_permyriad: u32) -> i64 {
    mul_div_floor(eligible_minor, i64::from(share_permyriad), 10_000 * MINOR_PER_POINT)
}

pub(super) fn burnable(wanted: i64, eligible_minor: i64, standing: &Standing) -> Result<i64, Refusal> {
    if wanted == 0 {
        return Ok(0);
    }
    if let Some(code) = standing.no_burn {
        return Err(Refusal::new(code, "points_to_burn: no points can be burned here now").with_max(0));
    }
    let cap = burn_cap(eligible_minor, standing.burn_share_permyriad);
    let most = standing.available.min(cap).min(standing.burn_left_today).max(0);
    if wanted > standing.available {
        let detail = format!("points_to_burn: {wanted} asked for, {} available", standing.available);
        return Err(Refusal::new(Code::PointsInsufficient, detail).with_max(most));
    }
    if wanted > cap {
        let detail = format!("points_to_burn: {wanted} asked for, this cart allows {cap}");
        return Err(Refusal::new(Code::PointsOverShare, detail).with_max(most));
    }
    if wanted > standing.burn_left_today {
        let detail = format!("points_to_burn: {wanted} asked for, {} left today", standing.burn_left_today.max(0));
        return Err(Refusal::new(Code::BurnLimit, detail).with_max(most));
    }
    Ok(wanted)
}

/// Prices lines with the offers' discounts and `points` burned.
pub(super) fn price(lines: &Lines<'_>, offered: &Offered, points: i64, rate_permyriad: u32) -> Quote {
    let points_minor = points * MINOR_PER_POINT;
    let by_points = lines.share(points_minor, &lines.payable());
    let subtotal_minor: i64 = lines.subtotals.iter().sum();
    let total_minor = subtotal_minor - offered.discount_minor - points_minor + offered.delivery_minor;
    // The money paid is shared out over all lines by what they cost, as the order's completion does; what falls on
    // restricted ones earns nothing.
    let earning = lines.unrestricted(lines.share(total_minor, &lines.left()));
    let bonus = offered.bonus(rate_permyriad, &earning);
    let by_offer = offered.by_line();
    let quoted = lines.lines.iter().enumerate().map(|(i, line)| QuoteLine {
        line_id: line.line_id.clone(),
        subtotal_minor: lines.subtotals[i],
        discount_minor: offered.discounts[i],
        points_minor: by_points[i],
        total_minor: lines.subtotals[i] - offered.discounts[i] - by_points[i],
        offers: by_offer[i]
            .iter()
            .map(|(position, minor)| LineOffer {
                offer_id: offered.applied[*position].offer_id.as_str().to_owned(),
                discount_minor: *minor,
            })
            .collect(),
    });
    Quote {
        quote_id: String::new(),
        catalogue_revision: 0,
        subtotal_minor,
        discount_minor: offered.discount_minor,
        delivery_minor: offered.delivery_minor,
        points_burned: points,
        points_burned_minor: points_minor,
        total_minor,
        points_to_earn: cashback(earning.iter().sum(), rate_permyriad) + bonus.points,
        lines: quoted.collect(),
        applied: offered.applied.iter().zip(bonus.by_offer).map(|(applied, points)| told(applied, points)).collect(),
        rejected: Vec::new(),
        hold: None,
    }
}

fn told(applied: &Applied, points: i64) -> AppliedOffer {
    AppliedOffer {
        offer_id: applied.offer_id.as_str().to_owned(),
        kind: applied.kind.as_str().to_owned(),
        code: applied.code.clone(),
        discount_minor: applied.discount_minor,
        points: (points != 0).then_some(points),
        funded_by: applied.offer.funded_by.as_str().to_owned(),
        explanation: applied.explanation(Locale::En),
    }
}

fn rejected(rejected: &Rejected) -> RejectedOffer {
    RejectedOffer {
        offer_id: rejected.offer.as_ref().map(|(id, _)| id.to_string()),
        code: rejected.code.clone(),
        reason: rejected.reason.as_str().to_owned(),
        condition: rejected.reason.condition().map(str::to_owned),
    }
}

/// Cashback: floor(rate x money / 100 minor), in points.
#[must_use]
pub fn cashback(money_minor: i64, rate_permyriad: u32) -> i64 {
    mul_div_floor(money_minor, i64::from(rate_permyriad), 10_000 * MINOR_PER_POINT)
}

/// A hash of all inputs. What the offers' limits answered stands in it as what came of them: an offer that ran out is
/// another quote.
pub(super) fn quote_id<'a>(
    cart: &Cart,
    facts: &Facts,
    applied: impl Iterator<Item = (&'a OfferId, i64)>,
    revision: u64,
    now: Timestamp,
) -> String {
    let Cart { shop_id, channel, codes, points_to_burn, payment_method, delivery_method, delivery_minor, lines } = cart;
    // Lines, codes and tags in any order are the same cart.
    let mut by_id: Vec<&Line> = lines.iter().collect();
    by_id.sort_unstable_by(|a, b| a.line_id.cmp(&b.line_id));
    let lines: Vec<_> = by_id.into_iter().map(fields).collect();
    let terms = (shop_id, channel, sorted(codes), points_to_burn, payment_method, delivery_method, delivery_minor);
    hash(&(terms, lines, facts, applied.collect::<Vec<_>>(), revision, now))
}

/// All that a line says, without the names: a cart's lines are most of what is hashed.
fn fields(line: &Line) -> impl serde::Serialize {
    // Each field by its name: one that is added and not hashed would make two carts one quote.
    let Line {
        line_id,
        sku,
        category,
        brand,
        tags,
        quantity,
        unit,
        unit_price_minor,
        line_total_minor,
        min_price_minor,
    } = line;
    let prices = (unit_price_minor, line_total_minor, min_price_minor);
    (line_id, sku, category, brand, sorted(tags), quantity, unit, prices)
}

fn sorted<T: Ord>(items: &[T]) -> Vec<&T> {
    let mut items: Vec<&T> = items.iter().collect();
    items.sort_unstable();
    items
}

fn hash(value: &impl serde::Serialize) -> String {
    let mut bytes = Vec::with_capacity(4096);
    // What cannot be encoded is none of ours: all of it is plain.
    let _ = rmp_serde::encode::write_named(&mut bytes, value);
    hex::encode(&sha2::Sha256::digest(bytes)[..16])
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn id_of(cart: &Value) -> String {
        let standing = Standing {
            customer_id: None,
            rate_permyriad: 0,
            available: 0,
            burn_share_permyriad: 0,
            no_burn: None,
            burn_left_today: 0,
        };
        let facts = Facts { standing, shopper: Shopper::guest() };
        let cart = serde_json::from_value(cart.clone()).unwrap();
        quote_id(&cart, &facts, std::iter::empty(), 1, Timestamp(0))
    }

    #[test]
    fn every_field_of_a_cart_makes_another_quote_and_no_order_does() {
        let line = json!({"line_id": "1", "sku": "a", "category": "c", "brand": "b", "tags": ["t", "u"], "quantity": 1,
                          "unit": "piece", "unit_price_minor": 5, "line_total_minor": 6, "min_price_minor": 7});
        let other = json!({"line_id": "2", "sku": "a", "quantity": 1, "unit": "piece", "unit_price_minor": 5});
        let cart = json!({"shop_id": "s", "channel": "app", "codes": ["X", "Y"], "points_to_burn": 1, "payment_method": "p",
                          "delivery_method": "d", "delivery_minor": 2, "lines": [line, other]});
        let with = |path: &str, value: Value| {
            let mut cart = cart.clone();
            *cart.pointer_mut(path).unwrap() = value;
            id_of(&cart)
        };
        let mut ids = vec![id_of(&cart)];
        for (path, value) in [
            ("/shop_id", json!("z")),
            ("/channel", json!("web")),
            ("/codes", json!(["X"])),
            ("/points_to_burn", json!(9)),
            ("/payment_method", Value::Null),
            ("/delivery_method", Value::Null),
            ("/delivery_minor", json!(9)),
            ("/lines/0/line_id", json!("9")),
            ("/lines/0/sku", json!("z")),
            ("/lines/0/category", Value::Null),
            ("/lines/0/brand", Value::Null),
            // What one field has the other has not.
            ("/lines/0/brand", json!("c")),
            ("/lines/0/tags", json!(["t"])),
            ("/lines/0/quantity", json!(9)),
            ("/lines/0/unit", json!("gram")),
            ("/lines/0/unit_price_minor", Value::Null),
            ("/lines/0/line_total_minor", Value::Null),
            ("/lines/0/min_price_minor", Value::Null),
        ] {
            ids.push(with(path, value));
        }
        let count = ids.len();
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), count);
        for (path, value) in [
            ("/codes", json!(["Y", "X"])),
            ("/lines/0/tags", json!(["u", "t"])),
            ("/lines", json!([cart["lines"][1], cart["lines"][0]])),
        ] {
            assert_eq!(with(path, value), id_of(&cart), "{path}");
        }
    }
}
