//! Checks of options against commands, with ipvsadm's error messages.

use crate::ipvsadm::{Command, Meaning, Opt, OptionRule, rule};

/// Whether a switch is supported. Details of tunnels are not.
pub(super) fn is_supported(meaning: Meaning) -> bool {
    !matches!(meaning, Meaning::Option(Opt::TunnelDetail))
}

/// A set of options.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct OptionSet(u32);

impl OptionSet {
    pub(super) fn has(self, option: Opt) -> bool {
        self.0 & 1 << option as u32 != 0
    }

    pub(super) fn has_any(self, options: &[Opt]) -> bool {
        options.iter().any(|&option| self.has(option))
    }

    pub(super) fn add(&mut self, option: Opt) {
        self.0 |= 1 << option as u32;
    }
}

/// Checks that `command` takes `options`.
///
/// # Errors
/// ipvsadm's message about the first missing or illegal option.
pub(super) fn check(command: Command, options: OptionSet) -> Result<(), String> {
    let mut exclusive = None;
    for &option in Opt::ALL {
        let (name, command_name) = (option.name(), command.name());
        match (rule(command, option), options.has(option)) {
            (OptionRule::Needed, false) => {
                return Err(format!(
                    "You need to supply the '{name}' option for the '{command_name}' command"
                ));
            }
            (OptionRule::Illegal, true) => {
                return Err(format!("Illegal '{name}' option with the '{command_name}' command"));
            }
            (OptionRule::Exclusive, true) => exclude(command_name, exclusive.replace(name), name)?,
            _ => {}
        }
    }
    Ok(())
}

fn exclude(command: &str, earlier: Option<&str>, name: &str) -> Result<(), String> {
    match earlier {
        Some(earlier) => Err(format!(
            "The option '{name}' conflicts with the '{earlier}' option in the '{command}' command"
        )),
        None => Ok(()),
    }
}
