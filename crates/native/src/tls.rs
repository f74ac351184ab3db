//! TLS, from the settings to what the engine serves with. The arbiter reads the files, as the user that it is; whoever is
//! forked finds what was read in memory, and what is renewed on the shelf (`oxicorn-tls`). Invariant: no worker reads a file
//! of these.

use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use oxicorn_engine::{Acceptor, Facts, Terms};
use oxicorn_settings as settings;
use oxicorn_tls::{Clients, Problem, Reader, Served, Shelf, Sources, Tickets, pem, subject};
use oxicorn_watch::Watch;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList};

/// One for this process and all that it forks.
static TICKETS: OnceLock<Arc<Tickets>> = OnceLock::new();

/// What was read for one configuration; empty until then, and without `certfile`.
pub(crate) type Stock = Arc<OnceLock<Arc<Shelf>>>;

fn tickets() -> &'static Arc<Tickets> {
    TICKETS.get_or_init(Arc::default)
}

/// To be called now and then by whoever forks: later processes shall not inherit what is over.
pub(crate) fn forget_old_tickets() {
    if let Some(tickets) = TICKETS.get() {
        tickets.advance();
    }
}

/// What the next version of this program needs to read the tickets of this one.
pub(crate) fn bequest() -> Option<String> {
    TICKETS.get()?.bequest()
}

/// What the former version of this program has left.
pub(crate) fn inherit(bequest: &str) {
    if !tickets().inherit(bequest) {
        log::warn!(target: "oxicorn", "The session tickets of the former version are not understood: TLS sessions begin anew");
    }
}

/// Reads the files that the settings name, which may be relative to `directory`.
pub(crate) fn stock(config: &settings::Config, directory: &Path) -> Result<Option<Shelf>, Problem> {
    let Some(certfile) = &config.certfile else {
        return Ok(None);
    };
    let place = |file: &String| directory.join(file);
    let sources = Sources {
        certfile: place(certfile),
        keyfile: config.keyfile.as_ref().map(place),
        ca_certs: config.ca_certs.as_ref().map(place),
        clients: match config.cert_reqs {
            0 => Clients::Unknown,
            1 => Clients::Optional,
            _ => Clients::Required,
        },
        suites: config.ciphers.names().to_vec(),
    };
    // Before anything is forked.
    tickets();
    Shelf::stock(sources).map(Some)
}

/// What is in the files and will not do what it is there for.
pub(crate) fn doubts(stock: &Stock) -> Vec<String> {
    let doubts = stock.get().map(|shelf| shelf.doubts()).unwrap_or_default();
    doubts.iter().map(ToString::to_string).collect()
}

/// Whether a generation that has this may take the place of those that have the others.
///
/// # Errors
/// Why not.
pub(crate) fn may_follow<'s>(
    stock: &Stock,
    mut others: impl Iterator<Item = &'s Stock>,
) -> Result<(), String> {
    let Some(shelf) = stock.get() else {
        return Ok(());
    };
    let follows = others.try_for_each(|other| match other.get() {
        Some(other) => shelf.may_follow(other),
        None => Ok(()),
    });
    follows.map_err(|problem| problem.to_string())
}

/// What a worker encrypts connections with.
pub(crate) fn acceptor(stock: &Stock) -> std::io::Result<Option<Acceptor>> {
    let Some(shelf) = stock.get() else {
        return Ok(None);
    };
    let reader = Reader::new(shelf.clone(), tickets().clone())?;
    Ok(Some(Acceptor::new(move || {
        let Served {
            config,
            certificate,
        } = reader.served();
        Terms {
            config,
            certificate,
        }
    })))
}

/// How long nothing may happen to the files: a renewal writes several, and half of it is of no use.
const CALM: Duration = Duration::from_millis(500);

/// The arbiter's eye on the files of all configurations that workers run on.
#[derive(Debug, Default)]
pub(crate) struct Renewal {
    shelves: Vec<Arc<Shelf>>,
    watch: Option<Watch>,
}

impl Renewal {
    /// Watches the files of these configurations from now on.
    pub(crate) fn follow<'s>(&mut self, stocks: impl Iterator<Item = &'s Stock>) {
        self.shelves = stocks.filter_map(|stock| stock.get().cloned()).collect();
        self.watch_anew();
        // What has changed between the first reading and now. Half a renewal is heard of again.
        self.renew(|_| {});
    }

    /// Reads all files again; `complain` hears what is wrong with them.
    fn renew(&self, complain: impl Fn(&Problem)) {
        for shelf in &self.shelves {
            match shelf.renew() {
                Ok(true) => {
                    let file = shelf.sources().certfile.display();
                    log::info!(target: "oxicorn", "The certificate was renewed: '{file}'");
                    for doubt in shelf.doubts() {
                        log::warn!(target: "oxicorn", "{doubt}");
                    }
                }
                Ok(false) => {}
                Err(problem) => complain(&problem),
            }
        }
    }

    /// The way to a file may have changed with it.
    fn watch_anew(&mut self) {
        self.watch = None;
        if self.shelves.is_empty() {
            return;
        }
        let files = self
            .shelves
            .iter()
            .flat_map(|shelf| shelf.sources().files());
        match Watch::new(CALM) {
            Ok(mut watch) => {
                for file in files {
                    // What cannot be watched is not.
                    let _ = watch.follow(file);
                }
                if watch.is_full() {
                    log::warn!(target: "oxicorn", "Renewed certificates are taken by a restart only: the files cannot be watched: fs.inotify.max_user_watches is reached");
                }
                self.watch = Some(watch);
            }
            Err(error) => {
                log::warn!(target: "oxicorn", "Renewed certificates are taken by a restart only: the files cannot be watched: {error} (fs.inotify.max_user_instances?)");
            }
        }
    }

    pub(crate) fn interest(&self) -> Option<BorrowedFd<'_>> {
        self.watch.as_ref().map(AsFd::as_fd)
    }

    /// Something has happened to the files, or to others beside them.
    pub(crate) fn look(&mut self) {
        if !self.watch.as_mut().is_some_and(Watch::is_due) {
            return;
        }
        // First, so that no change falls between the two.
        self.watch_anew();
        self.renew(|problem| {
            log::error!(target: "oxicorn", "The certificate is not renewed, the old one stays: {problem}");
        });
    }
}

/// The `tls` extension of an ASGI scope (ASGI TLS extension 0.2).
pub(crate) fn extension<'py>(py: Python<'py>, facts: &Facts) -> PyResult<Bound<'py, PyDict>> {
    let chain: Vec<String> = facts.client.iter().filter_map(|der| pem(der)).collect();
    let name = facts.client.first().and_then(|der| subject(der));
    let dict = PyDict::new(py);
    dict.set_item("server_cert", &*facts.certificate)?;
    dict.set_item("client_cert_chain", PyList::new(py, chain)?)?;
    dict.set_item("client_cert_name", name)?;
    dict.set_item("client_cert_error", py.None())?;
    dict.set_item("tls_version", facts.version)?;
    dict.set_item("cipher_suite", facts.cipher)?;
    Ok(dict)
}
