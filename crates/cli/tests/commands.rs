//! The commands, one after the other, as a person would use them.

mod common;

use common::Place;

#[test]
fn files_go_in_around_and_out_again() {
    let place = Place::with_pool();
    std::fs::write(place.path("in"), "some text\n").unwrap();
    place.daxle(&["mkdir", "pool:/a"]).ok();
    place.daxle(&["mkdir", "-p", "pool:/a/b/c"]).ok();
    place.daxle(&["cp", "in", "pool:/a/b/file"]).ok();
    place.daxle(&["mv", "pool:/a/b/file", "pool:/a/renamed"]).ok();
    assert_eq!(place.daxle(&["cat", "pool:/a/renamed"]).ok(), "some text\n");
    place.daxle(&["cp", "pool:/a/renamed", "pool:/copy"]).ok();
    place.daxle(&["cp", "pool:/copy", "out"]).ok();
    assert_eq!(std::fs::read_to_string(place.path("out")).unwrap(), "some text\n");
    let listed = place.daxle(&["ls", "pool:/"]).ok();
    assert!(listed.contains('a') && listed.contains("copy"), "{listed}");
    place.daxle(&["rm", "-r", "pool:/a"]).ok();
    assert!(!place.daxle(&["ls", "pool:/"]).ok().contains("renamed"));
    place.daxle(&["check", "pool"]).ok();
}

#[test]
fn what_is_sparse_stays_sparse_on_the_way_in_and_out() {
    use std::os::unix::fs::{FileExt, MetadataExt};
    let place = Place::with_pool();
    let file = std::fs::File::create(place.path("sparse")).unwrap();
    file.write_all_at(b"end", 1 << 30).unwrap();
    place.daxle(&["cp", "sparse", "pool:/sparse"]).ok();
    place.daxle(&["cp", "pool:/sparse", "back"]).ok();
    let back = std::fs::metadata(place.path("back")).unwrap();
    assert_eq!(back.len(), (1 << 30) + 3);
    assert!(back.blocks() * 512 < 1 << 20, "{} bytes", back.blocks() * 512);
}

#[test]
fn json_is_there_wherever_a_program_may_read() {
    let place = Place::with_pool();
    std::fs::write(place.path("in"), "x").unwrap();
    place.daxle(&["cp", "in", "pool:/in"]).ok();
    for args in [
        &["info", "pool", "--json"][..],
        &["check", "pool", "--json"],
        &["ls", "pool:/", "--json"],
        &["stat", "pool:/in", "--json"],
        &["create", "second", "--size", "32M", "--json"],
        &["fsx", "third", "--create", "32M", "--ops", "200", "--views", "api", "--json"],
        &["locks", "--format", "json"],
    ] {
        let text = place.daxle(args).ok();
        serde_json::from_str::<serde_json::Value>(&text).unwrap_or_else(|error| panic!("{args:?}: {error}: {text}"));
    }
}

#[test]
fn a_mount_in_the_background_serves_and_ends() {
    let place = Place::new();
    std::fs::create_dir(place.path("mnt")).unwrap();
    place.daxle(&["mount", "pool", "mnt", "--create", "32M", "--background"]).ok();
    std::fs::write(place.path("mnt/file"), "through the mount").unwrap();
    place.daxle(&["ls", "pool:/"]).fails(7, "daxle");
    place.daxle(&["umount", "mnt"]).ok();
    assert_eq!(place.daxle(&["cat", "pool:/file"]).ok(), "through the mount");
    place.daxle(&["check", "pool"]).ok();
}

#[test]
fn fsx_is_clean_in_a_pool_and_in_a_directory() {
    let place = Place::new();
    for (views, threads) in [("api,map,mount", "1"), ("api,map", "3"), ("mount", "2")] {
        let args = ["fsx", "pool", "--create", "64M", "--ops", "1500", "--views", views, "--threads", threads];
        assert!(place.daxle(&args).ok().contains("no difference"));
    }
    let dir = place.path("");
    assert!(place.daxle(&["fsx", "--dir", dir.to_str().unwrap(), "--ops", "500"]).ok().contains("no difference"));
    assert!(place.names().is_empty(), "{:?}", place.names());
}

#[test]
fn the_demo_shows_all_it_should_and_leaves_nothing() {
    let place = Place::new();
    let dir = place.path("");
    let text = place.daxle(&["demo", "--dir", dir.to_str().unwrap()]).ok();
    for seen in
        ["loads from holes", "stores to holes", "private copies", "SIGBUS caught", "journal records replayed", "clean"]
    {
        assert!(text.contains(seen), "{seen}: {text}");
    }
    assert!(place.names().is_empty(), "{:?}", place.names());
}

#[test]
fn the_lock_order_prints_in_every_form() {
    let place = Place::new();
    for form in ["text", "markdown", "svg", "json", "edges"] {
        let text = place.daxle(&["locks", "--format", form]).ok();
        assert!(text.contains("Invalidate") && text.contains("ReverseMap"), "{form}");
    }
}
