//! Malformed and ambiguous requests and responses on raw sockets: what each side sends, what the client gets, and
//! the exact bytes that the upstream received. The cases are data; each names the rule it is about.
//!
//! weir runs here with nothing that it adds to requests by itself (forwarding headers, `Via`, request ids), so that
//! every byte the upstream sees is one that the case is about.

mod case;
mod chunks;
mod forwarding;
mod framing;
mod heads;
mod hosts;
mod http2;
mod response_bodies;
mod response_case;
mod responses;
mod upgrades;

#[test]
fn request_framing() {
    case::check(framing::cases());
}

#[test]
fn request_chunks() {
    case::check(chunks::cases());
}

#[test]
fn request_heads() {
    case::check(heads::cases());
}

#[test]
fn request_hosts_and_targets() {
    case::check(hosts::cases());
}

#[test]
fn request_forwarding() {
    case::check(forwarding::cases());
}

#[test]
fn response_heads() {
    response_case::check(responses::cases());
}

#[test]
fn response_framing() {
    response_case::check(response_bodies::cases());
}

#[test]
fn websocket_upgrades() {
    response_case::check(upgrades::cases());
}

#[test]
fn http2_requests() {
    http2::check(http2::cases());
}

/// The issue that asked for this battery wanted sixty; there are more, none may be lost, and names must be unique.
#[test]
fn the_battery_is_whole() {
    let requests = [framing::cases(), chunks::cases(), heads::cases(), hosts::cases(), forwarding::cases()];
    let responses = [responses::cases(), response_bodies::cases(), upgrades::cases()];
    let mut names: Vec<_> = requests.iter().flatten().map(|case| case.name).collect();
    names.extend(responses.iter().flatten().map(|case| case.name));
    names.extend(http2::cases().iter().map(|case| case.name));
    let count = names.len();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), count, "names are unique");
    assert!(count >= 370, "{count} cases");
}
