//! Asks the configuration's own reader what it takes, so that an import never writes a key, a name
//! or an address that this director refuses.

use crate::model;
use std::path::Path;

/// Why the reader refuses something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    /// What is wrong, as a sentence without its end.
    pub(super) what: String,
    /// What the reader would have written instead.
    pub(super) remedy: String,
}

/// What the reader objects to in a file of these lines below a right `[director]`.
pub(super) fn refusal(lines: &[String]) -> Option<Refusal> {
    refused(&format!("[director]\ninterface = \"eth0\"\n{}\n", lines.join("\n")))
}

/// What the reader objects to in an interface's name.
pub(super) fn interface_refusal(name: &str) -> Option<Refusal> {
    let service = "[[service]]\nprotocol = \"tcp\"\naddress = \"192.0.2.1:80\"\n";
    refused(&format!("[director]\n{}\n{service}", key("interface", name)))
}

/// What the reader objects to in a `[director.timeouts]` line.
pub(super) fn timeout_refusal(line: &str) -> Option<Refusal> {
    let service = "[[service]]\nprotocol = \"tcp\"\naddress = \"192.0.2.1:80\"\n";
    refusal(&[format!("[director.timeouts]\n{line}\n{service}")])
}

fn refused(text: &str) -> Option<Refusal> {
    let errors = model::parse(Path::new("directrix.toml"), text).err()?;
    let first = errors.0.into_iter().next()?;
    let unknown = first.what.contains("is no key of");
    let what = if unknown { "directrix does not have it yet".to_owned() } else { first.what };
    Some(Refusal { what, remedy: first.remedy })
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
        let service = |lines: &str| {
            vec![format!("[[service]]\nprotocol = \"tcp\"\naddress = \"192.0.2.1:80\"\n{lines}")]
        };
        assert_eq!(refusal(&service("")), None);
        let refused = refusal(&service("scheduler = \"nosuch\"")).unwrap();
        assert!(refused.what.contains("nosuch"), "{refused:?}");
        assert_eq!(refusal(&service("colour = 1")).unwrap().what, "directrix does not have it yet");
        assert_eq!(interface_refusal("bond0.7"), None);
        assert!(interface_refusal("a name that is too long").is_some());
        assert!(interface_refusal("\"\n").is_some());
        assert_eq!(timeout_refusal("tcp = 900"), None);
        assert!(timeout_refusal("tcp = 0").is_some());
    }
}
