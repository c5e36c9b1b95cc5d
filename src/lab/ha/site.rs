//! The running hosts of the drill. Dropping it removes everything.

use super::super::console::Console;
use super::super::interrupt::Interrupt;
use super::super::programs;
use super::super::ready::Readiness;
use super::super::runner::{Runner, check_root, command, execute};
use super::super::step::Step;
use super::DrillOptions;
use super::holder::{HolderAnswer, HolderCommand};
use super::member::Member;
use super::topology::{self, PORT, namespace, vip};
use crate::model::{Diagnostic, Role};
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Stdio};
use std::time::Duration;

/// Longest wait for a role, and for the end of a resync.
const PATIENCE: Duration = Duration::from_secs(30);

/// The hosts with their processes.
pub(super) struct DrillSite<'a> {
    options: &'a DrillOptions,
    console: &'a Console,
    interrupt: &'a Interrupt,
    directory: PathBuf,
    members: Vec<Member>,
    servers: Vec<Child>,
    client: Option<HoldingClient>,
}

/// The client process.
struct HoldingClient {
    child: Child,
    commands: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl<'a> DrillSite<'a> {
    /// Builds the hosts and starts all processes: the first director is master, and both have all connections.
    pub(super) fn build(
        options: &'a DrillOptions,
        console: &'a Console,
        interrupt: &'a Interrupt,
    ) -> Result<Self, Diagnostic> {
        check_root()?;
        let groups = topology::build(options);
        programs::check_groups(&groups)?;
        programs::check(["keepalived"])?;
        let directory = PathBuf::from(format!("/run/directrix-lab-ha-{}", options.name));
        fs::create_dir(&directory).map_err(|error| {
            Diagnostic::io(format!("creating {}", directory.display()), &error)
                .remedy("another drill of this name runs, or was killed; choose another --name, or remove the directory")
        })?;
        let (members, servers) = (Vec::new(), Vec::new());
        let mut site = Self { options, console, interrupt, directory, members, servers, client: None };
        groups.iter().try_for_each(|group| site.runner().group(group))?;
        site.start()?;
        Ok(site)
    }

    fn runner(&self) -> Runner<'a> {
        Runner { console: self.console, interrupt: self.interrupt }
    }

    fn start(&mut self) -> Result<(), Diagnostic> {
        let runner = self.runner();
        self.console.heading("Echo servers, directors with keepalived, the client");
        for server in ["rs1", "rs2"] {
            let child = self.start_server(server)?;
            self.servers.push(child);
        }
        for member in [("dir1", 250), ("dir2", 240)] {
            let mut member = Member::new(self.options, member, &self.directory)?;
            member.start_director(&runner)?;
            member.start_keepalived(&runner)?;
            self.members.push(member);
            if self.members.len() == 1 {
                self.wait_for_master(0)?;
            }
        }
        self.client = Some(self.start_client()?);
        Ok(())
    }

    fn start_server(&self, host: &str) -> Result<Child, Diagnostic> {
        let exe = self.options.exe.display().to_string();
        let address = SocketAddr::new(vip(self.options), PORT).to_string();
        let step = Step::within(&namespace(self.options, host), [&exe, "lab", "serve-echo", &address]);
        self.console.print(&format!("{step} &"));
        let ready = self.directory.join(format!("{host}.ready"));
        let readiness = Readiness::listen(ready.clone())?;
        let mut command = command(&step);
        command.stdin(Stdio::null()).env("NOTIFY_SOCKET", ready);
        let mut child = command.spawn().map_err(|error| Diagnostic::io(step.to_string(), &error))?;
        match readiness.wait(&mut child, self.interrupt, PATIENCE) {
            Ok(true) => Ok(child),
            other => {
                let _ = child.kill(); // it may have ended
                let _ = child.wait();
                other?;
                Err(Diagnostic::system(format!("the echo server of {host} does not start")))
            }
        }
    }

    fn start_client(&self) -> Result<HoldingClient, Diagnostic> {
        let exe = self.options.exe.display().to_string();
        let target = SocketAddr::new(vip(self.options), PORT).to_string();
        let step = Step::within(&namespace(self.options, "client"), [&exe, "lab", "hold", &target]);
        self.console.print(&format!("{step} &"));
        let failed = |error: std::io::Error| Diagnostic::io(step.to_string(), &error);
        let mut command = command(&step);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().map_err(failed)?;
        let (commands, answers) =
            (child.stdin.take().expect("it is piped"), child.stdout.take().expect("likewise"));
        Ok(HoldingClient { child, commands, answers: BufReader::new(answers) })
    }

    /// Sends a command to the client.
    pub(super) fn ask(&mut self, command: HolderCommand) -> Result<HolderAnswer, Diagnostic> {
        self.interrupt.check()?;
        let failed = |error: std::io::Error| Diagnostic::io("the client does not answer", &error);
        let client = self.client.as_mut().expect("it is started last");
        let text = serde_json::to_string(&command).map_err(|error| failed(error.into()))?;
        writeln!(client.commands, "{text}").map_err(failed)?;
        let mut line = String::new();
        client.answers.read_line(&mut line).map_err(failed)?;
        serde_json::from_str(&line).map_err(|error| failed(error.into()))
    }

    /// Number of the member that is master.
    pub(super) fn master(&self) -> Option<usize> {
        self.members.iter().position(|member| member.role() == Some(Role::Master))
    }

    /// Waits until a member is master.
    pub(super) fn wait_for_master(&self, number: usize) -> Result<(), Diagnostic> {
        let member = &self.members[number];
        self.wait(&format!("{} is master", member.host), || member.role() == Some(Role::Master))
    }

    /// Waits until exactly one member is master, and the other one backup.
    pub(super) fn wait_for_pair(&self) -> Result<(), Diagnostic> {
        self.wait("one master and one backup", || {
            let roles: Vec<_> = self.members.iter().map(Member::role).collect();
            roles.contains(&Some(Role::Master)) && roles.contains(&Some(Role::Backup))
        })
    }

    /// Waits until both directors have as many connections as the client, and no difference.
    pub(super) fn wait_for_sync(&self) -> Result<(), Diagnostic> {
        self.wait("both directors have the same connections", || {
            self.members.iter().all(|member| {
                let peers = member.sync().map(|status| status.peers).unwrap_or_default();
                peers.iter().any(|peer| peer.hello.as_ref().is_some_and(|of| of.difference == Some(0)))
            })
        })
    }

    fn wait(&self, what: &str, holds: impl Fn() -> bool) -> Result<(), Diagnostic> {
        match self.interrupt.wait(PATIENCE, || Ok(holds().then_some(())))? {
            Some(()) => Ok(()),
            None => Err(Diagnostic::system(format!("not within {} s: {what}", PATIENCE.as_secs()))),
        }
    }

    /// The member with this number, and a runner.
    pub(super) fn member(&mut self, number: usize) -> (&mut Member, Runner<'a>) {
        let runner = self.runner();
        (&mut self.members[number], runner)
    }

    /// Sets the switch port of a member up or down.
    pub(super) fn set_port(&self, number: usize, state: &str) -> Result<(), Diagnostic> {
        self.runner().group(&topology::port(self.options, self.members[number].host, state))
    }

    /// Sleeps.
    pub(super) fn sleep(&self, time: Duration) -> Result<(), Diagnostic> {
        self.interrupt.sleep(time)
    }
}

impl Drop for DrillSite<'_> {
    fn drop(&mut self) {
        self.members.clear();
        let client = self.client.take().map(|client| client.child);
        for mut child in self.servers.drain(..).chain(client) {
            let _ = child.kill(); // it may have ended
            let _ = child.wait();
        }
        for step in topology::undo(self.options).steps {
            if let Err(error) = execute(&step) {
                self.console.print(&error.to_string());
            }
        }
        let _ = fs::remove_dir_all(&self.directory); // names of files that are gone
    }
}
