//! Superblock, groups, inodes and values: what is made is right, what is changed is noticed, and no bytes panic.

use daxle_format::{
    BitmapBlock, BitmapKind, Block, DirentValue, ExtentState, ExtentValue, FormatError, Geometry, GroupHeader,
    GroupState, INODE_BYTES, Ino, InodeRecord, JournalHeader, KIND_EXTENTS, NAME_KEY_MIN, Openable, Superblock,
    SuperblockFields, bit_place, limits, name_key,
};
use proptest::prelude::*;

const UUID: [u8; 16] = *b"0123456789abcdef";

fn geometry() -> Geometry {
    Geometry::new(3 << 30, 1).unwrap()
}

fn superblock() -> Superblock {
    let fields = SuperblockFields { uuid: UUID, label: "weights".into(), made: (1_700_000_000, 5) };
    Superblock::new(&geometry(), &fields).unwrap()
}

#[test]
fn a_superblock_gives_back_its_geometry() {
    let sb = superblock();
    assert_eq!(sb.verify(Block(0)), Ok((Openable::ReadWrite, geometry())));
    assert_eq!((sb.label_text(), sb.root_ino()), ("weights".to_string(), geometry().root()));
    for label in ["x".repeat(32), "a\0b".into()] {
        let fields = SuperblockFields { uuid: UUID, label, made: (0, 0) };
        assert!(Superblock::new(&geometry(), &fields).is_err());
    }
}

#[test]
fn every_flipped_bit_of_a_superblock_is_detected() {
    let mut bytes = *superblock().as_bytes();
    for bit in (0..200 * 8).chain((200 * 8..4096 * 8).step_by(97)) {
        bytes[bit / 8] ^= 1 << (bit % 8);
        assert!(Superblock::from_bytes(&bytes).verify(Block(0)).is_err(), "bit {bit}");
        bytes[bit / 8] ^= 1 << (bit % 8);
    }
}

#[test]
fn unknown_features_and_versions_are_answered_as_what_they_are() {
    let with = |change: &dyn Fn(&mut Superblock)| {
        let mut sb = superblock();
        change(&mut sb);
        sb.seal();
        sb.verify(Block(0)).map(|(openable, _)| openable).map_err(|error| error.why)
    };
    assert_eq!(with(&|sb| sb.compat.set(1)), Ok(Openable::ReadWrite));
    assert_eq!(with(&|sb| sb.ro_compat.set(1)), Ok(Openable::ReadOnly));
    assert_eq!(with(&|sb| sb.incompat.set(4)), Err("a newer format version: unknown features 0x4".into()));
    assert_eq!(with(&|sb| sb.version.set(2)), Err("a newer format version: 2, this program knows 1".into()));
    assert_eq!(with(&|sb| sb.version.set(0)), Err("version is 0".into()));
    assert_eq!(with(&|sb| sb.ring_first.set(4)), Err("ring_first is 4, expected 3".into()));
    assert_eq!(with(&|sb| sb.group_count.set(9)), Err("group_count is 9, expected 3".into()));
    assert!(with(&|sb| sb.pool_len.set(4096)).is_err());
    assert!(with(&|sb| sb.unit_blocks.set(0)).is_err());
    assert!(with(&|sb| sb.made_nanos.set(2_000_000_000)).is_err());
    assert!(with(&|sb| sb.label = [b'x'; 32]).is_err());
}

#[test]
fn a_group_header_belongs_to_its_group_and_no_other() {
    let geometry = geometry();
    let (first, last) = (geometry.group(0).unwrap(), geometry.group(2).unwrap());
    for state in [GroupState::Fresh, GroupState::Active] {
        let header = GroupHeader::new(&first, state);
        assert_eq!(header.verify(&first), Ok(state));
        assert_eq!(header.verify(&last).unwrap_err().why, "index is 0, expected 2");
        for bit in 0..GroupHeader::BYTES * 8 {
            let mut bytes = *header.as_bytes();
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert!(GroupHeader::from_bytes(&bytes).verify(&first).is_err(), "bit {bit}");
        }
    }
}

#[test]
fn a_bitmap_block_says_whose_it_is_and_has_no_bits_past_the_end() {
    let group = geometry().group(2).unwrap();
    let number = group.bitmap_blocks - 1;
    let mut block = BitmapBlock::new(group.index, BitmapKind::Used, number);
    let place = bit_place(group.blocks - 1);
    assert_eq!(place.number, number);
    block.bits[place.byte] |= place.mask;
    assert!(!block.crc_is_right());
    block.seal();
    assert_eq!(block.verify(&group, BitmapKind::Used, number), Ok(()));
    assert_eq!(block.verify(&group, BitmapKind::Inodes, number).unwrap_err().why, "kind is 1");
    assert_eq!(block.verify(&group, BitmapKind::Used, 0).unwrap_err().why, format!("number is {number}, expected 0"));
    assert!(block.verify(&group, BitmapKind::Used, 99).is_err());
    for past in [group.blocks, group.blocks + 9, group.bitmap_blocks * daxle_format::BITS_PER_BITMAP_BLOCK - 1] {
        let mut wrong = block;
        let place = bit_place(past);
        wrong.bits[place.byte] |= place.mask;
        wrong.seal();
        let error = wrong.verify(&group, BitmapKind::Used, number).unwrap_err();
        assert_eq!(error.why, "bits past the group's end are set");
    }
}

fn inode() -> InodeRecord {
    let mut rec = InodeRecord::new(Ino(800), 3, 0o100_644);
    rec.set_nlink(1);
    rec.set_size(10_000);
    rec.set_blocks(3);
    rec.set_mtime((-5, 999_999_999));
    let mut root = rec.inline_node_mut();
    root.clear(KIND_EXTENTS, 0);
    assert!(root.insert(0, 0, ExtentValue::new(Block(700), 3, ExtentState::Written).as_bytes()));
    rec.seal();
    rec
}

#[test]
fn an_inode_record_keeps_its_fields() {
    let rec = inode();
    assert_eq!(rec.verify(Ino(800)), Ok(()));
    assert_eq!((rec.ino(), rec.generation(), rec.mode(), rec.nlink()), (Ino(800), 3, 0o100_644, 1));
    assert_eq!((rec.size(), rec.blocks(), rec.mtime()), (10_000, 3, (-5, 999_999_999)));
    assert_eq!(
        (rec.uid(), rec.gid(), rec.rdev(), rec.change(), rec.xattr_root(), rec.parent()),
        (0, 0, 0, 0, 0, Ino(0))
    );
    assert_eq!(rec.inline_node().count(), 1);
    assert!(!rec.is_free());
}

#[test]
fn every_flipped_bit_of_an_inode_is_detected() {
    let mut bytes = *inode().as_bytes();
    for bit in 0..INODE_BYTES * 8 {
        bytes[bit / 8] ^= 1 << (bit % 8);
        assert!(InodeRecord::from_bytes(&bytes).verify(Ino(800)).is_err(), "bit {bit}");
        bytes[bit / 8] ^= 1 << (bit % 8);
    }
}

#[test]
fn a_slot_is_free_as_zeros_and_with_its_generation_kept() {
    let mut zeros = InodeRecord::zeroed();
    assert!(zeros.is_free());
    assert_eq!(zeros.verify(Ino(800)), Ok(()));
    zeros.seal();
    assert_eq!(zeros, InodeRecord::zeroed());
    let mut kept = InodeRecord::free(Ino(800), 9);
    kept.seal();
    assert!(kept.is_free());
    assert_eq!((kept.verify(Ino(800)), kept.generation()), (Ok(()), 9));
}

#[test]
fn a_wrong_inode_is_refused_with_its_reason() {
    let why = |change: &dyn Fn(&mut InodeRecord)| {
        let mut rec = inode();
        change(&mut rec);
        rec.seal();
        let error = rec.verify(Ino(800)).unwrap_err();
        assert_eq!(error.place, "inode 800");
        error.why
    };
    assert_eq!(why(&|rec| rec.ino.set(801)), "ino is 801");
    assert_eq!(why(&|rec| rec.set_mode(0o150_000)), "mode 0o150000 has no type");
    assert_eq!(why(&|rec| rec.set_mode(0o1_100_000)), "mode 0o1100000 has unknown bits");
    assert_eq!(why(&|rec| rec.set_flags(1)), "flags are 0x1");
    assert_eq!(why(&|rec| rec.set_size(u64::MAX)), "size is 18446744073709551615");
    assert_eq!(why(&|rec| rec.set_ctime((0, 1_000_000_000))), "ctime_nanos is 1000000000");
    assert_eq!(why(&|rec| rec.set_mode(0o120_777)), "size of a symbolic link is 10000");
    assert_eq!(why(&|rec| rec.set_mode(0o040_755)), "kind is 1, expected 2");
    assert_eq!(why(&|rec| rec.inline[2] = 200), "count is 200");
}

#[test]
fn values_are_read_as_written_and_refused_when_wrong() {
    let read = |block, len, state, page| {
        ExtentValue::read(ExtentValue::new(Block(block), len, state).as_bytes(), Ino(8), page)
    };
    assert_eq!(read(9, 4, ExtentState::Unwritten, 7), Ok((Block(9), 4, ExtentState::Unwritten)));
    assert!(read(9, 0, ExtentState::Written, 7).is_err());
    assert!(read(9, 2, ExtentState::Written, limits::PAGES_MAX - 1).is_err());
    assert!(read(9, 2, ExtentState::Written, u64::MAX).is_err());
    assert!(ExtentValue::read(&[0; 15], Ino(8), 0).is_err());
    let mut value = ExtentValue::new(Block(9), 1, ExtentState::Written);
    value.state.set(2);
    assert_eq!(ExtentValue::read(value.as_bytes(), Ino(8), 0).unwrap_err().why, "state is 2");

    let entry = DirentValue { ino: Ino(80), kind: 8, name: b"name" };
    let mut bytes = Vec::new();
    entry.encode(&mut bytes).unwrap();
    assert_eq!(bytes.len(), 13);
    assert_eq!(DirentValue::read(&bytes, Ino(8), 128), Ok(entry));
    for name in [&b""[..], b".", b"..", b"a/b", b"a\0", &[b'x'; 256]] {
        assert!(DirentValue { name, ..entry }.encode(&mut Vec::new()).is_err());
        let wrong = [&bytes[..9], name].concat();
        assert!(DirentValue::read(&wrong, Ino(8), 128).is_err());
    }
    for len in 0..10 {
        assert!(DirentValue::read(&bytes[..len], Ino(8), 128).is_err());
    }
    bytes[8] = 3;
    assert_eq!(DirentValue::read(&bytes, Ino(8), 128).unwrap_err().why, "type is 3");
}

#[test]
fn an_error_names_structure_place_and_reason() {
    let error = FormatError::new("tree node", Block(7), "crc is wrong");
    assert_eq!(error.to_string(), "tree node at block 7: crc is wrong");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn the_key_of_a_name_fits_a_cookie(name in prop::collection::vec(any::<u8>(), 1..255), salt in any::<u64>()) {
        let key = name_key(&name, salt);
        prop_assert!(key >= NAME_KEY_MIN && key.is_multiple_of(128));
        prop_assert!(i64::try_from(key + 128).is_ok());
        prop_assert_eq!(key, name_key(&name, salt));
    }

    #[test]
    fn no_bytes_make_a_reader_panic(seed in prop::collection::vec(any::<u8>(), 1..600), sealed in any::<bool>()) {
        let mut page = [0; 4096];
        page.iter_mut().zip(seed.iter().cycle()).for_each(|(byte, from)| *byte = *from);
        let geometry = geometry();
        let group = geometry.group(0).unwrap();
        let mut sb = *Superblock::from_bytes(&page);
        let mut bitmap = *BitmapBlock::from_bytes(&page);
        let mut rec = *InodeRecord::from_bytes(page.first_chunk().unwrap());
        if sealed {
            sb.magic = superblock().magic;
            sb.version.set(1);
            sb.incompat.set(0);
            sb.seal();
            bitmap.seal();
            rec.magic = inode().magic;
            rec.ino.set(800);
            rec.set_mode(if seed[0].is_multiple_of(2) { 0o100_000 } else { 0o040_000 });
            rec.set_flags(0);
            rec.seal();
        }
        let _ = (sb.verify(Block(0)), sb.label_text());
        let _ = (rec.verify(Ino(800)), rec.verify_form(Ino(800)));
        prop_assert!(bitmap.verify(&group, BitmapKind::Used, 0).is_err());
        prop_assert!(GroupHeader::from_bytes(page.first_chunk().unwrap()).verify(&group).is_err());
        let header = JournalHeader::from_bytes(page.first_chunk().unwrap());
        prop_assert!(header.verify(Block(1), &UUID, 1 << 20).is_err());
        let _ = ExtentValue::read(&seed, Ino(8), u64::from(seed[0]) << 56);
        let _ = DirentValue::read(&seed, Ino(8), 128);
    }
}
