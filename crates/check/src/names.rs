//! Names: links counted, parents right, everything reached from the root or an orphan.

use format::Ino;

use crate::Checker;
use crate::repair::Mend;
use crate::report::{Place, Severity};
use crate::table::{NOBODY, Reach, State};
use crate::tree::TYPE_DIRECTORY;

impl Checker<'_, '_, '_> {
    /// Holds what the walk of the directories counted against the records.
    pub(crate) fn names(&mut self) {
        match self.table.state(self.root) {
            State::Live(TYPE_DIRECTORY) => {}
            other => {
                self.mends.inode_maps_sound = false;
                self.directories_whole = false;
                let text = format!("the root directory is not one: {other:?}");
                self.out.fatal("root", Place::inode(self.root), text);
            }
        }
        for index in 0..self.table.len() {
            if let State::Live(kind) = self.table.at(index).state {
                self.links(index, kind);
            }
        }
        let orphans: Vec<Ino> = self.journal.orphans.iter().copied().collect();
        self.out.report.summary.orphans = orphans.len() as u64;
        for ino in orphans {
            if self.table.state(ino) == State::Free {
                self.out.error("orphan", Place::inode(ino), "the journal lists a free slot as an orphan");
            }
        }
    }

    /// A link may be in a directory that could not be read to the end: then its absence is no proof.
    fn absence(&self) -> Severity {
        if self.directories_whole && self.records_whole { Severity::Error } else { Severity::Warning }
    }

    fn links(&mut self, index: usize, kind: u8) {
        let known = self.table.at(index);
        let ino = self.table.ino(index);
        let record = self.view.record(ino);
        let is_root = ino == self.root;
        let links = expected_links(kind, known.names, known.subdirectories, is_root);
        if record.nlink() != links {
            let severity = if links < record.nlink() { self.absence() } else { Severity::Error };
            let text = format!("nlink is {}, and {links} links are there", record.nlink());
            self.out.add(severity, "link-count", Place::inode(ino).field("nlink"), text);
            if known.names > 0 || is_root {
                self.mends.push(Mend::Links { ino, links });
            }
        }
        if known.names == 0 && !is_root && !self.journal.orphans.contains(&ino) {
            self.out.add(self.absence(), "unreachable", Place::inode(ino), "it has no name and is no orphan");
            if record.nlink() == 0 && (kind != TYPE_DIRECTORY || record.blocks() == 0) {
                self.mends.push(Mend::Orphan { ino });
            }
        }
        if kind == TYPE_DIRECTORY && (is_root || known.namer != NOBODY) {
            self.way_up(index, ino, record.parent());
        }
    }

    fn way_up(&mut self, index: usize, ino: Ino, parent: Ino) {
        let namer = self.table.at(index).namer;
        let expected = if ino == self.root { self.root } else { self.table.ino(namer as usize) };
        if parent != expected {
            let text = format!("parent is {}, and the name is in {expected}", parent.0);
            self.out.error("parent", Place::inode(ino).field("parent"), text);
            if self.table.at(index).names <= 1 {
                self.mends.push(Mend::Parent { ino, parent: expected });
            }
        }
        if self.climb(index) == Reach::Lost {
            let text = "the directories above it lead in a circle, not to the root";
            self.out.error("unreachable", Place::inode(ino), text);
        }
    }

    /// Whether the way up from a directory ends at the root. Each directory is looked at once.
    fn climb(&mut self, from: usize) -> Reach {
        let mut way = Vec::new();
        let mut at = from;
        let end = loop {
            let known = self.table.at(at);
            match known.reach {
                Reach::Root | Reach::Lost => break known.reach,
                Reach::Climbing => break Reach::Lost,
                Reach::Unknown => {}
            }
            way.push(at);
            // Without a name: the root, an orphan, or told as unreachable already.
            if self.table.ino(at) == self.root || known.namer == NOBODY {
                break Reach::Root;
            }
            if let Some(known) = self.table.at_mut(at) {
                known.reach = Reach::Climbing;
            }
            at = known.namer as usize;
        };
        for at in way {
            if let Some(known) = self.table.at_mut(at) {
                known.reach = end;
            }
        }
        end
    }
}

/// The links that an inode must count.
pub(crate) fn expected_links(kind: u8, names: u32, subdirectories: u32, is_root: bool) -> u32 {
    match (kind, names) {
        (TYPE_DIRECTORY, 0) if !is_root => 0,
        (TYPE_DIRECTORY, _) => subdirectories.saturating_add(2),
        (_, names) => names,
    }
}
