//! Whom to believe about the client.

use crate::kind::Kind;
use crate::setting::{Preset, Section, Setting, Status, Variable};
use crate::stored::store;
use crate::value::Value;

pub(super) static SECTION: Section = Section {
    title: "Behind a proxy",
    rows: &[
        Setting {
            name: "forwarded_allow_ips",
            cli: &["--forwarded-allow-ips"],
            env: Some(Variable {
                name: "FORWARDED_ALLOW_IPS",
                read: |text| Value::text(text),
            }),
            kind: Kind::Commas,
            default: Preset::List(&["127.0.0.1", "::1"]),
            meta: "ADDRESSES",
            summary: "The proxies to trust: addresses and networks with commas, or *.",
            doc: "Only from these peers `secure_scheme_headers` and `forwarder_headers` count, and for ASGI \
                  applications `X-Forwarded-For`: the scope's `client` is then the last host in it that is no proxy of \
                  these, with port 0. `REMOTE_ADDR` of a WSGI application stays the proxy's address, as with gunicorn. A peer on a \
                  Unix socket is trusted. `*` trusts everyone, which is right only where nobody but the proxy can \
                  connect.\n\n\
                  The field `Forwarded` (RFC 7239) counts where a request has neither `X-Forwarded-For` nor any of \
                  `secure_scheme_headers`: then the client is that of its `for`, by the same rule, with its port, and \
                  the scheme that of its `proto`. Hidden names and malformed fields say nothing.\n\n\
                  Names of hosts and paths of sockets are not understood here, unlike with uvicorn; neither is a port \
                  in `X-Forwarded-For`.",
            examples: &["127.0.0.1,::1", "10.0.0.0/8", "*"],
            apply: |config, value| store(&mut config.forwarded_allow_ips, value),
            ..Setting::ROW
        },
        Setting {
            name: "proxy_headers",
            cli: &["--proxy-headers"],
            cli_off: &["--no-proxy-headers"],
            default: Preset::Bool(true),
            status: Status::Ours,
            summary: "Believe what trusted proxies say of their clients.",
            doc: "Without it nobody is trusted, whatever `forwarded_allow_ips` says, nor are the peers of a Unix socket: \
                  `secure_scheme_headers`, `forwarder_headers` and `X-Forwarded-For` are for the application to read.",
            apply: |config, value| store(&mut config.proxy_headers, value),
            ..Setting::SWITCH
        },
        Setting {
            name: "secure_scheme_headers",
            kind: Kind::Dict,
            default: Preset::Dict(&[
                ("X-FORWARDED-PROTOCOL", "ssl"),
                ("X-FORWARDED-PROTO", "https"),
                ("X-FORWARDED-SSL", "on"),
            ]),
            meta: "DICT",
            status: Status::Better {
                how: "names may be written in any case; the `proto` of a `Forwarded` field (RFC 7239) counts where \
                      none of these is there",
            },
            summary: "The fields and values by which a proxy says https.",
            doc: "A request from a trusted proxy that carries one of these fields with this very value came over \
                  https, and `wsgi.url_scheme` says so. Fields that contradict each other are answered with \
                  400.",
            examples: &["X-FORWARDED-PROTO=https"],
            apply: |config, value| {
                store(&mut config.secure_scheme_headers, value)?;
                config
                    .secure_scheme_headers
                    .iter_mut()
                    .for_each(|(name, _)| name.make_ascii_uppercase());
                Ok(())
            },
            ..Setting::ROW
        },
        Setting {
            name: "forwarder_headers",
            cli: &["--forwarder-headers"],
            kind: Kind::Commas,
            default: Preset::List(&["SCRIPT_NAME", "PATH_INFO"]),
            meta: "NAMES",
            summary: "The fields with underscores that a trusted proxy may send; * for any.",
            doc: "These pass `header_map` when they come from a trusted proxy. `SCRIPT_NAME` is how a proxy says \
                  below which path the application lives.",
            examples: &["SCRIPT_NAME,PATH_INFO", "REMOTE_USER", "*"],
            apply: |config, value| {
                store(&mut config.forwarder_headers, value)?;
                config
                    .forwarder_headers
                    .iter_mut()
                    .for_each(|name| name.make_ascii_uppercase());
                Ok(())
            },
            ..Setting::ROW
        },
        Setting {
            name: "proxy_protocol",
            cli: &["--proxy-protocol"],
            cli_bare: Some("auto"),
            kind: Kind::Choice(&["off", "auto", "v1", "v2"]),
            default: Preset::Text("off"),
            meta: "MODE",
            status: Status::Better {
                how: "the client's address stays for the whole connection, and through restarts; LOCAL, UNKNOWN and \
                      Unix headers are served with the connection's own address; a malformed header is answered \
                      with 400",
            },
            summary: "Read a PROXY header before the first request: off, v1, v2 or auto.",
            doc: "Load balancers that work below HTTP tell the client's address this way. `REMOTE_ADDR` and \
                  `REMOTE_PORT`, an ASGI scope's `client` and the access log then have that address; a WSGI environ \
                  has `PROXY_PROTOCOL` (`TCP4`, `TCP6`, ...), `PROXY_ADDR` and `PROXY_PORT` besides. The checksum of \
                  version 2 is checked, its other values are skipped.\n\n\
                  A header is optional, as with gunicorn: see `proxy_protocol_required`. Without a value the flag \
                  means `auto`.\n\n\
                  Who is in `forwarded_allow_ips` is believed as before, and the fields of a request come from \
                  whoever the balancer passes on: take balancers that pass on HTTP unread out of that list.",
            examples: &["off", "v2"],
            apply: |config, value| store(&mut config.proxy_protocol, value),
            ..Setting::ROW
        },
        Setting {
            name: "proxy_protocol_required",
            cli: &["--proxy-protocol-required"],
            status: Status::Ours,
            summary: "Refuse connections that do not begin with a PROXY header.",
            doc: "They are answered with 400. Whoever can reach the server past the balancer cannot speak then, and \
                  neither can a client through a balancer that forgot to send its header. Without effect if \
                  `proxy_protocol` is off.",
            apply: |config, value| store(&mut config.proxy_protocol_required, value),
            ..Setting::SWITCH
        },
        Setting {
            name: "proxy_allow_ips",
            cli: &["--proxy-allow-from"],
            kind: Kind::Commas,
            default: Preset::List(&["127.0.0.1", "::1"]),
            meta: "ADDRESSES",
            summary: "The peers that may send a PROXY header.",
            doc: "Addresses and networks separated by commas, or `*`. A header from anybody else is answered with \
                  403. A peer on a Unix socket may send one.",
            examples: &["10.0.0.0/8", "*"],
            apply: |config, value| store(&mut config.proxy_allow_ips, value),
            ..Setting::ROW
        },
        Setting {
            name: "protocol",
            cli: &["--protocol"],
            kind: Kind::Choice(&["http", "uwsgi"]),
            default: Preset::Text("http"),
            meta: "NAME",
            status: Status::Better {
                how: "all variables of a uwsgi packet are in the environ, so that the client's address, `SCRIPT_NAME` \
                      and `REMOTE_USER` are what nginx says; a path is decoded once; faults are answered with 400, \
                      403 and 501",
            },
            summary: "The protocol that clients speak: http or uwsgi.",
            doc: "`uwsgi` is the binary protocol of nginx's `uwsgi_pass`. Variables of a packet are entries of a WSGI \
                  environ, and `HTTPS` says the scheme; of an ASGI scope they make `client`, `scheme`, `root_path` \
                  (`SCRIPT_NAME`) and `path` (`PATH_INFO`). A body has the length of `CONTENT_LENGTH`. The connection \
                  ends with the response. There are no WebSockets.\n\n\
                  `proxy_protocol`, `header_map`, `forwarder_headers` and `secure_scheme_headers` have nothing to do \
                  then.",
            examples: &["http", "uwsgi"],
            apply: |config, value| store(&mut config.protocol, value),
            ..Setting::ROW
        },
        Setting {
            name: "uwsgi_allow_ips",
            cli: &["--uwsgi-allow-from"],
            kind: Kind::Commas,
            default: Preset::List(&["127.0.0.1", "::1"]),
            meta: "ADDRESSES",
            status: Status::Better {
                how: "networks work; with gunicorn only single addresses do",
            },
            summary: "The peers that may speak uwsgi.",
            doc: "Addresses and networks separated by commas, or `*`. Anybody else is answered with 403. A peer on a \
                  Unix socket may speak.",
            examples: &["10.0.0.0/8", "*"],
            apply: |config, value| store(&mut config.uwsgi_allow_ips, value),
            ..Setting::ROW
        },
    ],
};
