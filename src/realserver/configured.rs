//! VIPs in the host's network configuration: networkd, ifupdown, netplan, NetworkManager, network-scripts, commands.

use super::host::single_prefix;
use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};

/// Files and directories in which distributions configure addresses. A VIP named in one of them counts as configured.
const CONFIGURED_IN: &[(&str, Format)] = &[
    ("etc/systemd/network", Format::Ini { section: "Match", key: "Name" }),
    ("etc/network/interfaces", Format::Ifupdown),
    ("etc/network/interfaces.d", Format::Ifupdown),
    ("etc/netplan", Format::Netplan),
    ("etc/NetworkManager/system-connections", Format::Ini { section: "connection", key: "interface-name" }),
    ("etc/sysconfig/network-scripts", Format::Variables),
    ("etc/rc.local", Format::Commands),
    ("etc/keepalived/keepalived.conf", Format::Commands),
];
/// Maximum size of a configuration file in bytes; larger files are skipped.
const FILE_MAX: u64 = 1 << 20;

/// An address of the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ConfiguredAddress {
    pub(super) path: PathBuf,
    /// `None` if the line has none.
    pub(super) prefix: Option<u8>,
    /// Interfaces that get it. Empty if they are unknown, such as those of a pattern.
    pub(super) interfaces: Vec<String>,
}

/// Ways to say which interface has an address, if the line itself has no `dev NAME`.
#[derive(Clone, Copy, Debug)]
enum Format {
    /// The key of one section of the file.
    Ini { section: &'static str, key: &'static str },
    /// The `iface` line above; a `netmask` below may hold the prefix.
    Ifupdown,
    /// The key below the one that names a kind of interface, or the name to match.
    Netplan,
    /// The variable `DEVICE`.
    Variables,
    /// None.
    Commands,
}

/// Addresses `vip` in the configuration below `root`, in the order of the files.
pub(super) fn find(root: &Path, vip: IpAddr) -> Vec<ConfiguredAddress> {
    let files = CONFIGURED_IN
        .iter()
        .flat_map(|(place, format)| files(root.join(place)).into_iter().map(move |path| (path, *format)));
    files.flat_map(|(path, format)| in_file(path, format, vip)).collect()
}

/// The file `place`, or the files of the directory `place`, sorted.
fn files(place: PathBuf) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(&place) else { return vec![place] };
    let mut files: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
    files.sort();
    files
}

fn in_file(path: PathBuf, format: Format, vip: IpAddr) -> Vec<ConfiguredAddress> {
    let is_small_file = fs::metadata(&path).is_ok_and(|meta| meta.is_file() && meta.len() <= FILE_MAX);
    let text = if is_small_file { fs::read_to_string(&path).unwrap_or_default() } else { String::new() };
    let lines: Vec<_> = text.lines().map(|line| if is_comment(line) { "" } else { line }).collect();
    let named = (0..lines.len()).filter_map(|at| Some((at, prefix_beside(lines[at], vip)?)));
    let found = named.filter(|(at, _)| !sets_no_address(lines[*at]));
    found
        .map(|(at, prefix)| ConfiguredAddress {
            path: path.clone(),
            prefix: prefix.or_else(|| format.prefix(&lines, at)),
            interfaces: named_by_command(lines[at]).unwrap_or_else(|| format.interfaces(&lines, at)),
        })
        .collect()
}

fn is_comment(line: &str) -> bool {
    line.trim_start().starts_with(['#', ';'])
}

/// The prefix length behind the address `vip`, if the line has that address, in any of its spellings.
fn prefix_beside(line: &str, vip: IpAddr) -> Option<Option<u8>> {
    let in_address = |c: char| match vip {
        IpAddr::V4(_) => c.is_ascii_digit() || c == '.',
        IpAddr::V6(_) => c.is_ascii_hexdigit() || c == ':' || c == '.',
    };
    let mut rest = line;
    loop {
        rest = &rest[rest.find(in_address)?..];
        let end = rest.find(|c: char| !in_address(c)).unwrap_or(rest.len());
        let (word, behind) = rest.split_at(end);
        if word.parse() == Ok(vip) {
            return Some(prefix_at(behind, vip));
        }
        rest = behind;
    }
}

fn prefix_at(text: &str, vip: IpAddr) -> Option<u8> {
    let text = text.strip_prefix('/')?;
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    text[..end].parse().ok().filter(|prefix| *prefix <= single_prefix(vip))
}

/// True for a command about routes or neighbors.
fn sets_no_address(line: &str) -> bool {
    line.split_whitespace().any(|word| matches!(word, "route" | "rule" | "neigh" | "neighbor" | "neighbour"))
}

/// The interface behind the word `dev`.
fn named_by_command(line: &str) -> Option<Vec<String>> {
    let mut words = line.split_whitespace().skip_while(|word| *word != "dev");
    let name = words.nth(1)?.trim_matches(['"', '\'', ';']);
    Some(vec![name.into()])
}

impl Format {
    fn interfaces(self, lines: &[&str], at: usize) -> Vec<String> {
        let name = match self {
            Self::Ini { section, key } => {
                return ini_value(lines, section, key).map(plain).unwrap_or_default();
            }
            Self::Ifupdown => stanza(lines, at),
            Self::Netplan => netplan_interface(lines, at),
            Self::Variables => lines.iter().find_map(|line| line.trim().strip_prefix("DEVICE=")),
            Self::Commands => None,
        };
        // "lo:0" is a label of lo.
        let name = name.map(|name| name.trim_matches(['"', '\'']).split(':').next().unwrap_or_default());
        name.map(plain).unwrap_or_default()
    }

    /// The prefix length in another line than the address.
    fn prefix(self, lines: &[&str], at: usize) -> Option<u8> {
        if !matches!(self, Self::Ifupdown) {
            return None;
        }
        let mut below = lines[at + 1..].iter().take_while(|line| !line.trim_start().starts_with("iface "));
        let mask = below.find_map(|line| line.trim_start().strip_prefix("netmask "))?.trim();
        mask.parse().ok().or_else(|| Some(mask.parse::<Ipv4Addr>().ok()?.to_bits().leading_ones() as u8))
    }
}

/// The names of a list; empty if one is a pattern.
fn plain(names: &str) -> Vec<String> {
    let is_pattern = names.contains(['*', '?', '[', '!']);
    if is_pattern { Vec::new() } else { names.split_whitespace().map(str::to_owned).collect() }
}

fn ini_value<'t>(lines: &[&'t str], section: &str, key: &str) -> Option<&'t str> {
    let header = format!("[{section}]");
    let below = lines.iter().skip_while(|line| line.trim() != header).skip(1);
    let mut entries =
        below.take_while(|line| !line.trim().starts_with('[')).filter_map(|l| l.split_once('='));
    entries.find(|(name, _)| name.trim() == key).map(|(_, value)| value.trim())
}

/// The interface of the `iface` line above.
fn stanza<'t>(lines: &[&'t str], at: usize) -> Option<&'t str> {
    let mut above = lines[..at].iter().rev();
    above.find_map(|line| line.trim_start().strip_prefix("iface ")?.split_whitespace().next())
}

/// The interface of a line of netplan: network, ethernets, ID, addresses. An ID with a `match` is no name.
fn netplan_interface<'t>(lines: &[&'t str], at: usize) -> Option<&'t str> {
    let (head, id) = netplan_id(lines, at)?;
    let inside = |line: &&&str| line.trim().is_empty() || indentation(line) > indentation(lines[head]);
    let below = lines[head + 1..].iter().take_while(inside);
    let block: Vec<_> = std::iter::once(&lines[head]).chain(below).collect();
    if block.iter().any(|line| line.contains("match:")) {
        return block.iter().find_map(|line| matched_name(line));
    }
    Some(id)
}

/// The third key on the way from the top of the file to a line, with its line.
fn netplan_id<'t>(lines: &[&'t str], at: usize) -> Option<(usize, &'t str)> {
    let is_item = lines[at].trim_start().starts_with('-');
    let mut within = indentation(lines[at]) + usize::from(is_item);
    let mut keys = Vec::from_iter(yaml_key(lines[at]).map(|key| (at, key)));
    for above in (0..at).rev().filter(|above| !lines[*above].trim().is_empty()) {
        if indentation(lines[above]) < within {
            within = indentation(lines[above]);
            keys.extend(yaml_key(lines[above]).map(|key| (above, key)));
        }
    }
    keys.into_iter().nth_back(2)
}

fn indentation(line: &str) -> usize {
    line.len() - line.trim_start().len()
}

fn yaml_key(line: &str) -> Option<&str> {
    let (key, value) = line.trim().split_once(':')?;
    (value.is_empty() || value.starts_with(' ')).then(|| key.trim_matches(['"', '\'']))
}

/// The value of `name:`, but not of `set-name:`.
fn matched_name(line: &str) -> Option<&str> {
    let (before, value) = line.split_once("name:")?;
    let value = value.trim_start().split([',', '}', ' ']).next().unwrap_or_default();
    (!before.ends_with('-')).then(|| value.trim_matches(['"', '\'']))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Prefix and interfaces of the VIP in a file.
    fn found(file: &str, text: &str, vip: &str) -> Vec<(Option<u8>, String)> {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        let all = find(root.path(), vip.parse().unwrap());
        assert!(all.iter().all(|one| one.path == path));
        all.into_iter().map(|one| (one.prefix, one.interfaces.join(" "))).collect()
    }

    #[track_caller]
    fn places(file: &str, text: &str, wanted: &[(u8, &str)]) {
        let vip = if text.contains("2001:") { "2001:db8::80" } else { "192.0.2.10" };
        let wanted: Vec<_> = wanted.iter().map(|(prefix, name)| (Some(*prefix), (*name).into())).collect();
        assert_eq!(found(file, text, vip), wanted, "{file}: {text}");
    }

    #[test]
    fn sections_name_the_interface() {
        let file = "etc/systemd/network/10-lo.network";
        places(file, "[Match]\nName=lo\n[Address]\nAddress=2001:db8::80/64\n", &[(64, "lo")]);
        places(file, "[Match]\nName = eth0 eth1\n[Network]\nAddress=192.0.2.10/32\n", &[(32, "eth0 eth1")]);
        places(file, "[Match]\nName=en*\n[Network]\nAddress=192.0.2.10/32\n", &[(32, "")]);
        places(file, "[Match]\nName=lo\n[Network]\n#Address=192.0.2.10/32\n;Address=192.0.2.10/32\n", &[]);
        let file = "etc/NetworkManager/system-connections/lo.nmconnection";
        places(
            file,
            "[connection]\ninterface-name=eth0\n[ipv6]\naddress1=2001:db8::80/128\n",
            &[(128, "eth0")],
        );
        let file = "etc/sysconfig/network-scripts/ifcfg-lo:0";
        places(file, "DEVICE=\"lo:0\"\nIPV6ADDR=2001:DB8:0::80/128\n", &[(128, "lo")]);
    }

    #[test]
    fn stanzas_and_commands_name_the_interface() {
        let file = "etc/network/interfaces";
        places(file, "iface lo:0 inet static\n  address 192.0.2.10/32\n", &[(32, "lo")]);
        places(file, "iface eth0 inet6 static\n  address 2001:db8::80\n  netmask 64\n", &[(64, "eth0")]);
        places(
            file,
            "iface eth0 inet static\n address 192.0.2.10\n netmask 255.255.255.0\niface lo inet loopback\n",
            &[(24, "eth0")],
        );
        let up = "iface eth0 inet dhcp\n up ip address add 192.0.2.10/32 dev lo\n up ip route add 192.0.2.10 dev lo\n";
        places(file, up, &[(32, "lo")]);
        places("etc/rc.local", "ip addr add 2001:db8::80/64 dev lo;\n", &[(64, "lo")]);
        let vrrp = "virtual_ipaddress {\n  192.0.2.10/24 dev eth0 label eth0:1\n}\n";
        places("etc/keepalived/keepalived.conf", vrrp, &[(24, "eth0")]);
        assert_eq!(
            found("etc/rc.local", "ifconfig lo:0 192.0.2.10\n", "192.0.2.10"),
            [(None, String::new())]
        );
    }

    #[test]
    fn netplan_names_the_interface() {
        let file = "etc/netplan/lo.yaml";
        let head = "network:\n  version: 2\n  ethernets:\n";
        for (text, wanted) in [
            ("    lo:\n      addresses: [127.0.0.1/8, 192.0.2.10/32]\n", (32, "lo")),
            (
                "    lo:\n      match: {name: lo}\n      addresses: [\"2001:db8::80/128\": {lifetime: 0}]\n",
                (128, "lo"),
            ),
            ("    eth0:\n      dhcp4: true\n      addresses:\n      - 2001:db8::80/64\n", (64, "eth0")),
            (
                "    eth0:\n      addresses:\n        - \"2001:db8::80/128\":\n            lifetime: 0\n",
                (128, "eth0"),
            ),
            ("    vips: {match: {name: \"eth1\"}, addresses: [192.0.2.10/32]}\n", (32, "eth1")),
            (
                "    vips:\n      match:\n        macaddress: 02:00:00:00:00:01\n      set-name: eth7\n      \
                 addresses: [192.0.2.10/32]\n",
                (32, ""),
            ),
            ("    eth0:\n      dhcp4: true\n    lo:\n      addresses: [192.0.2.10/32]\n", (32, "lo")),
        ] {
            places(file, &format!("{head}{text}"), &[wanted]);
        }
    }
}
