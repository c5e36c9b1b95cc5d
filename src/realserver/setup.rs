//! Setup of a real server, and undo.

use super::host::{Address, InterfaceInfo, NetlinkConnection, free_label, require_net_admin};
use super::options::RealServerOptions;
use super::persist;
use super::state::{PlacedVip, SavedSysctl, SetupState, StateFile};
use super::step::SetupStep;
use super::sysctl::{SysctlKey, SysctlName};
use crate::model::Diagnostic;
use std::net::Ipv4Addr;
use std::path::Path;

/// Required values of `arp_ignore` and `arp_announce`.
const REQUIRED: [(SysctlName, i32); 2] = [(SysctlName::ArpIgnore, 1), (SysctlName::ArpAnnounce, 2)];

/// Prepares this host as a real server for the VIPs. Correct settings stay.
///
/// Calls `report` after each step. With `persistent_by`, a program, writes units that run it after a reboot.
///
/// # Errors
/// Without any change: no CAP_NET_ADMIN, a missing interface or one with ARP, a VIP on another interface or with another
/// prefix, a state file that cannot be written, units without systemd. Later failures are those of the kernel or
/// the file system; the steps until then are recorded for [`undo`].
pub fn setup(
    options: &RealServerOptions,
    persistent_by: Option<&Path>,
    report: &mut dyn FnMut(&SetupStep),
) -> Result<(), Diagnostic> {
    require_net_admin("setting up a real server")?;
    if persistent_by.is_some() {
        persist::check_possible(options)?;
    }
    let host = NetlinkConnection::open()?;
    let (links, addresses) = (host.links()?, host.addresses()?);
    let link = interface_without_arp(options, &links)?;
    for vip in &options.vips {
        refuse_misplaced(*vip, link, &links, &addresses)?;
    }
    let file = StateFile::open(options)?;
    let mut state = in_effect(file.load()?, &links, &addresses)?.unwrap_or_default();
    record(&mut state, options, &addresses)?;
    file.save(&state)?;
    for saved in &state.sysctls {
        set(&saved.key, saved.wanted, meaning(saved.key.name), report)?;
    }
    for vip in &options.vips {
        add_vip(*vip, link, &host, report)?;
    }
    match persistent_by {
        None => Ok(()),
        Some(exe) => persist::persist(options, exe, report),
    }
}

/// Restores the state before [`setup`]; the ARP settings with the last VIP. Removes the units of the VIPs, also without
/// a record of a setup.
///
/// # Errors
/// Without any change: no CAP_NET_ADMIN, or no record of a setup of one of the VIPs. Later failures are those of the
/// kernel; the remaining steps stay recorded.
pub fn undo(options: &RealServerOptions, report: &mut dyn FnMut(&SetupStep)) -> Result<(), Diagnostic> {
    require_net_admin("undoing the setup of a real server")?;
    let host = NetlinkConnection::open()?;
    let (links, addresses) = (host.links()?, host.addresses()?);
    let file = StateFile::open(options)?;
    let removed_units = persist::remove_units(options, report)?;
    let mut state = match recorded(options, &file) {
        Err(_) if removed_units => {
            report(&SetupStep::remark("no other setup of these VIPs is recorded".into()));
            return Ok(());
        }
        recorded => recorded?,
    };
    if in_effect(Some(state.clone()), &links, &addresses)?.is_none() {
        report(&SetupStep::remark("the setup no longer exists: the record is removed".into()));
        return file.remove();
    }
    for vip in &options.vips {
        remove_vip(&state, *vip, &host, report)?;
        state.vips.retain(|placed| placed.vip != *vip);
    }
    if !state.vips.is_empty() {
        report(&SetupStep::remark(format!(
            "the ARP settings stay for the remaining VIPs: {}",
            listed(&state)
        )));
        return file.save(&state);
    }
    for saved in &state.sysctls {
        set(&saved.key, saved.before, "as it was before", report)?;
    }
    file.remove()
}

fn refused(what: String, cause: String, remedy: String) -> Diagnostic {
    Diagnostic::system(what).cause(cause).remedy(remedy)
}

fn interface_without_arp<'l>(
    options: &RealServerOptions,
    links: &'l [InterfaceInfo],
) -> Result<&'l InterfaceInfo, Diagnostic> {
    let (name, what) = (&options.interface, format!("putting the VIP on {}", options.interface));
    let Some(link) = links.iter().find(|link| link.name == *name) else {
        let names: Vec<_> = links.iter().filter(|link| !link.arp).map(|link| link.name.as_str()).collect();
        let remedy = format!("these can take it: {}", names.join(", "));
        return Err(refused(what, "there is no such interface".into(), remedy));
    };
    if link.arp {
        let cause = "it does ARP, and would answer for the VIP with every setting of arp_ignore".into();
        return Err(refused(what, cause, "leave out --interface: lo is right".into()));
    }
    Ok(link)
}

/// Refuses a VIP on another interface, or with another prefix than /32: it may be intended.
fn refuse_misplaced(
    vip: Ipv4Addr,
    link: &InterfaceInfo,
    links: &[InterfaceInfo],
    addresses: &[Address],
) -> Result<(), Diagnostic> {
    let mut present = addresses.iter().filter(|address| address.ip == vip);
    let Some(address) = present.find(|address| address.index != link.index || address.prefix != 32) else {
        return Ok(());
    };
    let name = links.iter().find(|link| link.index == address.index).map_or("?", |link| &link.name);
    let what = format!("putting {vip}/32 on {}", link.name);
    let cause = format!("the host has it already, as {vip}/{} on {name}", address.prefix);
    Err(refused(
        what,
        cause,
        format!("remove that first: ip address del {vip}/{} dev {name}", address.prefix),
    ))
}

/// The state, if any part of it is in effect. Otherwise it belongs to a removed namespace (the kernel reuses inodes), or
/// the settings were restored by hand.
fn in_effect(
    state: Option<SetupState>,
    links: &[InterfaceInfo],
    addresses: &[Address],
) -> Result<Option<SetupState>, Diagnostic> {
    let Some(state) = state else { return Ok(None) };
    for placed in &state.vips {
        let link = links.iter().find(|link| link.name == placed.interface);
        if link.is_some_and(|link| has(addresses, link, placed.vip)) {
            return Ok(Some(state));
        }
    }
    for saved in state.sysctls.iter().filter(|saved| saved.before != saved.wanted) {
        if saved.key.read()? == Some(saved.wanted) {
            return Ok(Some(state));
        }
    }
    Ok(None)
}

fn has(addresses: &[Address], link: &InterfaceInfo, vip: Ipv4Addr) -> bool {
    addresses.iter().any(|address| address.ip == vip && address.index == link.index && address.prefix == 32)
}

/// Adds the current settings to the state, unless they are recorded.
fn record(
    state: &mut SetupState,
    options: &RealServerOptions,
    addresses: &[Address],
) -> Result<(), Diagnostic> {
    for interface in ["all", &options.interface] {
        for (name, wanted) in REQUIRED {
            let key = SysctlKey::new(interface, name);
            let Some(before) = key.read()? else { continue };
            if state.sysctls.iter().all(|saved| saved.key != key) {
                state.sysctls.push(SavedSysctl { key, before, wanted });
            }
        }
    }
    for &vip in &options.vips {
        if state.vips.iter().all(|placed| placed.vip != vip) {
            let added = addresses.iter().all(|address| address.ip != vip);
            state.vips.push(PlacedVip { vip, interface: options.interface.clone(), added });
        }
    }
    Ok(())
}

fn recorded(options: &RealServerOptions, file: &StateFile) -> Result<SetupState, Diagnostic> {
    let what = |vip: &Ipv4Addr| format!("undoing the setup of {vip}");
    let Some(state) = file.load()? else {
        let cause = format!("there is no record of a setup in {}", file.path().display());
        let remedy =
            "nothing was changed; \"directrix realserver check\" shows the state of this host".into();
        return Err(refused(what(&options.vips[0]), cause, remedy));
    };
    match options.vips.iter().find(|vip| state.vips.iter().all(|placed| placed.vip != **vip)) {
        None => Ok(state),
        Some(vip) => {
            let remedy = format!("nothing was changed; these can be undone: {}", listed(&state));
            Err(refused(what(vip), "it was not set up".into(), remedy))
        }
    }
}

fn listed(state: &SetupState) -> String {
    let vips: Vec<_> = state.vips.iter().map(|placed| placed.vip.to_string()).collect();
    vips.join(", ")
}

fn meaning(name: SysctlName) -> &'static str {
    match name {
        SysctlName::ArpIgnore => "answer ARP only for addresses of the receiving interface",
        SysctlName::ArpAnnounce => "send ARP requests with the interface's own address, never with the VIP",
        SysctlName::RpFilter => "drop packets that arrive on another interface than the route back",
    }
}

fn set(key: &SysctlKey, value: i32, why: &str, report: &mut dyn FnMut(&SetupStep)) -> Result<(), Diagnostic> {
    let path = key.path();
    match key.read()? {
        None => report(&SetupStep::remark(format!("{} does not exist any more", path.display()))),
        Some(now) if now == value => {
            report(&SetupStep::remark(format!("{} is {value} already", path.display())))
        }
        Some(now) => {
            key.write(value)?;
            report(&SetupStep { command: key.command(value), remark: format!("was {now}; {why}") });
        }
    }
    Ok(())
}

fn add_vip(
    vip: Ipv4Addr,
    link: &InterfaceInfo,
    host: &NetlinkConnection,
    report: &mut dyn FnMut(&SetupStep),
) -> Result<(), Diagnostic> {
    let addresses = host.addresses()?;
    if has(&addresses, link, vip) {
        report(&SetupStep::remark(format!("{vip}/32 is on {} already", link.name)));
        return Ok(());
    }
    let label = free_label(&link.name, &addresses);
    host.add_address(link.index, vip, label.as_deref())?;
    let shown = label.map(|label| format!(" label {label}")).unwrap_or_default();
    report(&SetupStep {
        command: format!("ip address add {vip}/32 dev {}{shown}", link.name),
        remark: "accept packets to the VIP; the kernel adds the route".into(),
    });
    Ok(())
}

fn remove_vip(
    state: &SetupState,
    vip: Ipv4Addr,
    host: &NetlinkConnection,
    report: &mut dyn FnMut(&SetupStep),
) -> Result<(), Diagnostic> {
    let Some(placed) = state.vips.iter().find(|placed| placed.vip == vip) else { return Ok(()) };
    let (interface, links) = (&placed.interface, host.links()?);
    let link = links.iter().find(|link| link.name == *interface);
    match link {
        _ if !placed.added => {
            report(&SetupStep::remark(format!("{vip} stays on {interface}: it was there before")))
        }
        Some(link) if has(&host.addresses()?, link, vip) => {
            host.delete_address(link.index, vip)?;
            let command = format!("ip address del {vip}/32 dev {interface}");
            report(&SetupStep { command, remark: "it was not there before".into() });
        }
        _ => report(&SetupStep::remark(format!("{vip} is not on {interface} any more"))),
    }
    Ok(())
}
