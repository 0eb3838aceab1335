//! Capturing a hold. One that is live needs its owner alone; one past its time first asks the promos what they still
//! have: step 7 of the protocol.

use adal_domain::{
    checkout::LineQuantity,
    customer::{Command, Lately, State, hold::Hold},
    entity::{EntityKey, EntityKind},
    errors::Code,
    ids::{ExchangeId, HoldId, OrderId},
};

use super::{
    Asked, Identity, LATE_S, Told, answered, ask, let_go, new_hold_id, recorded,
    reserve::{Marks, NotKept, Prepared, reserve, together, unique_code},
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
                parts: prepared.parts.clone(),
            })
        });
        let command =
            Command::Capture { hold_id: hold_id.clone(), order_id: order_id.clone(), lines: lines.clone(), late };
        let told = ask(app, owner, Some(identity), command).await?;
        if let Err((refusal, replayed)) = &told {
            if let Some(prepared) = &prepared {
                let_go(app, owner, prepared).await;
            }
            if refusal.code == Code::Busy && !replayed {
                continue;
            }
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
    let now = app.now();
    let Some(hold) = published(app, owner, hold_id).await? else { return Ok(Late::Not) };
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
    // The address and the link keys of the hold's own request are not kept: those limits have let it pass once.
    let asked = Asked {
        customer: hold.standing.customer_id.clone(),
        cart: hold.cart.clone(),
        scan_step: None,
        no_burn: None,
        address: None,
        link_keys: Vec::new(),
        terminal: None,
        explain: false,
    };
    let marks = Marks::of(&app.ring, &asked);
    let time = (&in_force.calendar, now);
    let needs = hold
        .held_offers()
        .iter()
        .flat_map(|held| {
            marks.needs(&held.offer_id, &held.offer, unique_code(held).as_ref(), held.discount_minor, time)
        })
        .collect();
    let exchange = ExchangeId::new(prepared.hold_id.as_str()).map_err(Problem::internal)?;
    for need in together(needs) {
        let request = marks.request(&app.ring, &need, &exchange, owner, prepared.expires_at, true);
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

/// The hold as its owner has published it.
async fn published(app: &App, owner: &EntityKey, hold_id: &HoldId) -> Result<Option<Hold>, Problem> {
    let find = |state: &State| state.holds.iter().find(|hold| hold.hold_id == *hold_id).cloned();
    match owner.kind {
        EntityKind::Guest => Ok(find(&app.guests.read(&owner.id).await?.state)),
        EntityKind::Customer => Ok(find(&app.customers.read(&owner.id).await?.state)),
        EntityKind::Catalogue | EntityKind::Promo => Err(Problem::internal("only shoppers hold carts")),
    }
}
