//! `kill -9` at random moments under load: what was acknowledged is there, once, and answers alike.

use std::{
    hash::{BuildHasher, RandomState},
    path::Path,
    sync::{
        Mutex,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use serde_json::{Value, json};

use crate::harness::{
    Client, TempDir, app_cart, completed, fresh_key, piece, placed,
    process::{Process, adal},
    real_now, returned,
};

const KILLS: usize = 20;
const CALLERS: usize = 4;
const CUSTOMERS: usize = 6;

/// A small generator (xorshift64*): a printed seed repeats a run's choices.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) % sides
    }
}

/// Who may do what.
struct Callers {
    admin: String,
    service: String,
}

/// A command, and what it was answered, if it was.
#[derive(Debug, Clone)]
struct Sent {
    admin: bool,
    path: String,
    key: String,
    body: Value,
    answer: Option<(u16, Value)>,
}

impl Sent {
    fn is_order(&self) -> bool {
        self.path == "/v1/orders/events"
    }

    /// What a repeat is answered: the same; of an order event, that it came before.
    fn repeated(&self, first: &Value) -> Value {
        let mut body = plain(first);
        if self.is_order() && body["results"][0]["outcome"] == "applied" {
            body["results"][0]["outcome"] = json!("duplicate");
        }
        body
    }

    /// The points that it made an order of `customer` earn, less what a return took.
    fn earned(&self, customer: &str) -> i64 {
        let taken = matches!(&self.answer, Some((200, _))) && self.is_order();
        if !taken || self.body["customer_id"] != customer {
            return 0;
        }
        match self.body["type"].as_str() {
            Some("completed") => EARNED,
            Some("returned") => -EARNED,
            _ => 0,
        }
    }

    /// Sends it (again); `None`: the server is gone.
    fn send(&self, callers: &Callers, url: &str) -> Option<crate::harness::Answer> {
        let client = Client::new(url, Some(if self.admin { &callers.admin } else { &callers.service }));
        client.send("POST", &self.path, &[("Idempotency-Key", &self.key)], Some(&self.body)).ok()
    }
}

/// What a caller began, and ends later.
#[derive(Debug, Default)]
struct Begun {
    holds: Vec<String>,
    orders: Vec<Order>,
}

#[derive(Debug)]
struct Order {
    id: String,
    customer: String,
    completed: bool,
}

/// What an order pays, minor units; at 1 % it earns `EARNED` points.
const PAID: i64 = 100_000;
const EARNED: i64 = 10;

/// One random command. Holds made by this caller are captured or released by it later, orders completed and returned.
fn choose(dice: &mut Dice, begun: &mut Begun) -> Sent {
    let customer = format!("c{}", dice.roll(CUSTOMERS as u64));
    let key = fresh_key();
    let post = |admin: bool, path: String, body: Value| Sent { admin, path, key: key.clone(), body, answer: None };
    match dice.roll(13) {
        0..4 => {
            let points = i64::try_from(dice.roll(60)).unwrap() - 20;
            post(true, format!("/v1/customers/{customer}/points/adjust"), json!({"points": points, "reason": "load"}))
        }
        4..7 => post(false, "/v1/checkout/holds".to_owned(), app_cart(&customer, 100_000, 5)),
        7..9 if !begun.holds.is_empty() => {
            let index = usize::try_from(dice.roll(begun.holds.len() as u64)).unwrap();
            let hold = begun.holds.swap_remove(index);
            if dice.roll(3) == 0 {
                return post(false, format!("/v1/checkout/holds/{hold}/release"), json!({}));
            }
            post(false, format!("/v1/checkout/holds/{hold}/capture"), json!({"order_id": format!("o-{key}")}))
        }
        _ => post(false, "/v1/orders/events".to_owned(), order_event(dice, &mut begun.orders, customer, &key)),
    }
}

/// The next event of one of the orders begun, or the first of a new one.
fn order_event(dice: &mut Dice, orders: &mut Vec<Order>, customer: String, key: &str) -> Value {
    let at = real_now();
    if orders.is_empty() || dice.roll(3) == 0 {
        let event = placed(&customer, key, &json!([piece("1", 1, PAID)]), &at);
        orders.push(Order { id: key.to_owned(), customer, completed: false });
        return event;
    }
    let index = usize::try_from(dice.roll(orders.len() as u64)).unwrap();
    if orders[index].completed {
        let order = orders.swap_remove(index);
        return returned(&order.customer, &order.id, &format!("{}-returned", order.id), "1", 1, &at);
    }
    orders[index].completed = true;
    completed(&orders[index].customer, &orders[index].id, PAID, &at)
}

#[test]
fn what_was_acknowledged_survives_kill_9_at_any_moment() {
    let seed = std::env::var("ADAL_SEED")
        .ok()
        .and_then(|seed| seed.parse().ok())
        .unwrap_or_else(|| RandomState::new().hash_one(7) | 1);
    println!("ADAL_SEED={seed}");
    let mut dice = Dice(seed);
    let dir = TempDir::new();
    let mut process = Process::start(dir.path());
    let callers = Callers { admin: process.make_key("admin", None), service: process.make_key("service", None) };
    let mut sent: Vec<Sent> =
        (0..CUSTOMERS).map(|n| first(&format!("/v1/customers/c{n}/card"), json!({}), false)).collect();
    sent.extend((0..CUSTOMERS).map(|n| {
        first(&format!("/v1/customers/c{n}/points/adjust"), json!({"points": 1000, "reason": "start"}), true)
    }));
    for one in &mut sent {
        let answer = one.send(&callers, &process.url).unwrap();
        one.answer = Some((answer.status, answer.body));
    }
    let mut begun: Vec<Begun> = (0..CALLERS).map(|_| Begun::default()).collect();
    for round in 0..KILLS {
        let after = 1 + usize::try_from(dice.roll(60)).unwrap();
        let mut new = load_until_killed(&mut process, &callers, &mut dice, after, &mut begun);
        println!("kill {round}: after {after} answers; {} commands, {} of them in doubt", new.len(), in_doubt(&new));
        process = Process::start(dir.path());
        confirm(&mut new, &callers, &process.url);
        sent.extend(new);
    }
    // Once more, all of it: nothing of an early round was lost by a later one.
    confirm(&mut sent, &callers, &process.url);
    check_balances(&sent, &callers, &process.url);
    for kind in ["placed", "completed", "returned"] {
        let taken = |one: &&Sent| one.body["type"] == kind && matches!(one.answer, Some((200, _)));
        let many = sent.iter().filter(taken).count();
        println!("{many} events say {kind}");
        assert!(many >= 5, "{many} {kind}: too few to show anything");
    }
    process.kill();
    check_store(dir.path());
}

fn first(path: &str, body: Value, admin: bool) -> Sent {
    Sent { admin, path: path.to_owned(), key: fresh_key(), body, answer: None }
}

fn in_doubt(sent: &[Sent]) -> usize {
    sent.iter().filter(|one| one.answer.is_none()).count()
}

/// Mixed load from several callers; the server is killed when `after` answers have come, and a little later at random.
fn load_until_killed(
    process: &mut Process,
    callers: &Callers,
    dice: &mut Dice,
    after: usize,
    begun: &mut [Begun],
) -> Vec<Sent> {
    let (answers, sent) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    let url = process.url.clone();
    let seeds: Vec<AtomicU64> = begun.iter().map(|_| AtomicU64::new(dice.roll(1 << 31) | 1)).collect();
    let spins = dice.roll(200_000);
    std::thread::scope(|scope| {
        for (seed, begun) in seeds.iter().zip(begun) {
            let (answers, sent, url) = (&answers, &sent, &url);
            scope.spawn(move || {
                let mut dice = Dice(seed.load(Ordering::Relaxed));
                loop {
                    let mut one = choose(&mut dice, begun);
                    let answer = one.send(callers, url);
                    let gone = answer.is_none();
                    if let Some(answer) = answer {
                        if let Some(hold) = answer.body["hold"]["hold_id"].as_str() {
                            begun.holds.push(hold.to_owned());
                        }
                        one.answer = Some((answer.status, answer.body));
                        answers.fetch_add(1, Ordering::SeqCst);
                    }
                    sent.lock().unwrap().push(one);
                    if gone {
                        return;
                    }
                }
            });
        }
        let mut waited = 0;
        while answers.load(Ordering::SeqCst) < after {
            std::thread::sleep(Duration::from_millis(1));
            waited += 1;
            assert!(waited < 60_000, "no progress within a minute");
        }
        for _ in 0..spins {
            std::hint::spin_loop();
        }
        process.kill();
    });
    sent.into_inner().unwrap()
}

/// Repeats every command: an acknowledged one gives its answer again and says so; one in doubt is now answered.
fn confirm(sent: &mut [Sent], callers: &Callers, url: &str) {
    for one in sent {
        let again = one.send(callers, url).unwrap();
        let recorded = again.status < 500 && !matches!(again.status, 401 | 429);
        assert!(recorded, "{one:?}: {} {}", again.status, again.body);
        match &one.answer {
            None => one.answer = Some((again.status, again.body)),
            Some((status, body)) => {
                assert!(again.replayed(), "acknowledged and forgotten: {one:?}\nnow {} {}", again.status, again.body);
                assert_eq!(again.status, *status, "{one:?}");
                assert_eq!(plain(&again.body), one.repeated(body), "{one:?}");
            }
        }
    }
}

fn plain(body: &Value) -> Value {
    let mut body = body.clone();
    if let Some(map) = body.as_object_mut() {
        map.remove("request_id");
    }
    body
}

/// Every customer's balance is what the answers add up to, and what its statement adds up to.
fn check_balances(sent: &[Sent], callers: &Callers, url: &str) {
    let client = Client::new(url, Some(&callers.service));
    for n in 0..CUSTOMERS {
        let id = format!("c{n}");
        let (mut expected, mut earned) = (0, 0);
        for one in sent {
            earned += one.earned(&id);
            let Some((200, answer)) = &one.answer else { continue };
            if one.path == format!("/v1/customers/{id}/points/adjust") {
                expected += one.body["points"].as_i64().unwrap();
            } else if one.path.ends_with("/capture") {
                let hold = client.get(one.path.trim_end_matches("/capture")).ok(200).body;
                if hold["customer_id"] == id.as_str() {
                    expected -= answer["points_burned"].as_i64().unwrap();
                }
            }
        }
        let card = client.get(&format!("/v1/customers/{id}/card")).ok(200).body;
        // What was earned becomes active at midnight: a run may see one.
        let points = |field: &str| card[field].as_i64().unwrap();
        let all = points("balance") + points("pending") + points("under_review") - points("debt");
        assert_eq!(all, expected + earned, "{id}: {card}");
        let (mut sum, mut cursor) = (0, String::new());
        loop {
            let page = client.get(&format!("/v1/customers/{id}/points/statement?limit=200{cursor}")).ok(200).body;
            sum += page["items"].as_array().unwrap().iter().map(|item| item["points"].as_i64().unwrap()).sum::<i64>();
            let Some(next) = page["next_cursor"].as_str() else { break };
            cursor = format!("&cursor={next}");
        }
        assert_eq!(sum, points("balance"), "{id}");
    }
}

/// The store's own check finds every row readable and every invariant kept.
fn check_store(dir: &Path) {
    let output = adal(&dir.join("adal.db"), &["check"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}
