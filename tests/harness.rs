//! Short run of the fuzz targets' checks, over random input that is close to real input. `tools/fuzz` runs
//! longer.
#![allow(missing_docs)]

mod support;

use directrix::model::ServerId;
use directrix::stats::DropReason;
use directrix::wire::icmp_error;
use proptest::prelude::*;
use proptest::sample::Index;
use std::collections::HashMap;
use std::net::{Ipv4Addr, Ipv6Addr};
use support::frames::{self, End, End6};
use support::harness::{answer, config, decide, icmp, import, ndp, packet, packet_v6, shadow, sync};

const EXAMPLE: &str = include_str!("../tools/directrix.example.toml");
const KEEPALIVED: &str = include_str!("fuzz/seeds/import/keepalived.conf");
const RULES: &str = include_str!("fuzz/seeds/import/ipvsadm.rules");
const LDIRECTORD: &str = include_str!("fuzz/seeds/import/ldirectord.cf");
const CHECKS: &str = include_str!("import/golden/keepalived.conf");
const CLIENT: End = (Ipv4Addr::new(198, 51, 100, 7), 40000);
const WEB: End = (decide::VIP, 80);
const CLIENT_V6: End6 = (Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, 7), 40000);
const WEB_V6: End6 = (Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x80), 80);

/// Configuration without a file of seeds: a failure becomes a test with a name.
fn cases(cases: u32) -> ProptestConfig {
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}

/// IPv6 frame with extension headers and a payload that are rarely right.
fn frame_v6() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(prop_oneof![3 => 0u8..8, 1 => any::<u8>()], 40..160).prop_map(|mut bytes| {
        bytes.splice(0..0, [0x02; 14]);
        packet_v6::dress(&mut bytes, true);
        bytes
    })
}

fn frame() -> impl Strategy<Value = Vec<u8>> {
    let payload = prop::collection::vec(any::<u8>(), 0..40);
    let protocol = prop_oneof![Just(6u8), Just(17), any::<u8>()];
    prop_oneof![
        (any::<u8>(), payload.clone()).prop_map(|(flags, data)| frames::tcp(CLIENT, WEB, flags, &data)),
        payload.clone().prop_map(|data| frames::udp(CLIENT, WEB, &data)),
        (protocol, payload).prop_map(|(protocol, data)| frames::ipv4(
            CLIENT.0,
            WEB.0,
            protocol,
            &data,
            |_| ()
        )),
        (any::<u8>(), prop::collection::vec(any::<u8>(), 0..40))
            .prop_map(|(flags, data)| frames::tcp_v6(CLIENT_V6, WEB_V6, flags, &data)),
        frame_v6(),
    ]
}

/// Replacement of a part of the text.
fn edited(text: &str, edits: &[(Index, usize, String)]) -> String {
    let mut letters: Vec<char> = text.chars().collect();
    for (at, length, new) in edits {
        let start = at.index(letters.len() + 1);
        let end = letters.len().min(start + length);
        letters.splice(start..end, new.chars());
    }
    letters.into_iter().collect()
}

/// Fragments of configurations, valid and invalid.
fn words() -> impl Strategy<Value = String> {
    const WORDS: &[&str] = &[
        "",
        "\n",
        "\"",
        "'''",
        "[",
        "]",
        "[[service]]\n",
        "[director]\n",
        "=",
        "#",
        "{",
        "}",
        "0",
        "-1",
        "mac",
        "weight",
        "\r",
        "\\u0007",
        "\u{7}",
        "\u{2028}",
        "é",
        "1e400",
        "0x",
        "70000",
    ];
    prop_oneof![4 => prop::sample::select(WORDS).prop_map(str::to_owned), 1 => any::<String>()]
}

/// Likewise for files of other tools.
fn slips() -> impl Strategy<Value = String> {
    const WORDS: &[&str] = &[
        "",
        " ",
        "\n",
        "\"",
        "{",
        "}",
        "}\n}\n",
        "\\",
        "\\\n",
        "#",
        "!",
        "$A",
        "${A}",
        "\n$A=$A\n",
        "\n$A=1 \\\n2\n",
        "\n@id ",
        "\n@^id ",
        "\n~SEQ(A, 1, 3) ",
        "\n~LST(A, 1, 2) ",
        "\ninclude ab\n",
        "0",
        "-1",
        "99999",
        "4294967296",
        "[::1]:80",
        "0.0.0.0/0",
        "192.0.2.0/28",
        "-m",
        "-p",
        "-f",
        "fwmark",
        "group G",
    ];
    prop_oneof![4 => prop::sample::select(WORDS).prop_map(str::to_owned), 1 => any::<String>()]
}

proptest! {
    #![proptest_config(cases(2000))]

    #[test]
    fn frames_are_read_as_etherparse_reads_them(
        mut frame in frame(),
        changes in prop::collection::vec((any::<Index>(), any::<u8>()), 0..4),
        length in any::<Index>(),
        dress in any::<u8>(),
    ) {
        for (at, value) in changes {
            let at = at.index(frame.len());
            frame[at] = value;
        }
        icmp::check(&frame);
        answer::check(&frame);
        packet::check(&frame);
        packet::check(&frame[..length.index(frame.len() + 1)]);
        frame.insert(0, dress);
        packet::check_dressed(&frame);
    }

    #[test]
    fn any_bytes_are_read_as_etherparse_reads_them(bytes in prop::collection::vec(any::<u8>(), 0..120)) {
        packet::check(&bytes);
        packet::check_dressed(&bytes);
        answer::check_dressed(&bytes);
    }

    #[test]
    fn solicitations_are_read_as_rfc_4861_demands(bytes in prop::collection::vec(prop_oneof![any::<u8>(), 0u8..4], 60..130)) {
        ndp::check(&bytes);
        ndp::check_dressed(&bytes);
        icmp::check_dressed(&bytes);
    }

    #[test]
    fn any_text_gets_a_configuration_or_errors_with_a_place(text in any::<String>()) {
        config::check(&text);
    }

    #[test]
    fn typos_in_the_example_parse_or_fail_with_a_place(
        edits in prop::collection::vec((any::<Index>(), 0usize..30, words()), 1..5),
    ) {
        config::check(&edited(EXAMPLE, &edits));
    }
}

proptest! {
    #![proptest_config(cases(5000))]

    #[test]
    fn sync_messages_are_read_as_a_kernel_reads_them(bytes in prop::collection::vec(any::<u8>(), 0..500)) {
        sync::check_dressed(&bytes);
        sync::check(&bytes);
    }

    #[test]
    fn slips_in_recorded_sync_messages_are_found(
        slips in prop::collection::vec((any::<Index>(), prop_oneof![0u8..6, any::<u8>()]), 0..4),
        cut in 0usize..4,
    ) {
        let mut message = include_str!("golden/sync/hand-08-optional-tlv.hex")
            .lines()
            .filter(|line| !line.starts_with('#'))
            .flat_map(str::split_whitespace)
            .map(|digits| u8::from_str_radix(digits, 16).unwrap())
            .collect::<Vec<_>>();
        message.truncate(message.len() - cut * 9);
        message[3] = message.len() as u8;
        for (at, byte) in slips {
            *at.get_mut(&mut message) = byte;
        }
        sync::check(&message);
    }
}

proptest! {
    #![proptest_config(cases(300))]

    #[test]
    fn any_bytes_in_the_shadow_memory_cost_entries_alone(bytes in prop::collection::vec(any::<u8>(), 0..120)) {
        shadow::check(&bytes);
    }

    #[test]
    fn any_bytes_are_imported_or_refused_with_reasons(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        import::check(&bytes);
    }

    #[test]
    fn typos_in_imported_files_are_handled(
        text in prop::sample::select(vec![KEEPALIVED, RULES, LDIRECTORD, CHECKS]),
        edits in prop::collection::vec((any::<Index>(), 0usize..30, slips()), 0..6),
    ) {
        import::check(edited(text, &edits).as_bytes());
    }
}

proptest! {
    #![proptest_config(cases(500))]

    #[test]
    fn a_director_s_books_balance_whatever_happens(life in prop::collection::vec(any::<u8>(), 0..1500)) {
        decide::check(&life);
    }
}

/// Found by the fuzz target `answer`: the head that is kept of a refused frame ended before its transport header.
#[test]
fn a_packet_behind_long_extension_headers_is_answered() {
    const LENGTH: usize = 18;
    const NEXT_HEADER: usize = 20;
    const OPTIONS: u16 = 256;
    let segment = frames::tcp_v6(CLIENT_V6, WEB_V6, frames::SYN, &[]);
    let length = u16::from_be_bytes([segment[LENGTH], segment[LENGTH + 1]]) + OPTIONS;
    let options = [&[6, 31, 1, 252][..], &[0; OPTIONS as usize - 4]].concat();
    let mut frame = [&segment[..54], &options, &segment[54..]].concat();
    frame[LENGTH..LENGTH + 2].copy_from_slice(&length.to_be_bytes());
    frame[NEXT_HEADER] = 60; // destination options
    for tags in [0, 1, 2] {
        let frame = (0..tags).fold(frame.clone(), |frame, _| frames::tagged(&frame, 100));
        answer::check(&frame);
    }
}

#[test]
fn an_error_that_quotes_sctp_is_parsed() {
    let quotes = [frames::sctp(WEB, CLIENT, &[(0, 16)]), frames::udp(WEB, CLIENT, &[0; 16])];
    for quote in quotes {
        let error = frames::icmp_error(WEB.0, &quote[14..]);
        assert!(icmp_error::parse(0x0800, &error[14..], 0).is_ok());
        icmp::check(&error);
    }
}

/// Ensures that damage is refused in the header alone, and costs the damaged entries elsewhere.
#[test]
fn a_damaged_shadow_memory_is_opened_or_refused() {
    assert_eq!(shadow::check(&[]), shadow::Survival::Opened(68));
    let whole_word = |at: u8| [0x10, at, 0x55];
    let names = [(0, "magic"), (1, "version"), (4, "boot"), (3, "size"), (6, "size"), (7, "size")];
    for (at, name) in names {
        assert_eq!(shadow::check(&whole_word(at)), shadow::Survival::Refused(name), "word {at}");
    }
    let values_of_compact =
        (0..13).flat_map(|bucket| (4..8).map(move |word| [0x12, 0, bucket * 8 + word, 0xff]));
    assert_eq!(shadow::check(&values_of_compact.collect::<Vec<_>>().concat()), shadow::Survival::Opened(28));
}

/// Ensures that the random input reaches every drop reason and verdict.
#[test]
fn random_runs_reach_every_outcome() {
    let (mut random, mut fates) = (0x9e37_79b9_7f4a_7c15_u64, HashMap::<&str, u64>::new());
    for _ in 0..300 {
        let life: Vec<u8> = (0..2000)
            .map(|_| {
                random ^= random << 13;
                random ^= random >> 7;
                random ^= random << 17;
                random as u8
            })
            .collect();
        let decide::Fates { counters, kept } = decide::check(&life);
        let mut met = |fate, count| *fates.entry(fate).or_default() += count;
        met("expired", counters.expired.get());
        met("kept", kept);
        met("evicted", counters.evicted.get());
        (0..decide::SERVERS).for_each(|id| met("forwarded", counters.server(ServerId(id)).packets.get()));
        DropReason::ALL.iter().for_each(|reason| met(reason.name(), counters.drops(*reason).get()));
    }
    let never: Vec<_> = fates.iter().filter(|(_, count)| **count == 0).map(|(fate, _)| *fate).collect();
    let not_decided_here = [
        "fragment_early",
        "hand_over_full",
        "transmit_full",
        "too_long",
        "ring_full",
        "no_buffer",
        "cut_by_driver",
        "too_long_to_receive",
        "not_delivered",
    ];
    assert!(never.iter().all(|fate| not_decided_here.contains(fate)), "{never:?}");
    assert!(fates["forwarded"] > 1000, "{fates:?}");
}
