//! From a key to the registry of its kind, where the types of the entities no longer matter: effects and timers go
//! through here, as bytes.
//!
//! Shared and immutable after start.

use std::sync::{Arc, OnceLock};

use adal_domain::entity::{EntityKey, EntityKind};
use async_trait::async_trait;

use crate::{
    ask::{AskError, Origin},
    ports::StoreError,
};

/// Whatever takes effects and wake-up calls for one kind of entity: its `Registry`.
#[async_trait]
pub trait Target: Send + Sync + 'static {
    /// Applies an effect, once however often it comes; `Ok` when that is durable. `command` is the target's
    /// `Entity::Command` as a MessagePack map. Effects of one source must come in order.
    async fn deliver(&self, id: &str, origin: Origin, command: &[u8]) -> Result<(), AskError>;

    /// Has the entity decide its `Entity::wake`; `Ok` when what came of it is durable.
    async fn wake(&self, id: &str) -> Result<(), AskError>;
}

/// The registries by kind. Cheap to clone; registries are added at start, and may hold things that hold the router.
#[derive(Clone, Default)]
pub struct Router {
    targets: Arc<[OnceLock<Arc<dyn Target>>; EntityKind::ALL.len()]>,
}

impl std::fmt::Debug for Router {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Router").finish_non_exhaustive()
    }
}

impl Router {
    /// A router that knows no kind yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Entities of `kind` are reached through `target`. The first one given for a kind stays.
    pub fn add(&self, kind: EntityKind, target: Arc<dyn Target>) {
        if self.targets[kind as usize].set(target).is_err() {
            tracing::error!(kind = kind.as_str(), "has a target already");
        }
    }

    /// See [`Target::deliver`].
    ///
    /// # Errors
    /// As the target's; [`AskError::Unavailable`] where the kind has none.
    pub async fn deliver(&self, target: &EntityKey, origin: Origin, command: &[u8]) -> Result<(), AskError> {
        self.target(target.kind)?.deliver(&target.id, origin, command).await
    }

    /// See [`Target::wake`].
    ///
    /// # Errors
    /// As the target's; [`AskError::Unavailable`] where the kind has none.
    pub async fn wake(&self, key: &EntityKey) -> Result<(), AskError> {
        self.target(key.kind)?.wake(&key.id).await
    }

    fn target(&self, kind: EntityKind) -> Result<&Arc<dyn Target>, AskError> {
        self.targets[kind as usize].get().ok_or_else(|| {
            let text = format!("no registry for {}", kind.as_str());
            AskError::Unavailable { cause: StoreError::Unavailable(text.into()) }
        })
    }
}
