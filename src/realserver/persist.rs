//! Setup after a reboot.
//!
//! One systemd unit for each VIP runs `directrix realserver setup` before the network starts. It is independent of
//! networkd, ifupdown, netplan and NetworkManager, and suppresses ARP before it adds the VIP. For other hosts,
//! [`advice`] prints equivalent configuration files.

use super::options::{DEFAULT_STATE_DIR, RealServerOptions};
use super::step::SetupStep;
use crate::model::Diagnostic;
use std::fs;
use std::io::{self, ErrorKind};
use std::net::IpAddr;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

/// Directory of this host's systemd units.
const UNITS: &str = "etc/systemd/system";
/// Target that starts the units.
const TARGET: &str = "multi-user.target";
/// File of the ARP settings, for `--print`.
const ARP_SETTINGS: &str = "# /etc/sysctl.d/90-directrix-realserver.conf\n\
    net.ipv4.conf.all.arp_ignore = 1\n\
    net.ipv4.conf.all.arp_announce = 2\n\n";

/// Writes and enables a unit for each VIP. A unit with the same content stays.
///
/// # Errors
/// The host does not run systemd, the VIPs are not on lo, or a file cannot be written.
pub(super) fn persist(
    options: &RealServerOptions,
    exe: &Path,
    report: &mut dyn FnMut(&SetupStep),
) -> Result<(), Diagnostic> {
    for vip in &options.vips {
        let (path, text) = (unit_path(options, *vip), unit(options, exe, *vip));
        if fs::read_to_string(&path).is_ok_and(|there| there == text) && is_enabled(options, *vip) {
            report(&SetupStep::remark(format!("{} is there already", path.display())));
            continue;
        }
        write(&path, &text)?;
        enable(options, *vip)?;
        report(&SetupStep::remark(format!(
            "written and enabled: {}, which sets {vip} up again after a reboot by {}: that program must stay there",
            path.display(),
            exe.display()
        )));
    }
    Ok(())
}

/// Checks the requirements of [`persist`] before any change.
///
/// # Errors
/// The host does not run systemd, or the VIPs are not on lo.
pub(super) fn check_possible(options: &RealServerOptions) -> Result<(), Diagnostic> {
    let refused = |cause: String, remedy: &str| {
        Err(Diagnostic::system("making the setup persistent").cause(cause).remedy(remedy))
    };
    if options.interface != "lo" {
        let cause =
            format!("{} is created by the host's own configuration, which may run later", options.interface);
        return refused(cause, "give it the VIP there; setup without --persist does the rest for now");
    }
    if !options.root.join(UNITS).is_dir() {
        let cause = format!("there is no {}: this host has no systemd", options.root.join(UNITS).display());
        return refused(cause, "see the output of \"directrix realserver setup --print\" for other hosts");
    }
    Ok(())
}

/// Removes the units of the VIPs. True if a unit existed.
///
/// # Errors
/// A unit cannot be removed.
pub(super) fn remove_units(
    options: &RealServerOptions,
    report: &mut dyn FnMut(&SetupStep),
) -> Result<bool, Diagnostic> {
    let mut found = false;
    for vip in &options.vips {
        for path in [wanted_path(options, *vip), unit_path(options, *vip)] {
            match fs::remove_file(&path) {
                Ok(()) => {
                    found = true;
                    report(&SetupStep {
                        command: format!("rm {}", path.display()),
                        remark: "no setup after a reboot".into(),
                    });
                }
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => return Err(failed("removing", &path, &error)),
            }
        }
    }
    Ok(found)
}

/// Configuration files for `--print`: the units, and equivalents without systemd or without this program. The units
/// run `exe`.
#[must_use]
pub fn advice(options: &RealServerOptions, exe: &Path) -> String {
    let units = options.vips.iter().map(|vip| {
        format!(
            "# {}\n# systemctl enable {}\n{}",
            unit_path(options, *vip).display(),
            name(*vip),
            unit(options, exe, *vip)
        )
    });
    let units = units.collect::<Vec<_>>().join("\n");
    let each = |line: &dyn Fn(&IpAddr) -> String| options.vips.iter().map(line).collect::<String>();
    let networkd = each(&|vip| match vip {
        IpAddr::V4(_) => format!("\n[Address]\nAddress={vip}/32\n"),
        IpAddr::V6(_) => format!("\n[Address]\nAddress={vip}/128\nPreferredLifetime=0\n"),
    });
    let ifupdown = each(&|vip| match vip {
        IpAddr::V4(_) => format!("\n    up ip address replace {vip}/32 dev lo"),
        IpAddr::V6(_) => format!("\n    up ip address replace {vip}/128 dev lo preferred_lft 0"),
    });
    let netplan = each(&|vip| match vip {
        IpAddr::V4(_) => format!(", {vip}/32"),
        IpAddr::V6(_) => format!(", \"{vip}/128\": {{lifetime: 0}}"),
    });
    let (which, sysctls) = if options.has_ipv4() {
        ("the first file, and the one of the others for this host's network configuration", ARP_SETTINGS)
    } else {
        ("the file for this host's network configuration", "")
    };
    format!(
        "# With systemd, what --persist writes:\n\n{units}\n\
         # Or without this program: {which}.\n\n\
         {sysctls}\
         # systemd-networkd: /etc/systemd/network/10-lo.network\n\
         [Match]\nName=lo\n{networkd}\n\
         # ifupdown: in /etc/network/interfaces, in place of its \"iface lo\"\n\
         auto lo\niface lo inet loopback{ifupdown}\n\n\
         # netplan: /etc/netplan/90-lo.yaml\n\
         network:\n  version: 2\n  ethernets:\n    lo:\n      match: {{name: lo}}\n      addresses: [127.0.0.1/8, \"::1/128\"{netplan}]\n"
    )
}

/// Unit of one VIP. Ordered before the network, so that the host never answers ARP for the VIP.
fn unit(options: &RealServerOptions, exe: &Path, vip: IpAddr) -> String {
    let state = if options.state_dir == Path::new(DEFAULT_STATE_DIR) {
        String::new()
    } else {
        format!(" --state-dir {}", quoted(&options.state_dir))
    };
    let (exe, without) = (quoted(exe), if vip.is_ipv4() { ", without ARP" } else { "" });
    format!(
        "# Written by \"directrix realserver setup --persist\", removed by \"directrix realserver undo\".\n\
         [Unit]\n\
         Description=VIP {vip} on lo{without}\n\
         Documentation=man:directrix-realserver(8)\n\
         DefaultDependencies=no\n\
         RequiresMountsFor={exe}\n\
         After=local-fs.target systemd-sysctl.service\n\
         Before=network-pre.target shutdown.target\n\
         Wants=network-pre.target\n\
         Conflicts=shutdown.target\n\
         \n\
         [Service]\n\
         Type=oneshot\n\
         RemainAfterExit=yes\n\
         ExecStart={exe} realserver setup --vip {vip}{state}\n\
         \n\
         [Install]\n\
         WantedBy={TARGET}\n"
    )
}

/// Quotes a path by systemd.syntax(7).
fn quoted(path: &Path) -> String {
    let text = path.display().to_string().replace('%', "%%");
    if text.contains([' ', '"', '\\', '\'', '$', ';']) {
        return format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"").replace('$', "$$"));
    }
    text
}

/// Name of a VIP's unit. A colon would be legal, but systemd-analyze takes it for a separator.
fn name(vip: IpAddr) -> String {
    format!("directrix-realserver-{}.service", vip.to_string().replace(':', "-"))
}

pub(super) fn unit_path(options: &RealServerOptions, vip: IpAddr) -> PathBuf {
    options.root.join(UNITS).join(name(vip))
}

/// Symbolic link of `systemctl enable`.
fn wanted_path(options: &RealServerOptions, vip: IpAddr) -> PathBuf {
    options.root.join(UNITS).join(format!("{TARGET}.wants")).join(name(vip))
}

pub(super) fn is_enabled(options: &RealServerOptions, vip: IpAddr) -> bool {
    unit_path(options, vip).is_file() && wanted_path(options, vip).symlink_metadata().is_ok()
}

fn enable(options: &RealServerOptions, vip: IpAddr) -> Result<(), Diagnostic> {
    let link = wanted_path(options, vip);
    let folder = link.parent().unwrap_or(&options.root);
    fs::create_dir_all(folder).map_err(|error| failed("making", folder, &error))?;
    match symlink(Path::new("..").join(name(vip)), &link) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => Err(failed("making", &link, &error)),
        _ => Ok(()),
    }
}

/// Replaces a file atomically.
fn write(path: &Path, text: &str) -> Result<(), Diagnostic> {
    let fresh = path.with_extension("new");
    fs::write(&fresh, text)
        .and_then(|()| fs::rename(&fresh, path))
        .map_err(|error| failed("writing", path, &error))
}

fn failed(doing: &str, path: &Path, error: &io::Error) -> Diagnostic {
    Diagnostic::system(format!("{doing} {}", path.display()))
        .cause(error.to_string())
        .remedy("run as root, on a file system that can be written")
}

#[cfg(test)]
mod tests {
    use super::*;

    const VIP: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 10));

    fn options(root: &Path) -> RealServerOptions {
        fs::create_dir_all(root.join(UNITS)).unwrap();
        RealServerOptions {
            vips: vec![VIP],
            interface: "lo".into(),
            state_dir: DEFAULT_STATE_DIR.into(),
            root: root.into(),
        }
    }

    fn steps_of(act: impl FnOnce(&mut dyn FnMut(&SetupStep))) -> Vec<String> {
        let mut lines = Vec::new();
        act(&mut |step| lines.push(step.to_string()));
        lines
    }

    fn ipv6_options(root: &Path) -> RealServerOptions {
        RealServerOptions { vips: vec!["2001:db8::80".parse().unwrap()], ..options(root) }
    }

    #[test]
    fn unit_is_written_enabled_found_and_removed() {
        let root = tempfile::tempdir().unwrap();
        let options = options(root.path());
        assert!(!is_enabled(&options, VIP));
        let exe = Path::new("/usr/bin/directrix");
        let first = steps_of(|report| persist(&options, exe, report).unwrap());
        assert!(
            first[0].contains("written and enabled: ") && first[0].contains("/usr/bin/directrix"),
            "{first:?}"
        );
        let again = steps_of(|report| persist(&options, exe, report).unwrap());
        assert!(again[0].ends_with("is there already"), "{again:?}");
        let link = wanted_path(&options, VIP);
        assert_eq!(fs::canonicalize(&link).unwrap(), fs::canonicalize(unit_path(&options, VIP)).unwrap());
        assert!(is_enabled(&options, VIP));
        let moved = steps_of(|report| persist(&options, Path::new("/opt/d d"), report).unwrap());
        assert!(moved[0].contains("written"), "another program: {moved:?}");
        assert!(
            fs::read_to_string(unit_path(&options, VIP))
                .unwrap()
                .contains("ExecStart=\"/opt/d d\" realserver ")
        );
        let mut removed = Vec::new();
        assert!(remove_units(&options, &mut |step| removed.push(step.command.clone())).unwrap());
        assert_eq!(removed.len(), 2, "{removed:?}");
        assert!(!remove_units(&options, &mut |_| {}).unwrap());
        assert!(link.symlink_metadata().is_err() && !unit_path(&options, VIP).exists());
    }

    #[test]
    fn ipv6_unit_and_advice_set_no_sysctl() {
        let root = tempfile::tempdir().unwrap();
        let options = ipv6_options(root.path());
        let exe = Path::new("/usr/bin/directrix");
        steps_of(|report| persist(&options, exe, report).unwrap());
        assert!(unit_path(&options, options.vips[0]).ends_with("directrix-realserver-2001-db8--80.service"));
        assert!(is_enabled(&options, options.vips[0]));
        let text = advice(&options, exe);
        for part in [
            "Description=VIP 2001:db8::80 on lo\n",
            "realserver setup --vip 2001:db8::80\n",
            "Address=2001:db8::80/128\nPreferredLifetime=0\n",
            "up ip address replace 2001:db8::80/128 dev lo preferred_lft 0\n",
            "\"::1/128\", \"2001:db8::80/128\": {lifetime: 0}]",
        ] {
            assert!(text.contains(part), "{part}: {text}");
        }
        assert!(!text.contains("sysctl.d") && !text.to_lowercase().contains("arp"), "{text}");
    }

    #[test]
    fn unsupported_host_is_refused_with_a_remedy() {
        let root = tempfile::tempdir().unwrap();
        let dummy = RealServerOptions { interface: "dummy0".into(), ..options(root.path()) };
        assert!(check_possible(&dummy).unwrap_err().to_string().contains("give it the VIP there"));
        let bare = tempfile::tempdir().unwrap();
        let without = RealServerOptions { root: bare.path().into(), interface: "lo".into(), ..dummy };
        assert!(check_possible(&without).unwrap_err().to_string().contains("setup --print"));
    }

    #[test]
    fn advice_has_every_vip_for_every_kind_of_host() {
        let root = tempfile::tempdir().unwrap();
        let two = RealServerOptions { vips: vec![VIP, [192, 0, 2, 11].into()], ..options(root.path()) };
        let text = advice(&two, Path::new("/usr/bin/directrix"));
        for vip in ["192.0.2.10/32", "192.0.2.11/32", "--vip 192.0.2.10\n", "--vip 192.0.2.11\n"] {
            assert!(text.contains(vip), "{vip}: {text}");
        }
        for kind in ["systemd-networkd", "ifupdown", "netplan", "sysctl.d", "arp_announce = 2"] {
            assert!(text.contains(kind), "{kind}: {text}");
        }
    }
}
