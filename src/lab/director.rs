//! Configuration and process of the lab's director.

use super::host::PORT;
use super::options::LabOptions;
use super::process::BackgroundProcess;
use super::starter::ProcessStarter;
use super::step::Step;
use super::{Arp, LabHost};
use crate::model::Diagnostic;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

/// Time limit for readiness. Probing and resolving the real servers take a few seconds.
const READY_WITHIN: Duration = Duration::from_secs(30);

/// Writes and prints the configuration and starts `directrix run` in the director's namespace. Returns once it is
/// ready.
///
/// # Errors
/// `System` with its log if it ends or is not ready in time; `Interrupted`.
pub(super) fn start(starter: &ProcessStarter<'_>) -> Result<BackgroundProcess, Diagnostic> {
    let options = starter.options;
    let (file, log) = (starter.directory.path("director.toml"), starter.directory.path("director.log"));
    let text = configuration(options);
    std::fs::write(&file, &text).map_err(|error| Diagnostic::io(file.display().to_string(), &error))?;
    starter.runner.console.heading(&format!("director: {}", file.display()));
    starter.runner.console.quote(&text);
    starter.runner.console.heading("director: directrix, in the background");
    let process = starter.start("director", &step(starter), READY_WITHIN)?;
    starter.runner.console.quote(&std::fs::read_to_string(log).unwrap_or_default());
    Ok(process)
}

fn step(starter: &ProcessStarter<'_>) -> Step {
    let options = starter.options;
    let words = [
        options.exe.display().to_string(),
        "run".into(),
        "--config".into(),
        starter.directory.path("director.toml").display().to_string(),
        "--socket".into(),
        starter.directory.socket().display().to_string(),
    ];
    Step::within(&options.namespace(LabHost::Director), words)
}

/// Generates the director's configuration file.
#[must_use]
pub fn configuration(options: &LabOptions) -> String {
    let mut keys = vec![
        ("interface".to_owned(), "\"eth0\"".to_owned()),
        ("backend".to_owned(), format!("\"{}\"", options.backend.name())),
        // The client reuses its source ports in each run; each connection must be scheduled and counted again.
        ("conn_reuse_mode".to_owned(), "3".to_owned()),
    ];
    if matches!(options.arp, Arp::Static | Arp::None) {
        // Real servers answer ARP for the VIP. A static entry makes that harmless; `--arp none` demonstrates the
        // failure, which a director that refuses the VIP would hide.
        keys.push(("on_conflict".to_owned(), "\"claim\"".to_owned()));
        keys.push(("on_server_claim".to_owned(), "\"ignore\"".to_owned()));
    }
    for (key, value) in &options.director {
        keys.retain(|(known, _)| known != key);
        keys.push((key.clone(), value.clone()));
    }
    let director: String = keys.iter().map(|(key, value)| format!("{key} = {value}\n")).collect();
    let services: String = options.family.vips().iter().map(|vip| service(options, *vip)).collect();
    format!("[director]\n{director}\n{services}{}", options.more)
}

fn service(options: &LabOptions, vip: IpAddr) -> String {
    let address = SocketAddr::new(vip, PORT);
    let mut text = format!("[[service]]\nprotocol = \"tcp\"\naddress = \"{address}\"\nscheduler = \"wlc\"\n");
    for server in LabHost::REAL_SERVERS {
        if let Some(rip) = server.address_beside(vip, options.layout) {
            text += &format!("[[service.server]]\naddress = \"{rip}\"\nweight = {}\n", server.weight());
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lab::{Family, LabBackend, Layout};

    #[test]
    fn configuration_has_backend_servers_and_weights() {
        let text = configuration(&LabOptions { backend: LabBackend::Packet, ..LabOptions::new("d", "x") });
        assert_eq!(
            text,
            "[director]\ninterface = \"eth0\"\nbackend = \"packet\"\nconn_reuse_mode = 3\n\n\
             [[service]]\nprotocol = \"tcp\"\naddress = \"192.168.195.150:80\"\nscheduler = \"wlc\"\n\
             [[service.server]]\naddress = \"192.168.195.170\"\nweight = 1\n\
             [[service.server]]\naddress = \"192.168.195.171\"\nweight = 2\n"
        );
    }

    #[test]
    fn each_family_has_a_service() {
        let text = configuration(&LabOptions { family: Family::Both, ..LabOptions::new("d", "x") });
        assert!(
            text.contains("address = \"192.168.195.150:80\"")
                && text.contains("address = \"192.168.195.171\"")
        );
        assert!(
            text.contains("address = \"[2001:db8:195::150]:80\"")
                && text.contains("address = \"2001:db8:195::171\"")
        );
        let six = configuration(&LabOptions { family: Family::V6, ..LabOptions::new("d", "x") });
        assert!(!six.contains("192.168."), "{six}");
    }

    #[test]
    fn overrides_replace_and_add() {
        let director = vec![("backend".into(), "\"xdp\"".into()), ("workers".into(), "1".into())];
        let more = "[[service]]\nprotocol = \"udp\"\n".to_owned();
        let text = configuration(&LabOptions { director, more, ..LabOptions::new("d", "x") });
        let start =
            "[director]\ninterface = \"eth0\"\nconn_reuse_mode = 3\nbackend = \"xdp\"\nworkers = 1\n\n";
        assert!(text.starts_with(start));
        assert!(text.ends_with("weight = 2\n[[service]]\nprotocol = \"udp\"\n"));
    }

    #[test]
    fn vip_is_claimed_despite_answering_real_servers() {
        let claims = |arp| {
            configuration(&LabOptions { arp, ..LabOptions::new("d", "x") })
                .contains("on_conflict = \"claim\"\non_server_claim = \"ignore\"\n")
        };
        assert!(claims(Arp::Static) && claims(Arp::None));
        assert!(!claims(Arp::Sysctl) && !claims(Arp::Arptables));
    }

    #[test]
    fn private_real_servers_have_private_addresses() {
        let text = configuration(&LabOptions { layout: Layout::TwoSubnets, ..LabOptions::new("d", "x") });
        assert!(
            text.contains("address = \"10.195.0.170\"") && text.contains("address = \"192.168.195.150:80\"")
        );
    }
}
