//! Names behind the numbers: digests of matches, services and real servers, for the next process.

use super::digest::Digest;
use super::layout::{NUMBERS, ShadowLayout};
use super::words::{Region, Words};
use crate::model::{MatchId, ServerId, ServiceId};
use crate::sys::shared_words::SharedWords;
use std::sync::Arc;

/// The digest of the name of each number in use. One thread writes them.
#[derive(Debug)]
pub struct ShadowNames {
    matches: DigestTable,
    services: DigestTable,
    servers: DigestTable,
}

/// Digests by number.
#[derive(Debug)]
struct DigestTable(Region);

impl ShadowNames {
    pub(super) fn new(memory: &Arc<SharedWords>, layout: &ShadowLayout) -> Self {
        let table = |index: usize| DigestTable(Region::new(memory, layout.names[index].clone()));
        Self { matches: table(0), services: table(1), servers: table(2) }
    }

    /// Sets the name of a match; `None` frees the number.
    pub fn set_match(&mut self, id: MatchId, name: Option<Digest>) {
        self.matches.set(id.0, name);
    }

    /// Sets the name of a service; `None` frees the number.
    pub fn set_service(&mut self, id: ServiceId, name: Option<Digest>) {
        self.services.set(id.0, name);
    }

    /// Sets the name of a real server; `None` frees the number.
    pub fn set_server(&mut self, id: ServerId, name: Option<Digest>) {
        self.servers.set(id.0, name);
    }

    /// The matches that have a name.
    pub fn matches(&self) -> impl Iterator<Item = (MatchId, Digest)> {
        self.matches.iter().map(|(number, name)| (MatchId(number), name))
    }

    /// The services that have a name.
    pub fn services(&self) -> impl Iterator<Item = (ServiceId, Digest)> {
        self.services.iter().map(|(number, name)| (ServiceId(number), name))
    }

    /// The real servers that have a name.
    pub fn servers(&self) -> impl Iterator<Item = (ServerId, Digest)> {
        self.servers.iter().map(|(number, name)| (ServerId(number), name))
    }
}

impl DigestTable {
    /// Clears one half first and stores it last: a kill leaves the old digest, none or the new one.
    fn set(&mut self, number: u16, name: Option<Digest>) {
        let at = 2 * usize::from(number);
        let [high, low] = name.map_or([0; 2], Digest::words);
        if [self.0.load(at), self.0.load(at + 1)] == [high, low] {
            return;
        }
        self.0.store(at, 0);
        self.0.store(at + 1, low);
        self.0.store(at, high);
    }

    fn iter(&self) -> impl Iterator<Item = (u16, Digest)> {
        (0..NUMBERS).filter_map(|number| {
            let words = [self.0.load(2 * number), self.0.load(2 * number + 1)];
            Some((number as u16, Digest::from_words(words)?)) // below NUMBERS
        })
    }
}
