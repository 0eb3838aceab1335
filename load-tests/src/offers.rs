//! Carts and offers of the benchmarks, as documents: the same for the engine alone and over HTTP.

use serde_json::{Value, json};

/// Lines of a cart; no two are of one product.
pub fn lines(count: usize, with_floors: bool) -> Vec<Value> {
    let line = |i: usize| {
        let mut line = json!({
            "line_id": format!("l{i}"), "sku": format!("sku{i}"), "category": format!("c{}", i % 10),
            "brand": format!("b{}", i % 20), "tags": [format!("t{}", i % 5)], "quantity": 1 + i % 4, "unit": "piece",
            "unit_price_minor": 10_000 + 137 * i
        });
        if with_floors && let Some(line) = line.as_object_mut() {
            line.insert("min_price_minor".to_owned(), json!(5000 + 61 * (i % 7)));
        }
        line
    };
    (0..count).map(line).collect()
}

/// 50 campaigns as a grocer runs them, all of which concern a cart of 20 lines or more.
pub fn campaigns() -> Vec<(String, Value)> {
    let document = |i: usize| -> Value {
        let category = json!({"include": [{"categories": [format!("c{}", i % 10)]}]});
        let brand = json!({"include": [{"brands": [format!("b{}", i % 20)]}], "exclude": [{"tags": ["t9"]}]});
        match i % 10 {
            0..=2 => {
                json!({"discount": {"type": "percent", "permyriad": 100 + i}, "selector": category, "target": "lines"})
            }
            3 | 4 => json!({"discount": {"type": "percent", "permyriad": 200 + i}, "selector": brand}),
            5 => json!({"discount": {"type": "buy_x_get_y", "buy": 2, "get": 1, "max_times": 2}, "selector": category}),
            6 => json!({"discount": {"type": "bundle_price", "quantity": 3, "minor": 25_000}, "selector": category}),
            7 => json!({"discount": {"type": "amount", "minor": 900}, "conditions": {"min_subtotal_minor": 1000}}),
            8 => json!({"discount": {"type": "points_multiplier", "permyriad": 20_000}, "selector": brand}),
            _ => json!({"discount": {"type": "percent", "permyriad": 50}, "conditions": {"min_distinct": 3}}),
        }
    };
    (0..50).map(|i| named(format!("o{i}"), document(i))).collect()
}

/// The hard case: each of 50 offers counts on every line.
pub fn on_every_line(discount: &Value) -> Vec<(String, Value)> {
    (0..50).map(|i| named(format!("o{i}"), json!({"discount": discount}))).collect()
}

/// Campaigns whose selectors miss the cart.
pub fn misses(count: usize) -> Vec<(String, Value)> {
    let document = |i: usize| {
        let selection = match i % 4 {
            0 => json!({"skus": (0..20).map(|k| format!("other{}", i * 7 + k)).collect::<Vec<_>>()}),
            1 => json!({"categories": [format!("far{i}")]}),
            2 => json!({"brands": [format!("far{}", i % 100)], "tags": ["t1"]}),
            _ => json!({"tags": [format!("far{i}"), "far"]}),
        };
        json!({"discount": {"type": "percent", "permyriad": 1000}, "selector": {"include": [selection]}})
    };
    (0..count).map(|i| named(format!("far{i}"), document(i))).collect()
}

/// Offers of one kind: ids and documents.
type Documents = Vec<(String, Value)>;

/// The catalogue of a quote: 50 campaigns and 100 promos, of which 5 and 5 apply to a cart of 20 lines with the codes
/// [`TYPED`]. Of the other campaigns a third miss the cart, a third ask for more than it costs, a third are for others.
pub fn catalogue() -> (Documents, Documents) {
    let of_category = |i: usize| {
        json!({"discount": {"type": "percent", "permyriad": 100 + i}, "target": "lines",
            "selector": {"include": [{"categories": [format!("c{}", i % 10)]}]}})
    };
    let mut campaigns = misses(15);
    campaigns.extend((0..35).map(|i| {
        let mut document = of_category(i);
        if i >= 20 {
            document["conditions"] = json!({"min_subtotal_minor": 50_000_000});
        } else if i >= 5 {
            document["conditions"] = json!({"segments": ["staff"]});
        }
        named(format!("campaign{i}"), document)
    }));
    let promos = (0..100).map(|i| {
        let mut document = of_category(i);
        document["codes"] = json!([format!("CODE{i}")]);
        named(format!("promo{i}"), document)
    });
    (campaigns, promos.collect())
}

/// Five codes of [`catalogue`]'s promos.
pub const TYPED: [&str; 5] = ["CODE3", "CODE14", "CODE15", "CODE92", "CODE65"];

fn named(id: String, mut document: Value) -> (String, Value) {
    document["name"] = json!(id);
    (id, document)
}
