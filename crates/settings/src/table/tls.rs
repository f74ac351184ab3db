//! Encrypted connections.

use crate::kind::Kind;
use crate::setting::{Preset, Section, Setting, Status};
use crate::spelling::{Spelling, Takes};

/// What the rows of this section start from.
const ROW: Setting = Setting {
    status: Status::Later {
        meanwhile: "let a proxy in front terminate TLS, and name the proxy \
                    in forwarded_allow_ips",
    },
    ..Setting::ROW
};

pub(super) static SECTION: Section = Section {
    title: "TLS",
    rows: &[
        Setting {
            name: "keyfile",
            cli: &["--keyfile"],
            spellings: &[
                Spelling::same("--ssl-keyfile", "ssl_keyfile"),
                Spelling::refused(
                    "--ssl-keyfile-password",
                    "ssl_keyfile_password",
                    Takes::One("TEXT"),
                    "there is no TLS yet; let a proxy in front terminate it",
                ),
            ],
            meta: "FILE",
            summary: "The file of the private key.",
            doc: "In PEM form.",
            examples: &["/etc/ssl/private/app.key"],
            ..ROW
        },
        Setting {
            name: "certfile",
            cli: &["--certfile"],
            spellings: &[Spelling::same("--ssl-certfile", "ssl_certfile")],
            meta: "FILE",
            summary: "The file of the certificate and its chain.",
            doc: "In PEM form, the server's certificate first.",
            examples: &["/etc/ssl/certs/app.pem"],
            ..ROW
        },
        Setting {
            name: "ssl_version",
            cli: &["--ssl-version"],
            kind: Kind::Any,
            meta: "VERSION",
            status: Status::WithoutEffect {
                why: "gunicorn ignores it as well",
            },
            summary: "Once chose the version of TLS.",
            doc: "Without a meaning since Python 3.6.",
            ..Setting::ROW
        },
        Setting {
            name: "cert_reqs",
            cli: &["--cert-reqs"],
            spellings: &[Spelling::same("--ssl-cert-reqs", "ssl_cert_reqs")],
            kind: Kind::Int { min: 0, max: 2 },
            default: Preset::Int(0),
            meta: "INT",
            summary: "Ask clients for a certificate: 0 no, 1 optional, 2 required.",
            doc: "The numbers of Python's `ssl.CERT_NONE`, `CERT_OPTIONAL` and `CERT_REQUIRED`.",
            examples: &["2"],
            ..ROW
        },
        Setting {
            name: "ca_certs",
            cli: &["--ca-certs"],
            spellings: &[Spelling::same("--ssl-ca-certs", "ssl_ca_certs")],
            meta: "FILE",
            summary: "The authorities that may sign clients' certificates.",
            doc: "In PEM form.",
            examples: &["/etc/ssl/certs/clients.pem"],
            ..ROW
        },
        Setting {
            name: "suppress_ragged_eofs",
            cli: &["--suppress-ragged-eofs"],
            kind: Kind::Bool,
            default: Preset::Bool(true),
            meta: "BOOL",
            summary: "Take a connection that ends without TLS's own ending as ended.",
            doc: "As Python's `ssl` module understands it.",
            ..ROW
        },
        Setting {
            name: "do_handshake_on_connect",
            cli: &["--do-handshake-on-connect"],
            kind: Kind::Bool,
            default: Preset::Bool(false),
            meta: "BOOL",
            summary: "Perform the TLS handshake before the connection is used.",
            doc: "As Python's `ssl` module understands it.",
            ..ROW
        },
        Setting {
            name: "ciphers",
            cli: &["--ciphers"],
            spellings: &[Spelling::same("--ssl-ciphers", "ssl_ciphers")],
            meta: "TEXT",
            summary: "The ciphers to offer.",
            doc: "In OpenSSL's notation.",
            examples: &["ECDHE+AESGCM"],
            ..ROW
        },
        Setting {
            name: "ssl_context",
            spellings: &[Spelling::same("", "ssl_context_factory")],
            kind: Kind::Hook,
            meta: "FUNCTION",
            summary: "Called to make the TLS context.",
            doc: "`def ssl_context(config, default_ssl_context_factory)`, in the worker.",
            ..ROW
        },
    ],
};
