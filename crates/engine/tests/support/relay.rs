//! A relay between the two ends of a hand-over, so that a test decides which message arrives. It keeps what the kernel
//! promises: what was sent before an end arrives before that end.

use std::collections::VecDeque;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};

use rustix::cmsg_space;
use rustix::io::{IoSlice, IoSliceMut};
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};

use super::pair::{Pair, ends};

/// The first byte of a message says which it is.
pub(crate) const PREPARE: u8 = 3;
pub(crate) const COMMIT: u8 = 6;

/// A packet on its way.
#[derive(Debug)]
pub(crate) struct Packet {
    pub(crate) bytes: Vec<u8>,
    descriptors: Vec<OwnedFd>,
}

impl Packet {
    pub(crate) fn kind(&self) -> u8 {
        self.bytes[0]
    }
}

/// One direction.
#[derive(Debug)]
struct Way {
    waiting: VecDeque<Packet>,
    ended: bool,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Relay {
    /// Towards the giver and the taker; none once that way was ended.
    sides: [Option<OwnedFd>; 2],
    ways: [Way; 2],
    /// Kinds of the messages that were delivered, in their order.
    pub(crate) delivered: Vec<u8>,
}

impl Relay {
    /// Stands between the engines of `pair`, and lets them begin.
    pub(crate) fn between(pair: &mut Pair) -> Self {
        let (giver, old) = ends();
        let (taker, new) = ends();
        pair.take_from(taker);
        pair.give_to(giver);
        let way = || Way {
            waiting: VecDeque::new(),
            ended: false,
        };
        Self {
            sides: [Some(old), Some(new)],
            ways: [way(), way()],
            delivered: Vec::new(),
        }
    }

    /// Takes over what the two have sent.
    pub(crate) fn collect(&mut self) {
        for (side, way) in self.sides.iter().zip(&mut self.ways) {
            while let Some(fd) = side.as_ref().filter(|_| !way.ended) {
                match receive(fd) {
                    Some(packet) if packet.bytes.is_empty() => way.ended = true,
                    Some(packet) => way.waiting.push_back(packet),
                    None => break,
                }
            }
        }
    }

    /// The next message, the giver's first, with where it goes.
    pub(crate) fn next(&mut self) -> Option<(usize, Packet)> {
        self.collect();
        let from = self.ways.iter().position(|way| !way.waiting.is_empty())?;
        let packet = self.ways[from].waiting.pop_front()?;
        Some((1 - from, packet))
    }

    pub(crate) fn deliver(&mut self, to: usize, packet: &Packet) {
        self.delivered.push(packet.kind());
        if let Some(side) = &self.sides[to] {
            send(side, packet);
        }
    }

    /// Delivers what there is, and then the ends.
    pub(crate) fn pass_all(&mut self) {
        while let Some((to, packet)) = self.next() {
            self.deliver(to, &packet);
        }
        for from in 0..2 {
            if self.ways[from].ended {
                self.sides[1 - from] = None;
            }
        }
    }

    /// Whether a message of this kind was delivered, or is on its way from the giver.
    pub(crate) fn knows(&mut self, kind: u8) -> bool {
        self.collect();
        let waits = self.ways[0]
            .waiting
            .iter()
            .any(|packet| packet.kind() == kind);
        waits || self.delivered.contains(&kind)
    }

    /// One side has died: what was on its way to it is lost.
    pub(crate) fn bury(&mut self, side: usize) {
        self.collect();
        self.ways[1 - side].waiting.clear();
        self.ways[side].ended = true;
    }
}

/// A packet; an empty one at the end; none when there is none.
fn receive(fd: &OwnedFd) -> Option<Packet> {
    let mut bytes = vec![0; 1 << 16];
    let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(253))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let flags = RecvFlags::DONTWAIT | RecvFlags::CMSG_CLOEXEC;
    let len = loop {
        let parts = &mut [IoSliceMut::new(&mut bytes)];
        match recvmsg(fd, parts, &mut control, flags) {
            Ok(arrived) => break arrived.bytes,
            Err(rustix::io::Errno::CONNRESET) => {}
            Err(_) => return None,
        }
    };
    bytes.truncate(len);
    let mut descriptors = Vec::new();
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(rights) = message {
            descriptors.extend(rights);
        }
    }
    Some(Packet { bytes, descriptors })
}

fn send(fd: &OwnedFd, packet: &Packet) {
    let descriptors: Vec<_> = packet.descriptors.iter().map(AsFd::as_fd).collect();
    let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(253))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !descriptors.is_empty() {
        assert!(control.push(SendAncillaryMessage::ScmRights(&descriptors)));
    }
    // Whoever is dead hears nothing.
    let _ = sendmsg(
        fd,
        &[IoSlice::new(&packet.bytes)],
        &mut control,
        SendFlags::NOSIGNAL,
    );
}
