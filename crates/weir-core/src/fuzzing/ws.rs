//! WebSocket: frames mean the same however their bytes come, nothing comes out of them past the bounds, and what is
//! agreed on compression was offered.

use std::time::Instant;

use http::header::SEC_WEBSOCKET_EXTENSIONS;
use http::{HeaderMap, HeaderValue};

use super::{cuts, pieces};
use crate::spec::Deflate;
use crate::ws::close::{self, Close};
use crate::ws::deflate::{Bound, Deflater, Inflater};
use crate::ws::extension::{self, Agreement};
use crate::ws::frame::Head;
use crate::ws::sequence::{Limits, Part, Sequence};
use crate::ws::utf8::Utf8;
use crate::ws::{Role, Violation, mask};

const LIMITS: Limits = Limits { frame: 1500, message: 2500, fragments: 12, controls_per_second: 12 };
/// Of what is decompressed, in bytes.
const SIZE: usize = 5000;

/// What one side sends after its handshake.
pub fn ws_frames(data: &[u8]) {
    for (sender, deflate) in [(Role::Client, true), (Role::Client, false), (Role::Server, true)] {
        let whole = decode(sender, deflate, &[data]);
        let compressed = whole.0.iter().any(|frame| matches!(frame.1, Part::Data { compressed: true, .. }));
        for cuts in cuts(data) {
            let cut = decode(sender, deflate, &pieces(data, &cuts));
            assert_eq!(cut.0, whole.0, "the frames in pieces");
            // What is decompressed may be found to be no text or too much, whichever is looked at first.
            let code = |verdict: &Result<Vec<u8>, Violation>| verdict.as_ref().err().map(|v| v.code);
            assert!(code(&cut.1) == code(&whole.1) || (compressed && cut.1.is_err() && whole.1.is_err()));
            if whole.1.is_ok() {
                assert_eq!(cut.1, whole.1, "the content in pieces");
            }
        }
    }
}

/// The frames that were accepted, and all content or what was wrong.
type Decoded = (Vec<(Head, Part)>, Result<Vec<u8>, Violation>);

fn decode(sender: Role, deflate: bool, pieces: &[&[u8]]) -> Decoded {
    let mut decoder = Decoder {
        sequence: Sequence::new(sender, deflate, LIMITS),
        inflater: Inflater::new(false),
        utf8: Utf8::default(),
        now: Instant::now(),
        frame: None,
        control: Vec::new(),
        frames: Vec::new(),
        content: Vec::new(),
    };
    let mut waiting = Vec::new();
    for piece in pieces {
        waiting.extend_from_slice(piece);
        match decoder.take(&waiting) {
            Ok(used) => drop(waiting.drain(..used)),
            Err(violation) => return (decoder.frames, Err(violation)),
        }
    }
    (decoder.frames, Ok(decoder.content))
}

/// As a relay decodes: payload is looked at as it comes.
struct Decoder {
    sequence: Sequence,
    inflater: Inflater,
    utf8: Utf8,
    now: Instant,
    /// The frame under way, and how much of its payload was seen.
    frame: Option<(Head, Part, usize)>,
    control: Vec<u8>,
    frames: Vec<(Head, Part)>,
    content: Vec<u8>,
}

impl Decoder {
    /// Decodes from the front of `bytes`: how many are used up.
    fn take(&mut self, bytes: &[u8]) -> Result<usize, Violation> {
        let mut at = 0;
        loop {
            let Some((head, part, seen)) = self.frame.take() else {
                let Some(head) = Head::parse(&bytes[at..])? else { return Ok(at) };
                assert_eq!(head.encode().bytes(), &bytes[at..at + head.size], "it is written as it was read");
                let part = self.sequence.head(&head, self.now)?;
                self.frames.push((head, part));
                self.frame = Some((head, part, 0));
                at += head.size;
                continue;
            };
            let length = usize::try_from(head.length).expect("it is within the limit");
            let n = (length - seen).min(bytes.len() - at);
            let whole = seen + n == length;
            let mut payload = Vec::new();
            mask::unmasked(&bytes[at..at + n], head.mask.unwrap_or_default(), seen, &mut payload);
            let mut again = payload.clone();
            mask::apply(&mut again, head.mask.unwrap_or_default(), seen);
            assert_eq!(again, &bytes[at..at + n], "masked twice is not masked");
            self.payload(part, &payload, whole)?;
            at += n;
            if !whole {
                self.frame = Some((head, part, seen + n));
                return Ok(at);
            }
        }
    }

    fn payload(&mut self, part: Part, payload: &[u8], whole: bool) -> Result<(), Violation> {
        match part {
            Part::Data { text, compressed, last, .. } => {
                let start = self.content.len();
                if compressed {
                    let bound = Bound { size: SIZE, ratio: 0 };
                    self.inflater.inflate(payload, last && whole, &mut self.content, bound)?;
                } else {
                    self.content.extend_from_slice(payload);
                }
                if text {
                    self.utf8.feed(&self.content[start..], last && whole)?;
                }
            }
            Part::Ping | Part::Pong | Part::Close => {
                self.control.extend_from_slice(payload);
                assert!(self.control.len() <= 125, "a control frame is small");
                if !whole {
                    return Ok(());
                }
                let control = std::mem::take(&mut self.control);
                if part == Part::Close
                    && let Close { code: Some(code), reason } = Close::parse(&control)?
                {
                    assert!(close::may_be_sent(code));
                    assert_eq!(close::encode(code, &reason), control, "it is written as it was read");
                }
            }
        }
        Ok(())
    }
}

/// The payload of a compressed message.
pub fn ws_inflate(data: &[u8]) {
    for (size, ratio) in [(1, 0), (100, 0), (70_000, 0), (1 << 20, 2), (1 << 20, 50)] {
        let bound = Bound { size, ratio };
        let mut out = b"before".to_vec();
        let whole = Inflater::new(false).inflate(data, true, &mut out, bound);
        let made = out.len() - 6;
        assert!(made <= size, "{made} bytes, past the bound of {size}");
        let most = data.len().saturating_mul(ratio as usize) + (256 << 10);
        assert!(ratio == 0 || made <= most + (64 << 10), "{made} bytes of {}", data.len());
        if whole.is_ok() {
            assert!(ratio == 0 || made <= most);
            round_trip(&out[6..]);
        }
        if ratio > 0 {
            // By the ratio a message may fail earlier when its end has not come.
            continue;
        }
        for cuts in cuts(data) {
            let mut inflater = Inflater::new(false);
            let mut cut = b"before".to_vec();
            let pieces = pieces(data, &cuts);
            let verdict = pieces.iter().try_for_each(|piece| inflater.inflate(piece, false, &mut cut, bound));
            let verdict = verdict.and_then(|()| inflater.inflate(b"", true, &mut cut, bound));
            assert_eq!(verdict, whole, "the verdict in pieces");
            assert!(whole.is_err() || cut == out, "the content in pieces");
        }
        // With takeover what breaks off cannot be told, but what is whole is the same, and the next message is bounded too.
        let (mut inflater, mut kept) = (Inflater::new(true), b"before".to_vec());
        let verdict = inflater.inflate(data, true, &mut kept, bound);
        assert!(whole.is_err() || (verdict == whole && kept == out), "with takeover {verdict:?}");
        if verdict.is_ok() {
            kept.clear();
            let _ = inflater.inflate(data, true, &mut kept, bound);
            assert!(kept.len() <= size);
        }
    }
}

/// What weir compresses is read as what it was.
fn round_trip(content: &[u8]) {
    let (mut payload, mut again) = (Vec::new(), Vec::new());
    Deflater::new(1, 9, 1, false).deflate(content, true, &mut payload);
    let bound = Bound { size: content.len(), ratio: 0 };
    let verdict = Inflater::new(false).inflate(&payload, true, &mut again, bound);
    assert!(verdict.is_ok() && again == content);
}

/// Values of `Sec-WebSocket-Extensions`, one a line: what a client offers, and what an upstream answers.
pub fn ws_extensions(data: &[u8]) {
    let lines = data.split(|&byte| byte == b'\n');
    let Ok(values) = lines.map(HeaderValue::from_bytes).collect::<Result<Vec<_>, _>>() else { return };
    let joined = values.iter().map(HeaderValue::as_bytes).collect::<Vec<_>>().join(&b", "[..]);
    let joined = HeaderValue::from_bytes(&joined).expect("values make a value");
    let joined = HeaderMap::from_iter([(SEC_WEBSOCKET_EXTENSIONS, joined)]);
    let headers: HeaderMap = values.into_iter().map(|value| (SEC_WEBSOCKET_EXTENSIONS, value)).collect();
    for (takeover, window_bits) in [(false, 15), (false, 10), (true, 15), (true, 9)] {
        let settings = Deflate { takeover, window_bits, ..Deflate::default() };
        let accepted = extension::accept(&headers, &settings);
        assert_eq!(extension::accept(&joined, &settings), accepted, "a list may be in one field or in many");
        if let Some((agreement, answer)) = accepted {
            check(agreement, &settings);
            assert!(agreement.server_window_bits <= window_bits);
            understood(data, agreement, answer);
        }
        let agreed = extension::agreed(&headers, &settings);
        assert_eq!(extension::agreed(&joined, &settings), agreed, "a list may be in one field or in many");
        if let Ok(Some(agreement)) = agreed {
            check(agreement, &settings);
            assert!(agreement.client_window_bits <= window_bits);
        }
    }
}

fn check(agreement: Agreement, settings: &Deflate) {
    for side in [Role::Client, Role::Server] {
        assert!((9..=15).contains(&agreement.window_bits(side)), "{agreement:?}");
        assert!(settings.takeover || !agreement.takeover(side), "{agreement:?}");
    }
}

/// The client, which may offer anything that it may be told, understands the answer as weir does.
fn understood(offer: &[u8], agreement: Agreement, answer: HeaderValue) {
    let told = answer.to_str().expect("it is of ASCII").contains("client_max_window_bits");
    let offer = offer.to_ascii_lowercase();
    assert!(!told || memchr::memmem::find(&offer, b"client_max_window_bits").is_some(), "it was not offered");
    let headers = HeaderMap::from_iter([(SEC_WEBSOCKET_EXTENSIONS, answer)]);
    let settings = Deflate { takeover: true, window_bits: 15, ..Deflate::default() };
    let there = extension::agreed(&headers, &settings).expect("the answer is valid").expect("there is one");
    assert_eq!(
        (there.client_takeover, there.server_takeover),
        (agreement.client_takeover, agreement.server_takeover)
    );
    assert!(there.server_window_bits >= agreement.server_window_bits, "{there:?} {agreement:?}");
    assert!(!told || there.client_window_bits == agreement.client_window_bits, "{there:?} {agreement:?}");
}
