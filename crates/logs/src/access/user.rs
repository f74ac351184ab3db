//! The user name of a Basic `Authorization` header (RFC 7617 §2), for the atom `u`.
//!
//! For: the name only. Not for: authentication; nothing here is verified.
//! Invariant: of the credentials nothing but the name is ever written, so what is malformed (no
//! colon, bytes outside the base64 alphabet) has no name.

/// Appends the raw user name in `credentials`; false, with nothing appended, if there is none.
pub(super) fn append_user(credentials: &[u8], out: &mut Vec<u8>) -> bool {
    let start = out.len();
    let found = basic_token(credentials).is_some_and(|token| decode_to_colon(token, out));
    if !found {
        out.truncate(start);
    }
    found && out.len() > start
}

fn basic_token(credentials: &[u8]) -> Option<&[u8]> {
    let (scheme, token) = credentials.split_at_checked(b"Basic ".len())?;
    scheme
        .eq_ignore_ascii_case(b"Basic ")
        .then(|| token.trim_ascii())
}

/// Decodes base64 (RFC 4648 §4) up to the first `:`, and tells whether one was met.
fn decode_to_colon(token: &[u8], out: &mut Vec<u8>) -> bool {
    let (mut bits, mut count) = (0_u32, 0_u32);
    for digit in token {
        let Some(value) = value_of(*digit) else {
            return false;
        };
        bits = bits << 6 | value;
        count += 6;
        if count >= 8 {
            count -= 8;
            match (bits >> count).to_le_bytes()[0] {
                b':' => return true,
                byte => out.push(byte),
            }
        }
    }
    false
}

fn value_of(digit: u8) -> Option<u32> {
    let value = match digit {
        b'A'..=b'Z' => digit - b'A',
        b'a'..=b'z' => digit - b'a' + 26,
        b'0'..=b'9' => digit - b'0' + 52,
        b'+' => 62,
        b'/' => 63,
        _ => return None,
    };
    Some(value.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(credentials: &str, expected: Option<&str>) {
        let mut out = b"before ".to_vec();
        let found = append_user(credentials.as_bytes(), &mut out);
        let user = found.then(|| String::from_utf8_lossy(&out[7..]).into_owned());
        assert_eq!(user.as_deref(), expected, "{credentials}");
        assert!(found || out == b"before ", "{credentials}");
    }

    #[test]
    fn the_name_stands_before_the_first_colon() {
        check("Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==", Some("Aladdin"));
        check("Basic YTpiOmM=", Some("a"));
        check("Basic dGVzdDoxMjPCow==", Some("test"));
    }

    #[test]
    fn the_scheme_may_have_any_case_and_the_token_space_around_it() {
        check("bAsIc   YTpi  ", Some("a"));
    }

    #[test]
    fn missing_padding_does_no_harm() {
        check("Basic YTpiYw", Some("a"));
    }

    #[test]
    fn other_schemes_and_garbage_have_no_name() {
        for credentials in [
            "",
            "Basic",
            "Basic ",
            "Bearer YTpi",
            "BasicYTpi",
            "Basic \u{e9}",
            "Basic Y!Tpi",
        ] {
            check(credentials, None);
        }
    }

    #[test]
    fn an_empty_name_is_none() {
        check("Basic OmI=", None);
    }

    #[test]
    fn a_token_without_a_colon_is_never_shown() {
        check("Basic c2VjcmV0", None);
    }
}
