//! Issuing a card and changing its state.

use super::{CardChange, Command, Event, Reply, draft::Draft, settle};
use crate::{
    card::{Barcode, CardStatus},
    errors::{Code, Refusal},
    ids::Actor,
    time::Timestamp,
};

/// The longest reason a person may give, in characters.
pub(super) const MAX_REASON: usize = 200;

/// Checks a reason.
pub(super) fn check_reason(reason: &str) -> Result<(), Refusal> {
    let length = reason.chars().count();
    if (1..=MAX_REASON).contains(&length) && !reason.chars().any(char::is_control) {
        Ok(())
    } else {
        Err(Refusal::new(Code::InvalidField, "reason: must be 1 to 200 characters without control characters"))
    }
}

pub(super) fn issue(
    draft: &mut Draft<'_>,
    since: Option<Timestamp>,
    proposed: Option<Barcode>,
) -> Result<Reply, Refusal> {
    let now = draft.now;
    if since.is_some_and(|since| since > now) {
        return Err(Refusal::new(Code::InvalidField, "since: must not lie in the future"));
    }
    let created = draft.state.card.is_none();
    if created {
        let barcode = proposed.unwrap_or_else(|| Barcode::of_number(number(draft.entropy)));
        draft.emit(Event::CardIssued { barcode, since: since.unwrap_or(now), at: now });
    }
    reply(draft, created)
}

/// Ten digits of the command's random bits; the top bits of a UUID stay unused.
fn number(entropy: [u8; 16]) -> u64 {
    let mut low = [0_u8; 8];
    low.copy_from_slice(&entropy[8..]);
    u64::from_be_bytes(low)
}

fn reply(draft: &Draft<'_>, created: bool) -> Result<Reply, Refusal> {
    let card = draft.state.card_view(draft.context, draft.now).ok_or_else(|| not_found(&draft.state.id))?;
    Ok(Reply::Card { created, card: Box::new(card) })
}

/// The refusal where there is no card.
pub(super) fn not_found(id: &str) -> Refusal {
    Refusal::new(Code::CardNotFound, format!("customer {id} has no card"))
}

pub(super) fn change(
    draft: &mut Draft<'_>,
    change: CardChange,
    proposed: Option<Barcode>,
    reason: &str,
    by: &Actor,
) -> Result<Reply, Refusal> {
    check_reason(reason)?;
    let now = draft.now;
    settle::settle(draft, now);
    let Some(card) = draft.state.card.as_deref() else { return Err(not_found(&draft.state.id)) };
    if card.status == CardStatus::Closed {
        return Err(Refusal::new(Code::CardClosed, "the card is closed for good"));
    }
    let conflict = |detail: &str| Err(Refusal::new(Code::CardStateConflict, detail));
    match (change, card.status) {
        (CardChange::Block, CardStatus::Blocked) => return conflict("the card is blocked already"),
        (CardChange::Unblock, CardStatus::Active) => return conflict("the card is not blocked"),
        (CardChange::Close, _) if draft.state.holds.iter().any(|hold| !hold.expired) => {
            return conflict("the card has an open hold: capture or release it first");
        }
        _ => {}
    }
    let reissue = change == CardChange::Reissue;
    let barcodes = reissue.then(|| (card.barcode, another(card.barcode, proposed, draft.entropy)));
    let burns_from = reissue.then(|| now.plus_seconds(draft.context.policy.loyalty.reissue_wait_hours * 3600));
    let (reason, by) = (reason.into(), by.clone());
    draft.emit(Event::CardChanged { change, reason, by, at: now, barcodes, burns_from });
    reply(draft, false)
}

/// A barcode that is not `old`: the one proposed, or a random one.
fn another(old: Barcode, proposed: Option<Barcode>, entropy: [u8; 16]) -> Barcode {
    let new = proposed.unwrap_or_else(|| Barcode::of_number(number(entropy)));
    if new == old { Barcode::of_number(new.number() + 1) } else { new }
}

impl Command {
    /// The command's name in metrics and logs.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::IssueCard { .. } => "issue_card",
            Self::ChangeCard { .. } => "change_card",
            Self::Adjust { .. } => "adjust",
            Self::DecideAdjustment { .. } => "decide_adjustment",
            Self::DecideReview { .. } => "decide_review",
            Self::RaiseFlag { .. } => "raise_flag",
            Self::DecideFlag { .. } => "decide_flag",
            Self::Order(_) => "order",
            Self::Hold(_) => "hold",
            Self::Capture { .. } => "capture",
            Self::Release { .. } => "release",
            Self::RefuseHold { .. } => "refuse_hold",
            Self::PromoAsks(_) => "promo_asks",
            Self::ChangeSegments { .. } => "change_segments",
            Self::Signal { .. } => "signal",
            Self::Wake => "wake",
        }
    }
}
