//! The process itself: where it runs, as whom, under which name.

use crate::kind::Kind;
use crate::setting::{Preset, Section, Setting, Status};
use crate::spelling::Spelling;
use crate::stored::store;

pub(super) static SECTION: Section = Section {
    title: "Process",
    rows: &[
        Setting {
            name: "chdir",
            cli: &["--chdir"],
            meta: "DIR",
            summary: "The directory to change to before the application is loaded.",
            doc: "It is also the first place to import from. Without it, both are the directory where the \
                  server was started.",
            examples: &["/srv/app"],
            apply: |config, value| store(&mut config.chdir, value),
            ..Setting::ROW
        },
        Setting {
            name: "pythonpath",
            cli: &["--pythonpath"],
            spellings: &[Spelling::same("--app-dir", "app_dir")],
            meta: "DIRS",
            summary: "Directories to import from, separated by commas.",
            doc: "They come before those that Python knows by itself.",
            examples: &["/srv/lib", "/srv/lib,/srv/app"],
            apply: |config, value| store(&mut config.pythonpath, value),
            ..Setting::ROW
        },
        Setting {
            name: "raw_env",
            cli: &["-e", "--env"],
            kind: Kind::List,
            default: Preset::List(&[]),
            meta: "NAME=VALUE",
            summary: "A variable for the application's environment; repeatable.",
            doc: "It is set before the application is loaded.",
            examples: &["DJANGO_SETTINGS_MODULE=site.settings", "EMPTY="],
            apply: |config, value| store(&mut config.raw_env, value),
            ..Setting::ROW
        },
        Setting {
            name: "env_file",
            cli: &["--env-file"],
            meta: "FILE",
            status: Status::Ours,
            summary: "A file of variables for the application's environment.",
            doc: "Lines of the form `NAME=VALUE`, as the package `python-dotenv` reads them, which has to be installed. A \
                  variable that is set already keeps its value, and `raw_env` is stronger. The path counts from the directory \
                  where the server was started. A restart reads the file again. It is for the application: the server's own \
                  settings are not read from it.",
            examples: &[".env"],
            apply: |config, value| store(&mut config.env_file, value),
            ..Setting::ROW
        },
        Setting {
            name: "daemon",
            cli: &["-D", "--daemon"],
            summary: "Detach from the terminal and run in the background.",
            doc: "Service managers such as systemd want a server that stays in the foreground.",
            apply: |config, value| store(&mut config.daemon, value),
            ..Setting::SWITCH
        },
        Setting {
            name: "enable_stdio_inheritance",
            cli: &["-R", "--enable-stdio-inheritance"],
            summary: "Keep standard input, output and error when detached.",
            doc: "Without it they lead nowhere in a server that runs with `daemon`.",
            apply: |config, value| store(&mut config.enable_stdio_inheritance, value),
            ..Setting::SWITCH
        },
        Setting {
            name: "pidfile",
            cli: &["-p", "--pid"],
            meta: "FILE",
            summary: "The file to write the process id to.",
            doc: "It is removed at the end. If it names a process that is alive, the server refuses to start. A \
                  second server (`USR2`) appends `.2` until the first has gone.",
            examples: &["/run/app.pid"],
            apply: |config, value| store(&mut config.pidfile, value),
            ..Setting::ROW
        },
        Setting {
            name: "user",
            cli: &["-u", "--user"],
            kind: Kind::Account,
            meta: "USER",
            summary: "The user, by name or number, that workers run as.",
            doc: "Only a server that is started as root can change it. Unix sockets and log files are given to \
                  that user.",
            examples: &["www-data", "33"],
            apply: |config, value| store(&mut config.user, value),
            ..Setting::ROW
        },
        Setting {
            name: "group",
            cli: &["-g", "--group"],
            kind: Kind::Account,
            meta: "GROUP",
            summary: "The group, by name or number, that workers run as.",
            doc: "Only a server that is started as root can change it.",
            examples: &["www-data", "33"],
            apply: |config, value| store(&mut config.group, value),
            ..Setting::ROW
        },
        Setting {
            name: "initgroups",
            cli: &["--initgroups"],
            summary: "Give workers all groups that their user belongs to.",
            doc: "Without it they have only the one that `group` names.",
            apply: |config, value| store(&mut config.initgroups, value),
            ..Setting::SWITCH
        },
        Setting {
            name: "umask",
            cli: &["-m", "--umask"],
            kind: Kind::Mode,
            default: Preset::Int(0),
            meta: "MODE",
            summary: "The permission bits that Unix sockets are created without.",
            doc: "A text that starts with `0` is octal (`077`, `0077`, `0o077`); any other text is decimal. \
                  With 0 everybody on the machine can connect to a Unix socket.",
            examples: &["0", "007", "0o077"],
            apply: |config, value| store(&mut config.umask, value),
            ..Setting::ROW
        },
        Setting {
            name: "proc_name",
            cli: &["-n", "--name"],
            meta: "NAME",
            summary: "The name that the processes carry in ps and top.",
            doc: "Tells several servers on one machine apart.",
            examples: &["shop"],
            apply: |config, value| store(&mut config.proc_name, value),
            ..Setting::ROW
        },
        Setting {
            name: "default_proc_name",
            default: Preset::Text("oxicorn"),
            meta: "NAME",
            summary: "The name that the processes carry if proc_name is not set.",
            doc: "The application that the command line names takes its place.",
            examples: &["oxicorn"],
            apply: |config, value| store(&mut config.default_proc_name, value),
            ..Setting::ROW
        },
    ],
};
