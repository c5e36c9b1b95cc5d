//! Serialization of a [`Config`] as TOML.

use super::{
    BackendChoice, CheckKind, CheckTarget, CheckTiming, Config, ControlOthers, DirectorConfig, DnsCheck,
    FirewallMark, HaConfig, HealthCheck, HealthEffects, HttpCheck, HttpsCheck, IpFamily, KeepConnections,
    KnownGroup, Match, OnConflict, OnServerClaim, PassiveMode, Policy, Quorum, RealServer, RoleFifo,
    RoleSource, ServerRole, ServiceAddress, ServiceIdentity, SyncConfig, Timeouts, VirtualService, Wait,
    WorkerCount,
};
use crate::time::Span;
use crate::wire::ethernet::TAG;
use crate::wire::vlan::{Q_OUTSIDE, Vlans};
use std::fmt::{self, Display, Formatter};

impl Display for Config {
    /// Renders TOML with every key. [`super::parse`] yields an equal configuration, except for the places.
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        director(f, &self.director)?;
        ha_unless_default(f, &self.director.ha)?;
        self.director.sync.iter().try_for_each(|of| sync(f, of))?;
        self.services.iter().try_for_each(|one| service(f, one))?;
        self.marks.iter().try_for_each(|(mark, known)| known_group(f, *mark, known))
    }
}

fn director(f: &mut Formatter<'_>, director: &DirectorConfig) -> fmt::Result {
    writeln!(f, "[director]\ninterface = {}", quoted(&director.interface))?;
    if let Some(interface) = &director.server_interface {
        writeln!(f, "server_interface = {}", quoted(interface))?;
    }
    writeln!(f, "backend = \"{}\"", backend(director.backend))?;
    match director.workers {
        WorkerCount::Auto => writeln!(f, "workers = \"auto\"")?,
        WorkerCount::Count(count) => writeln!(f, "workers = {count}")?,
    }
    writeln!(f, "connections = {}", director.connections)?;
    writeln!(f, "wait = \"{}\"", wait(director.wait))?;
    writeln!(f, "huge_pages = {}", director.huge_pages)?;
    if let Some(group) = &director.control_group {
        writeln!(f, "control_group = {}", quoted(group))?;
    }
    writeln!(f, "control_others = \"{}\"", control_others(director.control_others))?;
    writeln!(f, "announce_interval = {}", director.announce_interval.secs())?;
    writeln!(f, "arp_refresh = {}", director.arp_refresh.secs())?;
    writeln!(f, "arp_attempts = {}", director.arp_attempts)?;
    writeln!(f, "on_conflict = \"{}\"", on_conflict(director.on_conflict))?;
    writeln!(f, "on_server_claim = \"{}\"", on_server_claim(director.on_server_claim))?;
    writeln!(f, "audit_interval = {}", director.audit_interval.secs())?;
    if !director.peers.is_empty() {
        let peers: Vec<_> = director.peers.iter().map(|peer| format!("\"{peer}\"")).collect();
        writeln!(f, "peers = [{}]", peers.join(", "))?;
    }
    if let Some(address) = director.metrics {
        writeln!(f, "metrics = \"{address}\"")?;
    }
    if let Some(user) = &director.user {
        writeln!(f, "user = {}", quoted(user))?;
    }
    policy(f, &director.policy)?;
    let Timeouts { tcp, tcp_fin, udp } = director.timeouts;
    writeln!(
        f,
        "\n[director.timeouts]\ntcp = {}\ntcpfin = {}\nudp = {}",
        tcp.secs(),
        tcp_fin.secs(),
        udp.secs()
    )
}

fn ha_unless_default(f: &mut Formatter<'_>, ha: &HaConfig) -> fmt::Result {
    if *ha == HaConfig::default() {
        return Ok(());
    }
    writeln!(f, "\n[ha]\nrole = \"{}\"\nvips = \"{}\"", ha.role.name(), ha.vips.name())?;
    ha.ready_file.iter().try_for_each(|path| writeln!(f, "ready_file = {}", quoted(path)))?;
    ha.tun.iter().try_for_each(|name| writeln!(f, "tun = {}", quoted(name)))?;
    if ha.ready_needs_servers {
        writeln!(f, "ready_needs_servers = true")?;
    }
    if ha.keep != KeepConnections::default() {
        writeln!(f, "keep = \"{}\"", ha.keep.name())?;
    }
    match &ha.role {
        RoleSource::Standalone => return Ok(()),
        RoleSource::Command => {}
        RoleSource::File { path } => writeln!(f, "file = {}", quoted(path))?,
        RoleSource::Fifo(RoleFifo { path, instance, on_writer_death }) => {
            writeln!(f, "fifo = {}", quoted(path))?;
            if let Some(instance) = instance {
                writeln!(f, "instance = {}", quoted(instance))?;
            }
            writeln!(f, "on_writer_death = \"{}\"", on_writer_death.name())?;
        }
    }
    writeln!(f, "linger = {}", ha.linger.secs())
}

fn sync(f: &mut Formatter<'_>, of: &SyncConfig) -> fmt::Result {
    let SyncConfig { interface, group, port, ttl, syncid, maxlen, peers, unicast, direction, hello } = of;
    writeln!(f, "\n[sync]\ninterface = {}\ngroup = \"{group}\"\nport = {port}", quoted(interface))?;
    writeln!(f, "ttl = {ttl}\nsyncid = {syncid}\ndirection = \"{}\"", direction.name())?;
    maxlen.iter().try_for_each(|len| writeln!(f, "maxlen = {len}"))?;
    if !peers.is_empty() {
        let peers: Vec<_> = peers.iter().map(|peer| format!("\"{peer}\"")).collect();
        writeln!(f, "peers = [{}]\nunicast = {unicast}", peers.join(", "))?;
    }
    writeln!(f, "hello = {}", hello.secs())
}

fn policy(f: &mut Formatter<'_>, policy: &Policy) -> fmt::Result {
    policy.switches().iter().try_for_each(|(name, value)| writeln!(f, "{name} = {value}"))?;
    writeln!(f, "reject = \"{}\"", policy.reject.name())?;
    writeln!(f, "ping = \"{}\"", policy.ping.name())
}

fn service(f: &mut Formatter<'_>, service: &VirtualService) -> fmt::Result {
    writeln!(f, "\n[[service]]")?;
    match service.identity {
        ServiceIdentity::Address(ServiceAddress { protocol, address }) => {
            let protocol = protocol.to_string().to_lowercase();
            writeln!(f, "protocol = \"{protocol}\"\naddress = \"{address}\"")?;
        }
        ServiceIdentity::Mark(mark) => mark_and_matches(f, mark, &service.group)?,
    }
    vlan_unless_none(f, service.vlan)?;
    writeln!(f, "scheduler = \"{}\"", service.scheduler.name())?;
    let flags: Vec<_> =
        service.scheduler_flags.names(service.scheduler).map(|flag| format!("\"{flag}\"")).collect();
    if !flags.is_empty() {
        writeln!(f, "scheduler_flags = [{}]", flags.join(", "))?;
    }
    if let Some(persistence) = service.persistence {
        let (timeout, prefix) = (persistence.timeout.secs(), persistence.prefix);
        let clients = match service.identity.family() {
            IpFamily::Ipv4 => format!("netmask = \"{}\"", persistence.netmask()),
            IpFamily::Ipv6 => format!("prefix = {prefix}"),
        };
        writeln!(f, "persistence = {{ timeout = {timeout}, {clients} }}")?;
    }
    if service.one_packet {
        writeln!(f, "one_packet = true")?;
    }
    if let Some(slow_start) = service.slow_start {
        writeln!(f, "slow_start = {}", slow_start.secs())?;
    }
    if service.panic != VirtualService::PANIC {
        writeln!(f, "panic = {}", service.panic)?;
    }
    effects(f, service)?;
    if service.passive != PassiveMode::default() {
        writeln!(f, "passive = \"{}\"", service.passive.name())?;
    }
    service.checks.iter().try_for_each(|one| check(f, "service.check", one))?;
    service.servers.iter().try_for_each(|one| server(f, one))
}

fn effects(f: &mut Formatter<'_>, service: &VirtualService) -> fmt::Result {
    let effects = &service.effects;
    let usual = HealthEffects::default();
    if effects.on_down != usual.on_down {
        writeln!(f, "on_down = \"{}\"", effects.on_down.name())?;
    }
    if effects.inhibit_on_failure != usual.inhibit_on_failure {
        writeln!(f, "inhibit_on_failure = {}", effects.inhibit_on_failure)?;
    }
    if effects.alpha {
        writeln!(f, "alpha = true")?;
    }
    let hooks = &effects.hooks;
    let has_hook = hooks.quorum_up.is_some() || hooks.quorum_down.is_some();
    let has_sorry = service.servers.iter().any(|server| server.role.is_sorry());
    // The sorry server that implied it has been removed.
    let implied = (has_hook && !has_sorry).then_some(Quorum { weight: 1, hysteresis: 0 });
    if let Some(Quorum { weight, hysteresis }) = effects.quorum.or(implied) {
        writeln!(f, "quorum = {weight}\nhysteresis = {hysteresis}")?;
    }
    let hooks = hooks.rows().into_iter();
    let mut set = hooks.filter_map(|(key, program)| Some((key, program?)));
    set.try_for_each(|(key, program)| writeln!(f, "{key} = {}", quoted(program)))
}

fn check(f: &mut Formatter<'_>, name: &str, check: &HealthCheck) -> fmt::Result {
    writeln!(f, "\n[[{name}]]\ntype = \"{}\"", check.kind.name())?;
    if !check.kind.is_local() {
        writeln!(f, "target = \"{}\"", target(check.target))?;
    }
    if let Some(port) = check.port {
        writeln!(f, "port = {port}")?;
    }
    match &check.kind {
        CheckKind::Tcp | CheckKind::Ping => {}
        CheckKind::Http(of) => http(f, of)?,
        CheckKind::Https(of) => https(f, of)?,
        CheckKind::Dns(of) => dns(f, of)?,
        CheckKind::Script(of) => {
            let words: Vec<_> = of.command.iter().map(|word| quoted(word)).collect();
            writeln!(f, "command = [{}]", words.join(", "))?;
            if of.dynamic_weight {
                writeln!(f, "dynamic_weight = true")?;
            }
        }
        CheckKind::File(of) => {
            writeln!(f, "path = {}\ngood = \"{}\"", quoted(&of.path), of.good.name())?;
            of.weight.iter().try_for_each(|weight| writeln!(f, "weight = {weight}"))?;
        }
        CheckKind::External(of) => {
            writeln!(f, "name = {}\nmax_age = {}", quoted(&of.name), of.max_age.secs())?;
        }
        CheckKind::Smtp(of) => writeln!(f, "hello = {}", quoted(&of.hello))?,
        CheckKind::Udp(of) => writeln!(f, "payload = \"{}\"\nreply = {}", of.hex(), of.reply)?,
    }
    timing(f, &check.timing)
}

fn target(target: CheckTarget) -> &'static str {
    match target {
        CheckTarget::Rip => "rip",
        CheckTarget::Vip => "vip",
        CheckTarget::Both => "both",
    }
}

fn http(f: &mut Formatter<'_>, of: &HttpCheck) -> fmt::Result {
    writeln!(f, "method = \"{}\"\npath = {}", of.method.name(), quoted(&of.path))?;
    of.host.iter().try_for_each(|host| writeln!(f, "host = {}", quoted(host)))?;
    if !of.headers.is_empty() {
        let pair = |(name, value): &(String, String)| format!("{} = {}", quoted(name), quoted(value));
        writeln!(f, "headers = {{ {} }}", of.headers.iter().map(pair).collect::<Vec<_>>().join(", "))?;
    }
    writeln!(f, "expect = \"{}\"", of.statuses())?;
    of.body.iter().try_for_each(|body| writeln!(f, "body = {}", quoted(body)))?;
    of.regex.iter().try_for_each(|regex| writeln!(f, "regex = {}", quoted(regex.as_str())))
}

fn https(f: &mut Formatter<'_>, of: &HttpsCheck) -> fmt::Result {
    http(f, &of.http)?;
    of.sni.iter().try_for_each(|sni| writeln!(f, "sni = {}", quoted(sni)))?;
    writeln!(f, "verify = {}", of.verify)?;
    of.ca.iter().try_for_each(|ca| writeln!(f, "ca = {}", quoted(ca)))?;
    writeln!(f, "expiry_warning = {}", of.expiry_warning)
}

fn dns(f: &mut Formatter<'_>, of: &DnsCheck) -> fmt::Result {
    let DnsCheck { name, query, transport, .. } = of;
    writeln!(f, "name = {}\nquery = \"{}\"", quoted(name), query.name())?;
    writeln!(f, "rcode = \"{}\"\ntransport = \"{}\"", of.rcodes(), transport.name())
}

fn timing(f: &mut Formatter<'_>, timing: &CheckTiming) -> fmt::Result {
    let seconds = |span: Span| f64::from(span.millis()) / 1000.0;
    let CheckTiming { interval, timeout, fall, rise, fast_interval, down_interval, warm_up } = *timing;
    writeln!(f, "interval = {}\ntimeout = {}", seconds(interval), seconds(timeout))?;
    writeln!(f, "fall = {fall}\nrise = {rise}")?;
    writeln!(f, "fast_interval = {}\ndown_interval = {}", seconds(fast_interval), seconds(down_interval))?;
    if warm_up == interval { Ok(()) } else { writeln!(f, "warm_up = {}", seconds(warm_up)) }
}

fn known_group(f: &mut Formatter<'_>, mark: FirewallMark, known: &KnownGroup) -> fmt::Result {
    writeln!(f, "\n[[mark]]")?;
    mark_and_matches(f, mark, &known.matches)?;
    vlan_unless_none(f, known.vlan)
}

fn mark_and_matches(f: &mut Formatter<'_>, mark: FirewallMark, matches: &[Match]) -> fmt::Result {
    let matches: Vec<_> = matches.iter().map(|of| format!("\"{of}\"")).collect();
    writeln!(f, "mark = {}\nmatch = [{}]", mark.mark, matches.join(", "))
}

fn vlan_unless_none(f: &mut Formatter<'_>, vlans: Vlans) -> fmt::Result {
    if vlans.is_none() { Ok(()) } else { writeln!(f, "vlan = {}", vlan(vlans)) }
}

/// A number, or an array of two, with the standard of the outer tag before them unless it is IEEE 802.1ad.
fn vlan(vlans: Vlans) -> String {
    match (vlans.outer(), vlans.inner()) {
        (outer, 0) => outer.to_string(),
        (outer, inner) if vlans.outer_protocol() == TAG => format!("[\"{Q_OUTSIDE}\", {outer}, {inner}]"),
        (outer, inner) => format!("[{outer}, {inner}]"),
    }
}

fn server(f: &mut Formatter<'_>, server: &RealServer) -> fmt::Result {
    let header = if server.role.is_sorry() { "[service.sorry_server]" } else { "[[service.server]]" };
    writeln!(f, "\n{header}\naddress = \"{}\"\nweight = {}", server.address, server.weight.0)?;
    if server.role == (ServerRole::Sorry { inhibit: true }) {
        writeln!(f, "inhibit = true")?;
    }
    if server.upper_threshold > 0 {
        writeln!(f, "upper_threshold = {}", server.upper_threshold)?;
    }
    if server.lower_threshold > 0 {
        writeln!(f, "lower_threshold = {}", server.lower_threshold)?;
    }
    if let Some(mac) = server.mac {
        writeln!(f, "mac = \"{mac}\"")?;
    }
    server.checks.iter().try_for_each(|one| check(f, "service.server.check", one))
}

/// An interface's name may have quotes in it.
fn quoted(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

fn backend(choice: BackendChoice) -> &'static str {
    match choice {
        BackendChoice::Auto => "auto",
        BackendChoice::Xdp => "xdp",
        BackendChoice::Packet => "packet",
    }
}

fn wait(wait: Wait) -> &'static str {
    match wait {
        Wait::Adaptive => "adaptive",
        Wait::Busy => "busy",
    }
}

fn control_others(others: ControlOthers) -> &'static str {
    match others {
        ControlOthers::Nothing => "nothing",
        ControlOthers::Read => "read",
    }
}

fn on_conflict(on_conflict: OnConflict) -> &'static str {
    match on_conflict {
        OnConflict::Standby => "standby",
        OnConflict::Claim => "claim",
    }
}

fn on_server_claim(on_server_claim: OnServerClaim) -> &'static str {
    match on_server_claim {
        OnServerClaim::Exclude => "exclude",
        OnServerClaim::Ignore => "ignore",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{
        BodyPattern, ConnReuseMode, DnsQueryType, DnsRcode, DnsTransport, ExternalCheck, FileCheck, GoodFile,
        Hooks, HttpCheck, HttpMethod, HttpsCheck, OnDown, OnWriterDeath, PeerAddress, Persistence, Ping,
        Places, PortRange, Reject, SLOW_START_MAX, Scheduler, SchedulerFlags, ScriptCheck, SmtpCheck,
        StatusRange, SyncDirection, UdpCheck, VipReach, Weight, parse,
    };
    use crate::time::Span;
    use crate::wire::{MacAddr, Protocol};
    use proptest::prelude::*;
    use std::collections::BTreeMap;
    use std::net::{IpAddr, Ipv6Addr};
    use std::path::Path;

    fn a_role() -> impl Strategy<Value = HaConfig> {
        let death = prop_oneof![Just(OnWriterDeath::Stop), Just(OnWriterDeath::Keep)];
        let fifo = ("/[a-z \"\\\\]{1,8}", proptest::option::of("[A-Za-z_0-9 \\\\]{1,8}"), death);
        let fifo = fifo.prop_map(|(path, instance, on_writer_death)| {
            RoleSource::Fifo(RoleFifo { path, instance, on_writer_death })
        });
        let file = "/[a-z]{1,8}".prop_map(|path| RoleSource::File { path });
        let several = (prop_oneof![fifo, file, Just(RoleSource::Command)], 1..=2_147_483u32);
        let several = several.prop_map(|(role, linger)| HaConfig {
            role,
            linger: Span::from_secs(linger),
            ..HaConfig::default()
        });
        let signals =
            (proptest::option::of("/[a-z \"]{1,8}"), proptest::option::of("[a-z]{4,8}0"), any::<bool>());
        let role = prop_oneof![Just(HaConfig::default()), several];
        (role, signals, any::<bool>()).prop_map(|(ha, (ready_file, tun, needs), routed)| HaConfig {
            vips: if routed && ha.is_standalone() { VipReach::Routed } else { VipReach::Claimed },
            ready_needs_servers: needs && (ready_file.is_some() || tun.is_some()),
            ready_file,
            tun,
            keep: if needs { KeepConnections::None } else { KeepConnections::Shm },
            ..ha
        })
    }

    fn a_sync() -> impl Strategy<Value = Option<SyncConfig>> {
        let numbers = (any::<[u8; 3]>(), 1..=u16::MAX, proptest::option::of(80..=65507u16));
        let groups = prop_oneof![Just("224.0.0.81"), Just("ff02::81")];
        let groups = groups.prop_map(|group| group.parse::<IpAddr>().unwrap());
        let sync = (numbers, groups, 0..3usize, 0..=60u32).prop_map(|(numbers, group, word, hello)| {
            let ([ttl, syncid, peers], port, maxlen) = numbers;
            let peers: Vec<IpAddr> = (0..peers % 3).map(|last| [192, 0, 2, last].into()).collect();
            SyncConfig {
                group,
                port,
                ttl: ttl.max(1),
                maxlen,
                unicast: hello > 30 && !peers.is_empty(),
                peers,
                direction: SyncDirection::NAMES[word].1,
                hello: Span::from_secs(hello),
                ..SyncConfig::new("eth\"1".into(), syncid)
            }
        });
        proptest::option::of(sync)
    }

    fn a_director() -> impl Strategy<Value = DirectorConfig> {
        let words = (0..3usize, 0..2usize, 0..2usize, any::<[bool; 3]>());
        let numbers = (0..=9u16, 1024..=1u32 << 28, 1..=2_147_483u32, [1..=2_147_483u32, 1..=9, 1..=9]);
        (words, numbers).prop_map(
            |(
                (backend, wait, conflict, [huge_pages, two_arms, read]),
                (workers, connections, every, timeouts),
            )| {
                let [tcp, tcp_fin, udp] = timeouts.map(Span::from_secs);
                DirectorConfig {
                    interface: "eth\"0\\".into(),
                    server_interface: two_arms.then(|| "eth1".into()),
                    backend: [BackendChoice::Auto, BackendChoice::Xdp, BackendChoice::Packet][backend],
                    workers: if workers == 0 { WorkerCount::Auto } else { WorkerCount::Count(workers) },
                    connections,
                    wait: [Wait::Adaptive, Wait::Busy][wait],
                    huge_pages,
                    control_group: two_arms.then(|| "operators".into()),
                    control_others: if read { ControlOthers::Read } else { ControlOthers::Nothing },
                    announce_interval: Span::from_secs(every),
                    arp_refresh: Span::from_secs(every),
                    arp_attempts: 2 + (every % 99) as u8,
                    on_conflict: [OnConflict::Standby, OnConflict::Claim][conflict],
                    on_server_claim: [OnServerClaim::Ignore, OnServerClaim::Exclude][wait],
                    audit_interval: Span::from_secs(every % 86_401),
                    peers: if read {
                        Vec::new()
                    } else {
                        vec![
                            PeerAddress::Ip([192, 0, 2, 5].into()),
                            PeerAddress::Mac(MacAddr([2, 0, 0, 0, 0, 5])),
                        ]
                    },
                    user: two_arms.then(|| "directrix".into()),
                    ha: HaConfig::default(),
                    sync: None,
                    metrics: two_arms.then(|| ([127, 0, 0, 1], 9310).into()),
                    policy: Policy {
                        conn_reuse_mode: ConnReuseMode((workers % 4) as u8),
                        expire_nodest_conn: read,
                        expire_quiescent_template: huge_pages,
                        sloppy_tcp: read != huge_pages,
                        sloppy_sctp: !read,
                        schedule_icmp: !huge_pages,
                        reject: [Reject::Icmp, Reject::Reset, Reject::Drop][backend],
                        ping: [Ping::Answer, Ping::Ignore, Ping::IfHealthy][backend],
                    },
                    timeouts: Timeouts { tcp, tcp_fin, udp },
                }
            },
        )
    }

    fn a_server() -> impl Strategy<Value = (u16, Option<u8>, u32, u32)> {
        (any::<u16>(), any::<Option<u8>>(), 0..9u32, 0..9u32)
    }

    fn services() -> impl Strategy<Value = Vec<VirtualService>> {
        let persistence = prop::option::of((1..=2_147_483u32, 1..=128u8));
        let slow_start = prop::option::of(1..=SLOW_START_MAX);
        let servers = prop::collection::vec(a_server(), 0..4);
        let service = (0..Scheduler::ALL.len(), any::<[bool; 2]>(), (persistence, slow_start), servers);
        (prop::collection::vec(service, 0..5), [0..4usize, 0..4]).prop_map(|(services, vlans)| {
            services.into_iter().zip(1..).map(|drawn| a_service(drawn, vlans)).collect()
        })
    }

    type Times = (Option<(u32, u8)>, Option<u32>);
    type Drawn = (usize, [bool; 2], Times, Vec<(u16, Option<u8>, u32, u32)>);

    fn a_service(
        ((scheduler, [fallback, port], (persistence, slow_start), servers), number): (Drawn, u16),
        family_vlans: [usize; 2],
    ) -> VirtualService {
        let protocol = if number % 2 == 0 { Protocol::Udp } else { Protocol::Tcp };
        // The wildcard port, where clients persist.
        let at = if number < 3 && persistence.is_some() { 0 } else { number };
        let ipv6 = number % 3 == 0;
        let host = |last: u8| -> IpAddr {
            let ipv6 = ipv6.then(|| Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 1, 0, 0, last.into()).into());
            ipv6.unwrap_or(IpAddr::from([192, 0, 2, last]))
        };
        let address = ServiceAddress { protocol, address: (host(1), at).into() };
        let group: Vec<Match> = match number {
            4 => {
                vec![address.into(), Match { ports: PortRange { first: 1000, last: 1009 }, ..address.into() }]
            }
            _ => Vec::new(),
        };
        let mark = FirewallMark { mark: 7.try_into().unwrap(), family: address.address.ip().into() };
        let identity = if group.is_empty() { address.into() } else { ServiceIdentity::from(mark) };
        let scheduler = Scheduler::ALL[scheduler];
        let flags = SchedulerFlags { fallback, port };
        let has_flags = !scheduler.flag_names().is_empty();
        // By family, as all services of a family have one VIP.
        let one_of =
            [Vlans::new(&[]), Vlans::new(&[100]), Vlans::new(&[100, 4094]), Vlans::q_in_q(100, 4094)];
        let vlan = one_of[if ipv6 { family_vlans[0] } else { family_vlans[1] }].unwrap();
        let server = |((weight, mac, upper, lower), last): ((u16, Option<u8>, u32, u32), u8)| RealServer {
            mac: mac.map(|_| MacAddr([2, 0, 0, 0, ipv6.into(), last])),
            upper_threshold: upper,
            lower_threshold: lower.min(upper),
            ..RealServer::new(host(10 + last), Weight(weight))
        };
        let checks = a_few_checks(at);
        let servers: Vec<_> = servers.into_iter().zip(0..).map(server).collect();
        let servers =
            servers.into_iter().map(|server| RealServer { checks: a_few_checks(server.weight.0), ..server });
        let sorry = (at % 4 == 1).then(|| RealServer {
            role: ServerRole::Sorry { inhibit: port },
            ..RealServer::new(host(250), Weight(at))
        });
        VirtualService {
            checks,
            panic: if sorry.is_some() { 0 } else { (at % 101) as u8 },
            passive: if protocol == Protocol::Tcp {
                PassiveMode::ALL[usize::from(at % 3)].1
            } else {
                PassiveMode::default()
            },
            effects: some_effects(at),
            scheduler,
            one_packet: protocol == Protocol::Udp && fallback,
            persistence: persistence.map(|(timeout, prefix)| Persistence {
                timeout: Span::from_secs(timeout),
                prefix: prefix.min(Persistence::prefix_max(address.address.ip().into())),
            }),
            slow_start: slow_start.filter(|_| scheduler.starts_slowly()).map(Span::from_secs),
            group,
            vlan,
            scheduler_flags: if has_flags { flags } else { SchedulerFlags::default() },
            ..VirtualService::new(identity, servers.chain(sorry).collect())
        }
    }

    /// Effects of health, by the divisors of a number.
    fn some_effects(at: u16) -> HealthEffects {
        HealthEffects {
            on_down: [OnDown::Keep, OnDown::Cut][usize::from(at.is_multiple_of(2))],
            inhibit_on_failure: at.is_multiple_of(3),
            alpha: at.is_multiple_of(5),
            quorum: None,
            hooks: Hooks {
                notify: at.is_multiple_of(2).then(|| "/usr/local/sbin/\"notify\"".into()),
                ..Hooks::default()
            },
        }
    }

    /// None to two checks, by the digits of a number.
    fn a_few_checks(number: u16) -> Vec<HealthCheck> {
        let timing = |ms: u16| CheckTiming {
            fall: 1 + ms % 100,
            warm_up: Span::from_millis(u32::from(ms % 3) * 200),
            ..CheckTiming::every(Span::from_millis(100 + u32::from(ms)))
        };
        let expect = vec![StatusRange { first: 100, last: 199 }, StatusRange { first: 404, last: 404 }];
        let (path, host, body): (_, _, Option<String>) =
            ("/x?y=\"z".into(), Some("[2001:db8::1]:80".into()), Some("a\"\n\\b".into()));
        let http = HttpCheck {
            method: HttpMethod::NAMES[usize::from(number % 5)].1,
            path,
            host,
            headers: vec![("X-A".into(), "\\ \"b\"".into()), ("x-b".into(), String::new())],
            expect,
            body: body.filter(|_| number % 5 != 1),
            regex: (number % 5 != 1).then(|| BodyPattern::new("^\"a\\\\.\n$").unwrap()),
        };
        let kinds = [
            CheckKind::Tcp,
            CheckKind::Http(HttpCheck::default()),
            CheckKind::Http(http.clone()),
            CheckKind::Https(HttpsCheck {
                http,
                sni: Some("x.example".into()),
                verify: number.is_multiple_of(2),
                ca: number.is_multiple_of(2).then(|| "/a \"b".into()),
                expiry_warning: number % 3651,
            }),
            CheckKind::Udp(UdpCheck {
                payload: number.to_be_bytes().to_vec(),
                reply: number.is_multiple_of(2),
            }),
        ];
        let rcode = vec![DnsRcode(3), DnsRcode(u8::try_from(number % 11).unwrap())];
        let query = DnsQueryType::NAMES[usize::from(number % 9)].1;
        let transport = DnsTransport::NAMES[usize::from(number % 2)].1;
        let more = [
            CheckKind::Dns(DnsCheck { name: "a-_b.example.".into(), query, rcode, transport }),
            CheckKind::Smtp(SmtpCheck { hello: "[192.0.2.1]".into() }),
            CheckKind::Ping,
            CheckKind::Script(ScriptCheck {
                command: vec!["/a b".into(), "\"\\".into(), String::new()],
                dynamic_weight: number % 2 == 1,
            }),
            CheckKind::File(FileCheck {
                path: "/run/\"{rip}".into(),
                good: GoodFile::NAMES[usize::from(number % 3)].1,
                weight: number.is_multiple_of(3).then(|| 1 + (number % 254) as i16),
            }),
            CheckKind::External(ExternalCheck {
                name: "db-1".into(),
                max_age: Span::from_secs(1 + u32::from(number)),
            }),
        ];
        let kinds = [&kinds[..], &more].concat();
        let check = |of: u16| HealthCheck {
            kind: kinds[usize::from(of) % kinds.len()].clone(),
            target: CheckTarget::Rip,
            port: Some(of.max(1)).filter(|_| kinds[usize::from(of) % kinds.len()].has_port()),
            timing: timing(of),
        };
        (0..number % 3).map(|round| check(number.rotate_left(u32::from(round)))).collect()
    }

    fn marks() -> impl Strategy<Value = BTreeMap<FirewallMark, KnownGroup>> {
        // Tens, so that no two ranges of a group overlap.
        let ports = prop::collection::btree_map(1..6_000u16, 0..9u16, 1..4);
        prop::collection::btree_map(8..=u32::MAX, (any::<bool>(), ports, 0..3usize), 0..3)
            .prop_map(|marks| marks.into_iter().map(|(mark, drawn)| a_known_group(mark, drawn)).collect())
    }

    fn a_known_group(
        mark: u32,
        (is_v6, ports, vlan): (bool, BTreeMap<u16, u16>, usize),
    ) -> (FirewallMark, KnownGroup) {
        let vip: IpAddr = if is_v6 { "2001:db8::7" } else { "192.0.2.7" }.parse().unwrap();
        let a_match = |(ten, more)| {
            let ports = PortRange { first: ten * 10, last: ten * 10 + more };
            Match { protocol: Protocol::Sctp, vip, ports }
        };
        let vlan = Vlans::new([&[][..], &[100], &[100, 4094]][vlan]).unwrap();
        let mark = FirewallMark { mark: mark.try_into().unwrap(), family: vip.into() };
        (mark, KnownGroup { matches: ports.into_iter().map(a_match).collect(), vlan })
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_as_the_same(
            director in a_director(),
            ha in a_role(),
            sync in a_sync(),
            services in services(),
            marks in marks(),
        ) {
            // It is refused beside a role.
            let on_conflict = if ha.is_standalone() { director.on_conflict } else { OnConflict::Standby };
            let director = DirectorConfig { ha, sync, on_conflict, ..director };
            let config = Config { director, services, marks, places: Places::default() };
            prop_assert_eq!(config.rules().check(), Ok(()));
            let read = parse(Path::new("d.toml"), &config.to_string()).unwrap();
            prop_assert_eq!(read.rules(), config.rules());
            prop_assert_eq!(read.director, config.director);
        }
    }
}
