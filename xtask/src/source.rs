//! Source files as the rules see them: code and comments apart, and tests told from the rest.
//!
//! The separation is lexical. It knows comments, strings and character literals of Rust and Python,
//! and keeps every line where it is, so that findings can name lines.

use std::fs;
use std::path::Path;

use crate::failure;

/// A source file.
#[derive(Debug)]
pub(crate) struct Source {
    /// The path from the repository's root, with `/`.
    pub(crate) path: String,
    /// The whole text.
    pub(crate) text: String,
    /// The text without comments and without the contents of strings.
    pub(crate) code: String,
    /// The comments alone.
    pub(crate) comments: String,
}

impl Source {
    pub(crate) fn new(path: &str, text: &str) -> Self {
        let language = if is_a(path, "rs") {
            Language::Rust
        } else {
            Language::Python
        };
        let (code, comments) = separate(text, language);
        Self {
            path: path.into(),
            text: text.into(),
            code,
            comments,
        }
    }

    pub(crate) fn is_rust(&self) -> bool {
        is_a(&self.path, "rs")
    }

    pub(crate) fn is_python(&self) -> bool {
        is_a(&self.path, "py")
    }

    /// Whether the whole file is a test.
    pub(crate) fn is_test(&self) -> bool {
        let mut folders = self.path.split('/');
        folders.any(|part| matches!(part, "tests" | "tests.rs" | "testkit"))
    }

    /// The line from which on a Rust file holds its unit tests; the number of lines if it has none.
    pub(crate) fn first_test_line(&self) -> usize {
        if self.is_test() {
            return 0;
        }
        let mut lines = self.code.lines();
        lines
            .position(|line| line.trim() == "#[cfg(test)]")
            .unwrap_or(self.code.lines().count())
    }
}

fn is_a(path: &str, extension: &str) -> bool {
    Path::new(path)
        .extension()
        .is_some_and(|found| found == extension)
}

/// All Rust and Python files of the repository's own, sorted by path.
pub(crate) fn read_all(root: &Path) -> Result<Vec<Source>, String> {
    let mut paths = Vec::new();
    for folder in ["crates", "xtask", "python", "tests", "examples", "benches"] {
        collect(
            &root.join(folder),
            &mut |path| is_a(path, "rs") || is_a(path, "py"),
            &mut paths,
        )?;
    }
    paths.sort();
    let read = |path: &String| {
        let text = fs::read_to_string(path).map_err(|error| failure(Path::new(path), &error))?;
        let prefix = format!("{}/", root.display());
        Ok(Source::new(
            path.strip_prefix(&prefix).unwrap_or(path),
            &text,
        ))
    };
    paths.iter().map(read).collect()
}

/// Adds the files below a folder that are wanted; a folder that is missing has none. Hidden folders
/// and what tools put aside are left out.
fn collect(
    folder: &Path,
    wanted: &mut dyn FnMut(&str) -> bool,
    found: &mut Vec<String>,
) -> Result<(), String> {
    let Ok(entries) = fs::read_dir(folder) else {
        return Ok(());
    };
    for entry in entries {
        let path = entry.map_err(|error| failure(folder, &error))?.path();
        let name = path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        let text = path.to_string_lossy().into_owned();
        if path.is_dir() && !name.starts_with('.') && !ASIDE.contains(&name.as_str()) {
            collect(&path, wanted, found)?;
        } else if path.is_file() && wanted(&text) {
            found.push(text);
        }
    }
    Ok(())
}

const ASIDE: [&str; 4] = ["target", "__pycache__", "node_modules", "site-packages"];

#[derive(Clone, Copy, PartialEq, Eq)]
enum Language {
    Rust,
    Python,
}

/// What a piece of text is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Piece {
    Code,
    Comment,
    String,
}

/// Code and comments, each with blanks in place of everything else.
fn separate(text: &str, language: Language) -> (String, String) {
    let (mut code, mut comments) = (String::new(), String::new());
    let mut rest = text;
    while !rest.is_empty() {
        let (piece, length) = next_piece(rest, language, code.chars().next_back());
        let (taken, after) = rest.split_at(length);
        rest = after;
        for character in taken.chars() {
            let blank = if character == '\n' { '\n' } else { ' ' };
            code.push(if piece == Piece::Code {
                character
            } else {
                blank
            });
            comments.push(if piece == Piece::Comment {
                character
            } else {
                blank
            });
        }
    }
    (code, comments)
}

/// What the text starts with, and how many bytes of it belong together.
fn next_piece(text: &str, language: Language, before: Option<char>) -> (Piece, usize) {
    let string = match language {
        Language::Rust => rust_string(text, before),
        Language::Python => python_string(text),
    };
    if let Some(length) = comment(text, language) {
        (Piece::Comment, length)
    } else if let Some(length) = string {
        (Piece::String, length)
    } else {
        (Piece::Code, text.chars().next().map_or(1, char::len_utf8))
    }
}

fn comment(text: &str, language: Language) -> Option<usize> {
    let mark = if language == Language::Rust {
        "//"
    } else {
        "#"
    };
    if text.starts_with(mark) {
        return Some(text.find('\n').unwrap_or(text.len()));
    }
    (language == Language::Rust && text.starts_with("/*")).then(|| block_comment(text))
}

/// Block comments of Rust nest.
fn block_comment(text: &str) -> usize {
    let mut depth = 0;
    let mut at = 0;
    while at < text.len() {
        let rest = &text.as_bytes()[at..];
        if rest.starts_with(b"/*") {
            depth += 1;
            at += 2;
        } else if rest.starts_with(b"*/") {
            depth -= 1;
            at += 2;
        } else {
            at += 1;
        }
        if depth == 0 {
            break;
        }
    }
    at
}

fn rust_string(text: &str, before: Option<char>) -> Option<usize> {
    let in_word = before.is_some_and(|c| c.is_alphanumeric() || c == '_');
    let unprefixed = text.strip_prefix(['b', 'c']).unwrap_or(text);
    let prefix = text.len() - unprefixed.len();
    if let Some(raw) = unprefixed.strip_prefix('r')
        && !in_word
    {
        let hashes = raw.len() - raw.trim_start_matches('#').len();
        if raw[hashes..].starts_with('"') {
            let end = format!("\"{}", "#".repeat(hashes));
            let start = prefix + 1 + hashes + 1;
            return Some(
                text[start..]
                    .find(&end)
                    .map_or(text.len(), |at| start + at + end.len()),
            );
        }
    }
    if text.starts_with('"') {
        return Some(quoted(text, "\""));
    }
    character(text)
}

/// A character literal, as opposed to a lifetime.
fn character(text: &str) -> Option<usize> {
    let inner = text.strip_prefix('\'')?;
    let first = inner.chars().next()?;
    if first == '\\' {
        return Some(quoted(text, "'"));
    }
    inner[first.len_utf8()..]
        .starts_with('\'')
        .then(|| first.len_utf8() + 2)
}

fn python_string(text: &str) -> Option<usize> {
    let mark = ["\"\"\"", "'''", "\"", "'"]
        .into_iter()
        .find(|mark| text.starts_with(mark))?;
    Some(quoted(text, mark))
}

/// The length of a string in quotes, with backslashes; of the line if a short one is not closed.
fn quoted(text: &str, mark: &str) -> usize {
    let mut at = mark.len();
    while at < text.len() {
        let rest = &text.as_bytes()[at..];
        match rest[0] {
            b'\\' => at += 2,
            _ if rest.starts_with(mark.as_bytes()) => return at + mark.len(),
            _ => at += 1,
        }
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The code that is left, with single blanks; every line and column stays where it was.
    fn code(path: &str, text: &str) -> String {
        let code = Source::new(path, text).code;
        assert_eq!(code.chars().count(), text.chars().count(), "{text}");
        assert_eq!(code.lines().count(), text.lines().count(), "{text}");
        code.split_whitespace().collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn rust_code_is_what_is_neither_comment_nor_string() {
        for (text, expected) in [
            ("a // b\nc", "a c"),
            ("a /* b /* c */ d */ e", "a e"),
            ("a /* b", "a"),
            (r#"f("a\" b") g"#, "f( ) g"),
            (r##"f(r#"a " b"#) g"##, "f( ) g"),
            ("f(br\"x\\\") g", "f( ) g"),
            ("f(b\"x\") g", "f(b ) g"),
            ("'a' 'b' c", "c"),
            ("&'a str, '\\'' x", "&'a str, x"),
            ("'ü' x", "x"),
            ("for r in x", "for r in x"),
        ] {
            assert_eq!(code("x.rs", text), expected, "{text}");
        }
    }

    #[test]
    fn python_code_is_what_is_neither_comment_nor_string() {
        let text = "'''doc\nsleep'''\na = \"#\" + '\\'' # sleep\nb";
        assert_eq!(code("x.py", text), "a = + b");
    }

    #[test]
    fn comments_are_kept_apart_with_their_lines() {
        let source = Source::new("x.rs", "a(\"// no\");\nb // yes\n");
        assert_eq!(
            source.comments.lines().map(str::trim).collect::<Vec<_>>(),
            ["", "// yes"]
        );
    }

    #[test]
    fn tests_are_told_by_folder_and_by_attribute() {
        assert!(Source::new("crates/a/tests/b.rs", "").is_test());
        assert!(Source::new("tests/test_a.py", "").is_test());
        assert!(!Source::new("crates/a/src/b.rs", "").is_test());
        let source = Source::new(
            "crates/a/src/b.rs",
            "fn a() {}\n#[cfg(test)]\nmod tests {}\n",
        );
        assert_eq!(source.first_test_line(), 1);
    }
}
