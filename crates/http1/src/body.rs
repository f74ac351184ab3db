//! The body that follows a head, found piece by piece without copying (RFC 9112 §6, §7).
//!
//! ```text
//!            Length(n)                      Chunked
//!                │                             │
//!                ▼                             ▼        size = 0
//!   ┌──────── Data(n)           ┌──────────► Size ───────────────► Trailers
//!   │            │              │              │ size > 0             │ empty line
//!   │            │ n bytes      │ CRLF         ▼                      ▼
//!   │            ▼              └─ DataEnd ◄─ Chunk(n)              Done
//!   └─────────► Done
//! ```
//!
//! The decoder never holds bytes: it says how many of the caller's are framing, data, or not
//! decidable yet. Framing that is complete is given up at once, so what a caller has to keep is at
//! most one chunk line or one trailer line.

use crate::chunked;
use crate::framing::Framing;
use crate::lines;
use crate::policy::Limits;
use crate::reject::Reject;

/// Decodes the body that follows a head. After an error it must not be used again.
#[derive(Clone, Debug)]
pub struct Body {
    state: State,
    /// Limit for the extensions of one chunk.
    extension: u32,
    /// What is left of the limit for trailers.
    trailers: u32,
    /// Framing beyond what the data so far justifies.
    overhead: u32,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    /// Inside a body of stated length: bytes still to come.
    Data(u64),
    /// Before a chunk line.
    Size,
    /// Inside a chunk: bytes still to come.
    Chunk(u64),
    /// Before the CRLF after the data of a chunk.
    DataEnd,
    /// Before a trailer line or the empty line.
    Trailers,
    Done,
}

/// What is at the front of the input. The caller consumes what is named before it calls again.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Step {
    /// Nothing more can be done without more bytes than were given.
    More {
        /// Bytes of framing that may be dropped.
        consumed: usize,
    },
    /// Data. Consume `skip + len` bytes.
    Data {
        /// Bytes of framing before the data.
        skip: usize,
        /// Bytes of data, at least one.
        len: usize,
    },
    /// The body is complete; what follows is the next request.
    End {
        /// Bytes that still belong to the body: last chunk and trailers.
        consumed: usize,
    },
}

/// Where one transition leads.
enum Next {
    /// Bytes of framing were understood.
    Skip(usize),
    /// Bytes of data are here.
    Data(usize),
    More,
    End,
}

impl Body {
    /// A decoder for the body of a head with this framing.
    pub fn new(framing: Framing, limits: &Limits) -> Self {
        let state = match framing {
            Framing::Empty | Framing::Length(0) => State::Done,
            Framing::Length(length) => State::Data(length),
            Framing::Chunked => State::Size,
        };
        let [extension, trailers] = [limits.chunk_extension, limits.trailers]
            .map(|limit| u32::try_from(limit).unwrap_or(u32::MAX));
        Self {
            state,
            extension,
            trailers,
            overhead: 0,
        }
    }

    /// Looks at the front of `input`. The sequence of data bytes and the result do not depend on
    /// how the input was cut.
    ///
    /// # Errors
    /// Why the body is refused; the connection cannot be used any more.
    #[inline]
    pub fn advance(&mut self, input: &[u8]) -> Result<Step, Reject> {
        let mut at = 0;
        loop {
            match self.next(lines::after(input, at))? {
                Next::Skip(len) => at += len,
                Next::Data(len) => return Ok(Step::Data { skip: at, len }),
                Next::More => return Ok(Step::More { consumed: at }),
                Next::End => return Ok(Step::End { consumed: at }),
            }
        }
    }

    /// Whether nothing of the body is still to come.
    #[inline]
    pub fn is_done(&self) -> bool {
        self.state == State::Done
    }

    /// Bytes of data still to come, where the framing states it.
    pub fn remaining_hint(&self) -> Option<u64> {
        match self.state {
            State::Data(left) => Some(left),
            State::Done => Some(0),
            _ => None,
        }
    }

    /// What has to stand before and behind the `len` bytes of data found so far, so that a new
    /// decoder that reads all of it arrives where this one is. Whoever goes on with the body
    /// elsewhere needs no state but bytes; trailers that were read are left out, and the limits for
    /// framing begin anew.
    pub fn reframed(&self, len: u64) -> (String, &'static str) {
        let line = |size: u64| format!("{size:x}\r\n");
        match self.state {
            State::Data(_) | State::Done => (String::new(), ""),
            State::Size if len == 0 => (String::new(), ""),
            State::Trailers if len == 0 => (String::new(), "0\r\n"),
            State::Size => (line(len), "\r\n"),
            State::Chunk(left) => (line(len.saturating_add(left)), ""),
            State::DataEnd => (line(len), ""),
            State::Trailers => (line(len), "\r\n0\r\n"),
        }
    }

    fn next(&mut self, rest: &[u8]) -> Result<Next, Reject> {
        match self.state {
            State::Data(left) => Ok(self.data(left, rest, State::Done, State::Data)),
            State::Chunk(left) => Ok(self.data(left, rest, State::DataEnd, State::Chunk)),
            State::Size => self.size(rest),
            State::DataEnd => self.data_end(rest),
            State::Trailers => self.trailer(rest),
            State::Done => Ok(Next::End),
        }
    }

    fn data(&mut self, left: u64, rest: &[u8], end: State, more: fn(u64) -> State) -> Next {
        let len = usize::try_from(left).unwrap_or(usize::MAX).min(rest.len());
        let left = left - len as u64;
        self.state = if left == 0 { end } else { more(left) };
        if len == 0 {
            Next::More
        } else {
            Next::Data(len)
        }
    }

    fn size(&mut self, rest: &[u8]) -> Result<Next, Reject> {
        let Some(line) = chunked::Line::read(rest, self.extension as usize)? else {
            return Ok(Next::More);
        };
        self.state = if line.size == 0 {
            State::Trailers
        } else {
            State::Chunk(line.size)
        };
        self.charge(&line)?;
        Ok(Next::Skip(line.len))
    }

    /// Counts framing against data, so that extensions cannot make a small body endless work. Each
    /// chunk is granted the longest size line and twice its data.
    fn charge(&mut self, line: &chunked::Line) -> Result<(), Reject> {
        let granted = line.size.saturating_mul(2).saturating_add(18);
        let overhead = (u64::from(self.overhead) + line.len as u64).saturating_sub(granted);
        let limit = self.extension.saturating_mul(64);
        self.overhead = u32::try_from(overhead).unwrap_or(u32::MAX);
        if self.overhead > limit {
            Err(Reject::ChunkOverhead)
        } else {
            Ok(())
        }
    }

    fn data_end(&mut self, rest: &[u8]) -> Result<Next, Reject> {
        match rest {
            [b'\r', b'\n', ..] => {
                self.state = State::Size;
                Ok(Next::Skip(2))
            }
            [] | [b'\r'] => Ok(Next::More),
            _ => Err(Reject::ChunkEnd),
        }
    }

    fn trailer(&mut self, rest: &[u8]) -> Result<Next, Reject> {
        let Some(len) = chunked::trailer_len(rest, self.trailers as usize)? else {
            return Ok(Next::More);
        };
        if len == 0 {
            self.state = State::Done;
            return Ok(Next::Skip(2));
        }
        self.trailers = self
            .trailers
            .saturating_sub(u32::try_from(len).unwrap_or(u32::MAX));
        Ok(Next::Skip(len))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chunked() -> Body {
        Body::new(Framing::Chunked, &Limits::default())
    }

    #[test]
    fn a_body_without_bytes_is_done_from_the_start() {
        for framing in [Framing::Empty, Framing::Length(0)] {
            let mut body = Body::new(framing, &Limits::default());
            assert!(body.is_done());
            assert_eq!(body.advance(b"GET"), Ok(Step::End { consumed: 0 }));
        }
    }

    #[test]
    fn a_stated_length_is_counted_down_and_the_rest_left_alone() {
        let mut body = Body::new(Framing::Length(5), &Limits::default());
        assert_eq!(body.advance(b""), Ok(Step::More { consumed: 0 }));
        assert_eq!(body.advance(b"he"), Ok(Step::Data { skip: 0, len: 2 }));
        assert_eq!(body.remaining_hint(), Some(3));
        assert_eq!(body.advance(b"lloGET"), Ok(Step::Data { skip: 0, len: 3 }));
        assert!(body.is_done());
        assert_eq!(body.advance(b"GET"), Ok(Step::End { consumed: 0 }));
    }

    #[test]
    fn framing_between_chunks_is_skipped_in_one_step() {
        let mut body = chunked();
        assert_eq!(
            body.advance(b"2;a\r\nhi\r\n"),
            Ok(Step::Data { skip: 5, len: 2 })
        );
        assert_eq!(
            body.advance(b"\r\n3\r\nyo"),
            Ok(Step::Data { skip: 5, len: 2 })
        );
        assert_eq!(body.remaining_hint(), None);
        assert_eq!(body.advance(b"u\r\n"), Ok(Step::Data { skip: 0, len: 1 }));
        assert_eq!(
            body.advance(b"\r\n0\r\na: b\r\n"),
            Ok(Step::More { consumed: 11 })
        );
        assert!(!body.is_done());
        assert_eq!(body.advance(b"\r\nGET"), Ok(Step::End { consumed: 2 }));
        assert!(body.is_done());
    }

    #[test]
    fn complete_framing_is_given_up_while_data_is_awaited() {
        let mut body = chunked();
        assert_eq!(body.advance(b"2\r\n"), Ok(Step::More { consumed: 3 }));
        assert_eq!(body.advance(b""), Ok(Step::More { consumed: 0 }));
        assert_eq!(body.advance(b"h"), Ok(Step::Data { skip: 0, len: 1 }));
    }

    #[test]
    fn sizes_without_extensions_are_never_charged_for() {
        let limits = Limits {
            chunk_extension: 0,
            ..Limits::default()
        };
        let mut body = Body::new(Framing::Chunked, &limits);
        for _ in 0..1000 {
            let step = body.advance(b"0000000000000001\r\nx");
            assert_eq!(step, Ok(Step::Data { skip: 18, len: 1 }));
            assert_eq!(body.advance(b"\r\n"), Ok(Step::More { consumed: 2 }));
        }
        let end = body.advance(b"0000000000000000\r\n\r\n");
        assert_eq!(end, Ok(Step::End { consumed: 20 }));
    }

    /// Feeds all of `input`; the data, and how much was used until more is needed or the end.
    fn feed(body: &mut Body, input: &[u8]) -> (Vec<u8>, usize) {
        let (mut data, mut at) = (Vec::new(), 0);
        loop {
            match body.advance(&input[at..]).unwrap() {
                Step::Data { skip, len } => {
                    data.extend_from_slice(&input[at + skip..at + skip + len]);
                    at += skip + len;
                }
                Step::More { consumed } | Step::End { consumed } => return (data, at + consumed),
            }
        }
    }

    #[test]
    fn a_body_goes_on_in_a_new_decoder_wherever_the_first_one_stopped() {
        let bodies: [(Framing, &[u8], &[u8]); 3] = [
            (Framing::Length(5), b"hello", b"hello"),
            (
                Framing::Chunked,
                b"3;x=y\r\nhel\r\n002\r\nlo\r\n0\r\na: b\r\nc: d\r\n\r\n",
                b"hello",
            ),
            (Framing::Chunked, b"0\r\na: b\r\n\r\n", b""),
        ];
        for (framing, raw, whole) in bodies {
            for cut in 0..raw.len() {
                let mut first = Body::new(framing, &Limits::default());
                let (data, used) = feed(&mut first, &raw[..cut]);
                let (before, after) = first.reframed(data.len() as u64);
                let again = [before.as_bytes(), &data, after.as_bytes(), &raw[used..]].concat();
                let mut second = Body::new(framing, &Limits::default());
                let (got, end) = feed(&mut second, &again);
                assert_eq!((got.as_slice(), end), (whole, again.len()), "cut at {cut}");
                assert!(second.is_done(), "cut at {cut}");
            }
        }
    }

    #[test]
    fn a_decoder_is_small() {
        assert!(size_of::<Body>() <= 40);
    }
}
