//! Where things are: nothing overlaps, nothing leaves the pool, whatever the pool's size.

use daxle_format::{BITS_PER_BITMAP_BLOCK, BitmapKind, Block, Geometry, HeaderSlot, Ino, bit_place, limits};
use proptest::prelude::*;

/// Ranges of blocks that must not touch each other, in ascending order.
fn parts(geometry: &Geometry) -> Vec<(u64, u64)> {
    let one = |block: Block| (block.0, block.0 + 1);
    let ring = geometry.ring_first().0;
    let mut parts = vec![
        one(geometry.superblock()),
        one(geometry.journal_header(HeaderSlot::A)),
        one(geometry.journal_header(HeaderSlot::B)),
        (ring, ring + geometry.ring_blocks()),
    ];
    for group in geometry.groups() {
        parts.push(one(group.first));
        for kind in [BitmapKind::Used, BitmapKind::Inodes] {
            parts.extend((0..group.bitmap_blocks).map(|number| one(group.bitmap_block(kind, number).unwrap())));
            assert_eq!(group.bitmap_block(kind, group.bitmap_blocks), None);
        }
        parts.push((group.first_data().0, group.end().0));
    }
    parts.push(one(geometry.backup_superblock()));
    parts
}

fn check(geometry: &Geometry) {
    let parts = parts(geometry);
    for pair in parts.windows(2) {
        assert!(pair[0].1 <= pair[1].0, "{pair:?} overlap in {geometry:?}");
    }
    assert!(parts.iter().all(|(first, end)| first < end));
    assert_eq!(parts.last().unwrap().1, geometry.block_count());
    assert!(geometry.group_count() >= 1);
    assert_eq!(geometry.group(geometry.group_count()), None);
    assert!((limits::RING_BYTES_MIN..=limits::RING_BYTES_MAX).contains(&geometry.ring_bytes()));
    for group in geometry.groups() {
        assert!(group.first.0.is_multiple_of(limits::HUGE_BLOCKS));
        assert!((limits::GROUP_BLOCKS_MIN..=limits::GROUP_BLOCKS).contains(&group.blocks));
        assert!(group.blocks <= group.bitmap_blocks * BITS_PER_BITMAP_BLOCK);
        assert!(bit_place(group.blocks - 1).number < group.bitmap_blocks);
        for block in [group.first, group.first_data(), Block(group.end().0 - 1)] {
            assert_eq!(geometry.group_of(block), Some(group));
            assert_eq!(u64::from(group.bit_of(block).unwrap()), block.0 - group.first.0);
        }
        let data = group.end().0 - group.first_data().0;
        assert!(geometry.owns(group.first_data(), data));
        assert!(!geometry.owns(group.first_data(), data + 1));
        assert!(!geometry.owns(Block(group.first_data().0 - 1), 2));
        assert!(!geometry.owns(group.first_data(), 0));
    }
    assert!(geometry.owns(geometry.root().block(), 1));
    for outside in [0, 1, 2, 3, geometry.groups_first().0 - 1, geometry.block_count() - 1, u64::MAX] {
        assert_eq!(geometry.group_of(Block(outside)), None);
        assert!(!geometry.owns(Block(outside), 1));
    }
    let data: u64 = geometry.groups().map(|group| group.end().0 - group.first_data().0).sum();
    assert_eq!(geometry.usable_blocks(), data);
}

#[test]
fn the_smallest_and_the_largest_pool_have_a_geometry() {
    for unit in [1, 512] {
        check(&Geometry::new(limits::POOL_BYTES_MIN, unit).unwrap());
        check(&Geometry::new(limits::POOL_BYTES_MAX, unit).unwrap());
    }
    for len in [0, limits::POOL_BYTES_MIN - 4096, limits::POOL_BYTES_MAX + 4096, limits::POOL_BYTES_MIN + 1, u64::MAX] {
        assert!(Geometry::new(len, 1).is_err(), "{len}");
    }
    assert!(Geometry::new(limits::POOL_BYTES_MIN + 4096, 512).is_err());
    assert!(Geometry::new(limits::POOL_BYTES_MIN, 2).is_err());
}

#[test]
fn a_rest_of_less_than_a_thousand_blocks_makes_no_group() {
    let first = Geometry::new(64 << 20, 1).unwrap().groups_first().0;
    let whole = first + u64::from(limits::GROUP_BLOCKS) + 1;
    // The ring depends on the length, so the start of groups is asked again.
    for rest in [0, 1, 1022, 1023, 1024, 1025, 5000] {
        let guess = Geometry::new((whole + rest) * 4096, 1).unwrap();
        let groups = guess.groups_first().0 + u64::from(limits::GROUP_BLOCKS) + 1;
        let geometry = Geometry::new((groups + rest) * 4096, 1).unwrap();
        assert_eq!(geometry.groups_first(), guess.groups_first());
        assert_eq!(geometry.group_count(), if rest < 1024 { 1 } else { 2 }, "{rest}");
        check(&geometry);
    }
}

#[test]
fn an_inode_number_is_a_place() {
    let ino = Ino::from_parts(Block(77), 5);
    assert_eq!((ino.block(), ino.slot(), ino.offset()), (Block(77), 5, 77 * 4096 + 5 * 512));
    assert_eq!(ino.to_string(), "inode 621");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn any_length_gives_a_sound_geometry(shift in 24_u32..44, part in any::<u64>(), huge in any::<bool>()) {
        let unit = if huge { 512 } else { 1 };
        let bytes = 4096 * u64::from(unit);
        let len = ((1_u64 << shift) + part % (1 << shift)) / bytes * bytes;
        check(&Geometry::new(len, unit).unwrap());
    }

    #[test]
    fn any_block_is_in_one_group_at_most(len in 4096_u64..10_000_000, block in any::<u64>()) {
        let geometry = Geometry::new(len * 4096, 1).unwrap();
        let block = Block(block % (2 * len));
        let holders = geometry.groups().filter(|group| group.bit_of(block).is_some()).collect::<Vec<_>>();
        prop_assert_eq!(geometry.group_of(block), holders.first().copied());
        prop_assert!(holders.len() <= 1);
    }

    #[test]
    fn each_bit_has_its_own_place(bit in 0..limits::GROUP_BLOCKS) {
        let place = bit_place(bit);
        prop_assert!(place.byte < 4064 && place.mask.is_power_of_two());
        let back = place.number * BITS_PER_BITMAP_BLOCK + place.byte as u32 * 8 + place.mask.trailing_zeros();
        prop_assert_eq!(back, bit);
    }
}
