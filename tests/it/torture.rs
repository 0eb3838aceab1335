//! Proof by faults, in short: the scenarios of `make torture` with few faults each, on a file and on a real Cassandra, and
//! the proof that the checker sees what is planted. A printed seed makes a run's choices again: `ADAL_SEED=17`.

use std::path::Path;

use adal_load_tests::torture::{
    any_seed,
    checker::{self, Findings},
    command::{About, Role, Sent},
    deployment::Deployment,
    place::{FILE, KEYSPACE, Place, Store, another_keyspace},
    recorder::{self, Load},
    report::table,
    scenarios::{Plan, Scenario},
    seen::{self, Seen},
    shopper,
};
use adal_store::testing::cassandra::{self, Cassandra};
use serde_json::{Value, json};

use crate::harness::{TempDir, block_on};

fn seed() -> u64 {
    let seed = std::env::var("ADAL_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or_else(any_seed);
    println!("ADAL_SEED={seed}");
    seed
}

/// Runs a scenario with so many faults; nothing may be lost.
fn survives(scenario: Scenario, count: u32) {
    survives_on(Store::Sqlite, None, scenario, count);
}

fn survives_on(store: Store, shared: Option<&Cassandra>, scenario: Scenario, count: u32) {
    let dir = TempDir::new();
    let binary = Path::new(env!("CARGO_BIN_EXE_adal"));
    let plan = Plan { binary, folder: dir.path(), store, shared, count, seed: seed() };
    let outcome = scenario.run(&plan).unwrap();
    println!("{}", table(std::slice::from_ref(&outcome)));
    assert!(outcome.is_clean(), "{}", outcome.told());
    assert!(outcome.commands > 20, "too few commands to show anything");
}

#[test]
fn what_was_acknowledged_survives_kill_9_at_any_moment() {
    survives(Scenario::Kill, 8);
}

#[test]
fn a_process_that_was_stopped_and_goes_on_loses_nothing() {
    survives(Scenario::Pause, 1);
}

#[test]
fn answers_that_are_cut_off_are_asked_again_and_nothing_happens_twice() {
    survives(Scenario::Cut, 4);
}

#[test]
fn damaged_files_are_refused_or_told_and_never_served_in_silence() {
    survives(Scenario::Damage, 1);
}

#[test]
fn a_clock_that_leaps_an_hour_under_load_loses_nothing() {
    survives(Scenario::Clock, 2);
}

#[test]
fn sixty_four_clients_after_a_thousand_uses_get_exactly_these() {
    survives(Scenario::RaceUses, 2);
}

#[test]
fn a_budget_that_many_are_after_is_spent_and_never_overspent() {
    survives(Scenario::RaceBudget, 2);
}

#[test]
fn ten_terminals_at_once_get_the_one_use_of_a_customer_once() {
    survives(Scenario::RaceEach, 2);
}

/// The database that the tests of this binary share, for what leaves it alone.
fn shared() -> impl std::ops::Deref<Target = Cassandra> {
    block_on(cassandra::shared())
}

#[test]
fn on_cassandra_what_was_acknowledged_survives_kill_9_at_any_moment() {
    survives_on(Store::Cql, Some(&shared()), Scenario::Kill, 4);
}

#[test]
fn two_owners_who_both_believe_it_lose_nothing_and_do_nothing_twice() {
    survives_on(Store::Cql, Some(&shared()), Scenario::Owners, 2);
}

#[test]
fn a_database_that_is_killed_under_load_loses_nothing() {
    // It has one of its own: others are not to wait until it is back.
    survives_on(Store::Cql, None, Scenario::DbKill, 1);
}

#[test]
fn a_server_that_stood_still_while_another_took_over_loses_nothing_and_serves_nothing() {
    survives_on(Store::Cql, Some(&shared()), Scenario::TakeOver, 1);
}

#[test]
fn statements_that_are_cut_off_between_adal_and_cassandra_are_done_once() {
    survives_on(Store::Cql, None, Scenario::DbCut, 4);
}

/// A store with a history, settled and looked at.
struct Settled {
    dir: TempDir,
    deployment: Deployment,
    history: Vec<Sent>,
}

impl Settled {
    /// After so many commands.
    fn new(commands: u64, place: impl FnOnce(&Path) -> Place) -> Self {
        let dir = TempDir::new();
        let binary = Path::new(env!("CARGO_BIN_EXE_adal"));
        let mut deployment = Deployment::new(binary, dir.path(), place(dir.path()), &[]).unwrap();
        deployment.start().unwrap();
        let history = recorder::prepare(&deployment, "s").unwrap();
        let mut settled = Self { dir, deployment, history };
        settled.load("k", commands);
        settled
    }

    fn load(&mut self, name: &str, commands: u64) {
        let load = Load::start(&self.deployment, name, seed(), 4);
        load.wait_for(commands).unwrap();
        self.history.extend(load.stop().unwrap());
    }

    /// The same with its clock past all holds.
    fn settle(&mut self) {
        self.deployment.stop().unwrap();
        self.deployment.set_ahead(seen::SETTLED_S).unwrap();
        self.deployment.start().unwrap();
    }

    fn look(&self) -> Seen {
        let mut seen = seen::look(&self.deployment, &shopper::offers(), &self.history).unwrap();
        seen::repeat(&self.deployment, &self.history, &mut seen).unwrap();
        seen
    }

    fn check(&self, seen: &Seen) -> Findings {
        checker::check(&self.history, &shopper::offers(), seen)
    }
}

/// The customer, and the place in the statement, of the first entry of a cause.
fn entry(seen: &Seen, cause: &str) -> (String, usize) {
    let found = seen.accounts.iter().find_map(|(customer, account)| {
        let place = account.statement.iter().position(|entry| entry["cause"] == cause)?;
        Some((customer.clone(), place))
    });
    found.unwrap_or_else(|| panic!("nothing was {cause}"))
}

fn add(value: &mut Value, more: i64) {
    *value = json!(value.as_i64().unwrap() + more);
}

/// What one planted error makes of what was seen.
fn planted(settled: &Settled, seen: &Seen, plant: impl FnOnce(&mut Seen)) -> Findings {
    let mut spoilt = seen.clone();
    plant(&mut spoilt);
    let found = settled.check(&spoilt);
    assert!(!found.is_clean(), "the checker does not see what was planted");
    found
}

fn in_a_file(dir: &Path) -> Place {
    Place::file(&dir.join("adal.db"))
}

#[test]
fn the_checker_sees_every_error_that_is_planted_into_what_was_seen() {
    let mut settled = Settled::new(400, in_a_file);
    settled.settle();
    let seen = settled.look();
    let found = settled.check(&seen);
    assert!(found.is_clean(), "{found:#?}");
    for cause in ["adjustment", "burn"] {
        let (customer, place) = entry(&seen, cause);
        // A lost acknowledgement, a double use of points, points from nowhere.
        let statement = |seen: &mut Seen, change: &dyn Fn(&mut Vec<Value>)| {
            change(&mut seen.accounts.get_mut(&customer).unwrap().statement);
        };
        let lost = planted(&settled, &seen, |seen| statement(seen, &|all| drop(all.remove(place))));
        assert_eq!(lost.missing.len(), 1, "{cause}: {lost:#?}");
        let twice = planted(&settled, &seen, |seen| statement(seen, &|all| all.push(all[place].clone())));
        assert_eq!(twice.twice.len(), 1, "{cause}: {twice:#?}");
        let more = planted(&settled, &seen, |seen| statement(seen, &|all| add(&mut all[place]["points"], 7)));
        assert!(!more.points.is_empty(), "{cause}: {more:#?}");
    }
    let (customer, _) = entry(&seen, "adjustment");
    let nowhere = json!({"points": 5, "cause": "adjustment", "reason": "nobody"});
    let points = planted(&settled, &seen, |seen| {
        seen.accounts.get_mut(&customer).unwrap().statement.push(nowhere);
    });
    assert!(!points.points.is_empty());
    let earned = planted(&settled, &seen, |seen| {
        let all = seen.accounts.values_mut().map(|account| &mut account.pending);
        all.last().unwrap().push(("no such order".to_owned(), 3));
    });
    assert!(!earned.points.is_empty());
    for name in ["balance", "available", "held", "pending"] {
        let card = planted(&settled, &seen, |seen| {
            add(&mut seen.accounts.get_mut(&customer).unwrap().card[name], 1);
        });
        assert!(!card.points.is_empty(), "{name}");
    }
    uses_that_were_planted(&settled, &seen);
    answers_that_were_planted(&settled, &seen);
}

fn uses_that_were_planted(settled: &Settled, seen: &Seen) {
    let offers = shopper::offers();
    let used = offers.iter().find(|offer| offer.total.is_some() && seen.usage[&offer.id]["taken"] != 0).unwrap();
    let usage =
        |more: i64| planted(settled, seen, |seen| add(&mut seen.usage.get_mut(&used.id).unwrap()["taken"], more));
    assert_eq!((usage(1).twice.len(), usage(-1).missing.len()), (1, 1));
    assert_eq!(usage(used.total.unwrap()).limits.len(), 1);
    let left = planted(settled, seen, |seen| {
        seen.usage.get_mut("money-0").unwrap()["budget_left_minor"] = json!(-1);
    });
    assert_eq!(left.limits.len(), 1);
    let captured = seen.holds.iter().find(|(_, view)| view["state"] == "captured").unwrap().0.clone();
    let gone = planted(settled, seen, |seen| seen.holds.get_mut(&captured).unwrap()["state"] = json!("expired"));
    assert_eq!(gone.missing.len(), 1);
    let no_hold = planted(settled, seen, |seen| drop(seen.holds.insert(captured.clone(), Value::Null)));
    assert_eq!(no_hold.missing.len(), 1);
    let expired = seen.holds.iter().find(|(_, view)| view["state"] == "expired").unwrap().0.clone();
    let ended = planted(settled, seen, |seen| seen.holds.get_mut(&expired).unwrap()["state"] = json!("captured"));
    assert_eq!(ended.twice.len(), 1);
}

fn answers_that_were_planted(settled: &Settled, seen: &Seen) {
    let of = |is: &dyn Fn(&Sent) -> bool| settled.history.iter().position(is).unwrap();
    let adjusted = of(&|sent| matches!(sent.command.about, About::Adjust { .. }) && sent.done().is_some());
    let other = planted(settled, seen, |seen| {
        add(&mut seen.repeats[adjusted].as_mut().unwrap().body["balance"], 1);
    });
    assert_eq!(other.answers.len(), 1);
    let anew = planted(settled, seen, |seen| seen.repeats[adjusted].as_mut().unwrap().replayed = false);
    assert_eq!(anew.missing.len(), 1);
    let placed = of(&|sent| matches!(sent.command.about, About::Placed { .. }) && sent.done().is_some());
    let taken_again = planted(settled, seen, |seen| {
        seen.repeats[placed].as_mut().unwrap().body["results"][0]["outcome"] = json!("applied");
    });
    assert_eq!(taken_again.missing.len(), 1);
    let checked = planted(settled, seen, |seen| seen.checked.problems.push("something".to_owned()));
    assert_eq!(checked.check.len(), 1);
    // And into what was recorded: a command of which nobody knows.
    let mut history = settled.history.clone();
    history[adjusted].answer = None;
    let found = checker::check(&history, &shopper::offers(), seen);
    assert_eq!((found.unanswered.len(), found.points.len()), (1, 1));
}

#[test]
fn the_checker_sees_what_was_done_to_the_store_behind_the_recorder() {
    let mut settled = Settled::new(BEFORE, in_a_file);
    let (database, early) = (settled.dir.path().join("adal.db"), settled.dir.path().join("early.db"));
    let keep = |_: &Deployment| assert!(std::fs::copy(&database, &early).unwrap() > 0);
    behind_the_recorder(&mut settled, keep, |deployment| deployment.set(FILE, early.to_str().unwrap()));
}

#[test]
fn on_cassandra_the_checker_sees_the_same() {
    let server = shared();
    let mut settled = Settled::new(BEFORE, |_| Place::beside_others(&server));
    let early = settled.dir.path().join("early.adal").to_str().unwrap().to_owned();
    let keep = |deployment: &Deployment| drop(deployment.told(&["export", &early]).unwrap());
    behind_the_recorder(&mut settled, keep, |deployment| {
        deployment.set(KEYSPACE, &another_keyspace());
        deployment.migrate().unwrap();
        deployment.told(&["import", &early]).unwrap();
    });
}

/// Commands before the store is kept: a few of each kind.
const BEFORE: u64 = 100;

/// `keep` keeps the store as it is, `back` goes back to what was kept.
fn behind_the_recorder(settled: &mut Settled, keep: impl FnOnce(&Deployment), back: impl FnOnce(&mut Deployment)) {
    settled.deployment.stop().unwrap();
    keep(&settled.deployment);
    settled.deployment.start().unwrap();
    settled.load("later", 60);
    settled.settle();
    // Points and a use that no recorded command asked for.
    let mut nobodys = shopper::first("nobody").into_iter();
    let adjust = nobodys.find(|command| matches!(command.about, About::Adjust { .. })).unwrap();
    let hold = shopper::hold(Role::Service, "n1".into(), "c1".into(), (50_000, 60), &[shopper::code("uses-39")]);
    let sent = recorder::send_all(&settled.deployment, vec![adjust, hold]).unwrap();
    let hold = checker::hold_of(&sent[1]).unwrap();
    let capture = shopper::end(Role::Service, "n2".into(), "c1".into(), hold, true);
    recorder::send_all(&settled.deployment, vec![capture]).unwrap();
    let found = settled.check(&settled.look());
    let found_of = found.columns().map(|(column, all)| (column, all.len())).into_iter().filter(|(_, count)| *count > 0);
    assert_eq!(found_of.collect::<Vec<_>>(), [("twice", 1), ("points", 1)], "{found:#?}");
    // A store of before: everything that was acknowledged since is gone.
    settled.deployment.stop().unwrap();
    back(&mut settled.deployment);
    settled.deployment.start().unwrap();
    let found = settled.check(&settled.look());
    let later = settled.history.iter().filter(|sent| sent.command.key.starts_with("later") && sent.done().is_some());
    let (missing, later) = (found.missing.len(), later.count());
    assert!(missing >= later / 2, "{missing} of {later}: {found:#?}");
}
