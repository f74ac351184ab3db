//! The other arbiter as the loop sees it: the link to it, its offers, and whether it lives.
//!
//! Not for deciding what is said or taken; that is `core/dance.rs`. Nothing here blocks.
//!
//! Invariant: what cannot be said ends the link, so that neither side ever waits for a word that
//! was lost.

mod inheritance;
mod link;
mod successor;

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::process::Command;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::process::{Pid as SystemPid, PidfdFlags, getppid, pidfd_open};

pub use inheritance::Inheritance;
use link::{Heard, Link};
pub(crate) use successor::Legacy;

use crate::core::{Cue, Offer, Pid, Standing};
use crate::sys::descriptors::adopt;
use crate::translate::{TARGET, timespec};

/// The other arbiter, if there is one.
#[derive(Debug, Default)]
pub(crate) struct Partner {
    link: Option<Link>,
    elder: Option<Elder>,
    /// Ends of pairs over which the other's workers, or orphans, want to give, until somebody takes
    /// them.
    offers: BTreeMap<Offer, OwnedFd>,
    last_offer: Offer,
}

/// The process that started this one.
#[derive(Debug)]
struct Elder {
    pid: Pid,
    /// Readable when it has ended; `None` if it had ended before, or the kernel has no such thing.
    process: Option<OwnedFd>,
}

impl Partner {
    /// The arbiter that started this one.
    pub(crate) fn elder(inheritance: &Inheritance) -> Self {
        let link = inheritance.link.and_then(|number| match adopt(number) {
            Ok(socket) => Some(Link::new(socket)),
            Err(error) => {
                log::warn!(target: TARGET, "There is no link to the other arbiter: {error}");
                None
            }
        });
        Self {
            link,
            elder: Some(Elder::with_pid(inheritance.elder)),
            ..Self::default()
        }
    }

    pub(crate) fn is_linked(&self) -> bool {
        self.link.is_some()
    }

    /// Starts a second arbiter by `execute`, and links it to this one.
    pub(crate) fn start(
        &mut self,
        legacy: &Legacy<'_>,
        execute: &mut dyn FnMut(Command) -> io::Result<Pid>,
    ) -> Cue {
        match successor::start(legacy, execute) {
            Ok((pid, link)) => {
                self.link = Some(link);
                Cue::Started { pid }
            }
            Err(error) => Cue::NotStarted {
                error: error.to_string(),
            },
        }
    }

    /// What to wait for: that it becomes readable.
    pub(crate) fn interests(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        let link = self.link.iter().map(AsFd::as_fd);
        let elder = self.elder.iter().flat_map(|elder| &elder.process);
        link.chain(elder.map(AsFd::as_fd))
    }

    /// What has happened since.
    pub(crate) fn turn(&mut self) -> Vec<Cue> {
        let mut cues = self.listen();
        let unlinked = self.link.is_none();
        if self
            .elder
            .as_ref()
            .is_some_and(|elder| elder.is_gone(unlinked))
        {
            self.elder = None;
            self.link = None;
            cues.push(Cue::ElderGone);
        }
        cues
    }

    /// What the other says, if it can still be told.
    pub(crate) fn say(&mut self, standing: Standing) -> Option<Cue> {
        let said = self.link.as_ref()?.say(standing);
        let error = said.err()?;
        log::debug!(target: TARGET, "The other arbiter cannot be told anything: {error}");
        self.link = None;
        Some(Cue::LinkLost)
    }

    /// Offers an end of a pair, over which connections come. It may be closed here afterwards.
    pub(crate) fn offer(&self, end: BorrowedFd<'_>) -> io::Result<()> {
        let link = self.link.as_ref().ok_or(io::ErrorKind::NotConnected)?;
        link.offer(end)
    }

    /// What was offered. Dropped, it is declined: the giver sees the end, and keeps its connections.
    pub(crate) fn offered(&mut self, offer: Offer) -> Option<OwnedFd> {
        self.offers.remove(&offer)
    }

    /// Keeps an end over which connections are to come, until somebody takes it.
    pub(crate) fn keep(&mut self, end: OwnedFd) -> Offer {
        self.last_offer += 1;
        self.offers.insert(self.last_offer, end);
        self.last_offer
    }

    fn listen(&mut self) -> Vec<Cue> {
        let mut cues = Vec::new();
        while let Some(link) = &self.link {
            cues.push(match link.heard() {
                Heard::Standing(standing) => Cue::Said(standing),
                Heard::Offer(end) => Cue::Offered {
                    offer: self.keep(end),
                },
                Heard::Nothing => break,
                Heard::End => {
                    self.link = None;
                    Cue::LinkLost
                }
            });
        }
        cues
    }
}

impl Elder {
    fn with_pid(pid: Pid) -> Self {
        let process = SystemPid::from_raw(pid)
            .ok_or(Errno::SRCH)
            .and_then(|pid| pidfd_open(pid, PidfdFlags::empty()));
        if let Err(error) = &process
            && *error != Errno::SRCH
        {
            log::debug!(target: TARGET, "The arbiter (pid:{pid}) cannot be watched: {error}");
        }
        let process = process.ok();
        Self { pid, process }
    }

    /// Where the kernel does not tell, its child finds itself with another parent.
    fn is_gone(&self, unlinked: bool) -> bool {
        match &self.process {
            Some(process) => is_readable(process.as_fd()),
            None => unlinked && getppid().map(|pid| pid.as_raw_nonzero().get()) != Some(self.pid),
        }
    }
}

fn is_readable(fd: BorrowedFd<'_>) -> bool {
    let mut fds = [PollFd::from_borrowed_fd(fd, PollFlags::IN)];
    // Interrupted, it is asked again: the loop's poll returns at once then.
    matches!(poll(&mut fds, Some(&timespec(Duration::ZERO))), Ok(ready) if ready > 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::packet_pair;

    fn pair() -> (Partner, Partner) {
        let (one, other) = packet_pair().unwrap();
        let partner = |socket| Partner {
            link: Some(Link::new(socket)),
            ..Partner::default()
        };
        (partner(one), partner(other))
    }

    #[test]
    fn what_one_says_the_other_hears_in_order() {
        let (mut one, mut other) = pair();
        assert_eq!(other.turn(), []);
        for standing in [Standing::Able, Standing::Away, Standing::Leaving] {
            assert_eq!(one.say(standing), None);
        }
        let said = [Standing::Able, Standing::Away, Standing::Leaving].map(Cue::Said);
        assert_eq!(other.turn(), said);
    }

    #[test]
    fn an_offer_that_is_not_taken_is_closed() {
        let (one, mut other) = pair();
        let (kept, given) = packet_pair().unwrap();
        one.offer(given.as_fd()).unwrap();
        drop(given);
        assert_eq!(other.turn(), [Cue::Offered { offer: 1 }]);
        assert!(!is_readable(kept.as_fd()));
        drop(other.offered(1));
        assert!(is_readable(kept.as_fd()));
        assert!(other.offered(1).is_none());
    }

    #[test]
    fn the_end_of_the_other_ends_the_link_after_what_it_said() {
        let (mut one, mut other) = pair();
        assert_eq!(other.say(Standing::Able), None);
        drop(other);
        assert_eq!(one.turn(), [Cue::Said(Standing::Able), Cue::LinkLost]);
        assert!(!one.is_linked());
        assert_eq!(one.turn(), []);
        assert!(one.offer(packet_pair().unwrap().0.as_fd()).is_err());
    }

    #[test]
    fn what_cannot_be_said_ends_the_link() {
        let (mut one, other) = pair();
        drop(other);
        assert_eq!(one.say(Standing::Able), Some(Cue::LinkLost));
        assert_eq!(one.say(Standing::Able), None);
    }

    #[test]
    fn a_living_process_is_not_gone_and_a_dead_one_is_and_once() {
        let mut child = Command::new("cat")
            .stdin(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let elder = i32::try_from(child.id()).unwrap();
        let mut partner = Partner {
            elder: Some(Elder::with_pid(elder)),
            ..Partner::default()
        };
        assert_eq!(partner.turn(), []);
        drop(child.stdin.take());
        // Not yet reaped: a zombie is gone as well.
        let interests: Vec<BorrowedFd<'_>> = partner.interests().collect();
        let mut fds = [PollFd::from_borrowed_fd(interests[0], PollFlags::IN)];
        poll(&mut fds, None).unwrap();
        assert_eq!(partner.turn(), [Cue::ElderGone]);
        assert_eq!(partner.turn(), []);
        child.wait().unwrap();
        let mut late = Partner {
            elder: Some(Elder::with_pid(elder)),
            ..Partner::default()
        };
        assert_eq!(late.turn(), [Cue::ElderGone]);
    }
}
