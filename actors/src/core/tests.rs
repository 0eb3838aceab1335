//! The state machine alone: no actor, no clock, no store.

use adal_domain::entity::{EntityKey, EntityKind};
use tokio::sync::oneshot::{self, Receiver};

use super::*;
use crate::{
    ask::{Answer, CommandId, Origin, Reply},
    row,
    simulation::ledger::{Account, Ask, Refused},
};

type Waiting = Receiver<Result<Answer<Account>, AskError>>;

const NOW: Timestamp = Timestamp::from_seconds(1_800_000_000);
const LONG_AGO: Timestamp = Timestamp::from_seconds(0);

fn core() -> Core<Account> {
    Core::new("a")
}

fn ask(core: &mut Core<Account>, key: Option<&str>, command: Ask) -> Waiting {
    let (to, answer) = oneshot::channel();
    let id = key.map(|key| CommandId::of("test", key));
    core.push(Job::Command(Asked {
        id,
        origin: None,
        print: [1; 16],
        command,
        reply: Reply::Answer(to),
        known_only: false,
    }));
    answer
}

fn turn_with(core: &mut Core<Account>, panics_left: u32, max_remembered: usize) -> (Turn, usize) {
    let plan = core.plan(LONG_AGO);
    let asked = plan.recalls.clone();
    let rows = asked.iter().map(|&seq| (seq, Vec::new())).collect();
    let env = Env { id: "a", now: NOW, context: &(), entropy: &|| [7; 16], panics_left, max_remembered };
    let turn = core.decide(plan.fresh, &Recalled { asked, rows }, &env);
    (turn, plan.repeats.len())
}

fn turn(core: &mut Core<Account>) -> Turn {
    turn_with(core, 3, 100).0
}

fn land(core: &mut Core<Account>) {
    core.land(|_| ());
}

fn commands(turn: &Turn) -> usize {
    let append = turn.append.as_ref().unwrap();
    row::decode::<Account>(&append.row).unwrap().commands.len()
}

#[test]
fn what_queues_together_is_one_row_and_nobody_is_answered_before_it_is_durable() {
    let mut core = core();
    let mut first = ask(&mut core, Some("1"), Ask::Deposit(10));
    let mut look = ask(&mut core, None, Ask::Look);
    let mut second = ask(&mut core, Some("2"), Ask::Hold { amount: 10, seconds: 60 });
    let turn = turn(&mut core);
    assert_eq!((commands(&turn), turn.append.as_ref().unwrap().row.seq), (2, 1));
    assert_eq!(turn.append.unwrap().wake, Some(NOW.plus_seconds(60)));
    assert!(first.try_recv().is_err() && look.try_recv().is_err() && second.try_recv().is_err());
    assert_eq!(core.head().seq, 0, "nothing is published yet");
    land(&mut core);
    let looked = look.try_recv().unwrap().unwrap();
    assert_eq!(looked.outcome.unwrap().balance, 10, "it saw what is durable by now");
    assert_eq!((looked.seq, first.try_recv().unwrap().unwrap().seq), (1, 1));
    assert!(second.try_recv().unwrap().is_ok());
    assert_eq!(core.head().state.held(), 10);
}

#[test]
fn what_changes_nothing_and_has_no_id_writes_nothing() {
    let mut core = core();
    let mut look = ask(&mut core, None, Ask::Look);
    let mut wake = ask(&mut core, None, Ask::Expire);
    assert!(turn(&mut core).append.is_none());
    assert!(look.try_recv().unwrap().is_ok() && wake.try_recv().unwrap().is_ok());
    let mut with_id = ask(&mut core, Some("1"), Ask::Look);
    assert_eq!(commands(&turn(&mut core)), 1, "its answer must be found again");
    land(&mut core);
    assert!(with_id.try_recv().unwrap().is_ok());
}

#[test]
fn a_refusal_is_recorded_and_repeated() {
    let mut core = core();
    let mut refused = ask(&mut core, Some("1"), Ask::Capture);
    assert_eq!(commands(&turn(&mut core)), 1);
    land(&mut core);
    assert_eq!(refused.try_recv().unwrap().unwrap().outcome, Err(Refused::NoHold));
    let _again = ask(&mut core, Some("1"), Ask::Capture);
    let (turn, repeats) = turn_with(&mut core, 3, 100);
    assert!(turn.append.is_none());
    assert_eq!(repeats, 1, "answered from its row, not decided");
}

#[test]
fn a_repeat_in_the_same_batch_waits_for_the_same_answer_and_a_reused_key_is_told() {
    let mut core = core();
    let mut first = ask(&mut core, Some("1"), Ask::Deposit(5));
    let mut again = ask(&mut core, Some("1"), Ask::Deposit(5));
    let (to, mut other) = oneshot::channel();
    let id = Some(CommandId::of("test", "1"));
    let reply = Reply::Answer(to);
    core.push(Job::Command(Asked {
        id,
        origin: None,
        print: [2; 16],
        command: Ask::Deposit(6),
        reply,
        known_only: false,
    }));
    assert_eq!(commands(&turn(&mut core)), 1);
    assert!(matches!(other.try_recv().unwrap(), Err(AskError::KeyReused)));
    assert!(again.try_recv().is_err());
    land(&mut core);
    let (first, again) = (first.try_recv().unwrap().unwrap(), again.try_recv().unwrap().unwrap());
    assert_eq!((first.replayed, again.replayed), (false, true));
    assert_eq!(first.outcome, again.outcome);
    assert_eq!(core.head().state.balance, 5);
}

#[test]
fn an_effect_is_applied_once_however_often_it_comes() {
    let mut core = core();
    let source = adal_domain::entity::EntityKey::new(adal_domain::entity::EntityKind::Guest, "g");
    let come = |core: &mut Core<Account>| {
        let (to, done) = oneshot::channel();
        let origin = Some(Box::new(Origin { source: source.clone(), seq: 4, index: 0 }));
        let reply = Reply::Done(to);
        core.push(Job::Command(Asked {
            id: None,
            origin,
            print: [0; 16],
            command: Ask::Coin(1),
            reply,
            known_only: false,
        }));
        done
    };
    let (mut one, mut two) = (come(&mut core), come(&mut core));
    assert_eq!(commands(&turn(&mut core)), 1);
    assert!(two.try_recv().is_err(), "not before it is durable");
    land(&mut core);
    assert!(one.try_recv().unwrap().is_ok() && two.try_recv().unwrap().is_ok());
    let mut three = come(&mut core);
    assert!(turn(&mut core).append.is_none());
    assert!(three.try_recv().unwrap().is_ok());
    assert_eq!(core.head().state.balance, 1);
}

#[test]
fn a_panic_takes_nobody_with_it_until_it_happens_too_often() {
    let mut core = core();
    let mut before = ask(&mut core, Some("1"), Ask::Deposit(5));
    let mut bad = ask(&mut core, Some("2"), Ask::Panic);
    let mut after = ask(&mut core, Some("3"), Ask::Deposit(6));
    let first = turn(&mut core);
    assert_eq!((commands(&first), first.tally.panicked), (2, 1));
    assert!(first.end.is_none());
    land(&mut core);
    assert!(matches!(bad.try_recv().unwrap(), Err(AskError::Panicked)));
    assert!(before.try_recv().unwrap().is_ok() && after.try_recv().unwrap().is_ok());
    assert_eq!(core.head().state.balance, 11);

    let mut last = ask(&mut core, Some("4"), Ask::Deposit(1));
    let _bad = ask(&mut core, Some("5"), Ask::Panic);
    let mut too_late = ask(&mut core, Some("6"), Ask::Deposit(1));
    let (turn, _) = turn_with(&mut core, 1, 100);
    assert!(matches!(turn.end, Some(AskError::Quarantined)));
    assert_eq!(commands(&turn), 1, "what was decided before is kept");
    land(&mut core);
    assert!(last.try_recv().unwrap().is_ok());
    assert!(matches!(too_late.try_recv().unwrap(), Err(AskError::Quarantined)));
}

#[test]
fn when_a_row_fails_nobody_who_waits_is_answered_and_nothing_of_it_stays() {
    let mut core = core();
    let mut in_flight = ask(&mut core, Some("1"), Ask::Deposit(5));
    assert!(turn(&mut core).append.is_some());
    let mut queued = ask(&mut core, Some("2"), Ask::Deposit(6));
    assert_eq!(core.fail(&AskError::Stopping), 1);
    assert!(in_flight.try_recv().unwrap().is_err() && queued.try_recv().unwrap().is_err());
    assert_eq!((core.head().seq, core.head().state.balance), (0, 0));
}

#[test]
fn an_id_too_many_is_refused_for_now_and_not_forgotten_early() {
    let mut core = core();
    let mut answers: Vec<_> = (0..3).map(|key| ask(&mut core, Some(&key.to_string()), Ask::Deposit(1))).collect();
    let (turn, _) = turn_with(&mut core, 3, 2);
    assert_eq!(commands(&turn), 2);
    land(&mut core);
    assert!(matches!(answers[2].try_recv().unwrap(), Err(AskError::Busy)));
    let _repeat = ask(&mut core, Some("0"), Ask::Deposit(1));
    let (_, repeats) = turn_with(&mut core, 3, 2);
    assert_eq!(repeats, 1);
}

#[test]
fn a_forgotten_id_is_new_again() {
    let mut core = core();
    let _first = ask(&mut core, Some("1"), Ask::Deposit(1));
    turn(&mut core);
    land(&mut core);
    let _later = ask(&mut core, Some("1"), Ask::Deposit(1));
    assert_eq!(core.plan(NOW).fresh.len(), 1);
    assert!(core.memory().is_none(), "and what is empty takes no memory");
}

#[test]
fn a_batch_is_bounded_and_whoever_went_away_is_left_out() {
    let mut core = core();
    for key in 0..5 {
        drop(ask(&mut core, Some(&format!("gone-{key}")), Ask::Deposit(1)));
    }
    let kept: Vec<_> = (0..BATCH + 10).map(|key| ask(&mut core, Some(&key.to_string()), Ask::Deposit(1))).collect();
    assert_eq!(commands(&turn_with(&mut core, 3, 1_000).0), BATCH);
    land(&mut core);
    assert_eq!(commands(&turn_with(&mut core, 3, 1_000).0), 10);
    land(&mut core);
    assert!(core.is_idle());
    assert_eq!((kept.len(), core.head().state.balance), (266, 266));
}

#[test]
fn a_command_that_needs_a_row_of_its_own_batch_comes_with_the_next() {
    let mut core = core();
    let _first = ask(&mut core, Some("1"), Ask::Deposit(1));
    let mut recall = ask(&mut core, Some("2"), Ask::Recall(1));
    let plan = core.plan(LONG_AGO);
    assert_eq!(plan.recalls.iter().copied().collect::<Vec<_>>(), [1]);
    // Nothing was read: as if the command had needed nothing when it was planned.
    let env = Env { id: "a", now: NOW, context: &(), entropy: &|| [7; 16], panics_left: 3, max_remembered: 9 };
    let turn = core.decide(plan.fresh, &Recalled::nothing(), &env);
    assert_eq!((commands(&turn), turn.given_back), (1, 1));
    land(&mut core);
    assert!(recall.try_recv().is_err());
    let plan = core.plan(LONG_AGO);
    let recalled =
        Recalled { asked: plan.recalls, rows: vec![(1, vec![crate::simulation::ledger::Happened::Deposited(1)])] };
    core.decide(plan.fresh, &recalled, &env);
    land(&mut core);
    assert_eq!(recall.try_recv().unwrap().unwrap().outcome.unwrap().recalled, 1);
}

#[test]
fn a_refusal_that_is_not_for_good_is_not_recorded_and_a_repeat_is_decided_anew() {
    let mut core = core();
    let mut first = ask(&mut core, Some("1"), Ask::TryLater);
    let mut again = ask(&mut core, Some("1"), Ask::TryLater);
    assert!(turn(&mut core).append.is_none(), "nothing to record");
    for refused in [&mut first, &mut again] {
        let answer = refused.try_recv().unwrap().unwrap();
        assert_eq!((answer.outcome, answer.replayed), (Err(Refused::NotNow), false));
    }
    let _paid = ask(&mut core, Some("2"), Ask::Deposit(10));
    let mut later = ask(&mut core, Some("1"), Ask::TryLater);
    assert_eq!(commands(&turn(&mut core)), 2);
    land(&mut core);
    assert!(later.try_recv().unwrap().unwrap().outcome.is_ok());
    // Now it is answered for good.
    let _repeat = ask(&mut core, Some("1"), Ask::TryLater);
    assert_eq!(turn_with(&mut core, 3, 100).1, 1);
}

#[test]
fn an_effect_that_cannot_be_decided_is_not_taken_for_applied() {
    let mut core = core();
    let origin = || Some(Box::new(Origin { source: EntityKey::new(EntityKind::Guest, "b"), seq: 1, index: 0 }));
    for balance in [0, 10] {
        let (to, mut done) = oneshot::channel();
        let reply = Reply::Done(to);
        core.push(Job::Command(Asked {
            id: None,
            origin: origin(),
            print: [1; 16],
            command: Ask::TryLater,
            reply,
            known_only: false,
        }));
        let turn = turn(&mut core);
        assert_eq!(turn.append.is_some(), balance > 0);
        land(&mut core);
        assert_eq!(done.try_recv().unwrap().is_ok(), balance > 0, "it comes again");
        let _paid = ask(&mut core, None, Ask::Deposit(10));
        self::turn(&mut core);
        land(&mut core);
    }
}
