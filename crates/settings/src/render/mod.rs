//! Texts made from the table: help, reference, manual page, completions, type stub, JSON.
//!
//! Every function is pure and gives the same text on every machine, so that the copies in the
//! repository can be compared with what they should be.

mod compatibility;
mod completions;
mod help;
mod json;
mod man;
mod reference;
mod stub;

pub use compatibility::compatibility;
pub use completions::{bash, fish, zsh};
pub use help::help;
pub use json::json;
pub use man::man;
pub use reference::reference;
pub use stub::stub;

use crate::setting::{Preset, Setting, Status};
use crate::spelling::{Spelling, Takes};

/// A copy in the repository: its path from the root, and what makes its text.
pub type Rendered = (&'static str, fn() -> String);

/// All copies.
pub const COPIES: [Rendered; 8] = [
    ("docs/reference/settings.md", reference),
    ("docs/reference/settings.json", json),
    ("docs/reference/gunicorn-compatibility.md", compatibility),
    ("docs/reference/oxicorn.1", man),
    ("completions/oxicorn.bash", bash),
    ("completions/_oxicorn", zsh),
    ("completions/oxicorn.fish", fish),
    ("python/oxicorn/_settings.pyi", stub),
];

/// What the copies in the repository start with.
const NOTICE: &str = "Generated from crates/settings by `cargo xtask generate`; do not edit.";

/// What follows the setting's own flags: a blank and the placeholder, or nothing.
fn value(setting: &Setting) -> String {
    match (setting.takes_value(), setting.cli_bare) {
        (false, _) => String::new(),
        (true, None) => format!(" {}", setting.meta),
        (true, Some(_)) if setting.status == Status::Ours => format!("[={}]", setting.meta),
        (true, Some(_)) => format!(" [{}]", setting.meta),
    }
}

/// The flags of a spelling with their value's placeholder: `--port PORT`.
fn spelled_with_value(setting: &Setting, spelling: &Spelling) -> Vec<String> {
    let value = match spelling.takes() {
        None => value(setting),
        Some(Takes::Nothing) => String::new(),
        Some(Takes::One(meta) | Takes::Each(meta)) => format!(" {meta}"),
    };
    spelling
        .flags()
        .map(|flag| format!("{flag}{value}"))
        .collect()
}

/// The flags of all spellings that do something.
fn spellings_with_value(setting: &Setting) -> Vec<String> {
    let offered = setting.offered();
    offered
        .flat_map(|one| spelled_with_value(setting, one))
        .collect()
}

/// All flags of its own with their value's placeholder: `-w INT`, `--workers INT`.
fn flags_with_value(setting: &Setting) -> Vec<String> {
    let value = value(setting);
    let on = setting.cli.iter().map(|flag| format!("{flag}{value}"));
    on.chain(setting.cli_off.iter().map(|flag| (*flag).into()))
        .collect()
}

/// All environment variables.
fn variables(setting: &Setting) -> Vec<String> {
    let theirs = setting.env.map(|variable| variable.name.into());
    [setting.variable()].into_iter().chain(theirs).collect()
}

/// The default as one would write it in a configuration file; nothing if there is none.
fn default(setting: &Setting) -> Option<String> {
    (setting.default != Preset::None).then(|| setting.default.value().to_string())
}

/// The items as code, with commas: `` `a`, `b` ``.
fn code_list<T: AsRef<str>>(items: impl IntoIterator<Item = T>) -> String {
    let items: Vec<_> = items
        .into_iter()
        .map(|item| format!("`{}`", item.as_ref()))
        .collect();
    items.join(", ")
}
