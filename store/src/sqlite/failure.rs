//! What SQLite's errors mean for a caller, and the errors of opening a file.

use std::path::PathBuf;

use adal_actors::ports::StoreError;
use rusqlite::{Error, ErrorCode};

use super::layout::{corrupt, unavailable};

/// What has to follow from an error of SQLite.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Class {
    /// No room. The transaction did not happen; it works again when there is room.
    Full,
    /// Another process holds the write lock (the CLI beside a server). Try again.
    Busy,
    /// The disk or the operating system failed: the connection is not to be trusted.
    Io,
    /// What is in the file is damaged.
    Corrupt,
    /// Anything else: nothing that the file or the disk can do about it.
    Other,
}

/// Sorts an error.
pub(super) fn classify(error: &Error) -> Class {
    match error {
        Error::SqliteFailure(failure, _) => match failure.code {
            ErrorCode::DiskFull => Class::Full,
            ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked => Class::Busy,
            ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase => Class::Corrupt,
            // A constraint that fails after our own checks passed: an index and its table disagree.
            ErrorCode::ConstraintViolation => Class::Corrupt,
            ErrorCode::SystemIoFailure
            | ErrorCode::CannotOpen
            | ErrorCode::ReadOnly
            | ErrorCode::PermissionDenied
            | ErrorCode::FileLockingProtocolFailed => Class::Io,
            _ => Class::Other,
        },
        // A column holds what no version of this program writes there.
        Error::FromSqlConversionFailure(..) | Error::IntegralValueOutOfRange(..) | Error::InvalidColumnType(..) => {
            Class::Corrupt
        }
        _ => Class::Other,
    }
}

/// The caller's view of an error after which nothing was written.
pub(super) fn refused(error: &Error) -> StoreError {
    match classify(error) {
        Class::Corrupt => corrupt(format!("{error}; run the check and restore a backup if it finds damage")),
        Class::Full => unavailable(format!("no room: {error}")),
        Class::Busy => unavailable(format!("another process holds the file's write lock: {error}")),
        Class::Io | Class::Other => unavailable(error.to_string()),
    }
}

/// Why a file was not opened. Every text says which file, and what to do.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another server has the file.
    #[error(
        "{} is in use by another server{holder}; stop it, or give this one a file of its own (the lock is {})",
        path.display(), lock.display()
    )]
    Locked {
        /// The database file.
        path: PathBuf,
        /// The lock file.
        lock: PathBuf,
        /// Who holds it, as far as the lock file tells: empty, or ` (process 123)`.
        holder: String,
    },
    /// There is no such file, and opening beside a server does not make one.
    #[error("there is no store at {}; give the path of a server's file, or start the server once to make it",
        path.display())]
    Missing {
        /// The database file.
        path: PathBuf,
    },
    /// The file belongs to another program.
    #[error("{} is an SQLite file, but not one of Adal; give another path", path.display())]
    Foreign {
        /// The database file.
        path: PathBuf,
    },
    /// A newer version of Adal has written the file.
    #[error(
        "{} has format {found}, this version reads up to {supported}; run the newer version of Adal that wrote it",
        path.display()
    )]
    NewerFormat {
        /// The database file.
        path: PathBuf,
        /// The file's format number.
        found: i64,
        /// The greatest format number that this version reads.
        supported: i64,
    },
    /// The file is damaged or is not a database at all. It was left as it is.
    #[error("{} is damaged ({what}); nothing was changed: keep a copy, and restore a backup", path.display())]
    Damaged {
        /// The database file.
        path: PathBuf,
        /// What was found.
        what: String,
    },
    /// The operating system refused.
    #[error("{}: {what}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What was tried.
        what: &'static str,
        /// Its answer.
        #[source]
        source: std::io::Error,
    },
    /// SQLite refused.
    #[error("{}: {what}: {source}", path.display())]
    Sqlite {
        /// The database file.
        path: PathBuf,
        /// What was tried.
        what: &'static str,
        /// Its answer.
        #[source]
        source: Error,
    },
}
