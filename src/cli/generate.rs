//! `directrix generate`: man pages and shell completions, for packages. Both are generated from the clap
//! commands and the example configuration, so that they cannot differ from the program.

mod config_page;
mod pages;
mod roff_page;

use super::status::fail;
use crate::model::Diagnostic;
use clap_complete::Shell;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// The subcommand's arguments.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    artifact: Artifact,
}

#[derive(Debug, clap::Subcommand)]
enum Artifact {
    /// Write the man pages of all commands and of the configuration file to a directory
    Man {
        /// Output directory, created if missing
        #[arg(value_name = "DIR")]
        directory: PathBuf,
    },
    /// Print a shell completion script
    Completions {
        /// The shell
        shell: Shell,
    },
}

/// Runs the subcommand, for the whole command line `program`.
pub(super) fn main(args: &Args, program: clap::Command) -> ExitCode {
    let (done, place) = match &args.artifact {
        Artifact::Man { directory } => (man(program, directory), directory.display().to_string()),
        Artifact::Completions { shell } => {
            let mut text = Vec::new();
            clap_complete::generate(*shell, &mut shown(&program), "directrix", &mut text);
            (io::stdout().write_all(&text), "the standard output".into())
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(cause) => {
            let failed = Diagnostic::io(format!("writing to {place}"), &cause);
            fail(&failed.remedy("name a place that can be written to"))
        }
    }
}

/// Commands with hidden subcommands.
const WITH_HIDDEN: &[&str] = &["lab"];

/// The command line as `--help` shows it, without the hidden commands, which completions must not offer.
fn shown(program: &clap::Command) -> clap::Command {
    visible(program, "directrix").version(env!("CARGO_PKG_VERSION"))
}

/// The command without its hidden subcommands.
fn visible(command: &clap::Command, name: &'static str) -> clap::Command {
    let commands = command.get_subcommands().filter(|sub| !sub.is_hide_set());
    let commands = commands.map(|sub| match WITH_HIDDEN.iter().find(|name| **name == sub.get_name()) {
        Some(name) => visible(sub, name),
        None => sub.clone(),
    });
    let about = command.get_about().cloned().unwrap_or_default();
    clap::Command::new(name).about(about).args(command.get_arguments()).subcommands(commands)
}

fn man(program: clap::Command, directory: &Path) -> io::Result<()> {
    std::fs::create_dir_all(directory)?;
    for (name, page) in pages::of(program)?.into_iter().chain([config_page::page()]) {
        std::fs::write(directory.join(name), page)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::program;

    fn hidden(command: &clap::Command) -> Vec<String> {
        let own =
            command.get_subcommands().filter(|sub| sub.is_hide_set()).map(|sub| sub.get_name().to_owned());
        own.chain(command.get_subcommands().flat_map(hidden)).collect()
    }

    #[test]
    fn completions_offer_nothing_that_help_hides() {
        let program = program();
        assert!(hidden(&program).contains(&"arp-query".to_owned()), "{:?}", hidden(&program));
        assert_eq!(hidden(&shown(&program)), [""; 0]);
    }

    fn help(path: &[&str]) -> String {
        let mut command = program();
        command.build();
        let command = path.iter().fold(&command, |command, name| command.find_subcommand(name).unwrap());
        command.clone().render_help().to_string()
    }

    #[test]
    fn only_commands_that_query_a_director_offer_its_socket() {
        for path in [&["status"][..], &["run"], &["drain"], &["top"]] {
            assert!(help(path).contains("--socket"), "{path:?}");
        }
        for path in [
            &["import"][..],
            &["realserver"],
            &["realserver", "setup"],
            &["lab"],
            &["lab", "bench"],
            &["lab", "up"],
        ] {
            assert!(!help(path).contains("--socket"), "{path:?}: {}", help(path));
        }
    }
}
