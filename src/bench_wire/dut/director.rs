//! directrix itself.

use super::background::Background;
use super::{Forwarder, SERVICE, Site};
use crate::bench_wire::trial::Dut;
use crate::control::api;
use crate::control::client::{Client, ClientError};
use crate::lab::LabError;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::PathBuf;

/// Room in the connection table beyond the traffic's flows, for floods.
const ROOM: u32 = 65_536;

pub(super) struct Director {
    background: Background,
    socket: PathBuf,
}

impl Director {
    pub(super) fn start(site: &Site<'_>) -> Result<Self, LabError> {
        let (file, socket) = (site.file("toml"), site.file("sock"));
        let failed = |error: std::io::Error| LabError::io(file.display().to_string(), &error);
        std::fs::write(&file, configuration(site)).map_err(failed)?;
        if site.plan.dut == Dut::Packet {
            site.merge()?;
        }
        let words =
            ["run", "--config", &file.display().to_string(), "--socket", &socket.display().to_string()];
        let words = words.map(str::to_owned).to_vec();
        Ok(Self { background: Background::start(site, words, site.plan.cores.control)?, socket })
    }

    fn ask<T>(&self, question: impl AsyncFnOnce(&Client) -> Result<T, ClientError>) -> Result<T, LabError> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| LabError::io("asking a director", &error))?;
        let answer = runtime.block_on(question(&Client::new(&self.socket)));
        answer.map_err(|error| LabError::Failed(error.to_string()))
    }
}

impl Forwarder for Director {
    fn suspend(&self) {
        self.background.suspend();
    }

    fn resume(&self) {
        self.background.resume();
    }

    fn check(&mut self) -> Result<(), LabError> {
        self.background.check()
    }

    fn losses(&self) -> Result<BTreeMap<String, u64>, LabError> {
        let drops = self.ask(Client::drops)?;
        Ok(drops.into_iter().map(|api::Drops { reason, frames, .. }| (reason, frames)).collect())
    }

    fn connections(&self) -> Result<Option<u64>, LabError> {
        let workers = self.ask(Client::workers)?;
        Ok(Some(workers.iter().map(|worker| worker.entries).sum()))
    }
}

/// One service, real servers with fixed addresses; connections that do not end while others are on trial.
fn configuration(site: &Site<'_>) -> String {
    let backend = if site.plan.dut == Dut::Xdp { "xdp" } else { "packet" };
    let connections = site.plan.traffic.flows.saturating_add(ROOM);
    let mut keys: Vec<(&str, String)> = vec![
        ("interface", format!("\"{}\"", site.interface.name)),
        ("backend", format!("\"{backend}\"")),
        ("workers", "1".into()),
        ("wait", "\"busy\"".into()),
        ("connections", connections.to_string()),
        ("timeouts", "{ tcp = 86_400, udp = 86_400 }".into()),
    ];
    for (key, value) in site.plan.keys {
        keys.retain(|(known, _)| known != key);
        keys.push((key, value.clone()));
    }
    let mut text = String::from("[director]\n");
    for (key, value) in keys {
        let _ = writeln!(text, "{key} = {value}"); // a String takes everything
    }
    for protocol in site.protocols() {
        let _ = write!(text, "[[service]]\nprotocol = \"{protocol}\"\naddress = \"{SERVICE}\"\n");
        text += &servers(site);
    }
    text
}

/// In the benchmarks' own network, so that no interface has one of these addresses. With fixed MAC
/// addresses they need not be on-link.
fn servers(site: &Site<'_>) -> String {
    let server = |index: u16| {
        let (mac, [high, low]) = (site.server_mac(index), index.to_be_bytes());
        format!("[[service.server]]\naddress = \"198.19.{high}.{low}\"\nmac = \"{mac}\"\n")
    };
    (0..site.plan.traffic.servers).map(server).collect()
}
