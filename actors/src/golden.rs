//! What format 1 looks like on disk, for ever: a customer's rows and snapshot as this version wrote them, and the state
//! that they gave. Every later version must read them to the same state.
//!
//! `ADAL_UPDATE=1 cargo test -p adal-actors golden` writes the files of a new format; those of a released one are never
//! written again.

use std::{collections::BTreeSet, path::PathBuf, sync::Arc};

use adal_domain::{
    card::Barcode,
    checkout::{Cart, Channel, LineQuantity},
    customer::{CardChange, Command, Context, Customer, HoldRequest, Reply},
    entity::{Entity, Moment},
    ids::{Actor, ApprovalId, EntryId, EventId, FlagName, HoldId, LineId, OrderId, OrderKey, ShopId, Sku},
    line::{Line, Unit},
    order_event::{CancelledBy, ChargedBy, DeliveredLine, Fault, OrderEvent, OrderFact},
    policy::Policy,
    qr::Step,
    time::Timestamp,
};
use serde_json::Value;

use crate::{
    ask::Published,
    ports::{Opened, StoredRow, StoredSnapshot},
    replay,
    row::{self, Recorded},
};

/// Rows as the file has them: (seq, at, body).
type Rows = Vec<(u64, i64, serde_bytes::ByteBuf)>;

fn file(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("golden").join(name)
}

/// 2026-01-05T04:00:00Z, a Monday, and so many hours later.
fn hour(hours: i64) -> Timestamp {
    Timestamp::from_seconds(1_767_585_600 + hours * 3600)
}

struct Story {
    head: Published<Customer>,
    rows: Rows,
    context: Context,
    events: BTreeSet<String>,
}

impl Story {
    fn new() -> Self {
        let policy = Policy::default();
        let calendar = policy.calendar().unwrap();
        let context = Context {
            policy: Arc::new(policy),
            calendar,
            revision: 1,
            earn: true,
            burn: true,
            trust_limits: true,
            promos: true,
            campaigns: true,
        };
        Self { head: Published::initial("golden"), rows: Vec::new(), context, events: BTreeSet::new() }
    }

    /// Decides a command as the loop does, one row each.
    fn tell(&mut self, now: Timestamp, command: &Command) -> Result<Reply, adal_domain::errors::Refusal> {
        let seq = self.head.seq + 1;
        let recalled: Vec<_> = Customer::recalls(&self.head.state, command)
            .into_iter()
            .map(|wanted| {
                (wanted, row::decode::<Customer>(&stored(&self.rows, wanted)).unwrap().events().cloned().collect())
            })
            .collect();
        let mut entropy = [7; 16];
        entropy[8..].copy_from_slice(&seq.to_be_bytes());
        let now = now.max(self.head.at);
        let moment = Moment { now, context: &self.context, seq, index: 0, entropy, recalled: &recalled };
        let (outcome, events) = match Customer::decide(&self.head.state, command, &moment) {
            Ok(decision) => (Ok(decision.reply), decision.events),
            Err(refusal) => (Err(refusal), Vec::new()),
        };
        for event in &events {
            Customer::apply(&mut self.head.state, event, seq);
            let name = serde_json::to_value(event).unwrap();
            self.events.extend(name.as_object().unwrap().keys().cloned());
        }
        let recorded = Recorded::<Customer> {
            id: Some(crate::ask::CommandId::of("golden", &seq.to_string())),
            origin: None,
            print: [7; 16],
            outcome: outcome.clone(),
            events,
            effects: Vec::new(),
        };
        self.rows.push((seq, now.0, row::encode(&[recorded]).unwrap().into()));
        (self.head.seq, self.head.at) = (seq, now);
        outcome
    }

    fn order(&mut self, id: &str, at: Timestamp, fact: OrderFact) {
        let event_id = EventId::new(&format!("e{}", self.head.seq)).unwrap();
        let order = OrderKey { shop_id: ShopId::new("s1").unwrap(), order_id: OrderId::new(id).unwrap() };
        self.tell(at, &Command::Order(OrderEvent { event_id, order, at, fact })).unwrap();
    }

    fn hold(&mut self, at: Timestamp, points: i64, step: Option<Step>) -> HoldId {
        let cart = Cart {
            shop_id: ShopId::new("s1").unwrap(),
            channel: Channel::Pos,
            codes: Vec::new(),
            points_to_burn: points,
            payment_method: None,
            delivery_method: None,
            delivery_minor: 0,
            lines: lines(),
        };
        let request = HoldRequest {
            cart,
            ttl_s: None,
            expected_total_minor: None,
            scan_step: step,
            no_burn: None,
            offered: None,
        };
        match self.tell(at, &Command::Hold(request)) {
            Ok(Reply::Held(quote)) => quote.hold.unwrap().hold_id,
            other => panic!("{other:?}"),
        }
    }
}

fn stored(rows: &Rows, seq: u64) -> StoredRow {
    let (seq, at, body) = rows.iter().find(|(known, _, _)| *known == seq).unwrap();
    StoredRow { seq: *seq, at: Timestamp(*at), format: Customer::FORMAT, body: body.to_vec() }
}

fn lines() -> Vec<Line> {
    let line = |id: &str, quantity, unit| Line {
        line_id: LineId::new(id).unwrap(),
        sku: Sku::new("sku").unwrap(),
        category: None,
        brand: None,
        tags: Vec::new(),
        quantity,
        unit,
        unit_price_minor: Some(200_000),
        line_total_minor: None,
        min_price_minor: None,
    };
    vec![line("1", 2, Unit::Piece), line("2", 1000, Unit::Gram)]
}

fn placed() -> OrderFact {
    OrderFact::Placed { lines: lines(), total_minor: None, charged_by: ChargedBy::Ordered, link_keys: vec!["k".into()] }
}

fn returned(quantity: i64) -> OrderFact {
    let line_id = LineId::new("1").unwrap();
    OrderFact::Returned { lines: vec![LineQuantity { line_id, quantity }], refund_minor: None, fault: Fault::Customer }
}

fn weighed(delivered_g: i64) -> OrderFact {
    OrderFact::Weighed { lines: vec![DeliveredLine { line_id: LineId::new("2").unwrap(), delivered_g }] }
}

/// A life with every kind of event.
fn story() -> Story {
    let mut story = Story::new();
    let by = |who: &str| Actor::new(who).unwrap();
    let why = || "for the golden file".to_owned();
    let change =
        |change| Command::ChangeCard { change, barcode: Some(Barcode::of_number(9)), reason: why(), by: by("a") };
    story.tell(hour(0), &Command::IssueCard { since: None, barcode: Some(Barcode::of_number(8)) }).unwrap();
    for how in [CardChange::Block, CardChange::Unblock, CardChange::Reissue] {
        story.tell(hour(1), &change(how)).unwrap();
    }
    story.tell(hour(30), &Command::Adjust { points: 1000, reason: why(), by: by("a") }).unwrap();
    let asked = story.tell(hour(30), &Command::Adjust { points: 3000, reason: why(), by: by("a") }).unwrap();
    let Reply::AwaitsApproval { approval_id } = asked else { panic!("{asked:?}") };
    story.tell(hour(31), &decide(approval_id)).unwrap();
    for number in 0..7 {
        story.order(&format!("o{number}"), hour(32), placed());
        story.order(&format!("o{number}"), hour(33), OrderFact::Completed { paid_minor: 600_000 });
    }
    let reviews: Vec<EntryId> = story.head.state.reviews().into_iter().map(|review| review.entry).collect();
    for (entry, release) in reviews.into_iter().zip([true, false]) {
        story.tell(hour(34), &Command::DecideReview { entry, release, reason: why(), by: by("a") }).unwrap();
    }
    for (id, quantity) in [("o0", 1), ("o5", 1), ("o6", 2)] {
        story.order(id, hour(60), returned(quantity));
    }
    story.order("kept", hour(61), weighed(900));
    story.order("kept", hour(61), OrderFact::Completed { paid_minor: 600_000 });
    story.order("kept", hour(61), returned(1));
    story.order("kept", hour(61), placed());
    story.order("gone", hour(62), OrderFact::Cancelled { by: CancelledBy::Customer, after_picking: true });
    for flag in ["dismissed", "confirmed"] {
        let flag = FlagName::new(flag).unwrap();
        story.tell(hour(63), &Command::RaiseFlag { flag: flag.clone(), reason: why(), by: by("a") }).unwrap();
        let confirm = flag.as_str() == "confirmed";
        story.tell(hour(64), &Command::DecideFlag { flag, confirm, by: by("b") }).unwrap();
    }
    burns(&mut story);
    years(&mut story);
    story
}

fn decide(approval_id: ApprovalId) -> Command {
    Command::DecideAdjustment { approval_id, approve: true, by: Actor::new("b").unwrap() }
}

/// Holds that end in every way, and points given back into lots that live, that live again, and into none.
fn burns(story: &mut Story) {
    let capture = |hold_id, order: &str| Command::Capture {
        hold_id,
        order_id: OrderId::new(order).unwrap(),
        lines: Some(vec![LineQuantity { line_id: LineId::new("1").unwrap(), quantity: 2 }]),
        late: None,
    };
    story.hold(hour(70), 100, Some(Step(5)));
    let hold = story.hold(hour(70), 100, Some(Step(5)));
    story.tell(hour(70), &capture(hold, "b1")).unwrap();
    let hold = story.hold(hour(71), 50, None);
    story.tell(hour(71), &Command::Release { hold_id: hold }).unwrap();
    let hold = story.hold(hour(72), 60, None);
    story.tell(hour(74), &capture(hold, "b2")).unwrap();
    story.hold(hour(80), 10, None);
    story.tell(hour(90), &Command::Wake).unwrap();
    story.order("b1", hour(91), placed());
    story.order("b1", hour(91), OrderFact::Completed { paid_minor: 300_000 });
    story.order("b2", hour(91), placed());
    story.order("b2", hour(91), OrderFact::Completed { paid_minor: 300_000 });
    // All points go, so the return of a spent cashback becomes a debt.
    story.tell(hour(140), &Command::Wake).unwrap();
    while story.head.state.ledger.available() > 0 {
        let points = (-story.head.state.ledger.available()).max(-2000);
        let (reason, by) = ("spent".to_owned(), Actor::new("a").unwrap());
        story.tell(hour(140), &Command::Adjust { points, reason, by }).unwrap();
    }
    story.order("o1", hour(150), returned(2));
}

/// What only years bring: expiry, a second life, facts that age, an order that is forgotten.
fn years(story: &mut Story) {
    const DAY: i64 = 24;
    story
        .tell(hour(200), &Command::Adjust { points: 500, reason: "gift".into(), by: Actor::new("a").unwrap() })
        .unwrap();
    story.order("open", hour(201), placed());
    story.order("unspent", hour(201), placed());
    story.order("unspent", hour(201), OrderFact::Completed { paid_minor: 600_000 });
    story.tell(hour(380 * DAY), &Command::Wake).unwrap();
    story.order("b1", hour(390 * DAY), returned(1));
    story.order("unspent", hour(391 * DAY), returned(1));
    story.order("late", hour(500 * DAY), placed());
    story.order("late", hour(500 * DAY), OrderFact::Completed { paid_minor: 600_000 });
    story.order("last", hour(900 * DAY), placed());
    story.order("last", hour(900 * DAY), OrderFact::Completed { paid_minor: 600_000 });
}

/// The kinds of event that format 1 knows.
const KINDS: [&str; 31] = [
    "adjustment_asked",
    "adjustment_decided",
    "burn_returned",
    "burned",
    "card_changed",
    "card_issued",
    "completion_kept",
    "counted",
    "debt",
    "entry",
    "expired_counted",
    "facts_aged",
    "flag_decided",
    "flag_raised",
    "held",
    "hold_ended",
    "lot_revived",
    "order_amended",
    "order_cancelled",
    "order_completed",
    "order_forgotten",
    "order_placed",
    "order_weighed",
    "pending",
    "pending_ended",
    "return_kept",
    "review_ended",
    "signal",
    "trust",
    "under_review",
    "voided_counted",
];

#[test]
fn format_1_of_a_customer_is_read_to_the_recorded_state() {
    if std::env::var_os("ADAL_UPDATE").is_some() {
        let story = story();
        let missing: Vec<_> = KINDS.iter().filter(|kind| !story.events.contains(**kind)).collect();
        assert!(missing.is_empty(), "the story lacks {missing:?}");
        std::fs::create_dir_all(file("")).unwrap();
        std::fs::write(file("customer-1.rows"), rmp_serde::to_vec_named(&story.rows).unwrap()).unwrap();
        std::fs::write(file("customer-1.snapshot"), replay::snapshot(&story.head, None).unwrap().body).unwrap();
        let state = serde_json::to_string_pretty(&story.head.state).unwrap();
        std::fs::write(file("customer-1.state.json"), state + "\n").unwrap();
    }
    let rows: Rows = rmp_serde::from_slice(&std::fs::read(file("customer-1.rows")).unwrap()).unwrap();
    let expected: Value = serde_json::from_slice(&std::fs::read(file("customer-1.state.json")).unwrap()).unwrap();
    let rows_alone = rows.iter().map(|(seq, _, _)| stored(&rows, *seq)).collect();
    let opened = Opened { rows: rows_alone, ..Opened::default() };
    let fold = replay::fold::<Customer>("golden", &opened).unwrap();
    assert_eq!(serde_json::to_value(&fold.head.state).unwrap(), expected, "the rows give the recorded state");
    let snapshot =
        StoredSnapshot { seq: fold.head.seq, format: 1, body: std::fs::read(file("customer-1.snapshot")).unwrap() };
    let restored =
        replay::fold::<Customer>("golden", &Opened { snapshot: Some(snapshot), ..Opened::default() }).unwrap();
    assert_eq!(serde_json::to_value(&restored.head.state).unwrap(), expected, "so does the snapshot");
}
