//! The coordinator of checkouts: it prices carts from published states, reserves what customers share at promos, and has
//! the customer (or the guest) commit. It serves one request and keeps nothing: whatever it leaves undone when it dies,
//! promos and owners settle between them (`adal_domain::promo::protocol`). It must never release a reservation itself:
//! only a row of the owner does.
//!
//! `price` reads, `reserve` says what has to be asked of which promo, `hold` and `capture` are the two changes that need
//! promos, `attempts` counts wrong codes, `addresses` has what addresses are hashed with.

pub mod addresses;
pub mod attempts;
mod capture;
mod hold;
pub mod meters;
mod price;
mod reserve;
#[cfg(test)]
mod tests;

use std::net::IpAddr;

use adal_actors::{Answer, AskError, CommandId, Request};
use adal_domain::{
    checkout::{Cart, Channel},
    customer::{Command, Customer, Guest, Reply},
    entity::{EntityKey, EntityKind},
    errors::{Code, Refusal},
    ids::{CustomerId, HoldId},
    qr::Step,
    time::Timestamp,
};

pub use self::{
    capture::capture,
    hold::{Terms, hold},
    price::{PricedCart, Trial, quote},
};
use crate::{app::App, http::problem::Problem};

/// What is asked for, checked as far as the edge can.
#[derive(Debug, Clone)]
pub struct Asked {
    /// Whose cart; `None`: a guest's.
    pub customer: Option<CustomerId>,
    /// The cart.
    pub cart: Cart,
    /// The step of a fresh pay scan.
    pub scan_step: Option<Step>,
    /// Why points cannot be burned here, if so.
    pub no_burn: Option<Code>,
    /// The shopper's address, where it is known; never at a till.
    pub address: Option<IpAddr>,
    /// Opaque hashes of phone or payment means.
    pub link_keys: Vec<String>,
    /// The till that asks, where one does: wrong codes count against it. Not another of the shop's systems: all its
    /// customers come by one key.
    pub terminal: Option<Box<str>>,
    /// Whether the shop's own systems ask: they may know why a code does not apply, the public may not.
    pub is_trusted: bool,
    /// Whether all offers are to say why they do not count.
    pub explain: bool,
}

/// A request's identity: its key in the scope of its credential, and its body.
#[derive(Debug, Clone, Copy)]
pub struct Identity {
    /// Scope and key.
    pub id: CommandId,
    /// The body's print.
    pub print: [u8; 16],
}

/// What an owner answered.
#[derive(Debug)]
pub struct Told {
    /// Its reply.
    pub reply: Reply,
    /// Whether it is the recorded answer of an earlier request.
    pub replayed: bool,
}

/// Seconds that an offer's reservation for a late capture lasts: the time of one request.
const LATE_S: i64 = 60;

/// A hold id that was never used.
fn new_hold_id(now: Timestamp) -> Result<HoldId, Problem> {
    HoldId::new(&adal_domain::ids::uuid_v7(now, rand::random())).map_err(Problem::internal)
}

/// What an owner answered, whatever its kind.
type Outcome = Result<Told, (Refusal, bool)>;

fn outcome(outcome: Result<Reply, Refusal>, replayed: bool) -> Outcome {
    match outcome {
        Ok(reply) => Ok(Told { reply, replayed }),
        Err(refusal) => Err((refusal, replayed)),
    }
}

/// Asks the customer or the guest.
async fn ask(app: &App, owner: &EntityKey, identity: Option<Identity>, command: Command) -> Result<Outcome, Problem> {
    let (id, print) = identity.map_or((None, [0; 16]), |identity| (Some(identity.id), identity.print));
    match owner.kind {
        EntityKind::Guest => {
            let answer = app.guests.ask(&owner.id, Request::<Guest> { id, print, command }).await?;
            Ok(outcome(answer.outcome, answer.replayed))
        }
        EntityKind::Customer => {
            let answer = app.customers.ask(&owner.id, Request::<Customer> { id, print, command }).await?;
            Ok(outcome(answer.outcome, answer.replayed))
        }
        EntityKind::Catalogue | EntityKind::Promo => Err(Problem::internal("only shoppers hold carts")),
    }
}

/// Asks the customer or the guest something that needs no promo.
///
/// # Errors
/// The rules' refusal, or why it is not decided.
pub async fn tell(app: &App, owner: &EntityKey, identity: Identity, command: Command) -> Result<Told, Problem> {
    answered(ask(app, owner, Some(identity), command).await?)
}

/// The recorded answer to a request, where there is one: it is not to be prepared again.
async fn recorded(app: &App, owner: &EntityKey, identity: Identity) -> Result<Option<Outcome>, Problem> {
    let Identity { id, print } = identity;
    fn of<E: adal_domain::entity::Entity<Reply = Reply, Refusal = Refusal>>(
        answer: Result<Option<Answer<E>>, AskError>,
    ) -> Result<Option<Outcome>, Problem> {
        Ok(answer?.map(|answer| outcome(answer.outcome, true)))
    }
    match owner.kind {
        EntityKind::Guest => of(app.guests.recorded(&owner.id, id, print).await),
        EntityKind::Customer => of(app.customers.recorded(&owner.id, id, print).await),
        EntityKind::Catalogue | EntityKind::Promo => Err(Problem::internal("only shoppers hold carts")),
    }
}

/// As a handler answers it. A hold that was refused for good answers why.
fn answered(outcome: Outcome) -> Result<Told, Problem> {
    match outcome {
        Ok(Told { reply: Reply::HoldRefused(Some(why)), replayed }) => Err(Problem::from(*why).replayed(replayed)),
        Ok(told) => Ok(told),
        Err((refusal, replayed)) => Err(Problem::from(refusal).replayed(replayed)),
    }
}

/// Asks the owner to release what was prepared under `hold_id`, and says why where that is the request's answer.
async fn refuse(
    app: &App,
    owner: &EntityKey,
    identity: Option<Identity>,
    prepared: &reserve::Prepared,
    why: Option<Refusal>,
) -> Result<Outcome, Problem> {
    let command = Command::RefuseHold {
        hold_id: prepared.hold_id.clone(),
        expires_at: prepared.expires_at,
        promos: prepared.asked.clone(),
        why: why.map(Box::new),
    };
    ask(app, owner, identity, command).await
}

/// Lets go of what was prepared, as well as can be: what this cannot reach, the promos ask about themselves.
async fn let_go(app: &App, owner: &EntityKey, prepared: &reserve::Prepared) {
    if prepared.asked.is_empty() {
        return;
    }
    let problem = match refuse(app, owner, None, prepared, None).await {
        Ok(Ok(_)) => return,
        Ok(Err((refusal, _))) => refusal.to_string(),
        Err(problem) => problem.to_string(),
    };
    meters::let_go_failed();
    tracing::debug!(hold = %prepared.hold_id, problem, "a prepared hold is not let go yet");
}

/// Whether a shopper's address counts: not at a till, where it is the shop's own.
#[must_use]
pub fn counts_address(channel: Channel) -> bool {
    channel != Channel::Pos
}
