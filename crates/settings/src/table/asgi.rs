//! Asynchronous applications and WebSocket.

use crate::kind::Kind;
use crate::setting::{Preset, Section, Setting, Status};
use crate::spelling::{Spelling, Takes};
use crate::stored::store;

pub(super) static SECTION: Section = Section {
    title: "ASGI",
    rows: &[
        Setting {
            name: "asgi_loop",
            cli: &["--asgi-loop"],
            spellings: &[Spelling::same("--loop", "loop")],
            kind: Kind::ChoiceOrImport(&["auto", "asyncio", "uvloop"]),
            default: Preset::Text("auto"),
            meta: "NAME",
            status: Status::Better {
                how: "any other loop can be named by the path of what makes it",
            },
            summary: "The event loop: auto, asyncio, uvloop, or what makes one.",
            doc: "`auto` takes uvloop if it is installed. `uvloop` without it is an error. `MODULE:NAME` names a class \
                  or function that is called without arguments and returns the loop; it needs `add_reader`.",
            examples: &["uvloop", "mysite.loops:new_event_loop"],
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
            kind: Kind::SecondsOrNone,
            default: Preset::None,
            meta: "SECONDS",
            status: Status::Better {
                how: "fractions count, and the default is not 3 but never: as with uvicorn, what a request has \
                      begun is not cancelled because its client left",
            },
            summary: "How long a request may go on after its client left; else for ever.",
            doc: "Its task is cancelled when its client has been gone for so long: `asyncio.CancelledError` is \
                  raised where it waits. 0 cancels at once. By default the application is told (`http.disconnect`, \
                  and the errors of `send`), and ends by itself. WebSockets, and what goes on when the response is \
                  complete, are never cancelled by this.",
            examples: &["3", "0", "none"],
            apply: |config, value| store(&mut config.asgi_disconnect_grace_period, value),
            ..Setting::ROW
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
        Setting {
            name: "ws",
            cli: &["--ws"],
            spellings: &[Spelling::nothing(
                "--ws-max-queue",
                "ws_max_queue",
                Takes::One("INT"),
                "one message is gathered ahead of the application, and the rest waits in the kernel",
            )],
            kind: Kind::Choice(&["auto", "none", "websockets", "websockets-sansio", "wsproto"]),
            default: Preset::Text("auto"),
            meta: "NAME",
            status: Status::Ours,
            summary: "Whether WebSockets are served; not if it is none.",
            doc: "The other words are those of uvicorn, which has several implementations; here is one. With `none` a \
                  request to become a WebSocket is served as any other.",
            examples: &["auto", "none"],
            apply: |config, value| store(&mut config.ws, value),
            ..Setting::ROW
        },
        Setting {
            name: "websocket_max_message_size",
            cli: &["--websocket-max-message-size"],
            spellings: &[Spelling::same("--ws-max-size", "ws_max_size")],
            kind: Kind::Size,
            default: Preset::Int(16_777_216),
            meta: "BYTES",
            status: Status::Better {
                how: "sizes such as `1M` are understood; uvicorn's flag `--ws-max-size` is another name",
            },
            summary: "The most bytes of a WebSocket message; 0 for no limit.",
            doc: "A longer one closes the connection with 1009, as soon as its length is announced, or, if it is \
                  compressed, as soon as it has become too long.",
            examples: &["1048576", "1M", "0"],
            apply: |config, value| store(&mut config.websocket_max_message_size, value),
            ..Setting::ROW
        },
        Setting {
            name: "ws_ping_interval",
            cli: &["--ws-ping-interval"],
            kind: Kind::Seconds,
            default: Preset::Float(20.0),
            meta: "SECONDS",
            status: Status::Ours,
            summary: "How long a WebSocket's client may be silent until it gets a ping.",
            doc: "Whatever it sends counts. 0 sends no pings; then a client that vanishes without a word is noticed \
                  only when something is sent to it.",
            examples: &["20", "0"],
            apply: |config, value| store(&mut config.ws_ping_interval, value),
            ..Setting::ROW
        },
        Setting {
            name: "ws_ping_timeout",
            cli: &["--ws-ping-timeout"],
            kind: Kind::Seconds,
            default: Preset::Float(20.0),
            meta: "SECONDS",
            status: Status::Ours,
            summary: "How long it has to answer the ping, or to say anything else.",
            doc: "Then the connection is closed with 1011, and the application is told 1006. Time in which the \
                  application takes no messages does not count. 0 waits without end.",
            examples: &["20", "5"],
            apply: |config, value| store(&mut config.ws_ping_timeout, value),
            ..Setting::ROW
        },
        Setting {
            name: "ws_per_message_deflate",
            cli: &["--ws-per-message-deflate"],
            cli_says: true,
            kind: Kind::Bool,
            default: Preset::Bool(true),
            meta: "BOOL",
            status: Status::Ours,
            summary: "Compress WebSocket messages if the client can.",
            doc: "permessage-deflate (RFC 7692). See `ws_deflate_min_size` and `ws_deflate_takeover`. The flag is \
                  followed by `true` or `false`, as uvicorn's.",
            examples: &["false", "true"],
            apply: |config, value| store(&mut config.ws_per_message_deflate, value),
            ..Setting::ROW
        },
        Setting {
            name: "ws_deflate_min_size",
            cli: &["--ws-deflate-min-size"],
            kind: Kind::Size,
            default: Preset::Int(1024),
            meta: "BYTES",
            status: Status::Ours,
            summary: "The fewest bytes of a WebSocket message that is compressed.",
            doc: "What is shorter costs more time than it saves bytes, and is sent as it is.",
            examples: &["1024", "16K", "0"],
            apply: |config, value| store(&mut config.ws_deflate_min_size, value),
            ..Setting::ROW
        },
        Setting {
            name: "ws_deflate_takeover",
            cli: &["--ws-deflate-takeover"],
            status: Status::Ours,
            summary: "Let compressed WebSocket messages refer to earlier ones.",
            doc: "Small messages that resemble each other become several times smaller. The price is up to 420 KiB of \
                  memory for each connection that has sent and received a compressed message; without it an idle \
                  connection costs nothing for compression.",
            apply: |config, value| store(&mut config.ws_deflate_takeover, value),
            ..Setting::SWITCH
        },
    ],
};
