//! Taking connections over from another process: what arrives is stored, answered for, and adopted when it is ours. The
//! order of messages is the taker's; this is what they do to the engine. Invariant: nothing of a stored connection is
//! touched, not even looked at, before it is ours.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

use mio::Interest;
use mio::unix::SourceFd;

use super::Handover;
use super::giver::PACKET;
use super::link::{Link, Packet, Received};
use super::message::{Message, Refusal};
use super::parcel::{Parcel, unpack};
use super::room::room_for;
use super::taker::Taker;
use crate::capsule::VERSION;
use crate::clock::Now;
use crate::engine::{Engine, Notice, TAKING, token};

/// Packets read before everything else gets a turn.
const PACKETS: usize = 16;

/// The hand-over from one other process.
#[derive(Debug)]
pub(crate) struct Taking {
    link: Link,
    taker: Taker<Vec<Parcel>>,
    /// Descriptors the giver was told there is room for, and that did not arrive yet.
    room: usize,
    /// How many it wanted.
    wanted: usize,
    moved: u64,
    in_between: usize,
}

impl Taking {
    pub(super) fn has_work(&self) -> bool {
        self.link.readable
    }

    pub(super) fn deadline(&self) -> Option<u64> {
        self.taker.deadline()
    }

    pub(super) fn in_between(&self) -> usize {
        self.in_between
    }

    fn answer(&self, message: &Message<'_>) {
        // A giver that does not hear it aborts, or is gone; both are looked after elsewhere.
        if let Err(error) = self.link.send(&message.write(), &[]) {
            log::debug!(target: "oxicorn", "An answer for the hand-over was not sent: {error:?}");
        }
    }

    /// What is left of the room; counted anew when it comes to an end.
    fn room_after(&mut self, used: usize) -> usize {
        self.room = self.room.saturating_sub(used);
        self.wanted = self.wanted.saturating_sub(used);
        if self.room < PACKET {
            // For several packets: counting takes as long as moving a few connections.
            self.room = room_for(self.wanted.max(4 * PACKET));
        }
        self.room
    }
}

impl Engine {
    /// Takes the connections that the engine at the other end of `link` gives; `link` is one of a connected pair of
    /// sequenced-packet sockets. Several may give at once. Whoever takes does not give: giving stops.
    /// [`Handover::Taken`] follows when the giver is gone.
    pub fn take_from(&mut self, link: OwnedFd, now: Now) -> io::Result<()> {
        let link = Link::new(link)?;
        let free = self.taking.iter().position(Option::is_none);
        let at = free.unwrap_or(self.taking.len());
        let raw = link.as_raw_fd();
        let place = token(TAKING + at as u64);
        self.registry
            .register(&mut SourceFd(&raw), place, Interest::READABLE)?;
        if free.is_none() {
            self.taking.push(None);
        }
        if let Some(slot) = self.taking.get_mut(at) {
            *slot = Some(Taking {
                link,
                taker: Taker::new(),
                room: 0,
                wanted: 0,
                moved: 0,
                in_between: 0,
            });
        }
        self.stop_giving(now);
        Ok(())
    }

    pub(crate) fn taking_ready(&mut self, index: usize) {
        if let Some(Some(taking)) = self.taking.get_mut(index) {
            taking.link.readable = true;
        }
    }

    /// Reads what givers have said. Whether there is more to do at once.
    pub(super) fn take(&mut self, now: Now) -> bool {
        let mut more = false;
        for index in 0..self.taking.len() {
            let Some(mut taking) = self.taking.get_mut(index).and_then(Option::take) else {
                continue;
            };
            if self.listen_to(&mut taking, now) {
                more |= taking.link.readable;
                if let Some(slot) = self.taking.get_mut(index) {
                    *slot = Some(taking);
                }
            } else {
                self.end_taking(taking, now);
            }
        }
        more
    }

    /// Whether the giver is still there.
    fn listen_to(&mut self, taking: &mut Taking, now: Now) -> bool {
        for _ in 0..PACKETS {
            if !taking.link.readable {
                break;
            }
            match taking.link.receive() {
                Ok(Received::Packet(packet)) => {
                    if !self.on_packet(taking, packet, now) {
                        return false;
                    }
                }
                Ok(Received::Nothing) => break,
                Ok(Received::End) => return false,
                Err(error) => {
                    log::error!(target: "oxicorn", "The hand-over's socket failed: {error}");
                    taking.drop_stored();
                    return false;
                }
            }
        }
        // Only after everything it said was heard.
        if !taking.link.readable && taking.taker.is_late(now.mono) {
            log::error!(target: "oxicorn", "{} connections of a giver that fell silent are dropped", taking.in_between);
            taking.drop_stored();
            return false;
        }
        true
    }

    /// Whether it was understood.
    fn on_packet(&mut self, taking: &mut Taking, packet: Packet, now: Now) -> bool {
        let Packet {
            bytes,
            descriptors,
            short,
        } = packet;
        match Message::read(&bytes) {
            Some(Message::Ask { wanted, .. }) => {
                taking.wanted = wanted;
                taking.room = room_for(wanted);
                taking.answer(&Message::Room {
                    version: VERSION,
                    room: taking.room,
                });
            }
            Some(Message::Prepare {
                version,
                batch,
                body,
            }) => {
                let used = descriptors.len();
                let stored = if version != VERSION {
                    Err(Refusal::Version)
                } else if self.draining {
                    Err(Refusal::Leaving)
                } else if short {
                    Err(Refusal::Room)
                } else {
                    unpack(body, descriptors).ok_or(Refusal::Malformed)
                };
                taking.store(batch, stored, used, now);
            }
            Some(Message::Commit { batch }) => {
                let ours = taking.taker.on_commit(batch).unwrap_or_default();
                self.adopt_all(taking, ours, now);
            }
            Some(Message::Abort { batch }) => {
                let theirs = taking.taker.on_abort(batch).unwrap_or_default();
                taking.in_between -= theirs.len();
            }
            _ => {
                log::error!(target: "oxicorn", "A giver said what nobody understands; the hand-over ends");
                // Its end cannot be told from its word any more: what is stored stays its own.
                taking.drop_stored();
                return false;
            }
        }
        true
    }

    fn adopt_all(&mut self, taking: &mut Taking, parcels: Vec<Parcel>, now: Now) {
        taking.in_between -= parcels.len();
        taking.moved += parcels.len() as u64;
        for parcel in parcels {
            self.adopt(parcel, now);
        }
        if self.draining && !self.is_giving() {
            self.hurry_idle(now);
        }
    }

    fn end_taking(&mut self, mut taking: Taking, now: Now) {
        let raw = taking.link.as_raw_fd();
        // Closing it would do as well, unless a process forked by the application holds a copy.
        let _ = self.registry.deregister(&mut SourceFd(&raw));
        let taker = std::mem::replace(&mut taking.taker, Taker::new());
        for parcels in taker.on_end() {
            self.adopt_all(&mut taking, parcels, now);
        }
        let moved = taking.moved;
        self.notices
            .push_back(Notice::Handover(Handover::Taken { moved }));
    }
}

impl Taking {
    fn drop_stored(&mut self) {
        self.taker = Taker::new();
        self.in_between = 0;
    }

    fn store(&mut self, batch: u32, parcels: Result<Vec<Parcel>, Refusal>, used: usize, now: Now) {
        match parcels {
            Ok(parcels) => {
                self.in_between += parcels.len();
                self.taker.store(batch, parcels, now.mono);
                let room = self.room_after(used);
                self.answer(&Message::Accept { batch, room });
            }
            Err(reason) => {
                log::warn!(target: "oxicorn", "Connections were not taken over: {reason:?}");
                self.answer(&Message::Refuse {
                    batch,
                    reason,
                    room: 0,
                });
            }
        }
    }
}
