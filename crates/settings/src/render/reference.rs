//! The reference of all settings, in Markdown.

use super::{
    NOTICE, code_list, default, flags_with_value, spelled_with_value, spellings_with_value,
    variables,
};
use crate::setting::{Section, Setting, Status};
use crate::spelling::Means;
use crate::table::SECTIONS;

/// `docs/reference/settings.md`.
pub fn reference() -> String {
    let contents: String = SECTIONS.iter().map(|section| contents(section)).collect();
    let sections: String = SECTIONS.iter().map(|section| chapter(section)).collect();
    format!("<!-- {NOTICE} -->\n\n{INTRODUCTION}\n{contents}{sections}")
}

const INTRODUCTION: &str = "\
# Settings

A setting can be set in several places. From the weakest to the strongest:

1. the environment: `OXICORN_<NAME>`, and for a few settings a variable of their own, such as
   `WEB_CONCURRENCY`;
2. the configuration file: Python, whose lower-case names are settings, or TOML; and, weaker than it,
   what a `PasteDeploy` file says (`paste`);
3. the variable `GUNICORN_CMD_ARGS`, then the variable `OXICORN_CMD_ARGS`, both holding a piece of
   command line;
4. the command line.

A program that calls `oxicorn.run` says its settings as arguments, in the place of 3 and 4, and names
the configuration file if it wants one (`config`).

`oxicorn --print-config` shows every value in effect and where it comes from. In the environment lists
are written with commas, truth values as `true` or `false`, and a variable that is empty counts as
not set. Sizes can be written as text with a unit: `64K`, `10M`, `1G`.

Some settings have uvicorn's flags beside their own. Those and their names as arguments are for the
command line and for `oxicorn.run`: in a configuration file and in the environment a setting has one name.
";

fn contents(section: &Section) -> String {
    let links: Vec<_> = section
        .rows
        .iter()
        .map(|row| format!("[`{0}`](#{0})", row.name))
        .collect();
    format!("- **{}**: {}\n", section.title, links.join(", "))
}

fn chapter(section: &Section) -> String {
    let entries: String = section.rows.iter().map(entry).collect();
    format!("\n## {}\n{entries}", section.title)
}

fn entry(setting: &Setting) -> String {
    let facts = facts(setting)
        .into_iter()
        .filter(|(_, text)| !text.is_empty());
    let facts: String = facts.map(fact).collect();
    let Setting {
        name, summary, doc, ..
    } = setting;
    format!("\n### `{name}`\n\n**{summary}**\n\n{doc}\n\n{facts}")
}

fn fact((label, text): (&str, String)) -> String {
    format!("- {label}: {text}\n")
}

fn facts(setting: &Setting) -> [(&'static str, String); 9] {
    [
        ("Command line", code_list(flags_with_value(setting))),
        ("As with uvicorn", code_list(spellings_with_value(setting))),
        ("Argument of `oxicorn.run`", arguments(setting)),
        ("Not as with uvicorn", refusals(setting)),
        ("Environment", code_list(variables(setting))),
        ("Value", setting.kind.expected()),
        (
            "Default",
            default(setting).map_or_else(|| "none".into(), |text| code_list([text])),
        ),
        ("Examples", code_list(setting.examples)),
        ("Compared with gunicorn", comparison(setting.status)),
    ]
}

/// The words besides the setting's own name.
fn arguments(setting: &Setting) -> String {
    let words: Vec<_> = setting.offered().map(|one| one.argument).collect();
    if words.is_empty() {
        return String::new();
    }
    code_list([setting.name].into_iter().chain(words))
}

fn refusals(setting: &Setting) -> String {
    let advice = setting.spellings.iter().filter_map(|one| match one.means {
        Means::Refused { advice, .. } => {
            let flags = code_list(spelled_with_value(setting, one));
            Some(format!("{flags} is refused: {advice}"))
        }
        Means::Nothing { why, .. } => {
            let flags = code_list(spelled_with_value(setting, one));
            Some(format!("{flags} has no effect: {why}"))
        }
        _ => None,
    });
    advice.collect::<Vec<_>>().join("; ")
}

fn comparison(status: Status) -> String {
    match status {
        Status::Same => "the same".into(),
        Status::Better { how } => format!("better: {how}"),
        Status::WithoutEffect { why } => format!("accepted without effect: {why}"),
        Status::Refused { advice } => format!("refused: {advice}"),
        Status::Later { meanwhile } => format!("not supported yet; until then: {meanwhile}"),
        Status::Ours => "gunicorn has no such setting".into(),
    }
}
