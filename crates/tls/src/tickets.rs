//! Session tickets (RFC 8446 §4.6.1, RFC 5077) that every worker of every generation can read, so that clients resume
//! wherever they come out. Nobody hands out keys: they follow from a secret that all processes are forked with, and from the
//! time. Every six hours each process turns the secret into the next one by a hash, and forgets it when its tickets are over, so
//! that whoever gets hold of what there is later cannot read older tickets. Invariant: two processes whose clocks agree have the same keys.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::hmac::{HMAC_SHA256, Key as HashKey, sign};
use ring::rand::{SecureRandom, SystemRandom};
use rustls::server::ProducesTickets;

/// Seconds for which a key makes tickets.
const EPOCH: u64 = 6 * 3600;

/// Keys that tickets are read with: the present one and those before it.
const KEYS: usize = 3;

/// Seconds for which a ticket is accepted at the least.
const LIFETIME: u32 = 12 * 3600;

/// Bytes that name the key of a ticket.
const NAME: usize = 16;

/// A clock that is further ahead than this is wrong, and followed no further: ten years.
const LONGEST: u64 = 10 * 365 * 4;

type Secret = [u8; 32];

/// See the module.
pub struct Tickets {
    /// `None`: there are no tickets.
    ring: Mutex<Option<Ring>>,
    clock: fn() -> u64,
}

impl fmt::Debug for Tickets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tickets")
    }
}

/// Secrets of the present epoch and of those before it that still count.
struct Ring {
    epoch: u64,
    /// The newest, which is that of the epoch, last.
    keys: VecDeque<Key>,
}

struct Key {
    secret: Secret,
    name: [u8; NAME],
    sealing: LessSafeKey,
}

impl Tickets {
    /// With a secret of its own. Without randomness there are no tickets, and sessions are not resumed.
    pub fn new() -> Self {
        Self::with_clock(seconds)
    }

    fn with_clock(clock: fn() -> u64) -> Self {
        let mut secret = Secret::default();
        let filled = SystemRandom::new().fill(&mut secret);
        if filled.is_err() {
            log::warn!(target: "oxicorn", "There is no randomness for session tickets: TLS sessions are not resumed");
        }
        let ring = filled.ok().map(|()| Ring::new(clock() / EPOCH, secret));
        Self {
            ring: Mutex::new(ring),
            clock,
        }
    }

    /// No tickets at all.
    pub(crate) fn none() -> Self {
        Self {
            ring: Mutex::new(None),
            clock: seconds,
        }
    }

    /// The secrets that still count, for another program in the place of this one; see [`Tickets::inherit`].
    pub fn bequest(&self) -> Option<String> {
        self.with_ring(|ring| Some(ring.bequest()))
    }

    /// Goes on with what [`Tickets::bequest`] said. Whether that was understood.
    pub fn inherit(&self, bequest: &str) -> bool {
        let inherited = Ring::inherited(bequest);
        let understood = inherited.is_some();
        if understood {
            *self.lock() = inherited;
        }
        understood
    }

    /// Forgets what is over. Whoever forks others and makes no tickets calls it now and then.
    pub fn advance(&self) {
        self.with_ring(|_| None::<()>);
    }

    fn with_ring<T>(&self, act: impl FnOnce(&Ring) -> Option<T>) -> Option<T> {
        let mut ring = self.lock();
        let ring = ring.as_mut()?;
        ring.advance((self.clock)() / EPOCH);
        act(ring)
    }

    fn lock(&self) -> MutexGuard<'_, Option<Ring>> {
        self.ring.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for Tickets {
    fn default() -> Self {
        Self::new()
    }
}

impl ProducesTickets for Tickets {
    fn enabled(&self) -> bool {
        self.lock().is_some()
    }

    fn lifetime(&self) -> u32 {
        LIFETIME
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        self.with_ring(|ring| ring.keys.back()?.seal(plain))
    }

    fn decrypt(&self, cipher: &[u8]) -> Option<Vec<u8>> {
        let (name, rest) = cipher.split_first_chunk::<NAME>()?;
        self.with_ring(|ring| {
            let mut keys = ring.keys.iter();
            keys.find(|key| key.name == *name)?.open(rest)
        })
    }
}

impl Ring {
    fn new(epoch: u64, secret: Secret) -> Self {
        let mut keys = VecDeque::with_capacity(KEYS);
        keys.extend(Key::of(secret));
        Self { epoch, keys }
    }

    /// The oldest secret, from which the others follow, and its epoch.
    fn bequest(&self) -> String {
        let oldest = self
            .keys
            .front()
            .map_or(Secret::default(), |key| key.secret);
        let first = (self.epoch + 1).saturating_sub(self.keys.len() as u64);
        let digits: Vec<String> = oldest.iter().map(|byte| format!("{byte:02x}")).collect();
        format!("{} {first} {}", self.epoch, digits.concat())
    }

    fn inherited(bequest: &str) -> Option<Self> {
        let mut words = bequest.split(' ');
        let mut number = || words.next()?.parse::<u64>().ok();
        let (epoch, first) = (number()?, number()?);
        let digits = words.next()?.as_bytes();
        let mut secret = Secret::default();
        let pairs = digits.chunks_exact(2);
        let whole = digits.len() == 2 * secret.len() && words.next().is_none();
        for (byte, pair) in secret.iter_mut().zip(pairs) {
            *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
        }
        let mut ring = Self::new(first, secret);
        ring.advance(epoch);
        whole.then_some(ring)
    }

    /// Goes on to the present. A clock that went back is not followed.
    fn advance(&mut self, epoch: u64) {
        let end = epoch.min(self.epoch.saturating_add(LONGEST));
        while self.epoch < end {
            let Some(present) = self.keys.back() else {
                return;
            };
            let next = derived(&present.secret, b"next secret");
            self.epoch += 1;
            if self.keys.len() == KEYS {
                self.keys.pop_front();
            }
            self.keys.extend(Key::of(next));
        }
    }
}

impl Key {
    fn of(secret: Secret) -> Option<Self> {
        let key = UnboundKey::new(&AES_256_GCM, &derived(&secret, b"ticket key")).ok()?;
        let name = derived(&secret, b"ticket name");
        Some(Self {
            secret,
            name: *name.first_chunk()?,
            sealing: LessSafeKey::new(key),
        })
    }

    fn seal(&self, plain: &[u8]) -> Option<Vec<u8>> {
        let mut nonce = [0; NONCE_LEN];
        SystemRandom::new().fill(&mut nonce).ok()?;
        let mut body = plain.to_vec();
        self.sealing
            .seal_in_place_append_tag(
                Nonce::assume_unique_for_key(nonce),
                Aad::from(self.name),
                &mut body,
            )
            .ok()?;
        Some([&self.name[..], &nonce, &body].concat())
    }

    fn open(&self, sealed: &[u8]) -> Option<Vec<u8>> {
        let (nonce, body) = sealed.split_first_chunk::<NONCE_LEN>()?;
        let mut body = body.to_vec();
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let plain = self
            .sealing
            .open_in_place(nonce, Aad::from(self.name), &mut body);
        plain.ok().map(|plain| plain.to_vec())
    }
}

fn derived(secret: &Secret, purpose: &[u8]) -> Secret {
    let mut made = Secret::default();
    let tag = sign(&HashKey::new(HMAC_SHA256, secret), purpose);
    made.copy_from_slice(tag.as_ref());
    made
}

fn seconds() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(epoch: u64, secret: Secret) -> Ring {
        Ring::new(epoch, secret)
    }

    fn ticket(ring: &Ring) -> Vec<u8> {
        ring.keys.back().unwrap().seal(b"session").unwrap()
    }

    fn opens(ring: &Ring, ticket: &[u8]) -> bool {
        let (name, rest) = ticket.split_first_chunk::<NAME>().unwrap();
        let key = ring.keys.iter().find(|key| key.name == *name);
        key.and_then(|key| key.open(rest)) == Some(b"session".to_vec())
    }

    #[test]
    fn processes_that_began_at_different_times_read_each_others_tickets() {
        let (mut old, mut young) = (at(7, [9; 32]), at(7, [9; 32]));
        young.advance(8);
        young.advance(20);
        old.advance(20);
        assert!(opens(&old, &ticket(&young)));
        assert!(opens(&young, &ticket(&old)));
    }

    #[test]
    fn a_ticket_is_read_for_two_more_epochs_and_then_no_more() {
        let mut ring = at(1, [1; 32]);
        let made = ticket(&ring);
        for epoch in 2..=3 {
            ring.advance(epoch);
            assert!(opens(&ring, &made), "epoch {epoch}");
        }
        ring.advance(4);
        assert!(!opens(&ring, &made));
    }

    #[test]
    fn what_is_bequeathed_reads_all_tickets_that_count_and_no_other_text_is_understood() {
        let mut ring = at(1, [3; 32]);
        let mut made = vec![ticket(&ring)];
        for epoch in 2..=4 {
            ring.advance(epoch);
            made.push(ticket(&ring));
        }
        let bequest = ring.bequest();
        let heir = Ring::inherited(&bequest).unwrap();
        assert_eq!(heir.epoch, 4);
        let read: Vec<bool> = made.iter().map(|one| opens(&heir, one)).collect();
        assert_eq!(read, [false, true, true, true]);
        assert!(opens(&ring, &ticket(&heir)));
        for cut in 0..bequest.len() {
            assert!(Ring::inherited(&bequest[..cut]).is_none(), "{cut}");
        }
        assert!(Ring::inherited(&format!("{bequest} 1")).is_none());
        assert!(Ring::inherited(&bequest.replace(' ', "x")).is_none());
    }

    #[test]
    fn another_secret_reads_nothing_of_it() {
        let made = ticket(&at(1, [1; 32]));
        assert!(!opens(&at(1, [2; 32]), &made));
    }

    #[test]
    fn a_clock_that_goes_back_or_far_ahead_ends_nothing() {
        let mut ring = at(100, [1; 32]);
        let made = ticket(&ring);
        ring.advance(3);
        assert!(opens(&ring, &made));
        ring.advance(u64::MAX);
        assert_eq!(ring.epoch, 100 + LONGEST);
    }

    #[test]
    fn damaged_tickets_are_nobodys() {
        let tickets = Tickets::with_clock(|| 5 * EPOCH);
        let made = tickets.encrypt(b"session").unwrap();
        assert_eq!(tickets.decrypt(&made), Some(b"session".to_vec()));
        for at in 0..made.len() {
            let mut damaged = made.clone();
            damaged[at] ^= 1;
            assert_eq!(tickets.decrypt(&damaged), None, "byte {at}");
            assert_eq!(tickets.decrypt(&made[..at]), None, "{at} bytes");
        }
    }
}
