//! Changing the host, and changing it back.

use super::host::{Address, Host, Link, free_label, require_net_admin};
use super::state::{Placed, Saved, State, StateFile};
use super::sysctl::{Key, Name};
use super::{Options, persist};
use crate::model::Diagnostic;
use std::fmt;
use std::net::Ipv4Addr;
use std::path::Path;

/// What `arp_ignore` and `arp_announce` must be.
const WANTED: [(Name, i32); 2] = [(Name::ArpIgnore, 1), (Name::ArpAnnounce, 2)];

/// Something that was done, or that was as it should be. Shown as a line of shell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// The shell command that does the same; empty if nothing was done.
    pub command: String,
    /// What it is about.
    pub remark: String,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { command, remark } = self;
        match command.as_str() {
            "" => write!(f, "# {remark}"),
            _ => write!(f, "{command:<62} # {remark}"),
        }
    }
}

/// Prepares this host to be a real server for the VIPs; what is right already stays as it is.
///
/// `tell` hears of each step as soon as it is done. With `persistent_by`, a program, units are written that do it
/// again by that program after a reboot.
///
/// # Errors
/// Nothing has been changed: no CAP_NET_ADMIN, no such interface, one that does ARP, a VIP that
/// is there in another way, a state file that cannot be written, no systemd where units are wanted. A later
/// failure is the kernel's or the file system's; what was done until then is on record for [`undo`].
pub fn setup(
    options: &Options,
    persistent_by: Option<&Path>,
    tell: &mut dyn FnMut(&Step),
) -> Result<(), Diagnostic> {
    require_net_admin("setting up a real server")?;
    if persistent_by.is_some() {
        persist::check_possible(options)?;
    }
    let host = Host::open()?;
    let (links, addresses) = (host.links()?, host.addresses()?);
    let link = quiet_link(options, &links)?;
    for vip in &options.vips {
        refuse_misplaced(*vip, link, &links, &addresses)?;
    }
    let file = StateFile::open(options)?;
    let mut state = in_effect(file.load()?, &links, &addresses)?.unwrap_or_default();
    remember(&mut state, options, &addresses)?;
    file.save(&state)?;
    for saved in &state.sysctls {
        set(&saved.key, saved.wanted, meaning(saved.key.name), tell)?;
    }
    options.vips.iter().try_for_each(|vip| place(*vip, link, &host, tell))?;
    persistent_by.map_or(Ok(()), |exe| persist::persist(options, exe, tell))
}

/// Puts back what was there before [`setup`]; the settings with the last VIP. Units for the VIPs go, too, also where nothing
/// else is on record.
///
/// # Errors
/// Nothing has been changed: no CAP_NET_ADMIN, or no record of a setup of one of the VIPs. A
/// later failure is the kernel's; what is left to undo stays on record.
pub fn undo(options: &Options, tell: &mut dyn FnMut(&Step)) -> Result<(), Diagnostic> {
    require_net_admin("undoing the setup of a real server")?;
    let host = Host::open()?;
    let (links, addresses) = (host.links()?, host.addresses()?);
    let file = StateFile::open(options)?;
    let forgotten = persist::forget(options, tell)?;
    let mut state = match recorded(options, &file) {
        Err(_) if forgotten => {
            tell(&said("nothing else of these VIPs is on record".into()));
            return Ok(());
        }
        recorded => recorded?,
    };
    if in_effect(Some(state.clone()), &links, &addresses)?.is_none() {
        tell(&said("nothing of what was set up is there any more: the record is removed".into()));
        return file.remove();
    }
    for vip in &options.vips {
        displace(&state, *vip, &host, tell)?;
        state.vips.retain(|placed| placed.vip != *vip);
    }
    if !state.vips.is_empty() {
        tell(&said(format!("the ARP settings stay, for the VIPs that are left: {}", listed(&state))));
        return file.save(&state);
    }
    for saved in &state.sysctls {
        set(&saved.key, saved.before, "as it was before", tell)?;
    }
    file.remove()
}

fn said(remark: String) -> Step {
    Step { command: String::new(), remark }
}

fn refused(what: String, cause: String, remedy: String) -> Diagnostic {
    Diagnostic::system(what).cause(cause).remedy(remedy)
}

fn quiet_link<'l>(options: &Options, links: &'l [Link]) -> Result<&'l Link, Diagnostic> {
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

/// A VIP that stands elsewhere, or as a whole network, was put there by somebody for a reason.
fn refuse_misplaced(
    vip: Ipv4Addr,
    link: &Link,
    links: &[Link],
    addresses: &[Address],
) -> Result<(), Diagnostic> {
    let wrong =
        |address: &&Address| address.ip == vip && (address.index != link.index || address.prefix != 32);
    let Some(address) = addresses.iter().find(wrong) else { return Ok(()) };
    let name = links.iter().find(|link| link.index == address.index).map_or("?", |link| &link.name);
    let what = format!("putting {vip}/32 on {}", link.name);
    let cause = format!("the host has it already, as {vip}/{} on {name}", address.prefix);
    Err(refused(
        what,
        cause,
        format!("remove that first: ip address del {vip}/{} dev {name}", address.prefix),
    ))
}

/// The state, unless nothing of it holds: then it is of a namespace that is gone (the kernel
/// gives inodes out again), or somebody has put everything back by hand.
fn in_effect(
    state: Option<State>,
    links: &[Link],
    addresses: &[Address],
) -> Result<Option<State>, Diagnostic> {
    let Some(state) = state else { return Ok(None) };
    let stands = |placed: &Placed| {
        let link = links.iter().find(|link| link.name == placed.interface);
        link.is_some_and(|link| has(addresses, link, placed.vip))
    };
    if state.vips.iter().any(stands) {
        return Ok(Some(state));
    }
    for saved in state.sysctls.iter().filter(|saved| saved.before != saved.wanted) {
        if saved.key.read()? == Some(saved.wanted) {
            return Ok(Some(state));
        }
    }
    Ok(None)
}

fn has(addresses: &[Address], link: &Link, vip: Ipv4Addr) -> bool {
    addresses.iter().any(|address| address.ip == vip && address.index == link.index && address.prefix == 32)
}

/// Adds to the state what it does not know of yet.
fn remember(state: &mut State, options: &Options, addresses: &[Address]) -> Result<(), Diagnostic> {
    for interface in ["all", &options.interface] {
        for (name, wanted) in WANTED {
            let key = Key::new(interface, name);
            let Some(before) = key.read()? else { continue };
            if state.sysctls.iter().all(|saved| saved.key != key) {
                state.sysctls.push(Saved { key, before, wanted });
            }
        }
    }
    for &vip in &options.vips {
        if state.vips.iter().all(|placed| placed.vip != vip) {
            let added = addresses.iter().all(|address| address.ip != vip);
            state.vips.push(Placed { vip, interface: options.interface.clone(), added });
        }
    }
    Ok(())
}

fn recorded(options: &Options, file: &StateFile) -> Result<State, Diagnostic> {
    let what = |vip: &Ipv4Addr| format!("undoing the setup of {vip}");
    let Some(state) = file.load()? else {
        let cause = format!("there is no record of a setup in {}", file.path().display());
        let remedy = "nothing was changed; \"directrix realserver check\" tells how things stand".into();
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

fn listed(state: &State) -> String {
    let vips: Vec<_> = state.vips.iter().map(|placed| placed.vip.to_string()).collect();
    vips.join(", ")
}

fn meaning(name: Name) -> &'static str {
    match name {
        Name::ArpIgnore => "answer ARP only for addresses of the interface that is asked",
        Name::ArpAnnounce => "ask by ARP with the interface's own address, never with the VIP",
        Name::RpFilter => "drop what comes in by another interface than the way back",
    }
}

fn set(key: &Key, value: i32, why: &str, tell: &mut dyn FnMut(&Step)) -> Result<(), Diagnostic> {
    let path = key.path();
    match key.read()? {
        None => tell(&said(format!("{} is gone with its interface", path.display()))),
        Some(now) if now == value => tell(&said(format!("{} is {value} already", path.display()))),
        Some(now) => {
            key.write(value)?;
            tell(&Step { command: key.command(value), remark: format!("was {now}; {why}") });
        }
    }
    Ok(())
}

fn place(vip: Ipv4Addr, link: &Link, host: &Host, tell: &mut dyn FnMut(&Step)) -> Result<(), Diagnostic> {
    let addresses = host.addresses()?;
    if has(&addresses, link, vip) {
        tell(&said(format!("{vip}/32 is on {} already", link.name)));
        return Ok(());
    }
    let label = free_label(&link.name, &addresses);
    host.add_address(link.index, vip, label.as_deref())?;
    let shown = label.map(|label| format!(" label {label}")).unwrap_or_default();
    tell(&Step {
        command: format!("ip address add {vip}/32 dev {}{shown}", link.name),
        remark: "accept what is sent to the VIP; the route to it comes with the address".into(),
    });
    Ok(())
}

fn displace(
    state: &State,
    vip: Ipv4Addr,
    host: &Host,
    tell: &mut dyn FnMut(&Step),
) -> Result<(), Diagnostic> {
    let Some(placed) = state.vips.iter().find(|placed| placed.vip == vip) else { return Ok(()) };
    let (interface, links) = (&placed.interface, host.links()?);
    let link = links.iter().find(|link| link.name == *interface);
    match link {
        _ if !placed.added => tell(&said(format!("{vip} stays on {interface}: it was there before"))),
        Some(link) if has(&host.addresses()?, link, vip) => {
            host.delete_address(link.index, vip)?;
            let command = format!("ip address del {vip}/32 dev {interface}");
            tell(&Step { command, remark: "it was not there before".into() });
        }
        _ => tell(&said(format!("{vip} is not on {interface} any more"))),
    }
    Ok(())
}
