//! What counts as a good request, and how responses leave.

use crate::kind::Kind;
use crate::setting::{Preset, Section, Setting, Status, Variable};
use crate::spelling::{Said, Spelling, Takes};
use crate::stored::store;
use crate::value::Value;

pub(super) static SECTION: Section = Section {
    title: "HTTP",
    rows: &[
        Setting {
            name: "header_map",
            cli: &["--header-map"],
            kind: Kind::Choice(&["drop", "refuse", "dangerous"]),
            default: Preset::Text("drop"),
            meta: "WHAT",
            summary: "What happens to header fields with an underscore in their name.",
            doc: "In the environment of an application `X_Real_IP` and `X-Real-IP` look the same, so a client \
                  could pass off the one for the other. `drop` leaves such fields out, `refuse` answers \
                  400, `dangerous` passes them on. Fields in `forwarder_headers` that a trusted proxy sends \
                  are passed on in any case.",
            examples: &["drop", "refuse"],
            apply: |config, value| store(&mut config.header_map, value),
            ..Setting::ROW
        },
        Setting {
            name: "permit_unconventional_http_method",
            cli: &["--permit-unconventional-http-method"],
            summary: "Allow methods that are not 3 to 20 capital letters.",
            doc: "Without it, methods with small letters or `#`, or of an unusual length, are answered \
                  with 400. A method is made of token characters in any case.",
            apply: |config, value| store(&mut config.permit_unconventional_http_method, value),
            ..Setting::SWITCH
        },
        Setting {
            name: "permit_unconventional_http_version",
            cli: &["--permit-unconventional-http-version"],
            summary: "Allow HTTP versions other than 1.0 and 1.1.",
            doc: "For odd clients only: no other version has a meaning in this form of HTTP.",
            apply: |config, value| store(&mut config.permit_unconventional_http_version, value),
            ..Setting::SWITCH
        },
        Setting {
            name: "casefold_http_method",
            cli: &["--casefold-http-method"],
            summary: "Turn methods into capitals.",
            doc: "Methods are case-sensitive (RFC 9110 §9.1). This is for clients that do not know.",
            apply: |config, value| store(&mut config.casefold_http_method, value),
            ..Setting::SWITCH
        },
        Setting {
            name: "permit_obsolete_folding",
            cli: &["--permit-obsolete-folding"],
            status: Status::Refused {
                advice: "let the client send each field in one line; recipients disagree about folded ones, which \
                         lets requests be smuggled past a proxy",
            },
            summary: "Allow header fields that go on in the next line.",
            doc: "Forbidden since 2014 (RFC 9112 §5.2). Such a request is answered with 400.",
            ..Setting::SWITCH
        },
        Setting {
            name: "strip_header_spaces",
            cli: &["--strip-header-spaces"],
            status: Status::Refused {
                advice: "let the client send field names without blanks; recipients disagree about them, which lets \
                         requests be smuggled past a proxy",
            },
            summary: "Allow blanks between the name of a header field and its colon.",
            doc: "Forbidden (RFC 9112 §5.1). Such a request is answered with 400.",
            ..Setting::SWITCH
        },
        Setting {
            name: "sendfile",
            cli: &["--sendfile"],
            cli_off: &["--no-sendfile"],
            env: Some(Variable {
                name: "SENDFILE",
                read: asked_for,
            }),
            default: Preset::Bool(true),
            status: Status::Better {
                how: "`sendfile = True` turns it on, where gunicorn turns it off; there is a flag for \
                      either",
            },
            summary: "Send files from disk to socket inside the kernel.",
            doc: "For what an application returns in `wsgi.file_wrapper`. Turn it off on file systems where \
                  it misbehaves, such as some shared folders of virtual machines.",
            apply: |config, value| store(&mut config.sendfile, value),
            ..Setting::SWITCH
        },
        Setting {
            name: "server_header",
            cli: &["--server-header"],
            cli_off: &["--no-server-header"],
            default: Preset::Bool(true),
            status: Status::Ours,
            summary: "Say `Server: oxicorn` in responses of the application.",
            doc: "A `Server` field of the application's own, or in `header`, takes its place. What the server answers \
                  by itself, such as 400 to what is no request, carries the field in any case.",
            apply: |config, value| store(&mut config.server_header, value),
            ..Setting::SWITCH
        },
        Setting {
            name: "date_header",
            cli: &["--date-header"],
            cli_off: &["--no-date-header"],
            default: Preset::Bool(true),
            status: Status::Ours,
            summary: "Say the date in responses of the application.",
            doc: "A server with a clock has to say it (RFC 9110 §6.6.1). A `Date` field of the application's own, or in \
                  `header`, takes its place. What the server answers by itself carries the field in any case.",
            apply: |config, value| store(&mut config.date_header, value),
            ..Setting::SWITCH
        },
        Setting {
            name: "header",
            cli: &["--header"],
            spellings: &[Spelling::form(
                "",
                "headers",
                Takes::Each("PAIR"),
                "Fields for every response, as pairs of name and value.",
            )],
            reads: pairs,
            kind: Kind::List,
            default: Preset::List(&[]),
            meta: "NAME:VALUE",
            status: Status::Ours,
            summary: "A header field for every response of the application; repeatable.",
            doc: "It is added to what the application says; if that has a field of the same name, both are sent. `Server` \
                  and `Date` take the place of the server's own. The fields that frame a message or concern the connection, \
                  such as `Content-Length` and `Connection`, are the server's business and are refused.",
            examples: &[
                "X-Served-By: web-1",
                "Strict-Transport-Security:max-age=3600",
            ],
            apply: |config, value| {
                config.header = fields(value)?;
                Ok(())
            },
            ..Setting::ROW
        },
        Setting {
            name: "http_parser",
            cli: &["--http-parser"],
            spellings: &[Spelling::form(
                "--http",
                "http",
                Takes::One("NAME"),
                "Which of uvicorn's parsers to use; there is only one here.",
            )],
            reads: any_parser,
            kind: Kind::Choice(&["auto", "fast", "python"]),
            default: Preset::Text("auto"),
            meta: "NAME",
            status: Status::WithoutEffect {
                why: "there is one parser, and it is native",
            },
            summary: "Which of gunicorn's parsers to use; there is only one here.",
            doc: "Gunicorn has two parsers that differ in what they refuse. Here one parser serves all.",
            examples: &["auto", "fast"],
            ..Setting::ROW
        },
    ],
};

/// The pairs of `headers`, as `header` has them.
fn pairs(said: &Said) -> Result<Value, String> {
    let own = said.texts("header");
    let items = match said.get("headers") {
        Some(Value::List(items)) => items.as_slice(),
        _ => return Err("expected a list of pairs of name and value".into()),
    };
    let pairs = items.iter().map(|item| match item {
        Value::List(pair) => match pair.as_slice() {
            [Value::Text(name), Value::Text(value)] => Ok(format!("{name}: {value}")),
            _ => Err(format!("{item} is not a pair of name and value")),
        },
        Value::Text(text) => Ok(text.clone()),
        _ => Err(format!("{item} is not a pair of name and value")),
    });
    let all: Result<Vec<_>, _> = own.into_iter().map(Ok).chain(pairs).collect();
    Ok(Value::texts(all?))
}

/// Header fields that are the server's business.
const OURS: [&str; 8] = [
    "connection",
    "content-length",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// Texts of the form `NAME:VALUE` as names and values.
fn fields(value: &Value) -> Result<Vec<(String, String)>, String> {
    let items = match value {
        Value::List(items) => items.iter().filter_map(Value::as_text).collect(),
        _ => Vec::new(),
    };
    items.into_iter().map(field).collect()
}

fn field(text: &str) -> Result<(String, String), String> {
    let (name, value) = text
        .split_once(':')
        .ok_or_else(|| format!("'{text}' is not a field; expected NAME:VALUE"))?;
    let (name, value) = (name.trim(), value.trim());
    if name.is_empty() || !name.bytes().all(is_token) {
        return Err(format!("'{name}' is not the name of a field"));
    }
    if OURS.contains(&name.to_ascii_lowercase().as_str()) {
        return Err(format!("{name} is the server's own business"));
    }
    if value
        .bytes()
        .any(|byte| byte != b'\t' && !(b' '..=b'~').contains(&byte))
    {
        return Err(format!(
            "the value of {name} has characters beyond visible ASCII"
        ));
    }
    Ok((name.into(), value.into()))
}

/// RFC 9110 §5.6.2.
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// uvicorn's parsers are all the one that there is.
fn any_parser(said: &Said) -> Result<Value, String> {
    if let Some(own) = said.get("http_parser") {
        return Ok(own.clone());
    }
    match said.text("http").as_deref() {
        Some("auto" | "h11" | "httptools" | "zttp") => Ok(Value::text("auto")),
        _ => Err("there is one parser; expected auto, h11 or httptools".into()),
    }
}

/// `SENDFILE` knows four words for yes; anything else is a no.
fn asked_for(text: &str) -> Value {
    let yes = ["y", "1", "yes", "true"];
    Value::Bool(yes.contains(&text.to_ascii_lowercase().as_str()))
}
