//! Fraud flags: raised, then confirmed or dismissed by a person.

use super::{Event, Reply, cards, draft::Draft, read::FlagView, settle, tier::AsOf};
use crate::{
    errors::{Code, Refusal},
    ids::{Actor, FlagName},
};

/// Flags of one customer, standing and confirmed.
const MAX_FLAGS: usize = 50;

pub(super) fn raise(draft: &mut Draft<'_>, flag: &FlagName, reason: &str, by: &Actor) -> Result<Reply, Refusal> {
    cards::check_reason(reason)?;
    let now = draft.now;
    settle::settle(draft, now);
    if draft.state.standing.flags.iter().any(|known| known.flag == *flag) {
        return Err(Refusal::new(Code::AlreadyDecided, format!("flag: {flag} stands already")));
    }
    if draft.state.standing.flags.len() >= MAX_FLAGS {
        return Err(Refusal::new(Code::TooManyOpen, format!("flag: a customer has at most {MAX_FLAGS}")));
    }
    draft.emit(Event::FlagRaised { flag: flag.clone(), reason: reason.into(), by: by.clone(), at: now });
    reply(draft, flag, "raised", &format!("fraud flag {flag} raised"))
}

pub(super) fn decide(draft: &mut Draft<'_>, flag: &FlagName, confirm: bool, by: &Actor) -> Result<Reply, Refusal> {
    let now = draft.now;
    settle::settle(draft, now);
    let known = draft.state.standing.flags.iter().find(|known| known.flag == *flag);
    match known {
        None => return Err(Refusal::new(Code::NotFound, format!("flag: {flag} does not stand"))),
        Some(known) if known.confirmed_at.is_some() => {
            return Err(Refusal::new(Code::AlreadyDecided, format!("flag: {flag} was confirmed already")));
        }
        Some(_) => {}
    }
    draft.emit(Event::FlagDecided { flag: flag.clone(), confirmed: confirm, by: by.clone(), at: now });
    let word = if confirm { "confirmed" } else { "dismissed" };
    reply(draft, flag, word, &format!("fraud flag {flag} {word}"))
}

fn reply(draft: &mut Draft<'_>, flag: &FlagName, state: &str, cause: &str) -> Result<Reply, Refusal> {
    let now = draft.now;
    draft.announce_trust(now, cause);
    let score = draft.state.score(AsOf::new(now.max(draft.state.fact_time)), draft.context);
    Ok(Reply::Flag(FlagView { flag: flag.clone(), state: state.to_owned(), score }))
}
