//! Splitting a line into words as a POSIX shell does, for `GUNICORN_CMD_ARGS`.
//!
//! Quotes and backslashes work as in Python's `shlex.split`; there are no comments and nothing is
//! expanded.

use std::iter::Peekable;
use std::str::Chars;

/// The words of a line.
///
/// # Errors
/// What is unfinished at the end of the line.
pub(crate) fn split(line: &str) -> Result<Vec<String>, &'static str> {
    let mut words = Vec::new();
    let mut rest = line.chars().peekable();
    loop {
        while rest.next_if(|c| c.is_whitespace()).is_some() {}
        if rest.peek().is_none() {
            return Ok(words);
        }
        words.push(word(&mut rest)?);
    }
}

fn word(rest: &mut Peekable<Chars<'_>>) -> Result<String, &'static str> {
    let mut word = String::new();
    while let Some(character) = rest.next_if(|c| !c.is_whitespace()) {
        match character {
            '\\' => word.push(rest.next().ok_or("nothing follows the last backslash")?),
            '\'' => single_quoted(rest, &mut word)?,
            '"' => double_quoted(rest, &mut word)?,
            other => word.push(other),
        }
    }
    Ok(word)
}

fn single_quoted(rest: &mut Peekable<Chars<'_>>, word: &mut String) -> Result<(), &'static str> {
    loop {
        match rest.next().ok_or(UNCLOSED)? {
            '\'' => return Ok(()),
            other => word.push(other),
        }
    }
}

/// Between double quotes a backslash only escapes a double quote and itself.
fn double_quoted(rest: &mut Peekable<Chars<'_>>, word: &mut String) -> Result<(), &'static str> {
    loop {
        match rest.next().ok_or(UNCLOSED)? {
            '"' => return Ok(()),
            '\\' => match rest.next().ok_or(UNCLOSED)? {
                escaped @ ('"' | '\\') => word.push(escaped),
                other => word.extend(['\\', other]),
            },
            other => word.push(other),
        }
    }
}

const UNCLOSED: &str = "a quotation is not closed";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_split_as_a_shell_splits_them() {
        for (line, words) in [
            ("", vec![]),
            ("  -w 3\t-b :80\n", vec!["-w", "3", "-b", ":80"]),
            ("-e 'A=b c' x", vec!["-e", "A=b c", "x"]),
            (r#"a"b \" \\ \n"c"#, vec![r#"ab " \ \nc"#]),
            (r"a\ b \'", vec!["a b", "'"]),
            ("'' \"\"", vec!["", ""]),
            ("a # b", vec!["a", "#", "b"]),
        ] {
            assert_eq!(split(line).unwrap(), words, "{line}");
        }
    }

    #[test]
    fn an_unfinished_line_is_refused() {
        assert_eq!(split("a 'b"), Err("a quotation is not closed"));
        assert_eq!(split("a \"b\\"), Err("a quotation is not closed"));
        assert_eq!(split("a \\"), Err("nothing follows the last backslash"));
    }
}
