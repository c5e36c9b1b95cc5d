//! AF_XDP: frames from and to the rings of a queue, by way of a steering program.
use super::{IoError, Opened, Plan};
/// stub
pub fn open(_: &Plan) -> Result<Opened<super::packet::PacketPorts>, IoError> {
    Err(IoError { what: "x".into(), cause: "y".into(), remedy: "z".into() })
}
