//! How the settings compare with gunicorn's, in Markdown.

use super::{NOTICE, code_list};
use crate::setting::{Section, Setting, Status};
use crate::table::{SECTIONS, settings};

/// `docs/reference/gunicorn-compatibility.md`.
pub fn compatibility() -> String {
    let sections: String = SECTIONS.iter().map(|section| chapter(section)).collect();
    let ours: String = settings()
        .filter(|row| row.status == Status::Ours)
        .map(addition)
        .collect();
    format!(
        "<!-- {NOTICE} -->\n\n{INTRODUCTION}\n{}{sections}\n## New settings\n\n{ours}\n{ELSEWHERE}",
        counts()
    )
}

const INTRODUCTION: &str = "\
# Compatibility with gunicorn

Every setting of gunicorn 27.0.1 is known under its name and its flags. What becomes of it is one of:

| status | meaning |
|---|---|
| same | it means the same |
| better | it means the same and does more, or avoids a trap |
| without effect | it is accepted, and there is nothing for it to do |
| later | not supported yet: any value but the default ends with a message that says what to do |
| refused | will not be supported: any value but the default ends with a message that says what to do |
";

const ELSEWHERE: &str = "\
## Sources of settings

- Defaults, environment, configuration file, `GUNICORN_CMD_ARGS` and command line overrule each other in
  the same order as gunicorn's.
- Every setting also has a variable `OXICORN_<NAME>`, and `OXICORN_CMD_ARGS` overrules `GUNICORN_CMD_ARGS`.
- A configuration file may be called `oxicorn.conf.py`, which is preferred to `gunicorn.conf.py`; where neither is,
  `oxicorn.toml` and `[tool.oxicorn]` in `pyproject.toml` are found. If several are there, the log says which counts.
- A name in the configuration file that is not a setting is reported, with the nearest one that is; it is an error
  with `--strict-config` and under `--check-config`.
- A wrong value is reported with the setting, the value, where it was set and what is allowed. On the
  command line this ends with exit code 2, elsewhere with 1.
- Words that belong to no option are reported, where gunicorn says nothing.
- A variable that is empty counts as not set.
";

fn counts() -> String {
    let statuses = ["same", "better", "without effect", "later", "refused"];
    let lines: String = statuses.into_iter().map(count).collect();
    let all = settings().filter(|row| row.status != Status::Ours).count();
    format!("\n| status | settings |\n|---|--:|\n{lines}| all | {all} |\n")
}

fn count(status: &str) -> String {
    let count = settings().filter(|row| row.status.word() == status).count();
    format!("| {status} | {count} |\n")
}

fn chapter(section: &Section) -> String {
    let rows: String = section
        .rows
        .iter()
        .filter(|row| row.status != Status::Ours)
        .map(row)
        .collect();
    format!(
        "\n## {}\n\n| setting | flags | status | note |\n|---|---|---|---|\n{rows}",
        section.title
    )
}

fn row(setting: &Setting) -> String {
    let flags = code_list(setting.cli.iter().chain(setting.cli_off));
    let (name, status) = (setting.name, setting.status);
    format!(
        "| [`{name}`](settings.md#{name}) | {flags} | {} | {} |\n",
        status.word(),
        status.note()
    )
}

fn addition(setting: &Setting) -> String {
    let Setting { name, summary, .. } = setting;
    format!("- [`{name}`](settings.md#{name}): {summary}\n")
}
