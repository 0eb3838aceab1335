//! The table of counts.

use super::{checker::Findings, command::Sent};

/// What a scenario came to.
#[derive(Debug)]
pub struct Outcome {
    /// Its name.
    pub scenario: &'static str,
    /// The seed of its load.
    pub seed: u64,
    /// What was done to it.
    pub faults: String,
    /// How many commands were sent.
    pub commands: usize,
    /// How many of them were refused by a rule.
    pub refused: usize,
    /// How many lost their answer at the first try.
    pub doubted: usize,
    /// How many were sent more than once.
    pub repeated: usize,
    /// Answers 500.
    pub broke: u32,
    /// Whether these are no fault: SQLite takes what a failing disk does not let it read for damage, and says so.
    pub may_break: bool,
    /// What is wrong.
    pub findings: Findings,
}

impl Outcome {
    /// Of a history.
    pub fn new(scenario: &'static str, seed: u64, faults: String, history: &[Sent], findings: Findings) -> Self {
        let count = |is: &dyn Fn(&&Sent) -> bool| history.iter().filter(is).count();
        Self {
            scenario,
            seed,
            faults,
            commands: history.len(),
            refused: count(&|sent| sent.answer.as_ref().is_some_and(|answer| answer.status >= 300)),
            doubted: count(&|sent| sent.doubted),
            repeated: count(&|sent| sent.tries > 1),
            broke: history.iter().map(|sent| sent.broke).sum(),
            may_break: false,
            findings,
        }
    }

    /// Nothing was lost, and nothing broke that should not.
    pub fn is_clean(&self) -> bool {
        self.findings.is_clean() && (self.broke == 0 || self.may_break)
    }

    /// The faults, one a line, a few of each column.
    pub fn told(&self) -> String {
        let columns = self.findings.columns();
        let lines = columns.iter().flat_map(|(column, found)| {
            found.iter().take(5).map(move |what| format!("{}: {column}: {what}\n", self.scenario))
        });
        lines.collect()
    }
}

/// All of them as a table.
pub fn table(outcomes: &[Outcome]) -> String {
    let mut text = String::from(
        "| scenario | seed | faults | commands | refused by a rule | answer lost | repeated | 500 | unanswered | missing \
         | twice | limits | points | answers | check |\n|---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|\n",
    );
    for one in outcomes {
        let Outcome { scenario, seed, faults, commands, refused, doubted, repeated, broke, findings, .. } = one;
        text.push_str(&format!(
            "| {scenario} | {seed} | {faults} | {commands} | {refused} | {doubted} | {repeated} | {broke} |"
        ));
        for (_, found) in findings.columns() {
            text.push_str(&format!(" {} |", found.len()));
        }
        text.push('\n');
    }
    text
}
