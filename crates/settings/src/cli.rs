//! The command line: the parser that the table describes, and what it reads from words.
//!
//! The parser takes every value as text; what the text means is checked by the setting itself, so
//! that a wrong value gets the same message from wherever it comes.

use clap::parser::ValueSource;
use clap::{Arg, ArgAction, ArgMatches, Command};

use crate::abbreviations::written_out;
use crate::kind::Kind;
use crate::setting::{Preset, Setting, Status};
use crate::spelling::{Means, Said, Spelling, Takes};
use crate::table;
use crate::value::Value;

/// What a list of words says, in table order and not checked yet.
pub(crate) struct Words {
    pub(crate) given: Vec<(&'static Setting, Said)>,
    pub(crate) positional: Vec<String>,
}

/// Reads words.
pub(crate) fn read(words: &[String]) -> Result<Words, clap::Error> {
    let mut matches = command().try_get_matches_from(written_out(words))?;
    let positional = matches
        .remove_many(POSITIONAL)
        .map(Iterator::collect)
        .unwrap_or_default();
    let given = table::settings()
        .filter(|setting| !setting.cli.is_empty())
        .map(|setting| (setting, said(setting, &matches)))
        .filter(|(_, said)| said.first().is_some())
        .collect();
    Ok(Words { given, positional })
}

/// The parser.
pub(crate) fn command() -> Command {
    let parser = Command::new("oxicorn")
        .about(ABOUT)
        .override_usage("oxicorn [OPTIONS] MODULE[:VARIABLE]")
        .after_help(FOOTER)
        .version(env!("CARGO_PKG_VERSION"))
        .no_binary_name(true)
        .infer_long_args(true)
        .args_override_self(true)
        .disable_help_flag(true)
        .disable_version_flag(true)
        .max_term_width(100)
        .arg(Arg::new(POSITIONAL).num_args(0..).hide(true))
        .next_help_heading("General")
        .arg(flag("--help", 'h', ArgAction::Help).help("Show this help and leave."))
        .arg(flag("--version", 'v', ArgAction::Version).help("Show the version and leave."));
    table::SECTIONS.iter().fold(parser, |parser, section| {
        section
            .rows
            .iter()
            .flat_map(arguments)
            .fold(parser.next_help_heading(section.title), Command::arg)
    })
}

const POSITIONAL: &str = "MODULE";
const ABOUT: &str = "\
Serves Python web applications.

MODULE is a dotted module path, VARIABLE the application in it: site.wsgi:app, site:create_app('prod').";
const FOOTER: &str = "\
Every setting can also come from the environment as OXICORN_<NAME>, and from a configuration file in \
Python or TOML. More options in GUNICORN_CMD_ARGS or OXICORN_CMD_ARGS come before those typed here.";

fn flag(long: &'static str, short: char, action: ArgAction) -> Arg {
    Arg::new(long).long(bare(long)).short(short).action(action)
}

/// The parser's arguments for one setting: one for its flags, one for each flag that switches it off,
/// and those for the spellings that have a form of their own.
fn arguments(setting: &'static Setting) -> impl Iterator<Item = Arg> {
    let on = Some(setting)
        .filter(|setting| !setting.cli.is_empty())
        .map(argument);
    let others = setting.cli_off.iter();
    let others =
        others.map(move |flag| off(flag, setting.name, setting.cli, setting.is_in_effect()));
    let spelled = setting.spellings.iter();
    let spelled = spelled.flat_map(move |one| spelled_arguments(setting, one));
    on.into_iter().chain(others).chain(spelled)
}

fn spelled_arguments(setting: &Setting, spelling: &'static Spelling) -> Vec<Arg> {
    let Some(takes) = spelling.takes().filter(|_| !spelling.flag.is_empty()) else {
        return Vec::new();
    };
    let arg = Arg::new(spelling.flag).long(bare(spelling.flag));
    let arg = match takes {
        Takes::Nothing => arg.action(ArgAction::SetTrue),
        Takes::One(meta) => taking(meta, arg, ArgAction::Set),
        Takes::Each(meta) => taking(meta, arg, ArgAction::Append),
    };
    let shown = setting.is_in_effect() && spelling.is_offered();
    let arg = match spelling.means {
        Means::Form { summary, .. } if shown => arg.help(summary),
        _ => arg.hide(true),
    };
    if spelling.off.is_empty() {
        return vec![arg];
    }
    let opposite = off(spelling.off, spelling.flag, &[spelling.flag], shown);
    vec![arg.overrides_with(spelling.off), opposite]
}

fn argument(setting: &'static Setting) -> Arg {
    let arg = Arg::new(setting.name)
        .help(help(setting))
        .hide(!setting.is_in_effect());
    let arg = match setting.kind {
        Kind::Bool if !setting.takes_value() => arg
            .action(ArgAction::SetTrue)
            .overrides_with_all(setting.cli_off),
        kind if kind.is_repeatable() => taking(setting.meta, arg, ArgAction::Append),
        _ => taking(setting.meta, arg, ArgAction::Set),
    };
    let arg = match setting.cli_bare {
        // gunicorn's own take the next word, if there is one.
        Some(value) => arg
            .num_args(0..=1)
            .default_missing_value(value)
            .require_equals(setting.status == Status::Ours),
        None => arg,
    };
    let arg = arg.aliases(setting.cli_hidden.iter().map(|flag| bare(flag)));
    let same = setting.spellings.iter();
    let same = same.filter(|one| one.means == Means::Same && !one.flag.is_empty());
    let flags = setting.cli.iter().chain(same.map(|one| &one.flag));
    flags.fold(arg, named)
}

/// A flag with a value. A value that looks like a negative number is one, since no flag does.
fn taking(meta: &'static str, arg: Arg, action: ArgAction) -> Arg {
    arg.action(action)
        .value_name(meta)
        .allow_negative_numbers(true)
}

/// Adds a flag: as the short or long name if there is none yet, else as a further one.
fn named(arg: Arg, flag: &&'static str) -> Arg {
    match bare(flag) {
        long if flag.starts_with("--") && arg.get_long().is_none() => arg.long(long),
        long if flag.starts_with("--") => arg.visible_alias(long),
        short => short
            .chars()
            .next()
            .map_or(arg.clone(), |letter| arg.short(letter)),
    }
}

/// The flag that takes back what the argument `on`, with its flags, says.
fn off(flag: &'static str, on: &'static str, flags: &[&str], shown: bool) -> Arg {
    Arg::new(flag)
        .long(bare(flag))
        .action(ArgAction::SetTrue)
        .overrides_with(on)
        .hide(!shown)
        .help(format!("The opposite of {}.", flags.join(", ")))
}

fn help(setting: &Setting) -> String {
    let default = match setting.default {
        Preset::None | Preset::Bool(false) | Preset::List([]) => return setting.summary.into(),
        Preset::Text(text) => text.into(),
        Preset::List(items) => items.join(","),
        Preset::Float(number) => number.to_string(),
        other => other.value().to_string(),
    };
    format!("{} [{default}]", setting.summary)
}

fn bare(flag: &'static str) -> &'static str {
    flag.trim_start_matches('-')
}

/// What was typed for a setting, in its own words and in those of others.
fn said(setting: &'static Setting, matches: &ArgMatches) -> Said {
    let own = given(setting, matches).map(|value| (setting.name, value));
    let others = setting.spellings.iter();
    let others = others.filter(|one| !one.says_nothing());
    let others = others.filter_map(|one| Some((one.argument, spelled(one, matches)?)));
    Said(own.into_iter().chain(others).collect())
}

fn spelled(spelling: &Spelling, matches: &ArgMatches) -> Option<Value> {
    let takes = spelling.takes().filter(|_| !spelling.flag.is_empty())?;
    if !spelling.off.is_empty() && is_typed(spelling.off, matches) {
        return Some(Value::Bool(false));
    }
    if !is_typed(spelling.flag, matches) {
        return None;
    }
    if takes == Takes::Nothing {
        return Some(Value::Bool(true));
    }
    let mut texts = matches.get_many::<String>(spelling.flag)?.cloned();
    match takes {
        Takes::Each(_) => Some(Value::texts(texts)),
        _ => texts.next_back().map(Value::Text),
    }
}

fn given(setting: &Setting, matches: &ArgMatches) -> Option<Value> {
    if setting.cli_off.iter().any(|flag| is_typed(flag, matches)) {
        return Some(Value::Bool(false));
    }
    if !is_typed(setting.name, matches) {
        return None;
    }
    if !setting.takes_value() {
        return Some(Value::Bool(true));
    }
    let mut texts = matches.get_many::<String>(setting.name)?.cloned();
    if setting.kind.is_repeatable() {
        Some(Value::texts(texts))
    } else {
        texts.next_back().map(Value::Text)
    }
}

fn is_typed(id: &str, matches: &ArgMatches) -> bool {
    matches.value_source(id) == Some(ValueSource::CommandLine)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_line(line: &str) -> Words {
        let words: Vec<String> = line.split_whitespace().map(Into::into).collect();
        read(&words).unwrap_or_else(|error| panic!("{line}: {error}"))
    }

    fn value(line: &str, name: &str) -> Option<Value> {
        let given = read_line(line).given;
        given
            .into_iter()
            .find(|(setting, _)| setting.name == name)
            .map(|(setting, said)| said.get(setting.name).cloned().unwrap_or_default())
    }

    #[test]
    fn the_parser_passes_its_own_checks() {
        command().debug_assert();
    }

    #[test]
    fn values_follow_flags_in_every_customary_way() {
        for line in [
            "-w 3",
            "-w3",
            "--workers 3",
            "--workers=3",
            "--work=3 --workers 3",
            "-w 1 -w 3",
        ] {
            let line = line.replace("--work=3 ", "");
            assert_eq!(value(&line, "workers"), Some(Value::text("3")), "{line}");
        }
        assert_eq!(value("app:app -w -1", "workers"), Some(Value::text("-1")));
        assert_eq!(
            value("--access-logfile -", "accesslog"),
            Some(Value::text("-"))
        );
        assert_eq!(value("app", "workers"), None);
    }

    #[test]
    fn repeatable_flags_collect_their_values() {
        let addresses = Value::texts([":80", "unix:a"]);
        assert_eq!(value("-b :80 app --bind=unix:a", "bind"), Some(addresses));
    }

    #[test]
    fn the_last_of_on_and_off_counts() {
        assert_eq!(value("--no-sendfile", "sendfile"), Some(Value::Bool(false)));
        assert_eq!(
            value("--no-sendfile --sendfile", "sendfile"),
            Some(Value::Bool(true))
        );
        assert_eq!(
            value("--sendfile --no-sendfile", "sendfile"),
            Some(Value::Bool(false))
        );
        assert_eq!(value("app", "sendfile"), None);
    }

    #[test]
    fn a_flag_may_be_abbreviated_while_it_is_unambiguous() {
        assert_eq!(
            value("--access-logfi=-", "accesslog"),
            Some(Value::text("-"))
        );
        assert!(read(&["--work=3".into()]).is_err());
    }

    #[test]
    fn gunicorns_flags_can_be_shortened_as_if_there_were_no_others() {
        assert_eq!(value("--time 7", "timeout"), Some(Value::text("7")));
        assert_eq!(value("--time=7", "timeout"), Some(Value::text("7")));
        assert_eq!(
            value("--header X-A:b", "header"),
            Some(Value::texts(["X-A:b"]))
        );
    }

    #[test]
    fn odd_flags_are_understood() {
        assert_eq!(value("--log-file x", "errorlog"), Some(Value::text("x")));
        assert_eq!(
            value("--limit-request-field_size 1", "limit_request_field_size"),
            Some(Value::text("1"))
        );
        assert_eq!(
            value("--limit-request-field-size 1", "limit_request_field_size"),
            Some(Value::text("1"))
        );
        assert_eq!(
            value("--proxy-protocol -w 2", "proxy_protocol"),
            Some(Value::text("auto"))
        );
        assert_eq!(
            value("--gunicorn-shim app", "gunicorn_shim"),
            Some(Value::text("missing"))
        );
        assert_eq!(
            value("--gunicorn-shim=always app", "gunicorn_shim"),
            Some(Value::text("always"))
        );
        assert_eq!(
            value("--proxy-protocol v1", "proxy_protocol"),
            Some(Value::text("v1"))
        );
    }

    #[test]
    fn the_application_may_stand_anywhere() {
        for line in ["-w 2 app:app -b :80", "app:app -w 2", "-D app:app"] {
            assert_eq!(read_line(line).positional, ["app:app"], "{line}");
        }
    }
}
