//! State of the screen, changed by keys and answers.

use super::director::{DrainRequest, Sample};
use super::drops::{self, DropLine};
use super::event::{ScreenAction, ScreenEvent};
use super::keys::KeyPress;
use super::rates::{self, SampleRates};
use super::row_id::RowId;
use super::services::{self, ServiceLine};
use super::table::SortOrder;
use super::workers::{self, WorkerLine};
use crate::control::api;
use crate::model::{Diagnostic, ServiceIdentity};
use std::time::Duration;

/// Rows per PgUp and PgDn.
const PAGE: isize = 10;

/// The views.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ViewKind {
    Services,
    Workers,
    Drops,
}

impl ViewKind {
    pub(super) const ALL: [Self; 3] = [Self::Services, Self::Workers, Self::Drops];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Services => "Services",
            Self::Workers => "Workers",
            Self::Drops => "Drops",
        }
    }
}

/// Meaning of the keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum InputMode {
    /// Navigation.
    Browse,
    /// The help is shown; any key returns.
    Help,
    /// The question before a drain.
    ConfirmDrain(DrainRequest),
}

/// A row of a view.
#[derive(Clone, Debug)]
pub(super) enum ListRow<'a> {
    Service(ServiceLine<'a>),
    Worker(WorkerLine<'a>),
    Queue(&'a api::Worker, &'a api::Port),
    Drop(DropLine<'a>),
}

impl ListRow<'_> {
    /// Returns the identity of a row; `None` if it cannot be selected.
    pub(super) fn id(&self) -> Option<RowId> {
        match self {
            Self::Service(member) => Some(member.id()),
            Self::Worker(busy) => Some(RowId::Worker(busy.worker.worker)),
            Self::Queue(..) => None,
            Self::Drop(dropped) => Some(RowId::Drop(dropped.drop.reason.clone())),
        }
    }
}

/// Selected row and order of a view.
#[derive(Clone, Debug, Default)]
struct Selection {
    selected: Option<RowId>,
    /// Index among selectable rows, used once the selected row has disappeared.
    index: usize,
    sort: SortOrder,
}

/// State of the screen; a frame depends on nothing else.
#[derive(Clone, Debug)]
pub(super) struct ScreenState {
    pub(super) socket: String,
    pub(super) interval: Duration,
    pub(super) now: Duration,
    pub(super) sample: Sample,
    pub(super) rates: SampleRates,
    /// Reason why the last request failed.
    pub(super) failure: Option<String>,
    pub(super) view: ViewKind,
    /// The only service shown, if zoomed.
    pub(super) zoom: Option<ServiceIdentity>,
    pub(super) mode: InputMode,
    /// Message until the next key.
    pub(super) note: Option<String>,
    /// Shows all drop reasons, not only changed ones.
    pub(super) all_drops: bool,
    /// Drops at the start of the screen; empty after a restart of the director.
    baseline: Vec<api::Drops>,
    selections: [Selection; 3],
}

impl ScreenState {
    /// Makes the initial state from the first sample of the director at `socket`.
    pub(super) fn new(socket: &str, interval: Duration, first: Sample) -> Self {
        let mut state = Self {
            socket: socket.to_owned(),
            interval,
            now: first.at,
            baseline: first.drops.clone(),
            sample: first,
            rates: SampleRates::default(),
            failure: None,
            view: ViewKind::Services,
            zoom: None,
            mode: InputMode::Browse,
            note: None,
            all_drops: false,
            selections: Default::default(),
        };
        state.restore_selection();
        state
    }

    /// Applies an event; returns the action that follows.
    pub(super) fn apply(&mut self, event: ScreenEvent) -> Option<ScreenAction> {
        match event {
            ScreenEvent::Time(now) => self.now = now,
            ScreenEvent::Sample(sample) => self.apply_sample(sample),
            ScreenEvent::NoAnswer(reason) => self.failure = Some(reason),
            ScreenEvent::Drained(drain, result) => self.note = Some(outcome(&drain, result)),
            ScreenEvent::Key(key) => return self.press(key),
        }
        None
    }

    /// Returns a copy that shows all of `view`.
    pub(super) fn showing(&self, view: ViewKind) -> Self {
        Self { view, zoom: None, ..self.clone() }
    }

    /// Returns the rows of the view, in order.
    pub(super) fn items(&self) -> Vec<ListRow<'_>> {
        match self.view {
            ViewKind::Services => self.service_lines().into_iter().map(ListRow::Service).collect(),
            ViewKind::Workers => self.worker_lines(),
            ViewKind::Drops => self.drop_lines().into_iter().map(ListRow::Drop).collect(),
        }
    }

    /// Returns the index of the selected row among `items`; 0 without a selection.
    pub(super) fn selected_index(&self, items: &[ListRow<'_>]) -> usize {
        let Some(selected) = &self.selection().selected else { return 0 };
        items.iter().position(|item| item.id().as_ref() == Some(selected)).unwrap_or(0)
    }

    pub(super) fn sort(&self) -> SortOrder {
        self.selection().sort
    }

    /// Whether an answer is overdue.
    pub(super) fn is_late(&self) -> bool {
        self.age() > (self.interval * 3).max(Duration::from_secs(3))
    }

    /// Returns the age of the sample.
    pub(super) fn age(&self) -> Duration {
        self.now.saturating_sub(self.sample.at)
    }

    fn service_lines(&self) -> Vec<ServiceLine<'_>> {
        let services = &self.sample.services.services;
        let zoomed = self.zoom.and_then(|zoom| services.iter().position(|service| service.identity == zoom));
        let shown = zoomed.map_or(&services[..], |at| &services[at..=at]);
        services::rows(shown, self.sort())
    }

    fn worker_lines<'a>(&'a self) -> Vec<ListRow<'a>> {
        let workers = workers::rows(&self.sample.workers, &self.rates.workers, self.sort());
        let mut lines = Vec::new();
        for line in workers {
            let worker = line.worker;
            lines.push(ListRow::Worker(line));
            lines.extend(worker.ports.iter().map(|port| ListRow::Queue(worker, port)));
        }
        lines
    }

    fn drop_lines(&self) -> Vec<DropLine<'_>> {
        let all = drops::rows(&self.sample.drops, &self.baseline, &self.rates.drops, self.sort());
        all.into_iter().filter(|line| self.all_drops || line.since > 0).collect()
    }

    fn selection(&self) -> &Selection {
        &self.selections[self.view as usize]
    }

    fn selection_mut(&mut self) -> &mut Selection {
        &mut self.selections[self.view as usize]
    }

    fn apply_sample(&mut self, sample: Sample) {
        self.rates = SampleRates::between(&self.sample, &sample);
        if rates::restarted(&self.sample, &sample) {
            self.baseline.clear();
        }
        self.now = self.now.max(sample.at);
        self.sample = sample;
        self.failure = None;
        if let Some(zoom) = self.zoom
            && !self.sample.services.services.iter().any(|service| service.identity == zoom)
        {
            self.zoom = None;
            self.note = Some(format!("{zoom} is no longer a service of this director"));
        }
        self.restore_selection();
    }

    fn press(&mut self, key: KeyPress) -> Option<ScreenAction> {
        self.note = None;
        match self.mode {
            _ if key == KeyPress::Interrupt => return Some(ScreenAction::Quit),
            InputMode::Browse => return self.command(key),
            InputMode::Help => self.mode = InputMode::Browse,
            InputMode::ConfirmDrain(drain) => return self.answer(key, drain),
        }
        None
    }

    fn answer(&mut self, key: KeyPress, drain: DrainRequest) -> Option<ScreenAction> {
        match key {
            KeyPress::Char('y' | 'Y') => {
                self.mode = InputMode::Browse;
                self.note = Some(format!("requesting a drain of {} …", drain.server));
                Some(ScreenAction::Drain(drain))
            }
            KeyPress::Char('n' | 'N') | KeyPress::Escape => {
                self.mode = InputMode::Browse;
                None
            }
            KeyPress::Char(sign) => {
                self.mode = InputMode::ConfirmDrain(
                    sign.to_digit(10).map_or(drain, |digit| drain.digit_typed(digit)),
                );
                None
            }
            KeyPress::Backspace => {
                self.mode = InputMode::ConfirmDrain(drain.digit_erased());
                None
            }
            _ => None,
        }
    }

    fn command(&mut self, key: KeyPress) -> Option<ScreenAction> {
        match key {
            KeyPress::Char('q') => return Some(ScreenAction::Quit),
            KeyPress::Char('?') => self.mode = InputMode::Help,
            KeyPress::Char('d') => self.ask_to_drain(),
            KeyPress::Char('a') => self.all_drops = !self.all_drops,
            KeyPress::Char('s') => self.selection_mut().sort = self.next_sort(),
            KeyPress::Char('r') => self.selection_mut().sort.reversed ^= true,
            KeyPress::Enter | KeyPress::Char('z') => self.zoom_in(),
            KeyPress::Escape => self.zoom = None,
            KeyPress::Left | KeyPress::Char('h') => self.switch_view(ViewKind::ALL.len() - 1),
            KeyPress::Right | KeyPress::Char('l') => self.switch_view(1),
            _ => self.move_selection(key),
        }
        self.restore_selection();
        None
    }

    fn move_selection(&mut self, key: KeyPress) {
        let by = match key {
            KeyPress::Up | KeyPress::Char('k') => -1,
            KeyPress::Down | KeyPress::Char('j') => 1,
            KeyPress::PageUp => -PAGE,
            KeyPress::PageDown => PAGE,
            KeyPress::Home => isize::MIN,
            KeyPress::End => isize::MAX,
            _ => return,
        };
        let selection = self.selection_mut();
        selection.index = selection.index.saturating_add_signed(by);
        selection.selected = None;
    }

    fn switch_view(&mut self, by: usize) {
        self.view = ViewKind::ALL[(self.view as usize + by) % ViewKind::ALL.len()];
    }

    fn next_sort(&self) -> SortOrder {
        match self.view {
            ViewKind::Services => self.sort().next(&services::columns(0)),
            ViewKind::Workers => self.sort().next(&workers::columns()),
            ViewKind::Drops => self.sort().next(&drops::columns(0)),
        }
    }

    fn zoom_in(&mut self) {
        if let Some(RowId::Service(service) | RowId::Server(service, _)) = self.selection().selected {
            self.zoom = Some(service);
        }
    }

    fn ask_to_drain(&mut self) {
        match self.selection().selected {
            Some(RowId::Server(service, server)) => {
                self.mode = InputMode::ConfirmDrain(DrainRequest { service, server, deadline: None });
            }
            _ => self.note = Some("select a real server first, in the view of services".to_owned()),
        }
    }

    /// Restores the selection after a change of the rows; a removed row is replaced by the one at its index.
    fn restore_selection(&mut self) {
        let ids: Vec<_> = self.items().iter().filter_map(ListRow::id).collect();
        let selection = self.selection_mut();
        let found = selection.selected.as_ref().and_then(|id| ids.iter().position(|other| other == id));
        selection.index = found.unwrap_or(selection.index).min(ids.len().saturating_sub(1));
        selection.selected = ids.get(selection.index).cloned();
    }
}

fn outcome(drain: &DrainRequest, result: Result<(), Diagnostic>) -> String {
    let latest = drain.deadline.map_or(String::new(), |seconds| format!(", in {seconds} s at the latest"));
    match result {
        Ok(()) => {
            format!("{} gets no new connections, and is removed once it has none{latest}", drain.server)
        }
        Err(reason) => format!("{} is not drained: {reason}", drain.server),
    }
}
