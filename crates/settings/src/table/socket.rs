//! Where the server listens.

use crate::kind::Kind;
use crate::setting::{Preset, Section, Setting, Status, Variable};
use crate::spelling::{Said, Spelling, Takes};
use crate::stored::store;
use crate::value::Value;

pub(super) static SECTION: Section = Section {
    title: "Server socket",
    rows: &[
        Setting {
            name: "bind",
            cli: &["-b", "--bind"],
            spellings: &[
                Spelling::form(
                    "--host",
                    "host",
                    Takes::One("HOST"),
                    "The host to listen on; with --port. [127.0.0.1]",
                ),
                Spelling::form(
                    "--port",
                    "port",
                    Takes::One("PORT"),
                    "The port to listen on; with --host. [8000]",
                ),
                Spelling::form(
                    "--uds",
                    "uds",
                    Takes::One("FILE"),
                    "The Unix socket to listen on.",
                ),
                Spelling::form(
                    "--fd",
                    "fd",
                    Takes::One("INT"),
                    "The descriptor of a listening socket that was inherited.",
                ),
            ],
            reads: one_address,
            env: Some(Variable {
                name: "PORT",
                read: every_interface,
            }),
            kind: Kind::List,
            default: Preset::List(&["127.0.0.1:8000"]),
            meta: "ADDRESS",
            status: Status::Better {
                how: "a bare number is a port, and a malformed address says what is wrong with it",
            },
            summary: "The address to listen on; repeatable.",
            doc: "`HOST:PORT`, `HOST`, `:PORT`, `PORT`, `[IPV6]:PORT`, `unix:PATH` or `fd://N` (a listening \
                  socket that was inherited). `tcp://` and `unix://` are understood too. Without a \
                  host every IPv4 interface is meant, without a port 8000. Port 0 lets the system \
                  choose; the log says what it chose.\n\n\
                  If only the variable `PORT` is set, the address is `0.0.0.0:$PORT`.\n\n\
                  `--host` and `--port` together say one address, of which the one that is not given is \
                  `127.0.0.1` or `8000`; `--uds` and `--fd` say one too. They are for one address: several are \
                  said with `--bind`.",
            examples: &[
                "127.0.0.1:8000",
                "[::1]:8000",
                "unix:/run/app.sock",
                "fd://3",
                "8080",
            ],
            apply: |config, value| store(&mut config.bind, value),
            ..Setting::ROW
        },
        Setting {
            name: "backlog",
            cli: &["--backlog"],
            kind: Kind::Int {
                min: 1,
                max: i32::MAX as i64,
            },
            default: Preset::Int(2048),
            meta: "INT",
            summary: "How many connections may wait to be accepted.",
            doc: "The kernel may allow fewer: on Linux never more than `net.core.somaxconn`. A connection \
                  beyond that waits at the client, which tries again after a second.",
            examples: &["64", "4096"],
            apply: |config, value| store(&mut config.backlog, value),
            ..Setting::ROW
        },
        Setting {
            name: "reuse_port",
            cli: &["--reuse-port"],
            status: Status::Better {
                how: "the workers still share one socket for each address, so no connection is lost when a \
                      worker leaves, and none waits for a busy worker while another one is idle",
            },
            summary: "Let other servers listen on the same addresses.",
            doc: "Sets `SO_REUSEPORT` on the listening sockets: another server of the same user that does so too can \
                  listen on the same address and port, and the kernel spreads the connections over both.",
            apply: |config, value| store(&mut config.reuse_port, value),
            ..Setting::SWITCH
        },
    ],
};

/// The one address that uvicorn's flags say.
fn one_address(said: &Said) -> Result<Value, String> {
    let tcp = said.get("host").or(said.get("port")).map(|_| tcp(said));
    let uds = said.text("uds").map(|path| format!("unix:{path}"));
    let fd = said.text("fd").map(|number| format!("fd://{number}"));
    let mut ways = [tcp, uds, fd].into_iter().flatten();
    match (said.get("bind"), ways.next(), ways.next()) {
        (None, Some(address), None) => Ok(Value::texts([address])),
        _ => Err(
            "host with port, uds and fd each say the one address to listen on; \
             say several addresses with bind"
                .into(),
        ),
    }
}

fn tcp(said: &Said) -> String {
    let host = said.text("host").unwrap_or_else(|| "127.0.0.1".into());
    let port = said.text("port").unwrap_or_else(|| "8000".into());
    if host.contains(':') && !host.starts_with('[') {
        format!("[{host}]:{port}")
    } else {
        format!("{host}:{port}")
    }
}

/// `PORT` moves the default address to a port of every interface.
fn every_interface(port: &str) -> Value {
    Value::texts([format!("0.0.0.0:{port}")])
}
