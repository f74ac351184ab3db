//! The types of all settings for Python's type checkers.

use super::NOTICE;
use crate::kind::Kind;
use crate::setting::{Preset, Setting};
use crate::table;

/// `python/oxicorn/_settings.pyi`: a class with one attribute for each setting.
pub fn stub() -> String {
    let attributes: String = table::settings().map(attribute).collect();
    format!(
        "# {NOTICE}\n\nfrom collections.abc import Callable\nfrom typing import Any, Literal\n\n\
         class Config:\n{attributes}"
    )
}

fn attribute(setting: &Setting) -> String {
    format!("    {}: {}\n", setting.name, annotation(setting))
}

/// The type of the value as the server reports it.
fn annotation(setting: &Setting) -> String {
    let plain = match setting.kind {
        Kind::Bool => "bool".into(),
        Kind::Int { .. } | Kind::Mode | Kind::Size => "int".into(),
        Kind::Seconds => "float".into(),
        Kind::Text | Kind::Account | Kind::Class => "str".into(),
        Kind::Choice(words) => {
            let words: Vec<_> = words.iter().map(|word| format!("\"{word}\"")).collect();
            format!("Literal[{}]", words.join(", "))
        }
        Kind::List | Kind::Commas => "list[str]".into(),
        Kind::Dict => "dict[str, str]".into(),
        Kind::Hook => "Callable[..., Any]".into(),
        Kind::Any => return "Any".into(),
    };
    if setting.default == Preset::None {
        format!("{plain} | None")
    } else {
        plain
    }
}
