//! Consistent hashing: weighted rendezvous (highest random weight).
//!
//! Every endpoint gets a score from the key and its own address, and the highest wins. An endpoint that comes
//! takes from each of the others only what it wins, one that goes leaves what it had to all the others, and the
//! shares are as exact as the hash is good. The cost is a multiplication or two an endpoint. Hashes are of the
//! bytes alone, so that every worker, restart and replica agrees.

use http::{HeaderMap, header};
use percent_encoding::percent_decode_str;
use weir_plugin::Exchange;

use super::{Field, Tier};
use crate::spec::HashKey;

/// The endpoints as the hash sees them.
#[derive(Debug)]
pub(super) struct Rendezvous(Vec<u64>);

impl Rendezvous {
    pub(super) fn new<'a>(addresses: impl Iterator<Item = &'a str>) -> Self {
        Rendezvous(addresses.map(|address| of_bytes(address.as_bytes())).collect())
    }

    /// The endpoint of a key's hash.
    pub(super) fn choose(&self, field: &Field<'_>, key: u64) -> Option<usize> {
        let equal = field.weights.are_equal();
        let mut best: Option<(Tier, f64, u64, usize)> = None;
        for (index, seed) in self.0.iter().enumerate() {
            let Some(tier) = field.tier(index) else { continue };
            let draw = mix(key ^ seed);
            // Where all weigh the same the score orders as the draw does, and the logarithm is saved.
            let score = if equal { 0.0 } else { score(draw, field.weights.of(index)) };
            let better = best.is_none_or(|(best_tier, best_score, best_draw, _)| {
                tier < best_tier
                    || tier == best_tier && (score > best_score || score == best_score && draw > best_draw)
            });
            if better {
                best = Some((tier, score, draw, index));
            }
        }
        best.map(|(_, _, _, index)| index)
    }
}

/// The score of an endpoint: `-weight / ln(u)` for `u` between 0 and 1. The highest of several is an endpoint's
/// with the probability of its share of the weights.
fn score(draw: u64, weight: u64) -> f64 {
    let u = ((draw >> 11) as f64 + 0.5) / (1u64 << 53) as f64;
    -(weight as f64) / u.ln()
}

/// The hash of what a request has for this key; `None`: it lacks it.
pub(super) fn of_exchange(key: &HashKey, exchange: &Exchange) -> Option<u64> {
    match key {
        HashKey::Client => exchange.client.map(|client| match client.to_canonical() {
            std::net::IpAddr::V4(address) => of_bytes(&address.octets()),
            std::net::IpAddr::V6(address) => of_bytes(&address.octets()),
        }),
        HashKey::Header(name) => exchange.headers.get(name).and_then(|value| filled(value.as_bytes())),
        HashKey::Cookie(name) => cookie(&exchange.headers, name).and_then(filled),
        HashKey::Query(name) => query(exchange.uri.query()?, name),
        HashKey::Path => filled(exchange.uri.path().as_bytes()),
    }
}

/// The first cookie of this name (RFC 6265, section 5.4).
pub(super) fn cookie<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a [u8]> {
    let pairs = headers.get_all(header::COOKIE).into_iter().flat_map(|v| v.as_bytes().split(|b| *b == b';'));
    pairs.map(<[u8]>::trim_ascii).find_map(|pair| pair.strip_prefix(name.as_bytes())?.strip_prefix(b"="))
}

/// The first parameter of this name, both percent-decoded.
fn query(query: &str, name: &str) -> Option<u64> {
    let mut pairs = query.split('&').map(|pair| pair.split_once('=').unwrap_or((pair, "")));
    let (_, value) = pairs.find(|(key, _)| percent_decode_str(key).eq(name.bytes()))?;
    (!value.is_empty()).then(|| of(percent_decode_str(value)))
}

fn filled(bytes: &[u8]) -> Option<u64> {
    (!bytes.is_empty()).then(|| of_bytes(bytes))
}

/// The hash of some bytes.
pub(super) fn of_bytes(bytes: &[u8]) -> u64 {
    of(bytes.iter().copied())
}

/// FNV-1a, and a finaliser for what it mixes badly.
fn of(bytes: impl Iterator<Item = u8>) -> u64 {
    mix(bytes
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)))
}

/// The finaliser of SplitMix64: every bit of the argument moves about half the bits of the result.
fn mix(mut x: u64) -> u64 {
    x = x.wrapping_add(0x9e37_79b9_7f4a_7c15);
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    #[test]
    fn a_cookie_is_found_by_its_whole_name_in_any_header() {
        let mut headers = HeaderMap::new();
        headers.append(header::COOKIE, HeaderValue::from_static("ab=1; a=2;b=3"));
        headers.append(header::COOKIE, HeaderValue::from_static(" c = 4; a=5"));
        assert_eq!(cookie(&headers, "a"), Some(&b"2"[..]));
        assert_eq!(cookie(&headers, "b"), Some(&b"3"[..]));
        assert_eq!(cookie(&headers, "c"), None);
        assert_eq!(cookie(&headers, "d"), None);
    }

    #[test]
    fn a_query_parameter_is_compared_and_hashed_decoded() {
        assert_eq!(query("x=1&us%65r=%41", "user"), Some(of_bytes(b"A")));
        assert_eq!(query("user=A&user=B", "user"), Some(of_bytes(b"A")));
        assert_eq!(query("user", "user"), None);
        assert_eq!(query("users=1", "user"), None);
    }

    #[test]
    fn hashes_are_the_same_in_every_process() {
        assert_eq!(of_bytes(b""), 14_087_677_454_934_409_008);
        assert_eq!(of_bytes(b"weir"), 5_486_631_273_439_898_432);
    }
}
