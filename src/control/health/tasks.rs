//! Work of probes on blocking threads: files and programs, whose file system may hang.

use crate::health::{CheckKey, LocalError};
use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::task::spawn_blocking;
use tokio::time::{Instant, timeout_at};

const SLOW: LocalError = LocalError::Setup(
    "the file was not reached within the timeout: see whether its file system answers, and the director's host has time",
);

type RunningChecks = Arc<Mutex<HashSet<CheckKey>>>;

/// Checks with work in progress. A thread that hangs outlives its probe, so that each check has one thread at most.
#[derive(Debug, Default)]
pub(super) struct BlockingTasks {
    running: RunningChecks,
}

impl BlockingTasks {
    /// Does `work` for a check on a blocking thread, unless that of an earlier probe goes on.
    ///
    /// # Errors
    /// If it goes on, or `work` takes longer than until `deadline`: that says nothing about the server.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        key: &CheckKey,
        deadline: Instant,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, LocalError> {
        let turn = TaskTurn::of(&self.running, key).ok_or(SLOW)?;
        let task = spawn_blocking(move || {
            let done = work();
            drop(turn);
            done
        });
        let done = timeout_at(deadline, task).await.map_err(|_| SLOW)?;
        done.map_err(|_| LocalError::Panic)
    }
}

/// A check's only task, until it is dropped.
struct TaskTurn {
    running: RunningChecks,
    key: CheckKey,
}

impl TaskTurn {
    fn of(running: &RunningChecks, key: &CheckKey) -> Option<Self> {
        let is_new = lock(running).insert(key.clone());
        is_new.then(|| Self { running: Arc::clone(running), key: key.clone() })
    }
}

impl Drop for TaskTurn {
    fn drop(&mut self) {
        lock(&self.running).remove(&self.key);
    }
}

fn lock(running: &RunningChecks) -> MutexGuard<'_, HashSet<CheckKey>> {
    running.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{CheckKind, CheckTiming};
    use std::sync::mpsc::channel;
    use std::time::Duration;

    #[test]
    fn work_that_hangs_is_not_begun_again() {
        let key = |last| CheckKey {
            server: [192, 0, 2, last].into(),
            vip: None,
            port: 0,
            kind: Arc::new(CheckKind::Tcp),
            timing: CheckTiming::default(),
        };
        let (tasks, (release, hung)) = (BlockingTasks::default(), channel::<()>());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let soon = || Instant::now() + Duration::from_millis(50);
        let late = || Instant::now() + Duration::from_secs(60);
        runtime.block_on(async {
            let first = tasks.run(&key(1), soon(), move || hung.recv().is_ok()).await;
            assert_eq!(first, Err(SLOW));
            let second = tasks.run(&key(1), late(), || panic!("begun beside the first")).await;
            assert_eq!(second, Err::<(), _>(SLOW));
            assert_eq!(tasks.run(&key(2), late(), || 2).await, Ok(2), "another check");
            release.send(()).unwrap();
            let until = late();
            while tasks.run(&key(1), late(), || 1).await != Ok(1) {
                assert!(Instant::now() < until);
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            assert_eq!(
                tasks.run(&key(1), late(), || panic!("of the work")).await,
                Err::<(), _>(LocalError::Panic)
            );
            assert_eq!(tasks.run(&key(1), late(), || 1).await, Ok(1), "after a panic");
        });
    }
}
