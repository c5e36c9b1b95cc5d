//! The DUT in the driver: an XDP program.

use super::{Forwarder, SERVICE, Site};
use crate::bench_wire::program::{Program, map_failed, padded};
use crate::io::bpf::Attached;
use crate::lab::LabError;
use aya::maps::{Array, MapData};

static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/hairpin.bpf.o"));

pub(super) struct Hairpin {
    _attached: Attached,
    _servers: Array<MapData, [u8; 8]>,
    _program: Program,
}

impl Hairpin {
    pub(super) fn start(site: &Site<'_>) -> Result<Self, LabError> {
        let servers = site.plan.traffic.servers;
        let with_udp = site.protocols().contains(&"udp");
        let globals: [(_, &[u8]); 5] = [
            ("own_mac", &padded(site.interface.mac)),
            ("vip", &SERVICE.ip().octets()),
            ("port", &u32::from(SERVICE.port().to_be()).to_ne_bytes()),
            ("with_udp", &u32::from(with_udp).to_ne_bytes()),
            ("server_count", &u32::from(servers).to_ne_bytes()),
        ];
        let mut program = Program::load(OBJECT, "bench_hairpin", &globals)?;
        let mut macs: Array<MapData, [u8; 8]> = program.take_map("servers");
        for server in 0..servers {
            let mac = padded(site.server_mac(server));
            macs.set(server.into(), mac, 0).map_err(|error| map_failed(&error))?;
        }
        let attached = site.namespace.enter(None, || program.attach(&site.interface))?;
        site.receive_on_forwarder()?;
        Ok(Self { _attached: attached, _servers: macs, _program: program })
    }
}

impl Forwarder for Hairpin {}
