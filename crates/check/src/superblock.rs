//! The superblock and its copy: each sound, both the same.
//!
//! Block 0 counts; the copy serves if block 0 is damaged. What may be in either is verified by `format`, so all that is
//! left to compare are the bytes of the two.

use format::{BLOCK_SIZE, Block, Superblock, features};
use pool::Pool;

use crate::report::{Findings, Place};

/// Where the fields are whose value nothing else tells; all others are known by their own checks.
const FIELDS: &[(usize, &str)] = &[
    (0, "magic"),
    (8, "crc"),
    (12, "version"),
    (16, "compat"),
    (24, "ro_compat"),
    (32, "incompat"),
    (40, "uuid"),
    (56, "label"),
    (88, "pool_len"),
    (96, "unit_blocks"),
    (100, "group_blocks"),
    (104, "ring_first"),
    (112, "ring_blocks"),
    (120, "groups_first"),
    (128, "group_count"),
    (132, "block_bytes"),
    (136, "root"),
    (144, "made_seconds"),
    (152, "made_nanos"),
    (156, "reserved_a"),
    (160, "name_salt"),
    (168, "reserved_b"),
];
/// After magic and checksum, which differ whenever anything does.
const CONTENT_AT: usize = 12;

/// Both superblocks.
#[derive(Debug)]
pub(crate) struct Pair {
    /// The one that counts.
    pub good: Superblock,
    /// Block 0 is as it must be.
    pub first_is_sound: bool,
    /// The copy is as it must be, and the same.
    pub backup_is_sound: bool,
}

/// The last whole block of a pool.
pub(crate) fn backup_block(pool: &dyn Pool) -> Block {
    Block((pool.len() / BLOCK_SIZE as u64).saturating_sub(1))
}

/// Reads and compares both. Nothing if neither can be used; then a fatal finding says why.
pub(crate) fn read(pool: &dyn Pool, out: &mut Findings) -> Option<Pair> {
    if pool.len() < format::limits::POOL_BYTES_MIN {
        let text = format!("{} bytes are too few for a pool", pool.len());
        out.fatal("pool-length", Place::default().field("pool_len"), text);
        return None;
    }
    let first_at = Block(0);
    let backup_at = backup_block(pool);
    let read = |at: Block| *Superblock::from_bytes(&crate::view::read_raw(pool, at));
    let (first, backup) = (read(first_at), read(backup_at));
    let of_backup = backup.verify(backup_at);
    let of_first = first.verify(first_at);
    // A newer format is no damage: its copy must not make an older program believe that it understands the pool.
    let newer = first.version.get() > features::VERSION || first.incompat.get() & !features::INCOMPAT_KNOWN != 0;
    let pair = match (of_first, &of_backup) {
        (Ok(_), Ok(_)) => Pair { good: first, first_is_sound: true, backup_is_sound: same(&first, &backup, out) },
        (Ok(_), Err(error)) => {
            let place = Place::block(backup_at).field_of(error);
            out.error("backup-superblock", place, format!("{error}; block 0 is sound"));
            Pair { good: first, first_is_sound: true, backup_is_sound: false }
        }
        (Err(error), Ok(_)) if !(newer && error.why.contains("newer")) => {
            let place = Place::block(first_at).field_of(&error);
            out.error("superblock", place, format!("{error}; its backup is sound"));
            Pair { good: backup, first_is_sound: false, backup_is_sound: true }
        }
        (Err(error), _) => {
            out.fatal("superblock", Place::block(first_at).field_of(&error), error.to_string());
            return None;
        }
    };
    let good_at = if pair.first_is_sound { first_at } else { backup_at };
    if pair.good.pool_len.get() != pool.len() {
        let text = format!("the pool is {} bytes long, and was made with {}", pool.len(), pair.good.pool_len.get());
        out.fatal("pool-length", Place::block(good_at).field("pool_len"), text);
        return None;
    }
    warnings(&pair.good, good_at, out);
    Some(pair)
}

fn same(first: &Superblock, backup: &Superblock, out: &mut Findings) -> bool {
    let differs = |at: &usize| first.as_bytes()[*at] != backup.as_bytes()[*at];
    let Some(at) = (CONTENT_AT..BLOCK_SIZE).find(differs) else { return true };
    let field = FIELDS.iter().rev().find(|(start, _)| *start <= at).map_or("magic", |(_, field)| field);
    let place = Place::block(Block(first.pool_len.get() / BLOCK_SIZE as u64 - 1)).field(field);
    out.error("backup-superblock", place, "the backup differs from the superblock in block 0, and both are sound");
    false
}

fn warnings(good: &Superblock, at: Block, out: &mut Findings) {
    let reserved_b = good.reserved_b.iter().any(|byte| *byte != 0);
    for (field, bad) in [("reserved_a", good.reserved_a.get() != 0), ("reserved_b", reserved_b)] {
        if bad {
            out.warning("reserved", Place::block(at).field(field), "bytes that should be zero are not");
        }
    }
    for (field, unknown) in [
        ("compat", good.compat.get() & !features::COMPAT_KNOWN),
        ("ro_compat", good.ro_compat.get() & !features::RO_COMPAT_KNOWN),
    ] {
        if unknown != 0 {
            let text = format!("features {unknown:#x} that this program does not know");
            out.warning("features", Place::block(at).field(field), text);
        }
    }
}
