//! The catalogue: the policy now, offers later, as one versioned document.

use serde::{Deserialize, Serialize};

use crate::{
    entity::{Decision, Entity, EntityKind, Moment, ViewWrite},
    errors::{Code, Refusal},
    ids::Actor,
    policy::Policy,
    time::Timestamp,
};

/// The id of the one catalogue.
pub const MAIN: &str = "main";

/// The catalogue's rules.
#[derive(Debug, Clone)]
pub struct Catalogue;

/// The catalogue as it stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CatalogueState {
    /// 0 before the first change; then the number of changes.
    pub revision: u64,
    /// The policy, where one was set; else the configuration's holds.
    pub policy: Option<Policy>,
}

/// A change of the catalogue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum CatalogueCommand {
    /// Replace the policy.
    SetPolicy {
        /// The whole document.
        policy: Box<Policy>,
        /// The revision that the caller saw; another one there is a conflict.
        expected_revision: Option<u64>,
        /// Who.
        by: Actor,
    },
    /// Nothing is ever due.
    Wake,
}

/// What happened to the catalogue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum CatalogueEvent {
    /// The policy was replaced.
    PolicySet {
        /// The catalogue's revision from now on.
        revision: u64,
        /// The whole document.
        policy: Box<Policy>,
        /// Who.
        by: Actor,
        /// When.
        at: Timestamp,
    },
}

/// The catalogue after a change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CatalogueReply {
    /// Its revision.
    pub revision: u64,
}

impl Entity for Catalogue {
    const KIND: EntityKind = EntityKind::Catalogue;
    const FORMAT: u16 = 1;

    type State = CatalogueState;
    type Command = CatalogueCommand;
    type Event = CatalogueEvent;
    type Reply = CatalogueReply;
    type Refusal = Refusal;
    type Context = ();

    fn initial(_id: &str) -> Self::State {
        CatalogueState { revision: 0, policy: None }
    }

    fn decide(
        state: &Self::State,
        command: &Self::Command,
        at: &Moment<'_, Self>,
    ) -> Result<Decision<Self>, Self::Refusal> {
        let CatalogueCommand::SetPolicy { policy, expected_revision, by } = command else {
            return Ok(Decision {
                events: vec![],
                reply: CatalogueReply { revision: state.revision },
                effects: vec![],
            });
        };
        policy.validate()?;
        if expected_revision.is_some_and(|expected| expected != state.revision) {
            let detail = format!("revision: the catalogue is at {}", state.revision);
            return Err(Refusal::new(Code::RevisionConflict, detail));
        }
        let revision = state.revision + 1;
        let event = CatalogueEvent::PolicySet { revision, policy: policy.clone(), by: by.clone(), at: at.now };
        Ok(Decision { events: vec![event], reply: CatalogueReply { revision }, effects: vec![] })
    }

    fn apply(state: &mut Self::State, event: &Self::Event, _seq: u64) {
        let CatalogueEvent::PolicySet { revision, policy, .. } = event;
        state.revision = *revision;
        state.policy = Some((**policy).clone());
    }

    fn next_wake(_state: &Self::State) -> Option<Timestamp> {
        None
    }

    fn wake() -> Self::Command {
        CatalogueCommand::Wake
    }

    fn views(_: &str, _: &Self::State, _: &Self::Event, _: u64, _: u32) -> Vec<ViewWrite> {
        Vec::new()
    }

    fn weight(_state: &Self::State) -> usize {
        std::mem::size_of::<CatalogueState>() + 1024
    }

    fn broken_invariants(state: &Self::State) -> Vec<&'static str> {
        if state.policy.as_ref().is_some_and(|policy| policy.validate().is_err()) {
            vec!["the policy in force is valid"]
        } else {
            vec![]
        }
    }
}
