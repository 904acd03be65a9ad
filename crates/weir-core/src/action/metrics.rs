//! Metrics of plugins and of weir, for Prometheus and what reads its formats.

use std::sync::Arc;

use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderValue};
use http::{Method, Response, StatusCode};
use tokio::sync::Semaphore;
use weir_plugin::services::metrics::{Exposition, Metrics};

use crate::body::Body;
use crate::error::{Error, Kind, Result};

/// Writing many series takes milliseconds: so many at once, beside the workers.
static TURNS: Semaphore = Semaphore::const_new(2);

/// Answers a request with all metrics: OpenMetrics where the client names it in `Accept`, else Prometheus text.
/// Cancel-safe.
///
/// # Errors
/// `MethodNotAllowed`; `Internal` where the writing breaks off.
pub async fn serve(
    metrics: &Arc<dyn Metrics>,
    method: &Method,
    headers: &HeaderMap,
) -> Result<Response<Body>> {
    if method != Method::GET && method != Method::HEAD {
        return Err(Error::new(Kind::MethodNotAllowed, "metrics take GET and HEAD"));
    }
    let accepts =
        |value: &HeaderValue| value.to_str().is_ok_and(|v| v.contains("application/openmetrics-text"));
    let (format, content_type) = match headers.get_all(header::ACCEPT).iter().any(accepts) {
        true => (Exposition::OpenMetrics, "application/openmetrics-text; version=1.0.0; charset=utf-8"),
        false => (Exposition::Prometheus, "text/plain; version=0.0.4; charset=utf-8"),
    };
    let broken = |_| Error::new(Kind::Internal, "writing the metrics broke off");
    let turn =
        TURNS.acquire().await.map_err(|_| Error::new(Kind::Internal, "no metrics are written any more"))?;
    let metrics = metrics.clone();
    let text = tokio::task::spawn_blocking(move || {
        // Held until it is done, whoever gave up waiting.
        let _turn = turn;
        metrics.expose(format)
    });
    let text = Bytes::from(text.await.map_err(broken)?);
    let mut headers = HeaderMap::with_capacity(2);
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(super::respond(StatusCode::OK, &headers, &text))
}
