//! The table of counts.

use super::{checker::Findings, command::Sent, place::Store, scenarios::Plan};

/// What a scenario came to.
#[derive(Debug)]
pub struct Outcome {
    /// Its name.
    pub scenario: &'static str,
    /// Which store it was on.
    pub store: Store,
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
    /// Answers 503.
    pub unready: u32,
    /// Answers 500.
    pub broke: u32,
    /// Whether these are no fault: SQLite takes what a failing disk does not let it read for damage, and says so.
    pub may_break: bool,
    /// What is wrong.
    pub findings: Findings,
}

impl Outcome {
    /// Of a history.
    pub fn new(scenario: &'static str, plan: &Plan<'_>, faults: String, history: &[Sent], findings: Findings) -> Self {
        let count = |is: &dyn Fn(&&Sent) -> bool| history.iter().filter(is).count();
        Self {
            scenario,
            store: plan.store,
            seed: plan.seed,
            faults,
            commands: history.len(),
            refused: count(&|sent| sent.answer.as_ref().is_some_and(|answer| answer.status >= 300)),
            doubted: count(&|sent| sent.doubted),
            repeated: count(&|sent| sent.tries > 1),
            unready: history.iter().map(|sent| sent.unready).sum(),
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
        "| scenario | store | seed | faults | commands | refused by a rule | answer lost | repeated | 503 | 500 | unanswered \
         | missing | twice | limits | points | answers | check |\n\
         |---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|\n",
    );
    for one in outcomes {
        let Outcome { scenario, seed, faults, commands, refused, doubted, repeated, unready, broke, findings, .. } =
            one;
        let store = one.store.name();
        text.push_str(&format!(
            "| {scenario} | {store} | {seed} | {faults} | {commands} | {refused} | {doubted} | {repeated} | {unready} | {broke} |"
        ));
        for (_, found) in findings.columns() {
            text.push_str(&format!(" {} |", found.len()));
        }
        text.push('\n');
    }
    text
}
