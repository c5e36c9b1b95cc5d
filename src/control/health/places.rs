//! Places for probes whose number at a time is limited.

use crate::health::{LocalError, ProbeOutcome};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, SemaphorePermit};
use tokio::time::{Instant, timeout_at};

/// A place, until it is dropped.
pub(super) type ProbePlace<'a> = SemaphorePermit<'a>;

/// Waits for a place.
///
/// # Errors
/// [`LocalError::Late`] if there is none until `deadline`: that says nothing about the server.
pub(super) async fn place(places: &Semaphore, deadline: Instant) -> Result<ProbePlace<'_>, ProbeOutcome> {
    let late = ProbeOutcome::Unknown(LocalError::Late);
    let place = timeout_at(deadline, places.acquire()).await.map_err(|_| late.clone())?;
    place.map_err(|_| late) // the places are never closed
}

/// A place that may outlive its probe.
#[derive(Debug)]
pub(super) struct OwnedPlace {
    /// True if the probe has waited for it: less than the timeout was left for its work.
    pub(super) waited: bool,
    _permit: OwnedSemaphorePermit,
}

/// Waits for a place that may outlive its probe.
///
/// # Errors
/// As [`place`].
pub(super) async fn owned_place(
    places: &Arc<Semaphore>,
    deadline: Instant,
) -> Result<OwnedPlace, ProbeOutcome> {
    if let Ok(permit) = Arc::clone(places).try_acquire_owned() {
        return Ok(OwnedPlace { waited: false, _permit: permit });
    }
    let late = ProbeOutcome::Unknown(LocalError::Late);
    let permit = timeout_at(deadline, Arc::clone(places).acquire_owned()).await.map_err(|_| late.clone())?;
    Ok(OwnedPlace { waited: true, _permit: permit.map_err(|_| late)? })
}

/// Does `work` on a place, which is free again after `hold` at the latest: what waits for a server takes nothing.
pub(super) async fn on_place<T>(place: ProbePlace<'_>, hold: Duration, work: impl Future<Output = T>) -> T {
    let mut work = pin!(work);
    tokio::select! {
        biased;
        done = &mut work => return done,
        () = tokio::time::sleep(hold) => drop(place),
    }
    work.await
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;

    /// Number of works without an end that begin on two places with this hold.
    fn begun(works: usize, hold: Duration) -> usize {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let (places, begun) = (Semaphore::new(2), Cell::new(0));
        let each = async || {
            let deadline = Instant::now() + Duration::from_secs(3600);
            let place = place(&places, deadline).await.unwrap();
            let work = async {
                begun.set(begun.get() + 1);
                std::future::pending::<()>().await
            };
            on_place(place, hold, work).await
        };
        let all = async {
            let mut all: Vec<_> = (0..works).map(|_| Box::pin(each())).collect();
            let until = Instant::now() + Duration::from_millis(100);
            let any = std::future::poll_fn(|context| {
                all.iter_mut().for_each(|one| assert!(one.as_mut().poll(context).is_pending()));
                std::task::Poll::<()>::Pending
            });
            assert!(timeout_at(until, any).await.is_err());
        };
        runtime.block_on(all);
        begun.get()
    }

    #[test]
    fn no_more_begin_than_there_are_places() {
        assert_eq!(begun(5, Duration::from_secs(3600)), 2);
        assert_eq!(begun(1, Duration::from_secs(3600)), 1);
    }

    #[test]
    fn a_server_that_hangs_holds_no_place() {
        assert_eq!(begun(5, Duration::ZERO), 5);
    }

    #[test]
    fn a_probe_without_a_place_says_nothing_about_the_server() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let places = Semaphore::new(0);
        let outcome = runtime.block_on(place(&places, Instant::now())).map(drop);
        assert_eq!(outcome, Err(ProbeOutcome::Unknown(LocalError::Late)));
    }
}
