//! Parser of the configuration file: any text gives a valid configuration or usable errors.

use directrix::control::api::Stats;
use directrix::control::state::registry::Registry;
use directrix::model::{Config, Diagnostics, parse};
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
    let addresses: HashSet<_> = config.services.iter().map(|service| service.identity).collect();
    assert_eq!(addresses.len(), config.services.len(), "a service stands twice");
    for service in &config.services {
        let servers: HashSet<_> = service.servers.iter().map(|server| server.address).collect();
        assert_eq!(servers.len(), service.servers.len(), "a server stands twice");
        let mut vips = config.services.iter().flat_map(directrix::model::VirtualService::vips);
        assert!(vips.all(|vip| !servers.contains(&vip)), "a VIP is a RIP");
    }
    let mut registry = Registry::new(Vec::new());
    let rules = config.rules();
    assert_eq!(rules.check(), Ok(()), "an accepted file has valid rules");
    registry.apply(&rules, &|_| Stats::default());
    let loads = Loads::new(rules.services.iter().map(|service| service.servers.len()).sum());
    let snapshot = registry.snapshot(&loads, std::time::Instant::now());
    for (of, id) in registry.services.iter().flat_map(|service| &service.matches) {
        let port = of.ports.last;
        let fixed = match of.vip {
            IpAddr::V4(vip) => snapshot.services.find(of.protocol, vip, port),
            IpAddr::V6(vip) => snapshot.services.find_v6(of.protocol, vip, port),
        };
        let found = fixed.or_else(|| snapshot.services.find_several(of.protocol, of.vip, port));
        // A match of every or of FTP's ports gives way to one that has the last port.
        assert!(found == Some(*id) || of.ports.first != port && found.is_some(), "{of}");
    }
}
