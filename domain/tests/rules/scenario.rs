//! One table of `docs/reference/points.md`: `when | what happens | what is seen`, run against the rules.
//!
//! A row's action goes through the journal at the row's time; then every item of the last column, separated by "; ", is
//! compared with what a read at that time shows. A row without an action only lets time pass. The notation is explained
//! on the page itself.

use std::collections::HashMap;

use adal_domain::{
    customer::{
        CardChange, Command, Event, Reply,
        read::{Cause, StatementEntry},
    },
    errors::Refusal,
    ids::{ApprovalId, HoldId},
    order_event::{CancelledBy, ChargedBy},
    time::Timestamp,
};

use crate::{
    journal::{Journal, context},
    notation::{days, lines, moment, quantities, worth},
    page::{tenge, whole},
    say,
};

/// A row of the table, and where it stands.
pub struct Row {
    pub place: String,
    pub when: String,
    pub what: String,
    pub seen: String,
}

struct World {
    journal: Journal,
    holds: HashMap<String, HoldId>,
    approval: Option<ApprovalId>,
    /// What the last rows have shown of the statement.
    shown: Vec<StatementEntry>,
}

/// What an action gave.
struct Outcome {
    result: Result<Reply, Refusal>,
    events: Vec<Event>,
}

/// Runs a table; every difference is one line of the answer.
pub fn run(rows: &[Row]) -> Vec<String> {
    let mut world =
        World { journal: Journal::new(context()), holds: HashMap::new(), approval: None, shown: Vec::new() };
    let mut wrong = Vec::new();
    let mut when = (1..=1, 0);
    for row in rows {
        if !row.when.is_empty() {
            when = days(&row.when);
        }
        let (mut clock, mut outcome) = (Timestamp(0), None);
        for day in when.0.clone() {
            clock = say::time(day, when.1);
            let many = when.0.start() != when.0.end();
            let suffix = if many { format!("-{day}") } else { String::new() };
            outcome = world.act(clock, &row.what, &suffix);
        }
        let expects_refusal = row.seen.contains("refused");
        if let Some(Err(refusal)) = outcome.as_ref().map(|outcome| &outcome.result)
            && !expects_refusal
        {
            wrong.push(format!("{}: {:?} is refused: {refusal}", row.place, row.what));
        }
        for seen in row.seen.split("; ").filter(|seen| !seen.is_empty()) {
            let found = world.look(clock, seen, outcome.as_ref());
            if found != seen {
                wrong.push(format!("{}: {:?}: the page says {seen:?}, the rules give {found:?}", row.place, row.what));
            }
        }
        world.shown = world.journal.statement(clock);
    }
    if world.journal.replayed() != world.journal.state {
        wrong.push(format!("{}: a replay of the journal gives another state", rows[0].place));
    }
    wrong
}

impl World {
    /// Does what a row says; `None` where it says nothing.
    fn act(&mut self, clock: Timestamp, what: &str, suffix: &str) -> Option<Outcome> {
        let commands = self.commands(clock, what, suffix);
        let mut outcome = None;
        for command in commands {
            let (result, events) = self.journal.run_and_see(clock, &command);
            match &result {
                Ok(Reply::Held(quote)) => {
                    let name = what.split(' ').next().unwrap_or_default();
                    self.holds.insert(name.to_owned(), quote.hold.as_ref().unwrap().hold_id.clone());
                }
                Ok(Reply::AwaitsApproval { approval_id }) => self.approval = Some(approval_id.clone()),
                _ => {}
            }
            outcome = Some(Outcome { result, events });
        }
        outcome
    }

    fn commands(&self, clock: Timestamp, what: &str, suffix: &str) -> Vec<Command> {
        if what.is_empty() {
            return Vec::new();
        }
        let (what, at) = match what.split_once(", as of ") {
            Some((what, at)) => (what, moment(at)),
            None => (what, clock),
        };
        let words: Vec<&str> = what.split(' ').collect();
        match words.as_slice() {
            ["card", "issued"] => vec![say::card()],
            ["card", "issued,", "member", "since", days @ ..] => {
                vec![Command::IssueCard { since: Some(moment(&days.join(" "))), barcode: None }]
            }
            ["card", "blocked"] => vec![say::change(CardChange::Block)],
            ["card", "unblocked"] => vec![say::change(CardChange::Unblock)],
            ["card", "reissued"] => vec![say::change(CardChange::Reissue)],
            ["card", "closed"] => vec![say::change(CardChange::Close)],
            ["adjusted", "by", points] => vec![say::adjust(whole(points))],
            ["adjustment", decision] => vec![Command::DecideAdjustment {
                approval_id: self.approval.clone().unwrap(),
                approve: *decision == "approved",
                by: say::by("admin-2"),
            }],
            ["review", "of", order, decision] => {
                let id = say::order(order);
                let review = self.journal.state.ledger.reviews.iter().find(|review| review.order == id);
                vec![Command::DecideReview {
                    entry: review.unwrap_or_else(|| panic!("{order} is not under review")).entry.clone(),
                    release: *decision == "released",
                    reason: "looked at".to_owned(),
                    by: say::by("support-1"),
                }]
            }
            ["flag", flag, "raised"] => vec![say::raise(flag)],
            ["flag", flag, "confirmed"] => vec![say::decide_flag(flag, true)],
            ["flag", flag, "dismissed"] => vec![say::decide_flag(flag, false)],
            [name, "held:", ..] => vec![self.hold(what, name)],
            [name, "captured", "for", order, ..] => {
                let lines = what.split_once(": ").map(|(_, lines)| quantities(lines.split(", ")));
                let lines = lines.as_ref().map(|lines| borrowed(lines));
                vec![say::capture(&self.holds[*name], order.trim_end_matches(':'), lines.as_deref())]
            }
            [name, "released"] => vec![say::release(&self.holds[*name])],
            [order, ..] => self.order(what, &format!("{order}{suffix}"), at),
            [] => Vec::new(),
        }
    }

    #[expect(clippy::unused_self, reason = "beside its siblings")]
    fn hold(&self, what: &str, name: &str) -> Command {
        let rest = what.strip_prefix(name).unwrap().strip_prefix(" held: ").unwrap();
        let (cart, rest) = rest.split_once(", burn ").unwrap_or((rest, "0"));
        let (points, ttl) = match rest.split_once(", for ") {
            Some((points, ttl)) => (points, Some(whole(ttl.strip_suffix(" minutes").unwrap()) * 60)),
            None => (rest, None),
        };
        say::hold(&lines(cart), whole(points), ttl)
    }

    fn order(&self, what: &str, id: &str, at: Timestamp) -> Vec<Command> {
        let (_, what) = what.split_once(' ').unwrap();
        let (verb, rest) = what.split_once(' ').unwrap_or((what, ""));
        let mut parts: Vec<&str> = rest.split(", ").collect();
        let mut option = |prefix: &str| {
            let found = parts.iter().position(|part| part.starts_with(prefix));
            found.map(|i| parts.remove(i)[prefix.len()..].to_owned())
        };
        let paid = option("paid ");
        let refund = option("refund ").map(|refund| tenge(&refund));
        let charged =
            if option("charged by delivered weight").is_some() { ChargedBy::Delivered } else { ChargedBy::Ordered };
        match verb {
            "bought:" => {
                let lines = lines(parts[0]);
                let burned = self.journal.state.ledger.burn(say::order(id).fingerprint()).map_or(0, |burn| burn.points);
                let paid = paid.map_or_else(|| worth(&lines) - burned * 100, |paid| tenge(&paid));
                vec![say::placed_charged(id, at, &lines, charged), say::completed(id, at, paid)]
            }
            "placed:" => vec![say::placed_charged(id, at, &lines(parts[0]), charged)],
            "completed:" => vec![say::completed(id, at, tenge(&paid.unwrap()))],
            "weighed:" => vec![say::weighed(id, at, &borrowed(&quantities(parts)))],
            "returned:" => vec![say::returned(id, at, &borrowed(&quantities(parts)), refund)],
            "cancelled" => {
                let words: Vec<&str> = rest.split(' ').collect();
                let by = match words[1] {
                    "customer" => CancelledBy::Customer,
                    "shop" => CancelledBy::Shop,
                    "system" => CancelledBy::System,
                    other => panic!("cancelled by {other:?}"),
                };
                vec![say::cancelled(id, at, by, rest.ends_with("after picking"))]
            }
            other => panic!("what is {other:?} in {what:?}?"),
        }
    }

    /// What there is to see, in the words of the expectation `seen`.
    fn look(&self, clock: Timestamp, seen: &str, outcome: Option<&Outcome>) -> String {
        let context = &self.journal.context;
        let now = clock.max(self.journal.last);
        let state = &self.journal.state;
        let settled = self.journal.settled(clock);
        let card = state.card_view(context, now);
        let trust = state.trust_view(context, now).unwrap();
        let key = seen.split(' ').next().unwrap_or_default();
        let number = |n: i64| format!("{} {}", seen.rsplit_once(' ').map_or(seen, |(words, _)| words), grouped(n));
        let of_card = |f: fn(&adal_domain::customer::read::CardView) -> i64| {
            card.as_ref().map_or_else(|| format!("{key} no card"), |card| number(f(card)))
        };
        match key {
            "balance" => of_card(|card| card.balance),
            "available" => of_card(|card| card.available),
            "held" => of_card(|card| card.held),
            "pending" => of_card(|card| card.pending),
            "under" => of_card(|card| card.under_review),
            "debt" => of_card(|card| card.debt),
            "tier" => card.map_or_else(|| "no card".to_owned(), |card| format!("tier {}", word(&card.tier))),
            "grace" => match card.and_then(|card| card.tier_grace_until) {
                Some(until) => format!("grace until {}", day_of(until)),
                None => "grace none".to_owned(),
            },
            "score" => format!("score {}", trust.score),
            "announced" => format!("announced {}", settled.standing.score),
            "band" => format!("band {}", word(&trust.band)),
            "orders" => format!("orders {} of {}", trust.completed_orders, trust.total_orders),
            "expiring" => {
                let card = card.unwrap();
                let parts = card.expiring.iter().map(|part| format!("{} on {}", grouped(part.points), day_of(part.at)));
                format!("expiring {}", listed(parts))
            }
            "lots" => {
                let lots = &settled.ledger.lots;
                let parts = lots.iter().map(|lot| {
                    let life = if lot.is_revived() { " (second life)" } else { "" };
                    format!("{} to day {}{life}", grouped(lot.points()), say::day_number(lot.expires()))
                });
                format!("lots {}", listed(parts))
            }
            "entries" => self.entries(clock),
            "refused" => match outcome.map(|outcome| &outcome.result) {
                Some(Err(refusal)) => match refusal.max {
                    Some(max) if seen.contains(", at most ") => {
                        format!("refused {}, at most {}", refusal.code.as_str(), grouped(max))
                    }
                    _ => format!("refused {}", refusal.code.as_str()),
                },
                _ => "accepted".to_owned(),
            },
            "signal" => {
                let events = outcome.map_or(&[][..], |outcome| &outcome.events);
                let kinds = events.iter().filter_map(|event| match event {
                    Event::Signal { kind, .. } => Some(kind.as_str().to_owned()),
                    _ => None,
                });
                format!("signal {}", listed(kinds))
            }
            "to" | "total" | "points" | "uncovered" => priced(seen, outcome),
            other => panic!("what is {other:?} in {seen:?}?"),
        }
    }

    /// The statement's entries that earlier rows have not shown.
    fn entries(&self, clock: Timestamp) -> String {
        let mut shown = self.shown.clone();
        let mut new = self.journal.statement(clock);
        new.retain(|entry| match shown.iter().position(|known| known == entry) {
            Some(i) => {
                shown.remove(i);
                false
            }
            None => true,
        });
        let parts = new.iter().map(|entry| {
            let order = entry.order_id.as_ref().map_or_else(String::new, |order| format!(" {order}"));
            let sign = if entry.points > 0 { "+" } else { "" };
            format!("{sign}{} {}{order} on {}", grouped(entry.points), cause(entry.cause), clock_of(entry.at))
        });
        format!("entries {}", listed(parts))
    }
}

/// What the answer of a hold or a capture says.
fn priced(seen: &str, outcome: Option<&Outcome>) -> String {
    let (quote, uncovered) = match outcome.map(|outcome| &outcome.result) {
        Some(Ok(Reply::Held(quote))) => (quote, 0),
        Some(Ok(Reply::Captured { quote, uncovered, .. })) => (quote, uncovered.iter().map(|part| part.points).sum()),
        _ => return "no quote".to_owned(),
    };
    if seen.starts_with("to earn") {
        format!("to earn {}", grouped(quote.points_to_earn))
    } else if seen.starts_with("total") {
        format!("total {}", money(quote.total_minor))
    } else if seen.starts_with("uncovered") {
        format!("uncovered {}", grouped(uncovered))
    } else if seen.starts_with("points by line") {
        let parts = quote.lines.iter().map(|line| format!("{} {}", line.line_id, money(line.points_minor)));
        format!("points by line {}", listed(parts))
    } else {
        format!("points {}", grouped(quote.points_burned))
    }
}

fn borrowed(lines: &[(String, i64)]) -> Vec<(&str, i64)> {
    lines.iter().map(|(id, quantity)| (id.as_str(), *quantity)).collect()
}

fn listed(parts: impl Iterator<Item = String>) -> String {
    let parts: Vec<String> = parts.collect();
    if parts.is_empty() { "none".to_owned() } else { parts.join(", ") }
}

fn word(value: &impl serde::Serialize) -> String {
    serde_json::to_value(value).unwrap().as_str().unwrap().to_owned()
}

const fn cause(cause: Cause) -> &'static str {
    match cause {
        Cause::Cashback => "cashback",
        Cause::OfferBonus => "bonus",
        Cause::UnderweightCompensation => "compensation",
        Cause::Adjustment => "adjustment",
        Cause::Burn => "burn",
        Cause::GiveBack => "give-back",
        Cause::ClawBack => "claw-back",
        Cause::DebtPayment => "debt payment",
        Cause::Expiry => "expiry",
    }
}

/// "12,345".
fn grouped(n: i64) -> String {
    let digits = n.unsigned_abs().to_string();
    let mut text = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    if n < 0 { format!("-{text}") } else { text }
}

/// "1,234" or "1,234.50" tenge.
fn money(minor: i64) -> String {
    if minor % 100 == 0 { grouped(minor / 100) } else { format!("{}.{:02}", grouped(minor / 100), minor % 100) }
}

fn day_of(at: Timestamp) -> String {
    format!("day {}", say::day_number(say::calendar().day(at)))
}

/// "day 3", or "day 3 at 10:30".
fn clock_of(at: Timestamp) -> String {
    let calendar = say::calendar();
    let day = calendar.day(at);
    let minutes = at.micros_since(calendar.start(day)) / (60 * Timestamp::SECOND);
    let clock = if minutes == 0 { String::new() } else { format!(" at {:02}:{:02}", minutes / 60, minutes % 60) };
    format!("day {}{clock}", say::day_number(day))
}
