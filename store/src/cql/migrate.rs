//! `adal migrate`: brings a keyspace to the tables that this version needs, and says what it sees to be unsafe.
//!
//! `schema.cql` is compiled in: a list of migrations. The table `migration` says which are done. Each is applied
//! statement by statement, all of which may be run again, and recorded when its last one is done: one that was broken off
//! is run again whole. Run twice, the second run finds nothing to do.
//!
//! Two at once would have two nodes make the same table, each with an identity of its own, and the databases do not bear
//! that: row 0 of `migration` is a lock, taken by a conditional write, that goes by itself after [`LOCK_SECONDS`]. (The
//! very first statements, before that table is there, are not guarded by it.)

use std::{collections::BTreeMap, fmt::Write as _, sync::Arc};

use scylla::{
    client::session::Session as Driver,
    cluster::Node,
    policies::load_balancing::{NodeIdentifier, SingleTargetLoadBalancingPolicy},
    response::query_result::QueryResult,
    statement::unprepared::Statement,
    value::Row,
};

use super::{
    config::{CqlConfig, CqlError},
    db::Failed,
    failure::{Kind, chain, failed},
    session::Session,
};

/// The tables, as migrations.
const SCHEMA: &str = include_str!("../../../schema.cql");
/// How long the lock of a migration that was killed stands.
const LOCK_SECONDS: u32 = 300;
/// A change of tables takes as long as all nodes take to agree on it.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(60);

/// One migration of `schema.cql`.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Migration {
    version: i32,
    title: String,
    statements: Vec<String>,
}

/// What a migration did, or would do.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MigrateReport {
    /// The latest migration that was done before; 0: none.
    pub from: i32,
    /// The latest that this version knows, and that is done now.
    pub to: i32,
    /// The statements that were applied, or with `dry_run` would be.
    pub statements: Vec<String>,
    /// What is unsafe about the keyspace or the nodes, as far as it can be seen; each says why and what to do.
    pub warnings: Vec<String>,
}

/// Brings the keyspace to what this version needs. `dry_run`: says what would be done, and changes nothing.
///
/// # Errors
/// No connection, a schema that is newer, another migration at work, a keyspace that is not there and no `replication`
/// given to make it, a statement that failed.
pub async fn migrate(config: &CqlConfig, dry_run: bool) -> Result<MigrateReport, CqlError> {
    let session = Session::connect(config.clone()).await?;
    let driver = session.driver();
    let all = migrations()?;
    let known = all.last().map_or(0, |last| last.version);
    let keyspace = &config.keyspace;

    let mut statements = Vec::new();
    let there = keyspace_options(&driver, keyspace).await?;
    if there.is_none() {
        statements.push(create_keyspace(config)?);
    }
    let from = if there.is_some() { applied(&driver, keyspace).await? } else { 0 };
    if from > known {
        return Err(newer(keyspace, from, known));
    }
    let missing: Vec<_> = all.into_iter().filter(|migration| migration.version > from).collect();
    let texts = missing.iter().flat_map(|migration| &migration.statements).cloned();

    if dry_run || (missing.is_empty() && there.is_some()) {
        statements.extend(texts);
        let warnings = warnings(&driver, config, there.as_ref()).await?;
        return Ok(MigrateReport { from, to: known, statements, warnings });
    }
    for text in &statements {
        change(&driver, text).await?;
    }
    statements.extend(texts);
    apply(&driver, keyspace, &missing).await?;
    let there = keyspace_options(&driver, keyspace).await?;
    let warnings = warnings(&driver, config, there.as_ref()).await?;
    Ok(MigrateReport { from, to: known, statements, warnings })
}

/// Refuses a keyspace whose tables are not those that this version needs.
pub(super) async fn check(session: &Session) -> Result<(), CqlError> {
    let (driver, keyspace) = (session.driver(), &session.config().keyspace);
    if keyspace_options(&driver, keyspace).await?.is_none() {
        return Err(CqlError::Schema(format!("there is no keyspace {keyspace}; run `adal migrate`")));
    }
    let known = migrations()?.last().map_or(0, |last| last.version);
    match applied(&driver, keyspace).await? {
        found if found > known => Err(newer(keyspace, found, known)),
        found if found < known => {
            let state = format!("keyspace {keyspace} has migration {found}, this version needs {known}");
            Err(CqlError::Schema(format!("{state}; run `adal migrate`")))
        }
        _ => Ok(()),
    }
}

fn newer(keyspace: &str, found: i32, known: i32) -> CqlError {
    CqlError::Schema(format!(
        "keyspace {keyspace} has migration {found}, this version knows {known}; run the newer version of Adal that made it"
    ))
}

/// `schema.cql`, read.
fn migrations() -> Result<Vec<Migration>, CqlError> {
    let bad = |what: String| CqlError::Schema(format!("schema.cql: {what}"));
    let mut found: Vec<(Migration, String)> = Vec::new();
    for line in SCHEMA.lines() {
        if let Some(head) = line.strip_prefix("-- migration ") {
            let (version, title) = head.split_once(": ").ok_or_else(|| bad(format!("{line:?} has no title")))?;
            let version = version.parse().map_err(|_| bad(format!("{line:?} has no number")))?;
            let next = found.last().map_or(1, |(last, _)| last.version + 1);
            if version != next {
                return Err(bad(format!("migration {next} is missing, {version} was found")));
            }
            found.push((Migration { version, title: title.to_owned(), statements: Vec::new() }, String::new()));
        } else if let Some((_, text)) = found.last_mut() {
            // No text in quotes has a `--`; a test sees to that.
            let code = line.split_once("--").map_or(line, |(code, _)| code).trim_end();
            if !code.is_empty() {
                text.push_str(code);
                text.push('\n');
            }
        }
    }
    let split = |(mut migration, text): (Migration, String)| {
        let statements = text.split(';').map(str::trim).filter(|statement| !statement.is_empty());
        migration.statements = statements.map(str::to_owned).collect();
        migration
    };
    Ok(found.into_iter().map(split).collect())
}

/// `CREATE KEYSPACE`, with the copies that the operator asked for.
fn create_keyspace(config: &CqlConfig) -> Result<String, CqlError> {
    if config.replication.is_empty() {
        return Err(CqlError::Config {
            key: "replication",
            rule: format!(
                "keyspace {} is not there, and is made only where the number of copies by datacentre is given",
                config.keyspace
            ),
        });
    }
    let mut copies = String::new();
    for (datacenter, count) in &config.replication {
        // Writing into a string cannot fail.
        let _ = write!(copies, ", '{datacenter}': {count}");
    }
    let keyspace = &config.keyspace;
    Ok(format!(
        "CREATE KEYSPACE IF NOT EXISTS {keyspace} WITH replication = {{'class': 'NetworkTopologyStrategy'{copies}}}"
    ))
}

/// A keyspace's replication and `durable_writes`; `None`: it is not there.
struct Options {
    replication: BTreeMap<String, String>,
    durable: bool,
}

async fn keyspace_options(driver: &Driver, keyspace: &str) -> Result<Option<Options>, CqlError> {
    let text = "SELECT replication, durable_writes FROM system_schema.keyspaces WHERE keyspace_name = ?";
    let answer = driver.query_unpaged(Statement::new(text), (keyspace,)).await;
    let rows = answer.map_err(|error| failed(Kind::Read, &error))?.into_rows_result().map_err(unreadable)?;
    let row = rows.maybe_first_row::<(BTreeMap<String, String>, bool)>().map_err(unreadable)?;
    Ok(row.map(|(replication, durable)| Options { replication, durable }))
}

fn unreadable(error: impl std::error::Error + 'static) -> Failed {
    Failed::Unreadable(chain(&error))
}

/// The latest migration that is done.
async fn applied(driver: &Driver, keyspace: &str) -> Result<i32, CqlError> {
    let text = "SELECT table_name FROM system_schema.tables WHERE keyspace_name = ? AND table_name = 'migration'";
    let answer = driver.query_unpaged(Statement::new(text), (keyspace,)).await;
    let tables = answer.map_err(|error| failed(Kind::Read, &error))?.into_rows_result().map_err(unreadable)?;
    if tables.rows_num() == 0 {
        return Ok(0);
    }
    let answer = driver.query_unpaged(format!("SELECT version FROM {keyspace}.migration"), ()).await;
    let rows = answer.map_err(|error| failed(Kind::Read, &error))?.into_rows_result().map_err(unreadable)?;
    let mut latest = 0;
    for row in rows.rows::<(i32,)>().map_err(unreadable)? {
        latest = latest.max(row.map_err(unreadable)?.0);
    }
    Ok(latest)
}

/// One change of tables. The driver waits until all nodes have it.
async fn change(driver: &Driver, text: &str) -> Result<(), CqlError> {
    let mut statement = Statement::new(text);
    statement.set_request_timeout(Some(PATIENCE));
    driver.query_unpaged(statement, ()).await.map_err(|error| failed(Kind::Conditional, &error))?;
    Ok(())
}

/// Applies migrations under the lock. The first statement of the first one makes the table with the lock.
async fn apply(driver: &Driver, keyspace: &str, missing: &[Migration]) -> Result<(), CqlError> {
    let qualified = |text: &str| text.replacen("IF NOT EXISTS ", &format!("IF NOT EXISTS {keyspace}."), 1);
    let first = missing.iter().find(|migration| migration.version == 1);
    if let Some(table) = first.and_then(|migration| migration.statements.first()) {
        change(driver, &qualified(table)).await?;
    }
    lock(driver, keyspace).await?;
    let outcome = apply_locked(driver, keyspace, missing, &qualified).await;
    // Where this fails, the lock goes by itself.
    let unlock = format!("DELETE FROM {keyspace}.migration WHERE version = 0 IF who = ?");
    let unlocked = driver.query_unpaged(unlock, (who(),)).await;
    outcome?;
    unlocked.map_err(|error| failed(Kind::Conditional, &error))?;
    Ok(())
}

async fn apply_locked(
    driver: &Driver,
    keyspace: &str,
    missing: &[Migration],
    qualified: &(dyn Fn(&str) -> String + Sync),
) -> Result<(), CqlError> {
    for migration in missing {
        for text in &migration.statements {
            renew(driver, keyspace).await?;
            change(driver, &qualified(text)).await?;
        }
        let text =
            format!("INSERT INTO {keyspace}.migration (version, title, at, who) VALUES (?, ?, toTimestamp(now()), ?)");
        let values = (migration.version, &migration.title, who());
        let done = driver.query_unpaged(text, values).await;
        done.map_err(|error| failed(Kind::Write, &error))?;
        tracing::info!(version = migration.version, title = migration.title, "a migration is done");
    }
    Ok(())
}

/// Who migrates, for whoever finds the lock.
fn who() -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    format!("adal {}, process {} on {}", env!("CARGO_PKG_VERSION"), std::process::id(), host.trim())
}

async fn lock(driver: &Driver, keyspace: &str) -> Result<(), CqlError> {
    let text = format!(
        "INSERT INTO {keyspace}.migration (version, title, at, who) VALUES (0, 'lock', toTimestamp(now()), ?) \
         IF NOT EXISTS USING TTL {LOCK_SECONDS}"
    );
    let answer = driver.query_unpaged(text, (who(),)).await.map_err(|error| failed(Kind::Conditional, &error))?;
    held(keyspace, answer)
}

/// Has the lock for as long again: all statements together may take longer than it stands.
async fn renew(driver: &Driver, keyspace: &str) -> Result<(), CqlError> {
    let text = format!(
        "UPDATE {keyspace}.migration USING TTL {LOCK_SECONDS} SET title = 'lock', at = toTimestamp(now()), who = ? \
         WHERE version = 0 IF who = ?"
    );
    let answer = driver.query_unpaged(text, (who(), who())).await;
    held(keyspace, answer.map_err(|error| failed(Kind::Conditional, &error))?)
}

/// Whether the lock is ours, by what a statement with a condition on it answered.
fn held(keyspace: &str, answer: QueryResult) -> Result<(), CqlError> {
    let rows = answer.into_rows_result().map_err(unreadable)?;
    let column = |name: &str| rows.column_specs().get_by_name(name).map(|(place, _)| place);
    let row: Row = rows.first_row().map_err(unreadable)?;
    let value = |name: &str| column(name).and_then(|place| row.columns.get(place)).and_then(Option::as_ref);
    if value("[applied]").and_then(scylla::value::CqlValue::as_boolean) == Some(true) {
        return Ok(());
    }
    let holder = value("who").and_then(scylla::value::CqlValue::as_text).cloned();
    Err(CqlError::Schema(format!(
        "another migration of keyspace {keyspace} is at work ({}); if none is, its lock goes by itself within {LOCK_SECONDS} s",
        holder.as_deref().unwrap_or("unknown")
    )))
}

/// What can be seen to be unsafe.
async fn warnings(driver: &Driver, config: &CqlConfig, there: Option<&Options>) -> Result<Vec<String>, CqlError> {
    let mut found = there.map(|options| unsafe_options(config, options)).unwrap_or_default();
    let state = driver.get_cluster_state();
    for node in state.get_nodes_info() {
        if let Some(mode) = commit_log_mode(driver, Arc::clone(node)).await
            && mode == "periodic"
        {
            found.push(format!(
                "node {} has commitlog_sync: periodic: a power cut or a kill of several nodes at once loses what was \
                 acknowledged in the last seconds; set it to batch or group",
                node.address
            ));
        }
    }
    Ok(found)
}

/// What a keyspace's own options say.
fn unsafe_options(config: &CqlConfig, options: &Options) -> Vec<String> {
    let mut found = Vec::new();
    let keyspace = &config.keyspace;
    if options.replication.get("class").is_some_and(|class| class.ends_with("SimpleStrategy")) {
        found.push(format!(
            "keyspace {keyspace} has SimpleStrategy, which knows nothing of racks and datacentres; alter it to \
             NetworkTopologyStrategy"
        ));
    }
    let copies: BTreeMap<_, u32> = options
        .replication
        .iter()
        .filter(|(name, _)| *name != "class")
        .filter_map(|(name, count)| Some((name.as_str(), count.parse().ok()?)))
        .collect();
    for (name, count) in &copies {
        let of = if *name == "replication_factor" { String::new() } else { format!(" in {name}") };
        match count {
            1 => found.push(format!(
                "keyspace {keyspace} has one copy{of}: a disk that is lost is data that is lost; have three (a demo may \
                 have one)"
            )),
            2 => found.push(format!(
                "keyspace {keyspace} has two copies{of}: a quorum is both of them, so no node may ever be away; have three"
            )),
            _ => {}
        }
    }
    if copies.len() > 1 {
        let names = copies.keys().copied().collect::<Vec<_>>().join(", ");
        found.push(format!(
            "keyspace {keyspace} is copied to several datacentres ({names}): servers may run in one of them alone, the one \
             of store.cql.local_datacenter"
        ));
    }
    if let Some(local) = &config.local_datacenter
        && !copies.contains_key(local.as_str())
        && !copies.contains_key("replication_factor")
    {
        found.push(format!(
            "keyspace {keyspace} has no copy in {local}, store.cql.local_datacenter: nothing can be read"
        ));
    }
    if !options.durable {
        found.push(format!(
            "keyspace {keyspace} has durable_writes = false: nothing is safe before it is flushed; alter it to true"
        ));
    }
    if !config.replication.is_empty() {
        let wanted: BTreeMap<_, _> = config.replication.iter().map(|(name, count)| (name.as_str(), *count)).collect();
        if wanted != copies && !wanted.contains_key("replication_factor") {
            found.push(format!(
                "keyspace {keyspace} is copied as {copies:?}, store.cql.replication says {wanted:?}; a keyspace that is \
                 there is never altered: use ALTER KEYSPACE, then repair"
            ));
        }
    }
    found
}

/// How a node keeps its commit log, where it tells: Cassandra in `system_views.settings`, ScyllaDB in `system.config`.
async fn commit_log_mode(driver: &Driver, node: Arc<Node>) -> Option<String> {
    for table in ["system_views.settings", "system.config"] {
        let mut statement = Statement::new(format!("SELECT value FROM {table} WHERE name = 'commitlog_sync'"));
        let target = SingleTargetLoadBalancingPolicy::new(NodeIdentifier::Node(Arc::clone(&node)), None);
        statement.set_load_balancing_policy(Some(target));
        // The one that is not there is an error; which of them is there says which database it is.
        let Ok(answer) = driver.query_unpaged(statement, ()).await else { continue };
        let row = answer.into_rows_result().ok()?.maybe_first_row::<(Option<String>,)>().ok().flatten()?;
        return row.0.map(|mode| mode.trim_matches('"').to_owned());
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_schema_is_a_list_of_migrations() {
        let all = migrations().unwrap();
        assert!(!all.is_empty());
        for migration in &all {
            assert!(!migration.statements.is_empty(), "{}", migration.version);
            for text in &migration.statements {
                assert!(text.starts_with("CREATE TABLE IF NOT EXISTS "), "it may be run again: {text}");
                assert!(!text.contains("--"), "{text}");
            }
        }
        assert!(all[0].statements[0].contains(" migration ("), "the table with the lock comes first");
    }

    /// What stores were made with is never changed: a change is a migration of its own, and a line of its own here.
    #[test]
    fn migrations_are_never_changed() {
        let sum = |migration: &Migration| crc32fast::hash(migration.statements.join(";").as_bytes());
        let sums: Vec<_> = migrations().unwrap().iter().map(sum).collect();
        assert_eq!(sums, [0xddd2_f23c, 0xfd79_388b], "{sums:08x?}");
    }

    fn seen(config: &CqlConfig, replication: &[(&str, &str)], durable: bool) -> Vec<String> {
        let replication = replication.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        unsafe_options(config, &Options { replication, durable })
    }

    #[test]
    fn what_is_unsafe_about_a_keyspace_is_said() {
        let mut config = CqlConfig::new(vec!["127.0.0.1:9042".to_owned()], "adal");
        let network = ("class", "org.apache.cassandra.locator.NetworkTopologyStrategy");
        assert_eq!(seen(&config, &[network, ("dc1", "3")], true), Vec::<String>::new());
        let says = |options: &[(&str, &str)], durable: bool, words: &str| {
            let warnings = seen(&config, options, durable);
            assert!(warnings.iter().any(|warning| warning.contains(words)), "{words}: {warnings:?}");
        };
        says(&[network, ("dc1", "1")], true, "one copy in dc1");
        says(&[network, ("dc1", "2")], true, "two copies in dc1");
        says(&[network, ("dc1", "3"), ("dc2", "3")], true, "several datacentres (dc1, dc2)");
        says(&[network, ("dc1", "3")], false, "durable_writes");
        says(
            &[("class", "org.apache.cassandra.locator.SimpleStrategy"), ("replication_factor", "3")],
            true,
            "SimpleStrategy",
        );
        config.local_datacenter = Some("dc2".to_owned());
        config.replication = [("dc2".to_owned(), 3)].into();
        let warnings = seen(&config, &[network, ("dc1", "3")], true);
        assert!(warnings.iter().any(|warning| warning.contains("no copy in dc2")), "{warnings:?}");
        assert!(warnings.iter().any(|warning| warning.contains("ALTER KEYSPACE")), "{warnings:?}");
    }
}
