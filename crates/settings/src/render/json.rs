//! The table for other programs, in JSON.

use crate::setting::Setting;
use crate::spelling::Spelling;
use crate::table::SECTIONS;
use crate::value::Value;

/// `docs/reference/settings.json`: an array of objects, one for each setting, in documentation order.
pub fn json() -> String {
    let objects: Vec<_> = SECTIONS
        .iter()
        .flat_map(|section| section.rows.iter().map(|row| object(section.title, row)))
        .collect();
    format!("[\n{}\n]\n", objects.join(",\n"))
}

fn object(section: &str, setting: &Setting) -> String {
    let theirs = setting.env.map(|variable| variable.name);
    let variables = [setting.variable()]
        .into_iter()
        .chain(theirs.map(Into::into));
    let members = [
        ("name", string(setting.name)),
        ("section", string(section)),
        ("flags", strings(setting.cli)),
        ("off_flags", strings(setting.cli_off)),
        (
            "uvicorn_flags",
            strings(setting.offered().flat_map(Spelling::flags)),
        ),
        ("environment", strings(variables)),
        ("value", string(&setting.kind.expected())),
        ("default", value(&setting.default.value())),
        ("status", string(setting.status.word())),
        ("note", string(setting.status.note())),
        ("summary", string(setting.summary)),
        ("doc", string(setting.doc)),
        ("examples", strings(setting.examples)),
    ];
    let lines: Vec<_> = members
        .iter()
        .map(|(name, json)| format!("    \"{name}\": {json}"))
        .collect();
    format!("  {{\n{}\n  }}", lines.join(",\n"))
}

fn value(value: &Value) -> String {
    match value {
        Value::None | Value::Opaque(_) => "null".into(),
        Value::Bool(on) => on.to_string(),
        Value::Int(number) => number.to_string(),
        Value::Float(number) => format!("{number:?}"),
        Value::Text(text) => string(text),
        Value::List(items) => array(items.iter().map(self::value)),
        Value::Dict(entries) => {
            let members: Vec<_> = entries
                .iter()
                .map(|(k, v)| format!("{}: {}", string(k), self::value(v)))
                .collect();
            format!("{{{}}}", members.join(", "))
        }
    }
}

fn strings<T: AsRef<str>>(items: impl IntoIterator<Item = T>) -> String {
    array(items.into_iter().map(|item| string(item.as_ref())))
}

fn array(items: impl Iterator<Item = String>) -> String {
    format!("[{}]", items.collect::<Vec<_>>().join(", "))
}

fn string(text: &str) -> String {
    let escaped: String = text
        .chars()
        .map(|character| match character {
            '"' => "\\\"".into(),
            '\\' => "\\\\".into(),
            '\n' => "\\n".into(),
            c if c.is_control() => format!("\\u{:04x}", u32::from(c)),
            c => c.to_string(),
        })
        .collect();
    format!("\"{escaped}\"")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_are_escaped() {
        assert_eq!(string("a\"\\\n\u{1}ü"), r#""a\"\\\n\u0001ü""#);
    }

    #[test]
    fn values_keep_their_types() {
        let dict = Value::Dict(vec![("k".into(), Value::Float(2.0))]);
        let all = Value::List(vec![Value::None, Value::Bool(true), Value::Int(3), dict]);
        assert_eq!(value(&all), r#"[null, true, 3, {"k": 2.0}]"#);
    }
}
