//! What the coordinator answers where promos are at their bounds: too much to bring about over HTTP.

use std::{collections::BTreeMap, sync::Arc};

use adal_actors::{CommandId, Request};
use adal_domain::{
    catalogue::{Catalogue, CatalogueCommand, Change, MAIN},
    checkout::{Cart, Channel},
    entity::{EntityKey, EntityKind},
    errors::Code,
    ids::{Actor, ExchangeId, OfferId, ShopId},
    offers::{Limit, OfferKind},
    promo::{self, Limits, Promo, Reserve},
    qr::Step,
};
use serde_json::{Value, json};

use super::{Asked, Identity, Terms, Trial, hold, price::price, quote};
use crate::{app::App, clock::SystemClock, config::Config};

/// An application of its own, within an actix `System`; the folder goes with what it is given.
async fn app(dir: &tempfile::TempDir) -> Arc<App> {
    let mut config = Config::defaults().unwrap();
    config.metrics.listen = String::new();
    config.store.sqlite.path = dir.path().join("adal.db");
    App::open(config, Arc::new(SystemClock)).await.unwrap()
}

async fn put(app: &App, kind: OfferKind, id: &str, document: Value) {
    let (id, offer) = (OfferId::new(id).unwrap(), serde_json::from_value(document).unwrap());
    let changes = vec![Change::PutOffer { kind, id, offer: Arc::new(offer), expected: None }];
    let by = Actor::new("test").unwrap();
    let command = CatalogueCommand::Change { changes, expected_revision: None, by };
    let request = Request::<Catalogue> { id: None, print: [0; 16], command };
    app.catalogue.ask(MAIN, request).await.unwrap().outcome.unwrap();
    app.refresh_catalogue().await.unwrap();
}

fn asked(codes: &[&str]) -> Asked {
    let line = json!({"line_id": "1", "sku": "a", "quantity": 1, "unit": "piece", "unit_price_minor": 100_000});
    let cart = Cart {
        shop_id: ShopId::new("s1").unwrap(),
        channel: Channel::App,
        codes: codes.iter().map(|code| (*code).to_owned()).collect(),
        points_to_burn: 0,
        payment_method: None,
        delivery_method: None,
        delivery_minor: 0,
        lines: vec![serde_json::from_value(line).unwrap()],
    };
    let scan_step: Option<Step> = None;
    Asked {
        customer: None,
        cart,
        scan_step,
        no_burn: None,
        address: None,
        link_keys: Vec::new(),
        terminal: None,
        is_trusted: true,
        explain: true,
    }
}

/// As many open reservations as a promo keeps.
async fn fill(app: &App, promo: &str) {
    const OPEN: usize = 20_000;
    let expires_at = app.now().plus_seconds(3600);
    let reserve = |n: usize| Reserve {
        exchange: ExchangeId::new(&format!("h{n}")).unwrap(),
        owner: EntityKey::new(EntityKind::Guest, "~nobody"),
        minor: 1,
        as_far: false,
        ip: None,
        link_keys: Vec::new(),
        expires_at,
        limits: Limits { total: Some(1_000_000), ..Limits::default() },
    };
    let all: Vec<usize> = (0..OPEN).collect();
    for some in all.chunks(500) {
        let command = |n: &usize| promo::Command::Reserve(Box::new(reserve(*n)));
        let requests = some.iter().map(|n| Request::<Promo> { id: None, print: [0; 16], command: command(n) });
        for answer in app.promos.ask_many(promo, requests.collect()).await.unwrap() {
            answer.unwrap().outcome.unwrap();
        }
    }
}

#[test]
fn a_promo_with_no_room_is_busy_for_quotes_and_holds_and_nothing_is_recorded() {
    actix_rt::System::new().block_on(async {
        let dir = tempfile::tempdir().unwrap();
        let app = app(&dir).await;
        let document = json!({"name": "ten off", "codes": ["TEN"], "limits": {"total": 1_000_000},
                              "discount": {"type": "percent", "permyriad": 1000}});
        put(&app, OfferKind::Promo, "ten", document).await;
        assert_eq!(quote(&app, &asked(&["TEN"]), &Trial::default()).await.unwrap().discount_minor, 10_000);
        fill(&app, "ten").await;
        let refused = quote(&app, &asked(&["TEN"]), &Trial::default()).await.unwrap_err();
        assert_eq!((refused.code(), refused.status()), (Code::Busy, 429));
        let owner = EntityKey::new(EntityKind::Guest, "~guest");
        let identity = Identity { id: CommandId::of("test", "k1"), print: [1; 16] };
        let terms = Terms { ttl_s: None, expected_total_minor: None };
        let refused = hold(&app, &owner, identity, asked(&["TEN"]), terms).await.unwrap_err();
        assert_eq!(refused.code(), Code::Busy);
        // Under the same key the same request is taken once there is room: here, without the code's limit.
        let document = json!({"name": "ten off", "codes": ["TEN"], "discount": {"type": "percent", "permyriad": 1000}});
        put(&app, OfferKind::Promo, "ten", document).await;
        let told = hold(&app, &owner, identity, asked(&["TEN"]), terms).await.unwrap();
        assert!(!told.replayed);
        app.stop(std::time::Duration::from_secs(5)).await;
    });
}

#[test]
fn a_campaign_that_ran_out_meanwhile_is_left_out_for_the_limit_that_it_ran_out_of() {
    actix_rt::System::new().block_on(async {
        let dir = tempfile::tempdir().unwrap();
        let app = app(&dir).await;
        let document = json!({"name": "ten off", "limits": {"budget_minor": 1_000_000},
                              "discount": {"type": "percent", "permyriad": 1000}});
        put(&app, OfferKind::Campaign, "ten", document).await;
        let without = BTreeMap::from([(OfferId::new("ten").unwrap(), Limit::Budget)]);
        let priced = price(&app, &asked(&[]), &Trial::default(), &without).await.unwrap().unwrap();
        let rejected = &priced.priced.quote.rejected[0];
        assert_eq!(
            (rejected.reason.as_str(), rejected.condition.as_deref()),
            ("limit_reached", Some("limits.budget_minor"))
        );
        app.stop(std::time::Duration::from_secs(5)).await;
    });
}
