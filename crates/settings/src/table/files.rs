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
                how: "`oxicorn.conf.py` is found too, and unknown names in the file are reported",
            },
            summary: "The configuration file.",
            doc: "A file path, `file:PATH`, or `python:MODULE` for an importable module. The file is \
                  Python; its lower-case names are settings.\n\n\
                  If none is named, `oxicorn.conf.py` and then `gunicorn.conf.py` are looked for in \
                  the directory where the server starts; having neither is fine. A name in the file \
                  that is not a setting is reported with the nearest one that is. Names that start \
                  with `_`, functions, classes and modules are the file's own business.",
            examples: &[
                "oxicorn.conf.py",
                "file:/etc/app/serve.py",
                "python:app.serving",
            ],
            ..Setting::ROW
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
            status: Status::Later {
                meanwhile: "build the application in a module with \
                            paste.deploy.loadapp('config:/path/to/file.ini') and serve that module",
            },
            summary: "A PasteDeploy file that describes the application.",
            doc: "The file may be followed by `#` and the name of a section.",
            examples: &["production.ini", "development.ini#admin"],
            ..Setting::ROW
        },
        Setting {
            name: "raw_paste_global_conf",
            cli: &["--paste-global"],
            kind: Kind::List,
            default: Preset::List(&[]),
            meta: "KEY=VALUE",
            status: Status::Later {
                meanwhile: "pass global_conf to paste.deploy.loadapp in the module that you serve",
            },
            summary: "A global value for the PasteDeploy file; repeatable.",
            doc: "Each is `KEY=VALUE` and can be interpolated in the PasteDeploy file.",
            examples: &["debug=false"],
            ..Setting::ROW
        },
    ],
};
