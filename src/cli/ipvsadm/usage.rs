//! Texts of `-h` and `-v`.

/// Version line of the ipvsadm that this follows. Scripts parse it.
pub(super) const VERSION: &str = "ipvsadm v1.31 2019/12/24 (compiled with popt and IPVS v1.2.1)\n";

/// Help text below the version.
pub(super) const USAGE: &str = "\
Lists and changes the services of a running directrix, over its control socket.

Usage:
  ipvsadm -A|-E SERVICE [-s SCHEDULER] [-b FLAG,...] [-p [SECONDS]] [-M NETMASK] [-o]
  ipvsadm -D SERVICE
  ipvsadm -a|-e SERVICE -r SERVER [-g] [-w WEIGHT] [-x CONNECTIONS] [-y CONNECTIONS]
  ipvsadm -d SERVICE -r SERVER
  ipvsadm -C
  ipvsadm -R < RULES
  ipvsadm -S [-n]
  ipvsadm -Z [SERVICE]
  ipvsadm --set TCP TCPFIN UDP
  ipvsadm --start-daemon STATE [--mcast-interface NAME] [--syncid ID] [...]
  ipvsadm --stop-daemon STATE
  ipvsadm -L|-l [SERVICE] [-n] [-X] [--stats | --rate | --thresholds | --persistent-conn] [--nosort]
  ipvsadm -L -c [-n] [--persistent-conn]
  ipvsadm -L --timeout | --daemon
  ipvsadm -h | -v
Without a command, all services are listed, with names for addresses and ports.

Commands:
  -A, --add-service             add a virtual service; its VIP is claimed and announced
  -E, --edit-service            change the settings of a service; its connections stay
  -D, --delete-service          remove a service with its servers
  -C, --clear                   remove every service
  -a, --add-server              add a real server to a service
  -e, --edit-server             change a server's weight and thresholds; weight 0 quiesces it
  -d, --delete-server           remove a server; `directrix drain` waits for its connections
  -R, --restore                 apply the lines of standard input, all of them or none
  -S, --save                    print the lines that recreate all services, for -R
  -Z, --zero                    set the counters of a service, or of all services, to 0
  -L, -l, --list                list services and their servers, or as an option selects
      --set TCP TCPFIN UDP      set timeouts in seconds; 0 leaves a timeout unchanged
      --start-daemon STATE      tell connections to other directors: master; take theirs: backup
      --stop-daemon STATE       stop that daemon
  -h, --help                    this help
  -v, --version                 the version above

SERVICE:
  -t, --tcp-service HOST[:PORT] a TCP service; an IPv6 address with a port is in brackets
  -u, --udp-service HOST[:PORT] a UDP service
      --sctp-service HOST[:PORT]
                                an SCTP service
  -f, --fwmark-service MARK     a group by its firewall mark; its matches are in the file
  -6, --ipv6                    with -f: the group of IPv6

Of a service:
  -s, --scheduler NAME          rr wrr lc wlc sed nq sh dh mh fo ovf twos; default wlc
  -b, --sched-flags FLAG,...    sh-fallback sh-port mh-fallback mh-port
  -p, --persistent [SECONDS]    a client stays with its server; default 360 s
  -M, --netmask MASK            with -p: clients of one network count as one
  -o, --ops                     one-packet scheduling: each datagram on its own (UDP, group)

Of a real server:
  -r, --real-server HOST[:PORT] its RIP; a port is ignored: it is always the service's
  -g, --gatewaying              direct routing, the only forwarding method
  -w, --weight WEIGHT           0 to 65535; default 1
  -x, --u-threshold CONNECTIONS upper threshold: no new connections at or above it; 0: none
  -y, --l-threshold CONNECTIONS lower threshold: new connections again below it; 0: 3/4 of -x

Of a sync daemon, whose STATE is master or backup:
      --mcast-interface NAME    interface of the messages; default eth0
      --syncid ID               0 to 255, the same on all directors of a group; default 0: any
      --sync-maxlen BYTES       longest message
      --mcast-group ADDRESS     multicast group; default 224.0.0.81
      --mcast-port PORT         UDP port; default 8848
      --mcast-ttl TTL           time to live; default 1

Of listings:
  -n, --numeric                 addresses and ports as numbers
  -c, --connection              all connections
  -X, --exact                   large numbers in full
      --stats                   connections, packets and bytes since the start
      --rate                    the same per second, averaged over about 8 seconds
      --thresholds              upper and lower thresholds
      --persistent-conn         persistent connections; with -c, persistence engines
      --timeout                 the timeouts: tcp tcpfin udp
      --daemon                  sync daemons
      --nosort                  in the director's order
      --sort                    sorted: the default

Not supported:
  -i, --ipip                    tunnels, with --tun-type TYPE, --tun-port PORT, --tun-nocsum,
                                --tun-csum, --tun-remcsum
  -m, --masquerading            NAT
      --pe ENGINE               persistence engines

These changes are lost when the director ends: `directrix save` writes the running configuration to
a file. The control socket is /run/directrix/control.sock, or the value of the environment variable
DIRECTRIX_SOCKET, or of `directrix --socket PATH ipvsadm ...`.
";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ipvsadm::SWITCHES;
    use crate::model::Scheduler;
    use crate::popt::ValueArity;

    /// The help text after `option` as a whole word.
    fn after(option: &str) -> Option<&'static str> {
        let ends = |rest: &str| !rest.starts_with(|next: char| next.is_alphanumeric() || next == '-');
        let found = USAGE.match_indices(option).map(|(at, _)| &USAGE[at + option.len()..]);
        found.into_iter().find(|rest| ends(rest))
    }

    #[test]
    fn every_switch_is_explained_with_its_value() {
        // The usage lines alone explain nothing.
        let (_, explained) = USAGE.split_once("\nCommands:\n").unwrap();
        for switch in SWITCHES {
            let long = format!("--{}", switch.long);
            let rest = after(&long).unwrap_or_else(|| panic!("{long} is not in the help"));
            let value = match switch.value {
                ValueArity::None => switch.long == "set",
                ValueArity::Required => true,
                ValueArity::Optional => rest.starts_with(" ["),
            };
            let named = rest.trim_start_matches(" [").trim_start_matches(' ').starts_with(char::is_uppercase);
            assert_eq!(rest.starts_with(' ') && !rest.starts_with("  ") && named, value, "{long}{rest:.20}");
            if let Some(short) = switch.short {
                let both = [format!("-{short}, {long}"), format!("-{short}, -l, {long}")];
                let listed = switch.long == "list" || both.iter().any(|both| explained.contains(both));
                assert!(listed, "-{short}");
            }
            assert!(explained.contains(&long), "{long}");
        }
    }

    #[test]
    fn help_lists_every_scheduler_in_short_lines() {
        let line = USAGE.lines().find(|line| line.contains("--scheduler NAME")).unwrap();
        let names: Vec<_> = Scheduler::ALL.iter().map(|scheduler| scheduler.name()).collect();
        for name in &names {
            assert!(line.split([' ', ';']).any(|word| word == *name), "{name}");
        }
        assert!(USAGE.lines().all(|line| line.chars().count() <= 100));
    }
}
