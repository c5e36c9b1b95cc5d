//! `directrix top`: the live screen.

use super::output::print_all;
use super::status::finish;
use crate::top;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

/// The subcommand's arguments.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Refresh interval, 0.1 to 3600; worker and drop rates are averaged over it
    #[arg(long, short, default_value = "1", value_name = "SECONDS", value_parser = interval)]
    interval: Duration,

    /// Print one screen as text, after two samples, and exit
    #[arg(long)]
    once: bool,
}

/// Runs the subcommand.
pub(super) fn main(args: &Args, socket: &Path) -> ExitCode {
    finish(if args.once {
        top::once(socket, args.interval).and_then(|text| print_all(&text))
    } else {
        top::live(socket, args.interval)
    })
}

fn interval(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|_| "write seconds, as in 0.5".to_owned())?;
    if !(0.1..=3600.0).contains(&seconds) {
        return Err("write seconds from 0.1 to 3600, as in 0.5".to_owned());
    }
    Ok(Duration::from_secs_f64(seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interval_is_seconds_within_bounds() {
        assert_eq!(interval("0.5"), Ok(Duration::from_millis(500)));
        assert_eq!(interval("3600"), Ok(Duration::from_secs(3600)));
        for wrong in ["0", "0.09", "-1", "3601", "inf", "NaN", "1s", ""] {
            assert!(interval(wrong).is_err(), "{wrong}");
        }
    }
}
