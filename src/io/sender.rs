//! Transmission of single frames by the control thread.

use super::Interface;
use crate::model::Diagnostic;
use crate::sys::packet_socket::PacketSocket;
use std::io;

/// A packet socket that sends on one interface, and receives nothing.
#[derive(Debug)]
pub struct FrameSender(PacketSocket);

impl FrameSender {
    /// Opens it in the calling thread's network namespace.
    ///
    /// # Errors
    /// [`Diagnostic`] if CAP_NET_RAW is missing, or the interface is gone.
    pub fn open(interface: &Interface) -> Result<Self, Diagnostic> {
        let opened = PacketSocket::open().and_then(|socket| {
            socket.bind(interface.index, 0)?;
            Ok(Self(socket))
        });
        opened.map_err(|error| {
            Diagnostic::system(format!("opening a packet socket on {}", interface.name))
                .cause(error.to_string())
                .remedy("raw sockets need the capability CAP_NET_RAW, see packet(7)")
        })
    }

    /// Sends one frame as it is, from its Ethernet header on.
    ///
    /// # Errors
    /// ENETDOWN or ENXIO if the interface is down or gone, [`io::ErrorKind::WouldBlock`] or ENOBUFS if it is
    /// congested: the frame has not been sent then.
    pub fn send(&self, frame: &[u8]) -> io::Result<()> {
        self.0.send(frame)
    }
}
