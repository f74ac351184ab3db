//! What a setting is: one plain row of the table.
//!
//! A [`Setting`] says everything there is to know about one setting: its names, its kind of value,
//! its default, how it compares with gunicorn, what it is for, and where its checked value goes.
//! Rows hold no behaviour beyond [`Setting::apply`], which checks and stores; whatever looks at the
//! world (does the path exist, is the port free) happens elsewhere.

use crate::config::{BLANK, Config};
use crate::kind::Kind;
use crate::spelling::{Said, Spelling};
use crate::value::Value;

/// Stores a checked value in its field; the error says what is wrong with the value.
pub type Apply = fn(&mut Config, &Value) -> Result<(), String>;

/// Reads what was said in other words than the setting's own; the error says what is wrong with it.
pub type Reads = fn(&Said) -> Result<Value, String>;

/// One setting: a row of the table.
#[derive(Debug)]
pub struct Setting {
    /// The name in a configuration file, also of the field in [`Config`].
    pub name: &'static str,
    /// The command-line flags, a short one first if there is one.
    pub cli: &'static [&'static str],
    /// Other spellings that are accepted but not advertised.
    pub cli_hidden: &'static [&'static str],
    /// Flags that switch a truth value off.
    pub cli_off: &'static [&'static str],
    /// Whether a truth value follows its flag, as uvicorn has it; else the flag alone means yes.
    pub cli_says: bool,
    /// What a flag means when it is given without a value; without it a value is required.
    pub cli_bare: Option<&'static str>,
    /// The words that other servers have for it.
    pub spellings: &'static [Spelling],
    /// What those of them come to that have a form of their own.
    pub reads: Reads,
    /// The variable that set this before `OXICORN_<NAME>` existed.
    pub env: Option<Variable>,
    /// What values it takes.
    pub kind: Kind,
    /// The value when nobody sets it.
    pub default: Preset,
    /// The placeholder of the value in help texts.
    pub meta: &'static str,
    /// How it compares with the setting of that name in gunicorn.
    pub status: Status,
    /// One sentence, at most 79 columns, ending with a period.
    pub summary: &'static str,
    /// The full documentation, in Markdown.
    pub doc: &'static str,
    /// Values that are valid, as one would type them.
    pub examples: &'static [&'static str],
    /// Puts the checked value into the configuration.
    pub apply: Apply,
}

impl Setting {
    /// The row that all rows start from: `Setting { name: "...", .., ..Setting::ROW }`.
    pub const ROW: Self = Self {
        name: "",
        cli: &[],
        cli_hidden: &[],
        cli_off: &[],
        cli_says: false,
        cli_bare: None,
        spellings: &[],
        reads: |_| Err("expected another word".into()),
        env: None,
        kind: Kind::Text,
        default: Preset::None,
        meta: "TEXT",
        status: Status::Same,
        summary: "",
        doc: "",
        examples: &[],
        apply: |_, _| Ok(()),
    };

    /// The row that switches start from: off unless switched on.
    pub const SWITCH: Self = Self {
        kind: Kind::Bool,
        default: Preset::Bool(false),
        meta: "BOOL",
        ..Self::ROW
    };

    /// Checks a value from any source and brings it into the setting's own form.
    ///
    /// # Errors
    /// What is allowed instead, as a phrase: `expected a whole number of at least 1`.
    pub fn check(&self, value: &Value) -> Result<Value, String> {
        let checked = self.kind.check(value)?;
        (self.apply)(&mut { BLANK }, &checked)?;
        Ok(checked)
    }

    /// The environment variable of ours that sets this.
    pub fn variable(&self) -> String {
        format!("OXICORN_{}", self.name.to_ascii_uppercase())
    }

    /// Whether the server does what this setting says.
    pub fn is_in_effect(&self) -> bool {
        matches!(
            self.status,
            Status::Same | Status::Better { .. } | Status::Ours
        )
    }

    /// Why any value but the default is refused, if it is.
    pub fn refusal(&self) -> Option<String> {
        match self.status {
            Status::Refused { advice } => Some(format!("not supported: {advice}")),
            Status::Later { meanwhile } => Some(format!("not supported yet: {meanwhile}")),
            _ => None,
        }
    }

    /// All its flags that are advertised, whosever they are.
    pub fn flags(&self) -> impl Iterator<Item = &'static str> {
        let own = self.cli.iter().chain(self.cli_off).copied();
        own.chain(self.offered().flat_map(Spelling::flags))
    }

    /// The spellings that do something.
    pub fn offered(&self) -> impl Iterator<Item = &'static Spelling> {
        self.spellings.iter().filter(|one| one.is_offered())
    }

    /// Whether a value follows its flags.
    pub fn takes_value(&self) -> bool {
        self.kind != Kind::Bool || self.cli_says
    }
}

/// How a setting compares with gunicorn's of the same name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// It means the same.
    Same,
    /// It means the same and does more.
    Better {
        /// In what way.
        how: &'static str,
    },
    /// It is accepted, and there is nothing for it to do.
    WithoutEffect {
        /// For what reason.
        why: &'static str,
    },
    /// It will not be supported.
    Refused {
        /// What to do instead.
        advice: &'static str,
    },
    /// It is not supported yet.
    Later {
        /// What to do until it is.
        meanwhile: &'static str,
    },
    /// Gunicorn has no such setting.
    Ours,
}

impl Status {
    /// The one word for it in documentation.
    pub fn word(self) -> &'static str {
        match self {
            Self::Same => "same",
            Self::Better { .. } => "better",
            Self::WithoutEffect { .. } => "without effect",
            Self::Refused { .. } => "refused",
            Self::Later { .. } => "later",
            Self::Ours => "ours",
        }
    }

    /// The explanation that goes with the word; empty if there is nothing to explain.
    pub fn note(self) -> &'static str {
        match self {
            Self::Same | Self::Ours => "",
            Self::Better { how: note }
            | Self::WithoutEffect { why: note }
            | Self::Refused { advice: note }
            | Self::Later { meanwhile: note } => note,
        }
    }
}

/// The value of a setting that nobody set.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Preset {
    /// No value.
    None,
    /// A truth value.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// A number with a fraction.
    Float(f64),
    /// A text.
    Text(&'static str),
    /// A list of texts.
    List(&'static [&'static str]),
    /// A dictionary of texts.
    Dict(&'static [(&'static str, &'static str)]),
}

impl Preset {
    /// The default as a value.
    pub fn value(self) -> Value {
        match self {
            Self::None => Value::None,
            Self::Bool(on) => Value::Bool(on),
            Self::Int(number) => Value::Int(number),
            Self::Float(number) => Value::Float(number),
            Self::Text(text) => Value::text(text),
            Self::List(items) => Value::texts(items.iter().copied()),
            Self::Dict(entries) => Value::Dict(
                entries
                    .iter()
                    .map(|(k, v)| ((*k).into(), Value::text(*v)))
                    .collect(),
            ),
        }
    }
}

/// An environment variable that sets one setting, and how its text is read.
#[derive(Debug, Clone, Copy)]
pub struct Variable {
    /// The variable's name.
    pub name: &'static str,
    /// The value that the text stands for.
    pub read: fn(&str) -> Value,
}

/// A group of settings that are documented together.
#[derive(Debug)]
pub struct Section {
    /// The heading.
    pub title: &'static str,
    /// Its settings, in documentation order.
    pub rows: &'static [Setting],
}
