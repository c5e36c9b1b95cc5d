//! Prometheus itself, which scrapes a director and answers queries.

use crate::support::netns::{Process, wait_until};
use crate::support::site::Site;
use serde_json::Value;
use std::fs::{self, File};
use std::time::Duration;

const START: Duration = Duration::from_secs(60);

/// A server in the director's namespace that scrapes it every second.
pub(crate) struct Prometheus<'s> {
    site: &'s Site,
    _process: Process,
}

impl<'s> Prometheus<'s> {
    /// Starts it, and waits until it has scraped `scrapes` times.
    pub(crate) fn start(site: &'s Site) -> Self {
        let config = "global: {scrape_interval: 1s}\n\
            scrape_configs: [{job_name: directrix, static_configs: [{targets: ['127.0.0.1:9310']}]}]\n";
        fs::write(site.file("prometheus.yml"), config).unwrap();
        let place = site.place.path().display();
        let run = format!(
            "exec prometheus --config.file={place}/prometheus.yml --storage.tsdb.path={place}/data \
             --web.listen-address=127.0.0.1:9090"
        );
        let [out, err] = ["out", "err"].map(|name| File::create(site.file(name)).unwrap());
        let process = Process(site.director.command(&run).stdout(out).stderr(err).spawn().unwrap());
        Self { site, _process: process }
    }

    /// Waits until the director was scraped so often, without a failure.
    pub(crate) fn wait(&self, scrapes: f64) {
        wait_until("prometheus, of Debian's package, which tools/setup --tests installs", START, || {
            std::thread::sleep(Duration::from_millis(200));
            self.number("count_over_time(up[5m])").is_some_and(|count| count >= scrapes)
        });
        assert_eq!(self.number("min_over_time(up[5m])"), Some(1.0), "a scrape failed");
    }

    /// The result of an instant query.
    #[track_caller]
    pub(crate) fn query(&self, expression: &str) -> Vec<Value> {
        let answer = self.request(expression).expect("an answer");
        assert_eq!(answer["status"], "success", "{expression}: {answer}");
        match answer["data"]["resultType"].as_str() {
            Some("vector") => answer["data"]["result"].as_array().unwrap().clone(),
            _ => vec![answer["data"]["result"].clone()],
        }
    }

    /// The value of the only series; `None` while Prometheus does not answer, or has none.
    fn number(&self, expression: &str) -> Option<f64> {
        self.request(expression)?["data"]["result"][0]["value"][1].as_str()?.parse().ok()
    }

    fn request(&self, expression: &str) -> Option<Value> {
        fs::write(self.site.file("query"), expression).unwrap();
        let file = self.site.file("query").display().to_string();
        let answer = self.site.director.run(&format!(
            "curl -sS --max-time 20 --data-urlencode query@{file} http://127.0.0.1:9090/api/v1/query \
             2>/dev/null || true"
        ));
        serde_json::from_str(&answer).ok()
    }
}
