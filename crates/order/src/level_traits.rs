//! The traits of levels, and the level types that `build.rs` writes from the table.
//!
//! Levels have no values.  [`Before`] holds exactly for the pairs in the transitive closure of the
//! table's edges; the traits are sealed, so that no other crate can add a pair.

pub(crate) mod sealed {
    /// Keeps [`Level`](super::Level) to the levels of the table.
    pub trait Sealed {}
}

/// A place in the lock order.
pub trait Level: sealed::Sealed + 'static {
    /// The name, as in the table.
    const NAME: &'static str;
    /// The place in the table; it grows from outer to inner.
    const RANK: u16;
    /// Whether nothing may be taken under it.
    const LEAF: bool;
}

/// A level that may be taken under anything, and under which nothing is taken.
pub trait Leaf: Level {}

/// A level of which one thread may hold several locks, taken together by
/// [`read_set`](crate::read_set) or [`write_set`](crate::write_set).
#[diagnostic::on_unimplemented(
    message = "at most one lock of level `{Self}` may be held by a thread",
    label = "the table does not permit several `{Self}` locks",
    note = "the lock order is in crates/order/src/table.rs"
)]
pub trait Several: Level {}

/// `Inner` may be taken while `Self` is the innermost level held.
#[diagnostic::on_unimplemented(
    message = "lock order: `{Inner}` may not be taken while `{Self}` is held",
    label = "takes `{Inner}` under `{Self}`",
    note = "the lock order is in crates/order/src/table.rs"
)]
pub trait Before<Inner: Level>: Level {}

/// The levels, one type each.
pub mod level {
    use super::sealed::Sealed;
    use super::{Before, Leaf, Level, Several};

    include!(concat!(env!("OUT_DIR"), "/levels.rs"));
}
