//! What to serve, and which file says how.

use crate::kind::Kind;
use crate::setting::{Preset, Section, Setting, Status};
use crate::stored::store;

pub(super) static SECTION: Section = Section {
    title: "Application and configuration file",
    rows: &[
        Setting {
            name: "config",
            cli: &["-c", "--config"],
            default: Preset::Text("./gunicorn.conf.py"),
            meta: "CONFIG",
            status: Status::Better {
                how: "`oxicorn.conf.py`, `oxicorn.toml` and `[tool.oxicorn]` in `pyproject.toml` are found \
                      too, and unknown names in the file are reported",
            },
            summary: "The configuration file.",
            doc: "A file path, `file:PATH`, or `python:MODULE` for an importable module. A file that ends in \
                  `.toml` is TOML: its names are settings, in a `pyproject.toml` those of the table \
                  `[tool.oxicorn]`. Any other is Python; its lower-case names are settings.\n\n\
                  If none is named, the first of `oxicorn.conf.py`, `gunicorn.conf.py`, `oxicorn.toml` and \
                  `pyproject.toml` (if it has the table) in the directory where the server starts is read; \
                  having none is fine, and if there are several, the log says which one counts. A name in the \
                  file that is not a setting is reported with the nearest one that is \
                  ([`strict_config`](#strict_config)). In Python, names that start with `_` or have capitals, \
                  functions, classes and modules are the file's own business. In TOML a function, such as a \
                  hook, is said by its dotted name: `post_fork = \"site_hooks.post_fork\"`.",
            examples: &[
                "oxicorn.conf.py",
                "file:/etc/app/serve.py",
                "python:app.serving",
                "/etc/app/oxicorn.toml",
            ],
            ..Setting::ROW
        },
        Setting {
            name: "strict_config",
            cli: &["--strict-config"],
            status: Status::Ours,
            summary: "Refuse a configuration file with names that are not settings.",
            doc: "Without it, such a name is warned about and ignored. A server that is told so at its start ends \
                  with exit code 1, a restart changes nothing. `check_config` is strict in any case.",
            apply: |config, value| store(&mut config.strict_config, value),
            ..Setting::SWITCH
        },
        Setting {
            name: "wsgi_app",
            meta: "MODULE[:VARIABLE]",
            summary: "The application, if the command line names none.",
            doc: "`MODULE` is a dotted module path. `VARIABLE` is the application in it, `application` \
                  unless given; it may be an attribute path (`site.app`) or a call with literal \
                  arguments (`create_app('prod', debug=False)`).",
            examples: &[
                "project.wsgi",
                "project.wsgi:app",
                "project:create_app('prod')",
            ],
            apply: |config, value| store(&mut config.wsgi_app, value),
            ..Setting::ROW
        },
        Setting {
            name: "factory",
            cli: &["--factory"],
            status: Status::Ours,
            summary: "The name is a function that makes the application.",
            doc: "It is called without arguments when the module is loaded, and what it returns is served. Without a name in \
                  the specification `create_app` and `make_app` are tried. `MODULE:create_app()` says the same without \
                  the flag, and can have arguments.",
            apply: |config, value| store(&mut config.factory, value),
            ..Setting::SWITCH
        },
        Setting {
            name: "paste",
            cli: &["--paste", "--paster"],
            meta: "FILE",
            status: Status::Better {
                how: "it may be set anywhere, not only on the command line",
            },
            summary: "A PasteDeploy file that describes the application.",
            doc: "The file may be followed by `#` and the name of an application in it; without, `main` is \
                  served. It is read by the package `PasteDeploy`, which has to be installed. The application \
                  that the command line names does not count then.\n\n\
                  As with gunicorn, the file's `[server:main]` is for programs that start the server from there \
                  ([embedding](../guide/embedding.md#paste)); here only its application counts, its name for \
                  process titles, and its logging (`logconfig`), if it has a section `[loggers]`.",
            examples: &["production.ini", "development.ini#admin"],
            apply: |config, value| store(&mut config.paste, value),
            ..Setting::ROW
        },
        Setting {
            name: "raw_paste_global_conf",
            cli: &["--paste-global"],
            kind: Kind::List,
            default: Preset::List(&[]),
            meta: "KEY=VALUE",
            summary: "A global value for the PasteDeploy file; repeatable.",
            doc: "Each is `KEY=VALUE` and can be interpolated in the PasteDeploy file. A `=` inside the key is \
                  written `\\=`.",
            examples: &["debug=false"],
            apply: |config, value| store(&mut config.raw_paste_global_conf, value),
            ..Setting::ROW
        },
        Setting {
            name: "gunicorn_shim",
            cli: &["--gunicorn-shim"],
            cli_bare: Some("missing"),
            kind: Kind::Choice(&["off", "missing", "always"]),
            default: Preset::Text("off"),
            meta: "WHEN",
            status: Status::Ours,
            summary: "Let code import gunicorn without it: off, missing or always.",
            doc: "For applications, hooks and libraries that import names such as `gunicorn.app.base`: a package \
                  `gunicorn` that consists of Oxicorn's own classes of these names \
                  ([which there are](../guide/embedding.md#the-package-gunicorn)). With `missing`, which the bare \
                  flag means, it is there unless the real one is installed; with `always` it hides the real one.\n\n\
                  Said in a configuration file in Python, it holds for what is imported after that file.",
            examples: &["missing", "always"],
            apply: |config, value| store(&mut config.gunicorn_shim, value),
            ..Setting::ROW
        },
    ],
};
