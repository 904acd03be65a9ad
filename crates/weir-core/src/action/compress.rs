//! Compression of responses on their way to the client.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use async_compression::tokio::write::{BrotliEncoder, GzipEncoder, ZstdEncoder};
use async_compression::{Level, brotli, zstd};
use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderValue};
use http::{Method, Response, StatusCode};
use http_body::{Body as HttpBody, Frame};
use tokio::io::AsyncWrite;
use weir_plugin::message;

use super::error::quality;
use crate::body::Body;
use crate::error::{Error, Kind};
use crate::headers::{is_bodiless, tokens};
use crate::spec::{Compression, Encoding};

/// What is handed on as soon as there is so much of it.
const OUTPUT: usize = 16 << 10;
/// What is compressed before others on this worker have their turn.
const INPUT: usize = 64 << 10;

/// Compresses a response if the client takes it (RFC 9110, section 12.5.3), its media type is listed and it is not
/// known to be small. Left alone: responses without a body, partial ones, those already encoded, and those that
/// say `no-transform` (RFC 9111, section 5.2.2.6). What has come is flushed as soon as the sender pauses, so that a
/// stream of events stays one.
///
/// `Vary` is set also where this client does not take it; a strong `ETag` becomes weak, and digests of the content,
/// `Content-Length` and `Accept-Ranges` go.
pub fn compress(
    method: &Method,
    request: &HeaderMap,
    mut response: Response<Body>,
    wanted: &Compression,
) -> Response<Body> {
    if !is_candidate(method, &response, wanted) {
        return response;
    }
    let headers = response.headers_mut();
    if !tokens(headers, &header::VARY).any(|t| t == "*" || t.eq_ignore_ascii_case("accept-encoding")) {
        headers.append(header::VARY, HeaderValue::from_static("accept-encoding"));
    }
    let Some(encoding) = choose(request, &wanted.encodings) else { return response };
    headers.insert(
        header::CONTENT_ENCODING,
        HeaderValue::from_static(match encoding {
            Encoding::Zstd => "zstd",
            Encoding::Brotli => "br",
            Encoding::Gzip => "gzip",
        }),
    );
    message::body::changed(headers);
    response.map(|body| Body::stream(Compressed::new(body, encoding)))
}

/// Whether a response would be compressed for a client that takes it.
fn is_candidate(method: &Method, response: &Response<Body>, wanted: &Compression) -> bool {
    let headers = response.headers();
    let status = response.status();
    if is_bodiless(method, status)
        || status == StatusCode::PARTIAL_CONTENT
        || headers.contains_key(header::CONTENT_ENCODING)
        || headers.contains_key(header::CONTENT_RANGE)
        || !headers.get(header::CONTENT_TYPE).is_some_and(|value| is_listed(value, wanted))
        || tokens(headers, &header::CACHE_CONTROL).any(|t| t.eq_ignore_ascii_case("no-transform"))
    {
        return false;
    }
    let length = headers.get(header::CONTENT_LENGTH).and_then(|v| v.to_str().ok()?.parse::<u64>().ok());
    let length = length.or_else(|| response.body().size_hint().exact());
    length.is_none_or(|length| length > 0 && length >= wanted.min_size)
}

fn is_listed(content_type: &HeaderValue, wanted: &Compression) -> bool {
    let Ok(text) = content_type.to_str() else { return false };
    let media_type = text.split(';').next().unwrap_or(text).trim();
    wanted.types.iter().any(|listed| match listed.strip_suffix("/*") {
        Some("*") => true,
        Some(family) => {
            media_type.split_once('/').is_some_and(|(given, _)| given.eq_ignore_ascii_case(family))
        }
        None => listed.eq_ignore_ascii_case(media_type),
    })
}

/// The encoding that the client likes best; of equals the first in `offered`. `None` where there is no
/// `Accept-Encoding`, it takes none of them, or likes `identity` better.
fn choose(request: &HeaderMap, offered: &[Encoding]) -> Option<Encoding> {
    let (mut listed, mut any, mut identity) = ([None; 3], 0, 0);
    for member in tokens(request, &header::ACCEPT_ENCODING) {
        let mut parts = member.split(';').map(str::trim);
        let name = parts.next().unwrap_or_default().to_ascii_lowercase();
        let quality = quality(parts);
        match name.as_str() {
            "zstd" => listed[Encoding::Zstd as usize] = Some(quality),
            "br" => listed[Encoding::Brotli as usize] = Some(quality),
            "gzip" | "x-gzip" => listed[Encoding::Gzip as usize] = Some(quality),
            "identity" => identity = quality,
            "*" => any = quality,
            _ => {}
        }
    }
    let liked = |encoding: &Encoding| listed.get(*encoding as usize).copied().flatten().unwrap_or(any);
    let best = offered.iter().map(|encoding| (liked(encoding), *encoding));
    let (quality, best) = best.reduce(|best, next| if next.0 > best.0 { next } else { best })?;
    (quality > 0 && quality >= identity).then_some(best)
}

/// An encoder and what came out of it.
trait Encoder: AsyncWrite + Unpin {
    fn output(&mut self) -> &mut Vec<u8>;
}

impl Encoder for GzipEncoder<Vec<u8>> {
    fn output(&mut self) -> &mut Vec<u8> {
        self.get_mut()
    }
}

impl Encoder for BrotliEncoder<Vec<u8>> {
    fn output(&mut self) -> &mut Vec<u8> {
        self.get_mut()
    }
}

impl Encoder for ZstdEncoder<Vec<u8>> {
    fn output(&mut self) -> &mut Vec<u8> {
        self.get_mut()
    }
}

/// Settings for traffic: quick, and at most some 512 KiB a response.
fn encoder(encoding: Encoding) -> Box<dyn Encoder> {
    match encoding {
        Encoding::Gzip => Box::new(GzipEncoder::with_quality(Vec::new(), Level::Precise(5))),
        Encoding::Brotli => {
            let params = brotli::EncoderParams::default().quality(Level::Precise(4)).window_size(18);
            Box::new(BrotliEncoder::with_params(Vec::new(), params))
        }
        Encoding::Zstd => {
            let params = [zstd::CParameter::window_log(18)];
            Box::new(ZstdEncoder::with_quality_and_params(Vec::new(), Level::Precise(3), &params))
        }
    }
}

/// A body that is compressed as it is read.
struct Compressed {
    from: Body,
    encoder: Box<dyn Encoder>,
    /// Read but not yet compressed.
    input: Bytes,
    /// Whether the encoder may hold something back.
    unflushed: bool,
    stage: Stage,
}

enum Stage {
    Reading,
    /// The body has ended, maybe with trailers; the encoder has not.
    Ending(Option<Frame<Bytes>>),
    /// The encoder has ended too; these are left.
    Trailers(Option<Frame<Bytes>>),
}

impl Compressed {
    fn new(from: Body, encoding: Encoding) -> Self {
        let (input, unflushed, stage) = (Bytes::new(), false, Stage::Reading);
        Compressed { from, encoder: encoder(encoding), input, unflushed, stage }
    }

    fn take_output(&mut self) -> Option<Frame<Bytes>> {
        let output = std::mem::take(self.encoder.output());
        (!output.is_empty()).then(|| Frame::data(output.into()))
    }

    /// Compresses some of the input. The encoder writes into memory and is always ready.
    fn write(&mut self, cx: &mut Context<'_>) -> Poll<Result<usize, Error>> {
        let part = self.input.get(..self.input.len().min(OUTPUT)).unwrap_or_default();
        let written = ready!(Pin::new(&mut self.encoder).poll_write(cx, part)).map_err(failed)?;
        let _ = self.input.split_to(written.min(self.input.len()));
        self.unflushed = true;
        Poll::Ready(Ok(written))
    }
}

fn failed(error: std::io::Error) -> Error {
    Error::because(Kind::Internal, "compressing the response failed", error)
}

impl HttpBody for Compressed {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let this = self.get_mut();
        let mut work = 0;
        loop {
            if !this.input.is_empty() {
                work += ready!(this.write(cx))?;
                if this.encoder.output().len() >= OUTPUT {
                    return Poll::Ready(this.take_output().map(Ok));
                }
                if work >= INPUT {
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
                continue;
            }
            match &mut this.stage {
                Stage::Reading => match Pin::new(&mut this.from).poll_frame(cx) {
                    Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                        Ok(data) => this.input = data,
                        Err(trailers) => this.stage = Stage::Ending(Some(trailers)),
                    },
                    Poll::Ready(Some(Err(error))) => {
                        this.stage = Stage::Trailers(None);
                        return Poll::Ready(Some(Err(error)));
                    }
                    Poll::Ready(None) => this.stage = Stage::Ending(None),
                    Poll::Pending if this.unflushed => {
                        ready!(Pin::new(&mut this.encoder).poll_flush(cx)).map_err(failed)?;
                        this.unflushed = false;
                        if let Some(frame) = this.take_output() {
                            return Poll::Ready(Some(Ok(frame)));
                        }
                    }
                    Poll::Pending => return Poll::Pending,
                },
                Stage::Ending(trailers) => {
                    let trailers = trailers.take();
                    ready!(Pin::new(&mut this.encoder).poll_shutdown(cx)).map_err(failed)?;
                    this.stage = Stage::Trailers(trailers);
                    if let Some(frame) = this.take_output() {
                        return Poll::Ready(Some(Ok(frame)));
                    }
                }
                Stage::Trailers(trailers) => return Poll::Ready(trailers.take().map(Ok)),
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self.stage, Stage::Trailers(None))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::task::Waker;

    use async_compression::tokio::write::{BrotliDecoder, GzipDecoder, ZstdDecoder};
    use tokio::io::AsyncWriteExt;

    use super::*;

    fn wanted() -> Compression {
        Compression {
            encodings: vec![Encoding::Zstd, Encoding::Brotli, Encoding::Gzip],
            types: vec!["text/*".into(), "application/json".into()],
            min_size: 10,
        }
    }

    fn map(fields: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, HeaderValue::from_static(value));
        }
        headers
    }

    fn answer(
        status: u16,
        fields: &[(&'static str, &'static str)],
        body: impl Into<Bytes>,
    ) -> Response<Body> {
        let mut response = Response::new(Body::from(body.into()));
        *response.status_mut() = StatusCode::from_u16(status).expect("a status");
        *response.headers_mut() = map(fields);
        response
    }

    #[test]
    fn encodings_are_chosen_by_quality() {
        for (accept, want) in [
            (None, None),
            (Some(""), None),
            (Some("gzip"), Some("gzip")),
            (Some("x-gzip"), Some("gzip")),
            (Some("gzip, deflate, br, zstd"), Some("zstd")),
            (Some("gzip;q=1.0, br;q=0.9, zstd;q=0.5"), Some("gzip")),
            (Some("GZIP;Q=0.5, BR;q=0.8"), Some("br")),
            (Some("*"), Some("zstd")),
            (Some("*;q=0.5, zstd;q=0"), Some("br")),
            (Some("gzip;q=0"), None),
            (Some("identity, gzip;q=0.5"), None),
            (Some("identity;q=0.5, gzip"), Some("gzip")),
            (Some("gzip;q=nonsense"), None),
            (Some("deflate"), None),
        ] {
            let request = accept.map_or_else(HeaderMap::new, |accept| map(&[("accept-encoding", accept)]));
            let fields = [("content-type", "text/plain"), ("content-length", "20")];
            let response = compress(&Method::GET, &request, answer(200, &fields, "a".repeat(20)), &wanted());
            let headers = response.headers();
            assert_eq!(
                headers.get("content-encoding").map(|v| v.as_bytes()),
                want.map(str::as_bytes),
                "{accept:?}"
            );
            assert_eq!(headers.contains_key("content-length"), want.is_none(), "{accept:?}");
            assert_eq!(headers["vary"], "accept-encoding");
        }
    }

    #[test]
    fn what_must_not_be_compressed_is_left_alone() {
        const TEXT: (&str, &str) = ("content-type", "text/plain; charset=utf-8");
        for (method, status, fields, size, want) in [
            ("GET", 200, &[TEXT][..], 20, true),
            ("POST", 404, &[("content-type", "Application/JSON")], 20, true),
            ("GET", 200, &[TEXT], 9, false),
            ("GET", 200, &[TEXT, ("content-length", "9")], 20, false),
            ("GET", 200, &[TEXT], 0, false),
            ("GET", 200, &[("content-type", "image/png")], 20, false),
            ("GET", 200, &[("content-type", "textual/plain")], 20, false),
            ("GET", 200, &[], 20, false),
            ("GET", 200, &[TEXT, ("content-encoding", "br")], 20, false),
            ("GET", 200, &[TEXT, ("cache-control", "public, No-Transform")], 20, false),
            ("GET", 206, &[TEXT], 20, false),
            ("GET", 200, &[TEXT, ("content-range", "bytes 0-1/2")], 20, false),
            ("HEAD", 200, &[TEXT], 20, false),
            ("GET", 204, &[TEXT], 20, false),
            ("GET", 304, &[TEXT], 20, false),
        ] {
            let request = map(&[("accept-encoding", "gzip")]);
            let method: Method = method.parse().expect("a method");
            let response = compress(&method, &request, answer(status, fields, "a".repeat(size)), &wanted());
            let is = matches!(response.body(), Body::Stream(_));
            assert_eq!(is, want, "{method} {status} {fields:?} {size}");
            assert_eq!(response.headers().contains_key("vary"), want);
        }
    }

    #[test]
    fn validators_become_weak_and_digests_go() {
        for (tag, want) in [("\"a\"", "W/\"a\""), ("W/\"a\"", "W/\"a\"")] {
            let fields = [
                ("content-type", "text/plain"),
                ("etag", tag),
                ("accept-ranges", "bytes"),
                ("content-digest", "sha-256=:x:"),
                ("vary", "origin, Accept-Encoding"),
            ];
            let request = map(&[("accept-encoding", "gzip")]);
            let response = compress(&Method::GET, &request, answer(200, &fields, "a".repeat(20)), &wanted());
            let headers = response.headers();
            assert_eq!(headers["etag"], want);
            assert!(!headers.contains_key("accept-ranges") && !headers.contains_key("content-digest"));
            assert_eq!(headers.get_all("vary").iter().count(), 1);
        }
    }

    /// Frames with pauses (`None`) between them.
    struct Script(VecDeque<Option<Frame<Bytes>>>);

    impl HttpBody for Script {
        type Data = Bytes;
        type Error = Error;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
            match self.0.pop_front() {
                None => Poll::Ready(None),
                Some(None) => Poll::Pending,
                Some(Some(frame)) => Poll::Ready(Some(Ok(frame))),
            }
        }
    }

    /// The next frame, if it does not take longer than a pause or two.
    fn next(body: &mut Body) -> Option<Frame<Bytes>> {
        let mut cx = Context::from_waker(Waker::noop());
        match Pin::new(body).poll_frame(&mut cx) {
            Poll::Ready(frame) => frame.map(|frame| frame.expect("it does not fail")),
            Poll::Pending => panic!("what came before the pause was held back"),
        }
    }

    async fn decode(encoding: Encoding, bytes: &[u8]) -> Vec<u8> {
        macro_rules! decode {
            ($decoder:ident) => {{
                let mut decoder = $decoder::new(Vec::new());
                decoder.write_all(bytes).await.expect("it decodes");
                decoder.flush().await.expect("it decodes");
                decoder.into_inner()
            }};
        }
        match encoding {
            Encoding::Gzip => decode!(GzipDecoder),
            Encoding::Brotli => decode!(BrotliDecoder),
            Encoding::Zstd => decode!(ZstdDecoder),
        }
    }

    fn compressed(encoding: Encoding, script: Vec<Option<Frame<Bytes>>>) -> Body {
        Body::stream(Compressed::new(Body::stream(Script(script.into())), encoding))
    }

    #[tokio::test]
    async fn a_stream_stays_a_stream() {
        for encoding in [Encoding::Gzip, Encoding::Brotli, Encoding::Zstd] {
            let event = |text| Some(Frame::data(Bytes::from_static(text)));
            let trailers = map(&[("x-sum", "1")]);
            let mut body = compressed(
                encoding,
                vec![
                    event(b"data: 1\n\n"),
                    None,
                    event(b"data: 2\n\n"),
                    None,
                    Some(Frame::trailers(trailers.clone())),
                ],
            );
            let mut all = Vec::new();
            for text in ["data: 1\n\n", "data: 1\n\ndata: 2\n\n", "data: 1\n\ndata: 2\n\n"] {
                let data = next(&mut body).and_then(|frame| frame.into_data().ok()).expect("data");
                all.extend_from_slice(&data);
                assert_eq!(decode(encoding, &all).await, text.as_bytes(), "{encoding:?}");
            }
            let last = next(&mut body).and_then(|frame| frame.into_trailers().ok());
            assert_eq!(last, Some(trailers));
            assert!(next(&mut body).is_none() && body.is_end_stream());
        }
    }

    #[tokio::test]
    async fn large_bodies_come_in_bounded_parts() {
        let mut random = fastrand::Rng::with_seed(7);
        let text: Vec<u8> = (0..1 << 20).map(|_| random.u8(..)).collect();
        for encoding in [Encoding::Gzip, Encoding::Brotli, Encoding::Zstd] {
            let mut body = compressed(encoding, vec![Some(Frame::data(text.clone().into()))]);
            let mut cx = Context::from_waker(Waker::noop());
            let mut all = Vec::new();
            loop {
                match Pin::new(&mut body).poll_frame(&mut cx) {
                    Poll::Pending => {}
                    Poll::Ready(None) => break,
                    Poll::Ready(Some(frame)) => {
                        let data = frame.ok().and_then(|f| f.into_data().ok()).expect("data");
                        assert!(data.len() <= 600 << 10, "{encoding:?}: {}", data.len());
                        all.extend_from_slice(&data);
                    }
                }
            }
            assert!(decode(encoding, &all).await == text, "{encoding:?}");
        }
    }
}
