//! What helps while developing.

use crate::kind::Kind;
use crate::setting::{Preset, Section, Setting, Status};
use crate::spelling::{Said, Spelling, Takes};
use crate::stored::store;
use crate::value::Value;

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
            status: Status::Better {
                how: "`inotify` needs no package, and a worker is replaced once when several files are saved together",
            },
            summary: "How code changes are noticed: auto, inotify or poll.",
            doc: "`inotify` hears of a change from the kernel, at once and without looking. `poll` looks at the times of all \
                  files every [`reload_delay`](#reload_delay). `auto` is `inotify`, and `poll` as well where some of the files \
                  are on a file system that others can change unnoticed (NFS, shared folders of a virtual machine). \
                  Where the kernel's limits for inotify are reached, the log says so, and the files are looked at, whatever was chosen.",
            examples: &["auto", "poll"],
            apply: |config, value| store(&mut config.reload_engine, value),
            ..Setting::ROW
        },
        Setting {
            name: "reload_extra_files",
            cli: &["--reload-extra-file"],
            spellings: &[
                Spelling::form(
                    "--reload-dir",
                    "reload_dirs",
                    Takes::Each("DIR"),
                    "A further directory to watch; repeatable.",
                ),
                Spelling::form(
                    "--reload-include",
                    "reload_includes",
                    Takes::Each("PATTERN"),
                    "What to watch in these directories; repeatable. [*.py]",
                ),
            ],
            reads: |said| Ok(patterns(said)),
            kind: Kind::List,
            default: Preset::List(&[]),
            meta: "FILE",
            summary: "A further file or pattern to watch; repeatable.",
            doc: "Templates, for example: `templates/**/*.html`. Patterns also find files that appear later. The files \
                  of imported modules are watched in any case.\n\n\
                  `--reload-dir DIR` stands for `DIR/**/*.py`, with `--reload-include '*.html'` for `DIR/**/*.html`; \
                  the latter alone looks in the current directory.",
            examples: &["settings.toml", "templates/**/*.html"],
            apply: |config, value| store(&mut config.reload_extra_files, value),
            ..Setting::ROW
        },
        Setting {
            name: "reload_exclude",
            cli: &["--reload-exclude"],
            spellings: &[Spelling::same("", "reload_excludes")],
            kind: Kind::List,
            default: Preset::List(&[]),
            meta: "PATTERN",
            status: Status::Ours,
            summary: "A file, directory or pattern that is not watched; repeatable.",
            doc: "A pattern is compared with the end of a file's path: `*_pb2.py`, `generated/*.py`. A directory leaves out \
                  all that is in it.",
            examples: &["generated", "*_pb2.py"],
            apply: |config, value| store(&mut config.reload_exclude, value),
            ..Setting::ROW
        },
        Setting {
            name: "reload_delay",
            cli: &["--reload-delay"],
            kind: Kind::Seconds,
            default: Preset::Float(1.0),
            meta: "SECONDS",
            status: Status::Ours,
            summary: "How long to wait between two looks at the files under reload.",
            doc: "Under `poll`, and where `auto` has to. The shorter, the sooner a change is seen, and the more processor \
                  time it takes.",
            examples: &["0.25"],
            apply: |config, value| {
                store(&mut config.reload_delay, value)?;
                if config.reload_delay.is_zero() {
                    return Err("expected a number of seconds of at least 0.001".into());
                }
                Ok(())
            },
            ..Setting::ROW
        },
        Setting {
            name: "check_config",
            cli: &["--check-config"],
            status: Status::Better {
                how: "unknown names in the configuration file are errors",
            },
            summary: "Check the configuration and the application, then leave.",
            doc: "Leaves with 0 if the server could start, with 1 if not, also if the configuration file has a name \
                  that is not a setting.",
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
            status: Status::Better {
                how: "threads of the application are traced as well; the arbiter, which is native, is not",
            },
            summary: "Print every line of Python that a worker executes.",
            doc: "To standard output: module, number, and the line itself. Makes a server far too slow for \
                  anything but looking for a fault.",
            apply: |config, value| store(&mut config.spew, value),
            ..Setting::SWITCH
        },
    ],
};

/// Each of uvicorn's patterns, in each of its directories.
fn patterns(said: &Said) -> Value {
    let directories = or(said.texts("reload_dirs"), ".");
    let includes = or(said.texts("reload_includes"), "*.py");
    let mut all = said.texts("reload_extra_files");
    for directory in &directories {
        let directory = directory.trim_end_matches('/');
        let inside = |pattern: &String| format!("{directory}/**/{pattern}");
        all.extend(includes.iter().map(inside));
    }
    Value::texts(all)
}

fn or(found: Vec<String>, default: &str) -> Vec<String> {
    if found.is_empty() {
        vec![default.to_owned()]
    } else {
        found
    }
}
