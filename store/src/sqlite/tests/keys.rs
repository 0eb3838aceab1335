//! API keys.

use adal_actors::ports::{ApiKeyRecord, ApiKeys};
use adal_domain::time::Timestamp;

use super::Folder;
use crate::sqlite::SqliteStore;

fn key(id: &str) -> ApiKeyRecord {
    ApiKeyRecord {
        id: id.into(),
        hash: [7; 32],
        role: "pos".into(),
        shop: Some("almaty-1".into()),
        created_at: Timestamp(5),
        revoked_at: None,
        label: None,
    }
}

#[tokio::test]
async fn a_key_made_or_revoked_beside_the_server_is_seen_by_its_poll() {
    let folder = Folder::new();
    let server = folder.open();
    let seen = server.api_keys_version().await.unwrap();
    assert_eq!(server.api_keys_changed_since(seen).await.unwrap(), None);
    let cli = SqliteStore::open_shared(folder.config()).unwrap();
    let other = ApiKeyRecord { shop: None, label: Some("till 3".into()), hash: [1; 32], ..key("b") };
    cli.put_api_key(other.clone()).await.unwrap();
    cli.put_api_key(key("a")).await.unwrap();
    let (seen, keys) = server.api_keys_changed_since(seen).await.unwrap().unwrap();
    assert_eq!(keys, [key("a"), other.clone()]);
    assert_eq!(server.api_keys_changed_since(seen).await.unwrap(), None);
    assert!(cli.revoke_api_key("a", Timestamp(9)).await.unwrap());
    assert!(cli.revoke_api_key("a", Timestamp(12)).await.unwrap());
    assert!(!cli.revoke_api_key("none", Timestamp(9)).await.unwrap());
    let (_, keys) = server.api_keys_changed_since(seen).await.unwrap().unwrap();
    assert_eq!(keys, [ApiKeyRecord { revoked_at: Some(Timestamp(9)), ..key("a") }, other], "the first one counts");
    cli.close().unwrap();
    server.close().unwrap();
    assert_eq!(folder.open().list_api_keys().await.unwrap(), keys);
}

#[tokio::test]
async fn a_key_that_was_tampered_with_is_corrupt() {
    let folder = Folder::new();
    let store = folder.open();
    store.put_api_key(ApiKeyRecord { revoked_at: Some(Timestamp(9)), ..key("a") }).await.unwrap();
    store.on_writer(|conn| conn.execute_batch("UPDATE api_key SET revoked_at = NULL").unwrap()).await;
    let found = store.list_api_keys().await;
    assert!(matches!(found, Err(adal_actors::ports::StoreError::Corrupt(_))), "{found:?}");
}
