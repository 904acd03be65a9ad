//! Kinds of images: their names, what they are declared as, their first bytes, and the dimensions in their heads.

use serde::Deserialize;

/// A kind of image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    Png,
    Jpeg,
    Gif,
    Webp,
    Avif,
    Heic,
    Bmp,
    Tiff,
    Ico,
    Svg,
}

impl Kind {
    /// All but SVG, which may have scripts in it.
    pub const PIXELS: [Kind; 9] = [
        Kind::Png,
        Kind::Jpeg,
        Kind::Gif,
        Kind::Webp,
        Kind::Avif,
        Kind::Heic,
        Kind::Bmp,
        Kind::Tiff,
        Kind::Ico,
    ];

    /// Its media type.
    pub fn media_type(self) -> &'static str {
        match self {
            Kind::Png => "image/png",
            Kind::Jpeg => "image/jpeg",
            Kind::Gif => "image/gif",
            Kind::Webp => "image/webp",
            Kind::Avif => "image/avif",
            Kind::Heic => "image/heic",
            Kind::Bmp => "image/bmp",
            Kind::Tiff => "image/tiff",
            Kind::Ico => "image/x-icon",
            Kind::Svg => "image/svg+xml",
        }
    }

    /// Of a media type in lower case, also by other names that are in use.
    pub fn of_media_type(media_type: &str) -> Option<Kind> {
        Some(match media_type {
            "image/png" | "image/x-png" | "image/apng" => Kind::Png,
            "image/jpeg" | "image/jpg" | "image/pjpeg" => Kind::Jpeg,
            "image/gif" => Kind::Gif,
            "image/webp" => Kind::Webp,
            "image/avif" | "image/avif-sequence" => Kind::Avif,
            "image/heic" | "image/heif" | "image/heic-sequence" | "image/heif-sequence" => Kind::Heic,
            "image/bmp" | "image/x-bmp" | "image/x-ms-bmp" => Kind::Bmp,
            "image/tiff" | "image/tif" => Kind::Tiff,
            "image/x-icon" | "image/vnd.microsoft.icon" | "image/ico" => Kind::Ico,
            "image/svg+xml" | "image/svg" => Kind::Svg,
            _ => return None,
        })
    }

    /// By its first bytes, as many as [`needed`] says, or all there are.
    pub fn of_bytes(head: &[u8]) -> Option<Kind> {
        Some(match head {
            [0x89, b'P', b'N', b'G', b'\r', b'\n', 0x1a, b'\n', ..] => Kind::Png,
            [0xff, 0xd8, 0xff, ..] => Kind::Jpeg,
            [b'G', b'I', b'F', b'8', b'7' | b'9', b'a', ..] => Kind::Gif,
            [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P', ..] => Kind::Webp,
            [_, _, _, _, b'f', b't', b'y', b'p', brands @ ..] => of_brands(head, brands)?,
            // Reserved bytes are zero in every writer; two letters alone begin many a text.
            [b'B', b'M', _, _, _, _, 0, 0, 0, 0, ..] => Kind::Bmp,
            [b'I', b'I', b'*' | b'+', 0, ..] | [b'M', b'M', 0, b'*' | b'+', ..] => Kind::Tiff,
            [0, 0, 1 | 2, 0, count, 0, ..] if *count > 0 => Kind::Ico,
            _ if is_svg(head) => Kind::Svg,
            _ => return None,
        })
    }
}

/// Of the brands in the box `ftyp`: the major one first.
fn of_brands(head: &[u8], brands: &[u8]) -> Option<Kind> {
    let size = head.get(..4).and_then(|size| size.try_into().ok()).map_or(0, u32::from_be_bytes) as usize;
    let brands = brands.get(..size.saturating_sub(8).min(brands.len())).unwrap_or_default();
    let of = |brand: &[u8]| match brand {
        b"avif" | b"avis" => Some(Kind::Avif),
        b"heic" | b"heix" | b"hevc" | b"hevx" | b"heim" | b"heis" => Some(Kind::Heic),
        _ => None,
    };
    let (major, others) = brands.split_at_checked(8)?;
    of(major.get(..4)?).or_else(|| others.chunks_exact(4).find_map(of))
}

/// What is left of a text that begins, without a mark of its byte order and white space.
fn text_start(head: &[u8]) -> &[u8] {
    head.strip_prefix(b"\xef\xbb\xbf").unwrap_or(head).trim_ascii_start()
}

fn is_svg(head: &[u8]) -> bool {
    let text = text_start(head);
    text.first() == Some(&b'<') && text.windows(4).any(|window| window.eq_ignore_ascii_case(b"<svg"))
}

/// How many first bytes tell the kind: 64, or 1024 of what may be XML. `head` has at least 64 bytes, or all there are.
pub fn needed(head: &[u8]) -> usize {
    match text_start(head.get(..64).unwrap_or(head)).first() {
        None | Some(b'<') => 1024,
        Some(_) => 64,
    }
}

/// Pixels by the first bytes; none where they do not tell, as of a JPEG.
pub fn pixels(kind: Kind, head: &[u8]) -> Option<u64> {
    let le = |at: usize, bytes: usize| {
        let bytes = head.get(at..at + bytes)?;
        Some(bytes.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte)))
    };
    let be = |at: usize| head.get(at..at + 4)?.try_into().ok().map(u32::from_be_bytes).map(u64::from);
    let (width, height) = match (kind, head.get(12..16)?) {
        (Kind::Png, b"IHDR") => (be(16)?, be(20)?),
        (Kind::Gif, _) => (le(6, 2)?, le(8, 2)?),
        (Kind::Webp, b"VP8X") => (le(24, 3)? + 1, le(27, 3)? + 1),
        (Kind::Webp, b"VP8L") if head.get(20) == Some(&0x2f) => {
            let bits = le(21, 4)?;
            ((bits & 0x3fff) + 1, (bits >> 14 & 0x3fff) + 1)
        }
        (Kind::Webp, b"VP8 ") if head.get(23..26) == Some(&[0x9d, 0x01, 0x2a]) => {
            (le(26, 2)? & 0x3fff, le(28, 2)? & 0x3fff)
        }
        _ => return None,
    };
    Some(width * height)
}

/// Looks for the dimensions of a JPEG, segment by segment, in pieces of any length.
#[derive(Debug, Default)]
pub struct Jpeg {
    state: State,
}

#[derive(Debug, Default)]
enum State {
    /// Before FF, of which there may be many.
    #[default]
    Fill,
    /// FF was there.
    Marker,
    /// The length of a segment and what matters of it, so far.
    Segment { frame: bool, read: [u8; 7], len: usize },
    /// So many bytes of a segment that does not matter.
    Skip(usize),
}

/// What bytes tell of a JPEG's dimensions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scan {
    /// Nothing yet.
    More,
    /// So many pixels.
    Pixels(u64),
    /// There is no telling: it is no JPEG, or data begins before the dimensions are told.
    Broken,
}

impl Jpeg {
    /// The next bytes. After anything but `More` it is not called again.
    pub fn feed(&mut self, data: &[u8]) -> Scan {
        let mut rest = data;
        while let Some((&byte, after)) = rest.split_first() {
            rest = after;
            self.state = match std::mem::take(&mut self.state) {
                State::Fill if byte == 0xff => State::Marker,
                State::Fill => return Scan::Broken,
                State::Marker => match byte {
                    0xff => State::Marker,
                    // Without a segment: the begin of the image, restarts.
                    0x01 | 0xd0..=0xd8 => State::Fill,
                    // The image's data, or its end.
                    0x00 | 0xd9 | 0xda => return Scan::Broken,
                    marker => {
                        let frame = (0xc0..=0xcf).contains(&marker) && ![0xc4, 0xc8, 0xcc].contains(&marker);
                        State::Segment { frame, read: [0; 7], len: 0 }
                    }
                },
                State::Segment { frame, mut read, len } => {
                    if let Some(place) = read.get_mut(len) {
                        *place = byte;
                    }
                    let [l1, l2, _, h1, h2, w1, w2] = read;
                    match (len + 1, usize::from(u16::from_be_bytes([l1, l2]))) {
                        (2, 0 | 1) => return Scan::Broken,
                        (2, 2) => State::Fill,
                        (2, length) if !frame => State::Skip(length - 2),
                        (7, _) => {
                            let (height, width) =
                                (u16::from_be_bytes([h1, h2]), u16::from_be_bytes([w1, w2]));
                            // A height of 0 is told after the first scan.
                            if height == 0 {
                                return Scan::Broken;
                            }
                            return Scan::Pixels(u64::from(width) * u64::from(height));
                        }
                        (len, _) => State::Segment { frame, read, len },
                    }
                }
                State::Skip(left) => {
                    let more = (left - 1).min(rest.len());
                    rest = rest.get(more..).unwrap_or_default();
                    match left - 1 - more {
                        0 => State::Fill,
                        left => State::Skip(left),
                    }
                }
            };
        }
        Scan::More
    }
}

#[cfg(test)]
pub mod tests {
    use super::*;

    pub fn png(width: u32, height: u32) -> Vec<u8> {
        let size = [width.to_be_bytes(), height.to_be_bytes()].concat();
        [b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR", &size[..], b"\x08\x06\0\0\0", &[7; 100]].concat()
    }

    /// With a segment of `comment` bytes before the dimensions.
    pub fn jpeg(width: u16, height: u16, comment: usize) -> Vec<u8> {
        let length = u16::try_from(comment + 2).expect("length").to_be_bytes();
        let (height, width) = (height.to_be_bytes(), width.to_be_bytes());
        let begin = [&b"\xff\xd8\xff\xe0"[..], &length, &vec![0xff; comment]].concat();
        [&begin[..], b"\xff\xff\xc0\0\x11\x08", &height, &width, &[3; 40], b"\xff\xda", &[9; 60]].concat()
    }

    fn webp(chunk: &[u8]) -> Vec<u8> {
        [b"RIFF\x40\0\0\0WEBP", chunk, &[0; 40]].concat()
    }

    #[test]
    fn kinds_are_told_by_first_bytes() {
        for (head, expected) in [
            (&png(1, 1)[..], Some(Kind::Png)),
            (&jpeg(1, 1, 5), Some(Kind::Jpeg)),
            (b"GIF87a\x01\0\x01\0", Some(Kind::Gif)),
            (b"GIF88a\x01\0\x01\0", None),
            (&webp(b"VP8 "), Some(Kind::Webp)),
            (b"RIFF\x40\0\0\0WAVE", None),
            (b"\0\0\0\x18ftypavif\0\0\0\0mif1miaf", Some(Kind::Avif)),
            (b"\0\0\0\x18ftypmif1\0\0\0\0heicmiaf", Some(Kind::Heic)),
            (b"\0\0\0\x14ftypisom\0\0\0\0mp41heic", None),
            (b"BM\x40\0\0\0\0\0\0\0\x36\0\0\0", Some(Kind::Bmp)),
            (b"BMW and others", None),
            (b"II*\0\x08\0\0\0", Some(Kind::Tiff)),
            (b"MM\0*\0\0\0\x08", Some(Kind::Tiff)),
            (b"\0\0\x01\0\x01\0\x10\x10", Some(Kind::Ico)),
            (b"\xef\xbb\xbf \n<?xml version='1.0'?><!-- a --><SVG xmlns='x'/>", Some(Kind::Svg)),
            (b"<html><body>", None),
            (b"a <svg>", None),
            (b"%PDF-1.7", None),
            (b"", None),
        ] {
            assert_eq!(Kind::of_bytes(head), expected, "{head:?}");
        }
    }

    #[test]
    fn pixels_are_told_by_heads() {
        for (kind, head, expected) in [
            (Kind::Png, png(70_000, 70_000), Some(4_900_000_000)),
            (Kind::Png, b"\x89PNG\r\n\x1a\n\0\0\0\x0dJUNKxxxxxxxxxxx".to_vec(), None),
            (Kind::Gif, b"GIF89a\x00\x01\x02\0\0\0\0\0\0\0\0\0".to_vec(), Some(512)),
            (Kind::Webp, webp(b"VP8X\x0a\0\0\0\0\0\0\0\x09\0\0\x13\0\0"), Some(200)),
            (Kind::Webp, webp(b"VP8L\x0a\0\0\0\x2f\x09\xc0\x04\0"), Some(200)),
            (Kind::Webp, webp(b"VP8 \x0a\0\0\0\0\0\0\x9d\x01\x2a\x0a\0\x14\0"), Some(200)),
            (Kind::Webp, webp(b"JUNK"), None),
        ] {
            assert_eq!(pixels(kind, &head), expected, "{kind:?}");
        }
    }

    #[test]
    fn dimensions_of_a_jpeg_are_found_in_pieces_of_any_length() {
        for comment in [0, 1, 5, 1000, 65_000] {
            let data = jpeg(30, 20, comment);
            for piece in [1, 3, 64, 5000, 100_000] {
                let mut scan = Jpeg::default();
                let found = data.chunks(piece).map(|data| scan.feed(data)).find(|scan| *scan != Scan::More);
                assert_eq!(found, Some(Scan::Pixels(600)), "{comment} {piece}");
            }
        }
        for broken in
            [&b"\xff\xd8\xff\xda\0\x08"[..], b"\xff\xd8\xff\xe0\0\x01", b"\xff\xd8x", &jpeg(1, 0, 1)]
        {
            assert_eq!(Jpeg::default().feed(broken), Scan::Broken, "{broken:?}");
        }
    }
}
