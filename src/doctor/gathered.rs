//! Facts that may be unknown, and outcomes of trials.

/// A fact, or the reason why it is unknown.
pub(super) type Gathered<T> = Result<T, String>;

/// Outcome of a trial: the error number of the system call, if it was refused.
pub(super) type Trial = Result<(), i32>;
