//! Which worker gets which queues.

use crate::io::{Interface, Plan};
use crate::model::Diagnostic;
use std::num::NonZero;
use std::thread;

/// One worker's queues.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Share {
    /// Queues of the client side to receive from.
    pub(super) client: Vec<u32>,
    /// Those of `client` up to this queue, exclusively, can transmit too.
    pub(super) client_transmits_below: u32,
    /// The queue that sends on every further arm.
    pub(super) server: u32,
}

/// Deals the queues of the client side round robin.
///
/// # Errors
/// [`Diagnostic`] if a worker would have no queue to receive from or to send on.
pub(super) fn deal(plan: &Plan) -> Result<Vec<Share>, Diagnostic> {
    let (client, servers) = plan.arms.split_first().expect("a plan has a client side");
    let workers = plan.workers.unwrap_or_else(|| default_workers(client)).max(1);
    if workers > client.queues as usize {
        return Err(too_many_workers(client, workers, client.queues, "receive"));
    }
    for arm in &plan.arms {
        if arm.transmit_queues() < workers as u32 {
            return Err(too_many_workers(arm, workers, arm.transmit_queues(), "transmit"));
        }
    }
    debug_assert!(servers.len() <= 1, "an arm is a client side or a server side");
    let transmits = client.transmit_queues();
    Ok((0..workers as u32).map(|worker| share(worker, workers, client.queues, transmits)).collect())
}

fn share(worker: u32, workers: usize, queues: u32, client_transmits_below: u32) -> Share {
    let client = (worker..queues).step_by(workers).collect();
    Share { client, client_transmits_below, server: worker }
}

fn default_workers(client: &Interface) -> usize {
    let cores = thread::available_parallelism().map_or(1, NonZero::get);
    cores.min(client.queues as usize)
}

fn too_many_workers(arm: &Interface, workers: usize, queues: u32, direction: &str) -> Diagnostic {
    let name = &arm.name;
    Diagnostic::system(format!("giving each of {workers} workers a queue of {name}"))
        .cause(format!("{name} has {queues} {direction} queue(s)"))
        .remedy(format!(
            "set workers = {queues}, or give it more queues: ethtool -L {name} combined {workers}"
        ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_queue_has_one_worker() {
        for (workers, queues) in [(1, 1), (1, 5), (2, 5), (3, 3), (4, 63)] {
            let shares: Vec<Share> =
                (0..workers).map(|w| share(w, workers as usize, queues, queues)).collect();
            let mut dealt: Vec<u32> = shares.iter().flat_map(|share| share.client.clone()).collect();
            dealt.sort_unstable();
            assert_eq!(dealt, (0..queues).collect::<Vec<_>>());
            assert!(shares.iter().all(|share| share.client[0] == share.server));
        }
    }
}
