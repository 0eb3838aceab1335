//! `adal codes`: unique codes on the store itself, where no server runs.

use std::process::ExitCode;

use adal_actors::{
    ports::{Clock, CodeJob, Codes, JobState, Journal, StoreError},
    replay,
};
use adal_domain::{
    catalogue::{Catalogue, CatalogueState, MAIN, codes},
    entity::{EntityKey, EntityKind},
    hex,
    ids::{Actor, OfferId},
    offers::{NormalCode, OfferKind},
};
use adal_store::sqlite::SqliteStore;

use super::{Done, block_on, print_json, store::open_alone};
use crate::{clock::SystemClock, codes::batch, config::Config};

/// What to make.
#[derive(Debug, clap::Args)]
pub(super) struct Generate {
    /// The promo whose codes they are.
    #[arg(long, value_name = "ID", value_parser = offer)]
    promo: OfferId,
    /// How many, 1 to 1,000,000.
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    count: u64,
    /// What stands before each: letters, digits, - and _, at most 32 bytes.
    #[arg(long, default_value = "", value_parser = prefix)]
    prefix: String,
}

fn offer(text: &str) -> Result<OfferId, String> {
    OfferId::new(text).map_err(|error| error.to_string())
}

fn prefix(text: &str) -> Result<String, String> {
    codes::check_prefix(text).map(|()| text.to_owned()).map_err(str::to_owned)
}

pub(super) fn generate(config: &Config, args: &Generate, json: bool) -> Done {
    let store = block_on(open_alone(config, "have it make them: POST /v1/promos/{id}/codes"))??;
    let made = block_on(make(&store, args))?;
    store.close()?;
    let job = made?;
    if json {
        print_json(&serde_json::json!({
            "job_id": job.id, "promo_id": job.offer, "state": job.state.as_str(), "done": job.done, "total": job.count
        }))?;
    } else {
        println!("{} codes of {}, job {}", job.done, job.offer, job.id);
        eprintln!("GET /v1/promos/{}/codes.csv exports them", job.offer);
    }
    Ok(ExitCode::SUCCESS)
}

async fn make(store: &SqliteStore, args: &Generate) -> Result<CodeJob, Box<dyn std::error::Error>> {
    let state = state(store).await?;
    if state.offer(&args.promo).is_none_or(|entry| entry.kind != OfferKind::Promo) {
        return Err(format!("there is no promo {}; `adal catalogue export` shows what there is", args.promo).into());
    }
    let job = CodeJob {
        id: hex::encode(&rand::random::<[u8; 16]>()),
        offer: args.promo.clone(),
        prefix: args.prefix.clone(),
        start: rand::random::<u64>() % codes::STRETCHES,
        count: args.count,
        done: 0,
        state: JobState::Open,
        by: Actor::new("cli")?,
        at: SystemClock.now(),
        print: [0; 16],
    };
    let mut job = store.begin(job).await?;
    let taken = |code: &NormalCode| state.offer_of_code(code).is_some();
    let mut told = 0;
    while let Some(next) = batch(store, &job, taken).await? {
        job = next;
        // What is cut off here goes on with the next server: the job is as durable as its codes.
        if job.done * 10 / job.count > told {
            told = job.done * 10 / job.count;
            eprintln!("{} of {}", job.done, job.count);
        }
    }
    Ok(job)
}

async fn state(store: &SqliteStore) -> Result<CatalogueState, StoreError> {
    let opened = Journal::open(store, &EntityKey::new(EntityKind::Catalogue, MAIN)).await?;
    Ok(replay::fold::<Catalogue>(MAIN, &opened)?.head.state)
}
