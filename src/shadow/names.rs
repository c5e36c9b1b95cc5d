//! Names behind the numbers: digests of matches, services and real servers, for the next process; and of the claimed VIPs.

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
    /// By place, without gaps.
    claims: DigestTable,
    claimed: usize,
}

/// Digests by number.
#[derive(Debug)]
struct DigestTable(Region);

impl ShadowNames {
    pub(super) fn new(memory: &Arc<SharedWords>, layout: &ShadowLayout) -> Self {
        let table = |index: usize| DigestTable(Region::new(memory, layout.names[index].clone()));
        let claims = table(3);
        let claimed = claims.iter().last().map_or(0, |(place, _)| usize::from(place) + 1);
        Self { matches: table(0), services: table(1), servers: table(2), claims, claimed }
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

    /// Sets the names of the VIPs that this process has claimed, in place of those before. Names beyond the 65,536th are left out.
    pub fn set_claims(&mut self, names: impl Iterator<Item = Digest>) {
        let mut count = 0;
        for (place, name) in (0..=u16::MAX).zip(names) {
            self.claims.set(place, Some(name));
            count = usize::from(place) + 1;
        }
        (count..self.claimed).for_each(|place| self.claims.set(place as u16, None)); // below NUMBERS
        self.claimed = count;
    }

    /// The VIPs that are claimed, or were at the end of the process before.
    pub fn claims(&self) -> impl Iterator<Item = Digest> {
        self.claims.iter().map(|(_, name)| name)
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
