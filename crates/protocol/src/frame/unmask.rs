//! Masking: the XOR with four bytes that browsers lay over all they send. (2 decode)
//!
//! Works in place, eight bytes at a time; the same function puts the mask on and takes it off.
//!
//! Never: looks at what the bytes mean.

/// Lays `mask` over `bytes`, or takes it off again.
///
/// A payload that comes in pieces needs the mask turned by what came before: see [`turned`].
pub(super) fn unmask(bytes: &mut [u8], mask: [u8; 4]) {
    // A server's frames carry no mask, which is the mask of zeros: nothing to do, so nothing is touched.
    if mask == [0; 4] {
        return;
    }
    let [a, b, c, d] = mask;
    let wide = u64::from_ne_bytes([a, b, c, d, a, b, c, d]);
    // Arrays of eight instead of an aligned slice of words: it needs no unsafe code, any alignment is right,
    // and the compiler makes vector instructions of it.
    let (words, tail) = bytes.as_chunks_mut::<8>();
    for word in words {
        *word = (u64::from_ne_bytes(*word) ^ wide).to_ne_bytes();
    }
    for (byte, key) in tail.iter_mut().zip(mask.into_iter().cycle()) {
        *byte ^= key;
    }
}

/// The mask as it stands `bytes` further into the payload.
pub(super) fn turned(mut mask: [u8; 4], bytes: usize) -> [u8; 4] {
    mask.rotate_left(bytes % 4);
    mask
}

#[cfg(test)]
mod tests {
    use super::*;

    const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

    /// RFC 6455 §5.3 word for word, a byte at a time.
    fn by_the_book(bytes: &[u8]) -> Vec<u8> {
        let masked = bytes.iter().zip(MASK.into_iter().cycle());
        masked.map(|(byte, key)| byte ^ key).collect()
    }

    #[test]
    fn every_length_and_alignment_is_unmasked_by_the_book() {
        let sea: Vec<u8> = (0..=255).collect();
        for start in 0..16 {
            for end in start..=sea.len() {
                let mut bytes = sea.clone();
                unmask(&mut bytes[start..end], MASK);
                assert_eq!(bytes[..start], sea[..start], "before {start}..{end}");
                assert_eq!(bytes[start..end], by_the_book(&sea[start..end]), "at {start}..{end}");
                assert_eq!(bytes[end..], sea[end..], "after {start}..{end}");
            }
        }
    }

    #[test]
    fn a_payload_in_two_pieces_is_unmasked_as_if_it_were_one() {
        let sea: Vec<u8> = (0..100).collect();
        for cut in 0..=sea.len() {
            let mut bytes = sea.clone();
            let (first, second) = bytes.split_at_mut(cut);
            unmask(first, MASK);
            unmask(second, turned(MASK, cut));
            assert_eq!(bytes, by_the_book(&sea), "cut at {cut}");
        }
    }
}
