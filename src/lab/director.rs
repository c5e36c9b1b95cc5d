//! The director of the lab: its configuration and its process.

use super::deployment::Site;
use super::host::{PORT, VIP};
use super::options::Options;
use super::process::Process;
use super::topology::Step;
use super::{Arp, Host, LabError};
use std::time::Duration;

/// Probing for conflicts and finding the real servers takes a few seconds.
const READY_WITHIN: Duration = Duration::from_secs(30);

/// Writes the configuration, shows it, and starts `directrix run` in the director's namespace.
/// Returns once it is ready.
///
/// # Errors
/// [`LabError::Failed`] with its log if it ends or is not ready in time; [`LabError::Interrupted`].
pub(super) fn start(site: &Site<'_>) -> Result<Process, LabError> {
    let options = site.options();
    let (file, log) = (site.directory.path("director.toml"), site.directory.path("director.log"));
    let text = configuration(options);
    std::fs::write(&file, &text).map_err(|error| LabError::io(file.display().to_string(), &error))?;
    site.runner.console.heading(&format!("director: {}", file.display()));
    site.runner.console.quote(&text);
    site.runner.console.heading("director: directrix, in the background");
    let process = site.start("director", &step(site), READY_WITHIN)?;
    site.runner.console.quote(&std::fs::read_to_string(log).unwrap_or_default());
    Ok(process)
}

fn step(site: &Site<'_>) -> Step {
    let options = site.options();
    let words = [
        options.exe.display().to_string(),
        "run".into(),
        "--config".into(),
        site.directory.path("director.toml").display().to_string(),
        "--socket".into(),
        site.directory.socket().display().to_string(),
    ];
    Step::within(&options.namespace(Host::Director), words)
}

/// The director's configuration file.
#[must_use]
pub fn configuration(options: &Options) -> String {
    let mut keys = vec![
        ("interface".to_owned(), "\"eth0\"".to_owned()),
        ("backend".to_owned(), format!("\"{}\"", options.backend.name())),
        // The client's source ports begin anew with each run: each connection is to be counted again.
        ("conn_reuse_mode".to_owned(), "3".to_owned()),
    ];
    if matches!(options.arp, Arp::Static | Arp::None) {
        // Real servers answer for the VIP. With a static entry that does not matter; without one
        // it is what there is to see, and a director that stands by would show less.
        keys.push(("on_conflict".to_owned(), "\"claim\"".to_owned()));
        keys.push(("on_server_claim".to_owned(), "\"ignore\"".to_owned()));
    }
    for (key, value) in &options.director {
        keys.retain(|(known, _)| known != key);
        keys.push((key.clone(), value.clone()));
    }
    let director: String = keys.iter().map(|(key, value)| format!("{key} = {value}\n")).collect();
    format!("[director]\n{director}\n{}{}", service(options), options.more)
}

fn service(options: &Options) -> String {
    let mut text =
        format!("[[service]]\nprotocol = \"tcp\"\naddress = \"{VIP}:{PORT}\"\nscheduler = \"wlc\"\n");
    for server in Host::REAL_SERVERS {
        if let Some(rip) = server.address(options.layout) {
            text += &format!("[[service.server]]\naddress = \"{rip}\"\nweight = {}\n", server.weight());
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lab::{Backend, Layout};

    #[test]
    fn the_configuration_names_backend_servers_and_weights() {
        let text = configuration(&Options { backend: Backend::Packet, ..Options::new("d", "x") });
        assert_eq!(
            text,
            "[director]\ninterface = \"eth0\"\nbackend = \"packet\"\nconn_reuse_mode = 3\n\n\
             [[service]]\nprotocol = \"tcp\"\naddress = \"192.168.195.150:80\"\nscheduler = \"wlc\"\n\
             [[service.server]]\naddress = \"192.168.195.170\"\nweight = 1\n\
             [[service.server]]\naddress = \"192.168.195.171\"\nweight = 2\n"
        );
    }

    #[test]
    fn overrides_replace_and_add() {
        let director = vec![("backend".into(), "\"xdp\"".into()), ("workers".into(), "1".into())];
        let more = "[[service]]\nprotocol = \"udp\"\n".to_owned();
        let text = configuration(&Options { director, more, ..Options::new("d", "x") });
        let start =
            "[director]\ninterface = \"eth0\"\nconn_reuse_mode = 3\nbackend = \"xdp\"\nworkers = 1\n\n";
        assert!(text.starts_with(start));
        assert!(text.ends_with("weight = 2\n[[service]]\nprotocol = \"udp\"\n"));
    }

    #[test]
    fn where_real_servers_answer_the_director_claims_the_vip_all_the_same() {
        let claims = |arp| {
            configuration(&Options { arp, ..Options::new("d", "x") })
                .contains("on_conflict = \"claim\"\non_server_claim = \"ignore\"\n")
        };
        assert!(claims(Arp::Static) && claims(Arp::None));
        assert!(!claims(Arp::Sysctl) && !claims(Arp::Arptables));
    }

    #[test]
    fn private_real_servers_are_configured_by_their_private_addresses() {
        let text = configuration(&Options { layout: Layout::TwoSubnets, ..Options::new("d", "x") });
        assert!(
            text.contains("address = \"10.195.0.170\"") && text.contains("address = \"192.168.195.150:80\"")
        );
    }
}
