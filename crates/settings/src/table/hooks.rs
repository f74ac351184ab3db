//! Functions of the configuration file that gunicorn calls at certain moments, and so do we. The functions themselves never
//! come here: they stay with Python.

use crate::kind::Kind;
use crate::setting::{Section, Setting, Status};

/// What the rows of this section start from.
const HOOK: Setting = Setting {
    kind: Kind::Hook,
    meta: "FUNCTION",
    ..Setting::ROW
};

pub(super) static SECTION: Section = Section {
    title: "Server hooks",
    rows: &[
        Setting {
            name: "on_starting",
            summary: "Called before the server does anything.",
            doc: "`def on_starting(server)`, in the process manager: the pidfile is written, and nothing else was done. If it raises, the server does not start.",
            examples: &["project.hooks.on_starting"],
            ..HOOK
        },
        Setting {
            name: "on_reload",
            summary: "Called when the server reloads on HUP.",
            doc: "`def on_reload(server)`, in the process manager, when the configuration was read again and before new workers are forked.",
            examples: &["project.hooks.on_reload"],
            status: Status::Better {
                how: "if it raises, the restart is refused and the workers serve on; gunicorn ends",
            },
            ..HOOK
        },
        Setting {
            name: "when_ready",
            summary: "Called when the server listens.",
            doc: "`def when_ready(server)`, in the process manager: the sockets listen, and there is no worker yet. Once in the life of the server.",
            examples: &["project.hooks.when_ready"],
            ..HOOK
        },
        Setting {
            name: "pre_fork",
            summary: "Called before a worker is forked.",
            doc: "`def pre_fork(server, worker)`, in the process manager; with `preload_app` in the stem, which has loaded the application.",
            examples: &["project.hooks.pre_fork"],
            status: Status::Better {
                how: "if it raises during a restart, the old workers serve on; with preload_app it is called in the process that has loaded the application",
            },
            ..HOOK
        },
        Setting {
            name: "post_fork",
            summary: "Called after a worker was forked.",
            doc: "`def post_fork(server, worker)`, in the worker, before its privileges are given up and the application is loaded; with `preload_app` both are done. If it raises, the worker has failed to boot.",
            examples: &["project.hooks.post_fork"],
            status: Status::Better {
                how: "if it raises during a restart, the old workers serve on",
            },
            ..HOOK
        },
        Setting {
            name: "post_worker_init",
            summary: "Called when a worker has loaded the application.",
            doc: "`def post_worker_init(worker)`, in the worker, before it serves; before the start-up of an asynchronous application.",
            examples: &["project.hooks.post_worker_init"],
            status: Status::Better {
                how: "if it raises during a restart, the old workers serve on",
            },
            ..HOOK
        },
        Setting {
            name: "worker_int",
            summary: "Called when a worker leaves on INT or QUIT.",
            doc: "`def worker_int(worker)`, in the worker, also when `reload` ends it.",
            examples: &["project.hooks.worker_int"],
            status: Status::Better {
                how: "also called while the application does not come back",
            },
            ..HOOK
        },
        Setting {
            name: "worker_abort",
            summary: "Called when a worker is aborted for being stuck.",
            doc: "`def worker_abort(worker)`, in the worker, which has 2 seconds for it; not if C code keeps the interpreter.",
            examples: &["project.hooks.worker_abort"],
            status: Status::Better {
                how: "the stacks of all threads are in the log before it is called, also where it cannot be",
            },
            ..HOOK
        },
        Setting {
            name: "pre_exec",
            summary: "Called before a new server takes this one's place.",
            doc: "`def pre_exec(server)`, after USR2, in the process that becomes the new server.",
            examples: &["project.hooks.pre_exec"],
            status: Status::Better {
                how: "if it raises, there is no new server and the old one serves on",
            },
            ..HOOK
        },
        Setting {
            name: "pre_request",
            summary: "Called before a worker handles a request.",
            doc: "`def pre_request(worker, req)`, in the worker. What it changes in `req.headers`, `req.path` and others, the application sees. If it raises, the answer is 500.",
            examples: &["project.hooks.pre_request"],
            ..HOOK
        },
        Setting {
            name: "post_request",
            summary: "Called after a worker handled a request.",
            doc: "`def post_request(worker, req, environ, resp)`, in the worker, when the response is sent as far as it can be; \
                  the last one or two may be left out. What it raises is only logged.",
            examples: &["project.hooks.post_request"],
            status: Status::Better {
                how: "asynchronous applications have environ and resp always",
            },
            ..HOOK
        },
        Setting {
            name: "child_exit",
            summary: "Called when a worker has ended.",
            doc: "`def child_exit(server, worker)`, in the process manager, which does nothing else meanwhile.",
            examples: &["project.hooks.child_exit"],
            status: Status::Better {
                how: "also called for workers that could not boot",
            },
            ..HOOK
        },
        Setting {
            name: "worker_exit",
            summary: "Called when a worker is about to end.",
            doc: "`def worker_exit(server, worker)`, in the worker, however it ends, but by a signal that kills. What it raises is only logged.",
            examples: &["project.hooks.worker_exit"],
            ..HOOK
        },
        Setting {
            name: "nworkers_changed",
            summary: "Called when the number of workers is changed.",
            doc: "`def nworkers_changed(server, new_value, old_value)`, in the process manager: at the start (`old_value` is `None`), at every restart, and whenever the number changes.",
            examples: &["project.hooks.nworkers_changed"],
            ..HOOK
        },
        Setting {
            name: "on_exit",
            summary: "Called when the server ends.",
            doc: "`def on_exit(server)`, in the process manager, when the workers are gone and the pidfile is removed.",
            examples: &["project.hooks.on_exit"],
            ..HOOK
        },
    ],
};
