//! Whose beats stand still, and for how long, as a member that stands by has seen it.
//!
//! Pure: the member's own, and of its own clock. Patience counts only time in which the database answered the patient one:
//! whose beats it could not look at, of those it does not know that they did not come, and while the database was away
//! nobody could give any. A database that is slow answers: what counts is each answer, not how often all are looked at.

use std::{collections::HashMap, time::Duration};

use tokio::time::Instant;

use super::db::Beat;

/// Time without an answer does not count, where it is longer than so many times the beat.
const BLIND: u32 = 2;

/// See the module.
#[derive(Debug)]
pub(super) struct Watched {
    beat_every: Duration,
    /// By member: its beat, and since when it stands still.
    beats: HashMap<String, (u64, Instant)>,
    /// When the database last answered anything, once the beats were looked at.
    answered: Option<Instant>,
}

impl Watched {
    pub(super) fn new(beat_every: Duration) -> Self {
        Self { beat_every, beats: HashMap::new(), answered: None }
    }

    /// Everybody's beats, as they were found just now.
    pub(super) fn see(&mut self, beats: &[Beat], now: Instant) {
        self.answer(now);
        for Beat { member, beat, .. } in beats {
            let (last, since) = self.beats.entry(member.clone()).or_insert((*beat, now));
            if last != beat {
                (*last, *since) = (*beat, now);
            }
        }
        self.answered = Some(now);
    }

    /// The database answered something just now.
    pub(super) fn answer(&mut self, now: Instant) {
        let Some(answered) = &mut self.answered else { return };
        let without = now.duration_since(std::mem::replace(answered, now));
        if without > self.beat_every * BLIND {
            self.beats.values_mut().for_each(|(_, since)| *since += without);
        }
    }

    /// Whether the beats were ever seen.
    pub(super) fn has_looked(&self) -> bool {
        self.answered.is_some()
    }

    /// For how long a member's beat stands still; `None`: it never had one.
    pub(super) fn still_for(&self, member: &str, now: Instant) -> Option<Duration> {
        self.beats.get(member).map(|(_, since)| now.duration_since(*since))
    }
}

#[cfg(test)]
mod tests {
    use adal_domain::time::Timestamp;

    use super::*;

    #[test]
    fn patience_counts_only_time_in_which_beats_could_be_seen() {
        let second = Duration::from_secs(1);
        let beats = |beat| vec![Beat { member: "a".to_owned(), beat, at: Timestamp(0) }];
        let (mut watched, begun) = (Watched::new(second), Instant::now());
        assert!(!watched.has_looked());
        let mut see = |at: u32, beat| {
            let now = begun + second * at;
            watched.see(&beats(beat), now);
            watched.still_for("a", now).unwrap()
        };
        assert_eq!(see(0, 7), Duration::ZERO);
        assert_eq!(see(2, 7), second * 2, "one look that was late is none that failed");
        assert_eq!(see(3, 7), second * 3);
        assert_eq!(see(60, 7), second * 3, "nobody knows what it would have done meanwhile");
        assert_eq!(see(61, 7), second * 4);
        for at in [63, 65] {
            watched.answer(begun + second * at);
        }
        let mut see = |at: u32, beat| {
            let now = begun + second * at;
            watched.see(&beats(beat), now);
            watched.still_for("a", now).unwrap()
        };
        assert_eq!(see(66, 7), second * 9, "who is slow answers");
        assert_eq!(see(67, 8), Duration::ZERO);
        assert_eq!((watched.still_for("b", begun), watched.has_looked()), (None, true));
    }
}
