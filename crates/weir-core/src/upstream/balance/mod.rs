//! How an endpoint is chosen.
//!
//! Every choice looks at the endpoint it would take first, and only where that one will not do at all the others:
//! the usual case reads one or two endpoints (smooth round-robin and hashing read all), takes no lock that another
//! worker holds, and allocates nothing.

mod hash;
mod round_robin;
mod sticky;
mod weights;

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::sync::atomic::Ordering;

use http::HeaderValue;
use weir_plugin::Exchange;

pub use sticky::CookieError;
use weights::Weights;

use super::endpoint::Endpoint;
use crate::spec;
use hash::Rendezvous;
use round_robin::RoundRobin;
use sticky::Sticky;

/// The endpoints of a group with all that choosing needs to know beforehand.
#[derive(Debug)]
pub(super) struct Balancer {
    policy: Policy,
    weights: Weights,
    rendezvous: Rendezvous,
}

/// What is particular to a way of choosing.
#[derive(Debug)]
enum Policy {
    RoundRobin(RoundRobin),
    LeastRequests,
    Random,
    Hash(spec::HashKey),
    Sticky(Sticky),
}

/// The endpoints from which one attempt chooses.
#[derive(Clone, Copy)]
struct Field<'a> {
    endpoints: &'a [Arc<Endpoint>],
    weights: &'a Weights,
    /// Ids of endpoints that were tried before.
    tried: &'a [usize],
}

/// How willingly an endpoint is taken: those of the lowest tier that is not empty are all as good.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Tier {
    Fit,
    Skipped,
    Tried,
    TriedAndSkipped,
}

impl Balancer {
    /// A balancer over these endpoints, of which there is at least one.
    ///
    /// # Errors
    /// When the sticky cookie cannot be sent.
    pub(super) fn new(upstream: &spec::Upstream, endpoints: &[Arc<Endpoint>]) -> Result<Self, CookieError> {
        let weights = Weights::new(endpoints.iter().map(|e| e.spec.weight));
        let policy = match &upstream.balance {
            spec::Balance::RoundRobin => Policy::RoundRobin(RoundRobin::new(&weights)),
            spec::Balance::LeastRequests => Policy::LeastRequests,
            spec::Balance::Random => Policy::Random,
            spec::Balance::Hash(key) => Policy::Hash(key.clone()),
            spec::Balance::Sticky(cookie) => {
                Policy::Sticky(Sticky::new(cookie, &upstream.name, endpoints.iter().map(|e| &*e.address))?)
            }
        };
        let rendezvous = Rendezvous::new(endpoints.iter().map(|e| &*e.address));
        Ok(Balancer { policy, weights, rendezvous })
    }

    /// The index of the endpoint to take, with a cookie to set. `key` overrides the policy with a hash.
    pub(super) fn choose(
        &self,
        endpoints: &[Arc<Endpoint>],
        exchange: &Exchange,
        key: Option<&[u8]>,
        tried: &[usize],
    ) -> Option<(usize, Option<HeaderValue>)> {
        let field = Field { endpoints, weights: &self.weights, tried };
        if let Some(key) = key {
            return self.rendezvous.choose(&field, hash::of_bytes(key)).map(|index| (index, None));
        }
        let index = match &self.policy {
            Policy::RoundRobin(turns) => turns.choose(&field)?,
            Policy::LeastRequests => least_requests(&field)?,
            Policy::Random => random(&field)?,
            Policy::Hash(key) => match hash::of_exchange(key, exchange) {
                Some(hash) => self.rendezvous.choose(&field, hash)?,
                None => random(&field)?,
            },
            Policy::Sticky(sticky) => {
                let wanted = sticky.wanted(&exchange.headers);
                if let Some(index) = wanted.filter(|index| field.is_fit(*index)) {
                    return Some((index, None));
                }
                let index = least_requests(&field)?;
                let cookie = (wanted != Some(index)).then(|| sticky.cookie(index, exchange)).flatten();
                return Some((index, cookie));
            }
        };
        Some((index, None))
    }
}

impl Field<'_> {
    /// How willingly an endpoint is taken; `None`: not at all.
    fn tier(&self, index: usize) -> Option<Tier> {
        let endpoint = self.endpoints.get(index)?;
        if !endpoint.health.has_address() {
            return None;
        }
        Some(match (self.tried.contains(&endpoint.id), endpoint.health.is_skipped()) {
            (false, false) => Tier::Fit,
            (false, true) => Tier::Skipped,
            (true, false) => Tier::Tried,
            (true, true) => Tier::TriedAndSkipped,
        })
    }

    fn is_fit(&self, index: usize) -> bool {
        self.tier(index) == Some(Tier::Fit)
    }

    /// The lowest tier that is not empty.
    fn best(&self) -> Option<Tier> {
        (0..self.endpoints.len()).filter_map(|index| self.tier(index)).min()
    }

    fn load(&self, index: usize) -> u64 {
        self.endpoints.get(index).map_or(0, |e| e.load.load(Ordering::Relaxed).into())
    }
}

/// At random by weight.
fn random(field: &Field<'_>) -> Option<usize> {
    let index = field.weights.draw();
    if field.is_fit(index) {
        return Some(index);
    }
    let tier = field.best()?;
    field.weights.draw_among(|index| field.tier(index) == Some(tier))
}

/// Of two drawn at random by weight, the one with fewer exchanges under way for its weight; the first if equal, so
/// that an idle group is used by weight.
fn least_requests(field: &Field<'_>) -> Option<usize> {
    let first = field.weights.draw();
    if let Some(second) = field.weights.draw_other(first)
        && field.is_fit(first)
        && field.is_fit(second)
    {
        return Some(lighter(field, first, second));
    }
    let tier = field.best()?;
    let first = field.weights.draw_among(|index| field.tier(index) == Some(tier))?;
    let second = field.weights.draw_among(|index| index != first && field.tier(index) == Some(tier));
    Some(second.map_or(first, |second| lighter(field, first, second)))
}

fn lighter(field: &Field<'_>, first: usize, second: usize) -> usize {
    let (first_weight, second_weight) = (field.weights.of(first), field.weights.of(second));
    if field.load(second) * first_weight < field.load(first) * second_weight { second } else { first }
}
