//! Names: links counted, parents right, everything reached from the root or an orphan.

use format::Ino;

use crate::image::Image;
use crate::report::{Findings, Place};
use crate::table::{NOBODY, Reach, State};
use crate::walk::{TYPE_DIRECTORY, Walked, record};

/// Checks what the walk of the directories counted.
pub(crate) fn check(image: &Image<'_>, findings: &mut Findings, state: &mut Walked) {
    match state.table.state(image.root) {
        State::Live(TYPE_DIRECTORY) => {}
        other => findings.fatal("root", Place::inode(image.root), format!("the root is no directory: {other:?}")),
    }
    for index in 0..state.table.len() {
        let ino = state.table.ino(index);
        if let State::Live(kind) = state.table.at(index).state {
            inode(image, findings, state, ino, index, kind);
        }
    }
    for ino in &image.orphans {
        if state.table.state(*ino) == State::Free {
            findings.error("orphan", Place::inode(*ino), "an orphan is a free slot");
        }
    }
}

fn inode(image: &Image<'_>, findings: &mut Findings, state: &mut Walked, ino: Ino, index: usize, kind: u8) {
    let known = state.table.at(index);
    let Some((record, _)) = record(image, ino) else { return };
    let is_root = ino == image.root;
    let links = match (kind, known.names) {
        (TYPE_DIRECTORY, 0) if !is_root => 0,
        (TYPE_DIRECTORY, _) => 2 + known.subdirectories,
        (_, names) => names,
    };
    if record.nlink() != links {
        let text = format!("nlink is {}, and {links} links are there", record.nlink());
        findings.error("link-count", Place::inode(ino).field("nlink"), text);
    }
    if known.names == 0 && !is_root && !image.orphans.contains(&ino) {
        findings.error("unreachable", Place::inode(ino), "it has no name and is no orphan");
    }
    if kind != TYPE_DIRECTORY {
        return;
    }
    let parent = if is_root {
        image.root
    } else if known.namer == NOBODY {
        return;
    } else {
        state.table.ino(known.namer as usize)
    };
    if record.parent() != parent {
        let text = format!("parent is {}, and the name is in {parent}", record.parent());
        findings.error("parent", Place::inode(ino).field("parent"), text);
    }
    if climb(image, state, index) == Reach::Lost {
        findings.error("unreachable", Place::inode(ino), "its directories lead in a circle, not to the root");
    }
}

/// Whether the way up from a directory ends at the root. Each directory is looked at once.
fn climb(image: &Image<'_>, state: &mut Walked, from: usize) -> Reach {
    let mut way = Vec::new();
    let mut at = from;
    let end = loop {
        let known = state.table.at(at);
        match known.reach {
            Reach::Root | Reach::Lost => break known.reach,
            Reach::Climbing => break Reach::Lost,
            Reach::Unknown => {}
        }
        if state.table.ino(at) == image.root {
            way.push(at);
            break Reach::Root;
        }
        if let Some(known) = state.table.at_mut(at) {
            known.reach = Reach::Climbing;
        }
        way.push(at);
        if known.namer == NOBODY {
            // Without a name: an orphan, or told as unreachable already.
            break Reach::Root;
        }
        at = known.namer as usize;
    };
    for at in way {
        if let Some(known) = state.table.at_mut(at) {
            known.reach = end;
        }
    }
    end
}
