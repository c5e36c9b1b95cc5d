//! Setup of a real server, and undo.

use super::host::{
    Address, AddressUse, InterfaceInfo, NetlinkConnection, address_use, free_label, require_net_admin,
    single_prefix,
};
use super::options::RealServerOptions;
use super::persist;
use super::state::{PlacedVip, SavedSysctl, SetupState, StateFile};
use super::step::{SetupStep, add_command};
use super::sysctl::{SysctlKey, SysctlName};
use crate::model::Diagnostic;
use std::net::IpAddr;
use std::path::Path;

/// Required values of `arp_ignore` and `arp_announce`.
const REQUIRED: [(SysctlName, i32); 2] = [(SysctlName::ArpIgnore, 1), (SysctlName::ArpAnnounce, 2)];

/// Prepares this host as a real server for the VIPs. Correct settings stay.
///
/// Calls `report` after each step. With `persistent_by`, a program, writes units that run it after a reboot.
///
/// # Errors
/// Without any change: no CAP_NET_ADMIN, a missing interface or one with ARP, IPv6 switched off there, a VIP on another
/// interface or with another prefix, a state file that cannot be written, units without systemd. Later failures are those of the kernel or
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
    let link = quiet_interface(options, &links)?;
    if options.has_ipv6() {
        refuse_without_ipv6(&link.name)?;
    }
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

/// Restores the state before [`setup`]; the ARP settings with the last IPv4 VIP. Removes the units of the VIPs, also without
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
    restore_sysctls(&mut state, report)?;
    if state.vips.is_empty() { file.remove() } else { file.save(&state) }
}

/// Restores the sysctls, unless an IPv4 VIP is left.
fn restore_sysctls(state: &mut SetupState, report: &mut dyn FnMut(&SetupStep)) -> Result<(), Diagnostic> {
    let remaining = listed(state, IpAddr::is_ipv4);
    if !remaining.is_empty() {
        report(&SetupStep::remark(format!("the ARP settings stay for the remaining VIPs: {remaining}")));
        return Ok(());
    }
    for saved in &state.sysctls {
        set(&saved.key, saved.before, "as it was before", report)?;
    }
    state.sysctls.clear();
    Ok(())
}

fn refused(what: String, cause: String, remedy: String) -> Diagnostic {
    Diagnostic::system(what).cause(cause).remedy(remedy)
}

/// The interface of the VIPs, which answers for none of them.
fn quiet_interface<'l>(
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
        let cause = if options.has_ipv4() {
            "it does ARP, and would answer for the VIP with every setting of arp_ignore"
        } else {
            "it does neighbor discovery, and would answer for the VIP"
        };
        return Err(refused(what, cause.into(), "leave out --interface: lo is right".into()));
    }
    if link.vrf && options.has_ipv6() {
        let cause = "it is a VRF device, which answers solicitations for the VIP on its interfaces".into();
        let remedy = format!(
            "use a dummy interface in it: ip link add vip0 type dummy && ip link set dev vip0 master {name} up"
        );
        return Err(refused(what, cause, remedy));
    }
    Ok(link)
}

/// Refuses an interface that the kernel gives no IPv6 address.
fn refuse_without_ipv6(interface: &str) -> Result<(), Diagnostic> {
    let key = SysctlKey::new(interface, SysctlName::DisableIpv6);
    let what = format!("putting an IPv6 VIP on {interface}");
    match key.read()? {
        Some(0) => Ok(()),
        Some(_) => Err(refused(
            what,
            "IPv6 is off there: disable_ipv6 is 1, and the kernel refuses every address (EACCES)".into(),
            format!("switch it on: {}", key.command(0)),
        )),
        None => {
            let cause = "this kernel has no IPv6, or the interface's MTU is below 1280".into();
            Err(refused(what, cause, "start the kernel without ipv6.disable=1".into()))
        }
    }
}

/// Refuses a VIP on another interface, or with another prefix than /32 or /128: it may be intended.
fn refuse_misplaced(
    vip: IpAddr,
    link: &InterfaceInfo,
    links: &[InterfaceInfo],
    addresses: &[Address],
) -> Result<(), Diagnostic> {
    let (mut present, prefix) = (addresses.iter().filter(|address| address.ip == vip), single_prefix(vip));
    let Some(address) = present.find(|address| address.index != link.index || address.prefix != prefix)
    else {
        return Ok(());
    };
    let at = links.iter().find(|link| link.index == address.index);
    let (name, what) = (at.map_or("?", |at| &at.name), format!("putting {vip}/{prefix} on {}", link.name));
    let cause = format!("the host has it already, as {vip}/{} on {name}", address.prefix);
    let removal = format!("remove that first: ip address del {vip}/{} dev {name}", address.prefix);
    let (cause, remedy) = match at.map(|at| address_use(address, at, addresses)) {
        Some(AddressUse::Own) => (
            format!("it is this host's own address, the only one on {name}"),
            "name the VIP of the service with --vip, not the RIP".into(),
        ),
        Some(AddressUse::OwnOrVip) => {
            let remedy = "if it is the RIP, name the VIP of the service with --vip; if it is the VIP,";
            (format!("{cause}, the only address there"), format!("{remedy} {removal}"))
        }
        _ => (cause, removal),
    };
    Err(refused(what, cause, remedy))
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

fn has(addresses: &[Address], link: &InterfaceInfo, vip: IpAddr) -> bool {
    placed(addresses, link, vip).is_some()
}

/// The VIP's address on the interface, with the right prefix.
fn placed<'a>(addresses: &'a [Address], link: &InterfaceInfo, vip: IpAddr) -> Option<&'a Address> {
    let prefix = single_prefix(vip);
    let mut on_link = addresses.iter().filter(|address| address.index == link.index);
    on_link.find(|address| address.ip == vip && address.prefix == prefix)
}

/// Adds the current settings to the state, unless they are recorded.
fn record(
    state: &mut SetupState,
    options: &RealServerOptions,
    addresses: &[Address],
) -> Result<(), Diagnostic> {
    if options.has_ipv4() {
        record_sysctls(state, &options.interface)?;
    }
    for &vip in &options.vips {
        if state.vips.iter().all(|placed| placed.vip != vip) {
            let present = addresses.iter().find(|address| address.ip == vip);
            let was_preferred = present.is_some_and(|address| vip.is_ipv6() && !address.deprecated);
            let interface = options.interface.clone();
            state.vips.push(PlacedVip { vip, interface, added: present.is_none(), was_preferred });
        }
    }
    Ok(())
}

fn record_sysctls(state: &mut SetupState, interface: &str) -> Result<(), Diagnostic> {
    for interface in ["all", interface] {
        for (name, wanted) in REQUIRED {
            let key = SysctlKey::new(interface, name);
            let Some(before) = key.read()? else { continue };
            if state.sysctls.iter().all(|saved| saved.key != key) {
                state.sysctls.push(SavedSysctl { key, before, wanted });
            }
        }
    }
    Ok(())
}

fn recorded(options: &RealServerOptions, file: &StateFile) -> Result<SetupState, Diagnostic> {
    let what = |vip: &IpAddr| format!("undoing the setup of {vip}");
    let Some(state) = file.load()? else {
        let cause = format!("there is no record of a setup in {}", file.path().display());
        let remedy =
            "nothing was changed; \"directrix realserver check\" shows the state of this host".into();
        return Err(refused(what(&options.vips[0]), cause, remedy));
    };
    match options.vips.iter().find(|vip| state.vips.iter().all(|placed| placed.vip != **vip)) {
        None => Ok(state),
        Some(vip) => {
            let remedy = format!("nothing was changed; these can be undone: {}", listed(&state, |_| true));
            Err(refused(what(vip), "it was not set up".into(), remedy))
        }
    }
}

/// Recorded VIPs of a kind.
fn listed(state: &SetupState, of_kind: impl Fn(&IpAddr) -> bool) -> String {
    let vips = state.vips.iter().filter(|placed| of_kind(&placed.vip));
    vips.map(|placed| placed.vip.to_string()).collect::<Vec<_>>().join(", ")
}

fn meaning(name: SysctlName) -> &'static str {
    match name {
        SysctlName::ArpIgnore => "answer ARP only for addresses of the receiving interface",
        SysctlName::ArpAnnounce => "send ARP requests with the interface's own address, never with the VIP",
        SysctlName::RpFilter => "drop packets that arrive on another interface than the route back",
        SysctlName::DisableIpv6 => "no IPv6 on this interface",
        SysctlName::Forwarding => "forward packets of IPv6",
        SysctlName::ProxyNdp => "answer solicitations for proxy entries",
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
    vip: IpAddr,
    link: &InterfaceInfo,
    host: &NetlinkConnection,
    report: &mut dyn FnMut(&SetupStep),
) -> Result<(), Diagnostic> {
    let (addresses, prefix) = (host.addresses()?, single_prefix(vip));
    if let Some(address) = placed(&addresses, link, vip) {
        if vip.is_ipv6() && !address.deprecated {
            return deprecate(vip, link, host, report);
        }
        report(&SetupStep::remark(format!("{vip}/{prefix} is on {} already", link.name)));
        return Ok(());
    }
    let label = if vip.is_ipv4() { free_label(&link.name, &addresses) } else { None };
    host.add_address(link.index, vip, label.as_deref())?;
    let shown = label.map(|label| format!(" label {label}")).unwrap_or_default();
    let remark = if vip.is_ipv4() {
        "accept packets to the VIP; the kernel adds the route"
    } else {
        "accept packets to the VIP; never its own source address"
    };
    report(&SetupStep { command: add_command(vip, &link.name) + &shown, remark: remark.into() });
    Ok(())
}

/// Keeps the kernel from choosing a present IPv6 VIP as source address.
fn deprecate(
    vip: IpAddr,
    link: &InterfaceInfo,
    host: &NetlinkConnection,
    report: &mut dyn FnMut(&SetupStep),
) -> Result<(), Diagnostic> {
    host.set_deprecated(link.index, vip, true)?;
    let command = format!("ip address change {vip}/128 dev {} preferred_lft 0", link.name);
    report(&SetupStep { command, remark: "never its own source address".into() });
    Ok(())
}

fn remove_vip(
    state: &SetupState,
    vip: IpAddr,
    host: &NetlinkConnection,
    report: &mut dyn FnMut(&SetupStep),
) -> Result<(), Diagnostic> {
    let Some(placed) = state.vips.iter().find(|placed| placed.vip == vip) else { return Ok(()) };
    let (interface, links) = (&placed.interface, host.links()?);
    let link = links.iter().find(|link| link.name == *interface);
    match link {
        Some(link) if placed.was_preferred && has(&host.addresses()?, link, vip) => {
            host.set_deprecated(link.index, vip, false)?;
            let command = format!("ip address change {vip}/128 dev {interface} preferred_lft forever");
            report(&SetupStep { command, remark: "as it was before".into() });
        }
        _ if !placed.added => {
            report(&SetupStep::remark(format!("{vip} stays on {interface}: it was there before")))
        }
        Some(link) if has(&host.addresses()?, link, vip) => {
            host.delete_address(link.index, vip)?;
            let command = format!("ip address del {vip}/{} dev {interface}", single_prefix(vip));
            report(&SetupStep { command, remark: "it was not there before".into() });
        }
        _ => report(&SetupStep::remark(format!("{vip} is not on {interface} any more"))),
    }
    Ok(())
}
