//! Import: any bytes yield a valid configuration, or reasons.

use directrix::import::{Environment, Import, ImportError, ImportFormat, ImportSource, import};
use directrix::model::parse;
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

/// An environment in which each file has the content of the input.
#[derive(Debug)]
struct Mirror<'a>(&'a [u8]);

impl Environment for Mirror<'_> {
    fn address(&self, name: &str) -> Option<IpAddr> {
        (name.len() == 3).then(|| IpAddr::from([192, 0, 2, 3]))
    }

    fn port(&self, name: &str, _protocol: &str) -> Option<u16> {
        (name.len() == 3).then_some(3)
    }

    fn name(&self) -> Option<String> {
        None
    }

    fn files(&self, pattern: &str) -> Vec<PathBuf> {
        if pattern.len().is_multiple_of(2) { vec![pattern.into()] } else { Vec::new() }
    }

    fn read(&self, _file: &Path) -> io::Result<Vec<u8>> {
        Ok(self.0.to_vec())
    }
}

/// Imports one file, by its recognized format and by each format.
pub fn check(bytes: &[u8]) {
    use ImportFormat::{Ipvsadm, Keepalived, Ldirectord, Sysctl};
    let formats = [Ipvsadm, Keepalived, Ldirectord, Sysctl].map(Some);
    for format in [None].into_iter().chain(formats) {
        let source = ImportSource {
            file: "f\u{7}",
            bytes,
            format,
            interface: None,
            direct: bytes.len().is_multiple_of(3),
            config_id: Some("id"),
        };
        match import(&source, &Mirror(bytes)) {
            Ok(import) => is_usable(&import),
            Err(error) => has_reasons(&error),
        }
    }
}

fn is_usable(import: &Import) {
    let config =
        parse(Path::new("d.toml"), &import.toml).unwrap_or_else(|errors| panic!("{errors}\n{}", import.toml));
    let servers = config.services.iter().flat_map(|service| &service.servers);
    let servers = servers.filter(|server| !server.role.is_sorry()).count();
    assert_eq!((config.services.len(), servers), (import.services, import.servers), "{}", import.toml);
    for notice in &import.notices {
        assert_one_line(&notice.to_string());
    }
}

fn has_reasons(error: &ImportError) {
    match error {
        ImportError::BadInput(errors) => {
            assert!(!errors.0.is_empty(), "refused without a reason");
            errors.0.iter().for_each(|error| assert_one_line(&error.to_string()));
        }
        ImportError::NothingLeft(notices) => {
            assert!(!notices.is_empty(), "nothing left without a reason");
            for notice in notices {
                let shown = notice.to_string();
                assert_one_line(&shown);
                assert!(!shown.starts_with("the output"), "the parser rejects validated keys: {shown}");
            }
        }
    }
}

fn assert_one_line(shown: &str) {
    assert!(!shown.is_empty() && !shown.contains(char::is_control), "{shown:?}");
}
