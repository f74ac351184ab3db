//! Properties that must hold for any bytes: no panic, nothing consumed that was not given, and the
//! same events however the input is cut. The inputs are the cases of the specification, damaged at
//! random but reproducibly.

mod support;

use std::ops::Range;

use oxicorn_http1::{Head, Policy, response};
use support::{Case, Random, Seen, cases, observe};

/// Short enough to be cut in many ways.
fn seeds() -> Vec<Case> {
    cases()
        .into_iter()
        .filter(|case| case.bytes.len() < 400)
        .collect()
}

/// Bytes that mean something to HTTP, and some that never may.
const TELLING: &[u8] = b"\r\n\r\n\t :;,=\"\\/?#@[]%*_-0159afxGHhcCtTe\0\x0b\x7f\x80\xff";

fn damage(bytes: &mut Vec<u8>, random: &mut Random) {
    let at = random.below(bytes.len() + 1);
    match random.below(5) {
        0 => bytes.insert(at, *random.pick(TELLING)),
        1 if at < bytes.len() => bytes[at] = *random.pick(TELLING),
        2 if at < bytes.len() => drop(bytes.remove(at)),
        3 => {
            let piece = bytes[range(bytes.len(), random)].to_vec();
            bytes.splice(at..at, piece);
        }
        _ => drop(bytes.drain(range(bytes.len(), random))),
    }
}

fn range(len: usize, random: &mut Random) -> Range<usize> {
    let start = random.below(len + 1);
    start..(start + random.below(12)).min(len)
}

fn pieces<'b>(bytes: &'b [u8], random: &mut Random) -> Vec<&'b [u8]> {
    let mut rest = bytes;
    let mut pieces = Vec::new();
    while !rest.is_empty() {
        let (front, back) = rest.split_at(1 + random.below(rest.len().min(24)));
        pieces.push(front);
        rest = back;
    }
    pieces
}

#[test]
fn damaged_requests_give_the_same_events_however_they_are_cut() {
    let seeds = seeds();
    let mut random = Random::new(1);
    for round in 0..25_000 {
        let case = random.pick(&seeds);
        let mut bytes = case.bytes.clone();
        (0..=random.below(3)).for_each(|_| damage(&mut bytes, &mut random));
        let whole = observe([&bytes[..]], &case.policy, case.trusted);
        let cut = pieces(&bytes, &mut random);
        let seen = observe(cut.iter().copied(), &case.policy, case.trusted);
        assert!(
            seen == whole,
            "round {round}: {}\n{whole:?}\n{seen:?}",
            bytes.escape_ascii()
        );
        let bytewise = observe(bytes.chunks(1), &case.policy, case.trusted);
        assert!(
            bytewise == whole,
            "round {round}: {}\n{whole:?}\n{bytewise:?}",
            bytes.escape_ascii()
        );
    }
}

#[test]
fn what_is_accepted_from_damaged_requests_is_well_formed() {
    let seeds = seeds();
    let mut random = Random::new(2);
    let mut accepted = 0;
    for _ in 0..40_000 {
        let case = random.pick(&seeds);
        let mut bytes = case.bytes.clone();
        damage(&mut bytes, &mut random);
        for seen in observe([&bytes[..]], &case.policy, case.trusted) {
            let Seen::Request(request) = seen else {
                continue;
            };
            accepted += 1;
            assert!(request.target.iter().all(u8::is_ascii_graphic));
            assert!(!request.target.contains(&b'#'));
            assert!(response::is_field_name(&request.method));
            for (name, value) in &request.fields {
                assert!(response::is_field_name(name) && response::is_field_value(value));
                assert_eq!(value.trim_ascii(), value);
            }
        }
    }
    assert!(
        accepted > 5_000,
        "only {accepted} were accepted, which proves little"
    );
}

#[test]
fn random_bytes_never_panic() {
    let mut random = Random::new(3);
    let mut head = Head::default();
    let policy = Policy::default();
    for _ in 0..20_000 {
        let bytes: Vec<u8> = (0..random.below(80))
            .map(|_| *random.pick(TELLING))
            .collect();
        let result = head.parse(&bytes, &policy, true);
        assert!(head.len as usize <= bytes.len() || result != Ok(true));
    }
}
