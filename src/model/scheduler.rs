//! The rules by which a service picks a real server, and their flags.

use std::str::FromStr;

macro_rules! schedulers {
    ($($(#[$docs:meta])* $variant:ident = $name:literal,)+) => {
        /// The rule that picks a real server for a new connection.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
        pub enum Scheduler {
            $($(#[$docs])* $variant,)+
        }

        impl Scheduler {
            /// Every scheduler.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// Every scheduler, by name, in the order of [`Scheduler::ALL`].
            pub const NAMES: &'static [&'static str] = &[$($name,)+];

            /// The name that ipvsadm uses.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)+ }
            }
        }
    };
}

schedulers! {
    /// Round robin: the next one in the list.
    Rr = "rr",
    /// Weighted round robin: in turn, in proportion to the weights.
    Wrr = "wrr",
    /// Least connection: the server with the fewest connections, regardless of weights.
    Lc = "lc",
    /// Weighted least connection.
    #[default]
    Wlc = "wlc",
    /// Shortest expected delay: fewest active connections for the weight, the new one counted in.
    Sed = "sed",
    /// Never queue: an idle server, or else the shortest expected delay.
    Nq = "nq",
    /// Source hashing: by the client's address.
    Sh = "sh",
    /// Destination hashing: by the VIP.
    Dh = "dh",
    /// Maglev hashing: by the client's address, and few clients move when a server comes or goes.
    Mh = "mh",
    /// Failover: the greatest weight takes all.
    Fo = "fo",
    /// Overflow: the greatest weight, until it has as many active connections as weight.
    Ovf = "ovf",
    /// The better of two random choices.
    Twos = "twos",
}

impl FromStr for Scheduler {
    type Err = ();

    fn from_str(name: &str) -> Result<Self, ()> {
        Self::ALL.iter().copied().find(|scheduler| scheduler.name() == name).ok_or(())
    }
}

impl Scheduler {
    /// Largest number of servers of a service, if the scheduler limits it: the size of mh's table (`ip_vs_mh_reassign` in net/netfilter/ipvs/ip_vs_mh.c).
    #[must_use]
    pub const fn servers_max(self) -> Option<usize> {
        match self {
            Self::Mh => Some(4093),
            _ => None,
        }
    }

    /// True if it supports slow start: it distributes new connections roughly by weight, and no client moves to
    /// another server when a weight changes.
    #[must_use]
    pub const fn starts_slowly(self) -> bool {
        matches!(self, Self::Wlc | Self::Wrr | Self::Sed | Self::Nq | Self::Twos)
    }

    /// The fault and remedy of a slow start with this scheduler; `None` if it supports slow start.
    #[must_use]
    pub fn no_slow_start(self) -> Option<(String, String)> {
        let those = Self::ALL.iter().filter(|scheduler| scheduler.starts_slowly());
        let names: Vec<_> = those.map(|scheduler| scheduler.name()).collect();
        let what =
            format!("does not go with {}, whose new connections are not shared out by weight", self.name());
        (!self.starts_slowly())
            .then(|| (what, format!("remove it, or take one of the schedulers {}", names.join(", "))))
    }

    /// Names of its flags, as in `ipvsadm -b`: fallback, then port. Most schedulers have none.
    #[must_use]
    pub const fn flag_names(self) -> &'static [&'static str] {
        match self {
            Self::Sh => &["sh-fallback", "sh-port"],
            Self::Mh => &["mh-fallback", "mh-port"],
            _ => &[],
        }
    }
}

/// The flags of the schedulers that hash clients (`ipvsadm -b`). The others have none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct SchedulerFlags {
    /// Fallback: a client whose server is not available goes to another one.
    pub fallback: bool,
    /// The hash includes the client's port, which distributes its connections over the servers.
    pub port: bool,
}

/// A name that is no flag of a scheduler.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadFlag {
    /// No scheduler has it.
    Unknown,
    /// This other scheduler has it.
    Of(Scheduler),
}

impl SchedulerFlags {
    /// Sets the flag `name` of `scheduler`.
    ///
    /// # Errors
    /// It has no such flag.
    pub fn set(&mut self, scheduler: Scheduler, name: &str) -> Result<(), BadFlag> {
        match scheduler.flag_names().iter().position(|flag| *flag == name) {
            Some(0) => self.fallback = true,
            Some(_) => self.port = true,
            None => {
                let other = Scheduler::ALL.iter().find(|other| other.flag_names().contains(&name));
                return Err(other.map_or(BadFlag::Unknown, |other| BadFlag::Of(*other)));
            }
        }
        Ok(())
    }

    /// The names of the flags that are set, as ipvsadm lists them. None if `scheduler` has none.
    pub fn names(self, scheduler: Scheduler) -> impl Iterator<Item = &'static str> {
        let set = [self.fallback, self.port];
        scheduler.flag_names().iter().zip(set).filter_map(|(name, set)| set.then_some(*name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_its_schedulers() {
        assert_eq!(Scheduler::NAMES.join(" "), "rr wrr lc wlc sed nq sh dh mh fo ovf twos");
        for (scheduler, name) in Scheduler::ALL.iter().zip(Scheduler::NAMES) {
            assert_eq!((scheduler.name(), name.parse()), (*name, Ok(*scheduler)));
        }
        assert_eq!("WLC".parse::<Scheduler>(), Err(()));
    }

    #[test]
    fn a_server_starts_slowly_where_weights_share() {
        use Scheduler::{Nq, Sed, Twos, Wlc, Wrr};
        let (slow, others): (Vec<_>, Vec<_>) =
            Scheduler::ALL.iter().partition(|scheduler| scheduler.starts_slowly());
        assert_eq!(slow, [Wrr, Wlc, Sed, Nq, Twos].each_ref());
        assert!(slow.iter().all(|scheduler: &&Scheduler| scheduler.no_slow_start().is_none()));
        for scheduler in others {
            let (what, remedy) = scheduler.no_slow_start().unwrap();
            assert!(
                what.contains(scheduler.name()) && remedy.ends_with("wrr, wlc, sed, nq, twos"),
                "{remedy}"
            );
        }
    }

    #[test]
    fn flags_go_by_their_schedulers_names() {
        let mut flags = SchedulerFlags::default();
        assert_eq!(flags.set(Scheduler::Mh, "mh-port"), Ok(()));
        assert_eq!(flags, SchedulerFlags { fallback: false, port: true });
        assert_eq!(flags.set(Scheduler::Mh, "sh-fallback"), Err(BadFlag::Of(Scheduler::Sh)));
        assert_eq!(flags.set(Scheduler::Wlc, "mh-port"), Err(BadFlag::Of(Scheduler::Mh)));
        assert_eq!(flags.set(Scheduler::Sh, "fallback"), Err(BadFlag::Unknown));
        assert_eq!(flags.set(Scheduler::Mh, "mh-fallback"), Ok(()));
        let names = |scheduler| flags.names(scheduler).collect::<Vec<_>>().join(",");
        let listed = [Scheduler::Mh, Scheduler::Sh, Scheduler::Rr].map(names);
        assert_eq!(listed, ["mh-fallback,mh-port", "sh-fallback,sh-port", ""]);
    }
}
