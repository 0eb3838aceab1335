//! What must hold for every cart and every catalogue.

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
};

use adal_domain::{
    amounts::mul_div_floor,
    catalogue::banner::{Viewer, is_open_to},
    checkout::restricted,
    offers::{Condition, OfferKind, Offered, Reason, Repriced, reprice},
};
use proptest::prelude::*;
use serde_json::json;

use crate::{
    generate::cases,
    plain::{self, Given, Outcome, limits},
    say::{Case, almaty, id, offer},
};

/// An answer by line_id, in which the order of the request's lines does not show.
fn by_id(case: &Case, offered: &Offered) -> Outcome {
    let line = |place: usize| case.cart.lines[place].line_id.to_string();
    let applied = offered.applied.iter().map(|a| Given {
        offer: Some((a.offer_id.clone(), a.kind)),
        code: a.code.clone(),
        shares: a.shares.iter().map(|(place, minor)| (line(*place), *minor)).collect(),
        delivery: a.delivery_minor,
        bonus: a.bonus_points,
        extra: i64::from(a.extra_permyriad),
        multiplied: a.multiplied.iter().map(|place| line(*place)).collect(),
        points: 0,
    });
    Outcome {
        discounts: offered.discounts.iter().enumerate().map(|(i, d)| (line(i), *d)).filter(|(_, d)| *d > 0).collect(),
        delivery: offered.delivery_minor,
        applied: applied.collect(),
        rejected: offered.rejected.iter().map(|r| (r.offer.clone(), r.code.clone(), r.reason)).collect(),
    }
}

fn without_points(mut outcome: Outcome) -> Outcome {
    outcome.applied.iter_mut().for_each(|given| given.points = 0);
    outcome
}

fn agree(case: &Case) -> Result<(), TestCaseError> {
    let found = by_id(case, &case.run_with(&limits));
    prop_assert_eq!(found, without_points(plain::evaluate(case)));
    Ok(())
}

/// How many cases each property tries, unless `PROPTEST_CASES` says otherwise.
fn some(cases: u32) -> ProptestConfig {
    match std::env::var_os("PROPTEST_CASES") {
        Some(_) => ProptestConfig::default(),
        None => ProptestConfig::with_cases(cases),
    }
}

proptest! {
    #![proptest_config(some(1500))]

    #[test]
    fn the_engine_says_what_the_plain_one_says(case in cases(8, 7, 8)) {
        agree(&case)?;
    }

    #[test]
    fn one_offer_on_many_pieces_is_what_counting_each_gives(case in cases(6, 400, 2)) {
        agree(&case)?;
    }

    #[test]
    fn no_line_goes_below_its_floor_and_all_sums_agree(case in cases(8, 7, 8)) {
        let asked = RefCell::new(Vec::new());
        let offered = case.run_with(&|asking| {
            asked.borrow_mut().push((asking.offer_id.clone(), asking.kind, asking.discount_minor));
            Ok(())
        });
        let (subtotals, out) = (case.subtotals(), restricted(&case.cart, &case.policy));
        let mut open_minor = 0;
        for (i, line) in case.cart.lines.iter().enumerate() {
            let (discount, subtotal) = (offered.discounts[i], subtotals[i]);
            let floor = match line.unit {
                adal_domain::line::Unit::Piece => line.min_price_minor.unwrap_or(0) * line.quantity,
                adal_domain::line::Unit::Gram => (line.min_price_minor.unwrap_or(0) * line.quantity + 500) / 1000,
            };
            prop_assert!(discount >= 0 && (discount == 0 || subtotal - discount >= floor), "{}", line.line_id);
            if out.contains(&line.line_id) {
                prop_assert_eq!(discount, 0, "{} is restricted", line.line_id);
            } else {
                open_minor += subtotal;
            }
        }
        let most = mul_div_floor(open_minor, i64::from(case.policy.checkout.max_discount_permyriad), 10_000);
        prop_assert!(offered.discount_minor <= most, "the order's cap");
        prop_assert_eq!(offered.discounts.iter().sum::<i64>(), offered.discount_minor);
        let mut by_line = vec![0; case.cart.lines.len()];
        let mut delivery_minor = case.cart.delivery_minor;
        for applied in &offered.applied {
            let shares: i64 = applied.shares.iter().map(|(_, minor)| minor).sum();
            prop_assert_eq!(shares + applied.delivery_minor, applied.discount_minor);
            prop_assert!(applied.discount_minor > 0 || applied.bonus_points > 0 || applied.extra_permyriad > 0);
            prop_assert!(applied.shares.iter().all(|(_, minor)| *minor > 0));
            applied.shares.iter().for_each(|(line, minor)| by_line[*line] += minor);
            delivery_minor -= applied.delivery_minor;
            let use_of = (applied.offer_id.clone(), applied.kind, applied.discount_minor);
            prop_assert!(asked.borrow().contains(&use_of), "its limits were asked with what it gives");
        }
        prop_assert_eq!(&by_line, &offered.discounts);
        prop_assert_eq!((delivery_minor, true), (offered.delivery_minor, delivery_minor >= 0));
    }

    #[test]
    fn the_order_of_the_request_makes_no_difference(
        (case, lines, codes, offers) in cases(8, 7, 8).prop_flat_map(|case| {
            let shuffled = (
                Just(case.cart.lines.clone()).prop_shuffle(),
                Just(case.codes.clone()).prop_shuffle(),
                Just(case.offers.clone()).prop_shuffle(),
            );
            (Just(std::rc::Rc::new(case)), shuffled.0, shuffled.1, shuffled.2)
        })
    ) {
        let mut other = Case::new(offers, case.cart.clone());
        other.cart.lines = lines;
        (other.codes, other.shopper, other.policy) = (codes, case.shopper.clone(), case.policy.clone());
        for line in &mut other.cart.lines {
            line.tags.reverse();
        }
        prop_assert_eq!(by_id(&case, &case.run_with(&limits)), by_id(&other, &other.run_with(&limits)));
    }

    #[test]
    fn offers_that_do_not_apply_change_nothing(mut case in cases(8, 7, 8), priority in -2_i64..4) {
        case.explain = false;
        let before = case.run_with(&limits);
        let percent = json!({"type": "percent", "permyriad": 5000});
        let stacking = json!({"priority": priority, "group": "g"});
        let alone = json!({"priority": priority, "exclusive": true});
        let misses = [
            json!({"discount": percent, "stacking": stacking, "selector": {"include": [{"skus": ["none"]}]}}),
            json!({"discount": percent, "stacking": alone, "selector": {"exclude": [{}]}}),
            json!({"discount": percent, "stacking": stacking, "conditions": {"min_subtotal_minor": 99_999_999}}),
            json!({"discount": percent, "stacking": alone, "conditions": {"segments": ["nobody"]}}),
            json!({"discount": percent, "stacking": stacking, "limits": {"total": 13}}),
            json!({"discount": percent, "stacking": stacking, "codes": ["NEVER TYPED"]}),
            json!({"discount": {"type": "free_item", "sku": "none", "quantity": 1}, "stacking": stacking}),
        ];
        case.offers.extend(misses.into_iter().enumerate().map(|(i, miss)| offer(&format!("miss{i}"), miss)));
        prop_assert_eq!(&case.run_with(&limits), &before);
        // A shop's other campaigns, of products that this cart has none of.
        case.offers.extend((0..150).map(|i| {
            let selection = match i % 3 {
                0 => json!({"skus": [format!("other{i}"), "another"]}),
                1 => json!({"brands": ["other"], "min_unit_price_minor": 1}),
                _ => json!({"categories": ["garden"], "tags": ["sale"]}),
            };
            offer(&format!("far{i}"), json!({"discount": percent, "selector": {"include": [selection]}}))
        }));
        prop_assert_eq!(&case.run_with(&limits), &before);
        case.explain = true;
        let explained = case.run_with(&limits);
        prop_assert_eq!((&explained.discounts, &explained.applied), (&before.discounts, &before.applied));
        let told: BTreeSet<_> = explained.rejected.iter().filter_map(|r| r.offer.clone()).collect();
        let all: BTreeSet<_> = case.offers.iter().map(|(id, kind, _)| (id.clone(), *kind)).collect();
        let applied = explained.applied.iter().map(|a| (a.offer_id.clone(), a.kind));
        prop_assert_eq!(told.into_iter().chain(applied).collect::<BTreeSet<_>>(), all, "every offer says why");
    }

    #[test]
    fn what_was_held_is_repriced_to_the_quote(mut case in cases(8, 7, 8)) {
        let quote = case.run_with(&limits);
        let whole = repriced(&case, &quote);
        prop_assert_eq!((&whole.discounts, &whole.applied), (&quote.discounts, &quote.applied));
        prop_assert_eq!((whole.delivery_minor, whole.rejected.len()), (quote.delivery_minor, 0));
        // Of a part of it the same offers, and no others, make no line cheaper than its floor.
        case.cart.lines.truncate(1);
        case.cart.lines[0].quantity = 1;
        let part = repriced(&case, &quote);
        let of = |o: &Offered| o.applied.iter().map(|a| (a.offer_id.clone(), a.kind)).collect::<Vec<_>>();
        let all: Vec<(_, OfferKind)> = of(&quote);
        prop_assert!(of(&part).iter().all(|offer| all.contains(offer)));
        prop_assert!(part.discount_minor <= case.subtotals()[0]);
    }

    #[test]
    fn the_bonus_is_what_all_multipliers_make_together(case in cases(8, 7, 8), rate in 0_u32..1000) {
        let offered = case.run();
        let money: Vec<i64> = case.subtotals().iter().zip(&offered.discounts).map(|(s, d)| s - d).collect();
        let mut extra: BTreeMap<usize, i128> = BTreeMap::new();
        for applied in &offered.applied {
            applied.multiplied.iter().for_each(|line| *extra.entry(*line).or_default() += i128::from(applied.extra_permyriad));
        }
        let points = |with: bool| -> i128 {
            let weighed = money.iter().enumerate().map(|(line, minor)| {
                let extra = if with { extra.get(&line).copied().unwrap_or(0) } else { 0 };
                i128::from(*minor) * (10_000 + extra)
            });
            weighed.sum::<i128>() * i128::from(rate) / (10_000 * 10_000 * 100)
        };
        let outright: i64 = offered.applied.iter().map(|a| a.bonus_points).sum();
        let bonus = offered.bonus(rate, &money);
        prop_assert_eq!(i128::from(bonus.points - outright), points(true) - points(false));
        prop_assert_eq!(bonus.by_offer.iter().sum::<i64>(), bonus.points);
    }
}

/// Whether the engine lets an offer come in as far as no line, code or limit is looked at; `None`: that is not told.
fn comes_in(case: &Case, offered: &Offered, place: usize) -> Option<bool> {
    let (id, kind, _) = &case.offers[place];
    let is_it = |other: &Option<(_, _)>| other.as_ref() == Some(&(id.clone(), *kind));
    if offered.applied.iter().any(|applied| applied.offer_id == *id && applied.kind == *kind) {
        return Some(true);
    }
    let reason = offered.rejected.iter().find(|rejected| is_it(&rejected.offer))?.reason;
    match reason {
        Reason::CodeMissing | Reason::CodeDuplicate | Reason::CodeUsed | Reason::CodeUnknown => None,
        Reason::FeatureDisabled | Reason::Draft | Reason::Ended | Reason::NotStarted => Some(false),
        Reason::ConditionNotMet(Condition::PaymentMethods | Condition::DeliveryMethods) => None,
        Reason::ConditionNotMet(
            Condition::MinSubtotal | Condition::MaxSubtotal | Condition::MinQuantity | Condition::MinDistinct,
        ) => Some(true),
        Reason::ConditionNotMet(_) => Some(false),
        _ => Some(true),
    }
}

proptest! {
    #![proptest_config(some(1000))]

    /// A banner's offer is looked at without a cart: by the same rules as with one.
    #[test]
    fn a_banner_shows_an_offer_to_whom_the_engine_lets_it_come_in(case in cases(8, 6, 8)) {
        let mut seen = std::collections::HashSet::new();
        let mut case = case;
        case.offers.retain(|(id, kind, _)| seen.insert((id.clone(), *kind)));
        case.explain = true;
        let offered = case.run();
        let (day, minute) = almaty().clock(case.now);
        let viewer = Viewer {
            shopper: &case.shopper,
            channel: Some(case.cart.channel),
            shop: Some(&case.cart.shop_id),
            category: None,
            clock: (day.weekday(), minute),
        };
        for (place, (id, kind, offer)) in case.offers.iter().enumerate() {
            if let Some(comes_in) = comes_in(&case, &offered, place) {
                prop_assert_eq!(is_open_to(*kind, offer, &viewer, case.now), comes_in, "{}", id);
            }
        }
    }
}

fn repriced(case: &Case, quote: &Offered) -> Offered {
    let reserved = crate::say::reserved(quote);
    reprice(&Repriced {
        cart: &case.cart,
        subtotals: &case.subtotals(),
        reserved: &reserved,
        shopper: &case.shopper,
        now: case.now,
        calendar: &almaty(),
        restricted: &restricted(&case.cart, &case.policy),
        max_discount_permyriad: case.policy.checkout.max_discount_permyriad,
    })
}

#[test]
fn an_id_may_be_a_promos_and_a_campaigns() {
    let lines = json!([{"line_id": "1", "sku": "a", "quantity": 1, "unit": "piece", "unit_price_minor": 1000}]);
    let promo = offer("x", json!({"discount": {"type": "amount", "minor": 100}, "codes": ["X"]}));
    let campaign = offer("x", json!({"discount": {"type": "amount", "minor": 10}}));
    let mut case = Case::new(vec![promo, campaign], crate::say::cart(lines));
    case.codes = crate::say::typed(&["x"]);
    let offered = case.run();
    assert_eq!(offered.discounts, [110]);
    assert!(offered.applied.iter().all(|applied| applied.offer_id == id("x")));
    // Of two in a group that give the same, the promo: whatever their priorities.
    let same = json!({"type": "amount", "minor": 100});
    case.offers = vec![
        offer("x", json!({"discount": same, "stacking": {"group": "g"}, "codes": ["X"]})),
        offer("x", json!({"discount": same, "stacking": {"group": "g", "priority": 1}})),
    ];
    assert_eq!(case.run().applied[0].kind, OfferKind::Promo);
}
