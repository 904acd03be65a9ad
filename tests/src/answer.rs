//! Reading HTTP/1.1 messages off the wire, strictly: what a test checks is what came, byte for byte.

use std::io::{self, Read};

/// A response as it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// The head as it came, with the empty line.
    pub head: String,
    /// The body without its framing.
    pub body: Vec<u8>,
    /// Trailer fields, names in lower case.
    pub trailers: Vec<(String, String)>,
    /// Whether the body came to the end that its framing says. A body that ends with the connection is whole.
    pub whole: bool,
}

impl Answer {
    /// The values of a header, in order.
    pub fn all(&self, name: &str) -> Vec<&str> {
        fields(&self.head)
            .filter(|(field, _)| field.eq_ignore_ascii_case(name))
            .map(|(_, value)| value)
            .collect()
    }

    /// The only value of a header; `None` if there is none.
    ///
    /// # Panics
    /// When there are several.
    pub fn header(&self, name: &str) -> Option<&str> {
        let all = self.all(name);
        assert!(all.len() < 2, "several {name}: {}", self.head);
        all.first().copied()
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// The fields of a message head.
pub fn fields(head: &str) -> impl Iterator<Item = (&str, &str)> {
    head.split("\r\n")
        .skip(1)
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name, value.trim()))
}

/// A buffered reader that remembers nothing but what was not yet taken.
pub struct Wire<R> {
    inner: R,
    waiting: Vec<u8>,
    ended: bool,
}

impl<R: Read> Wire<R> {
    /// Reads from `inner`.
    pub fn new(inner: R) -> Self {
        Wire { inner, waiting: Vec::new(), ended: false }
    }

    /// What is read from.
    pub fn inner(&mut self) -> &mut R {
        &mut self.inner
    }

    /// Reads once more; false at the end. A reset counts as an end.
    ///
    /// # Panics
    /// When nothing comes for [`PATIENCE`](crate::PATIENCE).
    pub fn fill(&mut self) -> bool {
        let mut chunk = [0; 16 << 10];
        while !self.ended {
            match self.inner.read(&mut chunk) {
                Ok(0) => self.ended = true,
                Ok(n) => {
                    self.waiting.extend_from_slice(&chunk[..n]);
                    return true;
                }
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) if matches!(e.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
                    panic!("nothing comes; so far: {:?}", String::from_utf8_lossy(&self.waiting))
                }
                Err(_) => self.ended = true,
            }
        }
        false
    }

    /// Reads until this text has come, and takes nothing.
    ///
    /// # Panics
    /// When the stream ends before.
    pub fn wait_for(&mut self, text: &str) {
        while !self.waiting.windows(text.len()).any(|window| window == text.as_bytes()) {
            let more = self.fill();
            assert!(more, "closed before {text:?}: {:?}", String::from_utf8_lossy(&self.waiting));
        }
    }

    /// What has come and was not taken.
    pub fn waiting(&self) -> &[u8] {
        &self.waiting
    }

    /// Takes up to and including `end`; at the end of the stream what is left, as an error.
    pub fn take_until(&mut self, end: &[u8]) -> Result<Vec<u8>, Vec<u8>> {
        let mut from = 0;
        loop {
            let found = self.waiting[from..].windows(end.len()).position(|window| window == end);
            if let Some(at) = found {
                let rest = self.waiting.split_off(from + at + end.len());
                return Ok(std::mem::replace(&mut self.waiting, rest));
            }
            from = self.waiting.len().saturating_sub(end.len() - 1);
            if !self.fill() {
                return Err(std::mem::take(&mut self.waiting));
            }
        }
    }

    /// Takes exactly `count` bytes; at the end of the stream what is left, as an error.
    pub fn take(&mut self, count: usize) -> Result<Vec<u8>, Vec<u8>> {
        while self.waiting.len() < count {
            if !self.fill() {
                return Err(std::mem::take(&mut self.waiting));
            }
        }
        let rest = self.waiting.split_off(count);
        Ok(std::mem::replace(&mut self.waiting, rest))
    }

    /// Takes all there is until the end of the stream.
    pub fn take_all(&mut self) -> Vec<u8> {
        while self.fill() {}
        std::mem::take(&mut self.waiting)
    }

    /// Reads a response to a request with this method; `None` if the stream ends before its first byte.
    ///
    /// # Panics
    /// On a head that is not one.
    pub fn answer(&mut self, method: &str) -> Option<Answer> {
        let head = match self.take_until(b"\r\n\r\n") {
            Ok(head) => String::from_utf8_lossy(&head).into_owned(),
            Err(rest) if rest.is_empty() => return None,
            Err(rest) => panic!("the head of a response is cut: {:?}", String::from_utf8_lossy(&rest)),
        };
        let status = head.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3)?.parse().ok());
        let status = status.unwrap_or_else(|| panic!("not a response: {head:?}"));
        let mut answer = Answer { status, head, body: Vec::new(), trailers: Vec::new(), whole: true };
        if method == "HEAD" || status < 200 || status == 204 || status == 304 {
            return Some(answer);
        }
        let length = answer.header("content-length").map(|value| value.parse::<usize>().expect("a length"));
        match (answer.header("transfer-encoding"), length) {
            (Some("chunked"), None) => self.chunked(&mut answer),
            (Some(coding), _) => panic!("framed ambiguously ({coding}): {:?}", answer.head),
            (None, Some(length)) => {
                let body = self.take(length);
                answer.whole = body.is_ok();
                answer.body = body.unwrap_or_else(|rest| rest);
            }
            (None, None) => answer.body = self.take_all(),
        }
        Some(answer)
    }

    fn chunked(&mut self, answer: &mut Answer) {
        answer.whole = false;
        loop {
            let Ok(line) = self.take_until(b"\r\n") else { return };
            let line = String::from_utf8_lossy(&line);
            let size = usize::from_str_radix(line.trim_end(), 16)
                .unwrap_or_else(|_| panic!("a chunk size: {line:?}"));
            if size == 0 {
                break;
            }
            match self.take(size) {
                Ok(data) => answer.body.extend_from_slice(&data),
                Err(rest) => return answer.body.extend_from_slice(&rest),
            }
            match self.take(2) {
                Ok(end) => assert_eq!(end, b"\r\n", "a chunk ends with CRLF"),
                Err(_) => return,
            }
        }
        loop {
            let Ok(line) = self.take_until(b"\r\n") else { return };
            let line = String::from_utf8_lossy(&line);
            let Some((name, value)) = line.split_once(':') else { break };
            answer.trailers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
        answer.whole = true;
    }
}
