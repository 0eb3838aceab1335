//! Opening a file: the server's lock, the checks before anything is written, the connections' settings.
//!
//! Order matters. The lock comes first: whatever follows may assume that no other server is at work. Then the file is
//! looked at and refused if it is not ours, newer, or visibly damaged; only then is anything written. The file itself
//! is never opened but through SQLite: closing any other handle to it would drop the POSIX locks of this process.

use std::{
    fs::{File, OpenOptions, TryLockError},
    io::{Read, Seek, Write},
    path::{Path, PathBuf},
    time::Duration,
};

use rusqlite::{Connection, OpenFlags};

use super::{
    SqliteConfig,
    failure::{Class, OpenError, classify},
    log,
};

/// The format that this version writes. `PRAGMA user_version` of the file.
pub const FORMAT: i64 = 3;
/// `PRAGMA application_id`: "Adal" in ASCII.
const APPLICATION: i64 = 0x4164_616C;
/// The tables.
pub(super) const SCHEMA: &str =
    concat!(include_str!("schema.sql"), include_str!("schema-2.sql"), include_str!("schema-3.sql"));
/// What makes a file of each format one of the next, from format 1 on.
const MIGRATIONS: [&str; 2] = [include_str!("schema-2.sql"), include_str!("schema-3.sql")];
/// Bytes in a page: SQLite's default, and the file system's. Set when the file is made, and never changed.
const PAGE: u64 = 4096;
/// How long a connection waits for another process (the CLI beside a server) before it is told "busy".
const BUSY: Duration = Duration::from_secs(5);

/// The server's lock: held as long as this lives, and released by the operating system if the process dies.
#[derive(Debug)]
pub(super) struct Lock {
    _file: File,
}

impl Lock {
    /// Takes the lock of the store at `path`, or says who has it.
    pub(super) fn take(path: &Path) -> Result<Self, OpenError> {
        let lock = beside(path, ".lock");
        let io = |what, source| OpenError::Io { path: lock.clone(), what, source };
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&lock)
            .map_err(|e| io("cannot open the lock file", e))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut text = String::new();
                // Only to name the holder: without it the message is as true.
                let _ = file.read_to_string(&mut text);
                let pid = text.trim();
                let holder = if pid.is_empty() { String::new() } else { format!(" (process {pid})") };
                return Err(OpenError::Locked { path: path.to_owned(), lock, holder });
            }
            Err(TryLockError::Error(e)) => return Err(io("cannot lock", e)),
        }
        let written = file.set_len(0).and_then(|()| file.rewind());
        written.and_then(|()| write!(file, "{}", std::process::id())).map_err(|e| io("cannot write", e))?;
        Ok(Self { _file: file })
    }
}

/// `path` with `suffix` added to its name.
pub(super) fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

/// The one name of the file: two paths to it (a link, `..`) must lead to the same lock.
pub(super) fn resolve(path: &Path, create: bool) -> Result<PathBuf, OpenError> {
    let io = |what, source| OpenError::Io { path: path.to_owned(), what, source };
    if let Ok(found) = path.canonicalize() {
        // Before the lock: it would be left beside a folder that is no store.
        return if found.is_dir() {
            Err(io("cannot open", std::io::ErrorKind::IsADirectory.into()))
        } else {
            Ok(found)
        };
    }
    if !create {
        return Err(OpenError::Missing { path: path.to_owned() });
    }
    let Some(name) = path.file_name() else {
        return Err(io("not the name of a file", std::io::ErrorKind::InvalidInput.into()));
    };
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    std::fs::create_dir_all(folder).map_err(|e| io("cannot make its folder", e))?;
    folder.canonicalize().map(|folder| folder.join(name)).map_err(|e| io("cannot resolve its folder", e))
}

/// Opens the writing connection after the checks; makes the tables where `create` and the file is new.
pub(super) fn writer(config: &SqliteConfig, path: &Path, create: bool) -> Result<Connection, OpenError> {
    let bytes = std::fs::metadata(path).map_or(0, |file| file.len());
    let wal = beside(path, "-wal");
    let wal_bytes = std::fs::metadata(&wal).map_or(0, |file| file.len());
    if bytes < PAGE && wal_bytes > 0 {
        // The file has had its first page since before it had a log. SQLite would take it for a new one, and throw away
        // the log as another file's.
        return Err(OpenError::Damaged {
            path: path.to_owned(),
            what: format!("it has {bytes} bytes, while its log {} has {wal_bytes}", wal.display()),
        });
    }
    // With a log (or a rollback journal) a page that was being written when the machine stopped is made good from there.
    // Without, SQLite would fill what is missing of the last page with zeros.
    if wal_bytes == 0 && !bytes.is_multiple_of(PAGE) && !beside(path, "-journal").exists() {
        return Err(OpenError::Damaged {
            path: path.to_owned(),
            what: format!("it ends within a page, at {bytes} bytes"),
        });
    }
    if bytes == 0 && !create {
        return Err(OpenError::Missing { path: path.to_owned() });
    }
    look_at_log(path, create)?;
    let conn = connect(path, create, false).map_err(|e| judge(path, "cannot open", e))?;
    conn.busy_timeout(BUSY).map_err(|e| judge(path, "cannot set up", e))?;
    if bytes == 0 {
        make(&conn).map_err(|e| judge(path, "cannot make the tables", e))?;
    }
    let found = identify(&conn, path)?;
    if found < FORMAT {
        migrate(&conn, path, found, create)?;
    }
    look(&conn, path)?;
    settings(&conn, config).map_err(|e| judge(path, "cannot set up", e))?;
    Ok(conn)
}

/// Refuses a log that has lost something, before SQLite takes what is left for all there was. Beside a server there is
/// nothing to look for: it looked, and its index is in use.
fn look_at_log(path: &Path, is_owner: bool) -> Result<(), OpenError> {
    if !beside(path, "-wal").exists() && !beside(path, "-shm").exists() {
        return Ok(());
    }
    let held = if is_owner { None } else { Some(Lock::take(path)) };
    if held.as_ref().is_some_and(Result::is_err) {
        return Ok(());
    }
    let lost = log::lost(path);
    drop(held);
    match lost.map_err(|source| OpenError::Io { path: path.to_owned(), what: "cannot read its log", source })? {
        Some(what) => Err(OpenError::Damaged { path: path.to_owned(), what }),
        None => Ok(()),
    }
}

/// Opens a connection again after it failed: the file is known by now.
pub(super) fn again(config: &SqliteConfig, path: &Path) -> rusqlite::Result<Connection> {
    let conn = connect(path, false, false)?;
    settings(&conn, config)?;
    Ok(conn)
}

/// Opens a connection that cannot write.
pub(super) fn reader(config: &SqliteConfig, path: &Path) -> rusqlite::Result<Connection> {
    let conn = connect(path, false, true)?;
    common(&conn, config)?;
    Ok(conn)
}

fn connect(path: &Path, create: bool, read_only: bool) -> rusqlite::Result<Connection> {
    let mode = if read_only { OpenFlags::SQLITE_OPEN_READ_ONLY } else { OpenFlags::SQLITE_OPEN_READ_WRITE };
    let create = if create { OpenFlags::SQLITE_OPEN_CREATE } else { OpenFlags::empty() };
    // NO_MUTEX: a connection stays with the one thread that uses it. No SQLITE_OPEN_URI: a path is a path.
    Connection::open_with_flags(path, mode | create | OpenFlags::SQLITE_OPEN_NO_MUTEX)
}

/// Makes the tables, the format number and the application id in one transaction, while the file still has a rollback
/// journal: a crash leaves an empty file or a whole one, and the numbers stand in the file itself and not in its log.
fn make(conn: &Connection) -> rusqlite::Result<()> {
    conn.execute_batch(&format!(
        "PRAGMA page_size = {PAGE}; PRAGMA synchronous = FULL; BEGIN EXCLUSIVE; {SCHEMA}
         PRAGMA application_id = {APPLICATION}; PRAGMA user_version = {FORMAT};"
    ))?;
    let mut insert = conn.prepare("INSERT INTO meta (name, value) VALUES (?1, ?2)")?;
    insert.execute(("format", FORMAT))?;
    insert.execute(("made_by", env!("CARGO_PKG_VERSION")))?;
    insert.execute(("api_keys", 0))?;
    insert.execute(("settled", 0))?;
    conn.execute_batch("COMMIT")
}

/// Makes a file of an earlier format one of this, in one transaction: a crash leaves either. By the owner alone; beside
/// one that may still run, an older version, nothing is changed, and without one the lock is taken for as long as it lasts.
fn migrate(conn: &Connection, path: &Path, found: i64, is_owner: bool) -> Result<(), OpenError> {
    let lock = if is_owner { None } else { Some(Lock::take(path)?) };
    let failed = |e| judge(path, "cannot bring it to this version's format", e);
    conn.execute_batch("PRAGMA synchronous = FULL; BEGIN EXCLUSIVE").map_err(failed)?;
    let steps = usize::try_from(found - 1).ok().and_then(|from| MIGRATIONS.get(from..)).unwrap_or_default();
    let done = steps.iter().try_for_each(|step| conn.execute_batch(step)).and_then(|()| {
        conn.execute("UPDATE meta SET value = ?1 WHERE name = 'format'", [FORMAT])?;
        conn.execute_batch(&format!("PRAGMA user_version = {FORMAT}; COMMIT"))
    });
    drop(lock);
    done.map_err(failed)?;
    tracing::info!(path = %path.display(), from = found, to = FORMAT, "the store has this version's format now");
    Ok(())
}

/// Whose file it is, and of which format.
fn identify(conn: &Connection, path: &Path) -> Result<i64, OpenError> {
    let number = |pragma: &str| {
        conn.query_row(&format!("PRAGMA {pragma}"), [], |row| row.get::<_, i64>(0))
            .map_err(|e| judge(path, "cannot read its header", e))
    };
    let (application, found) = (number("application_id")?, number("user_version")?);
    if application != APPLICATION {
        return Err(OpenError::Foreign { path: path.to_owned() });
    }
    if found > FORMAT {
        return Err(OpenError::NewerFormat { path: path.to_owned(), found, supported: FORMAT });
    }
    if found < 1 {
        let what = format!("it says format {found}, and there is none below 1");
        return Err(OpenError::Damaged { path: path.to_owned(), what });
    }
    Ok(found)
}

/// What can be seen in a moment, whatever the size: the tables are the ones we know, and both edges of each B-tree can
/// be reached. (Every page: `check_file`.)
fn look(conn: &Connection, path: &Path) -> Result<(), OpenError> {
    let found = schema_of(conn).map_err(|e| judge(path, "cannot read its tables", e))?;
    let expected = expected_schema().map_err(|e| judge(path, "cannot compare its tables", e))?;
    if found != expected {
        let strange = expected
            .iter()
            .find(|one| !found.contains(one))
            .or_else(|| found.iter().find(|one| !expected.contains(one)));
        let what = format!("its tables are not those of format {FORMAT}: {}", strange.map_or("", String::as_str));
        return Err(OpenError::Damaged { path: path.to_owned(), what });
    }
    for edge in [
        "SELECT min(position), max(position) FROM journal",
        "SELECT min(num), max(num) FROM entity",
        "SELECT min(wake), max(wake) FROM entity WHERE wake IS NOT NULL",
        "SELECT min(num), max(num) FROM snapshot",
        "SELECT min(kind), max(kind) FROM entity",
        "SELECT min(kind), max(kind) FROM outbox",
        "SELECT min(name), max(name) FROM view",
        "SELECT min(id), max(id) FROM api_key",
        "SELECT min(num), max(num) FROM code_job",
        "SELECT min(code), max(code) FROM code",
        "SELECT min(banner), max(banner) FROM banner_count",
        "SELECT min(until), max(until) FROM period_key",
    ] {
        conn.query_row(edge, [], |_| Ok(())).map_err(|e| judge(path, "cannot read its tables", e))?;
    }
    let pages: i64 = conn
        .query_row("SELECT count(*) FROM meta WHERE name IN ('format', 'api_keys', 'settled')", [], |row| row.get(0))
        .map_err(|e| judge(path, "cannot read its tables", e))?;
    if pages != 3 {
        return Err(OpenError::Damaged { path: path.to_owned(), what: "its table `meta` has lost rows".into() });
    }
    Ok(())
}

/// The text of every table and index, with single spaces, in the order of their names.
pub(super) fn schema_of(conn: &Connection) -> rusqlite::Result<Vec<String>> {
    let mut statement = conn.prepare(
        "SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' ORDER BY name",
    )?;
    let rows = statement.query_map([], |row| row.get::<_, String>(0))?;
    rows.map(|sql| sql.map(|sql| sql.split_whitespace().collect::<Vec<_>>().join(" "))).collect()
}

/// What [`schema_of`] answers for a file that this version made.
fn expected_schema() -> rusqlite::Result<Vec<String>> {
    let conn = Connection::open_in_memory()?;
    conn.execute_batch(SCHEMA)?;
    schema_of(&conn)
}

/// What every connection needs.
fn common(conn: &Connection, config: &SqliteConfig) -> rusqlite::Result<()> {
    conn.busy_timeout(BUSY)?;
    conn.set_prepared_statement_cache_capacity(64);
    // cell_size_check: a damaged page is an error and not a wrong answer. mmap_size 0: with mapped pages a disk error
    // is a signal that kills the process; with read() it is an error code that fails one request. trusted_schema: no
    // function is ever called because a file's schema says so.
    conn.execute_batch(&format!(
        "PRAGMA cell_size_check = ON; PRAGMA mmap_size = 0; PRAGMA trusted_schema = OFF; PRAGMA cache_size = -{};",
        config.cache_kib
    ))
}

/// What a connection that writes needs.
fn settings(conn: &Connection, config: &SqliteConfig) -> rusqlite::Result<()> {
    common(conn, config)?;
    // WAL: readers never wait for the writer. It stays set in the file.
    let mode: String = conn.query_row("PRAGMA journal_mode = WAL", [], |row| row.get(0))?;
    if mode != "wal" {
        return Err(rusqlite::Error::SqliteFailure(
            rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_CANTOPEN),
            Some(format!("the file system does not support a write-ahead log (journal mode stays `{mode}`)")),
        ));
    }
    // synchronous FULL: in WAL mode this is one fsync of the log per commit, which is what "acknowledged" means;
    // NORMAL would lose the last commits with the power. fullfsync: macOS' fsync does not reach the disk, this does;
    // nothing elsewhere. wal_autocheckpoint: the bound above the checkpointer's (see `checkpoint`), at which a commit copies
    // the log. It bounds the log, and with it how long the next start takes after a crash. journal_size_limit: a log that
    // grew while a backup was reading shrinks again.
    let bound = u64::from(config.checkpoint_pages.max(1)) * 4;
    conn.execute_batch(&format!(
        "PRAGMA synchronous = FULL; PRAGMA fullfsync = ON; PRAGMA wal_autocheckpoint = {};
         PRAGMA journal_size_limit = {};",
        bound,
        bound * PAGE * 2
    ))
}

/// The error of opening that an error of SQLite is.
pub(super) fn judge(path: &Path, what: &'static str, source: rusqlite::Error) -> OpenError {
    match classify(&source) {
        Class::Corrupt => OpenError::Damaged { path: path.to_owned(), what: format!("{what}: {source}") },
        _ => OpenError::Sqlite { path: path.to_owned(), what, source },
    }
}
