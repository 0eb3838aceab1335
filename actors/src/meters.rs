//! The metrics of one kind of entity, as handles that are looked up once.
//!
//! The recorder must be installed before the registry is made. No label ever names an entity.

use adal_domain::entity::EntityKind;
use metrics::{Counter, Gauge, Histogram, counter, gauge, histogram};

/// See the module.
pub(crate) struct Meters {
    pub(crate) accepted: Counter,
    pub(crate) refused: Counter,
    pub(crate) replayed: Counter,
    pub(crate) panicked: Counter,
    pub(crate) waiting: Gauge,
    pub(crate) live: Gauge,
    pub(crate) awake: Gauge,
    pub(crate) live_bytes: Gauge,
    pub(crate) batch: Histogram,
    pub(crate) decide: Histogram,
    pub(crate) activations: Counter,
    pub(crate) passivations: Counter,
    pub(crate) quarantined: Counter,
    pub(crate) retries: Counter,
    pub(crate) damaged: Counter,
}

impl Meters {
    pub(crate) fn new(kind: EntityKind) -> Self {
        let kind = kind.as_str();
        let decisions = |outcome| counter!("adal_decisions_total", "kind" => kind, "outcome" => outcome);
        Self {
            accepted: decisions("accepted"),
            refused: decisions("refused"),
            replayed: decisions("replayed"),
            panicked: decisions("panic"),
            waiting: gauge!("adal_mailbox_waiting", "kind" => kind),
            live: gauge!("adal_live_entities", "kind" => kind),
            awake: gauge!("adal_awake_entities", "kind" => kind),
            live_bytes: gauge!("adal_live_bytes", "kind" => kind),
            batch: histogram!("adal_batch_commands", "kind" => kind),
            decide: histogram!("adal_decide_seconds", "kind" => kind),
            activations: counter!("adal_activations_total", "kind" => kind),
            passivations: counter!("adal_passivations_total", "kind" => kind),
            quarantined: counter!("adal_quarantined_total", "kind" => kind),
            damaged: counter!("adal_snapshots_damaged_total", "kind" => kind),
            retries: counter!("adal_append_retries_total", "kind" => kind),
        }
    }
}
