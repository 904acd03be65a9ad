//! Taking a content coding off a body, for plugins that look into it.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use async_compression::tokio::bufread::{BrotliDecoder, GzipDecoder, ZstdDecoder};
use async_compression::zstd::DParameter;
use bytes::{Buf, Bytes};
use http_body::{Body as HttpBody, Frame};
use tokio::io::{AsyncBufRead, AsyncRead, ReadBuf};
use weir_plugin::message::body::Coding;

use crate::body::Body;
use crate::error::{Error, Kind};

/// The most that is handed on at once, in bytes.
const OUTPUT: usize = 16 << 10;
/// What is made before others on this worker have their turn, in bytes.
const TURN: usize = 64 << 10;
/// The largest window of zstd, as a power of two: 8 MiB, more than which no sender may ask for (RFC 9659).
const ZSTD_WINDOW: u32 = 23;

/// A body without its content coding. It breaks off with an error of `kind` where it is not what it says, or goes on
/// behind its end. However much comes of few bytes, no more than 16 KiB at once.
pub fn decompress(body: Body, coding: Coding, kind: Kind) -> Body {
    if body.is_end_stream() {
        return body;
    }
    let input = Input { body, piece: Bytes::new(), trailers: None, ended: false, failed: None };
    let decoder: Box<dyn Decoder> = match coding {
        Coding::Gzip => {
            let mut decoder = GzipDecoder::new(input);
            decoder.multiple_members(true);
            Box::new(decoder)
        }
        Coding::Brotli => Box::new(BrotliDecoder::new(input)),
        Coding::Zstd => {
            let mut decoder = ZstdDecoder::with_params(input, &[DParameter::window_log_max(ZSTD_WINDOW)]);
            decoder.multiple_members(true);
            Box::new(decoder)
        }
    };
    Body::stream(Decompressed { decoder, kind, stage: Stage::Decoding, work: 0 })
}

/// A decoder and what it reads from.
trait Decoder: AsyncRead + Unpin {
    fn input(&mut self) -> &mut Input;
}

impl Decoder for GzipDecoder<Input> {
    fn input(&mut self) -> &mut Input {
        self.get_mut()
    }
}

impl Decoder for BrotliDecoder<Input> {
    fn input(&mut self) -> &mut Input {
        self.get_mut()
    }
}

impl Decoder for ZstdDecoder<Input> {
    fn input(&mut self) -> &mut Input {
        self.get_mut()
    }
}

/// A body as something to read bytes from.
struct Input {
    body: Body,
    piece: Bytes,
    trailers: Option<Frame<Bytes>>,
    ended: bool,
    /// Why the body broke off.
    failed: Option<Error>,
}

impl AsyncBufRead for Input {
    fn poll_fill_buf(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<&[u8]>> {
        let this = self.get_mut();
        while this.piece.is_empty() && !this.ended {
            match ready!(Pin::new(&mut this.body).poll_frame(cx)) {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => this.piece = data,
                    Err(trailers) => this.trailers = Some(trailers),
                },
                Some(Err(error)) => {
                    this.ended = true;
                    this.failed = Some(error);
                    return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
                }
                None => this.ended = true,
            }
        }
        Poll::Ready(Ok(&this.piece))
    }

    fn consume(self: Pin<&mut Self>, amount: usize) {
        self.get_mut().piece.advance(amount);
    }
}

impl AsyncRead for Input {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        to: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let piece = ready!(self.as_mut().poll_fill_buf(cx))?;
        let amount = piece.len().min(to.remaining());
        to.put_slice(piece.get(..amount).unwrap_or_default());
        self.consume(amount);
        Poll::Ready(Ok(()))
    }
}

struct Decompressed {
    decoder: Box<dyn Decoder>,
    kind: Kind,
    stage: Stage,
    /// Bytes made since others had their turn.
    work: usize,
}

enum Stage {
    Decoding,
    /// The decoder has ended: trailers may come, and nothing else.
    Ending,
    Ended,
}

impl Decompressed {
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Frame<Bytes>>, Error>> {
        if self.work >= TURN {
            self.work = 0;
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        if matches!(self.stage, Stage::Decoding) {
            let mut space = Vec::with_capacity(OUTPUT);
            let mut output = ReadBuf::uninit(space.spare_capacity_mut());
            match Pin::new(&mut self.decoder).poll_read(cx, &mut output) {
                Poll::Pending => {
                    self.work = 0;
                    return Poll::Pending;
                }
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(error)) => return Poll::Ready(Err(self.broken(error))),
            }
            if !output.filled().is_empty() {
                self.work += output.filled().len();
                return Poll::Ready(Ok(Some(Frame::data(Bytes::copy_from_slice(output.filled())))));
            }
            self.stage = Stage::Ending;
        }
        if matches!(self.stage, Stage::Ending) {
            let mut input = Pin::new(self.decoder.input());
            match ready!(input.as_mut().poll_fill_buf(cx)) {
                Ok([]) => {}
                Ok(_) => {
                    let error = Error::new(self.kind, "a compressed body goes on behind its end");
                    return Poll::Ready(Err(error));
                }
                Err(error) => return Poll::Ready(Err(self.broken(error))),
            }
            let trailers = input.trailers.take();
            self.stage = Stage::Ended;
            return Poll::Ready(Ok(trailers));
        }
        Poll::Ready(Ok(None))
    }

    /// The body's own error, or that of the decoder.
    fn broken(&mut self, error: io::Error) -> Error {
        let own = self.decoder.input().failed.take();
        own.unwrap_or_else(|| Error::because(self.kind, "a body is not compressed as it says", error))
    }
}

impl HttpBody for Decompressed {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let this = self.get_mut();
        let next = ready!(this.poll_next(cx));
        if next.is_err() {
            this.stage = Stage::Ended;
        }
        Poll::Ready(next.transpose())
    }

    fn is_end_stream(&self) -> bool {
        matches!(self.stage, Stage::Ended)
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use async_compression::tokio::write::{BrotliEncoder, GzipEncoder, ZstdEncoder};
    use tokio::io::AsyncWriteExt;

    use super::*;

    async fn compressed(coding: Coding, plain: &[u8]) -> Vec<u8> {
        macro_rules! by {
            ($encoder:ident) => {{
                let mut encoder = $encoder::new(Vec::new());
                encoder.write_all(plain).await.expect("memory");
                encoder.shutdown().await.expect("memory");
                encoder.into_inner()
            }};
        }
        match coding {
            Coding::Gzip => by!(GzipEncoder),
            Coding::Brotli => by!(BrotliEncoder),
            Coding::Zstd => by!(ZstdEncoder),
        }
    }

    /// A body that comes in pieces of this size.
    struct Pieces(Bytes, usize);

    impl HttpBody for Pieces {
        type Data = Bytes;
        type Error = Error;
        fn poll_frame(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
            let size = self.1.min(self.0.len());
            let piece = self.0.split_to(size);
            Poll::Ready((size > 0).then(|| Ok(Frame::data(piece))))
        }
    }

    async fn read(bytes: Vec<u8>, coding: Coding, size: usize) -> Result<(Vec<u8>, usize), Error> {
        let mut body = decompress(Body::stream(Pieces(bytes.into(), size)), coding, Kind::UpstreamInvalid);
        let (mut all, mut largest) = (Vec::new(), 0);
        while let Some(frame) = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
            let data = frame?.into_data().expect("no trailers");
            largest = largest.max(data.len());
            all.extend_from_slice(&data);
        }
        assert!(body.is_end_stream());
        Ok((all, largest))
    }

    #[tokio::test]
    async fn what_was_compressed_comes_out() {
        let plain: Vec<u8> = (0..200_000u32).flat_map(|n| (n % 977).to_le_bytes()).collect();
        for coding in [Coding::Gzip, Coding::Brotli, Coding::Zstd] {
            let bytes = compressed(coding, &plain).await;
            for size in [1, 700, usize::MAX] {
                let (all, largest) = read(bytes.clone(), coding, size).await.expect("it is right");
                assert!(all == plain && largest <= OUTPUT, "{coding:?} in pieces of {size}: {largest}");
            }
            let cut = bytes[..bytes.len() - 3].to_vec();
            assert_eq!(
                read(cut, coding, 100).await.expect_err("cut").kind(),
                Kind::UpstreamInvalid,
                "{coding:?}"
            );
            let more = [bytes, b"garbage".to_vec()].concat();
            assert_eq!(
                read(more, coding, 100).await.expect_err("more").kind(),
                Kind::UpstreamInvalid,
                "{coding:?}"
            );
            assert!(read(b"this is not compressed".to_vec(), coding, 5).await.is_err(), "{coding:?}");
        }
    }

    #[tokio::test]
    async fn members_come_one_after_the_other() {
        for coding in [Coding::Gzip, Coding::Zstd] {
            let two = [compressed(coding, b"one ").await, compressed(coding, b"two").await].concat();
            assert_eq!(read(two, coding, 3).await.expect("two").0, b"one two", "{coding:?}");
        }
    }

    #[tokio::test]
    async fn a_bomb_comes_in_small_pieces() {
        for coding in [Coding::Gzip, Coding::Brotli, Coding::Zstd] {
            let bomb = compressed(coding, &vec![0; 20_000_000]).await;
            let (all, largest) = read(bomb, coding, usize::MAX).await.expect("it is right");
            assert_eq!((all.len(), largest <= OUTPUT), (20_000_000, true), "{coding:?}");
        }
    }
}
