//! What helps while developing.

use crate::kind::Kind;
use crate::setting::{Preset, Section, Setting, Status};
use crate::stored::store;

pub(super) static SECTION: Section = Section {
    title: "Development and debugging",
    rows: &[
        Setting {
            name: "reload",
            cli: &["--reload"],
            summary: "Restart the workers when code changes.",
            doc: "For development. If the changed application does not load, its traceback is shown until the \
                  next change.",
            apply: |config, value| store(&mut config.reload, value),
            ..Setting::SWITCH
        },
        Setting {
            name: "reload_engine",
            cli: &["--reload-engine"],
            kind: Kind::Choice(&["auto", "poll", "inotify"]),
            default: Preset::Text("auto"),
            meta: "NAME",
            status: Status::WithoutEffect {
                why: "changes are found by looking at the files once a second, which needs nothing installed",
            },
            summary: "How code changes are noticed: auto, poll or inotify.",
            doc: "Every choice looks at the files' times once a second, which works everywhere.",
            examples: &["auto", "poll"],
            ..Setting::ROW
        },
        Setting {
            name: "reload_extra_files",
            cli: &["--reload-extra-file"],
            kind: Kind::List,
            default: Preset::List(&[]),
            meta: "FILE",
            summary: "A further file or pattern to watch; repeatable.",
            doc: "Templates, for example: `templates/**/*.html`. Patterns also find files that appear later.",
            examples: &["settings.toml", "templates/**/*.html"],
            apply: |config, value| store(&mut config.reload_extra_files, value),
            ..Setting::ROW
        },
        Setting {
            name: "check_config",
            cli: &["--check-config"],
            status: Status::Better {
                how: "unknown names in the configuration file are reported",
            },
            summary: "Check the configuration and the application, then leave.",
            doc: "Leaves with 0 if the server could start, with 1 if not.",
            apply: |config, value| store(&mut config.check_config, value),
            ..Setting::SWITCH
        },
        Setting {
            name: "print_config",
            cli: &["--print-config"],
            status: Status::Better {
                how: "each value comes with the place that it was set in",
            },
            summary: "Print the configuration, then leave.",
            doc: "Implies `check_config`.",
            apply: |config, value| store(&mut config.print_config, value),
            ..Setting::SWITCH
        },
        Setting {
            name: "spew",
            cli: &["--spew"],
            status: Status::Refused {
                advice: "run the code in question under `python -m trace --trace` instead",
            },
            summary: "Print every line of Python that is executed.",
            doc: "Makes a server too slow to be of use.",
            ..Setting::SWITCH
        },
    ],
};
