//! Who has to rest or to go: actors after a short while, idle entities after a long one, and, where a bound is
//! exceeded, those that were used least recently.
//!
//! One sweeper per registry, on its first arbiter. It walks round the slots a bounded number at a time (the clock
//! algorithm: approximate, and nothing is sorted or kept in order per ask) and asks actors to rest or to passivate;
//! whether they do is theirs to decide. It must never keep the registry alive, nor walk long enough to be noticed by other entities.

use std::{
    sync::{Arc, PoisonError, Weak, atomic::Ordering::Relaxed},
    time::Duration,
};

use adal_domain::entity::Entity;

use crate::{actor::Mail, registry::Inner, slot::Slot};

/// How many slots are looked at in one go.
const STEP: usize = 1024;

/// How long to wait between two looks while a bound is exceeded.
const PAUSE: Duration = Duration::from_millis(5);

/// Sweeps until the registry is gone or stops.
pub(crate) async fn run<E: Entity>(registry: Weak<Inner<E>>) {
    let Some((every, again)) = registry.upgrade().map(|inner| (interval(&inner), Arc::clone(&inner.pressed))) else {
        return;
    };
    let mut sweep = Sweep { every, pressed_for: 0 };
    loop {
        let ticked = tokio::select! {
            () = tokio::time::sleep(every) => 1,
            () = again.notified() => 0,
        };
        let Some(mut left) = registry.upgrade().map(|inner| {
            inner.tick.fetch_add(ticked, Relaxed);
            sweep.budget(&inner)
        }) else {
            return;
        };
        let pressed = loop {
            let Some(inner) = registry.upgrade() else { return };
            if inner.stopping.load(Relaxed) {
                return;
            }
            let pressed = sweep.step(&inner, left);
            left = left.saturating_sub(STEP);
            if left == 0 || pressed {
                inner.meters.live.set(f64::from(u32::try_from(inner.live.load(Relaxed)).unwrap_or(u32::MAX)));
                #[expect(clippy::cast_precision_loss, reason = "a gauge: exact up to 2^53 bytes")]
                inner.meters.live_bytes.set(inner.bytes.load(Relaxed) as f64);
                break pressed;
            }
            // The entities of this arbiter go between two steps.
            drop(inner);
            tokio::task::yield_now().await;
        };
        if pressed {
            // Look again soon, but let those who were asked go first: snapshots take the store's time.
            tokio::time::sleep(PAUSE).await;
            again.notify_one();
        }
    }
}

/// Often enough that nobody idles for much longer than allowed, seldom enough to cost nothing.
fn interval<E: Entity>(inner: &Inner<E>) -> Duration {
    let config = &inner.config;
    (config.idle_after / 8).min(config.rest_after / 4).clamp(Duration::from_millis(100), Duration::from_secs(10))
}

/// What a sweeper knows between two looks.
struct Sweep {
    every: Duration,
    /// How many slots have been looked at since a bound was last kept.
    pressed_for: usize,
}

impl Sweep {
    /// How many ticks of the registry's a duration takes.
    fn ticks(&self, duration: Duration) -> u32 {
        u32::try_from(duration.as_micros() / self.every.as_micros()).unwrap_or(u32::MAX).max(1)
    }

    /// How many slots the next look takes: once round in half of the time after which an entity rests.
    fn budget<E: Entity>(&self, inner: &Inner<E>) -> usize {
        let length = inner.round.lock().unwrap_or_else(PoisonError::into_inner).len();
        let rest_ticks = self.ticks(inner.config.rest_after.min(inner.config.idle_after));
        STEP.max(length / (rest_ticks as usize / 2).max(1)).min(length)
    }

    /// Looks at the next slots, no more than [`STEP`]; answers whether a bound is exceeded.
    fn step<E: Entity>(&mut self, inner: &Arc<Inner<E>>, budget: usize) -> bool {
        let now = inner.tick.load(Relaxed);
        let (idle_ticks, rest_ticks) = (self.ticks(inner.config.idle_after), self.ticks(inner.config.rest_after));
        let (length, batch) = {
            let mut round = inner.round.lock().unwrap_or_else(PoisonError::into_inner);
            let length = round.len();
            (length, round.drain(..budget.min(STEP).min(length)).collect::<Vec<Weak<Slot<E>>>>())
        };
        let pressed = inner.exceeds(0);
        // Under pressure the first round spares what was used lately, the second spares nobody.
        let spare = if self.pressed_for > length { 0 } else { 1 };
        // A little more than needed, so that not every activation presses again.
        let live = inner.live.load(Relaxed);
        let wanted = if pressed { live.saturating_sub(inner.config.max_live).max(live / 64).max(1) } else { 0 };
        self.pressed_for = if pressed { self.pressed_for + batch.len() } else { 0 };
        let mut asked = 0;
        let mut kept = Vec::with_capacity(batch.len());
        for slot in batch.iter().filter_map(Weak::upgrade) {
            if slot.gate.is_closed() {
                continue;
            }
            let idle = now.wrapping_sub(slot.used.load(Relaxed));
            if idle >= idle_ticks || (asked < wanted && idle >= spare) {
                asked += 1;
                if inner.drop_resting(&slot) {
                    continue;
                }
                // `Err`: it has gone already.
                let _ = inner.post(&slot, Mail::Passivate);
            } else if idle >= rest_ticks && Inner::is_awake(&slot) {
                let _ = inner.post(&slot, Mail::Rest);
            }
            kept.push(Arc::downgrade(&slot));
        }
        inner.round.lock().unwrap_or_else(PoisonError::into_inner).extend(kept);
        pressed
    }
}
