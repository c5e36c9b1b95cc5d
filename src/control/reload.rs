//! Reading the configuration file again. A thread of its own does it: a file system may take its time, and
//! so does parsing a large file, while ARP, changes and questions go on.

use super::api::Plan;
use super::director::Director;
use crate::model::{BackendChoice, Config, ConfigErrors, Rules};
use std::sync::Arc;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// Reads the configuration file again.
pub type Reread = Arc<dyn Fn() -> Result<Config, ConfigErrors> + Send + Sync>;

/// What became different, or why nothing did.
pub(super) type Outcome = Result<Vec<String>, String>;

/// The way back to whoever asked.
pub(super) type Reply = oneshot::Sender<Outcome>;

/// At most one reading at a time, and who waits for it.
pub(super) struct Reloads {
    reread: Reread,
    /// What the command line says, whatever a file does.
    backend: Option<BackendChoice>,
    reading: Option<JoinHandle<Result<Config, ConfigErrors>>>,
    /// Asked before it began.
    waiting: Vec<Reply>,
    /// Asked since: the file may have been changed after it was read, so it is read once more for them.
    /// `None`: nobody, not even by a signal, which waits for no answer.
    next: Option<Vec<Reply>>,
}

impl Reloads {
    pub(super) fn new(reread: Reread, backend: Option<BackendChoice>) -> Self {
        Self { reread, backend, reading: None, waiting: Vec::new(), next: None }
    }

    /// A file that others have read, with what the command line says.
    pub(super) fn complete(&self, mut config: Config) -> Config {
        config.director.backend = self.backend.unwrap_or(config.director.backend);
        config
    }

    /// Has the file read, now or as soon as it has been.
    pub(super) fn ask(&mut self, reply: Option<Reply>) {
        if self.reading.is_none() {
            return self.begin(reply.into_iter().collect());
        }
        let next = self.next.get_or_insert_default();
        next.retain(|reply| !reply.is_closed()); // clients do not wait for ever
        next.extend(reply);
    }

    fn begin(&mut self, waiting: Vec<Reply>) {
        let reread = Arc::clone(&self.reread);
        self.reading = Some(tokio::task::spawn_blocking(move || reread()));
        self.waiting = waiting;
    }

    /// What has been read; while nothing is being read, for ever pending. May be dropped and called again.
    pub(super) async fn read(&mut self) -> Result<Config, String> {
        let Some(reading) = &mut self.reading else { return std::future::pending().await };
        let read = reading.await;
        self.reading = None;
        match read {
            Ok(read) => read.map_err(|errors| errors.to_string()),
            Err(failed) => Err(format!("reading it has failed: {failed}; this is a fault of directrix")),
        }
    }

    /// Answers those who waited for what has been read, and goes on for those who came since.
    pub(super) fn answer(&mut self, outcome: &Outcome) {
        for reply in self.waiting.drain(..) {
            let _ = reply.send(outcome.clone()); // it may have gone away
        }
        if let Some(next) = self.next.take() {
            self.begin(next);
        }
    }
}

impl<F: FnMut()> Director<F> {
    /// Goes by a file that has been read, if it is right for what runs by now.
    pub(super) fn go_by(&mut self, read: Result<Config, String>) -> Outcome {
        let outcome = read.and_then(|config| self.reload(&config));
        match &outcome {
            Ok(changes) => {
                changes.iter().for_each(|change| tracing::info!("{change}"));
                tracing::info!(changes = changes.len(), "configuration read again");
            }
            Err(reason) => tracing::error!("the configuration stays as it was: {reason}"),
        }
        outcome
    }

    /// What [`Director::reload`] would do; changes nothing.
    pub(super) fn plan(&self, config: &Config) -> Plan {
        let restarts = self.settings.restarts(&config.director);
        let rules = Rules { services: config.services.clone(), timeouts: config.director.timeouts };
        let changes = self.registry.rules().differences(&rules);
        let fits = || self.host.judge(config).map_err(|errors| errors.to_string());
        let is_right = |()| rules.check().map_err(|misfit| misfit.to_string());
        let refusal = match restarts.as_slice() {
            [] => fits().and_then(is_right).err(),
            keys => Some(format!("{}: only a new start changes that", keys.join(", "))),
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
    fn reloads() -> (Reloads, Sender<&'static str>) {
        let (write, file) = channel();
        let file = Mutex::new(file);
        let reread = move || parse(Path::new("d.toml"), file.lock().unwrap().recv().unwrap());
        (Reloads::new(Arc::new(reread), None), write)
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
            reloads.ask(Some(reply));
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
            reloads.ask(Some(a));
            [Some(b), None, Some(c)].into_iter().for_each(|reply| reloads.ask(reply));
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
            reloads.ask(None);
            reloads.ask(None);
            for _ in 0..100 {
                reloads.ask(Some(oneshot::channel().0));
            }
            assert!(reloads.next.as_ref().is_some_and(|next| next.len() == 1), "but for the last");
            for _ in 0..2 {
                file.send(GOOD).unwrap();
                reloads.read().await.unwrap();
                reloads.answer(&Ok(Vec::new()));
            }
            assert!(reloads.reading.is_none());
        });
    }
}
