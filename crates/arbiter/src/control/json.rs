//! Values as JSON (RFC 8259).
//!
//! Invariant: whatever goes in, valid JSON without a line end comes out.

use std::fmt::Write;

use oxicorn_settings::Value;

/// A string, with its quotes.
pub(super) fn text(text: &str) -> String {
    let mut quoted = String::from('"');
    for c in text.chars() {
        match c {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\n' => quoted.push_str("\\n"),
            // Only those below U+0020 must be escaped, and they fit into four digits.
            c if c.is_control() => {
                let _ = write!(quoted, "\\u{:04x}", u32::from(c));
            }
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

/// An object.
pub(super) fn object<'a>(members: impl IntoIterator<Item = (&'a str, String)>) -> String {
    let members = members.into_iter();
    let members: Vec<String> = members
        .map(|(name, value)| format!("{}:{value}", text(name)))
        .collect();
    format!("{{{}}}", members.join(","))
}

pub(super) fn or_null(value: Option<String>) -> String {
    value.unwrap_or_else(|| "null".to_owned())
}

/// The value of a setting; what JSON has no words for is a string.
pub(super) fn value(of: &Value) -> String {
    match of {
        Value::None => "null".to_owned(),
        Value::Bool(truth) => truth.to_string(),
        Value::Int(number) => number.to_string(),
        Value::Float(number) if number.is_finite() => number.to_string(),
        Value::Text(it) => text(it),
        Value::List(items) => {
            let items: Vec<String> = items.iter().map(value).collect();
            format!("[{}]", items.join(","))
        }
        Value::Dict(entries) => object(entries.iter().map(|(key, it)| (key.as_str(), value(it)))),
        Value::Float(_) | Value::Opaque(_) => text(&of.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_text_stays_on_one_line_and_in_its_quotes() {
        assert_eq!(text("a\"b\\c\nd\t\u{7f}é"), r#""a\"b\\c\nd\u0009\u007fé""#);
    }

    #[test]
    fn a_value_keeps_its_kind() {
        for (given, expected) in [
            (Value::None, "null"),
            (Value::Bool(false), "false"),
            (Value::Int(-3), "-3"),
            (Value::Float(0.5), "0.5"),
            (Value::texts(["a", "b\n"]), r#"["a","b\n"]"#),
            (
                Value::Dict(vec![("k\"".to_owned(), Value::Int(1))]),
                r#"{"k\"":1}"#,
            ),
        ] {
            assert_eq!(value(&given), expected);
        }
    }

    #[test]
    fn what_json_has_no_words_for_is_a_string() {
        assert_eq!(value(&Value::Float(f64::INFINITY)), r#""inf""#);
        assert_eq!(
            value(&Value::Opaque("function".to_owned())),
            r#""<function>""#
        );
    }
}
