//! One upload: the whole body, or a file of a form. It is told by its first bytes; the rest is only counted.

use std::mem;

use crate::kind::{self, Jpeg, Kind, Scan};
use crate::settings::{Other, Plan};

/// Why an upload is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// 400, 413 or 415.
    pub status: u16,
    /// As it is counted.
    pub reason: &'static str,
    /// For the client and the log.
    pub text: String,
}

impl Refusal {
    /// With these.
    pub fn new(status: u16, reason: &'static str, text: impl Into<String>) -> Refusal {
        Refusal { status, reason, text: text.into() }
    }
}

/// What a `content-type` says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Declared {
    /// None, or `application/octet-stream`.
    Nothing,
    /// This image.
    Image(Kind),
    /// An image of a kind that is not known here.
    UnknownImage(String),
    /// No image: this.
    Other(String),
}

impl Declared {
    /// Of the value of `content-type`.
    pub fn of(content_type: Option<&str>) -> Declared {
        let media_type = content_type.unwrap_or_default().split(';').next().unwrap_or_default();
        let media_type = media_type.trim().to_ascii_lowercase();
        match (Kind::of_media_type(&media_type), media_type.as_str()) {
            (Some(kind), _) => Declared::Image(kind),
            (None, "" | "application/octet-stream") => Declared::Nothing,
            (None, name) if name.starts_with("image/") => Declared::UnknownImage(bounded(name)),
            (None, name) => Declared::Other(bounded(name)),
        }
    }
}

/// At most 64 characters, printable.
fn bounded(name: &str) -> String {
    name.chars().take(64).map(|c| if c.is_control() { '.' } else { c }).collect()
}

/// An upload on its way.
#[derive(Debug)]
pub struct Object {
    declared: Declared,
    stage: Stage,
    /// Bytes so far.
    size: u64,
}

#[derive(Debug)]
enum Stage {
    /// The first bytes, at most 1024.
    Head(Vec<u8>),
    /// An image whose dimensions are looked for.
    Jpeg(Jpeg),
    /// An image.
    Image,
    /// No image.
    Other,
}

impl Object {
    /// With what it is said to be.
    pub fn new(declared: Declared) -> Object {
        Object { declared, stage: Stage::Head(Vec::new()), size: 0 }
    }

    /// Whether more bytes must be seen before anything of it goes on.
    pub fn is_undecided(&self) -> bool {
        matches!(self.stage, Stage::Head(_))
    }

    /// The next bytes.
    pub fn feed(&mut self, plan: &Plan, data: &[u8]) -> Result<(), Refusal> {
        let mut rest = data;
        if let Stage::Head(head) = &mut self.stage {
            loop {
                let wanted = if head.len() < 64 { 64 } else { kind::needed(head) };
                if head.len() >= wanted {
                    break;
                }
                if rest.is_empty() {
                    return Ok(());
                }
                let (now, after) = rest.split_at((wanted - head.len()).min(rest.len()));
                head.extend_from_slice(now);
                rest = after;
            }
            self.decide(plan)?;
        }
        self.count(plan, rest)
    }

    /// There is no more of it.
    pub fn end(&mut self, plan: &Plan) -> Result<(), Refusal> {
        match &self.stage {
            Stage::Head(head) if head.is_empty() && !matches!(self.declared, Declared::Image(_)) => Ok(()),
            Stage::Head(_) => {
                self.decide(plan)?;
                self.end(plan)
            }
            Stage::Jpeg(_) => Err(no_pixels(Kind::Jpeg)),
            Stage::Image | Stage::Other => Ok(()),
        }
    }

    /// By the first bytes.
    fn decide(&mut self, plan: &Plan) -> Result<(), Refusal> {
        let Stage::Head(head) = mem::replace(&mut self.stage, Stage::Other) else { return Ok(()) };
        let real = Kind::of_bytes(&head);
        let kind = match (&self.declared, real) {
            (Declared::Image(declared), Some(real)) if *declared == real => real,
            (Declared::Nothing, Some(real)) => real,
            (Declared::Nothing | Declared::Other(_), None) if plan.other == Other::Pass => {
                self.size = head.len() as u64;
                return Ok(());
            }
            (Declared::Nothing | Declared::Other(_), None) => {
                return Err(Refusal::new(415, "other", "only images are accepted here"));
            }
            (declared, real) => return Err(mismatch(declared, real)),
        };
        if !plan.types.contains(&kind) {
            let text = format!("images of the type {} are not accepted here", kind.media_type());
            return Err(Refusal::new(415, "type", text));
        }
        self.stage = match (plan.max_pixels, kind) {
            (Some(_), Kind::Jpeg) => Stage::Jpeg(Jpeg::default()),
            (Some(most), Kind::Png | Kind::Gif | Kind::Webp) => {
                check_pixels(kind::pixels(kind, &head).ok_or_else(|| no_pixels(kind))?, most)?;
                Stage::Image
            }
            _ => Stage::Image,
        };
        self.count(plan, &head)
    }

    /// Looks at bytes in their order, so that their split changes nothing.
    fn count(&mut self, plan: &Plan, data: &[u8]) -> Result<(), Refusal> {
        if let Stage::Other = self.stage {
            return Ok(());
        }
        let room = usize::try_from(plan.max_size.saturating_sub(self.size)).unwrap_or(usize::MAX);
        let (within, beyond) = data.split_at(room.min(data.len()));
        if let (Stage::Jpeg(jpeg), Some(most)) = (&mut self.stage, plan.max_pixels) {
            match jpeg.feed(within) {
                Scan::More => {}
                Scan::Pixels(pixels) => {
                    check_pixels(pixels, most)?;
                    self.stage = Stage::Image;
                }
                Scan::Broken => return Err(no_pixels(Kind::Jpeg)),
            }
        }
        self.size += data.len() as u64;
        if beyond.is_empty() { Ok(()) } else { Err(too_large(plan)) }
    }
}

/// Of an image with more bytes than may be.
pub fn too_large(plan: &Plan) -> Refusal {
    Refusal::new(413, "size", format!("an image may have {} bytes here", plan.max_size))
}

fn check_pixels(pixels: u64, most: u64) -> Result<(), Refusal> {
    if pixels <= most {
        return Ok(());
    }
    Err(Refusal::new(413, "pixels", format!("an image may have {most} pixels here, and this has {pixels}")))
}

fn no_pixels(kind: Kind) -> Refusal {
    Refusal::new(415, "broken", format!("the {} does not tell its dimensions", kind.media_type()))
}

fn mismatch(declared: &Declared, real: Option<Kind>) -> Refusal {
    let declared = match declared {
        Declared::Nothing => "nothing",
        Declared::Image(kind) => kind.media_type(),
        Declared::UnknownImage(name) | Declared::Other(name) => name.as_str(),
    };
    let text = match real {
        Some(real) => format!("declared as {declared}, but it is {}", real.media_type()),
        None => format!("declared as {declared}, but it is no image that is known here"),
    };
    Refusal::new(415, "mismatch", text)
}
