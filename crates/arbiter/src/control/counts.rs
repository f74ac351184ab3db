//! What the workers count, as a part of the answer to `status`.
//!
//! ```text
//! "connections":{"open":..,"idle":..,"head":..,"body":..,"waiting":..,"application":..,"sending":..,
//!                "closing":..,"moving":..},
//! "threads":{"all":..,"busy":..},
//! "total":{"accepted":..,"answered":..,"refused":..,"timed_out":..,"evicted":..,"given":..,"taken":..}
//! ```
//! The `connections` but `open` add up to it. `total` counts from the worker's start. Invariant: a worker that cannot be
//! counted has the same keys, with `null`.

use std::collections::BTreeMap;

use oxicorn_board::{Count, Counts};

use crate::core::{WorkerId, WorkerStatus};

/// What each worker counts; one that cannot be counted is not there.
pub(crate) type CountsOf = BTreeMap<WorkerId, Counts>;

/// The members of a JSON object, without its braces.
pub(super) fn members(counts: Option<&Counts>) -> String {
    let Some(counts) = counts else {
        return r#""connections":null,"threads":null,"total":null"#.to_owned();
    };
    let of = |count| counts.of(count);
    let connections = object(&[
        ("open", of(Count::Open)),
        ("idle", counts.idle()),
        ("head", of(Count::Head)),
        ("body", of(Count::Body)),
        ("waiting", of(Count::Backlog)),
        ("application", counts.inside()),
        ("sending", of(Count::Sending)),
        ("closing", of(Count::Closing)),
        ("moving", of(Count::Moving)),
    ]);
    let threads = object(&[("all", of(Count::Threads)), ("busy", of(Count::Busy))]);
    let total = object(&[
        ("accepted", of(Count::Accepted)),
        ("answered", counts.answered()),
        ("refused", of(Count::Refused)),
        ("timed_out", of(Count::TimedOut)),
        ("evicted", of(Count::Evicted)),
        ("given", of(Count::Given)),
        ("taken", of(Count::Taken)),
    ]);
    format!(r#""connections":{connections},"threads":{threads},"total":{total}"#)
}

/// An array with the sums of each generation that has workers.
pub(super) fn generations(workers: &[WorkerStatus], counts: &CountsOf) -> String {
    let mut sums: BTreeMap<u32, (usize, Counts)> = BTreeMap::new();
    for worker in workers {
        let (number, sum) = sums.entry(worker.generation).or_default();
        *number += 1;
        *sum += counts.get(&worker.id).copied().unwrap_or_default();
    }
    let each = sums.iter().map(|(generation, (number, sum))| {
        let members = members(Some(sum));
        format!(r#"{{"generation":{generation},"workers":{number},{members}}}"#)
    });
    format!("[{}]", each.collect::<Vec<_>>().join(","))
}

fn object(members: &[(&str, u64)]) -> String {
    let members: Vec<String> = members
        .iter()
        .map(|(name, number)| format!(r#""{name}":{number}"#))
        .collect();
    format!("{{{}}}", members.join(","))
}

#[cfg(test)]
mod tests {
    use super::*;
    use oxicorn_board::Board;
    use std::time::Duration;

    fn worker(id: WorkerId, generation: u32) -> WorkerStatus {
        WorkerStatus {
            id,
            slot: 0,
            pid: None,
            generation,
            state: "serving",
            age: Duration::ZERO,
            booted: true,
        }
    }

    #[test]
    fn the_workers_of_a_generation_add_up() {
        let board = Board::default();
        board.add(Count::Open, 2);
        let counts = CountsOf::from([(1, board.counts()), (2, board.counts())]);
        let sums = generations(&[worker(1, 1), worker(2, 1), worker(3, 2)], &counts);
        assert!(
            sums.starts_with(r#"[{"generation":1,"workers":2,"connections":{"open":4,"idle":4,"#)
        );
        assert!(sums.contains(r#"{"generation":2,"workers":1,"connections":{"open":0,"#));
    }

    #[test]
    fn a_worker_that_cannot_be_counted_has_the_same_keys() {
        let unknown = members(None);
        let known = members(Some(&Counts::default()));
        for key in ["connections", "threads", "total"] {
            assert!(unknown.contains(&format!(r#""{key}":null"#)));
            assert!(known.contains(&format!(r#""{key}":{{"#)));
        }
    }
}
