//! Which deadline a connection has in which phase, and what happens when it passes. Invariant: every phase but an idle
//! keep-alive without a limit has a deadline, so nothing and nobody is waited for without end.

use oxicorn_board::Count;

use crate::clock::Now;
use crate::connection::{Connection, Phase};
use crate::engine::{Engine, Notice, Running, Stuck};
use crate::refusal::Refusal;
use crate::slab::Id;

/// Expired connections handled per turn; the timer fires again for the rest.
const BATCH: usize = 256;

/// Milliseconds an idle connection is still listened to when the worker drains: a request may be on its way.
const DRAIN_GRACE: u64 = 1_000;

/// `now + timeout`, where 0 means never.
pub(crate) fn after(now: Now, timeout: u64) -> u64 {
    if timeout == 0 {
        u64::MAX
    } else {
        now.mono.saturating_add(timeout)
    }
}

impl Engine {
    pub(crate) fn head_deadline(&self, now: Now) -> u64 {
        after(now, self.options.head_timeout)
    }

    pub(crate) fn app_deadline(&self, now: Now) -> u64 {
        after(now, self.options.app_timeout)
    }

    pub(crate) fn write_deadline(&self, now: Now) -> u64 {
        after(now, self.options.write_timeout)
    }

    pub(crate) fn linger_deadline(&self, now: Now) -> u64 {
        // Never without end, whatever the setting.
        now.mono + self.options.linger_timeout.max(1)
    }

    pub(crate) fn idle_deadline(&self, now: Now) -> u64 {
        self.idle_limit(self.keeps_alive(), now)
    }

    /// `goes_on`: the connection is served for as long as its client likes, here or elsewhere.
    pub(crate) fn idle_limit(&self, goes_on: bool, now: Now) -> u64 {
        let grace = if goes_on { u64::MAX } else { DRAIN_GRACE };
        now.mono.saturating_add(self.options.keep_alive.min(grace))
    }

    /// The earlier of "no progress" and "too slow on the whole" (`body_min_rate` after the grace).
    pub(crate) fn body_deadline(&self, since: u64, received: u64, now: Now) -> u64 {
        let idle = after(now, self.options.body_timeout);
        let rate = self.options.body_min_rate;
        if rate == 0 {
            return idle;
        }
        let earned = received.saturating_mul(1000) / rate;
        idle.min(
            since
                .saturating_add(self.options.body_timeout.max(1_000))
                .saturating_add(earned),
        )
    }

    /// Moves a connection's deadline. Later is a store; earlier queues a new entry.
    pub(crate) fn set_deadline(&mut self, id: Id, at: u64) {
        let Some(connection) = self.connections.get_mut(id) else {
            return;
        };
        connection.deadline = at;
        if at < connection.queued_deadline {
            connection.queued_deadline = self.timer.queue(at, id);
        }
    }

    /// Moves the deadline of a body that is still coming to `limit`, if that is earlier.
    pub(crate) fn bring_forward(&mut self, id: Id, limit: u64) {
        let Some(connection) = self.connections.get_mut(id) else {
            return;
        };
        if matches!(connection.phase, Phase::Body(_)) && limit < connection.deadline {
            self.set_deadline(id, limit);
        }
    }

    pub(crate) fn expire_due(&mut self, now: Now) {
        for _ in 0..BATCH {
            let Some((entry, id)) = self.timer.pop_due(now.mono) else {
                return;
            };
            self.look_at(entry, id, now);
        }
    }

    fn look_at(&mut self, entry: u64, id: Id, now: Now) {
        let Some(connection) = self.connections.get_mut(id) else {
            return;
        };
        if connection.queued_deadline != entry {
            // An earlier entry replaced this one.
            return;
        }
        connection.queued_deadline = u64::MAX;
        let deadline = connection.deadline;
        if deadline <= now.mono {
            self.expire(id, now);
        } else if deadline != u64::MAX {
            self.set_deadline(id, deadline);
        }
    }

    fn expire(&mut self, id: Id, now: Now) {
        let Some(connection) = self.connections.get_mut(id) else {
            return;
        };
        match &connection.phase {
            Phase::App { .. } if connection.is_upgraded() => self.websocket_due(id, now),
            Phase::App { .. } if self.options.streams || connection.course.wants_room => {
                self.overdue(id, now);
            }
            Phase::App { .. } => self.report_stuck(id, now),
            Phase::Handshake => self.stop_shaking(id, now),
            Phase::Head if connection.is_idle() && connection.has_input() => {
                // Its event is in the same batch, behind the timer's.
                connection.readable = true;
                self.set_deadline(id, self.head_deadline(now));
                self.enqueue(id);
            }
            Phase::Head if connection.inbuf.is_empty() => {
                let silent = connection.served == 0;
                self.board.add(Count::TimedOut, u64::from(silent));
                self.drop_connection(id);
            }
            Phase::Head => self.refuse(id, &Refusal::SlowHead, now),
            Phase::Body(_) => self.refuse(id, &Refusal::SlowBody, now),
            Phase::Flush { .. } => {
                log::info!(target: "oxicorn", "Closed: {} does not read its response", connection.peer);
                self.board.add(Count::TimedOut, 1);
                self.drop_connection(id);
            }
            Phase::Skip { .. } => self.stop_skipping(id, now),
            Phase::Parting | Phase::Linger { .. } => self.drop_connection(id),
        }
    }

    fn report_stuck(&mut self, id: Id, now: Now) {
        let Some(connection) = self.connections.get_mut(id) else {
            return;
        };
        connection.deadline = u64::MAX;
        let peer = connection.peer.to_string();
        let Phase::App { line, since, stuck } = &mut connection.phase else {
            return;
        };
        self.stuck += usize::from(!std::mem::replace(stuck, true));
        self.notices.push_back(Notice::Stuck(Stuck {
            line: String::from_utf8_lossy(line).into_owned(),
            peer,
            age: now.mono.saturating_sub(*since),
            together: self.stuck,
        }));
    }

    /// The requests that are inside the application: those that an end at this moment would cut.
    pub fn running(&mut self, now: Now) -> Vec<Running> {
        let running = self.connections.iter_mut().filter_map(|(_, connection)| {
            let Phase::App { line, since, .. } = &connection.phase else {
                return None;
            };
            Some(Running {
                line: String::from_utf8_lossy(line).into_owned(),
                peer: connection.peer.to_string(),
                age: now.mono.saturating_sub(*since),
                upgraded: connection.is_upgraded(),
            })
        });
        running.collect()
    }

    /// Idle connections will go on elsewhere: they get their usual time again.
    pub(crate) fn relax_idle(&mut self) {
        let kept_alive = self.options.keep_alive;
        let silent = match self.options.head_timeout {
            0 => u64::MAX,
            limit => limit,
        };
        let idle = self
            .connections
            .iter_mut()
            .filter(|(_, connection)| connection.is_idle() && connection.transport.moves());
        for (_, connection) in idle {
            let usual = if connection.served > 0 {
                kept_alive
            } else {
                silent
            };
            connection.deadline = connection
                .deadline
                .max(connection.active.saturating_add(usual));
        }
    }

    /// When draining: idle connections get a moment for a request that is on its way, then close. Not those that are being
    /// given to another process.
    pub(crate) fn hurry_idle(&mut self, now: Now) {
        let (limit, giving) = (now.mono + DRAIN_GRACE, self.is_giving());
        let stays = |one: &Connection| giving && one.transport.moves();
        let waits = |one: &Connection| one.is_idle() || matches!(one.phase, Phase::Handshake);
        let idle: Vec<Id> = self
            .connections
            .iter_mut()
            .filter(|(_, connection)| {
                waits(connection) && connection.deadline > limit && !stays(connection)
            })
            .map(|(id, _)| id)
            .collect();
        for id in idle {
            self.set_deadline(id, limit);
        }
    }
}
