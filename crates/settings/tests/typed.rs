//! What the command line tells before there is a configuration, and what is printed about one.

#![expect(clippy::panic, reason = "a test fails by panicking")]

use std::time::Duration;

use oxicorn_settings::{
    CommandLine, Config, FileValues, HeaderMap, LogLevel, Typed, Unusable, Value, WorkerClass,
    parse_command_line,
};

fn nothing(_: &str) -> Option<String> {
    None
}

fn words(line: &str) -> Vec<String> {
    line.split_whitespace().map(Into::into).collect()
}

fn typed(line: &str, env: &dyn Fn(&str) -> Option<String>) -> Typed {
    match parse_command_line(&words(line), env) {
        CommandLine::Run(typed) => typed,
        CommandLine::Exit { text, .. } => panic!("{line}: {text}"),
    }
}

fn config(line: &str, values: &[(&str, Value)]) -> Config {
    let values = values
        .iter()
        .map(|(name, value)| ((*name).into(), value.clone()))
        .collect();
    let file = FileValues {
        label: "gunicorn.conf.py".into(),
        values,
        is_program: true,
    };
    match typed(line, &nothing).resolve(vec![file], &nothing) {
        Ok((config, _)) => config,
        Err(invalid) => panic!("{line}: {invalid}"),
    }
}

fn printed(line: &str) -> String {
    match parse_command_line(&words(line), &nothing) {
        CommandLine::Exit {
            code: 0,
            text,
            to_stderr: false,
        } => text,
        other => panic!("{line}: {other:?}"),
    }
}

#[test]
fn the_command_line_tells_what_is_needed_before_the_file_is_read() {
    let typed = typed("-c file:a.py --chdir /srv site:app", &nothing);
    assert_eq!(typed.config_file(), Some(("file:a.py".into(), true)));
    assert_eq!(typed.chdir(), Some("/srv"));
    assert_eq!(typed.app(), Some("site:app"));
}

#[test]
fn the_environment_names_the_file_and_the_directory_unless_the_command_line_does() {
    let env = |name: &str| match name {
        "OXICORN_CONFIG" => Some("env.py".to_string()),
        "OXICORN_CHDIR" => Some("/env".to_string()),
        "GUNICORN_CMD_ARGS" => Some("--chdir /args".to_string()),
        _ => None,
    };
    assert_eq!(
        typed("app", &env).config_file(),
        Some(("env.py".into(), true))
    );
    assert_eq!(
        typed("app -c b.py", &env).config_file(),
        Some(("b.py".into(), true))
    );
    assert_eq!(typed("app", &env).chdir(), Some("/args"));
}

#[test]
fn without_a_name_and_without_a_default_file_there_is_none() {
    assert_eq!(typed("app", &nothing).config_file(), None);
}

#[test]
fn the_version_is_printed_as_gunicorn_prints_it() {
    let version = format!("oxicorn (version {})\n", env!("CARGO_PKG_VERSION"));
    assert_eq!(printed("--version"), version);
    assert_eq!(printed("app -v"), version);
}

#[test]
fn help_is_grouped_and_shows_what_is_in_effect() {
    let help = printed("--help");
    assert_eq!(help, printed("-h"));
    for part in [
        "Usage: oxicorn [OPTIONS] MODULE[:VARIABLE]",
        "Worker processes:",
        "Logging:",
        "-w, --workers <INT>",
    ] {
        assert!(help.contains(part), "{part} is missing in:\n{help}");
    }
    assert!(!help.contains("--dirty-workers"), "{help}");
    assert!(
        help.lines().all(|line| line.chars().count() <= 100),
        "{help}"
    );
}

#[test]
fn usage_errors_go_to_standard_error_with_a_hint() {
    let outcome = parse_command_line(&words("--xyzzy"), &nothing);
    let CommandLine::Exit {
        code,
        text,
        to_stderr,
    } = outcome
    else {
        panic!("{outcome:?}")
    };
    assert_eq!((code, to_stderr), (2, true));
    assert_eq!(
        text,
        "usage: oxicorn [OPTIONS] MODULE[:VARIABLE]\n\
         oxicorn: error: unrecognized argument: --xyzzy\n\
         Try 'oxicorn --help' for all options.\n"
    );
}

#[test]
fn values_are_typed() {
    let config = config(
        "site:app -w 2 -t 0 --keep-alive 75 --head-timeout 2.5 --log-level WARNING -e A=b=c",
        &[
            (
                "secure_scheme_headers",
                Value::Dict(vec![("x-scheme".into(), Value::text("https"))]),
            ),
            ("header_map", Value::text("refuse")),
            ("forwarder_headers", Value::text("remote_user")),
            ("pythonpath", Value::text("/a, /b")),
        ],
    );
    assert_eq!(config.wsgi_app.as_deref(), Some("site:app"));
    assert_eq!(config.process_name(), "site:app");
    assert_eq!((config.workers, config.timeout), (2, Duration::ZERO));
    assert_eq!(config.keepalive, Duration::from_secs(75));
    assert_eq!(config.head_timeout, Duration::from_millis(2500));
    assert_eq!(
        (config.loglevel, config.header_map),
        (LogLevel::Warning, HeaderMap::Refuse)
    );
    assert_eq!(config.raw_env, [("A".into(), "b=c".into())]);
    assert_eq!(
        config.secure_scheme_headers,
        [("X-SCHEME".into(), "https".into())]
    );
    assert_eq!(config.forwarder_headers, ["REMOTE_USER"]);
    assert_eq!(config.pythonpath, ["/a", "/b"]);
}

#[test]
fn sync_with_several_threads_is_gthread() {
    assert_eq!(config("app", &[]).worker_class, WorkerClass::Sync);
    assert_eq!(
        config("app --threads 2", &[]).worker_class,
        WorkerClass::Gthread
    );
    assert_eq!(
        config("app -k gthread", &[]).worker_class,
        WorkerClass::Gthread
    );
}

#[test]
fn printing_the_configuration_implies_checking_it() {
    let config = config("app --print-config", &[]);
    assert!(config.check_config && config.print_config);
}

#[test]
fn the_report_shows_each_value_with_its_source() {
    let report = config("site:app -w 2", &[("accesslog", Value::text("-"))]).report();
    let lines: Vec<_> = report.lines().collect();
    for expected in [
        ("accesslog", "'-'", "gunicorn.conf.py"),
        ("workers", "2", "command line"),
        ("bind", "['127.0.0.1:8000']", "default"),
    ] {
        let (name, value, source) = expected;
        let found = lines.iter().any(|line| {
            line.starts_with(&format!("{name} "))
                && line.contains(&format!(" = {value} "))
                && line.ends_with(&format!("  # {source}"))
        });
        assert!(found, "{expected:?} is missing in:\n{report}");
    }
    assert!(lines.is_sorted(), "{report}");
    assert!(!report.contains("dirty_workers"), "{report}");
}

#[test]
fn any_setting_can_be_asked_for() {
    let config = config("app", &[]);
    assert_eq!(config.value("reuse_port"), Some(Value::Bool(false)));
    assert_eq!(config.source("workers"), Some("default"));
    assert_eq!(
        (config.value("nothing"), config.source("nothing")),
        (None, None)
    );
}

fn said(arguments: &[(&str, Value)]) -> Result<Config, String> {
    let arguments = arguments.iter();
    let arguments = arguments.map(|(name, value)| ((*name).to_owned(), value.clone()));
    let typed = Typed::from_arguments("site:app", arguments, &nothing);
    let typed = typed.map_err(|unusable| match unusable {
        Unusable::Unknown { name, nearest } => format!("{name} is unknown, nearest is {nearest:?}"),
        Unusable::Invalid(invalid) => invalid.to_string(),
    })?;
    let resolved = typed.resolve(Vec::new(), &nothing);
    resolved
        .map(|(config, _)| config)
        .map_err(|invalid| invalid.to_string())
}

fn addresses(arguments: &[(&str, Value)]) -> Vec<String> {
    match said(arguments) {
        Ok(config) => config.bind.iter().map(ToString::to_string).collect(),
        Err(problem) => vec![problem],
    }
}

#[test]
fn arguments_are_settings_by_their_names_and_by_uvicorns() {
    let config = said(&[
        ("host", Value::text("::1")),
        ("port", Value::Int(9000)),
        ("loop", Value::text("asyncio")),
        ("log_level", Value::Int(30)),
        ("access_log", Value::Bool(true)),
        ("threads", Value::Int(2)),
    ]);
    let config = config.unwrap_or_else(|problem| panic!("{problem}"));
    assert_eq!(config.bind[0].to_string(), "[::1]:9000");
    assert_eq!(config.asgi_loop, "asyncio");
    assert_eq!(config.loglevel, LogLevel::Warning);
    assert_eq!(config.accesslog.as_deref(), Some("-"));
    assert_eq!(config.threads, 2);
    assert_eq!(config.wsgi_app.as_deref(), Some("site:app"));
    assert_eq!(config.source("bind"), Some("oxicorn.run"));
    assert_eq!(config.source("wsgi_app"), Some("oxicorn.run"));
}

#[test]
fn an_argument_that_is_none_says_nothing() {
    assert_eq!(addresses(&[("uds", Value::None)]), ["127.0.0.1:8000"]);
    let nothing = [("workers", Value::None), ("limit_concurrency", Value::None)];
    assert_eq!(said(&nothing).map(|config| config.workers), Ok(1));
    let no = [
        ("reset_contextvars", Value::Bool(false)),
        ("http2", Value::Bool(false)),
    ];
    assert!(said(&no).is_ok());
}

#[test]
fn pairs_of_name_and_value_are_fields() {
    let pair = Value::texts(["X-A", "b"]);
    let config = said(&[("headers", Value::List(vec![pair]))]);
    let field = ("X-A".to_owned(), "b".to_owned());
    assert_eq!(config.map(|config| config.header), Ok(vec![field]));
}

#[test]
fn an_argument_that_cannot_be_used_is_named_as_it_was_said() {
    let problem = |name, value| said(&[(name, value)]).map(|_| ()).unwrap_err();
    assert_eq!(
        problem("prot", Value::Int(1)),
        "prot is unknown, nearest is Some(\"port\")"
    );
    assert_eq!(
        problem("nothing_like_it_at_all", Value::Int(1)),
        "nothing_like_it_at_all is unknown, nearest is None"
    );
    assert!(problem("port", Value::text("x")).starts_with("port = 'x' (from oxicorn.run): 'x' is"));
    assert_eq!(
        problem("workers", Value::text("many")),
        "workers = 'many' (from oxicorn.run): expected a whole number from 1 to 4096"
    );
    assert!(problem("limit_concurrency", Value::Int(5)).contains("not supported: use worker"));
    assert!(problem("http2", Value::Bool(true)).contains("not supported yet"));
}
