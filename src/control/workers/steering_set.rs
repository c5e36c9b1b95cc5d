//! The steering set: the services whose frames the kernel redirects to the workers.

use crate::io::{SteeredService, Steering};
use crate::model::Diagnostic;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::os::fd::OwnedFd;

/// A steering with its active services: it is updated only for differences.
pub struct SteeringSet {
    steering: Box<dyn Steering>,
    active: Vec<SteeredService>,
    refused: bool,
}

impl SteeringSet {
    /// Takes a started steering without services.
    #[must_use]
    pub fn new(steering: Box<dyn Steering>) -> Self {
        Self { steering, active: Vec::new(), refused: false }
    }

    /// Checks that the services can be set, as far as that is known before.
    ///
    /// # Errors
    /// Of [`Steering::check`].
    pub fn check(&self, services: &[SteeredService]) -> Result<(), Diagnostic> {
        self.steering.check(services)
    }

    /// Sets the services. After a refusal the previous ones stay active, and the next call tries again.
    ///
    /// # Errors
    /// Of [`Steering::select`]; not repeated while the kernel keeps refusing.
    pub fn set(&mut self, services: Vec<SteeredService>) -> Result<(), Diagnostic> {
        if services == self.active {
            self.refused = false;
            return Ok(());
        }
        match self.steering.select(&services) {
            Ok(()) => {
                tracing::debug!(services = services.len(), "steering set updated");
                (self.active, self.refused) = (services, false);
            }
            Err(_) if self.refused => {}
            Err(error) => {
                self.refused = true;
                return Err(error);
            }
        }
        Ok(())
    }

    /// Sets the same services again, after a change of the host's addresses: the kernel answers for a VIP that is one.
    ///
    /// # Errors
    /// Of [`Steering::select`].
    pub fn renew(&mut self) -> Result<(), Diagnostic> {
        self.steering.select(&self.active)
    }

    /// Removes the frames of no service in `services`. [`SteeringSet::set`] retries a refused removal.
    pub fn retain(&mut self, services: &[SteeredService]) {
        let wanted: HashSet<_> = services.iter().collect();
        if self.active.iter().all(|service| wanted.contains(service)) {
            return;
        }
        let kept = common(&self.active, services);
        if self.steering.select(&kept).is_ok() {
            tracing::debug!(services = kept.len(), "services removed from the steering set");
            self.active = kept;
        }
    }

    /// Returns true if the kernel has refused the latest services.
    #[must_use]
    pub fn is_refused(&self) -> bool {
        self.refused
    }

    /// Gives away the attachment of the program, if the backend can. See [`Steering::hand_over`].
    pub fn hand_over(&mut self) -> Option<OwnedFd> {
        self.steering.hand_over()
    }

    /// Stops the redirection.
    pub fn stop(&mut self) {
        self.steering.stop();
        self.active.clear();
    }
}

/// The frames of `active` that belong to a service of `services`: of a range that has changed, the ports that stay.
fn common(active: &[SteeredService], services: &[SteeredService]) -> Vec<SteeredService> {
    let mut wanted: HashMap<_, Vec<_>> = HashMap::new();
    for service in services {
        wanted.entry(service.target()).or_default().push(service);
    }
    let of_target = |one: &SteeredService| wanted.get(&one.target()).into_iter().flatten();
    let kept = active.iter().flat_map(|one| of_target(one).filter_map(|other| one.intersection(other)));
    let kept: BTreeSet<_> = kept.collect();
    kept.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{PortRange, ServiceAddress};
    use crate::wire::Protocol;
    use std::sync::{Arc, Mutex};

    /// A steering that records its updates, and refuses on request.
    #[derive(Clone, Default)]
    struct Fake(Arc<Mutex<(bool, Vec<Vec<SteeredService>>)>>);

    impl Steering for Fake {
        fn start(&mut self) -> Result<(), Diagnostic> {
            Ok(())
        }

        fn select(&mut self, services: &[SteeredService]) -> Result<(), Diagnostic> {
            let (refuses, updates) = &mut *self.0.lock().unwrap();
            updates.push(services.to_vec());
            let error = || Diagnostic::system("w").cause("c").remedy("r");
            if *refuses { Err(error()) } else { Ok(()) }
        }

        fn stop(&mut self) {}
    }

    fn service(port: u16) -> SteeredService {
        ServiceAddress { protocol: Protocol::Tcp, address: ([192, 0, 2, 1], port).into() }.into()
    }

    #[test]
    fn unchanged_set_is_not_updated() {
        let fake = Fake::default();
        let mut set = SteeringSet::new(Box::new(fake.clone()));
        for services in [vec![], vec![service(80)], vec![service(80)], vec![], vec![]] {
            set.set(services).unwrap();
        }
        assert_eq!(fake.0.lock().unwrap().1, [vec![service(80)], vec![]]);
    }

    #[test]
    fn refusal_is_reported_once_and_retried() {
        let fake = Fake::default();
        let mut set = SteeringSet::new(Box::new(fake.clone()));
        fake.0.lock().unwrap().0 = true;
        assert!(set.set(vec![service(80)]).is_err());
        assert!(set.set(vec![service(80)]).is_ok(), "reported once");
        fake.0.lock().unwrap().0 = false;
        set.set(vec![service(80)]).unwrap();
        set.set(vec![service(80)]).unwrap();
        assert_eq!(fake.0.lock().unwrap().1.len(), 3, "until it is active");
        fake.0.lock().unwrap().0 = true;
        assert!(set.set(vec![]).is_err(), "a new refusal is reported again");
    }

    #[test]
    fn ports_that_stay_are_never_left_out() {
        let fake = Fake::default();
        let mut set = SteeringSet::new(Box::new(fake.clone()));
        let range = |first, last| SteeredService { ports: PortRange { first, last }, ..service(80) };
        let (other, udp) = (service(22), SteeredService { protocol: Protocol::Udp, ..range(50, 60) });
        set.set(vec![range(50, 60), other, udp]).unwrap();
        set.retain(&[range(50, 60), other, udp, service(443)]);
        set.retain(&[range(55, 70), range(40, 52), service(443)]);
        let updates = &fake.0.lock().unwrap().1;
        assert_eq!(updates[1..], [vec![range(50, 52), range(55, 60)]], "no update without a removal");
    }
}
