//! How many workers there are, and how each runs the application.

use crate::kind::Kind;
use crate::setting::{Preset, Section, Setting, Status, Variable};
use crate::spelling::{Spelling, Takes};
use crate::stored::store;
use crate::value::Value;

pub(super) static SECTION: Section = Section {
    title: "Worker processes",
    rows: &[
        Setting {
            name: "workers",
            cli: &["-w", "--workers"],
            env: Some(Variable {
                name: "WEB_CONCURRENCY",
                read: |text| Value::text(text),
            }),
            kind: Kind::CREW,
            default: Preset::Int(1),
            meta: "INT",
            status: Status::Better {
                how: "0 is refused, since a server without workers serves nothing, and so is a number above 4096",
            },
            summary: "The number of worker processes.",
            doc: "Each worker is a process with its own interpreter and its own copy of the \
                  application. One or two for each core is a good start; measure before using more, \
                  and use threads for an application that mostly waits.",
            examples: &["1", "4"],
            apply: |config, value| store(&mut config.workers, value),
            ..Setting::ROW
        },
        Setting {
            name: "worker_class",
            cli: &["-k", "--worker-class"],
            kind: Kind::Class,
            default: Preset::Text("sync"),
            meta: "NAME",
            status: Status::Better {
                how: "slow clients never occupy a `sync` or `gthread` worker, and `sync` keeps \
                      connections alive; `gevent` patches first of all, reads and writes natively, and a hub that \
                      hangs is seen; `tornado` finishes its requests before it leaves; uvicorn's classes stand for `asgi`. Classes of one's own cannot run here",
            },
            summary: "How a worker runs the application: sync, gthread, gevent, tornado or asgi.",
            doc: "`sync` runs one request at a time, `gthread` as many as there are `threads`; `sync` with \
                  several threads is `gthread`. In both, the network is served by the engine: requests \
                  reach the application complete, and responses leave without it waiting. `gevent` runs each request in \
                  a greenlet of its own and needs the package gevent; the standard library is patched before the \
                  application is imported. `tornado` runs a `tornado.web.Application` on its loop, and a WSGI \
                  application as `sync` or `gthread` would. `asgi` runs an asynchronous \
                  application on its event loop; it need not be named, since an ASGI application is known by \
                  its looks ([`interface`](#interface)).",
            examples: &["sync", "gthread", "gevent", "tornado", "asgi"],
            apply: |config, value| store(&mut config.worker_class, value),
            ..Setting::ROW
        },
        Setting {
            name: "interface",
            cli: &["--interface"],
            kind: Kind::Choice(&["auto", "wsgi", "asgi", "asgi2", "asgi3"]),
            default: Preset::Text("auto"),
            meta: "NAME",
            status: Status::Ours,
            summary: "What the application is called by: auto, wsgi, asgi or asgi2.",
            doc: "`auto` takes an application that is a coroutine function, or an object whose `__call__` is one, \
                  for an ASGI application, any other for a WSGI application. The worker class follows; `asgi` \
                  as worker class says that it is an ASGI application. `asgi2` is for applications that are called \
                  twice, with the scope and then with receive and send; `asgi3` is `asgi`.",
            examples: &["asgi", "wsgi"],
            apply: |config, value| store(&mut config.interface, value),
            ..Setting::ROW
        },
        Setting {
            name: "threads",
            cli: &["--threads"],
            kind: Kind::CREW,
            default: Preset::Int(1),
            meta: "INT",
            status: Status::Better {
                how: "a number above 4096 is refused",
            },
            summary: "The number of application threads in each worker.",
            doc: "So many requests run in one worker at the same time. Threads share the interpreter: they \
                  help an application that waits for databases and other services, and need one \
                  that is safe to call from several threads.",
            examples: &["1", "16"],
            apply: |config, value| store(&mut config.threads, value),
            ..Setting::ROW
        },
        Setting {
            name: "worker_connections",
            cli: &["--worker-connections"],
            spellings: &[Spelling::refused(
                "--limit-concurrency",
                "limit_concurrency",
                Takes::One("INT"),
                "use worker_connections; connections above it wait to be accepted, where uvicorn answers 503",
            )],
            kind: Kind::POSITIVE,
            default: Preset::Int(10_000),
            meta: "INT",
            status: Status::Better {
                how: "holds for every worker class; at the limit idle connections are closed first. \
                      The default is 10000, since an idle connection costs next to nothing",
            },
            summary: "The most connections that a worker holds.",
            doc: "Counts every connection: idle, sending, in the application. A worker that holds so many \
                  closes the one that has been idle the longest to accept another; if none is idle \
                  it stops accepting until one is done, and new ones wait in the backlog.",
            examples: &["1000", "10000"],
            apply: |config, value| store(&mut config.worker_connections, value),
            ..Setting::ROW
        },
        Setting {
            name: "max_requests",
            cli: &["--max-requests"],
            spellings: &[Spelling::same("--limit-max-requests", "limit_max_requests")],
            kind: Kind::COUNT,
            default: Preset::Int(0),
            meta: "INT",
            summary: "Replace a worker after so many requests; 0 for never.",
            doc: "Bounds what a leak in the application can cost. The worker finishes what it has \
                  before it leaves.",
            examples: &["0", "10000"],
            apply: |config, value| store(&mut config.max_requests, value),
            ..Setting::ROW
        },
        Setting {
            name: "max_requests_jitter",
            cli: &["--max-requests-jitter"],
            spellings: &[Spelling::same(
                "--limit-max-requests-jitter",
                "limit_max_requests_jitter",
            )],
            kind: Kind::COUNT,
            default: Preset::Int(0),
            meta: "INT",
            summary: "The most that chance adds to max_requests for each worker.",
            doc: "Keeps workers that started together from being replaced together.",
            examples: &["0", "500"],
            apply: |config, value| store(&mut config.max_requests_jitter, value),
            ..Setting::ROW
        },
        Setting {
            name: "max_worker_memory",
            cli: &["--max-worker-memory"],
            kind: Kind::Size,
            default: Preset::Int(0),
            meta: "BYTES",
            status: Status::Ours,
            summary: "Replace a worker that occupies more memory than this; 0 for never.",
            doc: "Looked at when a request is done, at most once a second. As with `max_requests` the next worker is ready \
                  before the old one leaves, one worker is replaced at a time, and no connection is closed. What \
                  counts is the worker's resident memory (RSS), memory that it shares with others included. A worker \
                  that is too large within its first minute is replaced too, the next ones in its place after longer \
                  and longer waits, up to ten minutes: then the limit is less than the application needs.",
            examples: &["512M", "2G", "0"],
            apply: |config, value| store(&mut config.max_worker_memory, value),
            ..Setting::ROW
        },
        Setting {
            name: "preload_app",
            cli: &["--preload"],
            status: Status::Better {
                how: "`HUP` loads new code, and nothing is imported in the arbiter",
            },
            summary: "Load the application once, before the workers are forked.",
            doc: "Saves memory and start-up time, since workers share what was loaded. A restart loads new \
                  code all the same: each generation is forked from a process of its own. The application \
                  must not open connections or start threads while it is imported: both do not \
                  survive the fork. Ignored under `reload`.",
            apply: |config, value| store(&mut config.preload_app, value),
            ..Setting::SWITCH
        },
        Setting {
            name: "restart_mode",
            cli: &["--restart-mode"],
            kind: Kind::Choice(&["hot", "phased", "regular"]),
            default: Preset::Text("hot"),
            meta: "MODE",
            status: Status::Ours,
            summary: "How HUP restarts the workers: hot, phased or regular.",
            doc: "`hot` boots all new workers beside the old ones, and needs memory for both. `phased` replaces \
                  one worker after the other, so two versions serve for a while. `regular` boots one new \
                  worker as a test and stops the old ones before the new ones serve. In each, code that \
                  does not load changes nothing: the old workers go on serving.",
            examples: &["hot", "phased"],
            apply: |config, value| store(&mut config.restart_mode, value),
            ..Setting::ROW
        },
        Setting {
            name: "worker_tmp_dir",
            cli: &["--worker-tmp-dir"],
            meta: "DIR",
            status: Status::WithoutEffect {
                why: "workers report over a socket, and need no heartbeat files",
            },
            summary: "Where gunicorn keeps its heartbeat files; not needed.",
            doc: "There are no heartbeat files, so a slow disk cannot make a healthy worker look dead.",
            examples: &["/dev/shm"],
            ..Setting::ROW
        },
    ],
};
