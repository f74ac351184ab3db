//! Plays every transcript of `spec/arbiter` against the pure core, in virtual time.

#![expect(
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod transcript;

use std::fs;
use std::path::PathBuf;

use transcript::{Transcript, play, transcripts};

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../spec/arbiter")
}

fn read(page: &str) -> Vec<Transcript> {
    let text = fs::read_to_string(folder().join(page)).expect("the page exists");
    transcripts(&text).unwrap_or_else(|error| panic!("{page}: {error}"))
}

fn holds(page: &str) {
    let failures: Vec<String> = read(page).iter().filter_map(|t| play(t).err()).collect();
    assert!(failures.is_empty(), "{page}\n\n{}", failures.join("\n"));
}

const PAGES: [&str; 18] = [
    "balance.md",
    "boot.md",
    "crash-loop.md",
    "dance.md",
    "hooks.md",
    "memory.md",
    "orphans.md",
    "recycling.md",
    "rescue.md",
    "restarts.md",
    "scaling.md",
    "service-manager.md",
    "shutdown.md",
    "signals.md",
    "stem.md",
    "tally.md",
    "timeouts.md",
    "upgrade.md",
];

#[test]
fn balance_is_as_specified() {
    holds("balance.md");
}

#[test]
fn booting_is_as_specified() {
    holds("boot.md");
}

#[test]
fn hooks_that_fail_are_as_specified() {
    holds("hooks.md");
}

#[test]
fn crash_loops_are_as_specified() {
    holds("crash-loop.md");
}

#[test]
fn two_arbiters_dance_as_specified() {
    holds("dance.md");
}

#[test]
fn memory_is_as_specified() {
    holds("memory.md");
}

#[test]
fn orphans_are_taken_over_as_specified() {
    holds("orphans.md");
}

#[test]
fn recycling_is_as_specified() {
    holds("recycling.md");
}

#[test]
fn upgrades_are_as_specified() {
    holds("upgrade.md");
}

#[test]
fn rescues_are_as_specified() {
    holds("rescue.md");
}

#[test]
fn restarts_are_as_specified() {
    holds("restarts.md");
}

#[test]
fn scaling_is_as_specified() {
    holds("scaling.md");
}

#[test]
fn what_a_service_manager_is_told_is_as_specified() {
    holds("service-manager.md");
}

#[test]
fn shutdown_is_as_specified() {
    holds("shutdown.md");
}

#[test]
fn signals_are_as_specified() {
    holds("signals.md");
}

#[test]
fn stems_are_as_specified() {
    holds("stem.md");
}

#[test]
fn what_is_counted_is_as_specified() {
    holds("tally.md");
}

#[test]
fn timeouts_are_as_specified() {
    holds("timeouts.md");
}

#[test]
fn every_page_of_the_specification_is_played() {
    let mut pages: Vec<String> = fs::read_dir(folder())
        .expect("the folder exists")
        .map(|entry| {
            entry
                .expect("readable")
                .file_name()
                .into_string()
                .expect("plain names")
        })
        .filter(|name| name != "README.md")
        .collect();
    pages.sort();
    assert_eq!(pages, PAGES);
}

#[test]
fn claims_are_unique_and_not_few() {
    let mut claims: Vec<String> = PAGES
        .iter()
        .flat_map(|page| read(page))
        .map(|transcript| transcript.claim)
        .collect();
    let count = claims.len();
    claims.sort();
    claims.dedup();
    assert_eq!(claims.len(), count, "two transcripts make the same claim");
    assert!(count >= 60, "only {count} transcripts");
}

fn contradiction(steps: &str) -> String {
    let page = format!("## claim\n```transcript\n{steps}\n```\n");
    let transcript = transcripts(&page).expect("readable").remove(0);
    play(&transcript).expect_err("the transcript is wrong and must not hold")
}

#[test]
fn an_action_that_was_not_named_is_a_contradiction() {
    assert!(contradiction("when start\nthen want 1").contains("not expected: fork 1"));
}

#[test]
fn an_action_that_was_not_done_is_a_contradiction() {
    let story = contradiction("when start\nthen want 1, fork 1, fork 2");
    assert!(story.contains("not done: fork 2"), "{story}");
}

#[test]
fn another_action_is_a_contradiction() {
    let story = contradiction("when start\nthen want 1, TERM 1");
    assert!(story.contains("expected \"TERM 1\""), "{story}");
}

#[test]
fn a_missing_log_line_is_a_contradiction() {
    let story = contradiction("when start\nthen want 1, fork 1\nthen log error \"x\"");
    assert!(story.contains("not logged"), "{story}");
}

#[test]
fn a_deadline_that_is_passed_over_is_a_contradiction() {
    let story = contradiction("given boot_timeout = 5 s\nwhen start\nthen want 1, fork 1\nat 6 s");
    assert!(story.contains("passes over"), "{story}");
}
