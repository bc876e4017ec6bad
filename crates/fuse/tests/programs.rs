//! Programs that know nothing of Daxle, on a real mount.

mod common;

use common::{Place, pattern};
use std::fs;

#[test]
fn cp_mv_ln_and_rm_do_their_work() {
    let place = Place::new();
    place.sh("mkdir -p a/b/c; echo one > a/1; echo two > a/b/2; ln -s ../1 a/b/s; ln a/1 a/b/c/h");
    place.sh("cp -a a copy; diff -r a copy; mv copy moved; test ! -e copy; cat moved/b/s | grep -q one");
    assert_eq!(place.sh("stat -c %h moved/1; stat -c %i a/1 | diff - <(stat -c %i a/b/c/h)"), "2");
    place.sh("rm -r moved a; test -z \"$(ls -A)\"");
}

#[test]
fn tar_packs_and_unpacks_a_tree_with_all_kinds() {
    let place = Place::new();
    place.sh(
        "mkdir -p t/d/e; for i in $(seq 200); do echo $i > t/d/f$i; done; mkfifo t/p; ln -s d t/s; chmod 4711 t/d/f1
         chown 12:34 t/d/f2; touch -d '2001-02-03 04:05:06.789' t/d/f3
         tar --format=posix -cf t.tar t; mkdir out; tar xf t.tar -C out --numeric-owner -p; diff -r --no-dereference -x p t out/t",
    );
    let facts = place.sh("cd out/t; stat -c '%a %u:%g' d/f1 d/f2; stat -c %y d/f3; stat -c %F p");
    assert!(facts.starts_with("4711 0:0\n644 12:34\n2001-02-03 04:05:06.789"), "{facts}");
    assert!(facts.ends_with("fifo"), "{facts}");
}

#[test]
fn dd_truncate_and_fallocate_keep_files_sparse() {
    let place = Place::new();
    place.sh(
        "dd if=/dev/urandom of=r bs=64k count=40 status=none; dd if=r of=r2 bs=4k conv=fsync status=none; cmp r r2",
    );
    place.sh("truncate -s 1G sparse; test $(stat -c %b sparse) -lt 100; test $(stat -c %s sparse) = 1073741824");
    place.sh("dd if=r of=sparse bs=64k seek=100 conv=notrunc status=none; cp --sparse=always sparse s2; cmp sparse s2");
    place.sh(
        "test $(stat -c %b s2) -lt 6000; fallocate -p -o 6553600 -l 2621440 sparse; test $(stat -c %b sparse) -lt 100",
    );
    place.sh(
        "fallocate -l 1M f; test $(stat -c %s f) = 1048576; test $(stat -c %b f) -ge 2048; cmp -n 1048576 f /dev/zero",
    );
    assert_eq!(place.sh("df --output=fstype,source . | tail -1 | tr -s ' '"), "fuse daxle");
}

#[test]
fn find_and_ls_see_every_name_of_a_large_directory() {
    let place = Place::new();
    place.sh("mkdir big; cd big; for i in $(seq 5000); do : > f$i; done");
    assert_eq!(
        place.sh("ls big | wc -l; find big -type f | wc -l; ls -l big | wc -l").replace('\n', " "),
        "5000 5000 5001"
    );
    place.sh("find big -name '*7' -delete");
    assert_eq!(place.sh("ls -U big | wc -l; ls -U big | sort -u | wc -l").replace('\n', " "), "4500 4500");
    place.sh("rm -rf big");
}

#[test]
fn a_program_runs_from_the_mount() {
    let place = Place::new();
    // A program's text is a private mapping of its file.
    place.sh("cp $(command -v ls) prog; ./prog -l prog > /dev/null");
    let busy = place.try_sh("cp $(command -v sleep) sl; ./sl 5 & sleep 0.2; echo x > sl; r=$?; kill %1; exit $r");
    assert!(!busy.status.success(), "a running program is not written to");
    assert!(common::text(&busy.stderr).contains("Text file busy"), "{}", common::text(&busy.stderr));
}

#[test]
fn a_database_like_program_with_locks_works() {
    let place = Place::new();
    place.sh("exec 9> lock; flock -n 9; ! flock -n lock true; flock -u 9; flock -n lock true");
    let script = "import fcntl,os; f=open('l','w+'); fcntl.lockf(f,fcntl.LOCK_EX|fcntl.LOCK_NB); pid=os.fork()\n\
        if pid==0:\n g=open('l','r+')\n try:\n  fcntl.lockf(g,fcntl.LOCK_EX|fcntl.LOCK_NB); os._exit(1)\n except OSError: os._exit(0)\n\
        os._exit(os.waitstatus_to_exitcode(os.waitpid(pid,0)[1]))";
    fs::write(place.path("lock.py"), script).unwrap();
    place.sh("if command -v python3 > /dev/null; then python3 lock.py; fi");
}

#[test]
fn git_like_churn_leaves_what_it_should() {
    let place = Place::new();
    place.sh(
        "for r in $(seq 5); do mkdir d$r; for i in $(seq 40); do echo $r$i > d$r/t$i; mv d$r/t$i d$r/f$((i % 10)); done; done
         test $(find . -type f | wc -l) = 50; mv d1 d2/; mv -T d2/d1 d9; rm -r d3; cat d9/f0",
    );
    assert_eq!(place.sh("cat d9/f0; ls"), "140\nd2\nd4\nd5\nd9");
    fs::write(place.path("x"), pattern(100, 1)).unwrap();
    place.sh("sync; sync x; sync .; sync -f x");
}
