//! Abbreviations of gunicorn's flags: what is short enough there is so here, whatever flags there are
//! beside.
//!
//! Not for other abbreviations: those the parser finds out by itself, among all flags. Invariant: a flag
//! that is written out is never changed.

use crate::setting::Status;
use crate::spelling::Spelling;
use crate::table;

/// The words, in which each abbreviation of one of gunicorn's flags, and of no other of these, is written
/// out. Behind `--` are no flags.
pub(crate) fn written_out(words: &[String]) -> Vec<String> {
    let end = words
        .iter()
        .position(|word| word == "--")
        .unwrap_or(words.len());
    let (flags, rest) = words.split_at(end);
    let flags = flags
        .iter()
        .map(|word| whole(word).unwrap_or_else(|| word.clone()));
    flags.chain(rest.iter().cloned()).collect()
}

/// The flag that a word abbreviates, with the word's value.
fn whole(word: &str) -> Option<String> {
    let (name, value) = word
        .find('=')
        .map_or((word, ""), |equals| word.split_at(equals));
    if name.len() < 3 || !name.starts_with("--") || is_a_flag(name) {
        return None;
    }
    let mut found = gunicorns().filter(|flag| flag.starts_with(name));
    let flag = found.next()?;
    found.next().is_none().then(|| format!("{flag}{value}"))
}

fn is_a_flag(name: &str) -> bool {
    table::settings().any(|setting| {
        setting
            .flags()
            .chain(setting.cli_hidden.iter().copied())
            .chain(setting.spellings.iter().flat_map(Spelling::flags))
            .any(|flag| flag == name)
    })
}

fn gunicorns() -> impl Iterator<Item = &'static str> {
    let theirs = table::settings().filter(|setting| setting.status != Status::Ours);
    let flags = theirs.flat_map(|setting| setting.cli.iter().chain(setting.cli_off).copied());
    let long = flags.filter(|flag| flag.starts_with("--"));
    long.chain(["--help", "--version"])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(words: &str) -> String {
        let words: Vec<String> = words.split(' ').map(Into::into).collect();
        written_out(&words).join(" ")
    }

    #[test]
    fn flags_that_gunicorn_does_not_have_make_nothing_ambiguous() {
        assert_eq!(line("--time 5 app"), "--timeout 5 app");
        assert_eq!(line("--worker-cl=sync"), "--worker-class=sync");
        assert_eq!(line("--no-se"), "--no-sendfile");
    }

    #[test]
    fn what_is_written_out_or_ambiguous_there_stays() {
        for words in [
            "--timeout 5",
            "--timeout-keep-alive 5",
            "--max 5",
            "--limit-request-field-size 5",
            "--no-such-flag",
            "-t 5",
            "--",
            "app -- --time",
        ] {
            assert_eq!(line(words), words);
        }
    }
}
