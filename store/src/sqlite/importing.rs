//! The mark of a file into which an import was begun that has not come to its end. A row of `meta` that is there or not, and
//! so no new format: what a version that does not know it does with such a file is what every version did before.

use adal_actors::ports::StoreError;
use rusqlite::Connection;

use super::failure::refused;

pub(super) fn stands(conn: &Connection) -> Result<bool, StoreError> {
    let found = conn.prepare_cached("SELECT 1 FROM meta WHERE name = 'importing'").and_then(|mut find| find.exists([]));
    found.map_err(|e| refused(&e))
}

pub(super) fn set(conn: &Connection, importing: bool) -> rusqlite::Result<usize> {
    let sql = match importing {
        true => "INSERT OR REPLACE INTO meta (name, value) VALUES ('importing', 1)",
        false => "DELETE FROM meta WHERE name = 'importing'",
    };
    conn.prepare_cached(sql)?.execute([])
}
