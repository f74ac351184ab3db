//! A configuration file in TOML: `oxicorn.toml`, or the table `[tool.oxicorn]` of a `pyproject.toml`.
//!
//! Only the form is TOML's: what comes out is what a file in Python would have said, and is checked as
//! that is. Not for finding files or reading them.

use std::path::Path;

use toml::{Table, Value as Toml};

use crate::value::Value;

/// The names of a file and their values; `path` says what kind of file it is.
///
/// # Errors
/// What is wrong with the file, as a sentence without its end: `line 3, column 9: invalid string`.
pub fn read_toml(path: &str, text: &str) -> Result<Vec<(String, Value)>, String> {
    let table = parse(text)?;
    let ours = if is_pyproject(path) {
        our_table(&table).ok_or("it has no table [tool.oxicorn]")?
    } else {
        &table
    };
    ours.iter()
        .map(|(name, value)| Ok((name.clone(), plain(name, value)?)))
        .collect()
}

/// Whether settings are in a table of the file, not at its top.
pub(crate) fn is_pyproject(path: &str) -> bool {
    Path::new(path)
        .file_name()
        .is_some_and(|name| name == "pyproject.toml")
}

/// Whether a `pyproject.toml` says something to us. One that cannot be read as TOML does, if our name
/// is in it, and one in which our name is not a table, so that the mistake is reported.
pub(crate) fn has_table(text: &str) -> bool {
    match parse(text) {
        Ok(table) => our_entry(&table).is_some(),
        Err(_) => text.contains("tool.oxicorn"),
    }
}

fn our_table(table: &Table) -> Option<&Table> {
    our_entry(table)?.as_table()
}

fn our_entry(table: &Table) -> Option<&Toml> {
    table.get("tool")?.get("oxicorn")
}

fn parse(text: &str) -> Result<Table, String> {
    toml::from_str(text).map_err(|error| {
        let start = error.span().map_or(0, |span| span.start);
        let (line, column) = place(text, start);
        format!("line {line}, column {column}: {}", error.message())
    })
}

/// Line and column, from 1 on, of a byte.
fn place(text: &str, byte: usize) -> (usize, usize) {
    let before = text.get(..byte).unwrap_or(text);
    let line = before.rsplit('\n').next().unwrap_or_default();
    (before.matches('\n').count() + 1, line.chars().count() + 1)
}

fn plain(name: &str, value: &Toml) -> Result<Value, String> {
    Ok(match value {
        Toml::String(text) => Value::text(text),
        Toml::Integer(number) => Value::Int(*number),
        Toml::Float(number) => Value::Float(*number),
        Toml::Boolean(on) => Value::Bool(*on),
        Toml::Array(items) => Value::List(
            items
                .iter()
                .map(|item| plain(name, item))
                .collect::<Result<_, _>>()?,
        ),
        Toml::Table(entries) => Value::Dict(
            entries
                .iter()
                .map(|(key, value)| Ok((key.clone(), plain(name, value)?)))
                .collect::<Result<_, String>>()?,
        ),
        Toml::Datetime(date) => {
            return Err(format!(
                "{name} = {date}: there is no setting that is a date"
            ));
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_type_of_toml_but_a_date_is_one_of_pythons() {
        let text = "a = 'x'\nb = 3\nc = 0.5\nd = true\ne = ['x', 'y']\n[f]\ng = 'x'\n";
        let expected = vec![
            ("a".into(), Value::text("x")),
            ("b".into(), Value::Int(3)),
            ("c".into(), Value::Float(0.5)),
            ("d".into(), Value::Bool(true)),
            ("e".into(), Value::texts(["x", "y"])),
            (
                "f".into(),
                Value::Dict(vec![("g".into(), Value::text("x"))]),
            ),
        ];
        assert_eq!(read_toml("oxicorn.toml", text), Ok(expected));
        assert_eq!(
            read_toml("oxicorn.toml", "timeout = 2026-01-31"),
            Err("timeout = 2026-01-31: there is no setting that is a date".into())
        );
    }

    #[test]
    fn a_project_file_has_settings_in_our_table_only() {
        let text = "[project]\nname = 'shop'\n[tool.oxicorn]\nworkers = 3\n[tool.other]\nx = 1\n";
        let expected = Ok(vec![("workers".into(), Value::Int(3))]);
        assert_eq!(read_toml("some/pyproject.toml", text), expected);
        assert_eq!(
            read_toml("pyproject.toml", "[tool.other]\n"),
            Err("it has no table [tool.oxicorn]".into())
        );
    }

    #[test]
    fn a_mistake_is_found_by_line_and_column() {
        let problem = read_toml("oxicorn.toml", "workers = 3\nbind = \n").unwrap_err();
        assert!(problem.starts_with("line 2, column 8: "), "{problem}");
    }

    #[test]
    fn a_project_file_that_cannot_be_read_counts_if_our_name_is_in_it() {
        assert!(has_table("[tool.oxicorn]\nworkers = \n"));
        assert!(!has_table("[tool.other]\nworkers = \n"));
    }

    #[test]
    fn a_project_file_in_which_our_name_is_no_table_is_a_mistake_and_not_overlooked() {
        for text in ["[[tool.oxicorn]]\nworkers = 3\n", "[tool]\noxicorn = 3\n"] {
            assert!(has_table(text), "{text}");
            assert_eq!(
                read_toml("pyproject.toml", text),
                Err("it has no table [tool.oxicorn]".into())
            );
        }
    }
}
