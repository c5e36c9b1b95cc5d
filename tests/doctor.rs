//! `directrix doctor` in network namespaces: each trap is set, found, and gone after the remedy.
//!
//! ```text
//!   peer 10.0.0.2 ── veth ── 10.0.0.1 director, VIP 10.0.0.100
//! ```

mod support;

#[path = "doctor/addresses.rs"]
mod addresses;
#[path = "doctor/devices.rs"]
mod devices;
#[path = "doctor/documentation.rs"]
mod documentation;
#[path = "doctor/filters.rs"]
mod filters;
#[path = "doctor/process.rs"]
mod process;
#[path = "doctor/servers.rs"]
mod servers;
#[path = "doctor/traffic.rs"]
mod traffic;
#[path = "doctor/tuning.rs"]
mod tuning;
#[path = "doctor/usage.rs"]
mod usage;

use serde_json::Value;
use std::fs;
use std::process::{Command, Stdio};
use support::site::{EXE, Site};

/// Service 10.0.0.100:80 with the peer as its real server.
const SERVICE: &str = "[[service]]\nprotocol = \"tcp\"\naddress = \"10.0.0.100:80\"\n\
     [[service.server]]\naddress = \"10.0.0.2\"\n";

/// Output of one run.
#[derive(Debug)]
struct Examined {
    status: Option<i32>,
    out: String,
    err: String,
}

impl Examined {
    /// Level, remedy and text of the findings with this id.
    fn findings(&self, id: &str) -> Vec<Value> {
        let report: Value =
            serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {self:?}"));
        let all = report["findings"].as_array().expect("a list").clone();
        all.into_iter().filter(|finding| id.is_empty() || finding["id"] == id).collect()
    }

    /// The only finding with this id.
    fn finding(&self, id: &str) -> Value {
        let found = self.findings(id);
        assert_eq!(found.len(), 1, "{id}: {found:?}");
        found[0].clone()
    }

    /// Ids of the findings of a level.
    fn at(&self, level: &str) -> Vec<String> {
        let found = self.findings("").into_iter().filter(|finding| finding["level"] == level);
        found.map(|finding| finding["id"].as_str().unwrap().to_owned()).collect()
    }
}

impl Site {
    /// Runs the doctor on the director's host with this configuration.
    fn doctor(&self, config: &str) -> Examined {
        self.doctor_as("", config, "--json")
    }

    /// Likewise, by a command that changes the rights of the process.
    fn doctor_as(&self, wrapper: &str, config: &str, options: &str) -> Examined {
        let interface = if config.lines().any(|line| line.starts_with("interface =")) {
            ""
        } else {
            "interface = \"eth0\"\n"
        };
        fs::write(self.file("doctor.toml"), format!("[director]\n{interface}{config}")).unwrap();
        let file = self.file("doctor.toml").display().to_string();
        self.run_doctor(wrapper, &format!("--config {file} {options}"))
    }

    fn run_doctor(&self, wrapper: &str, arguments: &str) -> Examined {
        Self::examined(&mut self.doctor_command(wrapper, arguments))
    }

    fn doctor_command(&self, wrapper: &str, arguments: &str) -> Command {
        let socket = self.socket().display().to_string();
        let mut command =
            self.director.command(&format!("{wrapper} {EXE} doctor --socket {socket} {arguments}"));
        command.stdin(Stdio::null());
        command
    }

    fn examined(command: &mut Command) -> Examined {
        let output = command.output().expect("ip netns exec starts");
        Examined {
            status: output.status.code(),
            out: String::from_utf8_lossy(&output.stdout).into_owned(),
            err: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// Asserts that the trap is found with this level and command, and gone after the command.
    fn mends(&self, config: &str, (id, level): (&str, &str), command: &str) {
        let before = self.doctor(config);
        let finding = before.finding(id);
        assert_eq!(
            (finding["level"].as_str(), &finding["remedy"]["command"]),
            (Some(level), &Value::from(command)),
            "{finding}"
        );
        assert!(!finding["effect"].as_str().unwrap().is_empty(), "{finding}");
        assert_eq!(before.status, Some(i32::from(!before.at("error").is_empty())), "{before:?}");
        self.director.run(command);
        self.is_sound(config, id);
    }

    /// Asserts that the trap is not there.
    fn is_sound(&self, config: &str, id: &str) {
        let found = self.doctor(config).findings(id);
        assert!(found.iter().all(|finding| finding["level"] == "ok"), "{found:?}");
    }

    /// Status and output of `directrix run --check=host` with the configuration of the last examination.
    fn check_host(&self) -> (Option<i32>, String) {
        let file = self.file("doctor.toml").display().to_string();
        let output =
            self.director.command(&format!("{EXE} run --check=host --config {file}")).output().unwrap();
        (output.status.code(), String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned())
    }

    /// True if an ARP request of the peer for `address` is answered.
    fn answers(&self, address: &str) -> bool {
        let arping =
            format!("arping -q -c 2 -w 2 -I eth0 {address} || arping -q -c 2 -w 2 -i eth0 {address}");
        self.peer.command(&arping).stderr(Stdio::null()).status().expect("arping starts").success()
    }
}

#[test]
fn a_sound_host_has_neither_errors_nor_warnings() {
    let site = Site::new();
    for backend in ["auto", "xdp", "packet"] {
        let examined = site.doctor(&format!("backend = \"{backend}\"\n{SERVICE}"));
        let found = ["error", "warn", "unknown"].map(|level| examined.at(level));
        assert_eq!((examined.status, found), (Some(0), [vec![], vec![], vec![]]), "{backend}: {examined:?}");
        assert!(examined.at("ok").len() > 15, "{examined:?}");
    }
}
