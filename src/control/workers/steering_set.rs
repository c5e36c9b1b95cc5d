//! What the kernel is asked to hand over, and what it has agreed to.

use crate::io::Steering;
use crate::model::{Diagnostic, ServiceAddress};

/// A steering with a memory: it is asked only for what it does not do already.
pub struct SteeringSet {
    steering: Box<dyn Steering>,
    agreed: Vec<ServiceAddress>,
    refused: bool,
}

impl SteeringSet {
    /// Takes a steering that has been started and has no service yet.
    #[must_use]
    pub fn new(steering: Box<dyn Steering>) -> Self {
        Self { steering, agreed: Vec::new(), refused: false }
    }

    /// Has exactly `services` handed over. After a refusal the old ones still are, and the next
    /// call tries again.
    ///
    /// # Errors
    /// What [`Steering::update`] says; not again while it keeps refusing.
    pub fn set(&mut self, services: Vec<ServiceAddress>) -> Result<(), Diagnostic> {
        if services == self.agreed {
            self.refused = false;
            return Ok(());
        }
        match self.steering.update(&services) {
            Ok(()) => {
                tracing::debug!(services = services.len(), "steering set handed over");
                (self.agreed, self.refused) = (services, false);
            }
            Err(_) if self.refused => {}
            Err(error) => {
                self.refused = true;
                return Err(error);
            }
        }
        Ok(())
    }

    /// Has nothing handed over any more that is not in `services`. What is refused now, [`SteeringSet::set`]
    /// asks for again.
    pub fn withdraw(&mut self, services: &[ServiceAddress]) {
        let kept: Vec<_> = self.agreed.iter().filter(|service| services.contains(service)).copied().collect();
        if kept.len() < self.agreed.len() && self.steering.update(&kept).is_ok() {
            tracing::debug!(services = kept.len(), "services withdrawn from the steering set");
            self.agreed = kept;
        }
    }

    /// Whether the kernel has refused the latest services.
    #[must_use]
    pub fn is_refused(&self) -> bool {
        self.refused
    }

    /// Ends the handing over.
    pub fn stop(&mut self) {
        self.steering.stop();
        self.agreed.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::Protocol;
    use std::sync::{Arc, Mutex};

    /// Takes services while it is told that it may, and notes them.
    #[derive(Clone, Default)]
    struct Fake(Arc<Mutex<(bool, Vec<Vec<ServiceAddress>>)>>);

    impl Steering for Fake {
        fn start(&mut self) -> Result<(), Diagnostic> {
            Ok(())
        }

        fn update(&mut self, services: &[ServiceAddress]) -> Result<(), Diagnostic> {
            let (refuses, asked) = &mut *self.0.lock().unwrap();
            asked.push(services.to_vec());
            let error = || Diagnostic::system("w").cause("c").remedy("r");
            if *refuses { Err(error()) } else { Ok(()) }
        }

        fn stop(&mut self) {}
    }

    fn service(port: u16) -> ServiceAddress {
        ServiceAddress { protocol: Protocol::Tcp, address: ([192, 0, 2, 1], port).into() }
    }

    #[test]
    fn what_is_handed_over_already_is_not_asked_for_again() {
        let fake = Fake::default();
        let mut handover = SteeringSet::new(Box::new(fake.clone()));
        for services in [vec![], vec![service(80)], vec![service(80)], vec![], vec![]] {
            handover.set(services).unwrap();
        }
        assert_eq!(fake.0.lock().unwrap().1, [vec![service(80)], vec![]]);
    }

    #[test]
    fn a_refusal_is_told_once_and_what_was_refused_is_tried_again() {
        let fake = Fake::default();
        let mut handover = SteeringSet::new(Box::new(fake.clone()));
        fake.0.lock().unwrap().0 = true;
        assert!(handover.set(vec![service(80)]).is_err());
        assert!(handover.set(vec![service(80)]).is_ok(), "told once");
        fake.0.lock().unwrap().0 = false;
        handover.set(vec![service(80)]).unwrap();
        handover.set(vec![service(80)]).unwrap();
        assert_eq!(fake.0.lock().unwrap().1.len(), 3, "until it is agreed to");
        fake.0.lock().unwrap().0 = true;
        assert!(handover.set(vec![]).is_err(), "a new refusal is told again");
    }
}
