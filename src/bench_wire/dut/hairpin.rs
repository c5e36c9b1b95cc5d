//! An XDP program as DUT: returns frames by XDP_TX, without leaving the driver.

use super::running::RunningDut;
use super::setup::{DutSetup, SERVICE};
use crate::bench_wire::program::{BenchProgram, map_failed, padded};
use crate::io::bpf::Attached;
use crate::model::Diagnostic;
use aya::maps::{Array, MapData};

static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/hairpin.bpf.o"));

pub(super) struct HairpinDut {
    _attached: Attached,
    _servers: Array<MapData, [u8; 8]>,
    _program: BenchProgram,
}

impl HairpinDut {
    pub(super) fn start(setup: &DutSetup<'_>) -> Result<Self, Diagnostic> {
        let servers = setup.spec.traffic.servers;
        let with_udp = setup.protocols().contains(&"udp");
        let globals: [(_, &[u8]); 5] = [
            ("own_mac", &padded(setup.interface.mac)),
            ("vip", &SERVICE.ip().octets()),
            ("port", &u32::from(SERVICE.port().to_be()).to_ne_bytes()),
            ("with_udp", &u32::from(with_udp).to_ne_bytes()),
            ("server_count", &u32::from(servers).to_ne_bytes()),
        ];
        let mut program = BenchProgram::load(OBJECT, "bench_hairpin", &globals)?;
        let mut macs: Array<MapData, [u8; 8]> = program.take_map("servers");
        for server in 0..servers {
            let mac = padded(setup.server_mac(server));
            macs.set(server.into(), mac, 0).map_err(|error| map_failed(&error))?;
        }
        let attached = setup.namespace.enter(None, || program.attach(&setup.interface))?;
        setup.receive_on_dut_core()?;
        Ok(Self { _attached: attached, _servers: macs, _program: program })
    }
}

impl RunningDut for HairpinDut {}
