//! The socket over which a running server can be asked and told things.

use crate::kind::Kind;
use crate::setting::{Preset, Section, Setting, Status};

const LATER: Status = Status::Later {
    meanwhile: "use signals (TTIN, TTOU, USR1, TERM) to control the \
                server",
};

pub(super) static SECTION: Section = Section {
    title: "Control socket",
    rows: &[
        Setting {
            name: "control_socket",
            cli: &["--control-socket"],
            meta: "FILE",
            status: LATER,
            summary: "The path of the control socket.",
            doc: "A Unix socket.",
            examples: &["/run/app.ctl"],
            ..Setting::ROW
        },
        Setting {
            name: "control_socket_mode",
            cli: &["--control-socket-mode"],
            kind: Kind::Mode,
            default: Preset::Int(0o600),
            meta: "MODE",
            status: LATER,
            summary: "The permission bits of the control socket.",
            doc: "A text that starts with `0` is octal.",
            examples: &["0660"],
            ..Setting::ROW
        },
        Setting {
            name: "control_socket_disable",
            cli: &["--no-control-socket"],
            status: Status::WithoutEffect {
                why: "there is no control socket",
            },
            summary: "Have no control socket.",
            doc: "There is none in any case.",
            ..Setting::SWITCH
        },
    ],
};
