//! Requests to the authority: HTTP/1.1 over TLS, one connection each. There are a dozen in two months.

use std::error::Error as StdError;
use std::pin::Pin;
use std::str::FromStr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::header::{HOST, HeaderValue, RETRY_AFTER};
use http::uri::{PathAndQuery, Scheme};
use http::{HeaderMap, Request, Response, Uri};
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::rt::TokioIo;
use instant_acme::{BodyWrapper, BytesResponse, Error, HttpClient};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// How long a request may take.
const PATIENCE: Duration = Duration::from_secs(30);
/// The most seconds that an authority is let ask to wait.
const LONGEST_WAIT: u64 = 24 * 3600;
/// The most bytes of an answer.
const LONGEST: usize = 1 << 20;

type Failure = Box<dyn StdError + Send + Sync>;

/// Speaks to an authority.
#[derive(Clone)]
pub struct Https {
    tls: TlsConnector,
    /// What an answer asked for last: to wait this long.
    wait: Arc<Mutex<Option<Duration>>>,
}

impl Https {
    /// A client that believes these authorities.
    ///
    /// # Errors
    /// rustls does not take its settings.
    pub fn new(roots: Arc<RootCertStore>) -> Result<Self, rustls::Error> {
        let config = ClientConfig::builder_with_provider(weir_core::tls::provider())
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Https { tls: TlsConnector::from(Arc::new(config)), wait: Arc::default() })
    }

    /// How long the authority asked to wait when it refused something (`Retry-After`).
    pub fn asked_to_wait(&self) -> Option<Duration> {
        *self.wait.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn send(self, request: Request<BodyWrapper<Bytes>>) -> Result<Response<Full<Bytes>>, Failure> {
        *self.wait.lock().unwrap_or_else(PoisonError::into_inner) = None;
        let uri = request.uri().clone();
        if uri.scheme() != Some(&Scheme::HTTPS) {
            return Err(format!("{uri} is no https URL").into());
        }
        let host = uri.host().ok_or("a URL without a host")?;
        // An IPv6 address stands in brackets.
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        let stream = TcpStream::connect((bare, uri.port_u16().unwrap_or(443))).await?;
        let stream = self.tls.connect(ServerName::try_from(bare.to_owned())?, stream).await?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        // It ends when the sender is dropped.
        tokio::spawn(connection);
        let response = sender.send_request(to_origin(request, &uri)?).await?;
        let (mut parts, body) = response.into_parts();
        let asked = retry_after(&mut parts.headers);
        if parts.status.is_client_error() || parts.status.is_server_error() {
            *self.wait.lock().unwrap_or_else(PoisonError::into_inner) = asked;
        }
        let body = Limited::new(body, LONGEST).collect().await?.to_bytes();
        Ok(Response::from_parts(parts, Full::new(body)))
    }
}

/// What an answer asks for: to wait this long. More than can be meant is a day, also for who reads the field later.
fn retry_after(headers: &mut HeaderMap) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let seconds = u64::from_str(text).unwrap_or(u64::MAX);
    if is_number && seconds > LONGEST_WAIT {
        headers.insert(RETRY_AFTER, HeaderValue::from(LONGEST_WAIT));
    }
    is_number.then(|| Duration::from_secs(seconds.min(LONGEST_WAIT)))
}

/// The request as it goes over the wire: the target in origin form, the host in its field.
fn to_origin(
    mut request: Request<BodyWrapper<Bytes>>,
    uri: &Uri,
) -> Result<Request<BodyWrapper<Bytes>>, Failure> {
    let authority = uri.authority().ok_or("a URL without a host")?;
    let host = HeaderValue::from_str(authority.as_str())?;
    let target = uri.path_and_query().cloned().unwrap_or_else(|| PathAndQuery::from_static("/"));
    *request.uri_mut() = Uri::from(target);
    request.headers_mut().insert(HOST, host);
    Ok(request)
}

impl HttpClient for Https {
    fn request(
        &self,
        request: Request<BodyWrapper<Bytes>>,
    ) -> Pin<Box<dyn Future<Output = Result<BytesResponse, Error>> + Send>> {
        let uri = request.uri().clone();
        let sent = self.clone().send(request);
        Box::pin(async move {
            let failed = |error: Failure| Error::Other(format!("{uri}: {error}").into());
            match tokio::time::timeout(PATIENCE, sent).await {
                Ok(response) => response.map(BytesResponse::from).map_err(failed),
                Err(_) => Err(failed(format!("no answer within {PATIENCE:?}").into())),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_is_asked_to_wait_longer_than_a_day() {
        for (text, wait, kept) in [
            ("7", Some(7), "7"),
            ("86400", Some(86400), "86400"),
            ("18446744073709551615", Some(86400), "86400"),
            ("99999999999999999999999", Some(86400), "86400"),
            ("soon", None, "soon"),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(RETRY_AFTER, HeaderValue::from_static(text));
            assert_eq!(retry_after(&mut headers), wait.map(Duration::from_secs), "{text}");
            assert_eq!(headers.get(RETRY_AFTER).map(HeaderValue::as_bytes), Some(kept.as_bytes()));
        }
        assert_eq!(retry_after(&mut HeaderMap::new()), None);
    }
}
