//! Parser of the configuration file: any text gives a valid configuration or usable errors.

use directrix::control::api::Stats;
use directrix::control::state::registry::Registry;
use directrix::model::{Config, Diagnostics, MatchId, parse};
use directrix::schedule::Loads;
use std::collections::HashSet;
use std::net::IpAddr;
use std::path::Path;

/// Checks one text.
pub fn check(text: &str) {
    match parse(Path::new("d.toml"), text) {
        Ok(config) => is_usable(&config),
        Err(errors) => are_usable(&errors, text),
    }
}

/// Checks that every error has a place in the file and fits on a line with its remedy.
fn are_usable(Diagnostics(errors): &Diagnostics, text: &str) {
    assert!(!errors.is_empty(), "refused without a reason");
    assert!(errors.is_sorted_by_key(|error| error.line()));
    let lines = text.lines().count().max(1);
    for error in errors {
        assert!((1..=lines).contains(&error.line()), "line {} of {lines}: {error}", error.line());
        assert!(!error.what.is_empty() && !error.remedy.is_empty(), "{error}");
        let shown = error.to_string();
        assert!(shown.starts_with("d.toml:") && !shown.contains(char::is_control), "{shown:?}");
    }
}

/// Checks that it has no duplicates and that tables can be built from it.
fn is_usable(config: &Config) {
    let addresses: HashSet<_> = config.services.iter().map(|service| service.address).collect();
    assert_eq!(addresses.len(), config.services.len(), "a service stands twice");
    for service in &config.services {
        let servers: HashSet<_> = service.servers.iter().map(|server| server.address).collect();
        assert_eq!(servers.len(), service.servers.len(), "a server stands twice");
        assert!(addresses.iter().all(|vip| !servers.contains(&vip.address.ip())), "a VIP is a RIP");
    }
    let mut registry = Registry::new(Vec::new());
    let rules = config.rules();
    assert_eq!(rules.check(), Ok(()), "an accepted file has valid rules");
    registry.apply(&rules, &|_| Stats::default());
    let loads = Loads::new(rules.services.iter().map(|service| service.servers.len()).sum());
    let snapshot = registry.snapshot(&loads, std::time::Instant::now());
    for (service, id) in config.services.iter().zip(0..) {
        let (protocol, address) = (service.address.protocol, service.address.address);
        let found = match address.ip() {
            IpAddr::V4(vip) => snapshot.services.find(protocol, vip, address.port()),
            IpAddr::V6(vip) => snapshot.services.find_v6(protocol, vip, address.port()),
        };
        assert_eq!(found, Some(MatchId(id)));
    }
}
