use std::hint::black_box;
use std::time::Instant;

use miniz_oxide::deflate::core::{CompressorOxide, create_comp_flags_from_zip_params};
use miniz_oxide::deflate::stream::deflate as other_deflate;
use miniz_oxide::inflate::stream::{InflateState, inflate as other_inflate};
use miniz_oxide::{DataFormat, MZFlush};
use proptest::prelude::*;

use super::*;

const NO_BOUND: Bound = Bound { size: 0, ratio: 0 };
const FREE: usize = FREE_OF_RATIO as usize;

/// The messages that come of these, each a list of payloads: text, or the code of the violation.
fn inflate(inflater: &mut Inflater, message: &[&[u8]], bound: Bound) -> Result<Vec<u8>, u16> {
    let mut out = Vec::new();
    for (i, payload) in message.iter().enumerate() {
        inflater.inflate(payload, i + 1 == message.len(), &mut out, bound).map_err(|v| v.code)?;
    }
    Ok(out)
}

fn deflate(deflater: &mut Deflater, message: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    deflater.deflate(message, true, &mut out);
    out
}

/// RFC 7692, section 7.2.3.
#[test]
fn examples_of_the_rfc() {
    for takeover in [false, true] {
        for message in [
            &[&b"\xf2\x48\xcd\xc9\xc9\x07\x00"[..]][..],
            &[b"\xf2\x48\xcd", b"\xc9\xc9\x07\x00"],
            &[b"", b"\xf2\x48\xcd", b"", b"\xc9\xc9\x07\x00", b""],
            // A block without compression.
            &[b"\x00\x05\x00\xfa\xff\x48\x65\x6c\x6c\x6f\x00"],
            // A block that is the last of its stream, with and without the byte behind it.
            &[b"\xf3\x48\xcd\xc9\xc9\x07\x00\x00"],
            &[b"\xf3\x48\xcd\xc9\xc9\x07\x00", b"\x00"],
            &[b"\xf3\x48\xcd\xc9\xc9\x07\x00"],
            // Two blocks.
            &[b"\xf2\x48\x05\x00\x00\x00\xff\xff\xca\xc9\xc9\x07\x00"],
        ] {
            let mut inflater = Inflater::new(takeover);
            for _ in 0..3 {
                assert_eq!(inflate(&mut inflater, message, NO_BOUND).unwrap(), b"Hello", "{message:?}");
            }
            for empty in [&[&b"\x00"[..]][..], &[b""], &[b"", b""]] {
                assert_eq!(inflate(&mut inflater, empty, NO_BOUND).unwrap(), b"");
            }
            assert_eq!(inflater.holds_state(), takeover);
        }
    }
    let mut inflater = Inflater::new(true);
    let first = [&b"\xf2\x48\xcd\xc9\xc9\x07\x00"[..]];
    let second = [&b"\xf2\x00\x11\x00\x00"[..]];
    assert_eq!(inflate(&mut inflater, &first, NO_BOUND).unwrap(), b"Hello");
    assert_eq!(inflate(&mut inflater, &second, NO_BOUND).unwrap(), b"Hello");
    let mut without = Inflater::new(false);
    assert_eq!(inflate(&mut without, &first, NO_BOUND).unwrap(), b"Hello");
    assert_eq!(inflate(&mut without, &second, NO_BOUND), Err(1007), "it refers to the first");
}

#[test]
fn what_is_not_deflated() {
    for message in [
        &[&b"\x06"[..]][..],
        &[b"\xff\xff\xff"],
        &[b"\x00\x05\x00\x00\x00Hello\x00"],
        // These break off.
        &[b"\xf2\x48\xcd"],
        &[b"\xf2\x48\xcd\xc9\xc9\x07"],
        &[b"\x00\xff\x00\x00\xff\x48"],
        &[b"\xf3\x48\xcd"],
        // A reference to what is not there.
        &[b"\xf2\x00\x11\x00\x00"],
    ] {
        assert_eq!(inflate(&mut Inflater::new(false), message, NO_BOUND), Err(1007), "{message:?}");
    }
}

#[test]
fn empty_messages_and_fragments() {
    for takeover in [false, true] {
        let (mut deflater, mut inflater) = (Deflater::new(1, 15, 8, takeover), Inflater::new(takeover));
        for (message, sizes) in [
            (&[&b""[..]][..], &[1][..]),
            (&[b"", b"", b""], &[0, 0, 1]),
            (&[b"Hello", b""], &[11, 1]),
            (&[b"", b"Hello"], &[0, 7]),
            (&[b""], &[1]),
        ] {
            let mut payloads = vec![Vec::new(); message.len()];
            for (i, (piece, payload)) in message.iter().zip(&mut payloads).enumerate() {
                deflater.deflate(piece, i + 1 == message.len(), payload);
            }
            if !takeover {
                assert_eq!(payloads.iter().map(Vec::len).collect::<Vec<_>>(), sizes, "{message:?}");
            }
            let payloads: Vec<&[u8]> = payloads.iter().map(|payload| &payload[..]).collect();
            assert_eq!(inflate(&mut inflater, &payloads, NO_BOUND).unwrap(), message.concat());
        }
    }
}

#[test]
fn bombs_are_stopped_at_their_bounds() {
    let bomb = deflate(&mut Deflater::new(9, 15, 9, false), &vec![0; 10 << 20]);
    assert!(bomb.len() < 11 << 10);
    for (size, ratio, code, most) in [
        (1 << 20, 0, 1009, 1 << 20),
        (1, 0, 1009, 1),
        (100_000, 0, 1009, 100_000),
        ((10 << 20) - 1, 0, 1009, (10 << 20) - 1),
        (0, 100, 1009, 100 * bomb.len() + FREE + STEP),
        (1 << 20, 10, 1009, 10 * bomb.len() + FREE + STEP),
        (0, 1, 1009, bomb.len() + FREE + STEP),
    ] {
        let mut out = Vec::new();
        let stopped = Inflater::new(false).inflate(&bomb, true, &mut out, Bound { size, ratio });
        assert_eq!(stopped.map_err(|v| v.code), Err(code), "{size} {ratio}");
        assert!(out.len() <= most && out.capacity() <= 2 * (most + STEP), "{size} {ratio}: {}", out.len());
    }
    for (size, ratio) in [(10 << 20, 0), (0, 1033), (0, 0)] {
        let mut out = Vec::new();
        assert_eq!(Inflater::new(false).inflate(&bomb, true, &mut out, Bound { size, ratio }), Ok(()));
        assert_eq!(out.len(), 10 << 20);
    }
}

/// Ordinary texts that repeat themselves are no bombs, and the ratio counts for what is beyond the free part.
#[test]
fn a_part_of_each_message_is_free_of_the_ratio() {
    let zeros = |length: usize| [&b"["[..], &b"0,".repeat(length / 2 - 1), b"0]"].concat();
    let inflated = |text: &[u8], ratio| {
        let payload = deflate(&mut Deflater::new(9, 15, 9, false), text);
        (payload.len(), inflate(&mut Inflater::new(false), &[&payload], Bound { size: 0, ratio }))
    };
    for length in [64 << 10, 100_000, FREE - 1] {
        let text = zeros(length);
        let (size, out) = inflated(&text, 200);
        assert!(size * 500 < length && out == Ok(text.clone()), "{length} of {size}");
        assert!(inflated(&text, 1).1 == Ok(text), "{length}");
    }
    let (size, out) = inflated(&zeros(1 << 20), 200);
    assert_eq!(out, Err(1009), "{size}");
    // Not the least over what its size and the free part allow.
    let text = vec![0; FREE + 100_000];
    let (size, _) = inflated(&text, 0);
    let most = |ratio: usize| text.len() <= ratio * size + FREE;
    let least = (1..).find(|ratio| most(*ratio)).unwrap();
    assert_eq!(inflated(&text, least as u32).1, Ok(text.clone()));
    assert_eq!(inflated(&text, least as u32 - 1).1, Err(1009));
    // Each message has its own.
    let (mut deflater, mut inflater) = (Deflater::new(9, 15, 9, true), Inflater::new(true));
    for _ in 0..3 {
        let payload = deflate(&mut deflater, &vec![0; FREE]);
        let out = inflate(&mut inflater, &[&payload], Bound { size: 0, ratio: 1 });
        assert_eq!(out.map(|out| out.len()), Ok(FREE));
    }
}

/// The bound is of a message, not of all.
#[test]
fn each_message_has_the_whole_bound() {
    let (mut deflater, mut inflater) = (Deflater::new(1, 15, 8, true), Inflater::new(true));
    let bound = Bound { size: 1000, ratio: 0 };
    for size in [1000, 1000, 1, 1001] {
        let message = deflate(&mut deflater, &vec![b'x'; size]);
        let wanted = if size > 1000 { Err(1009) } else { Ok(size) };
        assert_eq!(inflate(&mut inflater, &[&message], bound).map(|out| out.len()), wanted);
    }
}

#[test]
fn without_takeover_states_are_held_while_a_message_is_under_way() {
    let (mut deflater, mut inflater) = (Deflater::new(1, 15, 8, false), Inflater::new(false));
    for round in 0..3 {
        let (mut payload, mut out) = (Vec::new(), Vec::new());
        deflater.deflate(b"Hel", false, &mut payload);
        inflater.inflate(&payload, false, &mut out, NO_BOUND).unwrap();
        assert!(deflater.holds_state() && inflater.holds_state());
        assert_eq!(states::idle(), (0, 0), "{round}");
        payload.clear();
        deflater.deflate(b"lo", true, &mut payload);
        inflater.inflate(&payload, true, &mut out, NO_BOUND).unwrap();
        assert!(!deflater.holds_state() && !inflater.holds_state());
        assert_eq!((out, states::idle()), (b"Hello".to_vec(), (1, 1)), "{round}");
    }
    assert!(size_of::<Inflater>() <= 32 && size_of::<Deflater>() <= 16);
}

#[test]
fn with_takeover_a_second_message_is_smaller() {
    let text = b"{\"type\":1,\"target\":\"Send\",\"arguments\":[\"user\",\"hello\"]}";
    let mut with = Deflater::new(6, 9, 1, true);
    let (first, second) = (deflate(&mut with, text), deflate(&mut with, text));
    assert!(second.len() * 4 < first.len(), "{} {}", first.len(), second.len());
    let mut without = Deflater::new(6, 9, 1, false);
    assert_eq!(deflate(&mut without, text), deflate(&mut without, text));
}

/// A message in its fragments: random bytes, or such as repeat themselves.
fn message() -> impl Strategy<Value = Vec<Vec<u8>>> {
    let fragment = prop_oneof![
        prop::collection::vec(any::<u8>(), 0..600),
        (prop::collection::vec(any::<u8>(), 1..40), 0usize..200)
            .prop_map(|(bytes, times)| bytes.repeat(times)),
        prop::collection::vec(prop::sample::select(&b"abc \n"[..]), 0..3000),
    ];
    prop::collection::vec(fragment, 1..4)
}

/// Level, window bits, memory level, takeover.
fn parameters() -> impl Strategy<Value = (u8, u8, u8, bool)> {
    (0u8..=9, 9u8..=15, 1u8..=9, any::<bool>())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]

    /// Each frame says all of its piece at once, whatever was sent before it, and however its bytes come.
    #[test]
    fn what_is_deflated_is_inflated((level, window, memory, takeover) in parameters(),
                                    messages in prop::collection::vec(message(), 1..5),
                                    step in 1usize..5000) {
        let (mut deflater, mut inflater) = (Deflater::new(level, window, memory, takeover), Inflater::new(takeover));
        let mut payload = Vec::new();
        for message in messages {
            let (mut out, mut sent) = (Vec::new(), 0);
            for (i, piece) in message.iter().enumerate() {
                let last = i + 1 == message.len();
                payload.clear();
                deflater.deflate(piece, last, &mut payload);
                for bytes in payload.chunks(step) {
                    inflater.inflate(bytes, false, &mut out, NO_BOUND).unwrap();
                }
                if last {
                    inflater.inflate(b"", true, &mut out, NO_BOUND).unwrap();
                }
                sent += piece.len();
                prop_assert_eq!(out.len(), sent);
            }
            prop_assert!(out == message.concat());
        }
    }

    /// miniz_oxide, another implementation, understands what is deflated.
    #[test]
    fn another_inflates_it((level, window, memory, takeover) in parameters(),
                           messages in prop::collection::vec(message(), 1..4)) {
        let mut deflater = Deflater::new(level, window, memory, takeover);
        let mut other = InflateState::new_boxed(DataFormat::Raw);
        for message in messages {
            let mut payload = Vec::new();
            for (i, piece) in message.iter().enumerate() {
                deflater.deflate(piece, i + 1 == message.len(), &mut payload);
            }
            payload.extend(TAIL);
            if !takeover {
                other = InflateState::new_boxed(DataFormat::Raw);
            }
            let wanted = message.concat();
            let (mut out, mut at, mut used) = (vec![0; wanted.len() + 1], 0, 0);
            while used < payload.len() {
                let result = other_inflate(&mut other, &payload[used..], &mut out[at..], MZFlush::None);
                prop_assert!(result.status.is_ok() && result.bytes_consumed > 0, "{:?}", result);
                (used, at) = (used + result.bytes_consumed, at + result.bytes_written);
            }
            prop_assert!(out[..at] == wanted);
        }
    }

    /// What miniz_oxide deflates is understood, also where each message is a stream of its own that ends.
    #[test]
    fn what_another_deflates_is_inflated(level in 0u8..=9, takeover: bool, ends: bool,
                                         messages in prop::collection::vec(message(), 1..4)) {
        let compressor = || CompressorOxide::new(create_comp_flags_from_zip_params(level.into(), -15, 0));
        let mut other = compressor();
        let mut inflater = Inflater::new(takeover);
        for message in messages {
            if !takeover || ends {
                other = compressor();
            }
            let message = message.concat();
            let mut payload = vec![0; 2 * message.len() + 1000];
            let flush = if ends { MZFlush::Finish } else { MZFlush::Sync };
            let result = other_deflate(&mut other, &message, &mut payload, flush);
            prop_assert_eq!(result.bytes_consumed, message.len());
            payload.truncate(result.bytes_written);
            if ends {
                payload.push(0);
            } else {
                prop_assert!(payload.ends_with(&TAIL));
                payload.truncate(payload.len() - TAIL.len());
            }
            prop_assert!(inflate(&mut inflater, &[&payload], NO_BOUND) == Ok(message));
        }
    }
}

/// `cargo test --release -p weir-core ws::deflate -- --ignored --nocapture`
#[test]
#[ignore = "a measurement, for people"]
fn speed() {
    let line = |i: usize| {
        format!(
            "{{\"target\":\"Send{}\",\"arguments\":[\"user{}\",\"number {}\"]}}\n",
            i % 7,
            i * 31 % 97,
            i * i
        )
    };
    let text: Vec<u8> = (0..2000).flat_map(|i| line(i).into_bytes()).collect();
    let rounds = 2000;
    for (level, window, memory, takeover) in
        [(1, 15, 8, false), (6, 15, 8, false), (1, 12, 4, true), (6, 12, 4, true)]
    {
        let (mut deflater, mut inflater) =
            (Deflater::new(level, window, memory, takeover), Inflater::new(takeover));
        for size in [128, 512, 4 << 10, 64 << 10] {
            let (mut payload, mut out, mut at) = (Vec::new(), Vec::new(), 0);
            let (mut deflating, mut inflating) = (std::time::Duration::ZERO, std::time::Duration::ZERO);
            let mut compressed = 0;
            for _ in 0..rounds {
                let message = &text[at..at + size];
                at = (at + size) % (text.len() - size);
                payload.clear();
                out.clear();
                let start = Instant::now();
                deflater.deflate(black_box(message), true, &mut payload);
                deflating += start.elapsed();
                let start = Instant::now();
                inflater.inflate(black_box(&payload), true, &mut out, NO_BOUND).unwrap();
                inflating += start.elapsed();
                assert!(out == message);
                compressed += payload.len();
            }
            println!(
                "level {level} window {window} memory {memory} takeover {takeover}: {size} bytes to {}, deflated in {:?}, inflated in {:?}",
                compressed / rounds,
                deflating / rounds as u32,
                inflating / rounds as u32
            );
        }
    }
}

#[test]
fn a_message_of_many_ends_is_refused_soon() {
    let mut inflater = Inflater::new(false);
    // Empty blocks, each the last of its stream.
    let input = [3, 0].repeat(1 << 19);
    let mut out = Vec::new();
    let error = inflater.inflate(&input, true, &mut out, Bound { size: 0, ratio: 0 });
    assert_eq!(error.map_err(|violation| violation.code), Err(1008));
    let few = [3, 0].repeat(10);
    let mut inflater = Inflater::new(false);
    assert_eq!(inflater.inflate(&few, true, &mut out, Bound { size: 0, ratio: 0 }), Ok(()));
}
