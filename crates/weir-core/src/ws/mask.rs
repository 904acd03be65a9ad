//! Masking (RFC 6455, section 5.3): the payload of a client, byte for byte XOR its key. The same again takes it off.

/// How much is copied before it is unmasked, in bytes: it is still in the nearest cache then. A multiple of the key.
const BLOCK: usize = 4 << 10;

/// Masks or unmasks `bytes`, which begin `offset` bytes into their payload.
pub(crate) fn apply(bytes: &mut [u8], key: [u8; 4], offset: usize) {
    let mut key = key;
    key.rotate_left(offset % 4);
    let [a, b, c, d] = key;
    let word = u64::from_ne_bytes([a, b, c, d, a, b, c, d]);
    // Words, of which the compiler makes vectors.
    let (words, rest) = bytes.as_chunks_mut::<8>();
    for bytes in words {
        *bytes = (u64::from_ne_bytes(*bytes) ^ word).to_ne_bytes();
    }
    for (byte, key) in rest.iter_mut().zip(key.into_iter().cycle()) {
        *byte ^= key;
    }
}

/// Appends `bytes`, which begin `offset` bytes into their payload, to `out`, unmasked.
pub(crate) fn unmasked(bytes: &[u8], key: [u8; 4], offset: usize, out: &mut Vec<u8>) {
    out.reserve(bytes.len());
    for block in bytes.chunks(BLOCK) {
        let start = out.len();
        out.extend_from_slice(block);
        if let Some(copied) = out.get_mut(start..) {
            apply(copied, key, offset);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::hint::black_box;
    use std::time::Instant;

    use proptest::prelude::*;

    use super::*;

    const KEY: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

    fn naive(bytes: &[u8], key: [u8; 4], offset: usize) -> Vec<u8> {
        bytes.iter().enumerate().map(|(i, byte)| byte ^ key[(i + offset) % 4]).collect()
    }

    #[test]
    fn example_of_the_rfc() {
        let mut bytes = *b"Hello";
        apply(&mut bytes, KEY, 0);
        assert_eq!(bytes, *b"\x7f\x9f\x4d\x51\x58");
    }

    #[test]
    fn more_than_a_block() {
        let bytes: Vec<u8> = (0..3 * BLOCK + 5).map(|i| i as u8).collect();
        for offset in 0..5 {
            let mut out = b"before".to_vec();
            unmasked(&bytes, KEY, offset, &mut out);
            assert_eq!(out, [b"before".to_vec(), naive(&bytes, KEY, offset)].concat(), "{offset}");
        }
    }

    proptest! {
        #[test]
        fn as_byte_for_byte_in_any_split(bytes in prop::collection::vec(any::<u8>(), 0..100), key: [u8; 4],
                                         offset in 0usize..9, cut in 0usize..100) {
            let masked = naive(&bytes, key, offset);
            let mut out = bytes.clone();
            let (left, right) = out.split_at_mut(cut.min(bytes.len()));
            apply(right, key, offset + left.len());
            apply(left, key, offset);
            prop_assert_eq!(&out, &masked);
            let mut back = Vec::new();
            unmasked(&out, key, offset, &mut back);
            prop_assert_eq!(back, bytes);
        }
    }

    /// `cargo test --release -p weir-core ws::mask -- --ignored --nocapture`
    #[test]
    #[ignore = "a measurement, for people"]
    fn speed_beside_a_copy() {
        for size in [128, 4 << 10, 64 << 10, 1 << 20] {
            let bytes: Vec<u8> = (0..size).map(|i| i as u8).collect();
            let mut out = Vec::with_capacity(size);
            let rounds = (1 << 30) / size;
            let mut gigabytes = |work: &dyn Fn(&mut Vec<u8>)| {
                let best = (0..3).map(|_| {
                    let start = Instant::now();
                    for _ in 0..rounds {
                        out.clear();
                        work(black_box(&mut out));
                    }
                    start.elapsed()
                });
                (size * rounds) as f64 / 1e9 / best.min().unwrap_or_default().as_secs_f64()
            };
            let copy = gigabytes(&|out| out.extend_from_slice(black_box(&bytes)));
            let unmask = gigabytes(&|out| unmasked(black_box(&bytes), KEY, 1, out));
            println!("{size} bytes: copied {copy:.1} GB/s, copied and unmasked {unmask:.1} GB/s");
        }
    }
}
