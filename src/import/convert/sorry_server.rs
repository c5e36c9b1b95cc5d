//! Sorry servers.

use super::Converter;
use crate::import::description::{ImportedService, ImportedSorryServer};
use crate::import::draft::{SORRY_SERVER, ServerDraft};
use crate::model::Diagnostic;
use std::net::SocketAddr;

impl Converter<'_> {
    /// Converts the sorry server. `keys`: valid lines of a service.
    pub(super) fn sorry_server(
        &mut self,
        service: &ImportedService,
        vip: SocketAddr,
        keys: &[String],
    ) -> Option<ServerDraft> {
        let ImportedSorryServer { server, inhibit } = service.sorry_server.as_ref()?;
        let mut draft = self.server(server, vip, keys)?;
        draft.keys.extend(inhibit.then(|| "inhibit = true".to_owned()));
        Some(draft)
    }

    /// Returns whether the parser accepts the sorry server behind the lines of its service, else adds a notice.
    pub(super) fn fits(&mut self, service: &ImportedService, sorry: &ServerDraft, lines: &[String]) -> bool {
        if sorry.left_out.is_some() {
            return true;
        }
        let own = [SORRY_SERVER.to_owned()].into_iter().chain(sorry.keys.iter().cloned());
        let error = self.validator.error(&lines.iter().cloned().chain(own).collect::<Vec<_>>());
        if let Some(Diagnostic { what, remedy, .. }) = &error {
            self.notices.warn(&sorry.location, format!("sorry server of {}: {what}", service.vip), remedy);
        }
        error.is_none()
    }
}
