//! Addressing with patience: an address that is in use may be free in a second, when its last user
//! has gone.
//!
//! As in gunicorn there are five tries, a second apart. Waiting means waiting for signals too: the
//! operator can end the server at any moment.

use std::time::Duration;

use oxicorn_settings::Address;

use super::{Listener, SocketOptions, bind_one};
use crate::fatal::Fatal;

const TRIES: u32 = 5;
const PAUSE: Duration = Duration::from_secs(1);

/// Something that can wait and be interrupted.
pub(crate) trait Patience {
    /// Returns after `pause`, or at once with the reason to give up.
    fn wait(&mut self, pause: Duration) -> Result<(), Fatal>;
}

/// Makes every listener, or none: those made before a failure are closed and their paths removed.
/// What `left` has for an address is not made, but used.
pub(crate) fn bind_all(
    addresses: &[Address],
    options: &SocketOptions,
    left: &mut dyn FnMut(&Address) -> Option<Listener>,
    patience: &mut impl Patience,
) -> Result<Vec<Listener>, Fatal> {
    let mut listeners = Vec::new();
    for address in addresses {
        match bind_patiently(address, options, left, patience) {
            Ok(listener) => listeners.push(listener),
            Err(fatal) => {
                listeners.into_iter().for_each(Listener::retire);
                return Err(fatal);
            }
        }
    }
    Ok(listeners)
}

fn bind_patiently(
    bind: &Address,
    options: &SocketOptions,
    left: &mut dyn FnMut(&Address) -> Option<Listener>,
    patience: &mut impl Patience,
) -> Result<Listener, Fatal> {
    let mut tries = 1;
    loop {
        if let Some(listener) = left(bind) {
            return Ok(listener);
        }
        match bind_one(bind, options) {
            Err(fatal) if may_pass(&fatal) && tries < TRIES => {
                log::info!(target: "oxicorn", "Retrying in 1 second.");
                patience.wait(PAUSE)?;
                tries += 1;
            }
            settled => return settled,
        }
    }
}

/// Whether a later try may succeed; says so in the log, as gunicorn does.
fn may_pass(fatal: &Fatal) -> bool {
    let Fatal::Bind { address, source } = fatal else {
        return false;
    };
    match source.raw_os_error() {
        Some(libc::EADDRINUSE) => log::error!(target: "oxicorn", "Connection in use: {address}"),
        Some(libc::EADDRNOTAVAIL) => log::error!(target: "oxicorn", "Invalid address: {address}"),
        _ => return false,
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::Signal;
    use crate::sockets::ListenAddr;
    use std::net::TcpListener;

    /// Counts the pauses; frees the port, or stops, at the given one.
    struct Scripted {
        pauses: u32,
        occupant: Option<TcpListener>,
        free_at: u32,
        stop_at: u32,
    }

    impl Scripted {
        fn occupying(free_at: u32, stop_at: u32) -> (Self, Address) {
            let occupant = TcpListener::bind("127.0.0.1:0").unwrap();
            let port = occupant.local_addr().unwrap().port();
            let bind = Address::Tcp {
                host: "127.0.0.1".to_owned(),
                port,
            };
            (
                Self {
                    pauses: 0,
                    occupant: Some(occupant),
                    free_at,
                    stop_at,
                },
                bind,
            )
        }
    }

    impl Patience for Scripted {
        fn wait(&mut self, pause: Duration) -> Result<(), Fatal> {
            assert_eq!(pause, Duration::from_secs(1));
            self.pauses += 1;
            if self.pauses == self.free_at {
                self.occupant = None;
            }
            if self.pauses == self.stop_at {
                return Err(Fatal::Stopped {
                    signal: Signal::Term,
                });
            }
            Ok(())
        }
    }

    fn try_bind(binds: &[Address], patience: &mut Scripted) -> Result<Vec<Listener>, Fatal> {
        bind_all(binds, &SocketOptions::default(), &mut |_| None, patience)
    }

    #[test]
    fn an_address_that_becomes_free_is_taken() {
        let (mut patience, bind) = Scripted::occupying(2, 99);
        let listeners = try_bind(&[bind], &mut patience).unwrap();
        assert_eq!((patience.pauses, listeners.len()), (2, 1));
    }

    #[test]
    fn an_address_in_use_is_tried_five_times() {
        let (mut patience, bind) = Scripted::occupying(99, 99);
        let fatal = try_bind(std::slice::from_ref(&bind), &mut patience).unwrap_err();
        assert_eq!(patience.pauses, 4);
        assert!(
            fatal
                .to_string()
                .starts_with(&format!("Can't connect to {bind}: ")),
            "{fatal}"
        );
    }

    #[test]
    fn a_signal_ends_the_waiting() {
        let (mut patience, bind) = Scripted::occupying(99, 1);
        let fatal = try_bind(&[bind], &mut patience).unwrap_err();
        assert!(matches!(
            fatal,
            Fatal::Stopped {
                signal: Signal::Term
            }
        ));
        assert_eq!(patience.pauses, 1);
    }

    #[test]
    fn a_missing_permission_or_directory_is_not_waited_for() {
        let (mut patience, _) = Scripted::occupying(99, 99);
        let bind = Address::Unix {
            path: "/nonexistent-directory/web.sock".into(),
        };
        let text = try_bind(&[bind], &mut patience).unwrap_err().to_string();
        assert!(text.contains("The directory does not exist."), "{text}");
        assert_eq!(patience.pauses, 0);
    }

    #[test]
    fn a_failure_takes_the_earlier_sockets_back() {
        let (mut patience, _) = Scripted::occupying(99, 99);
        let path = std::env::temp_dir().join(format!("oxicorn-back-{}.sock", std::process::id()));
        let good = Address::Unix {
            path: path.to_str().unwrap().to_owned(),
        };
        let bad = Address::Unix {
            path: "/nonexistent-directory/web.sock".into(),
        };
        try_bind(&[good, bad], &mut patience).unwrap_err();
        assert!(!path.exists());
    }

    #[test]
    fn what_another_process_has_left_is_used_as_soon_as_it_is_there() {
        let (mut patience, bind) = Scripted::occupying(99, 99);
        let occupant = patience.occupant.as_ref().unwrap();
        let mut left = [None, Some(occupant.try_clone().unwrap().into())].into_iter();
        let mut left = |_: &Address| Listener::left_behind(left.next().flatten()?).ok();
        let options = SocketOptions::default();
        let listeners = bind_all(&[bind], &options, &mut left, &mut patience).unwrap();
        assert_eq!((patience.pauses, listeners.len()), (1, 1));
    }

    #[test]
    fn every_address_gets_its_listener() {
        let (mut patience, _) = Scripted::occupying(99, 99);
        let any = Address::Tcp {
            host: "127.0.0.1".to_owned(),
            port: 0,
        };
        let listeners = try_bind(&[any.clone(), any], &mut patience).unwrap();
        assert!(
            listeners
                .iter()
                .all(|l| matches!(l.local, ListenAddr::Tcp(_)))
        );
        assert_eq!(listeners.len(), 2);
    }
}
