//! The types of all settings for Python's type checkers.

use super::NOTICE;
use crate::kind::Kind;
use crate::setting::{Preset, Setting};
use crate::spelling::Takes;
use crate::table;

/// `python/oxicorn/_settings.pyi`: a class with one attribute for each setting, and the arguments of
/// `oxicorn.run`.
pub fn stub() -> String {
    let attributes: String = table::settings().map(attribute).collect();
    let arguments: String = table::settings().map(arguments).collect();
    format!(
        "# {NOTICE}\n\n{IMPORTS}\nclass Config:\n{attributes}\n\
         class Arguments(TypedDict, total=False):\n{arguments}"
    )
}

const IMPORTS: &str = "\
from collections.abc import Callable, Mapping, Sequence
from os import PathLike
from typing import Any, Literal, TypedDict
";

/// The setting's name as an argument, and the words of others that do something.
fn arguments(setting: &Setting) -> String {
    let own = given(setting);
    let accepted = setting.spellings.iter().filter(|one| one.is_accepted());
    let others = accepted.map(|one| {
        let annotation = match one.takes() {
            None => own.clone(),
            Some(Takes::Nothing) => "bool".into(),
            Some(Takes::One("INT" | "PORT")) => "int".into(),
            Some(Takes::One("LEVEL")) => "str | int".into(),
            Some(Takes::One("FILE")) => PATH.into(),
            Some(Takes::One(_)) => "str".into(),
            Some(Takes::Each("PAIR")) => "Sequence[tuple[str, str]]".into(),
            Some(Takes::Each(_)) => format!("Sequence[str] | {PATH}"),
        };
        (one.argument, annotation)
    });
    let all = [(setting.name, own.clone())].into_iter().chain(others);
    let lines = all.map(|(name, annotation)| format!("    {name}: {annotation} | None\n"));
    lines.collect::<Vec<_>>().concat()
}

const PATH: &str = "str | PathLike[str]";

/// The type of the values that a setting takes as an argument.
fn given(setting: &Setting) -> String {
    match setting.kind {
        Kind::Bool => "bool".into(),
        Kind::Int { .. } | Kind::Mode => "int".into(),
        Kind::Size => "int | str".into(),
        Kind::Seconds | Kind::SecondsOrNone => "float".into(),
        Kind::Text => PATH.into(),
        Kind::Account => "str | int".into(),
        Kind::Choice(_) | Kind::Hook => annotation_of(setting.kind),
        Kind::Class | Kind::ChoiceOrImport(_) => "str".into(),
        Kind::List | Kind::Commas => "Sequence[str] | str".into(),
        Kind::Dict => "Mapping[str, str]".into(),
        Kind::Any => "Any".into(),
    }
}

fn attribute(setting: &Setting) -> String {
    format!("    {}: {}\n", setting.name, annotation(setting))
}

/// The type of the value as the server reports it.
fn annotation(setting: &Setting) -> String {
    let plain = annotation_of(setting.kind);
    if setting.default == Preset::None && setting.kind != Kind::Any {
        format!("{plain} | None")
    } else {
        plain
    }
}

fn annotation_of(kind: Kind) -> String {
    match kind {
        Kind::Bool => "bool".into(),
        Kind::Int { .. } | Kind::Mode | Kind::Size => "int".into(),
        Kind::Seconds | Kind::SecondsOrNone => "float".into(),
        Kind::Text | Kind::Account | Kind::Class | Kind::ChoiceOrImport(_) => "str".into(),
        Kind::Choice(words) => {
            let words: Vec<_> = words.iter().map(|word| format!("\"{word}\"")).collect();
            format!("Literal[{}]", words.join(", "))
        }
        Kind::List | Kind::Commas => "list[str]".into(),
        Kind::Dict => "dict[str, str]".into(),
        Kind::Hook => "Callable[..., Any]".into(),
        Kind::Any => "Any".into(),
    }
}
