//! The real rules under the same store: customers whose orders come twice, late and in any order, whose points are held,
//! captured, released and returned, while the process dies and the store fails.

use std::{cell::RefCell, collections::HashMap, sync::Arc};

use adal_domain::{
    checkout::{Cart, Channel, LineQuantity},
    customer::{CardChange, Command, Context, Customer, Guest, HoldRequest, Reply},
    ids::{Actor, EventId, HoldId, LineId, OrderId, OrderKey, ShopId, Sku},
    line::{Line, Unit},
    order_event::{CancelledBy, ChargedBy, DeliveredLine, Fault, OrderEvent, OrderFact},
    policy::Policy,
    time::Timestamp,
};
use rand::{Rng, rngs::StdRng};

use super::Scenario;
use crate::{ask::Published, row::Outcome};

/// When the simulated lives begin (see `world`); events are dated in the days before.
const BEGIN: i64 = 1_800_000_000;

pub(super) struct Shoppers {
    customers: usize,
    /// Customers that have asked for their card.
    carded: RefCell<HashMap<String, u32>>,
    /// Open holds, as clients were told.
    holds: RefCell<Vec<(String, HoldId)>>,
}

impl Shoppers {
    pub(super) fn new(customers: usize) -> Self {
        Self { customers, carded: RefCell::default(), holds: RefCell::default() }
    }
}

fn line(id: u32, unit: Unit, quantity: i64) -> Line {
    Line {
        line_id: LineId::new(&id.to_string()).unwrap(),
        sku: Sku::new("sku").unwrap(),
        category: None,
        brand: None,
        tags: vec![],
        quantity,
        unit,
        unit_price_minor: Some(150_000),
        line_total_minor: None,
        min_price_minor: None,
    }
}

fn lines() -> Vec<Line> {
    vec![line(1, Unit::Piece, 3), line(2, Unit::Gram, 1000)]
}

/// One of the customer's own orders: that an order is one customer's is the edge's business.
fn order_of(id: &str, rng: &mut StdRng) -> OrderId {
    OrderId::new(&format!("{id}-o{}", rng.random_range(0..6))).unwrap()
}

fn order_event(id: &str, rng: &mut StdRng) -> Command {
    let order_id = order_of(id, rng);
    let line_id = LineId::new("1").unwrap();
    let fact = match rng.random_range(0..100) {
        0..35 => {
            OrderFact::Placed { lines: lines(), total_minor: None, charged_by: ChargedBy::Ordered, link_keys: vec![] }
        }
        35..70 => OrderFact::Completed { paid_minor: 600_000 },
        70..80 => OrderFact::Weighed {
            lines: vec![DeliveredLine { line_id: LineId::new("2").unwrap(), delivered_g: rng.random_range(700..1000) }],
        },
        80..95 => OrderFact::Returned {
            lines: vec![LineQuantity { line_id, quantity: 1 }],
            refund_minor: None,
            fault: Fault::Customer,
        },
        _ => OrderFact::Cancelled { by: CancelledBy::Customer, after_picking: true },
    };
    let order = OrderKey { shop_id: ShopId::new("s").unwrap(), order_id };
    let at = Timestamp::from_seconds(BEGIN - rng.random_range(0..40) * 43_200);
    let event_id = EventId::new(&format!("e{}", rng.random_range(0..100_000))).unwrap();
    Command::Order(OrderEvent { event_id, order, at, fact })
}

fn hold(rng: &mut StdRng) -> Command {
    let cart = Cart {
        shop_id: ShopId::new("s").unwrap(),
        channel: Channel::App,
        codes: vec![],
        points_to_burn: rng.random_range(0..120),
        payment_method: None,
        delivery_method: None,
        delivery_minor: 0,
        lines: lines(),
    };
    Command::Hold(HoldRequest {
        cart,
        ttl_s: Some(rng.random_range(30..90)),
        expected_total_minor: None,
        scan_step: None,
        no_burn: None,
        offered: None,
    })
}

impl Scenario for Shoppers {
    type Asked = Customer;
    type Owed = Guest;

    fn ids(&self) -> Vec<String> {
        (0..self.customers).map(|number| format!("customer-{number}")).collect()
    }

    fn command(&self, rng: &mut StdRng, id: &str) -> (Command, bool) {
        let by = || Actor::new("admin").unwrap();
        let mut carded = self.carded.borrow_mut();
        let asked = carded.entry(id.to_owned()).or_default();
        *asked += 1;
        if *asked == 1 {
            return (Command::IssueCard { since: None, barcode: None }, true);
        }
        let mut holds = self.holds.borrow_mut();
        let held = holds.iter().position(|(owner, _)| owner == id);
        let command = match (rng.random_range(0..100), held) {
            (0..12, _) => {
                Command::Adjust { points: rng.random_range(-300..900), reason: "simulated".to_owned(), by: by() }
            }
            (12..24, _) => hold(rng),
            (24..34, Some(held)) => {
                let (hold_id, order_id) = (holds.swap_remove(held).1, order_of(id, rng));
                Command::Capture { hold_id, order_id, lines: None, late: None }
            }
            (34..40, Some(held)) => Command::Release { hold_id: holds.swap_remove(held).1 },
            (40..43, _) => {
                Command::ChangeCard { change: CardChange::Reissue, barcode: None, reason: "lost".to_owned(), by: by() }
            }
            (43..46, _) => Command::Wake,
            _ => order_event(id, rng),
        };
        let with_id = command != Command::Wake;
        (command, with_id)
    }

    fn learn(&self, id: &str, outcome: &Outcome<Customer>) {
        if let Ok(Reply::Held(quote)) = outcome
            && let Some(hold) = &quote.hold
        {
            self.holds.borrow_mut().push((id.to_owned(), hold.hold_id.clone()));
        }
    }

    fn contexts(&self) -> (Context, Context) {
        let policy = Policy::default();
        let calendar = policy.calendar().unwrap();
        let context = Context {
            policy: Arc::new(policy),
            calendar,
            revision: 0,
            earn: true,
            burn: true,
            trust_limits: true,
            promos: true,
            campaigns: true,
        };
        (context.clone(), context)
    }

    fn settled_after(&self) -> u64 {
        120
    }

    fn verify(&self, asked: &[Published<Customer>], _: &[Published<Guest>], _: &[Command], _: Timestamp) {
        for customer in asked {
            assert_eq!(adal_domain::invariants::broken(&customer.state), Vec::<&str>::new());
            assert!(customer.state.holds.iter().all(|hold| hold.expired), "a hold outlived its time");
        }
        assert!(asked.iter().any(|customer| customer.state.ledger.entries > 0), "nothing was earned at all");
    }
}
