//! Where the arbiter puts what it has read, for all processes forked since: a file without a name. Workers may have no right
//! to read the key's file any more, and find its renewed version here when a client connects. Nobody is told.
//!
//! ```text
//!  0        8        16       24
//!  ┌────────┬────────┬────────┐      ┌──────────────┐      ┌──────────────┐
//!  │version │ offset │ length │  …   │ hash, bytes  │  …   │ hash, bytes  │   the newer one is written
//!  └────────┴────────┴────────┘      └──────────────┘      └──────────────┘   where the present one is not
//! ```
//!
//! Invariant: what the first 24 bytes name is never written to; whoever reads them torn, or late, sees that the hash is wrong
//! and goes on with what he has.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use ring::digest::{SHA256, digest};
use rustix::fs::{MemfdFlags, memfd_create};

use crate::material::{Material, Served};
use crate::sources::{Problem, Sources};
use crate::tickets::Tickets;

const HEADER: usize = 24;
const HASH: usize = 32;

/// No version has so many bytes: whoever reads that has read torn numbers.
const MOST: usize = 16 << 20;

/// See the module.
#[derive(Debug)]
pub struct Shelf {
    sources: Sources,
    file: File,
    /// What is on it; the arbiter's view.
    present: Mutex<Present>,
}

#[derive(Clone, Debug)]
struct Present {
    place: Place,
    material: Material,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Place {
    version: u64,
    offset: u64,
    len: u64,
}

impl Place {
    fn write(self) -> [u8; HEADER] {
        let mut bytes = [0; HEADER];
        let numbers = [self.version, self.offset, self.len];
        for (slot, number) in bytes.chunks_exact_mut(8).zip(numbers) {
            slot.copy_from_slice(&number.to_le_bytes());
        }
        bytes
    }

    fn read(bytes: [u8; HEADER]) -> Self {
        let mut numbers = bytes.chunks_exact(8).map(|slot| {
            let number = slot.first_chunk::<8>().copied().unwrap_or_default();
            u64::from_le_bytes(number)
        });
        let mut next = || numbers.next().unwrap_or_default();
        Self {
            version: next(),
            offset: next(),
            len: next(),
        }
    }

    /// Where the next version of this length goes.
    fn next(self, len: u64) -> Self {
        let first = HEADER as u64;
        let before = self.offset.saturating_sub(first) >= len;
        let behind = first.max(self.offset + self.len);
        Self {
            version: self.version + 1,
            offset: if before { first } else { behind },
            len,
        }
    }
}

impl Shelf {
    /// Reads the files for the first time.
    ///
    /// # Errors
    /// What is wrong with them, or that there is no memory.
    pub fn stock(sources: Sources) -> Result<Self, Problem> {
        let material = sources.read()?;
        let shelf = memfd_create("oxicorn-tls", MemfdFlags::CLOEXEC).map_err(io::Error::from);
        let stocked = shelf.and_then(|fd| {
            let file = File::from(fd);
            let place = put(&file, Place::default(), &material)?;
            Ok((file, place))
        });
        let (file, place) = stocked.map_err(|error| sources.unshelved(&error))?;
        Ok(Self {
            sources,
            file,
            present: Mutex::new(Present { place, material }),
        })
    }

    /// What it was read from.
    pub fn sources(&self) -> &Sources {
        &self.sources
    }

    /// What is on it, and will not do what it is there for.
    pub fn doubts(&self) -> Vec<Problem> {
        self.sources
            .doubts(&self.present().material, SystemTime::now())
    }

    /// Whether what is on it may take the place of what is on `other`.
    ///
    /// # Errors
    /// When its certificate is out of its time, and the other one's is another one.
    pub fn may_follow(&self, other: &Self) -> Result<(), Problem> {
        let material = self.present().material.clone();
        self.sources.timely(&material, &other.present().material)
    }

    /// Reads the files again; whether there was anything new. For the one process that reads them.
    ///
    /// # Errors
    /// What is wrong with them; then what is on the shelf stays.
    pub fn renew(&self) -> Result<bool, Problem> {
        let material = self.sources.read()?;
        let mut present = self.present();
        if present.material == material {
            return Ok(false);
        }
        self.sources.timely(&material, &present.material)?;
        let put = put(&self.file, present.place, &material);
        let place = put.map_err(|error| self.sources.unshelved(&error))?;
        *present = Present { place, material };
        Ok(true)
    }

    fn present(&self) -> MutexGuard<'_, Present> {
        self.present.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where the present version is.
    fn place(&self) -> Option<Place> {
        let mut header = [0; HEADER];
        self.file.read_exact_at(&mut header, 0).ok()?;
        Some(Place::read(header))
    }

    fn material_at(&self, place: Place) -> Option<Material> {
        let len = usize::try_from(place.len).ok().filter(|len| *len <= MOST)?;
        let mut bytes = vec![0; len];
        self.file.read_exact_at(&mut bytes, place.offset).ok()?;
        let (hash, body) = bytes.split_at_checked(HASH)?;
        let whole = digest(&SHA256, body).as_ref() == hash;
        whole.then(|| Material::read(body)).flatten()
    }
}

/// The bytes first, then where they are.
fn put(file: &File, present: Place, material: &Material) -> io::Result<Place> {
    let body = material.write();
    let bytes = [digest(&SHA256, &body).as_ref(), &body].concat();
    let place = present.next(bytes.len() as u64);
    file.write_all_at(&bytes, place.offset)?;
    file.write_all_at(&place.write(), 0)?;
    Ok(place)
}

/// A worker's view of a shelf: what it serves with, made anew when there is a newer version.
#[derive(Debug)]
pub struct Reader {
    shelf: Arc<Shelf>,
    tickets: Arc<Tickets>,
    served: Mutex<(u64, Served)>,
}

impl Reader {
    /// What is on the shelf now.
    ///
    /// # Errors
    /// That it cannot be used, which whoever stocked the shelf had found out.
    pub fn new(shelf: Arc<Shelf>, tickets: Arc<Tickets>) -> io::Result<Self> {
        let place = shelf.place().unwrap_or_default();
        let material = shelf.material_at(place);
        let material = material.ok_or_else(|| io::Error::other("the certificates are lost"))?;
        let served = serve(&shelf.sources, &material, &tickets).map_err(io::Error::other)?;
        Ok(Self {
            shelf,
            tickets,
            served: Mutex::new((place.version, served)),
        })
    }

    /// What new connections are served with.
    pub fn served(&self) -> Served {
        let mut served = self.served.lock().unwrap_or_else(PoisonError::into_inner);
        let place = self.shelf.place().filter(|place| place.version != served.0);
        if let Some(place) = place
            && let Some(material) = self.shelf.material_at(place)
        {
            match serve(&self.shelf.sources, &material, &self.tickets) {
                Ok(newer) => *served = (place.version, newer),
                Err(error) => {
                    log::error!(target: "oxicorn", "A renewed certificate cannot be used: {error}");
                    // Said once.
                    served.0 = place.version;
                }
            }
        }
        served.1.clone()
    }
}

fn serve(
    sources: &Sources,
    material: &Material,
    tickets: &Arc<Tickets>,
) -> Result<Served, rustls::Error> {
    material.serve(sources.clients, &sources.suites, tickets)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_place_of_the_next_version_is_never_that_of_the_present_one() {
        let mut place = Place::default();
        for len in [100, 100, 10, 500, 90, 499, 600, 1, 1] {
            let next = place.next(len);
            let apart =
                next.offset + next.len <= place.offset || place.offset + place.len <= next.offset;
            assert!(apart && next.offset >= HEADER as u64, "{place:?} {next:?}");
            assert_eq!(Place::read(next.write()), next);
            place = next;
        }
    }
}
