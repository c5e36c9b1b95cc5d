//! What `-h` and `-v` say.

/// The ipvsadm whose grammar and layouts these are, in its own words: scripts read this line.
pub(super) const VERSION: &str = "ipvsadm v1.31 2019/12/24 (compiled with popt and IPVS v1.2.1)\n";

/// The help, below the version.
pub(super) const USAGE: &str = "\
Spoken by directrix to a running director, over its control socket.

Usage:
  ipvsadm                                 list everything, with names for addresses and ports
  ipvsadm -L|-l [service] [options]       list services and their real servers
  ipvsadm -L -c [-n]                      list connections
  ipvsadm -L --timeout | --daemon         list timeouts (tcp tcpfin udp), or sync daemons
  ipvsadm -S [-n]                         list the commands that make the table
  ipvsadm -h | -v                         this help, or the version

Service:
  -t, --tcp-service HOST[:PORT]           an IPv6 address with a port stands in brackets
  -u, --udp-service HOST[:PORT]

Options:
  -n, --numeric                           addresses and ports as numbers
  -X, --exact                             large numbers in full
      --stats                             connections, packets and bytes since the start
      --rate                              the same a second, averaged over some 8 seconds
      --thresholds                        limits of connections
      --persistent-conn                   bindings of clients to real servers
      --nosort                            in the director's order; --sort changes nothing

Changes (-A -E -D -C -R -a -e -d -Z --set) are checked and refused: a running director takes its
services from its configuration file.

The control socket is /run/directrix/control.sock unless the environment variable DIRECTRIX_SOCKET
says otherwise; `directrix --socket PATH ipvsadm ...` does the same.
";
