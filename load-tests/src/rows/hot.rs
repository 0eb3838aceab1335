//! One code that everybody types at once: 64 clients, against raw SQLite with one commit for each reservation, which is
//! what a service that updates a counter in its database does.
//!
//! The demand is above the limit, so a code runs out; what was granted has to be the limit, to the one. The rate is that
//! of what was granted; the time of the refusals is in it.

use std::{cell::Cell, rc::Rc, sync::Arc, time::Duration};

use actix_rt::System;
use adal_actors::{Registry, RegistryConfig, Request, ports::Clock};
use adal_domain::{
    entity::{EntityKey, EntityKind},
    ids::ExchangeId,
    promo::{Command, Limits, Promo, Refusal, Reserve},
    time::Timestamp,
};
use adal_store::sqlite::{SqliteConfig, SqliteStore};
use tokio::task::LocalSet;

use crate::{
    Done,
    bench::Bench,
    clock::{Stopwatch, wall},
    http, raw,
    report::median,
    sales::{Race, promo, usage},
    scripts::{Counter, Issue, customer},
};

const CLIENTS: u64 = 64;
/// Uses of a code, and how often it is asked for. A promo keeps 20,000 reservations open at most.
const LIMIT: u64 = 10_000;
const DEMAND: u64 = 11_000;
/// Bytes of a raw reservation, about those of an [`Reserve`] in a promo's row.
const RAW_BYTES: usize = 200;

/// Measures the rows.
pub fn run(bench: &mut Bench) -> Done {
    let adal = bench.adal("hot", &[])?;
    let store = SqliteStore::open(SqliteConfig::new(bench.folder.join("hot-alone").join("adal.db")))?;
    let file = bench.folder.join("raw-hot.db");
    let (mut limit, mut inside, mut over_http) = (Vec::new(), Vec::new(), Vec::new());
    let (mut exact, mut codes) = (true, 0);
    // The first round is not counted: caches, and the allocator's first pages.
    for round in 0..=bench.scale.rounds {
        let raw = raw::one_by_one(&file, RAW_BYTES, bench.scale.turn / 2)?;
        let (granted, rate) = in_process(&store, &format!("hot{round}"))?;
        let (held, over) = http_round(&adal, u64::try_from(round)?)?;
        exact &= granted == LIMIT && held == LIMIT;
        codes += 2;
        if round > 0 {
            limit.push(raw);
            inside.push(rate);
            over_http.push(over);
        }
    }
    store.close()?;
    let (limit, inside, over_http) = (median(limit), median(inside), median(over_http));
    let report = &mut bench.report;
    report.note(&format!(
        "hot code: raw, a commit for each: {limit:.0}/s; in process: {inside:.0}/s; over HTTP, as holds: {over_http:.0}/s"
    ));
    let ratio = inside / limit;
    let what = "one hot code, 64 clients, in process, of raw SQLite with one commit for each reservation";
    report.goal(what, &format!("{ratio:.2}x"), ">= 2x", ratio >= 2.0);
    let ratio = over_http / limit;
    report.goal("the same over HTTP, as whole holds", &format!("{ratio:.2}x"), ">= 1x", ratio >= 1.0);
    let measured = format!("{codes} codes of {LIMIT} uses, each asked for {DEMAND} times");
    report.goal("the same, uses granted", &measured, "the limit", exact);
    Ok(())
}

/// Real time, for a registry without a server.
#[derive(Debug)]
struct Wall;

impl Clock for Wall {
    fn now(&self) -> Timestamp {
        wall()
    }
}

/// One code in this process: the promo's actor on the real store, without HTTP and without customers. Gives what was
/// granted, and the rate.
fn in_process(store: &SqliteStore, code: &str) -> Done<(u64, f64)> {
    System::new().block_on(async {
        let registry = Registry::<Promo>::new(
            RegistryConfig::default(),
            Arc::new(store.clone()),
            Arc::new(Wall),
            Arc::new(|_| ()),
        );
        let (next, granted) = (Rc::new(Cell::new(0)), Rc::new(Cell::new(0)));
        let watch = Stopwatch::start();
        LocalSet::new()
            .run_until(async {
                let tasks: Vec<_> = (0..CLIENTS)
                    .map(|_| {
                        let (registry, next, granted) = (registry.clone(), Rc::clone(&next), Rc::clone(&granted));
                        let code = code.to_owned();
                        tokio::task::spawn_local(async move {
                            reserve(&registry, &code, &next, &granted).await.map_err(|error| error.to_string())
                        })
                    })
                    .collect();
                for task in tasks {
                    task.await??;
                }
                Done::Ok(())
            })
            .await?;
        let seconds = watch.seconds();
        let state = registry.read(code).await?;
        registry.stop(Duration::from_secs(10)).await;
        if state.state.usage().held != granted.get() {
            return Err(format!("granted {}, and {} are held", granted.get(), state.state.usage().held).into());
        }
        #[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
        Ok((granted.get(), granted.get() as f64 / seconds))
    })
}

/// One client: reserves until the demand is over.
async fn reserve(registry: &Registry<Promo>, code: &str, next: &Cell<u64>, granted: &Cell<u64>) -> Done {
    while next.get() < DEMAND {
        let number = next.replace(next.get() + 1);
        let request = Reserve {
            exchange: ExchangeId::new(&format!("hold-{number:030}"))?,
            owner: EntityKey::new(EntityKind::Customer, &customer(number)),
            minor: 10_000,
            as_far: false,
            ip: None,
            link_keys: Vec::new(),
            expires_at: wall().plus_seconds(900),
            limits: Limits { total: Some(LIMIT), ..Limits::default() },
        };
        let command = Command::Reserve(Box::new(request));
        match registry.ask(code, Request { id: None, print: [0; 16], command }).await?.outcome {
            Ok(_) => granted.set(granted.get() + 1),
            Err(Refusal::Exhausted) => {}
            Err(other) => return Err(other.into()),
        }
    }
    Ok(())
}

/// One code over HTTP: every customer holds a cart with it once. Gives what is held in the end, and the rate.
fn http_round(adal: &crate::process::Adal, round: u64) -> Done<(u64, f64)> {
    let (id, code) = (format!("hot{round}"), format!("HOT{round}"));
    adal.put_offers("promo", &[(id.clone(), promo(Some(&code), Some(LIMIT)))])?;
    // A customer may have two holds open: these have none.
    let numbers = || Counter::new(round * DEMAND, (round + 1) * DEMAND);
    let (cards, shoppers) = (numbers(), numbers());
    let issue = (0..CLIENTS).map(|_| Issue { customers: cards.clone(), key: adal.service.clone() });
    http::run(adal.process.address, issue.collect(), Duration::from_secs(120))?;
    let clients = (0..CLIENTS).map(|_| Race {
        customers: shoppers.clone().map(customer),
        code: code.clone(),
        key: adal.service.clone(),
        granted: 0,
        refused: 0,
    });
    let (measured, back) = http::run_scripts(adal.process.address, clients.collect(), Duration::from_secs(120))?;
    let (granted, refused) = back.iter().fold((0, 0), |sum, client| (sum.0 + client.granted, sum.1 + client.refused));
    let (_, held) = usage(adal, &id)?;
    if granted != held || granted + refused != DEMAND {
        return Err(format!("of {DEMAND} {granted} were granted and {refused} refused; {held} are held").into());
    }
    #[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
    Ok((held, granted as f64 / measured.seconds))
}
