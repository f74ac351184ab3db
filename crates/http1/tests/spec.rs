//! Every case of `spec/http1`, fed whole and in every way of cutting it.

mod support;

use std::collections::HashSet;

use oxicorn_http1::Reject;
use support::{Case, Seen, cases, observe};

fn fed<'p>(case: &Case, pieces: impl IntoIterator<Item = &'p [u8]>) -> Vec<Seen> {
    observe(pieces, &case.policy, case.trusted)
}

#[test]
fn every_case_holds_when_the_bytes_arrive_at_once() {
    for case in cases() {
        case.check(&fed(&case, [&case.bytes[..]]), "whole");
    }
}

#[test]
fn every_case_holds_when_the_bytes_arrive_in_two_pieces() {
    for case in cases() {
        let whole = fed(&case, [&case.bytes[..]]);
        for at in cuts(case.bytes.len()) {
            let (front, back) = case.bytes.split_at(at);
            let seen = fed(&case, [front, back]);
            assert!(seen == whole, "{} cut at {at}: {seen:?}", case.title);
        }
    }
}

#[test]
fn every_case_holds_when_the_bytes_arrive_one_by_one() {
    for case in cases() {
        case.check(&fed(&case, case.bytes.chunks(1)), "byte by byte");
    }
}

#[test]
fn every_accepted_case_holds_twice_on_one_connection() {
    for case in cases().iter().filter(|case| case.repeats()) {
        let once = fed(case, [&case.bytes[..]]);
        let bytes = case.bytes.repeat(2);
        let twice = fed(case, [&bytes[..]]);
        assert!(
            twice == [once.clone(), once].concat(),
            "{} twice: {twice:?}",
            case.title
        );
    }
}

#[test]
fn every_refusal_has_a_case() {
    let seen: HashSet<Reject> = cases()
        .iter()
        .flat_map(|case| fed(case, [&case.bytes[..]]))
        .filter_map(|seen| {
            if let Seen::Rejected(reject) = seen {
                Some(reject)
            } else {
                None
            }
        })
        .collect();
    let missing: Vec<_> = Reject::all()
        .iter()
        .filter(|reject| !seen.contains(reject))
        .collect();
    assert!(missing.is_empty(), "no case for {missing:?}");
}

#[test]
fn every_case_has_a_title_of_its_own() {
    let cases = cases();
    let titles: HashSet<&str> = cases.iter().map(|case| case.title.as_str()).collect();
    assert_eq!(titles.len(), cases.len());
    assert!(cases.len() >= 150, "only {} cases were found", cases.len());
}

/// Every place in a short input; in a long one the ends and a sample between them.
fn cuts(len: usize) -> impl Iterator<Item = usize> {
    let step = if len <= 1000 { 1 } else { len / 100 };
    let near_an_end = move |at: usize| at < 40 || at + 40 > len;
    (0..=len).filter(move |at| at % step == 0 || near_an_end(*at))
}
