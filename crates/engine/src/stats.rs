//! Plain counters of one engine. They only ever grow, except what is counted "now".

/// What the engine has seen since its start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Connections accepted.
    pub accepted: u64,
    /// Connections open now, those included that are on their way from or to another process.
    pub connections: usize,
    /// Requests handed to the application.
    pub requests: u64,
    /// Requests refused by the parser or a limit.
    pub refused: u64,
    /// Connections closed by a timeout of the client's making (head, body, write).
    pub timed_out: u64,
    /// Idle connections closed to make room for new ones.
    pub evicted: u64,
    /// Connections given to other processes.
    pub given: u64,
    /// Connections taken from other processes.
    pub taken: u64,
    /// Bytes of the application's own objects that are kept for slow clients now.
    pub kept: usize,
    /// Requests now inside the application.
    pub in_application: usize,
}
