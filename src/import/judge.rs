//! Asks the configuration's own reader what it takes, so that an import never writes a key, a name
//! or an address that this director refuses.

use crate::model::{self, Diagnostic, DiagnosticKind};
use std::collections::HashMap;
use std::path::Path;

/// What to do instead of a server on the director itself, as ldirectord's `fallback` is.
pub(super) const OWN_HOST: &str = "directrix hands no frames to its own host: run it, or the page that stands in for the servers, on another \
                        host of the network, prepared by \"directrix realserver setup\"";

/// The reader, with a memory for what it said: services of one file have much in common.
#[derive(Debug, Default)]
pub(super) struct Judge(HashMap<String, Option<Diagnostic>>);

impl Judge {
    /// What the reader objects to in a file of these lines below a right `[director]`.
    pub(super) fn refusal(&mut self, lines: &[String]) -> Option<Diagnostic> {
        let text = format!("{DIRECTOR}{}\n", lines.join("\n"));
        self.0.entry(text).or_insert_with_key(|text| refused(text)).clone()
    }

    /// The lines with one more, if the reader takes it there.
    pub(super) fn with(&mut self, lines: &[String], line: String) -> Result<Vec<String>, Diagnostic> {
        let mut more = lines.to_vec();
        more.push(line);
        self.refusal(&more).map_or(Ok(more), Err)
    }
}

const DIRECTOR: &str = "[director]\ninterface = \"eth0\"\n";
const SERVICE: &str = "[[service]]\nprotocol = \"tcp\"\naddress = \"192.0.0.8:80\"\n";

/// What the reader objects to in an interface's name.
pub(super) fn interface_refusal(name: &str) -> Option<Diagnostic> {
    refused(&format!("[director]\n{}\n{SERVICE}", key("interface", name)))
}

/// What the reader objects to in a line of `[director.timeouts]`.
pub(super) fn timeout_refusal(line: &str) -> Option<Diagnostic> {
    refused(&format!("{DIRECTOR}[director.timeouts]\n{line}\n{SERVICE}"))
}

fn refused(text: &str) -> Option<Diagnostic> {
    let errors = model::parse(Path::new("directrix.toml"), text).err()?;
    let first = errors.0.into_iter().next()?;
    let unknown = first.kind == DiagnosticKind::UnknownKey;
    let what = if unknown { "directrix does not have it yet".to_owned() } else { first.what.clone() };
    Some(Diagnostic { what, ..first })
}

/// `name = "value"`
pub(super) fn key(name: &str, value: &str) -> String {
    format!("{name} = {}", toml::Value::from(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reader_decides() {
        let mut judge = Judge::default();
        let mut refusal = |line: &str| judge.refusal(&[SERVICE.to_owned(), line.to_owned()]);
        assert_eq!(refusal(""), None);
        let refused = refusal("scheduler = \"nosuch\"").unwrap();
        assert!(refused.what.contains("nosuch"), "{refused:?}");
        assert_eq!(refusal("colour = 1").unwrap().what, "directrix does not have it yet");
        assert_eq!(interface_refusal("bond0.7"), None);
        assert!(interface_refusal("a name that is too long").is_some());
        assert!(interface_refusal("\"\n").is_some());
        assert_eq!(timeout_refusal("tcp = 900"), None);
        assert!(timeout_refusal("tcp = 0").is_some());
    }
}
