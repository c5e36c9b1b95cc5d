//! Groups of matches, and FTP, with curl and the echo service.

use crate::deployment::{Deployment, Plan, VIP};
use crate::director::{Config, Director, Home};
use crate::http::assert_counts_match_but_drops;
use crate::on_both_backends;
use crate::peers::{EchoConnection, Flow, NAMES, Peers, vip};
use crate::support::netns::Netns;
use std::io;
use std::net::{TcpListener, TcpStream};
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::sync::oneshot;

on_both_backends! {
    a_client_of_a_group_reaches_one_server
    connections_stay_while_a_range_takes_their_port
    passive_ftp_reaches_the_server_of_its_control
    more_sets_of_ports_than_the_kernel_takes_are_refused
}

/// TCP ports 80 and 7, and UDP ports 5 to 9, of which the real servers have 7.
fn group(deployment: &Deployment, backend: &str, settings: &str) -> String {
    let matches = format!("\"tcp:{VIP}:80\", \"tcp:{VIP}:7\", \"udp:{VIP}:5-9\"");
    let servers: String =
        deployment.rips.iter().map(|rip| format!("[[service.server]]\naddress = \"{rip}\"\n")).collect();
    format!(
        "[director]\ninterface = \"eth0\"\nbackend = \"{backend}\"\nworkers = 2\n\
         [[service]]\nmark = 7\nmatch = [{matches}]\nscheduler = \"rr\"\n{settings}\n{servers}"
    )
}

fn http(deployment: &Deployment) -> String {
    let fetch = format!("curl -sS --fail --max-time 20 -H 'Connection: close' http://{VIP}/");
    deployment.client.run(&fetch).trim().to_owned()
}

fn a_client_of_a_group_reaches_one_server(backend: &str) {
    let deployment = Deployment::new(Plan { queues: 2, ..Plan::REFERENCE });
    let _peers = Peers::start(&deployment);
    let config = group(&deployment, backend, "persistence = {}");
    let director = Director::start_in(Home::new(), &deployment.director, &config);
    assert_eq!(director.logged("ready services=1 standby=0"), 1, "{}", director.log());
    let server = http(&deployment);
    for _ in 0..5 {
        assert_eq!(http(&deployment), server);
        assert_eq!(EchoConnection::open(&deployment.client).server, server, "another port");
        assert_eq!(Flow::new(&deployment.client).exchange("data"), server, "another protocol, of a range");
    }
    let listing = director.cli("ipvsadm -Ln");
    assert!(listing.contains("\nFWM  7 rr persistent 360\n  -> 192.168.195.170:0 "), "{listing}");
    let template = director.connections("0.0.0.7:0");
    assert_eq!(template.len(), 1, "{}", director.cli("ipvsadm -Lnc"));
    assert!(template[0].starts_with("IP  "), "{template:?}");
    let stats = director.stats("-f 7");
    let connections: Vec<_> = stats.iter().map(|counts| counts[0]).filter(|count| *count > 0).collect();
    assert_eq!(connections, [16, 16], "of the group, and all of them of one server: {stats:?}");

    assert_counts_match_but_drops(&deployment, &director);
    let other = deployment.client.enter(|| TcpStream::connect_timeout(&vip(81), Duration::from_millis(300)));
    assert!(other.is_err());
    assert_eq!(director.dropped("no_service"), 0, "left to the kernel");

    let saved = director.cli("ipvsadm -Sn");
    director.change("ipvsadm -C");
    let file = director.cli("save");
    assert!(file.contains("[[mark]]\nmark = 7\n"), "{file}");
    director.write_config(&file);
    assert_eq!(director.cli("reload"), "nothing has changed\n");
    assert_eq!(director.cli_with_input("ipvsadm -R", &saved).0, Some(0));
    assert_eq!(director.cli("ipvsadm -Sn"), saved, "the matches have stayed known");
    let after = http(&deployment);
    assert!(NAMES.contains(&after.as_str()));
    director.change("ipvsadm -E -f 7 -s rr");
    let servers = [(); 2].map(|()| http(&deployment));
    assert_ne!(servers[0], servers[1], "no longer persistent");

    director.change("ipvsadm -C");
    director.write_config(file.split("[[mark]]").next().unwrap());
    let forgotten = director.cli("reload");
    assert!(forgotten.starts_with("- FWM 7 without a service: match tcp:"), "{forgotten}");
    let (status, stderr) = director.cli_with_input("ipvsadm -A -f 7", "");
    assert!(status == Some(255) && stderr.contains("no matches are known for FWM 7"), "{stderr}");
}

/// The connection is to port 7 of TCP; a flow of UDP to the same port is beside it.
fn connections_stay_while_a_range_takes_their_port(backend: &str) {
    let deployment = Deployment::new(Plan { queues: 2, ..Plan::REFERENCE });
    let _peers = Peers::start(&deployment);
    let config = |ports: &str| {
        let text = group(&deployment, backend, "");
        text.replace(&format!("tcp:{VIP}:7"), &format!("tcp:{VIP}:{ports}"))
    };
    let director = Director::start_in(Home::new(), &deployment.director, &config("7-9"));
    let mut connection = EchoConnection::open(&deployment.client);
    let flow = Flow::new(&deployment.client);
    let server = flow.exchange("first");
    let mut goes_on = |change: &str| {
        connection.exchange(change);
        assert_eq!(flow.exchange(change), server, "{change}");
        assert_eq!(director.connections(&format!("{VIP}:7 ")).len(), 2, "{change}");
    };
    for ports in ["7-8", "5-8", "6-20"] {
        director.write_config(&config(ports));
        let lines = director.change("reload");
        assert!(lines.starts_with("~ FWM 7: match "), "{lines}");
        goes_on(ports);
    }
    let edit = |matches: &str| {
        let service = r#"{"mark": 7, "family": "ipv4"}"#;
        let settings = format!(r#"{{"scheduler": "rr", "matches": [{matches}]}}"#);
        let json = format!(r#"[{{"do": "edit-service", "service": {service}, "settings": {settings}}}]"#);
        let answer = director.post_changes(&json);
        assert_eq!(answer.0, 200, "{answer:?}");
    };
    for (tcp, udp) in [("7-9", "7-8"), ("5-8", "1-7")] {
        edit(&format!("\"tcp:{VIP}:80\", \"tcp:{VIP}:{tcp}\", \"udp:{VIP}:{udp}\""));
        goes_on(tcp);
    }
    edit(&format!("\"tcp:{VIP}:80\", \"tcp:{VIP}:8-9\", \"udp:{VIP}:8-9\""));
    edit(&format!("\"tcp:{VIP}:80\", \"tcp:{VIP}:6-7\", \"tcp:{VIP}:8-9\", \"udp:{VIP}:*\""));
    goes_on("left and returned");
}

fn more_sets_of_ports_than_the_kernel_takes_are_refused(backend: &str) {
    let deployment = Deployment::new(Plan::REFERENCE);
    let config = Config::new(backend).text(&deployment);
    let director = Director::start_in(Home::new(), &deployment.director, &config);
    let groups: String = (1..=65)
        .map(|n| {
            let rip = &deployment.rips[0];
            format!(
                "[[service]]\nmark = {n}\nmatch = [\"tcp:192.168.195.{n}:5000-{}\"]\n\
                 [[service.server]]\naddress = \"{rip}\"\n",
                5000 + n
            )
        })
        .collect();
    let listing = director.cli("ipvsadm -Ln");
    director.write_config(&(config + &groups));
    let (status, stderr) = director.cli_with_input("reload", "");
    assert_eq!(status, Some(1));
    assert!(stderr.contains("64"), "{stderr}");
    assert_eq!(director.cli("ipvsadm -Ln"), listing, "nothing has changed");
}

/// An FTP server that sends its name as every file, in passive mode.
struct Ftp {
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Ftp {
    fn start(host: &Netns, name: &'static str) -> Self {
        let (control, data) =
            host.enter(|| (TcpListener::bind((VIP, 21)).unwrap(), TcpListener::bind((VIP, 0)).unwrap()));
        let (stop, stopped) = oneshot::channel();
        let run = move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                tokio::select! {
                    served = serve(control, data, name) => served.unwrap(),
                    _ = stopped => {}
                }
            });
        };
        Self { stop: Some(stop), thread: Some(std::thread::spawn(run)) }
    }
}

impl Drop for Ftp {
    fn drop(&mut self) {
        self.stop = None;
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

async fn serve(control: TcpListener, data: TcpListener, name: &str) -> io::Result<()> {
    let [control, data] = [control, data].map(|listener| {
        listener.set_nonblocking(true).unwrap();
        tokio::net::TcpListener::from_std(listener).unwrap()
    });
    loop {
        let (mut stream, _) = control.accept().await?;
        session(&mut stream, &data, name).await?;
    }
}

/// The commands of one client (RFC 959, RFC 2428).
async fn session(
    stream: &mut tokio::net::TcpStream,
    data: &tokio::net::TcpListener,
    name: &str,
) -> io::Result<()> {
    let (from, mut to) = stream.split();
    let mut lines = BufReader::new(from).lines();
    to.write_all(b"220 ready\r\n").await?;
    while let Some(line) = lines.next_line().await? {
        let reply = match line.split(' ').next().unwrap_or_default() {
            "USER" => "230 logged in".to_owned(),
            "PWD" => "257 \"/\"".to_owned(),
            "TYPE" => "200 binary".to_owned(),
            "EPSV" => format!("229 passive (|||{}|)", data.local_addr()?.port()),
            "SIZE" => format!("213 {}", name.len()),
            "RETR" => {
                to.write_all(b"150 comes\r\n").await?;
                data.accept().await?.0.write_all(name.as_bytes()).await?;
                "226 sent".to_owned()
            }
            "QUIT" => "221 bye".to_owned(),
            _ => "502 unknown".to_owned(),
        };
        to.write_all(format!("{reply}\r\n").as_bytes()).await?;
    }
    Ok(())
}

fn passive_ftp_reaches_the_server_of_its_control(backend: &str) {
    let deployment = Deployment::new(Plan { queues: 2, ..Plan::REFERENCE });
    let _peers = Peers::start(&deployment);
    let _ftp = [0, 1].map(|index| Ftp::start(&deployment.real[index], NAMES[index]));
    let director = Director::start(&deployment, &Config::new(backend).with("workers = 2"));
    director.change(&format!("ipvsadm -A -t {VIP}:21 -s rr -p"));
    for rip in deployment.rips {
        director.change(&format!("ipvsadm -a -t {VIP}:21 -r {rip}"));
    }
    for host in 201..207 {
        deployment.client.run(&format!("ip address add 192.168.195.{host}/24 dev eth0"));
        let fetch = format!("curl -sS --max-time 10 --interface 192.168.195.{host} ftp://{VIP}/name");
        let names = [(); 2].map(|()| deployment.client.run(&fetch));
        assert_eq!(names[0], names[1], "a data connection to another server would hang");
        assert!(NAMES.contains(&names[0].as_str()), "{names:?}");
    }
    assert!(EchoConnection::open(&deployment.client).server.starts_with("real"), "other services go on");
    let templates = director.connections(&format!("{VIP}:0 "));
    assert_eq!(templates.len(), 6, "{}", director.cli("ipvsadm -Lnc"));
    assert_counts_match_but_drops(&deployment, &director);
}
