//! Where certificate, key and authorities are read from, and what is wrong with them. Invariant: a problem names the setting
//! and the file, since whoever reads it has to mend one of the two.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use rustls::pki_types::pem::{Error as PemError, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{Error as TlsError, InconsistentKeys, RootCertStore};

use crate::certificate::untimely;
use crate::material::{Clients, Material};
use crate::tickets::Tickets;

/// The files, and how they are meant; the settings of the same names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sources {
    /// The server's certificate and its chain.
    pub certfile: PathBuf,
    /// Its private key; `None`: it is in `certfile` as well.
    pub keyfile: Option<PathBuf>,
    /// Who may sign clients' certificates.
    pub ca_certs: Option<PathBuf>,
    /// Whether clients have to show one.
    pub clients: Clients,
    /// IANA's names of the cipher suites that are offered; all that are sound if there is none.
    pub suites: Vec<&'static str>,
}

/// What is wrong, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    setting: &'static str,
    file: PathBuf,
    what: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            setting,
            file,
            what,
        } = self;
        write!(f, "{setting}: '{}' {what}.", file.display())
    }
}

impl std::error::Error for Problem {}

impl Sources {
    /// All files that there are.
    pub fn files(&self) -> impl Iterator<Item = &Path> {
        let others = [&self.keyfile, &self.ca_certs].into_iter().flatten();
        std::iter::once(&self.certfile)
            .chain(others)
            .map(PathBuf::as_path)
    }

    /// Reads them, and makes sure that they can be served with.
    pub(crate) fn read(&self, now: SystemTime) -> Result<Material, Problem> {
        let material = Material {
            chain: self.chain()?,
            key: self.key()?,
            authorities: self.authorities()?,
        };
        for der in &material.chain {
            if let Some(what) = untimely(der, now) {
                return Err(self.in_certfile(format!("holds a certificate that {what}")));
            }
        }
        let trial = material.serve(self.clients, &self.suites, &Arc::new(Tickets::none()));
        trial.map_err(|error| self.unusable(&error))?;
        Ok(material)
    }

    fn chain(&self) -> Result<Vec<Vec<u8>>, Problem> {
        certificates("certfile", &self.certfile)
    }

    fn key(&self) -> Result<Vec<u8>, Problem> {
        let (setting, file) = self.key_place();
        let bytes = read(setting, file)?;
        match PrivateKeyDer::from_pem_slice(&bytes) {
            Ok(key) => Ok(key.secret_der().to_vec()),
            Err(error) => Err(Problem::new(setting, file, no_key(&error, &bytes))),
        }
    }

    fn key_place(&self) -> (&'static str, &Path) {
        match &self.keyfile {
            Some(file) => ("keyfile", file),
            None => ("certfile", &self.certfile),
        }
    }

    fn authorities(&self) -> Result<Vec<Vec<u8>>, Problem> {
        let Some(file) = &self.ca_certs else {
            return Ok(Vec::new());
        };
        let found = certificates("ca_certs", file)?;
        let mut roots = RootCertStore::empty();
        for der in &found {
            let added = roots.add(CertificateDer::from(der.as_slice()));
            added.map_err(|error| {
                Problem::new(
                    "ca_certs",
                    file,
                    format!("holds no usable authority: {error}"),
                )
            })?;
        }
        Ok(found)
    }

    fn in_certfile(&self, what: String) -> Problem {
        Problem::new("certfile", &self.certfile, what)
    }

    /// There is no memory for what was read.
    pub(crate) fn unshelved(&self, error: &std::io::Error) -> Problem {
        self.in_certfile(format!("cannot be kept in memory: {error}"))
    }

    fn unusable(&self, error: &TlsError) -> Problem {
        let (setting, file) = self.key_place();
        match error {
            TlsError::InconsistentKeys(InconsistentKeys::KeyMismatch) => {
                let other = self.certfile.display();
                let what = format!("does not fit the certificate in '{other}'");
                Problem::new(setting, file, what)
            }
            TlsError::General(what) => {
                Problem::new(setting, file, format!("cannot be used: {what}"))
            }
            other => self.in_certfile(format!("cannot be used: {other}")),
        }
    }
}

impl Problem {
    fn new(setting: &'static str, file: &Path, what: String) -> Self {
        let file = file.to_owned();
        Self {
            setting,
            file,
            what,
        }
    }
}

fn read(setting: &'static str, file: &Path) -> Result<Vec<u8>, Problem> {
    fs::read(file).map_err(|error| Problem::new(setting, file, format!("cannot be read: {error}")))
}

fn certificates(setting: &'static str, file: &Path) -> Result<Vec<Vec<u8>>, Problem> {
    let bytes = read(setting, file)?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&bytes)
        .map(|one| one.map(|der| der.to_vec()))
        .collect();
    match found {
        Ok(found) if !found.is_empty() => Ok(found),
        Ok(_) => Err(Problem::new(
            setting,
            file,
            "holds no certificate in PEM form".into(),
        )),
        Err(error) => Err(Problem::new(
            setting,
            file,
            format!("cannot be read: {error}"),
        )),
    }
}

fn no_key(error: &PemError, bytes: &[u8]) -> String {
    let encrypted = bytes.windows(9).any(|word| word == b"ENCRYPTED");
    match error {
        PemError::NoItemsFound if encrypted => {
            "holds an encrypted private key; decrypt it: openssl pkey -in OLD -out NEW".into()
        }
        PemError::NoItemsFound => "holds no private key in PEM form".into(),
        other => format!("cannot be read: {other}"),
    }
}
