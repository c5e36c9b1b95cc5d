use super::*;
use crate::model::RoleFifo;

const LINE_MASTER: &[u8] = b"INSTANCE \"VI_1\" MASTER 150\n";
const LINE_BACKUP: &[u8] = b"INSTANCE \"VI_1\" BACKUP 150\n";

fn fifo(instance: Option<&str>, on_writer_death: OnWriterDeath) -> RoleSource {
    RoleSource::Fifo(RoleFifo { path: "/f".into(), instance: instance.map(Into::into), on_writer_death })
}

/// A machine with the time of its inputs, a millisecond each.
struct Bench {
    machine: RoleMachine,
    now: u32,
}

impl Bench {
    fn new(source: RoleSource, kept: Option<Role>) -> Self {
        Self { machine: RoleMachine::new(source, kept, Tick(0)), now: 0 }
    }

    fn of_fifo() -> Self {
        Self::new(fifo(None, OnWriterDeath::Stop), None)
    }

    fn input(&mut self, input: RoleInput<'_>) -> Vec<RoleAction> {
        self.now += 1;
        let mut actions = Vec::new();
        self.machine.handle(input, Tick(self.now), &mut actions);
        actions
    }

    /// The roles to which an input leads, one after the other.
    fn roles(&mut self, input: RoleInput<'_>) -> Vec<Role> {
        let changes = self.input(input).into_iter().filter_map(|action| match action {
            RoleAction::Change { to, .. } => Some(to),
            _ => None,
        });
        changes.collect()
    }
}

#[test]
fn lines_change_the_role_once_each() {
    let mut bench = Bench::of_fifo();
    assert_eq!(bench.machine.role(), Role::Backup);
    assert_eq!(bench.roles(RoleInput::Bytes(LINE_BACKUP)), []);
    assert_eq!(bench.roles(RoleInput::Bytes(LINE_MASTER)), [Role::Master]);
    assert_eq!(bench.roles(RoleInput::Bytes(LINE_MASTER)), [], "the same again");
    assert_eq!((bench.machine.since(), bench.machine.counts().transitions), (Tick(2), 1));
    assert_eq!(bench.roles(RoleInput::Bytes(b"INSTANCE \"VI_1\" FAULT 150\n")), [Role::Fault]);
    let both = [LINE_MASTER, LINE_BACKUP].concat();
    assert_eq!(bench.roles(RoleInput::Bytes(&both)), [Role::Master, Role::Backup]);
    assert_eq!(bench.machine.cause(), "INSTANCE \"VI_1\" BACKUP 150");
}

#[test]
fn a_stop_is_a_fault_and_the_end_after_it_is_expected() {
    let mut bench = Bench::of_fifo();
    bench.input(RoleInput::Bytes(LINE_MASTER));
    assert_eq!(bench.roles(RoleInput::Bytes(b"INSTANCE \"VI_1\" STOP 150\n")), [Role::Fault]);
    assert_eq!(bench.input(RoleInput::WriterGone), []);
    assert_eq!(bench.machine.counts().deaths, 0);
}

#[test]
fn the_death_of_keepalived_is_a_fault_or_changes_nothing() {
    for (effect, role) in [(OnWriterDeath::Stop, Role::Fault), (OnWriterDeath::Keep, Role::Master)] {
        let mut bench = Bench::new(fifo(None, effect), None);
        bench.input(RoleInput::Bytes(LINE_MASTER));
        let stays = effect == OnWriterDeath::Keep;
        let actions = bench.input(RoleInput::WriterGone);
        assert_eq!(actions.first(), Some(&RoleAction::Report(RoleReport::WriterGone { stays })));
        assert_eq!(bench.machine.role(), role);
        assert_eq!(bench.input(RoleInput::WriterGone), [], "its end is reported once");
        assert_eq!(bench.roles(RoleInput::Bytes(LINE_BACKUP)), [Role::Backup], "it is back");
    }
}

#[test]
fn a_lower_master_makes_a_master_announce() {
    let mut bench = Bench::of_fifo();
    bench.input(RoleInput::Bytes(LINE_MASTER));
    let heard = bench.input(RoleInput::Bytes(b"INSTANCE \"VI_1\" MASTER_RX_LOWER_PRI 150\n"));
    assert_eq!(heard, [RoleAction::Announce]);
    // The other one does not hear this one: its adverts go on.
    let mut announced = 0;
    for _ in 0..5_000 {
        announced += bench.input(RoleInput::Bytes(b"INSTANCE \"VI_1\" MASTER_RX_LOWER_PRI 150\n")).len();
    }
    assert_eq!(announced, 5, "once a second");
}

#[test]
fn the_configured_instance_alone_is_heard() {
    let mut bench = Bench::new(fifo(Some("VI_2"), OnWriterDeath::Stop), None);
    assert_eq!(bench.input(RoleInput::Bytes(LINE_MASTER)), []);
    assert_eq!(bench.roles(RoleInput::Bytes(b"GROUP \"VI_2\" MASTER 0\n")), [Role::Master]);
    let RoleCounts { heard, ignored, unknown, .. } = bench.machine.counts();
    assert_eq!((heard, ignored, unknown), (1, 1, 0));
}

#[test]
fn a_second_instance_is_named_once_and_ignored() {
    let mut bench = Bench::of_fifo();
    bench.input(RoleInput::Bytes(LINE_MASTER));
    let other = b"INSTANCE \"VI_2\" BACKUP 100\n";
    let named = RoleReport::OtherInstance { heard: "VI_1".into(), ignored: "VI_2".into() };
    assert_eq!(bench.input(RoleInput::Bytes(other)), [RoleAction::Report(named)]);
    assert_eq!(bench.input(RoleInput::Bytes(other)), []);
    assert_eq!(bench.machine.role(), Role::Master);
}

#[test]
fn unknown_lines_are_counted_and_change_nothing() {
    let mut bench = Bench::of_fifo();
    bench.input(RoleInput::Bytes(LINE_MASTER));
    let actions =
        bench.input(RoleInput::Bytes(b"rubbish\nINSTANCE \"VI_1\" NEW 1\nRS [192.0.2.1]:tcp:80 UP\n"));
    let unknown = |text: &str| RoleAction::Report(RoleReport::Unknown(text.into()));
    assert_eq!(actions, [unknown("rubbish"), unknown("INSTANCE \"VI_1\" NEW 1")]);
    assert_eq!((bench.machine.role(), bench.machine.counts().unknown), (Role::Master, 2));
}

#[test]
fn a_kept_role_counts_while_keepalived_lives_and_is_silent() {
    let kept = |source| Bench::new(source, Some(Role::Master));
    let mut restarted = kept(fifo(None, OnWriterDeath::Stop));
    assert_eq!(restarted.machine.role(), Role::Backup, "nothing shows that keepalived lives");
    assert_eq!(restarted.roles(RoleInput::WriterLives), [Role::Master]);
    let mut told = kept(fifo(None, OnWriterDeath::Stop));
    assert_eq!(told.roles(RoleInput::Bytes(LINE_BACKUP)), []);
    assert_eq!(told.roles(RoleInput::WriterLives), [], "its word is newer");
    let mut fresh = Bench::of_fifo();
    assert_eq!(fresh.roles(RoleInput::WriterLives), []);
}

#[test]
fn a_command_keeps_its_role_over_a_restart() {
    assert_eq!(Bench::new(RoleSource::Command, Some(Role::Master)).machine.role(), Role::Master);
    let mut bench = Bench::new(RoleSource::Command, None);
    assert_eq!(bench.machine.role(), Role::Backup);
    assert_eq!(bench.roles(RoleInput::Command(Role::Master, "root")), [Role::Master]);
    assert_eq!(bench.machine.cause(), "master, by root");
}

#[test]
fn a_role_file_has_one_word() {
    let mut bench = Bench::new(RoleSource::File { path: "/f".into() }, Some(Role::Master));
    assert_eq!(bench.machine.role(), Role::Backup);
    assert_eq!(bench.roles(RoleInput::File(Some("master\n"))), [Role::Master]);
    assert_eq!(bench.roles(RoleInput::File(Some(""))), [], "it is being written");
    assert_eq!(bench.roles(RoleInput::File(Some("MASTER"))), []);
    assert_eq!(bench.machine.counts().unknown, 2);
    assert_eq!(bench.roles(RoleInput::File(Some("  fault "))), [Role::Fault]);
    assert_eq!(bench.roles(RoleInput::File(None)), [Role::Backup]);
}

#[test]
fn a_director_alone_has_no_other_role() {
    assert_eq!(Bench::new(RoleSource::Standalone, Some(Role::Master)).machine.role(), Role::Standalone);
}

#[test]
fn the_latest_inputs_are_listed_with_their_times() {
    let mut bench = Bench::of_fifo();
    for _ in 0..20 {
        bench.input(RoleInput::Bytes(LINE_BACKUP));
    }
    let recent: Vec<_> = bench.machine.recent().collect();
    assert_eq!((recent.len(), recent[15]), (16, (Tick(20), "INSTANCE \"VI_1\" BACKUP 150")));
}
