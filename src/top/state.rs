//! The screen's state, and what keys and answers make of it.

use super::drops::{self, Dropped};
use super::rates::{self, Rates};
use super::services::{self, Member};
use super::table::Sort;
use super::workers::{self, Busy};
use super::{Drain, Key, Sample};
use crate::control::api;
use crate::model::ServiceAddress;
use std::net::SocketAddr;
use std::time::Duration;

/// Lines that PgUp and PgDn go.
const PAGE: isize = 10;

/// What happens to the screen.
#[derive(Clone, Debug)]
pub(super) enum Event {
    /// It is so late, from the program's start.
    Time(Duration),
    /// The director has answered.
    Sample(Sample),
    /// The director has not answered, for this reason.
    Gone(String),
    /// How a drain began.
    Drained(Drain, Result<(), String>),
    /// A key was pressed.
    Key(Key),
}

/// What the screen wants done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    /// Ask the director to drain a server, and answer with [`Event::Drained`].
    Drain(Drain),
    /// End.
    Quit,
}

/// What is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum View {
    Services,
    Workers,
    Drops,
}

impl View {
    pub(super) const ALL: [Self; 3] = [Self::Services, Self::Workers, Self::Drops];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Services => "Services",
            Self::Workers => "Workers",
            Self::Drops => "Drops",
        }
    }
}

/// What keys are for at the moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    /// Looking around.
    Look,
    /// Reading the help.
    Help,
    /// Asked whether to drain.
    Ask(Drain),
}

/// What a line is about, whatever its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Id {
    Service(ServiceAddress),
    Server(ServiceAddress, SocketAddr),
    Worker(usize),
    Drop(String),
}

/// A line of a view.
#[derive(Clone, Debug)]
pub(super) enum Item<'a> {
    Member(Member<'a>),
    Busy(Busy<'a>),
    Port(&'a api::Worker, &'a api::Port),
    Dropped(Dropped<'a>),
}

impl Item<'_> {
    /// Nothing for lines that cannot be selected.
    pub(super) fn id(&self) -> Option<Id> {
        match self {
            Self::Member(member) => Some(member.id()),
            Self::Busy(busy) => Some(Id::Worker(busy.worker.worker)),
            Self::Port(..) => None,
            Self::Dropped(dropped) => Some(Id::Drop(dropped.drop.reason.clone())),
        }
    }
}

/// Each view has its own selected line and order.
#[derive(Clone, Debug, Default)]
struct Look {
    selected: Option<Id>,
    /// Its place among the lines that can be selected: kept for when it is gone.
    place: usize,
    sort: Sort,
}

/// All that a frame is drawn from.
#[derive(Clone, Debug)]
pub(super) struct State {
    pub(super) socket: String,
    pub(super) interval: Duration,
    pub(super) now: Duration,
    pub(super) sample: Sample,
    pub(super) rates: Rates,
    /// Why the director is gone, if it is.
    pub(super) gone: Option<String>,
    pub(super) view: View,
    /// The only service that is shown.
    pub(super) zoom: Option<ServiceAddress>,
    pub(super) mode: Mode,
    /// What there is to say until the next key.
    pub(super) note: Option<String>,
    /// Whether drop reasons are shown that do not move.
    pub(super) all_drops: bool,
    /// Drops when the screen began; empty after the director began anew.
    baseline: Vec<api::Drops>,
    looks: [Look; 3],
}

impl State {
    /// The state at the start: `first` is what the director at `socket` says, and is asked again
    /// every `interval`.
    pub(super) fn new(socket: &str, interval: Duration, first: Sample) -> Self {
        let mut state = Self {
            socket: socket.to_owned(),
            interval,
            now: first.at,
            baseline: first.drops.clone(),
            sample: first,
            rates: Rates::default(),
            gone: None,
            view: View::Services,
            zoom: None,
            mode: Mode::Look,
            note: None,
            all_drops: false,
            looks: Default::default(),
        };
        state.settle();
        state
    }

    /// The state after `event`, and what is to be done.
    pub(super) fn apply(&mut self, event: Event) -> Option<Order> {
        match event {
            Event::Time(now) => self.now = now,
            Event::Sample(sample) => self.take(sample),
            Event::Gone(why) => self.gone = Some(why),
            Event::Drained(drain, result) => self.note = Some(outcome(&drain, result)),
            Event::Key(key) => return self.press(key),
        }
        None
    }

    /// The same with all of `view`.
    pub(super) fn showing(&self, view: View) -> Self {
        Self { view, zoom: None, ..self.clone() }
    }

    /// The lines of the view, in order.
    pub(super) fn items(&self) -> Vec<Item<'_>> {
        match self.view {
            View::Services => self.members().into_iter().map(Item::Member).collect(),
            View::Workers => self.busy(),
            View::Drops => self.dropped().into_iter().map(Item::Dropped).collect(),
        }
    }

    /// The place of the selected line among `items`; the first if there is none.
    pub(super) fn place_in(&self, items: &[Item<'_>]) -> usize {
        let selected = self.look().selected.as_ref();
        let is_selected = |item: &Item<'_>| selected.is_some() && item.id().as_ref() == selected;
        items.iter().position(is_selected).unwrap_or(0)
    }

    pub(super) fn sort(&self) -> Sort {
        self.look().sort
    }

    /// True if the director is late with its answer, though not known to be gone.
    pub(super) fn is_late(&self) -> bool {
        self.age() > (self.interval * 3).max(Duration::from_secs(3))
    }

    /// How old the figures are.
    pub(super) fn age(&self) -> Duration {
        self.now.saturating_sub(self.sample.at)
    }

    fn members(&self) -> Vec<Member<'_>> {
        let services = &self.sample.services.services;
        let zoomed = self.zoom.and_then(|zoom| services.iter().position(|service| service.address == zoom));
        let shown = zoomed.map_or(&services[..], |at| &services[at..=at]);
        services::members(shown, self.sort())
    }

    fn busy<'a>(&'a self) -> Vec<Item<'a>> {
        let workers = workers::busy(&self.sample.workers, &self.rates.workers, self.sort());
        let lines = |busy: Busy<'a>| {
            let worker = busy.worker;
            let ports = worker.ports.iter().map(move |port| Item::Port(worker, port));
            std::iter::once(Item::Busy(busy)).chain(ports)
        };
        workers.into_iter().flat_map(lines).collect()
    }

    fn dropped(&self) -> Vec<Dropped<'_>> {
        let all = drops::dropped(&self.sample.drops, &self.baseline, &self.rates.drops, self.sort());
        all.into_iter().filter(|line| self.all_drops || line.since > 0).collect()
    }

    fn look(&self) -> &Look {
        &self.looks[self.view as usize]
    }

    fn look_mut(&mut self) -> &mut Look {
        &mut self.looks[self.view as usize]
    }

    fn take(&mut self, sample: Sample) {
        self.rates = Rates::between(&self.sample, &sample);
        if rates::began_anew(&self.sample, &sample) {
            self.baseline.clear();
        }
        self.now = self.now.max(sample.at);
        self.sample = sample;
        self.gone = None;
        if let Some(zoom) = self.zoom
            && !self.sample.services.services.iter().any(|service| service.address == zoom)
        {
            self.zoom = None;
            self.note = Some(format!("{zoom} is no longer a service of this director"));
        }
        self.settle();
    }

    fn press(&mut self, key: Key) -> Option<Order> {
        self.note = None;
        match self.mode {
            _ if key == Key::Interrupt => return Some(Order::Quit),
            Mode::Look => return self.command(key),
            Mode::Help => self.mode = Mode::Look,
            Mode::Ask(drain) => return self.answer(key, drain),
        }
        None
    }

    fn answer(&mut self, key: Key, drain: Drain) -> Option<Order> {
        match key {
            Key::Char('y' | 'Y') => {
                self.mode = Mode::Look;
                self.note = Some(format!("asking for a drain of {} …", drain.server));
                Some(Order::Drain(drain))
            }
            Key::Char('n' | 'N') | Key::Escape => {
                self.mode = Mode::Look;
                None
            }
            Key::Char(sign) => {
                self.mode = Mode::Ask(sign.to_digit(10).map_or(drain, |digit| drain.typed(digit)));
                None
            }
            Key::Backspace => {
                self.mode = Mode::Ask(drain.erased());
                None
            }
            _ => None,
        }
    }

    fn command(&mut self, key: Key) -> Option<Order> {
        match key {
            Key::Char('q') => return Some(Order::Quit),
            Key::Char('?') => self.mode = Mode::Help,
            Key::Char('d') => self.ask(),
            Key::Char('a') => self.all_drops = !self.all_drops,
            Key::Char('s') => self.look_mut().sort = self.next_sort(),
            Key::Char('r') => self.look_mut().sort.reversed ^= true,
            Key::Enter | Key::Char('z') => self.zoom_in(),
            Key::Escape => self.zoom = None,
            Key::Left | Key::Char('h') => self.turn(View::ALL.len() - 1),
            Key::Right | Key::Char('l') => self.turn(1),
            _ => self.go(key),
        }
        self.settle();
        None
    }

    fn go(&mut self, key: Key) {
        let by = match key {
            Key::Up | Key::Char('k') => -1,
            Key::Down | Key::Char('j') => 1,
            Key::PageUp => -PAGE,
            Key::PageDown => PAGE,
            Key::Home => isize::MIN,
            Key::End => isize::MAX,
            _ => return,
        };
        let look = self.look_mut();
        look.place = look.place.saturating_add_signed(by);
        look.selected = None;
    }

    fn turn(&mut self, by: usize) {
        self.view = View::ALL[(self.view as usize + by) % View::ALL.len()];
    }

    fn next_sort(&self) -> Sort {
        match self.view {
            View::Services => self.sort().next(&services::columns(0)),
            View::Workers => self.sort().next(&workers::columns()),
            View::Drops => self.sort().next(&drops::columns(0)),
        }
    }

    fn zoom_in(&mut self) {
        if let Some(Id::Service(service) | Id::Server(service, _)) = self.look().selected {
            self.zoom = Some(service);
        }
    }

    fn ask(&mut self) {
        match self.look().selected {
            Some(Id::Server(service, server)) => {
                self.mode = Mode::Ask(Drain { service, server, deadline: None });
            }
            _ => self.note = Some("select a real server first, in the view of services".to_owned()),
        }
    }

    /// Finds the selected line again; if it is gone, the one in its place is selected.
    fn settle(&mut self) {
        let ids: Vec<_> = self.items().iter().filter_map(Item::id).collect();
        let look = self.look_mut();
        let found = look.selected.as_ref().and_then(|id| ids.iter().position(|other| other == id));
        look.place = found.unwrap_or(look.place).min(ids.len().saturating_sub(1));
        look.selected = ids.get(look.place).cloned();
    }
}

fn outcome(drain: &Drain, result: Result<(), String>) -> String {
    let latest = drain.deadline.map_or(String::new(), |seconds| format!(", in {seconds} s at the latest"));
    match result {
        Ok(()) => {
            format!("{} gets no new connections, and is removed once it has none{latest}", drain.server)
        }
        Err(why) => format!("{} is not drained: {why}", drain.server),
    }
}
