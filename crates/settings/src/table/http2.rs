//! HTTP/2.

use crate::kind::Kind;
use crate::setting::{Preset, Section, Setting, Status};
use crate::spelling::{Said, Spelling};
use crate::value::Value;

/// What the rows of this section start from.
const ROW: Setting = Setting {
    status: Status::Later {
        meanwhile: "let a proxy in front speak HTTP/2 to the clients",
    },
    ..Setting::ROW
};

pub(super) static SECTION: Section = Section {
    title: "HTTP/2",
    rows: &[
        Setting {
            name: "http_protocols",
            cli: &["--http-protocols"],
            spellings: &[Spelling::switch(
                "--http2",
                "",
                "http2",
                "Offer HTTP/2 too.",
            )],
            reads: both_versions,
            kind: Kind::Commas,
            default: Preset::List(&["h1"]),
            meta: "NAMES",
            summary: "The versions of HTTP to offer, with commas: h1, h2.",
            doc: "In the order of preference.",
            examples: &["h1", "h2,h1"],
            ..ROW
        },
        Setting {
            name: "http2_cleartext",
            cli: &["--http2-cleartext"],
            kind: Kind::Choice(&["off", "prior-knowledge", "upgrade", "both"]),
            default: Preset::Text("off"),
            meta: "MODE",
            summary: "HTTP/2 without TLS, for trusted peers.",
            doc: "`off`, `prior-knowledge`, `upgrade` or `both`.",
            examples: &["prior-knowledge"],
            ..ROW
        },
        Setting {
            name: "http2_max_concurrent_streams",
            cli: &["--http2-max-concurrent-streams"],
            kind: Kind::Int {
                min: 1,
                max: u32::MAX as i64,
            },
            default: Preset::Int(100),
            meta: "INT",
            summary: "The most requests at a time on one connection.",
            doc: "RFC 9113 §6.5.2.",
            examples: &["250"],
            ..ROW
        },
        Setting {
            name: "http2_initial_window_size",
            cli: &["--http2-initial-window-size"],
            kind: Kind::Int {
                min: 0,
                max: i32::MAX as i64,
            },
            default: Preset::Int(65_535),
            meta: "BYTES",
            summary: "The bytes that a client may send before the server asks for more.",
            doc: "For each stream (RFC 9113 §6.9.2).",
            examples: &["1048576"],
            ..ROW
        },
        Setting {
            name: "http2_max_frame_size",
            cli: &["--http2-max-frame-size"],
            kind: Kind::Int {
                min: 16_384,
                max: 16_777_215,
            },
            default: Preset::Int(16_384),
            meta: "BYTES",
            summary: "The most bytes of a frame.",
            doc: "RFC 9113 §4.2.",
            examples: &["32768"],
            ..ROW
        },
        Setting {
            name: "http2_max_header_list_size",
            cli: &["--http2-max-header-list-size"],
            kind: Kind::COUNT,
            default: Preset::Int(65_536),
            meta: "BYTES",
            summary: "The most bytes of a request's fields; 0 for no limit.",
            doc: "Uncompressed (RFC 9113 §6.5.2).",
            examples: &["131072"],
            ..ROW
        },
    ],
};

/// uvicorn's `--http2`.
fn both_versions(said: &Said) -> Result<Value, String> {
    match said.switch("http2")? {
        Some(true) => Ok(Value::texts(["h2", "h1"])),
        _ => Ok(Value::texts(["h1"])),
    }
}
