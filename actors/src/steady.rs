//! The process's own time: what the machine's wall clock shows, as far as it is to be believed.
//!
//! A pure state machine: it is told what the wall clock shows and how long the process has run (by a clock that only
//! ever goes on), and says what time it is. Whoever owns the machine's clocks owns one of these, behind a lock. It must
//! never follow a leap of the wall clock on first sight: a time that is a day ahead forgets every command id, pins the
//! customers it decides for a day long, and lets points expire. `docs/decisions/0013-a-clock-that-leaps.md` argues.

use std::{collections::VecDeque, fmt, time::Duration};

use adal_domain::time::Timestamp;

/// A clock that shows less has not been set: no release of this program is older.
const EARLIEST: Timestamp = Timestamp::from_seconds(1_735_689_600);

/// By which part of what passed the time may run faster or slower, to come back to the wall clock: one tenth.
const SLEW: i64 = 10;

/// The wall clock is compared at most so often: below, a tenth of what passed is less than a microsecond's worth.
const TICK: i64 = 1_000;

/// How far ahead the wall clock may have been at the start without an id being forgotten too early: a typed day or
/// week, a time zone. More would have every restart keep more ids.
const UNKNOWN: i64 = 7 * Timestamp::DAY;

/// How often it is noted what time was shown, for [`Steady::long_ago`].
const NOTED_EVERY: i64 = 15 * 60 * Timestamp::SECOND;

/// How long what was noted is kept.
const NOTED_FOR: i64 = (LONGEST.as_secs() * 1_000_000).cast_signed();

/// The longest age that [`Steady::long_ago`] can tell.
pub const LONGEST: Duration = Duration::from_secs(31 * 86_400);

/// When a wall clock is not believed.
#[derive(Debug, Clone, Copy)]
pub struct Belief {
    /// By how much the wall clock may differ from the process's time and is still followed, slowly.
    pub max_step: Duration,
    /// After how long a difference that stays the same is taken for the truth.
    pub adopt_after: Duration,
}

/// Why the time is not to be relied on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Doubt {
    /// The wall clock shows a time before this program was made.
    NotSet,
    /// The wall clock leapt: it is ahead of the process's time by so many microseconds (behind, if negative).
    Leapt(i64),
}

impl fmt::Display for Doubt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::NotSet => write!(f, "the machine's clock is not set"),
            Self::Leapt(by) => {
                let way = if by < 0 { "back" } else { "ahead" };
                write!(f, "the machine's clock leapt {way} by {} s", by.unsigned_abs() / 1_000_000)
            }
        }
    }
}

/// What a look at the clocks changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// From now on the time is in doubt.
    Doubted(Doubt),
    /// The wall clock came back.
    Returned,
    /// The wall clock stayed where it leapt to, and is believed: the time leaps by so many microseconds.
    Adopted(i64),
}

/// What was shown when: `time` after the process had run for `run`.
#[derive(Debug, Clone, Copy)]
struct Mark {
    run: i64,
    time: i64,
}

/// See the module. All times are microseconds.
#[derive(Debug)]
pub struct Steady {
    max_step: i64,
    adopt_after: i64,
    /// What the time is reckoned from; absent while the wall clock was never set.
    from: Option<Mark>,
    /// When the wall clock was first believed.
    start: Mark,
    shown: i64,
    run: i64,
    doubt: Option<Doubt>,
    /// Since when the difference in doubt is the same, and what it was then.
    leapt: Mark,
    /// What was shown, without what later went below it: `run` and `time` both ascend, so the least that was shown
    /// since some moment is found by halving.
    noted: VecDeque<Mark>,
}

impl Steady {
    /// The time of a process that starts now.
    #[must_use]
    pub fn new(belief: Belief) -> Self {
        let nothing = Mark { run: 0, time: 0 };
        Self {
            max_step: micros(belief.max_step),
            adopt_after: micros(belief.adopt_after),
            from: None,
            start: nothing,
            shown: i64::MIN,
            run: 0,
            doubt: None,
            leapt: nothing,
            noted: VecDeque::new(),
        }
    }

    /// Looks at the clocks: what the wall clock shows, and how long the process has run.
    pub fn see(&mut self, wall: Timestamp, run: Duration) -> Option<Event> {
        let run = micros(run).max(self.run);
        self.run = run;
        let Some(from) = self.from else { return self.first(wall) };
        let passed = run - from.run;
        let mut time = from.time.saturating_add(passed);
        let mut event = None;
        if passed >= TICK {
            let ahead = wall.0.saturating_sub(time);
            if ahead.saturating_abs() <= self.max_step {
                time += ahead.clamp(-passed / SLEW, passed / SLEW);
                event = self.doubt.take().map(|_| Event::Returned);
            } else {
                event = self.leap(ahead);
                if self.doubt.is_none() {
                    (time, self.shown) = (wall.0, wall.0);
                }
            }
            self.from = Some(Mark { run, time });
        }
        // Slowing down would take back what was shown a moment ago.
        self.shown = self.shown.max(time);
        self.note(matches!(event, Some(Event::Adopted(_))));
        event
    }

    /// Until the wall clock is set there is nothing to compare it with.
    fn first(&mut self, wall: Timestamp) -> Option<Event> {
        self.shown = self.shown.max(wall.0);
        if wall < EARLIEST {
            let news = self.doubt.replace(Doubt::NotSet).is_none();
            return news.then_some(Event::Doubted(Doubt::NotSet));
        }
        self.start = Mark { run: self.run, time: wall.0 };
        self.from = Some(self.start);
        self.note(true);
        self.doubt.take().map(|_| Event::Returned)
    }

    /// The wall clock is elsewhere. Ends the doubt where that is to be believed.
    fn leap(&mut self, ahead: i64) -> Option<Event> {
        let before = self.doubt.replace(Doubt::Leapt(ahead));
        if before.is_none() || ahead.saturating_sub(self.leapt.time).saturating_abs() > self.max_step {
            self.leapt = Mark { run: self.run, time: ahead };
        }
        if self.run - self.leapt.run >= self.adopt_after {
            self.doubt = None;
            return Some(Event::Adopted(ahead));
        }
        before.is_none().then_some(Event::Doubted(Doubt::Leapt(ahead)))
    }

    fn note(&mut self, now: bool) {
        let mark = Mark { run: self.run, time: self.shown };
        if !now && self.noted.back().is_some_and(|last| mark.run - last.run < NOTED_EVERY) {
            return;
        }
        while self.noted.back().is_some_and(|last| last.time >= mark.time) {
            self.noted.pop_back();
        }
        self.noted.push_back(mark);
        while self.noted.get(1).is_some_and(|second| mark.run - second.run >= NOTED_FOR) {
            self.noted.pop_front();
        }
    }

    /// The time as of the last look. It never goes back, but where a wall clock that leapt back is believed.
    #[must_use]
    pub const fn now(&self) -> Timestamp {
        Timestamp(self.shown)
    }

    /// Why the time is not to be relied on, as of the last look.
    #[must_use]
    pub const fn doubt(&self) -> Option<Doubt> {
        self.doubt
    }

    /// What was decided not later than this was decided at least `age` (up to [`LONGEST`]) before the last look, by the
    /// wall clock and, for what this process decided, also by how long it has run.
    #[must_use]
    pub fn long_ago(&self, age: Duration) -> Timestamp {
        let Some(first) = self.noted.front() else { return Timestamp(i64::MIN) };
        let age = micros(age);
        let then = self.run - age;
        let before = self.noted.partition_point(|mark| mark.run <= then);
        // What was shown since: no less than the last that was noted before, or than anything noted.
        let by_run = match before.checked_sub(1).and_then(|last| self.noted.get(last)) {
            Some(mark) => mark.time,
            None => first.time - 1,
        };
        // A process that is younger than that knows nothing but what the clock said when it began.
        let by_start = if then < self.start.run { self.start.time.saturating_sub(UNKNOWN) } else { i64::MAX };
        Timestamp(self.shown.saturating_sub(age).min(by_run).min(by_start))
    }
}

fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: i64 = 60;
    const HOUR: i64 = 3_600;
    const DAY: i64 = 86_400;
    const START: i64 = 1_800_000_000;
    const AGE: Duration = Duration::from_secs(86_400);

    /// A wall clock beside a process, in seconds.
    struct Machine {
        steady: Steady,
        run: i64,
        /// By how much the wall clock is ahead of what is true.
        wrong: i64,
        events: Vec<Event>,
    }

    impl Machine {
        fn starting(wrong: i64) -> Self {
            let belief = Belief { max_step: Duration::from_secs(60), adopt_after: Duration::from_secs(600) };
            let mut machine = Self { steady: Steady::new(belief), run: 0, wrong, events: Vec::new() };
            machine.pass(0);
            machine
        }

        /// So many seconds, looked at each second; the time never goes back but where a leap is adopted.
        fn pass(&mut self, seconds: i64) {
            for second in 0..=seconds {
                self.run += i64::from(second > 0);
                let wall = Timestamp::from_seconds(START + self.run + self.wrong);
                let before = self.steady.now();
                let event = self.steady.see(wall, Duration::from_secs(self.run.cast_unsigned()));
                assert!(self.steady.now() >= before || matches!(event, Some(Event::Adopted(_))), "backwards");
                self.events.extend(event);
            }
        }

        /// By how many seconds the process's time is ahead of what is true.
        fn off(&self) -> i64 {
            self.steady.now().seconds() - START - self.run
        }

        /// How long ago, in truth, what is forgotten now was decided, if nothing was wrong then.
        fn forgets_after(&self) -> i64 {
            START + self.run - self.steady.long_ago(AGE).seconds()
        }
    }

    #[test]
    fn a_small_step_is_approached_a_tenth_at_a_time_in_either_direction() {
        for step in [50, -50] {
            let mut machine = Machine::starting(0);
            machine.pass(MINUTE);
            machine.wrong = step;
            machine.pass(1);
            assert_eq!(machine.off().abs(), i64::from(step < 0), "not at once");
            machine.pass(250);
            assert!((24..=26).contains(&machine.off().abs()), "{}", machine.off());
            machine.pass(250);
            assert_eq!((machine.off(), machine.steady.doubt()), (step, None));
            assert_eq!(machine.events, []);
        }
    }

    #[test]
    fn a_leap_is_not_followed_and_when_it_is_undone_nothing_has_happened() {
        for leap in [HOUR, -HOUR, DAY, 365 * DAY, -365 * DAY] {
            let mut machine = Machine::starting(0);
            machine.pass(MINUTE);
            machine.wrong = leap;
            machine.pass(1);
            let doubt = Doubt::Leapt(leap * 1_000_000);
            assert_eq!((machine.steady.doubt(), machine.off()), (Some(doubt), 0));
            machine.pass(9 * MINUTE);
            machine.wrong = 0;
            machine.pass(1);
            assert_eq!((machine.steady.doubt(), machine.off()), (None, 0));
            assert_eq!(machine.events, [Event::Doubted(doubt), Event::Returned]);
        }
    }

    #[test]
    fn a_leap_that_stays_is_believed_after_a_while_and_a_clock_that_keeps_leaping_is_not() {
        for leap in [HOUR, -HOUR, DAY] {
            let mut machine = Machine::starting(0);
            machine.wrong = leap;
            machine.pass(10 * MINUTE);
            assert!(machine.steady.doubt().is_some());
            machine.pass(2);
            assert_eq!((machine.steady.doubt(), machine.off()), (None, leap));
            machine.wrong += HOUR;
            for _ in 0..20 {
                machine.pass(5 * MINUTE);
                machine.wrong += 2 * MINUTE;
            }
            assert!(machine.steady.doubt().is_some());
            assert_eq!(machine.off(), leap, "it was never the same for long");
        }
    }

    #[test]
    fn a_machine_that_boots_without_a_clock_waits_and_goes_on_at_once_when_it_is_set() {
        let mut machine = Machine::starting(-START);
        assert_eq!(machine.steady.doubt(), Some(Doubt::NotSet));
        machine.pass(HOUR);
        assert_eq!(machine.steady.doubt(), Some(Doubt::NotSet));
        assert_eq!(machine.steady.long_ago(AGE), Timestamp(i64::MIN), "nothing is forgotten by such a clock");
        machine.wrong = 0;
        machine.pass(1);
        assert_eq!((machine.steady.doubt(), machine.off()), (None, 0));
        assert_eq!(machine.events, [Event::Doubted(Doubt::NotSet), Event::Returned]);
    }

    #[test]
    fn a_machine_that_boots_with_a_wrong_clock_and_is_corrected_recovers_by_itself() {
        for wrong in [DAY, -DAY, HOUR, -HOUR] {
            let mut machine = Machine::starting(wrong);
            machine.pass(HOUR);
            assert_eq!((machine.off(), machine.steady.doubt()), (wrong, None), "nobody can know");
            machine.wrong = 0;
            machine.pass(11 * MINUTE);
            assert_eq!((machine.off(), machine.steady.doubt()), (0, None));
        }
    }

    #[test]
    fn a_process_that_has_run_for_long_forgets_after_the_age_to_a_quarter_of_an_hour() {
        let mut machine = Machine::starting(0);
        machine.pass(3 * DAY);
        assert!((DAY..=DAY + 15 * MINUTE).contains(&machine.forgets_after()), "{}", machine.forgets_after());
    }

    #[test]
    fn no_leap_that_is_believed_forgets_anything_before_the_process_has_run_for_the_age() {
        for leap in [HOUR, -HOUR, DAY, 30 * DAY, -30 * DAY] {
            let mut machine = Machine::starting(0);
            machine.pass(2 * DAY);
            machine.wrong = leap;
            machine.pass(15 * MINUTE);
            assert_eq!(machine.off(), leap);
            for _ in 1..(DAY / HOUR) {
                machine.pass(HOUR);
                // Decided before the leap, so by the time that was right then.
                assert!(machine.forgets_after() >= DAY, "{leap}: {}", machine.forgets_after());
                // Decided since: by the new time.
                assert!(machine.forgets_after() + leap >= DAY, "{leap}: {}", machine.forgets_after());
            }
            machine.pass(2 * DAY);
            assert!((DAY..=DAY + 15 * MINUTE).contains(&(machine.forgets_after() + leap)), "and then it does");
        }
    }

    #[test]
    fn a_process_that_begins_with_a_clock_that_is_days_ahead_forgets_nothing_of_yesterday() {
        for wrong in [DAY, 6 * DAY] {
            let mut machine = Machine::starting(wrong);
            machine.pass(DAY - 1);
            assert!(machine.forgets_after() >= DAY, "{}", machine.forgets_after());
        }
    }
}
