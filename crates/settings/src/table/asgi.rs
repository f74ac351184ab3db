//! Asynchronous applications and WebSocket.

use crate::kind::Kind;
use crate::setting::{Preset, Section, Setting, Status};
use crate::spelling::{Spelling, Takes};
use crate::stored::store;

/// What the rows of this section start from.
const ROW: Setting = Setting {
    status: Status::Later {
        meanwhile: "remove it",
    },
    ..Setting::ROW
};

pub(super) static SECTION: Section = Section {
    title: "ASGI",
    rows: &[
        Setting {
            name: "asgi_loop",
            cli: &["--asgi-loop"],
            spellings: &[Spelling::same("--loop", "loop")],
            kind: Kind::Choice(&["auto", "asyncio", "uvloop"]),
            default: Preset::Text("auto"),
            meta: "NAME",
            summary: "The event loop: auto, asyncio or uvloop.",
            doc: "`auto` takes uvloop if it is installed. `uvloop` without it is an error.",
            examples: &["uvloop"],
            apply: |config, value| store(&mut config.asgi_loop, value),
            ..Setting::ROW
        },
        Setting {
            name: "asgi_lifespan",
            cli: &["--asgi-lifespan"],
            spellings: &[
                Spelling::same("--lifespan", "lifespan"),
                Spelling::refused(
                    "--reset-contextvars",
                    "reset_contextvars",
                    Takes::Nothing,
                    "remove it; no request sees the context variables that the lifespan has set",
                ),
            ],
            kind: Kind::Choice(&["auto", "on", "off"]),
            default: Preset::Text("auto"),
            meta: "MODE",
            summary: "Whether to run the application's start-up and shutdown: auto, on, off.",
            doc: "`auto` tolerates an application that does not support it. A start-up that the application calls \
                  failed fails the worker in any case. The shutdown is run when the last request is answered.",
            examples: &["on"],
            apply: |config, value| store(&mut config.asgi_lifespan, value),
            ..Setting::ROW
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
            summary: "The path below which an ASGI application lives.",
            doc: "Becomes `root_path` of a scope, and stands before its `path`, as with uvicorn: for an application \
                  behind a proxy that takes the prefix off. WSGI applications get theirs by the environment variable \
                  or the proxy's field `SCRIPT_NAME`.",
            examples: &["/shop"],
            apply: |config, value| store(&mut config.root_path, value),
            ..Setting::ROW
        },
    ],
};
