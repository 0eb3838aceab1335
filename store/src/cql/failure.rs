//! What the driver's errors mean for a caller: was it done, was it not, or does nobody know.
//!
//! Wrong in one direction only: what *may* have been done is never called [`Failed::NotDone`]. A write counts as not done
//! where the driver never sent it, or where the server checks before it does anything and says that it refused.

use scylla::errors::{DbError, ExecutionError, PrepareError, RequestAttemptError};

use super::db::Failed;

/// What kind of statement it was: what an error leaves open depends on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Changes nothing.
    Read,
    /// Changes something, and may be done twice.
    Write,
    /// Changes several partitions, and may be done twice. One may be changed before another is refused.
    Several,
    /// Changes something on a condition: done twice, its answer is another.
    Conditional,
}

impl Kind {
    /// Its name in metrics.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write | Self::Several => "write",
            Self::Conditional => "conditional",
        }
    }
}

/// Whether an attempt that ended so surely did nothing.
pub(super) fn surely_not_done(kind: Kind, error: &RequestAttemptError) -> bool {
    match error {
        // Never sent.
        RequestAttemptError::SerializationError(_)
        | RequestAttemptError::CqlRequestSerialization(_)
        | RequestAttemptError::UnableToAllocStreamId
        | RequestAttemptError::RepreparedIdChanged { .. }
        | RequestAttemptError::RepreparedIdMissingInBatch => true,
        RequestAttemptError::DbError(error, _) => refused(kind, error),
        _ => false,
    }
}

/// Whether the server says by this that it did nothing.
fn refused(kind: Kind, error: &DbError) -> bool {
    match error {
        // Found out before anything is done.
        DbError::SyntaxError
        | DbError::Invalid
        | DbError::Unauthorized
        | DbError::AuthenticationError
        | DbError::ConfigError
        | DbError::AlreadyExists { .. }
        | DbError::IsBootstrapping
        | DbError::Unprepared { .. } => true,
        DbError::RateLimitReached { rejected_by_coordinator, .. } => *rejected_by_coordinator && kind != Kind::Several,
        // A write looks for its replicas before it sends to any. Of several each does, and those before it are sent by then.
        // A conditional one does so once more to commit, when the others have accepted already: then it may yet be done.
        DbError::Unavailable { .. } => matches!(kind, Kind::Read | Kind::Write),
        // `Overloaded` is not among them: it is also said when some replicas have the write and hints for the others are
        // too many.
        _ => false,
    }
}

/// What a caller is told of a statement that failed.
pub(super) fn failed(kind: Kind, error: &ExecutionError) -> Failed {
    let why = chain(error);
    match error {
        ExecutionError::BadQuery(_)
        | ExecutionError::EmptyPlan
        | ExecutionError::PrepareError(_)
        | ExecutionError::ConnectionPoolError(_) => Failed::NotDone(why),
        ExecutionError::LastAttemptError(attempt) if surely_not_done(kind, attempt) => Failed::NotDone(why),
        ExecutionError::LastAttemptError(
            RequestAttemptError::CqlResultParseError(_) | RequestAttemptError::BodyExtensionsParseError(_),
        ) if kind == Kind::Read => Failed::Unreadable(why),
        _ => Failed::Unknown(why),
    }
}

/// What a caller is told where a statement could not be prepared.
pub(super) fn not_prepared(error: &PrepareError) -> Failed {
    Failed::NotDone(chain(error))
}

/// Whether the server answered: an error of its own is an answer.
pub(super) fn answered(error: &ExecutionError) -> bool {
    match error {
        ExecutionError::LastAttemptError(attempt) => matches!(attempt, RequestAttemptError::DbError(..)),
        ExecutionError::BadQuery(_) => true,
        _ => false,
    }
}

/// An error with its causes, for people.
pub(super) fn chain(error: &dyn std::error::Error) -> std::sync::Arc<str> {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        // Many of the driver's errors say their cause already.
        if !text.contains(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        source = cause.source();
    }
    text.into()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use scylla::{
        errors::{ConnectionPoolError, OperationType, WriteType},
        statement::Consistency,
    };

    use super::*;

    fn of(kind: Kind, error: DbError) -> Failed {
        failed(kind, &ExecutionError::LastAttemptError(RequestAttemptError::DbError(error, "it says".to_owned())))
    }

    fn unavailable() -> DbError {
        DbError::Unavailable { consistency: Consistency::LocalQuorum, required: 2, alive: 1 }
    }

    #[test]
    fn what_was_refused_before_anything_was_done_is_not_done() {
        for kind in [Kind::Read, Kind::Write, Kind::Several, Kind::Conditional] {
            for error in [DbError::Invalid, DbError::SyntaxError, DbError::Unauthorized, DbError::IsBootstrapping] {
                assert!(matches!(of(kind, error.clone()), Failed::NotDone(_)), "{kind:?} {error:?}");
            }
            let pool = ExecutionError::ConnectionPoolError(ConnectionPoolError::Initializing);
            assert!(matches!(failed(kind, &pool), Failed::NotDone(_)), "{kind:?}: never sent");
        }
        assert!(matches!(of(Kind::Write, unavailable()), Failed::NotDone(_)));
    }

    #[test]
    fn what_may_have_been_done_is_never_called_not_done() {
        let (consistency, received, required) = (Consistency::LocalQuorum, 0, 2);
        for kind in [Kind::Write, Kind::Several, Kind::Conditional] {
            for error in [
                DbError::WriteTimeout { consistency, received, required, write_type: WriteType::Simple },
                DbError::WriteFailure { consistency, received, required, numfailures: 2, write_type: WriteType::Cas },
                DbError::Overloaded,
                DbError::ServerError,
                DbError::ProtocolError,
                DbError::RateLimitReached { op_type: OperationType::Write, rejected_by_coordinator: false },
                DbError::Other(0x1700),
            ] {
                assert!(matches!(of(kind, error.clone()), Failed::Unknown(_)), "{kind:?} {error:?}");
            }
            let late = ExecutionError::RequestTimeout(Duration::from_secs(2));
            assert!(matches!(failed(kind, &late), Failed::Unknown(_)));
        }
        // The second look at the replicas, when the others have accepted.
        assert!(matches!(of(Kind::Conditional, unavailable()), Failed::Unknown(_)));
        // The look at the replicas of the second partition, when the first was sent.
        assert!(matches!(of(Kind::Several, unavailable()), Failed::Unknown(_)));
        let limit = DbError::RateLimitReached { op_type: OperationType::Write, rejected_by_coordinator: true };
        assert!(matches!(of(Kind::Several, limit.clone()), Failed::Unknown(_)));
        assert!(matches!(of(Kind::Write, limit), Failed::NotDone(_)));
    }
}
