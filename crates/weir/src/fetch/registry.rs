//! The pull of the OCI distribution specification (1.1): a manifest, which names the layer that is the plugin, and that blob.
//! Who may read it is told by a token (<https://distribution.github.io/distribution/spec/auth/token/>), or by the credentials.

use http::header::WWW_AUTHENTICATE;
use http::{Response, StatusCode};
use http_auth::parser::ChallengeParser;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;
use ureq::Body;

use super::http_client::{Client, body};
use super::{Artifact, MOST, Pin, Reference, is_loopback};

/// The most bytes of a manifest: what registries take, too.
const LONGEST: u64 = 4 << 20;
/// The most bytes of an answer with a token.
const LONGEST_TOKEN: u64 = 1 << 20;

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
/// What layers with a component are, as `wkg`, `oras` and others push them.
const LAYERS: [&str; 3] = [
    "application/wasm",
    "application/vnd.wasm.content.layer.v1+wasm",
    "application/vnd.module.wasm.content.layer.v1+wasm",
];

#[derive(Deserialize)]
struct Manifest {
    #[serde(default)]
    layers: Vec<Layer>,
    /// Of an index, which names other manifests.
    manifests: Option<serde::de::IgnoredAny>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Layer {
    media_type: String,
    digest: String,
}

#[derive(Deserialize)]
struct Token {
    token: Option<String>,
    access_token: Option<String>,
}

/// The manifest of an artifact, which may be anything.
pub(super) fn manifest(client: &Client, artifact: &Artifact) -> Result<Vec<u8>, String> {
    let which = match (&artifact.digest, &artifact.tag) {
        (Some(digest), _) => format!("sha256:{digest}"),
        (None, Some(tag)) => tag.clone(),
        (None, None) => "latest".to_owned(),
    };
    pull(client, artifact, &format!("manifests/{which}"), Some(MANIFEST), LONGEST)
}

/// The layer that is the plugin.
pub(super) fn layer(manifest: &[u8]) -> Result<Pin, String> {
    let manifest: Manifest = serde_json::from_slice(manifest)
        .map_err(|error| format!("what came is no manifest of an artifact: {error}"))?;
    if manifest.manifests.is_some() {
        return Err("this is an index of several artifacts: the digest of one of them is wanted".to_owned());
    }
    let layers = &manifest.layers;
    let mut known = layers.iter().filter(|layer| LAYERS.contains(&layer.media_type.as_str()));
    let layer = match (known.next(), known.next()) {
        (Some(layer), None) => layer,
        _ => {
            let kinds: Vec<&str> = layers.iter().map(|layer| layer.media_type.as_str()).collect();
            return Err(format!(
                "the artifact has the layers [{}], and one of {} is wanted",
                kinds.join(", "),
                LAYERS.join(", ")
            ));
        }
    };
    let digest = layer.digest.strip_prefix("sha256:").and_then(Pin::parse);
    digest.ok_or_else(|| format!("the layer has the digest `{}`, and a SHA-256 is wanted", layer.digest))
}

/// A layer.
pub(super) fn blob(client: &Client, artifact: &Artifact, digest: &Pin) -> Result<Vec<u8>, String> {
    pull(client, artifact, &format!("blobs/sha256:{digest}"), None, MOST)
}

fn pull(
    client: &Client,
    artifact: &Artifact,
    what: &str,
    accept: Option<&str>,
    most: u64,
) -> Result<Vec<u8>, String> {
    let (registry, repository) = (&artifact.registry, &artifact.repository);
    let host = registry.rsplit_once(':').map_or(registry.as_str(), |(host, _)| host);
    let scheme = if is_loopback(host) { "http" } else { "https" };
    // What is called docker.io is served there.
    let server = if registry == "docker.io" { "registry-1.docker.io" } else { registry };
    let url = format!("{scheme}://{server}/v2/{repository}/{what}");
    let mut response = client.ask(&url, accept, None)?;
    if response.status() == StatusCode::UNAUTHORIZED {
        let authorization = authorize(client, &url, &response, repository)?;
        response = client.ask(&url, accept, Some(&authorization))?;
    }
    body(&url, &mut response, most)
}

/// How to ask again, as an answer wants it: with a token that whoever is named gives out, or with the credentials.
fn authorize(
    client: &Client,
    url: &str,
    refused: &Response<Body>,
    repository: &str,
) -> Result<String, String> {
    let wanted =
        refused.headers().get(WWW_AUTHENTICATE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let challenges = ChallengeParser::new(wanted).filter_map(Result::ok);
    for challenge in challenges {
        if challenge.scheme.eq_ignore_ascii_case("basic") {
            let missing = || format!("{url}: the registry wants a user and a password: `credentials`");
            return client.basic.clone().ok_or_else(missing);
        }
        if !challenge.scheme.eq_ignore_ascii_case("bearer") {
            continue;
        }
        let value = |wanted: &str| {
            let mut params = challenge.params.iter();
            params.find(|(name, _)| name.eq_ignore_ascii_case(wanted)).map(|(_, value)| value.to_unescaped())
        };
        let realm =
            value("realm").ok_or_else(|| format!("{url}: the registry does not say who gives out tokens"))?;
        // Credentials are not sent to just anybody.
        Reference::parse(&realm)
            .map_err(|wrong| format!("{url}: tokens are given out by {realm}: {wrong}"))?;
        let encode = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
        let scope = value("scope").unwrap_or_else(|| format!("repository:{repository}:pull"));
        let begin = if realm.contains('?') { '&' } else { '?' };
        let mut ask = format!("{realm}{begin}scope={}", encode(&scope));
        if let Some(service) = value("service") {
            ask += &format!("&service={}", encode(&service));
        }
        let mut response = client.ask(&ask, None, client.basic.as_deref())?;
        let answer = body(&ask, &mut response, LONGEST_TOKEN)?;
        let Token { token, access_token } = serde_json::from_slice(&answer)
            .map_err(|error| format!("{realm}: what came is no answer with a token: {error}"))?;
        let token = token.or(access_token).ok_or_else(|| format!("{realm}: the answer has no token"))?;
        return Ok(format!("Bearer {token}"));
    }
    Err(format!("{url}: the registry wants to know who asks, in a way that weir does not know"))
}
