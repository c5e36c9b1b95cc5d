//! The signals of readiness: a file, and the carrier of a TUN device.

use super::file::ReadyFile;
use crate::io::CarrierDevice;
use crate::model::Diagnostic;
use std::io;
use std::os::fd::OwnedFd;

/// The signals of readiness that are configured.
#[derive(Debug, Default)]
pub struct ReadySignals {
    file: Option<ReadyFile>,
    device: Option<CarrierDevice>,
    /// The carrier as it was set last.
    carrier: bool,
}

impl ReadySignals {
    /// Takes the signals, which say that the director is not ready.
    #[must_use]
    pub fn new(file: Option<ReadyFile>, device: Option<CarrierDevice>) -> Self {
        Self { file, device, carrier: false }
    }

    /// True if there is any signal.
    #[must_use]
    pub fn is_used(&self) -> bool {
        self.file.is_some() || self.device.is_some()
    }

    /// True with a TUN device.
    #[must_use]
    pub fn has_device(&self) -> bool {
        self.device.is_some()
    }

    /// True with a file.
    #[must_use]
    pub fn has_file(&self) -> bool {
        self.file.is_some()
    }

    /// Prepares the signals once privileges have been dropped, and checks that this user can write the file.
    ///
    /// # Errors
    /// [`Diagnostic`] with cause and remedy.
    pub fn settle(&mut self) -> Result<(), Diagnostic> {
        if let Some(device) = &mut self.device
            && let Err(error) = device.keep_apart()
        {
            let tun = device.name();
            tracing::warn!(tun, %error, "the TUN device will end late after SIGKILL");
        }
        self.file.as_mut().map_or(Ok(()), ReadyFile::check)
    }

    /// Tells the value. The kernel may report a lost carrier up to a second late.
    pub fn tell(&mut self, ready: bool) {
        if let Some(file) = &mut self.file
            && let Err(error) = file.set(ready)
        {
            let file = file.path().display();
            tracing::error!(%file, %error, "writing the ready_file failed");
        }
        if let Some(device) = self.device.as_ref().filter(|_| self.carrier != ready) {
            match device.set_carrier(ready) {
                Ok(()) => self.carrier = ready,
                Err(error) => {
                    let tun = device.name();
                    tracing::error!(tun, %error, "switching the carrier of the TUN device failed");
                }
            }
        }
    }

    /// Restores a file that was changed or removed, and retries what failed.
    pub fn renew(&mut self, ready: bool) {
        self.tell(ready);
        if let Some(file) = &mut self.file
            && let Err(error) = file.renew()
        {
            let file = file.path().display();
            tracing::error!(%file, %error, "writing the ready_file failed");
        }
    }

    /// Ends without a change of file and carrier, for the next process. Returns the queue of the TUN device.
    ///
    /// # Errors
    /// If no descriptor is free for the queue. The device ends.
    pub fn pass(&mut self) -> io::Result<Option<OwnedFd>> {
        self.file.take().into_iter().for_each(ReadyFile::leave);
        self.device.take().map(CarrierDevice::into_fd).transpose()
    }

    /// Withdraws for the end of the director: removes the TUN device, which routing daemons see at once. It cannot be made
    /// again without CAP_NET_ADMIN.
    pub fn withdraw(&mut self) {
        self.tell(false);
        self.device = None;
    }
}
