//! Conditions of a measurement: machine, system, program and testbed.

use crate::lab::step::quoted;
use serde::{Deserialize, Serialize};
use std::fs;

/// Conditions of one run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Conditions {
    /// Version of this program, with a remark if it is a debug build.
    pub directrix: String,
    /// The command line.
    pub command: String,
    /// Start of the run, UTC (RFC 3339).
    pub date: String,
    /// Name and release of the operating system.
    pub kernel: String,
    /// Model of the processor.
    pub cpu: String,
    /// Number of cores online.
    pub cores: usize,
    /// Whether the CPU flags name a hypervisor: a virtual machine may share its cores.
    pub virtual_machine: bool,
    /// Load average of the minute before the run.
    pub load_average: f64,
    /// DUTs that were left out, each with the reason.
    #[serde(default)]
    pub left_out: Vec<String>,
    /// Description of the testbed: kind of interface, mode, rings, batch.
    pub setting: String,
}

impl Conditions {
    /// Conditions of this machine and process, for the testbed `setting`.
    #[must_use]
    pub fn here(setting: String) -> Self {
        let cpu = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        Self {
            directrix: version(),
            command: command_line(std::env::args()),
            date: jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
            kernel: kernel(),
            cpu: model(&cpu),
            cores: std::thread::available_parallelism().map_or(0, std::num::NonZero::get),
            virtual_machine: cpu_flags(&cpu).any(|flag| flag == "hypervisor"),
            load_average: load_average(&fs::read_to_string("/proc/loadavg").unwrap_or_default()),
            left_out: Vec::new(),
            setting,
        }
    }

    /// Adds the DUTs that were left out.
    #[must_use]
    pub fn with_left_out(self, left_out: &[String]) -> Self {
        Self { left_out: left_out.to_vec(), ..self }
    }

    /// Warning about noise, if other programs keep the machine busy.
    #[must_use]
    pub fn warning(&self) -> Option<String> {
        let (load, cores) = (self.load_average, self.cores);
        (load > BUSY * cores as f64).then(|| {
            format!(
                "Other programs keep this machine busy (load average {load:.1} on {cores} cores): expect noise."
            )
        })
    }
}

/// Load average per core above which a warning is printed.
const BUSY: f64 = 0.3;

/// Version, marked if the build is not optimised.
fn version() -> String {
    let build = if cfg!(debug_assertions) { " (debug build: not comparable)" } else { "" };
    format!("{}{build}", env!("CARGO_PKG_VERSION"))
}

/// Command line, quoted for a shell.
fn command_line(words: impl Iterator<Item = String>) -> String {
    words.map(|word| quoted(&word)).collect::<Vec<_>>().join(" ")
}

fn kernel() -> String {
    let name = nix::sys::utsname::uname();
    name.map_or_else(
        |_| "unknown".into(),
        |name| format!("{} {}", name.sysname().to_string_lossy(), name.release().to_string_lossy()),
    )
}

fn model(cpuinfo: &str) -> String {
    field(cpuinfo, "model name").unwrap_or("unknown").to_owned()
}

fn cpu_flags(cpuinfo: &str) -> impl Iterator<Item = &str> {
    field(cpuinfo, "flags").unwrap_or_default().split_whitespace()
}

/// First value of the key `name`.
fn field<'a>(cpuinfo: &'a str, name: &str) -> Option<&'a str> {
    let mut fields = cpuinfo.lines().filter_map(|line| line.split_once(':'));
    fields.find(|(key, _)| key.trim() == name).map(|(_, value)| value.trim())
}

fn load_average(loadavg: &str) -> f64 {
    loadavg.split_whitespace().next().and_then(|first| first.parse().ok()).unwrap_or(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpuinfo_is_parsed() {
        let text =
            "processor\t: 0\nmodel name\t: AMD EPYC 7571\nflags\t\t: fpu hypervisor avx2\n\nprocessor\t: 1\n";
        assert_eq!(model(text), "AMD EPYC 7571");
        assert!(cpu_flags(text).any(|flag| flag == "hypervisor"));
        assert_eq!(model(""), "unknown");
    }

    #[test]
    fn busy_machine_gets_a_warning() {
        let at = |load_average| Conditions { load_average, cores: 2, ..Conditions::here(String::new()) };
        assert_eq!(at(0.5).warning(), None);
        let text = at(8.5).warning().unwrap();
        assert!(text.contains("(load average 8.5 on 2 cores)"), "{text}");
    }

    #[test]
    fn load_average_is_of_the_last_minute() {
        assert!((load_average("1.25 0.80 0.50 2/345 6789\n") - 1.25).abs() < 1e-9);
        assert!(load_average("").abs() < 1e-9);
    }

    #[test]
    fn command_line_is_quoted() {
        let words = ["directrix", "lab", "bench", "--flows", "1,2", "--out", "my dir", "it's", ""];
        let line = command_line(words.into_iter().map(str::to_owned));
        assert_eq!(line, r"directrix lab bench --flows 1,2 --out 'my dir' 'it'\''s' ''");
    }

    #[test]
    fn conditions_of_this_machine() {
        let here = Conditions::here("nowhere".into());
        assert!(here.kernel.starts_with("Linux "), "{here:?}");
        assert!(here.cores > 0 && here.date.ends_with('Z') && here.date.len() == 20, "{here:?}");
    }
}
