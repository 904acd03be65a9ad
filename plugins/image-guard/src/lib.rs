//! Lets uploads through that are the images they say they are: see README.md.
//!
//! In reading order: [`settings`], [`kind`] (what images look like), [`object`] (one upload), [`multipart`] (files of forms).

mod kind;
mod multipart;
mod object;
mod settings;
#[cfg(test)]
mod tests;

use weir_guest::prelude::*;

use multipart::{Event, Multipart};
use object::{Declared, Object, Refusal};
use settings::{Plan, Settings};

struct Guard(Plan);

/// What is kept of a request while its body passes.
#[derive(Default)]
struct Exchange {
    reader: Option<Reader>,
    /// Pieces that wait for the first bytes of an upload.
    held: Vec<u8>,
}

/// What reads a body.
enum Reader {
    /// It is one upload.
    Whole(Object),
    /// It is a form; with the file that has begun.
    Form(Multipart, Option<Object>),
}

impl Filter for Guard {
    type Settings = Settings;
    type Exchange = Exchange;

    fn load(settings: Settings) -> Result<Guard> {
        Ok(Guard(settings.resolve()?))
    }
}

impl OnRequest for Guard {
    fn on_request(&self, x: &mut Exchange, req: &Request) -> Result<Verdict> {
        match self.reader(req) {
            Ok(reader) => {
                x.reader = Some(reader);
                Ok(Verdict::Proceed)
            }
            Err(refusal) => Ok(reply(&refusal)?.into()),
        }
    }
}

impl OnRequestBody for Guard {
    fn on_request_body(&self, x: &mut Exchange, data: &[u8], last: bool) -> Result<Piece> {
        let Some(reader) = &mut x.reader else { return Ok(Piece::Pass) };
        let fed = reader.feed(&self.0, data).and_then(|()| if last { reader.end(&self.0) } else { Ok(()) });
        if let Err(refusal) = fed {
            *x = Exchange::default();
            return Ok(reply(&refusal)?.into());
        }
        if !last && reader.is_undecided() {
            x.held.extend_from_slice(data);
            return Ok(Piece::hold());
        }
        if x.held.is_empty() {
            return Ok(Piece::Pass);
        }
        let mut held = std::mem::take(&mut x.held);
        held.extend_from_slice(data);
        Ok(Piece::Replace(held))
    }
}

impl Guard {
    /// By the head of a request.
    fn reader(&self, req: &Request) -> std::result::Result<Reader, Refusal> {
        let content_types = req.headers().get_all("content-type");
        if content_types.len() > 1 {
            return Err(Refusal::new(400, "type", "content-type is there twice"));
        }
        let content_type = req.header("content-type");
        let (media_type, parameters) =
            content_type.as_deref().map_or(("", ""), |value| value.split_once(';').unwrap_or((value, "")));
        if media_type.trim().eq_ignore_ascii_case("multipart/form-data") {
            return Ok(Reader::Form(Multipart::new(parameters)?, None));
        }
        let declared = Declared::of(content_type.as_deref());
        let length = req.headers().parse::<u64>("content-length");
        if matches!(declared, Declared::Image(_)) && length.is_some_and(|length| length > self.0.max_size) {
            return Err(object::too_large(&self.0));
        }
        Ok(Reader::Whole(Object::new(declared)))
    }
}

impl Reader {
    fn feed(&mut self, plan: &Plan, data: &[u8]) -> std::result::Result<(), Refusal> {
        match self {
            Reader::Whole(object) => object.feed(plan, data),
            Reader::Form(form, file) => form.feed(data, &mut |event| match (event, &mut *file) {
                (Event::File(declared), file) => {
                    *file = Some(Object::new(declared));
                    Ok(())
                }
                (Event::Data(data), Some(object)) => object.feed(plan, data),
                (Event::End, file) => file.take().map_or(Ok(()), |mut object| object.end(plan)),
                (Event::Field | Event::Data(_), _) => Ok(()),
            }),
        }
    }

    fn end(&mut self, plan: &Plan) -> std::result::Result<(), Refusal> {
        match self {
            Reader::Whole(object) => object.end(plan),
            Reader::Form(form, _) => form.end(),
        }
    }

    fn is_undecided(&self) -> bool {
        match self {
            Reader::Whole(object) => object.is_undecided(),
            Reader::Form(_, file) => file.as_ref().is_some_and(Object::is_undecided),
        }
    }
}

/// Counts and logs what is refused.
fn reply(refusal: &Refusal) -> Result<Reply> {
    metrics::counter("refused", &[("reason", refusal.reason)])?.add(1.0)?;
    log::info(format!("refused: {}", refusal.text));
    Ok(Reply::text(refusal.status, format!("{}\n", refusal.text)))
}

weir_guest::export!(Guard);
