//! VIPs in the host's network configuration: networkd, ifupdown, netplan, NetworkManager, network-scripts, commands.

use super::host::single_prefix;
use super::ifupdown::{self, first_word};
use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};

/// Files, and files of directories, in which distributions configure addresses, beside those of ifupdown. A VIP named in
/// one of them counts as configured.
const CONFIGURED_IN: &[(&str, FileNames, Format)] = &[
    ("etc/systemd/network", |name| name.ends_with(".network"), Format::Ini { section: "Match", key: "Name" }),
    ("etc/netplan", |name| name.ends_with(".yaml"), Format::Netplan),
    (
        "etc/NetworkManager/system-connections",
        is_profile,
        Format::Ini { section: "connection", key: "interface-name" },
    ),
    ("etc/sysconfig/network-scripts", is_script, Format::Variables),
    ("etc/rc.local", |_| true, Format::Commands),
    ("etc/keepalived/keepalived.conf", |_| true, Format::Commands),
];
/// Quotes of the shell and of YAML.
const QUOTES: [char; 2] = ['"', '\''];
/// Maximum size of a configuration file in bytes; larger files are skipped.
const FILE_MAX: u64 = 1 << 20;

/// Whether the tools read a file of the directory, by its name. Backups have other names.
type FileNames = fn(&str) -> bool;

/// An address of the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ConfiguredAddress {
    pub(super) path: PathBuf,
    /// `None` if the line has none.
    pub(super) prefix: Option<u8>,
    /// Names and patterns of the interfaces that get it; a `!` before the first one inverts the list. Empty if they are
    /// unknown.
    pub(super) interfaces: Vec<String>,
}

/// Ways to say which interface has an address, if the command itself does not name it.
#[derive(Clone, Copy, Debug)]
enum Format {
    /// The key of one section of the file.
    Ini { section: &'static str, key: &'static str },
    /// The `iface` line above; a `netmask` below may hold the prefix. Neither counts for a command of `up`.
    Ifupdown,
    /// The key below the one that names a kind of interface, or the name to match.
    Netplan,
    /// The variable `DEVICE`; `PREFIX` or `NETMASK` hold the prefix.
    Variables,
    /// None.
    Commands,
}

/// Addresses `vip` in the configuration below `root`, in the order of the files.
pub(super) fn find(root: &Path, vip: IpAddr) -> Vec<ConfiguredAddress> {
    let ifupdown = ifupdown::files(root, text_of).into_iter().map(|path| (path, Format::Ifupdown));
    let others = CONFIGURED_IN.iter().flat_map(|(place, names, format)| {
        files(root.join(place), *names).into_iter().map(move |path| (path, *format))
    });
    ifupdown.chain(others).flat_map(|(path, format)| in_file(path, format, vip)).collect()
}

/// The file `place`, or the files of the directory `place` with such names, sorted.
fn files(place: PathBuf, names: FileNames) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(&place) else { return vec![place] };
    let entries = entries.flatten().filter(|entry| entry.file_name().to_str().is_some_and(names));
    let mut files: Vec<_> = entries.map(|entry| entry.path()).collect();
    files.sort();
    files
}

/// True for the file of a NetworkManager profile. Old ones have no suffix.
fn is_profile(name: &str) -> bool {
    name.ends_with(".nmconnection") || !name.contains(['.', '~'])
}

/// True for `ifcfg-NAME`, also of a VLAN (`ifcfg-eth0.7`) or an alias (`ifcfg-lo:0`).
fn is_script(name: &str) -> bool {
    let is_vlan = |suffix: &str| suffix.starts_with(|c: char| c.is_ascii_digit());
    let suffix = name.rsplit_once('.').map(|(_, suffix)| suffix);
    name.starts_with("ifcfg-") && !name.ends_with('~') && suffix.is_none_or(is_vlan)
}

fn in_file(path: PathBuf, format: Format, vip: IpAddr) -> Vec<ConfiguredAddress> {
    let text = text_of(&path);
    let lines: Vec<_> = text.lines().map(|line| if is_comment(line) { "" } else { line }).collect();
    let entries = (0..lines.len()).flat_map(|at| ConfigEntry::of_line(&lines, at, format));
    let named = entries.filter_map(|entry| Some((entry, prefix_beside(entry.command, vip)?)));
    named
        .map(|(entry, prefix)| ConfiguredAddress {
            path: path.clone(),
            prefix: prefix.or_else(|| format.prefix(entry, vip)),
            interfaces: format.interfaces(entry),
        })
        .collect()
}

/// Text of a file, with each line that ends in a backslash joined to the next one; empty if it cannot be read.
fn text_of(path: &Path) -> String {
    let is_small_file = fs::metadata(path).is_ok_and(|meta| meta.is_file() && meta.len() <= FILE_MAX);
    let text = if is_small_file { fs::read_to_string(path).unwrap_or_default() } else { String::new() };
    text.replace("\\\n", " ")
}

/// One of the commands of a line, or a line without commands.
#[derive(Clone, Copy, Debug)]
struct ConfigEntry<'t> {
    lines: &'t [&'t str],
    /// Index of the line.
    at: usize,
    command: &'t str,
}

impl<'t> ConfigEntry<'t> {
    /// The entries of a line that may set up an address.
    fn of_line(lines: &'t [&'t str], at: usize, format: Format) -> impl Iterator<Item = Self> {
        let is_down = matches!(format, Format::Ifupdown)
            && matches!(first_word(lines[at]), "down" | "pre-down" | "post-down");
        let commands = lines[at].split([';', '&', '|']).filter(move |_| !is_down);
        commands.filter(|command| !sets_no_address(command)).map(move |command| Self { lines, at, command })
    }

    /// True for a command that ifupdown runs.
    fn is_hook(self) -> bool {
        matches!(first_word(self.lines[self.at]), "up" | "pre-up" | "post-up")
    }

    /// True for a line whose IPv4 address has the prefix length of its class, if it names none.
    fn is_classful(self, format: Format) -> bool {
        let is_address = matches!(format, Format::Ifupdown) && first_word(self.lines[self.at]) == "address";
        is_address || word_behind(self.command, is_ifconfig).is_some()
    }
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

/// True for a command about routes or neighbors, or one that removes an address.
fn sets_no_address(command: &str) -> bool {
    let is_other = |word| {
        matches!(word, "route" | "rule" | "neigh" | "neighbor" | "neighbour" | "del" | "delete" | "flush")
    };
    command.split_whitespace().any(is_other)
}

impl Format {
    fn interfaces(self, entry: ConfigEntry<'_>) -> Vec<String> {
        let ConfigEntry { lines, at, command } = entry;
        let name = match (command_interface(command), self) {
            (Some("$IFACE" | "${IFACE}"), Self::Ifupdown) => ifupdown::interface(lines, at),
            (Some(name), _) => Some(name),
            (None, Self::Ini { section, key }) => ini_value(lines, section, key),
            (None, Self::Ifupdown) if entry.is_hook() => None,
            (None, Self::Ifupdown) => ifupdown::interface(lines, at),
            (None, Self::Netplan) => netplan_interface(lines, at),
            (None, Self::Variables) => variable(lines, "DEVICE"),
            (None, Self::Commands) => None,
        };
        // "lo:0" is a label of lo.
        let name = name.map(|name| name.trim_matches(QUOTES).split(':').next().unwrap_or_default());
        name.map(words).unwrap_or_default()
    }

    /// The prefix length apart from the address.
    fn prefix(self, entry: ConfigEntry<'_>, vip: IpAddr) -> Option<u8> {
        let mask = match self {
            Self::Ifupdown if !entry.is_hook() => ifupdown::netmask(entry.lines, entry.at),
            Self::Ifupdown | Self::Commands => word_behind(entry.command, |word| word == "netmask"),
            Self::Variables => script_netmask(entry),
            Self::Ini { .. } | Self::Netplan => None,
        };
        match (mask, vip) {
            (Some(mask), _) => prefix_of(mask),
            (None, IpAddr::V4(vip)) if entry.is_classful(self) => Some(ifupdown::class_prefix(vip)),
            (None, _) => None,
        }
    }
}

/// The length of a mask, or of a number as it stands.
fn prefix_of(mask: &str) -> Option<u8> {
    mask.parse().ok().or_else(|| Some(mask.parse::<Ipv4Addr>().ok()?.to_bits().leading_ones() as u8))
}

/// The interface of `dev NAME` or `ifconfig NAME`.
fn command_interface(command: &str) -> Option<&str> {
    word_behind(command, |word| word == "dev" || is_ifconfig(word))
}

fn is_ifconfig(word: &str) -> bool {
    word == "ifconfig" || word.ends_with("/ifconfig")
}

/// The word that follows such a word, without quotes.
fn word_behind(command: &str, is_key: fn(&str) -> bool) -> Option<&str> {
    let mut words = command.split_whitespace().skip_while(|word| !is_key(word));
    words.nth(1).map(|word| word.trim_matches(QUOTES))
}

/// The names and patterns of a list; empty if one is a variable.
fn words(list: &str) -> Vec<String> {
    if list.contains('$') { Vec::new() } else { list.split_whitespace().map(str::to_owned).collect() }
}

fn ini_value<'t>(lines: &[&'t str], section: &str, key: &str) -> Option<&'t str> {
    let header = format!("[{section}]");
    let below = lines.iter().skip_while(|line| line.trim() != header).skip(1);
    let mut entries =
        below.take_while(|line| !line.trim().starts_with('[')).filter_map(|l| l.split_once('='));
    entries.find(|(name, _)| name.trim() == key).map(|(_, value)| value.trim())
}

/// Value of the last assignment to a shell variable; `None` if it is empty.
fn variable<'t>(lines: &[&'t str], name: &str) -> Option<&'t str> {
    let assigned = |line: &&'t str| line.trim().strip_prefix(name)?.strip_prefix('=');
    let value = lines.iter().rev().find_map(assigned)?;
    value.split_whitespace().next().map(|word| word.trim_matches(QUOTES)).filter(|word| !word.is_empty())
}

/// The prefix length or mask of `IPADDR`, `IPADDR0` …: `PREFIX` with the same number precedes `NETMASK`.
fn script_netmask<'t>(entry: ConfigEntry<'t>) -> Option<&'t str> {
    let (key, _) = entry.command.split_once('=')?;
    let number = key.trim().strip_prefix("IPADDR")?;
    let value = |name| variable(entry.lines, &format!("{name}{number}"));
    value("PREFIX").or_else(|| value("NETMASK"))
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
        places(file, "[Match]\nName=!en* lo\n[Network]\nAddress=192.0.2.10/32\n", &[(32, "!en* lo")]);
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
    fn network_scripts_have_the_prefix_in_a_variable() {
        let file = "etc/sysconfig/network-scripts/ifcfg-lo:0";
        for (text, wanted) in [
            ("IPADDR=192.0.2.10\nPREFIX=24\n", Some(24)),
            ("NETMASK=\"255.255.255.0\"\nIPADDR=\"192.0.2.10\"\n", Some(24)),
            ("IPADDR=192.0.2.10\nNETMASK=255.255.255.255\n", Some(32)),
            ("IPADDR=192.0.2.10\nNETMASK=255.255.255.0\nPREFIX=32\n", Some(32)),
            ("IPADDR=192.0.2.10\nPREFIX=24\nPREFIX='32' # later\n", Some(32)),
            ("IPADDR0=192.0.2.1\nPREFIX0=24\nIPADDR1=192.0.2.10\nPREFIX1=32\n", Some(32)),
            ("IPADDR1=192.0.2.10\nPREFIX=24\nNETMASK1=255.255.0.0\n", Some(16)),
            ("IPADDR=192.0.2.10\nPREFIX=\n#NETMASK=255.255.255.0\n", None),
        ] {
            let all = found(file, &format!("DEVICE=lo:0\n{text}"), "192.0.2.10");
            assert_eq!(all, [(wanted, "lo".into())], "{text}");
        }
    }

    #[test]
    fn backups_are_no_configuration() {
        let cases: [(&str, &[&str], &[&str]); 4] = [
            (
                "etc/systemd/network",
                &["10-vip.network"],
                &["10-vip.network.dpkg-old", "10-vip.network~", "README"],
            ),
            ("etc/netplan", &["50.yaml"], &["50.yaml.bak", "50.yaml.orig", "50"]),
            (
                "etc/NetworkManager/system-connections",
                &["lo.nmconnection", "Wired connection 1"],
                &["lo.nmconnection.bak", "lo.nmconnection~"],
            ),
            (
                "etc/sysconfig/network-scripts",
                &["ifcfg-lo:0", "ifcfg-eth0.7", "ifcfg-eth0.7:1"],
                &["ifcfg-lo.bak", "ifcfg-lo:0.rpmsave", "ifcfg-lo~", "bak.ifcfg-lo", "route-lo"],
            ),
        ];
        for (directory, read, unread) in cases {
            let counted =
                |name: &&str| !found(&format!("{directory}/{name}"), "192.0.2.10", "192.0.2.10").is_empty();
            let names: Vec<_> = read.iter().chain(unread).copied().filter(counted).collect();
            assert_eq!(names, read, "{directory}");
        }
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
        places(
            file,
            "iface lo:0 inet static\n netmask 255.255.255.255\n address 192.0.2.10\n",
            &[(32, "lo")],
        );
        places(file, "iface lo:0 \\\n inet static\n address \\\n 192.0.2.10/32\n", &[(32, "lo")]);
        let up = "iface eth0 inet dhcp\n up ip address add 192.0.2.10/32 dev lo\n up ip route add 192.0.2.10 dev lo\n";
        places(file, up, &[(32, "lo")]);
        places("etc/rc.local", "ip addr add 2001:db8::80/64 dev lo;\n", &[(64, "lo")]);
        let vrrp = "virtual_ipaddress {\n  192.0.2.10/24 dev eth0 label eth0:1\n}\n";
        places("etc/keepalived/keepalived.conf", vrrp, &[(24, "eth0")]);
    }

    #[test]
    fn an_address_without_netmask_has_that_of_its_class() {
        for (vip, prefix) in [("10.1.2.3", 8), ("172.16.1.1", 16), ("192.0.2.10", 24)] {
            let file =
                format!("iface lo:0 inet static\n  address {vip}\niface eth0 inet dhcp\n netmask 32\n");
            assert_eq!(found("etc/network/interfaces", &file, vip), [(Some(prefix), "lo".into())], "{vip}");
        }
        let ipv6 = "iface lo inet6 static\n address 2001:db8::80\n";
        assert_eq!(found("etc/network/interfaces", ipv6, "2001:db8::80"), [(None, "lo".into())]);
        for (command, prefix) in [
            ("ifconfig lo:0 172.16.1.1", Some(16)),
            ("/sbin/ifconfig lo:0 172.16.1.1 up", Some(16)),
            ("ifconfig lo:0 172.16.1.1/32", Some(32)),
            ("ip address add 172.16.1.1 dev lo", None),
        ] {
            let found_in = |file, text: &str| found(file, text, "172.16.1.1");
            let expected = [(prefix, "lo".to_owned())];
            assert_eq!(found_in("etc/rc.local", command), expected, "{command}");
            let hook = format!("iface eth0 inet dhcp\n up {command}\n");
            assert_eq!(found_in("etc/network/interfaces", &hook), expected, "{command}");
        }
        let ipv6 = "ifconfig lo inet6 add 2001:db8::80\n";
        assert_eq!(found("etc/rc.local", ipv6, "2001:db8::80"), [(None, "lo".into())]);
    }

    #[test]
    fn hooks_of_ifupdown_have_their_own_interface_and_prefix() {
        for (hook, prefix, interface) in [
            ("up ifconfig lo:0 192.0.2.10 netmask 255.255.255.255 up", Some(32), "lo"),
            ("up ifconfig lo:0 192.0.2.10 broadcast 192.0.2.10 netmask 255.255.255.0", Some(24), "lo"),
            (
                "post-up /sbin/ifconfig lo:0 192.0.2.10/32; route add -host 192.0.2.10 dev lo:0",
                Some(32),
                "lo",
            ),
            ("up ip address add 192.0.2.10 dev lo", None, "lo"),
            ("pre-up ip link set dev eth1 up && ip address add 192.0.2.10/32 dev \"lo\"", Some(32), "lo"),
            ("up ip address add 192.0.2.10/32 dev $IFACE || true", Some(32), "eth0"),
            ("up ip address add 192.0.2.10/32 dev $VIP_DEVICE", Some(32), ""),
            ("up /usr/local/sbin/add-vip 192.0.2.10", None, ""),
        ] {
            let text =
                format!("iface eth0 inet static\n  address 192.0.2.1\n  {hook}\n  netmask 255.255.255.0\n");
            let all = found("etc/network/interfaces", &text, "192.0.2.10");
            assert_eq!(all, [(prefix, interface.into())], "{hook}");
        }
    }

    #[test]
    fn commands_that_remove_the_vip_do_not_count() {
        for hook in [
            "down ip address del 192.0.2.10/24 dev eth0",
            "pre-down ifconfig lo:0 192.0.2.10 down",
            "post-down /usr/local/sbin/remove-vip 192.0.2.10",
            "pre-up ip address del 192.0.2.10/24 dev eth0 || true",
        ] {
            places("etc/network/interfaces", &format!("iface eth0 inet dhcp\n\t{hook}\n"), &[]);
        }
        let moved = "ip addr del 192.0.2.10/24 dev eth0; ip addr add 192.0.2.10/32 dev lo\n";
        places("etc/rc.local", moved, &[(32, "lo")]);
        places("etc/rc.local", "down=1; ip addr add 192.0.2.10/32 dev lo\n", &[(32, "lo")]);
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
