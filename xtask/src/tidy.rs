//! The invariants of ARCHITECTURE.md, as far as reading files can check them.
//!
//! A rule is a name, an advice and a function from a source file to the lines that break it. To add
//! one, add a row to [`rules::RULES`].

mod crates;
mod rules;

use std::fmt;
use std::path::Path;

use crate::source::{self, Source};

/// Something that is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Finding {
    /// The file, from the repository's root, and the line, if there is one.
    place: String,
    rule: &'static str,
    problem: String,
    fix: &'static str,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            place,
            rule,
            problem,
            fix,
        } = self;
        write!(f, "{place}: {rule}: {problem}\n    fix: {fix}")
    }
}

/// A rule about single source files.
struct Rule {
    name: &'static str,
    fix: &'static str,
    /// The lines (from 0) that break the rule, each with what is wrong there.
    check: fn(&Source) -> Vec<(usize, String)>,
}

impl Rule {
    fn findings(&self, source: &Source) -> Vec<Finding> {
        (self.check)(source)
            .into_iter()
            .map(|(line, problem)| Finding {
                place: format!("{}:{}", source.path, line + 1),
                rule: self.name,
                problem,
                fix: self.fix,
            })
            .collect()
    }
}

/// Checks the whole repository.
pub(crate) fn run(root: &Path) -> Result<String, String> {
    let sources = source::read_all(root)?;
    let mut findings = crates::check(root)?;
    findings.extend(rules::budgets(&sources));
    for source in &sources {
        findings.extend(rules::RULES.iter().flat_map(|rule| rule.findings(source)));
    }
    if findings.is_empty() {
        return Ok(format!("tidy: {} files are in order", sources.len()));
    }
    let lines: Vec<_> = findings.iter().map(Finding::to_string).collect();
    Err(format!(
        "{}\ntidy: {} findings",
        lines.join("\n"),
        findings.len()
    ))
}
