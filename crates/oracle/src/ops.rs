//! Operations as values, done to the engine and to the model at once.
//!
//! An operation names directories, nodes and names by index, taken modulo what exists at that moment. So any sequence of
//! any operations means something, and stays so when proptest takes some away to find the shortest that fails.

use crate::compare::compare;
use crate::model::{Id, Model, New};
use crate::random::Random;
use engine::FsError;
use engine::fs::{Fs, Node};
use engine::types::{Fallocate, Kind, NewKind, NewNode, RenameMode, Seek, SetAttr, SyncKind};
use proptest::prelude::*;
use std::sync::Arc;

/// What to create.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Make {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link whose target has this many bytes.
    Symlink(u16),
    /// A named pipe.
    Fifo,
    /// A character device.
    Device,
}

/// One operation. Numbers that mean directories, nodes or names are indexes modulo what there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)] // the fields are what the operation of the same name takes
pub enum Op {
    Create {
        dir: u8,
        name: u8,
        make: Make,
        mode: u16,
    },
    Link {
        node: u8,
        dir: u8,
        name: u8,
    },
    Unlink {
        dir: u8,
        name: u8,
    },
    Rmdir {
        dir: u8,
        name: u8,
    },
    Rename {
        from: u8,
        name: u8,
        to: u8,
        to_name: u8,
        mode: RenameMode,
    },
    Lookup {
        dir: u8,
        name: u8,
    },
    SetMode {
        node: u8,
        mode: u16,
        owner: u8,
    },
    Truncate {
        node: u8,
        size: u64,
    },
    Write {
        node: u8,
        offset: u64,
        len: u32,
        seed: u8,
    },
    Append {
        node: u8,
        len: u32,
        seed: u8,
    },
    Read {
        node: u8,
        offset: u64,
        len: u32,
    },
    Allocate {
        node: u8,
        how: Fallocate,
        offset: u64,
        len: u64,
    },
    Seek {
        node: u8,
        offset: u64,
        what: Seek,
    },
    /// Takes a reference to a node and keeps it, whatever becomes of its names.
    Hold {
        node: u8,
    },
    /// Gives one such reference back.
    Release {
        which: u8,
    },
    Sync,
    SyncNode {
        node: u8,
    },
}

/// Names that operations choose from: few, so that they meet.
const NAMES: usize = 10;

fn name_of(index: u8) -> Vec<u8> {
    match usize::from(index) % NAMES {
        8 => vec![b'l'; 255],
        9 => vec![b'x'; 256],
        n => vec![b'a' + n as u8],
    }
}

/// How far into a file offsets and sizes reach.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reach {
    /// Largest offset in bytes.
    pub offset_max: u64,
    /// Most bytes of one write.
    pub write_bytes_max: u32,
}

impl Default for Reach {
    fn default() -> Reach {
        Reach { offset_max: 6 << 20, write_bytes_max: 80_000 }
    }
}

/// Offsets: near the start, at page borders, anywhere.
fn offset(reach: Reach) -> impl Strategy<Value = u64> {
    let pages = reach.offset_max / 4096;
    prop_oneof![3 => 0..20_000_u64, 3 => (0..pages.min(40)).prop_map(|p| p * 4096), 2 => 0..reach.offset_max,
        1 => (0..pages).prop_map(|p| p * 4096)]
}

fn fallocate_mode() -> impl Strategy<Value = Fallocate> {
    prop::sample::select(vec![
        Fallocate::Allocate,
        Fallocate::AllocateKeepSize,
        Fallocate::Punch,
        Fallocate::Zero,
        Fallocate::ZeroKeepSize,
        Fallocate::Collapse,
        Fallocate::Insert,
    ])
}

/// Any operation, the frequent ones more often.
pub fn any_op(reach: Reach) -> impl Strategy<Value = Op> {
    let make = prop_oneof![
        6 => Just(Make::File),
        4 => Just(Make::Directory),
        2 => prop::sample::select(vec![0_u16, 5, 320, 321, 4095, 4096]).prop_map(Make::Symlink),
        1 => Just(Make::Fifo),
        1 => Just(Make::Device),
    ];
    let rename_mode = prop::sample::select(vec![
        RenameMode::Replace,
        RenameMode::Replace,
        RenameMode::NoReplace,
        RenameMode::Exchange,
    ]);
    let len = 1..reach.write_bytes_max;
    let range = prop_oneof![
        (offset(reach), 1..300_000_u64),
        (0..64_u64, 1..32_u64).prop_map(|(page, pages)| (page * 4096, pages * 4096)),
    ];
    prop_oneof![
        12 => (any::<u8>(), any::<u8>(), make, 0..0o10000_u16)
            .prop_map(|(dir, name, make, mode)| Op::Create { dir, name, make, mode }),
        4 => any::<(u8, u8, u8)>().prop_map(|(node, dir, name)| Op::Link { node, dir, name }),
        5 => any::<(u8, u8)>().prop_map(|(dir, name)| Op::Unlink { dir, name }),
        3 => any::<(u8, u8)>().prop_map(|(dir, name)| Op::Rmdir { dir, name }),
        8 => (any::<(u8, u8, u8, u8)>(), rename_mode)
            .prop_map(|((from, name, to, to_name), mode)| Op::Rename { from, name, to, to_name, mode }),
        2 => any::<(u8, u8)>().prop_map(|(dir, name)| Op::Lookup { dir, name }),
        2 => any::<(u8, u16, u8)>().prop_map(|(node, mode, owner)| Op::SetMode { node, mode, owner }),
        5 => (any::<u8>(), offset(reach)).prop_map(|(node, size)| Op::Truncate { node, size }),
        14 => (any::<u8>(), offset(reach), len.clone(), any::<u8>())
            .prop_map(|(node, offset, len, seed)| Op::Write { node, offset, len, seed }),
        4 => (any::<u8>(), len, any::<u8>()).prop_map(|(node, len, seed)| Op::Append { node, len, seed }),
        5 => (any::<u8>(), offset(reach), 1..100_000_u32).prop_map(|(node, offset, len)| Op::Read { node, offset, len }),
        12 => (any::<u8>(), fallocate_mode(), range)
            .prop_map(|(node, how, (offset, len))| Op::Allocate { node, how, offset, len }),
        3 => (any::<u8>(), offset(reach), prop::sample::select(vec![Seek::Data, Seek::Hole]))
            .prop_map(|(node, offset, what)| Op::Seek { node, offset, what }),
        4 => any::<u8>().prop_map(|node| Op::Hold { node }),
        3 => any::<u8>().prop_map(|which| Op::Release { which }),
        1 => Just(Op::Sync),
        1 => any::<u8>().prop_map(|node| Op::SyncNode { node }),
    ]
}

/// The engine and the model side by side.
pub struct World {
    /// The engine.
    pub fs: Arc<Fs>,
    /// What it must be like.
    pub model: Model,
    held: Vec<(Id, Node)>,
}

/// What differed, in words.
pub type Mismatch = String;

impl World {
    /// An empty file system, as just made.
    pub fn new(fs: Arc<Fs>) -> World {
        World::with(fs, Model::new())
    }

    /// A file system that must be as the model.
    pub fn with(fs: Arc<Fs>, model: Model) -> World {
        World { fs, model, held: Vec::new() }
    }

    /// Lets go of the engine, with everything held, and keeps the model.
    pub fn into_model(self) -> Model {
        self.model
    }

    /// Everything that can be seen in the engine against the model.
    pub fn compare(&self) -> Result<(), Mismatch> {
        compare(&self.fs, &self.model)?;
        for (id, node) in &self.held {
            crate::compare::compare_node(&self.fs, node, &self.model, *id)?;
        }
        Ok(())
    }

    /// Does one operation to both. The answers must be the same, but that the engine may be out of space: then it must
    /// be as if the operation had not been asked for (of a write, the part that is told to be written counts).
    pub fn apply(&mut self, op: Op) -> Result<(), Mismatch> {
        self.step(op).map_err(|mismatch| format!("{op:?}: {mismatch}"))
    }

    fn directory(&self, index: u8) -> Id {
        pick(&self.model.directories(), index)
    }

    fn some_node(&self, index: u8) -> Id {
        let mut all = self.model.reachable();
        all.extend(self.held.iter().map(|(id, _)| *id));
        pick(&all, index)
    }

    /// A regular file if there is one, else anything.
    fn some_file(&self, index: u8) -> Id {
        let mut all = self.model.reachable();
        all.extend(self.held.iter().map(|(id, _)| *id));
        let files: Vec<Id> = all.into_iter().filter(|&id| self.model.node(id).kind() == Kind::File).collect();
        if files.is_empty() || index == u8::MAX { self.some_node(index) } else { pick(&files, index) }
    }

    /// A name: often one that is in the directory, sometimes any.
    fn some_name(&self, dir: Id, index: u8) -> Vec<u8> {
        let there: Vec<&Vec<u8>> = self.model.entries(dir).map(|entries| entries.keys().collect()).unwrap_or_default();
        if there.is_empty() || index.is_multiple_of(4) { name_of(index / 4) } else { pick(&there, index).clone() }
    }

    /// The engine's node for the model's.
    pub fn node(&self, id: Id) -> Result<Node, Mismatch> {
        if let Some((_, node)) = self.held.iter().find(|(held, _)| *held == id) {
            return Ok(node.clone());
        }
        let path = self.model.path(id).expect("a node that is not held has a name");
        let mut node = self.fs.root().map_err(|error| format!("root: {error}"))?;
        for name in path {
            node = self.fs.lookup(&node, &name).map_err(|error| format!("lookup on the way: {error}"))?;
        }
        Ok(node)
    }

    fn step(&mut self, op: Op) -> Result<(), Mismatch> {
        let fs = Arc::clone(&self.fs);
        match op {
            Op::Create { dir, name, make, mode } => {
                let dir = self.directory(dir);
                let name = name_of(name);
                let node = self.node(dir)?;
                let mode = u32::from(mode);
                let target;
                let (kind, new) = match make {
                    Make::File => (NewKind::File, New::File),
                    Make::Directory => (NewKind::Directory, New::Directory),
                    Make::Symlink(len) => {
                        target = vec![b't'; usize::from(len)];
                        (NewKind::Symlink(&target), New::Symlink(target.clone()))
                    }
                    Make::Fifo => (NewKind::Fifo, New::Special(Kind::Fifo, 0)),
                    Make::Device => (NewKind::CharDevice(0x103), New::Special(Kind::CharDevice, 0x103)),
                };
                let engine = fs.create(&node, &name, &NewNode { kind, mode, uid: 0, gid: 0 }).map(|_| ());
                self.judge(engine, |model| model.create(dir, &name, new, mode).map(|_| ()))
            }
            Op::Link { node, dir, name } => {
                let (id, dir) = (self.some_node(node), self.directory(dir));
                let name = name_of(name);
                let engine = fs.link(&self.node(id)?, &self.node(dir)?, &name);
                self.judge(engine, |model| model.link(id, dir, &name))
            }
            Op::Unlink { dir, name } => {
                let dir = self.directory(dir);
                let name = self.some_name(dir, name);
                let engine = fs.unlink(&self.node(dir)?, &name);
                self.judge(engine, |model| model.unlink(dir, &name))
            }
            Op::Rmdir { dir, name } => {
                let dir = self.directory(dir);
                let name = self.some_name(dir, name);
                let engine = fs.rmdir(&self.node(dir)?, &name);
                self.judge(engine, |model| model.rmdir(dir, &name))
            }
            Op::Rename { from, name, to, to_name, mode } => {
                let (from, to) = (self.directory(from), self.directory(to));
                let (name, to_name) = (self.some_name(from, name), self.some_name(to, to_name));
                let engine = fs.rename(&self.node(from)?, &name, &self.node(to)?, &to_name, mode);
                self.judge(engine, |model| model.rename(from, &name, to, &to_name, mode))
            }
            Op::Lookup { dir, name } => {
                let dir = self.directory(dir);
                let name = self.some_name(dir, name);
                let engine = fs.lookup(&self.node(dir)?, &name).map(|node| node.kind());
                self.judge(engine, |model| model.lookup(dir, &name).map(|id| model.node(id).kind()))
            }
            Op::SetMode { node, mode, owner } => {
                let id = self.some_node(node);
                let (mode, owner) = (u32::from(mode) & 0o7777, u32::from(owner));
                let set = SetAttr { mode: Some(mode), uid: Some(owner), gid: Some(owner + 1), ..SetAttr::default() };
                let engine = fs.set_attr(&self.node(id)?, &set).map(|_| ());
                self.judge(engine, |model| {
                    model.set_mode(id, mode, owner, owner + 1);
                    Ok(())
                })
            }
            Op::Truncate { node, size } => {
                let id = self.some_file(node);
                let set = SetAttr { size: Some(size), ..SetAttr::default() };
                let engine = fs.set_attr(&self.node(id)?, &set).map(|attr| attr.size);
                self.judge(engine, |model| model.truncate(id, size).map(|()| size))
            }
            Op::Write { node, offset, len, seed } => {
                let id = self.some_file(node);
                let data = data(seed, len);
                let engine = fs.write(&self.node(id)?, offset, &data);
                self.judge_write(id, offset, &data, engine)
            }
            Op::Append { node, len, seed } => {
                let id = self.some_file(node);
                let data = data(seed, len);
                let size = self.model.content(id).map_or(0, crate::content::Content::size);
                match fs.append(&self.node(id)?, &data) {
                    Ok((at, _)) if at != size => Err(format!("appended at {at} instead of {size}")),
                    engine => self.judge_write(id, size, &data, engine.map(|(_, n)| n)),
                }
            }
            Op::Read { node, offset, len } => {
                let id = self.some_file(node);
                let mut bytes = vec![0xEE; len as usize];
                let engine = fs.read(&self.node(id)?, offset, &mut bytes).map(|n| bytes[..n].to_vec());
                self.judge(engine, |model| {
                    let mut bytes = vec![0; len as usize];
                    let n = model.content(id)?.read(offset, &mut bytes);
                    bytes.truncate(n);
                    Ok(bytes)
                })
            }
            Op::Allocate { node, how, offset, len } => {
                let id = self.some_file(node);
                match fs.allocate(&self.node(id)?, how, offset, len) {
                    // A file of very many extents may be refused: they do not fit one transaction.
                    Err(FsError::FileTooBig) if matches!(how, Fallocate::Collapse | Fallocate::Insert) => Ok(()),
                    engine => self.judge(engine, |model| model.allocate(id, how, offset, len)),
                }
            }
            Op::Seek { node, offset, what } => self.seek(self.some_file(node), offset, what),
            Op::Hold { node } => {
                let id = self.some_node(node);
                let node = self.node(id)?;
                self.held.push((id, node));
                Ok(())
            }
            Op::Release { which } => {
                if !self.held.is_empty() {
                    let which = usize::from(which) % self.held.len();
                    self.held.swap_remove(which);
                }
                Ok(())
            }
            Op::Sync => fs.sync().map_err(|error| error.to_string()),
            Op::SyncNode { node } => {
                let node = self.node(self.some_node(node))?;
                fs.sync_node(&node, SyncKind::All).map_err(|error| error.to_string())
            }
        }
    }

    /// Same answer, or no space and nothing done.
    fn judge<T: PartialEq + std::fmt::Debug>(
        &mut self,
        engine: Result<T, FsError>,
        model: impl FnOnce(&mut Model) -> Result<T, FsError>,
    ) -> Result<(), Mismatch> {
        if let Err(FsError::NoSpace { .. }) = engine {
            return Ok(());
        }
        let expected = model(&mut self.model).map_err(|error| error.errno());
        let actual = engine.map_err(|error| error.errno());
        if expected == actual {
            return Ok(());
        }
        let short = |answer: Result<T, i32>| match answer {
            Ok(value) => format!("{value:?}").chars().take(120).collect(),
            Err(number) => format!("errno {number}"),
        };
        Err(format!("answered {} instead of {}", short(actual), short(expected)))
    }

    fn judge_write(
        &mut self,
        id: Id,
        offset: u64,
        data: &[u8],
        engine: Result<usize, FsError>,
    ) -> Result<(), Mismatch> {
        let told = match engine {
            Ok(n) if n == 0 || n > data.len() => return Err(format!("wrote {n} of {} bytes", data.len())),
            Ok(n) => n,
            Err(_) => data.len(),
        };
        self.judge(engine, |model| model.write(id, offset, &data[..told]))
    }

    /// What the engine calls a hole must be zeros, and data must not end before a byte that is none.
    fn seek(&self, id: Id, offset: u64, what: Seek) -> Result<(), Mismatch> {
        let engine = self.fs.seek(&self.node(id)?, offset, what);
        let content = match self.model.content(id) {
            Ok(content) => content,
            Err(error) if engine.as_ref().is_err_and(|actual| actual.errno() == error.errno()) => return Ok(()),
            Err(error) => return Err(format!("answered {engine:?} instead of {error}")),
        };
        if offset >= content.size() {
            return match engine {
                Err(FsError::PastEnd) => Ok(()),
                other => Err(format!("answered {other:?} past the end")),
            };
        }
        match (what, engine) {
            (Seek::Hole, Ok(at)) if (offset..=content.size()).contains(&at) => Ok(()),
            (Seek::Data, Ok(at)) if (offset..content.size()).contains(&at) => zeros(content, offset, at),
            (Seek::Data, Err(FsError::PastEnd)) => zeros(content, offset, content.size()),
            (_, other) => Err(format!("answered {other:?} for a file of {} bytes", content.size())),
        }
    }
}

fn zeros(content: &crate::content::Content, start: u64, end: u64) -> Result<(), Mismatch> {
    let mut bytes = vec![0; (end - start) as usize];
    content.read(start, &mut bytes);
    match bytes.iter().position(|byte| *byte != 0) {
        Some(at) => Err(format!("{start}..{end} is told to be a hole and has data at {}", start + at as u64)),
        None => Ok(()),
    }
}

/// The bytes of a write, none of them zero.
fn data(seed: u8, len: u32) -> Vec<u8> {
    let mut bytes = vec![0; len as usize];
    Random::new(u64::from(seed)).fill(&mut bytes);
    bytes
}

fn pick<T: Clone>(from: &[T], index: u8) -> T {
    from[usize::from(index) % from.len()].clone()
}
