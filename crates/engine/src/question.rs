//! One request to ourselves and the status of its answer: bytes out, bytes in, no socket. Not an HTTP client: of the answer
//! only the status is looked at, for it comes from this very engine. Invariant: what is read is bounded, whatever comes.

/// The longest answer that may come before its final status line is complete, in bytes.
const LONGEST: usize = 64 * 1024;

/// What the first bytes of an answer say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Not enough yet.
    Partial,
    /// The final status.
    Status(u16),
    /// This is no answer.
    Garbled,
}

/// A GET for `target`, after whose answer the connection ends. `fields`: names and values, besides those that are always
/// there. None of the texts may hold a line break.
pub fn question(target: &str, host: &str, agent: &str, fields: &[(String, String)]) -> Vec<u8> {
    let mut bytes = format!("GET {target} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: {agent}\r\n");
    for (name, value) in fields {
        bytes.extend([name, ": ", value, "\r\n"]);
    }
    bytes.push_str("Connection: close\r\n\r\n");
    bytes.into_bytes()
}

/// Reads the final status, which interim answers (1xx) may precede. `bytes`: all that has come.
pub fn answer(bytes: &[u8]) -> Answer {
    let mut rest = bytes;
    loop {
        let Some(line) = until(rest, b"\r\n") else {
            return partial(bytes);
        };
        match status(line) {
            None => return Answer::Garbled,
            Some(interim) if interim < 200 => {}
            Some(status) => return Answer::Status(status),
        }
        let Some(head) = until(rest, b"\r\n\r\n") else {
            return partial(bytes);
        };
        rest = rest.get(head.len() + 4..).unwrap_or_default();
    }
}

fn partial(bytes: &[u8]) -> Answer {
    if bytes.len() > LONGEST {
        Answer::Garbled
    } else {
        Answer::Partial
    }
}

/// What comes before the first `end`.
fn until<'b>(bytes: &'b [u8], end: &[u8]) -> Option<&'b [u8]> {
    let at = bytes.windows(end.len()).position(|window| window == end)?;
    bytes.get(..at)
}

/// `HTTP/1.x NNN`, and perhaps a reason.
fn status(line: &[u8]) -> Option<u16> {
    let [_, b' ', a, b, c, rest @ ..] = line.strip_prefix(b"HTTP/1.")? else {
        return None;
    };
    let digits = std::str::from_utf8(&[*a, *b, *c]).ok()?.parse().ok()?;
    let ends = rest.first().is_none_or(|next| *next == b' ');
    (ends && (100..1000).contains(&digits)).then_some(digits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_has_what_every_request_needs_and_what_is_asked_for() {
        let fields = [("X-Forwarded-Proto".to_owned(), "https".to_owned())];
        let bytes = question("/a?b", "example.org", "me", &fields);
        let expected = "GET /a?b HTTP/1.1\r\nHost: example.org\r\nUser-Agent: me\r\n\
                        X-Forwarded-Proto: https\r\nConnection: close\r\n\r\n";
        assert_eq!(String::from_utf8(bytes).unwrap(), expected);
    }

    #[test]
    fn the_status_is_read_wherever_the_answer_is_cut() {
        let hints = b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n";
        let whole = [hints, &b"HTTP/1.1 503 Down\r\nServer: x\r\n\r\nbody"[..]].concat();
        let line = hints.len() + b"HTTP/1.1 503 Down\r\n".len();
        for end in 0..whole.len() {
            let expected = if end < line {
                Answer::Partial
            } else {
                Answer::Status(503)
            };
            assert_eq!(answer(&whole[..end]), expected, "{end}");
        }
    }

    #[test]
    fn a_reason_may_be_missing() {
        assert_eq!(answer(b"HTTP/1.0 204\r\n"), Answer::Status(204));
        assert_eq!(answer(b"HTTP/1.1 999 \r\n"), Answer::Status(999));
    }

    #[test]
    fn what_is_no_answer_is_told_apart_from_one_that_is_not_complete() {
        for garbled in [
            "HTTP/2 200\r\n",
            "HTTP/1.1 20\r\n",
            "HTTP/1.1 2000\r\n",
            "HTTP/1.1 +20 OK\r\n",
            "HTTP/1.1 099\r\n",
            "\r\n",
        ] {
            assert_eq!(answer(garbled.as_bytes()), Answer::Garbled, "{garbled:?}");
        }
        assert_eq!(answer(&vec![b'a'; LONGEST]), Answer::Partial);
        assert_eq!(answer(&vec![b'a'; LONGEST + 1]), Answer::Garbled);
        let hints = b"HTTP/1.1 103 Early Hints\r\n\r\n".repeat(LONGEST);
        assert_eq!(answer(&hints), Answer::Garbled);
    }
}
