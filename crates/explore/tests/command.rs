//! What `daxle explore` prints and draws.

use explore::command::{CommandError, MAX_BOUND, Options, Status, run};

fn answer(options: &Options) -> (Status, String) {
    let mut out = Vec::new();
    let status = run(options, &mut out).expect("an answer");
    (status, String::from_utf8(out).expect("text"))
}

fn refusal(options: &Options) -> CommandError {
    run(options, &mut Vec::new()).expect_err("a refusal")
}

#[test]
fn without_a_protocol_it_lists_them() {
    let (status, text) = answer(&Options::default());
    assert_eq!(status, Status::Done);
    assert_eq!(text.lines().count(), 7);
    assert!(text.contains("4.3-rc-patched") && text.contains("daxle"));
}

#[test]
fn a_protocol_is_explored_and_its_schedule_drawn_and_replayed() {
    let folder = std::env::temp_dir().join(format!("daxle-explore-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder");
    let svg = folder.join("double-unlock.svg");
    let options =
        Options { protocol: Some("4.3-rc".into()), bound: Some(1), svg: Some(svg.clone()), ..Options::default() };
    let (status, text) = answer(&options);
    assert_eq!(status, Status::Done);
    assert!(text.contains("unlocks i_mmap_rwsem, which it never took"));
    let drawing = std::fs::read_to_string(&svg).expect("the drawing");
    for part in ["T1: load", "T2: load", "i_mmap_rwsem", "page lock (hole page 1)", "which it never"] {
        assert!(drawing.contains(part), "{part} is missing in the drawing");
    }
    assert!(drawing.starts_with("<svg ") && drawing.ends_with("</svg>\n"));

    let schedule = text.lines().find_map(|l| l.split("Replay: ").nth(1)).expect("a schedule");
    let options = Options { replay: Some(schedule.to_owned()), svg: Some(svg.clone()), ..Options::default() };
    let (status, again) = answer(&options);
    assert_eq!(status, Status::Done);
    assert!(again.contains("DEFECT: T2 unlocks i_mmap_rwsem"));
    assert!(text.contains(again.trim_end()), "the replay draws the same chart");
    assert_eq!(std::fs::read_to_string(&svg).expect("the drawing"), drawing);
    std::fs::remove_dir_all(&folder).expect("cleaned up");
}

#[test]
fn the_drawing_of_a_deadlock_has_both_threads_and_their_locks() {
    let folder = std::env::temp_dir().join(format!("daxle-deadlock-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder");
    let svg = folder.join("abba.svg");
    let options = Options {
        protocol: Some("4.3-rc".into()),
        interleaving: Some(4),
        bound: Some(1),
        svg: Some(svg.clone()),
        ..Options::default()
    };
    let (_, text) = answer(&options);
    let drawing = std::fs::read_to_string(&svg).expect("the drawing");
    for part in ["T1: store", "T2: punch", "i_mmap_rwsem", "transaction", "for ever"] {
        assert!(drawing.contains(part) && text.contains(part), "{part} is missing");
    }
    // One dashed frame in the legend, and one for each thread that waits.
    assert_eq!(drawing.matches("stroke-dasharray=\"3.5 2.5\"").count(), 2);
    assert!(drawing.contains("preempted"));
    std::fs::remove_dir_all(&folder).expect("cleaned up");
}

#[test]
fn the_committed_drawings_are_those_of_today() {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/img/");
    let drawn = [("double-unlock-4.3-rc.svg", "4.3-rc", 1), ("lost-store-4.2.svg", "4.2", 10)];
    let folder = std::env::temp_dir().join(format!("daxle-drawings-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder");
    for (file, protocol, number) in drawn {
        let svg = folder.join(file);
        let options = Options {
            protocol: Some(protocol.into()),
            interleaving: Some(number),
            svg: Some(svg.clone()),
            ..Options::default()
        };
        answer(&options);
        let committed = std::fs::read_to_string(format!("{root}{file}")).expect("the committed drawing");
        let today = std::fs::read_to_string(&svg).expect("the drawing");
        assert!(
            committed == today,
            "docs/img/{file} is out of date: daxle explore {protocol} --interleaving {number} --svg"
        );
    }
    std::fs::remove_dir_all(&folder).expect("cleaned up");
}

#[test]
fn daxle_breaks_nothing() {
    let options = Options { protocol: Some("daxle".into()), bound: Some(2), ..Options::default() };
    let (status, text) = answer(&options);
    assert_eq!(status, Status::Done);
    assert!(text.contains("Found none in "), "{text}");
}

#[test]
fn what_cannot_be_done_is_refused_in_words() {
    let unknown = Options { protocol: Some("5.0".into()), ..Options::default() };
    assert!(refusal(&unknown).to_string().contains("there are: 4.2, 4.3-rc"));
    let far = Options { all: true, bound: Some(MAX_BOUND + 1), ..Options::default() };
    assert!(matches!(refusal(&far), CommandError::Bound(_)));
    let garbled = Options { replay: Some("4.2/dx1-a".into()), ..Options::default() };
    assert!(matches!(refusal(&garbled), CommandError::NotASchedule(_)));
    let elsewhere = Options { replay: Some("4.2/load+load:hole/dx1-az9".into()), ..Options::default() };
    assert!(matches!(refusal(&elsewhere), CommandError::Replay(_)));
    let absent = Options { protocol: Some("4.2".into()), interleaving: Some(1), bound: Some(0), ..Options::default() };
    assert!(matches!(refusal(&absent), CommandError::NotFound { number: 1, .. }));
}

#[test]
fn a_schedule_that_breaks_nothing_is_unexpected() {
    let options = Options { replay: Some("daxle/load+load:hole/dx1-a".into()), ..Options::default() };
    let (status, text) = answer(&options);
    assert_eq!(status, Status::Unexpected);
    assert!(text.contains("breaks no invariant"));
}
