//! The alert for services without a real server, evaluated by Prometheus while a director has none.

use crate::documentation::alerts;
use crate::prometheus::Prometheus;
use crate::site::{config, site};
use crate::support::netns::wait_until;
use crate::support::site::{EXE, SOON, Site};

impl Site {
    fn ipvsadm(&self, words: &str) {
        self.director.run(&format!("{EXE} --socket {} ipvsadm {words}", self.socket().display()));
    }
}

#[test]
fn the_alert_covers_every_way_to_have_no_server() {
    let site = site();
    let _director = site.start_and_wait(&config("metrics = \"127.0.0.1:9310\""), "");
    let prometheus = Prometheus::start(&site);
    prometheus.wait(1.0);
    let alert =
        alerts().into_iter().find(|alert| alert.contains("available_servers")).expect("it is documented");
    let firing = |port: &str| {
        let result = prometheus.query(alert);
        result.iter().any(|series| series["metric"]["port"] == port)
    };
    assert!(!firing("80") && !firing("53") && !firing("443"));

    site.ipvsadm("-e -t 10.0.0.100:80 -r 10.0.0.2 -g -w 0");
    wait_until("the alert for weight 0", SOON, || firing("80"));
    site.ipvsadm("-e -t 10.0.0.100:80 -r 10.0.0.2 -g -w 1");
    wait_until("its end", SOON, || !firing("80"));

    site.ipvsadm("-A -t 10.0.0.100:443");
    wait_until("the alert for a service without servers", SOON, || firing("443"));

    site.ipvsadm("-a -t 10.0.0.100:443 -r 10.0.0.99 -g -w 1");
    site.ipvsadm("-a -t 10.0.0.100:443 -r 10.0.0.2 -g -w 1");
    wait_until("its end", SOON, || !firing("443"));
    site.ipvsadm("-d -t 10.0.0.100:443 -r 10.0.0.2");
    wait_until("the alert for a server that does not answer", SOON, || firing("443"));
}
