//! What a configuration can hold, before anybody knows which setting it is for.
//!
//! A [`Value`] is the plain-data image of a Python value, a command-line word or an environment
//! variable. It knows how to print itself as a Python literal and nothing about settings: checking
//! is the business of [`Kind`](crate::Kind).

use std::fmt;

/// A configuration value as plain data.
#[derive(Debug, Clone, PartialEq, Default)]
pub enum Value {
    /// Python's `None`: no value.
    #[default]
    None,
    /// A truth value.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// A number with a fraction.
    Float(f64),
    /// A text. Command-line words and environment variables always arrive as this.
    Text(String),
    /// A list, tuple or set.
    List(Vec<Self>),
    /// A dictionary, in its own order.
    Dict(Vec<(String, Self)>),
    /// Something that is not plain data, described in words: `function`, `class X`, `module`.
    Opaque(String),
}

impl Value {
    /// A text value.
    pub fn text(text: impl Into<String>) -> Self {
        Self::Text(text.into())
    }

    /// A list of texts.
    pub fn texts<T: Into<String>>(items: impl IntoIterator<Item = T>) -> Self {
        Self::List(items.into_iter().map(Self::text).collect())
    }

    /// The text, if this is one.
    pub fn as_text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    /// Whether this is plain data all the way down, without functions, classes or modules.
    pub fn is_plain(&self) -> bool {
        match self {
            Self::Opaque(_) => false,
            Self::List(items) => items.iter().all(Self::is_plain),
            Self::Dict(entries) => entries.iter().all(|(_, value)| value.is_plain()),
            _ => true,
        }
    }
}

/// Prints the value as a Python literal (`'text'`, `['a', 'b']`, `None`); opaque values as
/// `<function>`.
impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("None"),
            Self::Bool(true) => f.write_str("True"),
            Self::Bool(false) => f.write_str("False"),
            Self::Int(number) => write!(f, "{number}"),
            Self::Float(number) => write!(f, "{number:?}"),
            Self::Text(text) => quote(text, f),
            Self::List(items) => list(items, f),
            Self::Dict(entries) => dict(entries, f),
            Self::Opaque(what) => write!(f, "<{what}>"),
        }
    }
}

fn list(items: &[Value], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    f.write_str("[")?;
    for (index, item) in items.iter().enumerate() {
        let comma = if index == 0 { "" } else { ", " };
        write!(f, "{comma}{item}")?;
    }
    f.write_str("]")
}

fn dict(entries: &[(String, Value)], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    f.write_str("{")?;
    for (index, (key, value)) in entries.iter().enumerate() {
        f.write_str(if index == 0 { "" } else { ", " })?;
        quote(key, f)?;
        write!(f, ": {value}")?;
    }
    f.write_str("}")
}

/// Quotes as Python's `repr` does: single quotes, unless only double quotes avoid an escape.
fn quote(text: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let mark = if text.contains('\'') && !text.contains('"') {
        '"'
    } else {
        '\''
    };
    write!(f, "{mark}")?;
    for character in text.chars() {
        match character {
            '\n' => f.write_str("\\n")?,
            '\r' => f.write_str("\\r")?,
            '\t' => f.write_str("\\t")?,
            '\\' => f.write_str("\\\\")?,
            c if c == mark => write!(f, "\\{c}")?,
            c if c.is_ascii_control() => write!(f, "\\x{:02x}", u32::from(c))?,
            c => write!(f, "{c}")?,
        }
    }
    write!(f, "{mark}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_print_as_python_literals() {
        let value = Value::List(vec![
            Value::None,
            Value::Bool(true),
            Value::Int(-3),
            Value::Float(2.0),
            Value::text("it's"),
            Value::text("\"both' \\\n\0"),
            Value::Dict(vec![("a".into(), Value::Bool(false))]),
            Value::Opaque("function".into()),
        ]);
        assert_eq!(
            value.to_string(),
            r#"[None, True, -3, 2.0, "it's", '"both\' \\\n\x00', {'a': False}, <function>]"#
        );
    }

    #[test]
    fn a_function_inside_a_list_is_not_plain_data() {
        let opaque = Value::Opaque("function".into());
        assert!(!Value::List(vec![Value::Int(1), opaque]).is_plain());
        assert!(Value::texts(["a"]).is_plain());
    }
}
