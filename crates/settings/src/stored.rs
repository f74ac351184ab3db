//! From a checked value to the typed field that holds it.
//!
//! A row's `apply` is one call of [`store`]; the field's type decides what that means.

use std::time::Duration;

use crate::address::Address;
use crate::networks::Networks;
use crate::ready_check::ReadyCheck;
use crate::value::Value;

/// A type that a configuration field can have.
pub(crate) trait Stored: Sized {
    /// Reads a value that the setting's kind has already checked.
    fn from_value(value: &Value) -> Result<Self, String>;
}

/// Puts a value into its field, or says what is wrong with it.
pub(crate) fn store<T: Stored>(field: &mut T, value: &Value) -> Result<(), String> {
    *field = T::from_value(value)?;
    Ok(())
}

impl Stored for bool {
    fn from_value(value: &Value) -> Result<Self, String> {
        match value {
            Value::Bool(on) => Ok(*on),
            _ => Err("expected true or false".into()),
        }
    }
}

impl Stored for usize {
    fn from_value(value: &Value) -> Result<Self, String> {
        whole(value)
    }
}

impl Stored for u64 {
    fn from_value(value: &Value) -> Result<Self, String> {
        whole(value)
    }
}

impl Stored for u32 {
    fn from_value(value: &Value) -> Result<Self, String> {
        whole(value)
    }
}

fn whole<T: TryFrom<i64>>(value: &Value) -> Result<T, String> {
    match value {
        Value::Int(number) => T::try_from(*number).ok(),
        _ => None,
    }
    .ok_or_else(|| "expected a smaller whole number of at least 0".into())
}

impl Stored for Duration {
    fn from_value(value: &Value) -> Result<Self, String> {
        let seconds = match value {
            Value::Int(number) => u64::try_from(*number).ok().map(Self::from_secs),
            Value::Float(number) => Self::try_from_secs_f64(*number).ok(),
            _ => None,
        };
        seconds.ok_or_else(|| "expected a number of seconds of at least 0".into())
    }
}

impl Stored for Option<Duration> {
    fn from_value(value: &Value) -> Result<Self, String> {
        match value {
            Value::None => Ok(None),
            other => Duration::from_value(other).map(Some),
        }
    }
}

impl Stored for String {
    fn from_value(value: &Value) -> Result<Self, String> {
        value
            .as_text()
            .map(Self::from)
            .ok_or_else(|| "expected a text".into())
    }
}

impl Stored for Option<String> {
    fn from_value(value: &Value) -> Result<Self, String> {
        match value {
            Value::None => Ok(None),
            other => String::from_value(other).map(Some),
        }
    }
}

impl Stored for Option<ReadyCheck> {
    /// An empty text is none.
    fn from_value(value: &Value) -> Result<Self, String> {
        let text = value.as_text().filter(|text| !text.is_empty());
        text.map(str::parse).transpose()
    }
}

impl Stored for Vec<String> {
    /// A text stands for its parts between commas.
    fn from_value(value: &Value) -> Result<Self, String> {
        match value {
            Value::None => Ok(Self::new()),
            Value::Text(text) => Ok(text.split(',').map(|part| part.trim().into()).collect()),
            other => texts(other).map(|items| items.into_iter().map(Into::into).collect()),
        }
    }
}

impl Stored for Vec<Address> {
    fn from_value(value: &Value) -> Result<Self, String> {
        let addresses: Self = texts(value)?
            .into_iter()
            .map(str::parse)
            .collect::<Result<_, _>>()?;
        if addresses.is_empty() {
            return Err("expected at least one address".into());
        }
        Ok(addresses)
    }
}

impl Stored for Networks {
    fn from_value(value: &Value) -> Result<Self, String> {
        Self::parse(texts(value)?)
    }
}

impl Stored for Vec<(String, String)> {
    /// Pairs come as a dictionary or as a list of `NAME=VALUE`.
    fn from_value(value: &Value) -> Result<Self, String> {
        if let Value::Dict(entries) = value {
            return entries
                .iter()
                .map(|(k, v)| Ok((k.clone(), String::from_value(v)?)))
                .collect();
        }
        texts(value)?.into_iter().map(pair).collect()
    }
}

fn pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() && !text.contains('\0') => {
            Ok((name.into(), value.into()))
        }
        _ => Err(format!("'{text}' is not a pair; expected NAME=VALUE")),
    }
}

fn texts(value: &Value) -> Result<Vec<&str>, String> {
    let items: Option<Vec<&str>> = match value {
        Value::List(items) => items.iter().map(Value::as_text).collect(),
        _ => None,
    };
    items.ok_or_else(|| "expected a list of texts".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_keep_everything_after_the_first_equals_sign() {
        let pairs = Vec::<(String, String)>::from_value(&Value::texts(["A=b=c", "B="]));
        assert_eq!(
            pairs,
            Ok(vec![
                ("A".into(), "b=c".into()),
                ("B".into(), String::new())
            ])
        );
        for wrong in ["A", "=b", "A=\0"] {
            assert!(
                Vec::<(String, String)>::from_value(&Value::texts([wrong])).is_err(),
                "{wrong:?}"
            );
        }
    }

    #[test]
    fn a_number_that_does_not_fit_is_refused() {
        assert!(u32::from_value(&Value::Int(1 << 40)).is_err());
        assert_eq!(u64::from_value(&Value::Int(1 << 40)), Ok(1 << 40));
    }

    #[test]
    fn seconds_become_durations() {
        assert_eq!(
            Duration::from_value(&Value::Int(2)),
            Ok(Duration::from_secs(2))
        );
        assert_eq!(
            Duration::from_value(&Value::Float(0.5)),
            Ok(Duration::from_millis(500))
        );
        assert!(Duration::from_value(&Value::Int(-1)).is_err());
    }
}
