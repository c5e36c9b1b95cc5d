//! directrix as a DUT, over AF_XDP or AF_PACKET.

use super::background::Background;
use super::running::RunningDut;
use super::setup::{DutSetup, SERVICE};
use crate::bench_wire::trial::Dut;
use crate::control::api;
use crate::control::client::Client;
use crate::model::Diagnostic;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::PathBuf;

/// Capacity of the flow table beyond the flows of the traffic, for floods.
const SPARE_CONNECTIONS: u32 = 65_536;

pub(super) struct DirectorDut {
    background: Background,
    socket: PathBuf,
}

impl DirectorDut {
    pub(super) fn start(setup: &DutSetup<'_>) -> Result<Self, Diagnostic> {
        let (file, socket) = (setup.file("toml"), setup.file("sock"));
        std::fs::write(&file, configuration(setup))
            .map_err(|error| Diagnostic::io(file.display().to_string(), &error))?;
        if setup.spec.dut == Dut::Packet {
            setup.enable_gro()?;
        }
        let words =
            ["run", "--config", &file.display().to_string(), "--socket", &socket.display().to_string()];
        let words = words.map(str::to_owned).to_vec();
        Ok(Self { background: Background::start(setup, words, setup.spec.cores.control)?, socket })
    }

    fn query<T>(&self, request: impl AsyncFnOnce(&Client) -> Result<T, Diagnostic>) -> Result<T, Diagnostic> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| Diagnostic::io("querying a director", &error))?;
        runtime.block_on(request(&Client::new(&self.socket)))
    }
}

impl RunningDut for DirectorDut {
    fn suspend(&self) {
        self.background.suspend();
    }

    fn resume(&self) {
        self.background.resume();
    }

    fn check(&mut self) -> Result<(), Diagnostic> {
        self.background.check()
    }

    fn losses(&self) -> Result<BTreeMap<String, u64>, Diagnostic> {
        let drops = self.query(Client::drops)?;
        Ok(drops.into_iter().map(|api::Drops { reason, frames, .. }| (reason, frames)).collect())
    }

    fn connections(&self) -> Result<Option<u64>, Diagnostic> {
        let workers = self.query(Client::workers)?;
        Ok(Some(workers.iter().map(|worker| worker.entries).sum()))
    }
}

/// Configuration file: one service, real servers with fixed MAC addresses, timeouts of a day, so that connections
/// last while other DUTs are selected.
fn configuration(setup: &DutSetup<'_>) -> String {
    let backend = if setup.spec.dut == Dut::Xdp { "xdp" } else { "packet" };
    let connections = setup.spec.traffic.flows.saturating_add(SPARE_CONNECTIONS);
    let mut keys: Vec<(&str, String)> = vec![
        ("interface", format!("\"{}\"", setup.interface.name)),
        ("backend", format!("\"{backend}\"")),
        ("workers", "1".into()),
        ("wait", "\"busy\"".into()),
        ("connections", connections.to_string()),
        ("timeouts", "{ tcp = 86_400, udp = 86_400 }".into()),
    ];
    for (key, value) in setup.spec.keys {
        keys.retain(|(known, _)| known != key);
        keys.push((key, value.clone()));
    }
    let mut text = String::from("[director]\n");
    for (key, value) in keys {
        let _ = writeln!(text, "{key} = {value}"); // a String takes everything
    }
    for protocol in setup.protocols() {
        let _ = write!(text, "[[service]]\nprotocol = \"{protocol}\"\naddress = \"{SERVICE}\"\n");
        text += &servers(setup);
    }
    text
}

/// Real servers in the benchmarking network 198.18.0.0/15, which no interface has. With fixed MAC addresses they need
/// not be on-link.
fn servers(setup: &DutSetup<'_>) -> String {
    let server = |index: u16| {
        let (mac, [high, low]) = (setup.server_mac(index), index.to_be_bytes());
        format!("[[service.server]]\naddress = \"198.19.{high}.{low}\"\nmac = \"{mac}\"\n")
    };
    (0..setup.spec.traffic.servers).map(server).collect()
}
