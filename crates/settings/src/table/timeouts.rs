//! How long anything may take.

use crate::kind::Kind;
use crate::setting::{Preset, Section, Setting, Status};
use crate::spelling::{Spelling, Takes};
use crate::stored::store;

pub(super) static SECTION: Section = Section {
    title: "Timeouts",
    rows: &[
        Setting {
            name: "timeout",
            cli: &["-t", "--timeout"],
            spellings: &[Spelling::refused(
                "--timeout-worker-healthcheck",
                "timeout_worker_healthcheck",
                Takes::One("SECONDS"),
                "remove it; a worker whose event loop hangs is found by timeout",
            )],
            kind: Kind::WHOLE_SECONDS,
            default: Preset::Int(30),
            meta: "SECONDS",
            status: Status::Better {
                how: "finds what is stuck with every worker class, and \
                      the log shows the request and the Python stacks before the worker is killed. \
                      Slow clients do not count: they have timeouts of their own",
            },
            summary: "How long a request may occupy the application; 0 for ever.",
            doc: "A worker with a request that has been in the application for so long without any progress is taken \
                  to be stuck. Its stacks are logged, then it is killed and replaced. Under `asgi` a request whose response \
                  has not begun is cancelled instead, and answered 504; a response that has begun may take as long as \
                  it likes; and a loop that does not run for so long is a worker that is stuck. Under `gevent` and `tornado` a \
                  request may take as long as it likes, and only that last holds.",
            examples: &["0", "30", "120"],
            apply: |config, value| store(&mut config.timeout, value),
            ..Setting::ROW
        },
        Setting {
            name: "graceful_timeout",
            cli: &["--graceful-timeout"],
            spellings: &[Spelling::same(
                "--timeout-graceful-shutdown",
                "timeout_graceful_shutdown",
            )],
            kind: Kind::WHOLE_SECONDS,
            default: Preset::Int(30),
            meta: "SECONDS",
            summary: "How long a stopping worker may take to finish its requests.",
            doc: "When this is over, workers that still run are killed.",
            examples: &["5", "30"],
            apply: |config, value| store(&mut config.graceful_timeout, value),
            ..Setting::ROW
        },
        Setting {
            name: "orphan_timeout",
            cli: &["--orphan-timeout"],
            kind: Kind::Seconds,
            default: Preset::Float(30.0),
            meta: "SECONDS",
            status: Status::Ours,
            summary: "How long workers serve on when the arbiter was killed; 0 not at all.",
            doc: "A server that is started meanwhile, by the same user and with the same first address, takes their \
                  listening sockets and their connections over, so that nobody notices. While its workers boot the time \
                  stands still. If none comes, the workers finish their requests and end.",
            examples: &["0", "30"],
            apply: |config, value| store(&mut config.orphan_timeout, value),
            ..Setting::ROW
        },
        Setting {
            name: "shutdown_delay",
            cli: &["--shutdown-delay"],
            kind: Kind::Seconds,
            default: Preset::Float(0.0),
            meta: "SECONDS",
            status: Status::Ours,
            summary: "How long the server goes on serving after TERM before it stops; 0 not at all.",
            doc: "Load balancers take a while to notice that a server is about to leave. Meanwhile it accepts and serves \
                  as before; a second TERM, INT or QUIT ends the delay. It comes before `graceful_timeout`.",
            examples: &["0", "10"],
            apply: |config, value| store(&mut config.shutdown_delay, value),
            ..Setting::ROW
        },
        Setting {
            name: "keepalive",
            cli: &["--keep-alive"],
            spellings: &[Spelling::same("--timeout-keep-alive", "timeout_keep_alive")],
            kind: Kind::WHOLE_SECONDS,
            default: Preset::Int(2),
            meta: "SECONDS",
            status: Status::Better {
                how: "`sync` workers keep connections alive too",
            },
            summary: "How long an idle connection is kept for the next request.",
            doc: "Behind a load balancer that reuses connections choose more than its idle timeout, often 60 \
                  seconds: otherwise it may send a request on a connection that is just being closed. \
                  With 0 every connection ends after one response.",
            examples: &["0", "2", "75"],
            apply: |config, value| store(&mut config.keepalive, value),
            ..Setting::ROW
        },
        Setting {
            name: "tls_handshake_timeout",
            cli: &["--tls-handshake-timeout"],
            kind: Kind::Seconds,
            default: Preset::Float(10.0),
            meta: "SECONDS",
            status: Status::Ours,
            summary: "How long a client may take for the TLS handshake; 0 for ever.",
            doc: "Only with `certfile`. A client that takes longer is closed, and the log says so. `head_timeout` counts from \
                  the end of the handshake.",
            examples: &["5", "30"],
            apply: |config, value| store(&mut config.tls_handshake_timeout, value),
            ..Setting::ROW
        },
        Setting {
            name: "head_timeout",
            cli: &["--head-timeout"],
            kind: Kind::Seconds,
            default: Preset::Float(10.0),
            meta: "SECONDS",
            status: Status::Ours,
            summary: "How long a request head may take to arrive; 0 for ever.",
            doc: "Counts from the connection's acceptance, or from the first byte of a further request on \
                  it. A head that is late is answered with 408, a connection that sent nothing is closed.",
            examples: &["10", "2.5"],
            apply: |config, value| store(&mut config.head_timeout, value),
            ..Setting::ROW
        },
        Setting {
            name: "body_timeout",
            cli: &["--body-timeout"],
            kind: Kind::Seconds,
            default: Preset::Float(30.0),
            meta: "SECONDS",
            status: Status::Ours,
            summary: "How long a request body may pause; 0 for ever.",
            doc: "Counts from the last byte that arrived. A body that pauses for longer is answered with 408.",
            examples: &["30", "5"],
            apply: |config, value| store(&mut config.body_timeout, value),
            ..Setting::ROW
        },
        Setting {
            name: "body_min_rate",
            cli: &["--body-min-rate"],
            kind: Kind::Size,
            default: Preset::Int(240),
            meta: "BYTES",
            status: Status::Ours,
            summary: "The bytes per second that a request body must keep up; 0 for none.",
            doc: "Taken over the whole body so far, once `body_timeout` has passed. Stops clients that send a byte \
                  now and then to keep below `body_timeout`; they are answered with 408.",
            examples: &["240", "0", "1K"],
            apply: |config, value| store(&mut config.body_min_rate, value),
            ..Setting::ROW
        },
        Setting {
            name: "write_timeout",
            cli: &["--write-timeout"],
            kind: Kind::Seconds,
            default: Preset::Float(30.0),
            meta: "SECONDS",
            status: Status::Ours,
            summary: "How long a response may go without any progress; 0 for ever.",
            doc: "Counts from the last byte that the client's side took. A client that stops reading for longer \
                  loses its connection; one that reads slowly does not.",
            examples: &["30", "120"],
            apply: |config, value| store(&mut config.write_timeout, value),
            ..Setting::ROW
        },
        Setting {
            name: "linger_timeout",
            cli: &["--linger-timeout"],
            kind: Kind::Seconds,
            default: Preset::Float(2.0),
            meta: "SECONDS",
            status: Status::Ours,
            summary: "How long a closing connection is still read.",
            doc: "A client that is still sending when its connection is closed would lose the response. So \
                  the server first closes its own direction and reads on for so long (RFC 9112 §9.6). \
                  No thread waits for it.",
            examples: &["2", "0"],
            apply: |config, value| store(&mut config.linger_timeout, value),
            ..Setting::ROW
        },
        Setting {
            name: "boot_timeout",
            cli: &["--boot-timeout"],
            kind: Kind::Seconds,
            default: Preset::Float(60.0),
            meta: "SECONDS",
            status: Status::Ours,
            summary: "How long a worker may take to become ready; 0 for ever.",
            doc: "Counts from the fork until the application is loaded, and has answered `ready_check`. A worker that is late is killed, with \
                  its stacks in the log.",
            examples: &["60", "300"],
            apply: |config, value| store(&mut config.boot_timeout, value),
            ..Setting::ROW
        },
        Setting {
            name: "ready_check",
            cli: &["--ready-check"],
            meta: "PATH",
            status: Status::Ours,
            summary: "A request that a new worker must answer before it is ready.",
            doc: "A path such as `/healthz`, or a URL such as `http://example.org/healthz`, whose host becomes the `Host` \
                  field (else `localhost`) and with `https://` the scheme. The worker asks its own application, \
                  and is ready when the answer is 2xx or 3xx. Another answer is asked for again each second, until \
                  `boot_timeout` is about to end; then the worker gives up, and a restart is rolled back. The \
                  request comes from `oxicorn-ready-check` (`User-Agent`), is in the access log, and does not count \
                  for `max_requests`. Without effect under `reload`.",
            examples: &["/healthz", "https://example.org/healthz"],
            apply: |config, value| store(&mut config.ready_check, value),
            ..Setting::ROW
        },
        Setting {
            name: "observe_timeout",
            cli: &["--observe-timeout"],
            kind: Kind::Seconds,
            default: Preset::Float(10.0),
            meta: "SECONDS",
            status: Status::Ours,
            summary: "How long new workers are watched after a restart; 0 not at all.",
            doc: "Meanwhile the old workers stand by without connections. If a new worker dies before this is \
                  over, the restart is rolled back and the old workers serve again.",
            examples: &["10", "60"],
            apply: |config, value| store(&mut config.observe_timeout, value),
            ..Setting::ROW
        },
    ],
};
