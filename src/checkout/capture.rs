//! Capturing a hold. One that is live needs its owner alone; one past its time first asks the promos what they still
//! have: step 7 of the protocol.

use adal_domain::{
    checkout::{LineQuantity, reserve::Marks},
    customer::{Command, Lately, State, hold::Hold},
    entity::{EntityKey, EntityKind},
    errors::Code,
    ids::{ExchangeId, HoldId, OrderId},
    time::Timestamp,
};

use super::{
    Identity, LATE_S, Told, answered, ask, let_go, new_hold_id, recorded,
    reserve::{NotKept, Prepared, needs_of, reserve},
};
use crate::{app::App, http::problem::Problem};

/// How often a capture is prepared anew because its hold ran out meanwhile.
const ATTEMPTS: usize = 3;

/// Takes what is held, or what is left of it.
///
/// # Errors
/// The rules' refusal, or why it cannot be taken now.
pub async fn capture(
    app: &App,
    owner: &EntityKey,
    identity: Identity,
    (hold_id, order_id): (HoldId, OrderId),
    lines: Option<Vec<LineQuantity>>,
) -> Result<Told, Problem> {
    for _ in 0..ATTEMPTS {
        let late = prepare(app, owner, identity, &hold_id).await?;
        let prepared = match late {
            Late::Answered(told) => return told,
            Late::Not => None,
            Late::Prepared(prepared) => Some(prepared),
        };
        let late = prepared.as_ref().map(|prepared| {
            Box::new(Lately {
                hold_id: prepared.hold_id.clone(),
                expires_at: prepared.expires_at,
                asked: prepared.asked.clone(),
                parts: prepared.parts.clone(),
            })
        });
        let command =
            Command::Capture { hold_id: hold_id.clone(), order_id: order_id.clone(), lines: lines.clone(), late };
        let told = ask(app, owner, Some(identity), command).await?;
        // Another copy of the request may have been answered meanwhile, without what this one prepared.
        if let Some(prepared) = &prepared
            && !matches!(&told, Ok(Told { replayed: false, .. }))
        {
            let_go(app, owner, prepared).await;
        }
        if matches!(&told, Err((refusal, false)) if refusal.code == Code::Busy) {
            continue;
        }
        return answered(told);
    }
    Err(Problem::new(Code::Busy, "the hold changes faster than it can be captured; repeat it with the same key"))
}

enum Late {
    /// The request was answered before.
    Answered(Result<Told, Problem>),
    /// The hold is live, or has no offers.
    Not,
    /// What promos still had.
    Prepared(Prepared),
}

async fn prepare(app: &App, owner: &EntityKey, identity: Identity, hold_id: &HoldId) -> Result<Late, Problem> {
    let Some((hold, last)) = published(app, owner, hold_id).await? else { return Ok(Late::Not) };
    // As its owner decides it: never before its last row.
    let now = app.now().max(last);
    let over = hold.expired || hold.expires_at <= now;
    if !over || hold.held_offers().is_empty() {
        return Ok(Late::Not);
    }
    if let Some(outcome) = recorded(app, owner, identity).await? {
        return Ok(Late::Answered(answered(outcome)));
    }
    let in_force = app.policy.load_full();
    let mut prepared = Prepared {
        hold_id: new_hold_id(now)?,
        expires_at: now.plus_seconds(LATE_S),
        asked: Vec::new(),
        parts: Vec::new(),
    };
    // Counted again where the hold counted: under its own keys, in its own periods.
    let Some(offers) = &hold.offers else { return Ok(Late::Not) };
    let marks = Marks { addresses: offers.addresses.clone(), link_keys: offers.link_keys.clone() };
    let exchange = ExchangeId::new(prepared.hold_id.as_str()).map_err(Problem::internal)?;
    let needs = needs_of(&marks, &offers.offers, &in_force.calendar, offers.at);
    for need in needs.into_iter().map(|need| need.late(now)) {
        let request = marks.request(&need, &exchange, owner, prepared.expires_at, true);
        match reserve(app, &need, request, &mut prepared).await {
            // What is gone is gone: a printed sale is never refused.
            Ok(()) | Err(NotKept::Gone(_)) => {}
            Err(NotKept::Unknown(problem)) => {
                let_go(app, owner, &prepared).await;
                return Err(problem);
            }
        }
    }
    Ok(Late::Prepared(prepared))
}

/// The hold as its owner has published it, and when that was decided.
async fn published(app: &App, owner: &EntityKey, hold_id: &HoldId) -> Result<Option<(Hold, Timestamp)>, Problem> {
    let find = |state: &State, at| Some((state.holds.iter().find(|hold| hold.hold_id == *hold_id)?.clone(), at));
    match owner.kind {
        EntityKind::Guest => {
            let read = app.guests.read(&owner.id).await?;
            Ok(find(&read.state, read.at))
        }
        EntityKind::Customer => {
            let read = app.customers.read(&owner.id).await?;
            Ok(find(&read.state, read.at))
        }
        EntityKind::Catalogue | EntityKind::Promo => Err(Problem::internal("only shoppers hold carts")),
    }
}
