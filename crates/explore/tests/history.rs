//! The protocols of history: what the explorer finds in each is exactly what is known of it.
//!
//! The explorer is not told what to find: `known` is compared with its findings here, afterwards.
//! The bounds are those of `daxle explore --all`.

use explore::history::table::{Bounds, Column, Table, column};
use explore::history::world::Invariant;
use explore::history::{PROTOCOLS, SCENARIOS, interleaving, protocol, scenario};

fn explored(name: &str) -> Column {
    let protocol = protocol(name).expect("a protocol of this name");
    let column = column(protocol, Bounds::default());
    assert!(column.complete, "every scenario is run to its bound");
    assert!(column.schedules > 5_000, "{} schedules are too few to mean anything", column.schedules);
    assert_eq!(column.numbers(), protocol.known().numbers(), "{name}");
    let rest = column.findings.iter().filter(|f| f.interleaving.is_none());
    let unnumbered: Vec<_> = rest.map(|f| f.failure.class.as_str()).collect();
    let known: Vec<_> = protocol.known().unnumbered.iter().map(|i| i.broken()).collect();
    assert_eq!(unnumbered, known, "{name}");
    column
}

/// Every finding replays from its string, to the same failure at the same step.
fn replays(column: &Column) {
    let protocol = protocol(column.protocol).expect("its own name");
    for finding in &column.findings {
        let schedule = finding.failure.schedule.rsplit('/').next().expect("the schedule");
        let again = finding.scenario.replay(protocol, schedule).expect("it fits").expect("it fails");
        assert_eq!(again.interleaving, finding.interleaving);
        assert_eq!(again.failure.message, finding.failure.message);
        assert_eq!(again.failure.schedule, finding.failure.schedule);
        assert_eq!(again.failure.steps, finding.failure.steps);
    }
}

#[test]
fn linux_4_2_loses_stores_and_maps_punched_blocks() {
    let column = explored("4.2");
    assert!([10, 11, 18].iter().all(|n| column.finding(*n).is_some()));
    replays(&column);
}

#[test]
fn linux_4_3_rc_has_what_the_mail_suspects() {
    let column = explored("4.3-rc");
    assert!([1, 2, 3, 4, 5, 7].iter().all(|n| column.finding(*n).is_some()));
    let double_unlock = column.finding(1).expect("the mail's first");
    assert_eq!(double_unlock.failure.preemptions, 0, "two reads, one after the other, are enough");
    replays(&column);
}

#[test]
fn the_patch_under_review_mends_one_and_leaves_the_rest() {
    let column = explored("4.3-rc-patched");
    assert!(column.finding(1).is_none());
    let before = protocol("4.3-rc").expect("the code before").known().numbers();
    let rest: Vec<u8> = before.into_iter().filter(|n| *n != 1).collect();
    assert_eq!(column.numbers(), rest);
}

#[test]
fn linux_4_3_unlocks_for_writing_what_it_locked_for_reading() {
    let column = explored("4.3");
    assert!([9, 10].iter().all(|n| column.finding(*n).is_some()));
    assert!([1, 3, 4, 5, 7].iter().all(|n| column.finding(*n).is_none()));
}

#[test]
fn linux_4_7_has_none_of_the_lock_defects() {
    let column = explored("4.7");
    assert!((1..=12).all(|n| column.finding(n).is_none()));
    replays(&column);
}

#[test]
fn linux_4_11_maps_zeros_over_written_data() {
    let column = explored("4.11");
    assert!(column.finding(12).is_some());
    replays(&column);
}

#[test]
fn daxle_has_none() {
    assert!(explored("daxle").findings.is_empty());
}

#[test]
fn no_scenario_breaks_daxle_with_one_preemption_more() {
    for scenario in SCENARIOS.iter().filter(|s| s.threads.len() <= 2) {
        let config = explore::Config { bound: 4, ..explore::Config::default() };
        let (outcome, findings) = scenario.survey(protocol("daxle").expect("daxle"), &config);
        assert!(outcome.complete && findings.is_empty(), "{}: {findings:?}", scenario.name);
    }
}

#[test]
fn names_are_unique_and_fit_a_replay_string() {
    for (at, one) in SCENARIOS.iter().enumerate() {
        assert!(SCENARIOS[at + 1..].iter().all(|other| other.name != one.name));
        assert!(!one.name.contains('/') && scenario::named(one.name).is_some());
    }
    for protocol in PROTOCOLS {
        assert!(!protocol.name().contains('/'));
    }
}

#[test]
fn every_number_that_can_be_given_is_explained() {
    for scenario in SCENARIOS {
        for invariant in Invariant::ALL {
            assert_eq!(Invariant::of_class(invariant.broken()), Some(invariant));
            if let Some(number) = scenario.interleaving(invariant) {
                assert!(!interleaving(number).contains("no protocol"), "{number}");
            }
        }
    }
}

#[test]
fn a_table_has_the_same_findings_in_all_its_forms() {
    let bounds = Bounds { two_threads: 1, three_threads: 0 };
    let columns: Vec<_> = ["4.3-rc", "daxle"].iter().map(|n| column(protocol(n).expect("it"), bounds)).collect();
    let table = Table { bounds, columns };
    let json: serde_json::Value = serde_json::from_str(&table.json()).expect("JSON");
    let findings = json["protocols"][0]["findings"].as_array().expect("findings");
    assert_eq!(findings[0]["interleaving"], 1);
    assert_eq!(json["protocols"][1]["findings"].as_array().expect("findings").len(), 0);
    for finding in findings {
        let cell = format!("{}p {}s", finding["preemptions"], finding["steps"]);
        assert!(table.text().contains(&cell) && table.markdown().contains(&cell), "{cell}");
    }
    assert!(table.text().contains("at most 1 preemptions"));
}

#[test]
fn the_table_in_the_docs_is_that_of_today() {
    let text = include_str!("../../../docs/history.md");
    let (_, rest) = text.split_once("<!-- generated: history -->\n").expect("the table begins");
    let (table, _) = rest.split_once("<!-- end -->").expect("the table ends");
    let today = explore::history::table(&PROTOCOLS, Bounds::default()).markdown();
    assert!(table.trim() == today.trim(), "docs/history.md is out of date: daxle explore --all --markdown");
}
