//! A plain text in which an arbiter writes down what it knows, for the next version of itself.
//!
//! One entry a line: a name and its words, separated by single spaces. A text is a word that begins
//! with `=`, its other bytes than visible ASCII (and `%`) written as `%` and two hexadecimal digits;
//! a word that is missing is `-`; a time is in nanoseconds. An entry that there may be several of is
//! repeated.
//!
//! Not for what the entries mean. Invariant: what was written is read back unchanged, and reading
//! never panics, whatever the text is.

use std::ffi::{OsStr, OsString};
use std::fmt::{self, Write};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use oxicorn_settings::RestartMode;

/// The text under construction.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    text: String,
    /// The descriptors that the text speaks of.
    inherited: Vec<i32>,
}

/// A text that was read.
#[derive(Debug)]
pub(crate) struct Entries<'a>(Vec<(&'a str, &'a str)>);

/// The words of one entry, read one after the other.
#[derive(Debug)]
pub(crate) struct Words<'a> {
    name: &'a str,
    rest: Option<&'a str>,
}

/// Something that can be one word.
pub(crate) trait Word: Sized {
    fn write(&self) -> String;
    fn read(word: &str) -> Option<Self>;
}

/// The entry that cannot be understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Damaged(String);

impl fmt::Display for Damaged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the state is damaged at {:?}", self.0)
    }
}

impl Ledger {
    pub(crate) fn put<const N: usize>(&mut self, name: &str, words: [String; N]) {
        self.text.push_str(name);
        for word in words {
            self.text.push(' ');
            self.text.push_str(&word);
        }
        self.text.push('\n');
    }

    /// The word for a descriptor, which the reader inherits; each gets an entry `descriptor`.
    pub(crate) fn inherit(&mut self, number: i32) -> String {
        self.inherited.push(number);
        number.write()
    }

    /// The same where there may be none.
    pub(crate) fn inherit_if_any(&mut self, number: Option<i32>) -> String {
        number.map_or_else(|| "-".to_owned(), |number| self.inherit(number))
    }

    /// The text, and the descriptors that it speaks of.
    pub(crate) fn finish(mut self) -> (String, Vec<i32>) {
        for number in std::mem::take(&mut self.inherited) {
            self.put("descriptor", [number.write()]);
            self.inherited.push(number);
        }
        (self.text, self.inherited)
    }
}

impl<'a> Entries<'a> {
    pub(crate) fn of(text: &'a str) -> Self {
        let entry = |line: &'a str| line.split_once(' ').unwrap_or((line, ""));
        Self(text.lines().map(entry).collect())
    }

    /// Every entry of this name, each read by `read` and to its end.
    pub(crate) fn all<T>(
        &self,
        name: &str,
        mut read: impl FnMut(&mut Words<'a>) -> Result<T, Damaged>,
    ) -> Result<Vec<T>, Damaged> {
        let found = self.0.iter().filter(|(known, _)| *known == name);
        found
            .map(|(name, rest)| {
                let mut words = Words::of(name, rest);
                let value = read(&mut words)?;
                match words.rest {
                    None => Ok(value),
                    Some(_) => Err(words.damaged()),
                }
            })
            .collect()
    }

    /// The only entry of this name.
    pub(crate) fn one<T>(
        &self,
        name: &str,
        read: impl FnMut(&mut Words<'a>) -> Result<T, Damaged>,
    ) -> Result<T, Damaged> {
        self.maybe(name, read)?
            .ok_or_else(|| Damaged(name.to_owned()))
    }

    /// The only entry of this name, if there is one.
    pub(crate) fn maybe<T>(
        &self,
        name: &str,
        read: impl FnMut(&mut Words<'a>) -> Result<T, Damaged>,
    ) -> Result<Option<T>, Damaged> {
        let mut found = self.all(name, read)?;
        match (found.pop(), found.is_empty()) {
            (only, true) => Ok(only),
            (_, false) => Err(Damaged(name.to_owned())),
        }
    }
}

impl<'a> Words<'a> {
    fn of(name: &'a str, rest: &'a str) -> Self {
        let rest = Some(rest).filter(|rest| !rest.is_empty());
        Self { name, rest }
    }

    pub(crate) fn take<T: Word>(&mut self) -> Result<T, Damaged> {
        let word = self.next()?;
        T::read(word).ok_or_else(|| self.damaged())
    }

    /// The next word as it is.
    pub(crate) fn next(&mut self) -> Result<&'a str, Damaged> {
        let Some(rest) = self.rest else {
            return Err(self.damaged());
        };
        let (word, rest) = match rest.split_once(' ') {
            Some((word, rest)) => (word, Some(rest)),
            None => (rest, None),
        };
        self.rest = rest;
        Ok(word)
    }

    pub(crate) fn damaged(&self) -> Damaged {
        Damaged(self.name.to_owned())
    }
}

/// What has a text of its own that cannot be mistaken for anything else.
fn number<T: FromStr>(word: &str) -> Option<T> {
    word.parse().ok()
}

impl Word for u64 {
    fn write(&self) -> String {
        self.to_string()
    }
    fn read(word: &str) -> Option<Self> {
        number(word)
    }
}

impl Word for u8 {
    fn write(&self) -> String {
        self.to_string()
    }
    fn read(word: &str) -> Option<Self> {
        number(word)
    }
}

impl Word for u32 {
    fn write(&self) -> String {
        self.to_string()
    }
    fn read(word: &str) -> Option<Self> {
        number(word)
    }
}

impl Word for i32 {
    fn write(&self) -> String {
        self.to_string()
    }
    fn read(word: &str) -> Option<Self> {
        number(word)
    }
}

impl Word for usize {
    fn write(&self) -> String {
        self.to_string()
    }
    fn read(word: &str) -> Option<Self> {
        number(word)
    }
}

impl Word for bool {
    fn write(&self) -> String {
        self.to_string()
    }
    fn read(word: &str) -> Option<Self> {
        number(word)
    }
}

impl Word for Duration {
    fn write(&self) -> String {
        self.as_nanos().to_string()
    }
    fn read(word: &str) -> Option<Self> {
        let nanos: u128 = number(word)?;
        let seconds = u64::try_from(nanos / 1_000_000_000).ok()?;
        let rest = u32::try_from(nanos % 1_000_000_000).ok()?;
        Some(Self::new(seconds, rest))
    }
}

impl Word for RestartMode {
    fn write(&self) -> String {
        self.to_string()
    }
    fn read(word: &str) -> Option<Self> {
        let all = [Self::Hot, Self::Phased, Self::Regular];
        all.into_iter().find(|mode| mode.to_string() == word)
    }
}

impl<T: Word> Word for Option<T> {
    fn write(&self) -> String {
        self.as_ref().map_or_else(|| "-".to_owned(), Word::write)
    }
    fn read(word: &str) -> Option<Self> {
        if word == "-" {
            return Some(None);
        }
        T::read(word).map(Some)
    }
}

impl Word for Vec<u8> {
    fn write(&self) -> String {
        escaped(self)
    }
    fn read(word: &str) -> Option<Self> {
        unescaped(word.strip_prefix('=')?)
    }
}

impl Word for String {
    fn write(&self) -> String {
        escaped(self.as_bytes())
    }
    fn read(word: &str) -> Option<Self> {
        Self::from_utf8(Word::read(word)?).ok()
    }
}

impl Word for OsString {
    fn write(&self) -> String {
        escaped(self.as_bytes())
    }
    fn read(word: &str) -> Option<Self> {
        Some(Self::from_vec(Word::read(word)?))
    }
}

impl Word for PathBuf {
    fn write(&self) -> String {
        escaped(AsRef::<OsStr>::as_ref(self).as_bytes())
    }
    fn read(word: &str) -> Option<Self> {
        Some(Self::from(<OsString as Word>::read(word)?))
    }
}

fn escaped(bytes: &[u8]) -> String {
    let mut word = String::from('=');
    for byte in bytes {
        if byte.is_ascii_graphic() && *byte != b'%' {
            word.push(char::from(*byte));
        } else {
            // Writing to a string cannot fail.
            let _ = write!(word, "%{byte:02x}");
        }
    }
    word
}

fn unescaped(word: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(word.len());
    let mut rest = word.as_bytes();
    while let Some((byte, after)) = rest.split_first() {
        rest = after;
        if *byte != b'%' {
            bytes.push(*byte);
            continue;
        }
        let (digits, after) = rest.split_first_chunk::<2>()?;
        rest = after;
        bytes.push(u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?);
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn back<T: Word + PartialEq + fmt::Debug>(value: &T) {
        let word = value.write();
        assert!(!word.is_empty() && !word.contains([' ', '\n']), "{word:?}");
        assert_eq!(T::read(&word).as_ref(), Some(value));
    }

    #[test]
    fn every_kind_of_word_is_read_as_it_was_written() {
        back(&u64::MAX);
        back(&i32::MIN);
        back(&Duration::MAX);
        back(&Duration::from_nanos(1_500_000_001));
        back(&true);
        back(&RestartMode::Phased);
        back(&None::<String>);
        for text in ["", "-", "=", "a b\n%20%", "é\u{0}"] {
            back(&text.to_owned());
            back(&Some(text.to_owned()));
        }
        back(&OsString::from_vec(vec![0xff, b'/', 0]));
    }

    #[test]
    fn an_entry_with_a_word_too_few_or_too_many_is_damaged() {
        for text in [
            "pair 1",
            "pair 1 2 3",
            "pair",
            "pair 1  2",
            "",
            "pair 1 2\npair 1 2",
        ] {
            let entries = Entries::of(text);
            let read = entries.one("pair", |w| Ok((w.take::<u32>()?, w.take::<u32>()?)));
            let damaged = read.unwrap_err();
            assert_eq!(damaged, Damaged("pair".to_owned()), "{text:?}");
        }
    }

    #[test]
    fn an_escape_that_is_cut_short_is_refused() {
        for word in ["=%", "=%2", "=%zz", "=%\u{e9}", "plain", "%20"] {
            assert_eq!(<Vec<u8> as Word>::read(word), None, "{word:?}");
        }
    }
}
