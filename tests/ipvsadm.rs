//! `directrix ipvsadm` as a process, compared with recorded output of ipvsadm.

mod fake_director;

use directrix::control::api::{Connection, Service, Services};
use directrix::model::IpFamily;
use fake_director::fixtures::{self, connections};
use fake_director::golden::{self, Block};
use fake_director::{Answers, Director, directrix, run};
use std::io::pipe;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::Command;

fn listing(services: Services) -> Director {
    Director::answering(Answers { services, ..Answers::default() })
}

/// Runs the block's command and compares byte for byte.
fn assert_same(director: &Director, block: &Block) {
    let got = run(&mut directrix(&director.socket(), &format!("ipvsadm {}", block.arguments)));
    let (stdout, stderr) = match block.status.unwrap_or(0) {
        0 => (block.output.clone(), String::new()),
        _ => (String::new(), block.output.clone()),
    };
    assert_eq!(got, (block.status.unwrap_or(0), stdout, stderr), "ipvsadm {}", block.arguments);
}

fn is_listing(block: &&Block) -> bool {
    block.arguments.starts_with("-L") || block.arguments.starts_with("-S")
}

/// Compares every listing of a transcript. `count` is the number of listings expected in it.
fn assert_all_same(director: &Director, transcript: &str, count: usize) {
    let blocks = golden::recorded(transcript);
    let listings: Vec<_> = blocks.iter().filter(is_listing).collect();
    assert_eq!(listings.len(), count);
    listings.into_iter().for_each(|block| assert_same(director, block));
}

#[test]
fn listings_of_fixed_services_match_ipvsadm() {
    let blocks = golden::made_up();
    let rows = blocks.iter().find(|block| block.arguments == "-Lnc").unwrap().output.lines().skip(2);
    let answers = Answers {
        services: fixtures::made_up_with_group(),
        connections: rows.map(fixtures::connection).collect(),
        ..Answers::default()
    };
    assert_eq!(answers.connections.len(), 5);
    let director = Director::answering(answers);
    // Only the kernel has sync daemons.
    let mut blocks: Vec<_> = blocks.into_iter().filter(|block| block.arguments != "-L --daemon").collect();
    assert_eq!(blocks.len(), 11);
    let saved = blocks.iter_mut().find(|block| block.arguments == "-Sn").unwrap();
    saved.output = saved.output.replace(" -w 100\n", " -w 100 -x 1000 -y 800\n");
    blocks.iter().for_each(|block| assert_same(&director, block));
}

#[test]
fn empty_and_idle_listings_match_linux_6_1() {
    let empty = listing(Services { capacity: 4096, interfaces: Vec::new(), services: Vec::new() });
    assert_all_same(&empty, include_str!("golden/ipvs-6.1/empty"), 1);
    let idle = listing(fixtures::reference([[0; 3]; 3], [[0; 3]; 3], [0; 2]));
    assert_all_same(&idle, include_str!("golden/ipvs-6.1/idle"), 10);
}

#[test]
fn listings_with_traffic_match_linux_6_1() {
    let totals = [[300, 1500, 105_300], [100, 500, 35_100], [200, 1000, 70_200]];
    let during = [[34, 172, 12_056], [11, 57, 4015], [23, 115, 8042]];
    let director = listing(fixtures::reference(totals, during, [100, 201]));
    assert_all_same(&director, include_str!("golden/ipvs-6.1/short-during"), 5);

    let after = [[26, 129, 9042], [9, 43, 3011], [17, 86, 6031]];
    let transcript = include_str!("golden/ipvs-6.1/short-after");
    let rows = transcript.lines().filter(|line| line.contains(" FIN_WAIT "));
    let director = Director::answering(Answers {
        services: fixtures::reference(totals, after, [100, 201]),
        connections: rows.map(fixtures::connection).collect(),
        ..Answers::default()
    });
    assert_all_same(&director, transcript, 6);
}

#[test]
fn formats_match_linux_6_1_and_save_adds_thresholds() {
    let director = listing(fixtures::formats());
    let transcript = include_str!("golden/ipvs-6.1/formats");
    let kept = transcript.replace(
        "-a -t 192.168.195.150:443 -r 192.168.195.171:443 -g -w 0\n",
        "-a -t 192.168.195.150:443 -r 192.168.195.171:443 -g -w 0 -x 1000 -y 500\n",
    );
    assert_ne!(kept, transcript);
    assert_all_same(&director, &kept, 6);
}

#[test]
fn wildcard_port_service_is_listed_with_port_0() {
    let wildcard = fixtures::wildcard();
    let rows = [
        "TCP 14:59  ESTABLISHED 198.51.100.7:40000 192.0.2.10:443     10.0.0.2:443",
        "TCP 05:54  ASSURED     198.51.100.7:0     192.0.2.10:0       10.0.0.2:0",
    ];
    let director = Director::answering(Answers {
        services: wildcard,
        connections: rows.into_iter().map(fixtures::connection).collect(),
        ..Answers::default()
    });
    let block = |arguments: &str, output: String| Block { arguments: arguments.into(), output, status: None };
    let head = "IP Virtual Server version 1.2.1 (size=4096)\nProt LocalAddress:Port Scheduler Flags\n  \
                -> RemoteAddress:Port           Forward Weight ActiveConn InActConn\n";
    let service = "TCP  192.0.2.10:0 rr persistent 360\n  \
                   -> 10.0.0.1:0                   Route   1      12         345       \n  \
                   -> 10.0.0.2:0                   Route   100    13         346       \n";
    let rules = "-A -t 192.0.2.10:0 -s rr -p 360\n-a -t 192.0.2.10:0 -r 10.0.0.1:0 -g -w 1\n\
                 -a -t 192.0.2.10:0 -r 10.0.0.2:0 -g -w 100 -x 1000 -y 800\n";
    let list_head =
        "IPVS connection entries\npro expire state       source             virtual            destination\n";
    assert_same(&director, &block("-Ln", format!("{head}{service}")));
    let without_banner = head.split_once('\n').unwrap().1;
    for target in ["192.0.2.10", "192.0.2.10:0"] {
        let arguments = format!("-Ln -t {target}");
        assert_same(&director, &block(&arguments, format!("{without_banner}{service}")));
    }
    assert_same(&director, &block("-Sn", rules.to_owned()));
    assert_same(&director, &block("-Lnc", format!("{list_head}{}\n{}\n", rows[0], rows[1])));
}

#[test]
fn errors_match_linux_6_1() {
    let mut services = fixtures::reference([[0; 3]; 3], [[0; 3]; 3], [0; 2]);
    // RIPs of the recording.
    for (server, host) in services.services[0].servers.iter_mut().zip([160, 161]) {
        server.address = ([192, 168, 195, host], 80).into();
    }
    let director = listing(services);
    let blocks = golden::recorded(include_str!("golden/ipvs-6.1/errors"));
    blocks.iter().for_each(|block| assert_same(&director, block));
    assert_eq!(blocks.len(), 12);
}

#[test]
fn switches_accept_all_forms_of_popt() {
    let director = listing(fixtures::made_up());
    let ipvsadm = |arguments: &str| run(&mut directrix(&director.socket(), &format!("ipvsadm {arguments}")));
    let (table, stats) = (ipvsadm("-Ln"), ipvsadm("-Ln --stats"));
    for same in ["-L -n", "-ln", "-l -n", "--list --numeric", "--list -n --sort", "-Ln --"] {
        assert_eq!(ipvsadm(same), table, "{same}");
    }
    for same in ["-L --stats -n", "--list --numeric --stats", "-Ln --stats --rate --thresholds"] {
        assert_eq!(ipvsadm(same), stats, "{same}");
    }
    let one = ipvsadm("-Ln -t 192.0.2.10:80");
    for same in ["-Lnt 192.0.2.10:80", "-Lnt192.0.2.10:80", "-Ln --tcp-service=192.0.2.10:80"] {
        assert_eq!(ipvsadm(same), one, "{same}");
    }
    let six = ipvsadm("-Ln -t [2001:db8::80]:80");
    assert!(six.1.contains("[2001:db8:1::2]:80"), "{six:?}");
    assert_eq!(six.0, 0);
}

#[test]
fn groups_are_named_by_mark_and_family() {
    let servers = |rip: &str| vec![fixtures::server(rip, 1, 0, 0)];
    let six = fixtures::group(IpFamily::Ipv6, "sh", servers("[2001:db8:1::1]:0"));
    let four = Service { one_packet: true, ..fixtures::group(IpFamily::Ipv4, "wlc", servers("10.0.0.1:0")) };
    let director = listing(Services { capacity: 4096, interfaces: Vec::new(), services: vec![six, four] });
    let ipvsadm = |arguments: &str| run(&mut directrix(&director.socket(), &format!("ipvsadm {arguments}")));
    let title = "Prot LocalAddress:Port Scheduler Flags\n  -> RemoteAddress:Port           Forward Weight ActiveConn InActConn\n";
    let v4 = "FWM  7 wlc ops\n  -> 10.0.0.1:0                   Route   1      0          0         \n";
    let v6 = "FWM  7 IPv6 sh\n  -> [2001:db8:1::1]:0            Route   1      0          0         \n";
    assert_eq!(ipvsadm("-Ln -f 7").1, format!("{title}{v4}"));
    assert_eq!(ipvsadm("-Ln -f 7 -6").1, format!("{title}{v6}"));
    assert!(ipvsadm("-Ln").1.ends_with(&format!("{v4}{v6}")));
    assert_eq!(ipvsadm("-L -f 8"), (1, String::new(), "No such service\n".to_owned()));
    let saved = "-A -f 7 -s wlc -o\n-a -f 7 -r 10.0.0.1:0 -g -w 1\n\
                 -A -f 7 -6 -s sh\n-a -f 7 -6 -r [2001:db8:1::1]:0 -g -w 1\n";
    assert_eq!(ipvsadm("-Sn").1, saved);
    let (status, _, error) = ipvsadm("-A -f 9");
    assert_eq!(status, 255);
    assert!(error.starts_with("no matches are known for FWM 9: ") && error.contains("mark = 9"), "{error}");
}

#[test]
fn templates_of_groups_are_listed_by_the_mark() {
    let template = |family, client: &str, server: &str| Connection {
        service: fixtures::group(family, "wlc", Vec::new()).identity,
        group: None,
        expires: 61,
        state: "ASSURED".to_owned(),
        client: client.parse().unwrap(),
        server: server.parse().unwrap(),
    };
    let connections = vec![
        template(IpFamily::Ipv4, "198.51.100.7:0", "10.0.0.1:0"),
        template(IpFamily::Ipv6, "[2001:db8:7::1]:0", "[2001:db8:1::1]:0"),
    ];
    let director = Director::answering(Answers { connections, ..Answers::default() });
    let (_, listed, _) = run(&mut directrix(&director.socket(), "ipvsadm -Lnc"));
    let rows: Vec<_> = listed.lines().skip(2).collect();
    assert_eq!(
        rows,
        [
            "IP  01:01  ASSURED     198.51.100.7:0     0.0.0.7:0          10.0.0.1:0",
            "IP  01:01  ASSURED     [2001:db8:7::1]:0  [0:7::]:0          [2001:db8:1::1]:0",
        ]
    );
}

#[test]
fn nosort_keeps_the_directors_order() {
    let director = listing(fixtures::made_up());
    let (_, listed, _) = run(&mut directrix(&director.socket(), "ipvsadm -Ln --nosort"));
    let order: Vec<_> = listed.lines().skip(3).map(|line| line.split_whitespace().nth(1).unwrap()).collect();
    assert_eq!(order[..3], ["[2001:db8::80]:80", "[2001:db8:1::2]:80", "[2001:db8:1::1]:80"]);
    assert_eq!(order[9], "192.0.2.10:80");
}

#[test]
fn hosts_and_ports_have_names_without_numeric() {
    let services = vec![fixtures::service(
        directrix::wire::Protocol::Tcp,
        "192.0.2.10:80",
        "wlc",
        vec![fixtures::server("127.0.0.1:80", 1, 0, 0)],
    )];
    let director = listing(Services { capacity: 4096, interfaces: Vec::new(), services });
    for arguments in ["ipvsadm", "ipvsadm -L"] {
        let (status, listed, _) = run(&mut directrix(&director.socket(), arguments));
        assert_eq!(status, 0);
        assert!(listed.contains("TCP  192.0.2.10:http wlc\n"), "{listed}");
        assert!(listed.contains("  -> localhost:http               Route   1 "), "{listed}");
    }
    let (status, ..) = run(&mut directrix(&director.socket(), "ipvsadm -Ln -t 192.0.2.10:http"));
    assert_eq!(status, 0, "ports may be given by name");
}

#[test]
fn help_and_version_need_no_director() {
    let nowhere = Path::new("/nonexistent/control.sock");
    let version = "ipvsadm v1.31 2019/12/24 (compiled with popt and IPVS v1.2.1)\n";
    for arguments in ["ipvsadm -h", "ipvsadm --help"] {
        let (status, help, stderr) = run(&mut directrix(nowhere, arguments));
        assert_eq!((status, stderr.as_str()), (0, ""));
        assert!(help.starts_with(version) && help.contains("-L -c [-n]"), "{help}");
    }
    for arguments in ["ipvsadm -v", "ipvsadm --version"] {
        assert_eq!(run(&mut directrix(nowhere, arguments)), (0, version.to_owned(), String::new()));
    }
}

#[test]
fn program_named_ipvsadm_behaves_as_ipvsadm() {
    let director = listing(fixtures::made_up_with_group());
    let place = tempfile::tempdir().unwrap();
    let name = place.path().join("ipvsadm");
    symlink(env!("CARGO_BIN_EXE_directrix"), &name).unwrap();
    let (status, listed, _) =
        run(Command::new(&name).args(["-L", "-n"]).env("DIRECTRIX_SOCKET", director.socket()));
    assert_eq!(status, 0);
    assert_eq!(listed, golden::made_up()[0].output);
    let misread = run(Command::new(&name).arg("--socket").env("DIRECTRIX_SOCKET", director.socket()));
    assert_eq!(misread.0, 255);
}

#[test]
fn socket_path_is_taken_from_the_environment() {
    let director = listing(Services { capacity: 7, interfaces: Vec::new(), services: Vec::new() });
    let mut command = Command::new(env!("CARGO_BIN_EXE_directrix"));
    let (status, listed, _) =
        run(command.args(["ipvsadm", "-Ln"]).env("DIRECTRIX_SOCKET", director.socket()));
    assert_eq!(status, 0);
    assert!(listed.contains("(size=7)"), "{listed}");
}

#[test]
fn missing_director_is_reported_as_missing_ipvs() {
    let place = tempfile::tempdir().unwrap();
    let (absent, stale) = (place.path().join("absent"), place.path().join("stale"));
    drop(UnixListener::bind(&stale).unwrap());
    for socket in [&absent, &stale] {
        for arguments in ["ipvsadm -Ln", "ipvsadm -Lnc", "ipvsadm -L --timeout", "ipvsadm -L --daemon"] {
            let (status, stdout, stderr) = run(&mut directrix(socket, arguments));
            let message = format!(
                "Can't initialize ipvs: no director is running at {}; start one with `directrix run`, or name \
                 its socket with --socket or DIRECTRIX_SOCKET\n",
                socket.display()
            );
            assert_eq!((status, stdout.as_str(), stderr), (2, "", message), "{arguments}");
        }
    }
}

#[test]
fn closed_pipe_is_not_an_error() {
    let director = Director::answering(Answers { connections: connections(100_000), ..Answers::default() });
    let (reader, writer) = pipe().unwrap();
    drop(reader);
    let (status, _, stderr) = run(directrix(&director.socket(), "ipvsadm -Lnc").stdout(writer));
    assert_eq!((status, stderr.as_str()), (0, ""));
}

#[test]
fn full_disk_is_an_error() {
    let director = listing(fixtures::made_up());
    let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
    let (status, _, stderr) = run(directrix(&director.socket(), "ipvsadm -Ln").stdout(full));
    assert_eq!(status, 255);
    assert!(stderr.starts_with("cannot write the listing: "), "{stderr}");
}

#[test]
fn hundred_thousand_connections_are_listed() {
    let director = Director::answering(Answers { connections: connections(100_000), ..Answers::default() });
    let (status, listed, _) = run(&mut directrix(&director.socket(), "ipvsadm -Lnc"));
    assert_eq!(status, 0);
    assert_eq!(listed.lines().count(), 100_002);
    assert!(listed.ends_with("192.0.2.10:80      10.0.0.1:80\n"));
}
