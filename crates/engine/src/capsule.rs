//! A connection as plain data, for another process: what it is, how far it has come, and its bytes. Nothing of the parser
//! is in it: a half-read request is its raw bytes, and whoever gets them parses them from the start. A capsule names
//! descriptors only by their order, so this module touches none.
//!
//! A capsule is a list of fields: a tag, a length, a value. A tag from 128 on may be skipped by whoever does not know it; an
//! unknown one below is refused. The last field says that it is the last. Invariant: `decode` gives back what `encode` was given, or nothing; it never panics.

use std::borrow::Cow;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};

use oxicorn_edge::proxy::Protocol;

use crate::codec::{Input, put_sized};
use crate::edge::{Language, Origin};
use crate::peer::Peer;

/// The version of this encoding. Another one is refused as a whole, before any capsule is looked at.
pub(crate) const VERSION: u16 = 1;

/// No offset or length in a file is beyond this, so that sums of two cannot overflow.
const FILE_MAX: u64 = i64::MAX as u64;

/// Tags from here on may be skipped.
const OPTIONAL: u8 = 128;

/// The address that a listener is bound to. Indexes differ between generations, addresses say what is meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    Ip(SocketAddr),
    /// The path of a Unix socket; an abstract name begins with a zero byte, without a name it is empty.
    Unix(Vec<u8>),
}

/// What the connection is doing. One inside the application is in no capsule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// Silent, idle, or inside a request.
    Receiving,
    /// The response is complete and being sent. `close`: nothing follows.
    Sending { close: bool },
}

/// Bytes of the request that lie in a file: `len` bytes that belong at `at` of the input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Stored<F> {
    pub(crate) at: usize,
    pub(crate) len: u64,
    pub(crate) file: F,
}

impl<F> Stored<F> {
    /// The same with another kind of descriptor.
    pub(crate) fn map<G>(self, change: impl FnOnce(F) -> G) -> Stored<G> {
        Stored {
            at: self.at,
            len: self.len,
            file: change(self.file),
        }
    }
}

/// A body has begun: its head was accepted, and `100 Continue` is sent or not needed any more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Begun<F> {
    /// Milliseconds since the body began.
    pub(crate) age: u64,
    pub(crate) stored: Option<Stored<F>>,
}

/// A part of the response that the socket has not taken yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Unsent<'b, F> {
    Bytes(Cow<'b, [u8]>),
    File { file: F, offset: u64, len: u64 },
}

impl<F> Unsent<'_, F> {
    fn is_empty(&self) -> bool {
        match self {
            Self::Bytes(bytes) => bytes.is_empty(),
            Self::File { len, .. } => *len == 0,
        }
    }
}

/// See the module. `F` is a descriptor: borrowed from the one who sends, owned by the one who receives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Capsule<'b, F> {
    /// The client: whoever connected, or whom a PROXY header names.
    pub(crate) peer: Peer,
    /// What a PROXY header said.
    pub(crate) origin: Option<Origin>,
    pub(crate) language: Language,
    /// The listener it came from.
    pub(crate) listener: Place,
    /// Requests answered.
    pub(crate) served: u32,
    /// Milliseconds since the accept or the last response.
    pub(crate) idle: u64,
    /// Milliseconds until the deadline of the stage; `None` = no deadline.
    pub(crate) remaining: Option<u64>,
    pub(crate) stage: Stage,
    /// Bytes read and not dispatched, from the beginning of the current request.
    pub(crate) input: Cow<'b, [u8]>,
    pub(crate) begun: Option<Begun<F>>,
    pub(crate) unsent: Vec<Unsent<'b, F>>,
}

mod tag {
    pub(super) const END: u8 = 0;
    pub(super) const PEER: u8 = 1;
    pub(super) const LISTENER: u8 = 2;
    pub(super) const SERVED: u8 = 3;
    pub(super) const IDLE: u8 = 4;
    pub(super) const REMAINING: u8 = 5;
    pub(super) const STAGE: u8 = 6;
    pub(super) const INPUT: u8 = 7;
    pub(super) const BEGUN: u8 = 8;
    pub(super) const STORED: u8 = 9;
    pub(super) const UNSENT_BYTES: u8 = 10;
    pub(super) const UNSENT_FILE: u8 = 11;
    pub(super) const LANGUAGE: u8 = 12;
    pub(super) const ORIGIN: u8 = 13;
}

impl<F: Copy> Capsule<'_, F> {
    /// Appends the encoding to `out`, and the descriptors it needs to `files`, in their order.
    pub(crate) fn encode(&self, out: &mut Vec<u8>, files: &mut Vec<F>) {
        put(out, tag::PEER, |out| put_peer(out, self.peer));
        if let Some(origin) = self.origin {
            put(out, tag::ORIGIN, |out| put_origin(out, origin));
        }
        if let Some(code) = language_code(self.language) {
            put(out, tag::LANGUAGE, |out| out.push(code));
        }
        put(out, tag::LISTENER, |out| match &self.listener {
            Place::Ip(address) => put_address(out, *address),
            Place::Unix(path) => {
                out.push(0);
                out.extend_from_slice(path);
            }
        });
        put(out, tag::SERVED, |out| {
            out.extend(self.served.to_le_bytes());
        });
        put(out, tag::IDLE, |out| out.extend(self.idle.to_le_bytes()));
        if let Some(remaining) = self.remaining {
            put(out, tag::REMAINING, |out| {
                out.extend(remaining.to_le_bytes());
            });
        }
        put(out, tag::STAGE, |out| out.push(stage_code(self.stage)));
        put(out, tag::INPUT, |out| out.extend_from_slice(&self.input));
        self.encode_files(out, files);
        put(out, tag::END, |_| {});
    }

    fn encode_files(&self, out: &mut Vec<u8>, files: &mut Vec<F>) {
        if let Some(begun) = &self.begun {
            put(out, tag::BEGUN, |out| out.extend(begun.age.to_le_bytes()));
            if let Some(Stored { at, len, file }) = &begun.stored {
                put(out, tag::STORED, |out| {
                    out.extend((*at as u64).to_le_bytes());
                    out.extend(len.to_le_bytes());
                });
                files.push(*file);
            }
        }
        for part in &self.unsent {
            match part {
                Unsent::Bytes(bytes) => {
                    put(out, tag::UNSENT_BYTES, |out| out.extend_from_slice(bytes));
                }
                Unsent::File { file, offset, len } => {
                    put(out, tag::UNSENT_FILE, |out| {
                        out.extend(offset.to_le_bytes());
                        out.extend(len.to_le_bytes());
                    });
                    files.push(*file);
                }
            }
        }
    }
}

/// The fields met so far.
struct Draft<F> {
    peer: Option<Peer>,
    origin: Option<Origin>,
    language: Option<Language>,
    listener: Option<Place>,
    served: Option<u32>,
    idle: Option<u64>,
    remaining: Option<u64>,
    stage: Option<Stage>,
    input: Option<Vec<u8>>,
    begun: Option<Begun<F>>,
    unsent: Vec<Unsent<'static, F>>,
}

impl<F> Capsule<'static, F> {
    /// Reads a capsule; the descriptors it names are taken from `files`. `None`: it is malformed.
    pub(crate) fn decode(bytes: &[u8], files: &mut impl Iterator<Item = F>) -> Option<Self> {
        let mut input = Input::new(bytes);
        let mut draft = Draft::default();
        loop {
            match (input.u8()?, input.string()?) {
                (tag::END, []) if input.is_empty() => return draft.finish(),
                (tag, value) => draft.read(tag, value, files)?,
            }
        }
    }
}

impl<F> Default for Draft<F> {
    fn default() -> Self {
        Self {
            peer: None,
            origin: None,
            language: None,
            listener: None,
            served: None,
            idle: None,
            remaining: None,
            stage: None,
            input: None,
            begun: None,
            unsent: Vec::new(),
        }
    }
}

impl<F> Draft<F> {
    fn read(&mut self, tag: u8, value: &[u8], files: &mut impl Iterator<Item = F>) -> Option<()> {
        let mut value = Input::new(value);
        match tag {
            tag::PEER => once(&mut self.peer, read_peer(&mut value)?)?,
            tag::ORIGIN => once(&mut self.origin, read_origin(&mut value)?)?,
            tag::LANGUAGE => once(&mut self.language, read_language(value.u8()?)?)?,
            tag::LISTENER => once(&mut self.listener, read_place(&mut value)?)?,
            tag::SERVED => once(&mut self.served, value.u32()?)?,
            tag::IDLE => once(&mut self.idle, value.u64()?)?,
            tag::REMAINING => once(&mut self.remaining, value.u64()?)?,
            tag::STAGE => once(&mut self.stage, read_stage(value.u8()?)?)?,
            tag::INPUT => once(&mut self.input, value.rest().to_vec())?,
            tag::BEGUN => {
                let age = value.u64()?;
                once(&mut self.begun, Begun { age, stored: None })?;
            }
            tag::STORED => {
                let at = usize::try_from(value.u64()?).ok()?;
                let len = value.u64().filter(|&len| len <= FILE_MAX)?;
                let file = files.next()?;
                once(&mut self.begun.as_mut()?.stored, Stored { at, len, file })?;
            }
            tag::UNSENT_BYTES => {
                let bytes = value.rest().to_vec();
                self.unsent.push(Unsent::Bytes(bytes.into()));
            }
            tag::UNSENT_FILE => self.unsent.push(read_file(&mut value, files)?),
            OPTIONAL.. => _ = value.rest(),
            _ => return None,
        }
        value.is_empty().then_some(())
    }

    fn finish(self) -> Option<Capsule<'static, F>> {
        let capsule = Capsule {
            peer: self.peer?,
            origin: self.origin,
            language: self.language.unwrap_or_default(),
            listener: self.listener?,
            served: self.served?,
            idle: self.idle?,
            remaining: self.remaining,
            stage: self.stage?,
            input: self.input?.into(),
            begun: self.begun,
            unsent: self.unsent,
        };
        let stored = capsule
            .begun
            .as_ref()
            .and_then(|begun| begun.stored.as_ref());
        let inside = stored.is_none_or(|stored| stored.at <= capsule.input.len());
        let fits = match capsule.stage {
            Stage::Receiving => true,
            Stage::Sending { .. } => {
                capsule.begun.is_none() && capsule.unsent.iter().any(|part| !part.is_empty())
            }
        };
        (inside && fits).then_some(capsule)
    }
}

fn put(out: &mut Vec<u8>, tag: u8, write: impl FnOnce(&mut Vec<u8>)) {
    out.push(tag);
    put_sized(out, write);
}

/// A second field of a kind that may come once is malformed.
fn once<T>(field: &mut Option<T>, value: T) -> Option<()> {
    field.replace(value).is_none().then_some(())
}

fn stage_code(stage: Stage) -> u8 {
    match stage {
        Stage::Receiving => 0,
        Stage::Sending { close: false } => 1,
        Stage::Sending { close: true } => 2,
    }
}

fn read_stage(code: u8) -> Option<Stage> {
    let stages = [
        Stage::Receiving,
        Stage::Sending { close: false },
        Stage::Sending { close: true },
    ];
    stages.into_iter().find(|&stage| stage_code(stage) == code)
}

fn read_file<F>(
    value: &mut Input<'_>,
    files: &mut impl Iterator<Item = F>,
) -> Option<Unsent<'static, F>> {
    let offset = value.u64().filter(|&offset| offset <= FILE_MAX)?;
    let len = value.u64().filter(|&len| len <= FILE_MAX - offset)?;
    let file = files.next()?;
    Some(Unsent::File { file, offset, len })
}

fn put_address(out: &mut Vec<u8>, address: SocketAddr) {
    match address {
        SocketAddr::V4(v4) => {
            out.push(4);
            out.extend(v4.ip().octets());
            out.extend(v4.port().to_le_bytes());
        }
        SocketAddr::V6(v6) => {
            out.push(6);
            out.extend(v6.ip().octets());
            out.extend(v6.port().to_le_bytes());
            out.extend(v6.flowinfo().to_le_bytes());
            out.extend(v6.scope_id().to_le_bytes());
        }
    }
}

fn read_address(family: u8, value: &mut Input<'_>) -> Option<SocketAddr> {
    match family {
        4 => {
            let ip = Ipv4Addr::from(value.array::<4>()?);
            Some(SocketAddr::from((ip, value.u16()?)))
        }
        6 => {
            let ip = Ipv6Addr::from(value.array::<16>()?);
            let (port, flow, scope) = (value.u16()?, value.u32()?, value.u32()?);
            Some(SocketAddrV6::new(ip, port, flow, scope).into())
        }
        _ => None,
    }
}

fn read_peer(value: &mut Input<'_>) -> Option<Peer> {
    if value.is_empty() {
        return Some(Peer::Unix);
    }
    let family = value.u8()?;
    read_address(family, value).map(Peer::Ip)
}

fn put_peer(out: &mut Vec<u8>, peer: Peer) {
    match peer {
        Peer::Ip(address) => put_address(out, address),
        Peer::Unix => {}
    }
}

/// The common one is not written, so that versions which know no other go on understanding it.
fn language_code(language: Language) -> Option<u8> {
    match language {
        Language::Http => None,
        Language::Preface => Some(1),
        Language::Uwsgi => Some(2),
    }
}

fn read_language(code: u8) -> Option<Language> {
    let languages = [Language::Preface, Language::Uwsgi];
    languages
        .into_iter()
        .find(|&language| language_code(language) == Some(code))
}

fn put_origin(out: &mut Vec<u8>, origin: Origin) {
    let known = |protocol: &Protocol| *protocol == origin.protocol;
    let code = Protocol::ALL.iter().position(known).unwrap_or_default();
    out.push(u8::try_from(code).unwrap_or(u8::MAX));
    put_sized(out, |out| put_peer(out, origin.proxy));
    if let Some(destination) = origin.destination {
        put_address(out, destination);
    }
}

fn read_origin(value: &mut Input<'_>) -> Option<Origin> {
    let protocol = *Protocol::ALL.get(usize::from(value.u8()?))?;
    let mut proxy = Input::new(value.string()?);
    let origin = Origin {
        proxy: read_peer(&mut proxy)?,
        protocol,
        destination: match value.u8() {
            Some(family) => Some(read_address(family, value)?),
            None => None,
        },
    };
    proxy.is_empty().then_some(origin)
}

fn read_place(value: &mut Input<'_>) -> Option<Place> {
    match value.u8()? {
        0 => Some(Place::Unix(value.rest().to_vec())),
        family => read_address(family, value).map(Place::Ip),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One of everything.
    fn full() -> Capsule<'static, u8> {
        Capsule {
            peer: Peer::Ip("192.0.2.7:4711".parse().unwrap()),
            origin: Some(Origin {
                proxy: Peer::Ip("[::1]:99".parse().unwrap()),
                protocol: Protocol::Tcp4,
                destination: Some("198.51.100.1:443".parse().unwrap()),
            }),
            language: Language::Uwsgi,
            listener: Place::Ip("[2001:db8::1]:8000".parse().unwrap()),
            served: 3,
            idle: 1_234,
            remaining: Some(5_678),
            stage: Stage::Receiving,
            input: b"POST / HTTP/1.1\r\n\r\n5\r\n".into(),
            begun: Some(Begun {
                age: 99,
                stored: Some(Stored {
                    at: 19,
                    len: 1 << 30,
                    file: 1,
                }),
            }),
            unsent: vec![
                Unsent::Bytes(b"HTTP/1.1 100 Continue\r\n\r\n".into()),
                Unsent::File {
                    file: 2,
                    offset: 6,
                    len: 4,
                },
                Unsent::Bytes(b"tail".into()),
            ],
        }
    }

    fn small() -> Capsule<'static, u8> {
        Capsule {
            peer: Peer::Unix,
            origin: Some(Origin {
                proxy: Peer::Unix,
                protocol: Protocol::Local,
                destination: None,
            }),
            language: Language::Http,
            listener: Place::Unix(b"/run/app.sock".to_vec()),
            remaining: None,
            stage: Stage::Sending { close: true },
            input: b"".into(),
            begun: None,
            unsent: vec![Unsent::Bytes(b"rest".into())],
            ..full()
        }
    }

    fn encoded(capsule: &Capsule<'_, u8>) -> (Vec<u8>, Vec<u8>) {
        let (mut bytes, mut files) = (Vec::new(), Vec::new());
        capsule.encode(&mut bytes, &mut files);
        (bytes, files)
    }

    fn decoded(bytes: &[u8], files: &[u8]) -> Option<Capsule<'static, u8>> {
        Capsule::decode(bytes, &mut files.iter().copied())
    }

    #[test]
    fn what_was_encoded_is_decoded() {
        for capsule in [full(), small()] {
            let (bytes, files) = encoded(&capsule);
            assert_eq!(decoded(&bytes, &files), Some(capsule));
        }
        assert_eq!(encoded(&full()).1, [1, 2], "files in their order");
    }

    #[test]
    fn what_no_proxy_has_changed_is_encoded_as_it_always_was() {
        let plain = Capsule {
            origin: None,
            ..small()
        };
        let (bytes, _) = encoded(&plain);
        let mut input = Input::new(&bytes);
        while let (Some(tag), Some(_)) = (input.u8(), input.string()) {
            assert!(tag < tag::LANGUAGE, "{tag}");
        }
        assert_eq!(decoded(&bytes, &[]), Some(plain));
    }

    #[test]
    fn every_truncation_is_refused() {
        for capsule in [full(), small()] {
            let (bytes, files) = encoded(&capsule);
            for cut in 0..bytes.len() {
                assert_eq!(decoded(&bytes[..cut], &files), None, "{cut} bytes");
            }
        }
    }

    #[test]
    fn no_damage_to_a_byte_makes_decoding_panic_or_lie() {
        for capsule in [full(), small()] {
            let (bytes, files) = encoded(&capsule);
            for at in 0..bytes.len() {
                for value in 0..=u8::MAX {
                    let mut damaged = bytes.clone();
                    damaged[at] = value;
                    if let Some(other) = decoded(&damaged, &files) {
                        assert_eq!(other == capsule, value == bytes[at], "byte {at} as {value}");
                    }
                }
            }
        }
    }

    #[test]
    fn a_capsule_without_its_files_is_refused() {
        let (bytes, files) = encoded(&full());
        assert_eq!(decoded(&bytes, &files[..1]), None);
        assert_eq!(decoded(&bytes, &[]), None);
    }

    #[test]
    fn a_field_that_comes_twice_is_refused() {
        let mut twice = Vec::new();
        put(&mut twice, tag::SERVED, |out| {
            out.extend(1u32.to_le_bytes());
        });
        assert_eq!(decoded(&[twice, encoded(&small()).0].concat(), &[]), None);
    }

    #[test]
    fn unknown_fields_are_skipped_where_they_may_be() {
        let (bytes, _) = encoded(&small());
        let with = |tag| {
            let mut more = Vec::new();
            put(&mut more, tag, |out| out.extend(b"later"));
            decoded(&[more, bytes.clone()].concat(), &[])
        };
        assert_eq!(with(200), Some(small()));
        assert_eq!(with(100), None);
    }

    #[test]
    fn what_lies_outside_is_refused() {
        let mut capsule = full();
        capsule.begun.as_mut().unwrap().stored.as_mut().unwrap().at = 1_000;
        let (bytes, files) = encoded(&capsule);
        assert_eq!(decoded(&bytes, &files), None);
        let file = Unsent::File {
            file: 1,
            offset: FILE_MAX,
            len: 1,
        };
        let (bytes, files) = encoded(&Capsule {
            unsent: vec![file],
            ..small()
        });
        assert_eq!(decoded(&bytes, &files), None);
    }

    #[test]
    fn a_response_that_is_being_sent_has_something_to_send() {
        let nothing = Unsent::File {
            file: 1,
            offset: 5,
            len: 0,
        };
        for unsent in [vec![], vec![Unsent::Bytes(b"".into())], vec![nothing]] {
            let (bytes, files) = encoded(&Capsule { unsent, ..small() });
            assert_eq!(decoded(&bytes, &files), None);
        }
    }

    #[test]
    fn a_body_that_has_begun_belongs_to_a_request_that_is_received() {
        let (bytes, files) = encoded(&Capsule {
            begun: full().begun,
            ..small()
        });
        assert_eq!(decoded(&bytes, &files), None);
    }
}
