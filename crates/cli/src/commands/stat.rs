//! `daxle stat`: all attributes of files in a pool, and on demand where their blocks lie.

use crate::errors::{Context, Result};
use crate::exit::Exit;
use crate::location::{InPool, in_pool};
use crate::output::{self, Format, table};
use crate::session::Session;
use crate::{times, walk};
use engine::fs::{Access, LastLink};
use engine::types::{Kind, PAGE_BYTES, Run, RunState};
use serde::Serialize;

/// Arguments.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// POOL:/path
    #[arg(required = true, value_parser = in_pool())]
    places: Vec<InPool>,
    /// Show holes and extents too
    #[arg(long)]
    extents: bool,
    #[command(flatten)]
    format: Format,
}

#[derive(Debug, Serialize)]
struct FileInfo {
    place: String,
    kind: &'static str,
    size: u64,
    allocated_bytes: u64,
    mode: String,
    ino: u64,
    generation: u32,
    links: u32,
    uid: u32,
    gid: u32,
    device: u32,
    accessed: String,
    modified: String,
    changed: String,
    born: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    target: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    extents: Option<Vec<Extent>>,
}

/// A stretch of a file; offsets in bytes.
#[derive(Debug, Serialize)]
struct Extent {
    offset: u64,
    bytes: u64,
    state: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pool_offset: Option<u64>,
}

impl Args {
    /// Tells.
    pub fn run(&self) -> Result<Exit> {
        let mut infos = Vec::new();
        for place in &self.places {
            let session = Session::open(&place.pool, Access::ReadOnly)?;
            infos.push(self.look(&session, place).context(place)?);
            session.close()?;
        }
        if self.format.json {
            output::print_json(&infos)?;
        } else {
            output::print(&infos.iter().map(text).collect::<Vec<_>>().join("\n"))?;
        }
        Ok(Exit::Done)
    }

    fn look(&self, session: &Session, place: &InPool) -> Result<FileInfo> {
        let fs = session.fs();
        let node = walk::find(fs, &place.path, LastLink::Stay)?;
        let attr = fs.attr(&node)?;
        let target = match attr.kind {
            Kind::Symlink => Some(String::from_utf8_lossy(&fs.read_link(&node)?).into_owned()),
            _ => None,
        };
        let extents = match (self.extents, attr.kind) {
            (true, Kind::File) => Some(fs.runs(&node, 0..attr.size.div_ceil(PAGE_BYTES))?.iter().map(extent).collect()),
            _ => None,
        };
        Ok(FileInfo {
            place: place.to_string(),
            kind: walk::show_kind(attr.kind),
            size: attr.size,
            allocated_bytes: attr.sectors() * 512,
            mode: format!("{:04o}", attr.mode),
            ino: attr.ino.0,
            generation: attr.generation,
            links: attr.nlink,
            uid: attr.uid,
            gid: attr.gid,
            device: attr.rdev,
            accessed: times::show(attr.atime),
            modified: times::show(attr.mtime),
            changed: times::show(attr.ctime),
            born: times::show(attr.btime),
            target,
            extents,
        })
    }
}

fn extent(run: &Run) -> Extent {
    let (state, block) = match run.state {
        RunState::Hole => ("hole", None),
        RunState::Unwritten(block) => ("unwritten", Some(block)),
        RunState::Written(block) => ("written", Some(block)),
    };
    Extent {
        offset: run.page * PAGE_BYTES,
        bytes: run.pages * PAGE_BYTES,
        state,
        pool_offset: block.map(|block| block.0 * PAGE_BYTES),
    }
}

fn text(info: &FileInfo) -> String {
    let mut rows = vec![
        ("file", info.place.clone()),
        ("kind", info.kind.to_owned()),
        ("size", format!("{} bytes, {} allocated", info.size, info.allocated_bytes)),
        ("mode", info.mode.clone()),
        ("owner", format!("uid {}, gid {}", info.uid, info.gid)),
        ("inode", format!("{}, generation {}", info.ino, info.generation)),
        ("links", info.links.to_string()),
        ("accessed", info.accessed.clone()),
        ("modified", info.modified.clone()),
        ("changed", info.changed.clone()),
        ("born", info.born.clone()),
    ];
    if let Some(target) = &info.target {
        rows.push(("target", target.clone()));
    }
    let mut text =
        table(&["", ""], &rows.into_iter().map(|(name, value)| vec![name.to_owned(), value]).collect::<Vec<_>>());
    if let Some(extents) = &info.extents {
        let cells = |extent: &Extent| {
            let place = extent.pool_offset.map_or("-".to_owned(), |offset| format!("{offset:#x}"));
            vec![format!("{:#x}", extent.offset), extent.bytes.to_string(), extent.state.to_owned(), place]
        };
        text += &table(&[">offset", ">bytes", "state", ">pool offset"], &extents.iter().map(cells).collect::<Vec<_>>());
    }
    text
}
