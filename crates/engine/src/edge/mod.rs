//! The servers in front of this one, below HTTP: what they may say before a request, in which protocol they ask, and who may.
//! How their words are spelled is `oxicorn-edge`'s business; what their HTTP fields are worth is in `forwarded`.
//!
//! ```text
//!  accept ─▶ Http ──────────────────────────────────────▶ requests
//!     ├────▶ Preface ── header read, or there is none ──▶ requests, with the client's own address
//!     └────▶ Uwsgi ── packet ──▶ one request, and the end
//! ```
//!
//! Invariant: a word of somebody who may not say it ends the connection, before anything else of it is looked at.

mod packet;
mod preface;

use std::fmt;
use std::net::SocketAddr;

use oxicorn_edge::{proxy, uwsgi};
use oxicorn_settings::Networks;

use crate::peer::Peer;

/// Who may say what below HTTP.
#[derive(Clone, Debug)]
pub struct Edge {
    /// Which PROXY headers are looked for in front of the first request (`proxy_protocol`).
    pub proxy: Option<proxy::Versions>,
    /// A connection without one is refused (`proxy_protocol_required`).
    pub proxy_required: bool,
    /// Who may send one (`proxy_allow_ips`). Clients of a Unix socket may: only local processes reach it.
    pub proxy_senders: Networks,
    /// Who may speak uwsgi, the one protocol then (`protocol`, `uwsgi_allow_ips`); clients of a Unix socket as well.
    pub uwsgi: Option<Networks>,
}

impl Default for Edge {
    fn default() -> Self {
        Self {
            proxy: None,
            proxy_required: false,
            proxy_senders: Networks::NONE,
            uwsgi: None,
        }
    }
}

impl Edge {
    /// What a new connection begins with.
    pub(crate) fn language(&self) -> Language {
        match (&self.uwsgi, self.proxy) {
            (Some(_), _) => Language::Uwsgi,
            (None, Some(_)) => Language::Preface,
            (None, None) => Language::Http,
        }
    }
}

fn is_among(peer: Peer, networks: &Networks) -> bool {
    peer.ip().is_none_or(|address| networks.contains(address))
}

/// What the next bytes of a connection are, where no request has begun.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Language {
    /// A request.
    #[default]
    Http,
    /// Perhaps a PROXY header, then a request.
    Preface,
    /// A packet.
    Uwsgi,
}

/// What a PROXY header said of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Origin {
    /// Whom the connection itself comes from.
    pub proxy: Peer,
    /// What the client's connection is.
    pub protocol: proxy::Protocol,
    /// What the client connected to.
    pub destination: Option<SocketAddr>,
}

/// What somebody in front of this server did wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    PrefaceMissing,
    PrefaceForbidden,
    Preface(proxy::Malformed),
    PacketForbidden,
    Packet(uwsgi::Malformed),
}

impl Fault {
    pub(crate) fn status(self) -> u16 {
        match self {
            Self::PrefaceMissing | Self::Preface(_) => 400,
            Self::PrefaceForbidden | Self::PacketForbidden => 403,
            Self::Packet(malformed) => malformed.status(),
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::PrefaceMissing => f.write_str("no PROXY header, which is required here"),
            Self::PrefaceForbidden => {
                f.write_str("a PROXY header from an address that is not in proxy_allow_ips")
            }
            Self::Preface(malformed) => malformed.fmt(f),
            Self::PacketForbidden => {
                f.write_str("uwsgi from an address that is not in uwsgi_allow_ips")
            }
            Self::Packet(malformed) => malformed.fmt(f),
        }
    }
}
