//! `directrix generate`: man pages and shell completions, for packages. They come from the commands
//! themselves and from the example file, so that they say what is so.

mod config_page;
mod pages;

use super::status::fail;
use clap_complete::Shell;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// The subcommand's arguments.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// Write a man page for each command, and that of the configuration file, into a directory
    Man {
        /// Created if it is not there
        #[arg(value_name = "DIR")]
        directory: PathBuf,
    },
    /// Print what completes the commands' words in a shell
    Completions {
        /// The shell
        shell: Shell,
    },
}

/// Runs the subcommand, for the whole command line `program`.
pub(super) fn main(args: &Args, program: clap::Command) -> ExitCode {
    let (done, place) = match &args.what {
        What::Man { directory } => (man(program, directory), directory.display().to_string()),
        What::Completions { shell } => {
            let mut text = Vec::new();
            clap_complete::generate(*shell, &mut shown(&program), "directrix", &mut text);
            (io::stdout().write_all(&text), "the standard output".into())
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(cause) => fail(1, &format!("writing to {place}: {cause}; name a place that can be written to")),
    }
}

/// The command line as `--help` shows it: what is hidden there is for packages, and not to be offered.
fn shown(program: &clap::Command) -> clap::Command {
    let commands = program.get_subcommands().filter(|command| !command.is_hide_set());
    clap::Command::new("directrix")
        .version(env!("CARGO_PKG_VERSION"))
        .args(program.get_arguments())
        .subcommands(commands)
}

fn man(program: clap::Command, directory: &Path) -> io::Result<()> {
    std::fs::create_dir_all(directory)?;
    for (name, page) in pages::of(program)?.into_iter().chain([config_page::page()]) {
        std::fs::write(directory.join(name), page)?;
    }
    Ok(())
}
