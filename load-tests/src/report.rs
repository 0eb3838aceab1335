//! What was found: said as soon as it is known, and once more as a whole at the end.

use crate::{http::Measured, rows::Name};

/// All that was found.
#[derive(Debug, Default)]
pub struct Report {
    lines: Vec<String>,
}

impl Report {
    fn say(&mut self, line: String) {
        eprintln!("  {line}");
        self.lines.push(line);
    }

    /// Something to know.
    pub fn note(&mut self, text: &str) {
        self.say(text.to_owned());
    }

    /// A figure with a goal.
    pub fn goal(&mut self, what: &str, measured: &str, goal: &str, met: bool) {
        let verdict = if met { "met" } else { "MISSED" };
        self.say(format!("{verdict:>6} | {what} | {measured} | goal {goal}"));
    }

    /// A figure without one.
    pub fn shown(&mut self, what: &str, measured: &str) {
        self.say(format!(" shown | {what} | {measured}"));
    }

    /// A row that could not be measured: that is said, never left out.
    pub fn failed(&mut self, name: Name, error: &dyn std::error::Error) {
        self.say(format!("FAILED | {name:?} | not measured: {error}"));
    }

    /// The whole, to stdout.
    pub fn print(&self) {
        for line in &self.lines {
            println!("{line}");
        }
    }
}

/// What several turns gave.
#[derive(Debug, Default)]
pub struct Turns(Vec<Measured>);

impl Turns {
    /// One more.
    pub fn push(&mut self, measured: Measured) {
        self.0.push(measured);
    }

    /// The median of what `of` says of each turn.
    pub fn median(&self, of: impl Fn(&Measured) -> f64) -> f64 {
        median(self.0.iter().map(of).collect())
    }

    /// The median rate.
    pub fn rate(&self) -> f64 {
        self.median(Measured::rate)
    }

    /// The median of the turns' own p99, ms.
    pub fn p99(&self) -> f64 {
        self.median(|turn| turn.ms(0.99))
    }

    /// Rates and latencies, for people.
    pub fn text(&self) -> String {
        let rates: Vec<f64> = self.0.iter().map(Measured::rate).collect();
        let (least, most) =
            rates.iter().fold((f64::MAX, 0.0_f64), |(least, most), rate| (least.min(*rate), most.max(*rate)));
        format!(
            "{:.0}/s ({least:.0}-{most:.0}), p50 {:.2} ms, p99 {:.2} ms",
            self.rate(),
            self.median(|turn| turn.ms(0.5)),
            self.p99()
        )
    }
}

/// The middle one.
pub fn median(mut of: Vec<f64>) -> f64 {
    of.sort_by(f64::total_cmp);
    of.get(of.len() / 2).copied().unwrap_or(f64::NAN)
}
