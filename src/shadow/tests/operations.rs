//! Operations of the writer against a naive map, and the words of keys and values.

use super::*;

fn runs<K: ShadowKey + Debug>(key: fn(u32) -> K, capacity: usize, keys: u32, operations: &[Operation]) {
    let (mut writer, mut model) = (new_writer(capacity), Model::new(key));
    for operation in operations {
        model.apply(&mut writer, operation);
        model.compare(&writer, keys);
    }
}

proptest! {
    #![proptest_config(cases(150))]

    #[test]
    fn a_table_does_as_a_map_does(capacity in 1usize..60, operations in operations(64, 150)) {
        runs(compact_key, capacity, 64, &operations);
        runs(wide_key, capacity, 64, &operations);
        runs(colliding_key, capacity, 64, &operations);
    }

    #[test]
    fn a_value_is_a_word(word in any::<u64>()) {
        let state = (word >> 8) as u8;
        let value = ShadowValue::from_word(word);
        prop_assert_eq!(value.is_some(), usize::from(state) < ConnState::COUNT);
        prop_assert_eq!(value.map(ShadowValue::to_word), value.map(|_| word));
    }
}

fn fills<K: ShadowKey + Debug>(key: fn(u32) -> K) {
    for capacity in [1, 2, 3, 10, 1024, 100_000] {
        let mut writer = new_writer(capacity);
        let value = |n: u32| value(n as u16, NOW.after(900));
        for n in 0..capacity as u32 {
            assert_eq!(writer.put(key(n), value(n), NOW), Stored::Placed, "{n} of {capacity}");
        }
        assert_eq!(writer.put(key(u32::MAX), value(7), NOW), Stored::Full);
        let reader = writer.reader();
        assert!((0..capacity as u32).all(|n| reader.find(key(n), NOW) == Some(value(n))));
        assert_eq!(writer.len(), capacity);
    }
}

#[test]
fn a_table_fills_to_its_capacity() {
    fills(compact_key);
    fills(wide_key);
    fills(colliding_key);
}

#[test]
fn a_bucket_fills_whole_cache_lines() {
    assert_eq!([bucket_words::<V4Key>() * 8, bucket_words::<WideKey>() * 8], [64, 128]);
}

/// The words are in files of other versions: a change needs another version of the layout.
#[test]
fn words_of_values_and_states_never_change() {
    let (state, owner) = (ConnState::Established, Some(3));
    let deadline = SecondTick::new(0x00ab_cdef);
    let value = ShadowValue { deadline, owner, server: ServerId(0x1234), state, template: 5 };
    assert_eq!(value.to_word(), 0xabcd_ef03_1234_0105);
    assert_eq!(ShadowValue { owner: None, ..value }.to_word(), 0xabcd_efff_1234_0105);
    let names: Vec<_> = ConnState::ALL.iter().map(|state| format!("{state:?}")).collect();
    let expected = "None Established SynSent SynRecv FinWait TimeWait Close CloseWait LastAck Listen SynAck Udp UdpNew \
                    SynRecvAgain SynRecvReset SctpNone SctpInit1 SctpInit SctpCookieSent SctpCookieReplied \
                    SctpCookieWait SctpCookie SctpCookieEchoed SctpEstablished SctpShutdownSent SctpShutdownReceived \
                    SctpShutdownAckSent SctpRejected SctpClosed";
    assert_eq!(names.join(" "), expected);
    assert!(ConnState::ALL.iter().enumerate().all(|(number, state)| *state as usize == number));
}

/// Likewise the words of keys, and the buckets that they hash to.
#[test]
fn words_and_buckets_of_keys_never_change() {
    let compact = new_writer::<V4Key>(1000);
    let wide = new_writer::<WideKey>(1000);
    let key = V4Key::new(Ipv4Addr::new(192, 0, 2, 1), 40000, MatchId(7));
    let wide_key = WideKey::new(Ipv4Addr::new(192, 0, 2, 1).into(), 40000, MatchId(7), 80);
    if cfg!(target_endian = "little") {
        assert_eq!(!key.words().0, 0x0102_00c0_409c_0007);
        assert_eq!(wide_key.words(), (!0xd577_0050_9c40_0007, [0, 0x0102_00c0_ffff_0000]));
        assert_eq!((compact.table.both(key), wide.table.both(wide_key)), ([258, 115], [227, 258]));
    }
}

#[test]
fn a_wide_key_needs_no_memory_beyond_its_pages() {
    let mut writer = new_writer::<WideKey>(100_000);
    writer.put(wide_key(1), value(1, NOW.after(60)), NOW);
    let blank = (0..writer.buckets()).filter(|bucket| writer.table.stripes.is_blank(*bucket)).count();
    assert_eq!(writer.buckets() - blank, 32, "one page of 4 KiB has 32 buckets");
}
