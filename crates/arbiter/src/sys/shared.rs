//! Memory without a name that several processes map: a sealed memfd. Not for what lies in it.
//!
//! Invariant: the file can never shrink under a mapping of it.

use std::io;
use std::os::fd::OwnedFd;
use std::ptr::{NonNull, null_mut};

use rustix::fs::{
    MemfdFlags, SealFlags, fcntl_add_seals, fcntl_get_seals, fstat, ftruncate, memfd_create,
};
use rustix::mm::{MapFlags, ProtFlags, mmap};

/// So many bytes of zeroes. The descriptor is close-on-exec.
pub(super) fn sealed(name: &str, length: usize) -> io::Result<OwnedFd> {
    let fd = memfd_create(name, MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
    ftruncate(&fd, length as u64)?;
    fcntl_add_seals(&fd, SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL)?;
    Ok(fd)
}

/// Whether it is such a file, of this length.
pub(super) fn fits(fd: &OwnedFd, length: usize) -> io::Result<bool> {
    let is_sealed = || fcntl_get_seals(fd).is_ok_and(|seals| seals.contains(SealFlags::SHRINK));
    Ok(u64::try_from(fstat(fd)?.st_size) == Ok(length as u64) && is_sealed())
}

/// Maps it, for reading and writing, until somebody unmaps it.
pub(super) fn map<T>(fd: &OwnedFd, length: usize) -> io::Result<NonNull<T>> {
    let access = ProtFlags::READ | ProtFlags::WRITE;
    // SAFETY: a fresh mapping at an address of the kernel's choice is in nobody's way.
    let page = unsafe { mmap(null_mut(), length, access, MapFlags::SHARED, fd, 0)? };
    NonNull::new(page.cast()).ok_or_else(|| io::ErrorKind::OutOfMemory.into())
}
