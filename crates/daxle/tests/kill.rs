//! `kill -9` in the middle of a random load.
//!
//! The program runs itself again as a child, which opens the pool and changes files with three threads. Each thread
//! has a directory of its own and keeps a model of it. When a sync of a thread has returned, the child reports the model
//! of what was synced on a pipe. The parent kills the child at a random moment, opens the pool again, and checks:
//!
//! * what the last report of a thread says is there, unless the thread went on to change it, of which the child says so
//!   *before* it does (such a file may be in the old state, the new, or between two writes of it);
//! * every byte of every file is zero or names the file and page that it was written for;
//! * the pool works: it can be written, synced and closed.
//!
//! The report is a line per event, written with one `write(2)`, so it is whole or absent. Rounds come from
//! `DAXLE_KILL_ROUNDS` (10 if not set), the seed from `DAXLE_KILL_SEED`; a failure prints both.

mod common;

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use common::{PAGE, Random, directory, watchdog};
use daxle::{Dir, File, Mapping, Pool, PoolOptions};

const THREADS: u64 = 3;
const FILES: u64 = 6;
const PAGES_MAX: u64 = 48;
const CHILD: &str = "DAXLE_KILL_CHILD";

/// A file as its writer knows it: for each page the round of its last write, 0 for zeros.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Model {
    pages: Vec<u64>,
}

/// What a page of file `id` holds after the write of a round.
fn word(id: u64, page: u64, round: u64) -> u64 {
    if round == 0 { 0 } else { id << 48 | page << 32 | round }
}

fn page_bytes(id: u64, page: u64, round: u64) -> Vec<u8> {
    word(id, page, round).to_le_bytes().repeat(PAGE as usize / 8)
}

fn number(name: &str, or: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(or)
}

#[test]
fn nothing_synced_is_lost_to_kill_9() {
    if let Ok(child) = std::env::var(CHILD) {
        let (path, seed) = child.rsplit_once('#').unwrap();
        run_child(Path::new(path), seed.parse().unwrap());
    }
    watchdog_of_rounds();
    // In turn on a disk, where records count once they are synced, and on tmpfs, where they do at once.
    let (disk, memory) = (directory(), tempfile::tempdir_in("/dev/shm").ok());
    let places = [Some(&disk), memory.as_ref()].into_iter().flatten();
    let pools: Vec<PathBuf> = places.map(|dir| dir.path().join("pool")).collect();
    for path in &pools {
        Pool::create(path, "64MiB").unwrap().close().unwrap();
    }
    let seed = number("DAXLE_KILL_SEED", 1);
    let rounds = number("DAXLE_KILL_ROUNDS", 10);
    let mut synced = 0;
    for round in 0..rounds {
        let seed = seed * 1000 + round;
        let path = &pools[round as usize % pools.len()];
        let reports = run_and_kill(path, seed);
        synced += reports.iter().filter(|line| line.starts_with("synced")).count();
        look_at_what_is_left(path, &reports, seed);
    }
    println!("{rounds} kills, {synced} completed syncs checked");
    assert!(synced > 0, "no sync completed before any of the kills");
}

/// The limit grows with the rounds that were asked for.
fn watchdog_of_rounds() {
    let rounds = number("DAXLE_KILL_ROUNDS", 10);
    if rounds <= 20 {
        return watchdog();
    }
    std::thread::spawn(move || {
        std::thread::sleep(Duration::from_secs(60 + 5 * rounds));
        eprintln!("the rounds of kills hang");
        std::process::abort();
    });
}

// ---- the child ----

fn run_child(path: &Path, seed: u64) -> ! {
    watchdog();
    let pool = Pool::open(path).unwrap();
    report("ready");
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let pool = &pool;
            scope.spawn(move || load(pool, thread, Random(seed * 100 + thread)));
        }
    });
    unreachable!("the load has no end")
}

/// One line in one system call.
fn report(line: &str) {
    let line = format!("{line}\n");
    // The parent may be gone; then so are we.
    if std::io::stdout().write_all(line.as_bytes()).is_err() {
        std::process::exit(1);
    }
}

/// One file of the child: where it is, what it holds.
struct Open {
    file: File,
    map: Option<Mapping>,
    model: Model,
}

/// Changes files of one thread's directory for ever.
fn load(pool: &Pool, thread: u64, mut random: Random) {
    let name = format!("t{thread}");
    pool.create_dir_all(&name).unwrap();
    let dir = pool.open_dir(&name).unwrap();
    // What the last run left is of no use to the model: begin anew, and say so first.
    for n in 0..FILES {
        report(&format!("changing {thread} {n}"));
        let _ = dir.remove_file(n.to_string());
    }
    let mut files: BTreeMap<u64, Open> = BTreeMap::new();
    for round in 1.. {
        let n = random.below(FILES);
        let id = thread * FILES + n + 1;
        // Files that were synced are left alone for a while, so that there is something to check.
        if random.below(3) != 0 {
            report(&format!("changing {thread} {n}"));
            change(&dir, n, id, &mut files, round, &mut random);
        } else if let Some(open) = files.get(&n) {
            sync(open, thread, n, pool, &mut random);
        }
    }
}

fn change(dir: &Dir, n: u64, id: u64, files: &mut BTreeMap<u64, Open>, round: u64, random: &mut Random) {
    if random.below(10) == 0 {
        if files.remove(&n).is_some() {
            dir.remove_file(n.to_string()).unwrap();
        }
        return;
    }
    let open = files.entry(n).or_insert_with(|| {
        // Under a name of its own first, as programs do that replace files.
        let file = dir.create_file(format!("{n}.new")).unwrap();
        dir.rename(format!("{n}.new"), n.to_string()).unwrap();
        Open { file, map: None, model: Model::default() }
    });
    let (file, pages) = (&open.file, &mut open.model.pages);
    let len = pages.len() as u64;
    let page = random.below(len.max(1));
    match random.below(8) {
        0 | 1 if len < PAGES_MAX => {
            file.append(&page_bytes(id, len, round)).unwrap();
            pages.push(round);
        }
        2 => {
            let new = random.below(PAGES_MAX);
            file.set_len(new * PAGE).unwrap();
            pages.resize(new as usize, 0);
        }
        3 if len > 0 => {
            file.punch_hole(page * PAGE, PAGE).unwrap();
            pages[page as usize] = 0;
        }
        4 if len > 0 && Mapping::is_possible() => {
            // A mapping of the file as long as it may become; it stays for later rounds.
            let map = open
                .map
                .take()
                .unwrap_or_else(|| file.map_with(&daxle::MapOptions::new().len(PAGES_MAX * PAGE)).unwrap());
            map.write_at(&page_bytes(id, page, round), (page * PAGE) as usize).unwrap();
            pages[page as usize] = round;
            open.map = Some(map);
        }
        _ if len > 0 => {
            file.write_all_at(&page_bytes(id, page, round), page * PAGE).unwrap();
            pages[page as usize] = round;
        }
        _ => {}
    }
}

fn sync(open: &Open, thread: u64, n: u64, pool: &Pool, random: &mut Random) {
    match (random.below(4), &open.map) {
        (0, _) => pool.sync().unwrap(),
        (1, Some(map)) => map.flush(..).unwrap(),
        (2, _) => open.file.sync_data().unwrap(),
        _ => open.file.sync_all().unwrap(),
    }
    let pages: Vec<String> = open.model.pages.iter().map(u64::to_string).collect();
    report(&format!("synced {thread} {n} {}", pages.join(",")));
}

// ---- the parent ----

/// Runs the child, kills it at a random moment, and gives what it reported.
fn run_and_kill(path: &Path, seed: u64) -> Vec<String> {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "nothing_synced_is_lost_to_kill_9", "--nocapture"])
        .env(CHILD, format!("{}#{seed}", path.display()))
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut reports = Vec::new();
    // The harness of the child may say something first.
    for line in lines.by_ref() {
        if line.unwrap().ends_with("ready") {
            break;
        }
    }
    let reader = std::thread::spawn(move || {
        // The last line may be cut when the pipe ends; a report without its end is none.
        reports.extend(lines.map_while(Result::ok));
        reports
    });
    std::thread::sleep(Duration::from_micros(Random(seed).below(400_000)));
    child.kill().unwrap();
    let status = child.wait().unwrap();
    let reports = reader.join().unwrap();
    assert_eq!(status.signal(), Some(9), "the child ended by itself (seed {seed}): {:?}", reports.last());
    reports
}

/// The independent checker finds nothing wrong, with the journal not replayed yet, or replayed.
fn assert_clean(path: &Path, seed: u64, when: &str) {
    let memory = pool::FilePool::open(path, pool::Access::ReadOnly).unwrap();
    let report = check::check(&memory, &mut check::CheckOptions::default());
    assert!(report.is_clean() && report.warnings == 0, "seed {seed}, {when}: {}", report.text());
}

/// Checks what a killed child left.
fn look_at_what_is_left(path: &Path, reports: &[String], seed: u64) {
    assert_clean(path, seed, "before recovery");
    let pool = PoolOptions::new().open(path).unwrap_or_else(|error| panic!("seed {seed}: {error}"));
    let mut synced: BTreeMap<(u64, u64), Model> = BTreeMap::new();
    for line in reports {
        let mut words = line.split(' ');
        let kind = words.next().unwrap_or_default();
        let mut key = || words.next().and_then(|word| word.parse::<u64>().ok());
        let (Some(thread), Some(n)) = (key(), key()) else { continue };
        match kind {
            "changing" => drop(synced.remove(&(thread, n))),
            "synced" => {
                let rounds = words.next().unwrap_or_default().split(',').filter(|word| !word.is_empty());
                let pages = rounds.map(|word| word.parse().unwrap()).collect();
                synced.insert((thread, n), Model { pages });
            }
            other => panic!("seed {seed}: the child said {other}"),
        }
    }
    for ((thread, n), model) in &synced {
        let name = format!("t{thread}/{n}");
        let bytes = pool.read(&name).unwrap_or_else(|error| panic!("seed {seed}: synced and lost: {error}"));
        let id = thread * FILES + n + 1;
        let expected: Vec<u8> =
            model.pages.iter().enumerate().flat_map(|(page, round)| page_bytes(id, page as u64, *round)).collect();
        assert!(bytes == expected, "seed {seed}: {name} differs from what was synced{}", differs(&bytes, &expected));
    }
    check_foreign(&pool, seed);
    pool.write("alive", seed.to_string()).unwrap();
    pool.sync().unwrap();
    pool.close().unwrap_or_else(|error| panic!("seed {seed}: {error}"));
    assert_clean(path, seed, "after recovery");
}

/// Every page is of one write, or a hole, and of the right file.
fn check_foreign(pool: &Pool, seed: u64) {
    for thread in 0..THREADS {
        let Ok(listing) = pool.read_dir(format!("t{thread}")) else { continue };
        for entry in listing {
            let name = entry.unwrap().file_name().to_str().unwrap().to_owned();
            let id = thread * FILES + name.trim_end_matches(".new").parse::<u64>().unwrap() + 1;
            let bytes = pool.read(format!("t{thread}/{name}")).unwrap();
            for (at, bytes) in bytes.chunks_exact(8).enumerate() {
                let found = u64::from_le_bytes(bytes.try_into().unwrap());
                let page = (at as u64 * 8) / PAGE;
                let own = found == 0 || found >> 32 == word(id, page, 1) >> 32;
                assert!(own, "seed {seed}: t{thread}/{name} holds {found:#x} at byte {}", at * 8);
            }
        }
    }
}

fn differs(found: &[u8], expected: &[u8]) -> String {
    let at = found.iter().zip(expected).position(|(a, b)| a != b);
    format!(": {} bytes, {} expected, first difference at {at:?}", found.len(), expected.len())
}
