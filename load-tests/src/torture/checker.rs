//! The checker: compares what was recorded with what the store says. Pure; it knows nothing of servers.
//!
//! Everything that the store shows has to have its cause among the recorded commands, and every command that was
//! acknowledged has to show: a statement's entries name the command (an adjustment's reason is its key) or its order, a
//! hold's state says how it ended, an offer's usage is the sum of its captured holds.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::{
    command::{About, Answer, Sent},
    deployment::Checked,
    seen::{Account, Seen},
};

/// An offer and its limits.
#[derive(Debug, Clone, Default)]
pub struct Offer {
    /// Its id.
    pub id: String,
    /// Uses in all.
    pub total: Option<i64>,
    /// Uses of a customer.
    pub each: Option<i64>,
    /// Money, minor units.
    pub budget: Option<i64>,
}

/// What is wrong, by column; each fault once, however often it is met.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Findings {
    /// Commands that were never answered.
    pub unanswered: BTreeSet<String>,
    /// Acknowledged, and its effect is not there.
    pub missing: BTreeSet<String>,
    /// An effect that is there twice, or that no command has.
    pub twice: BTreeSet<String>,
    /// Limits that are exceeded.
    pub limits: BTreeSet<String>,
    /// Points that do not add up.
    pub points: BTreeSet<String>,
    /// Answers that differ from the recorded one when the command comes again.
    pub answers: BTreeSet<String>,
    /// What `adal check` says.
    pub check: BTreeSet<String>,
}

impl Findings {
    /// The columns with their names.
    pub fn columns(&self) -> [(&'static str, &BTreeSet<String>); 7] {
        [
            ("unanswered", &self.unanswered),
            ("missing", &self.missing),
            ("twice", &self.twice),
            ("limits", &self.limits),
            ("points", &self.points),
            ("answers", &self.answers),
            ("check", &self.check),
        ]
    }

    /// Nothing is wrong.
    pub fn is_clean(&self) -> bool {
        self.columns().iter().all(|(_, found)| found.is_empty())
    }

    /// What another look found too.
    pub fn add(&mut self, other: Self) {
        self.unanswered.extend(other.unanswered);
        self.missing.extend(other.missing);
        self.twice.extend(other.twice);
        self.limits.extend(other.limits);
        self.points.extend(other.points);
        self.answers.extend(other.answers);
        self.check.extend(other.check);
    }
}

/// The hold that a command made.
pub fn hold_of(sent: &Sent) -> Option<String> {
    let held = matches!(sent.command.about, About::Hold { .. }).then(|| sent.done()).flatten()?;
    Some(held.body.pointer("/hold/hold_id")?.as_str()?.to_owned())
}

/// What an offer's usage has to be when no hold is open.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// Uses of captured holds.
    pub taken: i64,
    /// What they took off, minor units.
    pub discount: i64,
}

impl Usage {
    /// Whether the API says the same.
    pub fn agrees(&self, view: &Value, offer: &Offer) -> bool {
        let said = (number(view, "taken"), number(view, "held"), number(view, "discount_minor"));
        let left = offer.budget.map(|budget| budget - self.discount);
        said == (self.taken, 0, self.discount) && left == view.get("budget_left_minor").and_then(Value::as_i64)
    }
}

/// What the captured holds add up to.
#[derive(Debug, Default)]
pub struct Expected {
    offers: BTreeMap<String, Usage>,
    each: BTreeMap<(String, String), i64>,
}

impl Expected {
    /// Of one offer.
    pub fn offer(&self, id: &str) -> Usage {
        self.offers.get(id).copied().unwrap_or_default()
    }

    /// Uses of one offer by one customer.
    pub fn by(&self, offer: &str, customer: &str) -> i64 {
        self.each.get(&(offer.to_owned(), customer.to_owned())).copied().unwrap_or(0)
    }
}

fn number(of: &Value, name: &str) -> i64 {
    of.get(name).and_then(Value::as_i64).unwrap_or(0)
}

fn text<'a>(of: &'a Value, name: &str) -> &'a str {
    of.get(name).and_then(Value::as_str).unwrap_or("")
}

/// What a late capture could not take: points, and the offers' minor units.
fn uncovered(captured: &Value) -> (i64, BTreeMap<&str, i64>) {
    let (mut points, mut offers) = (0, BTreeMap::new());
    for gone in captured["uncovered"].as_array().into_iter().flatten() {
        points += number(gone, "points");
        if let Some(offer) = gone.get("offer_id").and_then(Value::as_str) {
            *offers.entry(offer).or_default() += number(gone, "minor");
        }
    }
    (points, offers)
}

/// What one captured hold took: by offer, minor units. Past its time a part of the money may have been there.
pub fn taken(captured: &Value) -> impl Iterator<Item = (&str, i64)> {
    let gone = uncovered(captured).1;
    let applied = captured["applied"].as_array().into_iter().flatten().map(move |one| {
        let offer = text(one, "offer_id");
        (offer, number(one, "discount_minor") - gone.get(offer).copied().unwrap_or(0))
    });
    applied.filter(|(_, minor)| *minor > 0)
}

/// See [`Expected`].
pub fn expect(history: &[Sent]) -> Expected {
    let mut expected = Expected::default();
    for sent in history {
        let (About::Capture { .. }, Some(captured)) = (&sent.command.about, sent.done()) else { continue };
        for (offer, minor) in taken(&captured.body) {
            let usage = expected.offers.entry(offer.to_owned()).or_default();
            usage.taken += 1;
            usage.discount += minor;
            *expected.each.entry((offer.to_owned(), sent.command.customer.clone())).or_default() += 1;
        }
    }
    expected
}

/// Compares. `seen.repeats` may be empty: then nothing is said of them.
pub fn check(history: &[Sent], known: &[Offer], seen: &Seen) -> Findings {
    let mut found = Findings::default();
    found.unanswered.extend(history.iter().filter(|sent| sent.answer.is_none()).map(Sent::name));
    holds(history, seen, &mut found);
    offers(known, seen, &expect(history), &mut found);
    for (customer, account) in &seen.accounts {
        points(history, customer, account, &mut found);
    }
    repeats(history, &seen.repeats, &mut found);
    found.add(check_file(&seen.checked));
    found
}

/// What `adal check` says.
pub fn check_file(checked: &Checked) -> Findings {
    let mut found = Findings::default();
    found.check.extend(checked.problems.iter().cloned());
    if checked.problems.is_empty() && checked.found > 0 {
        found.check.insert(format!("{} problems", checked.found));
    }
    found
}

/// How each hold ended is what the one who ended it was told.
fn holds(history: &[Sent], seen: &Seen, found: &mut Findings) {
    let mut ends: BTreeMap<&str, Vec<(&str, &Sent)>> = BTreeMap::new();
    for sent in history.iter().filter(|sent| sent.done().is_some()) {
        match &sent.command.about {
            About::Capture { hold, .. } => ends.entry(hold).or_default().push(("captured", sent)),
            About::Release { hold } => ends.entry(hold).or_default().push(("released", sent)),
            _ => {}
        }
    }
    for sent in history {
        let Some(id) = hold_of(sent) else { continue };
        let Some(view) = seen.holds.get(&id).filter(|view| !view.is_null()) else {
            found.missing.insert(format!("{}: the hold {id} is not there", sent.name()));
            continue;
        };
        let state = text(view, "state");
        let ended = ends.get(id.as_str()).map(Vec::as_slice).unwrap_or_default();
        for (_, again) in ended.iter().skip(1) {
            found.twice.insert(format!("{}: the hold {id} was ended before", again.name()));
        }
        match ended.first() {
            Some((how, end)) if state != *how => {
                found.missing.insert(format!("{}: the hold {id} is {state}", end.name()));
            }
            None => {
                let may = match sent.command.about {
                    About::Hold { scanned: true } => matches!(state, "expired" | "released"),
                    _ => state == "expired",
                };
                // An end that nobody was told of.
                if !may && !doubted_end(history, &id) {
                    found.twice.insert(format!("the hold {id} is {state}, not expired, and nobody was told"));
                }
            }
            Some(_) => {}
        }
    }
}

/// Whether the end of a hold is among what was never answered: that is told in its own column.
fn doubted_end(history: &[Sent], id: &str) -> bool {
    history.iter().any(|sent| match &sent.command.about {
        About::Capture { hold, .. } | About::Release { hold } => hold == id && sent.answer.is_none(),
        _ => false,
    })
}

fn offers(known: &[Offer], seen: &Seen, expected: &Expected, found: &mut Findings) {
    for offer in known {
        let (id, usage) = (&offer.id, expected.offer(&offer.id));
        let view = seen.usage.get(id).unwrap_or(&Value::Null);
        let (taken, held, discount) = (number(view, "taken"), number(view, "held"), number(view, "discount_minor"));
        if taken + held > usage.taken || discount > usage.discount {
            found.twice.insert(format!("{id}: {usage:?} expected, it says {view}"));
        } else if !usage.agrees(view, offer) {
            found.missing.insert(format!("{id}: {usage:?} expected, it says {view}"));
        }
        // By its own count, and by the holds'.
        let (most, spent) = ((taken + held).max(usage.taken), discount.max(usage.discount));
        if offer.total.is_some_and(|total| most > total) {
            found.limits.insert(format!("{id}: {most} uses of {:?}", offer.total));
        }
        if offer.budget.is_some_and(|budget| spent > budget) || number(view, "budget_left_minor") < 0 {
            found.limits.insert(format!("{id}: {spent} minor units of {:?}", offer.budget));
        }
        for ((_, customer), uses) in expected.each.iter().filter(|((of, _), _)| of == id) {
            if offer.each.is_some_and(|each| *uses > each) {
                found.limits.insert(format!("{id}: {uses} uses by {customer}, of {:?}", offer.each));
            }
        }
    }
}

/// What the commands of one customer add up to: by the reason of an adjustment, by the order of a burn or an earning.
#[derive(Debug, Default)]
struct Ledger<'a> {
    /// Points, whether it was acknowledged, and who says so.
    adjusted: BTreeMap<&'a str, (i64, &'a Sent)>,
    burned: BTreeMap<&'a str, (i64, &'a Sent)>,
    earned: BTreeMap<&'a str, (i64, &'a Sent)>,
}

fn ledger<'a>(history: &'a [Sent], customer: &str) -> Ledger<'a> {
    let mut ledger = Ledger::default();
    for sent in history.iter().filter(|sent| sent.command.customer == customer) {
        // What was never answered may have happened or not: nothing is expected of it.
        let Some(answer) = sent.done() else { continue };
        match &sent.command.about {
            About::Adjust { points } => {
                ledger.adjusted.insert(&sent.command.key, (*points, sent));
            }
            About::Capture { order, .. } => {
                let points = number(&answer.body, "points_burned") - uncovered(&answer.body).0;
                if points > 0 {
                    ledger.burned.insert(order, (points, sent));
                }
            }
            About::Completed { order, earns } => ledger.earned.entry(order).or_insert((0, sent)).0 += earns,
            About::Returned { order, takes } => ledger.earned.entry(order).or_insert((0, sent)).0 -= takes,
            _ => {}
        }
    }
    ledger
}

fn points(history: &[Sent], customer: &str, account: &Account, found: &mut Findings) {
    let issued = history.iter().find(|sent| sent.command.customer == customer && sent.command.about == About::Card);
    if let Some((sent, answer)) = issued.and_then(|sent| Some((sent, sent.done()?)))
        && text(&account.card, "barcode") != text(&answer.body, "barcode")
    {
        found.missing.insert(format!("{}: the card is not there", sent.name()));
    }
    let ledger = ledger(history, customer);
    let mut nets: BTreeMap<&str, i64> = BTreeMap::new();
    let (mut adjusted, mut burned) = (BTreeMap::new(), BTreeMap::new());
    for entry in &account.statement {
        let points = number(entry, "points");
        let (seen, name) = match text(entry, "cause") {
            "adjustment" => (&mut adjusted, text(entry, "reason")),
            "burn" => (&mut burned, text(entry, "order_id")),
            "cashback" | "claw_back" => (&mut nets, text(entry, "order_id")),
            _ => {
                found.points.insert(format!("{customer}: an entry of no command: {entry}"));
                continue;
            }
        };
        *seen.entry(name).or_default() += points;
    }
    for (order, points) in &account.pending {
        *nets.entry(order).or_default() += points;
    }
    compare(customer, "adjusted", &ledger.adjusted, &adjusted, 1, found);
    compare(customer, "burned", &ledger.burned, &burned, -1, found);
    compare(customer, "earned", &ledger.earned, &nets, 1, found);
    sums(customer, account, found);
}

/// What each command did to the points of a customer, against what is there of it.
fn compare(
    customer: &str,
    what: &str,
    expected: &BTreeMap<&str, (i64, &Sent)>,
    seen: &BTreeMap<&str, i64>,
    sign: i64,
    found: &mut Findings,
) {
    for (name, (points, sent)) in expected {
        let (points, there) = (sign * points, seen.get(name).copied());
        let told = format!("{customer}: {}: {what} {points}, it says {there:?}", sent.name());
        match there {
            Some(there) if there == points => {}
            None | Some(0) if points != 0 => {
                found.missing.insert(told);
            }
            None => {}
            Some(there) if points != 0 && there == 2 * points => {
                found.twice.insert(told);
            }
            Some(_) => {
                found.points.insert(told);
            }
        }
    }
    for (name, points) in seen {
        if *points != 0 && !expected.contains_key(name) {
            found.points.insert(format!("{customer}: {points} points {what} by no command that was answered: {name}"));
        }
    }
}

fn sums(customer: &str, account: &Account, found: &mut Findings) {
    let card = &account.card;
    let of = |name| number(card, name);
    let sum: i64 = account.statement.iter().map(|entry| number(entry, "points")).sum();
    let pending: i64 = account.pending.iter().map(|(_, points)| points).sum();
    for (what, left, right) in [
        ("balance, sum of the statement", of("balance"), sum),
        ("available, balance less held", of("available"), of("balance") - of("held")),
        ("held, and no hold is open", of("held"), 0),
        ("pending on the card, in the state", of("pending"), pending),
        ("under review, none", of("under_review"), 0),
    ] {
        if left != right {
            found.points.insert(format!("{customer}: {what}: {left}, {right}"));
        }
    }
    for name in ["balance", "available", "held", "pending", "debt"] {
        if of(name) < 0 {
            found.points.insert(format!("{customer}: {name} is {}", of(name)));
        }
    }
}

/// A repeat is answered as the first time, and says that it is one.
fn repeats(history: &[Sent], repeats: &[Option<Answer>], found: &mut Findings) {
    for (sent, again) in history.iter().zip(repeats) {
        let (Some(first), Some(again)) = (&sent.answer, again) else { continue };
        let told = || format!("{}: {} {}, then {} {}", sent.name(), first.status, first.body, again.status, again.body);
        if sent.command.about.is_event() {
            let applied = matches!(first.outcome(), "applied" | "duplicate");
            if applied && again.outcome() == "applied" {
                found.missing.insert(told());
            } else if applied != (again.outcome() == "duplicate") || first.status != again.status {
                found.answers.insert(told());
            }
            continue;
        }
        if !again.replayed {
            found.missing.insert(told());
        }
        if first.status != again.status || first.plain() != again.plain() {
            found.answers.insert(told());
        }
    }
}
