//! Limits of a worker that do not follow from its configuration alone. Invariant: what is asked here has an answer, whatever
//! the system says.

use oxicorn_settings as settings;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Descriptors left to the application when connections take all the others.
const RESERVE: usize = 64;

/// How many connections the process has descriptors for.
pub(crate) fn descriptors_for_connections() -> usize {
    descriptors().saturating_sub(RESERVE).max(RESERVE)
}

/// Raises the limit of open files as far as it goes, and says how far that is.
fn descriptors() -> usize {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    let current = if setrlimit(Resource::Nofile, raised).is_ok() {
        limit.maximum
    } else {
        limit.current
    };
    current
        .and_then(|current| usize::try_from(current).ok())
        .unwrap_or(usize::MAX)
}

/// `max_requests` and this worker's share of the jitter, so that workers do not all leave at once.
pub(crate) fn max_requests(config: &settings::Config) -> u64 {
    if config.max_requests == 0 || config.max_requests_jitter == 0 {
        return config.max_requests;
    }
    let pid = u64::from(std::process::id());
    let nanos = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .map_or(0, |since| u64::from(since.subsec_nanos()));
    let dice = (pid ^ nanos).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 33;
    config.max_requests + dice % (config.max_requests_jitter + 1)
}
