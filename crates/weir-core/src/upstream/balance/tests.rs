use std::collections::HashSet;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderName, HeaderValue};
use proptest::prelude::*;
use weir_plugin::{Connection, Exchange, Peer, Tls};

use crate::spec::{Balance, HashKey, SameSite, StickyCookie};
use crate::upstream::Group;
use crate::upstream::group::tests::upstream;

fn exchange() -> Exchange {
    let address = Peer::Ip(([192, 0, 2, 1], 40_000).into());
    let connection =
        Connection { id: 1, listener: "http".into(), peer: address.clone(), local: address, tls: None };
    Exchange {
        uri: "/a?user=7".parse().expect("a URI"),
        ..Exchange::new(1, Rc::new(connection), "all".into())
    }
}

/// A group of endpoints of these weights: 10.0.0.0:80, 10.0.0.1:80 and so on.
fn group(weights: &[u16], balance: Balance) -> Group {
    let endpoints: Vec<String> =
        weights.iter().enumerate().map(|(i, w)| format!("10.0.0.{i}:80 {w}")).collect();
    let endpoints: Vec<&str> = endpoints.iter().map(String::as_str).collect();
    Group::new(&upstream(&endpoints, balance), None).expect("a good group")
}

fn index(group: &Group, id: usize) -> usize {
    group.endpoints.iter().position(|e| e.id == id).expect("one of the group's")
}

/// The index of what is chosen, which is then over.
fn choose(group: &Group, key: Option<&[u8]>, tried: &[usize]) -> Option<usize> {
    group.choose(&exchange(), key, tried).map(|choice| index(group, choice.endpoint.id))
}

/// How often each is chosen.
fn tally(group: &Group, times: usize) -> Vec<usize> {
    let mut counts = vec![0; group.endpoints.len()];
    for _ in 0..times {
        counts[choose(group, None, &[]).expect("there is one")] += 1;
    }
    counts
}

fn sticky() -> Balance {
    Balance::Sticky(StickyCookie {
        name: "weir-sticky".into(),
        max_age: None,
        path: "/".into(),
        same_site: SameSite::Lax,
    })
}

fn policies() -> Vec<Balance> {
    vec![
        Balance::RoundRobin,
        Balance::LeastRequests,
        Balance::Random,
        Balance::Hash(HashKey::Client),
        Balance::Hash(HashKey::Header(HeaderName::from_static("x-key"))),
        sticky(),
    ]
}

#[test]
fn round_robin_takes_each_as_often_as_it_weighs() {
    for weights in [&[1, 1, 1][..], &[5, 1, 1], &[3, 3, 3, 3], &[100, 1], &[7]] {
        let group = group(weights, Balance::RoundRobin);
        let (round, each) = match weights.iter().all(|w| w == &weights[0]) {
            true => (weights.len(), vec![1; weights.len()]),
            false => (
                weights.iter().map(|w| usize::from(*w)).sum(),
                weights.iter().map(|w| usize::from(*w)).collect(),
            ),
        };
        // Wherever it starts, every round is whole.
        for _ in 0..5 {
            assert_eq!(tally(&group, round), each, "{weights:?}");
        }
    }
}

#[test]
fn round_robin_spreads_a_heavy_endpoint_out() {
    let group = group(&[4, 2, 2], Balance::RoundRobin);
    let turns: Vec<usize> = (0..80).map(|_| choose(&group, None, &[]).expect("there is one")).collect();
    assert!(turns.windows(3).all(|three| three != [0, 0, 0]), "{turns:?}");
}

#[test]
fn workers_start_anywhere() {
    let starts: HashSet<_> =
        (0..64).map(|_| choose(&group(&[1; 8], Balance::RoundRobin), None, &[])).collect();
    assert!(starts.len() > 1);
    let starts: HashSet<_> =
        (0..64).map(|_| choose(&group(&[2, 3, 4], Balance::RoundRobin), None, &[])).collect();
    assert!(starts.len() > 1);
}

#[test]
fn random_choices_follow_the_weights() {
    fastrand::seed(7);
    for balance in [Balance::Random, Balance::LeastRequests, sticky()] {
        let counts = tally(&group(&[3, 1, 2], balance.clone()), 60_000);
        for (count, wanted) in counts.iter().zip([30_000_f64, 10_000., 20_000.]) {
            assert!((*count as f64 - wanted).abs() < wanted * 0.05, "{balance:?} {counts:?}");
        }
    }
}

#[test]
fn least_requests_levels_the_load() {
    fastrand::seed(7);
    for (weights, wanted) in
        [(&[1, 1][..], &[500_u32, 500][..]), (&[3, 1], &[750, 250]), (&[1; 10], &[100; 10])]
    {
        let group = group(weights, Balance::LeastRequests);
        let held: Vec<_> = (0..1000).filter_map(|_| group.choose(&exchange(), None, &[])).collect();
        for (candidate, wanted) in group.candidates().iter().zip(wanted) {
            assert!(candidate.load.abs_diff(*wanted) <= 5, "{weights:?} {:?}", group.candidates());
        }
        drop(held);
        assert!(group.candidates().iter().all(|c| c.load == 0));
    }
}

#[test]
fn the_load_of_a_skipped_endpoint_goes_to_all_others() {
    fastrand::seed(7);
    for balance in [Balance::RoundRobin, Balance::Random, Balance::LeastRequests] {
        let group = group(&[1; 4], balance.clone());
        group.endpoints[1].skip(Duration::from_secs(3600));
        let counts = tally(&group, 12_000);
        assert_eq!(counts[1], 0);
        for index in [0, 2, 3] {
            assert!(counts[index].abs_diff(4000) < 300, "{balance:?} {counts:?}");
        }
    }
}

#[test]
fn a_hash_is_taken_of_what_it_is_asked_for() {
    let key = |text: &str| Some(text.as_bytes().to_vec());
    let header = HeaderName::from_static("x-user");
    let cases = [
        (HashKey::Header(header), key("seven")),
        (HashKey::Cookie("user".into()), key("eight")),
        (HashKey::Query("user".into()), key("7")),
        (HashKey::Path, key("/a")),
        (HashKey::Client, Some(vec![192, 0, 2, 1])),
    ];
    let mut exchange = exchange();
    exchange.headers.insert("x-user", HeaderValue::from_static("seven"));
    exchange.headers.insert("cookie", HeaderValue::from_static("a=b; user=eight"));
    for (what, bytes) in cases {
        let group = group(&[1; 100], Balance::Hash(what.clone()));
        let chosen = group.choose(&exchange, None, &[]).map(|c| c.endpoint.id);
        let by_bytes = group.choose(&exchange, bytes.as_deref(), &[]).map(|c| c.endpoint.id);
        assert_eq!(chosen, by_bytes, "{what:?}");
    }
}

#[test]
fn without_its_key_a_hash_is_random() {
    let group = group(&[1; 8], Balance::Hash(HashKey::Cookie("user".into())));
    assert!(tally(&group, 1000).iter().all(|count| *count > 0));
}

/// Which endpoint each of many keys goes to.
fn map(group: &Group) -> Vec<usize> {
    let keys = (0..20_000_u32).map(|key| format!("user-{key}"));
    keys.map(|key| choose(group, Some(key.as_bytes()), &[]).expect("there is one")).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 16, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn adding_one_moves_only_what_the_new_one_takes(weights in proptest::collection::vec(1_u16..5, 2..12)) {
        let before = map(&group(&weights[..weights.len() - 1], Balance::Random));
        let after = map(&group(&weights, Balance::Random));
        let new = weights.len() - 1;
        let moved = before.iter().zip(&after).filter(|(a, b)| a != b).count();
        prop_assert!(before.iter().zip(&after).all(|(a, b)| a == b || *b == new));
        let total: u16 = weights.iter().sum();
        let share = f64::from(weights[new]) / f64::from(total);
        let wanted = share * before.len() as f64;
        // Six standard deviations of a fair draw, or nearly.
        prop_assert!((moved as f64 - wanted).abs() < 6.0 * wanted.sqrt(), "{moved} moved, not {wanted}");
    }

    #[test]
    fn keys_follow_the_weights(weights in proptest::collection::vec(1_u16..5, 1..8)) {
        let map = map(&group(&weights, Balance::Random));
        let total: u16 = weights.iter().sum();
        for (index, weight) in weights.iter().enumerate() {
            let count = map.iter().filter(|i| **i == index).count() as f64;
            let wanted = f64::from(*weight) / f64::from(total) * map.len() as f64;
            prop_assert!((count - wanted).abs() < 6.0 * wanted.sqrt(), "{count} of {wanted} for {index}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// Not tried before skipped-or-not, not skipped within each; one without an address never.
    #[test]
    fn the_best_tier_is_chosen_from(
        policy in 0..6_usize,
        endpoints in proptest::collection::vec((1_u16..4, any::<bool>(), any::<bool>(), any::<bool>()), 1..7),
        key in proptest::option::of(any::<[u8; 2]>()),
    ) {
        let texts: Vec<String> = endpoints.iter().enumerate().map(|(i, e)| format!("host-{i}:80 {}", e.0)).collect();
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        let group = Group::new(&upstream(&texts, policies()[policy].clone()), None).expect("a good group");
        let mut tried = Vec::new();
        for (endpoint, (_, resolved, skipped, was_tried)) in group.endpoints.iter().zip(&endpoints) {
            if *resolved {
                endpoint.health.resolved(vec![SocketAddr::from(([127, 0, 0, 1], 80))]);
            }
            if *skipped {
                endpoint.skip(Duration::from_secs(3600));
            }
            if *was_tried {
                tried.push(endpoint.id);
            }
        }
        let rank = |e: &(u16, bool, bool, bool)| e.1.then_some((e.3, e.2));
        let best = endpoints.iter().filter_map(rank).min();
        for _ in 0..8 {
            let chosen = choose(&group, key.as_ref().map(|k| &k[..]), &tried);
            prop_assert_eq!(chosen.and_then(|i| rank(&endpoints[i])), best);
        }
        prop_assert!(group.candidates().iter().all(|c| c.load == 0));
    }
}

/// The exchange of a client that sends this cookie.
fn returning(set_cookie: &HeaderValue) -> Exchange {
    let pair = set_cookie.to_str().ok().and_then(|text| text.split(';').next()).expect("a pair");
    let mut exchange = exchange();
    exchange.headers.insert("cookie", HeaderValue::try_from(format!("x=y; {pair}")).expect("a header"));
    exchange
}

#[test]
fn a_sticky_cookie_holds_over_restarts_and_hides_the_address() {
    let first = group(&[1; 5], sticky());
    let choice = first.choose(&exchange(), None, &[]).expect("there is one");
    let cookie = choice.set_cookie.clone().expect("a cookie");
    let text = cookie.to_str().expect("text");
    assert!(text.starts_with("weir-sticky=") && text.ends_with("; Path=/; HttpOnly; SameSite=Lax"), "{text}");
    assert!(!text.contains("10.0") && !text.contains("80:"), "{text}");
    let restarted = group(&[1; 5], sticky());
    for group in [&first, &restarted] {
        for _ in 0..20 {
            let again = group.choose(&returning(&cookie), None, &[]).expect("there is one");
            assert_eq!(again.endpoint.address, choice.endpoint.address);
            assert_eq!(again.set_cookie, None);
        }
    }
}

#[test]
fn a_sticky_client_moves_when_its_endpoint_is_gone_and_stays_there() {
    let group = group(&[1; 3], sticky());
    let choice = group.choose(&exchange(), None, &[]).expect("there is one");
    let cookie = choice.set_cookie.clone().expect("a cookie");
    choice.endpoint.skip(Duration::from_secs(3600));
    let moved = group.choose(&returning(&cookie), None, &[]).expect("there is one");
    assert_ne!(moved.endpoint.id, choice.endpoint.id);
    let cookie = moved.set_cookie.clone().expect("another cookie");
    choice.endpoint.welcome();
    let stays = group.choose(&returning(&cookie), None, &[]).expect("there is one");
    assert_eq!(stays.endpoint.id, moved.endpoint.id);
    let retried = group.choose(&returning(&cookie), None, &[stays.endpoint.id]).expect("there is one");
    assert_ne!(retried.endpoint.id, stays.endpoint.id);
    assert!(retried.set_cookie.is_some());
}

#[test]
fn a_sticky_cookie_is_secure_on_tls_and_checked_beforehand() {
    let spec = |name: &str, path: &str| {
        Balance::Sticky(StickyCookie {
            name: name.into(),
            max_age: Some(Duration::from_secs(60)),
            path: path.into(),
            same_site: SameSite::None,
        })
    };
    let mut exchange = exchange();
    let tls = Tls {
        version: "TLSv1.3",
        cipher: "TLS13_AES_128_GCM_SHA256",
        sni: None,
        alpn: None,
        resumed: false,
        client: None,
        policy: 0,
    };
    let connection = Connection { tls: Some(Arc::new(tls)), ..(*exchange.connection).clone() };
    exchange.connection = Rc::new(connection);
    let cookie =
        group(&[1], spec("s", "/app")).choose(&exchange, None, &[]).and_then(|c| c.set_cookie.clone());
    let text = cookie.as_ref().and_then(|c| c.to_str().ok()).expect("a cookie");
    assert!(text.ends_with("; Path=/app; Max-Age=60; HttpOnly; Secure; SameSite=None"), "{text}");
    for (name, path) in
        [("", "/"), ("a b", "/"), ("a=b", "/"), ("s", ""), ("s", "app"), ("s", "/;a"), ("s", "/\n")]
    {
        assert!(
            Group::new(&upstream(&["10.0.0.1:80"], spec(name, path)), None).is_err(),
            "{name:?} {path:?}"
        );
    }
}
