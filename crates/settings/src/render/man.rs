//! The manual page, in the language of `man(7)`.

use super::{default, flags_with_value, spellings_with_value, variables};
use crate::setting::{Section, Setting};
use crate::table::{SECTIONS, settings};

/// `docs/reference/oxicorn.1`.
pub fn man() -> String {
    let options: String = SECTIONS.iter().map(|section| options(section)).collect();
    let version = env!("CARGO_PKG_VERSION");
    [
        ".\\\" Generated from crates/settings by 'cargo xtask generate'; do not edit.\n".into(),
        format!(".TH OXICORN 1 \"\" \"oxicorn {version}\" \"User Commands\"\n"),
        OPENING.into(),
        options,
        environment(),
        CLOSING.into(),
    ]
    .concat()
}

const OPENING: &str = r".SH NAME
oxicorn \- serve Python web applications
.SH SYNOPSIS
.B oxicorn
.RI [ OPTIONS ]
.IR MODULE [: VARIABLE ]
.SH DESCRIPTION
.B oxicorn
serves a Python web application over HTTP with a number of worker processes.
.I MODULE
is a dotted module path; the current directory is importable.
.I VARIABLE
is the application in it, \fBapplication\fR unless given.
It may be an attribute path or a call with literal arguments.
.PP
Settings come, from the weakest to the strongest source, from the environment, from a configuration file,
from \fBGUNICORN_CMD_ARGS\fR and \fBOXICORN_CMD_ARGS\fR, and from the command line.
.SH OPTIONS
.TP
\fB\-h\fR, \fB\-\-help\fR
Show a summary of all options.
.TP
\fB\-v\fR, \fB\-\-version\fR
Show the version.
";

const CLOSING: &str = r".SH FILES
.TP
.I oxicorn.conf.py, gunicorn.conf.py
The configuration file that is read from the current directory if none is named.
.SH EXIT STATUS
.TP
.B 0
The server was stopped.
.TP
.B 1
The configuration is wrong, or an address cannot be listened on.
.TP
.B 2
The command line cannot be understood.
.TP
.B 3
A worker failed to start.
.TP
.B 4
The application could not be loaded.
";

/// A section's settings in effect that have flags, if there are any.
fn options(section: &Section) -> String {
    let shown = |row: &&Setting| row.is_in_effect() && !row.cli.is_empty();
    let entries: String = section.rows.iter().filter(shown).map(option).collect();
    if entries.is_empty() {
        entries
    } else {
        format!(".SS {}\n{entries}", section.title)
    }
}

fn option(setting: &Setting) -> String {
    let flags = flags_with_value(setting).into_iter();
    let flags: Vec<_> = flags
        .chain(spellings_with_value(setting))
        .map(|flag| flag_text(&flag))
        .collect();
    let default = default(setting).map(|text| format!("\n.br\nDefault: {}", escape(&text)));
    let text = prose(&format!("{}\n\n{}", setting.summary, setting.doc));
    format!(
        ".TP\n{}\n{text}{}\n",
        flags.join(", "),
        default.unwrap_or_default()
    )
}

fn flag_text(flag: &str) -> String {
    match flag.split_once(' ') {
        Some((flag, value)) => format!("\\fB{}\\fR \\fI{}\\fR", hyphens(flag), escape(value)),
        None => format!("\\fB{}\\fR", hyphens(flag)),
    }
}

fn environment() -> String {
    let entries: String = settings()
        .filter(|row| row.is_in_effect())
        .map(variable)
        .collect();
    let lines = ".TP\n.B GUNICORN_CMD_ARGS, OXICORN_CMD_ARGS\nMore options.\n";
    format!(".SH ENVIRONMENT\n{lines}{entries}")
}

fn variable(setting: &Setting) -> String {
    format!(
        ".TP\n.B {}\nSets {}.\n",
        variables(setting).join(", "),
        setting.name
    )
}

/// Markdown as the table uses it: paragraphs, code, and tables of two columns.
fn prose(markdown: &str) -> String {
    let paragraphs: Vec<_> = markdown.split("\n\n").map(paragraph).collect();
    paragraphs.join("\n.IP\n")
}

fn paragraph(text: &str) -> String {
    if !text.starts_with('|') {
        return code(text);
    }
    let rows: Vec<_> = text.lines().skip(2).map(row).collect();
    format!(".nf\n{}\n.fi", rows.join("\n"))
}

fn row(line: &str) -> String {
    let cells: Vec<_> = line
        .trim_matches('|')
        .split('|')
        .map(|cell| code(cell.trim()))
        .collect();
    cells.join("  ")
}

/// Turns text between backticks bold.
fn code(text: &str) -> String {
    let pieces = text.split('`').enumerate();
    let pieces = pieces.map(|(index, piece)| match index % 2 {
        0 => escape(piece),
        _ => format!("\\fB{}\\fR", escape(piece)),
    });
    protect(&pieces.collect::<String>())
}

/// A line that starts with a dot or a quote would be a request.
fn protect(text: &str) -> String {
    let lines = text.lines().map(|line| match line.chars().next() {
        Some('.' | '\'') => format!("\\&{line}"),
        _ => line.into(),
    });
    lines.collect::<Vec<String>>().join("\n")
}

fn escape(text: &str) -> String {
    text.replace('\\', "\\e")
}

fn hyphens(flag: &str) -> String {
    flag.replace('-', "\\-")
}
