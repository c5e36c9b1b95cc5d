//! From a [`Config`] to the text of a file that says the same.

use super::{
    BackendChoice, Config, Director, OnConflict, RealServer, Timeouts, VirtualService, Wait, Workers,
};
use std::fmt::{self, Display, Formatter};

impl Display for Config {
    /// As TOML, every key spelled out. [`super::parse`] makes the same configuration of it, but for the
    /// places where things stand.
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        director(f, &self.director)?;
        self.services.iter().try_for_each(|one| service(f, one))
    }
}

fn director(f: &mut Formatter<'_>, director: &Director) -> fmt::Result {
    writeln!(f, "[director]\ninterface = {}", quoted(&director.interface))?;
    if let Some(interface) = &director.server_interface {
        writeln!(f, "server_interface = {}", quoted(interface))?;
    }
    writeln!(f, "backend = \"{}\"", backend(director.backend))?;
    match director.workers {
        Workers::Auto => writeln!(f, "workers = \"auto\"")?,
        Workers::Count(count) => writeln!(f, "workers = {count}")?,
    }
    writeln!(f, "connections = {}", director.connections)?;
    writeln!(f, "wait = \"{}\"", wait(director.wait))?;
    writeln!(f, "huge_pages = {}", director.huge_pages)?;
    writeln!(f, "announce_interval = {}", director.announce_interval.secs())?;
    writeln!(f, "on_conflict = \"{}\"", on_conflict(director.on_conflict))?;
    let Timeouts { tcp, tcp_fin, udp } = director.timeouts;
    writeln!(
        f,
        "\n[director.timeouts]\ntcp = {}\ntcpfin = {}\nudp = {}",
        tcp.secs(),
        tcp_fin.secs(),
        udp.secs()
    )
}

fn service(f: &mut Formatter<'_>, service: &VirtualService) -> fmt::Result {
    let protocol = service.address.protocol.to_string().to_lowercase();
    writeln!(f, "\n[[service]]\nprotocol = \"{protocol}\"\naddress = \"{}\"", service.address.address)?;
    writeln!(f, "scheduler = \"{}\"", service.scheduler.name())?;
    let flags: Vec<_> =
        service.scheduler_flags.names(service.scheduler).map(|flag| format!("\"{flag}\"")).collect();
    if !flags.is_empty() {
        writeln!(f, "scheduler_flags = [{}]", flags.join(", "))?;
    }
    service.servers.iter().try_for_each(|one| server(f, one))
}

fn server(f: &mut Formatter<'_>, server: &RealServer) -> fmt::Result {
    writeln!(f, "\n[[service.server]]\naddress = \"{}\"\nweight = {}", server.address, server.weight.0)?;
    if server.upper_threshold > 0 {
        writeln!(f, "upper_threshold = {}", server.upper_threshold)?;
    }
    if server.lower_threshold > 0 {
        writeln!(f, "lower_threshold = {}", server.lower_threshold)?;
    }
    server.mac.map_or(Ok(()), |mac| writeln!(f, "mac = \"{mac}\""))
}

/// An interface's name may have quotes in it.
fn quoted(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

fn backend(choice: BackendChoice) -> &'static str {
    match choice {
        BackendChoice::Auto => "auto",
        BackendChoice::Xdp => "xdp",
        BackendChoice::Packet => "packet",
    }
}

fn wait(wait: Wait) -> &'static str {
    match wait {
        Wait::Adaptive => "adaptive",
        Wait::Busy => "busy",
    }
}

fn on_conflict(on_conflict: OnConflict) -> &'static str {
    match on_conflict {
        OnConflict::Refuse => "refuse",
        OnConflict::Claim => "claim",
    }
}
