//! What was counted of banners, by day: sums that are added to, every few seconds, when nothing more urgent waits.

use adal_actors::ports::{BannerCounts, Counts, StoreError};
use adal_domain::{ids::BannerId, time::Day};
use async_trait::async_trait;
use rusqlite::Connection;

use super::{
    SqliteStore,
    apply::Work,
    failure::refused,
    layout::{corrupt, from_sql, to_sql},
};

#[async_trait]
impl Counts for SqliteStore {
    async fn add_counts(&self, counts: Vec<(BannerId, Day, BannerCounts)>) -> Result<(), StoreError> {
        self.write(Work::AddCounts(counts)).await.map(drop)
    }

    async fn counts_of(&self, banner: &BannerId, limit: usize) -> Result<Vec<(Day, BannerCounts)>, StoreError> {
        let banner = banner.clone();
        self.read(move |conn| {
            let sql = "SELECT day, servings, impressions, clicks FROM banner_count WHERE banner = ?1
                       ORDER BY day DESC LIMIT ?2";
            let mut statement = conn.prepare_cached(sql).map_err(|e| refused(&e))?;
            let limit = i64::try_from(limit).unwrap_or(i64::MAX);
            let rows = statement.query_map((banner.as_str(), limit), |row| {
                Ok((row.get::<_, i32>(0)?, [row.get(1)?, row.get(2)?, row.get::<_, i64>(3)?]))
            });
            let mut found = Vec::new();
            for row in rows.map_err(|e| refused(&e))? {
                let (day, [servings, impressions, clicks]) = row.map_err(|e| refused(&e))?;
                let count = |value| from_sql(value, "a count");
                let counts = BannerCounts {
                    servings: count(servings)?,
                    impressions: count(impressions)?,
                    clicks: count(clicks)?,
                };
                found.push((Day(day), counts));
            }
            Ok(found)
        })
        .await
    }

    async fn counted(&self, after: Option<&BannerId>, limit: usize) -> Result<Vec<BannerId>, StoreError> {
        let after = after.map(ToString::to_string);
        self.read(move |conn| {
            let sql =
                "SELECT DISTINCT banner FROM banner_count WHERE ?1 IS NULL OR banner > ?1 ORDER BY banner LIMIT ?2";
            let mut statement = conn.prepare_cached(sql).map_err(|e| refused(&e))?;
            let limit = i64::try_from(limit).unwrap_or(i64::MAX);
            let ids = statement.query_map((after, limit), |row| row.get::<_, String>(0)).map_err(|e| refused(&e))?;
            ids.map(|id| {
                let id = id.map_err(|e| refused(&e))?;
                BannerId::new(&id).map_err(|_| corrupt(format!("something is counted of {id:?}, which is no id")))
            })
            .collect()
        })
        .await
    }
}

/// Adds to the sums. A sum stops at the greatest number there is.
pub(super) fn add(conn: &Connection, counts: &[(BannerId, Day, BannerCounts)]) -> rusqlite::Result<usize> {
    let sql = "INSERT INTO banner_count AS old (banner, day, servings, impressions, clicks) VALUES (?1, ?2, ?3, ?4, ?5)
               ON CONFLICT (banner, day) DO UPDATE SET
                   servings = min(old.servings, 9223372036854775807 - excluded.servings) + excluded.servings,
                   impressions = min(old.impressions, 9223372036854775807 - excluded.impressions) + excluded.impressions,
                   clicks = min(old.clicks, 9223372036854775807 - excluded.clicks) + excluded.clicks";
    let mut upsert = conn.prepare_cached(sql)?;
    let mut count = 0;
    for (banner, day, of) in counts {
        let (servings, impressions, clicks) = (to_sql(of.servings), to_sql(of.impressions), to_sql(of.clicks));
        count += upsert.execute((banner.as_str(), day.0, servings, impressions, clicks))?;
    }
    Ok(count)
}
