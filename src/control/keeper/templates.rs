//! Persistence templates in the shadow memory: a client without a connection keeps its server over a restart, too.
//!
//! Workers record no event of a template, so all are copied every few seconds, and at the end.

use super::keeping::{KeptConnections, UnownedLoads};
use crate::flow::{ConnState, FlowKey, WideKey};
use crate::model::{MatchId, ServiceId};
use crate::schedule::{Binding, Template, TemplateKey};
use crate::shadow::{ShadowClock, ShadowEntry, ShadowValue};
use crate::time::{SecondTick, Span, Tick};

impl KeptConnections {
    /// Copies all templates into the shadow memory. One without room is left out.
    pub fn keep_templates(&mut self, now: Tick) {
        let Self { templates: Some(writer), unowned, clock, .. } = self else { return };
        let second = clock.second(now);
        for template in unowned.templates.list(now) {
            let deadline = deadline(&template, unowned, clock, now);
            let state = if template.assured { ConnState::Established } else { ConnState::None };
            let (server, generation) = (template.server, template.key.generation);
            let value = ShadowValue { deadline, owner: None, server, state, template: generation };
            writer.put(key_of(template.key), value, second);
        }
        let buckets = if writer.is_empty() { 0 } else { writer.buckets() };
        writer.sweep(second, buckets, |_| {});
    }

    /// Makes the templates of a stretch that fit the configuration. Returns true once all were checked. To be called before the
    /// connections are checked, which renew their own.
    pub(super) fn recover_templates(&mut self, buckets: usize, now: Tick) -> bool {
        let Self { templates, former, unowned, clock, .. } = self;
        let (second, mut is_done) = (clock.second(now), true);
        for writer in former.iter_mut().map(|of| &mut of.templates).chain(templates) {
            writer.check(second, buckets, |entry| unowned.restore_template(entry, second, now));
            is_done &= writer.is_all_checked();
        }
        is_done
    }
}

/// Key of a template's entry: the client is the network, the match the service, both ports are 0.
fn key_of(key: TemplateKey) -> WideKey {
    WideKey::new(key.network, 0, MatchId(key.service.0), 0)
}

/// A template with connections lives for its timeout behind the last of them, at least.
fn deadline(template: &Template, unowned: &UnownedLoads, clock: &ShadowClock, now: Tick) -> SecondTick {
    let snapshot = unowned.snapshot.load();
    let persistence = snapshot.pool(template.key.service).and_then(|pool| pool.persistence());
    let timeout = persistence.map_or(Span::default(), |(persistence, _)| persistence.timeout);
    let held = if template.connections > 0 { now.after(timeout) } else { template.deadline };
    clock.deadline(held.later(template.deadline), now)
}

impl UnownedLoads {
    /// Makes the template of an entry, if its service is persistent and has the server.
    fn restore_template(
        &self,
        entry: &ShadowEntry<WideKey>,
        second: SecondTick,
        now: Tick,
    ) -> Option<ShadowValue> {
        let ShadowEntry { key, value } = *entry;
        let service = ServiceId(key.flow().match_id.0);
        let snapshot = self.snapshot.load();
        let (persistence, generation) = snapshot.pool(service)?.persistence()?;
        let network = key.client();
        let fits = persistence.network(network) == network && self.has_server(service, value.server);
        let left = Span::from_secs(value.deadline.since(second)).min(persistence.timeout);
        let key = TemplateKey { network, service, generation };
        let binding = Binding { key, now, timeout: left, datagram: false };
        let bound = if fits { self.templates.bind(binding, |_| true, || Some(value.server)) } else { None }?;
        if bound.counts {
            self.templates.release(key, bound.server);
        }
        if value.state == ConnState::Established {
            self.templates.assure(key, bound.server);
        }
        Some(value)
    }
}
