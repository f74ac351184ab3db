//! Which file systems tell of every change. Those whose files lie on another machine, or are made by a program, tell only of
//! what is done through this kernel. Invariant: what is not known is taken for one of these.

use std::path::Path;

use rustix::fs::statfs;

/// The magic numbers of `statfs(2)`: 9p, AFS, Ceph, CIFS, Coda, FUSE, NCP, NFS, SMB, SMB2, and the shared folders of virtual machines.
const REMOTE: [i128; 11] = [
    0x0102_1997,
    0x5346_414f,
    0x00c3_6400,
    0xff53_4d42,
    0x7375_7245,
    0x6573_5546,
    0x564c,
    0x6969,
    0x517b,
    0xfe53_4d42,
    0x786f_4256,
];

/// Whether the kernel knows of every change in `directory`.
#[must_use]
pub fn tells_everything(directory: &Path) -> bool {
    // The number is signed or not, and wide or not, as the architecture has it.
    statfs(directory).is_ok_and(|found| {
        let magic = i128::from(found.f_type) & 0xffff_ffff;
        !REMOTE.contains(&magic)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_there_tells_nothing() {
        assert!(!tells_everything(Path::new("/nonexistent/folder")));
    }

    #[test]
    fn the_temporary_directory_tells() {
        assert!(tells_everything(&std::env::temp_dir()));
    }
}
