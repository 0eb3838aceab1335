//! Points given or taken by hand. Up to 2,000 one person decides; above, two.

use super::{
    Event, Reply, cards,
    draft::Draft,
    read::{ApprovalView, Cause},
    settle,
};
use crate::{
    amounts::MAX_ADJUSTMENT,
    card::CardStatus,
    errors::{Code, Refusal},
    ids::{Actor, ApprovalId},
};

/// Adjustments of one customer that may wait at once.
const MAX_WAITING: usize = 20;

pub(super) fn ask(draft: &mut Draft<'_>, points: i64, reason: &str, by: &Actor) -> Result<Reply, Refusal> {
    cards::check_reason(reason)?;
    let now = draft.now;
    settle::settle(draft, now);
    // In range first: everything below may then negate it.
    if points == 0 || !(-MAX_ADJUSTMENT..=MAX_ADJUSTMENT).contains(&points) {
        let detail = format!("points: must be -{MAX_ADJUSTMENT} to {MAX_ADJUSTMENT} and not 0");
        return Err(Refusal::new(Code::AdjustmentInvalid, detail).with_max(MAX_ADJUSTMENT));
    }
    check(draft, points)?;
    if points.abs() <= draft.context.policy.loyalty.adjustment_alone_points {
        return enter(draft, points, reason, by);
    }
    if draft.state.approvals().len() >= MAX_WAITING {
        let detail = format!("{MAX_WAITING} adjustments wait for a second person already");
        return Err(Refusal::new(Code::TooManyOpen, detail));
    }
    let approval_id = ApprovalId::new(&draft.uuid()).map_err(|e| Refusal::new(Code::Internal, e.to_string()))?;
    draft.emit(Event::AdjustmentAsked {
        approval_id: approval_id.clone(),
        points,
        reason: reason.into(),
        by: by.clone(),
        at: now,
    });
    Ok(Reply::AwaitsApproval { approval_id })
}

pub(super) fn decide(
    draft: &mut Draft<'_>,
    approval_id: &ApprovalId,
    approve: bool,
    by: &Actor,
) -> Result<Reply, Refusal> {
    let now = draft.now;
    settle::settle(draft, now);
    let Some(asked) = draft.state.approvals().iter().find(|a| a.approval_id == *approval_id).cloned() else {
        return Err(Refusal::new(Code::AlreadyDecided, format!("approval {approval_id} was decided already")));
    };
    if asked.by == *by {
        return Err(Refusal::new(Code::SecondPersonRequired, format!("{by} asked for it and cannot decide it")));
    }
    if approve {
        check(draft, asked.points)?;
    }
    let view = ApprovalView {
        state: if approve { "approved" } else { "rejected" }.to_owned(),
        decided_by: Some(by.to_string()),
        ..view(&draft.state.id, &asked.approval_id, asked.points, &asked.reason, &asked.by)?
    };
    draft.emit(Event::AdjustmentDecided { view: Box::new(view), at: now });
    if approve {
        enter(draft, asked.points, &asked.reason, &asked.by)
    } else {
        Ok(Reply::Rejected { approval_id: approval_id.clone() })
    }
}

/// An adjustment that waits, as others see it.
pub(super) fn view(
    customer: &str,
    approval_id: &ApprovalId,
    points: i64,
    reason: &str,
    by: &Actor,
) -> Result<ApprovalView, Refusal> {
    Ok(ApprovalView {
        approval_id: approval_id.clone(),
        customer_id: crate::ids::CustomerId::new(customer).map_err(|e| Refusal::new(Code::Internal, e.to_string()))?,
        state: "open".to_owned(),
        points,
        reason: reason.to_owned(),
        asked_by: by.to_string(),
        decided_by: None,
    })
}

fn check(draft: &Draft<'_>, points: i64) -> Result<(), Refusal> {
    let Some(card) = draft.state.card.as_deref() else { return Err(cards::not_found(&draft.state.id)) };
    if card.status == CardStatus::Closed {
        return Err(Refusal::new(Code::CardClosed, "the card is closed for good"));
    }
    let available = draft.state.ledger.available();
    if points < 0 && -points > available {
        let detail = format!("points: {} to take, {available} available", -points);
        return Err(Refusal::new(Code::PointsInsufficient, detail).with_max(available));
    }
    Ok(())
}

fn enter(draft: &mut Draft<'_>, points: i64, reason: &str, by: &Actor) -> Result<Reply, Refusal> {
    let now = draft.now;
    let entry = if points > 0 {
        let expires = draft.expiry_of(now);
        draft.earn(now, points, Cause::Adjustment, None, Some((reason, by)), expires)
    } else {
        let mut lots = draft.state.ledger.soonest(-points, None);
        for part in &mut lots {
            part.points = -part.points;
        }
        draft.enter(now, points, Cause::Adjustment, None, Some((reason, by)), lots)
    };
    Ok(Reply::Adjusted { entry, balance: draft.state.ledger.balance })
}
