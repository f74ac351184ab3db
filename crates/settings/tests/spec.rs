//! Runs the cases in `spec/settings`: from words, environment and file to values and messages.
//!
//! The form of a case is described in `spec/settings/README.md`.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::collections::BTreeMap;
use std::path::Path;

use oxicorn_settings::{CommandLine, Config, FileValues, Value, parse_command_line, read_toml};

#[test]
fn every_case_in_the_specification_holds() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../spec/settings");
    let mut count = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if path.extension().is_some_and(|extension| extension == "md") && name != "README.md" {
            count += run(&name, &std::fs::read_to_string(&path).unwrap());
        }
    }
    assert!(count >= 40, "only {count} cases found");
}

/// Runs all cases of a file; returns how many there were.
fn run(file: &str, text: &str) -> usize {
    let cases: Vec<_> = text.split("\n## ").skip(1).collect();
    for case in &cases {
        let (title, body) = case.split_once('\n').unwrap();
        let case = Case::read(body);
        let expected = case.expected.join("\n");
        let found = case.outcome().join("\n");
        assert_eq!(found, expected, "\n{file}: {title}\n");
    }
    cases.len()
}

#[derive(Default)]
struct Case {
    command: String,
    file: Option<FileValues>,
    expected: Vec<String>,
}

impl Case {
    fn read(body: &str) -> Self {
        let mut case = Self::default();
        let mut blocks = body.split("\n```");
        // Texts between blocks and blocks take turns.
        while let (Some(_), Some(block)) = (blocks.next(), blocks.next()) {
            let (kind, text) = block.split_once('\n').unwrap();
            match kind {
                "sh" => case.command = text.into(),
                "python" => {
                    case.file = Some(FileValues {
                        label: "gunicorn.conf.py".into(),
                        values: text.lines().filter_map(statement).collect(),
                        is_program: true,
                    });
                }
                "toml" => {
                    case.file = Some(FileValues {
                        label: "oxicorn.toml".into(),
                        values: read_toml("oxicorn.toml", text).unwrap(),
                        is_program: false,
                    });
                }
                "expect" => case.expected = text.lines().map(Into::into).collect(),
                other => panic!("unknown block {other}"),
            }
        }
        assert!(
            !case.command.is_empty() && !case.expected.is_empty(),
            "incomplete: {body}"
        );
        case
    }

    /// What came out, in the words of the expectation.
    fn outcome(&self) -> Vec<String> {
        let (environment, args) = words(&self.command);
        let env = |name: &str| environment.get(name).cloned();
        let typed = match parse_command_line(&args, &env) {
            CommandLine::Run(typed) => typed,
            CommandLine::Exit {
                code,
                text,
                to_stderr,
            } => return exit(code, &text, to_stderr),
        };
        match typed.resolve(self.file.clone().into_iter().collect(), &env) {
            Err(invalid) => vec![format!("error: {invalid}")],
            Ok((config, warnings)) => {
                let values = self.expected.iter().filter_map(|line| value(&config, line));
                values
                    .chain(warnings.iter().map(|warning| format!("warning: {warning}")))
                    .chain(config.idle().iter().map(|text| format!("debug: {text}")))
                    .collect()
            }
        }
    }
}

fn exit(code: u8, text: &str, to_stderr: bool) -> Vec<String> {
    assert_eq!(to_stderr, code != 0);
    let shown = text
        .lines()
        .find_map(|line| line.strip_prefix("oxicorn: error: "));
    vec![format!("exit {code}: {}", shown.unwrap_or(text.trim_end()))]
}

/// The line for the setting that an expectation is about.
fn value(config: &Config, line: &str) -> Option<String> {
    let (name, _) = line
        .split_once(" = ")
        .filter(|_| !line.starts_with("warning: ") && !line.starts_with("debug: "))?;
    Some(format!(
        "{name} = {}  # {}",
        config.value(name)?,
        config.source(name)?
    ))
}

/// `A=b oxicorn c d`: the variables before the program's name, and the words after it. A word with
/// blanks is in double quotes.
fn words(command: &str) -> (BTreeMap<String, String>, Vec<String>) {
    let mut words = Vec::new();
    for (index, piece) in command
        .trim()
        .trim_start_matches("$ ")
        .split('"')
        .enumerate()
    {
        if index % 2 == 1 {
            let last: &mut String = words.last_mut().unwrap();
            last.push_str(piece);
        } else {
            let glued = !piece.starts_with(' ') && index > 0;
            let mut pieces: Vec<String> = piece.split(' ').map(Into::into).collect();
            if glued {
                let first = pieces.remove(0);
                words.last_mut().unwrap().push_str(&first);
            }
            words.extend(pieces);
        }
    }
    words.retain(|word| !word.is_empty());
    let program = words.iter().position(|word| word == "oxicorn").unwrap();
    let args = words.split_off(program + 1);
    let variables = words.iter().filter_map(|word| word.split_once('='));
    (
        variables
            .map(|(name, text)| (name.into(), text.into()))
            .collect(),
        args,
    )
}

/// `name = literal`, `def name(...): ...`, `import name`, `class Name: ...`.
fn statement(line: &str) -> Option<(String, Value)> {
    let opaque = |rest: &str, what: &str| {
        let name = rest.split(['(', ':', ' ']).next().unwrap();
        Some((name.to_owned(), Value::Opaque(what.replace('_', name))))
    };
    if let Some(rest) = line.strip_prefix("def ") {
        return opaque(rest, "function");
    }
    if let Some(rest) = line.strip_prefix("import ") {
        return opaque(rest, "module");
    }
    if let Some(rest) = line.strip_prefix("class ") {
        return opaque(rest, "class _");
    }
    let (name, text) = line.split_once(" = ")?;
    Some((name.into(), literal(text)))
}

fn literal(text: &str) -> Value {
    if let Some(class) = text.strip_prefix('<') {
        return Value::Opaque(class.trim_end_matches('>').into());
    }
    if let Some(items) = text
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
    {
        return Value::List(
            items
                .split(", ")
                .filter(|item| !item.is_empty())
                .map(literal)
                .collect(),
        );
    }
    if let Some(entries) = text
        .strip_prefix('{')
        .and_then(|rest| rest.strip_suffix('}'))
    {
        let entries = entries
            .split(", ")
            .filter_map(|entry| entry.split_once(": "));
        return Value::Dict(
            entries
                .map(|(k, v)| (k.trim_matches('\'').into(), literal(v)))
                .collect(),
        );
    }
    match text {
        "None" => Value::None,
        "True" => Value::Bool(true),
        "False" => Value::Bool(false),
        text if text.starts_with('\'') => Value::text(text.trim_matches('\'')),
        text if text.contains('.') => Value::Float(text.parse().unwrap()),
        text => Value::Int(
            text.parse()
                .unwrap_or_else(|_| panic!("not a literal: {text}")),
        ),
    }
}
