//! Invalid input on the command line, with exit status and message. The status is 2 for invalid input and 1 for a
//! failure; ipvsadm has its own. The message has the fault, its place and a remedy.
#![allow(missing_docs)]

mod support;

use nix::sys::stat::Mode;
use nix::unistd::mkfifo;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use support::netns::{Netns, veth};
use tempfile::TempDir;

const GOOD: &str = "[director]\ninterface = \"eth0\"\n\n[[service]]\nprotocol = \"tcp\"\n\
                    address = \"10.0.0.1:80\"\n\n[[service.server]]\naddress = \"10.0.0.2\"\n";

/// Shell command, exit status, and text on stderr. A text that ends in `…` is a prefix.
type Case = (&'static str, i32, &'static str);

/// Arguments that clap parses.
const ARGUMENTS: &[Case] = &[
    ("directrix", 2, "An LVS-DR director in pure user space: …"),
    (
        "directrix drop",
        2,
        "error: unrecognized subcommand 'drop'\n\n  tip: some similar subcommands exist: 'top', 'drops'\n\n\
         Usage: directrix [OPTIONS] <COMMAND>\n\nFor more information, try '--help'.\n",
    ),
    (
        "directrix start",
        2,
        "error: unrecognized subcommand 'start'\n\n  tip: 'directrix run' is the director, in the foreground; its \
         unit: 'systemctl start directrix'\n…",
    ),
    (
        "directrix restart",
        2,
        "error: unrecognized subcommand 'restart'\n\n  tip: a director ends at SIGTERM or Ctrl-C; its unit: \
         'systemctl restart directrix'\n…",
    ),
    ("directrix help start", 2, "error: unrecognized subcommand 'start'\n…"),
    (
        "directrix run --bakend xdp",
        2,
        "error: unexpected argument '--bakend' found\n\n  tip: a similar argument exists: '--backend'\n…",
    ),
    (
        "directrix run --backend foo",
        2,
        "error: invalid value 'foo' for '--backend <BACKEND>'\n  [possible values: auto, xdp, packet]\n…",
    ),
    (
        "directrix run --config",
        2,
        "error: a value is required for '--config <FILE>' but none was supplied\n\n\
         For more information, try '--help'.\n",
    ),
    (
        "directrix run good.toml",
        2,
        "error: unexpected argument 'good.toml' found\n\nUsage: directrix run [OPTIONS]\n…",
    ),
    ("directrix --socket", 2, "error: a value is required for '--socket <PATH>' but none was supplied\n…"),
    (
        "directrix --socket '' drops",
        2,
        "error: a value is required for '--socket <PATH>' but none was supplied\n…",
    ),
    (
        "directrix --socket a --socket b drops",
        2,
        "error: the argument '--socket <PATH>' cannot be used multiple times\n…",
    ),
    // Commands without a director take the global option behind their name, too.
    ("directrix import --socket x absent", 2, "directrix: absent: …"),
    ("directrix realserver check --socket x --vip 127.0.0.1", 2, "error: invalid value '127.0.0.1' for…"),
    ("directrix lab down --socket x --name ../x", 2, "directrix lab: '../x' cannot name a lab; …"),
    ("directrix generate man --socket x good.toml/x", 1, "directrix: writing to good.toml/x: …"),
    (
        "directrix workers --jsn",
        2,
        "error: unexpected argument '--jsn' found\n\n  tip: a similar argument exists: '--json'\n…",
    ),
    (
        "directrix realserver",
        2,
        "Prepare a real server: VIP on lo, ARP and neighbor discovery suppressed\n\nUsage: …",
    ),
    (
        "directrix realserver setup",
        2,
        "error: the following required arguments were not provided:\n  --vip <IP>\n\n\
         Usage: directrix realserver setup --vip <IP>\n…",
    ),
    (
        "directrix realserver setup --vip www",
        2,
        "error: invalid value 'www' for '--vip <IP>': write an IP address, as in 192.168.195.150 or 2001:db8::80\n…",
    ),
    (
        "directrix realserver check --vip 127.0.0.1",
        2,
        "error: invalid value '127.0.0.1' for '--vip <IP>': this is a loopback address; \
         write an IP address, as in 192.168.195.150 or 2001:db8::80\n…",
    ),
    (
        "directrix realserver undo --vip ::1",
        2,
        "error: invalid value '::1' for '--vip <IP>': this is a loopback address; \
         write an IP address, as in 192.168.195.150 or 2001:db8::80\n…",
    ),
    (
        "directrix lab --name x --family 6 up",
        2,
        "error: the subcommand 'up' cannot be used with:\n  --name <NAME>\n  --family <FAMILY>\n\n  \
         tip: write the options behind the subcommand: 'up --name <NAME> --family <FAMILY>'\n\n\
         Usage: directrix lab [OPTIONS]\n…",
    ),
    (
        "directrix lab shell nosuchhost",
        2,
        "error: invalid value 'nosuchhost' for '<HOST>'\n  \
         [possible values: client, router, switch, director, rs1, rs2]\n…",
    ),
    (
        "directrix lab --arp magic",
        2,
        "error: invalid value 'magic' for '--arp <ARP>'\n  \
         [possible values: sysctl, arptables, static, none]\n…",
    ),
    (
        "directrix lab --connections 0",
        2,
        "error: invalid value '0' for '--connections <N>': write 1 or more…",
    ),
    (
        "directrix lab run --name absent",
        2,
        "directrix lab: the lab 'absent' is not up; build it: directrix lab up --name absent\n",
    ),
    (
        "directrix lab up --name a/b",
        2,
        "directrix lab: 'a/b' cannot name a lab; use 1 to 32 letters, digits and hyphens, no hyphen first\n",
    ),
    (
        "directrix lab bench --duts xdp,dpdk",
        2,
        "error: invalid value 'dpdk' for '--duts <NAME>'\n  \
         [possible values: xdp, packet, l2fwd, hairpin, nft]\n…",
    ),
    ("directrix lab bench --duts xdp,nft,xdp", 2, "directrix lab: --duts names xdp twice; name it once\n"),
    ("directrix lab bench --flows 1000,1000", 2, "directrix lab: --flows names 1000 twice; name it once\n"),
    (
        "directrix lab bench --flows 0",
        2,
        "error: invalid value '0' for '--flows <N>': write a number from 1 to 134217728\n…",
    ),
    (
        "directrix lab bench --flows 64k",
        2,
        "error: invalid value '64k' for '--flows <N>': write a whole number in digits, as in 1000000\n…",
    ),
    (
        "directrix lab bench --servers 0",
        2,
        "error: invalid value '0' for '--servers <N>': write a number from 1 to 10000\n…",
    ),
    (
        "directrix lab bench --frame-len 59",
        2,
        "error: invalid value '59' for '--frame-len <BYTES>': write a number from 60 to 1514\n…",
    ),
    (
        "directrix lab bench --frame-len 1515",
        2,
        "error: invalid value '1515' for '--frame-len <BYTES>': write a number from 60 to 1514\n…",
    ),
    (
        "directrix lab bench --kind syn",
        2,
        "error: invalid value 'syn' for '--kind <KIND>'\n  [possible values: established, flood, mixed]\n…",
    ),
    (
        "directrix lab bench --pairs 0",
        2,
        "error: invalid value '0' for '--pairs <N>': write a number from 1 to 1001\n…",
    ),
    (
        "directrix lab bench --seconds never",
        2,
        "error: invalid value 'never' for '--seconds <TIME>': write seconds from 0.05 to 3600, as in 0.5\n…",
    ),
    (
        "directrix lab bench --seconds 0",
        2,
        "error: invalid value '0' for '--seconds <TIME>': write seconds from 0.05 to 3600, as in 0.5\n…",
    ),
    (
        "directrix lab bench --interface eth0",
        2,
        "error: the following required arguments were not provided:\n  --peer-mac <MAC>\n…",
    ),
    (
        "directrix lab bench --interface nosuchif --peer-mac ff:ff:ff:ff:ff:ff",
        2,
        "error: invalid value 'ff:ff:ff:ff:ff:ff' for '--peer-mac <MAC>': \
         write the device's own address, as in 02:00:5e:10:00:01\n…",
    ),
    (
        "directrix lab bench --interface nosuchif --peer-mac 02:00:00:00:00:09",
        2,
        "directrix lab: looking up interface nosuchif: there is no interface of that name here; name one of these: …",
    ),
    (
        "directrix lab bench --duts xdp --interface eth0 --peer-mac 02:00:00:00:00:09",
        2,
        "directrix lab: --interface measures the device behind it, not --duts; leave them out, or add \
         --external-generator to measure them on this interface\n",
    ),
    (
        "directrix lab bench --external-generator",
        2,
        "error: the following required arguments were not provided:\n  --peer-mac <MAC>\n  --interface <IF>\n…",
    ),
    (
        "directrix lab bench --external-generator --interface eth0",
        2,
        "error: the following required arguments were not provided:\n  --peer-mac <MAC>\n…",
    ),
    (
        "directrix lab bench --external-generator --interface nosuchif --peer-mac 02:00:00:00:00:09",
        2,
        "directrix lab: looking up interface nosuchif: there is no interface of that name here; name one of these: …",
    ),
    (
        "directrix lab bench --external-generator --interface eth0 --peer-mac 02:00:00:00:00:09 --kind flood",
        2,
        "error: the argument '--external-generator' cannot be used with '--kind <KIND>'\n…",
    ),
    (
        "directrix lab bench --external-generator --interface eth0 --peer-mac 02:00:00:00:00:09 --flows 1,2",
        2,
        "directrix lab: --flows names several numbers, and the generator's cannot be changed from here; name one\n",
    ),
    (
        "directrix lab bench --external-generator --interface eth0 --peer-mac 02:00:00:00:00:09 --duts nft,nft",
        2,
        "directrix lab: --duts names nft twice; name it once\n",
    ),
    (
        "directrix lab bench --out /proc/nowhere",
        2,
        "directrix lab: no report can be written to /proc/nowhere: No such file or directory (os error 2); \
         name another folder with --out\n",
    ),
    (
        "mkdir kept && touch kept/report.json && directrix lab bench --out kept",
        2,
        "directrix lab: kept already holds a report; name another folder with --out, or remove it\n",
    ),
    (
        "setpriv --reuid=65534 --clear-groups directrix lab bench",
        2,
        "directrix lab: the lab creates network namespaces and needs root; start it by sudo directrix lab …\n",
    ),
];

/// Error about an endless input.
const TOO_LARGE: &str = "stdin: this has more than 16 MiB, the most that is read; name the right file, or leave \
                         out what is not needed\n";

/// Files for `run` and other commands.
const FILES: &[Case] = &[
    (
        "directrix run --config absent.toml",
        2,
        "absent.toml: there is no such file; write one, or name another\n",
    ),
    (
        "directrix run --check --config directory",
        2,
        "directory: this is not a regular file; name a regular file\n",
    ),
    ("directrix run --check --config pipe", 2, "pipe: this is not a regular file; name a regular file\n"),
    ("directrix run --config /dev/zero", 2, "/dev/zero: this is not a regular file; name a regular file\n"),
    ("directrix plan pipe", 2, "pipe: this is not a regular file; name a regular file\n"),
    ("directrix plan - < /dev/zero", 2, TOO_LARGE),
    ("directrix import pipe", 2, "directrix: pipe: this is not a regular file; name a regular file\n"),
    (
        "directrix import /dev/zero",
        2,
        "directrix: /dev/zero: this is not a regular file; name a regular file\n",
    ),
    ("directrix import - < /dev/zero 2>&1 | sed 's/directrix: //' >&2; exit 2", 2, TOO_LARGE),
    (
        "setpriv --bounding-set=-dac_override,-dac_read_search --inh-caps=-all \
         directrix run --check --config unreadable.toml",
        2,
        "unreadable.toml: this user may not read the file; run as root, or chmod it\n",
    ),
    (
        "directrix run --check --config latin1.toml",
        2,
        "latin1.toml:2: this is not UTF-8 text; save the file in UTF-8\n",
    ),
    (
        "directrix run --check --config empty.toml",
        2,
        "empty.toml:1: the file has no [director]; add [director] with interface = \"eth0\" below it\n",
    ),
    (
        "directrix run --check --config zeros.toml",
        2,
        "zeros.toml:1: not TOML: invalid unquoted key; \
         TOML expects letters, numbers, `-`, `_` here\n…",
    ),
];

const NO_SOCKET: &str =
    "directrix: good.toml is not a socket; name the director's with --socket or DIRECTRIX_SOCKET\n";

/// Socket paths of clients.
const SOCKETS: &[Case] = &[
    (
        "directrix --socket absent.sock drops",
        1,
        "directrix: no director is running at absent.sock; start one with `directrix run`, \
         or name its socket with --socket or DIRECTRIX_SOCKET\n",
    ),
    (
        "DIRECTRIX_SOCKET=absent.sock directrix workers",
        1,
        "directrix: no director is running at absent.sock; start one with `directrix run`, \
         or name its socket with --socket or DIRECTRIX_SOCKET\n",
    ),
    (
        "DIRECTRIX_SOCKET=absent.sock directrix drops --socket other.sock",
        1,
        "directrix: no director is running at other.sock; …",
    ),
    (
        "DIRECTRIX_SOCKET= directrix --socket other.sock drops",
        1,
        "directrix: no director is running at other.sock; …",
    ),
    ("directrix --socket stale.sock drops", 1, "directrix: no director is running at stale.sock; …"),
    ("directrix --socket good.toml drops --json", 1, NO_SOCKET),
    ("directrix --socket directory drops", 1, "directrix: directory is not a socket; …"),
    ("directrix --socket good.toml ipvsadm -Ln", 2, "Can't initialize ipvs: good.toml is not a socket; …"),
    ("directrix --socket good.toml/sock drops", 1, "directrix: no director is running at good.toml/sock; …"),
    (
        "directrix --socket $(printf %0108d 0) drops",
        2,
        "directrix: the socket path 0000000000000000000000000000000000000000000000000000000000000000000000000000\
         00000000000000000000000000000000 has 108 bytes, the system allows 107; \
         name the director's with --socket or DIRECTRIX_SOCKET\n",
    ),
    (
        "directrix --socket $(printf %0108d 0) ipvsadm -Ln",
        2,
        "Can't initialize ipvs: the socket path 00000000000000000000…",
    ),
    (
        "DIRECTRIX_SOCKET=absent.sock ipvsadm -Ln",
        2,
        "Can't initialize ipvs: no director is running at absent.sock; start one with `directrix run`, \
         or name its socket with --socket or DIRECTRIX_SOCKET\n",
    ),
];

/// ipvsadm's grammar, with ipvsadm's messages.
const IPVSADM: &[Case] = &[
    ("ipvsadm -Q", 255, "Try `ipvsadm -h' or 'ipvsadm --help' for more information.\n"),
    ("ipvsadm -Lnq", 255, "-Lnq: unknown option\n"),
    ("ipvsadm -Ln -t", 255, "-t: missing argument\n"),
    ("ipvsadm -L --numeric=yes", 255, "--numeric=yes: option does not take an argument\n"),
    ("ipvsadm -C -C", 2, "multiple commands specified\n"),
    ("ipvsadm -L -n -n", 2, "multiple 'numeric' options specified\n"),
    ("ipvsadm -L everything", 2, "unexpected argument everything\n"),
    ("ipvsadm -A", 2, "You need to supply the 'service-address' option for the 'add-service' command\n"),
    (
        "ipvsadm -a -t 10.0.0.1:80",
        2,
        "You need to supply the 'real-server' option for the 'add-server' command\n",
    ),
    ("ipvsadm -C -t 10.0.0.1:80", 2, "Illegal 'service-address' option with the 'flush' command\n"),
    ("ipvsadm -A -t 10.0.0.1", 2, "Zero port specified for non-persistent service\n"),
    ("ipvsadm -A -t 10.0.0.1:http:", 2, "illegal virtual server address[:port] specified\n"),
    ("ipvsadm -A -t 10.0.0.1:80 -o", 2, "One-Packet Scheduling is only for UDP virtual services\n"),
    ("ipvsadm -A -f 0", 2, "invalid fwmark value `0' specified\n"),
    ("ipvsadm -A -6", 2, "-6 used before -f\n"),
    ("ipvsadm -a -t 10.0.0.1:80 -r 10.0.0.2 -w 65536", 2, "illegal weight specified\n"),
    ("ipvsadm -a -t 10.0.0.1:80 -r 300", 2, "illegal real server address[:port] specified\n"),
    ("ipvsadm --set 900 120", 2, "--set option requires 3 timeout values\n"),
    ("ipvsadm --set 900 120 x", 2, "invalid timeout value `x' specified\n"),
    ("ipvsadm --set 2147484 0 0", 255, "directrix keeps timeouts of at most 2147483 s, not of 2147484 s\n"),
    (
        "ipvsadm -A -t 10.0.0.1:80 -p 2147484",
        255,
        "directrix keeps timeouts of at most 2147483 s, not of 2147484 s\n",
    ),
    ("ipvsadm -A -t 10.0.0.1:80 --pe foo", 255, "there is no persistence engine \"foo\"; leave it out\n"),
    (
        "head -c 100000 /dev/zero | ipvsadm -R",
        255,
        "line 1: Try `ipvsadm -h' or 'ipvsadm --help' for more information.: \\u{0}\\u{0}…",
    ),
    ("ipvsadm -R < /dev/zero", 255, TOO_LARGE),
    ("yes -- '-A -t 10.0.0.1:80' | head -n 150000 | ipvsadm -R 2>&1 | grep -v divide >&2; exit 2", 2, ""),
    ("yes -- '-A -t 10.0.0.1:80' | head -n 150000 | ipvsadm -R", 255, "this is …"),
    ("ipvsadm -Lc --stats", 2, "options conflicts in the list command\n"),
];

/// Configurations with errors: text of [`GOOD`], its replacement, and the messages with their lines.
const CONFIGURATIONS: &[(&str, &str, &[&str])] = &[
    (
        "interface = \"eth0\"",
        "",
        &["1: [director] has no interface; add interface = \"eth0\", where VIP traffic arrives"],
    ),
    (
        "interface = \"eth0\"",
        "interface = eth0",
        &["2: not TOML: string values must be quoted; write the value in quotes, as in \"eth0\""],
    ),
    (
        "interface = \"eth0\"",
        "interface = \"eth0\"\nbackend = \"dpdk\"",
        &["3: backend is \"dpdk\"; write \"auto\" or \"xdp\" or \"packet\""],
    ),
    (
        "interface = \"eth0\"",
        "interface = \"eth0\"\ncontrol_others = \"write\"\ncontrol_other = \"read\"",
        &[
            "3: control_others is \"write\"; write \"nothing\" or \"read\"",
            "4: \"control_other\" is not a key of [director]; did you mean control_others?",
        ],
    ),
    (
        "interface = \"eth0\"",
        "interface = \"eth0\"\nbackned = \"xdp\"",
        &["3: \"backned\" is not a key of [director]; did you mean backend?"],
    ),
    (
        "interface = \"eth0\"",
        "interface = \"eth0\"\nconnections = 10",
        &["3: connections is 10, out of range; write a number from 1024 to 268435456"],
    ),
    (
        "interface = \"eth0\"",
        "interface = \"eth0\"\nworkers = \"all\"",
        &["3: workers is \"all\", not a whole number; write a number from 1 to 65535 or \"auto\""],
    ),
    (
        "interface = \"eth0\"",
        "interface = \"eth0\"\ntimeouts = { tcp = 0 }",
        &["3: tcp is 0, out of range; write a number from 1 to 2147483: seconds"],
    ),
    (
        "interface = \"eth0\"",
        "interface = \"eth0\"\ninterface = \"eth1\"",
        &["3: not TOML: duplicate key; keep one of the two"],
    ),
    (
        "protocol = \"tcp\"",
        "protocol = \"dccp\"",
        &["5: protocol is \"dccp\"; write \"tcp\" or \"udp\" or \"sctp\""],
    ),
    ("10.0.0.1:80", "10.0.0.1", &["6: address is \"10.0.0.1\", without a port; write \"10.0.0.1:80\""]),
    (
        "10.0.0.1:80",
        "[2001:db8::1]:80",
        &[
            "9: address is \"10.0.0.2\", an IPv4 address, and the VIP is one of IPv6: direct routing cannot change the family; write an address of the VIP's family that the server has, as in \"2001:db8::170\"",
        ],
    ),
    (
        "10.0.0.1:80\"",
        "10.0.0.1:80\"\nscheduler = \"lblc\"",
        &[
            "7: scheduler is \"lblc\", IPVS's scheduler for caches, which directrix does not have; write \"mh\" for clients that stay with their server",
        ],
    ),
    (
        "\"10.0.0.2\"",
        "\"10.0.0.2:8080\"",
        &[
            "9: address is \"10.0.0.2:8080\", another port than the service's: direct routing cannot change the port; \
         write \"10.0.0.2\"",
        ],
    ),
    (
        "\"10.0.0.2\"",
        "\"10.0.0.1\"",
        &["9: address is 10.0.0.1, the VIP of a service; write the real server's own address, its RIP"],
    ),
    (
        "\"10.0.0.2\"",
        "\"10.0.0.2\"\nport = 80",
        &["10: \"port\" is not a key of [[service.server]]; \
         remove it: the port is the service's, direct routing cannot change it"],
    ),
    (
        "\"10.0.0.2\"",
        "\"10.0.0.2\"\nmac = \"ff:ff:ff:ff:ff:ff\"",
        &["10: mac is \"ff:ff:ff:ff:ff:ff\", which is not one station's address; \
         write the server's own address, as in \"02:00:5e:10:00:01\""],
    ),
    (
        "\"10.0.0.2\"",
        "\"10.0.0.2\"\n[[service.server]]\naddress = \"10.0.0.2\"",
        &["11: address 10.0.0.2 is a server of this service already, on line 9; \
         remove one of the two; weight gives it a larger share"],
    ),
    (
        "\"10.0.0.2\"",
        "\"10.0.0.2\"\n[[service]]\nprotocol = \"tcp\"\naddress = \"10.0.0.1:80\"",
        &[
            "12: address TCP 10.0.0.1:80 is a service already, on line 6; remove one of the two, or merge their servers",
        ],
    ),
    (
        "\"10.0.0.2\"",
        "\"web1\"\nweight = -1\n[[service]]\nprotocol = 6\nadress = \"10.0.0.1:80\"\n[metrics]",
        &[
            "9: address is \"web1\", not an IP address; write the RIP alone, as in \"192.168.195.170\"",
            "10: weight is -1, out of range; write a number from 0 to 65535",
            "11: [[service]] has no address; add address = \"VIP:port\"",
            "12: protocol is 6; write \"tcp\" or \"udp\" or \"sctp\"",
            "13: \"adress\" is not a key of [[service]]; did you mean address?",
            "14: \"metrics\" is not a key of the file; its keys are include, director, ha, sync, service, mark",
        ],
    ),
];

/// Temporary directory with the files that the cases name.
struct Place {
    directory: TempDir,
}

impl Place {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        for name in ["directrix", "ipvsadm"] {
            symlink(env!("CARGO_BIN_EXE_directrix"), path(name)).unwrap();
        }
        fs::write(path("good.toml"), GOOD).unwrap();
        fs::write(path("empty.toml"), "").unwrap();
        fs::write(path("zeros.toml"), [0; 16]).unwrap();
        fs::write(path("latin1.toml"), b"[director]\n# caf\xe9\n").unwrap();
        fs::write(path("unreadable.toml"), GOOD).unwrap();
        fs::set_permissions(path("unreadable.toml"), fs::Permissions::from_mode(0o000)).unwrap();
        fs::create_dir(path("directory")).unwrap();
        mkfifo(&path("pipe"), Mode::S_IRWXU).unwrap();
        drop(UnixListener::bind(path("stale.sock")).unwrap());
        Self { directory }
    }

    fn path(&self) -> &Path {
        self.directory.path()
    }

    /// Runs a case in this directory, and compares exit status and stderr.
    #[track_caller]
    fn check(&self, mut shell: Command, (line, status, expected): (&str, i32, &str)) {
        let programs = std::env::var("PATH").unwrap();
        shell.env("PATH", format!("{}:{programs}", self.path().display())).current_dir(self.path());
        for variable in ["DIRECTRIX_SOCKET", "RUST_LOG", "RUST_BACKTRACE", "COLUMNS"] {
            shell.env_remove(variable);
        }
        let Output { status: ended, stderr, .. } = shell.stdin(Stdio::null()).output().unwrap();
        let text = String::from_utf8(stderr).unwrap();
        assert_eq!(ended.code(), Some(status), "{line}: {text}");
        match expected.strip_suffix('…') {
            Some(start) => assert!(text.starts_with(start), "{line}: {text}\nand not: {start}"),
            None => assert_eq!(text, expected, "{line}"),
        }
        for slip in ["panicked", "Err(", "Some(", " { "] {
            assert!(!text.contains(slip), "{line}: {text}");
        }
    }
}

fn sh(line: &str) -> Command {
    let mut shell = Command::new("sh");
    shell.args(["-c", line]);
    shell
}

#[test]
fn arguments_files_sockets_and_ipvsadm_grammar() {
    let place = Place::new();
    for case in [ARGUMENTS, FILES, SOCKETS, IPVSADM].into_iter().flatten() {
        place.check(sh(case.0), *case);
    }
}

#[test]
fn every_error_of_a_configuration_is_reported() {
    let place = Place::new();
    for (old, new, wrong) in CONFIGURATIONS {
        assert!(GOOD.contains(old), "{old}");
        fs::write(place.path().join("d.toml"), GOOD.replace(old, new)).unwrap();
        let expected: String = wrong.iter().map(|wrong| format!("d.toml:{wrong}\n")).collect();
        for line in ["directrix run --check --config d.toml", "directrix run -c d.toml"] {
            place.check(sh(line), (line, 2, &expected));
        }
    }
}

#[test]
fn valid_configuration_passes_the_check() {
    let place = Place::new();
    let line = "directrix run --check --config good.toml | grep -x 'good.toml: 1 service, no errors'";
    place.check(sh(line), (line, 0, ""));
}

/// Valid files that are invalid on this host: eth0 exists, in another network than the server.
const INVALID_ON_THIS_HOST: &[Case] = &[
    (
        "directrix run -c good.toml",
        1,
        "good.toml:9: real server 10.0.0.2 is not on-link: eth0 has 10.9.0.1/24, and direct routing reaches only \
         neighbors; write a RIP of that network, give eth0 an address in the server's, or a route to it (ip route add NETWORK dev \
         eth0), or set server_interface\n",
    ),
    (
        "sed 's/eth0/eth7/' good.toml > d.toml; directrix run --check=host -c d.toml",
        1,
        "d.toml:2: looking up interface eth7: there is no interface of that name here; name one of these: eth0\n",
    ),
    (
        "sed 's/eth0/lo/' good.toml > d.toml; directrix run -c d.toml",
        1,
        "d.toml:2: looking up interface lo: it is not Ethernet, and direct routing works by Ethernet addresses; …",
    ),
    (
        "sed 's/10.0.0.2/10.9.0.2/' good.toml > fits.toml; directrix run -c fits.toml --socket good.toml",
        1,
        "directrix: good.toml is there and is not a socket; move it away or use --socket\n",
    ),
    (
        "sed '2acontrol_group = \"nosuchgroup\"' fits.toml > d.toml; directrix run -c d.toml",
        1,
        "d.toml:3: control_group is \"nosuchgroup\": this host has no such group; \
         make it: groupadd --system nosuchgroup; or name one that `getent group` shows\n",
    ),
    (
        "directrix run -c fits.toml --socket directory",
        1,
        "directrix: directory is there and is not a socket; move it away or use --socket\n",
    ),
    (
        "directrix run -c fits.toml --socket $(printf %0108d 0)",
        2,
        "directrix: the socket path 00000000000000000000…",
    ),
    (
        "directrix run -c fits.toml --socket ..",
        2,
        "directrix: \"..\" cannot name a socket; give a file's path with --socket\n",
    ),
    (
        "directrix run -c fits.toml --socket good.toml/control.sock",
        1,
        "directrix: creating the directory good.toml: File exists (os error 17); make it possible or use --socket\n",
    ),
    (
        "ip link set dev eth0 down; directrix run --check=host -c fits.toml",
        1,
        "fits.toml:2: looking up interface eth0: it is down; …",
    ),
];

#[test]
fn configurations_that_do_not_match_the_host() {
    let (place, host, peer) = (Place::new(), Netns::new("bad"), Netns::new("peer"));
    veth((&host, "eth0"), (&peer, "eth0"), 1);
    host.run("ip address add 10.9.0.1/24 dev eth0");
    for case in INVALID_ON_THIS_HOST {
        place.check(host.command(case.0), *case);
    }
}
