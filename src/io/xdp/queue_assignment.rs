//! Assignment of queues to workers.

use crate::io::{Interface, PortPlan};
use crate::model::Diagnostic;
use std::num::NonZero;
use std::thread;

/// One worker's queues.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct WorkerQueues {
    /// Queues of the client side to receive from.
    pub(super) client: Vec<u32>,
    /// Queues of `client` below this one can transmit, too.
    pub(super) client_transmits_below: u32,
    /// The queue that transmits on the server side.
    pub(super) server: u32,
}

impl WorkerQueues {
    /// The queues with their interfaces: `client`, then `server` of each further interface.
    pub(super) fn all<'a>(
        &'a self,
        interfaces: &'a [Interface],
    ) -> impl Iterator<Item = (&'a Interface, u32)> {
        let client = self.client.iter().map(|queue| (&interfaces[0], *queue));
        client.chain(interfaces[1..].iter().map(|interface| (interface, self.server)))
    }

    /// For each queue of `client` the index of the one that transmits for it: itself, if it can.
    pub(super) fn senders(&self) -> impl Iterator<Item = usize> {
        let sender =
            |(index, queue): (usize, &u32)| if *queue < self.client_transmits_below { index } else { 0 };
        self.client.iter().enumerate().map(sender)
    }
}

/// Assigns the queues of the client side round robin.
///
/// # Errors
/// [`Diagnostic`] if a worker would have no queue to receive from or to send on.
pub(super) fn assign(plan: &PortPlan) -> Result<Vec<WorkerQueues>, Diagnostic> {
    let (client, servers) = plan.interfaces.split_first().expect("a plan has a client side");
    let workers = plan.workers.unwrap_or_else(|| default_workers(client)).max(1);
    if workers > client.queues as usize {
        return Err(too_many_workers(client, workers, client.queues, "receive"));
    }
    for interface in &plan.interfaces {
        if interface.transmit_queues() < workers as u32 {
            return Err(too_many_workers(interface, workers, interface.transmit_queues(), "transmit"));
        }
    }
    debug_assert!(servers.len() <= 1, "an interface is a client side or a server side");
    let transmits = client.transmit_queues();
    Ok((0..workers as u32).map(|worker| assignment(worker, workers, client.queues, transmits)).collect())
}

fn assignment(worker: u32, workers: usize, queues: u32, client_transmits_below: u32) -> WorkerQueues {
    let client = (worker..queues).step_by(workers).collect();
    WorkerQueues { client, client_transmits_below, server: worker }
}

fn default_workers(client: &Interface) -> usize {
    let cores = thread::available_parallelism().map_or(1, NonZero::get);
    cores.min(client.queues as usize)
}

fn too_many_workers(interface: &Interface, workers: usize, queues: u32, direction: &str) -> Diagnostic {
    let name = &interface.name;
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
            let assignments: Vec<WorkerQueues> =
                (0..workers).map(|w| assignment(w, workers as usize, queues, queues)).collect();
            let mut dealt: Vec<u32> =
                assignments.iter().flat_map(|assignment| assignment.client.clone()).collect();
            dealt.sort_unstable();
            assert_eq!(dealt, (0..queues).collect::<Vec<_>>());
            assert!(assignments.iter().all(|assignment| assignment.client[0] == assignment.server));
        }
    }
}
