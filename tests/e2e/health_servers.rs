//! Services of every kind that is checked, on a real server: nginx with TLS, dnsmasq, aiosmtpd; and their faults.

use crate::peers::PATIENCE;
use crate::support::certificates::Issued;
use crate::support::netns::{Netns, Process, wait_until};
use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;
use std::fs;
use std::os::unix::process::CommandExt;
use std::process::Stdio;
use tempfile::TempDir;

pub(crate) const HTTP: u16 = 8080;
pub(crate) const HTTPS: u16 = 443;
pub(crate) const DNS: u16 = 53;
pub(crate) const SMTP: u16 = 25;
/// Listening sockets for TCP: of each port one for each family.
const LISTENERS: usize = 8;

/// Handler of aiosmtpd: EHLO is answered late or by 450 while the file `slow` or `broken` is there.
const HANDLER: &str = r#"
import asyncio, os

class Handler:
    async def handle_EHLO(self, server, session, envelope, hostname, responses):
        session.host_name = hostname
        if os.path.exists("PLACE/slow"):
            await asyncio.sleep(5)
        return ["450 4.3.2 not now"] if os.path.exists("PLACE/broken") else responses
"#;

/// Starts a program in the namespace of a host.
pub(crate) fn spawn(host: &Netns, command: &str) -> Process {
    let mut command = host.command(&format!("exec {command}"));
    command.process_group(0);
    Process(command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap())
}

/// The processes on a real server.
pub(crate) struct Servers {
    directory: TempDir,
    processes: Vec<Process>,
}

impl Servers {
    /// Starts all of them, with this certificate.
    pub(crate) fn start(host: &Netns, certificate: &Issued) -> Self {
        let mut servers = Self { directory: tempfile::tempdir().unwrap(), processes: Vec::new() };
        let place = servers.place();
        servers.write("nginx.conf", &nginx(&place));
        servers.write("handler.py", &HANDLER.replace("PLACE", &place));
        servers.set_certificate(certificate);
        servers.set("broken", false);
        servers.launch(host);
        servers
    }

    /// Starts the programs, and waits until they listen.
    pub(crate) fn launch(&mut self, host: &Netns) {
        let place = self.place();
        let mail = format!("env PYTHONPATH={place} /usr/bin/aiosmtpd -n -c handler.Handler -l");
        let commands = [
            self.dnsmasq(),
            format!("nginx -p {place} -c {place}/nginx.conf -e {place}/errors"),
            format!("{mail} 0.0.0.0:{SMTP}"),
            format!("{mail} :::{SMTP}"),
        ];
        self.processes = commands.iter().map(|command| spawn(host, command)).collect();
        self.wait_for_listeners(host);
    }

    /// Ends the programs: their ports are closed from then on. dnsmasq has a child for each connection of TCP, which would keep
    /// its sockets.
    pub(crate) fn stop(&mut self) {
        self.signal(Signal::SIGKILL);
        self.processes.clear();
    }

    /// Sends a signal to every program. While they are stopped by SIGSTOP, the kernel still accepts connections.
    pub(crate) fn signal(&self, signal: Signal) {
        self.processes.iter().for_each(|process| killpg(pid(process), signal).unwrap());
    }

    /// Starts dnsmasq anew. It has a child for each connection of TCP; those of connections whose end it was not told wait for
    /// minutes, and beyond 20 of them it takes no other connection.
    pub(crate) fn renew_dnsmasq(&mut self, host: &Netns) {
        killpg(pid(&self.processes[0]), Signal::SIGKILL).unwrap();
        drop(self.processes.remove(0));
        let sockets = format!("ss -Hltun 'sport = {DNS}'");
        wait_until("the children have ended, too", PATIENCE, || host.run(&sockets).is_empty());
        self.processes.insert(0, spawn(host, &self.dnsmasq()));
        self.wait_for_listeners(host);
    }

    fn dnsmasq(&self) -> String {
        format!(
            "dnsmasq --keep-in-foreground --conf-file=/dev/null --pid-file= --user=root --no-resolv --no-hosts \
             --local=/test/ --addn-hosts={}/hosts",
            self.place()
        )
    }

    fn wait_for_listeners(&self, host: &Netns) {
        let is_ours =
            format!("ss -Hltn '( sport = {HTTP} or sport = {HTTPS} or sport = {DNS} or sport = {SMTP} )'");
        wait_until("all listen", PATIENCE, || host.run(&is_ours).lines().count() == LISTENERS);
    }

    /// Makes the answers wrong ("broken") or late ("slow"), or right again.
    pub(crate) fn set(&self, fault: &str, on: bool) {
        match on {
            true => self.write(fault, ""),
            false => drop(fs::remove_file(self.directory.path().join(fault))), // at the start there is none
        }
        if fault == "broken" {
            self.write("hosts", if on { "" } else { "192.0.2.1 www.test\n" });
            self.processes.iter().take(1).for_each(|dnsmasq| kill(pid(dnsmasq), Signal::SIGHUP).unwrap());
        }
    }

    /// Replaces the certificate. nginx reads it at each handshake.
    pub(crate) fn set_certificate(&self, Issued { certificate, key }: &Issued) {
        let both = [certificate, key].map(|file| fs::read_to_string(file).unwrap()).concat();
        self.write("new.pem", &both);
        fs::rename(self.directory.path().join("new.pem"), self.directory.path().join("both.pem")).unwrap();
    }

    fn place(&self) -> String {
        self.directory.path().display().to_string()
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.directory.path().join(name), text).unwrap();
    }
}

impl Drop for Servers {
    fn drop(&mut self) {
        self.stop();
    }
}

/// The process, and the group that it leads.
fn pid(process: &Process) -> Pid {
    Pid::from_raw(process.0.id().cast_signed())
}

/// Configuration of nginx with one process. With the file `broken` one port has another status, and the other one another
/// body; with `slow` a byte is sent each second.
fn nginx(place: &str) -> String {
    let uses = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"];
    let temporary: String = uses.iter().map(|of| format!("{of}_temp_path {place}/{of};\n")).collect();
    let slow = format!("if (-f {place}/slow) {{ set $limit_rate 1; }}");
    format!(
        "daemon off; master_process off; pid {place}/pid; error_log {place}/errors;
         events {{ }}
         http {{
             access_log off; {temporary}
             map $uri $both {{ default {place}/both.pem; }}
             server {{
                 listen {HTTP}; listen [::]:{HTTP};
                 location / {{ {slow} if (-f {place}/broken) {{ return 503; }} return 200 \"alive\\n\"; }}
             }}
             server {{
                 listen {HTTPS} ssl; listen [::]:{HTTPS} ssl;
                 ssl_certificate $both; ssl_certificate_key $both;
                 location / {{ {slow} if (-f {place}/broken) {{ return 200 \"broken\\n\"; }} return 200 \"alive\\n\"; }}
             }}
         }}"
    )
}
