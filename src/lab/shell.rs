//! Shell on a host of the lab.

use super::host::{PORT, PRIVATE_GATEWAY, PRIVATE_GATEWAY6, ROUTER_CLIENT_SIDE, ROUTER_CLIENT_SIDE6};
use super::layout::Layout;
use super::options::LabOptions;
use super::runner::check_root;
use super::state::StateDirectory;
use super::step::{Step, quoted};
use super::{Deployment, LabHost, programs};
use crate::model::Diagnostic;
use std::ffi::OsString;
use std::net::{IpAddr, SocketAddr};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, ExitCode};

/// Replaces this process by the command `words` on `host` of the lab called `name`, by default an interactive shell.
/// `PATH` includes `directrix`, and `DIRECTRIX_SOCKET` names the director's control socket.
///
/// # Errors
/// [`Diagnostic`] if the lab is not running, or the program cannot be started. Does not return otherwise.
pub fn enter(name: &str, host: LabHost, words: &[String]) -> Result<ExitCode, Diagnostic> {
    check_root()?;
    let directory = StateDirectory::of(name)?;
    let options = directory.load()?.options;
    let words = if words.is_empty() { interactive(&directory, host)? } else { words.to_vec() };
    let path = path(&options).unwrap_or_else(programs::search_path);
    if let Some(message) = programs::missing_message(words.first().map(String::as_str), &path) {
        return Err(Diagnostic::invalid_argument(message));
    }
    let step = Step::within(&options.namespace(host), words);
    let mut command = Command::new(&step.words()[0]);
    command.args(&step.words()[1..]).env("DIRECTRIX_SOCKET", directory.socket());
    command.env("PS1", prompt(name, host)).env("PATH", path);
    Err(Diagnostic::io(step.to_string(), &command.exec()))
}

/// Hints for the user of a running lab.
#[must_use]
pub fn hints(deployment: &Deployment) -> String {
    let name = match deployment.options().name.as_str() {
        "directrix" => String::new(),
        other => format!(" --name {other}"),
    };
    let vips = deployment.options().family.vips();
    let curl = |vip: &IpAddr| {
        let url = quoted(&format!("http://{}/", SocketAddr::new(*vip, PORT)));
        format!("    directrix lab shell{name} client -- curl {url}\n")
    };
    format!(
        "{}\n\
         The lab is up. Next:\n\
         \x20   directrix lab run{name}\n\
         {}\
         \x20   directrix lab shell{name} director -- directrix ipvsadm -Ln\n\
         \x20   directrix lab shell{name} switch -- tcpdump -nei any    # each frame at each port, with MAC addresses\n\
         \x20   directrix lab shell{name} rs1\n\
         \x20   directrix lab down{name}",
        drawings(deployment.options()),
        vips.iter().map(curl).collect::<String>()
    )
}

/// A drawing for each family of the lab.
fn drawings(options: &LabOptions) -> String {
    let all: Vec<_> = options.family.vips().iter().map(|vip| drawing(options, *vip)).collect();
    all.join("\n")
}

/// Drawing of the hosts with their addresses of the family of `vip`.
fn drawing(options: &LabOptions, vip: IpAddr) -> String {
    let (layout, place) = (options.layout, options.vip_interface(vip));
    let line = |host: LabHost, remark: &str| {
        let address = host.address_beside(vip, layout).map(|address| address.to_string()).unwrap_or_default();
        format!("{:<9}{address:<18}{}  {remark}", host.name(), host.mac())
    };
    let (private_gateway, client_side, how) = match vip {
        IpAddr::V4(_) => (IpAddr::from(PRIVATE_GATEWAY), IpAddr::from(ROUTER_CLIENT_SIDE), "ARP"),
        IpAddr::V6(_) => (IpAddr::from(PRIVATE_GATEWAY6), IpAddr::from(ROUTER_CLIENT_SIDE6), "NDP"),
    };
    let private = if layout == Layout::TwoSubnets { format!(", {private_gateway}") } else { String::new() };
    let [first, second] = LabHost::REAL_SERVERS
        .map(|server| line(server, &format!("VIP {vip} on {place}, weight {}", server.weight())));
    format!(
        "  {}\n    │ {client_side}\n  {}\n    │\n  switch ─┬─ {}\n          ├─ {first}\n          └─ {second}\n",
        line(LabHost::Client, ""),
        line(LabHost::Router, &format!("on the segment{private}")),
        line(LabHost::Director, &format!("VIP {vip} by {how}")),
    )
}

/// Command of an interactive shell. The start files of bash overwrite a prompt from the environment, so bash gets a start
/// file of the lab.
fn interactive(directory: &StateDirectory, host: LabHost) -> Result<Vec<String>, Diagnostic> {
    let shell = std::env::var("SHELL").unwrap_or_else(|_| "/bin/sh".into());
    if Path::new(&shell).file_name().is_none_or(|name| name != "bash") {
        return Ok(vec![shell]);
    }
    let file = directory.path(&format!("{host}.bashrc"));
    let text = format!("[ -r ~/.bashrc ] && . ~/.bashrc\nPS1='{}'\n", prompt(directory.name(), host));
    std::fs::write(&file, text).map_err(|error| Diagnostic::io(file.display().to_string(), &error))?;
    Ok(vec![shell, "--rcfile".into(), file.display().to_string(), "-i".into()])
}

fn prompt(name: &str, host: LabHost) -> String {
    format!("{name}:{host}# ")
}

fn path(options: &LabOptions) -> Option<OsString> {
    let own = options.exe.parent()?.to_path_buf();
    let path = programs::search_path();
    std::env::join_paths(std::iter::once(own).chain(std::env::split_paths(&path))).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lab::{Arp, Family};

    #[test]
    fn drawings_have_every_host_with_its_addresses() {
        let layouts = [Layout::OneSubnet, Layout::TwoSubnets];
        let families = [Family::V4, Family::V6, Family::Both];
        for (layout, family) in layouts.into_iter().flat_map(|layout| families.map(|family| (layout, family)))
        {
            let drawing = drawings(&LabOptions { layout, family, ..LabOptions::new("d", "x") });
            let hosts = LabHost::ALL.into_iter().filter(|host| *host != LabHost::Switch);
            let pairs = hosts.flat_map(|host| family.vips().iter().map(move |vip| (host, vip)));
            for (host, vip) in pairs {
                let address = host.address_beside(*vip, layout).unwrap().to_string();
                let line = drawing.lines().find(|line| line.contains(host.name()) && line.contains(&address));
                assert!(line.is_some_and(|line| line.contains(&host.mac().to_string())), "{host}: {drawing}");
            }
            assert!(drawing.lines().all(|line| line.chars().count() <= 100), "{drawing}");
        }
    }

    #[test]
    fn drawings_name_the_interface_of_the_vip() {
        let drawn = |arp, family| drawings(&LabOptions { arp, family, ..LabOptions::new("d", "x") });
        for (arp, family, on_lo, on_eth0) in [
            (Arp::Sysctl, Family::Both, 4, 0),
            (Arp::Static, Family::Both, 2, 2),
            (Arp::None, Family::V6, 0, 2),
            (Arp::None, Family::V4, 2, 0),
        ] {
            let text = drawn(arp, family);
            let with = |words: &str| text.lines().filter(|line| line.contains(words)).count();
            assert_eq!((with(" on lo,"), with(" on eth0,")), (on_lo, on_eth0), "{text}");
        }
    }
}
