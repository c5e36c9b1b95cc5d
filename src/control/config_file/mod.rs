//! The configuration file beside what runs: unsaved changes, and how reloads went.

use crate::control::api::overview::{FileStatus, Reload, Warning};
use crate::control::director::reload::{ReadConfig, ReloadOutcome};
use crate::control::log::audit::Origin;
use crate::model::{Config, DirectorConfig, Rules};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// How old a reading of the file may be for metrics, which are asked for often.
pub(in crate::control) const METRICS_AGE: Duration = Duration::from_secs(10);

type Reading = Arc<Result<Config, String>>;

/// The file as it is now, beside what runs.
pub(in crate::control) struct ConfigFile {
    reread: ReadConfig,
    last: Mutex<Option<(Instant, Reading)>>,
}

/// What runs, to be compared with the file.
pub(in crate::control) struct RunningConfig {
    pub(in crate::control) rules: Rules,
    pub(in crate::control) settings: DirectorConfig,
}

impl ConfigFile {
    pub(in crate::control) fn new(reread: ReadConfig) -> Self {
        Self { reread, last: Mutex::new(None) }
    }

    /// Reads the file. Blocks.
    pub(in crate::control) fn read(&self) -> Result<Config, String> {
        let read = (self.reread)().map_err(|errors| errors.to_string());
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) =
            Some((Instant::now(), Arc::new(read.clone())));
        read
    }

    /// What a reading that is no older than `age` says beside what runs. Blocks.
    pub(in crate::control) fn compare(&self, running: &RunningConfig, age: Duration) -> FileStatus {
        let last = self.last.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let fresh = last.filter(|(at, _)| at.elapsed() < age).map(|(_, reading)| reading);
        match &*fresh.unwrap_or_else(|| Arc::new(self.read())) {
            Err(error) => FileStatus { error: Some(error.clone()), ..FileStatus::default() },
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

/// Warnings about the file and the last reload.
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

/// What is kept of reloads.
#[derive(Clone, Debug)]
pub(in crate::control) struct History {
    /// The last one.
    pub(in crate::control) last: Option<Reload>,
    /// When the configuration was last taken over, at the start or by a reload.
    pub(in crate::control) succeeded: SystemTime,
}

impl History {
    /// Of a director that starts now.
    pub(in crate::control) fn new() -> Self {
        Self { last: None, succeeded: SystemTime::now() }
    }

    /// Notes how a reload went that `origin` has asked for.
    pub(in crate::control) fn note(&mut self, origin: &Origin, outcome: &ReloadOutcome) {
        let now = SystemTime::now();
        if outcome.is_ok() {
            self.succeeded = now;
        }
        self.last = Some(Reload {
            at: now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs(),
            by: origin.to_string(),
            changes: outcome.as_ref().map_or(0, Vec::len),
            error: outcome.as_ref().err().cloned(),
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::parse;
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
    fn what_runs_is_told_from_what_the_file_says() {
        let file = ConfigFile::new(Arc::new(|| parse(Path::new("d.toml"), FILE)));
        let compare = |text: &str| file.compare(&running(text), Duration::ZERO);
        assert_eq!(compare(FILE), FileStatus::default());
        let more = compare(&format!("{FILE}[[service.server]]\naddress = \"192.0.2.9\"\n"));
        assert_eq!(more.unsaved, ["+ TCP 192.0.2.1:80 -> 192.0.2.9, weight 1"]);
        let other = compare("[director]\ninterface = \"eth1\"\n");
        assert_eq!((other.unsaved.len(), other.restarts), (1, vec!["interface".to_owned()]));
    }

    #[test]
    fn a_file_that_cannot_be_used_is_a_warning() {
        let file = ConfigFile::new(Arc::new(|| parse(Path::new("d.toml"), "[director")));
        let status = file.compare(&running(FILE), Duration::ZERO);
        assert!(status.error.as_ref().unwrap().starts_with("d.toml:1: "), "{status:?}");
        let told = warnings(&status, None);
        assert_eq!(told.iter().map(|warning| &*warning.code).collect::<Vec<_>>(), ["file-unusable"]);
        assert_eq!(warnings(&FileStatus::default(), None), []);
    }

    #[test]
    fn a_reading_serves_until_it_is_too_old() {
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
    fn a_failed_reload_is_kept_and_the_last_success_stays() {
        let mut history = History::new();
        let start = history.succeeded;
        history.note(&Origin::hangup(), &Err("d.toml:1: no".into()));
        assert_eq!(history.succeeded, start);
        let told = warnings(&FileStatus::default(), history.last.as_ref());
        assert_eq!(told[0].code, "reload-failed");
        history.note(&Origin::hangup(), &Ok(vec!["+ x".into()]));
        let last = history.last.unwrap();
        assert_eq!((last.changes, last.error, &*last.by), (1, None, "SIGHUP"));
        assert!(history.succeeded >= start);
    }
}
