//! The steering set: the services whose frames the kernel redirects to the workers.

use crate::io::{SteeredService, Steering};
use crate::model::Diagnostic;

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

    /// Removes the services that are not in `services`. [`SteeringSet::set`] retries a refused removal.
    pub fn retain(&mut self, services: &[SteeredService]) {
        let kept: Vec<_> = self.active.iter().filter(|service| services.contains(service)).copied().collect();
        if kept.len() < self.active.len() && self.steering.select(&kept).is_ok() {
            tracing::debug!(services = kept.len(), "services removed from the steering set");
            self.active = kept;
        }
    }

    /// Returns true if the kernel has refused the latest services.
    #[must_use]
    pub fn is_refused(&self) -> bool {
        self.refused
    }

    /// Stops the redirection.
    pub fn stop(&mut self) {
        self.steering.stop();
        self.active.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::ServiceAddress;
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
}
