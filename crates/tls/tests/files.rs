//! Certificates on the disk, from the first reading to their renewal under a worker that serves.

#![allow(
    clippy::unwrap_used,
    reason = "what a test relies on and does not get has to stop it"
)]

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant, SystemTime};

use oxicorn_tls::{Clients, Reader, Shelf, Sources, Tickets, pem, subject};
use rcgen::{CertificateParams, DnType, KeyPair};

/// A folder with a certificate of this name and its key.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("tls-{}-{number}", std::process::id());
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// Writes a certificate for `name`, valid for some days from `begin` days from now.
    fn issue(&self, name: &str, begin: i64) -> Vec<u8> {
        let (cert, key, der) = made(name, begin);
        self.put("cert.pem", &cert);
        self.put("key.pem", &key);
        der
    }

    /// As careful renewals do: a new file in the place of the old one.
    fn put(&self, name: &str, text: &str) {
        let new = self.file(&format!("{name}.new"));
        fs::write(&new, text).unwrap();
        fs::rename(new, self.file(name)).unwrap();
    }

    fn sources(&self) -> Sources {
        Sources {
            certfile: self.file("cert.pem"),
            keyfile: Some(self.file("key.pem")),
            ..Sources::default()
        }
    }

    /// What is said about the files as they are.
    fn complaint(&self, change: impl FnOnce(&mut Sources)) -> String {
        let mut sources = self.sources();
        change(&mut sources);
        let problem = Shelf::stock(sources).unwrap_err().to_string();
        problem.replace(&*self.0.to_string_lossy(), "")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn made(name: &str, begin: i64) -> (String, String, Vec<u8>) {
    let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    params.distinguished_name.push(DnType::CommonName, name);
    let day = |days: i64| {
        let seconds = u64::try_from(days.abs()).unwrap() * 86_400;
        let (now, by) = (SystemTime::now(), Duration::from_secs(seconds));
        if days < 0 { now - by } else { now + by }
    };
    params.not_before = day(begin).into();
    params.not_after = day(begin + 10).into();
    let key = KeyPair::generate().unwrap();
    let cert = params.self_signed(&key).unwrap();
    (cert.pem(), key.serialize_pem(), cert.der().to_vec())
}

fn reader(shelf: &Arc<Shelf>) -> Reader {
    Reader::new(shelf.clone(), Arc::new(Tickets::new())).unwrap()
}

#[test]
fn what_was_read_is_served_and_a_renewal_is_seen_by_who_reads_already() {
    let folder = Folder::new();
    let first = folder.issue("first", -1);
    let shelf = Arc::new(Shelf::stock(folder.sources()).unwrap());
    let worker = reader(&shelf);
    assert_eq!(*worker.served().certificate, *pem(&first).unwrap());
    assert!(!shelf.renew().unwrap(), "nothing is new");
    for name in ["second", "third", "fourth with a longer name"] {
        let der = folder.issue(name, -1);
        assert!(shelf.renew().unwrap());
        assert_eq!(*worker.served().certificate, *pem(&der).unwrap());
        assert_eq!(*reader(&shelf).served().certificate, *pem(&der).unwrap());
    }
}

#[test]
fn what_cannot_be_used_is_named_and_what_was_there_stays() {
    let folder = Folder::new();
    let good = folder.issue("good", -1);
    let shelf = Arc::new(Shelf::stock(folder.sources()).unwrap());
    let worker = reader(&shelf);
    let (other, _, _) = made("other", -1);
    folder.put("cert.pem", &other);
    let said = shelf.renew().unwrap_err().to_string();
    assert!(said.contains("does not fit the certificate"), "{said}");
    folder.put("cert.pem", "nothing");
    assert!(shelf.renew().is_err());
    assert_eq!(*worker.served().certificate, *pem(&good).unwrap());
}

#[test]
fn every_complaint_names_setting_and_file() {
    let folder = Folder::new();
    let there_is_none = "cannot be read: No such file or directory (os error 2).";
    let said = folder.complaint(|_| {});
    assert_eq!(said, format!("certfile: '/cert.pem' {there_is_none}"));
    folder.issue("mine", -1);
    let said = folder.complaint(|sources| sources.keyfile = Some(folder.file("none.pem")));
    assert_eq!(said, format!("keyfile: '/none.pem' {there_is_none}"));
    let said = folder.complaint(|sources| sources.keyfile = None);
    assert_eq!(
        said,
        "certfile: '/cert.pem' holds no private key in PEM form."
    );
    let said = folder.complaint(|sources| sources.certfile = folder.file("key.pem"));
    assert_eq!(
        said,
        "certfile: '/key.pem' holds no certificate in PEM form."
    );
    let said = folder.complaint(|sources| {
        sources.clients = Clients::Required;
        sources.ca_certs = Some(folder.file("key.pem"));
    });
    assert_eq!(
        said,
        "ca_certs: '/key.pem' holds no certificate in PEM form."
    );
    folder.put(
        "key.pem",
        "-----BEGIN ENCRYPTED PRIVATE KEY-----\nMIIB\n-----END ENCRYPTED PRIVATE KEY-----\n",
    );
    assert!(
        folder
            .complaint(|_| {})
            .contains("encrypted private key; decrypt it")
    );
    let (_, key, _) = made("other", -1);
    folder.put("key.pem", &key);
    let said = folder.complaint(|_| {});
    assert_eq!(
        said,
        "keyfile: '/key.pem' does not fit the certificate in '/cert.pem'."
    );
}

#[test]
fn a_certificate_out_of_its_time_is_doubted_and_takes_the_place_of_no_other() {
    let folder = Folder::new();
    let good = folder.issue("good", -1);
    let shelf = Arc::new(Shelf::stock(folder.sources()).unwrap());
    assert_eq!(shelf.doubts(), []);
    for (begin, why) in [(-20, "expired at "), (5, "is not valid before ")] {
        folder.issue("untimely", begin);
        let said = shelf.renew().unwrap_err().to_string();
        assert!(
            said.contains(&format!("holds a certificate that {why}")),
            "{said}"
        );
        assert_eq!(*reader(&shelf).served().certificate, *pem(&good).unwrap());
        let other = Shelf::stock(folder.sources()).unwrap();
        assert_eq!(other.may_follow(&shelf).unwrap_err().to_string(), said);
        let doubts: Vec<_> = other.doubts().iter().map(ToString::to_string).collect();
        assert_eq!(doubts, [said]);
        // What is served already is served on, and what comes next is taken.
        assert_eq!(
            Shelf::stock(folder.sources()).unwrap().may_follow(&other),
            Ok(())
        );
        assert_eq!(other.renew(), Ok(false));
        assert_eq!(shelf.may_follow(&other), Ok(()));
    }
}

#[test]
fn a_chain_of_which_a_part_is_over_is_served_and_doubted() {
    let folder = Folder::new();
    folder.issue("mine", -1);
    let mine = fs::read_to_string(folder.file("cert.pem")).unwrap();
    let (over, _, _) = made("above", -20);
    folder.put("cert.pem", &format!("{mine}{over}"));
    let shelf = Shelf::stock(folder.sources()).unwrap();
    let [doubt] = &shelf.doubts()[..] else {
        panic!("one doubt");
    };
    let doubt = doubt.to_string();
    assert!(
        doubt.contains("holds a certificate in its chain that expired at "),
        "{doubt}"
    );
    assert!(doubt.ends_with(" (CN=above)."), "{doubt}");
}

#[test]
fn one_file_may_hold_both() {
    let folder = Folder::new();
    let (cert, key, _) = made("both", -1);
    folder.put("cert.pem", &format!("{key}{cert}"));
    let mut sources = folder.sources();
    sources.keyfile = None;
    assert!(Shelf::stock(sources).is_ok());
}

#[test]
fn a_subject_is_written_as_rfc_4514_says() {
    let (_, _, der) = made("a, b", -1);
    assert_eq!(subject(&der).as_deref(), Some("CN=a\\, b"));
    assert_eq!(subject(b"nothing"), None);
}

#[test]
fn a_shelf_may_be_renewed_while_many_read_it() {
    let folder = Folder::new();
    folder.issue("first", -1);
    let shelf = Arc::new(Shelf::stock(folder.sources()).unwrap());
    let workers: Vec<_> = (0..3)
        .map(|_| {
            let worker = reader(&shelf);
            std::thread::spawn(move || {
                let until = Instant::now() + Duration::from_millis(300);
                while Instant::now() < until {
                    assert!(worker.served().certificate.contains("BEGIN CERTIFICATE"));
                }
                worker
            })
        })
        .collect();
    let mut last = Vec::new();
    for number in 0..50 {
        last = folder.issue(&"x".repeat(number), -1);
        assert!(shelf.renew().unwrap());
    }
    for worker in workers {
        let worker = worker.join().unwrap();
        assert_eq!(*worker.served().certificate, *pem(&last).unwrap());
    }
}
