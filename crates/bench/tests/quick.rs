//! A whole run of the smallest size: every work on every subject that this machine has.

use bench::{Options, Sizes, Work, run};

#[test]
fn a_quick_run_measures_every_work_and_leaves_nothing_behind() {
    let dir = tempfile::tempdir().unwrap();
    let shm = tempfile::tempdir_in("/dev/shm").unwrap();
    let options = Options {
        dirs: vec![shm.path().to_owned(), dir.path().to_owned()],
        pools: vec![shm.path().to_owned(), dir.path().to_owned()],
        sizes: Sizes::QUICK,
        works: Vec::new(),
    };
    let mut steps = 0;
    let report = run(&options, &mut |_| steps += 1).unwrap();
    assert!(steps > 0);
    println!("{}", report.text());
    for work in Work::ALL {
        let needs_mount = matches!(work, Work::Request4k | Work::Stream);
        let mount_missing = report.notes.iter().any(|note| note.starts_with("the mount"));
        if !(needs_mount && mount_missing) {
            assert!(report.rows.iter().any(|row| row.work == work), "{work:?}: {:?}", report.notes);
        }
    }
    let of_library = |work| report.rows.iter().find(|row| row.work == work && row.subject.starts_with("library"));
    let read = of_library(Work::Read4k).unwrap();
    assert!(read.ratio.is_some_and(|ratio| ratio > 0.0));
    for place in [&dir, &shm] {
        assert_eq!(std::fs::read_dir(place.path()).unwrap().count(), 0);
    }
}
