//! What a server tolerates: limits and the few switches that loosen or tighten the rules.
//!
//! Plain data, made once from the settings and shared by every connection. The names are those of
//! the settings. It holds no rule: each rule is where the thing it judges is read. Two of
//! gunicorn's switches have no counterpart here: `permit_obsolete_folding` and
//! `strip_header_spaces` would make the parsed bytes differ from the received ones, and both exist
//! only to accept what RFC 9112 §5.1 and §5.2 tell servers to refuse.

/// Upper bound of [`Limits::head`], whatever was configured. Keeps every offset within 32 bits.
pub(crate) const HEAD_CEILING: usize = 16 << 20;

/// Sizes in bytes, unless said otherwise. Reaching a limit is allowed; passing it is refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// The request line without its CRLF. 0 means the largest value, 8190. Beyond: 414.
    pub request_line: usize,
    /// Number of field lines, counted before any is dropped. 0 means the largest value, 32768.
    /// Beyond: 431.
    pub fields: usize,
    /// One field line with its CRLF. 0 means 8190. Beyond: 431.
    pub field_size: usize,
    /// The whole head with its empty line; at most 16 MiB. Beyond: 431.
    pub head: usize,
    /// The extensions of one chunk, from the first `;`. Over a whole body, framing may exceed twice
    /// the data by 64 times this. Beyond: 400.
    pub chunk_extension: usize,
    /// All trailer lines of one body with their CRLFs. Beyond: 431.
    pub trailers: usize,
}

impl Limits {
    /// Limits from the three settings that gunicorn has; the others are derived. A head may be as
    /// large as its parts may be together, but not above 256 KiB, which keeps a client from parking
    /// megabytes in a connection.
    pub fn new(request_line: usize, fields: usize, field_size: usize) -> Self {
        let base = Self {
            request_line,
            fields,
            field_size,
            ..Self::default()
        };
        let parts = base.field_max().saturating_mul(base.fields_max());
        let head = parts.saturating_add(base.line_max() + 6).min(256 << 10);
        Self { head, ..base }
    }

    pub(crate) fn line_max(&self) -> usize {
        if self.request_line == 0 {
            8190
        } else {
            self.request_line.min(8190)
        }
    }

    pub(crate) fn fields_max(&self) -> usize {
        if self.fields == 0 {
            32_768
        } else {
            self.fields.min(32_768)
        }
    }

    /// Of one field line, CRLF included.
    pub(crate) fn field_max(&self) -> usize {
        if self.field_size == 0 {
            8190
        } else {
            self.field_size
        }
    }

    /// As much of `bytes` as a head may occupy.
    pub(crate) fn view<'b>(&self, bytes: &'b [u8]) -> &'b [u8] {
        let most = self.head.min(HEAD_CEILING);
        bytes.get(..most).unwrap_or(bytes)
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            request_line: 4094,
            fields: 100,
            field_size: 8190,
            head: 256 << 10,
            chunk_extension: 256,
            trailers: 16 << 10,
        }
    }
}

/// What happens to a field whose name contains an underscore, which a WSGI environ cannot tell from
/// a hyphen.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub enum HeaderMap {
    /// It is left out, and counted in [`Head::dropped`](crate::Head::dropped).
    #[default]
    Drop,
    /// The request is refused with 400.
    Refuse,
    /// It is kept: a client can then pretend to be a proxy.
    Dangerous,
}

/// Limits and switches. The default is gunicorn's.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Policy {
    /// How much of everything.
    pub limits: Limits,
    /// Names with underscores.
    pub header_map: HeaderMap,
    /// Names with underscores that a trusted proxy may set, whatever `header_map` says; `*` means
    /// all.
    pub forwarder_headers: Vec<String>,
    /// Allow methods with lower case, with `#`, or outside of 3 to 20 characters.
    pub permit_unconventional_method: bool,
    /// Allow any `HTTP/d.d`; what is above 1.1 is then treated as 1.1, what is below as 1.0.
    pub permit_unconventional_version: bool,
    /// Compare methods without regard to case and allow lower case. The method's span still shows
    /// the received bytes: who hands them on puts them into upper case.
    pub casefold_method: bool,
}

impl Policy {
    /// Whether a name with an underscore passes because a trusted proxy may set it.
    pub(crate) fn forwards(&self, name: &[u8]) -> bool {
        let passes =
            |allowed: &String| allowed == "*" || allowed.as_bytes().eq_ignore_ascii_case(name);
        self.forwarder_headers.iter().any(passes)
    }
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            limits: Limits::default(),
            header_map: HeaderMap::Drop,
            forwarder_headers: vec!["SCRIPT_NAME".to_owned(), "PATH_INFO".to_owned()],
            permit_unconventional_method: false,
            permit_unconventional_version: false,
            casefold_method: false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zero_means_the_largest_line_and_number_of_fields() {
        let limits = Limits::new(0, 0, 0);
        assert_eq!(
            (limits.line_max(), limits.fields_max(), limits.field_max()),
            (8190, 32_768, 8190)
        );
    }

    #[test]
    fn a_head_may_be_as_large_as_its_parts_up_to_256_kib() {
        assert_eq!(Limits::new(100, 2, 50).head, 206);
        assert_eq!(Limits::new(4094, 100, 8190).head, 256 << 10);
        assert_eq!(Limits::new(4094, usize::MAX, usize::MAX).head, 256 << 10);
    }

    #[test]
    fn forwarder_names_are_compared_without_case_and_a_star_means_all() {
        assert!(Policy::default().forwards(b"script_name"));
        assert!(!Policy::default().forwards(b"REMOTE_USER"));
        let all = Policy {
            forwarder_headers: vec!["*".to_owned()],
            ..Policy::default()
        };
        assert!(all.forwards(b"REMOTE_USER"));
    }
}
