//! The connections to the database, and how it is treated: what goes to which node, how long it may take, how much is
//! under way at once, and what is done while nobody answers.
//!
//! One [`Session`] is shared by all tasks; it owns the driver's session, which keeps one connection to each node (to each
//! shard of one, on ScyllaDB). Nothing here knows what a statement is for, and nothing here ever waits for room: past
//! [`CqlConfig::max_in_flight`] a statement is [`Failed::NotDone`] at once.
//!
//! **While the database is away** the driver answers at once that it has no connection. Who repeats without a pause would
//! then do so ten thousands of times a second, so such an answer is held back for [`AWAY_PAUSE`]. The driver itself comes
//! back to a node up to ten seconds after the node does, and that cannot be set: so as long as it is away, a task (one,
//! started when it went) tries each [`AWAY_LOOK`] to make a session anew, and puts it in the place of the old one.
//! Prepared statements go on: a node that does not know one says so, and is told again.

use std::{
    collections::BTreeSet,
    hash::{DefaultHasher, Hash, Hasher},
    ops::ControlFlow,
    sync::{
        Arc, Weak,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use arc_swap::ArcSwap;
use metrics::{Counter, Gauge, Histogram};
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};
use scylla::{
    client::{execution_profile::ExecutionProfile, session_builder::SessionBuilder},
    cluster::Node,
    deserialize::row::DeserializeRow,
    errors::ExecutionError,
    policies::load_balancing::DefaultPolicy,
    response::{PagingState, query_result::QueryRowsResult},
    serialize::row::SerializeRow,
    statement::{
        Consistency, SerialConsistency,
        batch::{Batch, BatchType},
        prepared::PreparedStatement,
        unprepared,
    },
};
use tokio::{
    sync::{Semaphore, SemaphorePermit},
    time::Instant,
};

use super::{
    config::{CqlConfig, CqlError, CqlTls},
    db::Failed,
    failure::{self, Kind, answered, chain, failed},
    policy::Repeat,
};

/// How long an answer "no connection" is held back.
const AWAY_PAUSE: Duration = Duration::from_millis(200);
/// Between two tries to make a session anew.
const AWAY_LOOK: Duration = Duration::from_secs(1);
/// Of so many such tries that fail, one is told of.
const TOLD_EVERY: u32 = 30;
/// How long one such try may take, and the first.
const CONNECT: Duration = Duration::from_secs(10);
/// A node that has not answered for so long is not connected any more, whatever its socket says.
const KEEPALIVE: Duration = Duration::from_secs(5);
/// Room beside `max_in_flight` for what says whose the shards are: where reads and appends take all, a member must still
/// beat, or it loses the shards to nobody's good.
const OWNERSHIP_ROOM: usize = 64;
/// Rows in one answer; more are fetched by further statements.
const PAGE: i32 = 5_000;

/// A prepared statement, and what is counted of it.
#[derive(Debug)]
pub(super) struct Statement {
    prepared: PreparedStatement,
    name: &'static str,
    kind: Kind,
    room: Room,
    succeeded: Counter,
    seconds: Histogram,
}

impl Statement {
    /// Asks another quorum than LOCAL_QUORUM.
    pub(super) fn set_consistency(&mut self, consistency: Consistency) {
        self.prepared.set_consistency(consistency);
    }
}

/// Which statements a statement shares its room with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Room {
    /// Those of everybody.
    Common,
    /// Those about whose the shards are.
    Ownership,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Session {
    live: ArcSwap<scylla::client::session::Session>,
    config: CqlConfig,
    common: Semaphore,
    ownership: Semaphore,
    /// No node could be reached when it was last tried.
    away: AtomicBool,
    /// Somebody tries to make a session anew.
    reconnecting: AtomicBool,
    this: Weak<Session>,
    in_flight: Gauge,
    away_gauge: Gauge,
}

impl Session {
    /// Connects to whichever contact point answers, and through it to all nodes.
    pub(super) async fn connect(mut config: CqlConfig) -> Result<Arc<Self>, CqlError> {
        config.check()?;
        let mut live = connect(&config).await?;
        let found = local_datacenter(&live, &config)?;
        if config.local_datacenter.is_none() && found.is_some() {
            // From here on it is that one, also when others have been added: a quorum elsewhere is another one.
            config.local_datacenter = found;
            live = connect(&config).await?;
        }
        if config.username.is_some() && config.tls.is_none() {
            tracing::warn!("the password goes to the database unencrypted: set store.cql.tls_ca");
        }
        describe();
        Ok(Arc::new_cyclic(|this| Self {
            live: ArcSwap::from_pointee(live),
            common: Semaphore::new(config.max_in_flight.min(Semaphore::MAX_PERMITS)),
            ownership: Semaphore::new(OWNERSHIP_ROOM),
            away: AtomicBool::new(false),
            reconnecting: AtomicBool::new(false),
            this: this.clone(),
            in_flight: metrics::gauge!("adal_cql_in_flight"),
            away_gauge: metrics::gauge!("adal_cql_away"),
            config,
        }))
    }

    /// The configuration.
    pub(super) fn config(&self) -> &CqlConfig {
        &self.config
    }

    /// Whether no node could be reached when it was last tried.
    pub(super) fn is_away(&self) -> bool {
        self.away.load(Ordering::Relaxed)
    }

    /// Statements that may be begun beside those under way.
    #[cfg(test)]
    pub(super) fn free_room(&self) -> usize {
        self.common.available_permits()
    }

    /// The driver's session, for what is not a statement of the store's.
    pub(super) fn driver(&self) -> Arc<scylla::client::session::Session> {
        self.live.load_full()
    }

    /// Prepares a statement. `@` before a table stands for the keyspace.
    pub(super) async fn prepare(
        &self,
        name: &'static str,
        kind: Kind,
        room: Room,
        text: &str,
    ) -> Result<Statement, Failed> {
        let text = text.replace('@', &format!("{}.", self.config.keyspace));
        let statement = unprepared::Statement::new(text).with_page_size(PAGE);
        let mut prepared = self.driver().prepare(statement).await.map_err(|error| failure::not_prepared(&error))?;
        prepared.set_is_idempotent(kind != Kind::Conditional);
        prepared.set_retry_policy(Some(Arc::new(Repeat(kind))));
        // An answer to a condition has other columns where it does not hold.
        prepared.set_use_cached_result_metadata(kind == Kind::Read);
        Ok(Statement {
            prepared,
            name,
            kind,
            room,
            succeeded: metrics::counter!("adal_cql_statements_total", "statement" => name, "outcome" => "ok"),
            seconds: metrics::histogram!("adal_cql_statement_seconds", "kind" => kind.as_str()),
        })
    }

    /// Does a statement that has no answer but "done".
    pub(super) async fn write(&self, statement: &Statement, values: impl SerializeRow) -> Result<(), Failed> {
        self.run(statement, async |driver| driver.execute_unpaged(&statement.prepared, &values).await).await.map(drop)
    }

    /// Does a conditional statement, and gives its answer: one row.
    pub(super) async fn conditional(
        &self,
        statement: &Statement,
        values: impl SerializeRow,
    ) -> Result<QueryRowsResult, Failed> {
        let answer =
            self.run(statement, async |driver| driver.execute_unpaged(&statement.prepared, &values).await).await?;
        // It was done or not, and we cannot read which.
        answer.into_rows_result().map_err(|error| self.lost(statement, Failed::Unknown(chain(&error))))
    }

    /// The rows of a statement, whole: as many pages as it takes.
    pub(super) async fn rows<T>(&self, statement: &Statement, values: impl SerializeRow) -> Result<Vec<T>, Failed>
    where
        T: for<'frame, 'metadata> DeserializeRow<'frame, 'metadata>,
    {
        let mut found = Vec::new();
        let mut from = PagingState::start();
        loop {
            let next = self.page(statement, &values, from, None, &mut found).await?;
            match next {
                Some(next) => from = next,
                None => return Ok(found),
            }
        }
    }

    /// One page of a statement, and where the next begins. `size`: other than the usual one.
    pub(super) async fn page<T>(
        &self,
        statement: &Statement,
        values: impl SerializeRow,
        from: PagingState,
        size: Option<i32>,
        found: &mut Vec<T>,
    ) -> Result<Option<PagingState>, Failed>
    where
        T: for<'frame, 'metadata> DeserializeRow<'frame, 'metadata>,
    {
        let sized = size.map(|size| {
            let mut sized = statement.prepared.clone();
            sized.set_page_size(size.max(1));
            sized
        });
        let prepared = sized.as_ref().unwrap_or(&statement.prepared);
        let (answer, next) = self
            .run(statement, async |driver| driver.execute_single_page(prepared, &values, from.clone()).await)
            .await?;
        let unreadable = |error: &dyn std::error::Error| self.lost(statement, Failed::Unreadable(chain(error)));
        let rows = answer.into_rows_result().map_err(|error| unreadable(&error))?;
        found.reserve(rows.rows_num());
        for row in rows.rows::<T>().map_err(|error| unreadable(&error))? {
            found.push(row.map_err(|error| unreadable(&error))?);
        }
        Ok(match next.into_paging_control_flow() {
            ControlFlow::Continue(next) => Some(next),
            ControlFlow::Break(()) => None,
        })
    }

    /// Does a statement for each of `rows` in one batch. Of one partition all of it is seen or none; of several some may be
    /// seen before others, and all were done once this succeeds.
    /// `kind`: whether they are of one partition or of several.
    pub(super) async fn batch<V: SerializeRow>(
        &self,
        statement: &Statement,
        kind: Kind,
        rows: Vec<V>,
    ) -> Result<(), Failed> {
        let mut batch = Batch::new(BatchType::Unlogged);
        batch.set_is_idempotent(true);
        batch.set_retry_policy(Some(Arc::new(Repeat(kind))));
        for _ in &rows {
            batch.append_statement(statement.prepared.clone());
        }
        self.run_as(kind, statement, async |driver| driver.batch(&batch, &rows).await).await.map(drop)
    }

    /// Which nodes (and on ScyllaDB, which of their shards) a partition of a table lies on, as a number: one's own, where the
    /// driver does not know.
    pub(super) fn home(&self, table: &str, partition: impl SerializeRow) -> u64 {
        let driver = self.driver();
        let (state, keyspace) = (driver.get_cluster_state(), &self.config.keyspace);
        let Ok(token) = state.compute_token(keyspace, table, &partition) else { return rand::random() };
        let local = self.config.local_datacenter.as_deref();
        let near = |node: &Node| local.is_none_or(|local| node.datacenter.as_deref() == Some(local));
        let all = state.get_token_endpoints(keyspace, table, token).into_iter();
        let mut all: Vec<_> = all.filter(|(node, _)| near(node)).map(|(node, shard)| (node.host_id, shard)).collect();
        if all.is_empty() {
            return token.value().cast_unsigned();
        }
        all.sort_unstable();
        let mut hasher = DefaultHasher::new();
        all.hash(&mut hasher);
        hasher.finish()
    }

    async fn run<T>(
        &self,
        statement: &Statement,
        work: impl AsyncFnOnce(&scylla::client::session::Session) -> Result<T, ExecutionError>,
    ) -> Result<T, Failed> {
        self.run_as(statement.kind, statement, work).await
    }

    /// Does it where there is room, and counts it.
    async fn run_as<T>(
        &self,
        kind: Kind,
        statement: &Statement,
        work: impl AsyncFnOnce(&scylla::client::session::Session) -> Result<T, ExecutionError>,
    ) -> Result<T, Failed> {
        let _room = self.enter(statement)?;
        let begun = Instant::now();
        let done = work(&self.driver()).await;
        statement.seconds.record(begun.elapsed().as_secs_f64());
        match done {
            Ok(done) => {
                self.came_back();
                statement.succeeded.increment(1);
                Ok(done)
            }
            Err(error) => {
                let failed = failed(kind, &error);
                tracing::debug!(statement = statement.name, %failed, "a statement failed");
                if answered(&error) {
                    self.came_back();
                } else if matches!(error, ExecutionError::ConnectionPoolError(_)) {
                    self.went_away(&failed);
                    tokio::time::sleep(AWAY_PAUSE).await;
                }
                Err(self.lost(statement, failed))
            }
        }
    }

    /// Counts a statement that failed.
    fn lost(&self, statement: &Statement, failed: Failed) -> Failed {
        let outcome = match failed {
            Failed::Unknown(_) => "unknown",
            Failed::NotDone(_) => "not_done",
            Failed::Unreadable(_) => "unreadable",
        };
        metrics::counter!("adal_cql_statements_total", "statement" => statement.name, "outcome" => outcome)
            .increment(1);
        failed
    }

    fn enter(&self, statement: &Statement) -> Result<InFlight<'_>, Failed> {
        let room = match statement.room {
            Room::Common => &self.common,
            Room::Ownership => &self.ownership,
        };
        let Ok(permit) = room.try_acquire() else {
            let (name, outcome) = (statement.name, "no_room");
            metrics::counter!("adal_cql_statements_total", "statement" => name, "outcome" => outcome).increment(1);
            return Err(Failed::NotDone("too many statements are at the database already".into()));
        };
        self.in_flight.increment(1);
        Ok(InFlight { _permit: permit, gauge: &self.in_flight })
    }

    /// A node answered.
    fn came_back(&self) {
        if self.away.load(Ordering::Relaxed) && self.away.swap(false, Ordering::Relaxed) {
            self.away_gauge.set(0);
            tracing::info!("the database answers again");
        }
    }

    /// There is no connection to any node. Has a session made anew as soon as one can be.
    fn went_away(&self, why: &Failed) {
        if self.away.swap(true, Ordering::Relaxed) {
            return;
        }
        self.away_gauge.set(1);
        tracing::error!(%why, "no node of the database can be reached");
        if !self.reconnecting.swap(true, Ordering::SeqCst) {
            tokio::spawn(Self::reconnect(self.this.clone()));
        }
    }

    /// Tries to make a session anew as long as none answers.
    async fn reconnect(this: Weak<Self>) {
        for tries in 0_u32.. {
            tokio::time::sleep(AWAY_LOOK).await;
            let Some(session) = this.upgrade() else { return };
            if !session.is_away() {
                session.reconnecting.store(false, Ordering::SeqCst);
                // It went away between the two, and found that somebody was at it.
                if session.is_away() && !session.reconnecting.swap(true, Ordering::SeqCst) {
                    continue;
                }
                return;
            }
            match connect(&session.config).await {
                Ok(live) => {
                    session.live.store(Arc::new(live));
                    metrics::counter!("adal_cql_reconnects_total").increment(1);
                    session.came_back();
                }
                // It may be away for hours; that it is was said. Why no new session can be made may be another thing, a
                // password that was changed.
                Err(error) if tries.is_multiple_of(TOLD_EVERY) => {
                    tracing::warn!(%error, "a new session cannot be made; trying on");
                }
                Err(_) => {}
            }
        }
    }
}

/// A statement under way.
#[derive(Debug)]
struct InFlight<'a> {
    _permit: SemaphorePermit<'a>,
    gauge: &'a Gauge,
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.gauge.decrement(1);
    }
}

/// How statements are sent, where one does not say otherwise.
fn profile(config: &CqlConfig) -> ExecutionProfile {
    // Where a datacentre is named, nodes elsewhere are never asked: their quorum is another one.
    let mut balancing = DefaultPolicy::builder().token_aware(true).permit_dc_failover(false);
    if let Some(datacenter) = &config.local_datacenter {
        balancing = balancing.prefer_datacenter(datacenter.clone());
    }
    ExecutionProfile::builder()
        .consistency(Consistency::LocalQuorum)
        .serial_consistency(Some(SerialConsistency::LocalSerial))
        .request_timeout(Some(config.request_timeout))
        .load_balancing_policy(balancing.build())
        .speculative_execution_policy(None)
        .build()
}

/// Makes a session of the driver's. Ends within [`CONNECT`].
async fn connect(config: &CqlConfig) -> Result<scylla::client::session::Session, CqlError> {
    let mut builder = SessionBuilder::new()
        .known_nodes(&config.contact_points)
        .default_execution_profile_handle(profile(config).into_handle())
        .keyspaces_to_fetch([&config.keyspace])
        .connection_timeout(config.request_timeout)
        // Only `migrate` changes tables, and it knows which.
        .refresh_metadata_on_auto_schema_agreement(false)
        .keepalive_interval(KEEPALIVE)
        .keepalive_timeout(KEEPALIVE)
        .tls_context(config.tls.as_ref().map(tls).transpose()?);
    if let (Some(user), Some(password)) = (&config.username, &config.password) {
        builder = builder.user(user, password);
    }
    let unreachable = |why: &str| CqlError::Unreachable(format!("{}: {why}", config.contact_points.join(", ")));
    match tokio::time::timeout(CONNECT, builder.build()).await {
        Ok(Ok(session)) => Ok(session),
        Ok(Err(error)) => Err(unreachable(&chain(&error))),
        Err(_) => Err(unreachable(&format!("no answer within {} s", CONNECT.as_secs()))),
    }
}

/// The datacentre whose quorum LOCAL_QUORUM is. Refuses a configuration under which it would be nobody's, or now this one's
/// and now that one's.
fn local_datacenter(live: &scylla::client::session::Session, config: &CqlConfig) -> Result<Option<String>, CqlError> {
    let state = live.get_cluster_state();
    let found: BTreeSet<_> = state.get_nodes_info().iter().filter_map(|node| node.datacenter.as_deref()).collect();
    let there = found.iter().copied().collect::<Vec<_>>().join(", ");
    let rule = match &config.local_datacenter {
        Some(local) if !found.contains(local.as_str()) => format!("is {local}; the nodes stand in {there}"),
        None if found.len() > 1 => format!("the nodes stand in several ({there}): name the one this server belongs to"),
        Some(local) => return Ok(Some(local.clone())),
        None => return Ok(found.first().map(|name| (*name).to_owned())),
    };
    Err(CqlError::Config { key: "local_datacenter", rule })
}

/// What TLS trusts and shows. Nodes are known by the addresses under which they are reached, which their certificates
/// must name.
fn tls(config: &CqlTls) -> Result<Arc<ClientConfig>, CqlError> {
    let bad = |path: &std::path::Path, what: &dyn std::fmt::Display| CqlError::Config {
        key: "tls",
        rule: format!("{}: {what}", path.display()),
    };
    let certificates = |path: &std::path::Path| {
        let read = CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
        match read {
            Ok(found) if found.is_empty() => Err(bad(path, &"there is no certificate (PEM) in it")),
            Ok(found) => Ok(found),
            Err(error) => Err(bad(path, &error)),
        }
    };
    let mut roots = RootCertStore::empty();
    for certificate in certificates(&config.ca)? {
        roots.add(certificate).map_err(|error| bad(&config.ca, &error))?;
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| bad(&config.ca, &error))?
        .with_root_certificates(roots);
    let built = match &config.identity {
        None => builder.with_no_client_auth(),
        Some((certificate, key)) => {
            let secret = PrivateKeyDer::from_pem_file(key).map_err(|error| bad(key, &error))?;
            builder.with_client_auth_cert(certificates(certificate)?, secret).map_err(|error| bad(key, &error))?
        }
    };
    Ok(Arc::new(built))
}

fn describe() {
    metrics::describe_counter!("adal_cql_statements_total", "Statements to the database, by name and outcome");
    metrics::describe_histogram!("adal_cql_statement_seconds", "A statement, the driver's repeats included");
    metrics::describe_gauge!("adal_cql_in_flight", "Statements under way");
    metrics::describe_counter!(
        "adal_cql_retries_total",
        "Statements repeated because they failed, by what for; driver: sent to another node again"
    );
    metrics::describe_gauge!("adal_cql_away", "1 while no node of the database can be reached");
    metrics::describe_counter!("adal_cql_reconnects_total", "Sessions made anew after the database was away");
}

#[cfg(test)]
mod tests {
    use super::*;

    /// On one node every quorum is the same: only here is it seen what is asked for.
    #[test]
    fn a_quorum_of_the_datacentre_is_asked_and_nobody_twice() {
        let mut config = CqlConfig::new(vec![], "adal");
        config.local_datacenter = Some("here".to_owned());
        let profile = profile(&config);
        assert_eq!(profile.get_consistency(), Consistency::LocalQuorum);
        assert_eq!(profile.get_serial_consistency(), Some(SerialConsistency::LocalSerial));
        assert_eq!(profile.get_request_timeout(), Some(config.request_timeout));
        assert!(profile.get_speculative_execution_policy().is_none());
        let balancing = format!("{:?}", profile.get_load_balancing_policy());
        for is in ["is_token_aware: true", "permit_dc_failover: false", "\"here\""] {
            assert!(balancing.contains(is), "{is}: {balancing}");
        }
    }
}
