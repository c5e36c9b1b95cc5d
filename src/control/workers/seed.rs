//! Seeds of hash tables.

use crate::hash::Seed;
use std::io;

/// Returns a new hash seed, one for each table.
///
/// # Errors
/// If the system gives no randomness.
pub fn random_seed() -> io::Result<Seed> {
    let mut words = [0; 4];
    for word in &mut words {
        *word = getrandom::u64().map_err(io::Error::other)?;
    }
    Ok(Seed(words))
}
