//! `docs/reference/offers.md`: every table on it is read, and its examples are run.

use std::collections::BTreeMap;

use adal_domain::{
    checkout::reserve::{Marks, PeriodAddress, period_ends},
    customer::marketing::{Marketing, OfferUses, is_counted},
    entity::{EntityKey, EntityKind},
    ids::ExchangeId,
    offers::{Condition, Limit, Offered, Reason, Use, document::Discount},
    policy::Policy,
    promo::{self, KeyHash, Refusal, Reserve, Scope, is_budget},
    time::Timestamp,
};
use serde_json::{Value, json};

use crate::{
    page::{Table, tables, tenge, whole},
    say::{Case, almaty, cart, monday, offer, typed},
};

const PAGE: &str = include_str!("../../../docs/reference/offers.md");

/// "milk 3 x 350 (category dairy, floor 300)".
fn line(text: &str) -> Value {
    let (text, more) = text.strip_suffix(')').and_then(|t| t.split_once(" (")).unwrap_or((text, ""));
    let (name, rest) = text.trim().split_once(' ').unwrap_or_else(|| panic!("not a line: {text:?}"));
    let mut line = json!({"line_id": name, "sku": name, "unit": "piece", "quantity": 1, "tags": []});
    let price = if let Some((grams, price)) = rest.split_once(" g at ") {
        (line["unit"], line["quantity"]) = (json!("gram"), json!(whole(grams)));
        price
    } else if let Some((pieces, price)) = rest.split_once(" x ") {
        line["quantity"] = json!(whole(pieces));
        price
    } else {
        rest
    };
    line["unit_price_minor"] = json!(tenge(price));
    for word in more.split(", ").filter(|word| !word.is_empty()) {
        match word.split_once(' ').unwrap() {
            ("floor", price) => line["min_price_minor"] = json!(tenge(price)),
            ("tag", tag) => line["tags"].as_array_mut().unwrap().push(json!(tag)),
            (field @ ("category" | "brand" | "sku"), value) => line[field] = json!(value),
            _ => panic!("not a line's word: {word:?}"),
        }
    }
    line
}

/// What was used of an offer: "A used 999" and the like.
type UsedBefore = BTreeMap<(String, &'static str), i64>;

/// "at Mon 15:30" of the week of the page.
fn moment(text: &str) -> Timestamp {
    let (day, clock) = text.split_once(' ').unwrap();
    let days = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"].iter().position(|d| *d == day).unwrap();
    let (hours, minutes) = clock.split_once(':').unwrap();
    let midnight = monday().plus_seconds(-(15 * 60 + 30) * 60);
    midnight.plus_seconds(i64::try_from(days).unwrap() * 86_400 + whole(hours) * 3600 + whole(minutes) * 60)
}

fn case(offers: &str, cart_and_more: &str) -> (Case, UsedBefore) {
    let mut parts = cart_and_more.split("; ");
    let lines: Vec<Value> = parts.next().unwrap().split(" + ").map(line).collect();
    let offers = offers.split("<br>").zip('A'..).map(|(document, name)| {
        let document = serde_json::from_str(document.trim_matches('`')).unwrap_or_else(|e| panic!("{document}: {e}"));
        offer(&name.to_string(), document)
    });
    let mut case = Case::new(offers.collect(), cart(json!(lines)));
    let (mut used, mut codes) = (UsedBefore::new(), Vec::new());
    for part in parts {
        let (word, value) = part.split_once(' ').unwrap();
        let word_of = || serde_json::from_value(json!(value.rsplit(' ').next().unwrap())).unwrap();
        let is_member = ["tier", "trust", "segment", "orders", "under", "member", "rate"].contains(&word);
        if is_member {
            case.shopper.customer_id = Some(serde_json::from_value(json!("c1")).unwrap());
        }
        match word {
            "delivery" => case.cart.delivery_minor = tenge(value),
            "delivered" => case.cart.delivery_method = Some(word_of()),
            "paid" => case.cart.payment_method = Some(word_of()),
            "shop" => case.cart.shop_id = serde_json::from_value(json!(value)).unwrap(),
            "channel" => case.cart.channel = serde_json::from_value(json!(value)).unwrap(),
            "code" => codes.push(value),
            "at" => case.now = moment(value),
            "cap" => case.policy.checkout.max_discount_permyriad = u32::try_from(whole(value)).unwrap(),
            "tier" => case.shopper.tier = Some(serde_json::from_value(json!(value)).unwrap()),
            "trust" => case.shopper.trust = Some(whole(value)),
            "segment" => case.shopper.segments.push(word_of()),
            "orders" => case.shopper.completed_orders = whole(value),
            "under" => case.shopper.live_orders = whole(value.strip_prefix("way ").unwrap()),
            "member" => case.shopper.account_age_days = Some(whole(value.strip_suffix(" days").unwrap())),
            "rate" => case.shopper.earn_rate_permyriad = Some(u32::try_from(whole(value)).unwrap()),
            name => {
                let (what, number) = value.rsplit_once(' ').unwrap();
                let (what, number) = match what {
                    "used" => ("total", whole(number)),
                    "used by the customer" => ("customer", whole(number)),
                    "used in the period" => ("period", whole(number)),
                    "used from the address" => ("address", whole(number)),
                    "used by the phone" => ("phone", whole(number)),
                    "spent" => ("spent", tenge(number)),
                    _ => panic!("not known: {part:?}"),
                };
                used.insert((name.to_owned(), what), number);
            }
        }
    }
    case.codes = typed(&codes);
    (case, used)
}

/// Whom the page's uses "by the phone" and "from the address" are of.
const PHONE: KeyHash = KeyHash([1; 16]);
const ADDRESS: KeyHash = KeyHash([2; 16]);

/// What the customer and the promos say of an offer, where this much was used before.
fn allowed(used: &UsedBefore, case: &Case, asked: &Use<'_>) -> Result<(), Reason> {
    let before = |what| used.get(&(asked.offer_id.to_string(), what)).copied();
    let (limits, now, calendar) = (&asked.offer.limits, case.now, almaty());
    if is_counted(limits) {
        if case.shopper.customer_id.is_none() {
            return Err(Reason::CustomerRequired);
        }
        let (ever, lately) = (before("customer").unwrap_or(0), before("period").unwrap_or(0));
        let uses = OfferUses {
            offer_id: asked.offer_id.clone(),
            uses: u32::try_from(ever.max(lately)).unwrap(),
            times: vec![now; usize::try_from(lately).unwrap()],
            ever: true,
        };
        let marketing = Marketing { uses: vec![uses], ..Marketing::default() };
        marketing.allows(asked.offer_id, limits, now, &calendar).map_err(Reason::LimitReached)?;
    }
    let marks = Marks {
        addresses: period_ends(&calendar, now).map(|until| PeriodAddress { until, hash: ADDRESS }).to_vec(),
        link_keys: before("phone").map(|_| PHONE).into_iter().collect(),
    };
    let (hold, owner) = (ExchangeId::new("hold").unwrap(), EntityKey::new(EntityKind::Customer, "c1"));
    for mut need in marks.needs(asked.offer_id, asked.offer, None, asked.discount_minor, (&calendar, now)) {
        if is_budget(&need.promo) {
            need.minor += asked.group_minor;
        }
        let request = marks.request(&need, &hold, &owner, now.plus_seconds(900), false);
        let kept = promo(&request, &before).would_reserve(&request, now);
        kept.map_err(|refusal| match refusal {
            Refusal::Exhausted => Reason::LimitReached(Limit::Total),
            Refusal::LinkKey => Reason::LimitReached(Limit::PerLinkKey),
            Refusal::Ip => Reason::LimitReached(Limit::PerIpIn),
            Refusal::Budget { .. } => Reason::LimitReached(Limit::Budget),
            other => panic!("{other:?}"),
        })?;
    }
    Ok(())
}

/// A promo of which so much was taken before.
fn promo(request: &Reserve, before: &impl Fn(&'static str) -> Option<i64>) -> promo::State {
    let count = |what| before(what).unwrap_or(0);
    let mut state = promo::State::new("p");
    state.taken = promo::Uses { uses: count("total").unsigned_abs(), minor: count("spent") };
    let counters: Vec<Value> = request
        .counted()
        .into_iter()
        .map(|(counter, _)| {
            let taken = count(if counter.scope == Scope::Ip { "address" } else { "phone" });
            json!([counter, {"held": 0, "taken": taken, "most": taken}])
        })
        .collect();
    let mut stored = serde_json::to_value(&state).unwrap();
    stored["counters"] = json!(counters);
    serde_json::from_value(stored).unwrap()
}

/// What came out, in the page's words, sorted.
fn given(case: &Case, offered: &Offered) -> Vec<String> {
    let in_tenge = |minor: i64| format!("{}.{:02}", minor / 100, minor % 100);
    let mut said = Vec::new();
    for (line, minor) in case.cart.lines.iter().zip(&offered.discounts).filter(|(_, minor)| **minor != 0) {
        said.push(format!("{} {}", line.line_id, in_tenge(*minor)));
    }
    if offered.delivery_minor != case.cart.delivery_minor {
        said.push(format!("delivery {}", in_tenge(offered.delivery_minor)));
    }
    let money: Vec<i64> = case.subtotals().iter().zip(&offered.discounts).map(|(s, d)| s - d).collect();
    let bonus = offered.bonus(case.shopper.earn_rate_permyriad.unwrap_or(0), &money);
    if bonus.points != 0 {
        said.push(format!("points {}", bonus.points));
    }
    for rejected in &offered.rejected {
        let offer = rejected.offer.as_ref().map(|(id, _)| id.as_str());
        let who = offer.or(rejected.code.as_deref()).unwrap();
        let condition = match rejected.reason {
            Reason::NoMatchingLines => None,
            reason => reason.condition(),
        };
        said.push(
            [Some(who), Some(rejected.reason.as_str()), condition].into_iter().flatten().collect::<Vec<_>>().join(" "),
        );
    }
    said.sort();
    said
}

/// The page's own words, with money written in one way.
fn expected(cell: &str) -> Vec<String> {
    let mut said: Vec<String> = cell
        .split("; ")
        .map(|item| match item.split_once(' ') {
            Some(("points", number)) => format!("points {}", whole(number)),
            Some((what, number)) if number.starts_with(|c: char| c.is_ascii_digit()) => {
                format!("{what} {}.{:02}", tenge(number) / 100, tenge(number) % 100)
            }
            _ => item.to_owned(),
        })
        .collect();
    said.sort();
    said
}

fn examples() -> Vec<Table> {
    tables(PAGE).into_iter().filter(|table| table.headers == ["offers", "cart", "what is given"]).collect()
}

#[test]
fn every_example_of_the_page_is_what_the_engine_gives() {
    let (mut wrong, mut count) = (Vec::new(), 0);
    for table in examples() {
        for (at, cells) in &table.rows {
            let (case, used) = case(&cells[0], &cells[1]);
            let offered = case.run_with(&|asked| allowed(&used, &case, asked));
            let (found, expected) = (given(&case, &offered), expected(&cells[2]));
            if found != expected {
                wrong.push(format!("offers.md:{at} ({}): {}", table.heading, found.join("; ")));
            }
            count += 1;
        }
    }
    assert!(wrong.is_empty(), "{} differences; found:\n{}", wrong.len(), wrong.join("\n"));
    assert!(count > 100, "only {count} examples were found: is the notation still the same?");
}

#[test]
fn every_table_is_of_a_kind_that_a_test_reads() {
    let known = [&["offers", "cart", "what is given"][..], &["rule", "default", "key"], &["word", "means"]];
    for table in tables(PAGE) {
        assert!(known.iter().any(|k| table.headers == *k), "offers.md:{}: {:?}", table.line, table.headers);
        assert!(!table.rows.is_empty(), "offers.md:{}: no rows", table.line);
    }
}

#[test]
fn the_default_is_the_policys() {
    let table = tables(PAGE).into_iter().find(|table| table.headers[0] == "rule").unwrap();
    assert_eq!(table.rows[0].1[2], "`checkout.max_discount_permyriad`");
    assert_eq!(whole(&table.rows[0].1[1]), i64::from(Policy::default().checkout.max_discount_permyriad));
}

#[test]
fn every_discount_condition_limit_and_reason_has_its_place_on_the_page() {
    let rows: Vec<Vec<String>> = examples().into_iter().flat_map(|table| table.rows).map(|(_, cells)| cells).collect();
    let types = ["percent", "amount", "fixed_price", "buy_x_get_y", "bundle_price", "free_item", "free_delivery"];
    for word in types.iter().chain(&["points_multiplier", "bonus_points"]) {
        assert!(rows.iter().any(|row| row[0].contains(&format!("\"{word}\""))), "no example of {word}");
    }
    let sample: Discount = serde_json::from_value(json!({"type": "free_delivery"})).unwrap();
    assert!(types.contains(&sample.as_str()));
    let conditions = [
        Condition::Shops,
        Condition::Channels,
        Condition::PaymentMethods,
        Condition::DeliveryMethods,
        Condition::Windows,
        Condition::Tiers,
        Condition::Segments,
        Condition::MinTrust,
        Condition::FirstOrder,
        Condition::NthOrder,
        Condition::AccountAgeDays,
        Condition::MinSubtotal,
        Condition::MaxSubtotal,
        Condition::MinQuantity,
        Condition::MinDistinct,
    ];
    let limits =
        [Limit::Total, Limit::PerCustomer, Limit::PerCustomerIn, Limit::PerLinkKey, Limit::PerIpIn, Limit::Budget];
    let reasons = conditions.map(Reason::ConditionNotMet).into_iter().chain(limits.map(Reason::LimitReached));
    for reason in reasons {
        let words = format!("{} {}", reason.as_str(), reason.condition().unwrap());
        assert!(rows.iter().any(|row| row[2].contains(&words)), "no example of {words}");
    }
    let listed = tables(PAGE).into_iter().find(|table| table.headers[0] == "word").unwrap();
    let listed: Vec<String> = listed.rows.into_iter().map(|(_, cells)| cells[0].trim_matches('`').to_owned()).collect();
    let all = [
        Reason::CodeUnknown,
        Reason::CodeDuplicate,
        Reason::CodeUsed,
        Reason::CodeMissing,
        Reason::FeatureDisabled,
        Reason::Draft,
        Reason::Ended,
        Reason::NotStarted,
        Reason::NoMatchingLines,
        Reason::ConditionNotMet(Condition::Shops),
        Reason::LimitReached(Limit::Total),
        Reason::CustomerRequired,
        Reason::NoEffect,
        Reason::GroupOutdone,
        Reason::ExclusiveOutdone,
    ];
    assert_eq!(listed, all.map(Reason::as_str));
}
