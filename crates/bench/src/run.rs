//! A run: makes the subjects, does every work on each of them in turn, round after round, and cleans up.

use std::io;
use std::path::{Path, PathBuf};

use crate::memory_fs::MemoryMount;
use crate::report::{Report, Row, goal_of, median};
use crate::served::Served;
use crate::subject::{Bases, DirectorySubject, HugeSubject, LibrarySubject, Subject};
use crate::subject::{directory, library};
use crate::work::{Sizes, Work};
use daxle::{Mapping, Pool, PoolOptions};
use mount::MountOptions;

/// What to run.
#[derive(Debug, Clone)]
pub struct Options {
    /// Directories to do the work in through system calls and mappings. The first on tmpfs is what others are
    /// compared with.
    pub dirs: Vec<PathBuf>,
    /// Directories to make pools in. The first is mounted too.
    pub pools: Vec<PathBuf>,
    /// How much.
    pub sizes: Sizes,
    /// Which works; all if empty.
    pub works: Vec<Work>,
}

/// What is being done, for a progress bar.
#[derive(Debug, Clone, Copy)]
pub struct Step<'a> {
    /// The work.
    pub work: Work,
    /// On what.
    pub subject: &'a str,
    /// Steps done so far.
    pub done: usize,
    /// Steps in all.
    pub all: usize,
}

/// Runs. Nothing is left behind in the directories.
///
/// What cannot be done (no huge pages, no mount, no userfaultfd) is left out and noted; an error of a file system in the
/// middle of a work is noted too and ends that work on that subject.
///
/// # Errors
/// A directory cannot be used at all.
pub fn run(options: &Options, progress: &mut dyn FnMut(&Step<'_>)) -> io::Result<Report> {
    let mut report = Report::default();
    let mut bed = Bed::default();
    bed.make(options, &mut report.notes)?;
    let works: Vec<Work> =
        Work::ALL.into_iter().filter(|work| options.works.is_empty() || options.works.contains(work)).collect();
    let turns = |work: Work| bed.subjects.iter().filter(|subject| subject.offers(work)).count();
    let all = works.iter().map(|work| turns(*work)).sum::<usize>() * options.sizes.rounds as usize;
    let mut done = 0;
    for work in works {
        let mut rounds: Vec<Vec<f64>> = bed.subjects.iter().map(|_| Vec::new()).collect();
        let mut failed: Vec<bool> = bed.subjects.iter().map(|subject| !subject.offers(work)).collect();
        for _ in 0..options.sizes.rounds {
            for (index, subject) in bed.subjects.iter_mut().enumerate().filter(|(_, subject)| subject.offers(work)) {
                progress(&Step { work, subject: subject.name(), done, all });
                done += 1;
                if failed[index] {
                    continue;
                }
                match subject.round(work, &options.sizes) {
                    Ok(nanos) => rounds[index].push(nanos),
                    Err(error) => {
                        report.notes.push(format!("{} on {}: {error}", work.title(), subject.name()));
                        failed[index] = true;
                    }
                }
            }
        }
        for (subject, mut nanos) in bed.subjects.iter().zip(rounds) {
            if !nanos.is_empty() {
                report.rows.push(row(work, &**subject, &mut nanos));
            }
        }
    }
    report.compare();
    Ok(report)
}

fn row(work: Work, subject: &dyn Subject, nanos: &mut [f64]) -> Row {
    Row {
        work,
        subject: subject.name().to_owned(),
        nanos: median(nanos),
        nanos_min: nanos.iter().copied().fold(f64::INFINITY, f64::min),
        nanos_max: nanos.iter().copied().fold(0.0, f64::max),
        rounds: nanos.len() as u32,
        ratio: None,
        compared_with: subject.compared_with(work).map(str::to_owned),
        goal: goal_of(work, subject.name()),
    }
}

/// All that a run stands on. Fields are dropped in this order: what uses before what is used.
#[derive(Default)]
struct Bed {
    subjects: Vec<Box<dyn Subject>>,
    served: Vec<Served>,
    memory_fs: Option<MemoryMount>,
    pools: Vec<Pool>,
    dirs: Vec<tempfile::TempDir>,
}

impl Bed {
    fn make(&mut self, options: &Options, notes: &mut Vec<String>) -> io::Result<()> {
        let tmpfs = options.dirs.iter().find(|dir| kind_of(dir) == "tmpfs");
        if tmpfs.is_none() {
            notes.push("ratios to tmpfs: no --dir is on tmpfs".to_owned());
        }
        let huge = huge_pages_free() >= 2 * options.sizes.large_bytes / (2 << 20) + 64;
        let bases = Bases {
            tmpfs_calls: tmpfs.map(|dir| directory_name(dir)),
            tmpfs_mapping: tmpfs.map(|dir| directory_name(dir) + ", mapping"),
            hugetlbfs: huge.then(|| "hugetlbfs, mapping".to_owned()),
            memory_fs: Some("memory_fs (fuser)".to_owned()),
        };
        if !Mapping::is_possible() {
            notes.push("mappings of pools: userfaultfd is not permitted here".to_owned());
        }
        self.make_pools(options, &bases)?;
        if huge {
            self.make_huge(options, &bases)?;
        } else {
            let pages = 2 * options.sizes.large_bytes / (2 << 20) + 64;
            notes.push(format!("pools on huge pages: fewer than {pages} are free (/proc/sys/vm/nr_hugepages)"));
        }
        if let Err(error) = self.make_mounts(options, &bases) {
            notes.push(format!("the mount: {error}"));
        }
        for dir in &options.dirs {
            let name = directory_name(dir);
            self.add(DirectorySubject::new(name.clone(), dir, directory::Way::Calls, &bases)?);
            self.add(DirectorySubject::new(name + ", mapping", dir, directory::Way::Mapping, &bases)?);
        }
        Ok(())
    }

    fn add(&mut self, subject: impl Subject + 'static) {
        self.subjects.push(Box::new(subject));
    }

    fn make_pools(&mut self, options: &Options, bases: &Bases) -> io::Result<()> {
        // Two large files and a sparse one for the library, three and one through the mount, and room.
        let bytes = options.sizes.large_bytes * 8 + (64 << 20);
        for place in &options.pools {
            let dir = tempfile::Builder::new().prefix(".daxle-bench").tempdir_in(place)?;
            let pool = Pool::create(dir.path().join("pool"), bytes)?;
            let name = format!("pool on {} ({})", kind_of(place), pool.durability());
            self.add_library(&name, &pool, bases);
            self.pools.push(pool);
            self.dirs.push(dir);
        }
        Ok(())
    }

    fn make_huge(&mut self, options: &Options, bases: &Bases) -> io::Result<()> {
        let bytes = options.sizes.large_bytes * 3 / 2 + (64 << 20);
        let pool = PoolOptions::new().size(bytes).huge_pages(true).memory()?;
        let name = "mapping, pool on huge pages (volatile)".to_owned();
        self.add(LibrarySubject::new(name, &pool, library::Way::Mapping, bases));
        self.pools.push(pool);
        self.add(HugeSubject::new("hugetlbfs, mapping".to_owned(), bases));
        Ok(())
    }

    fn add_library(&mut self, name: &str, pool: &Pool, bases: &Bases) {
        self.add(LibrarySubject::new(format!("library, {name}"), pool, library::Way::Calls, bases));
        if Mapping::is_possible() {
            self.add(LibrarySubject::new(format!("mapping, {name}"), pool, library::Way::Mapping, bases));
        }
    }

    /// The first pool through a mount, and the file system that serves from memory.
    fn make_mounts(&mut self, options: &Options, bases: &Bases) -> io::Result<()> {
        let Some((pool, place)) = self.pools.first().cloned().zip(options.pools.first()) else { return Ok(()) };
        let (point, other) = (tempfile::tempdir()?, tempfile::tempdir()?);
        let served = Served::mount(&pool, point.path(), &MountOptions::default()).map_err(io::Error::other)?;
        let name = format!("mount, pool on {}", kind_of(place));
        // Not through a mapping: the server is in this process, and `munmap` holds the lock of the address space while it
        // waits for the server to write dirty pages, whose page faults wait for that lock.
        for (suffix, way) in [("", directory::Way::Calls), (", requests", directory::Way::Requests)] {
            self.add(DirectorySubject::new(format!("{name}{suffix}"), point.path(), way, bases)?);
        }
        self.served.push(served);
        let memory = MemoryMount::new(other.path(), vec![3; options.sizes.large_bytes as usize])?;
        self.add(DirectorySubject::of_file("memory_fs (fuser)".to_owned(), memory.file(), bases)?);
        self.memory_fs = Some(memory);
        self.dirs.extend([point, other]);
        Ok(())
    }
}

fn directory_name(dir: &Path) -> String {
    format!("{} ({})", dir.display(), kind_of(dir))
}

/// The name of the file system behind a directory.
fn kind_of(dir: &Path) -> String {
    match rustix::fs::statfs(dir).map(|facts| facts.f_type) {
        Ok(0x0102_1994) => "tmpfs".to_owned(),
        Ok(0xEF53) => "ext4".to_owned(),
        Ok(0x5846_5342) => "xfs".to_owned(),
        Ok(0x9123_683E) => "btrfs".to_owned(),
        Ok(0x794C_7630) => "overlayfs".to_owned(),
        Ok(0x6573_5546) => "fuse".to_owned(),
        Ok(0x9584_58F6) => "hugetlbfs".to_owned(),
        Ok(other) => format!("type {other:#x}"),
        Err(_) => "unknown".to_owned(),
    }
}

/// Huge pages of 2 MiB that nobody uses.
fn huge_pages_free() -> u64 {
    let path = "/sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages";
    std::fs::read_to_string(path).ok().and_then(|text| text.trim().parse().ok()).unwrap_or(0)
}
