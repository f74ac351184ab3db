//! Batches as packets: connections to capsules and descriptors, and back. Small batches travel inside the packet, others in
//! a sealed memory file whose descriptor comes first. Invariant: a batch is read completely or refused; no descriptor of a
//! refused one stays open.

use std::borrow::Cow;
use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::FileExt;

use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, fcntl_get_seals, memfd_create};

use crate::capsule::{Begun, Capsule, Place, Stage, Stored, Unsent, VERSION};
use crate::clock::Now;
use crate::codec::{Input, put_sized};
use crate::connection::{Connection, Phase};
use crate::outbox::Outbox;

use super::link;
use super::message::Message;

/// Capsules up to this size travel in the packet itself: beside the message's own bytes.
const INLINE: usize = link::PACKET - 64;

/// A batch in a memory file is larger than this only by mistake.
const LARGEST: u64 = 1 << 30;

/// One connection that has arrived and is not yet ours.
#[derive(Debug)]
pub(crate) struct Parcel {
    pub(crate) socket: OwnedFd,
    pub(crate) capsule: Capsule<'static, OwnedFd>,
}

/// Descriptors a connection takes in a batch.
pub(crate) fn descriptors(connection: &Connection) -> usize {
    let body = match &connection.phase {
        Phase::Body(reading) => usize::from(reading.spool.file().is_some()),
        _ => usize::from(
            connection
                .arrival
                .as_ref()
                .is_some_and(|begun| begun.stored.is_some()),
        ),
    };
    let unsent = connection.outbox.as_deref().map_or(0, |outbox| {
        outbox
            .unsent()
            .filter(|part| matches!(part, Unsent::File { .. }))
            .count()
    });
    1 + body + unsent
}

/// Bytes a connection takes in a batch, about.
pub(crate) fn weight(connection: &Connection) -> usize {
    let body = match &connection.phase {
        Phase::Body(reading) => reading.bytes.len() + reading.spool.memory().len(),
        _ => 0,
    };
    let unsent = connection.outbox.as_deref().map_or(0, Outbox::in_memory);
    connection.inbuf.len() + body + unsent
}

/// A batch on its way out.
#[derive(Debug)]
pub(crate) struct Outgoing<'c> {
    body: Vec<u8>,
    file: Option<OwnedFd>,
    descriptors: Vec<BorrowedFd<'c>>,
}

impl<'c> Outgoing<'c> {
    /// Encodes `connections`, whose listeners are bound to `places`. An error means that there is no memory file to be had.
    pub(crate) fn pack(
        connections: &'c [Connection],
        places: &[Place],
        now: Now,
    ) -> rustix::io::Result<Self> {
        let (mut body, mut descriptors) = (Vec::new(), Vec::new());
        for connection in connections {
            let place = places.get(usize::from(connection.listener)).cloned();
            let capsule = capsule(connection, place.unwrap_or(Place::Unix(Vec::new())), now);
            descriptors.push(connection.transport.as_fd());
            put_sized(&mut body, |out| capsule.encode(out, &mut descriptors));
        }
        let file = (body.len() > INLINE).then(|| sealed(&body)).transpose()?;
        if file.is_some() {
            body.clear();
        }
        Ok(Self {
            body,
            file,
            descriptors,
        })
    }

    /// The packet's bytes.
    pub(crate) fn packet(&self, batch: u32) -> Vec<u8> {
        let body = self.body.as_slice();
        Message::Prepare {
            version: VERSION,
            batch,
            body,
        }
        .write()
    }

    /// The packet's descriptors.
    pub(crate) fn descriptors(&self) -> Vec<BorrowedFd<'_>> {
        let file = self.file.iter().map(AsFd::as_fd);
        file.chain(self.descriptors.iter().copied()).collect()
    }
}

/// Reads a batch. `None`: it is malformed.
pub(crate) fn unpack(body: &[u8], descriptors: Vec<OwnedFd>) -> Option<Vec<Parcel>> {
    let mut descriptors = descriptors.into_iter();
    let body = if body.is_empty() {
        Cow::Owned(contents(&File::from(descriptors.next()?))?)
    } else {
        Cow::Borrowed(body)
    };
    let (mut input, mut parcels) = (Input::new(&body), Vec::new());
    while !input.is_empty() {
        let capsule = input.string()?;
        let socket = descriptors.next()?;
        let capsule = Capsule::decode(capsule, &mut descriptors)?;
        parcels.push(Parcel { socket, capsule });
    }
    // One too many means that something was understood differently.
    descriptors.next().is_none().then_some(parcels)
}

const SEALS: SealFlags = SealFlags::SHRINK
    .union(SealFlags::GROW)
    .union(SealFlags::WRITE)
    .union(SealFlags::SEAL);

/// A memory file that nobody can change any more.
fn sealed(bytes: &[u8]) -> rustix::io::Result<OwnedFd> {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let file = File::from(memfd_create(c"oxicorn-connections", flags)?);
    let written = file.write_all_at(bytes, 0);
    // What can fail is memory; that passes.
    written.map_err(|error| {
        rustix::io::Errno::from_io_error(&error).unwrap_or(rustix::io::Errno::NOMEM)
    })?;
    fcntl_add_seals(&file, SEALS)?;
    Ok(file.into())
}

fn contents(file: &File) -> Option<Vec<u8>> {
    let sealed = fcntl_get_seals(file).is_ok_and(|seals| seals.contains(SEALS));
    let len = file.metadata().ok()?.len();
    if !sealed || len == 0 || len > LARGEST {
        return None;
    }
    let mut bytes = vec![0; usize::try_from(len).ok()?];
    file.read_exact_at(&mut bytes, 0).ok()?;
    Some(bytes)
}

/// A connection as plain data, borrowed from it.
fn capsule(connection: &Connection, listener: Place, now: Now) -> Capsule<'_, BorrowedFd<'_>> {
    let stage = match connection.phase {
        Phase::Flush { close } => Stage::Sending { close },
        _ => Stage::Receiving,
    };
    let (input, begun) = match &connection.phase {
        Phase::Body(reading) => request_so_far(connection, reading, now),
        _ => (
            Cow::Borrowed(connection.inbuf.as_slice()),
            untouched(connection, now),
        ),
    };
    let deadline = connection.deadline;
    Capsule {
        peer: connection.peer,
        origin: connection.origin.as_deref().copied(),
        language: connection.language,
        listener,
        served: connection.served,
        idle: now.mono.saturating_sub(connection.active),
        remaining: (deadline != u64::MAX).then(|| deadline.saturating_sub(now.mono)),
        stage,
        input,
        begun,
        unsent: connection
            .outbox
            .iter()
            .flat_map(|outbox| outbox.unsent())
            .collect(),
    }
}

/// A request whose body has begun, as the bytes that a parser would need to get as far. The framing of what has come is
/// written anew, as one chunk; a body in a file stays there.
fn request_so_far<'c>(
    connection: &'c Connection,
    reading: &'c crate::connection::Reading,
    now: Now,
) -> (Cow<'c, [u8]>, Option<Begun<BorrowedFd<'c>>>) {
    let spool = &reading.spool;
    let (before, after) = reading.decoder.reframed(spool.len());
    let mut input = [reading.bytes.as_slice(), before.as_bytes(), spool.memory()].concat();
    let stored = spool.file().map(|file| Stored {
        at: input.len(),
        len: spool.len(),
        file: file.as_fd(),
    });
    input.extend_from_slice(after.as_bytes());
    input.extend_from_slice(&connection.inbuf);
    let age = now.mono.saturating_sub(reading.since);
    (input.into(), Some(Begun { age, stored }))
}

/// What arrived in a capsule and was not looked at since.
fn untouched(connection: &Connection, now: Now) -> Option<Begun<BorrowedFd<'_>>> {
    let arrival = connection.arrival.as_deref()?;
    let stored = arrival.stored.as_ref().map(|stored| Stored {
        at: stored.at,
        len: stored.len,
        file: stored.file.as_fd(),
    });
    Some(Begun {
        age: now.mono.saturating_sub(arrival.since),
        stored,
    })
}
