//! A TUN device whose carrier tells routing daemons whether this director takes traffic.
//!
//! BIRD and FRR announce a static route by this device while it has a carrier. The device ends with its descriptor, and so
//! with the process, also after SIGKILL. The kernel reports a lost carrier within a second, a removed device at once
//! (`linkwatch_urgent_event` in net/core/link_watch.c).

use crate::model::Diagnostic;
use crate::sys::apart::ApartDescriptor;
use crate::sys::tun;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::thread;
use std::time::{Duration, Instant};

/// Longest wait for the device of a process that is ending.
const BUSY_MAX: Duration = Duration::from_secs(2);
const BUSY_POLL: Duration = Duration::from_millis(10);

/// A TUN device. It is removed when this is dropped. Nothing reads its packets.
#[derive(Debug)]
pub struct CarrierDevice {
    name: String,
    queue: Queue,
}

#[derive(Debug)]
enum Queue {
    Shared(OwnedFd),
    Apart(ApartDescriptor),
}

impl CarrierDevice {
    /// Creates the device without a carrier and sets it up. Takes CAP_NET_ADMIN.
    ///
    /// # Errors
    /// [`Diagnostic`] with cause and remedy.
    pub fn create(name: &str) -> Result<Self, Diagnostic> {
        let queue = create_when_free(name).map_err(|error| refusal(name, &error))?;
        // Before the device is up, so that no carrier is ever seen.
        let ready = tun::set_carrier(queue.as_fd(), false).and_then(|()| tun::set_up(name));
        ready.map_err(|error| Diagnostic::io(format!("setting up the TUN device {name}"), &error))?;
        Ok(Self { name: name.to_owned(), queue: Queue::Shared(queue) })
    }

    /// Takes over the device of another process by the descriptor of its queue. Its carrier stays as it is.
    ///
    /// # Errors
    /// If the descriptor is no queue of a TUN device.
    pub fn from_fd(queue: OwnedFd) -> io::Result<Self> {
        Ok(Self { name: tun::name(queue.as_fd())?, queue: Queue::Shared(queue) })
    }

    /// Makes the device end within milliseconds of SIGKILL: only a thread of its own keeps the queue. Without that, the
    /// kernel frees the tables and sockets of the process first. To be called once privileges have been dropped, as the
    /// thread has those of its start.
    ///
    /// # Errors
    /// If the thread cannot be started. The device stays as it is.
    pub fn keep_apart(&mut self) -> io::Result<()> {
        if let Queue::Shared(queue) = &self.queue {
            self.queue = Queue::Apart(ApartDescriptor::start("carrier", queue.as_fd(), switch)?);
        }
        Ok(())
    }

    /// The queue, for a process that takes the device over.
    ///
    /// # Errors
    /// If no descriptor is free for it.
    pub fn into_fd(self) -> io::Result<OwnedFd> {
        match self.queue {
            Queue::Shared(queue) => Ok(queue),
            Queue::Apart(apart) => apart.release(),
        }
    }

    /// Name of the device.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Switches the carrier. Takes no capability.
    ///
    /// # Errors
    /// Errors of ioctl(2).
    pub fn set_carrier(&self, on: bool) -> io::Result<()> {
        match &self.queue {
            Queue::Shared(queue) => tun::set_carrier(queue.as_fd(), on),
            Queue::Apart(apart) => apart.call(on.into()),
        }
    }
}

fn switch(queue: BorrowedFd<'_>, on: u8) -> io::Result<()> {
    tun::set_carrier(queue, on != 0)
}

fn create_when_free(name: &str) -> io::Result<OwnedFd> {
    let start = Instant::now();
    loop {
        match tun::create(name) {
            Err(error) if error.raw_os_error() == Some(libc::EBUSY) && start.elapsed() < BUSY_MAX => {
                thread::sleep(BUSY_POLL);
            }
            other => return other,
        }
    }
}

fn refusal(name: &str, error: &io::Error) -> Diagnostic {
    let refused = Diagnostic::io(format!("creating the TUN device {name}"), error);
    match error.raw_os_error() {
        Some(libc::ENOENT | libc::ENODEV | libc::ENXIO) => refused.cause(format!("no {}", tun::CLONE_DEVICE)).remedy(
            "load the module: modprobe tun; in a container: give it the device (docker run --device /dev/net/tun); or \
             remove tun from [ha]",
        ),
        Some(libc::EBUSY) => refused.cause("there is a device of this name").remedy(format!(
            "choose another name for tun in [ha], or end its owner; a device without an owner: ip link del {name}"
        )),
        Some(libc::EPERM | libc::EACCES) => refused.remedy(
            "start as root or with CAP_NET_ADMIN; in a container: give it /dev/net/tun; in a systemd unit: \
             DeviceAllow=/dev/net/tun rw, without PrivateDevices=yes",
        ),
        _ => refused,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::sched::{CloneFlags, unshare};
    use std::fs;
    use std::process::Command;

    /// Calls `f` in a network namespace of its own.
    fn alone(f: impl FnOnce() + Send) {
        let inside = || {
            unshare(CloneFlags::CLONE_NEWNET).expect("tests run as root");
            f();
        };
        thread::scope(|scope| scope.spawn(inside).join().unwrap());
    }

    fn link(name: &str) -> String {
        let output = Command::new("ip").args(["-details", "address", "show", "dev", name]).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    }

    #[test]
    fn the_carrier_follows_and_the_device_ends() {
        alone(|| {
            for apart in [false, true] {
                let mut device = CarrierDevice::create("dx0").unwrap();
                let shown = link("dx0");
                assert!(shown.contains("NO-CARRIER") && shown.contains(",UP>"), "{shown}");
                assert!(shown.contains("persist off") && !shown.contains("inet"), "{shown}");
                if apart {
                    device.keep_apart().unwrap();
                }
                for on in [true, false, true] {
                    device.set_carrier(on).unwrap();
                    assert_eq!(link("dx0").contains("LOWER_UP"), on, "{}", link("dx0"));
                }
                drop(device);
                assert_eq!(link("dx0"), "");
            }
        });
    }

    #[test]
    fn the_queue_keeps_the_device_for_another_process() {
        alone(|| {
            let mut device = CarrierDevice::create("dx0").unwrap();
            device.set_carrier(true).unwrap();
            for _ in 0..2 {
                device = CarrierDevice::from_fd(device.into_fd().unwrap()).unwrap();
                assert!(device.name() == "dx0" && link("dx0").contains("LOWER_UP"));
                device.keep_apart().unwrap();
            }
            device.set_carrier(false).unwrap();
            assert!(link("dx0").contains("NO-CARRIER"));
        });
        CarrierDevice::from_fd(fs::File::open("/dev/null").unwrap().into()).unwrap_err();
    }

    #[test]
    fn a_name_in_use_is_refused_after_a_while() {
        alone(|| {
            let _first = CarrierDevice::create("dx0").unwrap();
            let (start, refused) = (Instant::now(), CarrierDevice::create("dx0").unwrap_err().to_string());
            assert!(refused.contains("there is a device of this name; choose another"), "{refused}");
            assert!(start.elapsed() >= BUSY_MAX);
        });
    }

    #[test]
    fn each_refusal_names_its_remedy() {
        for (errno, remedy) in [
            (libc::ENOENT, "--device /dev/net/tun"),
            (libc::EPERM, "CAP_NET_ADMIN"),
            (libc::EACCES, "DeviceAllow"),
        ] {
            let text = refusal("dx0", &io::Error::from_raw_os_error(errno)).to_string();
            assert!(text.contains(remedy), "{text}");
        }
    }
}
