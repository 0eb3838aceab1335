//! `adal keys`: beside a running server or without one.

use std::process::ExitCode;

use adal_actors::ports::{ApiKeyRecord, Clock, StoreError};
use adal_domain::ids::ShopId;
use adal_store::Storage;
use serde::Serialize;

use super::{Done, block_on, print_json, store::open_beside};
use crate::{
    auth::keys::{NewKey, NewKeyError, generate},
    clock::SystemClock,
    config::Config,
    http::extract::Role,
};

/// A key in lists.
#[derive(Serialize)]
struct Listed {
    id: String,
    role: String,
    shop: Option<String>,
    label: Option<String>,
    created_at: String,
    revoked_at: Option<String>,
}

impl From<ApiKeyRecord> for Listed {
    fn from(record: ApiKeyRecord) -> Self {
        Self {
            id: record.id,
            role: record.role,
            shop: record.shop,
            label: record.label,
            created_at: record.created_at.to_string(),
            revoked_at: record.revoked_at.map(|at| at.to_string()),
        }
    }
}

#[derive(Serialize)]
struct Created {
    key: String,
    #[serde(flatten)]
    listed: Listed,
}

/// Does something with the store beside a server that may run.
fn beside<T>(
    config: &Config,
    work: impl AsyncFnOnce(&dyn Storage) -> Result<T, StoreError>,
) -> Result<T, Box<dyn std::error::Error>> {
    block_on(async {
        let store = open_beside(config).await?;
        let done = work(&*store).await;
        store.close().await?;
        Ok(done?)
    })?
}

pub(super) fn create(config: &Config, role: Role, shop: Option<&ShopId>, label: Option<String>, json: bool) -> Done {
    let NewKey { key, record } = match generate(role, shop, label, SystemClock.now()) {
        Ok(made) => made,
        // What was typed is wrong: as clap would say it.
        Err(error @ NewKeyError::PosWithoutShop) => {
            eprintln!("adal: {error}");
            return Ok(ExitCode::from(2));
        }
        Err(error) => return Err(error.into()),
    };
    let put = record.clone();
    beside(config, async |store| store.put_api_key(put).await)?;
    if json {
        print_json(&Created { key, listed: record.into() })?;
    } else {
        println!("{key}");
        eprintln!("id {}; the key is not shown again", record.id);
    }
    Ok(ExitCode::SUCCESS)
}

pub(super) fn list(config: &Config, json: bool) -> Done {
    let records = beside(config, async |store| store.list_api_keys().await)?;
    let listed: Vec<Listed> = records.into_iter().map(Listed::from).collect();
    if json {
        print_json(&listed)?;
    } else {
        for key in listed {
            let state = key.revoked_at.map_or_else(|| "counts".to_owned(), |at| format!("revoked {at}"));
            let shop = key.shop.as_deref().unwrap_or("-");
            let label = key.label.as_deref().unwrap_or("");
            println!("{:<24} {:<10} {:<12} {}  {:<10} {}", key.id, key.role, shop, key.created_at, state, label);
        }
    }
    Ok(ExitCode::SUCCESS)
}

pub(super) fn revoke(config: &Config, id: &str, json: bool) -> Done {
    let found = beside(config, async |store| store.revoke_api_key(id, SystemClock.now()).await)?;
    if json {
        print_json(&serde_json::json!({ "id": id, "revoked": found }))?;
    }
    if found {
        eprintln!("{id} is revoked; a running server refuses it within 5 s");
        Ok(ExitCode::SUCCESS)
    } else {
        eprintln!("adal: there is no key {id}; `adal keys list` shows them");
        Ok(ExitCode::FAILURE)
    }
}
