//! Why a request was refused: the client's fault, by name, with its status code and its log text.
//!
//! One table states everything about a refusal, and every row has a case in `spec/http1`. The texts
//! never contain bytes of the peer, so they can go into a log or a response as they are. A refusal
//! is final: nothing that follows it on the connection may be read as a request, because the
//! framing can no longer be trusted (RFC 9112 §11.2).

use std::fmt;

/// Declares each refusal once: name, status, text.
macro_rules! rejects {
    ($($(#[$doc:meta])+ $name:ident = $status:literal, $text:literal;)+) => {
        /// Why a request was refused. The peer's fault, never ours.
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
        #[non_exhaustive]
        pub enum Reject { $($(#[$doc])+ $name,)+ }

        impl Reject {
            /// The status code of the answer.
            pub const fn status(self) -> u16 {
                match self { $(Self::$name => $status,)+ }
            }

            /// The log text: one clause, lower case, without peer data.
            pub const fn text(self) -> &'static str {
                match self { $(Self::$name => $text,)+ }
            }

            /// Every refusal there is.
            pub const fn all() -> &'static [Self] {
                &[$(Self::$name,)+]
            }
        }
    };
}

rejects! {
    /// A line ends in LF without CR (RFC 9112 §2.2 lets us refuse it; accepting it lets requests be
    /// smuggled).
    BareLineFeed = 400, "a line feed without a carriage return";
    /// A CR that is not followed by LF (RFC 9112 §2.2).
    BareCarriageReturn = 400, "a carriage return without a line feed";
    /// More bytes than `limit_request_line` (RFC 9112 §3).
    LineTooLong = 414, "the request line is too long";
    /// A byte outside of printable ASCII in the request line.
    LineByte = 400, "an illegal byte in the request line";
    /// Not `method SP target SP version` (RFC 9112 §3).
    LineMalformed = 400, "a malformed request line";
    /// The beginning of a TLS handshake record, which is in no request (RFC 8446 §5.1).
    TlsHandshake = 400, "a TLS handshake on a plain HTTP connection";
    /// The HTTP/2 connection preface, spoken to an HTTP/1.1 port (RFC 9113 §3.4).
    Http2Preface = 400, "an HTTP/2 preface on an HTTP/1.1 connection";
    /// A well-formed version other than 1.0 and 1.1 (RFC 9110 §15.6.6).
    Version = 505, "an unsupported HTTP version";
    /// A method that no registry knows: lower case, `#`, or not 3 to 20 characters.
    Method = 400, "an unconventional method";
    /// A `#` in the request target (RFC 9112 §3.2: a fragment is never sent).
    Fragment = 400, "a fragment in the request target";
    /// The form of the target does not belong to the method (RFC 9112 §3.2.3, §3.2.4).
    TargetForm = 400, "a request target that the method does not allow";
    /// None of the four forms of RFC 9112 §3.2.
    TargetMalformed = 400, "a malformed request target";
    /// An invalid host or port inside the target (RFC 9110 §4.2.1, §9.3.6).
    Authority = 400, "a malformed authority in the request target";
    /// `user@` in the authority of the target (RFC 9110 §4.2.4).
    Userinfo = 400, "user information in the request target";
    /// More field lines than `limit_request_fields`.
    TooManyFields = 431, "too many fields";
    /// A field line longer than `limit_request_field_size`.
    FieldTooLong = 431, "a field is too long";
    /// The head as a whole is larger than the server holds.
    HeadTooLarge = 431, "the request head is too large";
    /// Whitespace before the first field line (RFC 9112 §2.2).
    LeadingSpace = 400, "whitespace before the first field";
    /// A field value continued on the next line (RFC 9112 §5.2).
    Folding = 400, "a folded field";
    /// A field line without a colon (RFC 9112 §5).
    NoColon = 400, "a field without a colon";
    /// Whitespace between name and colon (RFC 9112 §5.1: must be refused).
    SpaceBeforeColon = 400, "whitespace before the colon of a field";
    /// A field name that is empty or not a token (RFC 9110 §5.1).
    FieldName = 400, "a malformed field name";
    /// A control character in a field (RFC 9110 §5.5).
    FieldByte = 400, "a control character in a field";
    /// A field name with an underscore, under `header_map = "refuse"`.
    Underscore = 400, "an underscore in a field name";
    /// HTTP/1.1 without a Host field (RFC 9112 §3.2).
    HostMissing = 400, "no Host field";
    /// More than one Host field (RFC 9112 §3.2).
    HostRepeated = 400, "two Host fields";
    /// A Host field that is not `host [":" port]` (RFC 9110 §7.2).
    HostMalformed = 400, "a malformed Host field";
    /// Both framings in one request (RFC 9112 §6.3, rule 3).
    LengthAndCoding = 400, "both Content-Length and Transfer-Encoding";
    /// More than one Content-Length line, equal or not (RFC 9112 §6.3, rule 5).
    LengthRepeated = 400, "two Content-Length fields";
    /// A Content-Length with anything but digits (RFC 9110 §8.6).
    LengthMalformed = 400, "a malformed Content-Length";
    /// A Content-Length that does not fit into 63 bits.
    LengthTooLarge = 400, "a Content-Length that is too large";
    /// A Transfer-Encoding in an HTTP/1.0 request (RFC 9112 §6.1).
    CodingOnHttp10 = 400, "a Transfer-Encoding on HTTP/1.0";
    /// A Transfer-Encoding that is not a list of coding names (RFC 9112 §6.1).
    CodingMalformed = 400, "a malformed Transfer-Encoding";
    /// A transfer coding other than chunked (RFC 9112 §6.1).
    CodingUnsupported = 501, "an unsupported transfer coding";
    /// `chunked` more than once (RFC 9112 §6.1).
    ChunkedRepeated = 400, "chunked applied twice";
    /// The last coding is not `chunked`: the length would be unknown (RFC 9112 §6.3, rule 4).
    ChunkedNotLast = 400, "chunked is not the last transfer coding";
    /// An expectation other than 100-continue (RFC 9110 §10.1.1).
    Expectation = 417, "an unknown expectation";
    /// Not one to sixteen hexadecimal digits (RFC 9112 §7.1).
    ChunkSize = 400, "a malformed chunk size";
    /// A chunk size that does not fit into 63 bits (RFC 9112 §7.1).
    ChunkTooLarge = 400, "a chunk size that is too large";
    /// An extension outside of the grammar of RFC 9112 §7.1.1.
    ChunkExtension = 400, "a malformed chunk extension";
    /// An extension longer than the limit for one chunk (RFC 9112 §7.1.1).
    ChunkExtensionTooLong = 400, "a chunk extension is too long";
    /// Far more framing than data in a chunked body.
    ChunkOverhead = 400, "too much chunk framing for too little data";
    /// The data of a chunk is not followed by CRLF (RFC 9112 §7.1).
    ChunkEnd = 400, "a chunk longer than its size";
    /// The trailer section is larger than its limit.
    TrailersTooLarge = 431, "the trailers are too large";
    /// A trailer that must not be one: framing, routing, authentication (RFC 9110 §6.5.1).
    TrailerForbidden = 400, "a field that must not be a trailer";
}

impl fmt::Display for Reject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text())
    }
}

impl std::error::Error for Reject {}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn every_text_is_one_lower_case_clause_of_its_own() {
        let mut seen = HashSet::new();
        for reject in Reject::all() {
            let text = reject.to_string();
            assert!(!text.ends_with('.') && text.len() < 60, "{text}");
            assert!(text.starts_with(|c: char| c.is_ascii_lowercase()), "{text}");
            assert!(seen.insert(text.clone()), "{text} is used twice");
        }
    }

    #[test]
    fn every_refusal_is_a_status_of_the_client_or_a_missing_feature() {
        for reject in Reject::all() {
            assert!(
                matches!(reject.status(), 400 | 414 | 417 | 431 | 501 | 505),
                "{reject:?}"
            );
        }
    }
}
