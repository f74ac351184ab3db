//! How large anything may be.

use crate::kind::Kind;
use crate::setting::{Preset, Section, Setting, Status};
use crate::spelling::{Spelling, Takes};
use crate::stored::store;

pub(super) static SECTION: Section = Section {
    title: "Limits",
    rows: &[
        Setting {
            name: "limit_request_line",
            cli: &["--limit-request-line"],
            kind: Kind::COUNT,
            default: Preset::Int(4094),
            meta: "BYTES",
            summary: "The most bytes of a request line.",
            doc: "The line is method, target and version. A longer one is answered with 414. There are never \
                  more than 8190, which is also what 0 stands for.",
            examples: &["4094", "8190", "0"],
            apply: |config, value| store(&mut config.limit_request_line, value),
            ..Setting::ROW
        },
        Setting {
            name: "limit_request_fields",
            cli: &["--limit-request-fields"],
            kind: Kind::COUNT,
            default: Preset::Int(100),
            meta: "INT",
            summary: "The most header fields in a request.",
            doc: "A request with more is answered with 431. There are never more than 32768, which is also what 0 \
                  stands for.",
            examples: &["100", "0"],
            apply: |config, value| store(&mut config.limit_request_fields, value),
            ..Setting::ROW
        },
        Setting {
            name: "limit_request_field_size",
            cli: &["--limit-request-field_size"],
            cli_hidden: &["--limit-request-field-size"],
            spellings: &[Spelling::refused(
                "--h11-max-incomplete-event-size",
                "h11_max_incomplete_event_size",
                Takes::One("BYTES"),
                "use limit_request_line, limit_request_fields and limit_request_field_size",
            )],
            kind: Kind::COUNT,
            default: Preset::Int(8190),
            meta: "BYTES",
            status: Status::Better {
                how: "the flag is also understood with hyphens throughout",
            },
            summary: "The most bytes of a header field.",
            doc: "Counts name, colon, value and line end. A request with a longer field is answered with 431. \
                  0 stands for 8190. The head as a whole has a limit too, which grows with this and with \
                  `limit_request_fields`.",
            examples: &["8190", "16384"],
            apply: |config, value| store(&mut config.limit_request_field_size, value),
            ..Setting::ROW
        },
        Setting {
            name: "limit_request_body",
            cli: &["--limit-request-body"],
            kind: Kind::Size,
            default: Preset::Int(0),
            meta: "BYTES",
            status: Status::Ours,
            summary: "The most bytes of a request body; 0 for no limit.",
            doc: "A larger body is answered with 413: at once if the request announces its length, else as \
                  soon as the limit is passed. The application is not called.",
            examples: &["0", "10M", "1048576"],
            apply: |config, value| store(&mut config.limit_request_body, value),
            ..Setting::ROW
        },
        Setting {
            name: "body_memory_limit",
            cli: &["--body-memory-limit"],
            kind: Kind::Size,
            default: Preset::Int(65_536),
            meta: "BYTES",
            status: Status::Ours,
            summary: "The most bytes of a request body that are kept in memory.",
            doc: "A larger body goes to a file without a name in `tmp_upload_dir`, which vanishes by itself. \
                  Either way the application is called once the body is complete.",
            examples: &["65536", "1M"],
            apply: |config, value| store(&mut config.body_memory_limit, value),
            ..Setting::ROW
        },
        Setting {
            name: "response_memory_limit",
            cli: &["--response-memory-limit"],
            kind: Kind::Size,
            default: Preset::Int(65_536),
            meta: "BYTES",
            status: Status::Ours,
            summary: "The most bytes of a response that wait in memory for the client.",
            doc: "What the client has not taken yet waits in the server, so that the application is free for \
                  the next request. Beyond this much it waits in a file without a name; \
                  an ASGI application is held back instead.",
            examples: &["65536", "256K"],
            apply: |config, value| store(&mut config.response_memory_limit, value),
            ..Setting::ROW
        },
        Setting {
            name: "response_spool_limit",
            cli: &["--response-spool-limit"],
            kind: Kind::Size,
            default: Preset::Int(67_108_864),
            meta: "BYTES",
            status: Status::Ours,
            summary: "The most bytes of a response that wait before the application waits.",
            doc: "With so much waiting for the client, the application is held back until some of it is \
                  taken.",
            examples: &["67108864", "1G", "0"],
            apply: |config, value| store(&mut config.response_spool_limit, value),
            ..Setting::ROW
        },
        Setting {
            name: "response_kept_limit",
            cli: &["--response-kept-limit"],
            kind: Kind::Size,
            default: Preset::Int(67_108_864),
            meta: "BYTES",
            status: Status::Ours,
            summary: "The most unsent bytes that a worker keeps as the application made them.",
            doc: "What a client has not taken of a large block (a `bytes` object) is kept without copying \
                  it, until all connections of the worker together keep this much. Beyond that, blocks \
                  are copied to memory or to a file, as `response_memory_limit` says.",
            examples: &["67108864", "256M", "0"],
            apply: |config, value| store(&mut config.response_kept_limit, value),
            ..Setting::ROW
        },
        Setting {
            name: "tmp_upload_dir",
            cli: &["--tmp-upload-dir"],
            meta: "DIR",
            status: Status::Better {
                how: "it has an effect, and a flag",
            },
            summary: "The directory for bodies and responses too large for memory.",
            doc: "The files have no name and vanish by themselves. Without it the system's directory for \
                  temporary files is used. A directory in memory, such as `/dev/shm`, gains nothing.",
            examples: &["/var/tmp"],
            apply: |config, value| store(&mut config.tmp_upload_dir, value),
            ..Setting::ROW
        },
    ],
};
