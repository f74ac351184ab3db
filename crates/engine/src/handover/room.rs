//! How many descriptors this process can still take. The kernel closes those above the limit without a word, so the taker
//! says beforehand how many there is room for. Invariant: the soft limit is only ever raised, and only as far as needed.

use rustix::process::{Resource, getrlimit, setrlimit};

/// Descriptors left for everything else: files of the application, new connections.
const RESERVE: usize = 64;

/// Assumed to be open when nobody can count them.
const UNKNOWN: usize = 256;

/// Descriptors that can be taken, at most `wanted`; raises this process's soft limit if that is too low and the hard one
/// allows it.
pub(crate) fn room_for(wanted: usize) -> usize {
    // One of those counted is the count's own.
    let open = std::fs::read_dir("/proc/self/fd").map_or(UNKNOWN, |all| all.count() - 1);
    let used = open.saturating_add(RESERVE);
    let limit = raised_limit(used.saturating_add(wanted));
    limit.saturating_sub(used).min(wanted)
}

/// The soft limit, after raising it to `needed` where that is possible.
fn raised_limit(needed: usize) -> usize {
    let mut limit = getrlimit(Resource::Nofile);
    let soft = limit.current.map_or(usize::MAX, as_count);
    if soft >= needed {
        return soft;
    }
    let target = limit.maximum.map_or(needed, as_count).min(needed);
    limit.current = Some(target as u64);
    match setrlimit(Resource::Nofile, limit) {
        Ok(()) => target,
        Err(error) => {
            log::debug!(target: "oxicorn", "The limit of open files stays at {soft}: {error}");
            soft
        }
    }
}

fn as_count(limit: u64) -> usize {
    usize::try_from(limit).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_is_never_more_than_wanted_and_fits_the_limit() {
        assert_eq!(room_for(0), 0);
        assert_eq!(room_for(10), 10);
        let hard = getrlimit(Resource::Nofile)
            .maximum
            .map_or(usize::MAX, as_count);
        assert!(room_for(usize::MAX / 4) < hard);
    }
}
