//! Other words for a setting: the flags and arguments that people bring along from uvicorn.
//!
//! A spelling belongs to a row and says nothing that the row could not say: the parser, the
//! completions and the reference take both from the table, and whatever is spelled ends as a value
//! of the row, checked like any other. Configuration files know the settings' own names only: a
//! variable `host` in one is the file's business.
//!
//! Invariant: each word stands for one setting.

use crate::invalid::Invalid;
use crate::setting::Setting;
use crate::value::Value;

/// Another word for a setting.
#[derive(Debug)]
pub struct Spelling {
    /// The flag; empty if there is an argument only.
    pub flag: &'static str,
    /// The flag that says the opposite; empty if there is none.
    pub off: &'static str,
    /// The name as an argument of `oxicorn.run`.
    pub argument: &'static str,
    /// What it stands for.
    pub means: Means,
}

/// What a spelling stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Means {
    /// What the setting's own flag stands for.
    Same,
    /// A form of its own, which the row's `reads` understands.
    Form {
        /// What follows the flag.
        takes: Takes,
        /// One sentence, at most 79 columns, ending with a period.
        summary: &'static str,
    },
    /// Nothing: it is known, and refused.
    Refused {
        /// What follows the flag.
        takes: Takes,
        /// What to do instead.
        advice: &'static str,
    },
}

/// What follows a flag.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Takes {
    /// Nothing.
    Nothing,
    /// One value, with this placeholder; the last one counts.
    One(&'static str),
    /// One value each time, with this placeholder; all count.
    Each(&'static str),
}

impl Spelling {
    /// A flag, and an argument, that mean what the setting's own flag does.
    pub const fn same(flag: &'static str, argument: &'static str) -> Self {
        Self {
            flag,
            off: "",
            argument,
            means: Means::Same,
        }
    }

    /// A flag, and an argument, of a form of their own.
    pub const fn form(
        flag: &'static str,
        argument: &'static str,
        takes: Takes,
        summary: &'static str,
    ) -> Self {
        Self {
            flag,
            off: "",
            argument,
            means: Means::Form { takes, summary },
        }
    }

    /// A pair of flags that say yes and no, and an argument that is one of the two.
    pub const fn switch(
        flag: &'static str,
        off: &'static str,
        argument: &'static str,
        summary: &'static str,
    ) -> Self {
        let takes = Takes::Nothing;
        Self {
            flag,
            off,
            argument,
            means: Means::Form { takes, summary },
        }
    }

    /// A flag, and an argument, that are refused with advice.
    pub const fn refused(
        flag: &'static str,
        argument: &'static str,
        takes: Takes,
        advice: &'static str,
    ) -> Self {
        Self {
            flag,
            off: "",
            argument,
            means: Means::Refused { takes, advice },
        }
    }

    /// What follows its flag; `None` for what is the setting's own flag by another name.
    pub fn takes(&self) -> Option<Takes> {
        match self.means {
            Means::Same => None,
            Means::Form { takes, .. } | Means::Refused { takes, .. } => Some(takes),
        }
    }

    /// Its flags: none, one, or the one and its opposite.
    pub fn flags(&self) -> impl Iterator<Item = &'static str> {
        [self.flag, self.off]
            .into_iter()
            .filter(|flag| !flag.is_empty())
    }

    /// Whether it does something.
    pub fn is_offered(&self) -> bool {
        !matches!(self.means, Means::Refused { .. })
    }
}

/// Everything that one source says of one setting, in its own words: the name of the setting, or the
/// argument's name of a spelling, and the value.
#[derive(Debug, Clone, Default)]
pub struct Said(pub(crate) Vec<(&'static str, Value)>);

impl Said {
    /// What was said under a word.
    pub fn get(&self, word: &str) -> Option<&Value> {
        self.0
            .iter()
            .find(|(said, _)| *said == word)
            .map(|(_, value)| value)
    }

    /// What was said under a word, as the text that it would be on a command line.
    pub fn text(&self, word: &str) -> Option<String> {
        self.get(word).map(|value| match value {
            Value::Text(text) => text.clone(),
            other => other.to_string(),
        })
    }

    /// All that was said under a word that may be said several times.
    pub fn texts(&self, word: &str) -> Vec<String> {
        let one = |value: &Value| {
            value
                .as_text()
                .map_or_else(|| value.to_string(), str::to_owned)
        };
        match self.get(word) {
            None => Vec::new(),
            Some(Value::List(items)) => items.iter().map(one).collect(),
            Some(value) => vec![one(value)],
        }
    }

    /// Whether a switch says yes or no.
    ///
    /// # Errors
    /// What else it says.
    pub fn switch(&self, word: &str) -> Result<Option<bool>, String> {
        match self.get(word) {
            None => Ok(None),
            Some(Value::Bool(on)) => Ok(Some(*on)),
            Some(other) => Err(format!("{word} is {other}; expected True or False")),
        }
    }

    /// The value that all of it comes to, in the setting's own form.
    ///
    /// # Errors
    /// What is wrong, as a phrase.
    pub(crate) fn value(&self, setting: &Setting) -> Result<Value, String> {
        if let Some(advice) = self.refusal(setting) {
            return Err(format!("not supported: {advice}"));
        }
        let value = match self.0.as_slice() {
            [(word, value)] if *word == setting.name => setting.check(value),
            _ => setting.check(&(setting.reads)(self)?),
        };
        value.map_err(|problem| setting.refusal().unwrap_or(problem))
    }

    fn refusal(&self, setting: &Setting) -> Option<&'static str> {
        setting.spellings.iter().find_map(|spelling| {
            let means = self.get(spelling.argument).map(|_| spelling.means);
            match means {
                Some(Means::Refused { advice, .. }) => Some(advice),
                _ => None,
            }
        })
    }

    /// One of the words, if there is any.
    pub(crate) fn first(&self) -> Option<&(&'static str, Value)> {
        self.0.first()
    }

    /// What is wrong with it, under the first of its words.
    pub(crate) fn invalid(&self, source: &str, problem: String) -> Invalid {
        let (word, value) = self
            .first()
            .map_or(("", &Value::None), |(word, value)| (*word, value));
        Invalid::new(word, value, source, problem)
    }

    /// The flags that its words were typed as.
    pub(crate) fn flags(&self, setting: &Setting) -> String {
        let flags = self.0.iter().map(|(word, value)| {
            let spelling = setting.spellings.iter().find(|one| one.argument == *word);
            match spelling {
                None => setting.cli.join("/"),
                Some(one) if *value == Value::Bool(false) => one.off.to_owned(),
                Some(one) => one.flag.to_owned(),
            }
        });
        flags.collect::<Vec<_>>().join("/")
    }
}
