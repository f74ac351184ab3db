//! Reading numbers the way Python and people write them.
//!
//! Only notation lives here: every function answers with a number or with nothing, and the range
//! is the caller's business.

use crate::value::Value;

/// A whole number: a number, a truth value (Python counts them as 0 and 1), a float without a
/// fraction, or a text as `int(text, 0)` reads it.
pub(crate) fn whole(value: &Value) -> Option<i64> {
    match value {
        Value::Int(number) => Some(*number),
        Value::Bool(on) => Some(i64::from(*on)),
        Value::Float(number) => whole_float(*number),
        Value::Text(text) => python_int(text.trim()),
        _ => None,
    }
}

/// Permission bits: like a whole number, except that a leading `0` means octal (`0660`).
pub(crate) fn mode(value: &Value) -> Option<i64> {
    let Value::Text(text) = value else {
        return whole(value);
    };
    let text = text.trim();
    match text.strip_prefix('0') {
        Some(octal) if octal.starts_with(|c: char| c.is_ascii_digit()) => digits(octal, 8),
        _ => python_int(text),
    }
}

/// Seconds, with or without a fraction.
pub(crate) fn seconds(value: &Value) -> Option<f64> {
    match value {
        Value::Float(number) => Some(*number),
        Value::Text(text) => text.trim().parse().ok(),
        other => whole(other).and_then(|number| number.to_string().parse().ok()),
    }
}

/// Bytes: a whole number, optionally followed by `K`, `M` or `G` (powers of 1024), `KiB` and so on.
pub(crate) fn size(value: &Value) -> Option<i64> {
    let Value::Text(text) = value else {
        return whole(value);
    };
    let lower = text.trim().to_ascii_lowercase();
    let bare = lower
        .strip_suffix("ib")
        .or_else(|| lower.strip_suffix('b'))
        .unwrap_or(&lower);
    if lower.starts_with("0x") {
        return python_int(&lower);
    }
    for (letter, shift) in [('k', 10), ('m', 20), ('g', 30), ('t', 40)] {
        if let Some(number) = bare.strip_suffix(letter) {
            return digits(number.trim_end(), 10)?.checked_mul(1 << shift);
        }
    }
    python_int(&lower)
}

/// `int(text, 0)`: a sign, `0x`, `0o` and `0b`, underscores between digits, no leading zeros.
fn python_int(text: &str) -> Option<i64> {
    let (negative, rest) = match text.strip_prefix(['-', '+']) {
        Some(rest) => (text.starts_with('-'), rest),
        None => (false, text),
    };
    let number = match rest.get(..2).map(str::to_ascii_lowercase).as_deref() {
        Some("0x") => digits(&rest[2..], 16),
        Some("0o") => digits(&rest[2..], 8),
        Some("0b") => digits(&rest[2..], 2),
        _ if has_leading_zero(rest) => None,
        _ => digits(rest, 10),
    }?;
    Some(if negative { -number } else { number })
}

fn has_leading_zero(text: &str) -> bool {
    text.starts_with('0') && text.bytes().any(|byte| (b'1'..=b'9').contains(&byte))
}

fn digits(text: &str, radix: u32) -> Option<i64> {
    let misplaced = text.starts_with('_') || text.ends_with('_') || text.contains("__");
    if misplaced || !text.starts_with(|c: char| c.is_ascii_alphanumeric()) {
        return None;
    }
    i64::from_str_radix(&text.replace('_', ""), radix).ok()
}

fn whole_float(number: f64) -> Option<i64> {
    // Beyond 2^53 a float no longer tells neighbouring whole numbers apart.
    const EXACT: f64 = 9_007_199_254_740_992.0;
    if number.fract() != 0.0 || number.abs() > EXACT {
        return None;
    }
    format!("{number:.0}").parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Option<i64> {
        whole(&Value::text(text))
    }

    #[test]
    fn texts_are_read_as_python_reads_them() {
        assert_eq!(read("0x10"), Some(16));
        assert_eq!(read("0O17"), Some(15));
        assert_eq!(read("-0b11"), Some(-3));
        assert_eq!(read(" +1_000 "), Some(1000));
        assert_eq!(read("000"), Some(0));
        for wrong in [
            "",
            "-",
            "010",
            "1__0",
            "_1",
            "1_",
            "1.0",
            "--1",
            "-+1",
            "0x",
            "ü",
            "9999999999999999999",
        ] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_float_is_whole_only_without_a_fraction() {
        assert_eq!(whole(&Value::Float(4.0)), Some(4));
        for wrong in [4.5, f64::NAN, f64::INFINITY, 1e300] {
            assert_eq!(whole(&Value::Float(wrong)), None, "{wrong}");
        }
    }

    #[test]
    fn a_leading_zero_makes_permission_bits_octal() {
        assert_eq!(mode(&Value::text("0660")), Some(0o660));
        assert_eq!(mode(&Value::text("0o22")), Some(0o22));
        assert_eq!(mode(&Value::text("0x12")), Some(0x12));
        assert_eq!(mode(&Value::text("18")), Some(18));
        assert_eq!(mode(&Value::text("0")), Some(0));
        assert_eq!(mode(&Value::text("089")), None);
        assert_eq!(mode(&Value::Int(0o27)), Some(0o27));
    }

    #[test]
    fn sizes_may_carry_a_unit() {
        assert_eq!(size(&Value::text("64K")), Some(65_536));
        assert_eq!(size(&Value::text("64 KiB")), Some(65_536));
        assert_eq!(size(&Value::text("10mb")), Some(10 << 20));
        assert_eq!(size(&Value::text("0xb")), Some(11));
        assert_eq!(size(&Value::text("12")), Some(12));
        for wrong in ["K", "1.5M", "-1K", "b", "9999999999T"] {
            assert_eq!(size(&Value::text(wrong)), None, "{wrong}");
        }
    }
}
