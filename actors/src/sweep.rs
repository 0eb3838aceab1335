//! Who has to go: idle entities after a while, and, where a bound is exceeded, those that were used least recently.
//!
//! One sweeper per registry, on its first arbiter. It walks round the slots a bounded number at a time (the clock
//! algorithm: approximate, and nothing is sorted or kept in order per ask) and asks actors to passivate; whether they do
//! is theirs to decide. It must never keep the registry alive, nor walk long enough to be noticed by other entities.

use std::{
    sync::{Arc, PoisonError, Weak, atomic::Ordering::Relaxed},
    time::Duration,
};

use adal_domain::entity::Entity;

use crate::{actor::Mail, registry::Inner, slot::Slot};

/// How many slots are looked at at a time, at least.
const STEP: usize = 1024;

/// How long to wait between two looks while a bound is exceeded.
const PAUSE: Duration = Duration::from_millis(5);

/// Sweeps until the registry is gone or stops.
pub(crate) async fn run<E: Entity>(registry: Weak<Inner<E>>) {
    let Some((every, again)) = registry.upgrade().map(|inner| (interval(&inner), Arc::clone(&inner.pressed))) else {
        return;
    };
    // How many slots have been looked at since a bound was last kept.
    let mut pressed_for = 0;
    loop {
        let ticked = tokio::select! {
            () = tokio::time::sleep(every) => 1,
            () = again.notified() => 0,
        };
        let pressed = {
            let Some(inner) = registry.upgrade() else { return };
            if inner.stopping.load(Relaxed) {
                return;
            }
            inner.tick.fetch_add(ticked, Relaxed);
            let pressed = step(&inner, every, &mut pressed_for);
            inner.meters.live.set(f64::from(u32::try_from(inner.live.load(Relaxed)).unwrap_or(u32::MAX)));
            #[expect(clippy::cast_precision_loss, reason = "a gauge: exact up to 2^53 bytes")]
            inner.meters.live_bytes.set(inner.bytes.load(Relaxed) as f64);
            pressed
        };
        if pressed {
            // Look again soon, but let those who were asked go first: snapshots take the store's time.
            tokio::time::sleep(PAUSE).await;
            again.notify_one();
        }
    }
}

/// Often enough that nobody idles for an eighth longer than allowed, seldom enough to cost nothing.
fn interval<E: Entity>(inner: &Inner<E>) -> Duration {
    (inner.config.idle_after / 8).clamp(Duration::from_millis(100), Duration::from_secs(10))
}

/// Looks at the next slots; answers whether a bound is exceeded.
fn step<E: Entity>(inner: &Inner<E>, every: Duration, pressed_for: &mut usize) -> bool {
    let now = inner.tick.load(Relaxed);
    let idle_ticks = u32::try_from(inner.config.idle_after.as_micros() / every.as_micros()).unwrap_or(u32::MAX).max(1);
    let length = inner.round.lock().unwrap_or_else(PoisonError::into_inner).len();
    // Once round in half of the idle time.
    let budget = STEP.max(length / (idle_ticks as usize / 2).max(1)).min(length);
    let batch: Vec<Weak<Slot<E>>> =
        inner.round.lock().unwrap_or_else(PoisonError::into_inner).drain(..budget).collect();
    let pressed = inner.exceeds(0);
    // Under pressure the first round spares what was used lately, the second spares nobody.
    let spare = if *pressed_for > length { 0 } else { 1 };
    // A little more than needed, so that not every activation presses again.
    let live = inner.live.load(Relaxed);
    let wanted = if pressed { live.saturating_sub(inner.config.max_live).max(live / 64).max(1) } else { 0 };
    *pressed_for = if pressed { *pressed_for + budget } else { 0 };
    let mut asked = 0;
    let mut kept = Vec::with_capacity(batch.len());
    for slot in batch.iter().filter_map(Weak::upgrade) {
        if slot.gate.is_closed() {
            continue;
        }
        let idle = now.wrapping_sub(slot.used.load(Relaxed));
        if idle >= idle_ticks || (asked < wanted && idle >= spare) {
            asked += 1;
            // `Err`: it has gone already.
            let _ = slot.addr.try_send(Mail::Passivate);
        }
        kept.push(Arc::downgrade(&slot));
    }
    inner.round.lock().unwrap_or_else(PoisonError::into_inner).extend(kept);
    pressed
}
