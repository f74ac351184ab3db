//! The kinds of values that settings take, and the checked conversions to them.
//!
//! [`Kind::check`] turns whatever a source delivered (a word, a Python value) into the one form that
//! the setting stores and reports. It knows types, ranges and spellings, never what a setting means.

use crate::number;
use crate::value::Value;

/// What values a setting takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A truth value; the texts `true` and `false` (also `yes`, `no`, `on`, `off`, `1`, `0`) count.
    Bool,
    /// A whole number in a range, also as text in any of Python's notations.
    Int {
        /// The least allowed.
        min: i64,
        /// The most allowed.
        max: i64,
    },
    /// Permission bits; a text that starts with `0` is octal.
    Mode,
    /// Seconds, possibly with a fraction: 0, or at least a millisecond, so that no wait is cut to 0.
    Seconds,
    /// The same, or nothing, which the text `none` says too.
    SecondsOrNone,
    /// Bytes, not negative; texts may end in `K`, `M`, `G` (or `KiB`, ..), powers of 1024.
    Size,
    /// A text, or nothing.
    Text,
    /// A name or a number, kept as text: users and groups.
    Account,
    /// One of a few words, in any case.
    Choice(&'static [&'static str]),
    /// One of a few words, in any case, or the path of something to import, `MODULE:NAME`.
    ChoiceOrImport(&'static [&'static str]),
    /// A list of texts; a single text is a list of one.
    List,
    /// A list of texts, also as one text with commas.
    Commas,
    /// A dictionary of texts.
    Dict,
    /// The name of a class, or the class itself.
    Class,
    /// A function, or its dotted name.
    Hook,
    /// Anything.
    Any,
}

impl Kind {
    /// A whole number from 0 on.
    pub const COUNT: Self = Self::Int {
        min: 0,
        max: i64::MAX,
    };
    /// A whole number from 1 on.
    pub const POSITIVE: Self = Self::Int {
        min: 1,
        max: i64::MAX,
    };
    /// So many processes or threads; a number that nobody means would fill the machine with them.
    pub const CREW: Self = Self::Int {
        min: 1,
        max: MOST_WORKERS.cast_signed() as i64,
    };
    /// Whole seconds; the most is a century, so that a sum of deadlines cannot overflow.
    pub const WHOLE_SECONDS: Self = Self::Int {
        min: 0,
        max: MOST_SECONDS,
    };

    /// Brings a value into this kind's form.
    ///
    /// # Errors
    /// What is allowed instead, as a phrase: `expected a whole number of at least 1`.
    pub fn check(self, value: &Value) -> Result<Value, String> {
        // In lists it has a meaning: abstract sockets begin with one.
        if self != Self::List && has_nul(value) {
            return Err("a NUL character can be in no path, name or variable".into());
        }
        let checked = match self {
            Self::Bool => truth(value),
            Self::Int { min, max } => number::whole(value)
                .filter(in_range(min, max))
                .map(Value::Int),
            Self::Mode => number::mode(value)
                .filter(in_range(0, 0o777))
                .map(Value::Int),
            Self::SecondsOrNone if is_nothing(value) => Some(Value::None),
            Self::Seconds | Self::SecondsOrNone => seconds(value),
            Self::Size => number::size(value)
                .filter(in_range(0, i64::MAX))
                .map(Value::Int),
            Self::Text => text(value),
            Self::Account => account(value),
            Self::Choice(words) => choice(words, value),
            Self::ChoiceOrImport(words) => choice(words, value).or_else(|| import_path(value)),
            Self::List => list(value),
            Self::Commas => commas(value),
            Self::Dict => dict(value),
            Self::Class => Some(value.clone()).filter(is_class),
            Self::Hook => Some(value.clone()).filter(is_hook),
            Self::Any => Some(value.clone()),
        };
        checked.ok_or_else(|| format!("expected {}", self.expected()))
    }

    /// What is allowed, as a phrase: `a whole number of at least 1`.
    pub fn expected(self) -> String {
        match self {
            Self::Bool => "true or false".into(),
            Self::Int { min, max } => range("a whole number", min, max),
            Self::Mode => "permission bits in octal from 0 to 0777".into(),
            Self::Seconds => "0, or a number of seconds of at least 0.001".into(),
            Self::SecondsOrNone => "0, a number of seconds of at least 0.001, or none".into(),
            Self::Size => "a number of bytes of at least 0, such as 65536 or 64K".into(),
            Self::Text => "a text".into(),
            Self::Account => "a name or a number".into(),
            Self::Choice(words) => format!("one of {}", words.join(", ")),
            Self::ChoiceOrImport(words) => {
                format!("one of {}, or MODULE:NAME", words.join(", "))
            }
            Self::List => "a list of texts".into(),
            Self::Commas => "texts separated by commas, or a list of them".into(),
            Self::Dict => "a dictionary of texts".into(),
            Self::Class => "the name of a class".into(),
            Self::Hook => "a function, or the dotted name of one".into(),
            Self::Any => "a value".into(),
        }
    }

    /// Whether repeating the flag adds to a list, rather than replacing the value.
    pub fn is_repeatable(self) -> bool {
        matches!(self, Self::List)
    }
}

/// The most workers, and the most threads of one.
pub const MOST_WORKERS: usize = 4096;
/// A century.
const MOST_SECONDS: i64 = 3_155_695_200;
const MOST_SECONDS_WITH_FRACTION: f64 = 3_155_695_200.0;

fn is_duration(seconds: f64) -> bool {
    seconds == 0.0 || (0.001..=MOST_SECONDS_WITH_FRACTION).contains(&seconds)
}

fn seconds(value: &Value) -> Option<Value> {
    number::seconds(value)
        .filter(|seconds| is_duration(*seconds))
        .map(Value::Float)
}

fn is_nothing(value: &Value) -> bool {
    let is_word = |text: &str| text.trim().eq_ignore_ascii_case("none");
    *value == Value::None || value.as_text().is_some_and(is_word)
}

fn in_range(min: i64, max: i64) -> impl Fn(&i64) -> bool {
    move |number| (min..=max).contains(number)
}

fn range(what: &str, min: i64, max: i64) -> String {
    if max == i64::MAX || max == MOST_SECONDS {
        format!("{what} of at least {min}")
    } else {
        format!("{what} from {min} to {max}")
    }
}

fn truth(value: &Value) -> Option<Value> {
    let on = match value {
        Value::None => false,
        Value::Bool(on) => *on,
        Value::Text(text) => match text.trim().to_ascii_lowercase().as_str() {
            "true" | "yes" | "on" | "1" => true,
            "false" | "no" | "off" | "0" => false,
            _ => return None,
        },
        _ => return None,
    };
    Some(Value::Bool(on))
}

fn text(value: &Value) -> Option<Value> {
    match value {
        Value::None => Some(Value::None),
        Value::Text(text) => Some(Value::text(text.trim())),
        _ => None,
    }
}

fn account(value: &Value) -> Option<Value> {
    match value {
        Value::Int(number) if *number >= 0 => Some(Value::text(number.to_string())),
        Value::Text(name) if name.trim().is_empty() => None,
        other => text(other),
    }
}

/// A truth value picks `off`, or the first word that is not `off`, where there is an `off`.
/// Where one of the words is `off`, truth values count: false means it, true the first other one.
fn switched<'w>(words: &'w [&'static str], on: bool) -> Option<&'w &'static str> {
    let can_be_off = words.contains(&"off");
    let word = words.iter().find(|word| (**word == "off") != on);
    word.filter(|_| can_be_off)
}

/// As gunicorn reads `proxy_protocol`.
fn truth_in_words(text: &str) -> Option<bool> {
    let is = |words: &[&str]| words.iter().any(|word| text.eq_ignore_ascii_case(word));
    if is(&["true", "1"]) {
        Some(true)
    } else {
        is(&["false", "0", "none"]).then_some(false)
    }
}

fn choice(words: &[&'static str], value: &Value) -> Option<Value> {
    let word = match value {
        Value::Text(text) => {
            let text = text.trim();
            words
                .iter()
                .find(|word| word.eq_ignore_ascii_case(text))
                .or_else(|| switched(words, truth_in_words(text)?))
        }
        Value::None => switched(words, false),
        Value::Bool(on) => switched(words, *on),
        _ => None,
    };
    word.map(|word| Value::text(*word))
}

fn import_path(value: &Value) -> Option<Value> {
    let path = value.as_text()?.trim();
    let (module, name) = path.split_once(':')?;
    let is_path = !module.is_empty() && !name.is_empty() && !path.contains(char::is_whitespace);
    is_path.then(|| Value::text(path))
}

fn list(value: &Value) -> Option<Value> {
    match value {
        Value::None => Some(Value::List(Vec::new())),
        Value::Text(text) if text.is_empty() => Some(Value::List(Vec::new())),
        Value::Text(text) => Some(Value::texts([text.trim()])),
        Value::List(items) => {
            let texts: Option<Vec<_>> = items
                .iter()
                .map(|item| item.as_text().map(str::trim))
                .collect();
            texts.map(Value::texts)
        }
        _ => None,
    }
}

fn commas(value: &Value) -> Option<Value> {
    match value {
        Value::Text(text) => Some(Value::texts(split(text))),
        other => list(other),
    }
}

fn dict(value: &Value) -> Option<Value> {
    match value {
        Value::Dict(entries) if entries.iter().all(|(_, v)| v.as_text().is_some()) => {
            Some(value.clone())
        }
        Value::Text(text) => split(text)
            .map(|pair| pair.split_once('='))
            .map(|pair| pair.map(|(k, v)| (k.trim().to_owned(), Value::text(v.trim()))))
            .collect::<Option<Vec<_>>>()
            .map(Value::Dict),
        _ => None,
    }
}

fn has_nul(value: &Value) -> bool {
    match value {
        Value::Text(text) => text.contains('\0'),
        Value::List(items) => items.iter().any(has_nul),
        Value::Dict(entries) => entries
            .iter()
            .any(|(key, value)| key.contains('\0') || has_nul(value)),
        _ => false,
    }
}

fn is_class(value: &Value) -> bool {
    match value {
        Value::Text(name) => !name.trim().is_empty(),
        other => matches!(other, Value::Opaque(_)),
    }
}

fn is_hook(value: &Value) -> bool {
    matches!(value, Value::None | Value::Text(_) | Value::Opaque(_))
}

fn split(text: &str) -> impl Iterator<Item = &str> {
    text.split(',')
        .map(str::trim)
        .filter(|part| !part.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(kind: Kind, text: &str) -> Result<Value, String> {
        kind.check(&Value::text(text))
    }

    #[test]
    fn truth_values_may_be_spelled_out() {
        assert_eq!(checked(Kind::Bool, " True "), Ok(Value::Bool(true)));
        assert_eq!(checked(Kind::Bool, "0"), Ok(Value::Bool(false)));
        assert_eq!(
            checked(Kind::Bool, "maybe"),
            Err("expected true or false".into())
        );
        assert!(Kind::Bool.check(&Value::Int(2)).is_err());
    }

    #[test]
    fn numbers_outside_their_range_say_the_range() {
        let port = Kind::Int { min: 0, max: 65535 };
        assert_eq!(checked(port, "0x10"), Ok(Value::Int(16)));
        assert_eq!(
            checked(port, "70000"),
            Err("expected a whole number from 0 to 65535".into())
        );
        assert_eq!(
            checked(Kind::POSITIVE, "many"),
            Err("expected a whole number of at least 1".into())
        );
    }

    #[test]
    fn seconds_are_neither_negative_nor_endless() {
        assert_eq!(checked(Kind::Seconds, "2.5"), Ok(Value::Float(2.5)));
        for wrong in ["-1", "inf", "nan", "1e300", "0.0001", "soon", ""] {
            assert!(checked(Kind::Seconds, wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn no_seconds_are_something_else_than_zero_seconds() {
        let check = |value: Value| Kind::SecondsOrNone.check(&value);
        assert_eq!(check(Value::None), Ok(Value::None));
        assert_eq!(check(Value::text("None")), Ok(Value::None));
        assert_eq!(check(Value::Int(0)), Ok(Value::Float(0.0)));
        assert!(check(Value::text("never")).is_err());
    }

    #[test]
    fn what_is_none_of_the_words_may_be_a_path_to_import() {
        let kind = Kind::ChoiceOrImport(&["auto", "uvloop"]);
        let check = |text: &str| kind.check(&Value::text(text));
        assert_eq!(check("UVLOOP"), Ok(Value::text("uvloop")));
        assert_eq!(check(" site.loops:Own "), Ok(Value::text("site.loops:Own")));
        for wrong in ["fast", ":Own", "site.loops:", "site: Own"] {
            assert_eq!(
                check(wrong),
                Err("expected one of auto, uvloop, or MODULE:NAME".into())
            );
        }
    }

    #[test]
    fn choices_ignore_case_and_take_truth_values_for_off() {
        let kind = Kind::Choice(&["off", "auto", "v1"]);
        assert_eq!(checked(kind, "V1"), Ok(Value::text("v1")));
        assert_eq!(kind.check(&Value::Bool(true)), Ok(Value::text("auto")));
        assert_eq!(kind.check(&Value::Bool(false)), Ok(Value::text("off")));
        assert_eq!(kind.check(&Value::None), Ok(Value::text("off")));
        for (text, word) in [
            ("True", "auto"),
            ("1", "auto"),
            ("none", "off"),
            ("0", "off"),
        ] {
            assert_eq!(checked(kind, text), Ok(Value::text(word)), "{text}");
        }
        assert_eq!(
            checked(kind, "v3"),
            Err("expected one of off, auto, v1".into())
        );
        for value in [Value::Bool(true), Value::None, Value::text("1")] {
            assert!(Kind::Choice(&["a"]).check(&value).is_err());
        }
    }

    #[test]
    fn a_nul_character_is_refused_by_name_but_in_lists() {
        let entry = Value::Dict(vec![("a\0".into(), Value::text("b"))]);
        for (kind, value) in [
            (Kind::Text, Value::text("shop\0")),
            (Kind::Account, Value::text("\0")),
            (Kind::Commas, Value::texts(["a", "b\0"])),
            (Kind::Dict, entry),
        ] {
            let problem = kind.check(&value).unwrap_err();
            assert!(problem.contains("NUL"), "{kind:?}: {problem}");
        }
        Kind::List.check(&Value::text("unix:\0shop")).unwrap();
    }

    #[test]
    fn a_single_text_is_a_list_of_one() {
        assert_eq!(checked(Kind::List, "a,b"), Ok(Value::texts(["a,b"])));
        assert_eq!(checked(Kind::Commas, "a, b,"), Ok(Value::texts(["a", "b"])));
        assert_eq!(Kind::List.check(&Value::None), Ok(Value::List(vec![])));
        assert!(Kind::List.check(&Value::List(vec![Value::Int(1)])).is_err());
    }

    #[test]
    fn a_dictionary_may_be_written_as_pairs() {
        let expected = Value::Dict(vec![("A".into(), Value::text("b"))]);
        assert_eq!(checked(Kind::Dict, "A=b"), Ok(expected));
        assert!(checked(Kind::Dict, "A").is_err());
        assert!(
            Kind::Dict
                .check(&Value::Dict(vec![("A".into(), Value::Int(1))]))
                .is_err()
        );
    }

    #[test]
    fn accounts_are_names_or_numbers() {
        assert_eq!(Kind::Account.check(&Value::Int(33)), Ok(Value::text("33")));
        assert_eq!(
            checked(Kind::Account, "www-data"),
            Ok(Value::text("www-data"))
        );
        assert!(Kind::Account.check(&Value::Int(-1)).is_err());
        assert!(checked(Kind::Account, " ").is_err());
    }
}
