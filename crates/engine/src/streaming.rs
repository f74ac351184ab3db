//! Request bodies that an asynchronous application takes while they come, and what such an application waits for: the next
//! bytes, the client's end, room for its response. Only with [`crate::Options::streams`]; otherwise bodies are complete before
//! anybody sees them (`reading`).
//!
//! ```text
//!  head ─▶ App, Body::Open ── pull ─▶ Data … Data, and no more ─────────────────┐
//!             │                └─▶ Pending ── bytes ─▶ Notice::Progress ─▶ pull  │
//!             └── finish, something unread ─▶ Flush ─▶ Skip ─ 64 KiB at most ─▶ Head
//!                                                       └─ more ─▶ Linger
//! ```
//!
//! Invariant: bytes are read only when the application asks, at most one buffer of them; the client's time counts only while
//! the application waits for it.

use oxicorn_board::Count;
use oxicorn_http1::{Body as Decoder, Head, Step, Version};

use crate::clock::Now;
use crate::connection::{Connection, Phase};
use crate::engine::{Engine, Notice};
use crate::exchange::{Body, Exchange};
use crate::options::Options;
use crate::reading::{BODY_READS, copy_to, exceeds, make_space, receive};
use crate::refusal::Refusal;
use crate::slab::Id;
use crate::transport::Received;
use crate::writing::Flow;

/// Bytes that one `recv` of a body takes at the most, and so the most that one pull gives.
const INTAKE: usize = 64 * 1024;

/// The most bytes of an unread body that are dropped so that the connection can go on.
const SKIPPED: u64 = 64 * 1024;

/// What a request body has next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Input {
    /// Bytes, perhaps none at the end. `more`: the body goes on.
    Data {
        /// More follows.
        more: bool,
    },
    /// Nothing yet. [`Notice::Progress`] says when to pull again.
    Pending,
    /// The client left, or its body was refused: nothing more will come.
    Gone,
}

/// A body on its way into the application.
#[derive(Debug)]
pub(crate) struct Inflow {
    decoder: Decoder,
    /// Bytes of data so far.
    received: u64,
    /// Milliseconds that the client was waited for, before the present wait.
    waited: u64,
    /// When the present wait began, monotonic milliseconds.
    since: Option<u64>,
    /// The client waits for `100 Continue`.
    expects: bool,
}

/// What the engine knows of a request inside an asynchronous application.
#[derive(Clone, Copy, Debug, Default)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "facts about the request, each on its own"
)]
pub(crate) struct Course {
    /// Something of the response was sent.
    pub(crate) begun: bool,
    /// The engine has answered instead of the application.
    pub(crate) refused: bool,
    pub(crate) wants_input: bool,
    pub(crate) wants_room: bool,
}

/// What a look at the socket brought.
enum Drawn {
    Data { more: bool },
    Nothing,
}

/// Why nothing more of a body will come.
enum Loss {
    Left,
    Refused(Refusal),
}

impl Inflow {
    fn new(head: &Head, alone: bool, options: &Options) -> Self {
        Self {
            decoder: Decoder::new(head.framing, &options.http.limits),
            received: 0,
            waited: 0,
            since: None,
            expects: alone && head.expect_continue && head.version == Version::Http11,
        }
    }

    /// Appends the data of `input` to `data`. How much of it was used, and whether the body is complete.
    fn decode(
        &mut self,
        input: &[u8],
        data: &mut Vec<u8>,
        options: &Options,
    ) -> Result<(usize, bool), Refusal> {
        let mut at = 0;
        loop {
            let rest = input.get(at..).unwrap_or_default();
            match self.decoder.advance(rest).map_err(Refusal::Parse)? {
                Step::Data { skip, len } => {
                    self.received += len as u64;
                    if exceeds(self.received, options) {
                        return Err(Refusal::BodyTooLarge);
                    }
                    data.extend_from_slice(rest.get(skip..skip + len).unwrap_or_default());
                    at += skip + len;
                }
                Step::More { consumed } => return Ok((at + consumed, self.decoder.is_done())),
                Step::End { consumed } => return Ok((at + consumed, true)),
            }
        }
    }

    /// Whether what is left may be short enough to be dropped.
    fn can_be_skipped(&self) -> bool {
        let short = self
            .decoder
            .remaining_hint()
            .is_none_or(|left| left <= SKIPPED);
        short && !self.expects
    }

    /// Counts the present wait, if there is one.
    fn end_wait(&mut self, now: Now) {
        let since = self.since.take();
        self.waited += since.map_or(0, |since| now.mono.saturating_sub(since));
    }
}

impl Engine {
    /// The head in `spare` is complete and its body is not: hands the request out. `fresh`: the body has not begun in another
    /// process, which would have sent `100 Continue`.
    pub(crate) fn hand_out_open(
        &mut self,
        id: Id,
        filled: usize,
        fresh: bool,
        now: Now,
    ) -> Box<Exchange> {
        let end = self.spare.head.len as usize;
        let inflow = Inflow::new(&self.spare.head, fresh && end == filled, &self.options);
        self.spare.body = Body::Open;
        let exchange = self.hand_out(id, end..filled, now);
        if let Some(connection) = self.connections.get_mut(id) {
            connection.inflow = Some(Box::new(inflow));
        }
        exchange
    }

    /// The next bytes of an open body, in place of what is in `data`. After [`Input::Gone`] there are none.
    pub fn pull(&mut self, exchange: &Exchange, data: &mut Vec<u8>, now: Now) -> Input {
        data.clear();
        let Some((id, connection)) = self.in_application(exchange) else {
            return Input::Gone;
        };
        match &mut connection.inflow {
            None => return Input::Data { more: false },
            Some(inflow) if inflow.expects => {
                inflow.expects = false;
                let silent = !connection.course.begun && connection.inbuf.is_empty();
                if silent {
                    self.send_continue(id, now);
                }
            }
            Some(_) => {}
        }
        match self.draw(id, data) {
            Ok(Drawn::Data { more }) => {
                self.end_wait_for_input(id, true, now);
                Input::Data { more }
            }
            Ok(Drawn::Nothing) => {
                self.wait_for_body(id, now);
                Input::Pending
            }
            Err(Loss::Left) => {
                self.lose_body(id, now);
                Input::Gone
            }
            Err(Loss::Refused(refusal)) => {
                self.refuse_exchange(id, &refusal, now);
                Input::Gone
            }
        }
    }

    /// Whether the client has ended its side. If not, [`Notice::Progress`] comes when it does.
    pub fn await_end(&mut self, exchange: &Exchange) -> bool {
        let Some((_, connection)) = self.in_application(exchange) else {
            return true;
        };
        connection.course.wants_input = !connection.ended;
        connection.ended
    }

    /// [`Notice::Progress`] comes when the application may go on with its response: for whoever waits without a thread. The
    /// client has the write timeout from here on.
    pub fn await_room(&mut self, exchange: &Exchange, now: Now) {
        let deadline = self.write_deadline(now);
        let Some((id, connection)) = self.in_application(exchange) else {
            return;
        };
        connection.course.wants_room = true;
        if connection.websocket.is_some() {
            self.limit_wait(id, deadline);
        } else {
            self.set_deadline(id, deadline);
        }
        self.arm_timer();
    }

    /// Whether the connection could go on if the response were complete now: what is unread of the body is short enough to be
    /// dropped.
    pub fn can_skip_rest(&mut self, exchange: &Exchange) -> bool {
        let found = self.in_application(exchange);
        found.is_some_and(|(_, connection)| connection.skips_rest())
    }

    /// Answers an error instead of the application, if no response has begun; else the connection is of no more use. The
    /// application will find its client gone.
    fn refuse_exchange(&mut self, id: Id, refusal: &Refusal, now: Now) {
        self.note_refusal(id, refusal);
        let Some(connection) = self.connections.get_mut(id) else {
            return;
        };
        connection.inflow = None;
        if connection.course.begun || connection.outbox.is_some() {
            connection.broken = true;
            connection.outbox = None;
        } else {
            connection.course.refused = true;
            self.queue_page(id, refusal, now);
        }
        self.set_deadline(id, u64::MAX);
        self.look_for_news(id, now);
    }

    /// For a connection inside the application: tells the driver when what it waits for has come.
    pub(crate) fn look_for_news(&mut self, id: Id, now: Now) {
        let Some(connection) = self.connections.get_mut(id) else {
            return;
        };
        if connection.websocket.is_some() {
            return self.attend(id, now);
        }
        let course = connection.course;
        if !course.wants_input && !course.wants_room {
            return;
        }
        let lost = connection.broken || course.refused;
        let input = course.wants_input && (lost || connection.has_news());
        let room = course.wants_room && (lost || connection.flow(&self.options) != Flow::Full);
        if input || room {
            let anew = connection.inflow.is_some();
            self.notices.push_back(Notice::Progress(id.token()));
            // All who wait look again.
            connection.course.wants_room = false;
            self.end_wait_for_input(id, anew, now);
        }
    }

    /// Nobody waits for input any more. `anew`: the client was waited for, and that is not the application's time.
    fn end_wait_for_input(&mut self, id: Id, anew: bool, now: Now) {
        let deadline = self.app_deadline(now);
        let Some(connection) = self.connections.get_mut(id) else {
            return;
        };
        let course = &mut connection.course;
        course.wants_input = false;
        let waits_for_room = course.wants_room;
        let answered = course.begun || course.refused;
        if let Some(inflow) = connection.inflow.as_deref_mut() {
            inflow.end_wait(now);
        }
        if waits_for_room {
            // The deadline is the client's for that.
        } else if answered {
            self.set_deadline(id, u64::MAX);
        } else if anew {
            self.set_deadline(id, deadline);
        }
    }

    fn wait_for_body(&mut self, id: Id, now: Now) {
        let Some(connection) = self.connections.get_mut(id) else {
            return;
        };
        connection.course.wants_input = true;
        let unread = connection.readable;
        let Some(inflow) = connection.inflow.as_deref_mut() else {
            return;
        };
        inflow.since.get_or_insert(now.mono);
        let began = now.mono.saturating_sub(inflow.waited);
        let received = inflow.received;
        let deadline = self.body_deadline(began, received, now);
        self.set_deadline(id, deadline);
        self.arm_timer();
        if unread {
            self.enqueue(id);
        }
    }

    fn lose_body(&mut self, id: Id, now: Now) {
        if let Some(connection) = self.connections.get_mut(id) {
            log::info!(target: "oxicorn", "{} left inside a request body", connection.peer);
            connection.broken = true;
            connection.outbox = None;
            connection.inflow = None;
            // Somebody else may wait for room.
            self.look_for_news(id, now);
        }
    }

    /// The deadline has passed of a request that is inside an asynchronous application, or that waits for room.
    pub(crate) fn overdue(&mut self, id: Id, now: Now) {
        let Some(connection) = self.connections.get_mut(id) else {
            return;
        };
        connection.deadline = u64::MAX;
        if connection.broken {
            return;
        }
        let course = connection.course;
        let waits_for_body = connection
            .inflow
            .as_ref()
            .is_some_and(|inflow| inflow.since.is_some());
        if course.wants_room {
            log::info!(target: "oxicorn", "Closed: {} does not read its response", connection.peer);
            self.board.add(Count::TimedOut, 1);
            connection.broken = true;
            connection.outbox = None;
            self.look_for_news(id, now);
        } else if waits_for_body {
            self.refuse_exchange(id, &Refusal::SlowBody, now);
        } else if !course.begun && !course.refused {
            self.refuse_exchange(id, &Refusal::SlowApplication, now);
            self.notices.push_back(Notice::Overdue(id.token()));
        }
    }

    /// What the socket has of the body, one buffer at the most.
    fn draw(&mut self, id: Id, data: &mut Vec<u8>) -> Result<Drawn, Loss> {
        let Some(connection) = self.connections.get_mut(id) else {
            return Err(Loss::Left);
        };
        draw(connection, &mut self.intake, data, &self.options)
    }

    /// Drops what is left of a body nobody wants.
    pub(crate) fn skip(&mut self, id: Id, now: Now) {
        let mut data = Vec::new();
        for _ in 0..BODY_READS {
            data.clear();
            let drawn = self.draw(id, &mut data);
            let Some(connection) = self.connections.get_mut(id) else {
                return;
            };
            let Phase::Skip { left } = &mut connection.phase else {
                return;
            };
            let rest = left.checked_sub(data.len() as u64);
            match (drawn, rest) {
                (Ok(Drawn::Data { more: false }), Some(_)) => return self.begin_next(id, now),
                (Ok(Drawn::Data { more: true }), Some(rest)) => *left = rest,
                (Ok(Drawn::Nothing), _) => {
                    if connection.readable {
                        self.enqueue(id);
                    }
                    return;
                }
                (Err(Loss::Left), _) => return self.drop_connection(id),
                (Ok(_), None) | (Err(Loss::Refused(_)), _) => return self.stop_skipping(id, now),
            }
        }
        self.enqueue(id);
    }

    /// The rest of the body is too long, too slow or damaged: the response was sent, the connection ends.
    pub(crate) fn stop_skipping(&mut self, id: Id, now: Now) {
        if let Some(connection) = self.connections.get_mut(id) {
            connection.inflow = None;
            connection.phase = Phase::Flush { close: true };
            self.after_response(id, now);
        }
    }

    /// The response is with the kernel, and the body is not read to its end.
    pub(crate) fn begin_skipping(&mut self, id: Id, now: Now) {
        let deadline = self.linger_deadline(now);
        if let Some(connection) = self.connections.get_mut(id) {
            connection.phase = Phase::Skip { left: SKIPPED };
            connection.show(self.board, connection.state());
            self.set_deadline(id, deadline);
            self.skip(id, now);
        }
    }
}

impl Connection {
    /// Whether the client's time counts that it takes to read.
    pub(crate) fn waits_for_room(&self) -> bool {
        self.course.wants_room || matches!(self.phase, Phase::Flush { .. } | Phase::Parting)
    }

    /// Whether what is unread of the body does not hinder a next request.
    pub(crate) fn skips_rest(&self) -> bool {
        self.inflow
            .as_ref()
            .is_none_or(|inflow| inflow.can_be_skipped())
    }

    /// There is something of the body, or the client's end.
    fn has_news(&self) -> bool {
        if self.inflow.is_some() {
            self.readable
        } else {
            self.ended
        }
    }
}

fn draw(
    connection: &mut Connection,
    intake: &mut Vec<u8>,
    data: &mut Vec<u8>,
    options: &Options,
) -> Result<Drawn, Loss> {
    let kept = std::mem::take(&mut connection.inbuf);
    if let Some(drawn) = absorb(connection, &kept, data, options)? {
        return Ok(drawn);
    }
    for _ in 0..BODY_READS {
        let kept = connection.inbuf.len();
        if intake.len() < INTAKE {
            intake.resize(INTAKE, 0);
        }
        make_space(intake, kept);
        copy_to(intake, &connection.inbuf);
        match receive(connection, intake, kept) {
            Ok(Received::Bytes(fresh)) => {
                let input = intake.get(..kept + fresh).unwrap_or_default();
                if let Some(drawn) = absorb(connection, input, data, options)? {
                    return Ok(drawn);
                }
            }
            Ok(Received::Nothing) => break,
            Ok(Received::End) | Err(_) => return Err(Loss::Left),
        }
    }
    Ok(Drawn::Nothing)
}

/// Decodes `input`, keeps what it does not use. `None`: there was nothing but framing.
fn absorb(
    connection: &mut Connection,
    input: &[u8],
    data: &mut Vec<u8>,
    options: &Options,
) -> Result<Option<Drawn>, Loss> {
    let Some(inflow) = connection.inflow.as_deref_mut() else {
        return Ok(Some(Drawn::Data { more: false }));
    };
    let (used, done) = inflow.decode(input, data, options).map_err(Loss::Refused)?;
    connection.inbuf = input.get(used..).unwrap_or_default().to_vec();
    if done {
        connection.inflow = None;
        return Ok(Some(Drawn::Data { more: false }));
    }
    let more = Drawn::Data { more: true };
    Ok((!data.is_empty()).then_some(more))
}
