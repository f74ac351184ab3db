//! What every row of the table must keep: the style guide for rows, as tests.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeSet;
use std::path::Path;

use oxicorn_settings::render::COPIES;
use oxicorn_settings::table::{find, settings};
use oxicorn_settings::{Config, Kind, Means, Preset, Setting, Spelling, Status, Value};

/// The rows that break a rule, by name.
fn offenders(breaks: impl Fn(&Setting) -> bool) -> Vec<&'static str> {
    settings()
        .filter(|row| breaks(row))
        .map(|row| row.name)
        .collect()
}

fn flags(row: &Setting) -> impl Iterator<Item = &'static str> {
    row.cli
        .iter()
        .chain(row.cli_hidden)
        .chain(row.cli_off)
        .copied()
        .chain(row.spellings.iter().flat_map(Spelling::flags))
}

#[test]
fn names_flags_and_variables_are_unique() {
    let names: Vec<_> = settings().map(|row| row.name).collect();
    let flags: Vec<_> = settings()
        .flat_map(flags)
        .chain(["-h", "--help", "-v", "--version"])
        .collect();
    let ours = settings().map(Setting::variable);
    let theirs = settings()
        .filter_map(|row| row.env)
        .map(|variable| variable.name.to_owned());
    let variables: Vec<_> = ours.chain(theirs).collect();
    assert_eq!(names.len(), names.iter().collect::<BTreeSet<_>>().len());
    assert_eq!(flags.len(), flags.iter().collect::<BTreeSet<_>>().len());
    assert_eq!(
        variables.len(),
        variables.iter().collect::<BTreeSet<_>>().len()
    );
}

#[test]
fn arguments_are_unique_and_none_is_the_name_of_another_setting() {
    let spelled = settings().flat_map(|row| row.spellings);
    let arguments: Vec<_> = spelled.map(|one| one.argument).collect();
    let unique: BTreeSet<_> = arguments.iter().collect();
    assert_eq!(arguments.len(), unique.len());
    let taken = |row: &Setting| row.spellings.iter().any(|one| find(one.argument).is_some());
    assert_eq!(offenders(taken), Vec::<&str>::new());
    let empty = |row: &Setting| row.spellings.iter().any(|one| one.argument.is_empty());
    assert_eq!(offenders(empty), Vec::<&str>::new());
}

#[test]
fn what_spellings_say_of_themselves_is_one_short_sentence() {
    let wordy = |one: &Spelling| match one.means {
        Means::Form { summary, .. } => !summary.contains('.') || summary.chars().count() > 79,
        Means::Refused { advice: why, .. } | Means::Nothing { why, .. } => {
            why.is_empty() || why.ends_with('.')
        }
        Means::Same => false,
    };
    assert_eq!(
        offenders(|row| row.spellings.iter().any(wordy)),
        Vec::<&str>::new()
    );
}

#[test]
fn flags_agree_with_names_except_where_gunicorns_do_not() {
    let odd = [
        "accesslog",
        "access_log_format",
        "bind",
        "chdir",
        "control_socket_disable",
        "dirty_apps",
        "disable_redirect_access_to_syslog",
        "errorlog",
        "keepalive",
        "limit_request_field_size",
        "logconfig",
        "logconfig_json",
        "loglevel",
        "pidfile",
        "preload_app",
        "proc_name",
        "proxy_allow_ips",
        "raw_env",
        "raw_paste_global_conf",
        "reload_extra_files",
        "syslog",
        "syslog_addr",
        "syslog_facility",
        "syslog_prefix",
        "uwsgi_allow_ips",
    ];
    let disagrees = |row: &Setting| {
        let flag = format!("--{}", row.name.replace('_', "-"));
        !row.cli.is_empty() && !row.cli.contains(&flag.as_str()) && !odd.contains(&row.name)
    };
    assert_eq!(offenders(disagrees), Vec::<&str>::new());
    assert_eq!(
        offenders(|row| row.status == Status::Ours && odd.contains(&row.name)),
        Vec::<&str>::new()
    );
}

#[test]
fn names_are_snake_case_and_flags_well_formed() {
    let lower = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    let short = |flag: &str| flag.len() == 2 && flag.as_bytes()[1].is_ascii_alphabetic();
    let long = |flag: &str| flag.len() > 3 && flag.starts_with("--");
    assert_eq!(
        offenders(|row| !row.name.chars().all(lower)),
        Vec::<&str>::new()
    );
    assert_eq!(
        offenders(|row| !flags(row).all(|f| short(f) || long(f))),
        Vec::<&str>::new()
    );
}

#[test]
fn summaries_are_one_short_sentence() {
    let one_sentence = |text: &str| text.ends_with('.') && !text.contains('\n');
    assert_eq!(
        offenders(|row| !one_sentence(row.summary)),
        Vec::<&str>::new()
    );
    assert_eq!(
        offenders(|row| row.summary.chars().count() > 79),
        Vec::<&str>::new()
    );
}

#[test]
fn every_row_is_documented() {
    assert_eq!(
        offenders(|row| row.doc.is_empty() || row.meta.is_empty()),
        Vec::<&str>::new()
    );
    let unexplained = |row: &Setting| {
        !matches!(row.status, Status::Same | Status::Ours) && row.status.note().is_empty()
    };
    assert_eq!(offenders(unexplained), Vec::<&str>::new());
}

#[test]
fn every_setting_in_effect_that_takes_a_value_has_an_example() {
    // A dictionary of dictionaries cannot be typed.
    let lacks = |row: &Setting| {
        row.is_in_effect() && row.takes_value() && row.kind != Kind::Any && row.examples.is_empty()
    };
    assert_eq!(offenders(lacks), Vec::<&str>::new());
}

#[test]
fn defaults_are_valid_and_already_in_their_settings_form() {
    for row in settings() {
        let default = row.default.value();
        if row.kind == Kind::Hook {
            assert_eq!(row.default, Preset::None, "{}", row.name);
        } else {
            assert_eq!(row.check(&default), Ok(default), "{}", row.name);
        }
    }
}

#[test]
fn examples_are_valid() {
    for row in settings() {
        for example in row.examples {
            let outcome = row.check(&Value::text(*example));
            assert!(outcome.is_ok(), "{} = {example}: {outcome:?}", row.name);
        }
    }
}

#[test]
fn every_setting_of_gunicorn_has_a_row_and_no_other_row_claims_to_be_one() {
    let list = include_str!("../../../spec/settings/gunicorn-names.txt");
    let theirs: BTreeSet<_> = list.lines().collect();
    let rows: BTreeSet<_> = offenders(|row| row.status != Status::Ours)
        .into_iter()
        .collect();
    assert_eq!(theirs.len(), 120);
    assert_eq!(theirs, rows);
}

#[test]
fn only_http2_is_left_for_later() {
    let later = offenders(|row| matches!(row.status, Status::Later { .. }));
    assert_eq!(later.len(), 6);
    let others = later.iter().filter(|name| !name.starts_with("http"));
    assert_eq!(others.count(), 0, "{later:?}");
}

#[test]
fn the_copies_in_the_repository_are_fresh() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    for (name, render) in COPIES {
        let text = std::fs::read_to_string(root.join(name)).unwrap_or_default();
        assert!(
            text == render(),
            "{name} is stale: run `cargo xtask generate`"
        );
    }
}

#[test]
fn the_default_configuration_serves() {
    let config = Config::default();
    assert_eq!(
        (config.workers, config.threads, config.backlog),
        (1, 1, 2048)
    );
    assert_eq!(config.bind[0].to_string(), "127.0.0.1:8000");
    assert!(config.sendfile && !config.daemon);
    assert!(config.forwarded_allow_ips.contains([127, 0, 0, 1].into()));
}

/// A field that a row forgets to store would keep its blank value whatever is set.
#[test]
fn every_setting_in_effect_is_stored() {
    // What a row stores shows only where the value differs from the field's blank, so each row is
    // applied twice with different values and must leave different configurations. Functions stay
    // with Python.
    let kept = |row: &&Setting| row.name != "config" && row.kind != Kind::Hook;
    for row in settings().filter(|row| row.is_in_effect()).filter(kept) {
        let (a, b) = (stored(row, &row.default.value()), stored(row, &other(row)));
        assert_ne!(a, b, "{} is not stored", row.name);
    }
}

fn stored(row: &Setting, value: &Value) -> String {
    let mut config = Config::default();
    (row.apply)(&mut config, &row.check(value).unwrap()).unwrap();
    format!("{config:?}")
}

/// A valid value that is not the default.
fn other(row: &Setting) -> Value {
    match row.default.value() {
        Value::Bool(on) => Value::Bool(!on),
        Value::Dict(_) if row.kind == Kind::Any => {
            Value::Dict(vec![("version".into(), Value::Int(1))])
        }
        default => {
            let examples = row
                .examples
                .iter()
                .map(|text| row.check(&Value::text(*text)).unwrap());
            let mut others = examples.filter(|value| *value != default);
            others.next().unwrap_or_else(|| Value::text("another"))
        }
    }
}

#[test]
fn unknown_names_are_not_found() {
    assert!(find("workers").is_some() && find("Workers").is_none());
}
