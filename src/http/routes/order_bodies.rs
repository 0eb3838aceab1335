//! Order events on the wire: one body per type, read by the `type` that it names.

use adal_domain::{
    checkout::LineQuantity,
    errors::Code,
    ids::{CustomerId, EventId, OrderId, OrderKey, ShopId},
    line::Line,
    order_event::{CancelledBy, ChargedBy, DeliveredLine, Fault, OrderFact},
    time::Timestamp,
};
use serde::Deserialize;
use serde_json::Value;
use utoipa::ToSchema;

use crate::http::{body, problem::Problem};

/// What every event says.
pub(super) struct Head {
    pub(super) event_id: EventId,
    pub(super) order: OrderKey,
    pub(super) customer_id: Option<CustomerId>,
    pub(super) code: Option<String>,
    pub(super) at: Timestamp,
}

/// One struct per type: an internally tagged enum would lose the path of what is wrong in it.
macro_rules! event_bodies {
    ($($(#[doc = $doc:literal])+ $name:ident is $fact:ident { $($(#[$meta:meta])* $field:ident: $type:ty,)* })+) => {$(
        $(#[doc = $doc])+
        #[derive(Debug, Deserialize, ToSchema)]
        #[serde(deny_unknown_fields)]
        pub struct $name {
            /// Unique per shop: the same event may be sent again at any time.
            #[schema(value_type = String)]
            pub event_id: EventId,
            /// Unique per shop.
            #[schema(value_type = String)]
            pub order_id: OrderId,
            /// Whose order; or `code`.
            #[serde(default)]
            #[schema(value_type = Option<String>)]
            pub customer_id: Option<CustomerId>,
            /// A QR text or a barcode that was scanned at `at`, sent within 72 h of its making; or `customer_id`.
            #[serde(default)]
            pub code: Option<String>,
            /// Where.
            #[schema(value_type = String)]
            pub shop_id: ShopId,
            /// When it happened.
            #[serde(with = "adal_domain::time::rfc3339")]
            #[schema(value_type = String, format = DateTime)]
            pub at: Timestamp,
            $($(#[$meta])* pub $field: $type,)*
        }

        impl $name {
            fn split(self) -> (Head, OrderFact) {
                let Self { event_id, order_id, customer_id, code, shop_id, at, $($field),* } = self;
                let head = Head { event_id, order: OrderKey { shop_id, order_id }, customer_id, code, at };
                (head, OrderFact::$fact { $($field),* })
            }
        }
    )+};
}

event_bodies! {
    /// The order was placed.
    Placed is Placed {
        /// 1 to 1,000.
        lines: Vec<Line>,
        /// Kept in the shop's systems, not used here.
        #[serde(default)]
        total_minor: Option<i64>,
        /// By which weight weighed lines are charged: `ordered`, where it is left out.
        #[serde(default)]
        charged_by: ChargedBy,
        /// Opaque hashes of phone or payment means, at most 10.
        #[serde(default)]
        link_keys: Vec<String>,
    }
    /// Lines were weighed at delivery.
    Weighed is Weighed {
        /// 1 to 1,000.
        lines: Vec<DeliveredLine>,
    }
    /// The order was paid and delivered.
    Completed is Completed {
        /// All tenders but points, minor units.
        paid_minor: i64,
    }
    /// The order was cancelled.
    Cancelled is Cancelled {
        /// By whom.
        by: CancelledBy,
        /// Whether it had been picked.
        #[serde(default)]
        after_picking: bool,
    }
    /// Goods came back.
    Returned is Returned {
        /// 1 to 1,000.
        lines: Vec<LineQuantity>,
        /// The money refunded, minor units; without it, the lines' share of what was paid.
        #[serde(default)]
        refund_minor: Option<i64>,
        /// Whose fault: the customer's, where it is left out.
        #[serde(default)]
        fault: Fault,
    }
}

/// An order event (for the schema: events are read by their type).
#[derive(Debug, Deserialize, ToSchema)]
#[schema(title = "OrderEvent")]
#[serde(tag = "type", rename_all = "snake_case")]
#[allow(dead_code, clippy::large_enum_variant)]
pub enum EventBody {
    /// The order was placed.
    Placed(Placed),
    /// Lines were weighed at delivery.
    Weighed(Weighed),
    /// The order was paid and delivered.
    Completed(Completed),
    /// The order was cancelled.
    Cancelled(Cancelled),
    /// Goods came back.
    Returned(Returned),
}

/// One event, or a list of up to 500.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(untagged)]
#[allow(dead_code, clippy::large_enum_variant)]
pub enum EventsBody {
    /// One.
    One(EventBody),
    /// Up to 500.
    List(Vec<EventBody>),
}

/// Reads an event by its type.
///
/// # Errors
/// 400, naming the field and what is wrong with it.
pub(super) fn read(mut event: Value) -> Result<(Head, OrderFact), Problem> {
    let malformed = |text: &str| Problem::new(Code::Malformed, text);
    let map = event.as_object_mut().ok_or_else(|| malformed("body: an event is a map"))?;
    let Some(Value::String(name)) = map.remove("type") else {
        return Err(malformed("type: one of placed, weighed, completed, cancelled, returned is needed"));
    };
    match name.as_str() {
        "placed" => body::typed::<Placed>(&event).map(Placed::split),
        "weighed" => body::typed::<Weighed>(&event).map(Weighed::split),
        "completed" => body::typed::<Completed>(&event).map(Completed::split),
        "cancelled" => body::typed::<Cancelled>(&event).map(Cancelled::split),
        "returned" => body::typed::<Returned>(&event).map(Returned::split),
        _ => Err(malformed("type: must be one of placed, weighed, completed, cancelled, returned")),
    }
}
