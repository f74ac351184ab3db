//! Asynchronous applications and WebSocket.

use crate::kind::Kind;
use crate::setting::{Preset, Section, Setting, Status};

/// What the rows of this section start from.
const ROW: Setting = Setting {
    status: Status::Later {
        meanwhile: "remove it, since WSGI applications have no use for it",
    },
    ..Setting::ROW
};

pub(super) static SECTION: Section = Section {
    title: "ASGI",
    rows: &[
        Setting {
            name: "asgi_loop",
            cli: &["--asgi-loop"],
            kind: Kind::Choice(&["auto", "asyncio", "uvloop"]),
            default: Preset::Text("auto"),
            meta: "NAME",
            summary: "The event loop: auto, asyncio or uvloop.",
            doc: "`auto` takes uvloop if it is installed.",
            examples: &["uvloop"],
            ..ROW
        },
        Setting {
            name: "asgi_lifespan",
            cli: &["--asgi-lifespan"],
            kind: Kind::Choice(&["auto", "on", "off"]),
            default: Preset::Text("auto"),
            meta: "MODE",
            summary: "Whether to run the application's start-up and shutdown: auto, on, off.",
            doc: "`auto` tolerates an application that does not support it.",
            examples: &["on"],
            ..ROW
        },
        Setting {
            name: "asgi_disconnect_grace_period",
            cli: &["--asgi-disconnect-grace-period"],
            kind: Kind::WHOLE_SECONDS,
            default: Preset::Int(3),
            meta: "SECONDS",
            summary: "How long a request may go on after its client left.",
            doc: "Then its task is cancelled; 0 cancels at once.",
            examples: &["10"],
            ..ROW
        },
        Setting {
            name: "websocket_max_message_size",
            cli: &["--websocket-max-message-size"],
            kind: Kind::COUNT,
            default: Preset::Int(16_777_216),
            meta: "BYTES",
            summary: "The most bytes of a WebSocket message; 0 for no limit.",
            doc: "A longer one closes the connection with 1009.",
            examples: &["1048576"],
            ..ROW
        },
        Setting {
            name: "root_path",
            cli: &["--root-path"],
            default: Preset::Text(""),
            meta: "PATH",
            status: Status::Later {
                meanwhile: "let the proxy send the field SCRIPT_NAME, or set the environment \
                            variable of that name",
            },
            summary: "The path below which the application lives.",
            doc: "Becomes `root_path` of an ASGI scope.",
            examples: &["/shop"],
            ..Setting::ROW
        },
    ],
};
