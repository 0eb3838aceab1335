//! The catalogue's rules: what is refused and by which name, what a list does as a whole, what is kept.

use std::sync::Arc;

use serde_json::{Value, json};

use super::{
    Banner, Catalogue, CatalogueCommand, CatalogueReply, CatalogueState, Change, Outcome, banner, decide,
    decide::MAX_CHANGES,
};
use crate::{
    entity::Entity,
    errors::{Code, Refusal},
    ids::{Actor, BannerId, OfferId},
    offers::{NormalCode, Offer, OfferKind},
    policy::Policy,
    time::Timestamp,
};

fn id(text: &str) -> OfferId {
    OfferId::new(text).unwrap()
}

fn merged(mut base: Value, extra: &Value) -> Value {
    base.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
    base
}

fn offer(extra: &Value) -> Arc<Offer> {
    let base = json!({"name": "test", "discount": {"type": "percent", "permyriad": 1000}});
    Arc::new(serde_json::from_value(merged(base, extra)).unwrap())
}

fn put(kind: OfferKind, name: &str, extra: &Value) -> Change {
    Change::PutOffer { kind, id: id(name), offer: offer(extra), expected: None }
}

fn promo(name: &str, codes: &[&str]) -> Change {
    put(OfferKind::Promo, name, &json!({"codes": codes}))
}

fn delete(kind: OfferKind, name: &str) -> Change {
    Change::DeleteOffer { kind, id: id(name), expected: None }
}

fn document(extra: &Value) -> Banner {
    serde_json::from_value(merged(json!({"placement": "home", "texts": {"en": {"title": "Hello"}}}), extra)).unwrap()
}

fn put_banner(name: &str, extra: &Value) -> Change {
    let id = BannerId::new(name).unwrap();
    Change::PutBanner { id, banner: Arc::new(document(extra)), expected: None }
}

fn try_command(state: &mut CatalogueState, command: &CatalogueCommand) -> Result<CatalogueReply, Refusal> {
    let before = state.clone();
    match decide::decide(state, command, Timestamp::from_seconds(1)) {
        Ok((events, reply)) => {
            events.iter().for_each(|event| Catalogue::apply(state, event, 1));
            assert_eq!(state.broken_invariants(), Vec::<&str>::new());
            assert_eq!(state.revision, reply.revision);
            Ok(reply)
        }
        Err(refusal) => {
            assert_eq!(*state, before, "a refusal changes nothing");
            Err(refusal)
        }
    }
}

fn try_all(state: &mut CatalogueState, changes: Vec<Change>) -> Result<CatalogueReply, Refusal> {
    let by = Actor::new("k1").unwrap();
    try_command(state, &CatalogueCommand::Change { changes, expected_revision: None, by })
}

#[track_caller]
fn done(state: &mut CatalogueState, changes: Vec<Change>) -> CatalogueReply {
    try_all(state, changes).unwrap()
}

#[track_caller]
fn refused(state: &mut CatalogueState, changes: Vec<Change>, code: Code, names: &[&str]) {
    let refusal = try_all(state, changes).unwrap_err();
    assert_eq!(refusal.code, code, "{refusal}");
    for name in names {
        assert!(refusal.detail.contains(name), "{} does not name {name}", refusal.detail);
    }
}

#[test]
fn each_document_has_its_version_and_all_have_one_revision() {
    let mut state = CatalogueState::default();
    let first = done(&mut state, vec![promo("a", &["A1"]), put(OfferKind::Campaign, "b", &json!({}))]);
    assert_eq!((first.revision, first.changed.len()), (1, 2));
    assert_eq!((first.changed[0].outcome, first.changed[0].version), (Outcome::Added, 1));
    let second = done(&mut state, vec![promo("a", &["A2"])]);
    assert_eq!((second.changed[0].outcome, second.changed[0].version, second.revision), (Outcome::Changed, 2, 2));
    let same = done(&mut state, vec![promo("a", &["A2"])]);
    assert_eq!((same.changed[0].outcome, same.changed[0].version, same.revision), (Outcome::Same, 2, 2));
    let stamp = &state.offer(&id("b")).unwrap().stamp;
    assert_eq!((stamp.version, stamp.revision, stamp.by.as_str()), (1, 1, "k1"));
}

#[test]
fn a_code_belongs_to_one_offer_and_both_are_named() {
    let mut state = CatalogueState::default();
    done(&mut state, vec![promo("spring", &["X", "WELCOME10"])]);
    let taken = vec![promo("autumn", &["y", "welcome-1O"])];
    refused(
        &mut state,
        taken.clone(),
        Code::OfferInvalid,
        &["codes[1]", "codes[1], ", "welcome-1O", "WELCOME10", "promo spring"],
    );
    assert_eq!(state.offer_of_code(&NormalCode::new("welcome10").unwrap()), Some(&id("spring")));
    done(&mut state, vec![delete(OfferKind::Promo, "spring")]);
    done(&mut state, taken);
    assert_eq!(state.offer_of_code(&NormalCode::new("welcome10").unwrap()), Some(&id("autumn")), "free again");
}

#[test]
fn a_list_moves_codes_and_ids_in_any_order_and_is_all_or_nothing() {
    let mut state = CatalogueState::default();
    done(&mut state, vec![promo("a", &["X"]), promo("b", &["Y"])]);
    done(&mut state, vec![promo("a", &["Y"]), promo("b", &["X"])]);
    assert_eq!(state.offer_of_code(&NormalCode::new("X").unwrap()), Some(&id("b")));
    assert_eq!(state.offer_of_code(&NormalCode::new("Y").unwrap()), Some(&id("a")));
    done(&mut state, vec![put(OfferKind::Campaign, "a", &json!({})), delete(OfferKind::Promo, "a")]);
    assert_eq!(state.offer(&id("a")).unwrap().kind, OfferKind::Campaign);
    let one_is_wrong = vec![promo("c", &["Z"]), promo("d", &["X"])];
    refused(&mut state, one_is_wrong, Code::OfferInvalid, &["promo d", "codes[0]", "promo b"]);
    assert!(state.offer(&id("c")).is_none());
}

#[test]
fn an_id_is_of_one_kind() {
    let mut state = CatalogueState::default();
    done(&mut state, vec![promo("a", &[])]);
    refused(&mut state, vec![put(OfferKind::Campaign, "a", &json!({}))], Code::OfferInvalid, &["id", "promo a"]);
    refused(&mut state, vec![delete(OfferKind::Campaign, "a")], Code::NotFound, &["campaign"]);
    refused(&mut state, vec![put(OfferKind::Campaign, "b", &json!({"codes": ["x"]}))], Code::OfferInvalid, &["codes"]);
}

#[test]
fn a_group_has_one_budget() {
    let mut state = CatalogueState::default();
    let member = |name: &str, minor: i64, status: &str| {
        let limits = json!({"limits": {"budget_minor": minor, "budget_group": "spring"}, "status": status});
        put(OfferKind::Campaign, name, &limits)
    };
    done(&mut state, vec![member("a", 100, "active"), member("b", 100, "draft"), member("old", 50, "ended")]);
    let names = ["limits.budget_minor", "limits.budget_group", "campaign a", "100", "spring"];
    refused(&mut state, vec![member("c", 200, "active")], Code::OfferInvalid, &names);
    refused(&mut state, vec![member("b", 200, "draft")], Code::OfferInvalid, &["campaign a"]);
    done(&mut state, vec![member("a", 200, "active"), member("b", 200, "draft")]);
}

#[test]
fn a_banner_is_about_an_offer_that_exists() {
    let mut state = CatalogueState::default();
    let about = put_banner("b", &json!({"offer": "a"}));
    refused(&mut state, vec![about.clone()], Code::BannerInvalid, &["offer", "campaign a"]);
    done(&mut state, vec![about, promo("a", &[])]);
    refused(&mut state, vec![delete(OfferKind::Promo, "a")], Code::OfferInvalid, &["banner b"]);
    let other = delete(OfferKind::Promo, "a");
    let gone = Change::DeleteBanner { id: BannerId::new("b").unwrap(), expected: None };
    done(&mut state, vec![other, gone.clone()]);
    assert_eq!((state.banner_count(), state.offer_count(), state.document_bytes()), (0, 0, 0));
    refused(&mut state, vec![gone], Code::NotFound, &["banner"]);
}

#[test]
fn who_saw_another_revision_is_told() {
    let mut state = CatalogueState::default();
    let by = Actor::new("k1").unwrap();
    let at = |change: Change, expected| match change {
        Change::PutOffer { kind, id, offer, .. } => Change::PutOffer { kind, id, offer, expected: Some(expected) },
        Change::DeleteOffer { kind, id, .. } => Change::DeleteOffer { kind, id, expected: Some(expected) },
        other => other,
    };
    done(&mut state, vec![at(promo("a", &[]), 0)]);
    done(&mut state, vec![promo("b", &[])]);
    refused(&mut state, vec![at(promo("a", &["X"]), 0)], Code::RevisionConflict, &["0 was expected", "at 1"]);
    refused(&mut state, vec![at(promo("a", &["X"]), 2)], Code::RevisionConflict, &["at 1"]);
    done(&mut state, vec![at(promo("a", &["X"]), 1)]);
    refused(&mut state, vec![at(delete(OfferKind::Promo, "a"), 1)], Code::RevisionConflict, &["at 3"]);
    // Deleted and made anew it has version 1 again, but never a revision that it had.
    done(&mut state, vec![at(delete(OfferKind::Promo, "a"), 3)]);
    done(&mut state, vec![promo("a", &["X"])]);
    refused(&mut state, vec![at(promo("a", &[]), 1)], Code::RevisionConflict, &["at 5"]);
    let whole = |expected| CatalogueCommand::Change {
        changes: vec![promo("z", &[])],
        expected_revision: Some(expected),
        by: by.clone(),
    };
    assert_eq!(try_command(&mut state, &whole(4)).unwrap_err().code, Code::RevisionConflict);
    try_command(&mut state, &whole(5)).unwrap();
}

#[test]
fn the_policy_has_a_revision_of_its_own() {
    let mut state = CatalogueState::default();
    let by = Actor::new("k1").unwrap();
    let set = |expected_revision| CatalogueCommand::SetPolicy {
        policy: Arc::new(Policy::default()),
        expected_revision,
        by: by.clone(),
    };
    try_command(&mut state, &set(Some(0))).unwrap();
    done(&mut state, vec![promo("a", &[])]);
    assert_eq!((state.revision, state.policy_revision), (2, 1));
    assert_eq!(try_command(&mut state, &set(Some(2))).unwrap_err().code, Code::RevisionConflict);
    try_command(&mut state, &set(Some(1))).unwrap();
    let same = Change::Policy { policy: Arc::new(Policy::default()), expected: None };
    assert_eq!(done(&mut state, vec![same]).changed[0].outcome, Outcome::Same);
    let mut bad = Policy::default();
    bad.loyalty.lot_days = 0;
    let bad = Change::Policy { policy: Arc::new(bad), expected: None };
    refused(&mut state, vec![promo("b", &[]), bad], Code::PolicyInvalid, &["policy: ", "lot_days"]);
}

#[test]
fn lists_and_documents_have_bounds() {
    let mut state = CatalogueState::default();
    refused(&mut state, vec![], Code::InvalidField, &["changes", "1 to 500"]);
    let many = (0..=MAX_CHANGES).map(|n| promo(&format!("p{n}"), &[])).collect();
    refused(&mut state, many, Code::InvalidField, &["501", "500"]);
    refused(&mut state, vec![promo("a", &[]), promo("a", &["X"])], Code::InvalidField, &["promo a", "twice"]);
    let long = |n: usize| (0..n).map(|i| format!("{i:064}")).collect::<Vec<_>>();
    // 49,999 products of 64 letters are the most that an offer may list, and just fit.
    let large = |name: &str| put(OfferKind::Promo, name, &json!({"selector": {"include": [{"skus": long(49_999)}]}}));
    done(&mut state, vec![large("large")]);
    let names = (0..6).map(|n| large(&format!("large{n}"))).collect();
    refused(&mut state, names, Code::BodyTooLarge, &["bytes", "together"]);
}

#[test]
fn a_copy_of_ten_thousand_offers_costs_next_to_nothing_and_the_next_one_too() {
    let mut state = CatalogueState::default();
    for n in 0..20 {
        let list = (0..500).map(|i| promo(&format!("p{n}-{i}"), &[&format!("CODE{n}x{i}")])).collect();
        let by = Actor::new("k1").unwrap();
        let list: Vec<Change> = list;
        super::change(&mut state, &list, &by, Timestamp(0)).map(drop).unwrap();
    }
    assert_eq!(state.offer_count(), 10_000);
    let copies: Vec<CatalogueState> = (0..100_000).map(|_| state.clone()).collect();
    assert_eq!(copies.len(), 100_000, "each whole, they would take terabytes");
    let after = id("p9-99");
    let page: Vec<_> = state.offers_of(OfferKind::Promo, Some(&after)).map(|(id, _)| id.as_str()).collect();
    assert_eq!(page, [] as [&str; 0], "the last by id");
    assert_eq!(state.offers_of(OfferKind::Promo, None).next().unwrap().0.as_str(), "p0-0");
}

#[test]
fn the_stored_form_reads_back_and_the_policy_alone_too() {
    let mut state = CatalogueState::default();
    let policy = Change::Policy { policy: Arc::new(Policy::default()), expected: None };
    done(&mut state, vec![promo("a", &["X"]), put_banner("b", &json!({"offer": "a"})), policy]);
    let stored = rmp_serde::to_vec_named(&state).unwrap();
    assert_eq!(rmp_serde::from_slice::<CatalogueState>(&stored).unwrap(), state);
    // As it was before there were offers.
    #[derive(serde::Serialize)]
    struct Old {
        revision: u64,
        policy: Option<Policy>,
    }
    let old = rmp_serde::to_vec_named(&Old { revision: 3, policy: Some(Policy::default()) }).unwrap();
    let read: CatalogueState = rmp_serde::from_slice(&old).unwrap();
    assert_eq!((read.revision, read.policy_revision, read.offer_count()), (3, 3, 0));
}

#[test]
fn a_banner_that_contradicts_itself_is_refused_and_named() {
    for (extra, fields) in [
        (json!({"texts": {}}), ["texts", "language"]),
        (json!({"texts": {"kk": {"title": " "}}}), ["texts.kk.title", "bytes"]),
        (json!({"texts": {"ru": {"title": "a", "link": "javascript:alert(1)"}}}), ["texts.ru.link", "https"]),
        (json!({"texts": {"ru": {"title": "a", "image": "https://a b"}}}), ["texts.ru.image", "spaces"]),
        (json!({"categories": ["dairy"]}), ["placement", "categories"]),
        (json!({"frequency": {"uses": 0, "period": "day"}}), ["frequency.uses", "1 to"]),
        (json!({"audience": {"min_trust": 101}}), ["audience.min_trust", "100"]),
        (json!({"priority": 2_000_000}), ["priority", "1000000"]),
        (json!({"windows": [{"from": "17:00", "to": "15:00"}]}), ["windows[0].from", "windows[0].to"]),
        (json!({"starts_at": "2026-01-02T00:00:00Z", "ends_at": "2026-01-01T00:00:00Z"}), ["starts_at", "ends_at"]),
    ] {
        let refusal = banner::validate(&document(&extra)).expect_err(&extra.to_string());
        assert_eq!(refusal.code, Code::BannerInvalid);
        assert!(fields.iter().all(|field| refusal.detail.contains(field)), "{extra}: {}", refusal.detail);
    }
    banner::validate(&document(&json!({}))).unwrap();
    assert!(banner::warnings(&document(&json!({"audience": {"tiers": []}})))[0].contains("audience.tiers"));
}

#[test]
fn a_banner_is_for_whom_its_document_says() {
    use super::banner::{Viewer, is_open_to};
    use crate::{
        checkout::Channel,
        ids::{CustomerId, Word},
        offers::Shopper,
        policy::Tier,
    };
    let segments = [Word::new("students").unwrap()];
    let category = Word::new("dairy").unwrap();
    let member = Shopper {
        customer_id: Some(CustomerId::new("c1").unwrap()),
        tier: Some(Tier::Gold),
        segments: segments.to_vec(),
        trust: Some(60),
        ..Shopper::guest()
    };
    let guest = Shopper::guest();
    let clock = (0, 15 * 60);
    let known = Viewer { shopper: &member, channel: Some(Channel::App), shop: None, category: Some(&category), clock };
    let nobody = Viewer { shopper: &guest, channel: None, shop: None, category: None, clock };
    let now = Timestamp::parse("2026-11-23T09:00:00Z").unwrap();
    for (extra, to_known, to_nobody) in [
        (json!({}), true, true),
        (json!({"audience": {"tiers": ["gold", "platinum"]}}), true, false),
        (json!({"audience": {"tiers": ["silver"]}}), false, false),
        (json!({"audience": {"segments": ["students"]}}), true, false),
        (json!({"audience": {"min_trust": 61}}), false, false),
        (json!({"audience": {"channels": ["app"]}}), true, false),
        (json!({"audience": {"shops": ["s1"]}}), false, false),
        (json!({"placement": "category", "categories": ["dairy"]}), true, false),
        (json!({"status": "draft"}), false, false),
        (json!({"starts_at": "2026-11-23T09:00:00Z"}), true, true),
        (json!({"ends_at": "2026-11-23T09:00:00Z"}), false, false),
        (json!({"windows": [{"days": ["mon"], "from": "15:00", "to": "15:01"}]}), true, true),
        (json!({"windows": [{"days": ["tue"], "from": "15:00", "to": "15:01"}]}), false, false),
        (json!({"windows": [{"from": "14:00", "to": "15:00"}]}), false, false),
    ] {
        let banner = document(&extra);
        assert_eq!((banner.is_for(&known, now), banner.is_for(&nobody, now)), (to_known, to_nobody), "{extra}");
    }
    // And its offer: to whom the engine would grant one.
    let granted = |viewer: &Viewer<'_>, extra: Value| is_open_to(OfferKind::Campaign, &offer(&extra), viewer, now);
    for (extra, to_known, to_nobody) in [
        (json!({}), true, true),
        (json!({"conditions": {"tiers": ["gold"]}}), true, false),
        (json!({"conditions": {"first_order": true}}), true, false),
        (json!({"conditions": {"channels": ["pos"]}}), false, true),
        (json!({"conditions": {"shops": ["s1"]}}), true, true),
        (json!({"conditions": {"windows": [{"from": "10:00", "to": "11:00"}]}}), false, false),
        (json!({"status": "ended"}), false, false),
        (json!({"starts_at": "2026-11-23T09:00:01Z"}), false, false),
    ] {
        assert_eq!((granted(&known, extra.clone()), granted(&nobody, extra.clone())), (to_known, to_nobody), "{extra}");
    }
    let switched_off = Shopper { campaigns: false, ..member.clone() };
    assert!(!granted(&Viewer { shopper: &switched_off, ..known.clone() }, json!({})));
}
