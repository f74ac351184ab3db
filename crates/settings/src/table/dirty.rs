//! Gunicorn's pool of processes for long jobs ("dirty arbiters").

use crate::kind::Kind;
use crate::setting::{Preset, Section, Setting, Status};

/// What the rows of this section start from.
const ROW: Setting = Setting {
    status: Status::Refused {
        advice: "run long jobs in a task queue, such as Celery, Dramatiq or RQ",
    },
    ..Setting::ROW
};

/// A hook of that pool.
const HOOK: Setting = Setting {
    kind: Kind::Hook,
    meta: "FUNCTION",
    ..ROW
};

pub(super) static SECTION: Section = Section {
    title: "Dirty arbiters",
    rows: &[
        Setting {
            name: "dirty_apps",
            cli: &["--dirty-app"],
            kind: Kind::List,
            default: Preset::List(&[]),
            meta: "CLASS",
            summary: "A class that performs long jobs; repeatable.",
            doc: "`MODULE:CLASS`, possibly followed by `:N` for the number of its workers.",
            examples: &["project.jobs:Model", "project.jobs:Model:2"],
            ..ROW
        },
        Setting {
            name: "dirty_workers",
            cli: &["--dirty-workers"],
            kind: Kind::COUNT,
            default: Preset::Int(0),
            meta: "INT",
            summary: "The number of processes for long jobs; 0 for none.",
            doc: "Each of them loads all classes in `dirty_apps`.",
            examples: &["2"],
            ..ROW
        },
        Setting {
            name: "dirty_timeout",
            cli: &["--dirty-timeout"],
            kind: Kind::WHOLE_SECONDS,
            default: Preset::Int(300),
            meta: "SECONDS",
            summary: "How long a job may take; 0 for ever.",
            doc: "A process with a job that takes longer is killed.",
            examples: &["3600"],
            ..ROW
        },
        Setting {
            name: "dirty_threads",
            cli: &["--dirty-threads"],
            kind: Kind::COUNT,
            default: Preset::Int(1),
            meta: "INT",
            summary: "The number of threads in each process for long jobs.",
            doc: "So many jobs run in one process at the same time.",
            examples: &["4"],
            ..ROW
        },
        Setting {
            name: "dirty_graceful_timeout",
            cli: &["--dirty-graceful-timeout"],
            kind: Kind::WHOLE_SECONDS,
            default: Preset::Int(30),
            meta: "SECONDS",
            summary: "How long a stopping process may take to finish its jobs.",
            doc: "Then it is killed.",
            examples: &["60"],
            ..ROW
        },
        Setting {
            name: "on_dirty_starting",
            summary: "Called when the pool starts.",
            doc: "`def on_dirty_starting(arbiter)`, in the pool's manager.",
            ..HOOK
        },
        Setting {
            name: "dirty_post_fork",
            summary: "Called after a process of the pool was forked.",
            doc: "`def dirty_post_fork(arbiter, worker)`, in the pool's manager.",
            ..HOOK
        },
        Setting {
            name: "dirty_worker_init",
            summary: "Called when a process of the pool has loaded its classes.",
            doc: "`def dirty_worker_init(worker)`, in that process.",
            ..HOOK
        },
        Setting {
            name: "dirty_worker_exit",
            summary: "Called when a process of the pool has ended.",
            doc: "`def dirty_worker_exit(arbiter, worker)`, in the pool's manager.",
            ..HOOK
        },
    ],
};
