//! What is logged, where and how.

use crate::kind::Kind;
use crate::setting::{Preset, Section, Setting, Status};
use crate::spelling::{Said, Spelling, Takes};
use crate::stored::store;
use crate::value::Value;

/// How the settings of Python's logging are better.
const PYTHONS: Status = Status::Better {
    how: "a restart reads it anew, and one with an error changes nothing; what an application does to all loggers does \
          not silence the server",
};

pub(super) static SECTION: Section = Section {
    title: "Logging",
    rows: &[
        Setting {
            name: "accesslog",
            cli: &["--access-logfile"],
            spellings: &[Spelling::switch(
                "--access-log",
                "--no-access-log",
                "access_log",
                "Write the access log, to standard output.",
            )],
            reads: access_log,
            meta: "FILE",
            summary: "The access log's file; - for standard output.",
            doc: "One line for each request. Without it there is no access log. The signal USR1 reopens the file.",
            examples: &["-", "/var/log/app/access.log"],
            apply: |config, value| store(&mut config.accesslog, value),
            ..Setting::ROW
        },
        Setting {
            name: "access_log_format",
            cli: &["--access-logformat"],
            default: Preset::Text(r#"%(h)s %(l)s %(u)s %(t)s "%(r)s" %(s)s %(b)s "%(f)s" "%(a)s""#),
            meta: "FORMAT",
            summary: "The form of an access log line.",
            doc: "| atom | stands for |\n\
                  |---|---|\n\
                  | `h` | the peer's address |\n\
                  | `l` | `-` |\n\
                  | `u` | the user name of a Basic authorization |\n\
                  | `t` | the time |\n\
                  | `r` | the request line: `m`, the target and `H` |\n\
                  | `m` | the method |\n\
                  | `U` | the path |\n\
                  | `q` | the query |\n\
                  | `H` | the protocol |\n\
                  | `s` | the status |\n\
                  | `B` | the bytes of the response body |\n\
                  | `b` | the same, or `-` for none |\n\
                  | `f` | the Referer field |\n\
                  | `a` | the User-Agent field |\n\
                  | `T` | the time it took in seconds |\n\
                  | `M` | the same in milliseconds |\n\
                  | `D` | the same in microseconds |\n\
                  | `L` | the same in seconds with six decimals |\n\
                  | `p` | the process id |\n\
                  | `{name}i` | a request field |\n\
                  | `{name}o` | a response field |\n\
                  | `{name}e` | an entry of the environment |\n\n\
                  Each is written as `%(h)s`.",
            examples: &["%(h)s \"%(r)s\" %(s)s %(L)s"],
            apply: |config, value| store(&mut config.access_log_format, value),
            ..Setting::ROW
        },
        Setting {
            name: "errorlog",
            cli: &["--error-logfile", "--log-file"],
            default: Preset::Text("-"),
            meta: "FILE",
            summary: "The error log's file; - for standard error.",
            doc: "What the server has to say: start, stop, refused requests, failing workers. The signal USR1 reopens \
                  the file.",
            examples: &["-", "/var/log/app/error.log"],
            apply: |config, value| store(&mut config.errorlog, value),
            ..Setting::ROW
        },
        Setting {
            name: "loglevel",
            cli: &["--log-level"],
            spellings: &[Spelling::form(
                "",
                "log_level",
                Takes::One("LEVEL"),
                "The same by name, or by number as in Python's logging.",
            )],
            reads: |said| Ok(level(said)),
            kind: Kind::Choice(&["debug", "info", "warning", "error", "critical"]),
            default: Preset::Text("info"),
            meta: "LEVEL",
            status: Status::Better {
                how: "an unknown level is refused, where gunicorn quietly uses `info`",
            },
            summary: "The least severe messages that the error log keeps.",
            doc: "`debug`, `info`, `warning`, `error` or `critical`.",
            examples: &["debug", "WARNING"],
            apply: |config, value| store(&mut config.loglevel, value),
            ..Setting::ROW
        },
        Setting {
            name: "log_format",
            cli: &["--log-format"],
            kind: Kind::Choice(&["text", "json", "logfmt"]),
            default: Preset::Text("text"),
            meta: "FORMAT",
            status: Status::Ours,
            summary: "The form of both logs: text, json or logfmt.",
            doc: "`text` is gunicorn's. `json` is one object a line, `logfmt` one row of `name=value`. Every line has \
                  `time`, `level`, `log` (`error` or `access`) and `pid`; a message has `message` and perhaps \
                  `traceback`; a request has `remote_addr`, `user`, `method`, `path`, `query`, `protocol`, `status`, \
                  `bytes`, `duration` in seconds, `referer`, `user_agent` and `request_id`, those that there are. An \
                  `access_log_format` of your own says which fields a request has instead: each of its atoms is one.",
            examples: &["json"],
            apply: |config, value| store(&mut config.log_format, value),
            ..Setting::ROW
        },
        Setting {
            name: "request_id_header",
            cli: &["--request-id-header"],
            meta: "NAME",
            status: Status::Ours,
            summary: "The field with an id for each request; without it there are no ids.",
            doc: "A request gets an id of 32 hexadecimal digits, as nginx's `$request_id`. If a trusted peer \
                  (`forwarded_allow_ips`) sends the field with at most 128 letters, digits or `-_.:/+=@`, that id is \
                  kept; what anybody else sends is replaced. The application finds it among the request's fields, the \
                  client in the response, unless the application answers with such a field itself, and both logs' \
                  readers as `request_id` or as `%({x-request-id}i)s`.",
            examples: &["X-Request-ID"],
            apply: |config, value| store(&mut config.request_id_header, value),
            ..Setting::ROW
        },
        Setting {
            name: "capture_output",
            cli: &["--capture-output"],
            summary: "Send what the application prints to the error log's file.",
            doc: "Has nothing to do while the error log is standard error.",
            apply: |config, value| store(&mut config.capture_output, value),
            ..Setting::SWITCH
        },
        Setting {
            name: "color",
            cli: &["--color"],
            spellings: &[Spelling::switch(
                "--use-colors",
                "--no-use-colors",
                "use_colors",
                "Show the banner in colour.",
            )],
            reads: colors,
            kind: Kind::Choice(&["auto", "always", "never"]),
            default: Preset::Text("auto"),
            meta: "WHEN",
            status: Status::Ours,
            summary: "Whether the banner is in colour: auto, always or never.",
            doc: "The banner is what a terminal gets at the start. `auto` looks at `NO_COLOR` and `TERM`. The logs are \
                  never coloured.",
            examples: &["never"],
            apply: |config, value| store(&mut config.color, value),
            ..Setting::ROW
        },
        Setting {
            name: "logger_class",
            cli: &["--logger-class"],
            kind: Kind::Class,
            default: Preset::Text("gunicorn.glogging.Logger"),
            meta: "NAME",
            status: Status::Better {
                how: "the default is native and needs no interpreter; any other class gets the server's messages and \
                      requests as in gunicorn, and what an application does to all loggers does not silence it",
            },
            summary: "The Python class that logs.",
            doc: "A class with the methods of gunicorn's `Logger`, mostly a subclass of it, or of \
                  `oxicorn.compat.glogging.Logger`, which is the same. That class by its own name sends both logs \
                  through Python's logging, to the loggers `gunicorn.error` and `gunicorn.access`.",
            examples: &["project.logging.Logger"],
            apply: |config, value| {
                config.logger_class = match value {
                    Value::Text(name) => name.trim().to_owned(),
                    class => class.to_string(),
                };
                Ok(())
            },
            ..Setting::ROW
        },
        Setting {
            name: "logconfig",
            cli: &["--log-config"],
            spellings: &[Spelling::same("", "log_config")],
            meta: "FILE",
            status: PYTHONS,
            summary: "A file in the format of Python's logging.config.fileConfig.",
            doc: "Sends both logs through Python's logging, to the loggers `gunicorn.error` and `gunicorn.access`, as \
                  this file configures it.",
            examples: &["logging.ini"],
            apply: |config, value| store(&mut config.logconfig, value),
            ..Setting::ROW
        },
        Setting {
            name: "logconfig_json",
            cli: &["--log-config-json"],
            meta: "FILE",
            status: Status::Better {
                how: "a file that is missing is an error, where gunicorn quietly goes on without it; otherwise as \
                      logconfig_dict",
            },
            summary: "A JSON file with a dictionary for Python's logging.config.",
            doc: "As `logconfig_dict`, from a file. `logconfig_dict` wins.",
            examples: &["logging.json"],
            apply: |config, value| store(&mut config.logconfig_json, value),
            ..Setting::ROW
        },
        Setting {
            name: "logconfig_dict",
            kind: Kind::Any,
            default: Preset::Dict(&[]),
            meta: "DICT",
            status: PYTHONS,
            summary: "A dictionary for Python's logging.config.dictConfig.",
            doc: "Sends both logs through Python's logging, to the loggers `gunicorn.error` and `gunicorn.access`. What \
                  the dictionary does not have is taken from `CONFIG_DEFAULTS` of `oxicorn.compat.glogging`, as in \
                  gunicorn. It wins over `logconfig_json` and that over `logconfig`.",
            apply: |config, value| {
                let Value::Dict(entries) = value else {
                    return Err("expected a dictionary".into());
                };
                config.logconfig_dict = !entries.is_empty();
                Ok(())
            },
            ..Setting::ROW
        },
        Setting {
            name: "syslog",
            cli: &["--log-syslog"],
            status: Status::Better {
                how: "nobody waits for the daemon, and one that is restarted is found again",
            },
            summary: "Send the logs to syslog.",
            doc: "Both logs, unless `disable_redirect_access_to_syslog` is set, beside the files. What the daemon does \
                  not take is lost; the error log says so.",
            apply: |config, value| store(&mut config.syslog, value),
            ..Setting::SWITCH
        },
        Setting {
            name: "syslog_addr",
            cli: &["--log-syslog-to"],
            default: Preset::Text("udp://localhost:514"),
            meta: "ADDRESS",
            status: Status::Better {
                how: "`#stream` means a stream first; gunicorn always tries datagrams first",
            },
            summary: "Where syslog listens.",
            doc: "`unix://PATH`, `udp://HOST:PORT` or `tcp://HOST:PORT`. A path may be followed by `#dgram` or `#stream`.",
            examples: &["unix:///dev/log"],
            apply: |config, value| store(&mut config.syslog_addr, value),
            ..Setting::ROW
        },
        Setting {
            name: "syslog_prefix",
            cli: &["--log-syslog-prefix"],
            meta: "TEXT",
            summary: "What the program is called in syslog.",
            doc: "Lines begin with `gunicorn.PREFIX.error` and `gunicorn.PREFIX.access`; without it the middle is the \
                  name of the process, with dots for colons.",
            examples: &["shop"],
            apply: |config, value| store(&mut config.syslog_prefix, value),
            ..Setting::ROW
        },
        Setting {
            name: "syslog_facility",
            cli: &["--log-syslog-facility"],
            default: Preset::Text("user"),
            meta: "NAME",
            summary: "The syslog facility.",
            doc: "One of syslog's own names, such as `daemon` or `local0`.",
            examples: &["local0"],
            apply: |config, value| store(&mut config.syslog_facility, value),
            ..Setting::ROW
        },
        Setting {
            name: "disable_redirect_access_to_syslog",
            cli: &["--disable-redirect-access-to-syslog"],
            summary: "Keep the access log out of syslog.",
            doc: "Only the error log goes to syslog then.",
            apply: |config, value| store(&mut config.disable_redirect_access_to_syslog, value),
            ..Setting::SWITCH
        },
    ],
};

/// uvicorn's switch, which knows one place for the access log.
fn access_log(said: &Said) -> Result<Value, String> {
    match (said.switch("access_log")?, said.get("accesslog")) {
        (Some(false), None) => Ok(Value::None),
        (Some(false), Some(_)) => Err("no access log contradicts accesslog".into()),
        (_, Some(file)) => Ok(file.clone()),
        (_, None) => Ok(Value::text("-")),
    }
}

/// A level by Python's number, or by a name of uvicorn's own.
fn level(said: &Said) -> Value {
    match said.get("log_level").or(said.get("loglevel")) {
        Some(Value::Int(number)) => Value::text(match number {
            ..=19 => "debug",
            20..=29 => "info",
            30..=39 => "warning",
            40..=49 => "error",
            50.. => "critical",
        }),
        Some(Value::Text(name)) if name.eq_ignore_ascii_case("trace") => Value::text("debug"),
        other => other.cloned().unwrap_or_default(),
    }
}

fn colors(said: &Said) -> Result<Value, String> {
    match (said.switch("use_colors")?, said.get("color")) {
        (Some(on), None) => Ok(Value::text(if on { "always" } else { "never" })),
        _ => Err("it is said twice, as color and as use_colors".into()),
    }
}
