//! The `[director]` table: each wrong value with its line, what is wrong and the remedy.

use super::*;

#[test]
fn a_broken_director_table_is_refused() {
    refused("", &["1: the file has no [director]; add [director] with interface = \"eth0\" below it"]);
    refused(
        "director = 1\n[[service]]\nprotocol = \"tcp\"\naddress = \"10.0.0.1:80\"",
        &["1: [director] is an integer; write it as a table that begins with [director]"],
    );
    refused(
        "[director]\n[[service]]\nprotocol = \"tcp\"\naddress = \"10.0.0.1:80\"",
        &["1: [director] has no interface; add interface = \"eth0\", where VIP traffic arrives"],
    );
    assert_eq!(check("[director]\ninterface = \"eth0\"\n").unwrap().services, [], "they can be added later");
}

/// Line 3 of a file, and the expected error.
const DIRECTOR_CASES: &[(&str, &str)] = &[
    ("backend = \"xpd\"", r#"3: backend is "xpd"; write "auto" or "xdp" or "packet""#),
    ("backend = 1", r#"3: backend is 1; write "auto" or "xdp" or "packet""#),
    ("workers = 0", r#"3: workers is 0, out of range; write a number from 1 to 65535 or "auto""#),
    (
        "workers = \"two\"",
        r#"3: workers is "two", not a whole number; write a number from 1 to 65535 or "auto""#,
    ),
    ("workers = 1.5", r#"3: workers is 1.5, not a whole number; write a number from 1 to 65535 or "auto""#),
    ("connections = 1023", "3: connections is 1023, out of range; write a number from 1024 to 268435456"),
    (
        "connections = 268_435_457",
        "3: connections is 268435457, out of range; write a number from 1024 to 268435456",
    ),
    ("connections = -0x", "3: not TOML: integers with a radix cannot be signed; correct this line"),
    ("wait = \"never\"", r#"3: wait is "never"; write "adaptive" or "busy""#),
    (
        "control_group = \"\"",
        "3: control_group is empty; name a group that `getent group` shows, or remove the key",
    ),
    ("control_others = \"write\"", r#"3: control_others is "write"; write "nothing" or "read""#),
    ("control_others = true", r#"3: control_others is true; write "nothing" or "read""#),
    ("user = 7", r#"3: user is 7; write a user's name, as in "directrix", in quotes"#),
    ("user = \"\"", r#"3: user is empty; write a user's name, as in "directrix""#),
    ("user = \"0\"", r#"3: user is "0", a number and no name; write a user's name, as in "directrix""#),
    (
        "user = \"a:b\"",
        r#"3: user is "a:b": a name has no space, slash or colon in it; write a user's name, as in "directrix""#,
    ),
    ("conn_reuse_mode = 4", "3: conn_reuse_mode is 4, out of range; write a number from 0 to 3"),
    ("conn_reuse_mode = true", "3: conn_reuse_mode is true, not a whole number; write a number from 0 to 3"),
    ("expire_nodest_conn = 1", "3: expire_nodest_conn is 1; write true or false"),
    ("expire_quiescent_template = 1", "3: expire_quiescent_template is 1; write true or false"),
    ("sloppy_tcp = 1", "3: sloppy_tcp is 1; write true or false"),
    ("sloppy_sctp = \"1\"", "3: sloppy_sctp is \"1\"; write true or false"),
    ("schedule_icmp = 0", "3: schedule_icmp is 0; write true or false"),
    ("ping = \"no\"", "3: ping is \"no\"; write \"answer\" or \"ignore\" or \"if-healthy\""),
    ("reject = \"rst\"", "3: reject is \"rst\"; write \"icmp\" or \"reset\" or \"drop\""),
    ("huge_pages = \"yes\"", r#"3: huge_pages is "yes"; write true or false"#),
    ("wait = true", r#"3: wait is true; write "adaptive" or "busy""#),
    (
        "announce_interval = 0",
        "3: announce_interval is 0, out of range; write a number from 1 to 2147483: seconds",
    ),
    (
        "announce_interval = \"60s\"",
        "3: announce_interval is \"60s\", not a whole number; write a number from 1 to 2147483: seconds",
    ),
    ("arp_refresh = 0", "3: arp_refresh is 0, out of range; write a number from 1 to 2147483: seconds"),
    ("arp_attempts = 1", "3: arp_attempts is 1, out of range; write a number from 2 to 100"),
    ("on_conflict = \"ignore\"", r#"3: on_conflict is "ignore"; write "standby" or "claim""#),
    (
        "audit_interval = -1",
        "3: audit_interval is -1, out of range; write a number from 0 to 86400: seconds, 0 for no questions",
    ),
    (
        "peers = [\"there\"]",
        r#"3: peers has "there", neither an IP nor a MAC address; write a list of addresses, as in ["192.0.2.5", "02:00:5e:10:00:01"]"#,
    ),
    ("on_server_claim = 1", r#"3: on_server_claim is 1; write "exclude" or "ignore""#),
    (
        "metrics = true",
        "3: metrics is true; write an address of this host and a port, as in \"127.0.0.1:9310\", in quotes",
    ),
    ("metrics = \"127.0.0.1\"", r#"3: metrics is "127.0.0.1", without a port; write "127.0.0.1:9310""#),
    ("metrics = \"::1\"", r#"3: metrics is "::1", without a port; write "[::1]:9310""#),
    (
        "metrics = \":9310\"",
        r#"3: metrics is ":9310", not an IP address and port; write an address of this host and a port, as in "127.0.0.1:9310""#,
    ),
    (
        "metrics = \"localhost:9310\"",
        r#"3: metrics is "localhost:9310", not an IP address and port; write an address of this host and a port, as in "127.0.0.1:9310""#,
    ),
    (
        "metrics = \"127.0.0.1:0\"",
        r#"3: metrics is "127.0.0.1:0": port 0 cannot be listened on; write an address of this host and a port, as in "127.0.0.1:9310""#,
    ),
    (
        "metrics = \"224.0.0.1:9310\"",
        r#"3: metrics is "224.0.0.1:9310", not an address of one host; write an address of this host and a port, as in "127.0.0.1:9310""#,
    ),
    ("[director.timeouts]\ntcp = 0", "4: tcp is 0, out of range; write a number from 1 to 2147483: seconds"),
    (
        "[director.timeouts]\ntcpfin = 2147484",
        "4: tcpfin is 2147484, out of range; write a number from 1 to 2147483: seconds",
    ),
    (
        "[director.timeouts]\nudp = 99999999999999999999",
        "4: udp is 99999999999999999999, out of range; write a number from 1 to 2147483: seconds",
    ),
    (
        "timeouts = 5",
        "3: [director.timeouts] is an integer; write it as a table that begins with [director.timeouts]",
    ),
    (
        "[director.timeouts]\ntcp_fin = 1",
        r#"4: "tcp_fin" is not a key of [director.timeouts]; did you mean tcpfin?"#,
    ),
    (
        "server_interface = \"eth0\"",
        "3: server_interface is the same as interface; remove it: without it the real servers are behind interface",
    ),
    (
        "server_interface = \"\"",
        r#"3: server_interface is empty; write a name that "ip link" shows, as in "eth0""#,
    ),
    (
        "server_interface = \"abcdefghijklmnop\"",
        r#"3: server_interface is "abcdefghijklmnop", 16 bytes: Linux allows 15; write a name that "ip link" shows, as in "eth0""#,
    ),
    (
        "server_interface = \"a/b\"",
        r#"3: server_interface is "a/b": a name has no space, slash or colon in it; write a name that "ip link" shows, as in "eth0""#,
    ),
    (
        "server_interface = \"a b\"",
        r#"3: server_interface is "a b": a name has no space, slash or colon in it; write a name that "ip link" shows, as in "eth0""#,
    ),
    (
        "server_interface = \"..\"",
        r#"3: server_interface is "..", which is not an interface name; write a name that "ip link" shows, as in "eth0""#,
    ),
    (
        "server_interface = 0",
        r#"3: server_interface is 0; write an interface's name, as in "eth0", in quotes"#,
    ),
    ("backnd = \"xdp\"", r#"3: "backnd" is not a key of [director]; did you mean backend?"#),
    (
        "colour = 1",
        "3: \"colour\" is not a key of [director]; its keys are interface, server_interface, backend, workers, connections, wait, huge_pages, control_group, control_others, announce_interval, arp_refresh, arp_attempts, on_conflict, on_server_claim, audit_interval, peers, metrics, conn_reuse_mode, expire_nodest_conn, expire_quiescent_template, sloppy_tcp, sloppy_sctp, schedule_icmp, reject, ping, timeouts, user",
    ),
];

#[test]
fn values_of_the_director_table_are_checked() {
    for (extra, wanted) in DIRECTOR_CASES {
        refused(&director(extra), &[wanted]);
    }
}

#[test]
fn keys_that_need_a_restart_are_named_with_their_lines() {
    let running = check("[director]\ninterface = \"eth0\"\nwait = \"busy\"\n").unwrap().director;
    let file =
        |text: &str| check(text).unwrap().check_restarts(&running).map_err(|errors| errors.to_string());
    let remedy =
        "restart required; restart the director, or undo this change: until then a reload changes nothing";
    assert_eq!(
        file("\n[director]\nworkers = 2\ninterface = \"eth1\"\n").unwrap_err().lines().collect::<Vec<_>>(),
        [
            format!("d.toml:4: interface: {remedy}"),
            format!("d.toml:3: workers: {remedy}"),
            format!("d.toml:2: wait: {remedy}"),
        ],
    );
    let same = "[director]\nwait = \"busy\"\ninterface = \"eth0\"\n[director.timeouts]\ntcp = 60\n";
    assert_eq!(file(same), Ok(()));
}
