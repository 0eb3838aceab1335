//! How an offer was used. Two sources, and each use stands in one of them: what limits that customers share have counted
//! at the offer's own promo, and, for all other uses, the lines that sales have listed under the offer
//! and its month (`View::OfferUse`). Reads alone, page by page; only sums are kept meanwhile.

use std::collections::BTreeMap;

use adal_domain::{
    customer::marketing::{Listed, ListedUse},
    entity::View,
    errors::Code,
    ids::OfferId,
    promo::Uses,
    time::Day,
};
use futures_util::{StreamExt, TryStreamExt, stream};

use crate::{app::App, http::problem::Problem};

/// Days that a report goes back at most: as far as a promo remembers days.
pub const MAX_DAYS: u32 = 400;
/// Lines read at once.
const PAGE: usize = 1000;
/// Lines of one report: some seconds' work.
const MAX_LISTED: u64 = 1_000_000;
/// Months that are read at the same time.
const AT_ONCE: usize = 4;

/// What was used of an offer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Usage {
    /// Uses of captured holds, less what came back: of the days asked for, and those before them that its limits counted.
    pub taken: Uses,
    /// Uses that its limits keep for open holds.
    pub held: u64,
    /// By day of the capture, oldest first: days with a use alone.
    pub by_day: BTreeMap<Day, Uses>,
}

/// The usage of an offer on the last `days` days.
///
/// # Errors
/// 400 `invalid_field` where `days` is none of 1 to [`MAX_DAYS`], or have more lines than one report reads; what the
/// store answers.
pub async fn of(app: &App, offer: &OfferId, days: u32) -> Result<Usage, Problem> {
    let days = i32::try_from(days).ok().filter(|days| (1..=MAX_DAYS.cast_signed()).contains(days));
    let Some(days) = days else {
        let detail = format!("days: must be 1 to {MAX_DAYS}");
        return Err(Problem::new(Code::InvalidField, detail).with_max(MAX_DAYS.into()));
    };
    let today = app.policy.load().calendar.day(app.now());
    let first = today.plus(1 - days);
    let counted = app.promos.read(offer.as_str()).await?.state.usage();
    let mut usage = Usage {
        taken: Uses { uses: counted.taken, minor: counted.discount_minor },
        held: counted.held,
        by_day: BTreeMap::new(),
    };
    for day in counted.by_day.iter().filter(|of| of.day >= first) {
        *usage.by_day.entry(day.day).or_default() += Uses { uses: day.taken, minor: day.discount_minor };
    }
    let months = std::iter::successors(Some(today), |day| Some(day.first_of_month().plus(-1)));
    let months = months.take_while(|day| *day >= first);
    let mut listed = stream::iter(months).map(|month| in_month(app, offer, month, first)).buffered(AT_ONCE);
    let mut lines = 0;
    while let Some(by_day) = listed.try_next().await? {
        for (day, uses) in by_day {
            lines += uses.uses;
            usage.taken += uses;
            *usage.by_day.entry(day).or_default() += uses;
        }
        if lines > MAX_LISTED {
            return Err(too_many());
        }
    }
    Ok(usage)
}

/// What sales have listed in the month of `month`, from the day `first` on.
async fn in_month(app: &App, offer: &OfferId, month: Day, first: Day) -> Result<BTreeMap<Day, Uses>, Problem> {
    let filter = ListedUse::filter(offer, month);
    let (mut by_day, mut before): (BTreeMap<Day, Uses>, Option<String>) = (BTreeMap::new(), None);
    for _ in 0..=MAX_LISTED / PAGE as u64 {
        let rows = app.views.list(View::OfferUse, Some(&filter), before.as_deref(), PAGE).await?;
        for row in &rows {
            let Listed { day, minor } = rmp_serde::from_slice(&row.value).map_err(Problem::internal)?;
            if day < first {
                return Ok(by_day);
            }
            *by_day.entry(day).or_default() += Uses::one(minor);
        }
        match rows.last() {
            Some(last) if rows.len() == PAGE => before = Some(last.key.clone()),
            _ => return Ok(by_day),
        }
    }
    Err(too_many())
}

fn too_many() -> Problem {
    let detail = format!("days: they have more than {MAX_LISTED} uses to add up; ask for fewer");
    Problem::new(Code::InvalidField, detail)
}
