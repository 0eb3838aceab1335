//! Every error that Adal answers: one table gives code, HTTP status and title. `docs/reference/errors.md` lists the
//! same lines and a test compares. The codes are stable: clients are written against them.

use std::fmt;

use serde::{Deserialize, Serialize};

macro_rules! error_codes {
    ($($(#[doc = $doc:literal])+ $name:ident = $code:literal, $status:literal, $title:literal;)+) => {
        /// What went wrong, as a stable code.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
        pub enum Code {
            $($(#[doc = $doc])+ #[serde(rename = $code)] $name,)+
        }

        impl Code {
            /// Every code, in the table's order.
            pub const ALL: &'static [Self] = &[$(Self::$name,)+];

            /// The code in answers, logs and metrics.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $code,)+ }
            }

            /// The HTTP status.
            #[must_use]
            pub const fn status(self) -> u16 {
                match self { $(Self::$name => $status,)+ }
            }

            /// A short title, the same for every occurrence.
            #[must_use]
            pub const fn title(self) -> &'static str {
                match self { $(Self::$name => $title,)+ }
            }

            /// When it is answered: the line in the reference.
            #[must_use]
            pub const fn meaning(self) -> &'static str {
                match self { $(Self::$name => concat!($($doc),+),)+ }
            }
        }
    };
}

error_codes! {
    /// The request cannot be read: not JSON or MessagePack of the documented shape; the detail names the field.
    Malformed = "malformed", 400, "The request cannot be read";
    /// A field holds a value outside its rule; the detail names field and rule.
    InvalidField = "invalid_field", 400, "A field breaks its rule";
    /// A body names a field that the route does not know; it is named.
    UnknownField = "unknown_field", 400, "Unknown field";
    /// A change needs an Idempotency-Key of 1-64 visible ASCII characters.
    IdempotencyKeyRequired = "idempotency_key_required", 400, "Idempotency-Key is missing";
    /// The Idempotency-Key is not 1-64 visible ASCII characters.
    IdempotencyKeyInvalid = "idempotency_key_invalid", 400, "Idempotency-Key is not valid";
    /// The cursor was not made by this list.
    CursorInvalid = "cursor_invalid", 400, "The cursor is not valid";
    /// No credential, or one that is unknown, revoked, expired or forged.
    Unauthenticated = "unauthenticated", 401, "Not authenticated";
    /// The credential's role may not do this, or not for this shop.
    Forbidden = "forbidden", 403, "Not allowed";
    /// There is nothing there, or it is not yours.
    NotFound = "not_found", 404, "Not found";
    /// The customer has no card, or no card has this barcode (a replaced one included).
    CardNotFound = "card_not_found", 404, "No such card";
    /// No hold has this id, or it is not yours.
    HoldNotFound = "hold_not_found", 404, "No such hold";
    /// The method is not one of the route's.
    MethodNotAllowed = "method_not_allowed", 405, "Method not allowed";
    /// None of the accepted content types can be made.
    NotAcceptable = "not_acceptable", 406, "Not acceptable";
    /// The body did not arrive in time.
    RequestTimeout = "request_timeout", 408, "The request took too long";
    /// The card is blocked: it earns, and does not burn.
    CardBlocked = "card_blocked", 409, "The card is blocked";
    /// The card is closed for good.
    CardClosed = "card_closed", 409, "The card is closed";
    /// The card's state does not allow this change (unblocking an active card, say).
    CardStateConflict = "card_state_conflict", 409, "The card's state does not allow this";
    /// The hold has ended otherwise: captured, released, expired or refused.
    HoldEnded = "hold_ended", 409, "The hold has ended";
    /// The order was cancelled.
    OrderCancelled = "order_cancelled", 409, "The order was cancelled";
    /// The order has ended already, by the terminal event that arrived first.
    OrderEnded = "order_ended", 409, "The order has ended already";
    /// The order was placed already, with other lines.
    OrderPlacedOtherwise = "order_placed_otherwise", 409, "The order was placed with other lines";
    /// The order (shop_id, order_id) is another customer's: an event of it was taken for that one before.
    OrderOfAnotherCustomer = "order_of_another_customer", 409, "The order is another customer's";
    /// The entry, flag or approval was decided already.
    AlreadyDecided = "already_decided", 409, "Already decided";
    /// The policy, the offer or the banner was changed since the revision named.
    RevisionConflict = "revision_conflict", 409, "Changed since";
    /// The body is larger than the limit.
    BodyTooLarge = "body_too_large", 413, "The body is too large";
    /// The Content-Type is neither application/json nor application/msgpack.
    UnsupportedMediaType = "unsupported_media_type", 415, "Unsupported media type";
    /// The same Idempotency-Key (or event_id) came before with another body.
    IdempotencyKeyReused = "idempotency_key_reused", 422, "The key was used for another request";
    /// The QR text is not one of ours, or its signature is wrong.
    QrInvalid = "qr_invalid", 422, "The QR code is not valid";
    /// The QR code is too old: a burn needs this step's code, identifying one of the last 24 h (72 h for offline tills).
    QrExpired = "qr_expired", 422, "The QR code has expired";
    /// A `show` code or a printed barcode identifies and earns, and never burns.
    QrShowOnly = "qr_show_only", 422, "The code does not allow paying with points";
    /// The pay code was used for a burn already.
    QrUsed = "qr_used", 422, "The QR code was used already";
    /// The scan_id was not made here, is older than 10 minutes, or belongs to another terminal or customer.
    ScanInvalid = "scan_invalid", 422, "The scan_id is not valid";
    /// Burning points at a till needs the scan_id of a fresh pay scan at that till.
    ScanRequired = "scan_required", 422, "A pay scan is required";
    /// More points than are available.
    PointsInsufficient = "points_insufficient", 422, "Not enough points";
    /// More points than the share of the cart that points may pay; the detail names the most.
    PointsOverShare = "points_over_share", 422, "More points than this cart allows";
    /// Points cannot be burned: trust is too low, or a reissued card waits 24 h.
    BurnNotAllowed = "burn_not_allowed", 422, "Points cannot be used now";
    /// The day's limit of burned points would be passed.
    BurnLimit = "burn_limit", 422, "The day's limit of burned points is reached";
    /// The customer has two open holds already.
    TooManyHolds = "too_many_holds", 422, "Too many open holds";
    /// The total is not the one that the caller saw; the new quote is in `quote`.
    TotalChanged = "total_changed", 422, "The total has changed";
    /// The cart has no lines.
    CartEmpty = "cart_empty", 422, "The cart is empty";
    /// The cart, order or list has more lines or events than allowed; the detail names the limit.
    TooManyLines = "too_many_lines", 422, "Too many lines";
    /// Two lines have the same line_id.
    DuplicateLine = "duplicate_line", 422, "Two lines have the same line_id";
    /// A sum is above what an order may be worth.
    AmountTooLarge = "amount_too_large", 422, "The amount is too large";
    /// A code is unknown. Told to trusted callers alone (tills, services): the public gets `promo_not_applicable`.
    CodeUnknown = "code_unknown", 422, "The code is unknown";
    /// A code is unknown, or its offer does not apply: the public is not told which, that would help to guess one.
    PromoNotApplicable = "promo_not_applicable", 422, "The code does not apply";
    /// The event is older than 400 days.
    EventTooOld = "event_too_old", 422, "The event is too old";
    /// The event is more than 5 minutes ahead of the clock.
    EventInFuture = "event_in_future", 422, "The event lies in the future";
    /// A line that the order does not have.
    LineUnknown = "line_unknown", 422, "The order has no such line";
    /// More pieces or grams than were bought (or delivered), less what was returned.
    ReturnTooLarge = "return_too_large", 422, "More is returned than was bought";
    /// More money than was paid, less what was refunded.
    RefundTooLarge = "refund_too_large", 422, "More is refunded than was paid";
    /// A capture names a line or more of a line than was held.
    CaptureTooLarge = "capture_too_large", 422, "More is captured than was held";
    /// The customer has too many orders, burns, flags, reviews or approvals at once; the detail names the limit. Not
    /// recorded: the same request, with the same key or event_id, is taken once there is room.
    TooManyOpen = "too_many_open", 422, "Too many open at once";
    /// An adjustment of zero points, or above the largest allowed.
    AdjustmentInvalid = "adjustment_invalid", 422, "The adjustment is not valid";
    /// The second person must be another than the first.
    SecondPersonRequired = "second_person_required", 403, "Another person must decide this";
    /// A feature flag is off. Not recorded: the same request, with the same key or event_id, is taken once it is on.
    FeatureDisabled = "feature_disabled", 422, "The feature is switched off";
    /// The policy document contradicts itself; the detail names the fields.
    PolicyInvalid = "policy_invalid", 422, "The policy is not valid";
    /// The offer's document breaks a rule or contradicts itself; the detail names the fields.
    OfferInvalid = "offer_invalid", 422, "The offer is not valid";
    /// The banner's document breaks a rule or contradicts itself; the detail names the fields.
    BannerInvalid = "banner_invalid", 422, "The banner is not valid";
    /// The catalogue would have more documents, or larger ones, than it may; the detail names the limit.
    CatalogueFull = "catalogue_full", 422, "The catalogue is full";
    /// The day's limit of scans of this card is reached.
    ScanLimit = "scan_limit", 429, "The card was scanned too often today";
    /// This terminal sent too many codes with a wrong signature.
    TerminalSlowed = "terminal_slowed", 429, "The terminal is slowed down";
    /// Too many requests of this key, address or customer.
    RateLimited = "rate_limited", 429, "Too many requests";
    /// This customer has too many requests waiting.
    Busy = "busy", 429, "Too many requests at once for this customer";
    /// Something broke here; it is logged under the request id.
    Internal = "internal", 500, "Internal error";
    /// The store cannot be written or read now; nothing was changed, or repeat with the same key to learn.
    Unavailable = "unavailable", 503, "Temporarily unavailable";
    /// This customer's rules failed repeatedly and were stopped, for a person to look at.
    Quarantined = "quarantined", 503, "This customer is quarantined";
    /// The server is stopping.
    Stopping = "stopping", 503, "The server is stopping";
}

/// A refusal by a rule: recorded like a reply, so that a repeat is refused alike, unless [`Refusal::is_recorded`] says
/// otherwise.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// The stable code.
    pub code: Code,
    /// What exactly, with the field and the numbers, in English.
    pub detail: String,
    /// The most that would have been accepted, where there is such a number (points, pieces, grams or minor units).
    #[serde(default)]
    pub max: Option<i64>,
    /// The quote that would hold now (`total_changed` alone).
    #[serde(default)]
    pub quote: Option<Box<crate::checkout::Quote>>,
}

impl Refusal {
    /// A refusal with a detail.
    #[must_use]
    pub fn new(code: Code, detail: impl Into<String>) -> Self {
        Self { code, detail: detail.into(), max: None, quote: None }
    }

    /// Whether it is the command's answer for good. A fault of ours, a switch that is off and a list that is full say
    /// nothing of the command: the caller repeats it, with the same key, when the fault is mended, the switch is on, or
    /// there is room.
    #[must_use]
    pub const fn is_recorded(&self) -> bool {
        !matches!(self.code, Code::Internal | Code::FeatureDisabled | Code::TooManyOpen | Code::Busy)
    }

    /// The same, with the most that would have been accepted.
    #[must_use]
    pub fn with_max(mut self, max: i64) -> Self {
        self.max = Some(max);
        self
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code.as_str(), self.detail)
    }
}

impl std::error::Error for Refusal {}
