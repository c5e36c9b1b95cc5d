//! Validation by the configuration's own parser, so that an import never writes a key, a name or an address that this
//! version rejects.

use crate::model::{self, Diagnostic, DiagnosticKind};
use std::collections::HashMap;
use std::path::Path;

/// Remedy for a server on the director itself, such as ldirectord's `fallback`.
pub(super) const SERVER_ON_DIRECTOR: &str = "directrix delivers no frames to its own host: run it, or the page that stands in for the servers, on another \
                        host of the network, prepared by \"directrix realserver setup\"";

/// The parser with a cache of its results: services of one file repeat most lines.
#[derive(Debug, Default)]
pub(super) struct Validator(HashMap<String, Option<Diagnostic>>);

impl Validator {
    /// Parses these lines below a valid `[director]` section.
    pub(super) fn error(&mut self, lines: &[String]) -> Option<Diagnostic> {
        let text = format!("{DIRECTOR}{}\n", lines.join("\n"));
        self.0.entry(text).or_insert_with_key(|text| parse_error(text)).clone()
    }

    /// Appends a line if the parser accepts the result.
    pub(super) fn append(&mut self, lines: &[String], line: String) -> Result<Vec<String>, Diagnostic> {
        let mut more = lines.to_vec();
        more.push(line);
        match self.error(&more) {
            None => Ok(more),
            Some(error) => Err(error),
        }
    }
}

const DIRECTOR: &str = "[director]\ninterface = \"eth0\"\n";
const SERVICE: &str = "[[service]]\nprotocol = \"tcp\"\naddress = \"192.0.0.8:80\"\n";

/// Validates the name of an interface.
pub(super) fn interface_error(name: &str) -> Option<Diagnostic> {
    parse_error(&format!("[director]\n{}\n{SERVICE}", key("interface", name)))
}

/// Validates a line of `[director.timeouts]`.
pub(super) fn timeout_error(line: &str) -> Option<Diagnostic> {
    parse_error(&format!("{DIRECTOR}[director.timeouts]\n{line}\n{SERVICE}"))
}

/// Validates the lines of `[sync]`.
pub(super) fn sync_error(lines: &[String]) -> Option<Diagnostic> {
    parse_error(&format!("{DIRECTOR}[sync]\n{}\n{SERVICE}", lines.join("\n")))
}

fn parse_error(text: &str) -> Option<Diagnostic> {
    let errors = model::parse(Path::new("directrix.toml"), text).err()?;
    let first = errors.0.into_iter().next()?;
    let unknown = first.kind == DiagnosticKind::UnknownKey;
    let what = if unknown { "directrix does not have it yet".to_owned() } else { first.what.clone() };
    Some(Diagnostic { what, ..first })
}

/// Formats `name = "value"`.
pub(super) fn key(name: &str, value: &str) -> String {
    format!("{name} = {}", toml::Value::from(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parser_accepts_or_rejects() {
        let mut validator = Validator::default();
        let mut error = |line: &str| validator.error(&[SERVICE.to_owned(), line.to_owned()]);
        assert_eq!(error(""), None);
        let refused = error("scheduler = \"nosuch\"").unwrap();
        assert!(refused.what.contains("nosuch"), "{refused:?}");
        assert_eq!(error("colour = 1").unwrap().what, "directrix does not have it yet");
        assert_eq!(interface_error("bond0.7"), None);
        assert!(interface_error("a name that is too long").is_some());
        assert!(interface_error("\"\n").is_some());
        assert_eq!(timeout_error("tcp = 900"), None);
        assert!(timeout_error("tcp = 0").is_some());
    }
}
