//! What two engines say to each other, and how it is written. Every message is one packet. Invariant: `read` gives back what
//! `write` was given, or nothing; it never panics.
//!
//! | giver says | | taker says | |
//! |---|---|---|---|
//! | `Ask` | which version, how many descriptors | `Room` | my version, for so many descriptors there is room |
//! | `Prepare` | these connections; do not read them yet | `Accept` | I have stored them |
//! | `Commit` | they are yours | `Refuse` | I have dropped them, and why |
//! | `Abort` | they stay mine, drop them | | |

use crate::codec::{Input, put_count};

/// Why a batch, or all of it, is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// The encoding has another version.
    Version,
    /// It cannot be read.
    Malformed,
    /// Not all descriptors arrived: there is no room for them. The only reason that passes.
    Room,
    /// The taker is leaving itself.
    Leaving,
}

impl Refusal {
    const ALL: [Self; 4] = [Self::Version, Self::Malformed, Self::Room, Self::Leaving];

    fn code(self) -> u8 {
        match self {
            Self::Version => 1,
            Self::Malformed => 2,
            Self::Room => 3,
            Self::Leaving => 4,
        }
    }
}

/// One packet. `batch` counts up from 1 for each giver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Message<'b> {
    Ask {
        version: u16,
        wanted: usize,
    },
    Room {
        version: u16,
        room: usize,
    },
    /// `body` is empty when the capsules are in the first descriptor, a sealed memory file.
    Prepare {
        version: u16,
        batch: u32,
        body: &'b [u8],
    },
    Accept {
        batch: u32,
        room: usize,
    },
    Refuse {
        batch: u32,
        reason: Refusal,
        room: usize,
    },
    Commit {
        batch: u32,
    },
    Abort {
        batch: u32,
    },
}

impl<'b> Message<'b> {
    pub(crate) fn write(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(16);
        match *self {
            Self::Ask { version, wanted } => {
                out.push(1);
                out.extend(version.to_le_bytes());
                put_count(&mut out, wanted);
            }
            Self::Room { version, room } => {
                out.push(2);
                out.extend(version.to_le_bytes());
                put_count(&mut out, room);
            }
            Self::Prepare {
                version,
                batch,
                body,
            } => {
                out.push(3);
                out.extend(version.to_le_bytes());
                out.extend(batch.to_le_bytes());
                out.extend_from_slice(body);
            }
            Self::Accept { batch, room } => {
                out.push(4);
                out.extend(batch.to_le_bytes());
                put_count(&mut out, room);
            }
            Self::Refuse {
                batch,
                reason,
                room,
            } => {
                out.push(5);
                out.extend(batch.to_le_bytes());
                out.push(reason.code());
                put_count(&mut out, room);
            }
            Self::Commit { batch } => {
                out.push(6);
                out.extend(batch.to_le_bytes());
            }
            Self::Abort { batch } => {
                out.push(7);
                out.extend(batch.to_le_bytes());
            }
        }
        out
    }

    pub(crate) fn read(packet: &'b [u8]) -> Option<Self> {
        let mut input = Input::new(packet);
        let count = |input: &mut Input<'_>| usize::try_from(input.u32()?).ok();
        let message = match input.u8()? {
            1 => {
                let version = input.u16()?;
                let wanted = count(&mut input)?;
                Self::Ask { version, wanted }
            }
            2 => {
                let version = input.u16()?;
                let room = count(&mut input)?;
                Self::Room { version, room }
            }
            3 => {
                let (version, batch) = (input.u16()?, input.u32()?);
                let body = input.rest();
                Self::Prepare {
                    version,
                    batch,
                    body,
                }
            }
            4 => {
                let batch = input.u32()?;
                let room = count(&mut input)?;
                Self::Accept { batch, room }
            }
            5 => {
                let (batch, code) = (input.u32()?, input.u8()?);
                let reason = Refusal::ALL
                    .into_iter()
                    .find(|reason| reason.code() == code)?;
                let room = count(&mut input)?;
                Self::Refuse {
                    batch,
                    reason,
                    room,
                }
            }
            6 => Self::Commit {
                batch: input.u32()?,
            },
            7 => Self::Abort {
                batch: input.u32()?,
            },
            _ => return None,
        };
        input.is_empty().then_some(message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all() -> Vec<Message<'static>> {
        let mut all = vec![
            Message::Ask {
                version: 1,
                wanted: 70_000,
            },
            Message::Room {
                version: 2,
                room: 250,
            },
            Message::Prepare {
                version: 1,
                batch: 9,
                body: b"capsules",
            },
            Message::Accept { batch: 9, room: 0 },
            Message::Commit { batch: 9 },
            Message::Abort { batch: u32::MAX },
        ];
        all.extend(Refusal::ALL.map(|reason| Message::Refuse {
            batch: 3,
            reason,
            room: 1,
        }));
        all
    }

    #[test]
    fn what_was_written_is_read() {
        for message in all() {
            assert_eq!(Message::read(&message.write()), Some(message));
        }
    }

    #[test]
    fn a_packet_that_is_cut_or_too_long_is_refused() {
        for message in all() {
            let packet = message.write();
            let open_end = matches!(message, Message::Prepare { .. });
            for cut in 0..packet.len() {
                let read = Message::read(&packet[..cut]);
                assert!(
                    read.is_none() || open_end && cut >= 7,
                    "{message:?} at {cut}"
                );
            }
            assert!(Message::read(&[packet, vec![0]].concat()).is_none() || open_end);
        }
    }

    #[test]
    fn no_damage_to_a_byte_makes_reading_panic() {
        for packet in all().iter().map(Message::write) {
            for at in 0..packet.len() {
                for value in 0..=u8::MAX {
                    let mut damaged = packet.clone();
                    damaged[at] = value;
                    if let Some(message) = Message::read(&damaged) {
                        assert_eq!(message.write(), damaged);
                    }
                }
            }
        }
    }
}
