//! Many clients after something that is scarce, through holds, captures, releases, holds that run out, and `kill -9`: a
//! code's 1,000 uses, a budget, one use per customer from ten terminals. None may be given twice, and at the end none may
//! be left: what was released, ran out or was cut off comes back, and somebody gets it.
//!
//! Holds last one second or three, in real time (the policy's least, 30 s, is set to one); and with each kill the clock
//! goes a quarter of an hour ahead, so that everything that is open then runs out.

use std::sync::{
    Arc,
    atomic::{AtomicI64, Ordering},
};

use serde_json::Value;

use super::Plan;
use crate::{
    Done,
    clock::Stopwatch,
    random::Random,
    torture::{
        checker::{self, Findings, Offer},
        command::{About, Command, Role, Sent},
        deployment::Deployment,
        line::Line,
        recorder::{self, Load, Pulse},
        report::Outcome,
        seen, shopper,
    },
};

/// Clients at once, and the uses and the money that they are after.
const CLIENTS: usize = 64;
const USES: i64 = 1_000;
const BUDGET: i64 = 3_000_000;
/// The price of the dearest cart; the least discount is that of one of [`LEAST`].
const DEAREST: i64 = 400_000;
const LEAST: i64 = 10_000;
/// Terminals after the same customer's one use, and how many customers.
const TERMINALS: usize = 10;
const CUSTOMERS: usize = 24;
/// Between two tries of a client who was refused.
const PAUSE: std::time::Duration = std::time::Duration::from_millis(100);
/// How long the end is waited for before what was cut off by the last kill is made to come back: each time so much longer,
/// for what comes back has to be got by somebody before the next kill, however slow the machine is.
const STALLED: std::time::Duration = std::time::Duration::from_secs(10);
/// How long it may take until nothing is left.
const LONGEST: std::time::Duration = std::time::Duration::from_secs(400);

/// A race.
#[derive(Clone)]
struct Race {
    name: &'static str,
    offer: Offer,
    clients: usize,
    /// How many clients share a customer.
    share: usize,
    seed: u64,
    /// What was taken so far, by customer where each has a limit, else in one place.
    taken: Arc<Vec<AtomicI64>>,
}

/// A code with 1,000 uses: exactly 1,000 are captured.
pub fn uses(plan: &Plan<'_>) -> Done<Outcome> {
    let offer = Offer { id: "uses-0".to_owned(), total: Some(USES), ..Offer::default() };
    run(plan, &Race::new("race-uses", offer, CLIENTS, 1, plan.seed, 1))
}

/// A budget: never overspent, and nothing left that would have fitted.
pub fn budget(plan: &Plan<'_>) -> Done<Outcome> {
    let offer = Offer { id: "money-0".to_owned(), budget: Some(BUDGET), ..Offer::default() };
    run(plan, &Race::new("race-budget", offer, CLIENTS, 1, plan.seed, 1))
}

/// One use per customer: each has exactly one.
pub fn each(plan: &Plan<'_>) -> Done<Outcome> {
    // A total, so that the offer counts every use.
    let offer = Offer { id: "each-0".to_owned(), total: Some(1_000_000), each: Some(1), ..Offer::default() };
    run(plan, &Race::new("race-each", offer, CUSTOMERS * TERMINALS, TERMINALS, plan.seed, CUSTOMERS))
}

impl Race {
    fn new(name: &'static str, offer: Offer, clients: usize, share: usize, seed: u64, places: usize) -> Self {
        let taken = Arc::new((0..places).map(|_| AtomicI64::new(0)).collect());
        Self { name, offer, clients, share, seed, taken }
    }

    fn place(&self, client: usize) -> Option<&AtomicI64> {
        self.taken.get(client / self.share % self.taken.len().max(1))
    }

    /// Whether there is nothing left for a client.
    fn is_over(&self, client: usize) -> bool {
        let taken = self.place(client).map_or(0, |taken| taken.load(Ordering::Relaxed));
        match (self.offer.each, self.offer.total, self.offer.budget) {
            (Some(each), ..) => taken >= each,
            (_, Some(total), _) => taken >= total,
            (_, _, Some(budget)) => budget - taken < LEAST / 10,
            _ => true,
        }
    }

    /// What a captured hold took; of any other answer, nothing.
    fn count(&self, client: usize, sent: &Sent) {
        let (About::Capture { .. }, Some(captured)) = (&sent.command.about, sent.done()) else { return };
        for (_, minor) in checker::taken(&captured.body).filter(|(offer, _)| *offer == self.offer.id) {
            let amount = if self.offer.budget.is_some() { minor } else { 1 };
            self.place(client).into_iter().for_each(|taken| {
                taken.fetch_add(amount, Ordering::Relaxed);
            });
        }
    }
}

fn run(plan: &Plan<'_>, race: &Race) -> Done<Outcome> {
    let mut deployment = plan.deployment(&[])?;
    let mut history = recorder::send_all(&deployment, vec![shopper::put(&race.offer, "put".to_owned())])?;
    let theirs = race.clone();
    let load =
        Load::of(&deployment, race.clients, move |client, line, pulse| compete(theirs.clone(), client, line, pulse));
    let kills = disturb(&mut deployment, plan, &load)?;
    history.extend(load.stop()?);
    let mut findings = seen::finish(&mut deployment, std::slice::from_ref(&race.offer), &history)?;
    left(race, &history, &mut findings);
    let faults = format!("{kills} x kill -9, {} clients", race.clients);
    Ok(Outcome::new(race.name, plan, faults, &history, findings))
}

/// Kills it so often, at moments that chance chooses, as long as the race goes on, and waits for its end. Each start has its
/// clock a quarter of an hour ahead of the one before: what was cut off between promo and customer comes back a minute
/// after its time, and nobody waits for that.
fn disturb(deployment: &mut Deployment, plan: &Plan<'_>, load: &Load) -> Done<u32> {
    let (mut random, mut kills, watch) = (Random::new(plan.seed), 0, Stopwatch::start());
    while !load.is_finished() {
        if watch.elapsed() > LONGEST {
            return Err("the race does not end: something is left that nobody gets".into());
        }
        if kills < plan.count {
            if load.wait_for(50 + random.below(400)).is_err() {
                continue;
            }
        } else if load.is_finished_within(STALLED * (1 + kills - plan.count)) {
            break;
        }
        deployment.kill()?;
        kills += 1;
        deployment.set_ahead(i64::from(kills) * 900)?;
        deployment.start()?;
    }
    Ok(kills)
}

/// One client: holds, and captures, releases or forgets, until there is nothing left.
async fn compete(race: Race, client: usize, mut line: Line, pulse: Pulse) -> Vec<Sent> {
    let mut random = Random::new(race.seed.wrapping_mul(1_000).wrapping_add(client as u64));
    let (customer, mut count) = (format!("r{}", client / race.share), 0);
    let (mut history, mut dearest) = (Vec::new(), DEAREST);
    let mut late: Vec<String> = Vec::new();
    while !race.is_over(client) && pulse.watch.elapsed() < LONGEST {
        count += 1;
        let key = format!("r-{client}-{count}");
        // A hold that ran out, or is about to, is captured late as often as a new one is tried.
        let command = if !late.is_empty() && random.below(2) == 0 {
            let hold = late.swap_remove(0);
            shopper::end(Role::Service, key, customer.clone(), hold, true)
        } else {
            hold(&race, key, &customer, &mut random, dearest)
        };
        let sent = recorder::settle(&mut line, command, pulse.watch).await;
        pulse.beat();
        let next =
            sent.done().map(|answer| follow(&sent, answer.body.pointer("/hold/hold_id"), &mut random, &mut late));
        let refused = next.is_none();
        race.count(client, &sent);
        history.push(sent);
        if let Some(Some(end)) = next {
            let sent = recorder::settle(&mut line, end(format!("r-{client}-{count}-end")), pulse.watch).await;
            pulse.beat();
            race.count(client, &sent);
            history.push(sent);
        }
        if refused {
            // What is held by others may come back, and less may fit where this did not.
            dearest = (dearest / 2).max(LEAST);
            tokio::time::sleep(PAUSE).await;
        }
    }
    history
}

/// The command that ends a hold, once it has a key.
type End = Box<dyn FnOnce(String) -> Command>;

/// What comes after a hold: a capture (most), a release, or nothing, and perhaps a late capture.
fn follow(sent: &Sent, hold: Option<&Value>, random: &mut Random, late: &mut Vec<String>) -> Option<End> {
    let (hold, customer) = (hold?.as_str()?.to_owned(), sent.command.customer.clone());
    let chance = random.below(10);
    match chance {
        0..7 => Some(Box::new(move |key| shopper::end(Role::Service, key, customer, hold, chance > 1))),
        7 => {
            late.push(hold);
            None
        }
        _ => None,
    }
}

fn hold(race: &Race, key: String, customer: &str, random: &mut Random, dearest: i64) -> Command {
    let span = u64::try_from(dearest - LEAST + 1).unwrap_or(1);
    let price = LEAST + i64::try_from(random.below(span)).unwrap_or(0);
    let ttl = if random.below(2) == 0 { 1 } else { 3 };
    shopper::hold(Role::Service, key, customer.to_owned(), (price, ttl), &[shopper::code(&race.offer.id)])
}

/// What should have been taken, and was not.
fn left(race: &Race, history: &[Sent], findings: &mut Findings) {
    let expected = checker::expect(history);
    let usage = expected.offer(&race.offer.id);
    let short = match (race.offer.each, race.offer.total, race.offer.budget) {
        (Some(each), ..) => {
            (0..race.clients / race.share).any(|n| expected.by(&race.offer.id, &format!("r{n}")) != each)
        }
        (_, Some(total), _) => usage.taken != total,
        (_, _, Some(budget)) => !(0..LEAST / 10).contains(&(budget - usage.discount)),
        _ => true,
    };
    if short {
        findings.limits.insert(format!("{}: {usage:?} is not what there was to take", race.offer.id));
    }
}
