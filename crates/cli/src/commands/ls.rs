//! `daxle ls`: names in a pool, without a mount.

use std::ffi::OsStr;

use crate::errors::{Context, Result};
use crate::exit::Exit;
use crate::location::{InPool, in_pool};
use crate::output::{self, Format, table};
use crate::session::Session;
use crate::{times, walk};
use engine::fs::{Access, Fs, LastLink, Node};
use engine::types::{Attr, Kind};
use serde::Serialize;

/// Arguments.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// POOL:/path; POOL alone for its root
    #[arg(required = true, value_parser = in_pool())]
    places: Vec<InPool>,
    /// Show mode, links, owner, size and time as well
    #[arg(short, long)]
    long: bool,
    /// Show names that start with a dot
    #[arg(short, long)]
    all: bool,
    /// Show a directory itself, not what is in it
    #[arg(short, long)]
    directory: bool,
    #[command(flatten)]
    format: Format,
}

/// One file.
#[derive(Debug, Serialize)]
struct Row {
    name: String,
    kind: &'static str,
    mode: String,
    ino: u64,
    links: u32,
    uid: u32,
    gid: u32,
    size: u64,
    allocated_bytes: u64,
    modified: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    target: Option<String>,
    #[serde(skip)]
    mode_text: String,
}

/// One argument.
#[derive(Debug, Serialize)]
struct Listing {
    place: String,
    files: Vec<Row>,
}

impl Args {
    /// Lists.
    pub fn run(&self) -> Result<Exit> {
        let mut listings = Vec::new();
        for place in &self.places {
            let session = Session::open(&place.pool, Access::ReadOnly)?;
            let files = self.list(&session, place).context(place)?;
            listings.push(Listing { place: place.to_string(), files });
            session.close()?;
        }
        if self.format.json {
            output::print_json(&listings)?;
        } else {
            output::print(&self.text(&listings))?;
        }
        Ok(Exit::Done)
    }

    fn list(&self, session: &Session, place: &InPool) -> Result<Vec<Row>> {
        let fs = session.fs();
        let node = walk::find(fs, &place.path, LastLink::Follow)?;
        if node.kind() != Kind::Directory || self.directory {
            return Ok(vec![row(fs, place.path.as_os_str(), &node)?]);
        }
        let mut rows = Vec::new();
        for name in walk::names(fs, &node)? {
            if self.all || !name.name.as_encoded_bytes().starts_with(b".") {
                let child = fs.lookup(&node, name.name.as_encoded_bytes())?;
                rows.push(row(fs, &name.name, &child)?);
            }
        }
        Ok(rows)
    }

    fn text(&self, listings: &[Listing]) -> String {
        let mut text = String::new();
        for (index, listing) in listings.iter().enumerate() {
            if listings.len() > 1 {
                text.push_str(if index > 0 {
                    "
"
                } else {
                    ""
                });
                text.push_str(&listing.place);
                text.push_str(
                    ":
",
                );
            }
            text += &if self.long { long(&listing.files) } else { short(&listing.files) };
        }
        text
    }
}

fn row(fs: &Fs, name: &OsStr, node: &Node) -> Result<Row> {
    let attr: Attr = fs.attr(node)?;
    let target = match attr.kind {
        Kind::Symlink => Some(String::from_utf8_lossy(&fs.read_link(node)?).into_owned()),
        _ => None,
    };
    Ok(Row {
        name: name.to_string_lossy().into_owned(),
        kind: walk::show_kind(attr.kind),
        mode: format!("{:04o}", attr.mode),
        mode_text: walk::show_mode(attr.kind, attr.mode),
        ino: attr.ino.0,
        links: attr.nlink,
        uid: attr.uid,
        gid: attr.gid,
        size: attr.size,
        allocated_bytes: attr.sectors() * 512,
        modified: times::show(attr.mtime),
        target,
    })
}

fn short(rows: &[Row]) -> String {
    rows.iter().flat_map(|row| [row.name.as_str(), "\n"]).collect()
}

fn long(rows: &[Row]) -> String {
    let cells = |row: &Row| {
        let arrow = row.target.as_ref().map_or(String::new(), |target| format!(" -> {target}"));
        vec![
            row.mode_text.clone(),
            row.links.to_string(),
            row.uid.to_string(),
            row.gid.to_string(),
            row.size.to_string(),
            row.modified[..19].replace('T', " "),
            format!("{}{arrow}", row.name),
        ]
    };
    table(&["", ">", ">", ">", ">", "", ""], &rows.iter().map(cells).collect::<Vec<_>>())
}
