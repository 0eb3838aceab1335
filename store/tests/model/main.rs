//! A search of all orders in which owners of one entity can come and go: `store/src/cql/protocol.rs` says why none of them
//! loses what was acknowledged or takes back what was served, and this looks for one that does.
//!
//! Which rows are history, what who opens the entity does, where a row goes and whether a claim stands are the store's own
//! functions; what stands here is the database, the owners' memory and their deaths. A write that has not ended is seen
//! by one reader and not by the next, also when its writer is dead, and may end at any time or never. Four faults are
//! built in on demand, and must be found. Of worlds that differ in names and in what nobody can see one is searched
//! ([`World::plain`]); the faults are found so, and when all are searched.
//!
//! `cargo test -p adal-store --release --test model -- --include-ignored` searches all of it.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test ends where it finds what must not be")]

use adal_store::cql::{
    db::Place,
    protocol::{Linked, Owner, Standing, history, on_top, standing, still_ours, unsure},
};
use stateright::{Checker, HasDiscoveries, Model, Property};

/// A rule of the protocol that is left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    None,
    /// An owner answers when its row is written, without the verifying read.
    NoVerify,
    /// A tip of an earlier owner is served as it was found.
    NoAdoption,
    /// Of what an earlier owner left the tip alone is written again, and not what may be unfinished below it.
    TipAlone,
    /// A shard that is ours again is taken for one that was ours all the time.
    OursAgain,
}

const KEPT: &str = "what was acknowledged is in every later history exactly once";
const STANDS: &str = "what was served is never taken back";
const WHOLE: &str = "who sees ended writes alone finds all that was served";

/// What is searched.
#[derive(Debug, Clone)]
struct Claims {
    nodes: usize,
    claims: u64,
    commands: u8,
    fault: Fault,
}

/// A row: a command, or none (what an adoption puts on top).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Row {
    place: (u64, u64),
    parent_epoch: u64,
    command: Option<u8>,
}

impl Linked for Row {
    fn place(&self) -> Place {
        Place { seq: self.place.0, epoch: self.place.1 }
    }
    fn parent_epoch(&self) -> u64 {
        self.parent_epoch
    }
}

/// Rows that were sent together.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Write {
    rows: Vec<Row>,
    /// A quorum has them: everybody who reads from now on sees them.
    done: bool,
}

/// What a node is doing with the entity.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Doing {
    /// It is not open.
    Closed,
    /// It is served.
    Serves { epoch: u64, rows: Vec<Row> },
    /// A write of it is under way or has ended: the history that it will make, and the write.
    Waits { epoch: u64, rows: Vec<Row>, write: usize },
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Node {
    /// The version of its last claim, as far as it knows.
    claim: Option<u64>,
    doing: Doing,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct World {
    version: u64,
    owner: Option<(usize, u64)>,
    nodes: Vec<Node>,
    writes: Vec<Write>,
    /// Commands that were acknowledged.
    acknowledged: Vec<u8>,
    /// The longest history that was ever served.
    served: Vec<Row>,
    lost: bool,
    taken_back: bool,
}

#[derive(Debug, Clone, PartialEq)]
enum Action {
    Claim(usize),
    /// It reads, and of the writes that have not ended sees those in this set.
    Open(usize, u32),
    Append(usize, u8),
    /// A write reaches a quorum.
    End(usize),
    /// Its write has ended, and it looks whose the shard is.
    Verify(usize),
    /// Leaves memory.
    Passivate(usize),
    Crash(usize),
}

impl World {
    /// A node serves this history: it is fixed from here on.
    fn serve(&mut self, rows: &[Row]) {
        let both = self.served.len().min(rows.len());
        self.taken_back |= self.served[..both] != rows[..both];
        if rows.len() > self.served.len() {
            self.served = rows.to_vec();
        }
    }

    /// A node has opened the entity with this history: what was acknowledged is in it, once.
    fn opened(&mut self, rows: &[Row]) {
        let times = |command: u8| rows.iter().filter(|row| row.command == Some(command)).count();
        self.lost |= self.acknowledged.iter().any(|command| times(*command) != 1);
    }

    /// What a reader finds who sees the ended writes and those of `seen` (by their order among the others).
    fn found(&self, seen: u32) -> Vec<Row> {
        let mut open = 0..;
        let mut rows: Vec<Row> = Vec::new();
        for write in &self.writes {
            if write.done || open.next().is_some_and(|number: u32| seen >> number & 1 == 1) {
                rows.extend(&write.rows);
            }
        }
        rows.sort_by_key(|row| row.place);
        // An adoption writes the tip again.
        rows.dedup();
        rows
    }

    /// Whether a reader who sees no more than he must finds a history, and what was served at its beginning.
    fn is_whole(&self) -> bool {
        let found = self.found(0);
        let Ok(history) = history(None, &found) else { return self.served.is_empty() };
        let rows: Vec<Row> = history.iter().flat_map(|history| &history.rows).map(|at| found[*at]).collect();
        rows.starts_with(&self.served)
    }

    fn unfinished(&self) -> usize {
        self.writes.iter().filter(|write| !write.done).count()
    }

    /// This world as all are that differ from it in nothing that matters: which node and which command is called what, in
    /// which order what was sent was sent, and by which writes rows came that everybody sees. One of them is searched.
    fn plain(&self) -> Self {
        let [one, other] = [[0, 1], [1, 0]].map(|names| self.renamed(names));
        one.min(other)
    }

    fn renamed(&self, names: [u8; 2]) -> Self {
        let renamed = |rows: &[Row]| -> Vec<Row> {
            let row = |row: &Row| Row { command: row.command.map(|command| names[usize::from(command)]), ..*row };
            rows.iter().map(row).collect()
        };
        let done = self.writes.iter().filter(|write| write.done);
        let mut seen: Vec<Row> = done.flat_map(|write| renamed(&write.rows)).collect();
        seen.sort_unstable();
        seen.dedup();
        let awaited =
            |at: usize| self.nodes.iter().any(|node| matches!(&node.doing, Doing::Waits { write, .. } if *write == at));
        let open = self.writes.iter().enumerate().filter(|(_, write)| !write.done);
        let mut open: Vec<(Vec<Row>, usize)> = open.map(|(at, write)| (renamed(&write.rows), at)).collect();
        // One for which nobody waits, and of which all is there, changes nothing when it ends.
        open.retain(|(rows, at)| awaited(*at) || !rows.iter().all(|row| seen.contains(row)));
        open.sort();
        let place_of = |write: usize| open.iter().position(|(_, at)| *at == write).map_or(0, |place| place + 1);
        let node = |node: &Node| Node {
            doing: match &node.doing {
                Doing::Closed => Doing::Closed,
                Doing::Serves { epoch, rows } => Doing::Serves { epoch: *epoch, rows: renamed(rows) },
                Doing::Waits { epoch, rows, write } => {
                    Doing::Waits { epoch: *epoch, rows: renamed(rows), write: place_of(*write) }
                }
            },
            ..*node
        };
        let mut nodes: Vec<Node> = self.nodes.iter().map(node).collect();
        nodes.sort();
        // Claims have numbers of their own, and one that has crashed has none: then nobody is the owner.
        let owner = self
            .owner
            .map(|(_, since)| (nodes.iter().position(|node| node.claim == Some(since)).unwrap_or(usize::MAX), since));
        let mut acknowledged: Vec<u8> = self.acknowledged.iter().map(|command| names[usize::from(*command)]).collect();
        acknowledged.sort_unstable();
        let mut writes = vec![Write { rows: seen, done: true }];
        writes.extend(open.into_iter().map(|(rows, _)| Write { rows, done: false }));
        Self { nodes, owner, writes, acknowledged, served: renamed(&self.served), ..*self }
    }
}

impl Claims {
    fn open(&self, world: &mut World, node: usize, seen: u32) -> bool {
        let Some(epoch) = world.nodes[node].claim else { return false };
        let found = world.found(seen);
        // A parent that is not there: read again.
        let Ok(history) = history(None, &found) else { return false };
        let tip = history.as_ref().map(|history| history.tip);
        let mut rows: Vec<Row> = history.iter().flat_map(|history| &history.rows).map(|at| found[*at]).collect();
        match standing(tip, epoch) {
            Standing::Fenced => {
                world.nodes[node] = Node { claim: None, doing: Doing::Closed };
                return true;
            }
            Standing::Adopt if self.fault != Fault::NoAdoption => {
                let (place, parent_epoch) = on_top(tip, epoch);
                let top = Row { place: (place.seq, place.epoch), parent_epoch, command: None };
                let from = if self.fault == Fault::TipAlone { rows.len() - 1 } else { unsure(&rows) };
                world.writes.push(Write { rows: rows[from..].iter().copied().chain([top]).collect(), done: false });
                rows.push(top);
                world.nodes[node].doing = Doing::Waits { epoch, rows, write: world.writes.len() - 1 };
            }
            Standing::Empty | Standing::Serve | Standing::Adopt => {
                world.opened(&rows);
                world.serve(&rows);
                world.nodes[node].doing = Doing::Serves { epoch, rows };
            }
        }
        true
    }

    fn append(world: &mut World, node: usize, command: u8) {
        let Doing::Serves { epoch, rows } = world.nodes[node].doing.clone() else { return };
        let (place, parent_epoch) = on_top(rows.last().map(Linked::place), epoch);
        let row = Row { place: (place.seq, place.epoch), parent_epoch, command: Some(command) };
        world.writes.push(Write { rows: vec![row], done: false });
        let rows = rows.into_iter().chain([row]).collect();
        world.nodes[node].doing = Doing::Waits { epoch, rows, write: world.writes.len() - 1 };
    }

    fn verify(&self, world: &mut World, node: usize) {
        let Doing::Waits { epoch, rows, .. } = world.nodes[node].doing.clone() else { return };
        let owner = world.owner.map(|(member, since)| Owner { member, since });
        let ours = match self.fault {
            Fault::NoVerify => true,
            Fault::OursAgain => owner.is_some_and(|owner| owner.member == node),
            Fault::None | Fault::NoAdoption | Fault::TipAlone => still_ours(&node, epoch, owner.as_ref()),
        };
        if !ours {
            // A later claim of its own stands: it may open the entity anew.
            let claim = world.nodes[node].claim.filter(|claim| world.owner == Some((node, *claim)));
            world.nodes[node] = Node { claim, doing: Doing::Closed };
            return;
        }
        match rows.last().and_then(|row| row.command) {
            Some(command) => world.acknowledged.push(command),
            None => world.opened(&rows),
        }
        world.serve(&rows);
        world.nodes[node].doing = Doing::Serves { epoch, rows };
    }
}

impl Model for Claims {
    type State = World;
    type Action = Action;

    fn init_states(&self) -> Vec<World> {
        let node = Node { claim: None, doing: Doing::Closed };
        let nodes = vec![node; self.nodes];
        vec![World {
            version: 0,
            owner: None,
            nodes,
            writes: vec![],
            acknowledged: vec![],
            served: vec![],
            lost: false,
            taken_back: false,
        }]
    }

    fn actions(&self, world: &World, actions: &mut Vec<Action>) {
        for (at, node) in world.nodes.iter().enumerate() {
            if world.version < self.claims
                && world.owner.is_none_or(|(owner, since)| owner != at || node.claim != Some(since))
            {
                actions.push(Action::Claim(at));
            }
            match &node.doing {
                Doing::Closed if node.claim.is_some() => {
                    actions.extend((0..1 << world.unfinished()).map(|seen| Action::Open(at, seen)));
                }
                Doing::Closed => {}
                Doing::Serves { rows, .. } => {
                    // Who repeats a command that is in the history gets the recorded answer.
                    let had = |command: u8| rows.iter().any(|row| row.command == Some(command));
                    actions.extend((0..self.commands).filter(|command| !had(*command)).map(|c| Action::Append(at, c)));
                    actions.push(Action::Passivate(at));
                }
                Doing::Waits { write, .. } if world.writes[*write].done => actions.push(Action::Verify(at)),
                Doing::Waits { .. } => {}
            }
            if node.claim.is_some() {
                actions.push(Action::Crash(at));
            }
        }
        let open = world.writes.iter().enumerate().filter(|(_, write)| !write.done);
        actions.extend(open.map(|(at, _)| Action::End(at)));
    }

    fn next_state(&self, last: &World, action: Action) -> Option<World> {
        let mut world = last.clone();
        match action {
            Action::Claim(node) => {
                world.version += 1;
                world.owner = Some((node, world.version));
                // What it is in the middle of goes on under its earlier claim.
                world.nodes[node].claim = Some(world.version);
                if let Doing::Serves { .. } = world.nodes[node].doing {
                    world.nodes[node].doing = Doing::Closed;
                }
            }
            Action::Open(node, seen) => {
                if !self.open(&mut world, node, seen) {
                    return None;
                }
            }
            Action::Append(node, command) => Self::append(&mut world, node, command),
            Action::End(write) => world.writes[write].done = true,
            Action::Verify(node) => self.verify(&mut world, node),
            Action::Passivate(node) => world.nodes[node].doing = Doing::Closed,
            Action::Crash(node) => world.nodes[node] = Node { claim: None, doing: Doing::Closed },
        }
        Some(world)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always(KEPT, |_, world: &World| !world.lost),
            Property::always(STANDS, |_, world: &World| !world.taken_back),
            // A search prunes readers who find a gap, as those read again; one who finds it whatever he sees does so for ever.
            Property::always(WHOLE, |_, world: &World| world.is_whole()),
            // A search in which nothing is acknowledged by two owners one after the other shows nothing.
            Property::sometimes("all is acknowledged under several claims", |model: &Self, world: &World| {
                world.acknowledged.len() == usize::from(model.commands) && world.version == model.claims
            }),
        ]
    }
}

const fn small(fault: Fault) -> Claims {
    Claims { nodes: 2, claims: 3, commands: 2, fault }
}

fn assert_holds(claims: Claims) {
    let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    assert_eq!(claims.commands, 2, "commands are renamed in twos");
    let checker = claims.checker().threads(threads).symmetry_fn(World::plain).spawn_dfs().join();
    eprintln!("{} states", checker.unique_state_count());
    checker.assert_properties();
}

fn assert_breaks(fault: Fault, properties: &[&'static str]) {
    let found = |search: &dyn Fn(HasDiscoveries, &'static str) -> bool| {
        properties.iter().any(|property| search(HasDiscoveries::AnyOf([*property].into()), property))
    };
    let checker = |only| small(fault).checker().finish_when(only);
    let all = |only, property| checker(only).spawn_bfs().join().discovery(property).is_some();
    let plain =
        |only, property| checker(only).symmetry_fn(World::plain).spawn_dfs().join().discovery(property).is_some();
    assert!(found(&all), "{fault:?} was not found");
    assert!(found(&plain), "{fault:?} was not found among those that are searched");
}

#[test]
fn every_order_of_two_owners_keeps_what_was_acknowledged_and_served() {
    assert_holds(small(Fault::None));
}

#[test]
fn every_order_of_three_owners_and_four_claims_keeps_what_was_acknowledged_and_served() {
    assert_holds(Claims { nodes: 3, claims: 4, ..small(Fault::None) });
}

#[test]
#[ignore = "minutes: `make model`"]
fn every_order_of_three_owners_and_five_claims_keeps_what_was_acknowledged_and_served() {
    assert_holds(Claims { nodes: 3, claims: 5, ..small(Fault::None) });
}

#[test]
fn an_answer_before_the_verifying_read_is_lost() {
    assert_breaks(Fault::NoVerify, &[KEPT]);
}

#[test]
fn a_tip_that_is_served_and_not_adopted_is_taken_back() {
    assert_breaks(Fault::NoAdoption, &[STANDS]);
}

#[test]
fn what_is_unfinished_below_a_tip_and_not_written_again_is_a_gap_for_ever() {
    assert_breaks(Fault::TipAlone, &[WHOLE]);
}

#[test]
fn ours_again_taken_for_ours_since_loses_what_was_acknowledged() {
    assert_breaks(Fault::OursAgain, &[KEPT]);
}
