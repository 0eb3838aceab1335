//! What may happen to the catalogue. A list of changes is decided as a whole: each document by itself first, then what
//! they say of each other, against the catalogue as it would be after all of them. A refusal changes nothing.

use std::{collections::HashSet, sync::Arc};

use super::{
    CatalogueCommand, CatalogueEvent, CatalogueReply, CatalogueState, Change, Changed, Outcome, banner,
    state::{Stamp, bytes_of},
};
use crate::{
    errors::{Code, Refusal},
    ids::{Actor, BannerId, OfferId},
    offers::{NormalCode, Offer, OfferKind, document::Status, validate_as},
    policy::Policy,
    time::Timestamp,
};

/// Promos and campaigns in a catalogue.
pub const MAX_OFFERS: usize = 20_000;
/// Banners in a catalogue.
pub const MAX_BANNERS: usize = 1000;
/// Changes in one command.
pub const MAX_CHANGES: usize = 500;
/// Bytes of one document in its stored form: an offer with as many products as it may list has less.
pub const MAX_DOCUMENT_BYTES: u64 = 4 << 20;
/// Bytes of all documents of one command: it is one row of the journal.
pub const MAX_COMMAND_BYTES: u64 = 16 << 20;
/// Bytes of all documents of a catalogue: a snapshot is one value of the store.
pub const MAX_CATALOGUE_BYTES: u64 = 256 << 20;

type Checked = Result<(), Refusal>;

fn fail<T>(code: Code, detail: impl Into<String>) -> Result<T, Refusal> {
    Err(Refusal::new(code, detail))
}

pub(super) fn decide(
    state: &CatalogueState,
    command: &CatalogueCommand,
    at: Timestamp,
) -> Result<(Vec<CatalogueEvent>, CatalogueReply), Refusal> {
    match command {
        CatalogueCommand::SetPolicy { policy, expected_revision, by } => {
            check_policy(state, policy, *expected_revision)?;
            let revision = state.revision + 1;
            let event = CatalogueEvent::PolicySet { revision, policy: Arc::clone(policy), by: by.clone(), at };
            Ok((vec![event], CatalogueReply { revision, changed: vec![] }))
        }
        CatalogueCommand::Change { changes, expected_revision, by } => {
            if expected_revision.is_some_and(|expected| expected != state.revision) {
                return fail(Code::RevisionConflict, format!("revision: the catalogue is at {}", state.revision));
            }
            let mut next = state.clone();
            change(&mut next, changes, by, at)
        }
        CatalogueCommand::Wake => Ok((vec![], CatalogueReply { revision: state.revision, changed: vec![] })),
    }
}

fn check_policy(state: &CatalogueState, policy: &Policy, expected: Option<u64>) -> Checked {
    policy.validate()?;
    if expected.is_some_and(|expected| expected != state.policy_revision) {
        let detail = format!("revision: the policy was changed last at {}", state.policy_revision);
        return fail(Code::RevisionConflict, detail);
    }
    Ok(())
}

/// Changes documents in `state`, all or none, and says what happened. What removes goes first: a list may move an id or
/// a code from one offer to another in any order. After an error `state` is not to be used.
///
/// # Errors
/// The first rule that is broken, with the document it is about where there are several.
pub fn change(
    state: &mut CatalogueState,
    changes: &[Change],
    by: &Actor,
    at: Timestamp,
) -> Result<(Vec<CatalogueEvent>, CatalogueReply), Refusal> {
    check_list(changes)?;
    let named = |change: &Change, refusal: Refusal| name(refusal, change, changes.len() > 1);
    let revision = state.revision + 1;
    let now = Now { revision, by, at };
    let mut events = Vec::new();
    let mut claimed = Vec::new();
    let mut changed: Vec<Option<Changed>> = changes.iter().map(|_| None).collect();
    let (removing, putting): (Vec<_>, Vec<_>) = changes.iter().enumerate().partition(|(_, change)| change.removes());
    for (place, change) in removing.into_iter().chain(putting) {
        let (event, outcome, stamp) = one(state, change, &now).map_err(|refusal| named(change, refusal))?;
        let (kind, id) = change.document();
        changed[place] =
            Some(Changed { kind, id: id.into(), outcome, version: stamp.version, revision: stamp.revision });
        let Some(event) = event else { continue };
        claim(state, &event, place, &mut claimed);
        state.apply(&event);
        events.push(event);
    }
    check_codes(state, &claimed).map_err(|(place, refusal)| named(&changes[place], refusal))?;
    for change in changes {
        check_links(state, change).map_err(|refusal| named(change, refusal))?;
    }
    check_size(state)?;
    let reply = CatalogueReply { revision: state.revision, changed: changed.into_iter().flatten().collect() };
    Ok((events, reply))
}

/// The detail says which document it is about, where there are several.
fn name(mut refusal: Refusal, change: &Change, several: bool) -> Refusal {
    if several {
        let (kind, id) = change.document();
        let space = if id.is_empty() { "" } else { " " };
        refusal.detail = format!("{}{space}{id}: {}", kind.as_str(), refusal.detail);
    }
    refusal
}

fn check_list(changes: &[Change]) -> Checked {
    if changes.is_empty() || changes.len() > MAX_CHANGES {
        return fail(Code::InvalidField, format!("changes: {} given, must be 1 to {MAX_CHANGES}", changes.len()));
    }
    let mut seen = HashSet::new();
    for change in changes {
        let (kind, id) = change.document();
        // An offer may leave one collection and enter the other in one list.
        if !seen.insert((kind, id)) {
            return fail(Code::InvalidField, format!("changes: {} {id} comes twice", kind.as_str()));
        }
    }
    let mut bytes = 0_u64;
    for change in changes {
        let one = match change {
            Change::Policy { policy, .. } => bytes_of(policy),
            Change::PutOffer { offer, .. } => bytes_of(offer),
            Change::PutBanner { banner, .. } => bytes_of(banner),
            Change::DeleteOffer { .. } | Change::DeleteBanner { .. } => 0,
        };
        if one > MAX_DOCUMENT_BYTES {
            let detail = format!("it has {one} bytes in its stored form, at most {MAX_DOCUMENT_BYTES}");
            return Err(name(Refusal::new(Code::BodyTooLarge, detail), change, true));
        }
        bytes += one;
    }
    if bytes > MAX_COMMAND_BYTES {
        let detail = format!("changes: {bytes} bytes in their stored form, at most {MAX_COMMAND_BYTES} together");
        return fail(Code::BodyTooLarge, detail);
    }
    Ok(())
}

struct Now<'a> {
    revision: u64,
    by: &'a Actor,
    at: Timestamp,
}

/// What became of a document, the stamp's version and revision.
struct Stamped {
    version: u64,
    revision: u64,
}

type Done = (Option<CatalogueEvent>, Outcome, Stamped);

/// One change by itself: what it does to the state as it is by now.
fn one(state: &CatalogueState, change: &Change, now: &Now<'_>) -> Result<Done, Refusal> {
    match change {
        Change::Policy { policy, expected } => put_policy(state, policy, *expected, now),
        Change::PutOffer { kind, id, offer, expected } => put_offer(state, (*kind, id), offer, *expected, now),
        Change::DeleteOffer { kind, id, expected } => {
            let known = state.offer(id).filter(|entry| entry.kind == *kind);
            let Some(known) = known else { return fail(Code::NotFound, format!("there is no such {}", kind.as_str())) };
            as_expected(Some(&known.stamp), *expected)?;
            let (by, at) = (now.by.clone(), now.at);
            let event = CatalogueEvent::OfferDeleted { revision: now.revision, kind: *kind, id: id.clone(), by, at };
            Ok((Some(event), Outcome::Removed, Stamped { version: 0, revision: now.revision }))
        }
        Change::PutBanner { id, banner, expected } => put_banner(state, id, banner, *expected, now),
        Change::DeleteBanner { id, expected } => {
            let Some(known) = state.banner(id) else { return fail(Code::NotFound, "there is no such banner") };
            as_expected(Some(&known.stamp), *expected)?;
            let (by, at) = (now.by.clone(), now.at);
            let event = CatalogueEvent::BannerDeleted { revision: now.revision, id: id.clone(), by, at };
            Ok((Some(event), Outcome::Removed, Stamped { version: 0, revision: now.revision }))
        }
    }
}

fn put_policy(
    state: &CatalogueState,
    policy: &Arc<Policy>,
    expected: Option<u64>,
    now: &Now<'_>,
) -> Result<Done, Refusal> {
    check_policy(state, policy, expected)?;
    let outcome = match &state.policy {
        Some(known) if known == policy => {
            let revision = state.policy_revision;
            return Ok((None, Outcome::Same, Stamped { version: revision, revision }));
        }
        Some(_) => Outcome::Changed,
        None => Outcome::Added,
    };
    let (revision, by, at) = (now.revision, now.by.clone(), now.at);
    let event = CatalogueEvent::PolicySet { revision, policy: Arc::clone(policy), by, at };
    Ok((Some(event), outcome, Stamped { version: revision, revision }))
}

fn put_offer(
    state: &CatalogueState,
    (kind, id): (OfferKind, &OfferId),
    offer: &Arc<Offer>,
    expected: Option<u64>,
    now: &Now<'_>,
) -> Result<Done, Refusal> {
    validate_as(kind, offer)?;
    let known = state.offer(id);
    if let Some(other) = known.filter(|entry| entry.kind != kind) {
        let (ours, theirs) = (kind.as_str(), other.kind.as_str());
        let detail = format!("id: there is a {theirs} {id}; a {ours} cannot share its id, for uses are counted by id");
        return fail(Code::OfferInvalid, detail);
    }
    as_expected(known.map(|entry| &entry.stamp), expected)?;
    if let Some(known) = known.filter(|entry| entry.offer == *offer) {
        return Ok((None, Outcome::Same, stamped(&known.stamp)));
    }
    let (outcome, version) = next_version(known.map(|entry| &entry.stamp));
    let event = CatalogueEvent::OfferPut {
        revision: now.revision,
        kind,
        id: id.clone(),
        version,
        offer: Arc::clone(offer),
        by: now.by.clone(),
        at: now.at,
    };
    Ok((Some(event), outcome, Stamped { version, revision: now.revision }))
}

fn put_banner(
    state: &CatalogueState,
    id: &BannerId,
    document: &Arc<super::Banner>,
    expected: Option<u64>,
    now: &Now<'_>,
) -> Result<Done, Refusal> {
    banner::validate(document)?;
    let known = state.banner(id);
    as_expected(known.map(|entry| &entry.stamp), expected)?;
    if let Some(known) = known.filter(|entry| entry.banner == *document) {
        return Ok((None, Outcome::Same, stamped(&known.stamp)));
    }
    let (outcome, version) = next_version(known.map(|entry| &entry.stamp));
    let event = CatalogueEvent::BannerPut {
        revision: now.revision,
        id: id.clone(),
        version,
        banner: Arc::clone(document),
        by: now.by.clone(),
        at: now.at,
    };
    Ok((Some(event), outcome, Stamped { version, revision: now.revision }))
}

const fn stamped(stamp: &Stamp) -> Stamped {
    Stamped { version: stamp.version, revision: stamp.revision }
}

fn next_version(known: Option<&Stamp>) -> (Outcome, u64) {
    known.map_or((Outcome::Added, 1), |stamp| (Outcome::Changed, stamp.version + 1))
}

fn as_expected(known: Option<&Stamp>, expected: Option<u64>) -> Checked {
    let last = known.map_or(0, |stamp| stamp.revision);
    match expected {
        Some(expected) if expected != last => {
            let found = if last == 0 { "there is none".to_owned() } else { format!("it was changed last at {last}") };
            fail(Code::RevisionConflict, format!("revision: {expected} was expected, {found}"))
        }
        _ => Ok(()),
    }
}

/// A code that an offer takes while another has it: right only if that one gives it up in the same list.
struct Claim {
    place: usize,
    /// Its number in the offer's `codes`.
    number: usize,
    typed: String,
    from: OfferId,
}

fn claim(state: &CatalogueState, event: &CatalogueEvent, place: usize, claimed: &mut Vec<Claim>) {
    let CatalogueEvent::OfferPut { id, offer, .. } = event else { return };
    for (number, typed) in offer.codes.iter().enumerate() {
        let Some(code) = NormalCode::new(typed) else { continue };
        if let Some(from) = state.offer_of_code(&code).filter(|from| *from != id) {
            claimed.push(Claim { place, number, from: from.clone(), typed: typed.clone() });
        }
    }
}

fn check_codes(state: &CatalogueState, claimed: &[Claim]) -> Result<(), (usize, Refusal)> {
    for Claim { place, number, typed, from } in claimed {
        let Some(holder) = state.offer(from) else { continue };
        let code = NormalCode::new(typed);
        let mut theirs = holder.offer.codes.iter().enumerate();
        if let Some((at, theirs)) = theirs.find(|(_, theirs)| NormalCode::new(theirs) == code) {
            let kind = holder.kind.as_str();
            let detail = format!("codes[{number}]: {typed:?} is codes[{at}], {theirs:?}, of {kind} {from}");
            return Err((*place, Refusal::new(Code::OfferInvalid, detail)));
        }
    }
    Ok(())
}

/// What a change breaks between documents, once all of its list are done.
fn check_links(state: &CatalogueState, change: &Change) -> Checked {
    match change {
        Change::PutOffer { id, offer, .. } => check_group(state, id, offer),
        Change::PutBanner { banner, .. } => match banner.offer.as_ref().filter(|id| state.offer(id).is_none()) {
            Some(id) => fail(Code::BannerInvalid, format!("offer: there is no promo or campaign {id}")),
            None => Ok(()),
        },
        Change::DeleteOffer { id, .. } if state.offer(id).is_none() => {
            match state.banners(None).find(|(_, entry)| entry.banner.offer.as_ref() == Some(id)) {
                Some((shown_by, _)) => {
                    fail(Code::OfferInvalid, format!("the banner {shown_by} is about it: delete or change that first"))
                }
                None => Ok(()),
            }
        }
        _ => Ok(()),
    }
}

/// Offers that share a budget name the same one; those that have ended are left in peace.
fn check_group(state: &CatalogueState, id: &OfferId, offer: &Offer) -> Checked {
    let group = offer.limits.budget_group.as_ref().filter(|_| offer.status != Status::Ended);
    let Some(group) = group else { return Ok(()) };
    let other = state.offers().find(|(other, entry)| {
        let limits = &entry.offer.limits;
        *other != id
            && entry.offer.status != Status::Ended
            && limits.budget_group.as_ref() == Some(group)
            && limits.budget_minor != offer.limits.budget_minor
    });
    let Some((other, entry)) = other else { return Ok(()) };
    let kind = entry.kind.as_str();
    let theirs = entry.offer.limits.budget_minor.unwrap_or_default();
    fail(
        Code::OfferInvalid,
        format!(
            "limits.budget_minor, limits.budget_group: {kind} {other} names {theirs} for the group {group}, which is one \
             budget; change all of the group in one list"
        ),
    )
}

fn check_size(state: &CatalogueState) -> Checked {
    let full = |what: String| fail(Code::CatalogueFull, what);
    if state.offer_count() > MAX_OFFERS {
        return full(format!("{} promos and campaigns, at most {MAX_OFFERS}", state.offer_count()));
    }
    if state.banner_count() > MAX_BANNERS {
        return full(format!("{} banners, at most {MAX_BANNERS}", state.banner_count()));
    }
    if state.document_bytes() > MAX_CATALOGUE_BYTES {
        return full(format!("{} bytes of documents, at most {MAX_CATALOGUE_BYTES}", state.document_bytes()));
    }
    Ok(())
}
