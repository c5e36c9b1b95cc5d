//! Which of ipvsadm's options go together, in ipvsadm's words.

use crate::ipvsadm::{Command, Meaning, Opt, Rule, rule};

/// Whether it is a switch here. Tunnels and the synchronisation daemon have none.
pub(super) fn knows(meaning: Meaning) -> bool {
    !matches!(meaning, Meaning::Option(Opt::TunnelDetail | Opt::SyncDetail))
}

/// A set of options.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Options(u32);

impl Options {
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

/// Checks that `options` go with `command`.
///
/// # Errors
/// ipvsadm's message about the first option that does not.
pub(super) fn check(command: Command, options: Options) -> Result<(), String> {
    let mut exclusive = None;
    for &option in Opt::ALL {
        let (name, command_name) = (option.name(), command.name());
        match (rule(command, option), options.has(option)) {
            (Rule::Needed, false) => {
                return Err(format!(
                    "You need to supply the '{name}' option for the '{command_name}' command"
                ));
            }
            (Rule::Illegal, true) => {
                return Err(format!("Illegal '{name}' option with the '{command_name}' command"));
            }
            (Rule::Exclusive, true) => exclude(command_name, exclusive.replace(name), name)?,
            _ => {}
        }
    }
    Ok(())
}

fn exclude(command: &str, earlier: Option<&str>, name: &str) -> Result<(), String> {
    earlier.map_or(Ok(()), |earlier| {
        Err(format!("The option '{name}' conflicts with the '{earlier}' option in the '{command}' command"))
    })
}
