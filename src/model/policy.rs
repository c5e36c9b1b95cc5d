//! Timeouts and switches of connections, with IPVS's names and defaults.

use crate::time::Span;

/// IPVS's switches for connections, named as the kernel names them under net.ipv4.vs (see
/// Documentation/networking/ipvs-sysctl.rst), with the kernel's defaults.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    /// States in which a SYN is scheduled again although its addresses and ports have a connection.
    pub conn_reuse_mode: ConnReuseMode,
    /// Whether a frame whose real server has been removed ends its connection at once, and is scheduled
    /// again if it may open one; else it is dropped, and the connection ends in its time. A SYN is scheduled
    /// again, too, if the server has weight 0.
    pub expire_nodest_conn: bool,
    /// Whether clients of a persistent service leave a server of weight 0 with their next connection.
    pub expire_quiescent_template: bool,
    /// Whether any TCP segment without RST opens a connection, not only a SYN.
    pub sloppy_tcp: bool,
    /// Whether any SCTP packet that does not begin with ABORT opens a connection, not only INIT.
    pub sloppy_sctp: bool,
    /// Whether an ICMP error that quotes a packet of no known connection is scheduled as a packet of the client.
    pub schedule_icmp: bool,
    /// Answer to a client whose connection no real server takes. IPVS has no such switch: it sends the ICMP error.
    pub reject: Reject,
    /// Answer to pings of a VIP. IPVS has no such switch: the kernel answers, as the VIP is its own.
    pub ping: Ping,
}

impl Policy {
    /// IPVS's switches by name, each with its value as the configuration file has it.
    #[must_use]
    pub fn switches(&self) -> [(&'static str, String); 6] {
        [
            ("conn_reuse_mode", self.conn_reuse_mode.0.to_string()),
            ("expire_nodest_conn", self.expire_nodest_conn.to_string()),
            ("expire_quiescent_template", self.expire_quiescent_template.to_string()),
            ("sloppy_tcp", self.sloppy_tcp.to_string()),
            ("sloppy_sctp", self.sloppy_sctp.to_string()),
            ("schedule_icmp", self.schedule_icmp.to_string()),
        ]
    }
}

/// Answer to a client whose connection no real server takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Reject {
    /// ICMP "port unreachable" from the VIP, as IPVS does (`ip_vs_leave` in net/netfilter/ipvs/ip_vs_core.c).
    #[default]
    Icmp,
    /// A TCP reset; for UDP the ICMP error.
    Reset,
    /// None.
    Drop,
}

impl Reject {
    /// Each answer with its name in the configuration.
    pub const NAMES: &'static [(&'static str, Self)] =
        &[("icmp", Self::Icmp), ("reset", Self::Reset), ("drop", Self::Drop)];

    /// Name in the configuration.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Icmp => "icmp",
            Self::Reset => "reset",
            Self::Drop => "drop",
        }
    }
}

/// Answer to pings of a VIP.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Ping {
    /// A reply, also without real servers.
    #[default]
    Answer,
    /// None.
    Ignore,
    /// If one of its services has a reachable real server with a weight above 0.
    IfHealthy,
}

impl Ping {
    /// Each answer with its name in the configuration.
    pub const NAMES: &'static [(&'static str, Self)] =
        &[("answer", Self::Answer), ("ignore", Self::Ignore), ("if-healthy", Self::IfHealthy)];

    /// Name in the configuration.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Answer => "answer",
            Self::Ignore => "ignore",
            Self::IfHealthy => "if-healthy",
        }
    }
}

/// `conn_reuse_mode`: 0 never; else on TIME_WAIT and CLOSE; with bit 2 (value 2 or 3) on FIN_WAIT as well.
/// Never for a connection that is bound to a persistence template.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConnReuseMode(pub u8);

impl ConnReuseMode {
    /// The largest value that differs in meaning from those below.
    pub const MAX: Self = Self(3);

    /// Whether a SYN on a connection that is over is scheduled again.
    #[inline]
    #[must_use]
    pub const fn reuses_closed(self) -> bool {
        self.0 != 0
    }

    /// Whether a SYN on a connection that the client has closed is.
    #[inline]
    #[must_use]
    pub const fn reuses_fin_wait(self) -> bool {
        self.0 & 2 != 0
    }
}

impl Default for ConnReuseMode {
    fn default() -> Self {
        Self(1)
    }
}

/// The three timeouts of `ipvsadm --set`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// TCP ESTABLISHED.
    pub tcp: Span,
    /// TCP FIN_WAIT.
    pub tcp_fin: Span,
    /// UDP.
    pub udp: Span,
}

impl Default for Timeouts {
    /// IPVS's defaults: 900 s, 120 s, 300 s.
    fn default() -> Self {
        Self { tcp: Span::from_secs(900), tcp_fin: Span::from_secs(120), udp: Span::from_secs(300) }
    }
}
