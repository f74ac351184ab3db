//! The rules about source files.

use super::{Finding, Rule};
use crate::source::Source;

/// All rules about single files.
pub(super) const RULES: [Rule; 8] = [
    Rule {
        name: "python",
        fix: "move what knows Python to crates/native",
        check: |source| {
            let ours =
                source.path.starts_with("crates/") && !source.path.starts_with("crates/native/");
            if ours {
                words(&source.code, &["pyo3"])
            } else {
                Vec::new()
            }
        },
    },
    Rule {
        name: "unsafe",
        fix: "find a safe way, or move it to one of the files that UNSAFE in xtask lists",
        check: |source| {
            let allowed = UNSAFE.iter().any(|(path, _)| source.path.starts_with(path));
            if source.is_rust() && !allowed {
                words(&source.code, &["unsafe"])
            } else {
                Vec::new()
            }
        },
    },
    Rule {
        name: "module doc",
        fix: "say at the top what the file is for, what not, and what always holds",
        check: module_doc,
    },
    Rule {
        name: "length",
        fix: "split the file along its responsibilities",
        check: length,
    },
    Rule {
        name: "purity",
        fix: "take the time, the bytes or the answer as an argument; the caller does the rest",
        check: purity,
    },
    Rule {
        name: "sleep",
        fix: "wait for the thing itself, with a deadline",
        check: sleep,
    },
    Rule {
        name: "unfinished",
        fix: "finish it, or say what is missing where users look",
        check: unfinished,
    },
    Rule {
        name: "test name",
        fix: "name the test by what it claims: a_second_content_length_is_refused",
        check: |source| {
            let mut lines = numbered(&source.code);
            lines.retain(|(_, line)| source.is_rust() && line.trim_start().starts_with("fn test_"));
            lines
                .into_iter()
                .map(|(at, line)| (at, line.trim().into()))
                .collect()
        },
    },
];

/// Where `unsafe` may stand, and for what.
const UNSAFE: [(&str, &str); 3] = [
    (
        "crates/native/src/ffi.rs",
        "calls of Python's C interface that pyo3 does not wrap",
    ),
    ("crates/native/src/ffi/", "the same, split by subject"),
    (
        "crates/arbiter/src/sys/",
        "signals, descriptor passing, exec",
    ),
];

/// Files may be so long, without their tests.
const MOST_LINES: usize = 600;
/// So many macros are enough for everybody.
const MOST_MACROS: usize = 3;
/// The Python side stays thin.
const MOST_PYTHON_LINES: usize = 4450;
/// Objects that only hooks see are Python's.
const PYTHON_BY_NATURE: &str = "python/oxicorn/compat/";

/// Rows of the table are as many as there are settings.
const LONG_BY_NATURE: &str = "crates/settings/src/table/";

/// Code that decides without touching the world.
const PURE: [&str; 4] = [
    "crates/edge/src/",
    "crates/http1/src/",
    "crates/websocket/src/",
    "crates/arbiter/src/core/",
];

/// Names that reach the world. What libc has of the kind is unsafe, and so found anyway.
const WORLD: [&str; 14] = [
    "SystemTime",
    "TcpStream",
    "TcpListener",
    "UdpSocket",
    "UnixStream",
    "UnixListener",
    "UnixDatagram",
    "OpenOptions",
    "std::fs",
    "std::thread",
    "std::env",
    "std::process",
    "Instant::now",
    "rustix",
];

/// Modules of the standard library that reach the world, for imports in groups.
const WORLD_MODULES: [&str; 4] = ["fs", "thread", "env", "process"];

/// The budgets that hold for all files together.
pub(super) fn budgets(sources: &[Source]) -> Vec<Finding> {
    let macros: Vec<_> = sources
        .iter()
        .filter(|source| source.is_rust())
        .flat_map(|source| words(&source.code, &["macro_rules"]))
        .collect();
    let python: usize = sources
        .iter()
        .filter(|source| source.path.starts_with("python/") && source.is_python())
        .filter(|source| !source.path.starts_with(PYTHON_BY_NATURE))
        .map(|source| source.text.lines().count())
        .sum();
    let over = |rule, count: usize, most: usize, fix| Finding {
        place: "workspace".into(),
        rule,
        problem: format!("{count}, at most {most}"),
        fix,
    };
    let mut findings = Vec::new();
    if macros.len() > MOST_MACROS {
        findings.push(over(
            "macros",
            macros.len(),
            MOST_MACROS,
            "write a function",
        ));
    }
    if python > MOST_PYTHON_LINES {
        findings.push(over(
            "python lines",
            python,
            MOST_PYTHON_LINES,
            "move work to Rust",
        ));
    }
    findings
}

fn module_doc(source: &Source) -> Vec<(usize, String)> {
    let documented = if source.is_rust() {
        let openings = ["//!", "#![doc = include_str!("];
        first_line(&source.text, "//")
            .is_some_and(|line| openings.iter().any(|o| line.starts_with(o)))
    } else {
        let quotes = ["\"\"\"", "r\"\"\"", "'''"];
        source.text.trim().is_empty()
            || source.path.contains("/migrations/")
            || first_line(&source.text, "#")
                .is_some_and(|line| quotes.iter().any(|q| line.starts_with(q)))
    };
    if documented {
        Vec::new()
    } else {
        vec![(0, "does not open with a module doc".into())]
    }
}

/// The first line that is neither blank nor a plain comment.
fn first_line<'a>(text: &'a str, comment: &str) -> Option<&'a str> {
    let plain = |line: &str| line.starts_with(comment) && !line.starts_with("//!");
    text.lines()
        .map(str::trim)
        .find(|line| !line.is_empty() && !plain(line))
}

fn length(source: &Source) -> Vec<(usize, String)> {
    let lines = source.first_test_line();
    if lines <= MOST_LINES || source.path.starts_with(LONG_BY_NATURE) {
        return Vec::new();
    }
    vec![(
        MOST_LINES,
        format!("{lines} lines without tests, at most {MOST_LINES}"),
    )]
}

fn purity(source: &Source) -> Vec<(usize, String)> {
    if !PURE.iter().any(|path| source.path.starts_with(path)) {
        return Vec::new();
    }
    let tests = source.first_test_line();
    let mut found = words(&source.code, &WORLD);
    found.extend(grouped_imports(&source.code));
    found.retain(|(line, _)| *line < tests);
    found
}

/// `use std::{fs, io}` names `fs` as well.
fn grouped_imports(code: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for (at, _) in code.match_indices("std::{") {
        let group = code[at..].split(';').next().unwrap_or_default();
        let line = code[..at].lines().count().saturating_sub(1);
        let named = WORLD_MODULES
            .iter()
            .filter(|module| has_word(group, module));
        found.extend(named.map(|module| (line, format!("names std::{module}"))));
    }
    found
}

/// Applications that are tested may be slow on purpose; the tests themselves may not.
fn sleep(source: &Source) -> Vec<(usize, String)> {
    if source.path.split('/').any(|part| part == "apps") {
        return Vec::new();
    }
    let tests = source.first_test_line();
    let in_tests = source.is_test() || source.is_rust();
    let mut found = words(&source.code, &["sleep("]);
    found.retain(|(line, _)| in_tests && *line >= tests);
    found
}

fn unfinished(source: &Source) -> Vec<(usize, String)> {
    let mut found = words(&source.comments, &["TODO", "FIXME", "XXX"]);
    found.extend(words(&source.code, &["todo!", "unimplemented!"]));
    found
}

/// The lines that name one of some words, as words of their own.
fn words(text: &str, names: &[&str]) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for (at, line) in numbered(text) {
        let named = names.iter().filter(|name| has_word(line, name));
        found.extend(named.map(|name| (at, format!("names {}", name.trim_end_matches('(')))));
    }
    found
}

fn has_word(line: &str, word: &str) -> bool {
    let part_of_word = |c: char| c.is_alphanumeric() || c == '_';
    line.match_indices(word).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        let after = line[at + word.len()..].chars().next();
        // A name that ends in a sign ends there, whatever follows.
        let ends = !word.ends_with(part_of_word) || !after.is_some_and(part_of_word);
        ends && !before.is_some_and(part_of_word)
    })
}

fn numbered(text: &str) -> Vec<(usize, &str)> {
    text.lines().enumerate().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The names of the rules that a file breaks.
    fn broken(path: &str, text: &str) -> Vec<&'static str> {
        let source = Source::new(path, text);
        let rules = RULES
            .iter()
            .filter(|rule| !rule.findings(&source).is_empty());
        rules.map(|rule| rule.name).collect()
    }

    #[test]
    fn a_good_file_breaks_no_rule() {
        let text = "//! Doc.\n\n// unsafe pyo3\nfn a() -> &'static str { \"unsafe\" }\n";
        assert!(broken("crates/http1/src/a.rs", text).is_empty());
        assert!(broken("python/oxicorn/a.py", "# Licence.\n\"\"\"Doc.\"\"\"\n").is_empty());
        assert!(broken("python/oxicorn/__init__.py", "").is_empty());
    }

    #[test]
    fn python_is_named_by_native_alone() {
        let text = "//! Doc.\nuse pyo3::Python;\n";
        assert_eq!(broken("crates/engine/src/a.rs", text), ["python"]);
        assert!(broken("crates/native/src/a.rs", text).is_empty());
    }

    #[test]
    fn unsafe_stands_in_listed_files_alone() {
        let text = "//! Doc.\nfn a() { unsafe { b() } }\n";
        assert_eq!(broken("crates/engine/src/a.rs", text), ["unsafe"]);
        assert!(broken("crates/arbiter/src/sys/signals.rs", text).is_empty());
        assert!(
            broken(
                "crates/engine/src/a.rs",
                "//! Doc.\n#![forbid(unsafe_code)]\n"
            )
            .is_empty()
        );
    }

    #[test]
    fn a_file_without_a_module_doc_is_found() {
        assert_eq!(
            broken("crates/engine/src/a.rs", "// Licence.\nuse std::io;\n"),
            ["module doc"]
        );
        assert!(broken("crates/engine/src/a.rs", "// Licence.\n\n//! Doc.\n").is_empty());
        let readme = "#![doc = include_str!(\"../README.md\")]\n";
        assert!(broken("crates/engine/src/lib.rs", readme).is_empty());
        assert_eq!(broken("python/oxicorn/a.py", "import os\n"), ["module doc"]);
    }

    #[test]
    fn a_long_file_is_found_unless_its_length_is_tests() {
        let code = format!("//! Doc.\n{}", "fn a() {}\n".repeat(600));
        assert_eq!(broken("crates/engine/src/a.rs", &code), ["length"]);
        assert!(broken("crates/settings/src/table/a.rs", &code).is_empty());
        assert!(broken("crates/engine/tests/a.rs", &code).is_empty());
        let tests = format!("//! Doc.\n#[cfg(test)]\n{}", "fn a() {}\n".repeat(600));
        assert!(broken("crates/engine/src/a.rs", &tests).is_empty());
    }

    #[test]
    fn pure_code_does_not_reach_the_world() {
        for line in [
            "Instant::now();",
            "use std::fs;",
            "use std::{io, thread};",
            "rustix::x();",
            "TcpStream::x();",
        ] {
            let text = format!("//! Doc.\n{line}\n");
            assert_eq!(broken("crates/http1/src/a.rs", &text), ["purity"], "{line}");
            assert_eq!(
                broken("crates/arbiter/src/core/a.rs", &text),
                ["purity"],
                "{line}"
            );
            assert!(broken("crates/engine/src/a.rs", &text).is_empty(), "{line}");
        }
        let fine =
            "//! Doc.\nuse std::net::Ipv6Addr;\nuse std::time::Instant;\nuse std::{fmt, io};\n";
        assert!(broken("crates/http1/src/a.rs", fine).is_empty());
        let test = "//! Doc.\n#[cfg(test)]\nmod tests { use std::fs; }\n";
        assert!(broken("crates/http1/src/a.rs", test).is_empty());
    }

    #[test]
    fn tests_do_not_sleep() {
        let python = "\"\"\"Doc.\"\"\"\ntime.sleep(1)\n";
        assert_eq!(broken("tests/test_a.py", python), ["sleep"]);
        assert!(broken("tests/apps/slow.py", python).is_empty());
        assert!(broken("python/oxicorn/a.py", python).is_empty());
        let rust = "//! Doc.\n#[cfg(test)]\nmod tests { fn a() { thread::sleep(x); } }\n";
        assert_eq!(broken("crates/engine/src/a.rs", rust), ["sleep"]);
    }

    #[test]
    fn unfinished_work_is_found() {
        assert_eq!(
            broken("crates/engine/src/a.rs", "//! Doc.\n// TODO: more\n"),
            ["unfinished"]
        );
        assert_eq!(
            broken("crates/engine/src/a.rs", "//! Doc.\nfn a() { todo!() }\n"),
            ["unfinished"]
        );
    }

    #[test]
    fn names_of_tests_are_claims() {
        assert_eq!(
            broken("crates/engine/tests/a.rs", "//! Doc.\nfn test_a() {}\n"),
            ["test name"]
        );
    }

    #[test]
    fn budgets_count_all_files_together() {
        let source = Source::new("crates/a/src/b.rs", &"macro_rules! a {}\n".repeat(4));
        assert_eq!(budgets(&[source])[0].problem, "4, at most 3");
        let source = Source::new("python/oxicorn/a.py", &"a\n".repeat(MOST_PYTHON_LINES + 1));
        assert_eq!(budgets(&[source])[0].rule, "python lines");
    }
}
