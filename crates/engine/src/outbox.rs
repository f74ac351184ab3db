//! Response bytes the socket has not taken yet: in memory up to a limit, then in an unlinked file; blocks of the application
//! that are kept as they are, and parts of files it gave for sending. Invariant: bytes leave in the order they came; what was queued is never dropped while the
//! connection lives.

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use rustix::fs::sendfile;
use rustix::io::Errno;
use rustix::net::{SendFlags, send};

use crate::capsule::Unsent;
use crate::spool::unlinked_file;
use crate::tls::Session;
use crate::transport::Transport;

/// How much one flush sends at the most, so that one fast reader cannot keep the engine to itself.
const BURST: u64 = 1 << 20;

/// Bytes after which a new spool file is begun, so that the old one can go once it is sent.
const SEGMENT: u64 = 32 << 20;

/// Bytes of a file that are in memory at a time, while they are encrypted.
const FILE_BLOCK: usize = 64 * 1024;

/// Where flushing stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flushed {
    /// Nothing is left.
    Empty,
    /// The socket takes no more now.
    Blocked,
    /// The burst is used up; there is more and the socket may take it.
    Burst,
}

/// A part of a regular file, for the kernel to send.
#[derive(Debug)]
pub struct FilePart {
    /// The file; its own offset does not matter.
    pub file: File,
    /// Where the part begins, in bytes.
    pub offset: u64,
    /// Its length in bytes.
    pub len: u64,
}

/// Bytes of the application that live until they are sent, without a copy.
pub type Shared = Box<dyn AsRef<[u8]> + Send + Sync>;

/// How many bytes all connections together keep of the application's own objects.
#[derive(Clone, Debug, Default)]
pub(crate) struct Kept(Arc<AtomicUsize>);

impl Kept {
    /// Bytes kept now.
    pub(crate) fn bytes(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }

    fn charge(&self, bytes: usize) -> Charge {
        self.0.fetch_add(bytes, Ordering::Relaxed);
        Charge {
            kept: self.clone(),
            bytes,
        }
    }
}

/// What one part adds to [`Kept`] for as long as it exists.
#[derive(Debug)]
struct Charge {
    kept: Kept,
    bytes: usize,
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.kept.0.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

enum Part {
    Bytes {
        data: Vec<u8>,
        sent: usize,
    },
    Kept {
        owner: Shared,
        sent: usize,
        end: usize,
        _charge: Charge,
    },
    Spool {
        file: Arc<File>,
        offset: u64,
        left: u64,
    },
    File {
        file: File,
        offset: u64,
        left: u64,
    },
}

impl std::fmt::Debug for Outbox {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Outbox")
            .field("parts", &self.parts.len())
            .field("in_memory", &self.in_memory)
            .field("spooled", &self.spooled)
            .finish_non_exhaustive()
    }
}

/// A connection's queue of unsent bytes.
#[derive(Default)]
pub(crate) struct Outbox {
    parts: VecDeque<Part>,
    /// The file that grows; each part of it keeps it open.
    spool: Option<Arc<File>>,
    spool_end: u64,
    spooled: u64,
    in_memory: usize,
    /// Spooling has failed: what comes from here on is kept in memory.
    pub(crate) no_file: bool,
    /// What is in it waits for more bytes, not for the socket.
    pub(crate) waits: bool,
    /// Bytes that have left since creation.
    pub(crate) left_so_far: u64,
}

impl Outbox {
    /// Bytes lying in the spool file.
    pub(crate) fn spooled(&self) -> u64 {
        self.spooled
    }

    /// Unsent bytes held in memory (sent ones of the first block included).
    pub(crate) fn in_memory(&self) -> usize {
        self.in_memory
    }

    /// Queues `data`; beyond `memory` bytes it is written to a file in `dir`.
    pub(crate) fn push(&mut self, data: &[u8], memory: usize, dir: &Path) -> io::Result<()> {
        if data.is_empty() {
            return Ok(());
        }
        if self.spool.is_none() && self.in_memory + data.len() <= memory {
            self.push_memory(data);
            return Ok(());
        }
        self.push_spool(data, dir)
    }

    /// Queues `data` in memory whatever the limit; for small things such as a chunk's frame.
    pub(crate) fn push_memory(&mut self, data: &[u8]) {
        if data.is_empty() {
            return;
        }
        self.in_memory += data.len();
        if let Some(Part::Bytes { data: last, .. }) = self.parts.back_mut() {
            last.extend_from_slice(data);
        } else {
            self.parts.push_back(Part::Bytes {
                data: data.to_vec(),
                sent: 0,
            });
        }
    }

    /// Queues the bytes `range` of `owner` without copying them.
    pub(crate) fn push_kept(&mut self, owner: Shared, range: Range<usize>, kept: &Kept) {
        let end = range.end.min((*owner).as_ref().len());
        if range.start < end {
            self.parts.push_back(Part::Kept {
                _charge: kept.charge(end),
                owner,
                sent: range.start,
                end,
            });
        }
    }

    fn push_spool(&mut self, data: &[u8], dir: &Path) -> io::Result<()> {
        let part = self.write_spool(data, dir)?;
        self.insert(self.parts.len(), part);
        Ok(())
    }

    /// Writes `data` to the end of the spool file.
    fn write_spool(&mut self, data: &[u8], dir: &Path) -> io::Result<Part> {
        if self.spool_end >= SEGMENT {
            // What was sent is freed with its file: a slow reader of an endless response must not fill the disk.
            self.spool = None;
            self.spool_end = 0;
        }
        let file = match &self.spool {
            Some(file) => file.clone(),
            None => self.spool.insert(Arc::new(unlinked_file(dir)?)).clone(),
        };
        let (offset, left) = (self.spool_end, data.len() as u64);
        // A failed write may leave a part behind the end: the next one overwrites it.
        file.write_all_at(data, offset)?;
        self.spool_end += left;
        self.spooled += left;
        Ok(Part::Spool { file, offset, left })
    }

    /// Puts a part at `at`, or appends it to the one before if it goes on there. Returns the place behind it.
    fn insert(&mut self, at: usize, part: Part) -> usize {
        let before = at
            .checked_sub(1)
            .and_then(|before| self.parts.get_mut(before));
        if before.is_some_and(|before| before.absorb(&part)) {
            return at;
        }
        self.parts.insert(at, part);
        at + 1
    }

    /// Bytes of the application's own objects.
    pub(crate) fn kept(&self) -> usize {
        let kept = self.parts.iter().map(|part| match part {
            Part::Kept { sent, end, .. } => end - sent,
            _ => 0,
        });
        kept.sum()
    }

    /// Moves up to `most` bytes of the application's own objects to the spool file in `dir`: another process can be given
    /// that, and cannot be given them.
    pub(crate) fn spill(&mut self, most: usize, dir: &Path) -> io::Result<()> {
        let is_kept = |part: &Part| matches!(part, Part::Kept { .. });
        let Some(at) = self.parts.iter().position(is_kept) else {
            return Ok(());
        };
        let Some(mut part) = self.parts.remove(at) else {
            return Ok(());
        };
        let rest = part.bytes();
        let slice = rest.get(..most).unwrap_or(rest);
        match self.write_spool(slice, dir) {
            Ok(written) => {
                let all = slice.len() == rest.len();
                part.skip(slice.len());
                let behind = self.insert(at, written);
                if !all {
                    self.parts.insert(behind, part);
                }
                Ok(())
            }
            Err(error) => {
                self.parts.insert(at, part);
                Err(error)
            }
        }
    }

    /// Queues a part of a file.
    pub(crate) fn push_file(&mut self, part: FilePart) {
        if part.len > 0 {
            let FilePart { file, offset, len } = part;
            self.parts.push_back(Part::File {
                file,
                offset,
                left: len,
            });
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.parts.is_empty()
    }

    /// What is queued, in its order.
    pub(crate) fn unsent(&self) -> impl Iterator<Item = Unsent<'_, BorrowedFd<'_>>> {
        self.parts.iter().map(Part::unsent)
    }

    /// Sends what the socket takes, up to a burst. An error means that the connection is of no more use.
    pub(crate) fn flush(&mut self, transport: &mut Transport) -> io::Result<Flushed> {
        let mut budget = BURST;
        self.waits = false;
        while let Some(part) = self.parts.front_mut() {
            if budget == 0 {
                return Ok(Flushed::Burst);
            }
            let Some(sent) = part.send(transport, budget)? else {
                return Ok(Flushed::Blocked);
            };
            budget = budget.saturating_sub(sent);
            self.left_so_far += sent;
            self.account(sent);
        }
        if !transport.flush()? {
            return Ok(Flushed::Blocked);
        }
        Ok(Flushed::Empty)
    }

    fn account(&mut self, sent: u64) {
        let finished = match self.parts.front_mut() {
            Some(Part::Bytes { data, sent: at }) => {
                self.in_memory = self
                    .in_memory
                    .saturating_sub(usize::try_from(sent).unwrap_or(0));
                if *at > data.len() / 2 {
                    // The queue may never run dry: what was sent must not stay.
                    data.drain(..*at);
                    *at = 0;
                }
                data.is_empty()
            }
            Some(Part::Kept { sent, end, .. }) => sent == end,
            Some(Part::Spool { left, .. }) => {
                self.spooled = self.spooled.saturating_sub(sent);
                *left == 0
            }
            Some(Part::File { left, .. }) => *left == 0,
            None => false,
        };
        if finished {
            self.parts.pop_front();
        }
        if self.parts.is_empty() {
            self.spool = None;
            self.spool_end = 0;
        }
    }
}

impl Part {
    /// What is unsent of a part in memory.
    fn bytes(&self) -> &[u8] {
        let rest = match self {
            Self::Bytes { data, sent } => data.get(*sent..),
            Self::Kept {
                owner, sent, end, ..
            } => (**owner).as_ref().get(*sent..*end),
            Self::Spool { .. } | Self::File { .. } => None,
        };
        rest.unwrap_or_default()
    }

    /// The next `count` bytes are done with.
    fn skip(&mut self, count: usize) {
        match self {
            Self::Bytes { sent, .. } | Self::Kept { sent, .. } => *sent += count,
            Self::Spool { offset, left, .. } | Self::File { offset, left, .. } => {
                *offset += count as u64;
                *left -= count as u64;
            }
        }
    }

    /// Takes `next` in, if it is what follows in the same spool file.
    fn absorb(&mut self, next: &Self) -> bool {
        let (
            Self::Spool { file, offset, left },
            Self::Spool {
                file: other,
                offset: start,
                left: more,
            },
        ) = (self, next)
        else {
            return false;
        };
        let follows = Arc::ptr_eq(file, other) && *offset + *left == *start;
        if follows {
            *left += more;
        }
        follows
    }

    fn unsent(&self) -> Unsent<'_, BorrowedFd<'_>> {
        let (file, offset, len): (&File, _, _) = match self {
            Self::Bytes { .. } | Self::Kept { .. } => return Unsent::Bytes(self.bytes().into()),
            Self::Spool { file, offset, left } => (file, *offset, *left),
            Self::File { file, offset, left } => (file, *offset, *left),
        };
        let file = file.as_fd();
        Unsent::File { file, offset, len }
    }

    /// As much as the socket takes at once. `None` when it takes no more.
    fn send(&mut self, transport: &mut Transport, budget: u64) -> io::Result<Option<u64>> {
        match transport {
            Transport::Plain(socket) => self.send_plain(socket, budget),
            Transport::Tls(session) => self.send_encrypted(session, budget),
        }
    }

    /// Files are read a block at a time.
    fn send_encrypted(&mut self, session: &mut Session, budget: u64) -> io::Result<Option<u64>> {
        let most = usize::try_from(budget).unwrap_or(usize::MAX);
        let taken = match self {
            Self::Bytes { .. } | Self::Kept { .. } => {
                let rest = self.bytes();
                session.send(&[rest.get(..most).unwrap_or(rest)])?
            }
            Self::Spool { file, offset, left } => {
                session.send(&[&read_block(file, *offset, (*left).min(budget))?])?
            }
            Self::File { file, offset, left } => {
                session.send(&[&read_block(file, *offset, (*left).min(budget))?])?
            }
        };
        self.skip(taken);
        Ok((taken > 0).then_some(taken as u64))
    }

    /// One system call's worth.
    fn send_plain(&mut self, socket: impl AsFd, budget: u64) -> io::Result<Option<u64>> {
        match self {
            Self::Bytes { data, sent } => {
                let len = data.len();
                send_bytes(socket, data, sent, len, budget)
            }
            Self::Kept {
                owner, sent, end, ..
            } => send_bytes(socket, (**owner).as_ref(), sent, *end, budget),
            Self::Spool { file, offset, left } => {
                send_file_part(socket, file, offset, left, budget)
            }
            Self::File { file, offset, left } => send_file_part(socket, file, offset, left, budget),
        }
    }
}

fn send_bytes(
    socket: impl AsFd,
    bytes: &[u8],
    sent: &mut usize,
    end: usize,
    budget: u64,
) -> io::Result<Option<u64>> {
    let budget = usize::try_from(budget).unwrap_or(usize::MAX);
    let stop = end.min(sent.saturating_add(budget));
    let rest = bytes.get(*sent..stop).unwrap_or_default();
    let taken = retry(|| send(&socket, rest, SendFlags::NOSIGNAL))?;
    *sent += taken.unwrap_or(0);
    Ok(taken.map(|n| n as u64))
}

fn send_file_part(
    socket: impl AsFd,
    file: &File,
    offset: &mut u64,
    left: &mut u64,
    budget: u64,
) -> io::Result<Option<u64>> {
    let count = usize::try_from((*left).min(budget)).unwrap_or(usize::MAX);
    let Some(sent) = retry(|| sendfile(&socket, file, Some(offset), count))? else {
        return Ok(None);
    };
    if sent == 0 {
        // The file became shorter than it was when its length was promised to the client.
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    *left -= sent as u64;
    Ok(Some(sent as u64))
}

/// The next bytes of a file, for those that the kernel cannot send from it: `most` or a block.
fn read_block(file: &File, offset: u64, most: u64) -> io::Result<Vec<u8>> {
    let len = usize::try_from(most).map_or(FILE_BLOCK, |most| most.min(FILE_BLOCK));
    let mut block = vec![0; len];
    let read = loop {
        match file.read_at(&mut block, offset) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            other => break other?,
        }
    };
    if read == 0 {
        // It became shorter than it was when its length was promised to the client.
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    block.truncate(read);
    Ok(block)
}

/// Runs a non-blocking call again when a signal interrupted it; `None` when it would block.
pub(crate) fn retry<T>(mut call: impl FnMut() -> Result<T, Errno>) -> io::Result<Option<T>> {
    loop {
        match call() {
            Ok(value) => return Ok(Some(value)),
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => return Ok(None),
            Err(error) => return Err(error.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::os::unix::net::UnixStream;

    use super::*;

    fn transport(socket: &UnixStream) -> Transport {
        Transport::plain(socket.try_clone().unwrap().into())
    }

    fn drain(outbox: &mut Outbox, ours: &UnixStream, theirs: &mut UnixStream) -> Vec<u8> {
        let mut got = Vec::new();
        let mut buffer = vec![0; 1 << 16];
        while outbox.flush(&mut transport(ours)).unwrap() != Flushed::Empty {
            let n = theirs.read(&mut buffer).unwrap();
            got.extend_from_slice(&buffer[..n]);
        }
        ours.shutdown(std::net::Shutdown::Write).unwrap();
        theirs.read_to_end(&mut got).unwrap();
        got
    }

    #[test]
    fn bytes_spool_and_file_leave_in_order() {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        ours.set_nonblocking(true).unwrap();
        let mut outbox = Outbox::default();
        let big = vec![b'b'; 3 << 20];
        let mut file = unlinked_file(&std::env::temp_dir()).unwrap();
        file.write_all(b"xxfile").unwrap();
        outbox.push(b"head", 8, &std::env::temp_dir()).unwrap();
        outbox.push(&big, 8, &std::env::temp_dir()).unwrap();
        outbox.push(b"tail", 8, &std::env::temp_dir()).unwrap();
        assert_eq!(outbox.spooled(), (3 << 20) + 4);
        outbox.push_file(FilePart {
            file,
            offset: 2,
            len: 4,
        });
        let got = drain(&mut outbox, &ours, &mut theirs);
        assert_eq!(got.len(), 4 + big.len() + 4 + 4);
        assert!(got.starts_with(b"headbbb"));
        assert!(got.ends_with(b"btailfile"));
        assert_eq!(outbox.spooled(), 0);
        assert_eq!(outbox.left_so_far, got.len() as u64);
    }

    #[test]
    fn a_queue_that_never_runs_dry_holds_what_is_unsent_and_no_more() {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        ours.set_nonblocking(true).unwrap();
        let (mut outbox, dir) = (Outbox::default(), std::env::temp_dir());
        let limit = 1 << 20;
        while outbox.in_memory() + 4096 <= limit {
            outbox.push(&[b'x'; 4096], limit, &dir).unwrap();
            outbox.flush(&mut transport(&ours)).unwrap();
        }
        let mut block = [0; 4096];
        for _ in 0..10_000 {
            theirs.read_exact(&mut block).unwrap();
            outbox.flush(&mut transport(&ours)).unwrap();
            while outbox.in_memory() + 4096 <= limit {
                outbox.push(&block, limit, &dir).unwrap();
            }
        }
        let held = |part: &Part| match part {
            Part::Bytes { data, .. } => data.capacity(),
            _ => 0,
        };
        let held: usize = outbox.parts.iter().map(held).sum();
        assert!(held <= 4 * limit, "{held} bytes for a limit of {limit}");
    }

    #[test]
    fn what_is_kept_can_be_moved_to_the_spool_in_slices_and_the_order_stays() {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        ours.set_nonblocking(true).unwrap();
        let (mut outbox, dir, kept) = (Outbox::default(), std::env::temp_dir(), Kept::default());
        let block: Vec<u8> = (0..=250).cycle().take(3_000_000).collect();
        outbox.push(b"first", 0, &dir).unwrap();
        outbox.push_memory(b"head");
        outbox.push_kept(Box::new(block.clone()), 7..block.len(), &kept);
        outbox.push(b"last", 0, &dir).unwrap();
        outbox.flush(&mut transport(&ours)).unwrap();
        while outbox.kept() > 0 {
            outbox.spill(100_000, &dir).unwrap();
        }
        assert_eq!((kept.bytes(), outbox.unsent().count()), (0, 2));
        let got = drain(&mut outbox, &ours, &mut theirs);
        assert!(got == [b"firsthead", &block[7..], b"last"].concat());
    }

    #[test]
    fn a_file_that_shrank_is_an_error() {
        let (ours, _theirs) = UnixStream::pair().unwrap();
        let mut outbox = Outbox::default();
        outbox.push_file(FilePart {
            file: unlinked_file(&std::env::temp_dir()).unwrap(),
            offset: 0,
            len: 10,
        });
        let error = outbox.flush(&mut transport(&ours)).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
    }
}
