//! Connection sync with other directors.

use super::page::{MetricsPage, alone};
use crate::control::api::sync::{SyncDaemonKind, SyncHelloStatus, SyncPeerStatus, SyncStatus};
use prometheus_client::encoding::EncodeGaugeValue;
use prometheus_client::registry::Unit;
use std::fmt;

pub(super) fn write(status: &SyncStatus, page: &mut MetricsPage<'_>) -> fmt::Result {
    own(status, page)?;
    peers(&status.peers, page)
}

fn own(status: &SyncStatus, page: &mut MetricsPage<'_>) -> fmt::Result {
    let runs = |kind| status.failure.is_none() && status.daemons.iter().any(|of| of.daemon == kind);
    let daemons = [SyncDaemonKind::Master, SyncDaemonKind::Backup];
    let daemons = daemons.map(|kind| ([("daemon", kind.name())], u64::from(runs(kind))));
    page.gauges(
        ("sync_running", None),
        "1 for a sync daemon that runs: master sends, backup receives.",
        daemons,
    )?;
    let help = "1 once all connections of a peer have come, or none could be asked.";
    page.gauges(("sync_complete", None), help, alone(u64::from(status.complete)))?;
    let help = "Records of own connections sent.";
    page.counters(("sync_records_sent", None), help, alone(status.records_sent))?;
    let help = "Datagrams of connection sync sent.";
    page.counters(("sync_datagrams_sent", None), help, alone(status.datagrams_sent))?;
    let help = "Datagrams of connection sync that the kernel did not take.";
    page.counters(("sync_send_failures", None), help, alone(status.send_failures))?;
    let help = "Configured peers that were never heard.";
    page.gauges(("sync_unheard_peers", None), help, alone(status.unheard.len() as u64))?;
    let refused = status.refusals.iter().map(|of| ([("reason", of.reason.clone())], of.count));
    let help = "Messages, rests of messages and records that were refused, by reason.";
    page.counters(("sync_refused", None), help, refused)
}

fn peers(peers: &[SyncPeerStatus], page: &mut MetricsPage<'_>) -> fmt::Result {
    let label = |peer: &SyncPeerStatus| [("peer", peer.address.to_string())];
    let silence = peers.iter().map(|peer| (label(peer), f64::from(peer.heard_ms) / 1000.0));
    page.gauges(
        ("sync_peer_silence", Some(Unit::Seconds)),
        "Time since the last message of the peer.",
        silence,
    )?;
    let records = peers.iter().map(|peer| (label(peer), peer.records));
    page.counters(("sync_peer_records", None), "Records that came from the peer.", records)?;
    let lost = peers.iter().map(|peer| (label(peer), peer.lost));
    page.counters(("sync_peer_lost", None), "Records of the peer that did not arrive.", lost)?;
    let help = "Connections that the peer has.";
    of_hellos(("sync_peer_connections", None), help, peers, page, |hello| {
        Some(u64::from(hello.connections))
    })?;
    let help = "Least number of connections that the peer or this director has and the other has not.";
    of_hellos(("sync_peer_difference", None), help, peers, page, |hello| hello.difference)?;
    let help = "Time by which the peer's last hello came later than its fastest one.";
    let lag = |hello: &SyncHelloStatus| Some(f64::from(hello.lag_ms) / 1000.0);
    of_hellos(("sync_peer_lag", Some(Unit::Seconds)), help, peers, page, lag)
}

/// Writes a value of each peer that says hello.
fn of_hellos<V: EncodeGaugeValue>(
    name: (&str, Option<Unit>),
    help: &str,
    peers: &[SyncPeerStatus],
    page: &mut MetricsPage<'_>,
    value: impl Fn(&SyncHelloStatus) -> Option<V>,
) -> fmt::Result {
    let samples = peers
        .iter()
        .filter_map(|peer| Some(([("peer", peer.address.to_string())], value(peer.hello.as_ref()?)?)));
    page.gauges(name, help, samples)
}
