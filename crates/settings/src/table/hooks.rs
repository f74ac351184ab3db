//! Functions of the configuration file that gunicorn calls at certain moments.

use crate::kind::Kind;
use crate::setting::{Section, Setting, Status};

/// A hook of the process manager.
const SERVER: Setting = Setting {
    kind: Kind::Hook,
    meta: "FUNCTION",
    status: Status::Later {
        meanwhile: "remove the function, and do its work before \
                    the server starts or after it ends",
    },
    ..Setting::ROW
};

/// A hook of a worker.
const WORKER: Setting = Setting {
    kind: Kind::Hook,
    meta: "FUNCTION",
    status: Status::Later {
        meanwhile: "remove the function, and do its work in the \
                    application's module, which each worker imports (with atexit for the end)",
    },
    ..Setting::ROW
};

/// A hook around each request.
const REQUEST: Setting = Setting {
    kind: Kind::Hook,
    meta: "FUNCTION",
    status: Status::Later {
        meanwhile: "remove the function, and do its work in a \
                    WSGI middleware around the application",
    },
    ..Setting::ROW
};

pub(super) static SECTION: Section = Section {
    title: "Server hooks",
    rows: &[
        Setting {
            name: "on_starting",
            summary: "Called before the server does anything.",
            doc: "`def on_starting(server)`, in the process manager.",
            ..SERVER
        },
        Setting {
            name: "on_reload",
            summary: "Called when the server reloads on HUP.",
            doc: "`def on_reload(server)`, in the process manager.",
            ..SERVER
        },
        Setting {
            name: "when_ready",
            summary: "Called when the server listens.",
            doc: "`def when_ready(server)`, in the process manager.",
            ..SERVER
        },
        Setting {
            name: "pre_fork",
            summary: "Called before a worker is forked.",
            doc: "`def pre_fork(server, worker)`, in the process manager.",
            ..SERVER
        },
        Setting {
            name: "post_fork",
            summary: "Called after a worker was forked.",
            doc: "`def post_fork(server, worker)`, in the worker, before the application is loaded.",
            ..WORKER
        },
        Setting {
            name: "post_worker_init",
            summary: "Called when a worker has loaded the application.",
            doc: "`def post_worker_init(worker)`, in the worker.",
            ..WORKER
        },
        Setting {
            name: "worker_int",
            summary: "Called when a worker leaves on INT or QUIT.",
            doc: "`def worker_int(worker)`, in the worker.",
            ..WORKER
        },
        Setting {
            name: "worker_abort",
            summary: "Called when a worker is aborted for being stuck.",
            doc: "`def worker_abort(worker)`, in the worker.",
            ..WORKER
        },
        Setting {
            name: "pre_exec",
            summary: "Called before a new server takes this one's place.",
            doc: "`def pre_exec(server)`, in the process that becomes the new server.",
            ..SERVER
        },
        Setting {
            name: "pre_request",
            summary: "Called before a worker handles a request.",
            doc: "`def pre_request(worker, req)`, in the worker.",
            ..REQUEST
        },
        Setting {
            name: "post_request",
            summary: "Called after a worker handled a request.",
            doc: "`def post_request(worker, req, environ, resp)`, in the worker; the last one or two may be left \
                  out.",
            ..REQUEST
        },
        Setting {
            name: "child_exit",
            summary: "Called when a worker has ended.",
            doc: "`def child_exit(server, worker)`, in the process manager.",
            ..SERVER
        },
        Setting {
            name: "worker_exit",
            summary: "Called when a worker is about to end.",
            doc: "`def worker_exit(server, worker)`, in the worker.",
            ..WORKER
        },
        Setting {
            name: "nworkers_changed",
            summary: "Called when the number of workers is changed.",
            doc: "`def nworkers_changed(server, new_value, old_value)`, in the process manager.",
            ..SERVER
        },
        Setting {
            name: "on_exit",
            summary: "Called when the server ends.",
            doc: "`def on_exit(server)`, in the process manager.",
            ..SERVER
        },
    ],
};
