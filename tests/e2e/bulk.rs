//! Bulk transfers in both directions, compared byte for byte.

use crate::deployment::{Deployment, Plan, VIP};
use crate::director::{Config, Director};
use crate::http::HTTP;
use crate::on_both_backends;
use crate::peers::Peers;
use std::path::Path;

on_both_backends! {
    a_hundred_megabytes_arrive_unchanged_each_way
    jumbo_frames_arrive_unchanged_each_way
}

const SIZE: usize = 100 << 20;

fn a_hundred_megabytes_arrive_unchanged_each_way(backend: &str) {
    let deployment = Deployment::reference();
    let peers = Peers::start(&deployment);
    let director = Director::start(&deployment, &Config::new(backend));
    upload_and_download(&deployment, &peers, SIZE);
    let [[_, packets, _, bytes, _], ..] = director.stats(HTTP)[..] else { panic!() };
    let [first, second] = deployment.arrived();
    assert_eq!((first + second).packets, packets);
    assert_eq!((first + second).bytes, bytes);
    assert!(bytes > SIZE as u64 && bytes / packets <= 1500, "{packets} packets, {bytes} bytes");
    assert_eq!(deployment.replies_on_director().packets, 0);
}

fn jumbo_frames_arrive_unchanged_each_way(backend: &str) {
    let deployment = Deployment::reference();
    deployment.set_mtu(9000);
    let peers = Peers::start(&deployment);
    let director = Director::start(&deployment, &Config::new(backend));
    upload_and_download(&deployment, &peers, SIZE / 5);
    let [[_, packets, _, bytes, _], ..] = director.stats(HTTP)[..] else { panic!() };
    let [first, second] = deployment.arrived();
    assert_eq!(((first + second).packets, (first + second).bytes), (packets, bytes));
    // Frames of 9,000 bytes of the upload, and 52-byte ACKs of the download.
    assert!(bytes / packets > 1500, "{packets} packets, {bytes} bytes");
}

/// AF_PACKET passes on the offloads of a local sender: unfinished checksums, and segments of up to 64 KiB.
#[test]
fn af_packet_forwards_unfinished_and_merged_segments() {
    let deployment = Deployment::new(Plan { client_offloads: true, ..Plan::REFERENCE });
    let peers = Peers::start(&deployment);
    let director = Director::start(&deployment, &Config::new("packet"));
    upload_and_download(&deployment, &peers, SIZE);
    let [[_, packets, _, bytes, _], ..] = director.stats(HTTP)[..] else { panic!() };
    assert!(bytes / packets > 3000, "some segments are merged: {packets} packets, {bytes} bytes");
    assert_eq!(director.dropped("too_long"), 0);
}

/// Uploads a file to one of the real servers by HTTP, and downloads it from either.
pub(crate) fn upload_and_download(deployment: &Deployment, peers: &Peers, size: usize) {
    let place = tempfile::tempdir().unwrap();
    let (blob, back) = (place.path().join("blob"), place.path().join("back"));
    std::fs::write(&blob, noise(size)).unwrap();
    let url = format!("http://{VIP}/files/blob");
    let curl = format!("curl -sS --fail --max-time 60 {url}");
    deployment.client.run(&format!("{curl} -H Expect: -T {}", blob.display()));
    let copies = peers.nginx.each_ref().map(|nginx| nginx.files().join("blob"));
    let [kept, other] = if copies[0].exists() { copies } else { [copies[1].clone(), copies[0].clone()] };
    assert!(!other.exists(), "one server has it");
    assert!(same(&blob, &kept), "the upload differs");
    std::fs::hard_link(&blob, other).unwrap();
    deployment.client.run(&format!("{curl} -o {}", back.display()));
    assert!(same(&blob, &back), "the download differs");
}

fn same(a: &Path, b: &Path) -> bool {
    std::fs::read(a).unwrap() == std::fs::read(b).unwrap()
}

/// Pseudo-random bytes (xorshift64): loss, repetition and reordering change the file.
fn noise(len: usize) -> Vec<u8> {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut bytes = Vec::with_capacity(len);
    while bytes.len() < len {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes
}
