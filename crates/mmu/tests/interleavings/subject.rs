//! What the scenarios run on: one file of some file system that uses the engine's fault path, and the
//! windows onto it. There are two subjects: a block map made for these tests (`mini`), whose space of
//! schedules is small, and the engine's own file system (`whole`).

use std::ops::Range;

use engine::dax::{Access, Eager, FaultError, Mmu, Served, WindowId, WindowKind, Writable};
use mmu::soft::{AccessError, SoftWindow, Translation};
use order::sync::Arc;
use pool::Durability;

use crate::watched::{BLOCK_BYTES, Memory};

/// What stands behind a page when nothing runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Behind {
    Hole,
    Unwritten(u64),
    Written(u64),
}

/// One file, with everything that can be done to it.
pub trait Subject: Send + Sync + Sized + 'static {
    /// An empty file in a pool of this class with room for at least this many blocks of data.
    fn new(durability: Durability, blocks: u64) -> Arc<Self>;

    fn memory(&self) -> &Arc<Memory>;

    fn read(&self, at: u64, len: usize) -> Vec<u8>;
    fn write(&self, at: u64, bytes: &[u8]);
    fn truncate(&self, size: u64);
    fn punch(&self, pages: Range<u64>);
    fn collapse(&self, pages: Range<u64>);
    fn insert(&self, pages: Range<u64>);
    fn zero(&self, pages: Range<u64>);
    fn allocate(&self, pages: Range<u64>);
    fn sync(&self);

    fn attach(&self, window: Arc<dyn Mmu>, eager: Eager) -> Result<WindowId, FaultError>;
    fn detach(&self, id: WindowId);
    fn fault(&self, id: WindowId, page: u64, access: Access) -> Result<Served, FaultError>;

    // When nothing runs:
    fn size(&self) -> u64;
    fn behind(&self, page: u64) -> Behind;
    fn is_marked(&self, page: u64) -> bool;
    /// No lock held, nobody waits, the block map and the bitmap agree.
    fn assert_sound(&self);
}

/// A window onto the subject's file.
#[derive(Debug)]
pub struct Mapping<S: Subject> {
    subject: Arc<S>,
    pub window: Arc<SoftWindow>,
    id: WindowId,
}

impl<S: Subject> Clone for Mapping<S> {
    fn clone(&self) -> Self {
        Self { subject: Arc::clone(&self.subject), window: Arc::clone(&self.window), id: self.id }
    }
}

pub const LAZY: Eager = Eager { translations_max: 0 };
pub const EAGER: Eager = Eager { translations_max: 100 };

impl<S: Subject> Mapping<S> {
    /// Maps `pages`; nothing is translated but what lies past the end.
    pub fn new(subject: &Arc<S>, kind: WindowKind, pages: Range<u64>) -> Self {
        Self::with(subject, kind, pages, LAZY)
    }

    pub fn with(subject: &Arc<S>, kind: WindowKind, pages: Range<u64>, eager: Eager) -> Self {
        let window = SoftWindow::new(subject.memory().for_programs(), pages, kind);
        let mmu: Arc<dyn Mmu> = Arc::<SoftWindow>::clone(&window);
        let id = subject.attach(mmu, eager).expect("attach");
        Self { subject: Arc::clone(subject), window, id }
    }

    pub fn load(&self, at: u64) -> Result<u8, AccessError> {
        let serve = |page: u64, access: Access| self.subject.fault(self.id, page, access);
        self.window.load(at, &serve)
    }

    pub fn store(&self, at: u64, byte: u8) -> Result<(), AccessError> {
        let serve = |page: u64, access: Access| self.subject.fault(self.id, page, access);
        self.window.store(at, byte, &serve)
    }

    pub fn detach(&self) {
        self.subject.detach(self.id);
    }

    /// What the engine promises of a window when nothing runs.
    fn assert_sound(&self) {
        let subject = &*self.subject;
        let kind = self.window.kind();
        let pages = subject.size().div_ceil(BLOCK_BYTES);
        let marks = subject.memory().for_engine().durability() == Durability::CpuFlush;
        for (page, translation) in self.window.translations() {
            let behind = subject.behind(page);
            let what = format!("page {page} of {pages}, {behind:?}, {kind:?}");
            match translation {
                Translation::Block { block, writable } => {
                    assert!(page < pages, "a translation past the end: {what}");
                    assert_eq!(behind, Behind::Written(block.0), "not the file's: {what}");
                    let writable = writable == Writable::Yes;
                    assert!(!writable || kind == WindowKind::SharedWrite, "{what}");
                    assert!(!(marks && writable) || subject.is_marked(page), "writable and unmarked: {what}");
                }
                Translation::Zero => {
                    assert!(page < pages, "zeros past the end: {what}");
                    assert!(!matches!(behind, Behind::Written(_)), "zeros over a block: {what}");
                }
                Translation::Private(_) => assert_eq!(kind, WindowKind::Private, "{what}"),
                Translation::PastEnd => assert!(page >= pages, "SIGBUS inside: {what}"),
                Translation::Trap => {}
            }
        }
    }
}

/// What must be true after every schedule.
pub fn assert_sound<S: Subject>(subject: &Arc<S>, mappings: &[&Mapping<S>]) {
    subject.assert_sound();
    for mapping in mappings {
        mapping.assert_sound();
    }
    assert_marked(subject);
}

/// Every unflushed store lies under a mark (in marks mode).
fn assert_marked<S: Subject>(subject: &Arc<S>) {
    if subject.memory().for_engine().durability() != Durability::CpuFlush {
        return;
    }
    for page in 0..subject.size().div_ceil(BLOCK_BYTES) {
        if let Behind::Written(block) = subject.behind(page) {
            assert!(
                !subject.memory().is_unflushed(block) || subject.is_marked(page),
                "the store to page {page} is neither flushed nor marked"
            );
        }
    }
}

/// Whether every store to the file is flushed.
pub fn all_flushed<S: Subject>(subject: &Arc<S>) -> bool {
    (0..subject.size().div_ceil(BLOCK_BYTES)).all(|page| match subject.behind(page) {
        Behind::Written(block) => !subject.memory().is_unflushed(block),
        _ => true,
    })
}

/// What a scenario takes for granted about an access.
pub trait AccessBits<T> {
    /// The byte loaded; the load goes through.
    fn byte(self) -> T;
    /// The store goes through.
    fn done(self);
}

impl<T> AccessBits<T> for Result<T, AccessError> {
    fn byte(self) -> T {
        self.expect("the access goes through")
    }

    fn done(self) {
        self.byte();
    }
}
