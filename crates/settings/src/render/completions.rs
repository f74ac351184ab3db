//! Completions for bash, zsh and fish.
//!
//! Offered is what is in effect; what is merely accepted is not.

use super::NOTICE;
use crate::kind::Kind;
use crate::setting::Setting;
use crate::spelling::{self, Means, Spelling};
use crate::table;

/// One thing to complete: some flags that mean the same, and what may follow them.
struct Entry {
    flags: Vec<&'static str>,
    takes: Takes,
    repeatable: bool,
    summary: &'static str,
}

impl Entry {
    fn new(flags: impl Into<Vec<&'static str>>, summary: &'static str) -> Self {
        Self {
            flags: flags.into(),
            takes: Takes::Nothing,
            repeatable: false,
            summary,
        }
    }
}

/// What follows a flag.
enum Takes {
    Nothing,
    Words(&'static [&'static str]),
    Files,
    Directories,
    Anything,
}

fn entries() -> Vec<Entry> {
    let mut entries = vec![
        Entry::new(["-h", "--help"], "Show help and leave."),
        Entry::new(["-v", "--version"], "Show the version and leave."),
    ];
    for row in table::settings().filter(|row| row.is_in_effect() && !row.cli.is_empty()) {
        entries.push(own(row));
        if !row.cli_off.is_empty() {
            entries.push(Entry::new(row.cli_off, "The opposite."));
        }
        entries.extend(row.offered().flat_map(spelled));
    }
    entries
}

/// The setting's own flags, and those that are no more than other names for them.
fn own(row: &'static Setting) -> Entry {
    let same = row.offered().filter(|one| one.means == Means::Same);
    let flags = row
        .cli
        .iter()
        .copied()
        .chain(same.flat_map(Spelling::flags));
    Entry {
        takes: takes(row),
        repeatable: row.kind.is_repeatable(),
        ..Entry::new(flags.collect::<Vec<_>>(), row.summary)
    }
}

/// A spelling with a form of its own, and its opposite.
fn spelled(spelling: &'static Spelling) -> Vec<Entry> {
    let Means::Form { takes, summary } = spelling.means else {
        return Vec::new();
    };
    let (takes, repeatable) = match takes {
        spelling::Takes::Nothing => (Takes::Nothing, false),
        spelling::Takes::One(meta) => (named(meta), false),
        spelling::Takes::Each(meta) => (named(meta), true),
    };
    let mut entries: Vec<_> = spelling
        .flags()
        .map(|flag| Entry::new([flag], summary))
        .collect();
    if let Some(on) = entries.first_mut() {
        (on.takes, on.repeatable) = (takes, repeatable);
    }
    if let Some(off) = entries.get_mut(1) {
        off.summary = "The opposite.";
    }
    entries
}

fn takes(setting: &'static Setting) -> Takes {
    match setting.kind {
        Kind::Bool => Takes::Nothing,
        Kind::Choice(words) | Kind::ChoiceOrImport(words) => Takes::Words(words),
        Kind::Class => Takes::Words(setting.examples),
        _ => named(setting.meta),
    }
}

/// What a placeholder says of what is to be typed there.
fn named(meta: &str) -> Takes {
    match meta {
        "FILE" | "CONFIG" => Takes::Files,
        "DIR" | "DIRS" => Takes::Directories,
        _ => Takes::Anything,
    }
}

/// `completions/oxicorn.bash`.
pub fn bash() -> String {
    let entries = entries();
    let cases: String = entries.iter().filter_map(bash_case).collect();
    let flags: Vec<_> = entries
        .iter()
        .flat_map(|entry| entry.flags.iter().copied())
        .collect();
    format!(
        "# {NOTICE}\n\n\
         _oxicorn() {{\n\
         \x20   local word=${{COMP_WORDS[COMP_CWORD]}}\n\
         \x20   COMPREPLY=()\n\
         \x20   case ${{COMP_WORDS[COMP_CWORD - 1]}} in\n\
         {cases}\
         \x20   esac\n\
         \x20   if [[ $word == -* ]]; then\n\
         \x20       mapfile -t COMPREPLY < <(compgen -W '{}' -- \"$word\")\n\
         \x20   fi\n\
         }}\n\n\
         complete -F _oxicorn oxicorn\n",
        flags.join(" ")
    )
}

fn bash_case(entry: &Entry) -> Option<String> {
    let source = match entry.takes {
        Takes::Nothing => return None,
        Takes::Words(words) => format!("-W '{}'", words.join(" ")),
        Takes::Files => "-f".into(),
        Takes::Directories => "-d".into(),
        Takes::Anything => {
            return Some(format!("        {}) return ;;\n", entry.flags.join(" | ")));
        }
    };
    let flags = entry.flags.join(" | ");
    Some(format!(
        "        {flags})\n            mapfile -t COMPREPLY < <(compgen {source} -- \"$word\")\n            return\n            ;;\n"
    ))
}

/// `completions/_oxicorn`, for zsh.
pub fn zsh() -> String {
    let specs: String = entries().iter().flat_map(zsh_specs).collect();
    format!("#compdef oxicorn\n# {NOTICE}\n\n_arguments -s \\\n{specs}    '*:application: '\n")
}

/// One specification for each flag; flags that mean the same exclude each other, unless they may be
/// repeated.
fn zsh_specs(entry: &Entry) -> Vec<String> {
    let others = match (entry.repeatable, entry.flags.len()) {
        (true, _) => "*".into(),
        (false, 1) => String::new(),
        (false, _) => format!("({})", entry.flags.join(" ")),
    };
    let action = match entry.takes {
        Takes::Nothing => String::new(),
        Takes::Words(words) => format!(":value:({})", words.join(" ")),
        Takes::Files => ":file:_files".into(),
        Takes::Directories => ":directory:_files -/".into(),
        Takes::Anything => ":value: ".into(),
    };
    let text = zsh_escape(entry.summary);
    let spec = |flag: &&str| {
        // A long flag may be followed by `=`, a short one by its value without a blank.
        let follow = match (&entry.takes, flag.starts_with("--")) {
            (Takes::Nothing, _) => "",
            (_, true) => "=",
            (_, false) => "+",
        };
        format!("    '{others}{flag}{follow}[{text}]{action}' \\\n")
    };
    entry.flags.iter().map(spec).collect()
}

fn zsh_escape(text: &str) -> String {
    text.replace('\'', "'\\''")
        .replace('[', "\\[")
        .replace(']', "\\]")
        .replace(':', "\\:")
}

/// `completions/oxicorn.fish`.
pub fn fish() -> String {
    let lines: String = entries().iter().map(fish_line).collect();
    format!("# {NOTICE}\n\ncomplete -c oxicorn -f\n{lines}")
}

fn fish_line(entry: &Entry) -> String {
    let flags: Vec<_> = entry
        .flags
        .iter()
        .map(|flag| match flag.strip_prefix("--") {
            Some(long) => format!("-l {long}"),
            None => format!("-s {}", flag.trim_start_matches('-')),
        })
        .collect();
    let takes = match entry.takes {
        Takes::Nothing => String::new(),
        Takes::Words(words) => format!(" -x -a '{}'", words.join(" ")),
        Takes::Files => " -r -F".into(),
        Takes::Directories => " -x -a '(__fish_complete_directories)'".into(),
        Takes::Anything => " -x".into(),
    };
    let text = entry.summary.replace('\\', "\\\\").replace('\'', "\\'");
    format!(
        "complete -c oxicorn {}{takes} -d '{text}'\n",
        flags.join(" ")
    )
}
