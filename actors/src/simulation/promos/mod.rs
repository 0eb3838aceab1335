//! Holds over several promos under a hostile store: customers, promos, effects and timers are the real ones; the
//! coordinator (`coordinator`, step by step the server's) is killed before any step, dawdles past the hold's time, and
//! its messages come again at any later time, in later lives too; processes die.
//!
//! When all is quiet, `audit` walks the rows of all entities in the order in which they became durable: after every row
//! no limit and no budget is exceeded, by promos' counts and by customers', and a live hold has its reservations. In the
//! end nothing is held, and uses, money and points are exactly what the clients were told.
//!
//! Errors that were planted, and are found: a reservation that is not counted as held, a capture that takes whatever its
//! token says, a refusal that releases without its row.

mod audit;
mod catalogue;
mod coordinator;

use std::{
    cell::{Cell, RefCell},
    collections::VecDeque,
    rc::Rc,
    time::Duration,
};

use adal_domain::{
    checkout::{Cart, Channel, LineQuantity},
    customer::{Command, Context, Customer, Reply},
    entity::{Effect, EntityKind},
    ids::{Actor, EventId, HoldId, LineId, OrderId, OrderKey, ShopId, Sku},
    line::{Line, Unit},
    offers::CompiledOffers,
    order_event::{CancelledBy, OrderEvent, OrderFact},
    promo::Promo,
    time::Timestamp,
};
use rand::{Rng, rngs::StdRng};

pub(super) use self::audit::Seen;
use self::coordinator::{Again, Coordinator, Letter, PRINT};
use super::{
    Scenario,
    check::Durable,
    witness::Witness,
    world::{Intent, Process},
};
use crate::{
    ask::{Answer, CommandId, Origin, Published, Request},
    route::Target,
    row::{self, Outcome},
};

/// When the simulated lives begin (see `world`).
const BEGIN: i64 = 1_800_000_000;
/// How many clients ask at the same time.
const CLIENTS: usize = 6;
/// What they ask, all in all.
const TASKS: usize = 70;
/// Points of each customer.
const POINTS: i64 = 1_500;

/// What a client wants, under one key until it is answered.
#[derive(Debug, Clone)]
struct Task {
    key: usize,
    customer: String,
    what: What,
}

#[derive(Debug, Clone)]
enum What {
    Card,
    Points,
    Hold { cart: Box<Cart>, ttl_s: i64 },
    Capture { hold_id: HoldId, order_id: OrderId, lines: Option<Vec<LineQuantity>> },
    Release { hold_id: HoldId },
    Cancel { order_id: OrderId },
}

/// The scenario, and what its clients know.
pub(super) struct Sales {
    customers: usize,
    offers: CompiledOffers,
    begun: Cell<usize>,
    /// Being asked.
    open: RefCell<Vec<Task>>,
    /// Asked in an earlier life and not answered.
    unanswered: RefCell<VecDeque<Task>>,
    /// Holds that nobody ends yet.
    holds: RefCell<Vec<(String, HoldId)>>,
    /// Orders that holds were captured for.
    orders: RefCell<Vec<(String, OrderId)>>,
    letters: RefCell<Vec<Letter>>,
    answered: RefCell<Vec<(Task, Outcome<Customer>)>>,
    seen: Rc<RefCell<Seen>>,
}

impl Sales {
    pub(super) fn new(customers: usize, seen: &Rc<RefCell<Seen>>) -> Self {
        Self {
            customers,
            offers: catalogue::compiled(),
            begun: Cell::new(0),
            open: RefCell::default(),
            unanswered: RefCell::default(),
            holds: RefCell::default(),
            orders: RefCell::default(),
            letters: RefCell::default(),
            answered: RefCell::default(),
            seen: Rc::clone(seen),
        }
    }

    fn next(&self, rng: &mut StdRng) -> Option<Task> {
        let task = self.unanswered.borrow_mut().pop_front().or_else(|| {
            let key = self.begun.get();
            (key < TASKS).then(|| {
                self.begun.set(key + 1);
                self.make(key, rng)
            })
        })?;
        self.open.borrow_mut().push(task.clone());
        Some(task)
    }

    fn make(&self, key: usize, rng: &mut StdRng) -> Task {
        let customer = |number| format!("shopper-{number}");
        if key < 2 * self.customers {
            let what = if key < self.customers { What::Card } else { What::Points };
            return Task { key, customer: customer(key % self.customers), what };
        }
        let (holds, orders) = (self.holds.borrow(), self.orders.borrow());
        let held = (!holds.is_empty()).then(|| rng.random_range(0..holds.len()));
        let ordered = (!orders.is_empty()).then(|| rng.random_range(0..orders.len()));
        match (rng.random_range(0..100), held, ordered) {
            (0..40, Some(held), _) => {
                let (customer, hold_id) = holds[held].clone();
                drop(holds);
                // At times two tills end the same hold.
                if rng.random_bool(0.9) {
                    self.holds.borrow_mut().swap_remove(held);
                }
                let own: Vec<OrderId> =
                    orders.iter().filter(|(known, _)| *known == customer).map(|(_, order)| order.clone()).collect();
                let order_id = match own.last().filter(|_| rng.random_bool(0.2)) {
                    Some(order) => order.clone(),
                    None => OrderId::new(&format!("o{key}")).unwrap(),
                };
                let less = LineQuantity { line_id: LineId::new("1").unwrap(), quantity: 1 };
                let lines = rng.random_bool(0.2).then(|| vec![less]);
                Task { key, customer, what: What::Capture { hold_id, order_id, lines } }
            }
            (40..46, Some(held), _) => {
                let (customer, hold_id) = holds[held].clone();
                Task { key, customer, what: What::Release { hold_id } }
            }
            (46..56, _, Some(ordered)) => {
                let (customer, order_id) = orders[ordered].clone();
                Task { key, customer, what: What::Cancel { order_id } }
            }
            _ => {
                let cart = Box::new(cart(rng));
                let ttl_s = rng.random_range(30..90);
                Task { key, customer: customer(rng.random_range(0..self.customers)), what: What::Hold { cart, ttl_s } }
            }
        }
    }

    /// `is_new`: nobody has answered it before.
    fn learn_from(&self, task: &Task, outcome: &Outcome<Customer>, is_new: bool) {
        self.open.borrow_mut().retain(|open| open.key != task.key);
        if !is_new {
            return;
        }
        match outcome {
            Ok(Reply::Held(quote)) => {
                let hold = quote.hold.as_ref().unwrap();
                self.holds.borrow_mut().push((task.customer.clone(), hold.hold_id.clone()));
            }
            Ok(Reply::Captured { order_id, .. }) => {
                self.orders.borrow_mut().push((task.customer.clone(), order_id.clone()));
            }
            _ => {}
        }
        self.answered.borrow_mut().push((task.clone(), outcome.clone()));
    }
}

fn cart(rng: &mut StdRng) -> Cart {
    let code = match rng.random_range(0..10) {
        0..4 => vec!["ten".to_owned()],
        4..7 => vec![catalogue::UNIQUE[rng.random_range(0..catalogue::UNIQUE.len())].to_owned()],
        _ => vec![],
    };
    let line = Line {
        line_id: LineId::new("1").unwrap(),
        sku: Sku::new("sku").unwrap(),
        category: None,
        brand: None,
        tags: vec![],
        quantity: rng.random_range(1..4),
        unit: Unit::Piece,
        unit_price_minor: Some(40_000),
        line_total_minor: None,
        min_price_minor: None,
    };
    Cart {
        shop_id: ShopId::new("s").unwrap(),
        channel: Channel::App,
        codes: code,
        points_to_burn: [0, 0, 50][rng.random_range(0..3)],
        payment_method: None,
        delivery_method: None,
        delivery_minor: 0,
        lines: vec![line],
    }
}

fn cancelled(key: usize, order_id: &OrderId) -> Command {
    let order = OrderKey { shop_id: ShopId::new("s").unwrap(), order_id: order_id.clone() };
    let fact = OrderFact::Cancelled { by: CancelledBy::Shop, after_picking: false };
    let event_id = EventId::new(&format!("e{key}")).unwrap();
    Command::Order(OrderEvent { event_id, order, at: Timestamp::from_seconds(BEGIN - 3_600), fact })
}

/// One coordinator's attempt to serve a task.
async fn serve(process: &Process<Sales>, task: &Task) -> Result<Answer<Customer>, Again> {
    let id = CommandId::of("till", &task.key.to_string());
    let coordinator = Coordinator { process, customer: &task.customer, id };
    let answer = match &task.what {
        What::Card => coordinator.tell(Command::IssueCard { since: None, barcode: None }).await?,
        What::Points => {
            let by = Actor::new("admin").unwrap();
            let adjust = Command::Adjust { points: POINTS, reason: "simulated".to_owned(), by };
            coordinator.tell(adjust).await?
        }
        What::Hold { cart, ttl_s } => coordinator.hold(cart, *ttl_s).await?,
        What::Capture { hold_id, order_id, lines } => coordinator.capture(hold_id, order_id, lines.as_ref()).await?,
        What::Release { hold_id } => coordinator.tell(Command::Release { hold_id: hold_id.clone() }).await?,
        What::Cancel { order_id } => coordinator.tell(cancelled(task.key, order_id)).await?,
    };
    match &answer.outcome {
        Err(refusal) if !refusal.is_recorded() => Err(Again),
        _ => Ok(answer),
    }
}

/// Has one task served until it is answered; `false` where there is none.
async fn client(process: &Process<Sales>) -> bool {
    let (task, pause) = {
        let mut world = process.world.borrow_mut();
        let world = &mut *world;
        let Some(task) = world.scenario.next(&mut world.rng) else { return false };
        (task, Duration::from_millis(world.rng.random_range(0..4_000)))
    };
    tokio::time::sleep(pause).await;
    for _ in 0..1_000 {
        if let Ok(answer) = serve(process, &task).await {
            let mut world = process.world.borrow_mut();
            let outcome = answer.outcome.clone();
            let id = Some(CommandId::of("till", &task.key.to_string()));
            // Repeated by its id: the command itself is not looked at.
            let request = Request { id, print: PRINT, command: Command::Wake };
            let is_new = world.acknowledge(Intent { entity: task.customer.clone(), request }, answer);
            world.scenario.learn_from(&task, &outcome, is_new);
            return true;
        }
        let pause = process.world.borrow_mut().rng.random_range(5..2_000);
        tokio::time::sleep(Duration::from_millis(pause)).await;
    }
    panic!("nobody answers {task:?}");
}

/// Brings what was delayed, and copies of all messages, some of them more than once, as long as anybody asks.
async fn postman(process: &Process<Sales>, busy: &Cell<usize>) {
    loop {
        let (letter, effect, pause) = {
            let mut world = process.world.borrow_mut();
            let world = &mut *world;
            let pause = Duration::from_millis(world.rng.random_range(20..2_000));
            let mut letters = world.scenario.letters.borrow_mut();
            // Often what is fresh: it can still do harm.
            let fresh = if world.rng.random_bool(0.5) { letters.len().saturating_sub(1) } else { 0 };
            let any = (!letters.is_empty()).then(|| world.rng.random_range(fresh..letters.len()));
            let again = world.rng.random_bool(0.2);
            let letter = any.map(|any| if again { letters[any].clone() } else { letters.swap_remove(any) });
            (letter, old_effect(&world.witness, &mut world.rng), pause)
        };
        if letter.is_none() && busy.get() == 0 {
            return;
        }
        match letter {
            None => {}
            Some(Letter::Promo(promo, request)) => {
                let command = adal_domain::promo::Command::Reserve(Box::new(request));
                let asked = Request::<Promo> { id: None, print: [0; 16], command };
                let _ = process.owed.ask(&promo, asked).await;
            }
            Some(Letter::Owner(customer, request)) => {
                let _ = process.asked.ask(&customer, *request).await;
            }
        }
        if let Some((origin, Effect { target, command })) = effect {
            let _ = match target.kind {
                EntityKind::Promo => process.owed.deliver(&target.id, origin, &command).await,
                _ => process.asked.deliver(&target.id, origin, &command).await,
            };
        }
        tokio::time::sleep(pause).await;
    }
}

/// An effect of one of the latest rows that its target has had already: an older copy of it may come at any time.
fn old_effect(witness: &Witness, rng: &mut StdRng) -> Option<(Origin, Effect)> {
    let order = witness.order();
    let latest = &order[order.len().saturating_sub(40)..];
    let (source, seq) = latest.get(rng.random_range(0..latest.len().max(1)))?;
    let stored = witness.row(source, *seq)?;
    let effects: Vec<Effect> = match source.kind {
        EntityKind::Promo => row::decode::<Promo>(&stored).unwrap().effects().cloned().collect(),
        _ => row::decode::<Customer>(&stored).unwrap().effects().cloned().collect(),
    };
    let index = rng.random_range(0..effects.len().max(1));
    let effect = effects.get(index)?.clone();
    let index = u32::try_from(index).unwrap();
    let origin = Origin { source: source.clone(), seq: *seq, index };
    witness.is_delivered(source, *seq, index).then_some((origin, effect))
}

impl Scenario for Sales {
    type Asked = Customer;
    type Owed = Promo;

    fn ids(&self) -> Vec<String> {
        (0..self.customers).map(|number| format!("shopper-{number}")).collect()
    }

    fn command(&self, _: &mut StdRng, _: &str) -> (Command, bool) {
        (Command::Wake, false)
    }

    async fn clients(process: &Process<Self>) {
        {
            let world = process.world.borrow();
            let mut open = world.scenario.open.borrow_mut();
            world.scenario.unanswered.borrow_mut().extend(open.drain(..));
        }
        let busy = Cell::new(CLIENTS);
        let one = || async {
            while client(process).await {}
            busy.set(busy.get() - 1);
        };
        tokio::join!(futures_util::future::join_all((0..CLIENTS).map(|_| one())), postman(process, &busy));
    }

    fn life_ms(&self) -> std::ops::Range<u64> {
        1_000..240_000
    }

    fn contexts(&self) -> (Context, ()) {
        (catalogue::context(), ())
    }

    fn settled_after(&self) -> u64 {
        900
    }

    fn verify(&self, asked: &[Published<Customer>], _: &[Published<Promo>], _: &[Command], _: Timestamp) {
        for customer in asked {
            assert_eq!(adal_domain::invariants::broken(&customer.state), Vec::<&str>::new());
            assert!(customer.state.holds.iter().all(|hold| hold.expired), "a hold outlived its time");
        }
    }

    fn audit(&self, durable: &Durable) {
        audit::run(durable, &self.answered.borrow(), &mut self.seen.borrow_mut());
    }
}
