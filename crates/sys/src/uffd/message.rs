//! What the kernel tells about traps: messages of 32 bytes.
//!
//! They are taken apart by position instead of through the kernel's union of
//! structs, so that no bits are ever read as a type that they are not.

use linux_raw_sys::general::{
    UFFD_EVENT_PAGEFAULT, UFFD_EVENT_REMAP, UFFD_PAGEFAULT_FLAG_WP, UFFD_PAGEFAULT_FLAG_WRITE,
};

/// Bytes of one message.
pub(super) const BYTES: usize = 32;

/// One message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Message {
    /// A thread sleeps at a trap.
    Fault(Fault),
    /// A trap was put over a range of addresses; nothing to do.
    Put {
        /// First address.
        to: usize,
        /// Bytes.
        len: usize,
    },
    /// Something that was not asked for: its number.
    Other(u8),
}

/// A touched trap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The exact address.
    pub address: usize,
    /// Load or store.
    pub touch: Touch,
    /// Which trap it was.
    pub kind: FaultKind,
    /// The thread that sleeps, as the kernel numbers it.
    pub thread: u32,
}

/// How a trap was touched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Touch {
    /// By a load.
    Load,
    /// By a store.
    Store,
}

/// Which trap was touched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FaultKind {
    /// An empty page.
    Missing,
    /// A page, or a hole that reads as zeros, with trapped stores.
    WriteProtect,
}

impl Message {
    /// Takes one message apart.
    pub(super) fn parse(bytes: &[u8]) -> Message {
        match u32::from(bytes[0]) {
            UFFD_EVENT_PAGEFAULT => Message::Fault(Fault {
                address: word(bytes, 16) as usize,
                touch: match word(bytes, 8) & u64::from(UFFD_PAGEFAULT_FLAG_WRITE) {
                    0 => Touch::Load,
                    _ => Touch::Store,
                },
                kind: match word(bytes, 8) & u64::from(UFFD_PAGEFAULT_FLAG_WP) {
                    0 => FaultKind::Missing,
                    _ => FaultKind::WriteProtect,
                },
                thread: word(bytes, 24) as u32,
            }),
            UFFD_EVENT_REMAP => Message::Put { to: word(bytes, 16) as usize, len: word(bytes, 24) as usize },
            _ => Message::Other(bytes[0]),
        }
    }
}

fn word(bytes: &[u8], at: usize) -> u64 {
    let mut word = [0; 8];
    word.copy_from_slice(&bytes[at..at + 8]);
    u64::from_ne_bytes(word)
}
