//! Slotted nodes against an ordered map, in both sizes.

use std::collections::BTreeMap;

use daxle_format::{
    Block, INLINE_BYTES, Ino, KIND_DIRECTORY, KIND_EXTENTS, NODE_BYTES, NodeMut, NodeRef, SLOT_BYTES, seal_node,
    verify_node,
};
use proptest::prelude::*;

#[derive(Debug, Clone)]
enum Step {
    Insert(u64, Vec<u8>),
    Remove(u64),
    Replace(u64, Vec<u8>),
    Compact,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let value = || prop::collection::vec(any::<u8>(), 10..=60);
    let step = prop_oneof![
        5 => (0_u64..60, value()).prop_map(|(key, value)| Step::Insert(key, value)),
        3 => (0_u64..60).prop_map(Step::Remove),
        2 => (0_u64..60, value()).prop_map(|(key, value)| Step::Replace(key, value)),
        1 => Just(Step::Compact),
    ];
    prop::collection::vec(step, 0..150)
}

fn run(node: &mut NodeMut<'_>, steps: Vec<Step>) {
    let mut model: BTreeMap<u64, Vec<u8>> = BTreeMap::new();
    for step in steps {
        let capacity = node.as_ref().capacity();
        let used: usize = model.values().map(|value| SLOT_BYTES + value.len()).sum();
        match step {
            Step::Insert(key, value) => {
                let place = node.as_ref().search(key);
                assert_eq!(place.is_ok(), model.contains_key(&key));
                if let Err(index) = place {
                    let fits = node.insert(index, key, &value);
                    assert_eq!(fits, used + SLOT_BYTES + value.len() <= capacity);
                    if fits {
                        model.insert(key, value);
                    }
                }
            }
            Step::Remove(key) => {
                let place = node.as_ref().search(key);
                assert_eq!(place.is_ok(), model.remove(&key).is_some());
                if let Ok(index) = place {
                    node.remove(index);
                }
            }
            Step::Replace(key, value) => {
                if let Ok(index) = node.as_ref().search(key) {
                    let fits = node.replace(index, &value);
                    assert_eq!(fits, used - model[&key].len() + value.len() <= capacity);
                    if fits {
                        model.insert(key, value);
                    }
                }
            }
            Step::Compact => node.compact(),
        }
        same(node.as_ref(), &model);
    }
}

fn same(node: NodeRef<'_>, model: &BTreeMap<u64, Vec<u8>>) {
    node.validate(KIND_DIRECTORY, Ino(1)).unwrap();
    let entries: Vec<_> = (0..node.count()).map(|index| (node.key(index), node.value(index))).collect();
    let expected: Vec<_> = model.iter().map(|(key, value)| (*key, &value[..])).collect();
    assert_eq!(entries, expected);
    let used: usize = model.values().map(|value| SLOT_BYTES + value.len()).sum();
    assert_eq!((node.used_bytes(), node.free_bytes()), (used, node.capacity() - used));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn a_block_node_behaves_as_an_ordered_map(steps in steps()) {
        let mut bytes = [0; NODE_BYTES];
        run(&mut NodeMut::init(&mut bytes, KIND_DIRECTORY, 0, Ino(9), Block(5)), steps);
        seal_node(&mut bytes);
        prop_assert_eq!(verify_node(&bytes, Block(5)), Ok(Ino(9)));
    }

    #[test]
    fn an_inline_root_behaves_as_an_ordered_map(steps in steps()) {
        let mut bytes = [0; INLINE_BYTES];
        let mut node = NodeMut::inline(&mut bytes);
        node.clear(KIND_DIRECTORY, 0);
        run(&mut node, steps);
    }

    #[test]
    fn any_bytes_can_be_looked_at(seed in prop::collection::vec(any::<u8>(), 1..200), key in any::<u64>()) {
        let mut block = [0; NODE_BYTES];
        let mut inline = [0; INLINE_BYTES];
        block.iter_mut().zip(seed.iter().cycle()).for_each(|(byte, from)| *byte = *from);
        inline.iter_mut().zip(seed.iter().cycle()).for_each(|(byte, from)| *byte = *from);
        for node in [NodeRef::block(&block), NodeRef::inline(&inline)] {
            let found = node.search(key);
            prop_assert!(found.unwrap_or_else(|place| place) <= node.count());
            for index in 0..=node.count() {
                let _ = (node.key(index), node.value(index), node.child(index));
            }
            let sound = [KIND_EXTENTS, KIND_DIRECTORY].map(|kind| node.validate(kind, Ino(1)).is_ok());
            prop_assert!(!(sound[0] && sound[1]) || node.count() == 0);
            let _ = (node.used_bytes(), node.free_bytes());
        }
        let _ = verify_node(&block, Block(0));
    }

    #[test]
    fn one_wrong_byte_of_a_header_or_slot_never_panics(at in 0_usize..100, byte in any::<u8>()) {
        let mut bytes = [0; NODE_BYTES];
        let mut node = NodeMut::init(&mut bytes, KIND_EXTENTS, 0, Ino(9), Block(5));
        for key in 0..5 {
            assert!(node.insert(key, key as u64, &[7; 16]));
        }
        bytes[at] = byte;
        seal_node(&mut bytes);
        if verify_node(&bytes, Block(5)).is_ok() {
            let node = NodeRef::block(&bytes);
            prop_assert!((0..node.count()).all(|index| node.value(index).len() == 16));
        }
    }
}

fn three() -> [u8; NODE_BYTES] {
    let mut bytes = [0; NODE_BYTES];
    let mut node = NodeMut::init(&mut bytes, KIND_EXTENTS, 0, Ino(9), Block(5));
    for key in 0..3 {
        assert!(node.insert(key, key as u64 * 10, &[7; 16]));
    }
    seal_node(&mut bytes);
    bytes
}

#[test]
fn each_kind_of_damage_has_its_reason() {
    let why = |damage: &dyn Fn(&mut [u8; NODE_BYTES]), at: u64| {
        let mut bytes = three();
        damage(&mut bytes);
        let error = verify_node(&bytes, Block(at)).unwrap_err();
        assert_eq!(error.what, "tree node");
        error.why
    };
    let sealed = |at: usize, value: u8| {
        move |bytes: &mut [u8; NODE_BYTES]| {
            bytes[at] = value;
            seal_node(bytes);
        }
    };
    assert_eq!(why(&|bytes| bytes[100] ^= 1, 5), "crc is wrong");
    assert_eq!(why(&|_| {}, 6), "self_block is 5");
    assert_eq!(why(&|bytes| bytes[0] = 0, 5), "magic is 0x444e5800");
    assert_eq!(why(&sealed(8, 9), 5), "kind is 9");
    assert_eq!(why(&sealed(9, 8), 5), "level is 8");
    assert_eq!(why(&sealed(11, 255), 5), "count is 65283");
    assert_eq!(why(&sealed(13, 255), 5), "heap is 65488, slots end at 68");
    assert_eq!(why(&sealed(32, 50), 5), "key 1 does not ascend");
    assert_eq!(why(&sealed(40, 0xd8), 5), "value 1 at 4064 overlaps another");
    assert_eq!(why(&sealed(42, 17), 5), "value 0 at 4080, 17 bytes, is outside of the heap");
}

#[test]
fn an_inline_root_of_zeros_is_empty_and_takes_entries() {
    let mut bytes = [0; INLINE_BYTES];
    let root = NodeRef::inline(&bytes);
    root.validate(KIND_EXTENTS, Ino(1)).unwrap();
    assert_eq!((root.count(), root.free_bytes()), (0, 312));
    let mut root = NodeMut::inline(&mut bytes);
    root.clear(KIND_EXTENTS, 0);
    let mut count = 0;
    while root.insert(count, count as u64, &[0; 16]) {
        count += 1;
    }
    assert_eq!(count, 11);
}
