//! Classes of bytes, as one table.
//!
//! Which characters a token, a value, a request line or a host name may consist of is stated here
//! and nowhere else.

/// `tchar` of RFC 9110 §5.6.2.
pub(crate) const TOKEN: u8 = 1;
/// What a field line consists of: HTAB, SP, visible characters and obs-text (RFC 9110 §5.5).
pub(crate) const FIELD: u8 = 2;
/// What a request line consists of: SP and visible ASCII.
pub(crate) const LINE: u8 = 4;
/// `unreserved` and `sub-delims` of RFC 3986 §2, without the comma: a host is never a list.
pub(crate) const HOST: u8 = 8;

/// Whether `byte` belongs to `class`.
#[inline]
pub(crate) fn is(byte: u8, class: u8) -> bool {
    CLASSES[byte as usize] & class != 0
}

/// How many bytes at the front belong to `class`.
#[inline]
pub(crate) fn run(bytes: &[u8], class: u8) -> usize {
    bytes
        .iter()
        .position(|&byte| !is(byte, class))
        .unwrap_or(bytes.len())
}

/// Whether `bytes` is one or more bytes of `class`.
#[inline]
pub(crate) fn all(bytes: &[u8], class: u8) -> bool {
    !bytes.is_empty() && bytes.iter().all(|&byte| is(byte, class))
}

/// Whether `text` is `usual` without regard to case. Nearly all peers write it the usual way, so
/// that is tried first.
#[inline]
pub(crate) fn is_text(text: &[u8], usual: &[u8]) -> bool {
    text == usual || text.eq_ignore_ascii_case(usual)
}

/// Whether there is an underscore, the one character of a field name that needs a policy. Names are
/// short, so eight bytes at a time beat a search routine; the last eight may overlap those before.
#[inline]
pub(crate) fn has_underscore(name: &[u8]) -> bool {
    let (words, rest) = name.as_chunks::<8>();
    let tail = name.last_chunk::<8>().map_or_else(
        || rest.contains(&b'_'),
        |last| word_has_underscore(u64::from_ne_bytes(*last)),
    );
    tail || words
        .iter()
        .any(|word| word_has_underscore(u64::from_ne_bytes(*word)))
}

/// The classic test for a zero byte, on the bytes that differ from an underscore by nothing.
#[inline]
fn word_has_underscore(word: u64) -> bool {
    const ONES: u64 = u64::from_ne_bytes([1; 8]);
    const UNDERSCORES: u64 = u64::from_ne_bytes([b'_'; 8]);
    let word = word ^ UNDERSCORES;
    word.wrapping_sub(ONES) & !word & (ONES << 7) != 0
}

const fn classes_of(byte: u8) -> u8 {
    let mark = matches!(
        byte,
        b'!' | b'$' | b'&' | b'\'' | b'*' | b'+' | b'-' | b'.' | b'_' | b'~'
    );
    let token =
        byte.is_ascii_alphanumeric() || mark || matches!(byte, b'#' | b'%' | b'^' | b'`' | b'|');
    let host = byte.is_ascii_alphanumeric() || mark || matches!(byte, b'(' | b')' | b';' | b'=');
    let line = matches!(byte, b' '..=b'~');
    let field = line || byte == b'\t' || byte >= 0x80;
    (token as u8) * TOKEN + (field as u8) * FIELD + (line as u8) * LINE + (host as u8) * HOST
}

static CLASSES: [u8; 256] = {
    let mut table = [0; 256];
    let mut byte = 0_u8;
    loop {
        table[byte as usize] = classes_of(byte);
        if byte == u8::MAX {
            break table;
        }
        byte += 1;
    }
};

#[cfg(test)]
mod tests {
    use super::*;

    fn members(class: u8) -> String {
        (0..=0x7f_u8)
            .filter(|&byte| is(byte, class))
            .map(char::from)
            .collect()
    }

    #[test]
    fn tokens_are_those_of_the_rfc() {
        let alphanumeric = ('0'..='9').chain('A'..='Z').chain('a'..='z');
        let mut expected: Vec<char> = "!#$%&'*+-.^_`|~".chars().chain(alphanumeric).collect();
        expected.sort_unstable();
        assert_eq!(members(TOKEN), expected.into_iter().collect::<String>());
        assert!((0x80..=0xff).all(|byte| !is(byte, TOKEN)));
    }

    #[test]
    fn a_host_name_has_no_delimiters_of_an_authority() {
        assert!("@:/?#[],% \"<>\\^`{|}".bytes().all(|byte| !is(byte, HOST)));
        assert!("az09-._~!$&'()*+;=".bytes().all(|byte| is(byte, HOST)));
    }

    #[test]
    fn only_the_tab_is_a_control_character_of_fields_and_none_of_lines() {
        let controls = (0..=0x1f).chain([0x7f]);
        assert!(
            controls
                .clone()
                .all(|byte| is(byte, FIELD) == (byte == b'\t'))
        );
        assert!(controls.chain(0x80..=0xff).all(|byte| !is(byte, LINE)));
    }

    #[test]
    fn an_underscore_is_found_at_every_place_of_every_length() {
        for len in 0..40 {
            let mut name = vec![b'-'; len];
            assert!(!has_underscore(&name) && !has_underscore(&vec![b'^'; len]));
            for at in 0..len {
                name[at] = b'_';
                assert!(has_underscore(&name), "{at} of {len}");
                name[at] = b'`';
                assert!(!has_underscore(&name), "{at} of {len}");
            }
        }
    }

    #[test]
    fn a_run_ends_at_the_first_byte_of_another_class() {
        assert_eq!(run(b"Host: x", TOKEN), 4);
        assert_eq!(run(b"", TOKEN), 0);
        assert!(all(b"Host", TOKEN) && !all(b"", TOKEN));
    }
}
