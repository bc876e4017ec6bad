//! Serves a new file system in memory on a directory until it is unmounted: something to point test suites at.
//!
//! `cargo run -p daxle-fuse --example serve -- DIR [MEBIBYTES]`

use engine::fs::Fs;
use engine::types::{Access, MakeOptions};
use mount::{MountOptions, SpecialFiles};
use pool::{Durability, HeapPool};
use std::error::Error;
use std::path::Path;
use std::sync::Arc;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args_os().skip(1);
    let dir = arguments.next().ok_or("usage: serve DIR [MEBIBYTES]")?;
    let mebibytes: u64 = arguments.next().map_or(Ok(256), |text| text.to_string_lossy().parse())?;
    let pool = HeapPool::new(mebibytes << 20, Durability::Volatile)?;
    Fs::make(&pool, &MakeOptions::default())?;
    let fs = Fs::open(Arc::new(pool), Access::ReadWrite)?;
    let options = MountOptions { special_files: SpecialFiles::Honoured, ..MountOptions::default() };
    let mut mounted = mount::mount(fs, Path::new(&dir), &options)?;
    println!("serving {} MiB on {}; end it with umount", mebibytes, mounted.point().display());
    mounted.wait();
    Ok(())
}
