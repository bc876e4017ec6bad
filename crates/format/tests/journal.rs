//! Records: what is written is read, and nothing else is taken for a record.

use daxle_format::{
    BitmapKind, Entry, HeaderSlot, Ino, JournalHeader, JournalHeaderFields, RecordBuilder, RecordHeader,
};
use daxle_format::{Block, RecordReader, U64, limits};
use proptest::prelude::*;

const UUID: [u8; 16] = *b"a pool's own uid";

/// An entry that owns its data.
#[derive(Debug, Clone)]
enum Owned {
    Bytes(u64, Vec<u8>),
    Bits(bool, u32, bool, u32, u32),
    Orphan(bool, u64),
    Snapshot(Vec<U64>),
    Count(i64),
}

impl Owned {
    fn entry(&self) -> Entry<'_> {
        match self {
            Owned::Bytes(offset, data) => Entry::Bytes { offset: *offset, data },
            Owned::Bits(set, group, used, first, count) => {
                let (group, first, count) = (*group, *first, *count);
                let which = if *used { BitmapKind::Used } else { BitmapKind::Inodes };
                if *set {
                    Entry::SetBits { group, which, first, count }
                } else {
                    Entry::ClearBits { group, which, first, count }
                }
            }
            Owned::Orphan(true, ino) => Entry::OrphanAdd { ino: Ino(*ino) },
            Owned::Orphan(false, ino) => Entry::OrphanRemove { ino: Ino(*ino) },
            Owned::Snapshot(inos) => Entry::OrphanSnapshot { inos },
            Owned::Count(inodes) => Entry::Count { inodes: *inodes },
        }
    }
}

fn entry() -> impl Strategy<Value = Owned> {
    prop_oneof![
        (0..u64::MAX / 2, prop::collection::vec(any::<u8>(), 1..100)).prop_map(|(at, data)| Owned::Bytes(at, data)),
        (any::<bool>(), any::<u32>(), any::<bool>(), 0_u32..1 << 31, 1_u32..1 << 31)
            .prop_map(|(set, group, used, first, count)| Owned::Bits(set, group, used, first, count)),
        (any::<bool>(), any::<u64>()).prop_map(|(add, ino)| Owned::Orphan(add, ino)),
        prop::collection::vec(any::<u64>().prop_map(U64::new), 0..20).prop_map(Owned::Snapshot),
        any::<i64>().prop_map(Owned::Count),
    ]
}

fn record(entries: &[Owned], seq: u64) -> Vec<u8> {
    let mut builder = RecordBuilder::new();
    for owned in entries {
        builder.push(&owned.entry());
    }
    let len = builder.len();
    let bytes = builder.finish(seq, &UUID).unwrap().to_vec();
    assert_eq!(bytes.len(), len);
    bytes
}

fn some() -> Vec<u8> {
    record(
        &[
            Owned::Bytes(4096, b"hello".to_vec()),
            Owned::Bits(true, 3, true, 100, 7),
            Owned::Bits(false, 3, false, 1, 1),
            Owned::Orphan(true, 77),
            Owned::Snapshot(vec![U64::new(1), U64::new(2)]),
            Owned::Count(-1),
        ],
        42,
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn a_record_is_read_as_it_was_written(
        entries in prop::collection::vec(entry(), 1..20),
        seq in 1..u64::MAX,
        after in prop::collection::vec(any::<u8>(), 0..64),
    ) {
        let mut bytes = record(&entries, seq);
        let len = bytes.len();
        prop_assert!(len.is_multiple_of(8));
        bytes.extend(after);
        prop_assert_eq!(RecordHeader::peek(bytes.first_chunk().unwrap(), seq), Ok(len));
        let reader = RecordReader::new(&bytes, seq, &UUID).unwrap();
        prop_assert_eq!((reader.len(), reader.seq(), reader.is_empty()), (len, seq, false));
        let written: Vec<_> = entries.iter().map(Owned::entry).collect();
        prop_assert_eq!(reader.entries().collect::<Vec<_>>(), written);
    }

    #[test]
    fn a_record_with_a_right_checksum_and_hostile_entries_never_panics(
        seed in prop::collection::vec(any::<u8>(), 16..200),
        kind in 0_u8..9,
        number in any::<u16>(),
        count in 0_u32..6,
    ) {
        let mut body = seed;
        body.resize(body.len().next_multiple_of(8), 0);
        body[0] = kind;
        body[2..4].fill(0);
        body[4..8].copy_from_slice(&u32::from(number).to_le_bytes());
        let bytes = forge(&body, count);
        if let Ok(reader) = RecordReader::new(&bytes, 9, &UUID) {
            prop_assert_eq!(reader.entries().count(), count as usize);
        }
    }

    #[test]
    fn any_bytes_can_be_read_as_a_record(bytes in prop::collection::vec(any::<u8>(), 0..200), seq in any::<u64>()) {
        prop_assert!(RecordReader::new(&bytes, seq, &UUID).is_err());
    }
}

/// A record with this body whose checksum is right.
fn forge(body: &[u8], entries: u32) -> Vec<u8> {
    let mut bytes = some()[..RecordHeader::BYTES].to_vec();
    bytes.extend_from_slice(body);
    bytes[8..16].copy_from_slice(&9_u64.to_le_bytes());
    let len = bytes.len() as u32;
    bytes[16..20].copy_from_slice(&len.to_le_bytes());
    bytes[20..24].copy_from_slice(&entries.to_le_bytes());
    let crc = daxle_format::crc::crc_seeded(&UUID, &bytes, 4);
    bytes[4..8].copy_from_slice(&crc.to_le_bytes());
    bytes
}

#[test]
fn every_truncation_is_detected() {
    let bytes = some();
    RecordReader::new(&bytes, 42, &UUID).unwrap();
    for len in 0..bytes.len() {
        assert!(RecordReader::new(&bytes[..len], 42, &UUID).is_err(), "{len}");
        let mut torn = bytes.clone();
        torn[len..].fill(0);
        // Zeros that were there already are no loss.
        assert!(torn == bytes || RecordReader::new(&torn, 42, &UUID).is_err(), "zeros from {len}");
    }
}

#[test]
fn every_flipped_bit_is_detected() {
    let mut bytes = some();
    let len = bytes.len();
    bytes.resize(len + 4096, 0xaa);
    for bit in 0..len * 8 {
        bytes[bit / 8] ^= 1 << (bit % 8);
        assert!(RecordReader::new(&bytes, 42, &UUID).is_err(), "bit {bit}");
        bytes[bit / 8] ^= 1 << (bit % 8);
    }
    RecordReader::new(&bytes, 42, &UUID).unwrap();
}

#[test]
fn records_of_another_lap_or_pool_are_refused() {
    let bytes = some();
    assert_eq!(RecordReader::new(&bytes, 43, &UUID).unwrap_err().why, "seq is 42");
    assert_eq!(RecordReader::new(&bytes, 42, &[0; 16]).unwrap_err().why, "crc is wrong");
}

#[test]
fn a_builder_can_be_used_again_and_keeps_to_the_limit() {
    let mut builder = RecordBuilder::default();
    assert!(builder.is_empty() && builder.finish(1, &UUID).is_err());
    builder.push(&Entry::Count { inodes: 1 });
    let first = builder.finish(1, &UUID).unwrap().to_vec();
    assert_eq!(RecordReader::new(builder.finish(2, &UUID).unwrap(), 2, &UUID).unwrap().seq(), 2);
    assert_eq!(builder.finish(1, &UUID).unwrap(), first);
    builder.clear();
    assert!(builder.is_empty());
    let data = vec![1; limits::RECORD_BYTES_MAX];
    builder.push(&Entry::Bytes { offset: 0, data: &data });
    assert!(builder.finish(1, &UUID).is_err());
    builder.clear();
    let inos = vec![U64::new(8); limits::SNAPSHOT_INOS_MAX];
    builder.push(&Entry::OrphanSnapshot { inos: &inos });
    assert!(RecordReader::new(builder.finish(1, &UUID).unwrap(), 1, &UUID).is_ok());
}

#[test]
fn malformed_entries_are_refused_with_their_reason() {
    let head = |kind: u8, which: u8, number: u32, value: u64| {
        let mut body = vec![kind, which, 0, 0];
        body.extend_from_slice(&number.to_le_bytes());
        body.extend_from_slice(&value.to_le_bytes());
        body
    };
    let rows = [
        (head(0, 0, 0, 0), "kind is 0"),
        (head(8, 0, 0, 0), "kind is 8"),
        (head(1, 0, 0, 0), "number is 0, with 0 bytes left"),
        (head(1, 0, 9, 0), "number is 9, with 0 bytes left"),
        (head(1, 1, 9, 0), "which is 1"),
        (head(2, 0, 0, 1 << 32), "which is 0"),
        (head(2, 1, 0, 5), "bits 5, count 0"),
        (head(3, 2, 0, u64::MAX), "bits 4294967295, count 4294967295"),
        (head(4, 0, 1, 5), "number is 1"),
        (head(6, 0, 1, 0), "number is 1, with 0 bytes left"),
        (head(6, 0, 0, 1), "value is 1"),
    ];
    for (body, why) in rows {
        let error = RecordReader::new(&forge(&body, 1), 9, &UUID).unwrap_err();
        assert_eq!((error.what, &error.why[..]), ("journal entry", why));
    }
    let two = [head(7, 0, 0, 1), head(7, 0, 0, 1)].concat();
    assert_eq!(RecordReader::new(&forge(&two, 1), 9, &UUID).unwrap_err().why, "16 bytes follow the last entry");
    let mut padded = head(1, 0, 3, 0);
    padded.extend([1, 2, 3, 0, 0, 0, 0, 1]);
    assert_eq!(RecordReader::new(&forge(&padded, 1), 9, &UUID).unwrap_err().why, "padding is not 0");
}

#[test]
fn a_header_says_what_was_put_in_and_notices_damage() {
    let ring = limits::RING_BYTES_MIN;
    let fields = JournalHeaderFields {
        generation: 7,
        tail_offset: 4096,
        tail_seq: 10,
        synced_seq: 12,
        used_blocks: 5,
        used_inodes: 6,
        witness: [9; 32],
        clean: true,
    };
    let at = Block(2);
    let header = JournalHeader::new(&fields, &UUID);
    assert_eq!(header.verify(at, &UUID, ring), Ok(fields));
    assert_eq!(HeaderSlot::of_generation(fields.generation), HeaderSlot::B);
    for bit in 0..JournalHeader::BYTES * 8 {
        let mut bytes = *header.as_bytes();
        bytes[bit / 8] ^= 1 << (bit % 8);
        assert!(JournalHeader::from_bytes(&bytes).verify(at, &UUID, ring).is_err(), "bit {bit}");
    }
    let rows = [
        (JournalHeaderFields { tail_offset: ring, ..fields }, "tail_offset"),
        (JournalHeaderFields { tail_offset: 4, ..fields }, "tail_offset"),
        (JournalHeaderFields { tail_seq: 0, ..fields }, "tail_seq"),
        (JournalHeaderFields { synced_seq: 8, ..fields }, "synced_seq"),
    ];
    for (wrong, field) in rows {
        let error = JournalHeader::new(&wrong, &UUID).verify(at, &UUID, ring).unwrap_err();
        assert!(error.why.starts_with(field), "{error}");
    }
    assert_eq!(header.verify(at, &[0; 16], ring).unwrap_err().why, "uuid is another pool's");
}
