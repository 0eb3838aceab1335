//! What was counted of banners: each process writes its own sums of a day, whole, and a read adds up those of all. No
//! counters: a repeat of a sum changes nothing, where a repeat of an addition would.

use std::collections::HashMap;

use adal_actors::ports::{BannerCounts, StoreError};
use adal_domain::{ids::BannerId, time::Day};

use super::db::{CountRow, Database};

/// Sums that a process keeps: banners times the days on which somebody saw them. What is past that begins anew, as
/// another member's would.
const KEPT: usize = 100_000;

/// Rows of one read.
const PAGE: usize = 1_000;

/// This process's sums.
#[derive(Default)]
pub(super) struct Sums {
    of: HashMap<(BannerId, Day), BannerCounts>,
    /// Stamps, and what stands behind the member's id where sums began anew.
    written: u64,
    series: u32,
}

/// Adds; what is not written is not added either, and the caller repeats.
pub(super) async fn add(
    db: &dyn Database,
    sums: &mut Sums,
    member: &str,
    counts: Vec<(BannerId, Day, BannerCounts)>,
) -> Result<(), StoreError> {
    if sums.of.len() + counts.len() > KEPT {
        sums.of.clear();
        sums.series += 1;
    }
    let member = match sums.series {
        0 => member.to_owned(),
        series => format!("{member}-{series}"),
    };
    let mut next: HashMap<(BannerId, Day), BannerCounts> = HashMap::new();
    for (banner, day, by) in counts {
        let place = (banner, day);
        let sum = next.entry(place.clone()).or_insert_with(|| sums.of.get(&place).copied().unwrap_or_default());
        *sum = plus(*sum, by);
    }
    for ((banner, day), counts) in &next {
        sums.written += 1;
        let row = CountRow { day: *day, member: member.clone(), counts: *counts };
        db.put_count(banner.as_str(), &row, i64::try_from(sums.written).unwrap_or(i64::MAX)).await?;
    }
    sums.of.extend(next);
    Ok(())
}

fn plus(a: BannerCounts, b: BannerCounts) -> BannerCounts {
    BannerCounts {
        servings: a.servings.saturating_add(b.servings),
        impressions: a.impressions.saturating_add(b.impressions),
        clicks: a.clicks.saturating_add(b.clicks),
    }
}

/// The days of a banner, newest first.
pub(super) async fn of(
    db: &dyn Database,
    banner: &BannerId,
    limit: usize,
) -> Result<Vec<(Day, BannerCounts)>, StoreError> {
    let mut days: Vec<(Day, BannerCounts)> = Vec::new();
    let (mut before, mut page) = (None, PAGE);
    loop {
        let mut rows = db.counts(banner.as_str(), before, page).await?;
        let more = rows.len() == page;
        if more && let Some(last) = rows.last().map(|row| row.day) {
            // The last day may go on behind the page: it is read again, whole, with a longer page where it is all of this.
            if rows.first().is_some_and(|first| first.day == last) {
                page *= 2;
                continue;
            }
            rows.retain(|row| row.day != last);
        }
        before = rows.last().map(|row| row.day);
        for row in rows {
            match days.last_mut() {
                Some((day, sum)) if *day == row.day => *sum = plus(*sum, row.counts),
                _ => days.push((row.day, row.counts)),
            }
        }
        if !more || days.len() >= limit {
            days.truncate(limit);
            return Ok(days);
        }
    }
}

/// Banners of which something is counted, by id: all of them are read, which are few.
pub(super) async fn counted(
    db: &dyn Database,
    after: Option<&BannerId>,
    limit: usize,
) -> Result<Vec<BannerId>, StoreError> {
    let mut found = Vec::new();
    for id in db.counted().await? {
        let banner = BannerId::new(&id);
        found.push(banner.map_err(|_| StoreError::Corrupt(format!("something is counted of {id:?}, no id").into()))?);
    }
    found.sort();
    found.retain(|banner| after.is_none_or(|after| banner > after));
    found.truncate(limit);
    Ok(found)
}
