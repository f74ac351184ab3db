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

use crate::certificate::{is_one, untimely};
use crate::material::{Clients, Material};
use crate::tickets::Tickets;

/// The kinds of keys that ring can sign with.
const KEYS: &str = "RSA with 2048 to 4096 bits, ECDSA with P-256 or P-384, and Ed25519";

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

    /// Reads them, and makes sure that they can be served with, at whatever time.
    pub(crate) fn read(&self) -> Result<Material, Problem> {
        let material = Material {
            chain: self.chain()?,
            key: self.key()?,
            authorities: self.authorities()?,
        };
        let trial = material.serve(self.clients, &self.suites, &Arc::new(Tickets::none()));
        trial.map_err(|error| self.unusable(&error, &material))?;
        Ok(material)
    }

    /// A certificate out of its time is served with for want of a better one, and never takes the place of another.
    pub(crate) fn timely(&self, material: &Material, present: &Material) -> Result<(), Problem> {
        if material.chain.first() == present.chain.first() {
            return Ok(());
        }
        self.untimely(material, SystemTime::now())
            .map_or(Ok(()), Err)
    }

    /// Why no client will accept what was read, if so.
    fn untimely(&self, material: &Material, now: SystemTime) -> Option<Problem> {
        let what = untimely(material.chain.first()?, now)?;
        Some(self.in_certfile(format!("holds a certificate that {what}")))
    }

    /// What is in the files and will not do what it is there for.
    pub(crate) fn doubts(&self, material: &Material, now: SystemTime) -> Vec<Problem> {
        let others = material.chain.iter().skip(1);
        let others = others.filter_map(|der| untimely(der, now));
        let others = others
            .map(|what| self.in_certfile(format!("holds a certificate in its chain that {what}")));
        let authorities = self.ca_certs.iter().flat_map(|file| {
            let all = material.authorities.iter();
            let untimely = all.filter_map(move |der| untimely(der, now));
            untimely.map(|what| {
                let what = format!("holds an authority that {what}; nobody is let in by it");
                Problem::new("ca_certs", file, what)
            })
        });
        let own = self.untimely(material, now);
        own.into_iter().chain(others).chain(authorities).collect()
    }

    fn chain(&self) -> Result<Vec<Vec<u8>>, Problem> {
        let found = certificates("certfile", &self.certfile)?;
        match found.iter().position(|der| !is_one(der)) {
            Some(at) => Err(self.in_certfile(format!("is damaged in certificate {}", at + 1))),
            None => Ok(found),
        }
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
        for (at, der) in found.iter().enumerate() {
            let added = roots.add(CertificateDer::from(der.as_slice()));
            added.map_err(|error| {
                let what = format!("holds as certificate {} no authority: {error}", at + 1);
                Problem::new("ca_certs", file, what)
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

    fn unusable(&self, error: &TlsError, material: &Material) -> Problem {
        let (setting, file) = self.key_place();
        match error {
            TlsError::InconsistentKeys(InconsistentKeys::KeyMismatch)
                if self.is_in_another_order(material) =>
            {
                self.in_certfile(
                    "holds the server's certificate behind another one; it has to be the first"
                        .into(),
                )
            }
            TlsError::InconsistentKeys(InconsistentKeys::KeyMismatch) => {
                let other = self.certfile.display();
                let what = format!("does not fit the certificate in '{other}'");
                Problem::new(setting, file, what)
            }
            TlsError::General(what) => {
                let what = format!("cannot be used: {what}; {KEYS} can");
                Problem::new(setting, file, what)
            }
            TlsError::InvalidCertificate(what) => self.in_certfile(format!(
                "cannot be used: its certificate is invalid: {what}"
            )),
            other => self.in_certfile(format!("cannot be used: {other}")),
        }
    }

    /// Whether the key fits a certificate of the chain.
    fn is_in_another_order(&self, material: &Material) -> bool {
        let tickets = Arc::new(Tickets::none());
        (1..material.chain.len()).any(|at| {
            let mut other = material.clone();
            other.chain.swap(0, at);
            other.serve(self.clients, &self.suites, &tickets).is_ok()
        })
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
        Err(error) => Err(Problem::new(setting, file, damage(&error))),
    }
}

fn no_key(error: &PemError, bytes: &[u8]) -> String {
    // In the label of the section, or in a line of it, where no Base64 is then.
    let encrypted = bytes.windows(9).any(|word| word == b"ENCRYPTED");
    match error {
        _ if encrypted => {
            "holds an encrypted private key; decrypt it: openssl pkey -in OLD -out NEW".into()
        }
        PemError::NoItemsFound => "holds no private key in PEM form".into(),
        other => damage(other),
    }
}

fn damage(error: &PemError) -> String {
    match error {
        PemError::MissingSectionEnd { end_marker } => {
            let label = String::from_utf8_lossy(end_marker);
            format!("is cut short: there is no END {label}")
        }
        PemError::IllegalSectionStart { line } => {
            let line = String::from_utf8_lossy(line);
            format!("is damaged in the line {line:?}")
        }
        other => format!("cannot be read: {other}"),
    }
}
