//! Taking the mask off a payload (RFC 6455 §5.3), in place and in any pieces.

/// What is unmasked at once: two vector registers of any current processor.
const BLOCK: usize = 32;

/// Unmasks `data`, and turns `mask` so that it fits the byte that comes next.
#[inline]
pub(crate) fn take_off(data: &mut [u8], mask: &mut [u8; 4]) {
    let block: [u8; BLOCK] = std::array::from_fn(|at| mask[at % 4]);
    let (blocks, rest) = data.as_chunks_mut::<BLOCK>();
    for bytes in blocks {
        bytes
            .iter_mut()
            .zip(&block)
            .for_each(|(byte, mask)| *byte ^= mask);
    }
    rest.iter_mut()
        .zip(&block)
        .for_each(|(byte, mask)| *byte ^= mask);
    mask.rotate_left(data.len() % 4);
}

#[cfg(test)]
mod tests {
    use super::*;

    const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

    /// RFC 6455 §5.7.
    #[test]
    fn the_example_of_the_rfc_is_hello() {
        let mut data = [0x7f, 0x9f, 0x4d, 0x51, 0x58];
        take_off(&mut data, &mut MASK.clone());
        assert_eq!(&data, b"Hello");
    }

    #[test]
    fn it_does_not_matter_where_the_payload_is_cut() {
        let plain: Vec<u8> = (0..200).collect();
        let masked: Vec<u8> = plain
            .iter()
            .zip(MASK.iter().cycle())
            .map(|(a, b)| a ^ b)
            .collect();
        for cut in 0..=plain.len() {
            let mut data = masked.clone();
            let mut mask = MASK;
            let (front, back) = data.split_at_mut(cut);
            take_off(front, &mut mask);
            take_off(back, &mut mask);
            assert_eq!(data, plain, "cut at {cut}");
        }
    }
}
