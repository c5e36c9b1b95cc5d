//! Echo requests of a probe, over a ping socket (icmp(7)).

use super::error::{outcome_of, outcome_of_answer};
use crate::health::ProbeOutcome;
use crate::io::probe::echo_request;
use tokio::net::UdpSocket;

/// Types of echo replies: ICMP (RFC 792), ICMPv6 (RFC 4443 section 4.2).
const REPLIES: [u8; 2] = [0, 129];
/// Any: each probe has a socket of its own, and the kernel gives it only replies to its own identifier.
const SEQUENCE: u16 = 1;

/// Sends an echo request on a connected ping socket, and waits for its reply.
///
/// # Errors
/// The outcome of the probe.
pub(super) async fn exchange(is_ipv4: bool, socket: &UdpSocket) -> Result<(), ProbeOutcome> {
    let request = echo_request(is_ipv4, SEQUENCE);
    socket.send(&request).await.map_err(|error| outcome_of(&error))?;
    let mut reply = [0; 64];
    loop {
        let length = socket.recv(&mut reply).await.map_err(|error| outcome_of_answer(&error))?;
        let is_reply = length >= request.len() && reply[0] == REPLIES[usize::from(!is_ipv4)];
        if is_reply && reply[6..8] == request[6..8] {
            return Ok(());
        }
    }
}
