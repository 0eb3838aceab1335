//! Order events from the shop's own systems: one, or a list of up to 500, each answered on its own.
//!
//! What is answered per event is what the rules recorded: `applied`, `duplicate`, `refused`. An event that could not be
//! recorded now (the store is away, the customer's queue is full, the server stops) has no such answer, and `refused`
//! would be read as final: the whole request is then answered 503 or 429 with `Retry-After`. Repeating it is safe, for
//! every event is known by its own `event_id`. Only where waiting does not help (a quarantined or damaged customer) is
//! that event alone `refused`, so that one customer never holds up a shop's feed.
//!
//! An order is one customer's: before an event goes to its customer, the order is claimed for that one (`owners`).

use std::collections::HashMap;

use actix_web::{HttpRequest, http::StatusCode, web::Data};
use adal_actors::{AskError, CommandId, Request};
use adal_domain::{
    customer::{
        Command, Customer, Reply,
        read::{LineRefund, Refund, SignalKind},
    },
    errors::Code,
    ids::{CustomerId, EventId, OrderKey},
    order_event::{OrderEvent, OrderFact},
    time::Timestamp,
};
use futures_util::{StreamExt, TryStreamExt, stream};
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::{
    Answered,
    order_bodies::{EventsBody, Head, read},
    pos, scanned, unexpected,
};
use crate::{
    app::App,
    http::{
        body,
        extract::{Body, Principal, Role},
        owners::{self, Claim, Unclaimed},
        problem::Problem,
        respond::reply,
        watch::{self, Sight, is_told},
    },
};

/// The most events of a list. The least that a customer's queue must take (`actors.queue_per_entity`).
pub const MOST: usize = 500;

/// Customers of one list that are asked at the same time: enough to share a commit, few enough to leave room to others.
const AT_ONCE: usize = 32;

/// What became of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It took its place.
    Applied,
    /// It says nothing new: it came before, or another said the same.
    Duplicate,
    /// It left nothing.
    Refused,
}

/// The answer to one event.
#[derive(Debug, Serialize, ToSchema)]
pub struct EventResult {
    /// Which; absent where the event has none that could be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub event_id: Option<String>,
    /// What became of it.
    pub outcome: Outcome,
    /// Why it was refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<&'static str>,
    /// What exactly.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// The money that a return refunds, minor units; absent for other events, and for a return that waits for its order's
    /// completion.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refund_minor: Option<i64>,
    /// The same for each of its lines.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub lines: Vec<LineRefund>,
}

/// The answers, in the order of the events.
#[derive(Debug, Serialize, ToSchema)]
pub struct EventResults {
    /// One for each event.
    pub results: Vec<EventResult>,
}

/// Order events. A list is always answered 200, each event on its own; one event alone that is refused by a rule is
/// answered 422. No `Idempotency-Key`: `event_id` is one.
#[utoipa::path(
    post, path = "/v1/orders/events", tag = "orders",
    request_body = EventsBody,
    responses((status = 200, description = "What became of each.", body = EventResults)),
    extensions(("x-roles" = json!(["service", "pos"])))
)]
pub async fn events(request: HttpRequest, who: Principal, app: Data<App>, body: Body<Value>) -> Answered {
    who.require(&[Role::Service, Role::Pos])?;
    let terminal = pos::terminal(&who)?;
    let (events, alone) = match body.value {
        Value::Array(events) if events.len() > MOST => {
            let detail = format!("{} events, at most {MOST}", events.len());
            return Err(Problem::new(Code::TooManyLines, detail).with_max(500));
        }
        Value::Array(events) => (events, false),
        event => (vec![event], true),
    };
    // Once for the whole list: a terminal that sends a wrong code is slowed with its next list, and never in the midst of
    // one, which it would have to repeat for ever.
    if events.iter().any(|event| event.get("code").is_some()) {
        app.terminals.check(terminal, app.now())?;
    }
    let ids: Vec<_> = events.iter().map(event_id).collect();
    let mut fates = take(&app, &who, events).await?;
    if alone && let Some(Err(_)) = fates.first() {
        let Some(Err(problem)) = fates.pop() else { return Err(Problem::internal("one event has one fate")) };
        // A rule refused this one event: 422, whatever status the code has elsewhere.
        return Err(if problem.code().status() == 409 || problem.code().status() == 404 {
            problem.with_status(422)
        } else {
            problem
        });
    }
    let replayed = alone && matches!(fates.first(), Some(Ok(Taken { replayed: true, .. })));
    let results = ids.into_iter().zip(fates).map(|(event_id, fate)| result(event_id, fate)).collect();
    Ok(reply(&request, StatusCode::OK, &EventResults { results }, replayed))
}

/// An event that the rules accepted.
#[derive(Debug, Clone)]
struct Taken {
    changed: bool,
    replayed: bool,
    refund: Option<Box<Refund>>,
}

type Fate = Result<Taken, Problem>;

fn result(event_id: Option<String>, fate: Fate) -> EventResult {
    let (outcome, refund, problem) = match fate {
        Ok(Taken { changed: true, replayed: false, refund }) => (Outcome::Applied, refund, None),
        Ok(Taken { refund, .. }) => (Outcome::Duplicate, refund, None),
        Err(problem) => (Outcome::Refused, None, Some(problem)),
    };
    EventResult {
        event_id,
        outcome,
        code: problem.as_ref().map(|problem| problem.code().as_str()),
        detail: problem.map(|problem| problem.detail().to_owned()),
        refund_minor: refund.as_ref().map(|refund| refund.refund_minor),
        lines: refund.map_or_else(Vec::new, |refund| refund.lines),
    }
}

/// The event's own id, however wrong the rest is.
fn event_id(event: &Value) -> Option<String> {
    event.get("event_id").and_then(Value::as_str).filter(|id| EventId::new(id).is_ok()).map(str::to_owned)
}

/// An event on its way to its customer.
struct Prepared {
    customer: CustomerId,
    place: Place,
    request: Request<Customer>,
}

/// What of an event is needed when its answer is there.
struct Place {
    /// In the list.
    index: usize,
    order: OrderKey,
    /// When it says that the order was completed.
    completed: Option<Timestamp>,
}

/// What of a list goes to one customer.
#[derive(Default)]
struct Parcel<'a> {
    claims: HashMap<OrderKey, Claim<'a>>,
    places: Vec<Place>,
    requests: Vec<Request<Customer>>,
}

/// Reads, authorises and sends the events: those of one customer in their order, customers side by side.
async fn take(app: &App, who: &Principal, events: Vec<Value>) -> Result<Vec<Fate>, Problem> {
    let mut fates: Vec<Option<Fate>> = events.iter().map(|_| None).collect();
    let mut prepared = Vec::with_capacity(events.len());
    for (index, event) in events.into_iter().enumerate() {
        match prepare(app, who, index, event).await {
            Ok(event) => prepared.push(event),
            Err(problem) if problem.code().status() >= 429 => return Err(problem),
            Err(problem) => fates[index] = Some(Err(problem)),
        }
    }
    let mut parcels: HashMap<CustomerId, Parcel<'_>> = HashMap::new();
    let refused = claim_all(app, &prepared, &mut parcels).await?;
    for Prepared { customer, place, request } in prepared {
        match refused.get(&place.order).filter(|(whose, _)| whose.contains(&customer)) {
            Some((_, owner)) => fates[place.index] = Some(Err(of_another(app, &customer, &place.order, owner))),
            None => {
                let parcel = parcels.entry(customer).or_default();
                parcel.places.push(place);
                parcel.requests.push(request);
            }
        }
    }
    let asked = stream::iter(parcels).map(|(customer, parcel)| send(app, customer, parcel));
    let decided: Vec<Vec<(usize, Fate)>> = asked.buffer_unordered(AT_ONCE).try_collect().await?;
    for (index, fate) in decided.into_iter().flatten() {
        fates[index] = Some(fate);
    }
    let missing = || Problem::internal("an event has no fate");
    fates.into_iter().map(|fate| fate.ok_or_else(missing)).collect()
}

/// Orders that are not whose the list says: those customers, and whose they are.
type Refused = HashMap<OrderKey, (Vec<CustomerId>, CustomerId)>;

/// Claims every order of a list for its customer, in the list's order where it names several for one.
async fn claim_all<'a>(
    app: &'a App,
    prepared: &[Prepared],
    parcels: &mut HashMap<CustomerId, Parcel<'a>>,
) -> Result<Refused, Problem> {
    let mut wanted: HashMap<&OrderKey, Vec<&CustomerId>> = HashMap::new();
    for event in prepared {
        let customers = wanted.entry(&event.place.order).or_default();
        if !customers.contains(&&event.customer) {
            customers.push(&event.customer);
        }
    }
    let claiming = stream::iter(wanted).map(|(order, customers)| async move {
        let (mut claims, mut others, mut whose) = (Vec::new(), Vec::new(), None);
        for customer in customers {
            match owners::claim(app, order, customer).await {
                Ok(claim) => claims.push(claim),
                Err(Unclaimed::Another(owner)) => {
                    others.push(customer.clone());
                    whose = Some(owner);
                }
                Err(Unclaimed::Later(problem)) => return Err(problem),
            }
        }
        Ok((order, claims, whose.map(|owner| (others, owner))))
    });
    let mut claiming = std::pin::pin!(claiming.buffer_unordered(AT_ONCE));
    let mut refused = Refused::new();
    while let Some((order, claims, others)) = claiming.try_next().await? {
        for claim in claims {
            parcels.entry(claim.customer().clone()).or_default().claims.insert(order.clone(), claim);
        }
        refused.extend(others.map(|others| (order.clone(), others)));
    }
    Ok(refused)
}

/// Refuses an event of an order that is another customer's. Not recorded: nothing was asked that could record it.
fn of_another(app: &App, customer: &CustomerId, order: &OrderKey, owner: &CustomerId) -> Problem {
    let (shop_id, named) = (Some(order.shop_id.clone()), Some(order.clone()));
    // For people who may see both. A till is not told whose the order is.
    let detail = format!("order {order} is of customer {owner}");
    watch::tell(app, customer, Sight { kind: SignalKind::OrderOfTwoCustomers, shop_id, order: named, detail });
    Problem::new(Code::OrderOfAnotherCustomer, format!("customer_id: order {order} is another customer's"))
}

/// Sends one customer's events, and notes what is certain of each order by their answers.
async fn send(app: &App, customer: CustomerId, parcel: Parcel<'_>) -> Result<Vec<(usize, Fate)>, Problem> {
    let Parcel { mut claims, places, requests } = parcel;
    for place in &places {
        claims.entry(place.order.clone()).and_modify(Claim::sent);
    }
    let answers = match app.customers.ask_many(customer.as_str(), requests).await {
        Ok(answers) => answers,
        Err(error) => places.iter().map(|_| Err(error.clone())).collect(),
    };
    for (place, answer) in places.iter().zip(&answers) {
        if let Some(claim) = claims.get_mut(&place.order)
            && !matches!(answer, Err(AskError::Deadline))
        {
            claim.answered(answer.as_ref().is_ok_and(|answer| answer.outcome.is_ok()));
        }
    }
    let fates = decided(&places, answers)?;
    for (place, (_, fate)) in places.iter().zip(&fates) {
        count_completed(app, &customer, place, fate);
    }
    Ok(fates)
}

/// A pair of customer and shop that meets often in one week is a signal. An order counts once, in its own week, when its
/// completion is taken.
fn count_completed(app: &App, customer: &CustomerId, place: &Place, fate: &Fate) {
    let (Some(at), Ok(Taken { changed: true, replayed: false, .. })) = (place.completed, fate) else { return };
    let inforce = app.policy.load();
    let often = inforce.policy.limits.shop_orders;
    if often == 0 {
        return;
    }
    let shop = &place.order.shop_id;
    let count = app.watch.completed(customer, shop, inforce.calendar.day(at));
    if is_told(count, often) {
        let (shop_id, order) = (Some(shop.clone()), Some(place.order.clone()));
        let detail = format!("{count} orders completed at this shop in one week");
        watch::tell(app, customer, Sight { kind: SignalKind::ShopOrders, shop_id, order, detail });
    }
}

/// The fates of one customer's events.
///
/// # Errors
/// Where waiting and repeating the whole request helps.
fn decided(
    places: &[Place],
    answers: Vec<Result<adal_actors::Answer<Customer>, AskError>>,
) -> Result<Vec<(usize, Fate)>, Problem> {
    let indexes = places.iter().map(|place| place.index);
    indexes
        .zip(answers)
        .map(|(index, answer)| match answer {
            Ok(answer) => Ok((index, fate(answer))),
            Err(error @ (AskError::Busy | AskError::Unavailable { .. } | AskError::Stopping | AskError::Deadline)) => {
                Err(error.into())
            }
            Err(
                error @ (AskError::KeyReused
                | AskError::Quarantined
                | AskError::Panicked
                | AskError::NotRecorded
                | AskError::Corrupt { .. }),
            ) => Ok((index, Err(error.into()))),
        })
        .collect()
}

fn fate(answer: adal_actors::Answer<Customer>) -> Fate {
    match answer.outcome {
        Ok(Reply::Order { changed, refund }) => Ok(Taken { changed, replayed: answer.replayed, refund }),
        Ok(other) => Err(unexpected(&other)),
        Err(refusal) => Err(Problem::from(refusal).replayed(answer.replayed)),
    }
}

/// An event as a command for its customer.
async fn prepare(app: &App, who: &Principal, index: usize, event: Value) -> Result<Prepared, Problem> {
    let print = body::print("order event", "", &event);
    let (head, fact) = read(event)?;
    if who.role() == Some(Role::Pos) && who.shop() != Some(&head.order.shop_id) {
        return Err(Problem::new(Code::Forbidden, "shop_id: a till sends its own shop's events alone"));
    }
    let customer = whose(app, pos::terminal(who)?, &head).await?;
    let scope = format!("event:{}", head.order.shop_id);
    let id = Some(CommandId::of(&scope, head.event_id.as_str()));
    let completed = matches!(fact, OrderFact::Completed { .. }).then_some(head.at);
    let place = Place { index, order: head.order.clone(), completed };
    let command = Command::Order(OrderEvent { event_id: head.event_id, order: head.order, at: head.at, fact });
    Ok(Prepared { customer, place, request: Request { id, print, command } })
}

/// The customer of an event: named, or by the code that a till scanned while it was offline.
///
/// A code counts for `offline_code_hours` from when it was made, by the event's time and by ours: `at` is the caller's
/// word, and a code photographed long ago must not become good by it.
async fn whose(app: &App, terminal: &str, head: &Head) -> Result<CustomerId, Problem> {
    match (&head.customer_id, &head.code) {
        (Some(customer), None) => Ok(customer.clone()),
        (None, Some(code)) => {
            let now = app.now();
            let code = scanned::read(app, terminal, code, now)?;
            let hours = app.policy.load().policy.orders.offline_code_hours;
            if code.is_older_than(hours, head.at) {
                return Err(Problem::new(Code::QrExpired, format!("code: made more than {hours} h away from `at`")));
            }
            if code.is_older_than(hours, now) {
                return Err(Problem::new(Code::QrExpired, format!("code: made more than {hours} h ago")));
            }
            scanned::owner(app, code.barcode()).await
        }
        _ => Err(Problem::new(Code::Malformed, "customer_id, code: exactly one of them is needed")),
    }
}
