//! Mounts the comparison file system by hand: `cargo run --release -p daxle-bench --example memory_fs -- DIR MIB`.
//!
//! It serves `DIR/file`, zeros of that size, until Enter is pressed.
#![forbid(unsafe_code)]

use std::path::Path;

fn main() -> std::io::Result<()> {
    let args: Vec<String> = std::env::args().collect();
    let (Some(dir), Some(mib)) = (args.get(1), args.get(2).and_then(|mib| mib.parse::<usize>().ok())) else {
        eprintln!("usage: memory_fs DIR MIB");
        std::process::exit(2);
    };
    let mount = bench::memory_fs::MemoryMount::new(Path::new(dir), vec![0; mib << 20])?;
    println!("serving {}; Enter ends it", mount.file().display());
    std::io::stdin().read_line(&mut String::new())?;
    Ok(())
}
