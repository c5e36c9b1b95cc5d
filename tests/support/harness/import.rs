//! Files of other tools: any bytes get a configuration that can be used, or reasons.

use directrix::import::{Failure, Format, Host, Import, Source, import};
use directrix::model::parse;
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

/// A host whose every file is the one that is read.
#[derive(Debug)]
struct Mirror<'a>(&'a [u8]);

impl Host for Mirror<'_> {
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

/// Checks one file, as what it seems to be and as either format.
pub fn check(bytes: &[u8]) {
    for format in [None, Some(Format::Ipvsadm), Some(Format::Keepalived)] {
        let source = Source {
            file: "f\u{7}",
            bytes,
            format,
            interface: None,
            direct: bytes.len().is_multiple_of(3),
            config_id: Some("id"),
        };
        match import(&source, &Mirror(bytes)) {
            Ok(import) => is_usable(&import),
            Err(failure) => has_reasons(&failure),
        }
    }
}

fn is_usable(import: &Import) {
    let config =
        parse(Path::new("d.toml"), &import.toml).unwrap_or_else(|errors| panic!("{errors}\n{}", import.toml));
    let servers: usize = config.services.iter().map(|service| service.servers.len()).sum();
    assert_eq!((config.services.len(), servers), (import.services, import.servers), "{}", import.toml);
    for remark in &import.remarks {
        on_a_line(&remark.to_string());
    }
}

fn has_reasons(failure: &Failure) {
    match failure {
        Failure::BadInput(faults) => {
            assert!(!faults.is_empty(), "refused without a reason");
            faults.iter().for_each(|fault| on_a_line(&fault.to_string()));
        }
        Failure::NothingLeft(remarks) => {
            assert!(!remarks.is_empty(), "nothing left without a reason");
            for remark in remarks {
                let shown = remark.to_string();
                on_a_line(&shown);
                assert!(!shown.starts_with("the output"), "the reader refuses what was judged: {shown}");
            }
        }
    }
}

fn on_a_line(shown: &str) {
    assert!(!shown.is_empty() && !shown.contains(char::is_control), "{shown:?}");
}
