//! What counts as a good request, and how responses leave.

use crate::kind::Kind;
use crate::setting::{Preset, Section, Setting, Status, Variable};
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
            name: "http_parser",
            cli: &["--http-parser"],
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

/// `SENDFILE` knows four words for yes; anything else is a no.
fn asked_for(text: &str) -> Value {
    let yes = ["y", "1", "yes", "true"];
    Value::Bool(yes.contains(&text.to_ascii_lowercase().as_str()))
}
