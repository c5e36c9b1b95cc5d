//! Reloads: reads of the configuration file on a blocking thread, one at a time, and the clients that wait for them.
//!
//! File systems may be slow and large files take time to parse; ARP, changes and queries go on meanwhile.

use super::{ConfigFile, History, ReadConfig, ReloadOutcome};
use crate::control::log::audit::{self, Origin};
use crate::model::{BackendChoice, Config, Diagnostic, Diagnostics};
use std::sync::Arc;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// The channel for the reply to a client.
pub(in crate::control) type ReloadReply = oneshot::Sender<ReloadOutcome>;

/// A request for a reload.
struct ReloadRequest {
    origin: Origin,
    /// `None` for a signal, which gets no reply.
    reply: Option<ReloadReply>,
}

impl ReloadRequest {
    /// Returns false once its client has disconnected.
    fn is_pending(&self) -> bool {
        self.reply.as_ref().is_none_or(|reply| !reply.is_closed())
    }
}

/// The read in progress, if any, with the requests for it and for the next one.
pub(in crate::control) struct ReloadQueue {
    file: Arc<ConfigFile>,
    history: History,
    /// Backend of the command line, which overrides the file's.
    backend: Option<BackendChoice>,
    reading: Option<JoinHandle<Result<Config, Diagnostics>>>,
    /// Requests from before the read began.
    waiting: Vec<ReloadRequest>,
    /// Requests since: the file may have changed after it was read, so it is read once more for them.
    next: Vec<ReloadRequest>,
}

impl ReloadQueue {
    pub(in crate::control) fn new(read: ReadConfig, backend: Option<BackendChoice>) -> Self {
        let (file, history) = (Arc::new(ConfigFile::new(read)), History::new());
        Self { file, history, backend, reading: None, waiting: Vec::new(), next: Vec::new() }
    }

    pub(in crate::control) fn file(&self) -> Arc<ConfigFile> {
        Arc::clone(&self.file)
    }

    pub(in crate::control) fn history(&self) -> &History {
        &self.history
    }

    /// Returns another file's configuration with the overrides of the command line.
    pub(in crate::control) fn with_command_line(&self, mut config: Config) -> Config {
        config.director.backend = self.backend.unwrap_or(config.director.backend);
        config
    }

    /// Requests a reload, which begins now or after the present read.
    pub(in crate::control) fn request(&mut self, origin: Origin, reply: Option<ReloadReply>) {
        let request = ReloadRequest { origin, reply };
        if self.reading.is_none() {
            return self.begin(vec![request]);
        }
        self.next.retain(ReloadRequest::is_pending); // clients have a timeout
        let is_repeated = request.reply.is_none() && self.next.iter().any(|other| other.reply.is_none());
        if !is_repeated {
            self.next.push(request);
        }
    }

    fn begin(&mut self, waiting: Vec<ReloadRequest>) {
        tracing::debug!("reading the configuration file");
        let file = self.file();
        self.reading = Some(tokio::task::spawn_blocking(move || file.read()));
        self.waiting = waiting;
    }

    /// Waits for the present read; without one, without end. Cancel-safe.
    pub(in crate::control) async fn read(&mut self) -> Result<Config, Diagnostics> {
        let Some(reading) = &mut self.reading else { return std::future::pending().await };
        let read = reading.await;
        self.reading = None;
        match read {
            Ok(read) => read,
            Err(failed) => Err(Diagnostic::system("reading it has failed")
                .cause(failed.to_string())
                .remedy("this is a fault of directrix")
                .into()),
        }
    }

    /// Logs the outcome of a reload and replies to its clients, then begins the next read if one was requested.
    pub(in crate::control) fn complete(&mut self, outcome: &ReloadOutcome) {
        if let Some(first) = self.waiting.first() {
            self.history.record(&first.origin, outcome);
        }
        for (number, ReloadRequest { origin, reply }) in self.waiting.drain(..).enumerate() {
            match number {
                0 => audit::reloaded(&origin, outcome),
                _ => audit::reload_shared(&origin),
            }
            if let Some(reply) = reply {
                let _ = reply.send(outcome.clone()); // the client may have disconnected
            }
        }
        let next = std::mem::take(&mut self.next);
        if !next.is_empty() {
            self.begin(next);
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

    /// Returns a queue that reads the texts sent to the channel.
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
    fn event_loop_continues_during_a_read() {
        run(async {
            let (mut reloads, file) = reloads();
            let (reply, mut outcome) = oneshot::channel();
            assert!(timeout(A_MOMENT, reloads.read()).await.is_err(), "nothing is requested");
            reloads.request(Origin::hangup(), Some(reply));
            // Each time the loop handles another event.
            for _ in 0..3 {
                assert!(timeout(A_MOMENT, reloads.read()).await.is_err());
                assert!(outcome.try_recv().is_err());
            }
            file.send(GOOD).unwrap();
            assert_eq!(reloads.read().await.unwrap().director.interface, "eth0");
            reloads.complete(&Ok(vec!["something".into()]));
            assert_eq!(outcome.await.unwrap(), Ok(vec!["something".to_owned()]));
        });
    }

    #[test]
    fn request_during_a_read_causes_another() {
        run(async {
            let (mut reloads, file) = reloads();
            let ([first, second, third], [a, b, c]) = {
                let pairs = [(); 3].map(|()| oneshot::channel());
                let [(a, ra), (b, rb), (c, rc)] = pairs;
                ([ra, rb, rc], [a, b, c])
            };
            reloads.request(Origin::hangup(), Some(a));
            [Some(b), None, Some(c)].into_iter().for_each(|reply| reloads.request(Origin::hangup(), reply));
            file.send("[director").unwrap();
            let wrong = reloads.read().await.unwrap_err();
            assert_eq!((wrong.0[0].line(), wrong.0.len()), (1, 1), "{wrong}");
            reloads.complete(&Err(wrong.clone()));
            assert_eq!(first.await.unwrap(), Err(wrong));
            file.send(GOOD).unwrap();
            reloads.read().await.unwrap();
            reloads.complete(&Ok(Vec::new()));
            assert_eq!((second.await.unwrap(), third.await.unwrap()), (Ok(Vec::new()), Ok(Vec::new())));
            assert!(timeout(A_MOMENT, reloads.read()).await.is_err(), "once for all of them");
        });
    }

    #[test]
    fn signals_are_merged_and_disconnected_clients_dropped() {
        run(async {
            let (mut reloads, file) = reloads();
            for _ in 0..100 {
                reloads.request(Origin::hangup(), None);
            }
            for _ in 0..100 {
                reloads.request(Origin::hangup(), Some(oneshot::channel().0));
            }
            assert_eq!(reloads.next.len(), 2, "one signal, and the last client");
            for _ in 0..2 {
                file.send(GOOD).unwrap();
                reloads.read().await.unwrap();
                reloads.complete(&Ok(Vec::new()));
            }
            assert!(reloads.reading.is_none());
        });
    }
}
