//! What of a customer's events is found across customers: cards by barcode, holds, approvals, signals, orders; and what is
//! counted over all of them.

use serde::Serialize;

use super::{
    Event, State, adjust,
    marketing::{Listed, ListedUse, is_listed, sold_on},
    read::SignalView,
};
use crate::{
    entity::{Count, View, ViewWrite},
    ids::{OfferId, OrderKey},
};

pub(super) fn of(id: &str, state: &State, event: &Event, seq: u64, index: u32) -> Vec<ViewWrite> {
    match event {
        Event::CardIssued { barcode, .. } => vec![put(View::CardByBarcode, barcode.to_string(), "", &id)],
        Event::CardChanged { barcodes: Some((old, new)), .. } => {
            vec![remove(View::CardByBarcode, old.to_string(), ""), put(View::CardByBarcode, new.to_string(), "", &id)]
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
        Event::Sold { .. } => uses(event),
        Event::SaleEnded { unlisted, .. } => {
            let gone = |one: &ListedUse| remove(View::OfferUse, one.key(), &ListedUse::filter(&one.offer_id, one.day));
            unlisted.iter().map(gone).collect()
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

/// The uses that a sale lists: those that the offers' own promos have not counted. Together with what these count, every
/// use is counted once, whatever limits an offer gains or loses.
fn uses(event: &Event) -> Vec<ViewWrite> {
    let Event::Sold { at, day, hold, quote, used, taken, took, .. } = event else { return Vec::new() };
    let day = sold_on(*day, *at);
    let gave =
        |id: &OfferId| quote.applied.iter().find(|one| one.offer_id == id.as_str()).map(|one| one.discount_minor);
    let listed = taken.iter().enumerate().filter(|(_, offer)| is_listed(offer, used));
    let write = |(i, offer): (usize, &OfferId)| {
        let minor = took.get(i).copied().or_else(|| gave(offer)).unwrap_or(0);
        let one = ListedUse { hold_id: hold.hold_id.clone(), offer_id: offer.clone(), day };
        put(View::OfferUse, one.key(), &ListedUse::filter(offer, day), &Listed { day, minor })
    };
    listed.map(write).collect()
}

fn owner(order: &OrderKey) -> ViewWrite {
    put(View::OrderOwner, order.to_string(), "", &())
}

fn put(view: View, key: String, filter: &str, value: &impl Serialize) -> ViewWrite {
    ViewWrite { view, key, filter: filter.to_owned(), value: rmp_serde::to_vec_named(value).ok() }
}

fn remove(view: View, key: String, filter: &str) -> ViewWrite {
    ViewWrite { view, key, filter: filter.to_owned(), value: None }
}
