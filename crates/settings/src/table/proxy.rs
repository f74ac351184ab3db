//! Whom to believe about the client.

use crate::kind::Kind;
use crate::setting::{Preset, Section, Setting, Status, Variable};
use crate::stored::store;
use crate::value::Value;

const PROXY_LATER: Status = Status::Later {
    meanwhile: "let the proxy send X-Forwarded-For and X-Forwarded-Proto instead",
};
const UWSGI_LATER: Status = Status::Later {
    meanwhile: "let the proxy speak HTTP, in nginx with proxy_pass",
};

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
                  Names of hosts and paths of sockets are not understood here, unlike with uvicorn; neither are a port in \
                  `X-Forwarded-For`, and the field `Forwarded` (RFC 7239).",
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
                how: "names may be written in any case",
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
            status: PROXY_LATER,
            summary: "Read a PROXY line before the first request: off, v1, v2 or auto.",
            doc: "Load balancers that work below HTTP tell the client's address this way.",
            examples: &["off", "v2"],
            ..Setting::ROW
        },
        Setting {
            name: "proxy_allow_ips",
            cli: &["--proxy-allow-from"],
            kind: Kind::Commas,
            default: Preset::List(&["127.0.0.1", "::1"]),
            meta: "ADDRESSES",
            status: PROXY_LATER,
            summary: "The peers that may send a PROXY line.",
            doc: "Addresses and networks separated by commas, or `*`.",
            examples: &["10.0.0.0/8", "*"],
            ..Setting::ROW
        },
        Setting {
            name: "protocol",
            cli: &["--protocol"],
            kind: Kind::Choice(&["http", "uwsgi"]),
            default: Preset::Text("http"),
            meta: "NAME",
            status: UWSGI_LATER,
            summary: "The protocol that clients speak: http or uwsgi.",
            doc: "`uwsgi` is the binary protocol of nginx's `uwsgi_pass`.",
            examples: &["http", "uwsgi"],
            ..Setting::ROW
        },
        Setting {
            name: "uwsgi_allow_ips",
            cli: &["--uwsgi-allow-from"],
            kind: Kind::Commas,
            default: Preset::List(&["127.0.0.1", "::1"]),
            meta: "ADDRESSES",
            status: UWSGI_LATER,
            summary: "The peers that may speak uwsgi.",
            doc: "Addresses and networks separated by commas, or `*`.",
            examples: &["10.0.0.1", "*"],
            ..Setting::ROW
        },
    ],
};
