//! What `-h` and `-v` say.

/// The ipvsadm whose grammar and layouts these are, in its own words: scripts read this line.
pub(super) const VERSION: &str = "ipvsadm v1.31 2019/12/24 (compiled with popt and IPVS v1.2.1)\n";

/// The help, below the version.
pub(super) const USAGE: &str = "\
Spoken by directrix to a running director, over its control socket.

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
  ipvsadm -L|-l [SERVICE] [-n] [-X] [--stats | --rate | --thresholds | --persistent-conn] [--nosort]
  ipvsadm -L -c [-n] [--persistent-conn]
  ipvsadm -L --timeout | --daemon
  ipvsadm -h | -v
Without a command, everything is listed, with names for addresses and ports.

Commands:
  -A, --add-service             add a virtual service; its VIP is claimed and announced
  -E, --edit-service            change how a service works; its connections stay
  -D, --delete-service          remove a service with its servers
  -C, --clear                   remove every service
  -a, --add-server              add a real server to a service
  -e, --edit-server             change a server's weight and thresholds; weight 0 quiesces it
  -d, --delete-server           remove a server; `directrix drain` waits for its connections
  -R, --restore                 carry out the lines of standard input, all of them or none
  -S, --save                    print the lines that make the table, for -R
  -Z, --zero                    set the counters of a service, or of all, to 0
  -L, -l, --list                list services and their servers, or what an option says
      --set TCP TCPFIN UDP      set timeouts, in seconds; 0 leaves one as it is
  -h, --help                    this help
  -v, --version                 the version above

SERVICE:
  -t, --tcp-service HOST[:PORT] a TCP service; an IPv6 address with a port stands in brackets
  -u, --udp-service HOST[:PORT] a UDP service

Of a service:
  -s, --scheduler NAME          rr wrr lc wlc sed nq sh dh mh fo ovf twos; wlc unless given
  -b, --sched-flags FLAG,...    sh-fallback sh-port mh-fallback mh-port
  -p, --persistent [SECONDS]    a client stays with its server, for 360 s unless given
  -M, --netmask MASK            with -p: clients of one network count as one
  -o, --ops                     one-packet scheduling: each datagram by itself (UDP)

Of a real server:
  -r, --real-server HOST[:PORT] its RIP; the port is the service's, whatever is given
  -g, --gatewaying              direct routing, which is the way in any case
  -w, --weight WEIGHT           0 to 65535, 1 unless given
  -x, --u-threshold CONNECTIONS no new connections from so many on; 0 for no limit
  -y, --l-threshold CONNECTIONS new ones again below so many; 0 for 3/4 of -x

Of listings:
  -n, --numeric                 addresses and ports as numbers
  -c, --connection              every connection
  -X, --exact                   large numbers in full
      --stats                   connections, packets and bytes since the start
      --rate                    the same a second, averaged over some 8 seconds
      --thresholds              limits of connections
      --persistent-conn         persistent connections; with -c, persistence engines
      --timeout                 the timeouts: tcp tcpfin udp
      --daemon                  sync daemons, of which there are none
      --nosort                  in the director's order
      --sort                    sorted, which is so unless --nosort

Refused, as a director does nothing of that kind:
  -f, --fwmark-service MARK     services by firewall mark, with -6, --ipv6 for IPv6
      --sctp-service HOST[:PORT]
  -i, --ipip                    tunnels, with --tun-type TYPE, --tun-port PORT, --tun-nocsum,
                                --tun-csum, --tun-remcsum
  -m, --masquerading            NAT
      --pe ENGINE               persistence engines
      --start-daemon STATE      synchronisation, with --mcast-interface NAME, --syncid ID,
      --stop-daemon STATE       --sync-maxlen BYTES, --mcast-group ADDRESS, --mcast-port PORT,
                                --mcast-ttl TTL

Changes made so end with the process: `directrix save` writes what runs as a configuration file.
The control socket is /run/directrix/control.sock unless the environment variable DIRECTRIX_SOCKET
says otherwise; `directrix --socket PATH ipvsadm ...` does the same.
";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ipvsadm::SWITCHES;
    use crate::model::Scheduler;
    use crate::popt::Takes;

    /// Where `option` stands in the help as a word: what follows it.
    fn after(option: &str) -> Option<&'static str> {
        let ends = |rest: &str| !rest.starts_with(|next: char| next.is_alphanumeric() || next == '-');
        let found = USAGE.match_indices(option).map(|(at, _)| &USAGE[at + option.len()..]);
        found.into_iter().find(|rest| ends(rest))
    }

    #[test]
    fn every_switch_is_explained_with_its_value() {
        // The usage lines alone would not explain anything.
        let (_, explained) = USAGE.split_once("\nCommands:\n").unwrap();
        for switch in SWITCHES {
            let long = format!("--{}", switch.long);
            let rest = after(&long).unwrap_or_else(|| panic!("{long} is not in the help"));
            let value = match switch.takes {
                Takes::Nothing => switch.long == "set",
                Takes::Word => true,
                Takes::MaybeWord => rest.starts_with(" ["),
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
    fn every_scheduler_is_named_and_no_line_is_too_long() {
        let line = USAGE.lines().find(|line| line.contains("--scheduler NAME")).unwrap();
        let names: Vec<_> = Scheduler::ALL.iter().map(|scheduler| scheduler.name()).collect();
        for name in &names {
            assert!(line.split([' ', ';']).any(|word| word == *name), "{name}");
        }
        assert!(USAGE.lines().all(|line| line.chars().count() <= 100));
    }
}
