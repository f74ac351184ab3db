//! The socket over which a running server can be asked and told things.

use crate::kind::Kind;
use crate::setting::{Preset, Section, Setting, Status};
use crate::stored::store;

pub(super) static SECTION: Section = Section {
    title: "Control socket",
    rows: &[
        Setting {
            name: "control_socket",
            cli: &["--control-socket"],
            meta: "FILE",
            status: Status::Better {
                how: "spoken to with `oxicornctl`, which has `gunicornc`'s commands and can wait for the end of a \
                      restart; a place where it cannot be made is no error",
            },
            summary: "The path of the control socket, for `oxicornctl`.",
            doc: "A Unix socket. If nothing is said it is `oxicorn-PID.ctl` in `$XDG_RUNTIME_DIR`, or in \
                  `/run/oxicorn` if that exists. Where it cannot be made, the server runs without it. One \
                  that a living server has is left alone; one that was left by a dead server is replaced.",
            examples: &["/run/app.ctl"],
            apply: |config, value| store(&mut config.control_socket, value),
            ..Setting::ROW
        },
        Setting {
            name: "control_socket_mode",
            cli: &["--control-socket-mode"],
            kind: Kind::Mode,
            default: Preset::Int(0o600),
            meta: "MODE",
            summary: "The permission bits of the control socket.",
            doc: "A text that starts with `0` is octal. As long as they let nobody else write, only the user \
                  that the server runs as, and root, are listened to.",
            examples: &["0660"],
            apply: |config, value| store(&mut config.control_socket_mode, value),
            ..Setting::ROW
        },
        Setting {
            name: "control_socket_disable",
            cli: &["--no-control-socket"],
            summary: "Have no control socket.",
            doc: "The server is then controlled by signals only.",
            apply: |config, value| store(&mut config.control_socket_disable, value),
            ..Setting::SWITCH
        },
    ],
};
