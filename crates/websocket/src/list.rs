//! The lists in the fields of an opening handshake (RFC 6455 §9.1, RFC 9110 §5.6).
//!
//! Elements are tokens, and for extensions tokens with parameters. What does not fit the grammar
//! gives an error, never a guess.

use std::borrow::Cow;

/// A field does not fit its grammar.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Malformed;

/// A name with a value or without one.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Parameter<'a> {
    pub(crate) name: &'a str,
    pub(crate) value: Option<Cow<'a, str>>,
}

/// One extension that a client offers.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Extension<'a> {
    pub(crate) name: &'a str,
    pub(crate) parameters: Vec<Parameter<'a>>,
}

/// Appends the tokens of a list such as `chat, superchat`. Empty elements count for nothing.
pub(crate) fn tokens<'a>(value: &'a [u8], found: &mut Vec<&'a str>) -> Result<(), Malformed> {
    let mut rest = Cursor::new(value);
    while !rest.skip_commas() {
        found.push(rest.token()?);
        rest.end_of_element()?;
    }
    Ok(())
}

/// Whether a list of tokens has `wanted`, without regard to case.
pub(crate) fn has_token(value: &[u8], wanted: &str) -> bool {
    value
        .split(|&byte| byte == b',')
        .any(|token| token.trim_ascii().eq_ignore_ascii_case(wanted.as_bytes()))
}

/// Appends the extensions of a list such as `foo; bar=1, baz`.
pub(crate) fn extensions<'a>(
    value: &'a [u8],
    found: &mut Vec<Extension<'a>>,
) -> Result<(), Malformed> {
    let mut rest = Cursor::new(value);
    while !rest.skip_commas() {
        let name = rest.token()?;
        let mut parameters = Vec::new();
        while rest.takes(b';') {
            parameters.push(rest.parameter()?);
        }
        rest.end_of_element()?;
        found.push(Extension { name, parameters });
    }
    Ok(())
}

/// What is left of a field's value.
struct Cursor<'a> {
    rest: &'a [u8],
}

impl<'a> Cursor<'a> {
    fn new(value: &'a [u8]) -> Self {
        Self { rest: value }
    }

    fn skip_blanks(&mut self) {
        self.rest = self.rest.trim_ascii_start();
    }

    /// Skips commas and blanks; whether nothing is left.
    fn skip_commas(&mut self) -> bool {
        while self.takes(b',') {}
        self.rest.is_empty()
    }

    /// Takes `sign` and the blanks before it, if it comes next.
    fn takes(&mut self, sign: u8) -> bool {
        self.skip_blanks();
        match self.rest.split_first() {
            Some((first, rest)) if *first == sign => {
                self.rest = rest;
                true
            }
            _ => false,
        }
    }

    fn end_of_element(&mut self) -> Result<(), Malformed> {
        if self.takes(b',') || self.rest.is_empty() {
            Ok(())
        } else {
            Err(Malformed)
        }
    }

    fn token(&mut self) -> Result<&'a str, Malformed> {
        self.skip_blanks();
        let end = self.rest.iter().position(|&byte| !is_token(byte));
        let (token, rest) = self.rest.split_at(end.unwrap_or(self.rest.len()));
        self.rest = rest;
        match str::from_utf8(token) {
            Ok(token) if !token.is_empty() => Ok(token),
            _ => Err(Malformed),
        }
    }

    fn parameter(&mut self) -> Result<Parameter<'a>, Malformed> {
        let name = self.token()?;
        let value = if self.takes(b'=') {
            Some(self.value()?)
        } else {
            None
        };
        Ok(Parameter { name, value })
    }

    /// A token, bare or quoted: a quoted one has to be a token as well (RFC 6455 §9.1).
    fn value(&mut self) -> Result<Cow<'a, str>, Malformed> {
        if !self.takes(b'"') {
            return self.token().map(Cow::Borrowed);
        }
        let mut value = String::new();
        loop {
            let (&first, rest) = self.rest.split_first().ok_or(Malformed)?;
            self.rest = rest;
            let byte = match first {
                b'"' if value.is_empty() => return Err(Malformed),
                b'"' => return Ok(Cow::Owned(value)),
                b'\\' => {
                    let (&escaped, rest) = self.rest.split_first().ok_or(Malformed)?;
                    self.rest = rest;
                    escaped
                }
                byte => byte,
            };
            if !is_token(byte) {
                return Err(Malformed);
            }
            value.push(byte.into());
        }
    }
}

/// `tchar` of RFC 9110 §5.6.2.
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(value: &str) -> Result<Vec<&str>, Malformed> {
        let mut found = Vec::new();
        tokens(value.as_bytes(), &mut found).map(|()| found)
    }

    fn offers(value: &str) -> Result<String, Malformed> {
        let mut found = Vec::new();
        extensions(value.as_bytes(), &mut found)?;
        let parameter = |one: &Parameter<'_>| match &one.value {
            Some(value) => format!(";{}={value}", one.name),
            None => format!(";{}", one.name),
        };
        let text = |one: &Extension<'_>| {
            let parameters: String = one.parameters.iter().map(parameter).collect();
            format!("{}{parameters}", one.name)
        };
        Ok(found.iter().map(text).collect::<Vec<_>>().join(","))
    }

    #[test]
    fn a_list_may_have_blanks_and_empty_elements() {
        assert_eq!(names("chat, superchat"), Ok(vec!["chat", "superchat"]));
        assert_eq!(names(" ,a ,,\tb,"), Ok(vec!["a", "b"]));
        assert_eq!(names(""), Ok(vec![]));
    }

    #[test]
    fn what_is_no_token_is_malformed() {
        for value in ["a b", "a/b", "\u{e9}", "a;b", "\"a\""] {
            assert_eq!(names(value), Err(Malformed), "{value:?}");
        }
    }

    #[test]
    fn extensions_have_parameters_with_bare_or_quoted_values() {
        let same = "foo;bar=1;baz,permessage-deflate";
        assert_eq!(offers(same).as_deref(), Ok(same));
        let spaced = "foo ; bar = \"1\" ;baz , permessage-deflate";
        assert_eq!(offers(spaced).as_deref(), Ok(same));
        assert_eq!(offers("a; b=\"\\c\"").as_deref(), Ok("a;b=c"));
    }

    #[test]
    fn an_extension_that_does_not_fit_the_grammar_is_malformed() {
        for value in [
            "a;",
            "a;;b",
            "a;b=",
            "a;b=\"",
            "a;b=\"c",
            "a;b=\"c d\"",
            "a;b=\"\"",
            "a b",
            "a;b=c=d",
            "=a",
            "a;b=\"\\",
        ] {
            assert_eq!(offers(value), Err(Malformed), "{value:?}");
        }
    }

    #[test]
    fn a_token_is_found_without_regard_to_case() {
        assert!(has_token(b"keep-alive, Upgrade", "upgrade"));
        assert!(!has_token(b"upgraded", "upgrade"));
    }
}
