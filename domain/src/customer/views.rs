//! What of a customer's events is found across customers: cards by barcode, holds, approvals, signals, orders; and what is
//! counted over all of them.

use serde::Serialize;

use super::{Event, State, adjust, read::SignalView};
use crate::{
    entity::{Count, View, ViewWrite},
    ids::OrderKey,
};

pub(super) fn of(id: &str, state: &State, event: &Event, seq: u64, index: u32) -> Vec<ViewWrite> {
    match event {
        Event::CardIssued { barcode, .. } => vec![put(View::CardByBarcode, barcode.to_string(), "", &id)],
        Event::CardChanged { barcodes: Some((old, new)), .. } => {
            vec![remove(View::CardByBarcode, old.to_string()), put(View::CardByBarcode, new.to_string(), "", &id)]
        }
        Event::Held(hold) => vec![put(View::HoldById, hold.hold_id.to_string(), "", &hold.view())],
        Event::HoldEnded { hold_id, view, .. } => vec![put(View::HoldById, hold_id.to_string(), "", view)],
        Event::AdjustmentAsked { approval_id, points, reason, by, .. } => {
            adjust::view(id, approval_id, *points, reason, by)
                .map(|view| put(View::ApprovalById, approval_id.to_string(), "", &view))
                .into_iter()
                .collect()
        }
        Event::AdjustmentDecided { view, .. } => {
            vec![put(View::ApprovalById, view.approval_id.to_string(), "", view)]
        }
        // Once for an order that begins with its placement. What comes before that may come several times.
        Event::OrderPlaced { order, .. } | Event::OrderCancelled { order, .. } => vec![owner(order)],
        Event::OrderWeighed { order, .. } | Event::CompletionKept { order, .. } | Event::ReturnKept { order, .. } => {
            let placed = state.open_orders.iter().any(|open| open.order == *order && open.placed.is_some());
            if placed { Vec::new() } else { vec![owner(order)] }
        }
        Event::Signal { kind, at, shop_id, order, detail } => {
            let view = SignalView {
                kind: *kind,
                at: *at,
                customer_id: id.to_owned(),
                shop_id: shop_id.clone(),
                order_id: order.as_ref().map(|order| order.order_id.clone()),
                detail: detail.to_string(),
            };
            // By time; the rest makes the key unique.
            let key = format!("{:020} {id} {seq} {index}", at.0.max(0));
            vec![put(View::Signal, key, kind.as_str(), &view)]
        }
        _ => Vec::new(),
    }
}

/// Points by cause, and signals by kind.
pub(super) fn count(event: &Event) -> Option<Count> {
    let points = |value, points: i64| {
        Some(Count { metric: "adal_points_total", label: "cause", value, by: points.unsigned_abs() })
    };
    match event {
        Event::Entry(entry) => points(entry.cause.as_str(), entry.points),
        Event::Pending(pending) => points("pending", pending.points),
        Event::UnderReview(review) => points("under_review", review.points),
        Event::Signal { kind, .. } => {
            Some(Count { metric: "adal_signals_total", label: "kind", value: kind.as_str(), by: 1 })
        }
        _ => None,
    }
}

fn owner(order: &OrderKey) -> ViewWrite {
    put(View::OrderOwner, order.to_string(), "", &())
}

fn put(view: View, key: String, filter: &str, value: &impl Serialize) -> ViewWrite {
    ViewWrite { view, key, filter: filter.to_owned(), value: rmp_serde::to_vec_named(value).ok() }
}

fn remove(view: View, key: String) -> ViewWrite {
    ViewWrite { view, key, filter: String::new(), value: None }
}
