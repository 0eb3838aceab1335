//! A running server, as the command line sees it: the same routes as everybody's, with an admin key.

use std::{error::Error, sync::Arc, time::Duration};

use adal_domain::{
    catalogue::{Banner, Catalogue, CatalogueEvent, CatalogueReply, CatalogueState, Change, Changed, DocumentKind},
    entity::Entity,
    ids::{Actor, BannerId, OfferId},
    offers::{Offer, OfferKind},
    policy::Policy,
    time::Timestamp,
};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::http::routes::catalogue::{Action, OneChange};

/// The variable that the key is taken from: an argument would stand in the list of processes.
const KEY: &str = "ADAL_KEY";
/// The largest answer that is read: a page of a list is far smaller.
const MAX_ANSWER: u64 = 64 << 20;

type Answered<T> = Result<T, Box<dyn Error>>;

/// See the module.
pub(super) struct Remote {
    agent: ureq::Agent,
    base: String,
    key: String,
}

impl Remote {
    /// The server at `url`.
    pub(super) fn new(url: &str) -> Answered<Self> {
        let base = url.trim_end_matches('/').to_owned();
        if !base.starts_with("http://") {
            return Err(
                format!("{url}: must begin with http://; a server behind TLS is reached from its own network").into()
            );
        }
        let key = std::env::var(KEY).map_err(|_| format!("{KEY} is not set: it has to hold an admin key"))?;
        let config = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(Duration::from_secs(60)))
            .max_redirects(0)
            .build();
        Ok(Self { agent: config.into(), base, key })
    }

    fn send(&self, method: &str, path: &str, body: Option<&Value>) -> Answered<Value> {
        let request = ureq::http::Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.base))
            .header("Authorization", format!("Bearer {}", self.key))
            .header("Accept", "application/json");
        let failed = |error: ureq::Error| format!("{}: {error}", self.base);
        let response = match body {
            None => self.agent.run(request.body(())?).map_err(failed)?,
            Some(body) => {
                let request = request
                    .header("Content-Type", "application/json")
                    .header("Idempotency-Key", format!("cli-{:032x}", rand::random::<u128>()));
                self.agent.run(request.body(serde_json::to_vec(body)?)?).map_err(failed)?
            }
        };
        let status = response.status().as_u16();
        let bytes = response.into_body().with_config().limit(MAX_ANSWER).read_to_vec().map_err(failed)?;
        let answer: Value = serde_json::from_slice(&bytes)
            .map_err(|_| format!("{}{path}: {status}, and no answer of Adal's", self.base))?;
        if (200..300).contains(&status) {
            return Ok(answer);
        }
        let text = |name: &str| answer[name].as_str().unwrap_or_default().to_owned();
        Err(format!("{} {path}: {status} {}: {}", method, text("code"), text("detail")).into())
    }

    /// The catalogue as it stands there. Read page by page: where it changes meanwhile, from the start again.
    pub(super) fn state(&self) -> Answered<CatalogueState> {
        for _ in 0..5 {
            if let Some(state) = self.read()? {
                return Ok(state);
            }
        }
        Err("the catalogue changes faster than it can be read; try again".into())
    }

    fn read(&self) -> Answered<Option<CatalogueState>> {
        let mut events = Vec::new();
        let mut revisions = Vec::new();
        let policy = self.send("GET", "/v1/policy", None)?;
        if let Some(revision) = policy["revision"].as_u64().filter(|revision| *revision > 0) {
            let policy: Arc<Policy> = field(&policy, "policy")?;
            // Who and when is not said of the policy, and nothing here asks.
            events.push(CatalogueEvent::PolicySet { revision, policy, by: Actor::new("unknown")?, at: Timestamp(0) });
        }
        for kind in [DocumentKind::Promo, DocumentKind::Campaign, DocumentKind::Banner] {
            let mut cursor = String::new();
            loop {
                let page = self.send("GET", &format!("/v1/{}?limit=200{cursor}", kind.plural()), None)?;
                revisions.push(field::<u64>(&page, "revision")?);
                for item in page["items"].as_array().into_iter().flatten() {
                    events.push(event(kind, item)?);
                }
                match page["next_cursor"].as_str() {
                    Some(next) => cursor = format!("&cursor={next}"),
                    None => break,
                }
            }
        }
        let Some(revision) = revisions.first().copied().filter(|first| revisions.iter().all(|one| one == first)) else {
            return Ok(None);
        };
        let mut state = CatalogueState::default();
        events.iter().for_each(|event| Catalogue::apply(&mut state, event, 0));
        state.revision = revision;
        Ok(Some(state))
    }

    /// Has changes made, if the catalogue is still at `revision`.
    pub(super) fn change(&self, changes: &[Change], revision: u64) -> Answered<CatalogueReply> {
        let changes = changes.iter().map(one).collect::<Result<Vec<_>, _>>()?;
        let body = json!({ "changes": changes, "expected_revision": revision });
        let answer = self.send("POST", "/v1/catalogue/changes", Some(&body))?;
        Ok(CatalogueReply {
            revision: field(&answer, "revision")?,
            changed: field::<Vec<Changed>>(&answer, "changed")?,
        })
    }
}

fn field<T: DeserializeOwned>(answer: &Value, name: &str) -> Answered<T> {
    T::deserialize(&answer[name]).map_err(|error| format!("the server's answer: {name}: {error}").into())
}

/// A document of a list as what made it so.
fn event(kind: DocumentKind, item: &Value) -> Answered<CatalogueEvent> {
    let (revision, version) = (field(item, "revision")?, field(item, "version")?);
    let by: Actor = field(item, "changed_by")?;
    let at = Timestamp::parse(&field::<String>(item, "changed_at")?).unwrap_or_default();
    let offer = |kind: OfferKind| -> Answered<CatalogueEvent> {
        let (id, offer) = (field::<OfferId>(item, "id")?, field::<Arc<Offer>>(item, "offer")?);
        Ok(CatalogueEvent::OfferPut { revision, kind, id, version, offer, by: by.clone(), at })
    };
    match kind {
        DocumentKind::Promo => offer(OfferKind::Promo),
        DocumentKind::Campaign => offer(OfferKind::Campaign),
        DocumentKind::Banner | DocumentKind::Policy => {
            let (id, banner) = (field::<BannerId>(item, "id")?, field::<Arc<Banner>>(item, "banner")?);
            Ok(CatalogueEvent::BannerPut { revision, id, version, banner, by, at })
        }
    }
}

/// A change as the route takes it.
fn one(change: &Change) -> Result<OneChange, serde_json::Error> {
    let (kind, id) = change.document();
    let (document, expected) = match change {
        Change::Policy { policy, expected } => (Some(serde_json::to_value(policy)?), expected),
        Change::PutOffer { offer, expected, .. } => (Some(serde_json::to_value(offer)?), expected),
        Change::PutBanner { banner, expected, .. } => (Some(serde_json::to_value(banner)?), expected),
        Change::DeleteOffer { expected, .. } | Change::DeleteBanner { expected, .. } => (None, expected),
    };
    let action = if document.is_some() { Action::Put } else { Action::Delete };
    Ok(OneChange { action, kind, id: id.to_owned(), document, expected: *expected })
}
