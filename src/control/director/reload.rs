//! Reading the configuration file again. A thread of its own does it: a file system may take its time, and
//! so does parsing a large file, while ARP, changes and questions go on.

use crate::control::api::Plan;
use crate::control::config_file::{ConfigFile, History};
use crate::control::director::Director;
use crate::control::log::audit::{self, Origin};
use crate::model::{BackendChoice, Config, Diagnostics, restart_needed};
use std::sync::Arc;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// Reads the configuration file again.
pub type ReadConfig = Arc<dyn Fn() -> Result<Config, Diagnostics> + Send + Sync>;

/// What became different, or why nothing did.
pub(in crate::control) type ReloadOutcome = Result<Vec<String>, String>;

/// The way back to a client that waits.
pub(in crate::control) type ReloadReply = oneshot::Sender<ReloadOutcome>;

/// One request for a reload.
struct ReloadRequest {
    origin: Origin,
    /// `None`: a signal, which waits for no answer.
    reply: Option<ReloadReply>,
}

impl ReloadRequest {
    /// False once its client has gone away.
    fn is_pending(&self) -> bool {
        self.reply.as_ref().is_none_or(|reply| !reply.is_closed())
    }
}

/// At most one reading at a time, and who waits for it.
pub(in crate::control) struct ReloadQueue {
    file: Arc<ConfigFile>,
    history: History,
    /// What the command line says, whatever a file does.
    backend: Option<BackendChoice>,
    reading: Option<JoinHandle<Result<Config, String>>>,
    /// Asked before it began.
    waiting: Vec<ReloadRequest>,
    /// Asked since: the file may have been changed after it was read, so it is read once more for them.
    next: Vec<ReloadRequest>,
}

impl ReloadQueue {
    pub(in crate::control) fn new(reread: ReadConfig, backend: Option<BackendChoice>) -> Self {
        let (file, history) = (Arc::new(ConfigFile::new(reread)), History::new());
        Self { file, history, backend, reading: None, waiting: Vec::new(), next: Vec::new() }
    }

    /// The file that is read.
    pub(in crate::control) fn file(&self) -> Arc<ConfigFile> {
        Arc::clone(&self.file)
    }

    /// How reloads went.
    pub(in crate::control) fn history(&self) -> &History {
        &self.history
    }

    /// A file that others have read, with what the command line says.
    pub(in crate::control) fn complete(&self, mut config: Config) -> Config {
        config.director.backend = self.backend.unwrap_or(config.director.backend);
        config
    }

    /// Has the file read, now or as soon as it has been.
    pub(in crate::control) fn ask(&mut self, origin: Origin, reply: Option<ReloadReply>) {
        let ask = ReloadRequest { origin, reply };
        if self.reading.is_none() {
            return self.begin(vec![ask]);
        }
        self.next.retain(ReloadRequest::is_pending); // clients do not wait for ever
        let is_repeated = ask.reply.is_none() && self.next.iter().any(|other| other.reply.is_none());
        self.next.extend((!is_repeated).then_some(ask));
    }

    fn begin(&mut self, waiting: Vec<ReloadRequest>) {
        tracing::debug!("reading the configuration file");
        let file = self.file();
        self.reading = Some(tokio::task::spawn_blocking(move || file.read()));
        self.waiting = waiting;
    }

    /// What has been read; while nothing is being read, for ever pending. May be dropped and called again.
    pub(in crate::control) async fn read(&mut self) -> Result<Config, String> {
        let Some(reading) = &mut self.reading else { return std::future::pending().await };
        let read = reading.await;
        self.reading = None;
        match read {
            Ok(read) => read,
            Err(failed) => Err(format!("reading it has failed: {failed}; this is a fault of directrix")),
        }
    }

    /// Logs and answers what has come of a reading, and begins the next one if it was asked for since.
    pub(in crate::control) fn answer(&mut self, outcome: &ReloadOutcome) {
        if let Some(first) = self.waiting.first() {
            self.history.note(&first.origin, outcome);
        }
        for (number, ReloadRequest { origin, reply }) in self.waiting.drain(..).enumerate() {
            match number {
                0 => audit::reloaded(&origin, outcome),
                _ => audit::also_asked(&origin),
            }
            if let Some(reply) = reply {
                let _ = reply.send(outcome.clone()); // it may have gone away
            }
        }
        let next = std::mem::take(&mut self.next);
        if !next.is_empty() {
            self.begin(next);
        }
    }
}

impl<F: FnMut()> Director<F> {
    /// Goes by a file that has been read, if it is right for what runs by now.
    pub(in crate::control) fn go_by(&mut self, read: Result<Config, String>) -> ReloadOutcome {
        read.and_then(|config| self.reload(&config))
    }

    /// What [`Director::reload`] would do; changes nothing.
    pub(in crate::control) fn plan(&self, config: &Config) -> Plan {
        let restarts = self.settings.restarts(&config.director);
        let rules = config.rules();
        let changes = self.registry.rules().differences(&rules);
        let fits = || self.host.judge(config).map_err(|errors| errors.to_string());
        let is_right = |()| rules.check().map_err(|error| error.to_string());
        let refusal = match restarts.as_slice() {
            [] => fits().and_then(is_right).err(),
            keys => Some(restart_needed(&keys.join(", "))),
        };
        Plan {
            changes: changes.iter().map(ToString::to_string).collect(),
            restarts: restarts.into_iter().map(Into::into).collect(),
            refusal,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::parse;
    use std::path::Path;
    use std::sync::Mutex;
    use std::sync::mpsc::{Sender, channel};
    use std::time::Duration;
    use tokio::time::timeout;

    /// Reads whatever is sent, once it is sent.
    fn reloads() -> (ReloadQueue, Sender<&'static str>) {
        let (write, file) = channel();
        let file = Mutex::new(file);
        let reread = move || parse(Path::new("d.toml"), file.lock().unwrap().recv().unwrap());
        (ReloadQueue::new(Arc::new(reread), None), write)
    }

    fn run(test: impl Future<Output = ()>) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(test);
        runtime.shutdown_timeout(Duration::from_secs(1));
    }

    const GOOD: &str = "[director]\ninterface = \"eth0\"\n";
    const A_MOMENT: Duration = Duration::from_millis(50);

    #[test]
    fn the_loop_goes_on_while_a_file_is_read() {
        run(async {
            let (mut reloads, file) = reloads();
            let (reply, mut told) = oneshot::channel();
            assert!(timeout(A_MOMENT, reloads.read()).await.is_err(), "nobody has asked");
            reloads.ask(Origin::hangup(), Some(reply));
            // Each time the loop turns to something else.
            for _ in 0..3 {
                assert!(timeout(A_MOMENT, reloads.read()).await.is_err());
                assert!(told.try_recv().is_err());
            }
            file.send(GOOD).unwrap();
            assert_eq!(reloads.read().await.unwrap().director.interface, "eth0");
            reloads.answer(&Ok(vec!["something".into()]));
            assert_eq!(told.await.unwrap(), Ok(vec!["something".to_owned()]));
        });
    }

    #[test]
    fn who_asks_meanwhile_has_the_file_read_once_more() {
        run(async {
            let (mut reloads, file) = reloads();
            let ([first, second, third], [a, b, c]) = {
                let pairs = [(); 3].map(|()| oneshot::channel());
                let [(a, ra), (b, rb), (c, rc)] = pairs;
                ([ra, rb, rc], [a, b, c])
            };
            reloads.ask(Origin::hangup(), Some(a));
            [Some(b), None, Some(c)].into_iter().for_each(|reply| reloads.ask(Origin::hangup(), reply));
            file.send("[director").unwrap();
            let wrong = reloads.read().await.unwrap_err();
            assert!(wrong.starts_with("d.toml:1: "), "{wrong}");
            reloads.answer(&Err("wrong".into()));
            assert_eq!(first.await.unwrap(), Err("wrong".to_owned()));
            file.send(GOOD).unwrap();
            reloads.read().await.unwrap();
            reloads.answer(&Ok(Vec::new()));
            assert_eq!((second.await.unwrap(), third.await.unwrap()), (Ok(Vec::new()), Ok(Vec::new())));
            assert!(timeout(A_MOMENT, reloads.read()).await.is_err(), "once for all of them");
        });
    }

    #[test]
    fn a_signal_meanwhile_is_not_lost_and_who_went_away_is_not_kept() {
        run(async {
            let (mut reloads, file) = reloads();
            for _ in 0..100 {
                reloads.ask(Origin::hangup(), None);
            }
            for _ in 0..100 {
                reloads.ask(Origin::hangup(), Some(oneshot::channel().0));
            }
            assert_eq!(reloads.next.len(), 2, "one signal, and the last client");
            for _ in 0..2 {
                file.send(GOOD).unwrap();
                reloads.read().await.unwrap();
                reloads.answer(&Ok(Vec::new()));
            }
            assert!(reloads.reading.is_none());
        });
    }
}
