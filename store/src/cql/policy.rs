//! When the driver itself tries a statement again. Hardly ever: whoever asked knows better whether it is worth it, and
//! repeats with a pause.
//!
//! | statement | again, once, at another node | why not more |
//! |---|---|---|
//! | read | where the node failed or could not ask the others | changes nothing; a second try costs as much as the first |
//! | write | where it was surely not done | of a write that may have been done the second answer says nothing about the first: "refused" would hide "perhaps" |
//! | write of several partitions | the same; "no replicas for one" is not that, as another's may have it | |
//! | conditional | never | applied and not heard of, the second try would answer that the condition does not hold |
//!
//! Nothing is sent to a second node while the first one may still answer (speculative execution is off): where the
//! database is slow, everything would be sent twice.

use scylla::{
    errors::{DbError, RequestAttemptError},
    policies::retry::{RequestInfo, RetryDecision, RetryPolicy, RetrySession},
};

use super::failure::{Kind, surely_not_done};

/// The policy for statements of a kind.
#[derive(Debug)]
pub(super) struct Repeat(pub(super) Kind);

impl RetryPolicy for Repeat {
    fn new_session(&self) -> Box<dyn RetrySession> {
        Box::new(Once { kind: self.0, done: false })
    }
}

/// One statement's.
struct Once {
    kind: Kind,
    done: bool,
}

impl RetrySession for Once {
    fn decide_should_retry(&mut self, info: RequestInfo<'_>) -> RetryDecision {
        if self.done || !info.is_idempotent || !again(self.kind, info.error) {
            return RetryDecision::DontRetry;
        }
        self.done = true;
        metrics::counter!("adal_cql_retries_total", "what" => "driver").increment(1);
        RetryDecision::RetryNextTarget(None)
    }

    fn reset(&mut self) {
        self.done = false;
    }
}

/// Whether another node may do better.
fn again(kind: Kind, error: &RequestAttemptError) -> bool {
    let elsewhere = matches!(
        error,
        RequestAttemptError::UnableToAllocStreamId
            | RequestAttemptError::DbError(DbError::Unavailable { .. } | DbError::IsBootstrapping, _)
    );
    match kind {
        Kind::Read => {
            elsewhere
                || matches!(
                    error,
                    RequestAttemptError::BrokenConnectionError(_)
                        | RequestAttemptError::DbError(
                            DbError::Overloaded
                                | DbError::ServerError
                                | DbError::ReadTimeout { .. }
                                | DbError::ReadFailure { .. },
                            _
                        )
                )
        }
        Kind::Write | Kind::Several => elsewhere && surely_not_done(kind, error),
        Kind::Conditional => false,
    }
}

#[cfg(test)]
mod tests {
    use scylla::{errors::WriteType, statement::Consistency};

    use super::*;

    fn tries(kind: Kind, error: &DbError) -> bool {
        again(kind, &RequestAttemptError::DbError(error.clone(), String::new()))
    }

    #[test]
    fn a_write_is_tried_again_only_where_it_was_surely_not_done() {
        let (consistency, received, required) = (Consistency::LocalQuorum, 1, 2);
        let unavailable = DbError::Unavailable { consistency, required, alive: 1 };
        let late = DbError::WriteTimeout { consistency, received, required, write_type: WriteType::Simple };
        assert!(tries(Kind::Write, &unavailable));
        assert!(tries(Kind::Write, &DbError::IsBootstrapping));
        for error in [late, DbError::Overloaded, DbError::ServerError, DbError::Invalid] {
            assert!(!tries(Kind::Write, &error), "{error:?}");
        }
        assert!(!tries(Kind::Several, &unavailable), "of several partitions one may have been done");
        assert!(tries(Kind::Several, &DbError::IsBootstrapping));
    }

    #[test]
    fn a_conditional_write_is_never_tried_again() {
        let consistency = Consistency::LocalQuorum;
        for error in [DbError::Unavailable { consistency, required: 2, alive: 1 }, DbError::IsBootstrapping] {
            assert!(!tries(Kind::Conditional, &error), "{error:?}");
        }
    }

    #[test]
    fn a_read_goes_to_another_node_where_the_first_failed() {
        let consistency = Consistency::LocalQuorum;
        let late = DbError::ReadTimeout { consistency, received: 1, required: 2, data_present: true };
        for error in [late, DbError::Overloaded, DbError::ServerError] {
            assert!(tries(Kind::Read, &error), "{error:?}");
        }
        assert!(!tries(Kind::Read, &DbError::Invalid), "wrong everywhere");
    }
}
