//! What a client may ask to be changed: the body of `POST /v1/changes`, a list that is carried out as a
//! whole or not at all.

use super::api::Persistence;
use crate::model::{
    self, Change, Misfit, RealServer, Refusal, Rules, Scheduler, SchedulerFlags, ServiceAddress,
    VirtualService, Weight,
};
use crate::time::Span;
use crate::wire::MacAddr;
use serde::{Deserialize, Serialize};
use std::net::IpAddr;

/// Most seconds that a timeout may have, as in `ipvsadm --set`: 31 days, less than ticks can tell apart.
pub const SECONDS_MAX: u32 = crate::ipvsadm::TIMEOUT_MAX;

/// One step.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Request {
    /// `ipvsadm -A`
    AddService {
        /// Its address.
        service: ServiceAddress,
        /// The rest of it.
        #[serde(default)]
        settings: ServiceSettings,
    },
    /// `ipvsadm -E`: what is not given gets its default, but for the slow start, which stays.
    EditService {
        /// Which.
        service: ServiceAddress,
        /// What it becomes.
        #[serde(default)]
        settings: ServiceSettings,
    },
    /// `ipvsadm -D`
    DeleteService {
        /// Which.
        service: ServiceAddress,
    },
    /// `ipvsadm -C`
    Clear {},
    /// `ipvsadm -a`
    AddServer {
        /// Whose.
        service: ServiceAddress,
        /// RIP.
        server: IpAddr,
        /// The rest of it.
        #[serde(default)]
        settings: ServerSettings,
    },
    /// `ipvsadm -e`: what is not given gets its default, but for the MAC address, which stays.
    EditServer {
        /// Whose.
        service: ServiceAddress,
        /// RIP.
        server: IpAddr,
        /// What it becomes.
        #[serde(default)]
        settings: ServerSettings,
    },
    /// `ipvsadm -d`
    DeleteServer {
        /// Whose.
        service: ServiceAddress,
        /// RIP.
        server: IpAddr,
    },
    /// No new connections for a server, which is removed once it has none any more.
    Drain {
        /// Whose.
        service: ServiceAddress,
        /// RIP.
        server: IpAddr,
        /// Seconds after which it is removed all the same.
        #[serde(default)]
        deadline: Option<u32>,
    },
    /// `ipvsadm --set`, in seconds; 0 leaves one as it is.
    SetTimeouts {
        /// TCP ESTABLISHED.
        tcp: u32,
        /// TCP FIN_WAIT.
        tcp_fin: u32,
        /// UDP.
        udp: u32,
    },
    /// `ipvsadm -Z`
    Zero {
        /// Which; all if none is named.
        #[serde(default)]
        service: Option<ServiceAddress>,
    },
}

/// A virtual service but for its address.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ServiceSettings {
    /// Scheduler name.
    pub scheduler: String,
    /// "sh-fallback", "mh-port" and so on.
    pub scheduler_flags: Vec<String>,
    /// Binds a client to the server that it got first.
    pub persistence: Option<Persistence>,
    /// Schedules every datagram by itself.
    pub one_packet: bool,
    /// Seconds until the whole weight of a server that comes counts; 0: it does at once.
    pub slow_start: Option<u32>,
}

/// A real server but for its address.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ServerSettings {
    /// Share of new connections.
    pub weight: u16,
    /// Connections at which it counts as overloaded; 0 for never.
    pub upper_threshold: u32,
    /// Connections below which it is no longer overloaded; 0 for 3/4 of the upper threshold.
    pub lower_threshold: u32,
    /// A fixed MAC address.
    pub mac: Option<String>,
}

impl Default for ServiceSettings {
    fn default() -> Self {
        Self {
            scheduler: Scheduler::default().name().into(),
            scheduler_flags: Vec::new(),
            persistence: None,
            one_packet: false,
            slow_start: None,
        }
    }
}

impl Default for ServerSettings {
    fn default() -> Self {
        Self { weight: Weight::default().0, upper_threshold: 0, lower_threshold: 0, mac: None }
    }
}

/// Why a request cannot be carried out.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// It does not go with what is there.
    #[error(transparent)]
    Refusal(#[from] Refusal),
    /// There is no such scheduler.
    #[error("there is no scheduler {0:?}; there are {known}", known = Scheduler::NAMES.join(", "))]
    Scheduler(String),
    /// What would come of it cannot stand.
    #[error(transparent)]
    Misfit(#[from] Misfit),
}

impl Refused {
    /// What it is, for programs.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Refusal(Refusal::ServiceExists(_)) => "service-exists",
            Self::Refusal(Refusal::NoSuchService(_)) => "no-such-service",
            Self::Refusal(Refusal::ServerExists(..)) => "server-exists",
            Self::Refusal(Refusal::NoSuchServer(..)) => "no-such-server",
            Self::Scheduler(_) => "no-such-scheduler",
            Self::Misfit(_) => "unfit",
        }
    }
}

impl Request {
    /// Does to `rules` what is asked for, as far as it is about them.
    ///
    /// # Errors
    /// [`Refused`]; the rules are as they were.
    pub fn carry_out(&self, rules: &mut Rules) -> Result<(), Refused> {
        if let Some(change) = self.change(rules)? {
            rules.change(&change)?;
        }
        Ok(())
    }

    fn change(&self, rules: &Rules) -> Result<Option<Change>, Refused> {
        Ok(Some(match self {
            Self::AddService { service, settings } => Change::AddService(settings.service(*service)?),
            Self::EditService { service, settings } => {
                let (old, new) = (rules.service(*service)?.slow_start, settings.service(*service)?);
                let slow_start = if settings.slow_start.is_some() { new.slow_start } else { old };
                Change::EditService(VirtualService { slow_start, ..new })
            }
            Self::DeleteService { service } => Change::DeleteService(*service),
            Self::Clear {} => Change::Clear,
            Self::AddServer { service, server, settings } => {
                Change::AddServer(*service, settings.server(*server)?)
            }
            Self::EditServer { service, server, settings } => {
                Change::EditServer(*service, settings.server(*server)?)
            }
            Self::DeleteServer { service, server } => Change::DeleteServer(*service, *server),
            Self::Drain { service, server, deadline } => {
                deadline.map_or(Ok(()), |seconds| within("deadline", seconds))?;
                let server = rules.server(*service, *server)?.clone();
                Change::EditServer(*service, RealServer { weight: Weight(0), ..server })
            }
            Self::SetTimeouts { tcp, tcp_fin, udp } => {
                [*tcp, *tcp_fin, *udp].into_iter().try_for_each(|seconds| within("timeout", seconds))?;
                Change::SetTimeouts([*tcp, *tcp_fin, *udp].map(Span::from_secs))
            }
            Self::Zero { service } => {
                service.map_or(Ok(()), |service| rules.service(service).map(drop))?;
                return Ok(None);
            }
        }))
    }
}

fn within(what: &str, seconds: u32) -> Result<(), Misfit> {
    let fault = || Misfit::new(format!("a {what} of {seconds} s"), format!("give at most {SECONDS_MAX}"));
    (seconds <= SECONDS_MAX).then_some(()).ok_or_else(fault)
}

impl ServiceSettings {
    fn service(&self, address: ServiceAddress) -> Result<VirtualService, Refused> {
        let scheduler = self.scheduler.parse().map_err(|()| Refused::Scheduler(self.scheduler.clone()))?;
        Ok(VirtualService {
            scheduler,
            scheduler_flags: self.flags(scheduler)?,
            persistence: self.persistence.as_ref().map(persistence).transpose()?,
            one_packet: self.one_packet,
            slow_start: self.slow_start.filter(|seconds| *seconds > 0).map(Span::from_secs),
            ..VirtualService::new(address, Vec::new())
        })
    }

    fn flags(&self, scheduler: Scheduler) -> Result<SchedulerFlags, Misfit> {
        let mut flags = SchedulerFlags::default();
        for name in &self.scheduler_flags {
            let known = || scheduler.flag_names().join(" and ");
            let remedy =
                || if known().is_empty() { "it has none".into() } else { format!("it has {}", known()) };
            let fault = |_| Misfit::new(format!("{} has no flag {name:?}", scheduler.name()), remedy());
            flags.set(scheduler, name).map_err(fault)?;
        }
        Ok(flags)
    }
}

fn persistence(asked: &Persistence) -> Result<model::Persistence, Misfit> {
    within("persistence", asked.timeout)?;
    if let Some(engine) = &asked.engine {
        return Err(Misfit::new(format!("there is no persistence engine {engine:?}"), "leave it out"));
    }
    Ok(model::Persistence { timeout: Span::from_secs(asked.timeout), prefix: asked.prefix })
}

impl ServerSettings {
    fn server(&self, address: IpAddr) -> Result<RealServer, Misfit> {
        let mac = self.mac.as_deref().map(mac).transpose()?;
        let Self { upper_threshold, lower_threshold, .. } = *self;
        Ok(RealServer { address, weight: Weight(self.weight), mac, upper_threshold, lower_threshold })
    }
}

fn mac(text: &str) -> Result<MacAddr, Misfit> {
    let mac: Option<MacAddr> = text.parse().ok().filter(|mac: &MacAddr| mac.is_unicast());
    let remedy = "give the server's own, as in 02:00:5e:10:00:01";
    mac.ok_or_else(|| Misfit::new(format!("{text:?} is not one station's MAC address"), remedy))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> Result<Request, serde_json::Error> {
        serde_json::from_str(json)
    }

    #[test]
    fn what_is_not_given_has_ipvsadms_default_and_what_is_unknown_is_refused() {
        let service = r#""service": {"protocol": "tcp", "address": "192.0.2.1:80"}"#;
        let added = read(&format!(r#"{{"do": "add-server", {service}, "server": "192.0.2.9"}}"#)).unwrap();
        let settings = ServerSettings { weight: 1, upper_threshold: 0, lower_threshold: 0, mac: None };
        let address =
            ServiceAddress { protocol: crate::wire::Protocol::Tcp, address: ([192, 0, 2, 1], 80).into() };
        assert_eq!(added, Request::AddServer { service: address, server: [192, 0, 2, 9].into(), settings });
        for (json, complaint) in [
            (r#"{"do": "clear", "x": 1}"#.to_owned(), "unknown field `x`"),
            (format!(r#"{{"do": "delete-service", {service}, "x": 1}}"#), "unknown field `x`"),
            (format!(r#"{{"do": "add-service", {service}, "settings": {{"x": 1}}}}"#), "unknown field `x`"),
            (r#"{"do": "destroy"}"#.to_owned(), "unknown variant `destroy`"),
            (r#"{"do": "add-service"}"#.to_owned(), "missing field `service`"),
        ] {
            let error = read(&json).unwrap_err().to_string();
            assert!(error.starts_with(complaint), "{json}: {error}");
        }
        assert_eq!(read(r#"{"do": "clear"}"#).unwrap(), Request::Clear {});
    }

    #[test]
    fn what_cannot_be_carried_out_is_refused_by_code_and_changes_nothing() {
        let address =
            ServiceAddress { protocol: crate::wire::Protocol::Tcp, address: ([192, 0, 2, 1], 80).into() };
        let rip: IpAddr = [192, 0, 2, 9].into();
        let server = |settings| Request::AddServer { service: address, server: rip, settings };
        let service = |settings| Request::AddService { service: address, settings };
        let named =
            |scheduler: &str| ServiceSettings { scheduler: scheduler.into(), ..ServiceSettings::default() };
        let flagged = ServiceSettings { scheduler_flags: vec!["mh-port".into()], ..named("sh") };
        let group = ServerSettings { mac: Some("01:00:5e:00:00:01".into()), ..ServerSettings::default() };
        for (request, code) in [
            (service(named("nosuch")), "no-such-scheduler"),
            (service(flagged), "unfit"),
            (server(ServerSettings::default()), "no-such-service"),
            (server(group), "unfit"),
            (Request::Drain { service: address, server: rip, deadline: None }, "no-such-service"),
            (Request::Drain { service: address, server: rip, deadline: Some(u32::MAX) }, "unfit"),
            (Request::SetTimeouts { tcp: SECONDS_MAX + 1, tcp_fin: 0, udp: 0 }, "unfit"),
            (Request::Zero { service: Some(address) }, "no-such-service"),
        ] {
            let mut rules = Rules::default();
            let refused = request.carry_out(&mut rules).unwrap_err();
            assert_eq!((refused.code(), &rules), (code, &Rules::default()), "{request:?}: {refused}");
        }
    }
}
