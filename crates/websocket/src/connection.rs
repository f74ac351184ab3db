//! One open connection: which frame stands where, who has closed, what is owed to the peer.
//!
//! Everything a peer may do is decided here, and nothing else: heads are judged in `head`, contents
//! in `message`, compression is in `deflate`. A connection has no input buffer, since every byte is
//! consumed when it arrives, and while no message is in pieces it holds no memory but its own.

use std::borrow::Cow;
use std::mem;

use crate::close::{self, Close, Code};
use crate::deflate::{Agreement, Contexts, Pool};
use crate::event::{Closed, Event, Kind, State, Step};
use crate::head::{FrameHead, Head, Opcode, Partial};
use crate::input::Input;
use crate::mask;
use crate::message::Message;
use crate::violation::Violation;

/// While so many bytes wait to be sent, pings are not answered at once: only the last one is, as soon
/// as there is room (RFC 6455 §5.5.3). So pings from a peer that reads nothing take no memory.
const CROWDED: usize = 16 * 1024;

/// The server's side of one connection after its opening handshake.
#[derive(Debug)]
pub struct Connection {
    state: State,
    place: Place,
    /// The message between whose frames the next one stands.
    message: Option<Message>,
    /// What has arrived of a control frame that came in pieces.
    control: Vec<u8>,
    /// The payload of the last ping, if it could not be answered yet.
    unanswered: Option<Box<[u8]>>,
    /// Most bytes of a message.
    limit: usize,
    /// Present if permessage-deflate is agreed.
    contexts: Option<Box<Contexts>>,
}

/// What the next byte belongs to.
#[derive(Clone, Copy, Debug)]
enum Place {
    Head(Partial),
    Payload(Payload),
}

/// The payload of the current frame.
#[derive(Clone, Copy, Debug)]
struct Payload {
    opcode: Opcode,
    fin: bool,
    /// Turned so that it fits the next byte.
    mask: [u8; 4],
    /// Bytes that are still to come.
    left: u64,
}

impl Connection {
    /// A connection whose messages have at most `limit` bytes each, decompressed or not, and which is
    /// compressed as agreed, if so.
    pub fn new(limit: usize, deflate: Option<Agreement>) -> Self {
        Self {
            state: State::Open,
            place: Place::Head(Partial::default()),
            message: None,
            control: Vec::new(),
            unanswered: None,
            limit,
            contexts: deflate.map(|agreement| Box::new(Contexts::new(agreement))),
        }
    }

    /// How far the connection is from its end.
    pub fn state(&self) -> State {
        self.state
    }

    /// Whether a frame or a message has begun and not ended: the peer is not idle, but sending.
    pub fn is_amid(&self) -> bool {
        let between = matches!(&self.place, Place::Head(partial) if partial.is_empty());
        !between || self.message.is_some()
    }

    /// Consumes bytes of the peer up to the next event. What the protocol answers is appended to
    /// `out`, in which the caller leaves what it has not sent yet. `input` is unmasked in place.
    ///
    /// The events do not depend on how the bytes are cut.
    pub fn receive<'i>(
        &mut self,
        input: &'i mut [u8],
        pool: &mut Pool,
        out: &mut Vec<u8>,
    ) -> Step<'i> {
        self.catch_up(out);
        let given = input.len();
        let mut input = Input::new(input);
        let event = match self.next(&mut input, pool, out) {
            Ok(event) => event,
            Err(violation) => Some(self.fail(violation, out)),
        };
        Step {
            consumed: given - input.left().len(),
            event,
        }
    }

    fn next<'i>(
        &mut self,
        input: &mut Input<'i>,
        pool: &mut Pool,
        out: &mut Vec<u8>,
    ) -> Result<Option<Event<'i>>, Violation> {
        while self.state != State::Over {
            match self.place {
                Place::Head(_) => {
                    if !self.head(input)? {
                        return Ok(None);
                    }
                }
                Place::Payload(payload) if input.left().is_empty() && payload.left > 0 => {
                    return Ok(None);
                }
                Place::Payload(payload) => {
                    if let Some(event) = self.payload(payload, input, pool, out)? {
                        return Ok(Some(event));
                    }
                }
            }
        }
        input.take(usize::MAX);
        Ok(None)
    }

    /// Reads a head; whether it is complete now.
    fn head(&mut self, input: &mut Input<'_>) -> Result<bool, Violation> {
        let Place::Head(partial) = &mut self.place else {
            return Ok(true);
        };
        let (head, taken) = partial.read(input.left())?;
        input.take(taken);
        let Some(head) = head else {
            return Ok(false);
        };
        self.begin(&head)?;
        self.place = Place::Payload(Payload {
            opcode: head.opcode,
            fin: head.fin,
            mask: head.mask,
            left: head.len,
        });
        Ok(true)
    }

    /// Judges a frame by what came before it (RFC 6455 §5.4).
    fn begin(&mut self, head: &Head) -> Result<(), Violation> {
        let kind = match head.opcode {
            Opcode::Close | Opcode::Ping | Opcode::Pong => return Ok(()),
            Opcode::Text => Some(Kind::Text),
            Opcode::Binary => Some(Kind::Binary),
            Opcode::Continuation => None,
        };
        let may_be_compressed = kind.is_some() && self.contexts.is_some();
        if head.compressed && !may_be_compressed {
            return Err(Violation::ReservedBit);
        }
        let message = match (kind, &mut self.message) {
            (Some(_), Some(_)) => return Err(Violation::Interleaved),
            (None, None) => return Err(Violation::NothingToContinue),
            (Some(kind), none) => none.insert(Message::new(kind, head.compressed)),
            (None, Some(message)) => message,
        };
        match self.state {
            State::Open => message.announce(head.len, self.limit),
            State::Closing | State::Over => Ok(()),
        }
    }

    /// Reads what is there of a payload.
    fn payload<'i>(
        &mut self,
        mut payload: Payload,
        input: &mut Input<'i>,
        pool: &mut Pool,
        out: &mut Vec<u8>,
    ) -> Result<Option<Event<'i>>, Violation> {
        let left = payload.left;
        let piece = input.take(usize::try_from(left).unwrap_or(usize::MAX));
        mask::take_off(piece, &mut payload.mask);
        payload.left -= piece.len() as u64;
        self.place = match payload.left {
            0 => Place::Head(Partial::default()),
            _ => Place::Payload(payload),
        };
        let ends = payload.left == 0;
        match (payload.opcode.is_control(), self.state) {
            (true, _) => self.control(payload.opcode, piece, ends, out),
            (false, State::Open) => self.data(piece, left, ends && payload.fin, pool),
            (false, _) => {
                if ends && payload.fin {
                    self.message = None;
                }
                Ok(None)
            }
        }
    }

    /// A piece of a message. `left`: bytes of its frame from this piece on.
    fn data<'i>(
        &mut self,
        piece: &'i mut [u8],
        left: u64,
        last: bool,
        pool: &mut Pool,
    ) -> Result<Option<Event<'i>>, Violation> {
        let Some(message) = &mut self.message else {
            return Ok(None);
        };
        let kind = message.kind;
        if last && message.is_empty() && !message.compressed {
            self.message = None;
            return whole(kind, piece).map(Some);
        }
        match &mut self.contexts {
            Some(contexts) if message.compressed => {
                let (inflater, limit) = (contexts.inflater(pool), self.limit);
                message.add_with(|data| inflater.decompress(piece, last, data, limit))?;
                if last {
                    contexts.message_ended(pool);
                }
            }
            _ => message.add(piece, left)?,
        }
        let Some(message) = self.message.take_if(|_| last) else {
            return Ok(None);
        };
        let data = Cow::Owned(message.finish()?);
        Ok(Some(Event::Message { kind, data }))
    }

    /// A piece of a control frame.
    fn control<'i>(
        &mut self,
        opcode: Opcode,
        piece: &'i mut [u8],
        ends: bool,
        out: &mut Vec<u8>,
    ) -> Result<Option<Event<'i>>, Violation> {
        let payload: Cow<'i, [u8]> = if ends && self.control.is_empty() {
            Cow::Borrowed(piece)
        } else {
            self.control.extend_from_slice(piece);
            if !ends {
                return Ok(None);
            }
            Cow::Owned(mem::take(&mut self.control))
        };
        Ok(Some(match opcode {
            Opcode::Ping => {
                self.answer(&payload, out);
                Event::Ping(payload)
            }
            Opcode::Close => self.peer_closes(&payload, out)?,
            _ => Event::Pong(payload),
        }))
    }

    fn answer(&mut self, ping: &[u8], out: &mut Vec<u8>) {
        match self.state {
            State::Open if out.len() < CROWDED => write(Opcode::Pong, ping, out),
            State::Open => self.unanswered = Some(ping.into()),
            State::Closing | State::Over => {}
        }
    }

    /// Answers the last ping if that had to wait, and `out` has room now. To be called when `out` has
    /// been sent; [`receive`](Self::receive) does it by itself.
    pub fn catch_up(&mut self, out: &mut Vec<u8>) {
        if out.len() < CROWDED
            && let Some(ping) = self.unanswered.take()
        {
            write(Opcode::Pong, &ping, out);
        }
    }

    /// The peer's close frame: it is answered with its own code (RFC 6455 §5.5.1).
    fn peer_closes(
        &mut self,
        payload: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<Event<'static>, Violation> {
        let close = Close::read(payload)?;
        if self.state == State::Open {
            close::write(close.code, "", out);
        }
        self.end();
        Ok(Event::Close(close))
    }

    /// Fails the connection (RFC 6455 §7.1.7).
    fn fail(&mut self, violation: Violation, out: &mut Vec<u8>) -> Event<'static> {
        if self.state == State::Open {
            close::write(Some(violation.code()), violation.text(), out);
        }
        self.end();
        Event::Failed(violation)
    }

    /// Lets go of everything: nothing is read any more.
    fn end(&mut self) {
        *self = Self {
            state: State::Over,
            ..Self::new(self.limit, None)
        };
    }

    /// Lets go of what only an open connection needs. Which frames may come is still to be known.
    fn leave(&mut self) {
        self.state = State::Closing;
        self.unanswered = None;
        if let Some(message) = &mut self.message {
            *message = Message::new(message.kind, message.compressed);
        }
    }

    /// Appends a message, compressed if that is agreed and it is not below the threshold. A text has to
    /// be UTF-8.
    pub fn send(
        &mut self,
        kind: Kind,
        data: &[u8],
        pool: &mut Pool,
        out: &mut Vec<u8>,
    ) -> Result<(), Closed> {
        self.check_open()?;
        if let Some(contexts) = &mut self.contexts
            && contexts.compresses(data.len())
            && contexts.compress(kind, data, pool, out)
        {
            return Ok(());
        }
        write(kind.into(), data, out);
        Ok(())
    }

    /// Whether [`send`](Self::send) would compress a message of `len` bytes. If not, its content need not be copied: send [`frame_head`](Self::frame_head) and then the content.
    pub fn compresses(&self, len: usize) -> bool {
        let contexts = self.contexts.as_deref();
        contexts.is_some_and(|contexts| contexts.compresses(len))
    }

    /// The head of an uncompressed message of `len` bytes, which have to be sent right after it.
    pub fn frame_head(&self, kind: Kind, len: usize) -> Result<FrameHead, Closed> {
        self.check_open()?;
        Ok(FrameHead::new(kind.into(), len))
    }

    /// Appends a ping. The pong that answers it has the same payload.
    pub fn ping(&self, payload: [u8; 4], out: &mut Vec<u8>) -> Result<(), Closed> {
        self.check_open()?;
        write(Opcode::Ping, &payload, out);
        Ok(())
    }

    /// Appends a close frame. A reason beyond 123 bytes is cut; without a code there is none.
    pub fn close(
        &mut self,
        code: Option<Code>,
        reason: &str,
        out: &mut Vec<u8>,
    ) -> Result<(), Closed> {
        self.check_open()?;
        close::write(code, reason, out);
        self.leave();
        Ok(())
    }

    fn check_open(&self) -> Result<(), Closed> {
        match self.state {
            State::Open => Ok(()),
            State::Closing | State::Over => Err(Closed),
        }
    }
}

/// A message that is in the input in one piece.
fn whole(kind: Kind, piece: &mut [u8]) -> Result<Event<'_>, Violation> {
    if kind == Kind::Text && simdutf8::basic::from_utf8(piece).is_err() {
        return Err(Violation::Utf8);
    }
    let data = Cow::Borrowed(&*piece);
    Ok(Event::Message { kind, data })
}

fn write(opcode: Opcode, payload: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(FrameHead::new(opcode, payload.len()).as_bytes());
    out.extend_from_slice(payload);
}
