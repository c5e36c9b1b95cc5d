//! Metrics: the page as a function, how it is served, and a director whose dashboard, alerts and
//! documentation are held against what it really shows, by Prometheus itself. Needs root.

mod alerts;
mod dashboard;
mod documentation;
mod exposition;
mod http;
mod page;
mod prometheus;
mod promql;
mod site;

#[path = "../fake_director/mod.rs"]
mod fake_director;
#[path = "../support/mod.rs"]
mod support;
