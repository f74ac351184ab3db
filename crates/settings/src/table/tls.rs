//! Encrypted connections.

use crate::kind::Kind;
use crate::setting::{Preset, Section, Setting, Status};
use crate::spelling::{Spelling, Takes};
use crate::stored::store;

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
                    "decrypt the key for the server: openssl pkey -in OLD -out NEW",
                ),
            ],
            meta: "FILE",
            summary: "The file of the private key.",
            doc: "In PEM form, not encrypted. Without it the key is looked for in `certfile`. The arbiter reads it, before and after workers give up their rights, so that only root need be able to. A new key and certificate take effect within seconds, without a restart.",
            examples: &["/etc/ssl/private/app.key"],
            apply: |config, value| store(&mut config.keyfile, value),
            ..Setting::ROW
        },
        Setting {
            name: "certfile",
            cli: &["--certfile"],
            spellings: &[Spelling::same("--ssl-certfile", "ssl_certfile")],
            meta: "FILE",
            status: Status::Better {
                how: "is read again when it changes, without a restart; sessions are resumed in every worker and after \
                      restarts; handshakes occupy no worker and have a time limit",
            },
            summary: "The file of the certificate and its chain.",
            doc: "In PEM form, the server's certificate first. With it every address of `bind` speaks TLS 1.2 and 1.3, and no \
                  plain HTTP. Whatever is wrong with the files is found at the start, by `--check-config`, and before \
                  a restart changes anything. A file that is renewed later is taken as soon as it fits its key; until then \
                  the old one stays.",
            examples: &["/etc/ssl/certs/app.pem"],
            apply: |config, value| store(&mut config.certfile, value),
            ..Setting::ROW
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
            doc: "The numbers of Python's `ssl.CERT_NONE`, `CERT_OPTIONAL` and `CERT_REQUIRED`. 1 and 2 need `ca_certs`.",
            examples: &["2"],
            apply: |config, value| store(&mut config.cert_reqs, value),
            ..Setting::ROW
        },
        Setting {
            name: "ca_certs",
            cli: &["--ca-certs"],
            spellings: &[Spelling::same("--ssl-ca-certs", "ssl_ca_certs")],
            meta: "FILE",
            summary: "The authorities that may sign clients' certificates.",
            doc: "In PEM form.",
            examples: &["/etc/ssl/certs/clients.pem"],
            apply: |config, value| store(&mut config.ca_certs, value),
            ..Setting::ROW
        },
        Setting {
            name: "suppress_ragged_eofs",
            cli: &["--suppress-ragged-eofs"],
            kind: Kind::Bool,
            default: Preset::Bool(true),
            meta: "BOOL",
            status: Status::WithoutEffect {
                why: "requests say themselves where they end: an end inside one is an error with and without TLS's own \
                      ending, and between two it is none",
            },
            summary: "Take a connection that ends without TLS's own ending as ended.",
            doc: "As Python's `ssl` module understands it.",
            ..Setting::ROW
        },
        Setting {
            name: "do_handshake_on_connect",
            cli: &["--do-handshake-on-connect"],
            kind: Kind::Bool,
            default: Preset::Bool(false),
            meta: "BOOL",
            status: Status::WithoutEffect {
                why: "a handshake is performed when its bytes come, and nobody waits for it meanwhile",
            },
            summary: "Perform the TLS handshake before the connection is used.",
            doc: "As Python's `ssl` module understands it.",
            ..Setting::ROW
        },
        Setting {
            name: "ciphers",
            cli: &["--ciphers"],
            spellings: &[Spelling::same("--ssl-ciphers", "ssl_ciphers")],
            meta: "TEXT",
            status: Status::Better {
                how: "offers only ciphers that are sound, and refuses the others by name",
            },
            summary: "The ciphers to offer with TLS 1.2, or with both versions.",
            doc: "In OpenSSL's notation: names and groups, with colons between them, and `!` before what is not wanted. As with \
                  OpenSSL it is about TLS 1.2, unless suites of TLS 1.3 are named. There are suites with ECDHE and \
                  AES-GCM or CHACHA20-POLY1305 only, so that there is hardly a reason to choose.",
            examples: &["ECDHE+AESGCM"],
            apply: |config, value| store(&mut config.ciphers, value),
            ..Setting::ROW
        },
        Setting {
            name: "ssl_context",
            spellings: &[Spelling::same("", "ssl_context_factory")],
            kind: Kind::Hook,
            meta: "FUNCTION",
            status: Status::Refused {
                advice: "TLS is not spoken by Python's ssl module here; use certfile, keyfile, ca_certs, cert_reqs and \
                         ciphers",
            },
            summary: "Called to make the TLS context.",
            doc: "`def ssl_context(config, default_ssl_context_factory)`, in the worker.",
            ..Setting::ROW
        },
    ],
};
