//! The tree against a `BTreeMap`, extents against a page-by-page model.

use std::collections::BTreeMap;

use format::InodeRecord;
use pool::Durability;
use proptest::prelude::*;

use crate::meta::tests::{change, data, made};
use crate::meta::tree::{Cursor, Root, RootMut};
use crate::meta::tx::{BlockRun, TxSize};
use crate::meta::{Ino, KIND_DIRECTORY, Meta, extents, tree};
use crate::types::{Kind, RunState};

fn new_inode(meta: &Meta, kind: Kind) -> Ino {
    change(meta, TxSize::Small, |tx, held| {
        let (ino, generation) = tx.alloc_inode(held, meta.root())?;
        tx.set_inode(&InodeRecord::new(ino, generation, kind.mode_bits()));
        Ok(ino)
    })
    .unwrap()
    .0
}

fn root_mut(rec: &mut InodeRecord) -> RootMut<'_> {
    RootMut { owner: rec.ino(), kind: KIND_DIRECTORY, bytes: rec.inline_area_mut(), nodes: 0 }
}

fn all(meta: &Meta, ino: Ino) -> Vec<(u64, Vec<u8>)> {
    let rec = meta.inode(ino).unwrap();
    let root = Root { owner: ino, kind: KIND_DIRECTORY, bytes: rec.inline_area() };
    let mut cursor = Cursor::new(meta, root).unwrap();
    cursor.seek(0).unwrap();
    let mut entries = Vec::new();
    while let Some((key, value)) = cursor.entry() {
        entries.push((key, value.to_vec()));
        cursor.advance().unwrap();
    }
    entries
}

/// Inserts, replaces or removes keys; values are as long as names can be, so that nodes split and merge often.
fn step(meta: &Meta, ino: Ino, model: &mut BTreeMap<u64, Vec<u8>>, ops: &[(u8, u64, u8)]) {
    for (what, key, len) in ops {
        let value = vec![*len; 9 + usize::from(*len)];
        let result = change(meta, TxSize::Small, |tx, held| {
            let mut rec = *tx.inode(ino)?;
            let mut root = root_mut(&mut rec);
            match what {
                0..=4 => tree::insert(tx, held, &mut root, *key, &value)?,
                5 => tree::replace(tx, held, &mut root, *key, &value)?,
                _ => tree::remove(tx, &mut root, *key)?,
            }
            let nodes = root.nodes;
            let blocks = rec.blocks().checked_add_signed(nodes).unwrap();
            rec.set_blocks(blocks);
            tx.set_inode(&rec);
            Ok(())
        });
        match what {
            0..=4 if !model.contains_key(key) => drop(model.insert(*key, value)),
            5 if model.contains_key(key) => drop(model.insert(*key, value)),
            6.. if model.contains_key(key) => drop(model.remove(key)),
            _ => {
                assert!(result.is_err());
                continue;
            }
        }
        result.unwrap();
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]
    #[test]
    fn a_tree_holds_what_a_map_holds(
        grow in prop::collection::vec((0_u8..6, 0_u64..4000, 0_u8..=250), 1500),
        shrink in prop::collection::vec((4_u8..12, 0_u64..4000, 0_u8..=250), 3000),
    ) {
        let meta = made(Durability::Volatile);
        let ino = new_inode(&meta, Kind::Directory);
        let used = meta.statfs().free_blocks;
        let mut model = BTreeMap::new();
        for ops in [grow, shrink] {
            step(&meta, ino, &mut model, &ops);
            let expected: Vec<_> = model.iter().map(|(key, value)| (*key, value.clone())).collect();
            prop_assert_eq!(&all(&meta, ino), &expected);
            let rec = meta.inode(ino).unwrap();
            let root = Root { owner: ino, kind: KIND_DIRECTORY, bytes: rec.inline_area() };
            for key in (0..4100).step_by(97) {
                let mut cursor = Cursor::new(&*meta, root).unwrap();
                cursor.seek_floor(key).unwrap();
                prop_assert_eq!(cursor.entry().map(|(key, _)| key), model.range(..=key).next_back().map(|(key, _)| *key));
                cursor.seek(key).unwrap();
                prop_assert_eq!(cursor.entry().map(|(key, _)| key), model.range(key..).next().map(|(key, _)| *key));
            }
            prop_assert_eq!(meta.statfs().free_blocks + rec.blocks(), used);
        }
        let rest: Vec<_> = model.keys().map(|key| (9, *key, 0)).collect();
        step(&meta, ino, &mut model, &rest);
        prop_assert_eq!(meta.inode(ino).unwrap().blocks(), 0);
        prop_assert_eq!(meta.statfs().free_blocks, used, "an emptied tree owns no nodes");
    }

    #[test]
    fn extents_map_what_a_page_by_page_model_maps(
        ops in prop::collection::vec((0_u8..9, 0_u64..600, 1_u64..40), 300),
    ) {
        let meta = made(Durability::Volatile);
        let ino = new_inode(&meta, Kind::File);
        let mut model: BTreeMap<u64, (u64, bool)> = BTreeMap::new();
        for (what, page, len) in ops {
            apply(&meta, ino, &mut model, (what, page, len));
            let rec = meta.inode(ino).unwrap();
            let mut found = BTreeMap::new();
            let mut at = 0;
            while let Some(run) = extents::next(&*meta, &rec, at).unwrap() {
                let (first, written) = match run.state {
                    RunState::Written(block) => (block.0, true),
                    RunState::Unwritten(block) => (block.0, false),
                    RunState::Hole => panic!("a mapped run is a hole"),
                };
                prop_assert_eq!(extents::lookup(&*meta, &rec, run.page).unwrap(), run);
                found.extend((0..run.pages).map(|n| (run.page + n, (first + n, written))));
                at = run.page + run.pages;
            }
            prop_assert_eq!(&found, &model);
            let rec_blocks = rec.blocks();
            prop_assert!(rec_blocks >= model.len() as u64);
            let hole = extents::lookup(&*meta, &rec, at).unwrap();
            prop_assert_eq!(hole.state, RunState::Hole);
        }
    }
}

fn apply(meta: &Meta, ino: Ino, model: &mut BTreeMap<u64, (u64, bool)>, (what, page, len): (u8, u64, u64)) {
    let range = page..page + len;
    let gap_below = |model: &BTreeMap<u64, (u64, bool)>| model.range(page.saturating_sub(len)..page).next().is_none();
    let (outcome, _) = change(meta, TxSize::Large, |tx, held| {
        let mut rec = *tx.inode(ino)?;
        let mut outcome = None;
        match what {
            0..=3 => {
                let free = model.range(range.clone()).next().is_none();
                let run = tx.alloc(held, &data(len as u32))?;
                let state = if what % 2 == 0 { extents::Mapped::Written } else { extents::Mapped::Unwritten };
                if u64::from(run.len) == len && free {
                    extents::map_range(tx, held, &mut rec, page, run, state)?;
                    outcome = Some(run);
                } else {
                    assert!(
                        free || extents::map_range(tx, held, &mut rec, page, run, state).is_err()
                            || u64::from(run.len) < len
                    );
                    return Ok(None);
                }
            }
            4 => extents::convert(tx, held, &mut rec, range.clone(), extents::Mapped::Written)?,
            5 | 6 => {
                let done = extents::unmap_range(tx, held, &mut rec, range.clone(), 1000)?;
                assert_eq!(done.next, None);
            }
            7 => extents::shift(tx, held, &mut rec, page, len as i64)?,
            _ if gap_below(model) && page >= len => extents::shift(tx, held, &mut rec, page, -(len as i64))?,
            _ => {}
        }
        tx.set_inode(&rec);
        Ok(outcome)
    })
    .unwrap_or((None::<BlockRun>, crate::meta::Seq(0)));
    match what {
        0..=3 => {
            if let Some(run) = outcome {
                model.extend((0..len).map(|n| (page + n, (run.first.0 + n, what % 2 == 0))));
            }
        }
        4 => model.range_mut(range).for_each(|(_, (_, written))| *written = true),
        5 | 6 => model.retain(|key, _| !range.contains(key)),
        _ => {
            let delta = if what == 7 { len as i64 } else { -(len as i64) };
            if what == 7 || (gap_below(model) && page >= len) {
                *model = std::mem::take(model)
                    .into_iter()
                    .map(|(key, value)| (if key >= page { key.checked_add_signed(delta).unwrap() } else { key }, value))
                    .collect();
            }
        }
    }
}
