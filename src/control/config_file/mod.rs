//! The configuration file: its differences from the running configuration, and the history of reloads.

pub(in crate::control) mod reloads;

use crate::control::api::overview::{FileStatus, Reload, Warning};
use crate::control::log::audit::Origin;
use crate::model::{Config, Diagnostics, DirectorConfig, Rules};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Reads the configuration file.
pub type ReadConfig = Arc<dyn Fn() -> Result<Config, Diagnostics> + Send + Sync>;

/// The lines of a reload's differences, or the errors for which nothing was changed.
pub(in crate::control) type ReloadOutcome = Result<Vec<String>, Diagnostics>;

/// Greatest age of a reading for metrics, which are scraped often.
pub(in crate::control) const METRICS_AGE: Duration = Duration::from_secs(10);

type Reading = Arc<Result<Config, Diagnostics>>;

/// The configuration file with its last reading.
pub(in crate::control) struct ConfigFile {
    read: ReadConfig,
    last: Mutex<Option<(Instant, Reading)>>,
}

/// The running configuration, to be compared with the file.
pub(in crate::control) struct RunningConfig {
    pub(in crate::control) rules: Rules,
    pub(in crate::control) settings: DirectorConfig,
}

impl ConfigFile {
    pub(in crate::control) fn new(read: ReadConfig) -> Self {
        Self { read, last: Mutex::new(None) }
    }

    /// Reads the file. Blocks.
    pub(in crate::control) fn read(&self) -> Result<Config, Diagnostics> {
        let read = (self.read)();
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) =
            Some((Instant::now(), Arc::new(read.clone())));
        read
    }

    /// Compares a reading no older than `age` with the running configuration. Blocks.
    pub(in crate::control) fn compare(&self, running: &RunningConfig, age: Duration) -> FileStatus {
        let last = self.last.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let fresh = last.filter(|(at, _)| at.elapsed() < age).map(|(_, reading)| reading);
        match &*fresh.unwrap_or_else(|| Arc::new(self.read())) {
            Err(errors) => FileStatus { error: Some(errors.to_string()), ..FileStatus::default() },
            Ok(config) => {
                let rules = config.rules();
                let restarts = running.settings.restarts(&config.director);
                FileStatus {
                    error: None,
                    unsaved: rules.differences(&running.rules).iter().map(ToString::to_string).collect(),
                    restarts: restarts.into_iter().map(Into::into).collect(),
                }
            }
        }
    }
}

/// Returns the warnings about the file and the last reload.
pub(in crate::control) fn warnings(file: &FileStatus, reload: Option<&Reload>) -> Vec<Warning> {
    let unusable = file.error.as_ref().map(|error| {
        Warning::new(
            "file-unusable",
            format!("the configuration file cannot be used, a restart would fail: {error}"),
        )
    });
    let failed = reload
        .and_then(|reload| reload.error.as_ref())
        .map(|error| Warning::new("reload-failed", format!("the last reload changed nothing: {error}")));
    unusable.into_iter().chain(failed).collect()
}

/// The history of reloads.
#[derive(Clone, Debug)]
pub(in crate::control) struct History {
    /// Last reload.
    pub(in crate::control) last: Option<Reload>,
    /// Time of the start or of the last successful reload.
    pub(in crate::control) succeeded: SystemTime,
}

impl History {
    /// Creates the history of a director that starts now.
    pub(in crate::control) fn new() -> Self {
        Self { last: None, succeeded: SystemTime::now() }
    }

    /// Records the outcome of a reload requested by `origin`.
    pub(in crate::control) fn record(&mut self, origin: &Origin, outcome: &ReloadOutcome) {
        let now = SystemTime::now();
        if outcome.is_ok() {
            self.succeeded = now;
        }
        self.last = Some(Reload {
            at: now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs(),
            by: origin.to_string(),
            changes: outcome.as_ref().map_or(0, Vec::len),
            error: outcome.as_ref().err().map(ToString::to_string),
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Diagnostic, parse};
    use std::path::Path;
    use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

    const FILE: &str = "[director]\ninterface = \"eth0\"\n[[service]]\nprotocol = \"tcp\"\n\
                        address = \"192.0.2.1:80\"\n";

    fn config(text: &str) -> Config {
        parse(Path::new("d.toml"), text).unwrap()
    }

    fn running(text: &str) -> RunningConfig {
        let config = config(text);
        RunningConfig { rules: config.rules(), settings: config.director }
    }

    #[test]
    fn comparison_lists_differences_and_restarts() {
        let file = ConfigFile::new(Arc::new(|| parse(Path::new("d.toml"), FILE)));
        let compare = |text: &str| file.compare(&running(text), Duration::ZERO);
        assert_eq!(compare(FILE), FileStatus::default());
        let more = compare(&format!("{FILE}[[service.server]]\naddress = \"192.0.2.9\"\n"));
        assert_eq!(more.unsaved, ["+ TCP 192.0.2.1:80 -> 192.0.2.9, weight 1"]);
        let other = compare("[director]\ninterface = \"eth1\"\n");
        assert_eq!((other.unsaved.len(), other.restarts), (1, vec!["interface".to_owned()]));
    }

    #[test]
    fn unusable_file_is_a_warning() {
        let file = ConfigFile::new(Arc::new(|| parse(Path::new("d.toml"), "[director")));
        let status = file.compare(&running(FILE), Duration::ZERO);
        assert!(status.error.as_ref().unwrap().starts_with("d.toml:1: "), "{status:?}");
        let found = warnings(&status, None);
        assert_eq!(found.iter().map(|warning| &*warning.code).collect::<Vec<_>>(), ["file-unusable"]);
        assert_eq!(warnings(&FileStatus::default(), None), []);
    }

    #[test]
    fn reading_is_reused_until_too_old() {
        let readings = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&readings);
        let file = ConfigFile::new(Arc::new(move || {
            counter.fetch_add(1, SeqCst);
            parse(Path::new("d.toml"), FILE)
        }));
        let hour = Duration::from_secs(3600);
        for age in [hour, hour, Duration::ZERO, hour] {
            file.compare(&running(FILE), age);
        }
        assert_eq!(readings.load(SeqCst), 2);
    }

    #[test]
    fn failed_reload_is_recorded_beside_the_last_success() {
        let mut history = History::new();
        let start = history.succeeded;
        history.record(&Origin::hangup(), &Err(Diagnostic::system("no").into()));
        assert_eq!(history.succeeded, start);
        let found = warnings(&FileStatus::default(), history.last.as_ref());
        assert_eq!(found[0].code, "reload-failed");
        history.record(&Origin::hangup(), &Ok(vec!["+ x".into()]));
        let last = history.last.unwrap();
        assert_eq!((last.changes, last.error, &*last.by), (1, None, "SIGHUP"));
        assert!(history.succeeded >= start);
    }
}
