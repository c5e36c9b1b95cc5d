//! Packets longer than the MTU towards the real servers: the client learns it, over both families.

use crate::deployment::{Deployment, Layout, Plan, VIP};
use crate::director::{Config, Director, Home};
use crate::on_both_backends;
use crate::peers::{PATIENCE, Peers};
use crate::support::netns::{Netns, wait_until};
use crate::support::responder::Dump;

on_both_backends! {
    a_client_learns_the_mtu_towards_the_servers
}

/// Length of an upload in bytes.
const UPLOAD: usize = 3 << 20;
const VIP6: &str = "2001:db8:195::150";
const RIPS6: [&str; 2] = ["2001:db8:196::170", "2001:db8:196::171"];

/// Two arms of both families.
struct Site {
    deployment: Deployment,
    _peers: Peers,
}

impl Site {
    fn new() -> Self {
        let deployment = Deployment::new(Plan { layout: Layout::TwoArms, ..Plan::REFERENCE });
        let hosts = [
            (&deployment.client, "eth0", "2001:db8:195::2"),
            (&deployment.director, "eth0", "2001:db8:195::149"),
            (&deployment.director, "eth1", "2001:db8:196::149"),
            (deployment.router(), "eth0", "2001:db8:195::1"),
            (deployment.router(), "eth1", "2001:db8:196::1"),
            (&deployment.real[0], "eth0", RIPS6[0]),
            (&deployment.real[1], "eth0", RIPS6[1]),
        ];
        for (host, interface, address) in hosts {
            host.run(&format!("sysctl -qw net.ipv6.conf.{interface}.disable_ipv6=0"));
            host.run(&format!("ip address add {address}/64 dev {interface} nodad"));
        }
        deployment.router().run("sysctl -qw net.ipv6.conf.all.forwarding=1");
        for real in &deployment.real {
            real.run("sysctl -qw net.ipv6.conf.lo.disable_ipv6=0");
            real.run(&format!("ip address add {VIP6}/128 dev lo preferred_lft 0"));
            real.run("ip -6 route add default via 2001:db8:196::1");
        }
        let peers = Peers::start(&deployment);
        Self { deployment, _peers: peers }
    }

    /// A director with HTTP services of both families.
    fn director(&self, backend: &str) -> Director {
        let config = Config::new(backend).with("server_interface = \"eth1\"");
        let mut text = config.text(&self.deployment);
        text += &format!("[[service]]\nprotocol = \"tcp\"\naddress = \"[{VIP6}]:80\"\n");
        RIPS6.iter().for_each(|rip| text += &format!("[[service.server]]\naddress = \"{rip}\"\n"));
        Director::start_in(Home::new(), &self.deployment.director, &text)
    }
}

fn upload(client: &Netns, host: &str) {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), vec![0x5a; UPLOAD]).unwrap();
    let (file, url) = (file.path().display(), format!("http://{host}/files/blob"));
    let options = "-sS --fail --max-time 30 -o /dev/null -w %{size_upload}";
    assert_eq!(client.run(&format!("curl {options} -T {file} '{url}'")).trim(), UPLOAD.to_string());
}

/// True if the client has this MTU for an address.
fn has_mtu(client: &Netns, address: &str, mtu: u32) -> bool {
    client.run(&format!("ip route get {address}")).contains(&format!("mtu {mtu}"))
}

fn a_client_learns_the_mtu_towards_the_servers(backend: &str) {
    let site = Site::new();
    site.deployment.director.run("ip link set eth1 mtu 1300");
    let client = &site.deployment.client;
    let director = site.director(backend);
    let dump = Dump::on(client, "icmp[0] = 3 or (icmp6 and ip6[40] = 2)");
    upload(client, &VIP.to_string());
    upload(client, &format!("[{VIP6}]"));
    let errors = [
        format!("{VIP} > 192.168.195.2: ICMP {VIP} unreachable - need to frag (mtu 1300)"),
        format!("{VIP6} > 2001:db8:195::2: ICMP6, packet too big, mtu 1300"),
    ];
    wait_until("both errors in the capture", PATIENCE, || errors.iter().all(|error| dump.lines(error) > 0));
    assert!(has_mtu(client, &VIP.to_string(), 1300) && has_mtu(client, VIP6, 1300));
    let (dropped, answered) =
        (director.dropped("too_long"), director.metric("directrix_answers_sent_total{kind=\"too_big\"}"));
    assert!(answered >= 2 && answered <= dropped, "{answered} of {dropped}");
}

/// AF_XDP keeps to the MTU that an interface had at the start.
#[test]
fn an_mtu_that_shrinks_at_run_time_is_told() {
    let site = Site::new();
    let client = &site.deployment.client;
    let director = site.director("packet");
    upload(client, &format!("[{VIP6}]"));
    assert_eq!(director.dropped("too_long"), 0);
    site.deployment.director.run("ip link set eth1 mtu 1400");
    upload(client, &format!("[{VIP6}]"));
    assert!(has_mtu(client, VIP6, 1400));
}
